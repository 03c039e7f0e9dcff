/* test_65_operate.c: what the process tells of itself, and what an operator makes it do. */
#include "scene.h"

#include "culvert/culvert.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* test_90_secrets.c looks for it */
#define OPERATOR_TOKEN "operator-41c2f0de77"

/* ---- probes -------------------------------------------------------------------------------------------- */

static void probe(struct scene *t, const char *target, int status)
{
    struct answer a = scene_metrics(t, target);
    CU_ASSERT_EQUAL(a.status, status);
    if (a.status != status)
        fprintf(stderr, "  %s is %d: %s\n", target, a.status, answer_text(&a));
    answer_free(&a);
}

static bool becomes(struct scene *t, const char *target, int status)
{
    for (long long until = now_in_ms() + PATIENCE_MS; now_in_ms() < until; sleep_ms(10)) {
        struct answer a = scene_metrics(t, target);
        int got = a.status;
        answer_free(&a);
        if (got == status)
            return true;
    }
    return false;
}

/* /startup and /healthcheck are 200 in every row: a process that can answer is up. */
static void probes_say(struct scene *t, int live, int ready, const char *reason)
{
    CU_ASSERT_TRUE(becomes(t, "/ready", ready));
    struct answer a = scene_metrics(t, "/ready");
    CHECK_STATUS(a, ready);
    if (*reason)
        CHECK_HOLDS(answer_text(&a), reason);
    else
        CU_ASSERT_PTR_NULL(strstr(answer_text(&a), "reason"));
    answer_free(&a);
    probe(t, "/startup", 200);
    probe(t, "/live", live);
    probe(t, "/healthcheck", 200);
}

static void an_edge_outage_ends_readiness_and_not_life(void)
{
    struct scene *t = scene_start(&(struct setup){ .transport = "http2" });
    probes_say(t, 200, 200, "");
    process_end(t->edge, 0);
    probes_say(t, 200, 503, "\"reason\":\"0 of 1 connections registered\"}");
    CU_ASSERT_EQUAL(scene_end(t, PATIENCE_MS), 0);
    process_end_all();
}

static void the_ini_says_how_many_connections_are_enough(void)
{
    struct setup two = { .transport = "http2",
                         .connections = 1,
                         .ini = "[metrics_prom]\nready_connections = 2\n" };
    struct scene *t = scene_start(&two);
    probes_say(t, 200, 503, "\"readyConnections\":1,\"connectorId\":\"");
    probes_say(t, 200, 503, "\"reason\":\"1 of 2 connections registered\"}");
    scene_stop(t);
}

/* The document is refused: the last rule does not match everything. */
static void without_rules_nothing_is_ready(void)
{
    struct setup none = { .transport = "quic",
                          .rules = "{\"ingress\":[{\"hostname\":\"a.example\",\"service\":\"$ORIGIN\"}]}" };
    struct scene *t = scene_start(&none);
    probes_say(t, 200, 503, "no configuration has come");
    struct answer a =
        scene_control(t, "POST", "/config?version=2", "{\"ingress\":[{\"service\":\"http_status:404\"}]}");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    probes_say(t, 200, 200, "");
    scene_stop(t);

    none.ini = "[metrics_prom]\nready_rules = no\n";
    t = scene_start(&none);
    probes_say(t, 200, 200, "");
    scene_stop(t);
}

static void a_module_that_cannot_work_is_not_ready(void)
{
    struct setup keys = { .transport = "http2",
                          .ini = "[access_headers]\nassertion = required\nteam = example\naudience = a\n"
                                 "certs_url = https://127.0.0.1:1/certs\n" };
    struct scene *t = scene_start(&keys);
    probes_say(t, 200, 503, "access_headers: the keys of the Access team cannot be had");
    scene_stop(t);

    struct setup guard = { .transport = "http2",
                           .alone = true,
                           .ini = "[cluster_guard]\ntunnel_id = 00000000-0000-4000-8000-000000000000\n"
                                  "on_mismatch = wait\n[metrics_prom]\nready_connections = 0\n"
                                  "ready_rules = no\n" };
    t = scene_start(&guard);
    probes_say(t, 200, 503, "cluster_guard: the token is of tunnel");
    scene_stop(t);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    chmod(path, 0600);
    fputs(text, f);
    fclose(f);
}

static void a_worker_that_is_held_up_ends_life(void)
{
    static const char path[] = SUITE_BUILD "/tests/sleep-on";
    write_file(path, "");
    char ini[512];
    snprintf(ini, sizeof(ini),
             "[culvert]\nstuck_after = 1500ms\nmodule_path = %s/modules, %s/tests/modules\n"
             "[sleeper]\nwhile_exists = %s\n",
             SUITE_BUILD, SUITE_BUILD, path);
    struct scene *t = scene_start(&(struct setup){ .transport = "http2", .ini = ini });
    probes_say(t, 200, 200, "");
    struct http1 visitor;
    CU_ASSERT_TRUE(scene_open(t, &visitor, "GET", "/sleep", NULL));
    probes_say(t, 503, 503, "worker 1 has not turned its loop for ");
    CU_ASSERT_TRUE(process_says(t->culvert, "ERR Worker 1 has not turned its loop for", PATIENCE_MS));
    unlink(path);
    CU_ASSERT_TRUE(http1_answer(&visitor, "GET"));
    CU_ASSERT_EQUAL(visitor.status, 200);
    http1_close(&visitor);
    probes_say(t, 200, 200, "");
    CU_ASSERT_TRUE(process_says(t->culvert, "Worker 1 turns again", PATIENCE_MS));
    scene_stop(t);
}

/* ---- drain --------------------------------------------------------------------------------------------- */

static sem_t held;

static bool waits(struct http1 *h, void *unused)
{
    (void)unused;
    http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    sem_within(&held, PATIENCE_MS);
    http1_sendf(h, "lf");
    return false;
}

/* A visitor whose answer is half there. */
static struct scene *half_way(struct http1 *visitor, const char *transport)
{
    sem_init(&held, 0, 0);
    struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = waits });
    CU_ASSERT_TRUE_FATAL(scene_open(t, visitor, "GET", "/", NULL));
    CU_ASSERT_TRUE(http1_answer(visitor, "GET"));
    return t;
}

static void a_drain_is_answered_when_all_have_finished(void)
{
    for (each_transport(transport)) {
        struct http1 visitor, operator;
        struct scene *t = half_way(&visitor, transport);
        CU_ASSERT_TRUE_FATAL(http1_connect(&operator, t->metrics));
        http1_sendf(&operator, "POST /drain HTTP/1.1\r\nHost: %s\r\n\r\n", t->metrics);
        CU_ASSERT_TRUE(process_says(t->culvert, "Unregistered tunnel connection", PATIENCE_MS));
        probes_say(t, 200, 503, "\"reason\":\"draining\"");
        sem_post(&held);
        struct cv_buf body = { 0 };
        CU_ASSERT_EQUAL(http1_read_all(&visitor, &body), 0);
        CU_ASSERT_EQUAL(body.n, 4);
        cv_buf_free(&body);
        http1_close(&visitor);
        CU_ASSERT_TRUE(http1_answer(&operator, "POST"));
        CU_ASSERT_EQUAL(operator.status, 200);
        CU_ASSERT_EQUAL(http1_read_all(&operator, & body), 0);
        cv_buf_add(&body, "", 1);
        CHECK_HOLDS((char *)body.p, "{\"drained\":true,\"finished\":1,\"cut\":0,\"ms\":");
        cv_buf_free(&body);
        http1_close(&operator);
        struct answer again = scene_operate(t, "POST", "/drain?timeout=1s", NULL);
        CHECK_HOLDS(answer_text(&again), "\"finished\":1,\"cut\":0,");
        answer_free(&again);
        scene_stop(t);
    }
}

static void what_has_not_finished_in_time_is_cut_and_counted(void)
{
    for (each_transport(transport)) {
        struct http1 visitor;
        struct scene *t = half_way(&visitor, transport);
        struct answer a = scene_operate(t, "POST", "/drain?timeout=300ms", NULL);
        CHECK_STATUS(a, 200);
        CHECK_HOLDS(answer_text(&a), "{\"drained\":true,\"finished\":0,\"cut\":1,\"ms\":");
        answer_free(&a);
        CU_ASSERT_TRUE(process_running(t->culvert));
        sem_post(&held);
        http1_close(&visitor);
        scene_stop(t);
    }
}

static void whoever_asked_for_a_drain_may_leave(void)
{
    struct http1 visitor, operator;
    struct scene *t = half_way(&visitor, "http2");
    CU_ASSERT_TRUE_FATAL(http1_connect(&operator, t->metrics));
    http1_sendf(&operator, "POST /drain HTTP/1.1\r\nHost: %s\r\n\r\n", t->metrics);
    CU_ASSERT_TRUE(process_says(t->culvert, "Unregistered tunnel connection", PATIENCE_MS));
    http1_close(&operator);
    sem_post(&held);
    struct answer a = scene_operate(t, "POST", "/drain", NULL);
    CHECK_STATUS(a, 200);
    answer_free(&a);
    http1_close(&visitor);
    scene_stop(t);
}

/* Asks for the end of a drain, and sees that there is no answer yet. */
static void ask_for_the_end(struct scene *t, struct http1 *router)
{
    CU_ASSERT_TRUE_FATAL(http1_connect(router, t->metrics));
    http1_sendf(router, "GET /drained HTTP/1.1\r\nHost: pod\r\n\r\n");
    struct answer a = scene_metrics(t, "/live"); /* later than it, on the same thread */
    CHECK_STATUS(a, 200);
    answer_free(&a);
    CU_ASSERT_EQUAL(recv(router->fd, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT), -1);
}

static void who_has_to_outlive_the_visitors_learns_of_the_end(void)
{
    struct http1 visitor, router;
    struct scene *t = half_way(&visitor, "quic");
    ask_for_the_end(t, &router);
    sem_post(&held);
    http1_close(&visitor);
    struct answer a = scene_operate(t, "POST", "/drain", NULL);
    CHECK_STATUS(a, 200);
    answer_free(&a);
    CU_ASSERT_TRUE(http1_answer(&router, "GET"));
    CU_ASSERT_EQUAL(router.status, 200);
    http1_close(&router);
    a = scene_metrics(t, "/drained");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    scene_stop(t);
}

/* An ordinary container gets SIGTERM at once, and nobody orders a drain. */
static void who_has_to_outlive_the_visitors_is_let_go_at_sigterm(void)
{
    struct http1 visitor, router;
    struct scene *t = half_way(&visitor, "http2");
    ask_for_the_end(t, &router);
    process_signal(t->culvert, SIGTERM);
    CU_ASSERT_TRUE(process_says(t->culvert, "Unregistered tunnel connection", PATIENCE_MS));
    CU_ASSERT_EQUAL(recv(router.fd, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    sem_post(&held);
    CU_ASSERT_TRUE(recv(router.fd, &(char){ 0 }, 1, MSG_PEEK) >= 0); /* answered, or hung up */
    CU_ASSERT_EQUAL(process_end(t->culvert, PATIENCE_MS), 0);
    http1_close(&router);
    http1_close(&visitor);
    scene_stop(t);
}

/* ---- the words of the command line --------------------------------------------------------------------- */

/* `culvert WORD FLAGS --metrics ADDRESS`: its exit status, and that it said so. */
static void word_says(const char *word, const char *flag, const char *metrics, int status, const char *said)
{
    static const char program[] = SUITE_BUILD "/culvert";
    const char *argv[] = { program, word, "--metrics", metrics, flag, NULL };
    struct process *p = process_start(argv, (const char *const[]){ "PATH=/nonexistent", NULL });
    int got = process_end(p, PATIENCE_MS);
    char *text = process_output(p);
    CU_ASSERT_EQUAL(got, status);
    CHECK_HOLDS(text, said);
    free(text);
}

static void words_do_it_without_a_shell(void)
{
    static const char ini[] = "[log]\noutput = default\n[metrics_prom]\nready_connections = ";
    char more[128], path[96];
    struct http1 visitor;
    sem_init(&held, 0, 0);
    snprintf(more, sizeof(more), "%s1\n", ini);
    struct scene *t = scene_start(&(struct setup){ .transport = "http2", .origin = waits, .ini = more });
    snprintf(path, sizeof(path), "%s/ini", t->dir);
    word_says("ready", NULL, t->metrics, 0, "{\"status\":200,\"readyConnections\":1,");
    word_says("ready", NULL, "127.0.0.1:1", 2, "No culvert answers at 127.0.0.1:1.");
    word_says("ready", "--timeout=soon", t->metrics, 255, "-timeout: parse error");
    snprintf(more, sizeof(more), "%s2\n", ini);
    write_file(path, more);
    word_says("reload", NULL, t->metrics, 0, "{\"reloaded\":true,\"problems\":\"\"}");
    word_says("ready", "--timeout=300ms", t->metrics, 1, "1 of 2 connections registered");
    write_file(path, "[log]\nlevle = info\n");
    word_says("reload", NULL, t->metrics, 1, "ini:2: [log] has no option \\\"levle\\\"");
    CU_ASSERT_TRUE_FATAL(scene_open(t, &visitor, "GET", "/", NULL));
    CU_ASSERT_TRUE(http1_answer(&visitor, "GET"));
    word_says("drain", "--timeout=300ms", t->metrics, 1, "{\"drained\":true,\"finished\":0,\"cut\":1,");
    sem_post(&held);
    http1_close(&visitor);
    scene_stop(t);

    t = scene_start(&(struct setup){ .transport = "quic" });
    word_says("drain", NULL, t->metrics, 0, "{\"drained\":true,\"finished\":0,\"cut\":0,");
    scene_stop(t);
}

/* ---- who may ------------------------------------------------------------------------------------------- */

static void a_page_in_a_browser_cannot_give_orders(void)
{
    static const struct {
        const char *fields;
        int status;
    } cases[] = {
        { "Host: localhost\r\n", 200 },
        { "Host: localhost:20241\r\n", 200 },
        { "Host: 127.0.0.1:20241\r\n", 200 },
        { "Host: [::1]:20241\r\n", 200 },
        { "Host: evil.example.com\r\n", 403 }, /* a name that was bent to point here */
        { "Host: localhost.example.com\r\n", 403 },
        { "Host: 127.0.0.1.example.com\r\n", 403 },
        { "", 403 },
        { "Host: localhost\r\nOrigin: https://evil.example.com\r\n", 403 },
        { "Host: localhost\r\nOrigin: null\r\n", 403 },
        { "Host: evil.example.com\r\nAuthorization: Bearer " OPERATOR_TOKEN "\r\n", 200 },
        { "Host: evil.example.com\r\nAuthorization: bearer " OPERATOR_TOKEN "\r\n", 200 },
        { "Host: evil.example.com\r\nAuthorization: Bearer " OPERATOR_TOKEN "x\r\n", 403 },
        { "Host: evil.example.com\r\nAuthorization: Bearer " OPERATOR_TOKEN " \r\nOrigin: null\r\n", 200 },
        { "Host: evil.example.com\r\nAuthorization: Bearer \r\n", 403 },
        { "Host: evil.example.com\r\nAuthorization: Basic " OPERATOR_TOKEN "\r\n", 403 },
    };
    static const char path[] = SUITE_BUILD "/tests/operator-token";
    write_file(path, OPERATOR_TOKEN "\n");
    struct scene *t = scene_start(&(struct setup){
        .transport = "http2", .ini = "[metrics_prom]\ntoken = file:" SUITE_BUILD "/tests/operator-token\n" });
    unlink(path);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a = scene_operate(t, "PUT", "/loglevel?level=debug", cases[i].fields);
        CU_ASSERT_EQUAL(a.status, cases[i].status);
        if (a.status != cases[i].status)
            fprintf(stderr, "  %d instead of %d for %s\n", a.status, cases[i].status, cases[i].fields);
        answer_free(&a);
    }
    scene_stop(t);
}

static void orders_have_their_method_and_their_words(void)
{
    static const struct {
        const char *method, *target;
        int status;
    } cases[] = { { "GET", "/drain", 405 },
                  { "GET", "/reload", 405 },
                  { "POST", "/ready", 405 },
                  { "POST", "/loglevel", 405 },
                  { "PUT", "/loglevel?level=loud", 400 },
                  { "PUT", "/loglevel", 400 },
                  { "POST", "/drain?timeout=soon", 400 },
                  { "POST", "/drain?timeout=-1s", 400 },
                  { "POST", "/drain?timeout=99999h", 400 },
                  { "POST", "/drain?timeout=1m30", 400 },
                  { "GET", "/nothing", 404 } };
    struct scene *t = scene_start(&(struct setup){ .transport = "http2" });
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a = scene_operate(t, cases[i].method, cases[i].target, NULL);
        CU_ASSERT_EQUAL(a.status, cases[i].status);
        if (a.status != cases[i].status)
            fprintf(stderr, "  %d for %s %s\n", a.status, cases[i].method, cases[i].target);
        answer_free(&a);
    }
    probe(t, "/ready", 200);
    scene_stop(t);
}

/* From another machine, as it were. */
static int ask_from_afar(struct scene *t, const char *request)
{
    char at[32];
    struct http1 h;
    snprintf(at, sizeof(at), "10.77.0.2%s", strrchr(t->metrics, ':'));
    wire_enter_far(t->wire);
    bool there = http1_connect(&h, at);
    wire_leave_far(t->wire);
    bool answered = there && http1_sendf(&h, "%s", request) && http1_answer(&h, "PUT");
    int status = answered ? h.status : 0;
    http1_close(&h);
    return status;
}

static void from_elsewhere_orders_need_the_token(void)
{
    static const char path[] = SUITE_BUILD "/tests/operator-token";
    struct wire *wire = wire_start();
    if (!wire)
        return;
    write_file(path, OPERATOR_TOKEN "\n");
    struct scene *t = scene_start(
        &(struct setup){ .transport = "http2",
                         .wire = wire,
                         .flags = "--metrics 0.0.0.0:0",
                         .ini = "[metrics_prom]\ntoken = file:" SUITE_BUILD "/tests/operator-token\n" });
    unlink(path);
    CU_ASSERT_EQUAL(ask_from_afar(t, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    CU_ASSERT_EQUAL(ask_from_afar(t, "PUT /loglevel?level=debug HTTP/1.1\r\nHost: localhost\r\n\r\n"), 401);
    CU_ASSERT_EQUAL(ask_from_afar(t, "POST /drain HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), 401);
    CU_ASSERT_EQUAL(ask_from_afar(t, "POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n"), 401);
    CU_ASSERT_EQUAL(ask_from_afar(t, "PUT /loglevel?level=debug HTTP/1.1\r\nHost: localhost\r\n"
                                     "Authorization: Bearer " OPERATOR_TOKEN "\r\n\r\n"),
                    200);
    scene_stop(t);
    wire_stop(wire);
}

/* ---- what `cloudflared tunnel diag` collects -------------------------------------------------------------- */

static void diagnosis_has_the_shape_that_cloudflared_gives_it(void)
{
    static const char *const keys[] = { "{\"info\":{\"memoryMaximum\":",
                                        ",\"memoryCurrent\":",
                                        ",\"fileDescriptorMaximum\":",
                                        ",\"fileDescriptorCurrent\":",
                                        ",\"osSystem\":\"Linux\",\"hostName\":\"",
                                        ",\"osVersion\":\"",
                                        ",\"osRelease\":\"",
                                        ",\"architecture\":\"",
                                        ",\"cloudflaredVersion\":\"culvert",
                                        ",\"goVersion\":\"",
                                        ",\"goArch\":\"",
                                        ",\"disk\":[{\"name\":\"",
                                        ",\"sizeMaximum\":",
                                        ",\"sizeCurrent\":",
                                        "}]},\"errors\":{}}\n" };
    char wanted[64];
    struct scene *t =
        scene_start(&(struct setup){ .transport = "quic",
                                     .connections = 2,
                                     .flags = "--tag A=b --tag C=d --url http://u --grace-period 5s" });
    struct answer a = scene_metrics(t, "/diag/configuration");
    CHECK_HOLDS(answer_text(&a), "\"grace-period\":\"5s\",\"ha-connections\":\"2\",\"loglevel\":\"debug\",");
    CHECK_HOLDS(answer_text(&a), "\"protocol\":\"quic\",\"tag\":\"[A=b C=d]\",");
    snprintf(wanted, sizeof(wanted), "\"uid\":\"%u\",\"url\":\"http://u\"}\n", (unsigned)getuid());
    CHECK_HOLDS(answer_text(&a), wanted);
    answer_free(&a);
    a = scene_metrics(t, "/diag/tunnel");
    CHECK_HOLDS(answer_text(&a), "\",\"connectorID\":\"");
    CHECK_HOLDS(answer_text(&a), "{\"isConnected\":true,\"protocol\":1,\"edgeAddress\":\"127.0.0.1\"}");
    CHECK_HOLDS(answer_text(&a),
                "{\"isConnected\":true,\"protocol\":1,\"edgeAddress\":\"127.0.0.1\",\"index\":1}");
    answer_free(&a);
    a = scene_metrics(t, "/diag/system");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        CHECK_HOLDS(answer_text(&a), keys[i]);
    answer_free(&a);
    scene_stop(t);
}

SUITE(system_65_operate, TEST(an_edge_outage_ends_readiness_and_not_life),
      TEST(the_ini_says_how_many_connections_are_enough), TEST(without_rules_nothing_is_ready),
      TEST(a_module_that_cannot_work_is_not_ready), TEST(a_worker_that_is_held_up_ends_life),
      TEST(a_drain_is_answered_when_all_have_finished),
      TEST(what_has_not_finished_in_time_is_cut_and_counted), TEST(whoever_asked_for_a_drain_may_leave),
      TEST(who_has_to_outlive_the_visitors_learns_of_the_end),
      TEST(who_has_to_outlive_the_visitors_is_let_go_at_sigterm), TEST(words_do_it_without_a_shell),
      TEST(a_page_in_a_browser_cannot_give_orders), TEST(orders_have_their_method_and_their_words),
      TEST(from_elsewhere_orders_need_the_token), TEST(diagnosis_has_the_shape_that_cloudflared_gives_it));
