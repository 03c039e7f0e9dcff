/* health.h: the private header of health: whether origins are up, by what requests find and by checks.
 *
 *   health.c  the filter: who is let through, and what is learned from it
 *   state.c   what all workers know of one origin
 *   check.c   asking by ourselves, on one worker */
#ifndef HEALTH_H
#define HEALTH_H
#include "culvert/culvert.h"
#include "culvert/mem.h"
#include "culvert/route.h"

#include <stdatomic.h>

struct health_conf {
    struct cv_list services;
    int failures;
    struct cv_ms retry, retry_max;
    struct cv_ms interval;
    const char *path;
    struct cv_ms timeout;
    int rise, fall;
};
enum { HEALTH_UP, HEALTH_REFUSED, HEALTH_CHECKS };

/* ---- state.c: a cell (culvert.h) for each service ------------------------------------------------------ */

struct health_state {
    atomic_uint failures;              /* of requests, in a row */
    atomic_int_least64_t closed_until; /* 0: requests pass. cv_now() of when the next one may try */
    atomic_uint rounds;                /* tries that failed since it was closed */
    atomic_bool check_failed;          /* checks say that it is down */
    atomic_int shown;                  /* in culvert_origin_up: 0 not yet, else SHOWN_… */
};
struct health_state *health_state(const struct cv_self *, struct cv_str service);
/* May a request go there? If not, *wait is how long one better waits before asking again. */
bool health_admits(struct health_state *, const struct health_conf *, int64_t now, struct cv_ms *wait);
/* What came of it. The service is for the log. */
void health_answered(const struct cv_self *, struct health_state *, struct cv_str service);
void health_failed(const struct cv_self *, struct health_state *, struct cv_str service, bool tried,
                   const char *why);
/* What checks say; NULL: it is up. */
void health_checked(const struct cv_self *, struct health_state *, struct cv_str service, const char *why);
/* Nothing is held against it any more. */
void health_forget(const struct cv_self *, struct health_state *, struct cv_str service);

/* ---- check.c -------------------------------------------------------------------------------------------- */

/* Which instance checks, of those with the same section: the last that a reload brought. NULL: none. */
typedef _Atomic(const struct cv_instance *) health_checker_cell;
health_checker_cell *health_checker(const struct cv_self *);

struct health_checks;
struct health_checks *health_checks_start(const struct cv_self *);
void health_checks_stop(struct health_checks *); /* NULL is fine */
bool health_concerns(const struct health_conf *, const struct cv_rule *);
#endif
