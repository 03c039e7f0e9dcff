/* test_sse.c: which streams get signs of life, when, and what they look like. */
#include "harness.h"
#include "suite.h"

#include <string.h>
#include <unistd.h>

#define COMMENT ":\n\n"
#define PING    "event: ping\ndata: {\"type\": \"ping\"}\n\n"

enum { PAUSE_MS = 20 };

static const struct sse_conf conf = { .heartbeat = { PAUSE_MS } };
static const char *fields[2][2]; /* of the response */
static int status;

static void answer(struct cv_req *req)
{
    req->status = status;
    req->resp_headers = cv_headers_new(req);
    for (size_t i = 0; i < 2 && fields[i][0]; i++)
        cv_header_add(req, req->resp_headers, cv_str_of(fields[i][0]), cv_str_of(fields[i][1]));
    cv_req_respond(req);
}

static void has_fields(const char *type, const char *name, const char *value)
{
    status = 200;
    fields[0][0] = "Content-Type";
    fields[0][1] = type;
    fields[1][0] = name;
    fields[1][1] = value;
}

static struct cv_req *begin(struct harness *h, const char *path)
{
    requests_heartbeat(h->worker, &conf);
    h->in_open = answer;
    struct cv_req *req = harness_request(h, CV_HTTP);
    req->path = cv_str_of(path);
    cv_req_start(req);
    harness_turn(h);
    return req;
}

static void write_text(struct harness *h, struct cv_req *req, const char *text)
{
    cv_pipe_write(req->down, text, strlen(text));
    harness_turn(h);
}

/* All that is in the pipe, which is empty then. */
static const char *taken(struct harness *h, struct cv_req *req)
{
    static char text[256];
    struct iovec iov;
    size_t n = 0;
    while (cv_pipe_peek(req->down, 0, &iov, 1) && n + iov.iov_len < sizeof(text)) {
        memcpy(text + n, iov.iov_base, iov.iov_len);
        n += iov.iov_len;
        cv_pipe_consume(req->down, iov.iov_len);
    }
    text[n] = '\0';
    harness_turn(h);
    return text;
}

/* What comes by itself within a few pauses; empty: nothing. */
static const char *waits(struct harness *h, struct cv_req *req)
{
    for (int i = 0; i < 100 && cv_pipe_held(req->down) == 0; i++) {
        usleep(PAUSE_MS * 1000 / 20);
        harness_turn(h);
    }
    return taken(h, req);
}

static void end(struct harness *h, struct cv_req *req)
{
    cv_req_fail(req, CV_E_CANCEL, "gone");
    harness_turn(h);
    harness_free(h);
}

static void a_still_stream_gets_comments(void)
{
    struct harness *h = harness_new(0);
    has_fields("text/event-stream; charset=utf-8", NULL, NULL);
    struct cv_req *req = begin(h, "/v1/chat/completions");
    CU_ASSERT_STRING_EQUAL(waits(h, req), COMMENT);
    CU_ASSERT_STRING_EQUAL(waits(h, req), COMMENT);
    end(h, req);
}

static void messages_get_the_event_ping(void)
{
    struct harness *h = harness_new(0);
    has_fields("text/event-stream", "Content-Encoding", "identity");
    struct cv_req *req = begin(h, "/v1/messages?beta=true");
    CU_ASSERT_STRING_EQUAL(waits(h, req), PING);
    end(h, req);
}

static void an_event_is_never_broken(void)
{
    static const struct {
        const char *written, *comes;
    } cases[] = { { "data: a\n\n", COMMENT },
                  { "data: a\r\n\r\n", COMMENT },
                  { "data: a\r\r", COMMENT },
                  { "data: a\n", "" },
                  { "data: a", "" },
                  { "data: a\r\n", "" },
                  { "\r\n", "" } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct harness *h = harness_new(0);
        has_fields("text/event-stream", NULL, NULL);
        struct cv_req *req = begin(h, "/");
        write_text(h, req, cases[i].written);
        taken(h, req);
        CU_ASSERT_STRING_EQUAL(waits(h, req), cases[i].comes);
        end(h, req);
    }
}

static void the_end_of_an_event_may_come_in_pieces(void)
{
    struct harness *h = harness_new(0);
    struct iovec iov;
    has_fields("text/event-stream", NULL, NULL);
    struct cv_req *req = begin(h, "/");
    write_text(h, req, "data: a\r\n\r");
    CU_ASSERT_EQUAL(cv_pipe_reserve(req->down, &iov, 1), 1);
    memcpy(iov.iov_base, "\n", 1);
    cv_pipe_commit(req->down, 1);
    taken(h, req);
    CU_ASSERT_STRING_EQUAL(waits(h, req), COMMENT);
    end(h, req);
}

static void other_answers_are_left_alone(void)
{
    static const struct {
        const char *type, *name, *value;
        int status;
    } cases[] = { { "text/event-stream", "Content-Encoding", "gzip", 200 },
                  { "text/event-stream", "Content-Length", "5", 200 },
                  { "text/event-streams", NULL, NULL, 200 },
                  { "text/plain", NULL, NULL, 200 },
                  { "text/event-stream", NULL, NULL, 500 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct harness *h = harness_new(0);
        has_fields(cases[i].type, cases[i].name, cases[i].value);
        status = cases[i].status;
        struct cv_req *req = begin(h, "/");
        CU_ASSERT_STRING_EQUAL(waits(h, req), "");
        end(h, req);
    }
}

static void a_slow_visitor_and_an_ended_stream_get_none(void)
{
    struct harness *h = harness_new(0);
    has_fields("text/event-stream", NULL, NULL);
    struct cv_req *req = begin(h, "/");
    write_text(h, req, "data: a\n\n");
    for (int i = 0; i < 10; i++) {
        usleep(PAUSE_MS * 1000 / 4);
        harness_turn(h);
    }
    CU_ASSERT_STRING_EQUAL(taken(h, req), "data: a\n\n");
    cv_pipe_finish(req->down);
    CU_ASSERT_STRING_EQUAL(waits(h, req), "");
    end(h, req);
}

static void the_origin_hears_nothing_of_them(void)
{
    struct harness *h = harness_new(0);
    has_fields("text/event-stream", NULL, NULL);
    struct cv_req *req = begin(h, "/");
    size_t room = cv_pipe_room(req->down);
    h->origin_log[0] = '\0';
    for (int i = 0; i < 100 && cv_pipe_held(req->down) == 0; i++) {
        usleep(PAUSE_MS * 1000 / 20);
        harness_turn(h);
    }
    CU_ASSERT_EQUAL(cv_pipe_room(req->down), room);
    CU_ASSERT_EQUAL(cv_pipe_write(req->down, "data", 4), 4);
    cv_pipe_consume(req->down, 2);
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->origin_log, "");
    cv_pipe_consume(req->down, 5);
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->origin_log, "credit:4");
    CU_ASSERT_EQUAL(cv_pipe_room(req->down), room);
    end(h, req);
}

SUITE(sse, TEST(a_still_stream_gets_comments), TEST(messages_get_the_event_ping),
      TEST(an_event_is_never_broken), TEST(the_end_of_an_event_may_come_in_pieces),
      TEST(other_answers_are_left_alone), TEST(a_slow_visitor_and_an_ended_stream_get_none),
      TEST(the_origin_hears_nothing_of_them));
