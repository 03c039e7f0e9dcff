/* lifecycle.c: prepare, init, start, run; then stop and fini in reverse. */
#include "boot/runtime.h"

#include "tunnel/tunnel.h"

#include <openssl/evp.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { EXIT_USAGE = 255, SLOT_ALIGN = 16 };

/* ---- errands ----------------------------------------------------------------------------------------------
 */

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

/* ---- instances and the threads' views of them -------------------------------------------------------------
 */

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
        if (m->filter)
            v->filters[c->n_filters++] = &v->selfs[i];
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

static void make_threads(struct runtime *r)
{
    const struct culvert_conf *c = generation_core(r->g, CORE_CULVERT);
    const struct limits_conf *limits = generation_core(r->g, CORE_LIMITS);
    r->n_workers = (size_t)c->workers;
    r->views = cv_xcalloc(r->n_workers + 1, sizeof(*r->views));
    metrics_setup((unsigned)r->n_workers + 1);
    r->main = worker_new(0);
    make_instances(r);
    make_view(r, r->main);
    declare_metrics(r);
    for (size_t i = 0; i < r->n_workers; i++) {
        r->workers[i] = worker_new((unsigned)i + 1);
        requests_setup(r->workers[i], limits);
        make_view(r, r->workers[i]);
    }
}

/* ---- what the log says first (docs/protocol.md §4.1)
 * -------------------------------------------------------- */

static void own_checksum(char hex[65])
{
    snprintf(hex, 65, "unknown");
    FILE *f = fopen("/proc/self/exe", "re");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char buf[16384], sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (f && ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        for (size_t got; (got = fread(buf, 1, sizeof(buf), f)) > 0;)
            EVP_DigestUpdate(ctx, buf, got);
        if (!ferror(f))
            EVP_DigestFinal_ex(ctx, sum, &n);
    }
    for (unsigned i = 0; i < n && i < 32; i++)
        snprintf(hex + (size_t)2 * i, 3, "%02x", sum[i]);
    EVP_MD_CTX_free(ctx);
    if (f)
        fclose(f);
}

static void log_start(const struct problems *warnings)
{
    char sum[65];
    own_checksum(sum);
    struct utsname u;
    uname(&u);
    log_line(CV_INFO, NULL, "Version %s (Checksum %s)", CV_VERSION, sum);
    log_line(CV_INFO, NULL, "OS: %s %s, Arch: %s, OpenSSL: %s, libevent: %s", u.sysname, u.release, u.machine,
             OpenSSL_version(OPENSSL_VERSION_STRING), event_get_version());
    char *environment = environment_settings();
    if (environment)
        log_line(CV_INFO, NULL, "Environmental variables map[%s]", environment);
    free(environment);
    for (size_t i = 0; i < warnings->n; i++)
        log_line(CV_WARN, NULL, "%s", warnings->v[i]);
}

/* ---- up
 * ----------------------------------------------------------------------------------------------------- */

static void tunnel_ended(void *arg, int status)
{
    struct runtime *r = arg;
    r->status = status;
    worker_quit(r->main);
}

static enum cv_error prepare(struct runtime *r, struct cv_err *err)
{
    struct tunnel_setup setup = {
        .conf = generation_core(r->g, CORE_TUNNEL),
        .main = r->main,
        .workers = r->workers,
        .n_workers = r->n_workers,
        .edges = r->edges,
        .n_edges = r->n_edges,
        .gates = r->gates,
        .n_gates = r->n_gates,
        .settings = r->command->settings,
        .ended = tunnel_ended,
        .arg = r,
    };
    return tunnel_prepare(&setup, err);
}

static enum cv_error init_modules(struct runtime *r, struct cv_err *err)
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
static enum cv_error start_workers(struct runtime *r, struct cv_err *err)
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

/* ---- down
 * --------------------------------------------------------------------------------------------------- */

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

static void tear_down_requests(struct cv_worker *w, void *arg)
{
    (void)arg;
    requests_teardown(w);
}

/* Edges first: the requests that they give up are told to everyone at the end of that turn, before the next
 * errand. */
static void stop_workers(struct runtime *r)
{
    for (size_t i = 0; i < r->n_workers; i++) {
        struct cv_worker *w = r->workers[i];
        if (w->running) {
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

static void take_down(struct runtime *r, bool prepared)
{
    stop_workers(r);
    cv_timer_clear(&r->sweep);
    for (size_t i = r->initialised; i-- > 0;)
        if (r->instances[i].module->fini)
            r->instances[i].module->fini(&r->main->selfs[i]);
    if (prepared)
        tunnel_free();
    worker_free(r->main);
    metrics_free();
    reload_free(r);
    free(r->views);
}

/* ---- signals
 * -------------------------------------------------------------------------------------------------- */

struct signals {
    struct runtime *runtime;
    struct event *terminate, *interrupt, *hangup, *user2;
    bool verbose;
};

/* Without its handler the signal has its own way again: a second one kills. */
static void on_end(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    struct signals *s = arg;
    event_del(s->terminate);
    event_del(s->interrupt);
    tunnel_shutdown(number == SIGINT ? "interrupt" : "terminated");
}

static void on_hangup(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    reload(((struct signals *)arg)->runtime);
}

static void on_user2(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    struct signals *s = arg;
    const struct log_conf *conf = generation_core(s->runtime->g, CORE_LOG);
    s->verbose = !s->verbose;
    log_line(CV_INFO, NULL, "Log level is %s now", s->verbose ? "debug" : "the configured one");
    log_level_set(s->verbose ? CV_DEBUG : (enum cv_level)conf->level);
}

static struct event *on_signal(struct signals *s, int number, event_callback_fn fn)
{
    struct event *e = evsignal_new(s->runtime->main->base, number, fn, s);
    CV_ASSERT(e && event_add(e, NULL) == 0);
    return e;
}

static void run_until_end(struct runtime *r)
{
    struct signals s = { .runtime = r };
    s.terminate = on_signal(&s, SIGTERM, on_end);
    s.interrupt = on_signal(&s, SIGINT, on_end);
    s.hangup = on_signal(&s, SIGHUP, on_hangup);
    s.user2 = on_signal(&s, SIGUSR2, on_user2);
    worker_run(r->main);
    event_free(s.terminate);
    event_free(s.interrupt);
    event_free(s.hangup);
    event_free(s.user2);
}

/* ---- the whole
 * -------------------------------------------------------------------------------------------------- */

static void could_not_start(const char *why)
{
    log_line(CV_ERROR, CV_FIELDS(CV_S("error", cv_str_of(why))), "Couldn't start tunnel");
}

static void run(struct runtime *r)
{
    struct cv_err err = { "" };
    enum cv_error error = prepare(r, &err);
    bool prepared = error == CV_OK;
    if (error == CV_E_DENIED) { /* the token: no log line, cloudflared's words alone */
        fprintf(stderr, "%s\n", err.text);
        r->status = EXIT_USAGE;
    } else if (error || (error = init_modules(r, &err)) || (error = start_workers(r, &err)) ||
               (error = tunnel_start(&err))) {
        could_not_start(err.text);
        r->status = 1;
    } else {
        run_until_end(r);
    }
    take_down(r, prepared);
}

static bool token_is_missing(const struct generation *g)
{
    const struct tunnel_conf *t = generation_core(g, CORE_TUNNEL);
    return t->enabled && t->token.n == 0 && !*t->token_file;
}

/* What a configuration is worth before anything runs; 0 if it may run. */
static int refusal(const struct generation *g, const struct problems *errors)
{
    struct cv_err err;
    if (!g) {
        problems_print(errors, stderr);
        return 1;
    }
    if (token_is_missing(g)) {
        fputs("\"cloudflared tunnel run\" requires the ID or name of the tunnel to run as the last command "
              "line argument or in "
              "the configuration file.\nSee 'cloudflared tunnel run --help'.\n"
              "culvert runs tunnels by their token: set TUNNEL_TOKEN, or give --token-file FILE behind the "
              "word run.\n",
              stderr);
        return EXIT_USAGE;
    }
    if (log_setup(generation_core(g, CORE_LOG), &err) != CV_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}

int lifecycle_run(const struct command *command)
{
    struct problems errors = { .n = 0 }, warnings = { .n = 0 };
    struct runtime r = { .command = command, .g = generation_new(command, &errors, &warnings) };
    r.status = refusal(r.g, &errors);
    if (r.status == 0) {
        log_start(&command->warnings);
        for (size_t i = 0; i < warnings.n; i++)
            log_line(CV_WARN, NULL, "%s", warnings.v[i]);
        make_threads(&r);
        run(&r);
    }
    problems_free(&errors);
    problems_free(&warnings);
    generation_free(r.g);
    log_close();
    return r.status;
}
