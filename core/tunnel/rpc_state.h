/* rpc_state.h: what an rpc knows, and what its two roles do for rpc.c. For rpc*.c alone. */
#ifndef TUNNEL_RPC_STATE_H
#define TUNNEL_RPC_STATE_H
#include "tunnel/rpc.h"

struct question {
    enum { FREE, FOR_BOOTSTRAP, WAITING, GIVEN_UP } state;
    rpc_done_fn *done;
    void *arg;
    uint32_t next; /* of FREE: the one freed before */
};

struct answer {
    uint32_t id, serial; /* the peer chooses ids and may use them again, a serial is ours */
    bool returned;
    bool bootstrap; /* what was returned is our interface */
};

struct rpc {
    const struct rpc_ops *ops;
    void *arg;
    struct rpc_limits limits;
    struct cv_buf in, out;
    enum cv_error closed;
    struct cv_err why;
    struct capnp_build build; /* between _begin() and _send() */
    struct capnp_new payload;

    /* client */
    struct question *questions; /* by id                     */
    uint32_t n_questions;       /* ids ever used             */
    uint32_t free, n_free;      /* the one freed last, and how many */
    uint32_t drafted;           /* between rpc_call_begin() and _send() */
    enum { UNASKED, ASKED, HELD } peer;
    uint32_t peer_id; /* ASKED: the bootstrap question; HELD: the peer's interface */

    /* server */
    struct answer *answers; /* in no order: there are few */
    unsigned n_answers;
    uint32_t serial;
    uint32_t exported; /* references to our interface that the peer holds */
    size_t draft;      /* between rpc_return_begin() and _send(): where in out it begins */
    bool unwanted;     /* and whether anybody waits for it */
};

/* rpc.c. The peer did what it may not: Abort, closed. */
void rpc_violation(struct rpc *, enum cv_error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* True (and a violation) if anything read so far was damaged. Asked before acting on what was read. */
bool rpc_damaged(struct rpc *, const struct capnp_msg *);

/* rpc_client.c */
void rpc_on_return(struct rpc *, struct capnp_struct ret);
void rpc_end_questions(struct rpc *); /* closed: tells everybody who waits */

/* rpc_server.c */
void rpc_on_bootstrap(struct rpc *, struct capnp_struct bootstrap);
void rpc_on_call(struct rpc *, struct capnp_struct call);
void rpc_on_finish(struct rpc *, struct capnp_struct finish);
void rpc_on_release(struct rpc *, struct capnp_struct release);
void rpc_end_answers(struct rpc *); /* closed: cancels what is owed */

#endif
