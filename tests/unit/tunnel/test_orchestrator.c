/* test_orchestrator.c: versions against the recorded sequence; answers that wait for every worker. */
#include "harness.h"
#include "request/local.h"
#include "request/route.h"
#include "suite.h"
#include "tunnel/orchestrator.h"
#include "tunnel/tunnel.h"
#include "vectors.h"

#include <string.h>
#include <unistd.h>

static struct harness *h;
static struct cv_worker *workers[2];
static int32_t applied;
static char error[1024];
static unsigned answers, dropped;

static void on_outcome(void *arg, const struct config_outcome *outcome)
{
    (void)arg;
    if (!outcome) {
        dropped++;
        return;
    }
    answers++;
    applied = outcome->applied;
    snprintf(error, sizeof(error), CV_STR_FMT, CV_STR_ARG(outcome->error));
}

static void begin(void)
{
    h = harness_new(0);
    workers[0] = workers[1] = h->worker; /* one thread stands for two */
    answers = dropped = 0;
    orchestrator_setup(h->worker, workers, 2);
}

static void end(void)
{
    orchestrator_free();
    harness_turn(h);
    harness_free(h);
}

static void follows_the_recorded_sequence(void)
{
    begin();
    yyjson_doc *doc = vector_json("config/version-sequence");
    yyjson_val *steps = yyjson_obj_get(yyjson_doc_get_root(doc), "steps"), *step;
    size_t i, n;
    yyjson_arr_foreach(steps, i, n, step)
    {
        orchestrator_update(TUNNEL_FIRST, (int32_t)yyjson_get_sint(yyjson_obj_get(step, "version")),
                            vector_str(step, "config"), on_outcome, NULL);
        harness_turn(h);
        CU_ASSERT_EQUAL(answers, i + 1);
        CU_ASSERT_EQUAL(applied, yyjson_get_sint(yyjson_obj_get(step, "last_applied_version")));
        CU_ASSERT(vector_same(cv_str_of(error), vector_str(step, "error")));
    }
    CU_ASSERT_EQUAL(orchestrator_version(), 2147483647);
    yyjson_doc_free(doc);
    end();
}

static void answers_only_when_the_workers_follow(void)
{
    begin();
    orchestrator_update(TUNNEL_FIRST, 1, CV_STR("{\"ingress\":[{\"service\":\"http_status:404\"}]}"),
                        on_outcome, NULL);
    orchestrator_update(TUNNEL_FIRST, 2, CV_STR("{\"ingress\":[{\"service\":\"http_status:405\"}]}"),
                        on_outcome, NULL);
    orchestrator_update(TUNNEL_FIRST, 1, CV_STR("{}"), on_outcome, NULL);
    CU_ASSERT_EQUAL(answers, 0);
    harness_turn(h);
    CU_ASSERT_EQUAL(answers, 3);
    CU_ASSERT_EQUAL(applied, 2);
    CU_ASSERT_EQUAL(h->worker->routes[TUNNEL_FIRST]->rules[0].status, 405);
    end();
}

static void what_waits_at_the_end_is_let_go(void)
{
    begin();
    orchestrator_update(TUNNEL_FIRST, 1, CV_STR("{}"), on_outcome, NULL);
    orchestrator_update(TUNNEL_FIRST, 2, CV_STR("{}"), on_outcome, NULL);
    end();
    CU_ASSERT_EQUAL(answers, 0);
    CU_ASSERT_EQUAL(dropped, 2);
    orchestrator_update(TUNNEL_FIRST, 3, CV_STR("{}"), on_outcome, NULL);
    CU_ASSERT_EQUAL(dropped, 3);
}

static void has_rules_of_its_own_before_the_first(void)
{
    struct cv_err err;
    begin();
    orchestrator_publish();
    harness_turn(h);
    CU_ASSERT(h->worker->routes[TUNNEL_FIRST]->rules[0].implicit);
    char *json = cv_config_json();
    CU_ASSERT_PTR_NOT_NULL(strstr(json, "{\"version\":-1,"));
    free(json);
    static const struct tunnel_setting settings[] = { { "connectTimeout", "2", false },
                                                      { "httpHostHeader", "a\"b", true } };
    CU_ASSERT_EQUAL(orchestrator_local_service("http://127.0.0.1:8080", settings, 2, &err), CV_OK);
    orchestrator_publish();
    harness_turn(h);
    CU_ASSERT(cv_str_eq(h->worker->routes[TUNNEL_FIRST]->rules[0].service, CV_STR("http://127.0.0.1:8080")));
    CU_ASSERT_EQUAL(h->worker->routes[TUNNEL_FIRST]->rules[0].settings.connect_timeout, 2);
    CU_ASSERT(cv_str_eq(h->worker->routes[TUNNEL_FIRST]->rules[0].settings.http_host_header, CV_STR("a\"b")));
    json = orchestrator_local_json(NULL, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(json, "\"service\":\"http://127.0.0.1:8080\""));
    free(json);
    CU_ASSERT_EQUAL(orchestrator_local_service("no url", NULL, 0, &err), CV_E_CONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "url: no url is an invalid address"));
    CU_ASSERT_EQUAL(orchestrator_local_file("/nonexistent", &err), CV_E_CONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nonexistent: No such file"));
    end();
}

static void reads_rules_from_a_file(void)
{
    char file[] = "/tmp/culvert-rules-XXXXXX";
    static const char text[] = "{\"ingress\":[{\"hostname\":\"a.com\",\"service\":\"http_status:404\"}]}";
    struct cv_err err;
    int fd = mkstemp(file);
    begin();
    CU_ASSERT_EQUAL(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
    close(fd);
    CU_ASSERT_EQUAL(orchestrator_local_file(file, &err), CV_E_CONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "The last ingress rule must match all URLs"));
    unlink(file);
    end();
}

/* ---- the file for the next start ------------------------------------------------------------------------ */

static void update(int32_t version, struct cv_str document)
{
    orchestrator_update(TUNNEL_FIRST, version, document, on_outcome, NULL);
    harness_turn(h);
}

static void serves_after_a_restart_what_was_applied_before(void)
{
    char dir[] = "/tmp/culvert-keep-XXXXXX", file[64];
    struct cv_err err;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/last", dir);
    begin();
    CU_ASSERT_EQUAL(orchestrator_keep(file, &err), CV_OK);
    CU_ASSERT_FALSE(orchestrator_has_rules());
    update(7, CV_STR("{\"ingress\":[{\"service\":\"http_status:404\"}]}"));
    update(8, CV_STR("{\"ingress\":[{\"service\":\"http_status:9\"}]}")); /* refused */
    end();
    begin();
    CU_ASSERT_EQUAL(orchestrator_keep(file, &err), CV_OK);
    orchestrator_publish();
    harness_turn(h);
    CU_ASSERT_EQUAL(orchestrator_version(), 7);
    CU_ASSERT_TRUE(orchestrator_has_rules());
    CU_ASSERT_EQUAL(h->worker->routes[TUNNEL_FIRST]->rules[0].status, 404);
    update(6, CV_STR("{\"ingress\":[{\"service\":\"http_status:405\"}]}"));
    CU_ASSERT_EQUAL(applied, 7);
    CU_ASSERT_EQUAL(h->worker->routes[TUNNEL_FIRST]->rules[0].status, 404);
    update(8, CV_STR("{\"ingress\":[{\"service\":\"http_status:406\"}]}"));
    CU_ASSERT_EQUAL(applied, 8);
    CU_ASSERT_EQUAL(h->worker->routes[TUNNEL_FIRST]->rules[0].status, 406);
    end();
    unlink(file);
    CU_ASSERT_EQUAL(rmdir(dir), 0);
}

static void serves_without_a_kept_configuration_that_is_of_no_use(void)
{
    static const char *const kept[] = {
        "{\"tunnel\":\"\",\"version\":7,\"config\":{\"ingress\":[{\"service\":\"nonsense\"}]}}",
        "{\"tunnel\":\"\",\"version\":7,\"config\":",
        "{\"tunnel\":\"11111111-2222-4333-8444-555555555555\",\"version\":7,\"config\":{}}",
    };
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        char file[] = "/tmp/culvert-keep-XXXXXX";
        struct cv_err err;
        int fd = mkstemp(file);
        CU_ASSERT_EQUAL(write(fd, kept[i], strlen(kept[i])), (ssize_t)strlen(kept[i]));
        close(fd);
        begin();
        CU_ASSERT_NOT_EQUAL(orchestrator_keep(file, &err), CV_OK);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, file));
        orchestrator_publish();
        harness_turn(h);
        CU_ASSERT_EQUAL(orchestrator_version(), -1);
        CU_ASSERT_TRUE(h->worker->routes[TUNNEL_FIRST]->rules[0].implicit);
        update(1, CV_STR("{\"ingress\":[{\"service\":\"http_status:404\"}]}"));
        CU_ASSERT_EQUAL(applied, 1);
        end();
        begin();
        CU_ASSERT_EQUAL(orchestrator_keep(file, &err), CV_OK); /* by a good one replaced */
        CU_ASSERT_EQUAL(orchestrator_version(), 1);
        end();
        unlink(file);
    }
}

/* ---- other local settings -------------------------------------------------------------------------------- */

static void allow(const char *what)
{
    static struct cv_str list[1];
    list[0] = cv_str_of(what);
    local_setup(&(struct origins_conf){ { list, *what ? 1 : 0 }, -1 }, &(struct rewrite_conf){ { NULL, 0 } });
}

static void rules_are_judged_again_when_the_local_settings_change(void)
{
    begin();
    update(7, CV_STR("{\"ingress\":[{\"path\":\"x\",\"service\":\"http://127.0.0.1:1\"},"
                     "{\"service\":\"http://10.0.0.1:1\"}]}"));
    struct cv_str key = h->worker->routes[TUNNEL_FIRST]->rules[0].pool_key;
    char before[256];
    snprintf(before, sizeof(before), CV_STR_FMT, CV_STR_ARG(key));
    allow("127.0.0.1");
    orchestrator_reread();
    harness_turn(h);
    local_settle();
    const struct cv_rule *rules = h->worker->routes[TUNNEL_FIRST]->rules;
    CU_ASSERT_EQUAL(orchestrator_version(), 7);
    CU_ASSERT_EQUAL(rules[0].barred.n, 0);
    CU_ASSERT(rules[1].barred.n > 0 && strstr(rules[1].barred.p, "10.0.0.1:1 is not among the targets"));
    CU_ASSERT_FALSE(cv_str_eq(rules[0].pool_key, cv_str_of(before))); /* its old connections are not used */
    update(
        8,
        CV_STR("{\"ingress\":[{\"service\":\"http://10.0.0.1:1\"}]}")); /* a new one is refused as a whole */
    CU_ASSERT_EQUAL(applied, 7);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "is not among the targets"));
    allow("");
    orchestrator_reread();
    harness_turn(h);
    local_settle();
    CU_ASSERT_EQUAL(h->worker->routes[TUNNEL_FIRST]->rules[1].barred.n, 0);
    end();
    local_free();
}

static void without_rules_there_is_nothing_to_judge(void)
{
    begin();
    allow("127.0.0.1");
    orchestrator_reread();
    harness_turn(h);
    CU_ASSERT_TRUE(h->worker->routes[TUNNEL_FIRST]->none);
    CU_ASSERT_FALSE(orchestrator_has_rules());
    end();
    local_free();
}

static void each_tunnel_has_its_own_rules_and_versions(void)
{
    struct cv_err err;
    begin();
    CU_ASSERT_EQUAL(orchestrator_local_service("http://127.0.0.1:8080", NULL, 0, &err), CV_OK);
    orchestrator_add_second();
    orchestrator_publish();
    harness_turn(h);
    struct route_table **routes = h->worker->routes;
    for (size_t i = 0; i < TUNNELS; i++)
        CU_ASSERT(cv_str_eq(routes[i]->rules[0].service, CV_STR("http://127.0.0.1:8080")));
    orchestrator_update(TUNNEL_SECOND, 5, CV_STR("{\"ingress\":[{\"service\":\"http_status:418\"}]}"),
                        on_outcome, NULL);
    harness_turn(h);
    CU_ASSERT_EQUAL(answers, 1);
    CU_ASSERT_EQUAL(applied, 5);
    CU_ASSERT_EQUAL(orchestrator_version(), -1); /* the first one's */
    CU_ASSERT_EQUAL(routes[TUNNEL_SECOND]->rules[0].status, 418);
    CU_ASSERT(cv_str_eq(routes[TUNNEL_FIRST]->rules[0].service, CV_STR("http://127.0.0.1:8080")));
    orchestrator_reread();
    harness_turn(h);
    CU_ASSERT_EQUAL(routes[TUNNEL_SECOND]->rules[0].status, 418);
    end();
}

SUITE(orchestrator, TEST(rules_are_judged_again_when_the_local_settings_change),
      TEST(without_rules_there_is_nothing_to_judge), TEST(follows_the_recorded_sequence),
      TEST(answers_only_when_the_workers_follow), TEST(what_waits_at_the_end_is_let_go),
      TEST(has_rules_of_its_own_before_the_first), TEST(serves_after_a_restart_what_was_applied_before),
      TEST(serves_without_a_kept_configuration_that_is_of_no_use), TEST(reads_rules_from_a_file),
      TEST(each_tunnel_has_its_own_rules_and_versions));
