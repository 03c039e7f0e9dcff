/* gate.c: places and tickets. All atomics are sequentially consistent: who publishes a ticket and then finds no place
 * has been seen by whoever gives one back afterwards. */
#include "gate.h"

#include <stddef.h>

bool lane_open(struct lane *l, struct gate *gate, const struct cv_self *self)
{
    l->gate = gate;
    l->self = self;
    l->first = l->last = NULL;
    for (size_t i = 0; i < GATE_WORKERS; i++) {
        const struct cv_self *nobody = NULL;
        if (atomic_compare_exchange_strong(&gate->workers[i].self, &nobody, self)) {
            l->mine = &gate->workers[i];
            return true;
        }
    }
    return false;
}

void lane_close(struct lane *l)
{
    atomic_store(&l->mine->self, NULL);
}

/* ---- tickets ----------------------------------------------------------------------------------------- */

static void publish(struct lane *l)
{
    atomic_store(&l->mine->oldest, l->first ? l->first->ticket : 0);
}

static void append(struct lane *l, struct waiter *w)
{
    w->ticket = atomic_fetch_add(&l->gate->tickets, 1) + 1;
    w->next = NULL;
    w->prev = l->last;
    *(l->last ? &l->last->next : &l->first) = w;
    l->last = w;
    publish(l);
}

static void take_out(struct lane *l, struct waiter *w)
{
    *(w->prev ? &w->prev->next : &l->first) = w->next;
    *(w->next ? &w->next->prev : &l->last) = w->prev;
    w->ticket = 0;
    publish(l);
    atomic_fetch_sub(&l->gate->waiting, 1);
}

static struct gate_worker *whose_turn(struct gate *g)
{
    struct gate_worker *turn = NULL;
    uint64_t least = 0;
    for (size_t i = 0; i < GATE_WORKERS; i++) {
        uint64_t ticket = atomic_load(&g->workers[i].oldest);
        if (ticket == 0 || (turn && ticket > least))
            continue;
        turn = &g->workers[i];
        least = ticket;
    }
    return turn;
}

/* ---- places ------------------------------------------------------------------------------------------ */

/* One more, unless it would be more than `most`. */
static bool up_to(atomic_uint *count, unsigned most)
{
    unsigned n = atomic_load(count);
    while (n < most)
        if (atomic_compare_exchange_weak(count, &n, n + 1))
            return true;
    return false;
}

void lane_serve(struct lane *l, unsigned limit)
{
    struct gate *g = l->gate;
    struct gate_worker *turn;
    while (atomic_load(&g->running) < limit && (turn = whose_turn(g))) {
        if (turn != l->mine) {
            const struct cv_self *self = atomic_load(&turn->self);
            if (self)
                l->call(self, g);
            return;
        }
        if (!up_to(&g->running, limit))
            return;
        struct waiter *w = l->first;
        take_out(l, w);
        l->admit(l, w);
    }
}

bool lane_take(struct lane *l, unsigned limit)
{
    return atomic_load(&l->gate->waiting) == 0 && up_to(&l->gate->running, limit);
}

bool lane_wait(struct lane *l, struct waiter *w, unsigned limit, unsigned most)
{
    if (!up_to(&l->gate->waiting, most))
        return false;
    append(l, w);
    lane_serve(l, limit);
    return true;
}

void lane_leave(struct lane *l, struct waiter *w, unsigned limit)
{
    take_out(l, w);
    lane_serve(l, limit);
}

void lane_give(struct lane *l, unsigned limit)
{
    atomic_fetch_sub(&l->gate->running, 1);
    lane_serve(l, limit);
}
