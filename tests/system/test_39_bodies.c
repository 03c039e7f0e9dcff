/* test_39_bodies.c: limits on what a visitor sends: request bodies and heads, announced or not, and what both ends hear
 * of it. */
#include "scene.h"

#include <signal.h>
#include <stdio.h>

enum { LIMIT = 100000 };
#define REFUSED "culvert_requests_refused_total{limit=\"body\"}"

static const char ini[] = "[limits]\nrequest_body = 100000\n";

/* ---- an origin that counts ------------------------------------------------------------------------------ */

struct reader {
    bool answers_first; /* a head and a word, before it reads */
    size_t got;
    ssize_t end;
    sem_t begun, done;
};

static bool count(struct http1 *h, void *arg)
{
    struct reader *r = arg;
    char bytes[4096];
    ssize_t n;
    if (r->answers_first)
        http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nword");
    r->got = 0;
    sem_post(&r->begun);
    while ((n = http1_read(h, bytes, sizeof(bytes))) > 0)
        r->got += (size_t)n;
    r->end = n;
    sem_post(&r->done);
    return n == 0 && origin_text(h, 200, "whole");
}

/* ---- a visitor who does not say how much it will be ---------------------------------------------------- */

static bool send_chunk(struct http1 *h, size_t n)
{
    char bytes[10000];
    memset(bytes, 'x', sizeof(bytes));
    return http1_sendf(h, "%zx\r\n", n) && http1_send(h, bytes, n) && http1_send(h, "\r\n", 2);
}

static bool send_chunks(struct http1 *h, size_t n)
{
    bool sent = true;
    for (; sent && n >= 10000; n -= 10000)
        sent = send_chunk(h, 10000);
    return sent && (n == 0 || send_chunk(h, n));
}

static bool end_chunks(struct http1 *h)
{
    return http1_send(h, "0\r\n\r\n", 5);
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

static void refused(struct scene *t, const char *target, const char *type, const char *text)
{
    struct http1 h;
    struct cv_buf body = { 0 };
    CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "POST", target, "Content-Length: 100001\r\n"));
    CU_ASSERT_TRUE(http1_answer(&h, "POST")); /* to the announcement alone */
    CU_ASSERT_EQUAL(h.status, 413);
    CU_ASSERT_EQUAL(http1_read_all(&h, &body), 0);
    cv_buf_add(&body, "", 1);
    CHECK_HOLDS(h.head, "\r\nCulvert-Error: body_too_large\r\n");
    CHECK_HOLDS(h.head, "\r\nX-Edge-Source: origin\r\n");
    CHECK_HOLDS(h.head, type);
    CHECK_HOLDS((char *)body.p, text);
    cv_buf_free(&body);
    http1_close(&h);
}

static void a_body_that_is_announced_too_long_is_refused_at_once(void)
{
    static char body[LIMIT];
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .ini = ini });
        refused(t, "/page", "text/plain", "larger than the 100000 bytes that are accepted here");
        refused(t, "/v1/messages", "application/json",
                "{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",");
        refused(t, "/v1/chat/completions", "application/json",
                "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"body_too_large\"}}");
        CU_ASSERT_EQUAL(origin_requests(t->origin), 0);
        CU_ASSERT_EQUAL((int)scene_metric(t, REFUSED), 3);
        struct answer a = scene_visit(t, "POST", "/sum", NULL, body, LIMIT);
        CHECK_STATUS(a, 200);
        answer_free(&a);
        scene_stop(t);
    }
}

static void a_body_that_grows_too_long_is_refused_and_its_origin_hears_the_end(void)
{
    for (each_transport(transport)) {
        struct reader r = { .end = 1 };
        struct http1 h;
        sem_init(&r.begun, 0, 0);
        sem_init(&r.done, 0, 0);
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .ini = ini, .origin = count, .origin_arg = &r });
        CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "POST", "/", "Transfer-Encoding: chunked\r\n"));
        CU_ASSERT_TRUE(send_chunks(&h, LIMIT) && end_chunks(&h));
        CU_ASSERT_TRUE(http1_answer(&h, "POST") && h.status == 200);
        http1_close(&h);
        CU_ASSERT_TRUE(sem_within(&r.begun, PATIENCE_MS) && sem_within(&r.done, PATIENCE_MS));
        CU_ASSERT_EQUAL(r.got, LIMIT);

        CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "POST", "/", "Transfer-Encoding: chunked\r\n"));
        CU_ASSERT_TRUE(send_chunks(&h, 1) && sem_within(&r.begun, PATIENCE_MS));
        CU_ASSERT_TRUE(send_chunks(&h, LIMIT)); /* and no end */
        CU_ASSERT_TRUE(http1_answer(&h, "POST"));
        CU_ASSERT_EQUAL(h.status, 413);
        CU_ASSERT_STRING_EQUAL(http1_field(&h, "culvert-error", 0), "body_too_large");
        http1_close(&h);
        CU_ASSERT_TRUE(sem_within(&r.done, PATIENCE_MS));
        CU_ASSERT_EQUAL(r.end, HTTP1_CUT);
        CU_ASSERT_TRUE(r.got <= LIMIT);
        CU_ASSERT_EQUAL((int)scene_metric(t, REFUSED), 1);
        scene_stop(t);
        sem_destroy(&r.begun);
        sem_destroy(&r.done);
    }
}

static void an_answer_that_has_begun_is_cut_when_the_body_grows_too_long(void)
{
    for (each_transport(transport)) {
        struct reader r = { .answers_first = true, .end = 1 };
        struct http1 h;
        struct cv_buf body = { 0 };
        sem_init(&r.begun, 0, 0);
        sem_init(&r.done, 0, 0);
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .ini = ini, .origin = count, .origin_arg = &r });
        CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "POST", "/", "Transfer-Encoding: chunked\r\n"));
        CU_ASSERT_TRUE(send_chunks(&h, 10) && http1_answer(&h, "POST") && h.status == 200);
        CU_ASSERT_TRUE(send_chunks(&h, LIMIT));
        CU_ASSERT_EQUAL(http1_read_all(&h, &body), HTTP1_CUT);
        CU_ASSERT_TRUE(sem_within(&r.done, PATIENCE_MS));
        CU_ASSERT_EQUAL(r.end, HTTP1_CUT);
        CU_ASSERT_TRUE(
            process_says(t->culvert, "longer than 100000 bytes: [limits] request_body", PATIENCE_MS));
        CU_ASSERT_EQUAL((int)scene_metric(t, REFUSED), 1);
        http1_close(&h);
        scene_stop(t);
        cv_buf_free(&body);
        sem_destroy(&r.begun);
        sem_destroy(&r.done);
    }
}

/* Whose head was culvert's own: [sse] early_head. */
static void a_stream_whose_head_came_early_ends_in_an_event_that_says_so(void)
{
    for (each_transport(transport)) {
        struct reader r = { .end = 1 };
        struct http1 h;
        struct cv_buf body = { 0 };
        sem_init(&r.begun, 0, 0);
        sem_init(&r.done, 0, 0);
        struct scene *t = scene_start(&(struct setup){
            .transport = transport,
            .ini = "[limits]\nrequest_body = 100000\n[sse]\nheartbeat = 50ms\nearly_head = 100ms\n",
            .origin = count,
            .origin_arg = &r });
        CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "POST", "/v1/chat/completions",
                                        "Accept: text/event-stream\r\nTransfer-Encoding: chunked\r\n"));
        CU_ASSERT_TRUE(send_chunks(&h, 10) && http1_answer(&h, "POST") && h.status == 200);
        CU_ASSERT_TRUE(sem_within(&r.begun, PATIENCE_MS));
        CU_ASSERT_TRUE(send_chunks(&h, LIMIT));
        CU_ASSERT_EQUAL(http1_read_all(&h, &body), 0);
        cv_buf_add(&body, "", 1);
        CHECK_HOLDS((char *)body.p, "data: {\"error\":{\"message\":\"");
        CU_ASSERT_TRUE(sem_within(&r.done, PATIENCE_MS));
        CU_ASSERT_EQUAL(r.end, HTTP1_CUT);
        http1_close(&h);
        scene_stop(t);
        cv_buf_free(&body);
        sem_destroy(&r.begun);
        sem_destroy(&r.done);
    }
}

static void a_reload_sets_the_limit_for_what_comes_then(void)
{
    static char body[LIMIT + 1];
    struct scene *t = scene_start(&(struct setup){ .transport = "http2", .ini = "[limits]\n" });
    struct http1 before;
    CU_ASSERT_TRUE_FATAL(scene_open(t, &before, "POST", "/echo", "Transfer-Encoding: chunked\r\n"));
    CU_ASSERT_TRUE(send_chunks(&before, 10) && scene_counts(t, "culvert_open_requests{type=\"http\"}", 1));
    scene_ini(t, ini);
    process_signal(t->culvert, SIGHUP);
    CU_ASSERT_TRUE(process_says(t->culvert, "Configuration reloaded", PATIENCE_MS));
    struct answer a = scene_visit(t, "POST", "/sum", NULL, body, sizeof(body));
    CHECK_STATUS(a, 413);
    answer_free(&a);
    CU_ASSERT_TRUE(send_chunks(&before, LIMIT) && end_chunks(&before));
    CU_ASSERT_TRUE(http1_answer(&before, "POST") && before.status == 200);
    http1_close(&before);
    scene_stop(t);
}

/* ---- heads ------------------------------------------------------------------------------------------------ */

static void a_head_that_is_too_long_costs_its_sender_alone(void)
{
    enum { FIELD = 20000 };
    char *field = cv_xmalloc(FIELD + 1);
    memset(field, 'x', FIELD);
    memcpy(field, "X-Long: ", 8);
    memcpy(field + FIELD - 2, "\r\n", 3);
    for (each_transport(transport)) {
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport,
                             .ini = "[edge_http2]\nmax_headers = 16k\n[edge_quic]\nmax_head = 16k\n" });
        struct answer a = scene_visit(t, "GET", "/", field, NULL, 0);
        CHECK_STATUS(a, 502);
        answer_free(&a);
        a = scene_get(t, "/fine");
        CHECK_STATUS(a, 200);
        answer_free(&a);
        CU_ASSERT_EQUAL(origin_requests(t->origin), 1);
        CU_ASSERT_EQUAL(scene_seen(t, "connected"), 1);
        scene_stop(t);
    }
    free(field);
}

/* ---- the header ------------------------------------------------------------------------------------------- */

static void without_error_header_nobody_is_told_what_failed(void)
{
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport,
                                         .rules = "{\"ingress\":[{\"service\":\"http://127.0.0.1:1\"}]}",
                                         .ini = "[limits]\nrequest_body = 1\n[culvert]\n" });
        for (int on = 1; on >= 0; on--) {
            struct answer a = scene_get(t, "/"), b = scene_visit(t, "POST", "/", NULL, "{}", 2);
            CHECK_STATUS(a, 502);
            CHECK_STATUS(b, 413);
            CU_ASSERT_EQUAL(strcasestr(a.head, "culvert-error") != NULL, on);
            CU_ASSERT_EQUAL(strcasestr(b.head, "culvert-error") != NULL, on);
            answer_free(&a);
            answer_free(&b);
            scene_ini(t, "[limits]\nrequest_body = 1\n[culvert]\nerror_header = no\n");
            process_signal(t->culvert, SIGHUP);
            CU_ASSERT_TRUE(process_says(t->culvert, "Configuration reloaded", PATIENCE_MS));
        }
        scene_stop(t);
    }
}

SUITE(system_39_bodies, TEST(a_body_that_is_announced_too_long_is_refused_at_once),
      TEST(a_body_that_grows_too_long_is_refused_and_its_origin_hears_the_end),
      TEST(an_answer_that_has_begun_is_cut_when_the_body_grows_too_long),
      TEST(a_stream_whose_head_came_early_ends_in_an_event_that_says_so),
      TEST(a_reload_sets_the_limit_for_what_comes_then), TEST(a_head_that_is_too_long_costs_its_sender_alone),
      TEST(without_error_header_nobody_is_told_what_failed));
