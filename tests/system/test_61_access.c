/* test_61_access.c: Access, API keys and the cluster guard through a whole tunnel, over both transports. */
#include "scene.h"

#include "../unit/modules/access_headers/rig.h"

#include <unistd.h>

static char dir[] = "/tmp/culvert-access-XXXXXX", ini[64], keys[64], hashes[64], fact[64], flags[96];

static void write_text(const char *path, const char *text)
{
    char next[80];
    snprintf(next, sizeof(next), "%s.next", path);
    FILE *f = fopen(next, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
    CU_ASSERT_EQUAL(rename(next, path), 0);
}

/* sections: with %s for the files of keys and of hashes, or of the fact */
static void files_make(const char *sections, const char *a, const char *b)
{
    char text[1024];
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(ini, sizeof(ini), "%s/ini", dir);
    snprintf(keys, sizeof(keys), "%s/keys", dir);
    snprintf(hashes, sizeof(hashes), "%s/hashes", dir);
    snprintf(fact, sizeof(fact), "%s/fact", dir);
    snprintf(flags, sizeof(flags), "--config %s", ini);
    char *jwks = rig_jwks(1 << RIG_ONE);
    write_text(keys, jwks);
    free(jwks);
    /* of sk-good */
    write_text(hashes, "sha256:4c3fe847ba5369a26bb663f9713c893e7e9407c376d5e33038740063b5a09125\n");
    write_text(fact, "production");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof(text), sections, a, b);
#pragma GCC diagnostic pop
    write_text(ini, text);
}

static void files_remove(void)
{
    unlink(ini);
    unlink(keys);
    unlink(hashes);
    unlink(fact);
    rmdir(dir);
}

static int status_of(struct scene *t, const char *method, const char *target, const char *fields)
{
    struct answer a =
        scene_visit(t, method, target, fields, *method == 'P' ? "body" : NULL, *method == 'P' ? 4 : 0);
    int status = a.status;
    answer_free(&a);
    return status;
}

static char *field_of(const char *name, const char *value)
{
    char *text;
    CV_ASSERT(asprintf(&text, "%s: %s\r\n", name, value) > 0);
    return text;
}

static void nothing_reaches_the_router_without_assertion_and_key(void)
{
    for (each_transport(transport)) {
        files_make("[access_headers]\nassertion = required\nteam = testteam\naudience = " AUD
                   "\nkeys_file = %s\n"
                   "bearer = known\nbearer_keys = %s\n",
                   keys, hashes);
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .flags = flags });
        char *token = rig_good(RIG_ONE, ""), *good = field_of("Cf-Access-Jwt-Assertion", token), *both,
             *wrong;
        CV_ASSERT(asprintf(&both, "%sAuthorization: Bearer sk-good\r\n", good) > 0);
        CV_ASSERT(asprintf(&wrong, "%sAuthorization: Bearer sk-bad\r\n", good) > 0);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", NULL), 403);
        CU_ASSERT_EQUAL(status_of(t, "POST", "/v1/messages", NULL), 403);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", "Cf-Access-Jwt-Assertion: abc\r\n"), 401);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", good), 401);
        CU_ASSERT_EQUAL(status_of(t, "POST", "/a", wrong), 401);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", "Upgrade: websocket\r\nConnection: Upgrade\r\n"), 403);
        CU_ASSERT_EQUAL(origin_connections(t->origin), 0);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", both), 200);
        CU_ASSERT_EQUAL(status_of(t, "POST", "/sum", both), 200);
        struct answer a = scene_visit(t, "GET", "/head", both, NULL, 0);
        CHECK_HOLDS(answer_text(&a), "Bearer sk-good");
        answer_free(&a);
        CU_ASSERT_TRUE(scene_counts(t, "culvert_access_requests_total{result=\"bearer_unknown\"}", 1));
        CU_ASSERT_TRUE(scene_counts(t, "culvert_access_requests_total{result=\"pass\"}", 3));
        char *said = process_output(t->culvert);
        CU_ASSERT_PTR_NULL(strstr(said, "sk-bad"));
        CU_ASSERT_PTR_NULL(strstr(said, token));
        free(said);
        scene_stop(t);
        free(token), free(good), free(both), free(wrong);
        files_remove();
    }
}

static void secrets_of_service_tokens_stop_here(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport });
        struct answer a = scene_visit(
            t, "GET", "/head", "CF-Access-Client-Id: abc.access\r\nCF-Access-Client-Secret: cfast_secret\r\n",
            NULL, 0);
        CHECK_STATUS(a, 200);
        CU_ASSERT_PTR_NULL(strcasestr(answer_text(&a), "cf-access"));
        CU_ASSERT_PTR_NULL(strstr(answer_text(&a), "cfast_secret"));
        answer_free(&a);
        scene_stop(t);
        CU_ASSERT_PTR_NULL(process_that_said("cfast_secret", 12));
    }
}

static void a_rule_that_requires_access_is_enforced(void)
{
    static const char rules[] =
        "{\"ingress\":[{\"hostname\":\"a.example\",\"service\":\"$ORIGIN\",\"originRequest\":"
        "{\"access\":{\"required\":true,\"teamName\":\"testteam\",\"audTag\":[\"" AUD "\"]}}},"
        "{\"service\":\"$ORIGIN\"}]}";
    for (each_transport(transport)) {
        files_make("[access_headers]\nkeys_file = %s\n; %s\n", keys, "");
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .rules = rules, .flags = flags });
        char *token = rig_good(RIG_ONE, ""), *good = field_of("Cf-Access-Jwt-Assertion", token);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", NULL), 403);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", "Cf-Access-Jwt-Assertion: abc\r\n"), 401);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", "Host: b.example\r\n"), 200);
        CU_ASSERT_EQUAL(status_of(t, "GET", "/a", good), 200);
        scene_stop(t);
        free(token), free(good);
        files_remove();
    }
}

static void the_wrong_cluster_gets_no_connection(void)
{
    files_make("[cluster_guard]\nfile = %s\nfile_value = %s\non_mismatch = wait\n", fact, "staging");
    struct scene *t = scene_start(&(struct setup){ .transport = "http2", .flags = flags, .alone = true });
    CU_ASSERT_TRUE(process_says(t->culvert, "WRONG CLUSTER OR TUNNEL", PATIENCE_MS));
    CU_ASSERT_TRUE(process_says(t->culvert, "file_value is production, and must be staging", PATIENCE_MS));
    struct answer a = scene_metrics(t, "/ready");
    CHECK_STATUS(a, 503);
    CHECK_HOLDS(answer_text(&a), "\"reason\":\"cluster_guard: file_value is production");
    answer_free(&a);
    CU_ASSERT_EQUAL(scene_seen(t, "register"), 0);
    write_text(fact, "staging"); /* it was the right one after all */
    CU_ASSERT_TRUE(process_says(t->culvert, "Registered tunnel connection", PATIENCE_MS));
    a = scene_metrics(t, "/ready");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    scene_stop(t);
    files_remove();
}

static void in_the_wrong_cluster_it_ends_with_status_1(void)
{
    files_make("[cluster_guard]\nfile = %s\nfile_value = %s\n", fact, "production");
    struct scene *t = scene_start(&(struct setup){ .transport = "quic", .flags = flags });
    write_text(fact, "staging");
    struct answer a = scene_control(t, "POST", "/drop?index=all&how=rst", NULL); /* the re-dial asks again */
    answer_free(&a);
    CU_ASSERT_EQUAL(process_end(t->culvert, 4 * PATIENCE_MS), 1);
    process_end_all();
    files_remove();
}

SUITE(system_61_access, TEST(nothing_reaches_the_router_without_assertion_and_key),
      TEST(secrets_of_service_tokens_stop_here), TEST(a_rule_that_requires_access_is_enforced),
      TEST(the_wrong_cluster_gets_no_connection), TEST(in_the_wrong_cluster_it_ends_with_status_1));
