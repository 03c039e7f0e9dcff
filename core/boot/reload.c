/* reload.c: a new configuration in a running process: checked as a whole, then swapped section by section. */
#include "boot/runtime.h"
#include "request/local.h"
#include "tunnel/tunnel.h"

#include <stdlib.h>
#include <string.h>

static const struct cv_ms sweep_every = { 10000 };

/* ---- is it good, and is it no more than live options? -------------------------------------------------- */

struct comparing {
    struct problems *refused;
    bool log; /* second pass: say what changes */
};

static void on_difference(void *arg, const struct conf *conf, const struct cv_option *o, const char *was,
                          const char *is)
{
    struct comparing *c = arg;
    const char *quote = o->type == CV_T_STR ? "\"" : "";
    if (!(o->flags & CV_LIVE))
        problem(c->refused, "%s: [%s] %s needs a restart", conf->where[o - conf->options], conf->section,
                o->name);
    else if (c->log)
        log_line(CV_INFO, NULL, "[%s] %s: %s%s%s -> %s%s%s", conf->section, o->name, quote, was, quote, quote,
                 is, quote);
}

static bool same_kind(const struct module_conf *a, const struct module_conf *b)
{
    return strcmp(module_kind(a->module), module_kind(b->module)) == 0;
}

/* Puts the modules of `is` in the order of `was`. False if they are not the same ones, or those of one kind stand in
 * another order: that alone has a meaning, so a section may be added for a module that was on without. */
static bool align(const struct generation *was, struct generation *is)
{
    for (size_t i = 0; i < was->n; i++) {
        size_t j = i;
        while (j < is->n && strcmp(is->modules[j].conf->section, was->modules[i].conf->section) != 0)
            if (same_kind(&is->modules[j++], &was->modules[i]))
                return false;
        if (j == is->n)
            return false;
        struct module_conf found = is->modules[j];
        memmove(&is->modules[i + 1], &is->modules[i], (j - i) * sizeof(found));
        is->modules[i] = found;
    }
    return was->n == is->n;
}

/* Calls fn for each pair of confs of one section. The modules must be the same. */
static size_t compare(const struct generation *was, const struct generation *is, struct comparing *c)
{
    size_t differ = 0;
    for (size_t i = 0; i < CORE_SECTIONS; i++)
        differ += conf_diff(was->core[i], is->core[i], on_difference, c);
    for (size_t i = 0; i < was->n; i++)
        differ += conf_diff(was->modules[i].conf, is->modules[i].conf, on_difference, c);
    return differ;
}

static void check_change(const struct generation *was, struct generation *is, struct problems *refused)
{
    struct comparing c = { .refused = refused };
    if (align(was, is))
        compare(was, is, &c);
    else
        problem(refused, "modules were added, removed or put in another order: that needs a restart");
}

/* ---- the swap ------------------------------------------------------------------------------------------ */

static void quiet_or_not(struct cv_worker *w, void *arg)
{
    for (struct retired *old = arg; old; old = old->next)
        old->quiet[w->index] |= requests_open(w) == 0;
}

static bool out_of_use(const struct runtime *r, const struct retired *old)
{
    for (size_t i = 0; i < r->n_workers; i++)
        if (!old->quiet[r->workers[i]->index])
            return false;
    return true;
}

static void on_sweep(struct cv_timer *timer)
{
    reload_sweep(CV_OWNER(timer, struct runtime, sweep));
}

void reload_sweep(struct runtime *r)
{
    for (size_t i = 0; i < r->n_workers && r->retired; i++)
        run_errand(r->workers[i], quiet_or_not, r->retired);
    for (struct retired **at = &r->retired; *at;) {
        struct retired *old = *at;
        if (!out_of_use(r, old)) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        conf_free(old->conf);
        free(old);
    }
    r->sweep.fire = on_sweep;
    if (r->retired)
        cv_timer_set(worker_core_self(r->main), &r->sweep, sweep_every);
}

void reload_free(struct runtime *r)
{
    while (r->retired) {
        struct retired *old = r->retired;
        r->retired = old->next;
        conf_free(old->conf);
        free(old);
    }
}

/* One instance whose options have changed. */
struct swap {
    const struct cv_instance *instance;
    const void *was, *is;
};

static void swap_on_thread(struct cv_worker *w, void *arg)
{
    const struct swap *s = arg;
    struct cv_self *self = &w->selfs[s->instance->id];
    self->conf = s->is;
    if (s->instance->module->reload)
        s->instance->module->reload(self, s->was);
}

static void nothing_to_say(void *arg, const struct conf *conf, const struct cv_option *o, const char *was,
                           const char *is)
{
    (void)arg, (void)conf, (void)o, (void)was, (void)is;
}

static void retire(struct runtime *r, struct conf *conf)
{
    struct retired *old = cv_xcalloc(1, sizeof(*old));
    old->conf = conf;
    old->next = r->retired;
    r->retired = old;
}

/* Sections without a difference keep their memory: pointers into it stay good. */
static bool exchange(struct conf **was, struct conf **is)
{
    if (conf_diff(*was, *is, nothing_to_say, NULL) == 0)
        return false;
    struct conf *old = *was;
    *was = *is;
    *is = old;
    return true;
}

static void swap_modules(struct runtime *r, struct generation *g)
{
    for (size_t i = 0; i < r->g->n; i++) {
        if (!exchange(&r->g->modules[i].conf, &g->modules[i].conf))
            continue;
        struct conf *old = g->modules[i].conf;
        struct swap s = { &r->instances[i + 1], old->data, r->g->modules[i].conf->data };
        swap_on_thread(r->main, &s);
        for (size_t w = 0; w < r->n_workers; w++)
            run_errand(r->workers[w], swap_on_thread, &s);
        retire(r, old);
        g->modules[i].conf = NULL;
    }
}

static void each_worker(struct runtime *r, errand_fn *fn, void *arg)
{
    for (size_t i = 0; i < r->n_workers; i++)
        run_errand(r->workers[i], fn, arg);
}

static void follow_sse(struct cv_worker *w, void *arg)
{
    requests_heartbeat(w, arg);
}

static void turn_once(struct cv_worker *w, void *arg)
{
    (void)w, (void)arg;
}

/* The workers have the rules that follow from it when this returns, and are in no call that saw what was before. */
static void follow_local(struct runtime *r)
{
    local_setup(generation_core(r->g, CORE_ORIGINS), generation_core(r->g, CORE_REWRITE));
    tunnel_local_changed();
    each_worker(r, turn_once, NULL);
    local_settle();
}

static void swap_core(struct runtime *r, struct generation *g)
{
    exchange(&r->g->core[CORE_LOG], &g->core[CORE_LOG]);
    bool origins = exchange(&r->g->core[CORE_ORIGINS], &g->core[CORE_ORIGINS]);
    bool rewrite = exchange(&r->g->core[CORE_REWRITE], &g->core[CORE_REWRITE]);
    if (origins || rewrite)
        follow_local(r);
    if (exchange(&r->g->core[CORE_SSE], &g->core[CORE_SSE]))
        each_worker(r, follow_sse, r->g->core[CORE_SSE]->data);
}

static void put_in_force(struct runtime *r, struct generation *g)
{
    struct problems none = { .n = 0 };
    size_t changes = compare(r->g, g, &(struct comparing){ .refused = &none, .log = true });
    swap_core(r, g);
    r->verbose = false;
    swap_modules(r, g);
    reload_sweep(r);
    log_line(CV_INFO, NULL, "Configuration reloaded, %zu option%s changed", changes, changes == 1 ? "" : "s");
}

/* Each problem is a line of the log, and of what is told to whoever asked for the reload. */
static void tell(const struct problems *problems, enum cv_level level, struct cv_buf *told)
{
    for (size_t i = 0; i < problems->n; i++) {
        log_line(level, NULL, "%s", problems->v[i]);
        if (!told)
            continue;
        cv_buf_add(told, problems->v[i], strlen(problems->v[i]));
        cv_buf_add(told, "\n", 1);
    }
}

bool reload(struct runtime *r, struct cv_buf *told)
{
    struct problems errors = { .n = 0 }, warnings = { .n = 0 };
    struct cv_err err;
    struct generation *g = generation_new(r->command, &errors, &warnings);
    if (g)
        check_change(r->g, g, &errors);
    if (g && errors.n == 0 && log_setup(generation_core(g, CORE_LOG), &err) != CV_OK)
        problem(&errors, "%s", err.text);
    bool good = g && errors.n == 0;
    tell(&warnings, CV_WARN, told);
    tell(&errors, CV_ERROR, told);
    if (good)
        put_in_force(r, g);
    else
        log_line(CV_ERROR, NULL, "Configuration not reloaded, the one before stays in force");
    problems_free(&errors);
    problems_free(&warnings);
    generation_free(g);
    return good;
}
