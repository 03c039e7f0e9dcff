/* threads.c: the threads and the instances of modules on them: made, started, stopped. */
#include "boot/runtime.h"

#include "request/ask.h"
#include "tunnel/tunnel.h"

#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

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

void run_everywhere(struct runtime *r, errand_fn *run, void *arg)
{
    for (size_t i = 0; i < r->n_workers; i++)
        if (r->workers[i]->running)
            run_errand(r->workers[i], run, arg);
}

static void nothing(struct cv_worker *w, void *arg)
{
    (void)w, (void)arg;
}

void threads_catch_up(struct runtime *r)
{
    run_everywhere(r, nothing, NULL);
}

/* ---- made ----------------------------------------------------------------------------------------------- */

static void make_instances(struct runtime *r)
{
    r->order[r->n_order++] = instance_new(r, &cv_module_registrar, NULL);
    for (size_t i = 0; i < r->g->n; i++)
        r->order[r->n_order++] = instance_new(r, r->g->modules[i].module, r->g->modules[i].conf);
    for (size_t i = 0; i < r->n_order; i++) {
        const struct cv_module *m = r->order[i]->module;
        if (m->edge && m->edge->protocol)
            r->edges[r->n_edges++] = r->order[i];
        if (m->gate)
            r->gates[r->n_gates++] = r->order[i];
    }
}

static void declare_metrics(const struct runtime *r)
{
    metrics_declare(core_metrics);
    for (size_t i = 0; i < r->n_order; i++)
        metrics_declare(r->order[i]->module->metrics);
}

static struct cv_worker *make_thread(struct runtime *r, unsigned index)
{
    struct cv_worker *w = worker_new(index);
    w->selfs = r->views[index].selfs;
    return w;
}

void threads_options(struct cv_worker *w, const struct generation *g)
{
    const struct culvert_conf *c = generation_core(g, CORE_CULVERT);
    requests_limit(w, generation_core(g, CORE_LIMITS));
    requests_heartbeat(w, generation_core(g, CORE_SSE));
    requests_name_errors(w, c->error_header);
    requests_api_errors(w, c->api_errors);
}

void threads_make(struct runtime *r)
{
    const struct culvert_conf *c = generation_core(r->g, CORE_CULVERT);
    const struct tunnel_conf *tunnel = generation_core(r->g, CORE_TUNNEL);
    r->n_workers = (size_t)c->workers;
    r->views = cv_xcalloc(r->n_workers + 1, sizeof(*r->views));
    metrics_setup((unsigned)r->n_workers + 1);
    r->main = make_thread(r, 0);
    for (size_t i = 0; i < r->n_workers; i++) {
        r->workers[i] = make_thread(r, (unsigned)i + 1);
        requests_setup(r->workers[i], generation_core(r->g, CORE_LIMITS));
        requests_wait_for_rules(r->workers[i], tunnel->rules_wait);
        threads_options(r->workers[i], r->g);
    }
    make_instances(r);
    declare_metrics(r);
    /* goversion, type, revision: what a build in Go has there */
    cv_gauge_set(METRIC(M_BUILD_INFO, CV_STR(""), CV_STR(""), CV_STR("unknown"), cv_str_of(CV_VERSION)), 1);
    cv_gauge_unset(metric(M_CULVERT_CONFIG_TIME, NULL)); /* there may never be one */
    cv_gauge_unset(metric(M_CULVERT_TOKEN_TIME, NULL));
    cv_gauge_unset(metric(M_CULVERT_RELOAD_TIME, NULL));
    chain_install(r, r->main);
    for (size_t i = 0; i < r->n_workers; i++)
        chain_install(r, r->workers[i]);
}

/* ---- up ------------------------------------------------------------------------------------------------ */

enum cv_error threads_init(struct runtime *r, struct cv_err *err)
{
    enum cv_error error = CV_OK;
    for (size_t i = 0; i < r->n_order && !error; i++)
        error = instance_init(r, r->order[i], err);
    return error;
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
    enum cv_error error = CV_OK;
    for (size_t i = 0; i < r->n_order && !error; i++)
        error = instance_start(r, r->order[i], err);
    return error;
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
    for (unsigned id = INSTANCES_MAX; id-- > 0;) {
        const struct cv_instance *i = &s->runtime->instances[id];
        if (s->runtime->places[id].state != PLACE_FREE && (s->which & (i->module->edge ? EDGES : OTHERS)))
            instance_stop_on(s->runtime, w, i);
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

static void end_thread(struct runtime *r, struct cv_worker *w)
{
    unsigned index = w->index;
    if (w->running)
        worker_quit(w);
    else
        requests_teardown(w);
    worker_free(w);
    chains_free(r, index);
}

/* Edges first: the requests that they give up are told to everyone at the end of that turn, before the next errand. And
 * all of them before any thread ends: until they have stopped, they post to one another. */
void threads_stop(struct runtime *r)
{
    run_everywhere(r, stop_asking, NULL);
    run_everywhere(r, stop_modules, &(struct stop){ r, EDGES });
    run_everywhere(r, stop_modules, &(struct stop){ r, OTHERS });
    run_everywhere(r, tear_down_requests, NULL);
    for (size_t i = 0; i < r->n_workers; i++)
        end_thread(r, r->workers[i]);
}
