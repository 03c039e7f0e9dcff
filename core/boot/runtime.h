/* runtime.h: what lifecycle.c has running on threads.c's threads, and reload.c changes. Main thread, but for what an errand says. */
#ifndef BOOT_RUNTIME_H
#define BOOT_RUNTIME_H
#include "boot/boot.h"
#include "request/request.h"

enum {
    SIGNALS = 5,
    INSTANCES_MAX = 2 * MODULES_MAX + 1
}; /* old and new ones overlap; the registrar is number 0 */

/* What goes with an instance, by its id. */
struct place {
    enum { PLACE_FREE, PLACE_RUNS, PLACE_LEAVES, PLACE_GONE } state; /* gone: posts may still name the id */
    char name[INI_SECTION + 1];
    struct conf *conf; /* NULL for the registrar. The generation's while it runs, ours once it leaves */
    bool initialised;
    uint32_t left; /* the first epoch without it */
};

struct built_chain; /* instances.c */
/* One thread's view of the instances; the worker points into it. */
struct thread_view {
    struct cv_self selfs[INSTANCES_MAX];
    bool started[INSTANCES_MAX]; /* start() went well */
    struct built_chain *chains;  /* the one in force first, then those that requests still use */
};

/* Options of before a reload. Requests that began in an earlier epoch than `left` may point into them. */
struct retired {
    struct retired *next;
    struct conf *conf;
    uint32_t left;
};

struct runtime {
    const struct command *command;
    struct generation *g; /* in force */
    struct cv_worker *main, *workers[THREADS_MAX - 1];
    size_t n_workers;
    uint32_t epoch; /* one more with every reload that changed something */
    struct cv_instance instances[INSTANCES_MAX];
    struct place places[INSTANCES_MAX];
    const struct cv_instance
        *order[MODULES_MAX + 1]; /* those in force: the registrar, then as the generation says */
    size_t n_order;
    struct thread_view *views; /* by worker index */
    const struct cv_instance *edges[INSTANCES_MAX], *gates[INSTANCES_MAX];
    size_t n_edges, n_gates;
    struct retired *retired;
    struct cv_timer sweep;
    struct cv_timer trim;
    unsigned trims; /* done or under way */
    struct event *signals[SIGNALS];
    bool hung_up; /* a reload is due */
    bool verbose; /* SIGUSR2: debug, whatever is configured */
    int status;
};

/* ---- threads.c ------------------------------------------------------------------------------------------- */

/* Threads and instances, as the generation in force says; nothing runs yet. */
void threads_make(struct runtime *);
/* What the sections of the core say to a worker; on its thread, once that runs. */
void threads_options(struct cv_worker *, const struct generation *);
/* init() of every module; then the workers run and start() is called on each. In ini order, until one fails. */
enum cv_error threads_init(struct runtime *, struct cv_err *);
enum cv_error threads_start(struct runtime *, struct cv_err *);
/* stop() in reverse on every worker that has started; then there are no workers. */
void threads_stop(struct runtime *);

/* Runs on the worker while main waits; may be called from main alone. */
typedef void errand_fn(struct cv_worker *, void *arg);
void run_errand(struct cv_worker *, errand_fn *, void *arg);
void run_everywhere(struct runtime *, errand_fn *, void *arg); /* on one worker after the other */
/* Every worker has ended the turn that it was in, and has run what was posted to it before this. */
void threads_catch_up(struct runtime *);

/* ---- instances.c ----------------------------------------------------------------------------------------- */

/* Known to every thread, but in no chain. conf: NULL for the registrar; it stays the caller's. NULL: there are too many. */
struct cv_instance *instance_new(struct runtime *, const struct cv_module *, struct conf *);
struct cv_instance *instance_named(struct runtime *, const char *section); /* of those in force */
enum cv_error instance_init(struct runtime *, const struct cv_instance *, struct cv_err *);  /* main */
enum cv_error instance_start(struct runtime *, const struct cv_instance *, struct cv_err *); /* all workers */
/* All of it backwards, from whatever point was reached; the id is free again soon. No request uses it any more. */
void instance_take_down(struct runtime *, const struct cv_instance *);
void instance_fini(struct runtime *,
                   const struct cv_instance *); /* its options too, if they are no generation's */
/* On that worker's thread, as all below. */
void instance_stop_on(struct runtime *, struct cv_worker *, const struct cv_instance *);
/* A chain of r->order for the requests that begin from now on. */
void chain_install(struct runtime *, struct cv_worker *);
void chain_forget_observer(struct runtime *, struct cv_worker *, const struct cv_instance *);
/* No request of an epoch before `oldest` is left. */
void chains_drop(struct runtime *, struct cv_worker *, uint32_t oldest);
void chains_free(struct runtime *, unsigned thread);

/* ---- lifecycle.c: what a start does before anything dials, and the end ---------------------------------- */

/* Rules, TLS, token: see tunnel_prepare(). threads_make() came before. */
enum cv_error runtime_prepare(struct runtime *, struct cv_err *);
void runtime_take_down(struct runtime *, bool prepared); /* from whatever point was reached */

/* ---- reload.c -------------------------------------------------------------------------------------------- */

/* Reads and checks everything anew. Good: it is in force for all requests that begin when this returns; those under way
 * finish with what they began with. Bad, or an option of the core that needs a restart: nothing has happened but the
 * log lines that say why, and false. told gets those lines too; it may be NULL. */
bool reload(struct runtime *, struct cv_buf *told);
/* Takes down and frees what has left and is out of use; sets a timer while something is left. */
void reload_sweep(struct runtime *);
/* Frees all that is retired: no request is left. */
void reload_free(struct runtime *);

/* operate.c: whom modules ask; NULL: nothing runs any more. */
void operate_begin(struct runtime *);

/* trim.c: a few times in the first minutes, memory that only the start needed goes back to the system. */
void trim_later(struct runtime *);
#endif
