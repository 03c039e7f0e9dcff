/* worker.c: a thread and its event loop; posts from other threads; what runs at the end of a turn. */
#include "loop/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* So many rounds of wake-ups may follow one another before sockets get their turn: a fast pair of sockets on one
 * request must not starve the others. */
enum { ROUNDS_PER_TURN = 4, CALLBACKS_PER_POLL = 64 };

struct post {
    struct post *next;
    void (*run)(void *);
    void *arg;
};

static _Thread_local struct cv_worker *current;

struct cv_worker *worker_current(void)
{
    return current;
}

int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t cv_now(const struct cv_self *self)
{
    (void)self;
    return clock_ms();
}

struct cv_str cv_section(const struct cv_self *self)
{
    return cv_str_of(self->instance ? self->instance->name : "");
}

struct event_base *cv_base(const struct cv_self *self)
{
    return self->worker->base;
}

/* ---- posts ------------------------------------------------------------------------------------------- */

static void run_posts(struct cv_worker *w)
{
    pthread_mutex_lock(&w->post_lock);
    struct post *p = w->post_first;
    w->post_first = NULL;
    w->post_last = &w->post_first;
    pthread_mutex_unlock(&w->post_lock);
    while (p) {
        struct post *next = p->next;
        p->run(p->arg);
        free(p);
        p = next;
    }
}

static void on_post(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    uint64_t count;
    if (read(fd, &count, sizeof(count)) < 0)
        return; /* EAGAIN: an earlier turn has read it */
    run_posts(arg);
}

void cv_post(struct cv_worker *w, void (*run)(void *), void *arg_take)
{
    struct post *p = cv_xmalloc(sizeof(*p));
    *p = (struct post){ NULL, run, arg_take };
    pthread_mutex_lock(&w->post_lock);
    bool first = !w->post_first;
    *w->post_last = p;
    w->post_last = &p->next;
    pthread_mutex_unlock(&w->post_lock);
    if (first) {
        uint64_t one = 1;
        while (write(w->post_fd, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
    }
}

/* ---- the end of a turn ------------------------------------------------------------------------------- */

void worker_end_of_turn(struct cv_worker *w)
{
    event_active(&w->turn_event, EV_TIMEOUT, 0);
}

static void run_late(struct cv_worker *w)
{
    while (w->late_first) {
        struct cv_late *late = w->late_first;
        w->late_first = late->next;
        if (!w->late_first)
            w->late_last = &w->late_first;
        late->queued = false;
        late->run(late);
    }
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct cv_worker *w = arg;
    for (int round = 0; round < ROUNDS_PER_TURN && (w->ready_first || w->late_first); round++) {
        if (w->run_ready)
            w->run_ready(w);
        run_late(w);
    }
    if (w->ready_first || w->late_first)
        worker_end_of_turn(w);
}

void cv_late(const struct cv_self *self, struct cv_late *late)
{
    struct cv_worker *w = self->worker;
    if (late->queued)
        return;
    late->queued = true;
    late->next = NULL;
    *w->late_last = late;
    w->late_last = &late->next;
    worker_end_of_turn(w);
}

void cv_late_clear(const struct cv_self *self, struct cv_late *late)
{
    struct cv_worker *w = self->worker;
    if (!late->queued)
        return;
    late->queued = false;
    struct cv_late **at = &w->late_first;
    while (*at != late)
        at = &(*at)->next;
    *at = late->next;
    if (!*at)
        w->late_last = at;
}

/* ---- timers ------------------------------------------------------------------------------------------ */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct cv_timer *t = arg;
    t->set = false;
    t->fire(t);
}

void cv_timer_set(const struct cv_self *self, struct cv_timer *t, struct cv_ms after)
{
    int64_t ms = after.ms > 0 ? after.ms : 0;
    struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
    if (!t->made) {
        evtimer_assign(&t->event, self->worker->base, on_timer, t);
        t->made = true;
    }
    t->set = true;
    evtimer_add(&t->event, &tv);
}

void cv_timer_clear(struct cv_timer *t)
{
    if (!t->set)
        return;
    t->set = false;
    evtimer_del(&t->event);
}

/* ---- life -------------------------------------------------------------------------------------------- */

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    CV_ASSERT(config);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK); /* other threads come through cv_post alone */
    event_config_set_max_dispatch_interval(config, NULL, CALLBACKS_PER_POLL, 0);
    struct event_base *base = event_base_new_with_config(config);
    CV_ASSERT(base);
    event_config_free(config);
    return base;
}

struct cv_worker *worker_new(unsigned index)
{
    CV_ASSERT(index < THREADS_MAX);
    struct cv_worker *w = cv_xcalloc(1, sizeof(*w));
    w->index = index;
    w->base = new_base();
    pthread_mutex_init(&w->post_lock, NULL);
    w->post_last = &w->post_first;
    w->late_last = &w->late_first;
    w->ready_last = &w->ready_first;
    w->post_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CV_ASSERT(w->post_fd >= 0);
    w->post_event = event_new(w->base, w->post_fd, EV_READ | EV_PERSIST, on_post, w);
    event_add(w->post_event, NULL);
    event_assign(&w->turn_event, w->base, -1, 0, on_turn, w);
    w->core = (struct cv_self){ .worker = w };
    if (index == 0)
        current = w;
    resolver_new(w);
    return w;
}

const struct cv_self *worker_core_self(struct cv_worker *w)
{
    return &w->core;
}

void worker_run(struct cv_worker *w)
{
    current = w;
    event_base_loop(w->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

static void *thread_main(void *arg)
{
    worker_run(arg);
    return NULL;
}

void worker_thread(struct cv_worker *w)
{
    CV_ASSERT(w->index != 0);
    CV_ASSERT(pthread_create(&w->thread, NULL, thread_main, w) == 0);
    w->running = true;
}

static void leave_loop(void *arg)
{
    struct cv_worker *w = arg;
    event_base_loopexit(w->base, NULL);
}

void worker_quit(struct cv_worker *w)
{
    cv_post(w, leave_loop, w);
}

void worker_free(struct cv_worker *w)
{
    if (w->running)
        pthread_join(w->thread, NULL);
    struct cv_worker *me = current;
    current = w;
    run_posts(w);
    resolver_free(w);
    metrics_thread_free(w);
    cells_thread_free(w);
    current = me == w ? NULL : me;
    event_free(w->post_event);
    close(w->post_fd);
    event_base_free(w->base);
    pthread_mutex_destroy(&w->post_lock);
    free(w);
}
