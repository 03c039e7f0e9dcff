/* test_21_volume.c: much: 1 GiB both ways with checksums, 500 requests at a time, connections that are used again. */
#include "scene.h"

#include <pthread.h>

/* What has a length, and what has none and comes in chunks. */
enum { HUGE = SANITIZED ? 8 << 20 : 1 << 30, BIG = (SANITIZED ? 8 : 64) << 20, MANY = 500 };

/* ---- large bodies ------------------------------------------------------------------------------------- */

static unsigned long long read_hash(struct http1 *h, unsigned long long *n)
{
    static char piece[65536];
    unsigned long long hash = HASH_BEGIN;
    ssize_t got;
    for (*n = 0; (got = http1_read(h, piece, sizeof(piece))) > 0; *n += (unsigned long long)got)
        hash = hash_more(hash, piece, (size_t)got);
    CU_ASSERT_EQUAL(got, 0);
    return hash;
}

static void say_speed(const char *transport, const char *what, size_t n, long long ms)
{
    printf("[%s %s: %lld MiB/s] ", transport, what, (long long)(n >> 20) * 1000 / (ms ? ms : 1));
}

static void large_answers_arrive_whole(void)
{
    static const struct {
        const char *name;
        size_t size;
    } kinds[] = { { "bytes", HUGE }, { "chunks", BIG } };
    unsigned long long wanted[] = { pattern_hash(HUGE), pattern_hash(BIG) }, n;
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport });
        for (size_t i = 0; i < 2; i++) {
            struct http1 h;
            char target[32];
            snprintf(target, sizeof(target), "/%s/%zu", kinds[i].name, kinds[i].size);
            long long begun = now_in_ms();
            CU_ASSERT_TRUE(scene_open(t, &h, "GET", target, NULL) && http1_answer(&h, "GET"));
            CU_ASSERT_EQUAL(h.framing, i == 0 ? HTTP1_LENGTH : HTTP1_CHUNKED);
            CU_ASSERT_EQUAL(read_hash(&h, &n), wanted[i]);
            CU_ASSERT_EQUAL(n, kinds[i].size);
            say_speed(transport, kinds[i].name, kinds[i].size, now_in_ms() - begun);
            http1_close(&h);
        }
        scene_stop(t);
    }
}

static bool send_body(struct http1 *h, bool chunked, size_t size)
{
    unsigned char piece[65536];
    bool good = true;
    for (size_t at = 0; good && at < size; at += sizeof(piece)) {
        pattern_fill(piece, sizeof(piece), at);
        good = (!chunked || http1_sendf(h, "%zx\r\n", sizeof(piece))) &&
               http1_send(h, piece, sizeof(piece)) && (!chunked || http1_send(h, "\r\n", 2));
    }
    return good && (!chunked || http1_send(h, "0\r\n\r\n", 5));
}

static void large_uploads_arrive_whole(void)
{
    static const size_t sizes[] = { HUGE, BIG };
    char length[64], wanted[2][64];
    snprintf(length, sizeof(length), "Content-Length: %d\r\n", HUGE);
    for (int i = 0; i < 2; i++)
        snprintf(wanted[i], sizeof(wanted[i]), "%zu %016llx", sizes[i], pattern_hash(sizes[i]));
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport });
        for (int chunked = 0; chunked < 2; chunked++) {
            struct http1 h;
            struct cv_buf body = { 0 };
            long long begun = now_in_ms();
            CU_ASSERT_TRUE(
                scene_open(t, &h, "POST", "/sum", chunked ? "Transfer-Encoding: chunked\r\n" : length));
            CU_ASSERT_TRUE(send_body(&h, chunked, sizes[chunked]) && http1_answer(&h, "POST"));
            CU_ASSERT_EQUAL(h.status, 200);
            CU_ASSERT_EQUAL(http1_read_all(&h, &body), 0);
            CU_ASSERT_TRUE(body.n == strlen(wanted[chunked]) && memcmp(body.p, wanted[chunked], body.n) == 0);
            say_speed(transport, chunked ? "chunked up" : "up", sizes[chunked], now_in_ms() - begun);
            cv_buf_free(&body);
            http1_close(&h);
        }
        scene_stop(t);
    }
}

/* ---- many at a time ----------------------------------------------------------------------------------- */

static sem_t all_there;

/* Answers /N with N·37 bytes once all requests have come. */
static bool together(struct http1 *h, void *unused)
{
    (void)unused;
    if (!sem_within(&all_there, PATIENCE_MS))
        return false;
    char target[32];
    snprintf(target, sizeof(target), "/bytes/%ld", strtol(h->target + 1, NULL, 10) * 37);
    snprintf(h->target, sizeof(h->target), "%s", target);
    return origin_plain(h, NULL);
}

static void five_hundred_requests_are_served_at_a_time(void)
{
    static struct http1 visitors[MANY];
    for (each_transport(transport)) {
        sem_init(&all_there, 0, 0);
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .connections = 4, .origin = together });
        for (int i = 0; i < MANY; i++) {
            char target[16];
            snprintf(target, sizeof(target), "/%d", i);
            CU_ASSERT_TRUE_FATAL(scene_open(t, &visitors[i], "GET", target, NULL));
        }
        for (int i = 0; i < 2000 && origin_requests(t->origin) < MANY; i++)
            sleep_ms(10);
        CU_ASSERT_EQUAL(origin_requests(t->origin), MANY);
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_concurrent_requests_per_tunnel", MANY));
        for (int i = 0; i < MANY; i++)
            sem_post(&all_there);
        unsigned right = 0;
        for (unsigned i = 0; i < MANY; i++) {
            unsigned long long n;
            right += http1_answer(&visitors[i], "GET") && visitors[i].status == 200 &&
                     read_hash(&visitors[i], &n) == pattern_hash(i * 37ULL) && n == i * 37ULL;
            http1_close(&visitors[i]);
        }
        CU_ASSERT_EQUAL(right, MANY);
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_response_by_code{status_code=\"200\"}", MANY));
        CU_ASSERT_EQUAL(scene_metric(t, "cloudflared_tunnel_request_errors"), 0);
        scene_stop(t);
    }
}

/* ---- again and again ---------------------------------------------------------------------------------- */

enum { VISITORS = 8, VISITS = 100 };

static void *visit_often(void *arg)
{
    struct scene *t = arg;
    struct http1 h;
    unsigned right = 0;
    bool there = http1_connect(&h, t->front);
    for (int i = 0; there && i < VISITS; i++) {
        char piece[64] = "";
        struct cv_buf body = { 0 };
        snprintf(piece, sizeof(piece), "%s /%d HTTP/1.1\r\nHost: a.example\r\n", i % 2 ? "GET" : "POST", i);
        there = http1_sendf(&h, "%s%s", piece, i % 2 ? "\r\n" : "Content-Length: 3\r\n\r\nabc") &&
                http1_answer(&h, "GET") && http1_read_all(&h, &body) == 0;
        *strstr(piece, " HTTP") = '\0';
        right += there && body.n == strlen(piece) && memcmp(body.p, piece, body.n) == 0;
        cv_buf_free(&body);
    }
    http1_close(&h);
    return (void *)(size_t)right;
}

static void connections_to_the_origin_are_used_again(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .connections = 2 });
        pthread_t threads[VISITORS];
        for (int i = 0; i < VISITORS; i++)
            pthread_create(&threads[i], NULL, visit_often, t);
        for (int i = 0; i < VISITORS; i++) {
            void *right;
            pthread_join(threads[i], &right);
            CU_ASSERT_EQUAL((size_t)right, VISITS);
        }
        unsigned opened = origin_connections(t->origin);
        CU_ASSERT_EQUAL(origin_requests(t->origin), VISITORS * VISITS);
        CU_ASSERT_TRUE(opened < VISITORS * VISITS / 10);
        CU_ASSERT_EQUAL(scene_metric(t, "culvert_origin_connections_opened_total"), opened);
        printf("[%s: %u connections for %d requests] ", transport, opened, VISITORS * VISITS);
        scene_stop(t);
    }
}

SUITE(system_21_volume, TEST(large_answers_arrive_whole), TEST(large_uploads_arrive_whole),
      TEST(five_hundred_requests_are_served_at_a_time), TEST(connections_to_the_origin_are_used_again));
