/* concurrency.c: the filter: which requests share a limit, who waits and for how long, and what those hear that are too
 * many. */
#include "gate.h"

#include "culvert/mem.h"
#include "culvert/route.h"

#include <string.h>

struct concurrency_conf {
    struct cv_list hosts, paths, services;
    int per;
    int limit, queue;
    struct cv_ms queue_wait, retry_after;
    int status;
};
enum { PER_RULE, PER_SERVICE, PER_SECTION };
enum { STATUS_503, STATUS_429 };

#define T struct concurrency_conf
static const struct cv_option options[] = {
    CV_OPT(T, hosts, "", "Hosts that this section is about, *.example.com too. Empty: all.",
           .flags = CV_LIVE),
    CV_OPT(T, paths, "", "Path prefixes that this section is about: /v1 is /v1 and all below. Empty: all.",
           .flags = CV_LIVE),
    CV_OPT(T, services, "",
           "Services of rules that this section is about, as the log shows them (originService). "
           "Empty: all.",
           .flags = CV_LIVE),
    CV_OPT(T, per, "rule",
           "What has the limit for itself: each rule, each service (rules with the same target share it), or "
           "the section as a whole.",
           .words = "rule|service|section", .flags = CV_LIVE),
    CV_OPT(T, limit, "100", "Requests at a time, counted exactly over all workers; more have to wait.",
           .min = 1, .max = 1000000, .flags = CV_LIVE),
    CV_OPT(T, queue, "0",
           "How many may wait, in the order in which they came; still more are refused at once.", .min = 0,
           .max = 1000000, .flags = CV_LIVE),
    CV_OPT(T, queue_wait, "10s", "How long one waits at most before it is refused.", .flags = CV_LIVE),
    CV_OPT(T, status, "503",
           "What who is refused hears: 503 (overloaded) or 429 (too many requests), in the form of "
           "OpenAI's or Anthropic's API if the request is one of those.",
           .words = "503|429", .flags = CV_LIVE),
    CV_OPT(T, retry_after, "1s", "When it may try again, header Retry-After. 0: not said.", .flags = CV_LIVE),
    CV_OPT_END
};
#undef T

enum metric_row { RUNNING, WAITING, REFUSED, WAITED };
static const double seconds[] = { 0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 0 };
static const struct cv_metric metrics[] = {
    [RUNNING] = { "culvert_rule_running", "Requests that have a place, by what shares the limit.", CV_GAUGE,
                  "section|rule", NULL },
    [WAITING] = { "culvert_rule_queue", "Requests that wait for a place.", CV_GAUGE, "section|rule", NULL },
    [REFUSED] = { "culvert_rule_refused_total", "Requests that got no place: queue_full, queue_timeout.",
                  CV_COUNTER, "section|rule|reason", NULL },
    [WAITED] = { "culvert_rule_queue_seconds", "How long those waited that got a place.", CV_HISTOGRAM,
                 "section", seconds },
    CV_METRIC_END
};

/* ---- what a worker keeps --------------------------------------------------------------------------------- */

enum { BUCKETS = 64 };

struct share { /* one limit, on this worker */
    struct lane lane;
    struct share *next;
    struct cv_series *running, *waiting;
    struct cv_str key; /* NUL-terminated; owned */
};
struct worker { /* cv_self.local */
    const struct cv_self *self;
    struct share *shares[BUCKETS];
};
struct slot {
    struct waiter waiter;
    struct cv_timer timer;
    struct share *share; /* waits there or has a place; NULL: neither */
    struct cv_req *req;
    struct worker *w;
    int64_t since;
};

static const struct concurrency_conf *conf_of(const struct worker *w)
{
    return w->self->conf;
}

static unsigned limit_of(const struct worker *w)
{
    return (unsigned)conf_of(w)->limit;
}

static struct cv_series *series(const struct worker *w, enum metric_row row, struct cv_str key,
                                const char *why)
{
    return cv_series(w->self, row, (const struct cv_str[]){ cv_section(w->self), key, cv_str_of(why) });
}

/* ---- limits ---------------------------------------------------------------------------------------------- */

/* What the limit is counted by, in the words of the core's metrics of rules. A configuration that brings the same rule
 * again goes on with its count. */
static struct cv_str key_of(const struct concurrency_conf *c, struct cv_req *req)
{
    const struct cv_rule *rule = req->rule;
    if (c->per == PER_SECTION || !rule)
        return CV_STR("all");
    if (c->per == PER_SERVICE)
        return rule->service;
    struct cv_str host = rule->hostname.n ? rule->hostname : CV_STR("*");
    return rule->path.n == 0
               ? host
               : cv_print(req, CV_STR_FMT " " CV_STR_FMT, CV_STR_ARG(host), CV_STR_ARG(rule->path));
}

static struct share **bucket_of(struct worker *w, struct cv_str key)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < key.n; i++)
        hash = (hash ^ (uint8_t)key.p[i]) * 16777619u;
    return &w->shares[hash % BUCKETS];
}

static struct share *share_at(struct worker *w, const struct gate *gate)
{
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct share *s = w->shares[b]; s; s = s->next)
            if (s->lane.gate == gate)
                return s;
    return NULL;
}

/* ---- turns ----------------------------------------------------------------------------------------------- */

struct call { /* on its way to another worker */
    const struct cv_self *self;
    struct gate *gate;
};

static void on_call(void *arg)
{
    struct call *call = arg;
    struct worker *w = call->self->local;
    struct share *s = w ? share_at(w, call->gate) : NULL; /* the section may be gone */
    if (s)
        lane_serve(&s->lane, limit_of(w));
    free(call);
}

static void call(const struct cv_self *self, struct gate *gate)
{
    struct call *c = cv_xmalloc(sizeof(*c));
    *c = (struct call){ self, gate };
    cv_post(self->worker, on_call, c);
}

static void admit(struct lane *lane, struct waiter *waiter)
{
    struct share *s = CV_OWNER(lane, struct share, lane);
    struct slot *slot = CV_OWNER(waiter, struct slot, waiter);
    cv_timer_clear(&slot->timer);
    cv_add(s->waiting, -1);
    cv_add(s->running, 1);
    cv_observe(series(slot->w, WAITED, s->key, ""), (double)(cv_now(lane->self) - slot->since) / 1000);
    cv_req_resume(slot->req);
}

static struct share *share_new(struct worker *w, struct cv_str key, struct gate *gate)
{
    struct share *s = cv_xcalloc(1, sizeof(*s)), **bucket = bucket_of(w, key);
    if (!lane_open(&s->lane, gate, w->self)) {
        free(s);
        return NULL;
    }
    s->lane.admit = admit;
    s->lane.call = call;
    s->key = (struct cv_str){ cv_xmemdup0(key.p, key.n), key.n };
    s->running = series(w, RUNNING, key, "");
    s->waiting = series(w, WAITING, key, "");
    s->next = *bucket;
    *bucket = s;
    return s;
}

/* Where there are too many to tell apart, the rest shares one. */
static struct share *share_of(struct worker *w, struct cv_str key)
{
    for (struct share *s = *bucket_of(w, key); s; s = s->next)
        if (cv_str_eq(s->key, key))
            return s;
    struct gate *gate = cv_cell(w->self, key, sizeof(*gate));
    struct share *s = share_at(w, gate);
    return s ? s : share_new(w, key, gate);
}

/* ---- requests -------------------------------------------------------------------------------------------- */

static bool is_service(const struct concurrency_conf *c, const struct cv_rule *rule)
{
    for (size_t i = 0; rule && i < c->services.n; i++)
        if (cv_str_eq(c->services.v[i], rule->service))
            return true;
    return c->services.n == 0;
}

static void refuse(struct slot *slot, struct share *s, const char *why)
{
    const struct concurrency_conf *c = conf_of(slot->w);
    cv_add(series(slot->w, REFUSED, s->key, why), 1);
    cv_req_refuse(slot->req, c->status == STATUS_429 ? 429 : 503, why, c->retry_after,
                  "Too many requests are being served at the moment. Try again later.");
}

static void on_timer(struct cv_timer *timer)
{
    struct slot *slot = CV_OWNER(timer, struct slot, timer);
    struct share *s = slot->share;
    slot->share = NULL;
    cv_add(s->waiting, -1);
    lane_leave(&s->lane, &slot->waiter, limit_of(slot->w));
    refuse(slot, s, "queue_timeout");
}

/* Private-network streams have a limit of their own (max_active_flows); pages that the core makes up cost nothing. */
static bool concerns(const struct concurrency_conf *c, const struct cv_req *req)
{
    return req->type != CV_TCP && (!req->rule || req->rule->kind != CV_SERVICE_STATUS) &&
           is_service(c, req->rule) && cv_in_scope(req, c->hosts, c->paths);
}

static enum cv_next request(const struct cv_self *self, struct cv_req *req)
{
    struct worker *w = self->local;
    const struct concurrency_conf *c = conf_of(w);
    struct share *s = concerns(c, req) ? share_of(w, key_of(c, req)) : NULL;
    if (!s)
        return CV_PASS;
    struct slot *slot = cv_slot(req, self);
    slot->w = w;
    slot->req = req;
    slot->share = s;
    if (lane_take(&s->lane, limit_of(w))) {
        cv_add(s->running, 1);
        return CV_PASS;
    }
    slot->since = cv_now(self);
    slot->timer.fire = on_timer;
    cv_add(s->waiting, 1); /* before admit() counts it out again, which may be at once */
    cv_timer_set(self, &slot->timer, c->queue_wait);
    if (lane_wait(&s->lane, &slot->waiter, limit_of(w), (unsigned)c->queue))
        return CV_WAIT;
    cv_timer_clear(&slot->timer);
    cv_add(s->waiting, -1);
    slot->share = NULL;
    refuse(slot, s, "queue_full");
    return CV_STOP;
}

static void closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)why;
    struct slot *slot = cv_slot(req, self);
    struct share *s = slot->share;
    if (!s)
        return;
    slot->share = NULL;
    cv_timer_clear(&slot->timer);
    bool waits = slot->waiter.ticket != 0;
    cv_add(waits ? s->waiting : s->running, -1);
    if (waits)
        lane_leave(&s->lane, &slot->waiter, limit_of(slot->w));
    else
        lane_give(&s->lane, limit_of(slot->w));
}

/* ---- threads --------------------------------------------------------------------------------------------- */

static enum cv_error check(const void *conf, struct cv_err *err)
{
    const struct concurrency_conf *c = conf;
    if (c->queue > 0 && c->queue_wait.ms <= 0)
        return cv_conf_fail(err, c, "queue_wait", "who may wait needs time for it");
    return CV_OK;
}

static enum cv_error start(struct cv_self *self, struct cv_err *err)
{
    (void)err;
    struct worker *w = cv_xcalloc(1, sizeof(*w));
    w->self = self;
    self->local = w;
    return CV_OK;
}

static void reload(struct cv_self *self, const void *old_conf)
{
    (void)old_conf;
    struct worker *w = self->local;
    for (size_t b = 0; w && b < BUCKETS; b++) /* the main thread has none */
        for (struct share *s = w->shares[b]; s; s = s->next)
            lane_serve(&s->lane, limit_of(w));
}

static void stop(struct cv_self *self)
{
    struct worker *w = self->local;
    self->local = NULL;
    for (size_t b = 0; b < BUCKETS; b++) {
        for (struct share *s = w->shares[b], *next; s; s = next) {
            next = s->next;
            lane_close(&s->lane);
            free((char *)s->key.p);
            free(s);
        }
    }
    free(w);
}

CV_MODULE(concurrency,
          .summary = "So many requests at a time for each rule, a short queue, and a clear refusal.",
          .options = options, .conf_size = sizeof(struct concurrency_conf), .metrics = metrics,
          .slot_size = sizeof(struct slot), .check = check, .start = start, .reload = reload, .stop = stop,
          .filter = &(const struct cv_filter_ops){ .request = request, .closed = closed });
