/* rpc.c: the life of an RPC connection: bytes in, messages to the two roles, the end (docs/protocol.md §8).
 */
#include "tunnel/rpc.h"
#include "tunnel/rpc_message.h"
#include "tunnel/rpc_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rpc_limits complete(struct rpc_limits l)
{
    return (struct rpc_limits){
        .message = l.message ? l.message : 1 << 20,
        .output = l.output ? l.output : 4 << 20,
        .questions = l.questions ? l.questions : 64,
        .answers = l.answers ? l.answers : 64,
    };
}

struct rpc *rpc_new(const struct rpc_ops *ops, void *arg, const struct rpc_limits *limits)
{
    struct rpc *r = cv_xcalloc(1, sizeof *r);
    r->ops = ops;
    r->arg = arg;
    r->limits = complete(limits ? *limits : (struct rpc_limits){ 0 });
    r->questions = cv_xcalloc((size_t)r->limits.questions + 1, sizeof *r->questions); /* and the bootstrap */
    r->answers = cv_xcalloc(r->limits.answers, sizeof *r->answers);
    return r;
}

void rpc_free(struct rpc *r)
{
    if (!r)
        return;
    cv_buf_free(&r->in);
    cv_buf_free(&r->out);
    free(r->questions);
    free(r->answers);
    free(r);
}

struct cv_buf *rpc_out(struct rpc *r)
{
    return &r->out;
}

bool rpc_closed(const struct rpc *r)
{
    return r->closed != CV_OK;
}

/* ---- the end ----------------------------------------------------------------------------------- */

/* Nothing more goes in or out. Callbacks may call in here again and find it closed. */
static void shut(struct rpc *r, enum cv_error e, struct cv_str why)
{
    r->closed = cv_fail(&r->why, e, CV_STR_FMT, CV_STR_ARG(why));
    rpc_end_questions(r);
    rpc_end_answers(r);
}

void rpc_violation(struct rpc *r, enum cv_error e, const char *fmt, ...)
{
    struct cv_err why;
    va_list args;
    va_start(args, fmt);
    vsnprintf(why.text, sizeof why.text, fmt, args);
    va_end(args);
    rpc_put_abort(&r->out, cv_str_of(why.text));
    shut(r, e, cv_str_of(why.text));
}

bool rpc_damaged(struct rpc *r, const struct capnp_msg *m)
{
    struct cv_err why;
    if (!capnp_check(m, &why))
        return false;
    rpc_violation(r, CV_E_PROTO, "rpc: %s", why.text);
    return true;
}

void rpc_close(struct rpc *r)
{
    if (r->closed)
        return;
    if (r->peer == HELD)
        rpc_put_release(&r->out, r->peer_id);
    rpc_put_abort(&r->out, CV_STR("rpc: shutdown"));
    shut(r, CV_E_CANCEL, CV_STR("rpc: shutdown"));
}

void rpc_feed_end(struct rpc *r)
{
    if (r->closed)
        return;
    shut(r, CV_E_IO,
         r->in.n ? CV_STR("rpc: the peer ended the stream inside a message")
                 : CV_STR("rpc: the peer ended the stream"));
}

/* ---- input ------------------------------------------------------------------------------------- */

static void on_abort(struct rpc *r, struct capnp_struct exception)
{
    struct cv_str reason = capnp_get_text(exception, 0);
    shut(r, CV_E_CANCEL, reason.n ? reason : CV_STR("rpc: the peer gave no reason"));
}

static void on_message(struct rpc *r, struct capnp_msg *m)
{
    struct capnp_struct message = capnp_root(m), body = capnp_get_struct(message, 0);
    if (rpc_damaged(r, m))
        return;
    switch (capnp_get_u16(message, 0)) {
    case MESSAGE_UNIMPLEMENTED: break; /* an answer to it could go back and forth for ever */
    case MESSAGE_ABORT: on_abort(r, body); break;
    case MESSAGE_CALL: rpc_on_call(r, body); break;
    case MESSAGE_RETURN: rpc_on_return(r, body); break;
    case MESSAGE_FINISH: rpc_on_finish(r, body); break;
    case MESSAGE_RELEASE: rpc_on_release(r, body); break;
    case MESSAGE_BOOTSTRAP: rpc_on_bootstrap(r, body); break;
    default: rpc_put_unimplemented(&r->out, m);
    }
}

/* Handles the message at p; returns its length, or 0 if it is not all there or not a message. */
static size_t take_message(struct rpc *r, const uint8_t *p, size_t n)
{
    size_t need;
    struct cv_err why;
    struct capnp_msg m;
    enum cv_error e = capnp_frame(p, n, r->limits.message, &need, &why);
    if (!e && need > n)
        return 0;
    if (!e)
        e = capnp_open(&m, p, need, &why);
    if (!e && r->out.n > r->limits.output)
        e = cv_fail(&why, CV_E_LIMIT, "the peer sends and does not read");
    if (e) {
        rpc_violation(r, e, "rpc: %s", why.text);
        return 0;
    }
    on_message(r, &m);
    return need;
}

enum cv_error rpc_feed(struct rpc *r, const void *p, size_t n, struct cv_err *err)
{
    if (!r->closed)
        cv_buf_add(&r->in, p, n);
    size_t used = 0, took = 1;
    while (!r->closed && took && used < r->in.n)
        used += took = take_message(r, r->in.p + used, r->in.n - used);
    cv_buf_take_front(&r->in, used);
    if (!r->in.n || r->closed)
        cv_buf_free(&r->in); /* an idle connection holds nothing */
    return r->closed ? cv_fail(err, r->closed, "%s", r->why.text) : CV_OK;
}
