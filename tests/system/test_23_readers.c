/* test_23_readers.c: two hundred visitors who read slowly: what culvert holds for them is bounded by windows, not by sizes.
 *
 * Each has asked for 256 MiB, 50 GiB in all. They take some of it at a slow pace and then nothing more. That the origin
 * could send only a window's worth beyond what they took shows that the rest of the bodies, however long, stays there;
 * that culvert's memory has never been above its bound meanwhile shows that the window's worth is not held in culvert. */
#include "scene.h"

#include <stdatomic.h>
#include <sys/socket.h>

enum {
    READERS = SANITIZED ? 50 : 200,
    BODY = 256 << 20,
    ROUNDS = 24, /* in each, a reader takes a piece at most */
    PIECE = 64 << 10,
    PACE_MS = 20,
    AHEAD_MAX = 6 << 20, /* of one reader, in all buffers from end to end, those of the machine included */
    PEAK_MAX = 40 << 20,
};

static atomic_ullong sent;

static bool send_much(struct http1 *h, void *unused)
{
    static const unsigned char piece[16384];
    (void)unused;
    h->timeout_ms = 10 * PATIENCE_MS;
    setsockopt(h->fd, SOL_SOCKET, SO_SNDBUF, &(int){ 65536 }, sizeof(int));
    if (!http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY))
        return false;
    for (size_t at = 0; at < BODY && http1_send(h, piece, sizeof(piece)); at += sizeof(piece))
        atomic_fetch_add(&sent, sizeof(piece));
    return false;
}

static unsigned long long read_slowly(struct http1 *readers)
{
    static unsigned char piece[PIECE];
    unsigned long long taken = 0;
    for (int round = 0; round < ROUNDS; round++, sleep_ms(PACE_MS))
        for (int i = 0; i < READERS; i++) {
            ssize_t n = http1_read(&readers[i], piece, sizeof(piece));
            CU_ASSERT_TRUE_FATAL(n > 0);
            taken += (unsigned long long)n;
        }
    return taken;
}

static void wait_for_standstill(void)
{
    unsigned long long before;
    int still = 0;
    do {
        before = atomic_load(&sent);
        sleep_ms(50);
        still = atomic_load(&sent) == before ? still + 1 : 0;
    } while (still < 8);
}

static void check_readers(const char *transport)
{
    static struct http1 readers[READERS];
    atomic_store(&sent, 0);
    struct scene *t =
        scene_start(&(struct setup){ .transport = transport, .connections = 4, .origin = send_much });
    for (int i = 0; i < READERS; i++) {
        CU_ASSERT_TRUE_FATAL(scene_open(t, &readers[i], "GET", "/", NULL));
        setsockopt(readers[i].fd, SOL_SOCKET, SO_RCVBUF, &(int){ 65536 }, sizeof(int));
        CU_ASSERT_TRUE_FATAL(http1_answer(&readers[i], "GET"));
    }
    unsigned long long taken = read_slowly(readers);
    wait_for_standstill();
    unsigned long long ahead = (atomic_load(&sent) - taken) / READERS;
    long peak = process_peak(t->culvert);
    printf("[%s: %llu MiB taken, %llu KiB ahead of each, peak %ld KiB] ", transport, taken >> 20, ahead >> 10,
           peak >> 10);
    CU_ASSERT_TRUE(ahead < AHEAD_MAX);
    CU_ASSERT_TRUE(peak > 0);
    CU_ASSERT_TRUE(SANITIZED || peak < PEAK_MAX);
    for (int i = 0; i < READERS; i++) {
        CU_ASSERT_TRUE(http1_read(&readers[i], (char[1]){ 0 }, 1) == 1); /* all are alive, and can go on */
        http1_close(&readers[i]);
    }
    CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_concurrent_requests_per_tunnel", 0));
    scene_stop(t);
}

static void slow_readers_cost_a_window_whatever_they_asked_for(void)
{
    for (each_transport(transport))
        check_readers(transport);
}

SUITE(system_23_readers, TEST(slow_readers_cost_a_window_whatever_they_asked_for));
