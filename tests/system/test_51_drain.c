/* test_51_drain.c: SIGUSR1: nothing new comes, what is under way ends well, the process stays until SIGTERM. */
#include "scene.h"

#include "culvert/culvert.h"

#include <signal.h>

static sem_t held;

static bool waits(struct http1 *h, void *unused)
{
    (void)unused;
    http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    sem_within(&held, PATIENCE_MS);
    http1_sendf(h, "lf");
    return false;
}

static void drain_over(const char *transport)
{
    sem_init(&held, 0, 0);
    struct scene *s = scene_start(&(struct setup){ .transport = transport, .origin = waits });
    struct http1 visitor;
    CU_ASSERT_TRUE_FATAL(scene_open(s, &visitor, "GET", "/", NULL));
    CU_ASSERT_TRUE(http1_answer(&visitor, "GET"));
    process_signal(s->culvert, SIGUSR1);
    CU_ASSERT_TRUE(process_says(s->culvert, "Unregistered tunnel connection", PATIENCE_MS));
    struct answer ready = scene_metrics(s, "/ready");
    CU_ASSERT_EQUAL(ready.status, 503);
    answer_free(&ready);
    sem_post(&held);
    struct cv_buf body = { 0 };
    CU_ASSERT_EQUAL(http1_read_all(&visitor, &body), 0);
    CU_ASSERT(cv_str_eq((struct cv_str){ (char *)body.p, body.n }, CV_STR("half")));
    cv_buf_free(&body);
    http1_close(&visitor);
    sleep_ms(1000); /* longer than it would take to leave */
    CU_ASSERT_TRUE(process_running(s->culvert));
    CU_ASSERT_EQUAL(scene_end(s, PATIENCE_MS), 0);
    scene_stop(s);
}

static void a_drained_process_stays_until_it_is_ended(void)
{
    drain_over("http2");
    drain_over("quic");
}

SUITE(system_51_drain, TEST(a_drained_process_stays_until_it_is_ended));
