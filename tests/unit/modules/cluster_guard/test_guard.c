/* test_guard.c: the gate in a cluster made of files and of an API server over real TLS: right, wrong, missing, changed. */
#include "access_headers/access.h"
#include "cluster_guard/guard.h"
#include "harness.h"
#include "process.h"
#include "suite.h"

#include "../access_headers/rig.h"

#include <sys/stat.h>
#include <unistd.h>

extern const struct cv_module cv_module_cluster_guard;

/* of something else */
#define CA_HASH "b6d5b1f3c5c8bb1d50a9d9cbf9f4b6a36ebd1fbe9d1c9a6f2a3f7a3d1f0c8e11"
/* {"iss":"https://kubernetes.default.svc","kubernetes.io":{"namespace":"router"}} */
#define TOKEN                                                                                                \
    "e30."                                                                                                   \
    "eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMiLCJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6InJvdXRlci" \
    "J9fQ.c2ln"

static char dir[] = "/tmp/culvert-guard-XXXXXX", ca_file[64], token_file[64], own_file[64], api[64], hash[65];

struct bed {
    struct harness *h;
    struct guard_conf conf;
    struct cv_instance instance;
    struct cv_self *self;
};

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
}

static void cluster_make(void)
{
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", dir);
    snprintf(token_file, sizeof(token_file), "%s/token", dir);
    snprintf(own_file, sizeof(own_file), "%s/name", dir);
    write_text(ca_file, "the CA");
    write_text(token_file, TOKEN);
    write_text(own_file, "production\n");
    uint8_t sum[32];
    EVP_Digest("the CA", 6, sum, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < sizeof(sum); i++)
        snprintf(hash + 2 * i, 3, "%02X", sum[i]);
}

static void cluster_remove(void)
{
    unlink(ca_file);
    unlink(token_file);
    unlink(own_file);
    rmdir(dir);
}

static struct guard_conf nothing(void)
{
    return (struct guard_conf){ .ca_sha256 = "",
                                .ca_file = ca_file,
                                .cluster_uid = "",
                                .api = api,
                                .api_limit = { 2000 },
                                .issuer = "",
                                .namespace = "",
                                .token_file = token_file,
                                .variable = "",
                                .file = "",
                                .file_value = "",
                                .tunnel_id = "" };
}

static enum cv_error bed_start(struct bed *b, struct guard_conf conf)
{
    struct cv_err err = { "" };
    *b = (struct bed){ .h = harness_new(0), .conf = conf };
    b->instance = (struct cv_instance){ .module = &cv_module_cluster_guard, .name = "cluster_guard" };
    b->self = &b->h->selfs[2];
    *b->self = (struct cv_self){ .conf = &b->conf, .worker = b->h->worker, .instance = &b->instance };
    CU_ASSERT_EQUAL(cv_module_cluster_guard.check(&b->conf, &err), CV_OK);
    return cv_module_cluster_guard.init(b->self, &err);
}

static void bed_stop(struct bed *b)
{
    if (b->self->shared)
        cv_module_cluster_guard.fini(b->self);
    harness_free(b->h);
}

static enum cv_error admit(struct bed *b, struct cv_err *err)
{
    return cv_module_cluster_guard.gate->admit(b->self, err);
}

/* init, then one dial. */
static void right_wrong_and_missing(void)
{
    cluster_make();
    setenv("CULVERT_TEST_CLUSTER", "blue", 1);
    const struct {
        const char *ca, *issuer, *namespace, *variable, *file, *value;
        int need, on_mismatch;
        enum cv_error init, admit;
        const char *says;
    } table[] = {
        { hash, "", "", "", "", "", GUARD_ALL, GUARD_EXIT, CV_OK, CV_OK, "" },
        { CA_HASH, "", "", "", "", "", GUARD_ALL, GUARD_EXIT, CV_E_CONF, CV_OK, "" },
        { CA_HASH, "", "", "", "", "", GUARD_ALL, GUARD_WAIT, CV_OK, CV_E_DENIED, "and must be " CA_HASH },
        { hash, "https://kubernetes.default.svc", "router", "CULVERT_TEST_CLUSTER=blue", own_file,
          "production", GUARD_ALL, GUARD_EXIT, CV_OK, CV_OK, "" },
        { hash, "https://other", "router", "", "", "", GUARD_ALL, GUARD_WAIT, CV_OK, CV_E_DENIED,
          "issuer is https://kubernetes.default.svc, and must be https://other" },
        { hash, "https://other", "", "", "", "", GUARD_ANY, GUARD_EXIT, CV_OK, CV_OK, "" },
        { "", "", "elsewhere", "", "", "", GUARD_ALL, GUARD_WAIT, CV_OK, CV_E_DENIED, "namespace is router" },
        { "", "", "", "CULVERT_TEST_CLUSTER=green", "", "", GUARD_ALL, GUARD_WAIT, CV_OK, CV_E_DENIED,
          "variable is CULVERT_TEST_CLUSTER=blue" },
        { "", "", "", "CULVERT_TEST_NOT_THERE=x", "", "", GUARD_ALL, GUARD_EXIT, CV_OK, CV_E_DENIED,
          "the environment has no CULVERT_TEST_NOT_THERE" },
        { "", "", "", "", own_file, "staging", GUARD_ALL, GUARD_WAIT, CV_OK, CV_E_DENIED,
          "file_value is production" },
        { "", "", "", "", "/nonexistent", "x", GUARD_ALL, GUARD_EXIT, CV_OK, CV_E_DENIED, "No such file" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct guard_conf c = nothing();
        struct cv_err err = { "" };
        struct bed b;
        c.ca_sha256 = table[i].ca;
        c.issuer = table[i].issuer;
        c.namespace = table[i].namespace;
        c.variable = table[i].variable;
        c.file = table[i].file;
        c.file_value = table[i].value;
        c.need = table[i].need;
        c.on_mismatch = table[i].on_mismatch;
        CU_ASSERT_EQUAL(bed_start(&b, c), table[i].init);
        if (!table[i].init)
            CU_ASSERT_EQUAL(admit(&b, &err), table[i].admit);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, table[i].says));
        if (!strstr(err.text, table[i].says))
            fprintf(stderr, "  row %zu: %s\n", i, err.text);
        bed_stop(&b);
    }
    unsetenv("CULVERT_TEST_CLUSTER");
    cluster_remove();
}

static void a_cluster_that_changes_is_noticed_at_the_next_dial(void)
{
    struct cv_err err;
    struct bed b;
    cluster_make();
    struct guard_conf c = nothing();
    c.ca_sha256 = hash;
    CU_ASSERT_EQUAL(bed_start(&b, c), CV_OK);
    CU_ASSERT_EQUAL(admit(&b, &err), CV_OK);
    CU_ASSERT_PTR_NULL(unready());
    write_text(ca_file, "another CA");
    CU_ASSERT_EQUAL(admit(&b, &err), CV_E_CONF); /* on_mismatch = exit */
    CU_ASSERT_PTR_NOT_NULL_FATAL(unready());
    CU_ASSERT_PTR_NOT_NULL(strstr(unready(), "ca_sha256"));
    unlink(ca_file);
    CU_ASSERT_EQUAL(admit(&b, &err), CV_E_DENIED); /* not known is not wrong */
    write_text(ca_file, "the CA");
    CU_ASSERT_EQUAL(admit(&b, &err), CV_OK);
    CU_ASSERT_PTR_NULL(unready());
    bed_stop(&b);
    cluster_remove();
}

static void a_token_of_another_tunnel_is_refused(void)
{
    struct bed b;
    cluster_make();
    struct guard_conf c = nothing();
    c.tunnel_id = "f47ac10b-58cc-4372-a567-0e02b2c3d479"; /* there is no token here */
    CU_ASSERT_EQUAL(bed_start(&b, c), CV_E_CONF);
    bed_stop(&b);
    cluster_remove();
}

static enum cv_error admitted_within(struct bed *b, struct cv_err *err, int ms)
{
    enum cv_error e = admit(b, err);
    for (long long end = now_in_ms() + ms; e && now_in_ms() < end; e = admit(b, err)) {
        harness_turn(b->h);
        sleep_ms(10);
    }
    return e;
}

static void the_api_server_is_asked_for_the_uid(void)
{
    struct cv_err err;
    struct bed b;
    cluster_make();
    struct rig_server *server = rig_server_start(ca_file);
    snprintf(api, sizeof(api), "https://127.0.0.1:%u", rig_server_port(server));
    rig_server_set(server, RIG_SERVES, "{\"metadata\":{\"uid\":\"0A5B\"}}");
    struct guard_conf c = nothing();
    c.cluster_uid = "0a5b";
    CU_ASSERT_EQUAL(bed_start(&b, c), CV_OK);
    CU_ASSERT_EQUAL(admit(&b, &err), CV_E_DENIED); /* nobody has answered yet */
    CU_ASSERT_EQUAL(admitted_within(&b, &err, 5000), CV_OK);
    CU_ASSERT_EQUAL(rig_server_asked(server), 1);
    bed_stop(&b);
    c.cluster_uid = "0a5c";
    CU_ASSERT_EQUAL(bed_start(&b, c), CV_OK);
    CU_ASSERT_EQUAL(admitted_within(&b, &err, 500), CV_E_CONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "cluster_uid is 0A5B, and must be 0a5c"));
    bed_stop(&b);
    c.cluster_uid = "0a5b";
    rig_server_set(server, RIG_500, "");
    CU_ASSERT_EQUAL(bed_start(&b, c), CV_OK);
    CU_ASSERT_EQUAL(admitted_within(&b, &err, 300), CV_E_DENIED);
    rig_server_set(server, RIG_SERVES, "{\"metadata\":{\"uid\":\"0a5b\"}}");
    CU_ASSERT_EQUAL(admitted_within(&b, &err, 5000), CV_OK);
    bed_stop(&b);
    rig_server_stop(server);
    api[0] = '\0';
    cluster_remove();
}

static void options_that_say_nothing_or_nonsense_are_refused(void)
{
    struct guard_conf c[] = { nothing(), nothing(), nothing(), nothing(), nothing(), nothing() };
    c[1].ca_sha256 = "abc";
    c[2].variable = "NAME";
    c[3].file = "/x";
    c[4].cluster_uid = "x";
    c[4].api = "http://x";
    c[5].cluster_uid = "x";
    c[5].api_limit.ms = 1;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        struct cv_err err;
        CU_ASSERT_EQUAL(cv_module_cluster_guard.check(&c[i], &err), CV_E_CONF);
    }
}

SUITE(cluster_guard, TEST(right_wrong_and_missing), TEST(a_cluster_that_changes_is_noticed_at_the_next_dial),
      TEST(a_token_of_another_tunnel_is_refused), TEST(the_api_server_is_asked_for_the_uid),
      TEST(options_that_say_nothing_or_nonsense_are_refused));
