/* limits.c: how long an exchange may wait, for what, and how long it may take as a whole. */
#include "origin.h"

static const struct origin_conf *conf(const struct origin_exchange *x)
{
    return x->w->self.conf;
}

/* What the exchange waits for: the limit on it, 0 if there is none. */
static int64_t limit_of(const struct origin_exchange *x)
{
    if (x->half_closed)
        return conf(x)->half_close_timeout.ms;
    if (!x->link && !x->h2.conn)
        return 0; /* connecting has limits of its own */
    if (!x->req->status && origin_sender_done(&x->out))
        return conf(x)->first_byte_timeout.ms;
    return conf(x)->idle_timeout.ms;
}

/* Until the first of the two limits that count now. */
static void wait_until_due(struct origin_exchange *x, int64_t now)
{
    int64_t limit = limit_of(x), due = x->ends_at;
    if (limit && (due == 0 || x->moved + limit < due))
        due = x->moved + limit;
    if (due == 0)
        cv_timer_clear(&x->timer);
    else
        cv_timer_set(&x->w->self, &x->timer, (struct cv_ms){ due > now ? due - now : 0 });
}

void origin_exchange_sent(struct origin_exchange *x)
{
    x->moved = cv_now(&x->w->self);
    wait_until_due(x, x->moved);
}

void origin_exchange_touch(struct origin_exchange *x)
{
    if (x->timer.set)
        x->moved = cv_now(&x->w->self);
}

static void on_timer(struct cv_timer *timer)
{
    struct origin_exchange *x = CV_OWNER(timer, struct origin_exchange, timer);
    int64_t now = cv_now(&x->w->self), limit = limit_of(x);
    if (cv_pipe_room(x->req->down) == 0)
        x->moved = now; /* it is the visitor who is slow */
    if (x->ends_at && now >= x->ends_at)
        origin_exchange_fail(x, CV_E_TIMEOUT, "not done within total_timeout");
    else if (limit == 0 || now < x->moved + limit)
        wait_until_due(x, now);
    else if (x->half_closed)
        origin_exchange_complete(x, true);
    else
        origin_exchange_fail(x, CV_E_TIMEOUT,
                             x->req->status ? "no byte moved within idle_timeout"
                                            : "no response within the time limit");
}

void origin_exchange_limit(struct origin_exchange *x)
{
    x->timer.fire = on_timer;
    if (conf(x)->total_timeout.ms == 0 || x->req->type != CV_HTTP)
        return;
    int64_t now = cv_now(&x->w->self);
    x->ends_at = now + conf(x)->total_timeout.ms;
    wait_until_due(x, now);
}
