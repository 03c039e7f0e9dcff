/* test_pulse.c: a worker that does not turn is found, and forgiven when it does again; notes of what was logged. */
#include "culvert/operate.h"
#include "loop/loop.h"
#include "suite.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static struct cv_worker *main_worker, *worker;
static sem_t release;

static void block(void *arg)
{
    (void)arg;
    while (sem_wait(&release) != 0)
        ;
}

/* Turns the main loop until the worker is stuck, or is not any more; false after ten seconds. */
static bool becomes(bool stuck)
{
    int64_t ms = 0, until = clock_ms() + 10000;
    while ((pulse_stuck(&ms) != 0) != stuck && clock_ms() < until)
        event_base_loop(main_worker->base, EVLOOP_ONCE);
    return clock_ms() < until;
}

static void begin(int64_t limit)
{
    sem_init(&release, 0, 0);
    main_worker = worker_new(0);
    worker = worker_new(1);
    worker_thread(worker);
    pulse_start(main_worker, &worker, 1, (struct cv_ms){ limit });
}

static void end(void)
{
    pulse_stop();
    worker_quit(worker);
    worker_free(worker);
    worker_free(main_worker);
}

static void a_worker_that_blocks_is_stuck_until_it_turns_again(void)
{
    int64_t ms = 0;
    cv_log_level_set(CV_FATAL);
    begin(40);
    CU_ASSERT_EQUAL(pulse_stuck(&ms), 0);
    cv_post(worker, block, NULL);
    CU_ASSERT_TRUE(becomes(true));
    CU_ASSERT_EQUAL(pulse_stuck(&ms), 1);
    CU_ASSERT(ms >= 40);
    sem_post(&release);
    CU_ASSERT_TRUE(becomes(false));
    end();
    cv_log_level_set(CV_INFO);
}

static void run_nothing(struct cv_timer *timer)
{
    (void)timer;
}

static void without_a_limit_nobody_is(void)
{
    int64_t ms;
    struct cv_timer timer = { .fire = run_nothing };
    begin(0);
    cv_post(worker, block, NULL);
    cv_timer_set(worker_core_self(main_worker), &timer, (struct cv_ms){ 30 });
    event_base_loop(main_worker->base, EVLOOP_ONCE);
    CU_ASSERT_EQUAL(pulse_stuck(&ms), 0);
    sem_post(&release);
    end();
}

/* ---- notes --------------------------------------------------------------------------------------------- */

static char last[300];
static size_t n_notes;
static void take(void *arg, const struct cv_note *note)
{
    (void)arg;
    n_notes++;
    snprintf(last, sizeof(last), "%d " CV_STR_FMT, note->level, CV_STR_ARG(note->text));
}

static void the_last_lines_of_the_main_thread_are_kept(void)
{
    static char longest[1000];
    memset(longest, 'x', sizeof(longest) - 1);
    memcpy(longest + 239, "\xc3\xa4", 2); /* a letter across the end of a note */
    cv_log_level_set(CV_INFO);
    main_worker = worker_new(0);
    for (int i = 0; i < 100; i++)
        notes_keep(i, CV_INFO, CV_STR("a line"));
    log_line(CV_INFO, CV_FIELDS(CV_I("connIndex", 3), CV_S("error", CV_STR("no\n"))), "Lost");
    n_notes = 0;
    cv_notes_each(take, NULL);
    CU_ASSERT_EQUAL(n_notes, 64);
    CU_ASSERT_STRING_EQUAL(last, "3 Lost error=\"no\\n\" connIndex=3");
    log_line(CV_DEBUG, NULL, "for nobody");
    cv_notes_each(take, NULL);
    CU_ASSERT_PTR_NULL(strstr(last, "nobody"));
    notes_keep(0, CV_WARN, cv_str_of(longest));
    cv_notes_each(take, NULL);
    CU_ASSERT_EQUAL(strlen(last), 2 + 239);
    worker_free(main_worker);
}

SUITE(pulse, TEST(a_worker_that_blocks_is_stuck_until_it_turns_again), TEST(without_a_limit_nobody_is),
      TEST(the_last_lines_of_the_main_thread_are_kept));
