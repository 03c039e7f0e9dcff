/* rpc.h: one side of a Cap'n Proto RPC connection: bytes in, bytes out, no socket and no clock.
 *
 * Source: docs/protocol.md §8. Client and server in one: it calls the peer's bootstrap interface and
 * exports one of its own. The owner carries rpc_out() to the peer after every call in here, and what
 * comes from the peer to rpc_feed().
 *
 *     rpc_call_begin(r, &schema_register_connection, &payload, err);
 *     schema_put_registration(payload, 0, &registration);
 *     question = rpc_call_send(r, done, arg);             ... rpc_feed() ... done(arg, &result)
 *
 * Callbacks run inside rpc_feed(), rpc_feed_end() and rpc_close() only. They may call, return and close,
 * but neither feed nor free. One thread. */
#ifndef TUNNEL_RPC_H
#define TUNNEL_RPC_H

#include "tunnel/capnp.h"

struct rpc;

struct rpc_method {
    uint64_t interface; /* of the interface that declares it */
    uint16_t number;
};
static inline bool rpc_same_method(struct rpc_method a, struct rpc_method b)
{
    return a.interface == b.interface && a.number == b.number;
}

/* A call that the peer made of us. Stays valid for ever; after the peer has lost interest (Finish, Abort)
 * an answer to it is silently dropped. */
struct rpc_token {
    uint32_t answer;
    uint32_t serial;
};

/* What the peer may call. NULL instead of the whole: nothing is exported. */
struct rpc_ops {
    /* Answer now or later, once: rpc_return_begin() and _send(), or rpc_return_exception(). params is
     * borrowed until you return. False: there is no such method, the peer is told. */
    bool (*call)(void *arg, struct rpc *, struct rpc_token, struct rpc_method, struct capnp_struct params);
    /* The peer no longer wants the answer. May be NULL. */
    void (*cancel)(void *arg, struct rpc *, struct rpc_token);
};

struct rpc_limits {     /* 0 stands for the default */
    size_t message;     /* bytes of one message from the peer: 1 MiB                          */
    size_t output;      /* bytes waiting in rpc_out() while the peer goes on sending: 4 MiB   */
    unsigned questions; /* our calls without an answer: 64                                    */
    unsigned answers;   /* the peer's calls that it has not finished: 64                      */
};

/* ops, limits: NULL or borrowed for the whole life. */
struct rpc *rpc_new(const struct rpc_ops *ops, void *arg, const struct rpc_limits *limits);
/* Calls nobody: close first if somebody waits. NULL is fine. */
void rpc_free(struct rpc *);

/* Bytes for the peer, in order. Send, then cv_buf_take_front(). Owned by the rpc. */
struct cv_buf *rpc_out(struct rpc *);

/* Bytes from the peer, cut anywhere. Anything but CV_OK means that the connection is closed, now or
 * before: every waiting call has been told; send what is in rpc_out(), then end the stream.
 * CV_E_CANCEL: the peer sent Abort, or rpc_close() was called. CV_E_PROTO, CV_E_LIMIT: the peer broke the
 * protocol or a limit; an Abort that says how is in rpc_out(). The text is the reason, always the same. */
enum cv_error rpc_feed(struct rpc *, const void *p, size_t n, struct cv_err *);
/* The peer's side of the stream has ended. Closes, with CV_E_IO for the calls that wait. */
void rpc_feed_end(struct rpc *);
/* Says Release (if we hold the peer's interface) and Abort `rpc: shutdown`. Closing again does nothing. */
void rpc_close(struct rpc *);
bool rpc_closed(const struct rpc *);

/* ---- client ------------------------------------------------------------------------------------ */

struct rpc_result {
    enum { RPC_RESULTS, RPC_EXCEPTION, RPC_CLOSED } what; /* closed: the connection, before an answer */
    struct capnp_struct content;                          /* of RPC_RESULTS                           */
    struct cv_str reason;                                 /* of the others                            */
};
/* Everything is borrowed until you return. */
typedef void rpc_done_fn(void *arg, const struct rpc_result *);

/* Calls a method of the peer's bootstrap interface, asking for that first (and not waiting for it).
 * On CV_OK put the params at pointer 0 of *payload, then rpc_call_send(), with nothing of this rpc in
 * between. CV_E_LIMIT: too many calls wait. CV_E_CANCEL: closed. */
enum cv_error rpc_call_begin(struct rpc *, const struct rpc_method *, struct capnp_new *payload,
                             struct cv_err *);
/* done runs exactly once, unless rpc_cancel() comes first. Returns the question: valid until then. */
uint32_t rpc_call_send(struct rpc *, rpc_done_fn *done, void *arg);
/* Gives up (a timeout, say): the peer is told, done will not run. */
void rpc_cancel(struct rpc *, uint32_t question);

/* ---- server ------------------------------------------------------------------------------------ */

/* Put the results struct at pointer 0 of the place returned (methods without results: an empty one,
 * capnp_put_struct(payload, 0, 0, 0)), then rpc_return_send(), with nothing of this rpc in between. */
struct capnp_new rpc_return_begin(struct rpc *, struct rpc_token);
void rpc_return_send(struct rpc *);
void rpc_return_exception(struct rpc *, struct rpc_token, struct cv_str reason);

#endif
