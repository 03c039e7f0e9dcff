/* loop.h: the room below all others: threads and their event loops, end-of-turn wake-ups, timers, names, log, metrics. */
#ifndef LOOP_H
#define LOOP_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

#include <pthread.h>
#include <stdatomic.h>

/* One loaded module under one section name. Made by boot/, immutable afterwards. */
struct cv_instance {
    const struct cv_module *module;
    const char *name; /* the section: "edge_http2", or "access_headers api" */
    unsigned id;      /* index of its cv_self in cv_worker.selfs            */
    size_t slot_at;   /* where cv_slot() finds its bytes in a request       */
};

/* ---- threads ---------------------------------------------------------------------------------------- */

#define THREADS_MAX 65 /* main and at most 64 workers */

/* Whose connection a request came by: the tunnel's, or the second one's of [failover]. */
enum tunnel_id { TUNNEL_FIRST, TUNNEL_SECOND, TUNNELS };

struct chain;         /* request/ */
struct route_table;   /* request/ */
struct route_scratch; /* request/ */
struct request;       /* request/ */
struct post;
struct cell;

struct cv_worker {
    unsigned index; /* 0 is the main thread, workers follow: also the index of its metric cells */
    struct event_base *base;
    pthread_t thread;
    bool running;

    /* posts from other threads */
    pthread_mutex_t post_lock;
    struct post *post_first, **post_last;
    int post_fd;
    struct event *post_event;

    /* end of turn: requests with news first, then the late ones */
    struct event turn_event;
    struct request *ready_first, **ready_last;
    void (*run_ready)(struct cv_worker *); /* set by request/ */
    struct cv_late *late_first, **late_last;

    /* what a thread keeps for others */
    struct cv_self core;   /* a cv_self without an instance, for core code */
    struct cv_self *selfs; /* by instance id                        */
    const struct chain *chain;
    uint32_t epoch;                      /* of the chain: requests that begin now */
    struct route_table *routes[TUNNELS]; /* in force on this thread; one reference */
    struct route_scratch *scratch;       /* request/: for matching rules      */
    void *resolver;
    void *stock;                     /* request/: free chunks, arena blocks   */
    struct cv_series **series_cache; /* metrics                  */
    struct cell **cell_cache;        /* cv_cell()'s              */
};

struct cv_worker *worker_new(unsigned index); /* its loop exists, nothing runs  */
void worker_thread(struct cv_worker *);       /* starts the thread (not for 0)  */
void worker_run(struct cv_worker *);          /* the main thread's own run      */
void worker_quit(struct cv_worker *);   /* from any thread: leave the loop; posts already queued still run */
void worker_free(struct cv_worker *);   /* joins, then runs what was posted too late */
struct cv_worker *worker_current(void); /* of this thread; NULL elsewhere */
static inline const struct cv_self *worker_self(const struct cv_worker *w, const struct cv_instance *i)
{
    return &w->selfs[i->id];
}
void worker_end_of_turn(struct cv_worker *); /* asks for run_ready and the late ones */
int64_t clock_ms(void);                      /* monotonic */
/* A cv_self for core code that is not a module: conf and instance are NULL. */
const struct cv_self *worker_core_self(struct cv_worker *);

/* Names (resolve.c): the state of one thread. */
void resolver_new(struct cv_worker *);
void resolver_free(struct cv_worker *);

/* Why some module cannot do its work, as cv_not_ready() was told; plain text without quotes. NULL: all can. */
const char *unready(void);

/* ---- pulse: do the workers' loops turn? ------------------------------------------------------------- */

/* Main thread. A worker that does not answer for `limit` is stuck; 0: nobody ever is. */
void pulse_start(struct cv_worker *main, struct cv_worker *const *workers, size_t n, struct cv_ms limit);
void pulse_stop(void);
/* The index of a stuck worker and for how long it is; 0: none. */
unsigned pulse_stuck(int64_t *ms);

/* escape.c: backslash escapes that JSON and people both read; bytes that are no UTF-8 pass as \u00XX. With quotes, also
 * those and backslashes are escaped. Nothing is added beyond `most` bytes of the buffer. */
void escape_add(struct cv_buf *, struct cv_str, bool quotes, size_t most);

/* ---- log --------------------------------------------------------------------------------------------- */

struct log_conf {
    int level;  /* enum cv_level */
    int output; /* 0 console, 1 json */
    int repeats;
    const char *file, *directory;
};
extern const struct cv_option log_options[];
enum cv_error log_setup(const struct log_conf *,
                        struct cv_err *); /* again at reload; until then: info, console */
void log_line(enum cv_level, const struct cv_fields *, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Not subject to [log] repeats. */
void log_always(enum cv_level, const struct cv_fields *, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void log_close(void);
/* log_limit.c, any thread. Whether a line is to be written; fmt tells what is the same message. */
void log_limit_set(int lines);
bool log_limit_pass(enum cv_level, const char *fmt, struct cv_str text);
void log_limit_tell(bool all); /* of messages whose time is over, or all: how many lines were not written */
void notes_keep(int64_t unix_s, enum cv_level, struct cv_str text); /* notes.c; main thread */

/* ---- metrics ----------------------------------------------------------------------------------------- */

/* The core's own metrics, docs/protocol.md §22: a table in metrics_core.c, one enumerator each. */
enum core_metric {
    M_BUILD_INFO,
    M_LOCAL_CONFIG_PUSHES,
    M_LOCAL_CONFIG_PUSH_ERRORS,
    M_CONFIG_VERSION,
    M_HA_CONNECTIONS,
    M_TOTAL_REQUESTS,
    M_CONCURRENT_REQUESTS,
    M_REQUEST_ERRORS,
    M_RESPONSE_BY_CODE,
    M_SERVER_LOCATIONS,
    M_REGISTER_SUCCESS,
    M_REGISTER_FAIL,
    M_TCP_ACTIVE_SESSIONS,
    M_TCP_TOTAL_SESSIONS,
    M_PROXY_CONNECT_LATENCY,
    M_PROXY_CONNECT_ERRORS,
    M_RPC_CLIENT_OPERATIONS,
    M_RPC_CLIENT_FAILURES,
    M_RPC_CLIENT_LATENCY,
    M_RPC_SERVER_OPERATIONS,
    M_RPC_SERVER_FAILURES,
    M_RPC_SERVER_LATENCY,
    M_UDP_ACTIVE_SESSIONS, /* UDP and ICMP are not carried: 0 */
    M_UDP_TOTAL_SESSIONS,
    M_ICMP_REQUESTS,
    M_ICMP_REPLIES,
    M_CULVERT_REQUESTS,      /* culvert_requests_total{rule, method, status}: request/tally.c */
    M_CULVERT_ERRORS,        /* culvert_request_errors_total{rule, reason, side} */
    M_CULVERT_DURATION,      /* culvert_request_duration_seconds{rule} */
    M_CULVERT_FIRST_BYTE,    /* culvert_response_first_byte_seconds{rule} */
    M_CULVERT_OVERHEAD,      /* culvert_request_overhead_seconds */
    M_CULVERT_FIRST_EVENT,   /* culvert_sse_first_event_seconds{rule} */
    M_CULVERT_EVENT_GAP,     /* culvert_sse_event_gap_seconds{rule} */
    M_CULVERT_BYTES,         /* culvert_body_bytes_total{direction} up, down */
    M_CULVERT_PIPE_BYTES,    /* culvert_pipe_memory_bytes */
    M_CULVERT_REFUSED,       /* culvert_requests_refused_total{limit} */
    M_CULVERT_OPEN_REQUESTS, /* culvert_open_requests{type} */
    M_CULVERT_EARLY_HEADS,   /* culvert_sse_early_heads_total */
    M_CULVERT_REPLACED,      /* culvert_edge_replaced_total{reason}: stalled, token, protocol, network */
    M_CULVERT_CONFIG_TIME,
    M_CULVERT_CONFIG_UPDATES,
    M_CULVERT_RELOADS,     /* culvert_reloads_total{result} in_force, refused */
    M_CULVERT_RELOAD_TIME, /* culvert_reload_in_force_timestamp_seconds */
    M_CULVERT_TOKEN_TIME,
    M_CULVERT_EDGE_CONNECTIONS,
    M_CULVERT_EDGE_UP,
    M_CULVERT_TUNNEL_ACTIVE, /* this and the next: with [failover] alone */
    M_CULVERT_FAILOVERS,
    M_CULVERT_EDGE_RTT, /* this and the next: tunnel/path.c */
    M_CULVERT_EDGE_MIN_RTT,
    M_CULVERT_EDGE_SENT,
    M_CULVERT_EDGE_RECEIVED,
    M_CULVERT_EDGE_LOST,
    M_CULVERT_EDGE_RESENT,
    M_CULVERT_EDGE_RESETS,
    M_CORE_END
};
extern const struct cv_metric core_metrics[];
/* values in the order of the labels of the row; NULL when it has none */
struct cv_series *metric(enum core_metric, const struct cv_str *values);
#define METRIC(id, ...) metric((id), (const struct cv_str[]){ __VA_ARGS__ })
/* What cv_metrics_each() tells of one series: as many values as are returned, METRIC_CELLS_MAX at most. Any thread. */
#define METRIC_CELLS_MAX 32
size_t metric_read(const struct cv_series *, double *sums);
/* Values are kept by metric, not by instance: two instances of one module share them. */
void metrics_setup(unsigned n_threads);              /* before any series: main and its workers   */
void metrics_declare(const struct cv_metric *table); /* rows without labels are exported from now on, at 0 */
void metrics_free(void);                             /* no thread counts any more                 */
void metrics_thread_free(struct cv_worker *);

void cells_free(void); /* cv_cell()'s: no thread uses them any more */
void cells_thread_free(struct cv_worker *);
#endif
