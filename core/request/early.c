/* early.c: a connector that has just registered gets visitors at once, perhaps before its rules: no reason to fail them. */
#include "request/early.h"

#include "request/route.h"
#include "request/stock.h"

void early_go(struct cv_worker *w, enum tunnel_id tunnel)
{
    struct stock *stock = w->stock;
    cv_timer_clear(&stock->early[tunnel].timer);
    for (struct request *r = stock->open; r; r = r->next)
        if (r->early && r->step == STEP_START && request_tunnel(r) == tunnel) {
            r->early = false;
            r->stepping = true;
            request_wake(r);
        }
}

/* From now on the answer is what it is without rules. */
static void on_late(struct cv_timer *timer)
{
    struct early *early = CV_OWNER(timer, struct early, timer);
    early->limit = (struct cv_ms){ 0 };
    early_go(early->worker, early->tunnel);
}

bool early_waits(struct request *r)
{
    enum tunnel_id tunnel = request_tunnel(r);
    struct early *early = &((struct stock *)r->worker->stock)->early[tunnel];
    if (!r->worker->routes[tunnel]->none || early->limit.ms <= 0)
        return false;
    r->early = true;
    if (!early->timer.set) {
        early->worker = r->worker;
        early->tunnel = tunnel;
        early->timer.fire = on_late;
        cv_timer_set(worker_core_self(r->worker), &early->timer, early->limit);
    }
    return true;
}

void early_teardown(struct cv_worker *w)
{
    for (size_t i = 0; i < TUNNELS; i++)
        cv_timer_clear(&((struct stock *)w->stock)->early[i].timer);
}
