/* test_22_pressure.c: who stops reading is waited for: memory and what the other side may send stay bounded. */
#include "scene.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum {
    BODY = 64 << 20,
    GROWS = 8 << 20,      /* culvert, at most                                                  */
    UNDER_WAY = 32 << 20, /* in all buffers from end to end, those of the machine included */
};

static atomic_ullong sent;
static sem_t go;

/* Sends the pattern and counts what has left. */
static bool send_counted(struct http1 *h)
{
    static _Thread_local unsigned char piece[16384];
    setsockopt(h->fd, SOL_SOCKET, SO_SNDBUF, &(int){ 65536 }, sizeof(int));
    for (size_t at = 0; at < BODY; at += sizeof(piece)) {
        pattern_fill(piece, sizeof(piece), at);
        if (!http1_send(h, piece, sizeof(piece)))
            return false;
        atomic_fetch_add(&sent, sizeof(piece));
    }
    return true;
}

/* Waits until no more is sent; the largest that culvert has been meanwhile. */
static long wait_for_standstill(struct scene *t)
{
    unsigned long long before;
    long largest = 0;
    int still = 0;
    do {
        before = atomic_load(&sent);
        sleep_ms(50);
        long rss = process_rss(t->culvert);
        largest = rss > largest ? rss : largest;
        still = atomic_load(&sent) == before && before > 0 ? still + 1 : 0;
    } while (still < 8 && before < BODY);
    return largest;
}

static void check_bounds(struct scene *t, const char *what, long before, long largest)
{
    unsigned long long under_way = atomic_load(&sent);
    CU_ASSERT_TRUE(under_way < UNDER_WAY);
    CU_ASSERT_TRUE(SANITIZED || largest - before < GROWS);
    printf("[%s %s: %llu KiB under way, %ld KiB more memory] ", t->transport, what, under_way >> 10,
           (largest - before) >> 10);
    struct answer a = scene_get(t, "/beside"); /* the same connection serves others */
    CU_ASSERT_STRING_EQUAL(answer_text(&a), "GET /beside");
    answer_free(&a);
    CU_ASSERT_EQUAL(atomic_load(&sent), under_way);
}

static void prepare(struct scene **t, const struct setup *s, long *rss)
{
    atomic_store(&sent, 0);
    sem_init(&go, 0, 0);
    *t = scene_start(s);
    struct answer a = scene_get(*t, "/first");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    *rss = process_rss((*t)->culvert);
}

/* ---- visitors ----------------------------------------------------------------------------------------- */

static bool large_answer(struct http1 *h, void *unused)
{
    if (strcmp(h->target, "/large") != 0)
        return origin_plain(h, unused);
    return http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY) && send_counted(h);
}

static void a_visitor_that_stops_reading_stops_the_origin(void)
{
    unsigned long long wanted = pattern_hash(BODY);
    for (each_transport(transport)) {
        struct scene *t;
        struct http1 h;
        long before;
        prepare(&t, &(struct setup){ .transport = transport, .origin = large_answer }, &before);
        CU_ASSERT_TRUE(scene_open(t, &h, "GET", "/large", NULL) && http1_answer(&h, "GET"));
        check_bounds(t, "down", before, wait_for_standstill(t));

        static unsigned char piece[65536];
        unsigned long long hash = HASH_BEGIN;
        ssize_t n;
        long largest = 0;
        for (size_t i = 0; (n = http1_read(&h, piece, sizeof(piece))) > 0; i++) {
            hash = hash_more(hash, piece, (size_t)n);
            long rss = i % 64 == 0 ? process_rss(t->culvert) : 0;
            largest = rss > largest ? rss : largest;
        }
        CU_ASSERT_EQUAL(n, 0);
        CU_ASSERT_EQUAL(hash, wanted);
        CU_ASSERT_TRUE(SANITIZED || largest - before < GROWS);
        http1_close(&h);
        scene_stop(t);
    }
}

/* ---- origins ------------------------------------------------------------------------------------------ */

static bool slow_reader(struct http1 *h, void *unused)
{
    if (strcmp(h->target, "/sum") == 0 && !sem_within(&go, PATIENCE_MS))
        return false;
    return origin_plain(h, unused);
}

static void *upload(void *arg)
{
    struct http1 *h = arg;
    h->timeout_ms = 3 * PATIENCE_MS;
    return send_counted(h) ? h : NULL;
}

static void an_origin_that_stops_reading_stops_the_visitor(void)
{
    char length[64], wanted[64];
    snprintf(length, sizeof(length), "Content-Length: %d\r\n", BODY);
    snprintf(wanted, sizeof(wanted), "%d %016llx", BODY, pattern_hash(BODY));
    for (each_transport(transport)) {
        struct scene *t;
        struct http1 h;
        struct cv_buf body = { 0 };
        pthread_t thread;
        void *whole;
        long before;
        prepare(&t, &(struct setup){ .transport = transport, .origin = slow_reader }, &before);
        CU_ASSERT_TRUE(scene_open(t, &h, "POST", "/sum", length));
        pthread_create(&thread, NULL, upload, &h);
        check_bounds(t, "up", before, wait_for_standstill(t));
        sem_post(&go);
        pthread_join(thread, &whole);
        CU_ASSERT_PTR_NOT_NULL(whole);
        CU_ASSERT_TRUE(http1_answer(&h, "POST") && http1_read_all(&h, &body) == 0);
        CU_ASSERT_TRUE(body.n == strlen(wanted) && memcmp(body.p, wanted, body.n) == 0);
        cv_buf_free(&body);
        http1_close(&h);
        scene_stop(t);
    }
}

SUITE(system_22_pressure, TEST(a_visitor_that_stops_reading_stops_the_origin),
      TEST(an_origin_that_stops_reading_stops_the_visitor));
