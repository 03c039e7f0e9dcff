/* pulse.c: whether the worker threads' loops turn: the main thread posts to each and waits for the answer. What else it
 * has to do every second or so hangs on the same timer. */
#include "loop/loop.h"

#include <string.h>

enum { BEATS_PER_LIMIT = 4, SLOWEST_MS = 1000 };

struct pulse {
    struct cv_worker *worker;
    bool asked;
    unsigned silent; /* beats of the main thread since it was asked */
};

static struct {
    struct cv_worker *main;
    struct cv_ms limit, every;
    struct cv_timer beat;
    struct pulse workers[THREADS_MAX];
    size_t n;
} self;

static int64_t silence(const struct pulse *p)
{
    return (int64_t)p->silent * self.every.ms;
}

static bool stuck(const struct pulse *p)
{
    return self.limit.ms > 0 && silence(p) >= self.limit.ms;
}

static void run_answer(void *arg)
{
    struct pulse *p = arg;
    if (stuck(p))
        log_line(CV_WARN, NULL, "Worker %u turns again, after %lld ms", p->worker->index,
                 (long long)silence(p));
    p->asked = false;
    p->silent = 0;
}

static void run_question(void *arg)
{
    cv_post(self.main, run_answer, arg);
}

/* Its own beats are what it counts: of a process that was stopped as a whole no worker is to blame. */
static void ask(struct pulse *p)
{
    if (!p->asked) {
        p->asked = true;
        cv_post(p->worker, run_question, p);
        return;
    }
    bool before = stuck(p);
    p->silent++;
    if (stuck(p) && !before)
        log_line(
            CV_ERROR, NULL,
            "Worker %u has not turned its loop for %lld ms: something blocks it. /live fails from now on",
            p->worker->index, (long long)silence(p));
}

static void on_beat(struct cv_timer *timer)
{
    cv_timer_set(worker_core_self(self.main), timer, self.every);
    for (size_t i = 0; i < self.n; i++)
        ask(&self.workers[i]);
    log_limit_tell(false);
}

void pulse_start(struct cv_worker *main, struct cv_worker *const *workers, size_t n, struct cv_ms limit)
{
    memset(&self, 0, sizeof(self));
    self.main = main;
    self.limit = limit;
    self.every.ms =
        limit.ms > 0 && limit.ms / BEATS_PER_LIMIT < SLOWEST_MS ? limit.ms / BEATS_PER_LIMIT + 1 : SLOWEST_MS;
    for (; self.n < n; self.n++)
        self.workers[self.n].worker = workers[self.n];
    self.beat.fire = on_beat;
    cv_timer_set(worker_core_self(main), &self.beat, self.every);
}

void pulse_stop(void)
{
    cv_timer_clear(&self.beat);
    self.n = 0;
}

unsigned pulse_stuck(int64_t *ms)
{
    for (size_t i = 0; i < self.n; i++)
        if (stuck(&self.workers[i])) {
            *ms = silence(&self.workers[i]);
            return self.workers[i].worker->index;
        }
    return 0;
}
