/* check.c: checks: one worker asks every service that the rules in force name, over and over. */
#include "health.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 1000 }; /* how soon a service that a new configuration names is known */

struct target {
    struct target *next;
    struct health_checks *all;
    struct health_state *state;
    struct cv_ask *ask; /* under way */
    char *service;
    int64_t due;
    int passed, failed; /* in a row */
    bool named;         /* by the rules in force */
};
struct health_checks {
    const struct cv_self *self;
    struct target *targets;
    struct cv_timer timer;
};

static const struct health_conf *conf_of(const struct health_checks *h)
{
    return h->self->conf;
}

health_checker_cell *health_checker(const struct cv_self *self)
{
    return cv_cell(self, CV_STR("\nchecker"), sizeof(health_checker_cell));
}

/* It is, or becomes it where there is none. */
static bool is_checker(const struct health_checks *h)
{
    const struct cv_instance *me = h->self->instance, *checker = NULL;
    return atomic_compare_exchange_strong(health_checker(h->self), &checker, me) || checker == me;
}

bool health_concerns(const struct health_conf *c, const struct cv_rule *rule)
{
    bool checkable =
        rule->kind == CV_SERVICE_HTTP || rule->kind == CV_SERVICE_UNIX || rule->kind == CV_SERVICE_TCP;
    for (size_t i = 0; checkable && i < c->services.n; i++)
        if (cv_str_eq(c->services.v[i], rule->service))
            return true;
    return checkable && c->services.n == 0;
}

/* ---- one check ------------------------------------------------------------------------------------------ */

/* Without a path any answer will do: who answers is there. */
static bool is_good(const struct health_conf *c, int status)
{
    return status > 0 && (status < 400 || !*c->path);
}

static void count(const struct target *t, const char *result)
{
    cv_add(cv_series(t->all->self, HEALTH_CHECKS,
                     (const struct cv_str[]){ cv_str_of(t->service), cv_str_of(result) }),
           1);
}

static void on_asked(void *arg, int status, enum cv_error error, const char *why)
{
    struct target *t = arg;
    const struct health_conf *c = conf_of(t->all);
    char text[300];
    t->ask = NULL;
    if (error == CV_E_CANCEL)
        return; /* the worker stops */
    bool good = is_good(c, status);
    t->passed = good ? t->passed + 1 : 0;
    t->failed = good ? 0 : t->failed + 1;
    count(t, good ? "passed" : "failed");
    if (status)
        snprintf(text, sizeof(text), "the check was answered %d", status);
    else
        snprintf(text, sizeof(text), "the check failed: %s", *why ? why : cv_error_text(error));
    if (t->passed >= c->rise)
        health_checked(t->all->self, t->state, cv_str_of(t->service), NULL);
    else if (t->failed >= c->fall)
        health_checked(t->all->self, t->state, cv_str_of(t->service), text);
}

/* ---- all of them ---------------------------------------------------------------------------------------- */

static struct target *target_of(struct health_checks *h, struct cv_str service)
{
    for (struct target *t = h->targets; t; t = t->next)
        if (cv_str_eq(cv_str_of(t->service), service))
            return t;
    struct target *t = cv_xcalloc(1, sizeof(*t));
    t->all = h;
    t->service = cv_xmemdup0(service.p, service.n);
    t->state = health_state(h->self, service);
    t->next = h->targets;
    h->targets = t;
    return t;
}

static void see(void *arg, const struct cv_rule *rule)
{
    struct health_checks *h = arg;
    const struct health_conf *c = conf_of(h);
    if (!health_concerns(c, rule))
        return;
    struct target *t = target_of(h, rule->service);
    t->named = true;
    if (t->ask || cv_now(h->self) < t->due)
        return;
    t->due = cv_now(h->self) + c->interval.ms;
    t->ask = cv_ask(h->self, rule, cv_str_of(*c->path ? c->path : "/"), c->timeout, on_asked, t);
}

static void target_free(struct target *t)
{
    cv_ask_cancel(t->ask);
    if (is_checker(t->all)) /* else what is known is the other's */
        health_forget(t->all->self, t->state, cv_str_of(t->service));
    free(t->service);
    free(t);
}

static void drop_unnamed(struct health_checks *h)
{
    for (struct target **at = &h->targets, *t; (t = *at);) {
        if (t->named) {
            t->named = false;
            at = &t->next;
        } else {
            *at = t->next;
            target_free(t);
        }
    }
}

static void on_timer(struct cv_timer *timer)
{
    struct health_checks *h = CV_OWNER(timer, struct health_checks, timer);
    int64_t every = conf_of(h)->interval.ms;
    if (every > 0 && is_checker(h))
        cv_rules_here(h->self, see, h);
    drop_unnamed(h);
    cv_timer_set(h->self, timer, (struct cv_ms){ every > 0 && every < LOOK_MS ? every : LOOK_MS });
}

struct health_checks *health_checks_start(const struct cv_self *self)
{
    struct health_checks *h = cv_xcalloc(1, sizeof(*h));
    h->self = self;
    h->timer.fire = on_timer;
    cv_timer_set(self, &h->timer, (struct cv_ms){ 0 });
    return h;
}

void health_checks_stop(struct health_checks *h)
{
    if (!h)
        return;
    cv_timer_clear(&h->timer);
    drop_unnamed(h);
    const struct cv_instance *me = h->self->instance;
    atomic_compare_exchange_strong(health_checker(h->self), &me, NULL);
    free(h);
}
