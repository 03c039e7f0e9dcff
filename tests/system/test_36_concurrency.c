/* test_36_concurrency.c: limits on requests at a time: who gets a place, who waits, who is refused and in which words. */
#include "scene.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

/* ---- an origin that answers when it is told to -------------------------------------------------------- */

struct door {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned inside, most, let; /* let: how many more may go */
};

static void door_begin(struct door *d)
{
    *d = (struct door){ .inside = 0 };
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
}

static bool held(struct http1 *h, void *arg)
{
    struct door *d = arg;
    pthread_mutex_lock(&d->lock);
    d->inside++;
    d->most = d->inside > d->most ? d->inside : d->most;
    while (d->let == 0)
        pthread_cond_wait(&d->changed, &d->lock);
    d->let--;
    d->inside--;
    pthread_mutex_unlock(&d->lock);
    return origin_text(h, 200, "done");
}

static void let(struct door *d, unsigned n)
{
    pthread_mutex_lock(&d->lock);
    d->let += n;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

static unsigned inside(struct door *d)
{
    pthread_mutex_lock(&d->lock);
    unsigned n = d->inside;
    pthread_mutex_unlock(&d->lock);
    return n;
}

static bool come_in(struct door *d, unsigned n)
{
    for (long long until = now_in_ms() + PATIENCE_MS; inside(d) != n && now_in_ms() < until;)
        sleep_ms(2);
    return inside(d) == n;
}

/* Whatever is refused has been answered; the test lets the rest out before it ends. */
static void tidy(struct scene *t, struct door *d)
{
    let(d, 1000);
    scene_stop(t);
}

static bool waits(struct scene *t, const char *series, double n)
{
    for (long long until = now_in_ms() + PATIENCE_MS; now_in_ms() < until; sleep_ms(5))
        if ((unsigned)scene_metric(t, series) == (unsigned)n)
            return true;
    return false;
}

#define QUEUE(section)   "culvert_rule_queue{section=\"" section "\",rule=\"*\"}"
#define RUNNING(section) "culvert_rule_running{section=\"" section "\",rule=\"*\"}"

/* ---- tests ---------------------------------------------------------------------------------------------- */

static void two_hundred_at_once_meet_ten_places_and_a_queue_of_twenty(void)
{
    enum { ALL = 200, PLACES = 10, QUEUE = 20 };
    for (each_transport(transport)) {
        struct door d;
        door_begin(&d);
        struct scene *t = scene_start(&(struct setup){
            .transport = transport,
            .connections = 4,
            .origin = held,
            .origin_arg = &d,
            .ini = "[culvert]\nworkers = 2\n[concurrency]\nlimit = 10\nqueue = 20\nqueue_wait = 2m\n" });
        struct http1 h[ALL];
        for (unsigned i = 0; i < ALL; i++) {
            char fields[32];
            snprintf(fields, sizeof(fields), "X-Edge-Index: %u\r\n", i % 4);
            CU_ASSERT_TRUE_FATAL(scene_open(t, &h[i], "GET", "/", fields));
        }
        CU_ASSERT_TRUE(come_in(&d, PLACES));
        CU_ASSERT_TRUE(waits(t, QUEUE("concurrency"), QUEUE));
        CU_ASSERT_TRUE(
            waits(t, "culvert_rule_refused_total{section=\"concurrency\",rule=\"*\",reason=\"queue_full\"}",
                  ALL - PLACES - QUEUE));
        let(&d, ALL);
        unsigned served = 0, refused = 0;
        for (unsigned i = 0; i < ALL; i++) {
            CU_ASSERT_TRUE(http1_answer(&h[i], "GET"));
            served += h[i].status == 200;
            refused += h[i].status == 503;
            if (h[i].status == 503) {
                CU_ASSERT_STRING_EQUAL(http1_field(&h[i], "Retry-After", 0), "1");
                CU_ASSERT_STRING_EQUAL(http1_field(&h[i], "culvert-error", 0), "queue_full");
            }
            http1_close(&h[i]);
        }
        CU_ASSERT_EQUAL(served, PLACES + QUEUE);
        CU_ASSERT_EQUAL(refused, ALL - PLACES - QUEUE);
        CU_ASSERT_EQUAL(d.most, PLACES);
        CU_ASSERT_TRUE(waits(t, RUNNING("concurrency"), 0));
        tidy(t, &d);
    }
}

static void who_leaves_the_queue_makes_room_in_it(void)
{
    for (each_transport(transport)) {
        struct door d;
        door_begin(&d);
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport,
                             .origin = held,
                             .origin_arg = &d,
                             .ini = "[concurrency api]\nlimit = 1\nqueue = 1\nqueue_wait = 2m\n" });
        struct http1 first, second, third;
        CU_ASSERT_TRUE(scene_open(t, &first, "GET", "/1", NULL) && come_in(&d, 1));
        CU_ASSERT_TRUE(scene_open(t, &second, "GET", "/2", NULL) && waits(t, QUEUE("concurrency api"), 1));
        http1_close(&second);
        CU_ASSERT_TRUE(waits(t, QUEUE("concurrency api"), 0));
        CU_ASSERT_TRUE(scene_open(t, &third, "GET", "/3", NULL) && waits(t, QUEUE("concurrency api"), 1));
        let(&d, 2);
        CU_ASSERT_TRUE(http1_answer(&first, "GET") && first.status == 200);
        CU_ASSERT_TRUE(http1_answer(&third, "GET") && third.status == 200);
        CU_ASSERT_EQUAL(origin_requests(t->origin), 2);
        http1_close(&first);
        http1_close(&third);
        tidy(t, &d);
    }
}

static void refused(struct scene *t, const char *target, const char *field, const char *type,
                    const char *body)
{
    struct answer a = scene_visit(t, "POST", target, field, "{}", 2);
    char line[64];
    CHECK_STATUS(a, 429);
    snprintf(line, sizeof(line), "\r\nContent-Type: %s\r\n", type);
    CHECK_HOLDS(a.head, line);
    CHECK_HOLDS(a.head, "\r\nRetry-After: 3\r\n");
    CHECK_HOLDS(answer_text(&a), body);
    answer_free(&a);
}

static void who_is_refused_hears_it_in_the_words_of_its_api(void)
{
    static const char openai[] =
        "{\"error\":{\"message\":\"Too many requests are being served at the moment. Try "
        "again later.\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"queue_full\"}}";
    static const char anthropic[] = "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
                                    "\"message\":\"Too many requests are being "
                                    "served at the moment. Try again later.\"},\"request_id\":\"";
    for (each_transport(transport)) {
        struct door d;
        door_begin(&d);
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport,
                             .origin = held,
                             .origin_arg = &d,
                             .ini = "[concurrency]\nlimit = 1\nstatus = 429\nretry_after = 3s\n" });
        struct http1 first;
        CU_ASSERT_TRUE(scene_open(t, &first, "GET", "/1", NULL) && come_in(&d, 1));
        refused(t, "/v1/chat/completions", NULL, "application/json", openai);
        refused(t, "/v1/messages?beta=true", NULL, "application/json", anthropic);
        refused(t, "/api", "anthropic-version: 2023-06-01\r\n", "application/json", anthropic);
        refused(t, "/page", NULL, "text/plain; charset=utf-8", "Too many requests");
        let(&d, 1);
        CU_ASSERT_TRUE(http1_answer(&first, "GET") && first.status == 200);
        http1_close(&first);
        tidy(t, &d);
    }
}

static void who_waits_too_long_is_refused(void)
{
    struct door d;
    door_begin(&d);
    struct scene *t = scene_start(
        &(struct setup){ .transport = "http2",
                         .origin = held,
                         .origin_arg = &d,
                         .ini = "[concurrency]\nlimit = 1\nqueue = 5\nqueue_wait = 100ms\nper = section\n"
                                "paths = /v1\n" });
    struct http1 first;
    CU_ASSERT_TRUE(scene_open(t, &first, "GET", "/v1/1", NULL) && come_in(&d, 1));
    struct answer a = scene_get(t, "/v1/2");
    CHECK_STATUS(a, 503);
    CHECK_HOLDS(a.head, "\r\nCulvert-Error: queue_timeout\r\n");
    answer_free(&a);
    let(&d, 2);
    a = scene_get(t, "/elsewhere");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    CU_ASSERT_TRUE(http1_answer(&first, "GET") && first.status == 200);
    http1_close(&first);
    tidy(t, &d);
}

static int asked_of(struct scene *t, const char *host)
{
    struct answer a = scene_visit(t, "GET", "/", host, NULL, 0);
    int status = a.status;
    answer_free(&a);
    return status;
}

static void rules_have_limits_of_their_own_or_share_their_services(void)
{
    static const char rules[] = "{\"ingress\":[{\"hostname\":\"a.example\",\"service\":\"$ORIGIN\"},"
                                "{\"service\":\"$ORIGIN\"}]}";
    static const char *const inis[] = { "[concurrency]\nlimit = 1\n",
                                        "[concurrency]\nlimit = 1\nper = service\n" };
    for (int shared = 0; shared < 2; shared++) {
        struct door d;
        door_begin(&d);
        struct scene *t = scene_start(&(struct setup){
            .transport = "quic", .rules = rules, .origin = held, .origin_arg = &d, .ini = inis[shared] });
        struct http1 first;
        CU_ASSERT_TRUE(scene_open(t, &first, "GET", "/", NULL) && come_in(&d, 1));
        CU_ASSERT_EQUAL(asked_of(t, "Host: a.example\r\n"), 503);
        if (!shared)
            let(&d, 2); /* a door lets out whom it wants: both */
        CU_ASSERT_EQUAL(asked_of(t, "Host: b.example\r\n"), shared ? 503 : 200);
        let(&d, 1);
        CU_ASSERT_TRUE(http1_answer(&first, "GET") && first.status == 200);
        http1_close(&first);
        CU_ASSERT_EQUAL(
            (int)scene_metric(t, "culvert_rule_refused_total{section=\"concurrency\",rule=\"a.example\","
                                 "reason=\"queue_full\"}"),
            shared ? 0 : 1);
        tidy(t, &d);
    }
}

static void a_reload_with_a_higher_limit_lets_in_who_waits(void)
{
    struct door d;
    door_begin(&d);
    struct scene *t =
        scene_start(&(struct setup){ .transport = "http2",
                                     .origin = held,
                                     .origin_arg = &d,
                                     .ini = "[concurrency]\nlimit = 1\nqueue = 5\nqueue_wait = 2m\n" });
    struct http1 h[3];
    char ini[96];
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(scene_open(t, &h[i], "GET", "/", NULL));
    CU_ASSERT_TRUE(come_in(&d, 1) && waits(t, QUEUE("concurrency"), 2));
    snprintf(ini, sizeof(ini), "%s/ini", t->dir);
    FILE *f = fopen(ini, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs("[concurrency]\nlimit = 3\nqueue = 5\nqueue_wait = 2m\n", f);
    fclose(f);
    process_signal(t->culvert, SIGHUP);
    CU_ASSERT_TRUE(come_in(&d, 3));
    let(&d, 3);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(http1_answer(&h[i], "GET") && h[i].status == 200);
        http1_close(&h[i]);
    }
    tidy(t, &d);
}

/* The origin is a closed door here. */
static void other_failures_are_told_that_way_if_the_ini_says_so(void)
{
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport,
                                         .rules = "{\"ingress\":[{\"service\":\"http://127.0.0.1:1\"}]}",
                                         .ini = "[culvert]\napi_errors = yes\n" });
        struct answer a = scene_visit(t, "POST", "/v1/messages", NULL, "{}", 2);
        CHECK_STATUS(a, 502);
        CHECK_HOLDS(a.head, "\r\nCulvert-Error: origin_refused\r\n");
        CHECK_HOLDS(a.head, "\r\nX-Edge-Source: origin\r\n");
        CHECK_HOLDS(answer_text(&a),
                    "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":"
                    "\"The request could not be served: connection refused.\"},\"request_id\":\"");
        answer_free(&a);
        a = scene_get(t, "/page");
        CHECK_STATUS(a, 502);
        CHECK_HOLDS(a.head, "\r\nX-Edge-Source: connector\r\n");
        answer_free(&a);
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_request_errors", 2));
        scene_stop(t);
    }
}

SUITE(system_36_concurrency, TEST(a_reload_with_a_higher_limit_lets_in_who_waits),
      TEST(rules_have_limits_of_their_own_or_share_their_services),
      TEST(other_failures_are_told_that_way_if_the_ini_says_so),
      TEST(two_hundred_at_once_meet_ten_places_and_a_queue_of_twenty),
      TEST(who_leaves_the_queue_makes_room_in_it), TEST(who_is_refused_hears_it_in_the_words_of_its_api),
      TEST(who_waits_too_long_is_refused));
