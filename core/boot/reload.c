/* reload.c: a new configuration in a running process: checked as a whole, made ready beside the old one, then put in force
 * between two turns of each thread. Requests finish with what they began with. */
#include "boot/runtime.h"

#include "request/local.h"
#include "tunnel/conn.h"
#include "tunnel/failover.h"
#include "tunnel/tunnel.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct cv_ms sweep_every = { 1000 };

/* What becomes of a section of the new generation. */
enum fate {
    STAYS,   /* nothing has changed                       */
    CHANGES, /* live options have                         */
    BEGINS   /* new, or an old one begins anew with other options: `is` has been brought up */
};
struct change {
    struct runtime *r;
    struct generation *g;
    enum fate fates[MODULES_MAX];
    struct cv_instance *was[MODULES_MAX], *is[MODULES_MAX]; /* was: NULL for a new section */
    size_t changes;
};

/* ---- what differs -------------------------------------------------------------------------------------- */

struct comparing {
    struct problems *refused; /* NULL: an instance begins anew for options that are not live */
    bool anew, log;
};

static void on_difference(void *arg, const struct conf *conf, const struct cv_option *o, const char *was,
                          const char *is)
{
    struct comparing *c = arg;
    const char *quote = o->type == CV_T_STR ? "\"" : "";
    c->anew |= !(o->flags & CV_LIVE);
    if (!(o->flags & CV_LIVE) && c->refused)
        problem(c->refused, "%s: [%s] %s needs a restart", conf->where[o - conf->options], conf->section,
                o->name);
    if (c->log)
        log_line(CV_INFO, NULL, "[%s] %s: %s%s%s -> %s%s%s", conf->section, o->name, quote, was, quote, quote,
                 is, quote);
}

static size_t difference(const struct conf *was, const struct conf *is, struct comparing *c)
{
    return conf_diff(was, is, on_difference, c);
}

static bool speaks(const struct generation *g, const char *protocol)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct cv_edge_ops *edge = g->modules[i].module->edge;
        if (edge && edge->protocol && strcmp(edge->protocol, protocol) == 0)
            return true;
    }
    return false;
}

static void check_second(const struct change *c, struct problems *refused)
{
    const struct failover_conf *was = generation_core(c->r->g, CORE_FAILOVER),
                               *is = generation_core(c->g, CORE_FAILOVER);
    struct cv_err err;
    if ((was->token.n == 0) != (is->token.n == 0))
        problem(refused, "[failover] token: a second tunnel that comes or goes needs a restart");
    else if (is->token.n && tunnel_token_check(is->token, &err) != CV_OK)
        problem(refused, "[failover] token: it is not a tunnel token");
}

static void check_core(const struct change *c, struct problems *refused)
{
    static const char *const protocols[] = { NULL, "quic", "http2" };
    const struct tunnel_conf *tunnel = generation_core(c->g, CORE_TUNNEL);
    const char *protocol = protocols[tunnel->protocol];
    for (size_t i = 0; i < CORE_SECTIONS; i++)
        difference(c->r->g->core[i], c->g->core[i], &(struct comparing){ .refused = refused });
    struct cv_err err;
    if (tunnel->enabled && tunnel->token.n && tunnel_token_check(tunnel->token, &err) != CV_OK)
        problem(refused, "[tunnel] token: it is not a tunnel token");
    check_second(c, refused);
    if (tunnel->enabled && protocol && !speaks(c->g, protocol))
        problem(refused, "[tunnel] protocol: no module speaks %s any more; edge_%s does", protocol, protocol);
}

/* Who listens for visitors here cannot hand its socket over. */
static void check_listeners(const struct change *c, struct problems *refused)
{
    for (size_t i = 0; i < c->g->n; i++) {
        const struct module_conf *m = &c->g->modules[i];
        if (c->fates[i] == BEGINS && m->module->edge && !m->module->edge->protocol)
            problem(refused, "[%s]: a listener for visitors needs a restart", m->conf->section);
    }
    for (size_t i = 0; i < c->r->n_order; i++) {
        const struct cv_edge_ops *edge = c->r->order[i]->module->edge;
        if (edge && !edge->protocol && !generation_has(c->g, c->r->order[i]->name))
            problem(refused, "[%s]: a listener for visitors needs a restart to be removed",
                    c->r->order[i]->name);
    }
}

static void find_fates(struct change *c)
{
    for (size_t i = 0; i < c->g->n; i++) {
        const struct module_conf *m = &c->g->modules[i];
        struct comparing diff = { .refused = NULL };
        c->was[i] = instance_named(c->r, m->conf->section);
        if (c->was[i] && difference(c->r->places[c->was[i]->id].conf, m->conf, &diff) == 0)
            c->fates[i] = STAYS;
        else
            c->fates[i] = c->was[i] && !diff.anew ? CHANGES : BEGINS;
    }
}

/* ---- made ready ---------------------------------------------------------------------------------------- */

static void take_back(struct change *c)
{
    for (size_t i = c->g->n; i-- > 0;)
        if (c->is[i])
            instance_take_down(c->r, c->is[i]);
}

static enum cv_error bring_up(struct change *c, size_t i, struct cv_err *err)
{
    const struct module_conf *m = &c->g->modules[i];
    c->is[i] = instance_new(c->r, m->module, m->conf);
    if (!c->is[i])
        return cv_fail(err, CV_E_LIMIT, "too many modules that left are still in use; try again later");
    metrics_declare(m->module->metrics);
    enum cv_error error = instance_init(c->r, c->is[i], err);
    return error ? error : instance_start(c->r, c->is[i], err);
}

static bool make_ready(struct change *c, struct problems *errors)
{
    struct cv_err err = { "" };
    for (size_t i = 0; i < c->g->n; i++)
        if (c->fates[i] == BEGINS && bring_up(c, i, &err) != CV_OK) {
            problem(errors, "[%s]: %s", c->g->modules[i].conf->section, err.text);
            take_back(c);
            return false;
        }
    return true;
}

/* ---- put in force -------------------------------------------------------------------------------------- */

static void retire(struct runtime *r, struct conf *conf)
{
    struct retired *old = cv_xcalloc(1, sizeof(*old));
    *old = (struct retired){ r->retired, conf, r->epoch };
    r->retired = old;
}

static bool is_in(const struct change *c, const struct cv_instance *instance)
{
    for (size_t i = 0; i < c->g->n; i++)
        if ((c->fates[i] == BEGINS ? c->is[i] : c->was[i]) == instance)
            return true;
    return instance->id == 0; /* the registrar */
}

/* One thread's part: options, then the chain. */
static void change_over(struct cv_worker *w, void *arg)
{
    const struct change *c = arg;
    struct runtime *r = c->r;
    for (size_t i = 0; i < c->g->n; i++) {
        if (c->fates[i] != CHANGES)
            continue;
        struct cv_self *self = &w->selfs[c->was[i]->id];
        const void *before = self->conf;
        self->conf = c->g->modules[i].conf->data;
        if (c->was[i]->module->reload)
            c->was[i]->module->reload(self, before);
    }
    if (w != r->main)
        threads_options(w, c->g);
    chain_install(r, w);
    for (unsigned id = 1; id < INSTANCES_MAX; id++)
        if (r->places[id].state == PLACE_RUNS && r->instances[id].module->observer &&
            !is_in(c, &r->instances[id]))
            chain_forget_observer(r, w, &r->instances[id]);
}

static bool is_reordered(const struct change *c)
{
    for (size_t i = 0; i < c->g->n; i++)
        if (c->r->order[i + 1] != c->was[i])
            return true;
    return false;
}

static void say_changes(struct change *c)
{
    for (size_t i = 0; i < CORE_SECTIONS; i++)
        c->changes += difference(c->r->g->core[i], c->g->core[i], &(struct comparing){ .log = true });
    for (size_t i = 0; i < c->g->n; i++) {
        const struct conf *is = c->g->modules[i].conf;
        if (c->was[i])
            c->changes +=
                difference(c->r->places[c->was[i]->id].conf, is, &(struct comparing){ .log = true });
        else
            log_line(CV_INFO, NULL, "[%s] is added", is->section), c->changes++;
    }
    for (size_t i = 0; i < c->r->n_order; i++)
        if (!is_in(c, c->r->order[i]) && !generation_has(c->g, c->r->order[i]->name))
            log_line(CV_INFO, NULL, "[%s] is removed", c->r->order[i]->name), c->changes++;
    if (c->changes == 0 && is_reordered(c))
        log_line(CV_INFO, NULL, "Modules stand in another order"), c->changes++;
}

static void set_order(struct change *c)
{
    struct runtime *r = c->r;
    r->n_order = 1;
    r->n_edges = r->n_gates = 0;
    for (size_t i = 0; i < c->g->n; i++) {
        const struct cv_instance *instance = c->fates[i] == BEGINS ? c->is[i] : c->was[i];
        r->order[r->n_order++] = instance;
        if (instance->module->edge && instance->module->edge->protocol)
            r->edges[r->n_edges++] = instance;
        if (instance->module->gate)
            r->gates[r->n_gates++] = instance;
    }
}

/* What is not in the new generation keeps its options until nothing uses it any more. */
static void let_go(struct change *c)
{
    for (unsigned id = 1; id < INSTANCES_MAX; id++) {
        struct place *p = &c->r->places[id];
        if (p->state != PLACE_RUNS || is_in(c, &c->r->instances[id]))
            continue;
        p->state = PLACE_LEAVES;
        p->left = c->r->epoch;
    }
}

/* A section without a difference keeps its memory: pointers into it stay good. */
static struct conf *settle_core(struct runtime *r, size_t section, struct conf *is)
{
    struct comparing quiet = { .refused = NULL };
    struct conf *was = r->g->core[section];
    bool same = difference(was, is, &quiet) == 0;
    if (!same && section != CORE_TUNNEL && section != CORE_FAILOVER) {
        retire(r, was);
        return is;
    }
    if (!same)
        conf_adopt(was, is);
    conf_free(is);
    return was;
}

static void settle_cores(struct change *c)
{
    for (size_t i = 0; i < CORE_SECTIONS; i++) {
        c->g->core[i] = settle_core(c->r, i, c->g->core[i]);
        c->r->g->core[i] = NULL;
    }
}

/* Every conf of the old generation is in the new one now, or retired, or goes with an instance that leaves. */
static void settle_confs(struct change *c)
{
    struct runtime *r = c->r;
    for (size_t i = 0; i < c->g->n; i++) {
        struct module_conf *is = &c->g->modules[i];
        struct place *p = c->fates[i] == BEGINS ? NULL : &r->places[c->was[i]->id];
        if (c->fates[i] == STAYS) {
            conf_free(is->conf);
            is->conf = p->conf;
        } else if (c->fates[i] == CHANGES) {
            retire(r, p->conf);
            p->conf = is->conf;
        }
    }
    r->g->n = 0;
    generation_free(r->g);
    r->g = c->g;
}

/* The workers have the rules that follow from it when this returns, and are in no call that saw what was before. */
static void follow_local(struct runtime *r)
{
    local_setup(generation_core(r->g, CORE_ORIGINS), generation_core(r->g, CORE_REWRITE));
    tunnel_local_changed();
    threads_catch_up(r);
    local_settle();
}

static bool differs(const struct change *c, size_t section)
{
    struct comparing quiet = { .refused = NULL };
    return difference(c->r->g->core[section], c->g->core[section], &quiet) > 0;
}

static void put_in_force(struct change *c)
{
    struct runtime *r = c->r;
    bool local = differs(c, CORE_ORIGINS) || differs(c, CORE_REWRITE);
    say_changes(c);
    r->epoch += c->changes > 0;
    settle_cores(c);
    if (c->changes) {
        set_order(c);
        change_over(r->main, c);
        run_everywhere(r, change_over, c);
        let_go(c);
    }
    r->verbose = false;
    settle_confs(c);
    if (local)
        follow_local(r);
    tunnel_changed(r->n_edges, r->n_gates);
    reload_sweep(r);
    log_line(CV_INFO, NULL, "Configuration reloaded, %zu change%s", c->changes, c->changes == 1 ? "" : "s");
}

/* ---- out of use ---------------------------------------------------------------------------------------- */

struct sweep {
    struct runtime *r;
    uint32_t oldest;
};

static void sweep_thread(struct cv_worker *w, void *arg)
{
    struct sweep *s = arg;
    uint32_t oldest = requests_oldest(w);
    chains_drop(s->r, w, oldest);
    if (oldest < s->oldest)
        s->oldest = oldest;
}

static bool in_use(const struct runtime *r, unsigned id, uint32_t oldest)
{
    const struct cv_instance *i = &r->instances[id];
    if (i->module->observer || i->module->gate)
        return false;
    return oldest < r->places[id].left || (i->module->edge && conns_of(i) > 0);
}

static void on_sweep(struct cv_timer *timer)
{
    reload_sweep(CV_OWNER(timer, struct runtime, sweep));
}

void reload_sweep(struct runtime *r)
{
    struct sweep s = { r, r->epoch };
    bool left = false;
    run_everywhere(r, sweep_thread, &s);
    chains_drop(r, r->main, r->epoch);
    for (unsigned id = 1; id < INSTANCES_MAX; id++) {
        if (r->places[id].state != PLACE_LEAVES)
            continue;
        if (in_use(r, id, s.oldest)) {
            left = true;
            continue;
        }
        log_line(CV_DEBUG, NULL, "[%s] is out of use", r->places[id].name);
        instance_take_down(r, &r->instances[id]);
    }
    for (struct retired **at = &r->retired; *at;) {
        struct retired *old = *at;
        if (s.oldest < old->left) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        conf_free(old->conf);
        free(old);
    }
    r->sweep.fire = on_sweep;
    if (left || s.oldest < r->epoch)
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

/* ---- the whole ----------------------------------------------------------------------------------------- */

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

/* Checked and made ready; nothing is in force yet. */
static bool prepare(struct change *c, struct problems *errors)
{
    struct cv_err err;
    check_core(c, errors);
    find_fates(c);
    check_listeners(c, errors);
    if (errors->n > 0 || !make_ready(c, errors))
        return false;
    if (log_setup(generation_core(c->g, CORE_LOG), &err) == CV_OK)
        return true;
    problem(errors, "%s", err.text);
    take_back(c);
    return false;
}

bool reload(struct runtime *r, struct cv_buf *told)
{
    struct problems errors = { .n = 0 }, warnings = { .n = 0 };
    struct change c = { .r = r, .g = generation_new(r->command, &errors, &warnings) };
    bool good = c.g && prepare(&c, &errors);
    tell(&warnings, CV_WARN, told);
    tell(&errors, CV_ERROR, told);
    cv_add(METRIC(M_CULVERT_RELOADS, good ? CV_STR("in_force") : CV_STR("refused")), 1);
    if (good) {
        put_in_force(&c);
        cv_gauge_set(metric(M_CULVERT_RELOAD_TIME, NULL), time(NULL));
    } else {
        log_line(CV_ERROR, NULL, "Configuration not reloaded, the one before stays in force");
        generation_free(c.g);
    }
    problems_free(&errors);
    problems_free(&warnings);
    return good;
}
