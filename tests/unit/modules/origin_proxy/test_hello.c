/* test_hello.c: the test page and its neighbours. */
#include "origin_proxy/hello.h"
#include "rig.h"
#include "suite.h"

#include <string.h>

static struct rig *hello_rig(void)
{
    struct rig *rig = rig_new();
    rig_rule(rig, "hello_world", "");
    return rig;
}

static const char *text_of(struct rig_seen *seen)
{
    cv_buf_add(&seen->body, "", 1);
    seen->body.n--;
    return (const char *)seen->body.p;
}

static bool holds(const char *text, const char *part)
{
    bool found = strstr(text, part);
    if (!found)
        fprintf(stderr, "  %s\n  without %s\n", text, part);
    return found;
}

static void the_page_shows_what_came_as_text(void)
{
    struct rig *rig = hello_rig();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "POST", "/any/path?q=<i>", &seen);
    req->headers = cv_headers_new(req);
    cv_header_add(req, req->headers, CV_STR("X-Note"), CV_STR("\"<script>\" & 'more'"));
    req->body_length = CV_BODY_STREAM;
    rig_send(rig, req);
    CU_ASSERT_EQUAL(seen.status, 0); /* the body has not come */
    cv_pipe_write(req->up, "<b>body</b>", 11);
    cv_pipe_finish(req->up);
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.status, 200);
    const char *page = text_of(&seen);
    CU_ASSERT_TRUE(holds(seen.head, "Content-Type=text/html; charset=utf-8 "));
    CU_ASSERT_TRUE(holds(page, "<dt>Method</dt><dd>POST</dd>"));
    CU_ASSERT_TRUE(holds(page, "<dt>Request URI</dt><dd>/any/path?q=&lt;i&gt;</dd>"));
    CU_ASSERT_TRUE(holds(page, "<dt>Host</dt><dd>a.example.com</dd>"));
    CU_ASSERT_TRUE(holds(page, "<dd>&#34;&lt;script&gt;&#34; &amp; &#39;more&#39;</dd>"));
    CU_ASSERT_TRUE(holds(page, "<dt>Body</dt><dd>&lt;b&gt;body&lt;/b&gt;</dd>"));
    rig_seen_free(&seen);
    rig_free(rig);
}

static void a_long_body_is_read_to_its_end_and_shown_in_part(void)
{
    struct rig *rig = hello_rig();
    struct rig_seen seen;
    static char piece[10000];
    memset(piece, 'x', sizeof(piece));
    struct cv_req *req = rig_request(rig, "PUT", "/", &seen);
    req->body_length = CV_BODY_STREAM;
    rig_send(rig, req);
    for (int i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(cv_pipe_write(req->up, piece, sizeof(piece)), sizeof(piece));
        rig_turn(rig);
    }
    cv_pipe_finish(req->up);
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.status, 200);
    CU_ASSERT(seen.body.n > 16 * 1024 && seen.body.n < 20 * 1024);
    rig_seen_free(&seen);
    rig_free(rig);
}

static void get(struct rig *rig, const char *method, const char *path, struct rig_seen *seen)
{
    rig_send(rig, rig_request(rig, method, path, seen));
    CU_ASSERT_TRUE(rig_until(rig, &seen->closed));
}

static void health_uptime_and_heads_are_answered(void)
{
    struct rig *rig = hello_rig();
    struct rig_seen seen;
    get(rig, "GET", "/_health?x", &seen);
    CU_ASSERT_EQUAL(seen.status, 200);
    CU_ASSERT_STRING_EQUAL(text_of(&seen), "ok");
    CU_ASSERT_TRUE(holds(seen.head, "Content-Length=2 "));
    rig_seen_free(&seen);
    get(rig, "GET", "/uptime", &seen);
    CU_ASSERT_TRUE(holds(text_of(&seen), "{\"startTime\":\"20"));
    CU_ASSERT_TRUE(holds(text_of(&seen), "\",\"uptime\":\""));
    rig_seen_free(&seen);
    get(rig, "HEAD", "/", &seen);
    CU_ASSERT_EQUAL(seen.status, 200);
    CU_ASSERT_EQUAL(seen.body.n, 0);
    rig_seen_free(&seen);
    get(rig, "GET", "/ws", &seen); /* no handshake */
    CU_ASSERT_EQUAL(seen.status, 400);
    rig_seen_free(&seen);
    rig_free(rig);
}

static void durations_read_and_are_written_as_in_go(void)
{
    static const struct {
        const char *text;
        int64_t ms;
    } read[] = { { "10s", 10000 }, { "250ms", 250 }, { "1h2m3s4ms", 3723004 },
                 { "0s", 0 },      { "", 0 },        { "5", 0 },
                 { "s", 0 },       { "1.5s", 0 },    { "-1s", 0 },
                 { "9999999s", 0 } };
    static const struct {
        int64_t ms;
        const char *text;
    } written[] = { { 0, "\"0s\"" },
                    { 15, "\"15ms\"" },
                    { 1000, "\"1s\"" },
                    { 3250, "\"3.25s\"" },
                    { 60000, "\"1m0s\"" },
                    { 3600000, "\"1h0m0s\"" },
                    { 90061001, "\"25h1m1.001s\"" } };
    for (size_t i = 0; i < sizeof(read) / sizeof(read[0]); i++)
        CU_ASSERT_EQUAL(origin_hello_duration(cv_str_of(read[i].text)), read[i].ms);
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
        struct cv_buf out = { 0 };
        origin_hello_uptime(&out, 1000, 1000 + written[i].ms);
        cv_buf_add(&out, "", 1);
        CU_ASSERT_TRUE(holds((char *)out.p, written[i].text));
        CU_ASSERT_TRUE(holds((char *)out.p, "{\"startTime\":\"1970-01-01T00:00:01.000Z\","));
        cv_buf_free(&out);
    }
}

static void events_come_one_by_one_until_the_visitor_leaves(void)
{
    struct rig *rig = hello_rig();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "GET", "/sse?a=b&freq=5ms", &seen);
    rig_send(rig, req);
    CU_ASSERT_EQUAL(seen.status, 200);
    CU_ASSERT_TRUE(holds(seen.head, "text/event-stream"));
    for (int64_t since = clock_ms(); seen.body.n < 9 && clock_ms() - since < 5000;)
        rig_turn(rig);
    CU_ASSERT_EQUAL(strncmp(text_of(&seen), "0\n\n1\n\n2\n\n", 9), 0);
    CU_ASSERT_FALSE(seen.closed);
    cv_req_fail(req, CV_E_CANCEL, "the visitor left");
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    rig_seen_free(&seen);
    rig_free(rig);
}

/* ---- echo ------------------------------------------------------------------------------------------------- */

static struct cv_req *handshake(struct rig *rig, struct rig_seen *seen)
{
    struct cv_req *req = rig_request(rig, "GET", "/ws", seen);
    req->type = CV_WEBSOCKET;
    req->body_length = CV_BODY_STREAM;
    req->headers = cv_headers_new(req);
    cv_header_add(req, req->headers, CV_STR("Sec-WebSocket-Key"), CV_STR("dGhlIHNhbXBsZSBub25jZQ=="));
    rig_send(rig, req);
    CU_ASSERT_EQUAL(seen->status, 101);
    CU_ASSERT_TRUE(holds(seen->head, "Sec-Websocket-Accept=s3pPLMBiTxaQ9kYGzzhZRbK+xOo= "));
    return req;
}

static void hear(struct rig *rig, struct rig_seen *seen, size_t n)
{
    for (int64_t since = clock_ms(); seen->body.n < n && clock_ms() - since < 5000;)
        rig_turn(rig);
}

#define SAY(req, text) cv_pipe_write((req)->up, text, sizeof(text) - 1)

static void every_frame_comes_back_as_it_is(void)
{
    struct rig *rig = hello_rig();
    struct rig_seen seen;
    struct cv_req *req = handshake(rig, &seen);
    SAY(req, "\x81\x82\1\2\3\4\x69\x6b"   /* text "hi" */
             "\x02\x81\0\0\0\0a"          /* binary, the first part */
             "\x89\x83\0\0\0\0abc"        /* a ping in between */
             "\x80\x81\0\0\0\0b"          /* the last part */
             "\x81\x80\0\0\0\0"           /* an empty text */
             "\x88\x82\0\0\0\0\x03\xe8"); /* close, 1000 */
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    static const char back[] = "\x81\x02hi\x02\x01"
                               "a\x8a\x03"
                               "abc\x80\x01"
                               "b\x81\x00\x88\x02\x03\xe8";
    CU_ASSERT_EQUAL(seen.body.n, sizeof(back) - 1);
    CU_ASSERT(seen.body.n == sizeof(back) - 1 && memcmp(seen.body.p, back, sizeof(back) - 1) == 0);
    CU_ASSERT_TRUE(seen.ended);
    rig_seen_free(&seen);
    rig_free(rig);
}

static void a_large_message_is_echoed_within_what_there_is_room_for(void)
{
    enum { SIZE = 300000 };
    struct rig *rig = hello_rig();
    struct rig_seen seen;
    struct cv_req *req = handshake(rig, &seen);
    static uint8_t message[SIZE + 14] = { 0x82,       0xff, 0, 0, 0, 0, 0, SIZE >> 16, (SIZE >> 8) & 0xff,
                                          SIZE & 0xff };
    memset(message + 14, 'm', SIZE);
    rig->hold = true;
    for (size_t at = 0; at < sizeof(message);) {
        size_t room = cv_pipe_room(req->up), left = sizeof(message) - at;
        at += cv_pipe_write(req->up, message + at, room < left ? room : left);
        rig_turn(rig);
        if (room == 0) {
            CU_ASSERT(cv_pipe_held(req->down) <= 50000);
            rig_take(rig, req);
            rig->hold = true;
        }
    }
    rig_take(rig, req);
    hear(rig, &seen, SIZE + 10);
    CU_ASSERT_EQUAL(seen.body.n, SIZE + 10);
    CU_ASSERT_EQUAL(memcmp(seen.body.p, "\x82\x7f\0\0\0\0\0\x04\x93\xe0", 10), 0);
    size_t right = 0;
    for (size_t i = 10; i < seen.body.n; i++)
        right += seen.body.p[i] == 'm';
    CU_ASSERT_EQUAL(right, SIZE);
    cv_pipe_finish(req->up);
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    rig_seen_free(&seen);
    rig_free(rig);
}

static void a_frame_without_mask_ends_it(void)
{
    struct rig *rig = hello_rig();
    struct rig_seen seen;
    struct cv_req *req = handshake(rig, &seen);
    SAY(req, "\x81\x02hi");
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_PROTO);
    rig_seen_free(&seen);
    rig_free(rig);
}

SUITE(origin_hello, TEST(the_page_shows_what_came_as_text),
      TEST(a_long_body_is_read_to_its_end_and_shown_in_part), TEST(health_uptime_and_heads_are_answered),
      TEST(durations_read_and_are_written_as_in_go), TEST(events_come_one_by_one_until_the_visitor_leaves),
      TEST(every_frame_comes_back_as_it_is), TEST(a_large_message_is_echoed_within_what_there_is_room_for),
      TEST(a_frame_without_mask_ends_it));
