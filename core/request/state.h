/* state.h: a request as this room sees it; cv_req is its first member. */
#ifndef REQUEST_STATE_H
#define REQUEST_STATE_H
#include "request/request.h"

#define REQ_MAGIC 0x72657131u

/* How far a request has come. Each step is taken at the end of a turn, never inside a caller's call. */
enum step {
    STEP_NEW,     /* the edge fills in the head                               */
    STEP_START,   /* cv_req_start: rule, limits, then the filters             */
    STEP_FILTER,  /* at filter `at`                                           */
    STEP_ORIGIN,  /* the origin has it                                        */
    STEP_RESPOND, /* it responded: filters in reverse, at filter `at`         */
    STEP_HEAD,    /* the head (of an answer or a failure) is the edge's next  */
    STEP_BODY,    /* the edge has the head                                    */
    STEP_CLOSE    /* closed() to all, then free                               */
};

/* By whose doing a request failed. */
enum side { SIDE_NOBODY, SIDE_CULVERT, SIDE_ORIGIN, SIDE_EDGE, SIDE_VISITOR };

struct times { /* nanoseconds, monotonic; 0: not yet */
    int64_t began, asked, answered, head;
};

struct request {
    struct cv_req pub;
    struct cv_worker *worker;
    const struct cv_self *edge, *origin; /* origin: once open() was called */
    const struct chain *chain;
    struct route_table *routes; /* held while rule is used */
    struct arena arena;
    struct cv_pipe up, down;
    struct sse *sse;               /* or NULL */
    struct early_head *early_head; /* or NULL */
    struct request *next_ready;
    struct request *prev, *next;           /* of the thread     */
    struct request *conn_prev, *conn_next; /* of the connection */
    uint32_t epoch; /* of the thread when it began: its chain and the options that it may point into */
    enum step step;
    enum side blamed; /* for what comes next; NOBODY: tally.c judges */
    struct times times;
    enum cv_error failed; /* what the answer, sent as if all were well, is about */
    uint64_t body_max;    /* bytes of `up`, ever; 0: no limit, or done with  */
    unsigned at;          /* filter whose turn it is                       */
    unsigned n_filtered;  /* filters whose request() ran: they get closed  */
    bool ready;           /* queued for the end of the turn                */
    bool stepping;        /* the step is due: nobody is being waited for   */
    bool early;           /* waits for the first rules, early.c            */
    bool waited;          /* filter `at` said CV_WAIT                      */
    bool replied;         /* cv_req_reply(): the origin's say is over      */
    bool open;            /* started: among the open ones of the metrics   */
    bool counted;         /* a visitor's request, in the metrics           */
    bool edge_done;       /* cv_req_done() was called                      */
    uint8_t slots[] __attribute__((aligned(16)));
};

/* A request of our own, with its rule: past the limits, the choice of a rule and the filters. */
void request_begin(struct cv_req *);

enum tunnel_id request_tunnel(const struct request *);

static inline struct request *request_of(struct cv_req *req)
{
    CV_ASSERT(req->magic == REQ_MAGIC);
    return (void *)req; /* its first member */
}
#endif
