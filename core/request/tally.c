/* tally.c: what is counted of visitors' requests, and of each rule: how many, how long, what went wrong by whose doing.
 *
 * A rule is known by its hostname and path, so that its counts go on when a configuration is replaced. There are at most
 * RULES_MAX of them in the life of a process; later ones count as "other". */
#include "request/tally.h"

#include "culvert/operate.h"
#include "culvert/wire.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { RULES_MAX = 64, LABEL_MAX = 120, CLASSES = 6, BILLION = 1000000000 };

static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other" };
enum { METHODS = sizeof(methods) / sizeof(methods[0]) };
static const char *const classes[CLASSES] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };
static const char *const sides[] = {
    [SIDE_CULVERT] = "culvert", [SIDE_ORIGIN] = "origin", [SIDE_EDGE] = "edge", [SIDE_VISITOR] = "visitor"
};
enum { SIDES = sizeof(sides) / sizeof(sides[0]) };

typedef struct cv_series *_Atomic lazy; /* NULL until first counted */

struct cv_tally {
    struct cv_str label; /* owned */
    lazy requests[METHODS][CLASSES], errors[CV_E_MAX][SIDES];
    lazy duration, first_byte, first_event, event_gap;
};

/* ---- which there are; main thread --------------------------------------------------------------------- */

static struct {
    struct cv_tally *v[RULES_MAX + 1]; /* one more for the others */
    size_t n;
} rules;

static struct cv_tally *tally_new(struct cv_str label)
{
    struct cv_tally *t = cv_xcalloc(1, sizeof(*t));
    t->label = (struct cv_str){ cv_xmemdup0(label.p, label.n), label.n };
    return t;
}

static void tally_delete(struct cv_tally *t)
{
    free((char *)t->label.p);
    free(t);
}

void tally_free(void)
{
    while (rules.n > 0)
        tally_delete(rules.v[--rules.n]);
}

static struct cv_tally *of_label(struct cv_str label)
{
    for (size_t i = 0; i < rules.n; i++)
        if (cv_str_eq(rules.v[i]->label, label))
            return rules.v[i];
    if (rules.n > RULES_MAX)
        return rules.v[RULES_MAX];
    if (rules.n == RULES_MAX) {
        log_line(
            CV_WARN, NULL,
            "More than %d rules have been seen: further ones are \"other\" in the metrics until a restart",
            RULES_MAX);
        label = CV_STR("other");
    }
    return rules.v[rules.n++] = tally_new(label);
}

/* "a.com", "a.com ^/v1/", "*" */
static struct cv_tally *of_rule(const struct cv_rule *rule)
{
    char text[LABEL_MAX];
    struct cv_str host = rule->hostname.n ? rule->hostname : CV_STR("*");
    int n = snprintf(text, sizeof(text), CV_STR_FMT "%s" CV_STR_FMT, CV_STR_ARG(host),
                     rule->path.n ? " " : "", CV_STR_ARG(rule->path));
    return of_label((struct cv_str){ text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1 });
}

void tally_rules(struct route_table *table)
{
    for (size_t i = 0; i < table->n; i++)
        if (!table->rules[i].tally) /* published once more: others read it already */
            table->rules[i].tally = of_rule(&table->rules[i]);
    if (!table->network.tally)
        table->network.tally = of_label(CV_STR("private network"));
}

/* ---- series ------------------------------------------------------------------------------------------- */

/* Two threads may both make it: it is the same one. */
static struct cv_series *get(lazy *cell, enum core_metric id, struct cv_str a, struct cv_str b,
                             struct cv_str c)
{
    struct cv_series *s = atomic_load_explicit(cell, memory_order_acquire);
    if (!s) {
        s = METRIC(id, a, b, c);
        atomic_store_explicit(cell, s, memory_order_release);
    }
    return s;
}

static void observe(struct cv_tally *t, lazy *cell, enum core_metric id, int64_t ns)
{
    static const struct cv_str none;
    cv_observe(get(cell, id, t->label, none, none), (double)ns / BILLION);
}

static const struct tallies *tallies_of(const struct request *r)
{
    return &((const struct stock *)r->worker->stock)->tallies;
}

static struct cv_tally *tally_of(const struct request *r)
{
    return r->pub.rule && r->pub.rule->tally ? r->pub.rule->tally : tallies_of(r)->unruled;
}

static size_t method_of(const struct cv_req *req)
{
    size_t i = 0;
    while (i < METHODS - 1 && !cv_str_eq(req->method, cv_str_of(methods[i])))
        i++;
    return i;
}

static size_t class_of(const struct cv_req *req)
{
    size_t class = req->status > 0 ? (size_t)req->status / 100 : 0;
    return class < CLASSES ? class : 0;
}

/* ---- what a worker keeps -------------------------------------------------------------------------------- */

void tally_setup(struct tallies *t)
{
    static const char *const types[] = { "http", "websocket", "tcp", "control", "rpc", "config" };
    t->unruled = tally_new(CV_STR("none"));
    t->total = metric(M_TOTAL_REQUESTS, NULL);
    t->concurrent = metric(M_CONCURRENT_REQUESTS, NULL);
    t->errors = metric(M_REQUEST_ERRORS, NULL);
    t->overhead = metric(M_CULVERT_OVERHEAD, NULL);
    t->bytes_up = METRIC(M_CULVERT_BYTES, CV_STR("up"));
    t->bytes_down = METRIC(M_CULVERT_BYTES, CV_STR("down"));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        t->open[i] = METRIC(M_CULVERT_OPEN_REQUESTS, cv_str_of(types[i]));
}

void tally_teardown(struct tallies *t)
{
    tally_delete(t->unruled);
}

void tally_open(struct request *r)
{
    r->open = true;
    cv_add(tallies_of(r)->open[r->pub.type], 1);
}

void tally_closed(struct request *r)
{
    if (r->open)
        cv_add(tallies_of(r)->open[r->pub.type], -1);
}

/* ---- the way of a request ------------------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * BILLION + t.tv_nsec;
}

void tally_begin(struct request *r)
{
    r->times.began = now_ns();
    r->counted = true;
    ((struct stock *)r->worker->stock)->n_open++;
    cv_add(tallies_of(r)->total, 1);
    cv_add(tallies_of(r)->concurrent, 1);
    tally_bytes(&r->up, r->up.total);
}

void tally_asked(struct request *r)
{
    if (r->counted)
        r->times.asked = now_ns();
}

void tally_answered(struct request *r)
{
    if (r->counted && !r->times.answered)
        r->times.answered = now_ns();
}

void tally_head(struct request *r)
{
    if (!r->counted || r->times.head)
        return;
    const struct times *t = &r->times;
    struct cv_tally *rule = tally_of(r);
    r->times.head = now_ns();
    int64_t total = t->head - t->began;
    int64_t away = t->asked ? (t->answered ? t->answered : t->head) - t->asked : 0;
    if (r->pub.type == CV_HTTP)
        observe(rule, &rule->first_byte, M_CULVERT_FIRST_BYTE, total);
    cv_observe(tallies_of(r)->overhead, (double)(total - away) / BILLION);
}

static enum side blame(const struct request *r, enum cv_error e)
{
    bool with_origin = r->origin && (r->step == STEP_ORIGIN || r->step == STEP_BODY);
    if (r->blamed)
        return r->blamed;
    return e == CV_E_CANCEL ? SIDE_VISITOR : with_origin ? SIDE_ORIGIN : SIDE_CULVERT;
}

void tally_failed(struct request *r, enum cv_error e)
{
    if (!r->counted)
        return;
    struct cv_tally *rule = tally_of(r);
    enum side side = r->blamed = blame(r, e);
    cv_add(tallies_of(r)->errors, 1);
    cv_add(get(&rule->errors[e][side], M_CULVERT_ERRORS, rule->label, cv_str_of(cv_error_name(e)),
               cv_str_of(sides[side])),
           1);
}

void cv_req_blame_edge(struct cv_req *req)
{
    request_of(req)->blamed = SIDE_VISITOR;
}

void cv_req_sum(const struct cv_req *req, struct cv_req_sum *sum)
{
    const struct request *r = request_of((struct cv_req *)req);
    const struct times *t = &r->times;
    bool failed = req->error || r->failed;
    *sum = (struct cv_req_sum){ .up = r->up.total,
                                .down = r->down.total,
                                .total_us = (now_ns() - t->began) / 1000,
                                .first_us = t->head ? (t->head - t->began) / 1000 : -1,
                                .ended_by = failed && r->blamed ? sides[r->blamed] : "" };
}

static void count_answer(const struct request *r)
{
    const struct cv_req *req = &r->pub;
    char code[8];
    if (req->error || req->type != CV_HTTP || !req->status)
        return;
    snprintf(code, sizeof(code), "%d", req->status);
    cv_add(METRIC(M_RESPONSE_BY_CODE, cv_str_of(code)), 1);
}

void tally_end(struct request *r)
{
    struct cv_tally *rule = tally_of(r);
    size_t method = method_of(&r->pub), class = class_of(&r->pub);
    ((struct stock *)r->worker->stock)->n_open--;
    cv_add(tallies_of(r)->concurrent, -1);
    cv_add(get(&rule->requests[method][class], M_CULVERT_REQUESTS, rule->label, cv_str_of(methods[method]),
               cv_str_of(classes[class])),
           1);
    if (r->pub.type == CV_HTTP)
        observe(rule, &rule->duration, M_CULVERT_DURATION, now_ns() - r->times.began);
    count_answer(r);
}

void tally_bytes(const struct cv_pipe *p, size_t n)
{
    const struct request *r = p->req;
    const struct tallies *t = tallies_of(r);
    if (r->counted)
        cv_add(p == &r->up ? t->bytes_up : t->bytes_down, (int64_t)n);
}

int64_t tally_events(struct request *r, size_t n, int64_t before)
{
    struct cv_tally *rule = tally_of(r);
    int64_t now = now_ns(), since = before;
    if (!before)
        observe(rule, &rule->first_event, M_CULVERT_FIRST_EVENT, now - r->times.began);
    for (size_t i = before ? 0 : 1; i < n; i++, since = now)
        observe(rule, &rule->event_gap, M_CULVERT_EVENT_GAP, since ? now - since : 0);
    return now;
}

/* ---- what has been counted of a rule --------------------------------------------------------------------- */

static double read_counter(lazy *cell)
{
    double sums[METRIC_CELLS_MAX] = { 0 };
    struct cv_series *s = atomic_load_explicit(cell, memory_order_acquire);
    if (s)
        metric_read(s, sums);
    return sums[0];
}

static void read_histogram(lazy *cell, enum core_metric id, struct cv_times *times)
{
    double sums[METRIC_CELLS_MAX] = { 0 };
    struct cv_series *s = atomic_load_explicit(cell, memory_order_acquire);
    size_t n = s ? metric_read(s, sums) : 0;
    times->bounds = core_metrics[id].bounds;
    for (size_t i = 0; i + 1 < n; i++) {
        times->buckets[i] = (uint64_t)sums[i];
        times->n += (uint64_t)sums[i];
    }
    times->seconds = n ? sums[n - 1] : 0;
}

void cv_rule_counts(const struct cv_rule *rule, struct cv_rule_counts *c)
{
    struct cv_tally *t = rule->tally;
    *c = (struct cv_rule_counts){ 0 };
    if (!t)
        return;
    for (size_t class = 0; class < CLASSES; class ++)
        for (size_t m = 0; m < METHODS; m++)
            c->by_class[class] += (uint64_t)read_counter(&t->requests[m][class]);
    for (size_t class = 0; class < CLASSES; class ++)
        c->requests += c->by_class[class];
    for (size_t e = 0; e < CV_E_MAX; e++)
        for (size_t side = 0; side < SIDES; side++)
            if (side != SIDE_VISITOR)
                c->failed += (uint64_t)read_counter(&t->errors[e][side]);
    read_histogram(&t->duration, M_CULVERT_DURATION, &c->duration);
    read_histogram(&t->first_byte, M_CULVERT_FIRST_BYTE, &c->first_byte);
}
