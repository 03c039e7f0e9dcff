/* history.c: samples what is counted of rules, and keeps the differences for a while. */
#include "history.h"

#include "culvert/mem.h"

#include <math.h>
#include <string.h>

enum { LATELY = 60000 / HISTORY_PERIOD_MS };

struct sample {
    double requests, failed;
    double latency_ms;
};
struct track { /* of rules with this hostname and path */
    struct track *next;
    char *hostname, *path;
    struct cv_rule_counts before;
    struct sample v[HISTORY_SAMPLES]; /* a ring */
    size_t n;                         /* ever   */
    bool seen;                        /* in this round */
};

struct history {
    const struct cv_self *self;
    struct cv_timer timer;
    int64_t began, sampled;
    double period_s; /* of the last sample */
    struct track *tracks, all;
    size_t n;
    struct cv_rule_counts sum; /* of this round */
};

/* ---- sampling ------------------------------------------------------------------------------------------- */

static struct sample difference(const struct cv_rule_counts *is, const struct cv_rule_counts *was)
{
    double n = (double)(is->first_byte.n - was->first_byte.n);
    return (struct sample){ (double)(is->requests - was->requests), (double)(is->failed - was->failed),
                            n > 0 ? 1000 * (is->first_byte.seconds - was->first_byte.seconds) / n : NAN };
}

static void take(struct track *t, const struct cv_rule_counts *counts)
{
    t->v[t->n++ % HISTORY_SAMPLES] = difference(counts, &t->before);
    t->before = *counts;
}

static bool is_of(const struct track *t, const struct cv_rule *rule)
{
    return cv_str_eq(cv_str_of(t->hostname), rule->hostname) && cv_str_eq(cv_str_of(t->path), rule->path);
}

static struct track *track_of(const struct history *h, const struct cv_rule *rule)
{
    struct track *t = h->tracks;
    while (t && !is_of(t, rule))
        t = t->next;
    return t;
}

static void begin_track(struct history *h, const struct cv_rule *rule, const struct cv_rule_counts *counts)
{
    if (h->n == HISTORY_RULES_MAX)
        return;
    struct track *t = cv_xcalloc(1, sizeof(*t));
    t->hostname = cv_xmemdup0(rule->hostname.p, rule->hostname.n);
    t->path = cv_xmemdup0(rule->path.p, rule->path.n);
    t->before = *counts;
    t->seen = true;
    t->next = h->tracks;
    h->tracks = t;
    h->n++;
}

static void sample_rule(void *arg, const struct cv_rule *rule)
{
    struct history *h = arg;
    struct cv_rule_counts counts;
    struct track *t = track_of(h, rule);
    if (t && t->seen) /* a second rule of that hostname and path: counted together */
        return;
    cv_rule_counts(rule, &counts);
    h->sum.requests += counts.requests;
    h->sum.failed += counts.failed;
    h->sum.first_byte.n += counts.first_byte.n;
    h->sum.first_byte.seconds += counts.first_byte.seconds;
    if (!t) {
        begin_track(h, rule, &counts);
        return;
    }
    take(t, &counts);
    t->seen = true;
}

static void drop(struct history *h, struct track **at)
{
    struct track *t = *at;
    *at = t->next;
    free(t->hostname);
    free(t->path);
    free(t);
    h->n--;
}

/* Rules that are gone. */
static void forget_unseen(struct history *h)
{
    for (struct track **at = &h->tracks; *at;)
        if ((*at)->seen)
            at = &(*at)->next;
        else
            drop(h, at);
}

static void on_time(struct cv_timer *timer)
{
    struct history *h = CV_OWNER(timer, struct history, timer);
    int64_t now = cv_now(h->self);
    h->period_s = (double)(now - h->sampled) / 1000;
    h->sampled = now;
    for (struct track *t = h->tracks; t; t = t->next)
        t->seen = false;
    struct cv_rule_counts before = h->sum;
    memset(&h->sum, 0, sizeof(h->sum));
    cv_rules_each(sample_rule, h);
    forget_unseen(h);
    /* rules that went took their counts with them: such a round tells nothing of the whole */
    if (h->sum.requests < before.requests || h->sum.first_byte.n < before.first_byte.n)
        h->all.before = h->sum;
    take(&h->all, &h->sum);
    cv_timer_set(h->self, timer, (struct cv_ms){ HISTORY_PERIOD_MS });
}

struct history *history_new(const struct cv_self *self)
{
    struct history *h = cv_xcalloc(1, sizeof(*h));
    h->self = self;
    h->began = h->sampled = cv_now(self);
    h->timer.fire = on_time;
    cv_timer_set(self, &h->timer, (struct cv_ms){ HISTORY_PERIOD_MS });
    return h;
}

void history_free(struct history *h)
{
    cv_timer_clear(&h->timer);
    while (h->tracks)
        drop(h, &h->tracks);
    free(h);
}

int64_t history_age_s(const struct history *h)
{
    return (cv_now(h->self) - h->began) / 1000;
}

/* ---- reading -------------------------------------------------------------------------------------------- */

/* The newest is the last. */
static void copy_samples(const struct history *history, const struct track *t, struct figures *h)
{
    size_t n = t->n < HISTORY_SAMPLES ? t->n : HISTORY_SAMPLES;
    for (size_t i = 0; i < n; i++) {
        const struct sample *s = &t->v[(t->n - n + i) % HISTORY_SAMPLES];
        h->latency_ms[i] = s->latency_ms;
        if (!isnan(s->latency_ms))
            h->latency_now_ms = s->latency_ms;
        if (i + LATELY >= n)
            h->errors_lately += s->failed;
        if (i + 1 == n && history->period_s > 0)
            h->rate = s->requests / history->period_s;
    }
    h->n = n;
}

static void begin_reading(struct figures *h, const struct cv_rule_counts *counts)
{
    *h = (struct figures){ .requests = (double)counts->requests,
                           .errors = (double)counts->failed,
                           .latency_now_ms = NAN };
}

void history_of_rule(const struct history *h, const struct cv_rule *rule, struct figures *f)
{
    struct cv_rule_counts counts;
    cv_rule_counts(rule, &counts);
    begin_reading(f, &counts);
    const struct track *t = track_of(h, rule);
    if (t)
        copy_samples(h, t, f);
}

static void add_open(void *arg, const struct cv_link *link)
{
    *(double *)arg += link->open;
}

void history_of_all(const struct history *h, struct figures *f)
{
    begin_reading(f, &h->sum);
    copy_samples(h, &h->all, f);
    cv_links_each(add_open, &f->open);
}
