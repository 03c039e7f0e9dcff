/* threads.c: the threads and the instances of modules on them: made, started, stopped. */
#include "boot/runtime.h"

#include "request/ask.h"
#include "tunnel/tunnel.h"

#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

enum { SLOT_ALIGN = 16 };

/* ---- errands ------------------------------------------------------------------------------------------- */

struct errand {
    struct cv_worker *worker;
    errand_fn *run;
    void *arg;
    sem_t done;
};

static void do_errand(void *arg)
{
    struct errand *e = arg;
    e->run(e->worker, e->arg);
    sem_post(&e->done);
}

void run_errand(struct cv_worker *worker, errand_fn *run, void *arg)
{
    struct errand e = { worker, run, arg, { { 0 } } };
    sem_init(&e.done, 0, 0);
    cv_post(worker, do_errand, &e);
    while (sem_wait(&e.done) != 0)
        ; /* EINTR */
    sem_destroy(&e.done);
}

/* ---- instances and the threads' views of them ---------------------------------------------------------- */

static void make_instances(struct runtime *r)
{
    r->instances[0] = (struct cv_instance){ &cv_module_registrar, "registrar", 0, 0 };
    r->n = 1;
    for (size_t i = 0; i < r->g->n; i++, r->n++) {
        const struct module_conf *m = &r->g->modules[i];
        r->instances[r->n] = (struct cv_instance){ m->module, m->conf->section, (unsigned)r->n, 0 };
    }
    size_t at = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct cv_instance *instance = &r->instances[i];
        instance->slot_at = at;
        at += (instance->module->slot_size + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
        if (instance->module->edge && instance->module->edge->protocol)
            r->edges[r->n_edges++] = instance;
        if (instance->module->gate)
            r->gates[r->n_gates++] = instance;
    }
    for (size_t t = 0; t <= r->n_workers; t++)
        r->views[t].chain.slot_bytes = at;
}

static void make_view(struct runtime *r, struct cv_worker *w)
{
    struct thread_view *v = &r->views[w->index];
    struct chain *c = &v->chain;
    for (size_t i = 0; i < r->n; i++) {
        const struct cv_module *m = r->instances[i].module;
        const struct conf *conf = instance_conf(r, &r->instances[i]);
        v->selfs[i] =
            (struct cv_self){ .conf = conf ? conf->data : NULL, .worker = w, .instance = &r->instances[i] };
        if (m->filter) {
            v->filters[c->n_filters++] = &v->selfs[i];
            c->enforces_access |= m->filter->enforces_access;
        }
        if (m->origin)
            v->origins[c->n_origins++] = &v->selfs[i];
        if (m->observer)
            v->observers[c->n_observers++] = &v->selfs[i];
    }
    c->filters = v->filters;
    c->origins = v->origins;
    c->observers = v->observers;
    w->selfs = v->selfs;
    w->chain = c;
}

static void declare_metrics(const struct runtime *r)
{
    metrics_declare(core_metrics);
    for (size_t i = 0; i < r->n; i++) {
        const struct cv_metric *table = r->instances[i].module->metrics;
        bool before = !table;
        for (size_t j = 0; j < i; j++)
            before |= r->instances[j].module->metrics == table;
        if (!before)
            metrics_declare(table);
    }
}

void threads_make(struct runtime *r)
{
    const struct culvert_conf *c = generation_core(r->g, CORE_CULVERT);
    const struct limits_conf *limits = generation_core(r->g, CORE_LIMITS);
    const struct tunnel_conf *tunnel = generation_core(r->g, CORE_TUNNEL);
    r->n_workers = (size_t)c->workers;
    r->views = cv_xcalloc(r->n_workers + 1, sizeof(*r->views));
    metrics_setup((unsigned)r->n_workers + 1);
    r->main = worker_new(0);
    make_instances(r);
    make_view(r, r->main);
    declare_metrics(r);
    /* goversion, type, revision: what a build in Go has there */
    cv_gauge_set(METRIC(M_BUILD_INFO, CV_STR(""), CV_STR(""), CV_STR("unknown"), cv_str_of(CV_VERSION)), 1);
    cv_gauge_unset(metric(M_CULVERT_CONFIG_TIME, NULL)); /* there may never be one */
    cv_gauge_unset(metric(M_CULVERT_TOKEN_TIME, NULL));
    for (size_t i = 0; i < r->n_workers; i++) {
        r->workers[i] = worker_new((unsigned)i + 1);
        requests_setup(r->workers[i], limits);
        requests_heartbeat(r->workers[i], generation_core(r->g, CORE_SSE));
        requests_wait_for_rules(r->workers[i], tunnel->rules_wait);
        requests_name_errors(r->workers[i], c->error_header);
        requests_api_errors(r->workers[i], c->api_errors);
        make_view(r, r->workers[i]);
    }
}

/* ---- up ------------------------------------------------------------------------------------------------ */

enum cv_error threads_init(struct runtime *r, struct cv_err *err)
{
    struct cv_self *selfs = r->main->selfs;
    for (; r->initialised < r->n; r->initialised++) {
        const struct cv_module *m = r->instances[r->initialised].module;
        enum cv_error error = m->init ? m->init(&selfs[r->initialised], err) : CV_OK;
        if (error)
            return error;
        for (size_t i = 0; i < r->n_workers; i++)
            r->workers[i]->selfs[r->initialised].shared = selfs[r->initialised].shared;
    }
    return CV_OK;
}

struct start {
    struct runtime *runtime;
    enum cv_error error;
    struct cv_err err;
};

static void start_modules(struct cv_worker *w, void *arg)
{
    struct start *s = arg;
    struct thread_view *v = &s->runtime->views[w->index];
    for (; v->started < s->runtime->n && !s->error; v->started += !s->error) {
        const struct cv_module *m = s->runtime->instances[v->started].module;
        s->error = m->start ? m->start(&v->selfs[v->started], &s->err) : CV_OK;
    }
}

/* Signals are the main thread's: a worker never sees one. */
enum cv_error threads_start(struct runtime *r, struct cv_err *err)
{
    sigset_t everything, before;
    sigfillset(&everything);
    pthread_sigmask(SIG_SETMASK, &everything, &before);
    for (size_t i = 0; i < r->n_workers; i++)
        worker_thread(r->workers[i]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    struct start s = { .runtime = r };
    for (size_t i = 0; i < r->n_workers && !s.error; i++)
        run_errand(r->workers[i], start_modules, &s);
    *err = s.err;
    return s.error;
}

/* ---- down ---------------------------------------------------------------------------------------------- */

enum { EDGES = 1, OTHERS = 2 };
struct stop {
    struct runtime *runtime;
    unsigned which;
};

static void stop_modules(struct cv_worker *w, void *arg)
{
    const struct stop *s = arg;
    struct thread_view *v = &s->runtime->views[w->index];
    for (size_t i = v->started; i-- > 0;) {
        const struct cv_module *m = s->runtime->instances[i].module;
        if (m->stop && (s->which & (m->edge ? EDGES : OTHERS)))
            m->stop(&v->selfs[i]);
    }
}

static void stop_asking(struct cv_worker *w, void *arg)
{
    (void)arg;
    asks_stop(w);
}

static void tear_down_requests(struct cv_worker *w, void *arg)
{
    (void)arg;
    requests_teardown(w);
}

/* Edges first: the requests that they give up are told to everyone at the end of that turn, before the next
 * errand. */
void threads_stop(struct runtime *r)
{
    for (size_t i = 0; i < r->n_workers; i++) {
        struct cv_worker *w = r->workers[i];
        if (w->running) {
            run_errand(w, stop_asking, NULL);
            run_errand(w, stop_modules, &(struct stop){ r, EDGES });
            run_errand(w, stop_modules, &(struct stop){ r, OTHERS });
            run_errand(w, tear_down_requests, NULL);
            worker_quit(w);
        } else {
            requests_teardown(w);
        }
        worker_free(w);
    }
}
