/* test_50_shutdown.c: signals: what runs may finish, what never ends is cut, and how long that takes. */
#include "scene.h"

#include <signal.h>

static sem_t go;

/* One event for each post; /short ends after three, others never do. */
static bool events(struct http1 *h, void *unused)
{
    if (strncmp(h->target, "/stream", 7) != 0)
        return origin_plain(h, unused);
    bool shorter = strcmp(h->target, "/stream/short") == 0;
    http1_sendf(h,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; !shorter || i < 3; i++) {
        if (!sem_within(&go, PATIENCE_MS) || !http1_sendf(h, "9\r\ndata: %d\n\n\r\n", i % 10))
            return false;
    }
    return http1_sendf(h, "0\r\n\r\n");
}

static struct scene *with_a_stream(struct http1 *h, const char *target, struct setup setup)
{
    char event[16];
    sem_init(&go, 0, 0);
    setup.origin = events;
    struct scene *t = scene_start(&setup);
    CU_ASSERT_TRUE_FATAL(scene_open(t, h, "GET", target, NULL));
    CU_ASSERT_TRUE_FATAL(http1_answer(h, "GET"));
    sem_post(&go);
    CU_ASSERT_TRUE_FATAL(http1_read(h, event, sizeof(event)) == 9);
    return t;
}

/* The origin has nothing to wait for any more. */
static void stop(struct scene *t, struct http1 *h)
{
    http1_close(h);
    for (int i = 0; i < 100; i++)
        sem_post(&go);
    scene_stop(t);
}

static int ready_status(struct scene *t)
{
    struct answer a = scene_metrics(t, "/ready");
    int status = a.status;
    answer_free(&a);
    return status;
}

static void check_farewell(struct scene *t, const char *signal, unsigned connections)
{
    char part[96];
    char *said = process_output(t->culvert);
    snprintf(part, sizeof(part), "INF Initiating graceful shutdown due to signal %s ...\n", signal);
    CHECK_HOLDS(said, part);
    CHECK_HOLDS(said, "INF Tunnel server stopped\n");
    CHECK_HOLDS(said, "INF Metrics server stopped\n");
    free(said);
    unsigned n = process_count(t->culvert, "INF Unregistered tunnel connection ");
    CU_ASSERT_EQUAL(n, connections);
    if (n != connections)
        fprintf(stderr, "  %s: %u of %u\n", t->transport, n, connections);
}

static void a_running_stream_finishes(void)
{
    static const struct {
        int signal;
        const char *name, *edge_flags;
    } cases[] = { { SIGTERM, "terminated", NULL }, { SIGINT, "interrupt", "--keep-unregistered" } };
    for (each_transport(transport)) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct http1 h;
            struct cv_buf rest = { 0 };
            struct scene *t = with_a_stream(&h, "/stream/short",
                                            (struct setup){ .transport = transport,
                                                            .connections = 2,
                                                            .edge_flags = cases[i].edge_flags });
            process_signal(t->culvert, cases[i].signal);
            CU_ASSERT_TRUE(scene_wait(t, "event=unregister&count=2"));
            CU_ASSERT_EQUAL(ready_status(t), 503);
            sleep_ms(300); /* long after the unregistration it is still there */
            CU_ASSERT_TRUE(process_running(t->culvert));
            sem_post(&go);
            sem_post(&go);
            CU_ASSERT_EQUAL(http1_read_all(&h, &rest), 0);
            CU_ASSERT_TRUE(rest.n == 18 && memcmp(rest.p, "data: 1\n\ndata: 2\n\n", 18) == 0);
            long long ended = now_in_ms();
            CU_ASSERT_EQUAL(process_end(t->culvert, PATIENCE_MS), 0);
            CU_ASSERT_TRUE(SANITIZED || now_in_ms() - ended < 2000);
            check_farewell(t, cases[i].name, 2);
            cv_buf_free(&rest);
            http1_close(&h);
            scene_stop(t);
        }
    }
}

static void idle_it_leaves_at_once(void)
{
    for (each_transport(transport)) {
        static const char *const edge_flags[] = { NULL, "--keep-unregistered" };
        for (size_t i = 0; i < 2; i++) {
            struct scene *t = scene_start(
                &(struct setup){ .transport = transport, .connections = 4, .edge_flags = edge_flags[i] });
            long long begun = now_in_ms();
            CU_ASSERT_EQUAL(scene_end(t, PATIENCE_MS), 0);
            long long took = now_in_ms() - begun;
            CU_ASSERT_TRUE(SANITIZED || took < 2000);
            printf("[%s%s: %lld ms] ", transport, i ? ", the edge keeps the connections" : "", took);
            check_farewell(t, "terminated", 4);
            scene_stop(t);
        }
    }
}

static void a_stream_that_never_ends_is_cut_after_the_grace_period(void)
{
    for (each_transport(transport)) {
        struct http1 h;
        char piece[64];
        ssize_t n;
        struct scene *t = with_a_stream(
            &h, "/stream/for-ever", (struct setup){ .transport = transport, .flags = "--grace-period 1s" });
        long long begun = now_in_ms();
        process_signal(t->culvert, SIGTERM);
        sem_post(&go);
        while ((n = http1_read(&h, piece, sizeof(piece))) > 0)
            ;
        CU_ASSERT_EQUAL(n, HTTP1_CUT);
        CU_ASSERT_EQUAL(process_end(t->culvert, PATIENCE_MS), 0);
        long long took = now_in_ms() - begun;
        CU_ASSERT_TRUE(took >= 900);
        CU_ASSERT_TRUE(SANITIZED || took < 3000);
        check_farewell(t, "terminated", 1);
        stop(t, &h);
    }
}

static void a_second_signal_ends_it_at_once(void)
{
    for (each_transport(transport)) {
        struct http1 h;
        struct scene *t = with_a_stream(&h, "/stream/for-ever", (struct setup){ .transport = transport });
        process_signal(t->culvert, SIGTERM);
        CU_ASSERT_TRUE(process_says(t->culvert, "Initiating graceful shutdown", PATIENCE_MS));
        process_signal(t->culvert, SIGTERM);
        CU_ASSERT_EQUAL(process_end(t->culvert, PATIENCE_MS), -SIGTERM);
        scene_restart(t, &(struct setup){ .transport = transport });
        stop(t, &h);
    }
}

static void requests_that_come_during_the_shutdown_are_served(void)
{
    for (each_transport(transport)) {
        struct http1 h;
        struct cv_buf rest = { 0 };
        struct scene *t = with_a_stream(&h, "/stream/short", (struct setup){ .transport = transport });
        process_signal(t->culvert, SIGTERM);
        struct answer a = scene_get(t, "/late"); /* the edge may not know yet */
        CU_ASSERT_TRUE(a.status == 200 || a.status == 530);
        answer_free(&a);
        sem_post(&go);
        sem_post(&go);
        CU_ASSERT_EQUAL(http1_read_all(&h, &rest), 0);
        cv_buf_free(&rest);
        http1_close(&h);
        CU_ASSERT_EQUAL(process_end(t->culvert, PATIENCE_MS), 0);
        scene_stop(t);
    }
}

SUITE(system_50_shutdown, TEST(a_running_stream_finishes), TEST(idle_it_leaves_at_once),
      TEST(a_stream_that_never_ends_is_cut_after_the_grace_period), TEST(a_second_signal_ends_it_at_once),
      TEST(requests_that_come_during_the_shutdown_are_served));
