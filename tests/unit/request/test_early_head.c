/* test_early_head.c: heads that come before the origin's: for whom, when, and what becomes of the origin's answer. */
#include "harness.h"
#include "request/member.h"
#include "suite.h"

#include <string.h>
#include <unistd.h>

enum { DELAY_MS = 20 };

static const struct sse_conf conf = { .heartbeat = { 10000 }, .early_head = { DELAY_MS } };
static struct harness *h;
static char got_type[64];

/* ---- members ------------------------------------------------------------------------------------------- */

static bool has(const char *text, const char *value, size_t piece)
{
    struct member_scan s = { .name = "stream", .value = value };
    for (size_t i = 0; i < strlen(text); i += piece)
        member_scan(&s, (const uint8_t *)text + i, strlen(text) - i < piece ? strlen(text) - i : piece);
    return s.found;
}

static void a_member_is_found_at_the_top_alone_however_it_comes(void)
{
    static const struct {
        const char *text;
        bool found;
    } cases[] = { { "{\"stream\":true}", true },
                  { " { \"a\" : [1,{\"b\":\"}\"}] , \"stream\" :\n true , \"c\":1}", true },
                  { "{\"stream\":true", true },
                  { "{\"stream\":false}", false },
                  { "{\"stream\":\"true\"}", false },
                  { "{\"stream\":1,\"x\":true}", false },
                  { "{\"streams\":true,\"strea\":true,\"\":true}", false },
                  { "{\"a\":{\"stream\":true}}", false },
                  { "{\"a\":[\"stream\",true]}", false },
                  { "{\"a\":\"\\\",\\\"stream\\\":true\"}", false },
                  { "{\"a\":\"stream\",\"b\":true}", false },
                  { "{\"x\":\"stream\"}, \"stream\": true", false },
                  { "[\"stream\",true]", false },
                  { "]]}}{\"stream\":true", true },
                  { "", false } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t piece = 1; piece <= 64; piece *= 8) {
            bool found = has(cases[i].text, "true", piece);
            CU_ASSERT_EQUAL(found, cases[i].found);
            if (found != cases[i].found)
                fprintf(stderr, "  %s\n", cases[i].text);
        }
    CU_ASSERT_TRUE(has("{\"x\":[],\"stream\":{}}", NULL, 1));
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static void keep_waiting(struct cv_req *req)
{
    (void)req;
}

static void note_type(struct cv_req *req)
{
    struct cv_str type = cv_header(req->resp_headers, CV_STR("content-type"));
    snprintf(got_type, sizeof(got_type), CV_STR_FMT, CV_STR_ARG(type));
}

static struct cv_req *asks(const char *path, const char *name, const char *value)
{
    h = harness_new(1);
    requests_heartbeat(h->worker, &conf);
    h->in_open = keep_waiting;
    h->in_head = note_type;
    got_type[0] = '\0';
    struct cv_req *req = harness_request(h, CV_HTTP);
    req->method = CV_STR("POST");
    req->path = cv_str_of(path);
    cv_header_add(req, req->headers, cv_str_of(name), cv_str_of(value));
    cv_req_start(req);
    return req;
}

static struct cv_req *streams(const char *path)
{
    struct cv_req *req = asks(path, "Content-Type", "application/json");
    cv_pipe_write(req->up, "{\"stream\": true}", 16);
    cv_pipe_finish(req->up);
    return req;
}

static bool head_comes(void)
{
    for (int i = 0; i < 60 && !strstr(h->edge_log, "head"); i++) {
        harness_turn(h);
        usleep(DELAY_MS * 1000 / 20);
    }
    return strstr(h->edge_log, "head") != NULL;
}

static const char *taken(struct cv_req *req)
{
    static char text[1024];
    struct iovec iov;
    size_t n = 0;
    harness_turn(h);
    while (cv_pipe_peek(req->down, 0, &iov, 1) && n + iov.iov_len < sizeof(text)) {
        memcpy(text + n, iov.iov_base, iov.iov_len);
        n += iov.iov_len;
        cv_pipe_consume(req->down, iov.iov_len);
    }
    text[n] = '\0';
    harness_turn(h);
    return text;
}

static void over(struct cv_req *req)
{
    harness_turn(h);
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);
}

static void origin_says(struct cv_req *req, int status, const char *type, const char *body)
{
    CU_ASSERT_PTR_NULL(req->resp_headers);
    CU_ASSERT_EQUAL(req->status, 0);
    req->status = status;
    req->resp_headers = cv_headers_new(req);
    cv_header_add(req, req->resp_headers, CV_STR("Content-Type"), cv_str_of(type));
    cv_req_respond(req);
    CU_ASSERT_EQUAL(cv_pipe_write(req->down, body, strlen(body)), strlen(body));
    cv_pipe_finish(req->down);
}

/* ---- tests ---------------------------------------------------------------------------------------------- */

static void who_asks_for_a_stream_gets_its_head_in_time(void)
{
    struct cv_req *req = streams("/v1/chat/completions");
    CU_ASSERT_TRUE(head_comes());
    CU_ASSERT_STRING_EQUAL(got_type, "text/event-stream");
    CU_ASSERT_STRING_EQUAL(h->filter_log, "request2");
    origin_says(req, 200, "text/event-stream", "data: 1\n\n");
    CU_ASSERT_STRING_EQUAL(taken(req), "data: 1\n\n");
    CU_ASSERT_TRUE(cv_pipe_ended(req->down));
    CU_ASSERT_STRING_EQUAL(h->filter_log, "request2 response2");
    over(req);
    req = streams("/v1/chat/completions"); /* of a promised length, which nobody was promised */
    CU_ASSERT_TRUE(head_comes());
    req->resp_headers = cv_headers_new(req);
    cv_header_add(req, req->resp_headers, CV_STR("Content-Length"), CV_STR("9"));
    cv_header_add(req, req->resp_headers, CV_STR("Content-Type"), CV_STR("text/event-stream"));
    req->status = 200;
    cv_req_respond(req);
    cv_pipe_write(req->down, "data: 1\n\n", 9);
    CU_ASSERT_STRING_EQUAL(taken(req), "data: 1\n\n");
    over(req);
    req = asks("/events", "Accept", "text/event-stream");
    CU_ASSERT_TRUE(head_comes());
    cv_req_fail(req, CV_E_CANCEL, "left");
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->edge_log, "head:200 closed:cancel");
    harness_free(h);
}

static void others_wait_for_the_origin(void)
{
    static const struct {
        const char *name, *value, *body;
    } cases[] = { { "Content-Type", "application/json", "{\"stream\":false}" },
                  { "Content-Type", "text/plain", "{\"stream\":true}" },
                  { "Accept", "application/json, text/event-stream", "{\"stream\":true}" },
                  { "Accept", "*/*", "" } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_req *req = asks("/v1/chat/completions", cases[i].name, cases[i].value);
        cv_pipe_write(req->up, cases[i].body, strlen(cases[i].body));
        CU_ASSERT_FALSE(head_comes());
        cv_req_fail(req, CV_E_CANCEL, "left");
        harness_turn(h);
        harness_free(h);
    }
}

static void an_answer_in_time_is_passed_on_as_it_is(void)
{
    struct cv_req *req = streams("/v1/chat/completions");
    harness_turn(h);
    origin_says(req, 500, "application/json", "{\"error\":1}");
    CU_ASSERT_STRING_EQUAL(taken(req), "{\"error\":1}");
    CU_ASSERT_PTR_NOT_NULL(strstr(h->edge_log, "head:500"));
    over(req);
}

static void a_late_error_becomes_an_event(void)
{
    static const struct {
        const char *path, *type, *body, *event;
        int status;
    } cases[] = {
        { "/v1/chat/completions", "application/json", "{\n\"error\": {\"code\": 7}}",
          "data: { \"error\": {\"code\": 7}}\n\n", 400 },
        { "/v1/messages", "application/json", "{\"type\":\"error\",\"error\":{}}",
          "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n", 529 },
        { "/v1/chat/completions", "text/html", "<h1>Bad</h1>",
          "data: {\"error\":{\"message\":\"The origin answered 502 instead of a stream of events: "
          "\\u003ch1\\u003eBad\\u003c/h1\\u003e\",\"type\":\"server_error\",\"param\":null,"
          "\"code\":\"origin_answer\"}}\n\n",
          502 },
        { "/v1/messages", "text/plain", "",
          "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":"
          "\"The origin answered 429 instead of a stream of events.\"},\"request_id\":null}\n\n",
          429 }
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_req *req = streams(cases[i].path);
        CU_ASSERT_TRUE(head_comes());
        origin_says(req, cases[i].status, cases[i].type, cases[i].body);
        CU_ASSERT_STRING_EQUAL(taken(req), cases[i].event);
        CU_ASSERT_TRUE(cv_pipe_ended(req->down));
        CU_ASSERT_PTR_NOT_NULL(strstr(h->origin_log, "closed:ok"));
        over(req);
    }
}

static void an_answer_that_is_too_long_is_told_in_other_words(void)
{
    struct cv_req *req = streams("/v1/chat/completions");
    CU_ASSERT_TRUE(head_comes());
    req->status = 500;
    cv_req_respond(req);
    size_t written = 0;
    for (int i = 0; i < 40; i++) { /* more than the pipe holds: the origin has its credit at once */
        struct iovec iov[8];
        int n = cv_pipe_reserve(req->down, iov, 8);
        size_t room = 0;
        for (int k = 0; k < n; k++) {
            memset(iov[k].iov_base, 'x', iov[k].iov_len);
            room += iov[k].iov_len;
        }
        cv_pipe_commit(req->down, room);
        written += room;
        harness_turn(h);
    }
    CU_ASSERT_TRUE(written > 1000000);
    CU_ASSERT_EQUAL(cv_pipe_held(req->down), 0);
    cv_pipe_finish(req->down);
    const char *event = taken(req);
    CU_ASSERT_PTR_NOT_NULL(strstr(event, "The origin answered 500 instead of a stream of events: xxx"));
    CU_ASSERT_TRUE(strlen(event) < 800);
    over(req);
}

static void an_origin_that_fails_late_is_told_of_by_an_event(void)
{
    struct cv_req *req = streams("/v1/messages");
    CU_ASSERT_TRUE(head_comes());
    cv_req_fail(req, CV_E_REFUSED, "dial tcp 10.0.0.1:80: connection refused");
    CU_ASSERT_STRING_EQUAL(
        taken(req), "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":"
                    "\"The request could not be served: connection refused.\"},\"request_id\":null}\n\n");
    CU_ASSERT_TRUE(cv_pipe_ended(req->down));
    CU_ASSERT_PTR_NOT_NULL(strstr(h->origin_log, "closed:refused"));
    cv_req_done(req);
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->filter_log, "request2 closed2:refused");
    harness_free(h);
}

static void a_stream_that_has_begun_is_cut_as_ever(void)
{
    struct cv_req *req = streams("/v1/messages");
    CU_ASSERT_TRUE(head_comes());
    req->status = 200;
    req->resp_headers = cv_headers_new(req);
    cv_header_add(req, req->resp_headers, CV_STR("Content-Type"), CV_STR("text/event-stream"));
    cv_req_respond(req);
    cv_pipe_write(req->down, "data: 1\n\n", 9);
    harness_turn(h);
    cv_req_fail(req, CV_E_IO, "cut");
    harness_turn(h);
    CU_ASSERT_PTR_NOT_NULL(strstr(h->edge_log, "closed:io"));
    harness_free(h);
}

SUITE(early_head, TEST(a_member_is_found_at_the_top_alone_however_it_comes),
      TEST(who_asks_for_a_stream_gets_its_head_in_time), TEST(others_wait_for_the_origin),
      TEST(an_answer_in_time_is_passed_on_as_it_is), TEST(a_late_error_becomes_an_event),
      TEST(an_answer_that_is_too_long_is_told_in_other_words),
      TEST(an_origin_that_fails_late_is_told_of_by_an_event), TEST(a_stream_that_has_begun_is_cut_as_ever));
