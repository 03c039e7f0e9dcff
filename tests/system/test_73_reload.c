/* test_73_reload.c: SIGHUP under load: options, filters, exporters and transports change, and nobody notices. */
#include "load.h"
#include "scene.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    RELOADS = SANITIZED ? 24 : 100,
    STORM = SANITIZED ? 100 : 1000,
    SETTLED = RELOADS / 5,
    GROWTH = 1536 * 1024
};

/* /events: ten events, 30 ms apart; else the body says which request it was. */
static bool answer(struct http1 *c, void *unused)
{
    if (strcmp(c->target, "/events") != 0)
        return origin_plain(c, unused);
    if (!http1_sendf(
            c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"))
        return false;
    for (int i = 0; i < 10; i++, sleep_ms(30))
        if (!http1_sendf(c, "9\r\ndata: %d\n\n\r\n", i))
            return false;
    return http1_sendf(c, "0\r\n\r\n");
}

static struct load *some_load(const struct scene *t)
{
    static struct load l;
    l = (struct load){ .front = t->front,
                       .short_threads = 4,
                       .stream_threads = 4,
                       .short_path = "/short",
                       .short_holds = "GET /short",
                       .stream_path = "/events",
                       .stream_holds = "data: 9\n\n",
                       .pause_ms = 2,
                       .timeout_ms = PATIENCE_MS };
    load_start(&l);
    return &l;
}

static void end_load(struct load *l)
{
    for (long long until = now_in_ms() + PATIENCE_MS;
         (l->done <= 20 || l->streams < 4) && now_in_ms() < until;)
        sleep_ms(10);
    load_stop(l);
    CU_ASSERT_EQUAL(l->failed, 0);
    if (l->failed)
        fprintf(stderr, "  %u of %u failed; the first: %s\n", (unsigned)l->failed,
                (unsigned)(l->done + l->streams), l->first_failure);
    CU_ASSERT_TRUE(l->done > 20 && l->streams >= 4);
}

static bool wait_for_count(struct process *p, const char *text, unsigned n)
{
    long long until = now_in_ms() + PATIENCE_MS;
    while (process_count(p, text) < n && process_running(p) && now_in_ms() < until)
        sleep_ms(2);
    return process_count(p, text) >= n;
}

static void reload(struct scene *t, const char *ini, const char *outcome)
{
    unsigned before = process_count(t->culvert, outcome);
    scene_ini(t, ini);
    process_signal(t->culvert, SIGHUP);
    CU_ASSERT_TRUE_FATAL(wait_for_count(t->culvert, outcome, before + 1));
}

/* ---- options, filters, exporters ------------------------------------------------------------------------ */

/* What has left is taken down once it is out of use. */
static bool becomes_small(struct process *p, long rss, unsigned files)
{
    bool small = false;
    for (long long until = now_in_ms() + PATIENCE_MS; !small && now_in_ms() < until; sleep_ms(20))
        small = (SANITIZED || process_rss(p) - rss < GROWTH) && process_files(p) <= files + 4;
    return small;
}

static void a_hundred_reloads_under_load_lose_nothing_and_leak_nothing(void)
{
    static const char *const inis[] = {
        "[sse]\nheartbeat = 15s\n[limits]\npipe = 64k\n",
        "[concurrency]\nlimit = 500\n[origin_proxy]\nidle_timeout = 30s\n",
        "[access_headers]\nenabled = no\n[concurrency]\nlimit = 400\n",
        "[metrics_prom x]\nlisten = 127.0.0.1:0\n[access_headers]\nbearer = off\n",
        "",
        "[culvert]\nerror_header = no\n[tunnel]\nretries = 3\nha_connections = 3\n",
    };
    enum { INIS = sizeof(inis) / sizeof(inis[0]) };
    for (each_transport(transport)) {
        struct scene *t = scene_start(
            &(const struct setup){ .transport = transport, .connections = 2, .ini = "", .origin = answer });
        struct load *l = some_load(t);
        long rss = 0;
        unsigned files = 0;
        for (unsigned i = 0; i < RELOADS; i++) {
            reload(t, inis[i % INIS], "Configuration reloaded, ");
            sleep_ms(20);
            if (i == SETTLED) {
                rss = process_rss(t->culvert);
                files = process_files(t->culvert);
            }
        }
        end_load(l);
        reload(t, "", "Configuration reloaded, ");
        bool small = becomes_small(t->culvert, rss, files);
        CU_ASSERT_TRUE(small);
        if (!small)
            fprintf(stderr, "  %ld KiB after %d reloads, %ld after %d; %u files, %u\n", rss / 1024, SETTLED,
                    process_rss(t->culvert) / 1024, RELOADS, files, process_files(t->culvert));
        CU_ASSERT_EQUAL(process_count(t->culvert, "not reloaded"), 0);
        scene_stop(t);
    }
}

static void a_storm_of_signals_is_one_reload_after_the_other(void)
{
    static const char *const inis[] = {
        "[concurrency]\nlimit = 500\n",
        "[access_headers x]\nbearer = present\n[metrics_prom x]\nlisten = nonsense\n", /* begins, and is taken back */
        "[health]\ninterval = 100ms\n",
    };
    struct scene *t = scene_start(
        &(const struct setup){ .transport = "quic", .connections = 2, .ini = "", .origin = answer });
    struct load *l = some_load(t);
    reload(t, "[concurrency]\nlimit = 500\n", "Configuration reloaded, ");
    long rss = process_rss(t->culvert);
    for (int i = 0; i < STORM; i++) {
        if (i % 10 == 0)
            scene_ini(t, inis[i / 10 % 3]);
        process_signal(t->culvert, SIGHUP);
        if (i % 50 == 0)
            sleep_ms(10);
    }
    end_load(l);
    CU_ASSERT_TRUE(SANITIZED || process_rss(t->culvert) - rss < 2 * GROWTH);
    CU_ASSERT_TRUE(process_count(t->culvert, "Configuration reloaded, 0 changes") > 0);
    scene_stop(t);
}

static void a_filter_counts_for_requests_that_begin_after_it_came(void)
{
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(const struct setup){ .transport = transport, .ini = "", .origin = answer });
        struct http1 before;
        CU_ASSERT_TRUE_FATAL(scene_open(t, &before, "GET", "/events", NULL));
        CU_ASSERT_TRUE(http1_answer(&before, "GET"));
        reload(t, "[access_headers x]\nbearer = present\n", "Configuration reloaded, ");
        struct answer a = scene_get(t, "/short");
        CHECK_STATUS(a, 401);
        answer_free(&a);
        struct cv_buf body = { 0 };
        CU_ASSERT_EQUAL(before.status, 200);
        CU_ASSERT_EQUAL(http1_read_all(&before, &body), 0); /* it began without the filter */
        http1_close(&before);
        cv_buf_free(&body);
        reload(t, "", "Configuration reloaded, ");
        a = scene_get(t, "/short");
        CHECK_STATUS(a, 200);
        answer_free(&a);
        scene_stop(t);
    }
}

static void a_bad_file_changes_nothing_and_every_error_has_its_line(void)
{
    struct scene *t = scene_start(&(const struct setup){ .transport = "http2", .ini = "", .origin = answer });
    reload(
        t,
        "[log]\nlevle = info\n[tunnel]\nretries = many\n[sse]\nheartbeat = soon\n[concurrency]\nlimit = 1\n",
        "Configuration not reloaded, the one before stays in force");
    CU_ASSERT_EQUAL(process_count(t->culvert, "/ini:2: [log] has no option \"levle\""), 1);
    CU_ASSERT_EQUAL(process_count(t->culvert, "/ini:4: retries: "), 1);
    CU_ASSERT_EQUAL(process_count(t->culvert, "/ini:6: heartbeat: "), 1);
    CU_ASSERT_EQUAL(process_count(t->culvert, "is added"), 0);
    CU_ASSERT_TRUE(scene_counts(t, "culvert_reloads_total{result=\"refused\"}", 1));
    CU_ASSERT_EQUAL(scene_metric(t, "culvert_reload_in_force_timestamp_seconds"), 0);
    reload(t, "", "Configuration reloaded, 0 changes");
    CU_ASSERT_TRUE(scene_counts(t, "culvert_reloads_total{result=\"in_force\"}", 1));
    CU_ASSERT_TRUE(scene_metric(t, "culvert_reload_in_force_timestamp_seconds") > 1e9);
    struct answer a = scene_get(t, "/short");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    scene_stop(t);
}

/* ---- what is still in use ------------------------------------------------------------------------------- */

static atomic_bool open_to_checks, open_to_visitors;
static atomic_uint early_checks, late_checks, visitors;

static void wait_until(atomic_bool *open)
{
    for (long long until = now_in_ms() + PATIENCE_MS; !atomic_load(open) && now_in_ms() < until;)
        sleep_ms(2);
}

static bool came(atomic_uint *count, unsigned n)
{
    for (long long until = now_in_ms() + PATIENCE_MS; atomic_load(count) < n && now_in_ms() < until;)
        sleep_ms(2);
    return atomic_load(count) >= n;
}

static bool held(struct http1 *c, void *unused)
{
    if (strcmp(c->target, "/check/early") == 0) {
        atomic_fetch_add(&early_checks, 1);
        wait_until(&open_to_checks);
    } else if (strcmp(c->target, "/check/late") == 0) {
        atomic_fetch_add(&late_checks, 1);
    } else if (strcmp(c->target, "/held") == 0) {
        atomic_fetch_add(&visitors, 1);
        wait_until(&open_to_visitors);
    }
    return origin_plain(c, unused);
}

#define CHECKING(path) "[health]\ninterval = 100ms\ntimeout = 1m\npath = /check/" path "\n"
#define LIMITED        "[concurrency]\nlimit = 1\nqueue = 1\nqueue_wait = 1m\n"
#define TAGGED(how)    "[origin_proxy]\ntags = way=" how "\n"

static struct scene *start_held(const char *transport, const char *ini)
{
    atomic_store(&open_to_checks, false);
    atomic_store(&open_to_visitors, false);
    atomic_store(&early_checks, 0);
    atomic_store(&late_checks, 0);
    atomic_store(&visitors, 0);
    return scene_start(&(const struct setup){ .transport = transport, .ini = ini, .origin = held });
}

static void is_tagged(struct answer a, const char *tag)
{
    CHECK_STATUS(a, 200);
    CHECK_HOLDS(answer_text(&a), tag);
    answer_free(&a);
}

static void a_check_finishes_with_the_origin_proxy_that_it_was_sent_with(void)
{
    struct scene *t = start_held("http2", CHECKING("early") TAGGED("old"));
    CU_ASSERT_TRUE(came(&early_checks, 1));
    reload(t, TAGGED("new"), "Configuration reloaded, ");
    is_tagged(scene_get(t, "/head"), "Cf-Warp-Tag-Way: new\r\n");
    CU_ASSERT_EQUAL(process_count(t->culvert, "is out of use"), 0);
    atomic_store(&open_to_checks, true);
    CU_ASSERT_TRUE(wait_for_count(t->culvert, "[health] is out of use", 1));
    CU_ASSERT_TRUE(wait_for_count(t->culvert, "[origin_proxy] is out of use", 1));
    is_tagged(scene_get(t, "/head"), "Cf-Warp-Tag-Way: new\r\n");
    scene_stop(t);
}

static void who_waits_in_a_queue_finishes_there_and_checks_are_the_new_sections(void)
{
    for (each_transport(transport)) {
        struct scene *t = start_held(transport, CHECKING("early") LIMITED TAGGED("old"));
        struct http1 first, second;
        CU_ASSERT_TRUE_FATAL(scene_open(t, &first, "GET", "/held", NULL) && came(&visitors, 1));
        CU_ASSERT_TRUE_FATAL(scene_open(t, &second, "GET", "/head", NULL));
        CU_ASSERT_TRUE(scene_counts(t, "culvert_rule_queue{section=\"concurrency\",rule=\"*\"}", 1));
        reload(t, TAGGED("new"), "Configuration reloaded, ");
        is_tagged(scene_get(t, "/head"), "Cf-Warp-Tag-Way: new\r\n"); /* limited no more */
        reload(t, CHECKING("late") TAGGED("new"), "[health] is added");
        CU_ASSERT_TRUE(came(&late_checks, 2));
        CU_ASSERT_EQUAL(process_count(t->culvert, "is out of use"), 0);
        atomic_store(&open_to_checks, true);
        atomic_store(&open_to_visitors, true);
        struct cv_buf body = { 0 };
        CU_ASSERT_TRUE(http1_answer(&first, "GET") && first.status == 200);
        CU_ASSERT_TRUE(http1_answer(&second, "GET") && second.status == 200);
        CU_ASSERT_EQUAL(http1_read_all(&second, &body), 0);
        cv_buf_add(&body, "", 1);
        CHECK_HOLDS((const char *)body.p, "Cf-Warp-Tag-Way: old\r\n");
        cv_buf_free(&body);
        http1_close(&first);
        http1_close(&second);
        CU_ASSERT_TRUE(wait_for_count(t->culvert, "[concurrency] is out of use", 1));
        CU_ASSERT_TRUE(wait_for_count(t->culvert, "[health] is out of use", 1));
        CU_ASSERT_TRUE(wait_for_count(t->culvert, "[origin_proxy] is out of use", 1));
        unsigned n = atomic_load(&late_checks);
        CU_ASSERT_TRUE(came(&late_checks, n + 2));
        scene_stop(t);
    }
}

/* ---- transports ----------------------------------------------------------------------------------------- */

static void transports_are_swapped_one_connection_before_the_other(void)
{
    static const char *const inis[] = { "[tunnel]\nprotocol = http2\n", "[tunnel]\nprotocol = quic\n",
                                        "[edge_quic]\nenabled = no\n", "[edge_http2]\nenabled = no\n",
                                        "[edge_quic]\nstream_window = 4M\n[edge_http2]\nenabled = no\n" };
    static const char *const now[] = { "http2", "quic", "http2", "quic", "quic" };
    struct scene *t = scene_start(
        &(const struct setup){ .connections = 2, .ini = "[tunnel]\nprotocol = quic\n", .origin = answer });
    struct load *l = some_load(t);
    for (size_t i = 0; i < sizeof(inis) / sizeof(inis[0]); i++) {
        char registered[80];
        snprintf(registered, sizeof(registered), "location=sim01 protocol=%s\n", now[i]);
        unsigned before = process_count(t->culvert, registered);
        unsigned left = process_count(t->culvert, "Unregistered tunnel connection");
        reload(t, inis[i], "Configuration reloaded, ");
        CU_ASSERT_TRUE(wait_for_count(t->culvert, registered, before + 2));
        CU_ASSERT_TRUE(wait_for_count(t->culvert, "Unregistered tunnel connection", left + 2));
    }
    end_load(l);
    CU_ASSERT_EQUAL(process_count(t->culvert, "Lost connection"), 0);
    scene_stop(t);
}

static void a_transport_that_gets_nowhere_leaves_the_old_connections_be(void)
{
    struct scene *t = scene_start(&(const struct setup){ .connections = 2,
                                                         .ini = "[tunnel]\nprotocol = http2\n",
                                                         .edge_flags = "--mute udp",
                                                         .origin = answer });
    struct load *l = some_load(t);
    reload(t, "[tunnel]\nprotocol = quic\n[edge_quic]\nhandshake_timeout = 1s\n", "Configuration reloaded, ");
    CU_ASSERT_TRUE(process_says(t->culvert, "Failed to dial a quic connection", PATIENCE_MS));
    end_load(l);
    CU_ASSERT_EQUAL(process_count(t->culvert, "Unregistered tunnel connection"), 0);
    reload(t, "[tunnel]\nprotocol = http2\n", "Configuration reloaded, ");
    struct answer a = scene_get(t, "/short");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    scene_stop(t);
}

/* ---- in the wrong moment --------------------------------------------------------------------------------- */

static void a_reload_during_a_drain_and_an_end_during_a_swap_do_no_harm(void)
{
    struct scene *t = scene_start(
        &(const struct setup){ .connections = 2, .ini = "[tunnel]\nprotocol = quic\n", .origin = answer });
    reload(t, "[tunnel]\nprotocol = http2\n", "Configuration reloaded, ");
    process_signal(t->culvert, SIGUSR1);
    CU_ASSERT_TRUE(process_says(t->culvert, "Draining", PATIENCE_MS));
    reload(t, "[tunnel]\nprotocol = quic\n[concurrency]\nlimit = 7\n", "Configuration reloaded, ");
    reload(t, "[edge_quic]\nenabled = no\n", "Configuration reloaded, ");
    CU_ASSERT_EQUAL(scene_end(t, PATIENCE_MS), 0);
    scene_stop(t);
}

SUITE(system_73_reload, TEST(a_hundred_reloads_under_load_lose_nothing_and_leak_nothing),
      TEST(a_storm_of_signals_is_one_reload_after_the_other),
      TEST(a_filter_counts_for_requests_that_begin_after_it_came),
      TEST(a_bad_file_changes_nothing_and_every_error_has_its_line),
      TEST(a_check_finishes_with_the_origin_proxy_that_it_was_sent_with),
      TEST(who_waits_in_a_queue_finishes_there_and_checks_are_the_new_sections),
      TEST(transports_are_swapped_one_connection_before_the_other),
      TEST(a_transport_that_gets_nowhere_leaves_the_old_connections_be),
      TEST(a_reload_during_a_drain_and_an_end_during_a_swap_do_no_harm));
