/* test_state.c: what is known of an origin: closed after failures in a row, one try at a time, up again by any answer. */
#include "culvert/operate.h"
#include "health/health.h"
#include "loop/loop.h"
#include "suite.h"

#include <string.h>

static const struct cv_metric metrics[] = {
    [HEALTH_UP] = { "culvert_origin_up", "x", CV_GAUGE, "service", NULL }, CV_METRIC_END
};
static const struct cv_module module = { .name = "health", .metrics = metrics };
static const struct cv_instance instance = { &module, "health", 1, 0 };
static const struct health_conf conf = { .failures = 3,
                                         .retry = { 1000 },
                                         .retry_max = { 3000 },
                                         .interval = { 0 },
                                         .path = "",
                                         .rise = 1,
                                         .fall = 1 };
static const struct cv_str service = { "http://a:1", 10 };
static struct cv_self self;
static struct health_state *s;

static void begin(void)
{
    self = (struct cv_self){ .conf = &conf, .worker = worker_new(0), .instance = &instance };
    cv_log_level_set(CV_FATAL);
    s = health_state(&self, service);
}

static void on_series(void *arg, const struct cv_metric *m, const struct cv_str *values, const double *sums,
                      size_t n)
{
    (void)values, (void)n;
    if (strcmp(m->name, "culvert_origin_up") == 0)
        *(double *)arg = *sums;
}

static int up(void)
{
    double value = -1;
    cv_metrics_each(on_series, &value);
    return (int)value;
}

static void end(void)
{
    cv_log_level_set(CV_INFO);
    worker_free(self.worker);
    cells_free();
    metrics_free();
}

static bool admits(int64_t in, int64_t *wait)
{
    struct cv_ms ms;
    bool yes = health_admits(s, &conf, cv_now(&self) + in, &ms);
    *wait = ms.ms;
    return yes;
}

static void fail(unsigned n, bool tried)
{
    for (unsigned i = 0; i < n; i++)
        health_failed(&self, s, service, tried, "connection refused");
}

static void failures_in_a_row_close_it(void)
{
    int64_t wait;
    begin();
    fail(2, false);
    health_answered(&self, s, service);
    fail(2, false);
    CU_ASSERT_TRUE(admits(0, &wait));
    CU_ASSERT_EQUAL(up(), 1);
    fail(1, false);
    CU_ASSERT_EQUAL(up(), 0);
    CU_ASSERT_FALSE(admits(0, &wait));
    CU_ASSERT_TRUE(wait > 500 && wait <= 1000);
    end();
}

static void one_at_a_time_tries_less_and_less_often(void)
{
    int64_t wait;
    begin();
    fail(5, false);
    CU_ASSERT_TRUE(admits(1000, &wait));
    CU_ASSERT_FALSE(admits(1000, &wait));
    CU_ASSERT_TRUE(admits(2100, &wait)); /* the first was never heard of */
    fail(1, true);
    CU_ASSERT_FALSE(admits(1900, &wait));
    CU_ASSERT_TRUE(admits(2000, &wait));
    fail(10, true);
    CU_ASSERT_FALSE(admits(2900, &wait));
    CU_ASSERT_TRUE(admits(3000, &wait)); /* retry_max */
    CU_ASSERT_EQUAL(up(), 0);
    health_answered(&self, s, service);
    CU_ASSERT_EQUAL(up(), 1);
    CU_ASSERT_TRUE(admits(0, &wait) && admits(0, &wait));
    end();
}

static void checks_decide_beside_requests(void)
{
    int64_t wait;
    begin();
    health_checked(&self, s, service, "answered 500");
    CU_ASSERT_FALSE(admits(1000000, &wait));
    health_answered(&self, s, service); /* one that was under way */
    CU_ASSERT_FALSE(admits(1000000, &wait));
    fail(3, false);
    health_checked(&self, s, service, NULL);
    CU_ASSERT_TRUE(admits(0, &wait));
    CU_ASSERT_EQUAL(up(), 1);
    health_checked(&self, s, service, "answered 500");
    CU_ASSERT_EQUAL(up(), 0);
    health_forget(&self, s, service);
    CU_ASSERT_TRUE(admits(0, &wait));
    CU_ASSERT_EQUAL(up(), 1);
    end();
}

SUITE(health_state, TEST(failures_in_a_row_close_it), TEST(one_at_a_time_tries_less_and_less_often),
      TEST(checks_decide_beside_requests));
