/* test_40_config.c: configurations pushed by the edge: new, refused, old, and while requests run. */
#include "scene.h"

#include <signal.h>
#include <unistd.h>
#include <yyjson.h>

/* What the connector answered to a push. */
struct verdict {
    int applied;
    char err[1024];
};

static struct verdict push(struct scene *t, int version, const char *rules)
{
    char target[40], *text;
    struct verdict v = { .applied = -99 };
    snprintf(target, sizeof(target), "/config?version=%d", version);
    scene_rules(t, rules, &text);
    struct answer a = scene_control(t, "POST", target, text);
    free(text);
    yyjson_doc *doc = yyjson_read(answer_text(&a), a.body.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *one = yyjson_arr_get_first(root);
    CU_ASSERT_EQUAL(a.status, 200);
    CU_ASSERT_EQUAL(yyjson_arr_size(root), 1);
    v.applied = yyjson_get_int(yyjson_obj_get(one, "applied"));
    const char *err = yyjson_get_str(yyjson_obj_get(one, "err"));
    snprintf(v.err, sizeof(v.err), "%s", err ? err : "");
    yyjson_doc_free(doc);
    answer_free(&a);
    return v;
}

static int status_of(struct scene *t, const char *target)
{
    struct answer a = scene_get(t, target);
    int status = a.status;
    answer_free(&a);
    return status;
}

/* ---- while requests run ------------------------------------------------------------------------------- */

enum { RUNNING = 50, SWAPS = 100 };

static sem_t turns[RUNNING]; /* of each: whichever waits first on one is not always the one that is meant */

static bool in_two_halves(struct http1 *h, void *unused)
{
    (void)unused;
    unsigned i = (unsigned)strtoul(h->target + 1, NULL, 10) % RUNNING;
    http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
    return sem_within(&turns[i], PATIENCE_MS) && http1_send(h, "56789", 5);
}

static void running_requests_end_under_the_rules_they_began_with_through_a_hundred_others(void)
{
    static struct http1 visitors[RUNNING];
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .connections = 2, .origin = in_two_halves });
        for (int i = 0; i < RUNNING; i++) {
            char target[16];
            snprintf(target, sizeof(target), "/%d", i);
            sem_init(&turns[i], 0, 0);
            CU_ASSERT_TRUE_FATAL(scene_open(t, &visitors[i], "GET", target, NULL) &&
                                 http1_answer(&visitors[i], "GET"));
        }
        struct verdict v = push(t, 2, "{\"ingress\":[{\"service\":\"http_status:418\"}]}");
        CU_ASSERT_EQUAL(v.applied, 2);
        CU_ASSERT_EQUAL(status_of(t, "/"), 418); /* at once: the answer meant that all workers follow */
        unsigned right = 0;
        for (int i = 0; i < SWAPS; i++) { /* each is in force before one more request may end */
            char rules[80];
            snprintf(rules, sizeof(rules), "{\"ingress\":[{\"service\":\"http_status:%d\"}]}", 500 + i);
            CU_ASSERT_TRUE(scene_push(t, 3 + i, rules));
            CU_ASSERT_EQUAL(status_of(t, "/"), 500 + i);
            if (i % (SWAPS / RUNNING))
                continue;
            struct http1 *h = &visitors[i / (SWAPS / RUNNING)];
            struct cv_buf body = { 0 };
            sem_post(&turns[i / (SWAPS / RUNNING)]);
            right += http1_read_all(h, &body) == 0 && body.n == 10 && memcmp(body.p, "0123456789", 10) == 0;
            cv_buf_free(&body);
            http1_close(h);
        }
        CU_ASSERT_EQUAL(right, RUNNING);
        CU_ASSERT_EQUAL(scene_metric(t, "cloudflared_tunnel_request_errors"), 0);
        scene_stop(t);
    }
}

/* ---- versions and refusals ---------------------------------------------------------------------------- */

static const struct {
    const char *config, *why; /* part of it */
} refused[] = {
    { "{\"ingress\":[{\"hostname\":\"a.example\",\"service\":\"$ORIGIN\"}]}",
      "The last ingress rule must match all URLs" },
    { "{\"ingress\":[{\"service\":\"$ORIGIN/path\"}]}",
      "ingress rules don't support proxying to a different path" },
    { "{\"ingress\":[{\"service\":\"localhost\"}]}", "is an invalid address" },
    { "{\"ingress\":[{\"hostname\":\"a.example\",\"path\":\"(\",\"service\":\"$ORIGIN\"},{\"service\":\"$"
      "ORIGIN\"}]}",
      "Rule #1 has an invalid regex" },
    { "{\"ingress\":[{\"service\":\"http_status:1000\"}]}", "invalid HTTP status code: 1000" },
    { "{\"ingress\":{}}", "json: cannot unmarshal object" },
    { "{\"originRequest\":{\"connectTimeout\":\"30s\"}}", "strconv.ParseInt: parsing" },
};

static void what_is_wrong_is_refused_and_what_is_old_ignored(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport });
        struct verdict v = push(t, 7, "{\"ingress\":[{\"service\":\"http_status:418\"}]}");
        CU_ASSERT_EQUAL(v.applied, 7);
        CU_ASSERT_STRING_EQUAL(v.err, "");
        for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
            process_forget(t->culvert);
            v = push(t, 8, refused[i].config);
            CU_ASSERT_EQUAL(v.applied, 7);
            if (strcmp(transport, "quic") == 0)
                CHECK_HOLDS(v.err, refused[i].why);
            CU_ASSERT_TRUE(v.err[0] == '{' ||
                           strcmp(transport, "quic") == 0); /* an object that says nothing */
            CU_ASSERT_TRUE(process_says(t->culvert, refused[i].why, PATIENCE_MS));
            CU_ASSERT_EQUAL(status_of(t, "/"), 418);
        }
        for (int version = 6; version <= 7; version++) {
            v = push(t, version, "{\"ingress\":[{\"service\":\"http_status:404\"}]}");
            CU_ASSERT_EQUAL(v.applied, 7);
            CU_ASSERT_STRING_EQUAL(v.err, "");
            CU_ASSERT_EQUAL(status_of(t, "/"), 418);
        }
        CU_ASSERT_TRUE(
            process_says(t->culvert, "Current version is equal or newer than received version", PATIENCE_MS));
        v = push(
            t, 8,
            "{\"ingress\":[{\"service\":\"$ORIGIN\"}]}"); /* the number that was refused may come again */
        CU_ASSERT_EQUAL(v.applied, 8);
        CU_ASSERT_EQUAL(status_of(t, "/"), 200);
        CU_ASSERT_EQUAL(scene_metric(t, "cloudflared_orchestration_config_version"), 8);
        scene_stop(t);
    }
}

/* ---- /config ------------------------------------------------------------------------------------------ */

#define SETTINGS(connect, host)                                                                              \
    "{\"connectTimeout\":" connect ",\"tlsTimeout\":10,\"tcpKeepAlive\":30,\"noHappyEyeballs\":false,"       \
    "\"keepAliveTimeout\":90,\"keepAliveConnections\":100,\"httpHostHeader\":\"" host "\","                  \
    "\"originServerName\":\"\",\"matchSNItoHost\":false,\"caPool\":\"\",\"noTLSVerify\":false,"              \
    "\"disableChunkedEncoding\":false,\"bastionMode\":false,\"proxyAddress\":\"127.0.0.1\","                 \
    "\"proxyPort\":0,\"proxyType\":\"\",\"ipRules\":null,\"http2Origin\":false,"                             \
    "\"access\":{\"teamName\":\"\",\"audTag\":null}}"

static void the_configuration_in_force_can_be_read(void)
{
    static const char rules[] =
        "{\"originRequest\":{\"connectTimeout\":5},\"ingress\":["
        "{\"hostname\":\"a.example\",\"path\":\"^/x\",\"service\":\"http://127.0.0.1:9\","
        "\"originRequest\":{\"httpHostHeader\":\"inner\"}},{\"service\":\"http_status:404\"}],"
        "\"warp-routing\":{\"maxActiveFlows\":7}}";
    static const char shown[] =
        "{\"version\":1,\"config\":{\"ingress\":["
        "{\"hostname\":\"a.example\",\"path\":\"^/x\",\"service\":\"http://127.0.0.1:9\",\"Handlers\":null,"
        "\"originRequest\":" SETTINGS(
            "5",
            "inner") "},"
                     "{\"hostname\":\"\",\"path\":null,\"service\":\"http_status:404\",\"Handlers\":null,"
                     "\"originRequest\":" SETTINGS(
                         "5", "") "}],"
                                  "\"warp-routing\":{\"maxActiveFlows\":7},\"originRequest\":" SETTINGS(
                                      "5", "") "}}";
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .rules = rules });
        struct answer a = scene_metrics(t, "/config");
        CHECK_STATUS(a, 200);
        CU_ASSERT_STRING_EQUAL(answer_text(&a), shown);
        if (strcmp(answer_text(&a), shown) != 0)
            fprintf(stderr, "  is     %s\n  wanted %s\n", answer_text(&a), shown);
        answer_free(&a);
        scene_stop(t);
    }
}

/* ---- a restart ------------------------------------------------------------------------------------------ */

static void a_restart_serves_the_last_configuration_before_the_edge_sends_one(void)
{
    for (each_transport(transport)) {
        char dir[] = "/tmp/culvert-last-XXXXXX", file[64], ini[128];
        CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
        snprintf(file, sizeof(file), "%s/last.json", dir);
        snprintf(ini, sizeof(ini), "[tunnel]\nlast_config = %s\n", file);
        struct setup setup = { .transport = transport, .ini = ini };
        struct scene *t = scene_start(&setup);
        CU_ASSERT_EQUAL(push(t, 7, "{\"ingress\":[{\"service\":\"http_status:418\"}]}").applied, 7);
        CU_ASSERT_EQUAL(scene_end(t, PATIENCE_MS), 0);
        scene_restart(t, &setup);
        char *said = process_output(t->culvert);
        char *restored = strstr(said, "Using the last configuration until the edge sends a newer one");
        char *registered = strstr(said, "Registered tunnel connection");
        CU_ASSERT_TRUE(restored && registered && restored < registered);
        free(said);
        CU_ASSERT_EQUAL(scene_metric(t, "cloudflared_orchestration_config_version"), 7);
        CU_ASSERT_EQUAL(status_of(t, "/"), 418);
        CU_ASSERT_EQUAL(push(t, 6, "{\"ingress\":[{\"service\":\"http_status:404\"}]}").applied, 7);
        CU_ASSERT_EQUAL(status_of(t, "/"), 418);
        CU_ASSERT_EQUAL(push(t, 8, "{\"ingress\":[{\"service\":\"http_status:404\"}]}").applied, 8);
        CU_ASSERT_EQUAL(status_of(t, "/"), 404);
        scene_stop(t);
        unlink(file);
        CU_ASSERT_EQUAL(rmdir(dir), 0);
    }
}

static void a_folder_that_cannot_be_written_to_is_told_once(void)
{
    struct scene *t = scene_start(
        &(struct setup){ .transport = "http2", .ini = "[tunnel]\nlast_config = /proc/last.json\n" });
    for (int version = 2; version < 5; version++)
        CU_ASSERT_EQUAL(push(t, version, "{\"ingress\":[{\"service\":\"http_status:418\"}]}").applied,
                        version);
    CU_ASSERT_EQUAL(status_of(t, "/"), 418);
    CU_ASSERT_EQUAL(process_count(t->culvert, "last_config: unable to write /proc/last.json: "), 1);
    scene_stop(t);
}

/* ---- what is said here changes, while the rules stay ------------------------------------------------------ */

static void reload_with(struct scene *t, const char *ini)
{
    char file[96];
    snprintf(file, sizeof(file), "%s/ini", t->dir);
    FILE *f = fopen(file, "we");
    CU_ASSERT_FATAL(f && fputs(ini, f) >= 0 && fclose(f) == 0);
    process_forget(t->culvert);
    process_signal(t->culvert, SIGHUP);
    CU_ASSERT_TRUE(process_says(t->culvert, "Configuration reloaded", PATIENCE_MS));
}

static void a_reload_of_origins_and_rewrite_reaches_the_rules_in_force(void)
{
    for (each_transport(transport)) {
        static struct http1 running;
        struct cv_buf body = { 0 };
        sem_init(&turns[0], 0, 0);
        struct scene *t = scene_start(&(struct setup){
            .transport = transport, .origin = in_two_halves, .ini = "[origins]\nallow = 127.0.0.1\n" });
        CU_ASSERT_TRUE_FATAL(scene_open(t, &running, "GET", "/", NULL) && http1_answer(&running, "GET"));

        reload_with(t, "[origins]\nallow = 10.0.0.0/8\n");
        CU_ASSERT_TRUE(
            process_says(t->culvert, "Requests of this rule are refused from now on", PATIENCE_MS));
        struct answer a = scene_get(t, "/");
        CHECK_STATUS(a, strcmp(transport, "quic") == 0 ? 502
                                                       : 403); /* its failures have no status of their own */
        CHECK_HOLDS(a.head, "Culvert-Error: connector_denied");
        answer_free(&a);

        char ini[160]; /* the rule's service is found where nobody listens */
        snprintf(ini, sizeof(ini), "[rewrite]\nhttp://127.0.0.1:%u = unix:/nonexistent\n",
                 origin_port(t->origin));
        reload_with(t, ini);
        char *said = process_output(t->culvert);
        CHECK_HOLDS(said, " → /nonexistent");
        free(said);
        CU_ASSERT_EQUAL(status_of(t, "/"), 502);

        reload_with(t, "[origins]\nallow = 127.0.0.0/8\n");
        sem_post(&turns[0]); /* of whichever of the two waits first */
        sem_post(&turns[0]);
        CU_ASSERT_EQUAL(status_of(t, "/"), 200);
        CU_ASSERT_EQUAL(http1_read_all(&running, &body), 0);
        CU_ASSERT(body.n == 10 && memcmp(body.p, "0123456789", 10) == 0);
        CU_ASSERT_EQUAL(scene_metric(t, "cloudflared_orchestration_config_version"), 1);
        cv_buf_free(&body);
        http1_close(&running);
        scene_stop(t);
    }
}

SUITE(system_40_config, TEST(a_reload_of_origins_and_rewrite_reaches_the_rules_in_force),
      TEST(running_requests_end_under_the_rules_they_began_with_through_a_hundred_others),
      TEST(what_is_wrong_is_refused_and_what_is_old_ignored), TEST(the_configuration_in_force_can_be_read),
      TEST(a_restart_serves_the_last_configuration_before_the_edge_sends_one),
      TEST(a_folder_that_cannot_be_written_to_is_told_once));
