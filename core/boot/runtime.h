/* runtime.h: what lifecycle.c has running on threads.c's threads, and reload.c changes. Main thread, but for what an errand says. */
#ifndef BOOT_RUNTIME_H
#define BOOT_RUNTIME_H
#include "boot/boot.h"
#include "request/request.h"

enum { SIGNALS = 5, INSTANCES_MAX = MODULES_MAX + 1 }; /* the registrar is number 0 */

/* One thread's view of the instances; the worker points into it. */
struct thread_view {
    struct cv_self selfs[INSTANCES_MAX];
    const struct cv_self *filters[INSTANCES_MAX], *origins[INSTANCES_MAX], *observers[INSTANCES_MAX];
    struct chain chain;
    size_t started; /* instances whose start() went well */
};

/* The options of one section before a reload. Requests that began under them may point into them, so they
 * stay until every worker has once been without requests since. */
struct retired {
    struct retired *next;
    struct conf *conf;
    bool quiet[THREADS_MAX]; /* by worker index */
};

struct runtime {
    const struct command *command;
    struct generation *g; /* in force */
    struct cv_worker *main, *workers[THREADS_MAX - 1];
    size_t n_workers;
    struct cv_instance instances[INSTANCES_MAX];
    size_t n, initialised;
    struct thread_view *views; /* by worker index */
    const struct cv_instance *edges[INSTANCES_MAX], *gates[INSTANCES_MAX];
    size_t n_edges, n_gates;
    struct retired *retired;
    struct cv_timer sweep;
    struct cv_timer trim;
    unsigned trims; /* done or under way */
    struct event *signals[SIGNALS];
    bool verbose; /* SIGUSR2: debug, whatever is configured */
    int status;
};

/* ---- threads.c ------------------------------------------------------------------------------------------- */

/* Threads and instances, as the generation in force says; nothing runs yet. */
void threads_make(struct runtime *);
/* init() of every module; then the workers run and start() is called on each. In ini order, until one fails. */
enum cv_error threads_init(struct runtime *, struct cv_err *);
enum cv_error threads_start(struct runtime *, struct cv_err *);
/* stop() in reverse on every worker that has started; then there are no workers. */
void threads_stop(struct runtime *);

/* Runs on the worker while main waits; may be called from main alone. */
typedef void errand_fn(struct cv_worker *, void *arg);
void run_errand(struct cv_worker *, errand_fn *, void *arg);

/* NULL for the registrar. */
static inline struct conf *instance_conf(const struct runtime *r, const struct cv_instance *i)
{
    return i->id == 0 ? NULL : r->g->modules[i->id - 1].conf;
}

/* ---- lifecycle.c: what a start does before anything dials, and the end ---------------------------------- */

/* Rules, TLS, token: see tunnel_prepare(). threads_make() came before. */
enum cv_error runtime_prepare(struct runtime *, struct cv_err *);
void runtime_take_down(struct runtime *, bool prepared); /* from whatever point was reached */

/* ---- reload.c -------------------------------------------------------------------------------------------- */

/* Reads and checks everything anew. Good: it is in force when this returns. Bad, or more than live options
 * have changed: nothing has happened but the log lines that say why, and false. told gets those lines too;
 * it may be NULL. */
bool reload(struct runtime *, struct cv_buf *told);
/* Frees what is retired and out of use; sets a timer while something is left. */
void reload_sweep(struct runtime *);
/* Frees all that is retired: no request is left. */
void reload_free(struct runtime *);

/* operate.c: whom modules ask; NULL: nothing runs any more. */
void operate_begin(struct runtime *);

/* trim.c: a few times in the first minutes, memory that only the start needed goes back to the system. */
void trim_later(struct runtime *);
#endif
