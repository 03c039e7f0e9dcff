/* stock.h: what one thread keeps for its requests: free memory, the list of them; inside this room alone. */
#ifndef REQUEST_STOCK_H
#define REQUEST_STOCK_H
#include "request/request.h"

enum {
    ARENA_BLOCK = 2048,    /* bytes; an idle request should fit in two        */
    FREE_BLOCKS_MAX = 512, /* kept for the next requests; the rest is freed   */
    FREE_CHUNKS_MAX = 64
};

struct arena_block;

/* Series that are counted with every request; tally.c. */
struct tallies {
    struct cv_tally *unruled; /* of requests that have no rule */
    struct cv_series *total, *concurrent, *errors, *overhead, *bytes_up, *bytes_down;
    struct cv_series *open[CV_CONFIG + 1]; /* by enum cv_req_type */
};

struct stock {
    const struct limits_conf *limits;
    struct arena_block *blocks;
    size_t n_free_blocks;
    struct chunk *chunks;
    size_t n_free_chunks, n_chunks; /* free; in pipes */
    struct request *open;           /* all of this thread */
    unsigned n_open;                /* of those that count against the limit: not the edge's own streams */
    uint64_t next_id;
    const struct sse_conf *sse; /* requests_heartbeat() */
    bool name_errors;           /* requests_name_errors() */
    bool asks_over;             /* asks_stop() */
    bool api_errors;            /* requests_api_errors() */
    bool yields;                /* requests_yield() */
    struct early {              /* requests_wait_for_rules() */
        struct cv_ms limit;     /* 0: nobody waits, or no longer */
        struct cv_timer timer;  /* since the first one waits     */
        struct cv_worker *worker;
        enum tunnel_id tunnel;
    } early[TUNNELS];
    struct cv_series *pipe_memory;
    struct tallies tallies;
};
void stock_free_blocks(struct stock *);
void stock_free_chunks(struct stock *);
bool stock_over_memory(const struct stock *);

/* Asks for the request to be looked at when the turn ends. */
void request_wake(struct request *);
#endif
