/* instances.c: instances of modules: their identity, their place in requests, the chains of each thread; brought up and
 * taken down one by one, at the start as at a reload. */
#include "boot/runtime.h"

#include <stdlib.h>
#include <string.h>

enum { SLOT_ALIGN = 16 };

/* ---- identity ------------------------------------------------------------------------------------------ */

static size_t slot_end(const struct cv_instance *i)
{
    return i->slot_at + (i->module->slot_size + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
}

static bool is_used(const struct runtime *r, unsigned id)
{
    return r->places[id].state != PLACE_FREE;
}

/* The first gap of that size between the slots of all others: requests of earlier chains keep theirs. */
static size_t find_gap(const struct runtime *r, size_t size)
{
    size_t at = 0;
    for (bool moved = size > 0; moved;) {
        moved = false;
        for (unsigned id = 0; id < INSTANCES_MAX; id++) {
            const struct cv_instance *other = &r->instances[id];
            if (!is_used(r, id) || other->slot_at >= at + size || slot_end(other) <= at)
                continue;
            at = slot_end(other);
            moved = true;
        }
    }
    return at;
}

static void make_selfs(struct runtime *r, unsigned id)
{
    const struct conf *conf = r->places[id].conf;
    for (size_t t = 0; t <= r->n_workers; t++) {
        struct cv_worker *w = t == 0 ? r->main : r->workers[t - 1];
        w->selfs[id] =
            (struct cv_self){ .conf = conf ? conf->data : NULL, .worker = w, .instance = &r->instances[id] };
    }
}

struct cv_instance *instance_new(struct runtime *r, const struct cv_module *m, struct conf *conf)
{
    unsigned id = 0;
    while (id < INSTANCES_MAX && is_used(r, id))
        id++;
    if (id == INSTANCES_MAX)
        return NULL;
    struct place *p = &r->places[id];
    *p = (struct place){ .conf = conf };
    snprintf(p->name, sizeof(p->name), "%s", conf ? conf->section : m->name);
    r->instances[id] = (struct cv_instance){ .module = m, .name = p->name, .id = id };
    r->instances[id].slot_at = find_gap(r, m->slot_size);
    p->state = PLACE_RUNS;
    make_selfs(r, id);
    return &r->instances[id];
}

struct cv_instance *instance_named(struct runtime *r, const char *section)
{
    for (unsigned id = 1; id < INSTANCES_MAX; id++)
        if (r->places[id].state == PLACE_RUNS && strcmp(r->places[id].name, section) == 0)
            return &r->instances[id];
    return NULL;
}

/* ---- up and down --------------------------------------------------------------------------------------- */

enum cv_error instance_init(struct runtime *r, const struct cv_instance *i, struct cv_err *err)
{
    struct cv_self *self = &r->main->selfs[i->id];
    enum cv_error error = i->module->init ? i->module->init(self, err) : CV_OK;
    if (error)
        return error;
    r->places[i->id].initialised = true;
    for (size_t w = 0; w < r->n_workers; w++)
        r->workers[w]->selfs[i->id].shared = self->shared;
    return CV_OK;
}

struct start {
    struct runtime *runtime;
    const struct cv_instance *instance;
    enum cv_error error;
    struct cv_err err;
};

static void start_on(struct cv_worker *w, void *arg)
{
    struct start *s = arg;
    const struct cv_module *m = s->instance->module;
    s->error = m->start ? m->start(&w->selfs[s->instance->id], &s->err) : CV_OK;
    s->runtime->views[w->index].started[s->instance->id] = !s->error;
}

enum cv_error instance_start(struct runtime *r, const struct cv_instance *i, struct cv_err *err)
{
    struct start s = { .runtime = r, .instance = i };
    for (size_t w = 0; w < r->n_workers && !s.error; w++)
        run_errand(r->workers[w], start_on, &s);
    *err = s.err;
    return s.error;
}

void instance_stop_on(struct runtime *r, struct cv_worker *w, const struct cv_instance *i)
{
    bool *started = &r->views[w->index].started[i->id];
    if (*started && i->module->stop)
        i->module->stop(&w->selfs[i->id]);
    *started = false;
}

struct stop {
    struct runtime *runtime;
    const struct cv_instance *instance;
};

static void stop_on(struct cv_worker *w, void *arg)
{
    const struct stop *s = arg;
    instance_stop_on(s->runtime, w, s->instance);
}

void instance_fini(struct runtime *r, const struct cv_instance *i)
{
    struct place *p = &r->places[i->id];
    if (p->initialised && i->module->fini)
        i->module->fini(&r->main->selfs[i->id]);
    p->initialised = false;
    if (p->state == PLACE_LEAVES)
        conf_free(p->conf);
    p->conf = NULL;
}

static void free_places(void *arg)
{
    struct runtime *r = arg;
    for (unsigned id = 0; id < INSTANCES_MAX; id++)
        if (r->places[id].state == PLACE_GONE)
            r->places[id] = (struct place){ .state = PLACE_FREE };
}

/* What its threads posted to one another, and to us, before each of them stopped is done with before the id is another's:
 * posts keep their order. */
void instance_take_down(struct runtime *r, const struct cv_instance *i)
{
    run_everywhere(r, stop_on, &(struct stop){ r, i });
    threads_catch_up(r);
    instance_fini(r, i);
    r->places[i->id].state = PLACE_GONE;
    cv_post(r->main, free_places, r);
}

/* ---- chains -------------------------------------------------------------------------------------------- */

struct built_chain {
    struct chain pub;
    struct built_chain *next; /* the one before */
    uint32_t epoch;
    const struct cv_self *filters[INSTANCES_MAX], *origins[INSTANCES_MAX], *observers[INSTANCES_MAX];
};

static struct built_chain *build(const struct runtime *r, const struct cv_worker *w)
{
    struct built_chain *b = cv_xcalloc(1, sizeof(*b));
    struct chain *c = &b->pub;
    for (size_t i = 0; i < r->n_order; i++) {
        const struct cv_instance *instance = r->order[i];
        const struct cv_module *m = instance->module;
        const struct cv_self *self = worker_self(w, instance);
        if (m->filter) {
            b->filters[c->n_filters++] = self;
            c->enforces_access |= m->filter->enforces_access;
        }
        if (m->origin)
            b->origins[c->n_origins++] = self;
        if (m->observer)
            b->observers[c->n_observers++] = self;
        if (slot_end(instance) > c->slot_bytes)
            c->slot_bytes = slot_end(instance);
    }
    c->filters = b->filters;
    c->origins = b->origins;
    c->observers = b->observers;
    b->epoch = r->epoch;
    return b;
}

void chain_install(struct runtime *r, struct cv_worker *w)
{
    struct thread_view *v = &r->views[w->index];
    struct built_chain *b = build(r, w);
    b->next = v->chains;
    v->chains = b;
    w->chain = &b->pub;
    if (w != r->main)
        requests_rechain(w, r->epoch);
}

/* An exporter is told nothing more, whatever requests it had seen begin. */
void chain_forget_observer(struct runtime *r, struct cv_worker *w, const struct cv_instance *gone)
{
    for (struct built_chain *b = r->views[w->index].chains; b; b = b->next) {
        size_t n = 0;
        for (size_t i = 0; i < b->pub.n_observers; i++)
            if (b->observers[i]->instance != gone)
                b->observers[n++] = b->observers[i];
        b->pub.n_observers = n;
    }
}

void chains_drop(struct runtime *r, struct cv_worker *w, uint32_t oldest)
{
    struct built_chain *b = r->views[w->index].chains;
    while (b && b->epoch > oldest)
        b = b->next;
    for (struct built_chain *old = b ? b->next : NULL, *next; old; old = next) {
        next = old->next;
        free(old);
    }
    if (b)
        b->next = NULL;
}

void chains_free(struct runtime *r, unsigned thread)
{
    for (struct built_chain *b = r->views[thread].chains, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    r->views[thread].chains = NULL;
}
