/* request.h: room 2, one request: its memory, headers, pipes, life, and the chain that it passes. */
#ifndef REQUEST_H
#define REQUEST_H
#include "culvert/route.h"
#include "loop/loop.h"

/* ---- memory of one thread: chunks for pipes and blocks for arenas ------------------------------------- */

struct limits_conf {
    struct cv_bytes memory;       /* hard cap on bytes that pipes of one worker hold */
    int requests;                 /* open requests of one worker                     */
    struct cv_bytes pipe;         /* how much one direction of one request holds     */
    struct cv_bytes request_body; /* 0: any */
};
extern const struct cv_option limits_options[];
struct sse_conf {
    struct cv_ms heartbeat;  /* 0: none */
    struct cv_ms early_head; /* 0: none */
};
extern const struct cv_option sse_options[];
enum cv_error sse_check(const void *conf, struct cv_err *);

struct chunk {
    struct chunk *next;
    uint32_t from, to; /* bytes data[from…to) are in use */
    uint8_t headroom[CV_HEADROOM];
    uint8_t data[CV_CHUNK];
};

/* Gives the thread its pools and hooks. limits must outlive it. */
void requests_setup(struct cv_worker *, const struct limits_conf *);
void requests_teardown(struct cv_worker *);
void requests_limit(struct cv_worker *, const struct limits_conf *); /* others, from now on */
/* From now on event streams that lie still get signs of life; the conf must outlive it. */
void requests_heartbeat(struct cv_worker *, const struct sse_conf *);
/* Requests that come before any rules wait for them, at most so long since the first of them. */
void requests_wait_for_rules(struct cv_worker *, struct cv_ms);
/* From now on a failure is answered with the header culvert-error: layer_reason. */
void requests_name_errors(struct cv_worker *, bool);
/* From now on a failure of an API's request is an answer in that API's form. */
void requests_api_errors(struct cv_worker *, bool);
/* w->chain is another one from now on. The edge's own streams, which pass no filter, take it; all other requests keep
 * theirs. */
void requests_rechain(struct cv_worker *, uint32_t epoch);
/* The epoch of the oldest request that keeps its chain; without any, that of the thread. */
uint32_t requests_oldest(const struct cv_worker *);

/* ---- arena -------------------------------------------------------------------------------------------- */

struct arena {
    struct cv_worker *worker;
    struct arena_block *blocks; /* newest first; none at the beginning */
};
void *arena_alloc(struct arena *, size_t n); /* zeroed, aligned to 16 */
void arena_free(struct arena *);

/* ---- pipe --------------------------------------------------------------------------------------------- */

/* Sees what is written, before anything follows it. */
struct pipe_eye {
    void (*saw)(struct pipe_eye *, const uint8_t *, size_t n);
};
/* Gets what is written, and its end, in the reader's stead; the writer has its credit at once. */
struct pipe_trap {
    void (*took)(struct pipe_trap *, const uint8_t *, size_t n);
    void (*finished)(struct pipe_trap *);
};
struct cv_pipe {
    struct request *req;
    struct chunk *first, *last;
    size_t held; /* written and not consumed            */
    size_t limit;
    size_t offered;         /* cv_pipe_room() offers no more than up to here */
    size_t news;            /* bytes consumed that the writer has not been told of */
    size_t inserted;        /* the first so many bytes are not the writer's; the limit is as much higher */
    uint64_t total;         /* bytes ever written                  */
    struct chunk *mark;     /* where peek() found its first byte last time, or NULL */
    uint64_t mark_at;       /* which of all bytes mark->data[0] is                  */
    struct pipe_eye *eye;   /* or NULL */
    struct pipe_trap *trap; /* or NULL */
    bool finished;          /* by the writer                       */
    bool readable;          /* the reader is to be woken           */
    bool dead;              /* the request is over: writes vanish  */
};
void pipe_init(struct cv_pipe *, struct request *, size_t limit);
/* Bytes of our own into an empty pipe: they take no room from the writer, who never hears of them. */
void pipe_insert(struct cv_pipe *, struct cv_str);
void pipe_kill(struct cv_pipe *); /* drops what it holds */

/* ---- one request -------------------------------------------------------------------------------------- */

/* What tunnel/ makes its connections from. */
struct conn_base {
    struct cv_conn pub;
    enum tunnel_id tunnel;
    struct request *requests; /* open ones */
    unsigned open;
    uint64_t ended;                   /* requests of visitors */
    void (*idle)(struct conn_base *); /* the last open request has closed (end of turn); may be NULL */
};

struct chain { /* the instances of one thread and generation, in ini order */
    const struct cv_self *const *filters;
    size_t n_filters;
    const struct cv_self *const *origins; /* the registrar first */
    size_t n_origins;
    const struct cv_self *const *observers;
    size_t n_observers;
    size_t slot_bytes;    /* of all instances together                       */
    bool enforces_access; /* one of the filters does: culvert.h, cv_filter_ops */
};

/* Every open request of the connection is failed; their closed() come at the end of this turn, then idle(). */
void requests_fail_all(struct conn_base *, enum cv_error, const char *why);
/* The routing table in force on this thread for that tunnel; takes over the reference. Requests that run keep theirs. */
void requests_set_routes(struct cv_worker *, enum tunnel_id, struct route_table *table_take);
/* From now on the second tunnel leaves to the first what that one's rules name. */
void requests_yield(struct cv_worker *, bool);
/* An open request of this thread by id, or NULL: for answers that come from another thread. */
struct cv_req *request_find(struct cv_worker *, uint64_t id);
#endif
