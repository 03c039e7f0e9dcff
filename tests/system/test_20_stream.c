/* test_20_stream.c: answers that come bit by bit: each event at once, visitors that leave, origins that die. */
#include "scene.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

enum { EVENTS = 25 };

static sem_t go, gone;
static atomic_llong gone_at, sent_at;

static void begin(void)
{
    sem_init(&go, 0, 0);
    sem_init(&gone, 0, 0);
}

static long long microseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static int by_value(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

static long long median(long long *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

/* ---- events ------------------------------------------------------------------------------------------- */

static const struct {
    const char *target, *head;
    bool chunked;
} streams[] = {
    { "/sse", "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", true },
    { "/json", "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", true },
    { "/until-eof", "Content-Type: text/plain\r\nConnection: close\r\n", false },
    { "/with-length", "Content-Type: text/event-stream; charset=utf-8\r\nContent-Length: 350\r\n", false },
};

/* The next event is sent when the visitor has seen the one before. */
static bool one_by_one(struct http1 *h, void *unused)
{
    (void)unused;
    size_t kind = 0;
    while (strcmp(h->target, streams[kind].target) != 0)
        kind++;
    http1_sendf(h, "HTTP/1.1 200 OK\r\n%s\r\n", streams[kind].head);
    for (int i = 0; i < EVENTS && sem_within(&go, PATIENCE_MS); i++) {
        char event[32];
        snprintf(event, sizeof(event), "data: %06d\n\n", i);
        atomic_store(&sent_at, microseconds());
        if (streams[kind].chunked)
            http1_sendf(h, "%zx\r\n%s\r\n", strlen(event), event);
        else
            http1_send(h, event, strlen(event));
    }
    return streams[kind].chunked && http1_send(h, "0\r\n\r\n", 5);
}

static void each_event_arrives_before_the_next_is_sent(void)
{
    for (each_transport(transport)) {
        begin();
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = one_by_one });
        for (size_t kind = 0; kind < sizeof(streams) / sizeof(streams[0]); kind++) {
            struct http1 h;
            long long took[EVENTS];
            CU_ASSERT_TRUE(scene_open(t, &h, "GET", streams[kind].target, NULL));
            CU_ASSERT_TRUE(http1_answer(&h, "GET")); /* the head, before there is any event */
            CU_ASSERT_EQUAL(h.status, 200);
            for (int i = 0; i < EVENTS; i++) {
                char event[64], wanted[32];
                size_t n = 0;
                snprintf(wanted, sizeof(wanted), "data: %06d\n\n", i);
                sem_post(&go);
                while (n < strlen(wanted)) {
                    ssize_t got = http1_read(&h, event + n, sizeof(event) - n);
                    if (got <= 0)
                        break;
                    n += (size_t)got;
                }
                took[i] = microseconds() - atomic_load(&sent_at);
                CU_ASSERT_TRUE_FATAL(n == strlen(wanted) && memcmp(event, wanted, n) == 0);
            }
            CU_ASSERT_EQUAL(http1_read(&h, (char[1]){ 0 }, 1), 0);
            http1_close(&h);
            long long middle = median(took, EVENTS);
            CU_ASSERT_TRUE(SANITIZED || middle < 20000);
            printf("[%s %s: %lld µs] ", transport, streams[kind].target, middle);
        }
        scene_stop(t);
    }
}

/* ---- visitors that leave ------------------------------------------------------------------------------ */

/* Waits until culvert closes the connection. */
static bool until_gone(struct http1 *h, void *unused)
{
    (void)unused;
    if (strcmp(h->target, "/begun") == 0)
        http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    else
        sem_post(&go);
    struct pollfd p = { .fd = h->fd, .events = POLLIN };
    char c;
    if (poll(&p, 1, PATIENCE_MS) > 0 && recv(h->fd, &c, 1, 0) <= 0) {
        atomic_store(&gone_at, microseconds());
        sem_post(&gone);
    }
    return false;
}

static void a_visitor_that_leaves_is_noticed_by_the_origin(void)
{
    static const char *const targets[] = { "/begun", "/not-answered" };
    for (each_transport(transport)) {
        begin();
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = until_gone });
        for (size_t i = 0; i < 2; i++) {
            long long took[9];
            for (size_t n = 0; n < 9; n++) {
                struct http1 h;
                char piece[32];
                CU_ASSERT_TRUE(scene_open(t, &h, "GET", targets[i], NULL));
                CU_ASSERT_TRUE(i == 0 ? http1_answer(&h, "GET") && http1_read(&h, piece, sizeof(piece)) > 0
                                      : sem_within(&go, PATIENCE_MS));
                long long left_at = microseconds();
                http1_reset(&h);
                CU_ASSERT_TRUE_FATAL(sem_within(&gone, PATIENCE_MS));
                took[n] = atomic_load(&gone_at) - left_at;
            }
            CU_ASSERT_TRUE(SANITIZED || took[8] < 1000000);
            long long middle = median(took, 9);
            CU_ASSERT_TRUE(SANITIZED || middle < 50000);
            printf("[%s %s: %lld µs] ", transport, targets[i], middle);
        }
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_concurrent_requests_per_tunnel", 0));
        scene_stop(t);
    }
}

/* ---- origins that die --------------------------------------------------------------------------------- */

static const struct {
    const char *target, *answer; /* at | it waits a little */
    bool reset;
    int status;
    ssize_t end;
    const char *source;
} deaths[] = {
    { "/short-length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789", false, 200, HTTP1_CUT,
      "origin" },
    { "/in-a-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n0123456789", false, 200,
      HTTP1_CUT, "origin" },
    { "/between-chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n", false,
      200, HTTP1_CUT, "origin" },
    { "/bad-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n|xyz\r\n", false,
      200, HTTP1_CUT, "origin" },
    { "/reset", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789", true, 200, HTTP1_CUT, "origin" },
    { "/whole-until-eof", "HTTP/1.1 200 OK\r\n\r\n0123456789", false, 200, 0, "origin" },
    { "/no-byte", "", false, 502, 0, "connector" },
    { "/no-byte-reset", "", true, 502, 0, "connector" },
    { "/half-a-head", "HTTP/1.1 200 OK\r\nContent-Le", false, 502, 0, "connector" },
    { "/no-http", "SSH-2.0-OpenSSH_9.2\r\n", false, 502, 0, "connector" },
    { "/bad-length", "HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", false, 502, 0, "connector" },
    { "/two-lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false, 502, 0,
      "connector" },
};

static bool die(struct http1 *h, void *unused)
{
    (void)unused;
    size_t i = 0;
    while (i < sizeof(deaths) / sizeof(deaths[0]) && strcmp(h->target, deaths[i].target) != 0)
        i++;
    if (i == sizeof(deaths) / sizeof(deaths[0]))
        return origin_plain(h, NULL);
    const char *answer = deaths[i].answer, *rest = strchr(answer, '|');
    http1_send(h, answer, rest ? (size_t)(rest - answer) : strlen(answer));
    if (rest) {
        sleep_ms(100);
        http1_send(h, rest + 1, strlen(rest + 1));
    }
    if (deaths[i].reset) {
        sleep_ms(100); /* what has been sent goes before the reset */
        http1_reset(h);
    }
    return false;
}

static void an_origin_that_dies_is_not_taken_for_a_whole_answer(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = die });
        for (size_t i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
            char part[64];
            process_forget(t->culvert);
            struct answer a = scene_get(t, deaths[i].target);
            if (a.status == 0) { /* the reset came before the head had left the edge */
                CU_ASSERT_EQUAL(deaths[i].end, HTTP1_CUT);
                continue;
            }
            CHECK_STATUS(a, deaths[i].status);
            CU_ASSERT_EQUAL(a.end, deaths[i].end);
            if (a.end != deaths[i].end)
                fprintf(stderr, "  %s %s: end %zd\n", transport, deaths[i].target, a.end);
            snprintf(part, sizeof(part), "\r\nX-Edge-Source: %s\r\n", deaths[i].source);
            CHECK_HOLDS(a.head, part);
            if (deaths[i].end == HTTP1_CUT)
                CU_ASSERT_TRUE(a.body.n <= 10 && memcmp(answer_text(&a), "0123456789", a.body.n) == 0);
            if (deaths[i].end == HTTP1_CUT || deaths[i].status == 502)
                CU_ASSERT_TRUE(process_says(t->culvert, " ERR ", PATIENCE_MS));
            answer_free(&a);
            a = scene_get(t, "/fine"); /* the others do not suffer */
            CU_ASSERT_STRING_EQUAL(answer_text(&a), "GET /fine");
            answer_free(&a);
        }
        CU_ASSERT_EQUAL(scene_seen(t, "connected"), 1);
        scene_stop(t);
    }
}

SUITE(system_20_stream, TEST(each_event_arrives_before_the_next_is_sent),
      TEST(a_visitor_that_leaves_is_noticed_by_the_origin),
      TEST(an_origin_that_dies_is_not_taken_for_a_whole_answer));
