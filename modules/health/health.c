/* health.c: the filter: no request goes to an origin that is known to be down. */
#include "health.h"

#define T struct health_conf
static const struct cv_option options[] = {
    CV_OPT(
        T, services, "",
        "Services of rules that this section is about, as the log shows them (originService): http, https, "
        "Unix sockets and TCP. Empty: all of these.",
        .flags = CV_LIVE),
    CV_OPT(T, failures, "3",
           "Requests in a row that the origin fails before it answers (refused, timed out, cut off) and that "
           "make it count as down. 0: requests tell nothing.",
           .min = 0, .max = 1000000, .flags = CV_LIVE),
    CV_OPT(T, retry, "2s",
           "After how long one request may try whether it is up again; twice as long after each that fails.",
           .flags = CV_LIVE),
    CV_OPT(T, retry_max, "30s", "The longest of these times.", .flags = CV_LIVE),
    CV_OPT(T, interval, "0s", "How often each origin is asked by ourselves. 0: never.", .flags = CV_LIVE),
    CV_OPT(
        T, path, "",
        "What is asked for: GET of this path, and a status below 400 is good. Empty: of /, and any answer is "
        "good. To a TCP service a connection is made, no more.",
        .flags = CV_LIVE),
    CV_OPT(T, timeout, "2s", "How long the answer to a check may take.", .flags = CV_LIVE),
    CV_OPT(T, fall, "3", "Failed checks in a row that make an origin count as down.", .min = 1, .max = 1000,
           .flags = CV_LIVE),
    CV_OPT(T, rise, "2", "Good checks in a row that make it count as up again.", .min = 1, .max = 1000,
           .flags = CV_LIVE),
    CV_OPT_END
};
#undef T

static const struct cv_metric metrics[] = {
    [HEALTH_UP] = { "culvert_origin_up", "Whether the origin of a service counts as up.", CV_GAUGE, "service",
                    NULL },
    [HEALTH_REFUSED] = { "culvert_origin_down_refused_total",
                         "Requests that were refused because their origin was down.", CV_COUNTER, "service",
                         NULL },
    [HEALTH_CHECKS] = { "culvert_origin_checks_total", "Checks of origins: passed, failed.", CV_COUNTER,
                        "service|result", NULL },
    CV_METRIC_END
};

struct worker { /* cv_self.local */
    struct health_checks *checks;
};
struct slot {
    struct health_state *state; /* NULL: not a request of ours */
    bool tried;                 /* let through to see whether it is up */
    bool answered;
};

static enum cv_next request(const struct cv_self *self, struct cv_req *req)
{
    const struct health_conf *c = self->conf;
    struct slot *slot = cv_slot(req, self);
    struct cv_ms wait;
    if (req->type == CV_TCP || !req->rule || !health_concerns(c, req->rule))
        return CV_PASS;
    struct health_state *s = health_state(self, req->rule->service);
    bool open = atomic_load(&s->closed_until) == 0;
    if (health_admits(s, c, cv_now(self), &wait)) {
        slot->state = s;
        slot->tried = !open;
        return CV_PASS;
    }
    cv_add(cv_series(self, HEALTH_REFUSED, &req->rule->service), 1);
    cv_req_refuse(req, 503, "origin_down", wait, "The service behind this address is down. Try again later.");
    return CV_STOP;
}

static enum cv_next response(const struct cv_self *self, struct cv_req *req)
{
    struct slot *slot = cv_slot(req, self);
    if (slot->state)
        health_answered(self, slot->state, req->rule->service);
    slot->answered = true;
    return CV_PASS;
}

/* A visitor who left, a limit and a refusal of ours say nothing of the origin. */
static bool is_telling(enum cv_error why)
{
    return why == CV_E_REFUSED || why == CV_E_RESOLVE || why == CV_E_TLS || why == CV_E_TIMEOUT ||
           why == CV_E_IO;
}

static void closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    struct slot *slot = cv_slot(req, self);
    if (slot->state && !slot->answered && req->origin_failed && is_telling(why))
        health_failed(self, slot->state, req->rule->service, slot->tried, cv_error_text(why));
}

/* ---- threads ------------------------------------------------------------------------------------------ */

static enum cv_error check(const void *conf, struct cv_err *err)
{
    const struct health_conf *c = conf;
    if (c->retry.ms < 1)
        return cv_conf_fail(err, c, "retry", "must be longer than nothing");
    if (c->retry_max.ms < c->retry.ms)
        return cv_conf_fail(err, c, "retry_max", "is shorter than retry");
    if (c->interval.ms > 0 && c->interval.ms < 100)
        return cv_conf_fail(err, c, "interval", "must be 100ms or longer, or 0");
    if (c->timeout.ms < 1)
        return cv_conf_fail(err, c, "timeout", "must be longer than nothing");
    if (*c->path && *c->path != '/')
        return cv_conf_fail(err, c, "path", "begins with /");
    return CV_OK;
}

/* One worker checks: the first that starts. */
static enum cv_error start(struct cv_self *self, struct cv_err *err)
{
    (void)err;
    struct worker *w = cv_xcalloc(1, sizeof(*w));
    self->local = w;
    if (atomic_exchange(health_checker(self), self->instance) != self->instance)
        w->checks = health_checks_start(self);
    return CV_OK;
}

static void stop(struct cv_self *self)
{
    struct worker *w = self->local;
    health_checks_stop(w->checks);
    free(w);
    self->local = NULL;
}

CV_MODULE(health, .summary = "Origins that are down get no requests until they are up again.",
          .options = options, .conf_size = sizeof(struct health_conf), .metrics = metrics,
          .slot_size = sizeof(struct slot), .check = check, .start = start, .stop = stop,
          .filter = &(const struct cv_filter_ops){
              .request = request, .response = response, .closed = closed });
