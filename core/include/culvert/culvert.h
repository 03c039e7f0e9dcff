/* culvert/culvert.h: everything a module sees of the core. Read it top to bottom; it takes ten minutes.
 *
 *   edge ──write──▶  up  ──read──▶ origin      A request has two ends and two pipes.
 *   edge ◀──read──  down ◀─write── origin      Filters sit between and see the heads only.
 *
 * Threads  The main thread runs start-up, the supervisor, gates and exporters. Each worker thread runs one
 *          event loop: a connection, its requests, their filters and origins live on one worker. A callback
 *          runs there and touches nothing of another thread; to reach one, cv_post(). No callback runs
 *          inside your own call into the core: wake-ups wait for the end of the loop turn.
 * Memory   What lives as long as a request comes from cv_alloc(req, n), freed with it. Strings handed to you
 *          are borrowed. A function or argument that takes ownership says so: `_take`.
 * Errors   A function that can fail returns enum cv_error, 0 being success. No memory: abort. */
#ifndef CV_CULVERT_H
#define CV_CULVERT_H
#include <event2/event.h> /* libevent is part of the contract: use it on your own thread's loop */
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define CV_ABI   1u /* one more whenever anything in this file or in route.h changes shape */
#define CV_MAGIC 0x63766d31u

struct cv_conn;
struct cv_headers;
struct cv_instance;
struct cv_lookup;
struct cv_pipe;
struct cv_req;
struct cv_rule;
struct cv_series;
struct cv_worker;

/* ---- values ----------------------------------------------------------------------------------------- */

/* borrowed bytes, not terminated */
struct cv_str {
    const char *p;
    size_t n;
};
#define CV_STR(lit)   ((struct cv_str){ "" lit, sizeof(lit) - 1 })
#define CV_STR_FMT    "%.*s" /* printf("…" CV_STR_FMT, CV_STR_ARG(s)) */
#define CV_STR_ARG(s) (int)(s).n, (s).p
bool cv_str_eq(struct cv_str, struct cv_str);     /* bytes                    */
bool cv_str_caseeq(struct cv_str, struct cv_str); /* ASCII letters fold       */
struct cv_str cv_str_of(const char *);            /* NULL gives an empty one  */
/* As a string with a NUL behind it. False, and "" there: too long, or a NUL within. */
bool cv_str_copy(char *to, size_t size, struct cv_str);

/* Option values. The text forms are what an ini line or a flag may say. */
struct cv_list {
    const struct cv_str *v;
    size_t n;
}; /* a, b, c            */
struct cv_ms {
    int64_t ms;
}; /* 500ms, 30s, 1m30s  */
struct cv_bytes {
    uint64_t n;
}; /* 4096, 64k, 16M     */
struct cv_secret {
    const char *p;
    size_t n;
};                                         /* env:NAME, file:/path; printed as *** */
struct cv_str cv_reveal(struct cv_secret); /* grep for it: every use of a secret   */

/* Name, its text in metrics (label `reason`) and logs, HTTP status that the visitor gets, text. */
#define CV_ERRORS(X)                                                                                         \
    X(CONF, "conf", 500, "bad configuration")                                                                \
    X(REFUSED, "refused", 502, "connection refused")                                                         \
    X(RESOLVE, "resolve", 502, "name not resolved")                                                          \
    X(IO, "io", 502, "read or write failed")                                                                 \
    X(TLS, "tls", 502, "TLS handshake failed")                                                               \
    X(PROTO, "proto", 502, "peer broke the protocol")                                                        \
    X(TIMEOUT, "timeout", 504, "took too long")                                                              \
    X(LIMIT, "limit", 503, "a limit was reached")                                                            \
    X(DENIED, "denied", 403, "not allowed")                                                                  \
    X(CANCEL, "cancel", 499, "the other end left")
#define CV_X(id, name, status, text) CV_E_##id,
enum cv_error { CV_OK, CV_ERRORS(CV_X) CV_E_MAX };
#undef CV_X
const char *cv_error_name(enum cv_error); /* "refused" */
const char *cv_error_text(enum cv_error); /* "connection refused" */
int cv_error_status(enum cv_error);

struct cv_err {
    char text[512];
}; /* at start-up and for dialling; for a request: cv_req_fail() */
/* Writes the text and returns the error, so that `return cv_fail(err, CV_E_CONF, "…")` reads well. err may be NULL. */
enum cv_error cv_fail(struct cv_err *, enum cv_error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* What a callback knows of itself: one per instance, thread and configuration generation. */
struct cv_self {
    const void *conf;         /* your options, typed, immutable in this generation    */
    void *shared;             /* made by init(): every worker reads it, none writes it */
    void *local;              /* made by start(): this worker's alone                 */
    struct cv_worker *worker; /* the thread that the callback runs on, the main one included */
    const struct cv_instance *instance;
};

struct cv_str cv_section(const struct cv_self *); /* the section it was made from: "access_headers api" */

/* ---- options: one table gives parsing, file:line errors, --check, --dump and the manual -------------- */

enum cv_type { CV_T_BOOL, CV_T_INT, CV_T_STR, CV_T_LIST, CV_T_MS, CV_T_BYTES, CV_T_SECRET };
enum {
    CV_REQUIRED = 1, /* no default: must be set                       */
    CV_LIVE = 2      /* a reload may change it; others need a restart */
};
struct cv_option {
    const char *name, *def, *help;
    enum cv_type type;
    size_t at; /* offset in your conf struct */
    unsigned flags;
    long min, max;     /* for CV_T_INT, when max is not 0               */
    const char *words; /* for CV_T_INT: "auto|quic|http2" means 0, 1, 2 */
};
/* The type of an option is the C type of its field, so the two cannot disagree.
 * Last arguments: the help text, then .flags, .min, .max or .words where wanted. */
#define CV_OPT(T, f, DEF, ...)                                                                                 \
    {                                                                                                          \
        .name = #f, .def = (DEF), .at = offsetof(T, f),                                                      \
        .type = _Generic(((T *)0)->f, bool: CV_T_BOOL, int: CV_T_INT, const char *: CV_T_STR,                \
                         struct cv_list: CV_T_LIST, struct cv_ms: CV_T_MS, struct cv_bytes: CV_T_BYTES,      \
                         struct cv_secret: CV_T_SECRET),                                                     \
        .help = __VA_ARGS__ \
    }
#define CV_OPT_END                                                                                           \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }
/* For check(): fails, naming the file and line (or flag, or variable) that set `option`. */
enum cv_error cv_conf_fail(struct cv_err *, const void *conf, const char *option, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- metrics: declared in a table, counted without locks, summed by whoever exports ------------------ */

enum cv_metric_type { CV_COUNTER, CV_GAUGE, CV_HISTOGRAM };
struct cv_metric {
    const char *name, *help; /* exported under this very name                 */
    enum cv_metric_type type;
    const char *labels;   /* "status_code" or "rule|reason"; NULL for none */
    const double *bounds; /* histogram buckets, ending in 0                */
    double per;           /* how many counted make 1 exported, such as 1e6 microseconds a second;
                             0: 1. Not for histograms */
};
#define CV_METRIC_END                                                                                        \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }
/* The series of self's module->metrics[metric] with these label values (in the order of `labels`). Interned for the
 * life of the process; past 4,000 series of a metric the values fold into "other". Keep the pointer where you count often. */
struct cv_series *cv_series(const struct cv_self *, unsigned metric, const struct cv_str *values);
void cv_add(struct cv_series *, int64_t n);     /* a plain add to this thread's own cell */
void cv_gauge_set(struct cv_series *, int64_t); /* sets this thread's own cell; the sum is exported */
void cv_gauge_unset(struct cv_series *);        /* what it tells of is gone: not exported until set again */
void cv_observe(struct cv_series *, double);
/* For exporters, from any thread and without holding one up: every series, grouped by metric; sums is 1 value, or buckets (each its own count), +Inf bucket, sum. */
typedef void cv_metric_fn(void *arg, const struct cv_metric *, const struct cv_str *values,
                          const double *sums, size_t n);
void cv_metrics_each(cv_metric_fn *, void *arg);

/* ---- cells: what all workers count in, by atomics alone ------------------------------------------------- */

/* `size` bytes of this instance under that key, zeroed at first, the same on every thread, for the life of the process.
 * What lies in them is atomic: no locks, nothing that waits. Past 1,000 keys of an instance: the bytes of "other". */
void *cv_cell(const struct cv_self *, struct cv_str key, size_t size);

/* ---- pipes -------------------------------------------------------------------------------------------
 * A pipe holds at most its limit, in fixed chunks that never move. Bytes stay until the reader says they
 * are truly gone (acknowledged by the peer, written to the socket); only then does the writer get
 * credit(): a QUIC or HTTP/2 window update, or the reason to read its socket again. */

size_t cv_pipe_room(const struct cv_pipe *);                    /* bytes that may be written now       */
size_t cv_pipe_held(const struct cv_pipe *);                    /* bytes written and not yet consumed  */
size_t cv_pipe_write(struct cv_pipe *, const void *, size_t n); /* copies; short means full            */
int cv_pipe_reserve(struct cv_pipe *, struct iovec *, int max); /* or readv() into it: free space,     */
void cv_pipe_commit(struct cv_pipe *, size_t n);                /* then say how much was filled        */
void cv_pipe_finish(struct cv_pipe *);                          /* writer: clean end                   */
int cv_pipe_peek(struct cv_pipe *, size_t skip, struct iovec *, int max); /* reader: bytes from `skip` on */
void cv_pipe_consume(struct cv_pipe *, size_t n); /* reader: the first n are gone        */
bool cv_pipe_finished(const struct cv_pipe *);    /* the writer has called finish        */
bool cv_pipe_ended(const struct cv_pipe *);       /* finished and empty                  */
/* The iovecs of cv_pipe_peek point into chunks of at most CV_CHUNK bytes, and before the first byte that is not yet
 * consumed there are CV_HEADROOM bytes that the reader may overwrite: a frame header fits in front of its payload. */
#define CV_CHUNK    16368u
#define CV_HEADROOM 16u

struct cv_end { /* what the edge and the origin both answer to */
    void (*readable)(const struct cv_self *, struct cv_req *); /* the pipe you read has bytes, or its end */
    void (*credit)(const struct cv_self *, struct cv_req *, size_t n); /* n that you wrote are gone     */
    void (*closed)(const struct cv_self *, struct cv_req *,
                   enum cv_error); /* your last call; CV_OK: all went well */
};

/* ---- requests ---------------------------------------------------------------------------------------- */

/* The last three go to the core's own origin, the registrar. */
enum cv_req_type { CV_HTTP, CV_WEBSOCKET, CV_TCP, CV_CONTROL, CV_RPC, CV_CONFIG };
#define CV_BODY_STREAM INT64_C(-1)
struct cv_req {
    uint32_t magic;
    enum cv_req_type type;
    uint64_t id;          /* unique in the process, never 0                     */
    struct cv_conn *conn; /* NULL when no edge connection stands behind it      */
    struct cv_str method, scheme, authority,
        path;                   /* path with query, as received; CV_TCP: authority is ip:port */
    struct cv_headers *headers; /* without pseudo headers and the edge's own signals  */
    int64_t body_length;        /* 0 none, N exactly, CV_BODY_STREAM until `up` ends  */
    const struct cv_rule *rule; /* the ingress rule that matched (culvert/route.h)    */
    int status;                 /* 0 until the origin responds                        */
    struct cv_headers *resp_headers, *trailers; /* trailers: NULL if none, complete when `down` is finished */
    enum cv_error error;                        /* not CV_OK: cv_req_fail() was called                */
    struct cv_str error_text;                   /* what went wrong, for the edge and the log          */
    bool origin_failed;                         /* the origin had it then, and had not answered       */
    struct cv_pipe *up, *down;
};
void *cv_alloc(struct cv_req *, size_t n); /* zeroed, 16-byte aligned                            */
void *cv_slot(struct cv_req *,
              const struct cv_self *); /* your slot_size bytes, zeroed when the request begins */
struct cv_str cv_print(struct cv_req *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct cv_str cv_copy(struct cv_req *,
                      struct cv_str); /* a copy that lives as long as the request           */

/* For edges. The life of a request: new, fill in the head, start; then write `up`, finish it; on ops->head() send the
 * head; on readable() send `down`; once its end has gone out: done. To give up earlier: cv_req_fail(CV_E_CANCEL).
 * head() with req->error set means: answer that failure in the transport's own way (no body follows), then done. */
struct cv_req *cv_req_new(const struct cv_self *, struct cv_conn *,
                          enum cv_req_type); /* conn may be NULL; the
                                                                   type may be corrected until cv_req_start() */
void cv_req_start(struct cv_req *);
void cv_req_done(struct cv_req *);
/* For origins: status and resp_headers are set. Then write `down`, finish it. */
void cv_req_respond(struct cv_req *);
/* For filters, after CV_WAIT. */
void cv_req_resume(struct cv_req *);
/* For anyone before the head was sent: a whole answer; resp_headers may be set before. */
void cv_req_reply(struct cv_req *, int status, struct cv_str body);
/* The same with an error for a body, as the caller's library reads it: JSON of OpenAI's or Anthropic's API, by path and
 * headers, else text. code: "queue_full", for the header culvert-error too. retry_after: 0 for no such header. */
void cv_req_refuse(struct cv_req *, int status, const char *code, struct cv_ms retry_after, const char *fmt,
                   ...) __attribute__((format(printf, 5, 6)));
/* That error alone, as JSON in the request's memory; who seems to speak neither API gets OpenAI's. */
struct cv_str cv_api_error(struct cv_req *, int status, const char *code, struct cv_str message);
/* For anyone, any time: logs, counts; then a failure head, or a reset when the head has gone. Both ends get closed(). */
void cv_req_fail(struct cv_req *, enum cv_error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct cv_headers *cv_headers_new(struct cv_req *);
struct cv_str cv_header(const struct cv_headers *,
                        struct cv_str name); /* the first of that name, or {0}; case folds */
void cv_header_set(struct cv_req *, struct cv_headers *, struct cv_str name,
                   struct cv_str value); /* replaces all */
void cv_header_add(struct cv_req *, struct cv_headers *, struct cv_str name, struct cv_str value);
void cv_header_del(struct cv_headers *, struct cv_str name);
bool cv_header_at(const struct cv_headers *, size_t i, struct cv_str *name, struct cv_str *value);
/* set and add copy name and value into the request's arena. Lookup by index is O(1); false at the end. */

/* What a section with options `hosts` and `paths` is about. Hosts: *.example.com too, of the request or of its rule.
 * Paths: prefixes, /v1 is /v1 and all below, however it is written; one that cannot be read is in. No list: all. */
bool cv_in_scope(const struct cv_req *, struct cv_list hosts, struct cv_list paths);
bool cv_host_in(struct cv_list hosts, struct cv_str authority);
bool cv_path_in(struct cv_list prefixes, struct cv_str path);

/* ---- the five kinds of module ------------------------------------------------------------------------ */

struct cv_conn { /* one connection to Cloudflare's edge */
    uint32_t magic;
    unsigned index;               /* 0 … ha_connections-1                                      */
    struct sockaddr_storage addr; /* the edge                                                  */
    struct sockaddr_storage
        local;  /* our end: in dial, what to bind to if its family is not 0; the edge module fills it */
    void *edge; /* the edge module's own state                               */
};
void cv_conn_up(struct cv_conn *); /* the handshake is done: streams may come            */
/* The edge takes no more from it: another one is wanted beside it, while what it carries goes on. After cv_conn_up. */
void cv_conn_leaving(struct cv_conn *);
/* Once, whatever the cause, also when dialling failed: every request of it gets closed(), then ops->gone(). */
void cv_conn_down(struct cv_conn *, enum cv_error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct cv_path {             /* what the way to the edge is like; counts since it was dialled */
    int64_t rtt_us;          /* smoothed round-trip time, -1: not known                          */
    int64_t min_rtt_us;      /* the least so far                                                 */
    uint64_t sent, received; /* bytes                                                       */
    uint64_t lost;           /* packets declared lost; over TCP: segments sent once more    */
    uint64_t resent;         /* bytes sent once more                                        */
    uint64_t resets_sent, resets_received; /* streams ended before their time               */
};
struct cv_edge_ops {
    const char *protocol; /* "quic", "http2": what --protocol chooses by; NULL: a listener that never dials */
    enum cv_error (*dial)(const struct cv_self *, struct cv_conn *,
                          struct cv_err *); /* then cv_conn_up or _down */
    void (*close)(const struct cv_self *,
                  struct cv_conn *); /* send what is written, close, then cv_conn_down */
    void (*gone)(const struct cv_self *,
                 struct cv_conn *);                        /* no request is left: free conn->edge           */
    void (*head)(const struct cv_self *, struct cv_req *); /* the response head is final                    */
    bool (*path)(const struct cv_self *, const struct cv_conn *,
                 struct cv_path *); /* false: not known just now; NULL: never */
    struct cv_end end;
};
struct cv_origin_ops {
    bool (*match)(const struct cv_self *, const struct cv_req *); /* first true in ini order wins */
    void (*open)(const struct cv_self *,
                 struct cv_req *); /* the request is yours; bytes of `up` may be there */
    struct cv_end end;
};
enum cv_next { CV_PASS, CV_WAIT, CV_STOP }; /* go on; I shall resume; I have answered or failed it */
struct cv_filter_ops {                      /* requests in ini order, responses in reverse      */
    enum cv_next (*request)(const struct cv_self *, struct cv_req *);
    enum cv_next (*response)(const struct cv_self *, struct cv_req *);
    void (*closed)(const struct cv_self *, struct cv_req *, enum cv_error); /* if request() ran */
    bool
        enforces_access; /* sees to cv_rule.access_required; without such a filter the core refuses those requests */
};
/* May this process connect at all? Main thread, before every dial. CV_E_CONF: not in its lifetime, it ends with exit
 * status 1; other errors: not now. */
struct cv_gate_ops {
    enum cv_error (*admit)(const struct cv_self *, struct cv_err *);
};
struct cv_event {
    enum { CV_EV_CONN_UP, CV_EV_CONN_DOWN, CV_EV_REQ_END, CV_EV_DRAINED } what; /* DRAINED: main thread */
    const struct cv_conn *conn;
    const struct cv_req *req;
    enum cv_error why;
};
/* For observers of CV_EV_REQ_END: what it came to. */
struct cv_req_sum {
    uint64_t up, down;          /* bytes of the bodies, as the edge and the origin wrote them   */
    int64_t total_us, first_us; /* from its begin to now, to the head of the answer; -1: none   */
    const char *ended_by;       /* who made it fail: "visitor", "edge", "origin", "culvert"; "" */
};
void cv_req_sum(const struct cv_req *, struct cv_req_sum *);
struct cv_observer_ops { /* on the thread where it happens; event may be NULL */
    void (*event)(const struct cv_self *, const struct cv_event *);
};

struct cv_module {
    uint32_t magic, abi, size; /* first: they protect the rest */
    const char *name, *summary;
    const struct cv_option *options; /* ends in CV_OPT_END    */
    size_t conf_size;
    const struct cv_metric *metrics; /* ends in CV_METRIC_END */
    size_t slot_size;
    const struct cv_edge_ops *edge; /* exactly one of the five: the kind */
    const struct cv_origin_ops *origin;
    const struct cv_filter_ops *filter;
    const struct cv_gate_ops *gate;
    const struct cv_observer_ops *observer;
    /* All may be NULL. init … fini bracket a process; start … stop bracket a worker. */
    enum cv_error (*check)(const void *conf, struct cv_err *); /* main: rules between options       */
    enum cv_error (*init)(struct cv_self *, struct cv_err *);  /* main, once; may set shared        */
    enum cv_error (*start)(struct cv_self *, struct cv_err *); /* each worker; may set local        */
    void (*reload)(struct cv_self *, const void *old_conf); /* main, then each worker: conf is the new one */
    void (*stop)(struct cv_self *);                         /* each worker, all requests gone    */
    void (*fini)(struct cv_self *);                         /* main, once                        */
    /* `culvert WORD …` for the words that core/boot/commands.c gives this module: the arguments behind it, all options
     * at their defaults, a loop but no traffic. Words for a running process get options as ini, environment and flags
     * say, and as arguments the word itself and what --timeout says. Returns the exit status. */
    int (*command)(struct cv_self *, int argc, char **argv);
};
#define CV_MODULE(id, ...)                                                                                   \
    __attribute__((visibility("default"))) const struct cv_module cv_module_##id = {                         \
        .magic = CV_MAGIC, .abi = CV_ABI, .size = sizeof(struct cv_module), .name = #id, __VA_ARGS__         \
    }

/* ---- services ---------------------------------------------------------------------------------------- */

enum cv_level { CV_FATAL, CV_ERROR, CV_WARN, CV_INFO, CV_DEBUG };
struct cv_field { /* made by CV_S and CV_I */
    const char *name;
    struct cv_str s;
    int64_t i;
    bool is_int;
};
struct cv_fields {
    const struct cv_field *v;
    size_t n;
};
#define CV_S(name, str) ((struct cv_field){ (name), (str), 0, false })
#define CV_I(name, num) ((struct cv_field){ (name), { NULL, 0 }, (num), true })
#define CV_FIELDS(...)                                                                                       \
    (&(const struct cv_fields){ (const struct cv_field[]){ __VA_ARGS__ },                                    \
                                sizeof((const struct cv_field[]){ __VA_ARGS__ }) /                           \
                                    sizeof(struct cv_field) })
/* Fields may be NULL. Control bytes of values and message are escaped: a peer's bytes may be given. Never a secret. */
void cv_log(const struct cv_self *, enum cv_level, const struct cv_fields *, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool cv_log_on(enum cv_level); /* whether making the text is worth it */

/* Adds a JSON string with its quotes; bytes that are no UTF-8 pass as \u00XX. Any thread. */
struct cv_buf;
void cv_json_add(struct cv_buf *, struct cv_str);

struct cv_timer { /* embed it; zeroed is unset */
    void (*fire)(struct cv_timer *);
    struct event event;
    bool made, set;
};
#define CV_OWNER(ptr, T, member) ((T *)(void *)((char *)(ptr)-offsetof(T, member)))
void cv_timer_set(const struct cv_self *, struct cv_timer *, struct cv_ms); /* set again: moves it       */
void cv_timer_clear(struct cv_timer *);
int64_t cv_now(const struct cv_self *); /* monotonic milliseconds */

/* Runs once at the end of this loop turn, after all wake-ups of requests: the place to flush what they wrote. */
struct cv_late {
    void (*run)(struct cv_late *);
    struct cv_late *next;
    bool queued;
};
void cv_late(const struct cv_self *, struct cv_late *);
void cv_late_clear(const struct cv_self *, struct cv_late *);

struct event_base *cv_base(const struct cv_self *);                    /* this thread's loop */
void cv_post(struct cv_worker *, void (*run)(void *), void *arg_take); /* runs there; from any thread */

/* Names to addresses, through c-ares on this thread's loop, cached for their TTL; literals too. The callback comes in a
 * later turn, once, never after cancel. Addresses (port filled in, order of RFC 6724) are borrowed for the call. */
typedef void cv_resolved_fn(void *arg, enum cv_error, const struct sockaddr_storage *addrs, size_t n);
struct cv_lookup *cv_resolve(const struct cv_self *, struct cv_str host, uint16_t port, cv_resolved_fn *,
                             void *arg);
void cv_resolve_cancel(struct cv_lookup *);

/* For exporters; main thread only. */
struct cv_status {
    unsigned ready; /* connections registered and neither lost nor shutting down */
    bool draining;
    int config_version;       /* of the remote configuration; -1 before the first          */
    const char *connector_id; /* UUID                                                       */
    const char *tunnel_id;    /* UUID; "" when there is no token                             */
    const char *not_ready;    /* why some module cannot do its work; NULL: all can          */
    bool has_rules;           /* from the edge or from here: there is something to serve    */
    unsigned stuck;           /* a worker whose loop does not turn (from 1); 0: all do      */
    int64_t stuck_ms;         /* for how long                                               */
};
void cv_status(struct cv_status *);
/* Main thread: this instance cannot do its work, and probes shall say so; NULL: it can again. The text is copied. */
void cv_not_ready(const struct cv_self *, const char *why);
char *cv_config_json(void); /* what /config answers (docs/protocol.md §16.5); free() it */
#endif
