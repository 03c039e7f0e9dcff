/* test_worker.c: posts between threads, timers, late wake-ups; counting without locks. */
#include "loop/loop.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

static struct cv_worker *main_worker, *other;
static int order[8], n_order;

static void note(void *arg)
{
    order[n_order++] = (int)(intptr_t)arg;
}

static void on_other(void *arg)
{
    (void)arg;
    CU_ASSERT_PTR_EQUAL(worker_current(), other);
    cv_post(main_worker, note, (void *)1);
    cv_post(main_worker, note, (void *)2);
    worker_quit(main_worker);
}

static void posts_run_there_in_order(void)
{
    n_order = 0;
    main_worker = worker_new(0);
    other = worker_new(1);
    worker_thread(other);
    cv_post(other, on_other, NULL);
    worker_run(main_worker);
    CU_ASSERT_EQUAL(n_order, 2);
    CU_ASSERT_EQUAL(order[0], 1);
    CU_ASSERT_EQUAL(order[1], 2);
    worker_quit(other);
    worker_free(other);
    worker_free(main_worker);
}

static void what_is_posted_too_late_still_runs(void)
{
    n_order = 0;
    main_worker = worker_new(0);
    cv_post(main_worker, note, (void *)7);
    worker_free(main_worker);
    CU_ASSERT_EQUAL(n_order, 1);
}

static struct cv_late late[3];
static void on_late(struct cv_late *l)
{
    order[n_order++] = (int)(l - late);
    if (l == &late[0])
        cv_late(worker_core_self(main_worker), &late[2]);
}

static void late_ones_run_once_and_can_be_cleared(void)
{
    n_order = 0;
    main_worker = worker_new(0);
    const struct cv_self *self = worker_core_self(main_worker);
    for (int i = 0; i < 3; i++)
        late[i] = (struct cv_late){ .run = on_late };
    cv_late(self, &late[0]);
    cv_late(self, &late[0]);
    cv_late(self, &late[1]);
    cv_late_clear(self, &late[1]);
    CU_ASSERT_EQUAL(n_order, 0);
    event_base_loop(main_worker->base, EVLOOP_NONBLOCK);
    CU_ASSERT_EQUAL(n_order, 2);
    CU_ASSERT_EQUAL(order[1], 2);
    worker_free(main_worker);
}

static void on_timer(struct cv_timer *t)
{
    (void)t;
    order[n_order++] = 9;
    worker_quit(main_worker);
}

static void a_timer_that_is_moved_fires_once(void)
{
    n_order = 0;
    main_worker = worker_new(0);
    struct cv_timer t = { .fire = on_timer }, never = { .fire = on_timer };
    cv_timer_clear(&never); /* unset: nothing to do */
    cv_timer_set(worker_core_self(main_worker), &never, (struct cv_ms){ 1 });
    cv_timer_clear(&never);
    int64_t begin = clock_ms();
    cv_timer_set(worker_core_self(main_worker), &t, (struct cv_ms){ 1 });
    cv_timer_set(worker_core_self(main_worker), &t, (struct cv_ms){ 40 });
    worker_run(main_worker);
    CU_ASSERT_EQUAL(n_order, 1);
    CU_ASSERT(clock_ms() - begin >= 39);
    worker_free(main_worker);
}

/* ---- metrics ----------------------------------------------------------------------------------------- */

static const double bounds[] = { 1, 10, 0 };
enum { COUNT, HIST, PLAIN, SECONDS };
static const struct cv_metric rows[] = { [COUNT] = { "t_count", "help", CV_COUNTER, "a|b", NULL },
                                         [HIST] = { "t_hist", "help", CV_HISTOGRAM, NULL, bounds },
                                         [PLAIN] = { "t_plain", "help", CV_GAUGE, NULL, NULL },
                                         [SECONDS] = { "t_seconds", "help", CV_GAUGE, .per = 1000 },
                                         CV_METRIC_END };
static const struct cv_module module = { .name = "t", .metrics = rows };
static const struct cv_instance instance = { .module = &module, .name = "t" };
static struct cv_self self_of(struct cv_worker *w)
{
    return (struct cv_self){ .worker = w, .instance = &instance };
}

static void count_there(void *arg)
{
    struct cv_self self = self_of(other);
    for (int i = 0; i < 1000; i++)
        cv_add(cv_series(&self, 0, (const struct cv_str[]){ CV_STR("x"), CV_STR("y") }), 1);
    cv_observe(cv_series(&self, 1, NULL), 5);
    worker_quit(arg);
}

static char seen[4096];
static void collect(void *arg, const struct cv_metric *m, const struct cv_str *values, const double *sums,
                    size_t n)
{
    (void)arg;
    size_t at = strlen(seen);
    snprintf(seen + at, sizeof(seen) - at, "%s(" CV_STR_FMT "):", m->name,
             CV_STR_ARG(m->labels ? values[0] : CV_STR("")));
    for (size_t i = 0; i < n; i++) {
        at = strlen(seen);
        snprintf(seen + at, sizeof(seen) - at, "%g,", sums[i]);
    }
}

static void cells_of_threads_are_summed(void)
{
    metrics_setup(2);
    main_worker = worker_new(0);
    other = worker_new(1);
    struct cv_self self = self_of(main_worker);
    metrics_declare(rows);
    cv_add(cv_series(&self, 0, (const struct cv_str[]){ CV_STR("x"), CV_STR("y") }), 5);
    cv_observe(cv_series(&self, 1, NULL), 0.5);
    cv_observe(cv_series(&self, 1, NULL), 99);
    worker_thread(other);
    cv_post(other, count_there, main_worker);
    worker_run(main_worker);
    seen[0] = '\0';
    cv_metrics_each(collect, NULL);
    CU_ASSERT_STRING_EQUAL(seen, "t_hist():1,1,1,104.5,t_plain():0,t_seconds():0,t_count(x):1005,");
    worker_quit(other);
    worker_free(other);
    worker_free(main_worker);
    metrics_free();
    metrics_setup(1);
}

static void what_is_gone_is_not_exported_until_it_is_back(void)
{
    main_worker = worker_new(0);
    struct cv_self self = self_of(main_worker);
    struct cv_series *seconds = cv_series(&self, SECONDS, NULL);
    seen[0] = '\0';
    cv_gauge_set(seconds, 1500);
    cv_metrics_each(collect, NULL);
    cv_gauge_unset(seconds);
    cv_metrics_each(collect, NULL);
    cv_gauge_set(seconds, 20);
    cv_metrics_each(collect, NULL);
    CU_ASSERT_STRING_EQUAL(seen, "t_seconds():1.5,t_seconds():0.02,");
    worker_free(main_worker);
    metrics_free();
}

static void make_many(void *arg)
{
    struct cv_self self = self_of(other);
    for (int i = 0; i < 2000; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        cv_add(cv_series(&self, COUNT, (const struct cv_str[]){ cv_str_of(text), CV_STR("z") }), 1);
    }
    atomic_store((atomic_bool *)arg, true);
}

static void tally(void *arg, const struct cv_metric *m, const struct cv_str *values, const double *sums,
                  size_t n)
{
    (void)m, (void)sums, (void)n;
    *(unsigned *)arg += values[0].n > 0;
}

static void series_may_be_made_while_they_are_read(void)
{
    atomic_bool done = false;
    metrics_setup(2);
    main_worker = worker_new(0);
    other = worker_new(1);
    worker_thread(other);
    cv_post(other, make_many, &done);
    unsigned now = 0, before;
    do {
        before = now;
        now = 0;
        cv_metrics_each(tally, &now);
        CU_ASSERT_TRUE(now >= before);
    } while (!atomic_load(&done));
    now = 0;
    cv_metrics_each(tally, &now);
    CU_ASSERT_EQUAL(now, 2000);
    worker_quit(other);
    worker_free(other);
    worker_free(main_worker);
    metrics_free();
    metrics_setup(1);
}

static void more_series_than_allowed_fold_into_other(void)
{
    main_worker = worker_new(0);
    struct cv_self self = self_of(main_worker);
    for (int i = 0; i < 5000; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        cv_add(cv_series(&self, 0, (const struct cv_str[]){ cv_str_of(text), CV_STR("z") }), 1);
    }
    struct cv_series *other_series =
        cv_series(&self, 0, (const struct cv_str[]){ CV_STR("other"), CV_STR("other") });
    CU_ASSERT_PTR_EQUAL(cv_series(&self, 0, (const struct cv_str[]){ CV_STR("new"), CV_STR("z") }),
                        other_series);
    worker_free(main_worker);
    metrics_free();
}

SUITE(worker, TEST(posts_run_there_in_order), TEST(what_is_posted_too_late_still_runs),
      TEST(late_ones_run_once_and_can_be_cleared), TEST(a_timer_that_is_moved_fires_once),
      TEST(cells_of_threads_are_summed), TEST(what_is_gone_is_not_exported_until_it_is_back),
      TEST(series_may_be_made_while_they_are_read), TEST(more_series_than_allowed_fold_into_other));
