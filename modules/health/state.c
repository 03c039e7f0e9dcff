/* state.c: what is known of an origin, for all workers: atomics alone, each change made by whoever wins it. */
#include "health.h"

enum { SHOWN_DOWN = 1, SHOWN_UP };

struct health_state *health_state(const struct cv_self *self, struct cv_str service)
{
    return cv_cell(self, service, sizeof(struct health_state));
}

static bool is_up(struct health_state *s)
{
    return !atomic_load(&s->check_failed) && atomic_load(&s->closed_until) == 0;
}

/* The gauge is a sum over threads: each change is added once, by who made it. */
static void show(const struct cv_self *self, struct health_state *s, struct cv_str service)
{
    int now, before;
    do {
        now = is_up(s) ? SHOWN_UP : SHOWN_DOWN;
        before = atomic_exchange(&s->shown, now);
        int change = (now == SHOWN_UP) - (before == SHOWN_UP);
        cv_add(cv_series(self, HEALTH_UP, &service), change);
    } while ((now == SHOWN_UP) != is_up(s));
}

static void log_change(const struct cv_self *self, struct cv_str service, const char *why)
{
    if (why)
        cv_log(self, CV_WARN, CV_FIELDS(CV_S("originService", service), CV_S("reason", cv_str_of(why))),
               "Origin is down");
    else
        cv_log(self, CV_INFO, CV_FIELDS(CV_S("originService", service)), "Origin is up again");
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static struct cv_ms pause(const struct health_conf *c, unsigned rounds)
{
    int64_t ms = c->retry.ms;
    for (; rounds > 0 && ms < c->retry_max.ms; rounds--)
        ms *= 2;
    return (struct cv_ms){ ms < c->retry_max.ms ? ms : c->retry_max.ms };
}

/* Who moves the time on has the try; if he is never heard of, it is another's after a while. */
bool health_admits(struct health_state *s, const struct health_conf *c, int64_t now, struct cv_ms *wait)
{
    int_least64_t until = atomic_load(&s->closed_until);
    *wait = c->interval.ms > 0 ? c->interval : c->retry;
    if (atomic_load(&s->check_failed))
        return false;
    if (until == 0)
        return true;
    if (now >= until &&
        atomic_compare_exchange_strong(&s->closed_until, &until, now + pause(c, atomic_load(&s->rounds)).ms))
        return true;
    if (until > now)
        wait->ms = until - now;
    return false;
}

void health_answered(const struct cv_self *self, struct health_state *s, struct cv_str service)
{
    if (atomic_load(&s->failures) != 0)
        atomic_store(&s->failures, 0);
    if (atomic_load(&s->closed_until) != 0 && atomic_exchange(&s->closed_until, 0) != 0) {
        atomic_store(&s->rounds, 0);
        log_change(self, service, NULL);
    }
    if (atomic_load(&s->shown) != SHOWN_UP)
        show(self, s, service);
}

void health_failed(const struct cv_self *self, struct health_state *s, struct cv_str service, bool tried,
                   const char *why)
{
    const struct health_conf *c = self->conf;
    unsigned n = atomic_fetch_add(&s->failures, 1) + 1;
    int_least64_t open = 0, until = atomic_load(&s->closed_until);
    if (c->failures == 0)
        return;
    if (tried && until != 0) {
        unsigned rounds = atomic_fetch_add(&s->rounds, 1) + 1;
        atomic_compare_exchange_strong(&s->closed_until, &until, cv_now(self) + pause(c, rounds).ms);
    } else if (n >= (unsigned)c->failures &&
               atomic_compare_exchange_strong(&s->closed_until, &open, cv_now(self) + pause(c, 0).ms)) {
        log_change(self, service, why);
    }
    show(self, s, service);
}

/* ---- checks ------------------------------------------------------------------------------------------ */

void health_checked(const struct cv_self *self, struct health_state *s, struct cv_str service,
                    const char *why)
{
    bool closed = !why && atomic_exchange(&s->closed_until, 0) != 0;
    if (!why) {
        atomic_store(&s->failures, 0);
        atomic_store(&s->rounds, 0);
    }
    if (atomic_exchange(&s->check_failed, why != NULL) != (why != NULL) || closed)
        log_change(self, service, why);
    show(self, s, service);
}

void health_forget(const struct cv_self *self, struct health_state *s, struct cv_str service)
{
    atomic_store(&s->check_failed, false);
    atomic_store(&s->closed_until, 0);
    atomic_store(&s->failures, 0);
    atomic_store(&s->rounds, 0);
    show(self, s, service);
}
