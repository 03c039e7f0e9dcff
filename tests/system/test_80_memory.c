/* test_80_memory.c: how much memory culvert takes: registered and idle, and for each stream that waits. */
#include "scene.h"

#include <sys/socket.h>

enum { STREAMS = 1000, REGISTERED_MAX = 10 << 20, TRIMMED_MS = 15000, STREAM_MAX = 16 << 10 };

static bool one_event(struct http1 *h, void *unused)
{
    (void)unused;
    char c;
    return http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n") &&
           recv(h->fd, &c, 1, 0) > 0;
}

/* What only the start needed is given back seconds later. */
static long rss_once_settled(struct scene *t)
{
    long rss = process_rss(t->culvert);
    for (long long end = now_in_ms() + TRIMMED_MS;
         !SANITIZED && rss >= REGISTERED_MAX && now_in_ms() < end;) {
        sleep_ms(100);
        rss = process_rss(t->culvert);
    }
    return rss;
}

static void four_idle_connections_are_small(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .connections = 4 });
        long rss = rss_once_settled(t);
        CU_ASSERT_TRUE(rss > 0);
        CU_ASSERT_TRUE(SANITIZED || rss < REGISTERED_MAX);
        printf("[%s: %ld KiB] ", transport, rss >> 10);
        scene_stop(t);
    }
}

static void a_stream_that_waits_costs_little(void)
{
    static struct http1 visitors[STREAMS];
    size_t streams = SANITIZED ? 100 : STREAMS;
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .connections = 4, .origin = one_event });
        long before = process_rss(t->culvert);
        for (size_t i = 0; i < streams; i++)
            CU_ASSERT_TRUE_FATAL(scene_open(t, &visitors[i], "GET", "/", NULL));
        for (size_t i = 0; i < streams; i++) {
            char event[16];
            CU_ASSERT_TRUE_FATAL(http1_answer(&visitors[i], "GET"));
            CU_ASSERT_TRUE(http1_read(&visitors[i], event, sizeof(event)) > 0);
        }
        CU_ASSERT_EQUAL(scene_metric(t, "cloudflared_tunnel_concurrent_requests_per_tunnel"),
                        (double)streams);
        long each = (process_rss(t->culvert) - before) / (long)streams;
        CU_ASSERT_TRUE(SANITIZED || each < STREAM_MAX);
        printf("[%s: %ld bytes each] ", transport, each);
        for (size_t i = 0; i < streams; i++)
            http1_close(&visitors[i]);
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_concurrent_requests_per_tunnel", 0));
        scene_stop(t);
    }
}

SUITE(system_80_memory, TEST(four_idle_connections_are_small), TEST(a_stream_that_waits_costs_little));
