/* gate.h: so many at a time, counted over all workers, first come first served; and who waits on one worker.
 *
 * A gate is a cell (culvert.h): one number of those who have a place, and for each worker the ticket of the one who has
 * waited there longest. Nobody takes a place past an older ticket. A worker whose turn it is not tells the one whose it
 * is with cv_post(), which asks again; so no wake-up can be lost, and no lock is needed.
 *
 * Thread   A gate is everybody's. A lane is one worker's part of it, with the waiters of that worker. */
#ifndef CONCURRENCY_GATE_H
#define CONCURRENCY_GATE_H
#include "culvert/culvert.h"

#include <stdatomic.h>

enum { GATE_WORKERS = 64 };

struct gate {
    atomic_uint running; /* have a place */
    atomic_uint waiting; /* of all workers */
    atomic_uint_least64_t tickets;
    struct gate_worker {
        _Atomic(const struct cv_self *) self; /* NULL: free */
        atomic_uint_least64_t oldest;         /* ticket; 0: nobody waits */
    } workers[GATE_WORKERS];
};

struct waiter { /* embed it */
    struct waiter *next, *prev;
    uint64_t ticket; /* 0: does not wait */
};
struct lane {
    struct gate *gate;
    const struct cv_self *self;
    struct gate_worker *mine;
    struct waiter *first, *last;
    void (*admit)(struct lane *, struct waiter *);       /* it has a place from now on, and waits no more */
    void (*call)(const struct cv_self *, struct gate *); /* post to that worker: lane_serve() of its lane */
};

/* false: the gate has no room for another worker. */
bool lane_open(struct lane *, struct gate *, const struct cv_self *);
void lane_close(struct lane *); /* nobody waits */

/* Takes a place if one is free and nobody waits for it. */
bool lane_take(struct lane *, unsigned limit);
/* Waits for one if fewer than `most` do: admit() may come at once. */
bool lane_wait(struct lane *, struct waiter *, unsigned limit, unsigned most);
void lane_leave(struct lane *, struct waiter *,
                unsigned limit);               /* waits no more: the visitor left, or time is up */
void lane_give(struct lane *, unsigned limit); /* a place is free again */
/* Lets in who may go in: after call(), and when the limit has been raised. */
void lane_serve(struct lane *, unsigned limit);
#endif
