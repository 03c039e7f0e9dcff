/* test_33_services.c: byte streams of bastion and private networks, and event streams that lie still. */
#include "scene.h"

enum { FRAME_HEAD = 6, BINARY = 0x82, MASKED = 0x80 };

/* ---- TCP over WebSocket ------------------------------------------------------------------------------- */

/* In one masked frame, whose mask changes nothing. */
static bool send_frame(struct http1 *h, const char *text)
{
    const char head[FRAME_HEAD] = { (char)BINARY, (char)(MASKED | strlen(text)) };
    return http1_send(h, head, sizeof(head)) && http1_send(h, text, strlen(text));
}

static bool read_bytes(struct http1 *h, unsigned char *to, size_t n)
{
    for (ssize_t got = 1; n > 0 && got > 0; to += got > 0 ? got : 0, n -= got > 0 ? (size_t)got : 0)
        got = http1_read(h, to, n);
    return n == 0;
}

/* What the next frames hold, until `wanted` is in it. */
static void hear_frames(struct http1 *h, const char *wanted)
{
    char text[1024] = "";
    size_t n = 0;
    unsigned char head[2];
    while (!strstr(text, wanted) && read_bytes(h, head, 2)) {
        size_t part = head[1];
        CU_ASSERT_EQUAL_FATAL(head[0], BINARY);
        if (part == 126) {
            CU_ASSERT_FATAL(read_bytes(h, head, 2));
            part = (size_t)head[0] << 8 | head[1];
        }
        CU_ASSERT_FATAL(n + part < sizeof(text) && read_bytes(h, (unsigned char *)text + n, part));
        text[n += part] = '\0';
    }
    CHECK_HOLDS(text, wanted);
}

static void bastion_carries_tcp_in_frames(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .rules = "{\"ingress\":[{\"service\":\"bastion\"}]}" });
        struct http1 h;
        char fields[256];
        snprintf(fields, sizeof(fields),
                 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Cf-Access-Jump-Destination: 127.0.0.1:%u\r\n",
                 origin_port(t->origin));
        CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "GET", "/", fields) && http1_answer(&h, "GET"));
        CU_ASSERT_EQUAL(h.status, 101);
        CHECK_HOLDS(h.head, "\r\nSec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
        CU_ASSERT(send_frame(&h, "GET /through HTTP/1.1\r\nHost: x\r\n\r\n"));
        hear_frames(&h, "GET /through");
        http1_close(&h);
        struct answer a = scene_get(t, "/");
        CHECK_STATUS(a, 502);
        answer_free(&a);
        scene_stop(t);
    }
}

/* ---- private networks --------------------------------------------------------------------------------- */

static void private_streams_are_served_when_told_to(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .ini = "[origin_proxy]\nprivate_network = yes\n" });
        struct http1 h;
        char to[32];
        snprintf(to, sizeof(to), "127.0.0.1:%u", origin_port(t->origin));
        CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "CONNECT", to, NULL) && http1_answer(&h, "CONNECT"));
        CU_ASSERT_EQUAL(h.status, 200);
        CU_ASSERT(http1_sendf(&h, "GET /private HTTP/1.1\r\nHost: x\r\n\r\n"));
        CU_ASSERT_TRUE_FATAL(http1_answer(&h, "GET"));
        CU_ASSERT_EQUAL(h.status, 200);
        http1_close(&h);
        scene_stop(t);
    }
}

static void private_streams_are_refused_by_default(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport });
        struct http1 h;
        CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "CONNECT", "127.0.0.1:80", NULL) &&
                             http1_answer(&h, "CONNECT"));
        CU_ASSERT_EQUAL(h.status, 502);
        http1_close(&h);
        scene_stop(t);
    }
}

/* ---- event streams ------------------------------------------------------------------------------------ */

static bool think(struct http1 *h, void *unused)
{
    (void)unused;
    bool sent =
        http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
                       "data: one\n\n");
    sleep_ms(700);
    sent = sent && http1_sendf(h, "data: ");
    sleep_ms(700);
    return sent && http1_sendf(h, "two\n\n") && false;
}

static void a_still_event_stream_shows_that_it_lives(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .origin = think, .ini = "[sse]\nheartbeat = 200ms\n" });
        struct answer a = scene_get(t, "/v1/chat/completions");
        CHECK_STATUS(a, 200);
        CHECK_HOLDS(answer_text(&a), "data: one\n\n:\n\n:\n\n");
        CHECK_HOLDS(answer_text(&a), "\n\ndata: two\n\n");
        answer_free(&a);
        a = scene_get(t, "/v1/messages");
        CHECK_HOLDS(answer_text(&a), "data: one\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: ping\n");
        answer_free(&a);
        scene_stop(t);
    }
}

/* ---- what may be reached ------------------------------------------------------------------------------- */

static void a_rule_to_elsewhere_is_refused_and_told(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){
            .transport = transport,
            .ini = "[origins]\nallow = 127.0.0.1\n[rewrite]\nhttp://router:80 = http://127.0.0.2\n" });
        static const char *const refused[] = { "http://10.0.0.1", "http://169.254.169.254",
                                               "http://router:80" };
        for (size_t i = 0; i < 3; i++) {
            char rules[128], target[32];
            snprintf(target, sizeof(target), "/config?version=%zu", i + 100);
            snprintf(rules, sizeof(rules), "{\"ingress\":[{\"service\":\"%s\"}]}", refused[i]);
            struct answer a = scene_control(t, "POST", target, rules);
            /* over HTTP/2 a refusal has no text: docs/protocol.md §11.4 */
            CHECK_HOLDS(answer_text(&a),
                        strcmp(transport, "quic") == 0 ? "[origins] allow" : "\"err\":\"{}\"");
            CHECK_HOLDS(answer_text(&a), "\"applied\":1,");
            answer_free(&a);
        }
        struct answer a = scene_get(t, "/still");
        CHECK_STATUS(a, 200);
        answer_free(&a);
        scene_stop(t);
    }
}

/* ---- the test page --------------------------------------------------------------------------------------- */

static void hello_world_answers_over_both_transports(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){
            .transport = transport, .rules = "{\"ingress\":[{\"service\":\"hello_world\"}]}" });
        struct answer a = scene_visit(t, "POST", "/x", "Content-Type: text/plain\r\n", "the body", 8);
        CHECK_STATUS(a, 200);
        CHECK_HOLDS(a.head, "text/html; charset=utf-8");
        CHECK_HOLDS(answer_text(&a), "<dt>Body</dt><dd>the body</dd>");
        answer_free(&a);
        a = scene_get(t, "/_health");
        CU_ASSERT_STRING_EQUAL(answer_text(&a), "ok");
        answer_free(&a);
        struct http1 h;
        CU_ASSERT_TRUE_FATAL(
            scene_open(t, &h, "GET", "/ws",
                       "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n") &&
            http1_answer(&h, "GET"));
        CU_ASSERT_EQUAL(h.status, 101);
        CU_ASSERT(send_frame(&h, "to and fro"));
        hear_frames(&h, "to and fro");
        http1_close(&h);
        scene_stop(t);
    }
}

SUITE(sys_services, TEST(hello_world_answers_over_both_transports), TEST(bastion_carries_tcp_in_frames),
      TEST(private_streams_are_served_when_told_to), TEST(private_streams_are_refused_by_default),
      TEST(a_still_event_stream_shows_that_it_lives), TEST(a_rule_to_elsewhere_is_refused_and_told));
