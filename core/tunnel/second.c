/* second.c: failover's decisions, done: the second tunnel is connected, drained, told to yield, and shown. */
#include <stdio.h>

#include "tunnel/discover.h"
#include "tunnel/tunnel_state.h"

static void switch_second(bool on)
{
    if (on == tunnel.second_on || !second->credentials)
        return;
    tunnel.second_on = on;
    if (!on)
        supervisor_drain(second->supervisor, clock_ms(), conf()->replaced_limit.ms);
    else if (second->discovery)
        supervisor_resume(second->supervisor, clock_ms());
    else
        tunnel_find_edge(second);
}

static void run_yield(void *arg)
{
    struct cv_worker *w = worker_current();
    if (w->stock)
        requests_yield(w, arg != NULL);
}

static void tell_workers(bool yields)
{
    if (yields == tunnel.second_yields)
        return;
    tunnel.second_yields = yields;
    for (size_t i = 0; i < tunnel.setup.n_workers; i++)
        cv_post(tunnel.setup.workers[i], run_yield, yields ? &tunnel : NULL);
}

static void log_taken(const struct failover *f)
{
    char text[160];
    if (!second->credentials) {
        if (f->taken)
            log_line(CV_ERROR, NULL,
                     "The first tunnel is down, and the second has no token that can be used");
        return;
    }
    if (f->taken)
        snprintf(text, sizeof(text),
                 "The first tunnel has had no registered connection for %lld ms: the second takes over",
                 (long long)(clock_ms() - f->since));
    else
        snprintf(text, sizeof(text),
                 "The first tunnel has been registered again for %lld ms: the second stands back",
                 (long long)(clock_ms() - f->since));
    log_line(f->taken ? CV_WARN : CV_INFO, NULL, "%s", text);
    if (f->taken)
        cv_add(metric(M_CULVERT_FAILOVERS, NULL), 1);
}

static void show_active(void)
{
    for (each_twin(t))
        cv_gauge_set(METRIC(M_CULVERT_TUNNEL_ACTIVE, cv_str_of(tunnel_names[t->id])),
                     supervisor_ready(t->supervisor) > 0);
}

void second_look(void)
{
    struct failover *f = &tunnel.failover;
    const struct failover_conf *c = tunnel.setup.failover;
    if (!tunnel.has_second)
        return;
    show_active();
    if (!tunnel.failover_timer.fire || supervisor_draining(first->supervisor))
        return;
    bool changed = failover_look(f, c, supervisor_ready(first->supervisor) > 0, clock_ms());
    tell_workers(failover_yields(f, c));
    if (changed)
        log_taken(f);
    switch_second(failover_wants_second(f, c));
    timer_at(&tunnel.failover_timer, failover_next(f, c));
}

static void on_failover_timer(struct cv_timer *timer)
{
    (void)timer;
    second_look();
}

void second_begin(void)
{
    if (!tunnel.has_second)
        return;
    cv_add(metric(M_CULVERT_FAILOVERS, NULL), 0);
    failover_begin(&tunnel.failover, clock_ms());
    tunnel.failover_timer.fire = on_failover_timer;
    second_look();
}

void second_drains(void)
{
    if (tunnel.has_second)
        tunnel.second_before = supervisor_drained(second->supervisor, clock_ms());
}

/* It may have been draining before. */
void second_add_drained(struct cv_drained *sum)
{
    if (!tunnel.has_second)
        return;
    const struct cv_drained *before = &tunnel.second_before;
    struct cv_drained d = supervisor_drained(second->supervisor, clock_ms());
    sum->finished += d.finished - before->finished;
    sum->cut += d.cut - before->cut;
    if (d.ms - before->ms > sum->ms)
        sum->ms = d.ms - before->ms;
}
