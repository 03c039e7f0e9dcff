/* test_h2.c: HTTP/2 to origins: many requests on one connection, trailers, windows, resets, and what is sent again. */
#include "h2_origin.h"
#include "pki.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct rig *rig_of_h2(void)
{
    static char target[32];
    static struct cv_str targets[1];
    struct rig *r = rig_new();
    snprintf(target, sizeof(target), "127.0.0.1:%u", r->port);
    targets[0] = cv_str_of(target);
    r->conf.h2c = (struct cv_list){ targets, 1 };
    return r;
}

static bool nobody_comes(struct rig *r)
{
    rig_turn(r);
    int fd = accept(r->listener, NULL, NULL);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

static struct cv_req *get(struct rig *r, const char *path, struct rig_seen *seen)
{
    struct cv_req *req = rig_request(r, "GET", path, seen);
    rig_send(r, req);
    return req;
}

static struct cv_req *post(struct rig *r, struct rig_seen *seen)
{
    struct cv_req *req = rig_request(r, "POST", "/p", seen);
    req->body_length = CV_BODY_STREAM;
    cv_header_add(req, req->headers, CV_STR("TE"), CV_STR("trailers"));
    cv_header_add(req, req->headers, CV_STR("Content-Type"), CV_STR("application/grpc"));
    rig_send(r, req);
    return req;
}

#define HAS(text, part) CU_ASSERT_PTR_NOT_NULL(strstr(text, part))

static void requests_share_a_connection(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[6];
    for (int i = 0; i < 5; i++)
        get(r, "/a?b=%20", &seen[i]);
    struct h2_origin *o = h2_origin_accept(r);
    CU_ASSERT_EQUAL(o->n, 5);
    CU_ASSERT(nobody_comes(r));
    HAS(o->streams[0].head, ":method=GET :scheme=http :path=/a?b=%20 :authority=a.example.com ");
    HAS(o->streams[0].head, "cf-warp-tag-id=11112222 ");
    CU_ASSERT_PTR_NULL(strstr(o->streams[0].head, "connection="));
    CU_ASSERT(o->streams[0].ended);
    for (size_t i = 0; i < 5; i++)
        h2_origin_answer(o, o->streams[i].id);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT(seen[i].ended && seen[i].status == 200 && seen[i].body.n == 5);
        rig_seen_free(&seen[i]);
    }
    CU_ASSERT_EQUAL(rig_worker(r)->idle, 1);
    get(r, "/later", &seen[5]);
    h2_origin_turn(o);
    CU_ASSERT_EQUAL(o->n, 6);
    h2_origin_answer(o, o->streams[5].id);
    CU_ASSERT(seen[5].ended);
    rig_seen_free(&seen[5]);
    h2_origin_free(o);
    CU_ASSERT_EQUAL(rig_worker(r)->idle, 0);
    rig_free(r);
}

static void grpc_talks_both_ways_and_ends_in_trailers(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    struct cv_req *req = post(r, &seen);
    struct h2_origin *o = h2_origin_accept(r);
    HAS(o->streams[0].head, "te=trailers ");
    HAS(o->streams[0].head, "content-type=application/grpc ");
    CU_ASSERT(!o->streams[0].ended);
    cv_pipe_write(req->up, "hello", 5);
    h2_origin_turn(o);
    CU_ASSERT_EQUAL(o->streams[0].body_n, 5);
    h2_origin_head(o, 1, "application/grpc");
    CU_ASSERT_EQUAL(seen.status, 200);
    cv_pipe_write(req->up, "again", 5);
    cv_pipe_finish(req->up);
    h2_origin_turn(o);
    CU_ASSERT_EQUAL(o->streams[0].body_n, 10);
    CU_ASSERT(o->streams[0].ended);
    h2_origin_send(o, 1, 7, "0");
    CU_ASSERT(seen.ended);
    CU_ASSERT_EQUAL(seen.body.n, 7);
    CU_ASSERT_STRING_EQUAL(seen.trailers, "grpc-status=0 ");
    CU_ASSERT(!o->streams[0].reset);
    rig_seen_free(&seen);
    h2_origin_free(o);
    rig_free(r);
}

static void much_passes_both_ways_within_the_windows(void)
{
    enum { MUCH = 600000 };
    static const char bytes[50000] = "u";
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    struct cv_req *req = post(r, &seen);
    struct h2_origin *o = h2_origin_accept(r);
    r->hold = true;
    h2_origin_head(o, 1, "application/octet-stream");
    h2_origin_send(o, 1, MUCH, NULL);
    CU_ASSERT_EQUAL(cv_pipe_held(req->down), 50000); /* the window: what the pipe holds */
    for (size_t sent = 0; sent < MUCH; h2_origin_turn(o))
        sent += cv_pipe_write(req->up, bytes, sizeof(bytes) < MUCH - sent ? sizeof(bytes) : MUCH - sent);
    cv_pipe_finish(req->up);
    h2_origin_turn(o);
    CU_ASSERT_EQUAL(o->streams[0].body_n, MUCH);
    CU_ASSERT(o->streams[0].ended);
    rig_take(r, req);
    CU_ASSERT(h2_origin_until(o, &seen.ended));
    CU_ASSERT_EQUAL(seen.body.n, MUCH);
    rig_seen_free(&seen);
    h2_origin_free(o);
    rig_free(r);
}

static void resets_pass_both_ways(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[2];
    get(r, "/0", &seen[0]);
    struct cv_req *left = get(r, "/1", &seen[1]);
    struct h2_origin *o = h2_origin_accept(r);
    h2_origin_head(o, 1, "text/plain");
    nghttp2_submit_rst_stream(o->session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_INTERNAL_ERROR);
    h2_origin_turn(o);
    CU_ASSERT(seen[0].closed && seen[0].error == CV_E_IO);
    HAS(seen[0].why, "INTERNAL_ERROR");
    cv_req_fail(left, CV_E_CANCEL, "the visitor left");
    h2_origin_turn(o);
    CU_ASSERT(o->streams[1].reset && o->streams[1].code == NGHTTP2_CANCEL);
    CU_ASSERT(!o->gone);
    h2_origin_free(o);
    rig_free(r);
}

/* On a connection that was open already too: the origin may have begun. */
static void a_reset_for_another_reason_is_not_sent_again(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[2];
    get(r, "/0", &seen[0]);
    struct h2_origin *o = h2_origin_accept(r);
    h2_origin_answer(o, 1);
    get(r, "/1", &seen[1]);
    h2_origin_turn(o);
    nghttp2_submit_rst_stream(o->session, NGHTTP2_FLAG_NONE, 3, NGHTTP2_INTERNAL_ERROR);
    h2_origin_turn(o);
    CU_ASSERT_EQUAL(o->n, 2);
    CU_ASSERT_EQUAL(seen[1].status, 502);
    rig_seen_free(&seen[0]);
    h2_origin_free(o);
    rig_free(r);
}

/* The second answer decides: a refused stream is sent again, once. */
static void a_refused_stream_is_sent_again_once(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    get(r, "/again", &seen);
    struct h2_origin *o = h2_origin_accept(r);
    nghttp2_submit_rst_stream(o->session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_REFUSED_STREAM);
    h2_origin_turn(o);
    CU_ASSERT_EQUAL(o->n, 2);
    HAS(o->streams[1].head, ":path=/again ");
    nghttp2_submit_rst_stream(o->session, NGHTTP2_FLAG_NONE, 3, NGHTTP2_REFUSED_STREAM);
    h2_origin_turn(o);
    CU_ASSERT_EQUAL(o->n, 2);
    CU_ASSERT_EQUAL(seen.status, 502);
    HAS(seen.why, "REFUSED_STREAM");
    h2_origin_free(o);
    rig_free(r);
}

static void a_request_whose_body_has_left_is_not_sent_again(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    struct cv_req *req = post(r, &seen);
    struct h2_origin *o = h2_origin_accept(r);
    cv_pipe_write(req->up, "hello", 5);
    h2_origin_turn(o);
    nghttp2_submit_rst_stream(o->session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_REFUSED_STREAM);
    h2_origin_turn(o);
    CU_ASSERT_EQUAL(o->n, 1);
    CU_ASSERT_EQUAL(seen.status, 502);
    h2_origin_free(o);
    rig_free(r);
}

static void a_connection_that_is_going_finishes_what_it_took(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[3];
    get(r, "/0", &seen[0]);
    get(r, "/1", &seen[1]);
    struct h2_origin *o = h2_origin_accept(r);
    nghttp2_submit_goaway(o->session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, NULL, 0);
    h2_origin_turn(o);
    get(r, "/2", &seen[2]);
    struct h2_origin *next = h2_origin_accept(r);
    CU_ASSERT_EQUAL(next->n, 2);
    HAS(next->streams[0].head, ":path=/1 ");
    h2_origin_answer(o, 1);
    CU_ASSERT(seen[0].ended);
    h2_origin_turn(o);
    CU_ASSERT(o->gone);
    h2_origin_answer(next, 1);
    h2_origin_answer(next, 3);
    CU_ASSERT(seen[1].ended && seen[2].ended);
    for (int i = 0; i < 3; i++)
        rig_seen_free(&seen[i]);
    h2_origin_free(o);
    h2_origin_free(next);
    rig_free(r);
}

static void hang_up(struct h2_origin *o)
{
    close(o->fd);
    o->fd = -1;
    for (int i = 0; i < 8; i++, usleep(500))
        rig_turn(o->rig);
}

static void a_kept_connection_that_closes_costs_nothing(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[2];
    get(r, "/0", &seen[0]);
    struct h2_origin *o = h2_origin_accept(r);
    h2_origin_answer(o, 1);
    get(r, "/1", &seen[1]);
    hang_up(o);
    struct h2_origin *next = h2_origin_accept(r);
    HAS(next->streams[0].head, ":path=/1 ");
    hang_up(next); /* a fresh one that closes is a failure */
    CU_ASSERT_EQUAL(seen[1].status, 502);
    HAS(seen[1].why, "closed the connection");
    rig_seen_free(&seen[0]);
    h2_origin_free(o);
    h2_origin_free(next);
    rig_free(r);
}

static bool waits_for_idle(struct rig *r, int64_t n)
{
    for (int i = 0; i < 5000 && rig_worker(r)->idle != n; i++) {
        rig_turn(r);
        usleep(1000);
    }
    return rig_worker(r)->idle == n;
}

static void no_more_connections_wait_than_the_rule_keeps(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[3];
    struct h2_origin *o[3];
    char service[48];
    snprintf(service, sizeof(service), "http://127.0.0.1:%u", r->port);
    rig_rule(r, service, "\"keepAliveConnections\":1");
    r->origin_streams = 1;
    for (int i = 0; i < 3; i++) {
        get(r, "/", &seen[i]);
        o[i] = h2_origin_accept(r);
    }
    for (int i = 0; i < 3; i++)
        h2_origin_answer(o[i], 1);
    CU_ASSERT_EQUAL(rig_worker(r)->idle, 3); /* for a moment: there may be more to do */
    CU_ASSERT(waits_for_idle(r, 1));
    h2_origin_turn(o[0]);
    CU_ASSERT(!o[0]->gone);
    rig_seen_free(&seen[0]);
    get(r, "/later", &seen[0]);
    h2_origin_turn(o[0]);
    h2_origin_answer(o[0], 3);
    CU_ASSERT(seen[0].ended && seen[0].status == 200);
    CU_ASSERT(nobody_comes(r));
    for (int i = 0; i < 3; i++) {
        rig_seen_free(&seen[i]);
        h2_origin_turn(o[i]);
        CU_ASSERT_EQUAL(o[i]->gone, i > 0);
        h2_origin_free(o[i]);
    }
    rig_free(r);
}

static void nobody_at_home_fails_all_who_wait(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[3];
    bool *last = &seen[2].closed;
    close(r->listener);
    for (int i = 0; i < 3; i++)
        get(r, "/", &seen[i]);
    CU_ASSERT(rig_until(r, last));
    for (int i = 0; i < 3; i++)
        CU_ASSERT(seen[i].status == 502 && seen[i].error == CV_E_REFUSED);
    rig_free(r);
}

static void one_who_leaves_while_dialling_hands_over(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[3];
    struct cv_req *first = get(r, "/0", &seen[0]);
    get(r, "/1", &seen[1]);
    get(r, "/2", &seen[2]);
    cv_req_fail(first, CV_E_CANCEL, "the visitor left");
    rig_turn(r);
    struct h2_origin *o = h2_origin_accept(r);
    while (!o->gone && o->n == 0) /* the first dial may have reached the listener before it was given up */
        h2_origin_turn(o);
    if (o->gone) {
        h2_origin_free(o);
        o = h2_origin_accept(r);
    }
    CU_ASSERT(o->n >= 2);
    for (size_t i = 0; i < o->n; i++)
        if (!o->streams[i].reset)
            h2_origin_answer(o, o->streams[i].id);
    CU_ASSERT(seen[1].ended && seen[2].ended);
    rig_seen_free(&seen[1]);
    rig_seen_free(&seen[2]);
    h2_origin_free(o);
    rig_free(r);
}

static void a_head_beyond_the_limit_is_refused(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    char large[5000];
    memset(large, 'a', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    get(r, "/", &seen);
    struct h2_origin *o = h2_origin_accept(r);
    h2_origin_head(o, 1, large);
    CU_ASSERT(seen.status == 503 && seen.error == CV_E_LIMIT);
    CU_ASSERT(o->streams[0].reset);
    h2_origin_free(o);
    rig_free(r);
}

static void no_more_streams_than_the_origin_takes(void)
{
    enum { N = 5 };
    struct rig *r = rig_of_h2();
    struct rig_seen seen[N];
    struct h2_origin *o[N];
    size_t n = 0, answered = 0;
    r->origin_streams = 2;
    for (int i = 0; i < N; i++)
        get(r, "/", &seen[i]);
    while (answered < N && n < N) {
        o[n] = h2_origin_accept(r);
        CU_ASSERT(o[n]->n <= 2);
        for (size_t i = 0; i < o[n]->n; i++, answered++)
            CU_ASSERT(!o[n]->streams[i].reset);
        n++;
    }
    CU_ASSERT_EQUAL(n, 3);
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < o[c]->n; i++)
            h2_origin_answer(o[c], o[c]->streams[i].id);
    for (int i = 0; i < N; i++) {
        CU_ASSERT(seen[i].ended);
        rig_seen_free(&seen[i]);
    }
    for (size_t c = 0; c < n; c++)
        h2_origin_free(o[c]);
    rig_free(r);
}

static void bodies_are_there_only_where_they_may_be(void)
{
    static const struct {
        const char *method, *text, *length;
        int status;
    } cases[] = { { "HEAD", "200", "700", 200 }, { "GET", "304", "700", 304 }, { "GET", "204", NULL, 204 } };
    struct rig *r = rig_of_h2();
    struct h2_origin *o = NULL;
    for (size_t i = 0; i < 3; i++) {
        struct rig_seen seen;
        rig_send(r, rig_request(r, cases[i].method, "/", &seen));
        if (!o)
            o = h2_origin_accept(r);
        h2_origin_turn(o);
        const char *const fields[] = { ":status", cases[i].text, cases[i].length ? "content-length" : NULL,
                                       cases[i].length, NULL };
        h2_origin_fields(o, o->streams[i].id, NGHTTP2_FLAG_END_STREAM, fields);
        CU_ASSERT(seen.ended && seen.status == cases[i].status && seen.body.n == 0);
        rig_seen_free(&seen);
    }
    h2_origin_free(o);
    rig_free(r);
}

static void a_response_of_trailers_alone_has_them_in_its_head(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    get(r, "/", &seen);
    struct h2_origin *o = h2_origin_accept(r);
    h2_origin_fields(o, 1, NGHTTP2_FLAG_END_STREAM,
                     (const char *const[]){ ":status", "200", "content-type", "application/grpc",
                                            "grpc-status", "12", NULL });
    CU_ASSERT(seen.ended);
    HAS(seen.head, "grpc-status=12 ");
    CU_ASSERT_STRING_EQUAL(seen.trailers, "");
    rig_seen_free(&seen);
    h2_origin_free(o);
    rig_free(r);
}

/* Whatever breaks the rules of messages costs its own stream. */
static void a_broken_response_is_reset(void)
{
    static const struct {
        const char *fields[7];
        size_t body;
    } cases[] = {
        { { ":status", "200", "content-length", "9", NULL }, 5 },
        { { ":status", "200", "content-length", "3", NULL }, 5 },
        { { ":status", "200", "content-length", "5", "content-length", "5", NULL }, 5 },
        { { ":status", "200", "connection", "close", NULL }, 5 },
        { { ":status", "200", "transfer-encoding", "chunked", NULL }, 5 },
        { { ":status", "101", NULL }, 5 },
        { { "content-type", "text/plain", NULL }, 5 },
    };
    struct rig *r = rig_of_h2();
    struct h2_origin *o = NULL;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig_seen seen;
        get(r, "/", &seen);
        if (!o)
            o = h2_origin_accept(r);
        h2_origin_turn(o);
        h2_origin_fields(o, o->streams[i].id, NGHTTP2_FLAG_NONE, cases[i].fields);
        h2_origin_send(o, o->streams[i].id, cases[i].body, NULL);
        CU_ASSERT(seen.closed && !seen.ended && seen.error);
        CU_ASSERT(o->streams[i].reset);
        CU_ASSERT(!o->gone);
        rig_seen_free(&seen);
    }
    h2_origin_free(o);
    rig_free(r);
}

static void interim_responses_are_few(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    get(r, "/", &seen);
    struct h2_origin *o = h2_origin_accept(r);
    for (int i = 0; i < 9; i++) {
        CU_ASSERT(!seen.closed);
        h2_origin_fields(o, 1, NGHTTP2_FLAG_NONE,
                         (const char *const[]){ ":status", "103", "link", "</a>", NULL });
    }
    CU_ASSERT(seen.closed && seen.error == CV_E_LIMIT);
    CU_ASSERT(o->streams[0].reset);
    h2_origin_free(o);
    rig_free(r);
}

/* The frame over and over, behind `first`, if there is one; until the connection ends or so many are sent. */
static void flood(struct h2_origin *o, const struct rig_seen *seen, const void *frame, size_t n, size_t times)
{
    uint8_t *all = cv_xmalloc(n * times);
    for (size_t i = 0; i < times; i++)
        memcpy(all + i * n, frame, n);
    size_t sent = 0;
    for (int tries = 0; tries < 3000 && sent < n * times && !seen->closed; tries++) {
        ssize_t got = send(o->fd, all + sent, n * times - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += got > 0 ? (size_t)got : 0;
        rig_turn(o->rig);
    }
    free(all);
}

static void a_flood_of_frames_without_use_ends_the_connection(void)
{
    enum { FRAMES = 20000 };
    static const struct {
        const char *frame; /* a head; its payload is zeroes */
        size_t payload, times;
    } cases[] = {
        { "\0\0\10\6\1\0\0\0\0", 8, FRAMES },      /* answers to pings that nobody sent */
        { "\0\0\10\6\0\0\0\0\0", 8, FRAMES },      /* pings */
        { "\0\0\0\4\0\0\0\0\0", 0, FRAMES },       /* SETTINGS */
        { "\0\0\6\4\0\0\0\0\0", 6, FRAMES },       /* with a setting of unknown kind */
        { "\0\0\5\2\0\0\0\0\1", 5, FRAMES },       /* PRIORITY */
        { "\0\0\0\0\0\0\0\0\1", 0, FRAMES },       /* DATA without bytes */
        { "\0\0\0\372\0\0\0\0\0", 0, FRAMES },     /* of a type that nobody knows */
        { "\0\0\4\12\0\0\0\0\1", 4, FRAMES },      /* ALTSVC */
        { "\0\100\0\372\0\0\0\0\0", 16384, 1000 }, /* fewer, but long */
        { "\0\0\0\11\0\0\0\0\1", 0, FRAMES },      /* CONTINUATION of no head */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *frame = cv_xcalloc(1, 9 + cases[i].payload);
        struct rig *r = rig_of_h2();
        struct rig_seen seen;
        get(r, "/", &seen);
        struct h2_origin *o = h2_origin_accept(r);
        h2_origin_head(o, 1, "text/plain");
        CU_ASSERT(seen.status == 200 && !seen.closed);
        memcpy(frame, cases[i].frame, 9);
        flood(o, &seen, frame, 9 + cases[i].payload, cases[i].times);
        CU_ASSERT(seen.closed && seen.error == CV_E_PROTO);
        if (!seen.closed)
            fprintf(stderr, "  case %zu\n", i);
        free(frame);
        h2_origin_free(o);
        rig_free(r);
    }
}

static void heads_that_nobody_waits_for_end_the_connection(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen[2];
    get(r, "/0", &seen[0]);
    struct h2_origin *o = h2_origin_accept(r);
    get(r, "/1", &seen[1]);
    h2_origin_turn(o);
    h2_origin_answer(o, 1);
    CU_ASSERT(seen[0].ended);
    flood(o, &seen[1], "\0\0\1\1\4\0\0\0\1\210", 10, 20000); /* :status 200, where that has been said */
    CU_ASSERT(seen[1].closed && seen[1].error == CV_E_PROTO);
    rig_seen_free(&seen[0]);
    h2_origin_free(o);
    rig_free(r);
}

/* A head that never ends: in pieces without bytes, and in pieces that decode to more than may be. */
static void a_head_that_does_not_end_ends_the_connection(void)
{
    static const struct {
        const char *frame;
        size_t n;
    } cases[] = { { "\0\0\0\11\0\0\0\0\1", 9 }, { "\0\0\1\11\0\0\0\0\1\210", 10 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig *r = rig_of_h2();
        struct rig_seen seen;
        get(r, "/", &seen);
        struct h2_origin *o = h2_origin_accept(r);
        CU_ASSERT_EQUAL(send(o->fd, "\0\0\0\1\0\0\0\0\1", 9, MSG_NOSIGNAL), 9);
        flood(o, &seen, cases[i].frame, cases[i].n, 20000);
        h2_origin_turn(o);
        CU_ASSERT(seen.closed && seen.status == 502);
        CU_ASSERT(o->gone);
        h2_origin_free(o);
        rig_free(r);
    }
}

/* What RFC 9113 §5.5 asks for: a few of them change nothing. */
static void frames_of_unknown_types_are_passed_over(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    get(r, "/", &seen);
    struct h2_origin *o = h2_origin_accept(r);
    flood(o, &seen, "\0\0\3\372\377\0\0\0\1abc", 12, 100);
    h2_origin_answer(o, 1);
    CU_ASSERT(seen.ended && seen.status == 200 && seen.body.n == 5);
    rig_seen_free(&seen);
    h2_origin_free(o);
    rig_free(r);
}

static void what_is_not_http2_is_an_error(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    get(r, "/", &seen);
    int fd = rig_accept(r);
    rig_say(r, fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    CU_ASSERT(rig_until(r, &seen.closed));
    CU_ASSERT(seen.status == 502 && seen.error == CV_E_PROTO);
    close(fd);
    rig_free(r);
}

static void an_origin_that_does_not_answer_is_given_up(void)
{
    struct rig *r = rig_of_h2();
    struct rig_seen seen;
    r->conf.first_byte_timeout = (struct cv_ms){ 20 };
    get(r, "/", &seen);
    struct h2_origin *o = h2_origin_accept(r);
    CU_ASSERT(h2_origin_until(o, &seen.closed));
    CU_ASSERT(seen.status == 504 && seen.error == CV_E_TIMEOUT);
    CU_ASSERT(h2_origin_until(o, &o->streams[0].reset));
    h2_origin_free(o);
    rig_free(r);
}

/* What a server may say of stream 1, and then some bytes of it others. */
static void whatever_an_origin_says_harms_nobody(void)
{
    static const char good[] = "\0\0\0\4\0\0\0\0\0" /* SETTINGS */
                               "\0\0\0\4\1\0\0\0\0" /* and of ours */
                               "\0\0\5\1\4\0\0\0\1\x08\3"
                               "103"                                  /* HEADERS: 103 */
                               "\0\0\6\1\4\0\0\0\1\x88\0\1a\1b"       /* HEADERS: 200 */
                               "\0\0\10\6\0\0\0\0\0pingping"          /* PING */
                               "\0\0\5\0\0\0\0\0\1hello"              /* DATA */
                               "\0\0\4\10\0\0\0\0\1\0\0\1\0"          /* WINDOW_UPDATE */
                               "\0\0\5\1\5\0\0\0\1\0\1x\1y"           /* HEADERS: trailers */
                               "\0\0\4\3\0\0\0\0\1\0\0\0\7"           /* RST_STREAM */
                               "\0\0\10\7\0\0\0\0\0\0\0\0\1\0\0\0\0"; /* GOAWAY */
    struct rig *r = rig_of_h2();
    unsigned well = 0;
    uint32_t dice = 1;
    for (int i = 0; i < 300; i++) {
        char said[sizeof(good) - 1];
        struct rig_seen seen;
        memcpy(said, good, sizeof(said));
        for (int changes = i % 4; changes > 0; changes--) {
            dice = dice * 1664525u + 1013904223u;
            said[(dice >> 16) % sizeof(said)] = (char)(dice >> 8 & 0xff);
        }
        struct cv_req *req = get(r, "/", &seen);
        int fd = rig_accept(r);
        CU_ASSERT_EQUAL(send(fd, said, sizeof(said), MSG_NOSIGNAL), (ssize_t)sizeof(said));
        shutdown(fd, SHUT_WR);
        for (int turns = 0; turns < 2000 && !seen.ended && !seen.closed; turns++) {
            rig_turn(r);
            if (!nobody_comes(r) ||
                turns == 1999) /* it is sent again, if the origin seems not to have begun */
                cv_req_fail(req, CV_E_CANCEL, "the visitor left");
        }
        CU_ASSERT(seen.ended || seen.closed);
        close(fd);
        well += seen.ended && strcmp(seen.trailers, "x=y ") == 0;
        rig_seen_free(&seen);
        rig_turn(r);
    }
    CU_ASSERT(well >= 75);
    CU_ASSERT_EQUAL(rig_worker(r)->idle, 0);
    rig_free(r);
}

SUITE(origin_h2, TEST(heads_that_nobody_waits_for_end_the_connection),
      TEST(no_more_connections_wait_than_the_rule_keeps), TEST(a_head_that_does_not_end_ends_the_connection),
      TEST(frames_of_unknown_types_are_passed_over), TEST(requests_share_a_connection),
      TEST(grpc_talks_both_ways_and_ends_in_trailers), TEST(much_passes_both_ways_within_the_windows),
      TEST(resets_pass_both_ways), TEST(a_refused_stream_is_sent_again_once),
      TEST(a_reset_for_another_reason_is_not_sent_again), TEST(no_more_streams_than_the_origin_takes),
      TEST(bodies_are_there_only_where_they_may_be), TEST(a_response_of_trailers_alone_has_them_in_its_head),
      TEST(a_broken_response_is_reset), TEST(interim_responses_are_few),
      TEST(a_flood_of_frames_without_use_ends_the_connection),
      TEST(an_origin_that_does_not_answer_is_given_up), TEST(whatever_an_origin_says_harms_nobody),
      TEST(a_request_whose_body_has_left_is_not_sent_again),
      TEST(a_connection_that_is_going_finishes_what_it_took),
      TEST(a_kept_connection_that_closes_costs_nothing), TEST(nobody_at_home_fails_all_who_wait),
      TEST(one_who_leaves_while_dialling_hands_over), TEST(a_head_beyond_the_limit_is_refused),
      TEST(what_is_not_http2_is_an_error));
