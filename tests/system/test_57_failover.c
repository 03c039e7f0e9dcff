/* test_57_failover.c: two tunnels of two edges: who serves while the first is there, is not, and is there again. */
#include "scene.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Each tunnel has its own token, edge and rules; what both edges have is the authority of their certificates. */
static struct {
    struct scene *first;
    struct scene second; /* its edge alone */
    char dir[64], token[96], rules[96];
} both;

static const char first_rules[] = "{\"ingress\":[{\"hostname\":\"a.example\",\"service\":\"$ORIGIN\"},"
                                  "{\"service\":\"http_status:404\"}]}";
static const char second_rules[] = "{\"ingress\":[{\"path\":\"^/who$\",\"service\":\"http_status:418\"},"
                                   "{\"service\":\"$ORIGIN\"}]}";

static void start_second_edge(void)
{
    static const char program[] = SUITE_BUILD "/edge_sim";
    struct scene *t = &both.second;
    char key[96], *text;
    snprintf(both.dir, sizeof(both.dir), "/tmp/culvert-failover-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(both.dir));
    snprintf(both.token, sizeof(both.token), "%s/token", both.dir);
    snprintf(both.rules, sizeof(both.rules), "%s/rules", both.dir);
    snprintf(key, sizeof(key), "%s/ca.key", both.first->dir);
    scene_rules(both.first, second_rules, &text);
    FILE *f = fopen(both.rules, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
    free(text);
    t->edge = process_start((const char *const[]){ program, "--ca-key", key, "--token-out", both.token,
                                                   "--config", both.rules, NULL },
                            (const char *const[]){ NULL });
    CU_ASSERT_TRUE_FATAL(process_says(t->edge, "\nready\n", PATIENCE_MS));
    char *said = process_output(t->edge);
    CU_ASSERT_EQUAL_FATAL(sscanf(said, "edge %31s edge %31s front %31s control %31s", t->edges[0],
                                 t->edges[1], t->front, t->control),
                          4);
    free(said);
}

/* `more` are lines of [failover]. In a moment the first counts as down, in another as back. */
static const char *ini_with(const char *more, char ini[static 512])
{
    snprintf(ini, 512, "[failover]\nedge = %s, %s\nafter = 300ms\nback = 500ms\n%s", both.second.edges[0],
             both.second.edges[1], more);
    return ini;
}

static void restart_with(const struct setup *first, const char *more)
{
    char ini[512];
    struct setup setup = *first;
    setup.ini = ini_with(more, ini);
    scene_restart(both.first, &setup);
}

static void reload_with(const char *more)
{
    char ini[512], lines[256];
    snprintf(lines, sizeof(lines), "token_file = %s\n%s", both.token, more);
    scene_ini(both.first, ini_with(lines, ini));
    process_forget(both.first->culvert);
    process_signal(both.first->culvert, SIGHUP);
    CU_ASSERT_TRUE(process_says(both.first->culvert, "Configuration reloaded", PATIENCE_MS));
}

static void begin(const struct setup *setup, const char *more)
{
    char lines[256];
    memset(&both, 0, sizeof(both));
    both.first = scene_start(&(struct setup){ .transport = setup->transport, .rules = setup->rules });
    start_second_edge();
    snprintf(lines, sizeof(lines), "token_file = %s\n%s", both.token, more);
    restart_with(setup, lines);
}

static void end(void)
{
    CU_ASSERT_EQUAL(scene_end(both.first, PATIENCE_MS), 0);
    CU_ASSERT_TRUE(scene_wait(&both.second, "registered=0"));
    process_signal(both.second.edge, SIGTERM);
    CU_ASSERT_EQUAL(process_end(both.second.edge, PATIENCE_MS), 0);
    scene_stop(both.first);
    unlink(both.token);
    unlink(both.rules);
    rmdir(both.dir);
}

static struct setup plain(const char *transport)
{
    return (struct setup){ .transport = transport, .rules = first_rules };
}

/* ---- what is asked ---------------------------------------------------------------------------------------------- */

static void check_status(struct scene *t, const char *target, int status)
{
    struct answer a = scene_get(t, target);
    CHECK_STATUS(a, status);
    answer_free(&a);
}

/* A worker hears of it in its next turn. */
static void wait_until_served(struct scene *t)
{
    int status = 0;
    for (long long until = now_in_ms() + PATIENCE_MS; status != 200 && now_in_ms() < until;) {
        struct answer a = scene_get(t, "/");
        status = a.status;
        answer_free(&a);
    }
    CU_ASSERT_EQUAL(status, 200);
}

/* It is told its rules the first time. */
static void wait_for_second(unsigned times)
{
    char query[80];
    snprintf(query, sizeof(query), "event=registered&count=%u&timeout=60s", times);
    CU_ASSERT_TRUE(scene_wait(&both.second, query));
    CU_ASSERT_TRUE(scene_wait(&both.second, "event=config-answer&count=1&timeout=60s"));
}

/* As a load balancer before two tunnels: where there is no connector, the other one is asked. */
static int visit_either(void)
{
    struct answer a = scene_get(&both.second, "/");
    if (a.head && strstr(a.head, "X-Edge-Source: edge\r\n")) {
        answer_free(&a);
        a = scene_get(both.first, "/");
    }
    int status = a.status;
    CHECK_STATUS(a, 200);
    answer_free(&a);
    return status;
}

static bool counts(const char *series, double value)
{
    return scene_counts(both.first, series, value);
}

static void open_upload(struct scene *t, struct http1 *h)
{
    unsigned before = origin_requests(both.first->origin);
    CU_ASSERT_TRUE(scene_open(t, h, "POST", "/echo", "Content-Length: 4\r\n"));
    CU_ASSERT_TRUE(http1_send(h, "la", 2));
    for (int i = 0; i < 1000 && origin_requests(both.first->origin) == before; i++)
        sleep_ms(5);
}

static bool finish_upload(struct http1 *h)
{
    struct cv_buf body = { 0 };
    bool ok = http1_send(h, "te", 2) && http1_answer(h, "POST") && h->status == 200 &&
              http1_read_all(h, &body) == 0 && body.n == 4 && memcmp(body.p, "late", 4) == 0;
    cv_buf_free(&body);
    http1_close(h);
    return ok;
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void the_second_serves_while_the_first_is_down(void)
{
    struct setup setup = plain("http2");
    begin(&setup, "");
    CU_ASSERT_TRUE(process_says(both.first->culvert, "Standing by", PATIENCE_MS));
    check_status(both.first, "/who", 200);
    CU_ASSERT_EQUAL(scene_seen(&both.second, "registered"), 0);
    CU_ASSERT_TRUE(counts("culvert_tunnel_active{tunnel=\"first\"}", 1));
    CU_ASSERT_TRUE(counts("culvert_tunnel_active{tunnel=\"second\"}", 0));

    long long began = now_in_ms();
    process_end(both.first->edge, 0);
    wait_for_second(1);
    CU_ASSERT_TRUE(SANITIZED || now_in_ms() - began < 3000);
    check_status(&both.second, "/who", 418); /* its own rules */
    check_status(&both.second, "/", 200);
    CU_ASSERT_TRUE(counts("culvert_tunnel_active{tunnel=\"first\"}", 0));
    CU_ASSERT_TRUE(counts("culvert_tunnel_active{tunnel=\"second\"}", 1));
    CU_ASSERT_TRUE(counts("culvert_failovers_total", 1));
    struct answer ready = scene_metrics(both.first, "/ready");
    CHECK_STATUS(ready, 200);
    answer_free(&ready);
    CU_ASSERT_TRUE(process_says(both.first->culvert, "the second takes over", PATIENCE_MS));
    scene_restart_edge(both.first, &setup);
    end();
}

static void going_back_loses_no_request(void)
{
    struct setup setup = plain("http2");
    struct http1 slow;
    begin(&setup, "");
    for (unsigned times = 1; times <= 2; times++) {
        process_end(both.first->edge, 0);
        wait_for_second(times);
        open_upload(&both.second, &slow);
        scene_restart_edge(both.first, &setup);
        unsigned asked = 0;
        for (long long until = now_in_ms() + PATIENCE_MS;
             now_in_ms() < until && scene_seen(&both.second, "unregister") < times; asked++)
            CU_ASSERT_EQUAL(visit_either(), 200);
        for (unsigned i = 0; i < 50; i++)
            CU_ASSERT_EQUAL(visit_either(), 200);
        CU_ASSERT_TRUE(asked > 0);
        CU_ASSERT_TRUE(finish_upload(&slow));
        CU_ASSERT_TRUE(scene_wait(&both.second, "registered=0"));
        check_status(both.first, "/who", 200);
        CU_ASSERT_TRUE(counts("culvert_failovers_total", times));
    }
    CU_ASSERT_EQUAL(process_count(both.first->culvert, "the second stands back"), 2);
    end();
}

/* The one that drains may take its time: it is not in the way of a new connection. */
static void the_second_comes_again_while_it_still_drains(void)
{
    struct setup setup = plain("http2");
    struct http1 slow;
    begin(&setup, "");
    process_end(both.first->edge, 0);
    wait_for_second(1);
    open_upload(&both.second, &slow);
    scene_restart_edge(both.first, &setup);
    CU_ASSERT_TRUE(scene_wait(&both.second, "event=unregister&count=1&timeout=60s"));
    process_end(both.first->edge, 0);
    CU_ASSERT_TRUE(scene_wait(&both.second, "event=registered&count=2&timeout=60s"));
    check_status(&both.second, "/", 200);
    CU_ASSERT_TRUE(finish_upload(&slow));
    scene_restart_edge(both.first, &setup);
    end();
}

static void hot_has_both_and_each_hostname_at_one(void)
{
    for (each_transport(transport)) {
        struct setup setup = plain(transport);
        begin(&setup, "mode = hot\n");
        wait_for_second(1);
        CU_ASSERT_TRUE(counts("culvert_tunnel_active{tunnel=\"first\"}", 1));
        CU_ASSERT_TRUE(counts("culvert_tunnel_active{tunnel=\"second\"}", 1));
        check_status(both.first, "/", 200);
        struct answer refused = scene_get(&both.second, "/"), own;
        CHECK_STATUS(refused, 502);
        own = scene_visit(&both.second, "GET", "/", "Host: b.example\r\n", NULL, 0);
        CHECK_STATUS(own, 200);
        answer_free(&refused);
        answer_free(&own);
        process_end(both.first->edge, 0);
        CU_ASSERT_TRUE(process_says(both.first->culvert, "the second takes over", PATIENCE_MS));
        wait_until_served(&both.second);
        scene_restart_edge(both.first, &setup);
        end();
    }
}

static void overlap_and_mode_may_change_while_it_runs(void)
{
    struct setup setup = plain("http2");
    begin(&setup, "mode = hot\n");
    wait_for_second(1);
    check_status(&both.second, "/", 502);
    reload_with("mode = hot\noverlap = yes\n");
    check_status(both.first, "/", 200);
    wait_until_served(&both.second);
    reload_with("");
    CU_ASSERT_TRUE(scene_wait(&both.second, "registered=0"));
    check_status(both.first, "/", 200);
    reload_with("mode = hot\n");
    wait_for_second(2);
    end();
}

static void a_drain_is_of_both(void)
{
    struct setup setup = plain("http2");
    struct http1 slow[2];
    begin(&setup, "mode = hot\noverlap = yes\n");
    wait_for_second(1);
    open_upload(both.first, &slow[0]);
    open_upload(&both.second, &slow[1]);
    process_signal(both.first->culvert, SIGUSR1);
    CU_ASSERT_TRUE(scene_wait(both.first, "event=unregister&count=1&timeout=60s"));
    CU_ASSERT_TRUE(scene_wait(&both.second, "event=unregister&count=1&timeout=60s"));
    for (unsigned i = 0; i < 2; i++)
        CU_ASSERT_TRUE(finish_upload(&slow[i]));
    CU_ASSERT_TRUE(scene_wait(&both.second, "registered=0"));
    CU_ASSERT_TRUE(process_running(both.first->culvert));
    end();
}

static void a_second_that_is_refused_does_not_harm_the_first(void)
{
    struct setup setup = plain("http2");
    begin(&setup, "");
    restart_with(&setup, "mode = hot\ntoken = file:tests/vectors/token/good.txt\n");
    CU_ASSERT_TRUE(process_says(both.first->culvert, "Register tunnel error from server side", PATIENCE_MS));
    char *said = process_output(both.first->culvert);
    CHECK_HOLDS(said, "tunnel=second");
    free(said);
    check_status(both.first, "/", 200);
    CU_ASSERT_EQUAL(scene_seen(&both.second, "registered"), 0);
    restart_with(&setup, "mode = hot\ntoken = file:tests/vectors/README.md\n");
    CU_ASSERT_TRUE(process_says(both.first->culvert, "the second tunnel cannot be used", PATIENCE_MS));
    check_status(both.first, "/", 200);
    end();
}

static void a_first_that_is_refused_from_the_beginning_is_stood_in_for(void)
{
    struct setup setup = plain("http2");
    begin(&setup, "");
    struct answer a = scene_control(both.first, "POST", "/script",
                                    "refuse:permanent:Unauthorized\nrefuse:permanent:Unauthorized\n"
                                    "refuse:permanent:Unauthorized\nrefuse:permanent:Unauthorized\n");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    char lines[160];
    snprintf(lines, sizeof(lines), "token_file = %s\n", both.token);
    setup.alone = true;
    restart_with(&setup, lines);
    wait_for_second(1);
    check_status(&both.second, "/", 200);
    end();
}

SUITE(system_57_failover, TEST(the_second_serves_while_the_first_is_down), TEST(going_back_loses_no_request),
      TEST(the_second_comes_again_while_it_still_drains), TEST(hot_has_both_and_each_hostname_at_one),
      TEST(overlap_and_mode_may_change_while_it_runs), TEST(a_drain_is_of_both),
      TEST(a_second_that_is_refused_does_not_harm_the_first),
      TEST(a_first_that_is_refused_from_the_beginning_is_stood_in_for));
