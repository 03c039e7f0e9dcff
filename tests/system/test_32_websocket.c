/* test_32_websocket.c: bytes both ways once an origin has switched protocols, and how that ends. */
#include "scene.h"

#include <stdatomic.h>
#include <sys/socket.h>

static sem_t ended;
static atomic_int how; /* the origin saw: 0 the end of the visitor's bytes, else an error */

static bool switched(struct http1 *h)
{
    const char *key = http1_field(h, "Sec-WebSocket-Key", 0);
    bool asked = key && strcmp(key, "dGhlIHNhbXBsZSBub25jZQ==") == 0 &&
                 strstr(h->head, "\r\nUpgrade: websocket\r\n") &&
                 strstr(h->head, "\r\nConnection: Upgrade\r\n") &&
                 strstr(h->head, "\r\nSec-Websocket-Version: 13\r\n");
    if (!asked)
        return origin_text(h, 400, h->head) && false;
    return http1_sendf(
        h, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n");
}

/* Echoes until the visitor's bytes end; /last then says one thing more. /leave leaves after the first bytes. */
static bool echo(struct http1 *h, void *unused)
{
    (void)unused;
    if (strcmp(h->target, "/refuse") == 0)
        return origin_text(h, 403, "not for you");
    if (!switched(h))
        return false;
    h->framing = HTTP1_TO_END;
    char piece[65536];
    ssize_t n;
    while ((n = http1_read(h, piece, sizeof(piece))) > 0 && http1_send(h, piece, (size_t)n))
        if (strcmp(h->target, "/leave") == 0)
            return false;
    if (n == 0 && strcmp(h->target, "/last") == 0)
        http1_sendf(h, "goodbye");
    atomic_store(&how, n < 0);
    sem_post(&ended);
    return false;
}

static void open_socket(struct scene *t, struct http1 *h, const char *target)
{
    CU_ASSERT_TRUE_FATAL(
        scene_open(t, h, "GET", target,
                   "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                   "Sec-WebSocket-Protocol: chat\r\n") &&
        http1_answer(h, "GET"));
}

static bool read_exactly(struct http1 *h, const void *wanted, size_t n)
{
    char *got = cv_xmalloc(n + 1);
    size_t have = 0;
    for (ssize_t part = 1; have < n && part > 0; have += part > 0 ? (size_t)part : 0)
        part = http1_read(h, got + have, n - have);
    bool same = have == n && memcmp(got, wanted, n) == 0;
    free(got);
    return same;
}

static void bytes_go_both_ways_at_once(void)
{
    static unsigned char bytes[1 << 20];
    pattern_fill(bytes, sizeof(bytes), 0);
    for (each_transport(transport)) {
        sem_init(&ended, 0, 0);
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = echo });
        struct http1 h;
        open_socket(t, &h, "/");
        CU_ASSERT_EQUAL(h.status, 101);
        CHECK_HOLDS(h.head, "\r\nSec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
        CHECK_HOLDS(h.head, "\r\nSec-Websocket-Protocol: chat\r\n");
        CHECK_HOLDS(h.head, "\r\nUpgrade: websocket\r\n");
        for (int i = 0; i < 50; i++) { /* small messages, each answered before the next */
            CU_ASSERT_TRUE(http1_send(&h, &bytes[i], 7));
            CU_ASSERT_TRUE_FATAL(read_exactly(&h, &bytes[i], 7));
        }
        for (size_t at = 0; at < sizeof(bytes); at += 65536) {
            CU_ASSERT_TRUE(http1_send(&h, bytes + at, 65536));
            CU_ASSERT_TRUE_FATAL(read_exactly(&h, bytes + at, 65536));
        }
        http1_close(&h);
        CU_ASSERT_TRUE(sem_within(&ended, PATIENCE_MS));
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_concurrent_requests_per_tunnel", 0));
        scene_stop(t);
    }
}

static void the_end_of_the_visitors_bytes_reaches_the_origin_and_its_last_word_the_visitor(void)
{
    for (each_transport(transport)) {
        sem_init(&ended, 0, 0);
        atomic_store(&how, -1);
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = echo });
        struct http1 h;
        open_socket(t, &h, "/last");
        CU_ASSERT_TRUE(http1_send(&h, "abc", 3) && read_exactly(&h, "abc", 3));
        http1_shut(&h);
        CU_ASSERT_TRUE(read_exactly(&h, "goodbye", 7));
        CU_ASSERT_EQUAL(http1_read(&h, (char[1]){ 0 }, 1), 0);
        CU_ASSERT_TRUE(sem_within(&ended, PATIENCE_MS));
        CU_ASSERT_EQUAL(atomic_load(&how), 0);
        http1_close(&h);
        scene_stop(t);
    }
}

static void an_origin_that_leaves_ends_the_visitors_stream(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = echo });
        struct http1 h;
        open_socket(t, &h, "/leave");
        CU_ASSERT_TRUE(http1_send(&h, "abc", 3) && read_exactly(&h, "abc", 3));
        CU_ASSERT_TRUE(http1_read(&h, (char[1]){ 0 }, 1) <= 0);
        http1_close(&h);
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_concurrent_requests_per_tunnel", 0));
        scene_stop(t);
    }
}

static void an_origin_may_refuse_to_switch(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = echo });
        struct http1 h;
        struct cv_buf body = { 0 };
        open_socket(t, &h, "/refuse");
        CU_ASSERT_EQUAL(h.status, 403);
        CU_ASSERT_EQUAL(http1_read_all(&h, &body), 0);
        CU_ASSERT_TRUE(body.n == 11 && memcmp(body.p, "not for you", 11) == 0);
        cv_buf_free(&body);
        http1_close(&h);
        scene_stop(t);
    }
}

SUITE(system_32_websocket, TEST(bytes_go_both_ways_at_once),
      TEST(the_end_of_the_visitors_bytes_reaches_the_origin_and_its_last_word_the_visitor),
      TEST(an_origin_that_leaves_ends_the_visitors_stream), TEST(an_origin_may_refuse_to_switch));
