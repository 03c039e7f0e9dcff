/* rpc_client.c: the questions that we ask and the returns that answer them. */
#include "tunnel/rpc_message.h"
#include "tunnel/rpc_state.h"

#include <inttypes.h>

static uint32_t open_questions(const struct rpc *r)
{
    return r->n_questions - r->n_free;
}

/* The id freed last is used first: the original does, and ids stay small. */
static uint32_t ask(struct rpc *r, int state)
{
    uint32_t id = r->n_free ? r->free : r->n_questions;
    CV_ASSERT(id <= r->limits.questions);
    if (r->n_free) {
        r->free = r->questions[id].next;
        r->n_free--;
    } else {
        r->n_questions++;
    }
    r->questions[id] = (struct question){ .state = state };
    return id;
}

static struct question take_question(struct rpc *r, uint32_t id)
{
    struct question q = r->questions[id];
    r->questions[id] = (struct question){ .state = FREE, .next = r->free };
    r->free = id;
    r->n_free++;
    return q;
}

/* ---- calling ----------------------------------------------------------------------------------- */

enum cv_error rpc_call_begin(struct rpc *r, const struct rpc_method *method, struct capnp_new *payload,
                             struct cv_err *err)
{
    if (r->closed)
        return cv_fail(err, CV_E_CANCEL, "%s", r->why.text);
    if (open_questions(r) >= r->limits.questions)
        return cv_fail(err, CV_E_LIMIT, "%u calls wait for the peer's answer already", open_questions(r));
    if (r->peer == UNASKED) {
        r->peer = ASKED;
        r->peer_id = ask(r, FOR_BOOTSTRAP);
        rpc_put_bootstrap(&r->out, r->peer_id);
    }
    struct rpc_target target = { .promised = r->peer == ASKED, .id = r->peer_id };
    r->drafted = ask(r, WAITING);
    r->payload = rpc_put_call(&r->build, &r->out, r->drafted, *method, target);
    *payload = r->payload;
    return CV_OK;
}

uint32_t rpc_call_send(struct rpc *r, rpc_done_fn *done, void *arg)
{
    rpc_put_payload_end(r->payload);
    r->questions[r->drafted].done = done;
    r->questions[r->drafted].arg = arg;
    return r->drafted;
}

void rpc_cancel(struct rpc *r, uint32_t question)
{
    CV_ASSERT(question < r->n_questions);
    if (r->questions[question].state != WAITING)
        return;
    r->questions[question].state = GIVEN_UP; /* its id stays in use until the Return */
    if (!r->closed)
        rpc_put_finish(&r->out, question, false);
}

void rpc_end_questions(struct rpc *r)
{
    struct rpc_result end = { .what = RPC_CLOSED, .reason = cv_str_of(r->why.text) };
    for (uint32_t id = 0; id < r->n_questions; id++) {
        struct question *q = &r->questions[id];
        if (q->state != WAITING)
            continue;
        q->state = GIVEN_UP;
        q->done(q->arg, &end);
    }
}

/* ---- Return ------------------------------------------------------------------------------------ */

/* True if the payload's content is a capability that the peer hosts. */
static bool hosted_by_peer(struct capnp_struct payload, uint32_t *id)
{
    uint32_t index;
    struct capnp_list caps = capnp_get_list(payload, 1);
    if (!capnp_get_cap(payload, 0, &index) || index >= caps.n)
        return false;
    struct capnp_struct cap = capnp_list_at(caps, index);
    uint16_t which = capnp_get_u16(cap, 0);
    *id = capnp_get_u32(cap, 4);
    return which == CAP_SENDER_HOSTED || which == CAP_SENDER_PROMISE;
}

/* Without an interface the calls already sent get exceptions of their own, and the next call asks anew. */
static void on_bootstrap_return(struct rpc *r, uint32_t id, uint16_t which, struct capnp_struct body)
{
    bool held = which == RETURN_RESULTS && hosted_by_peer(body, &r->peer_id);
    r->peer = held ? HELD : UNASKED;
    take_question(r, id);
    rpc_put_finish(&r->out, id, held);
}

static struct rpc_result result_of(uint16_t which, struct capnp_struct body)
{
    struct rpc_result result = { .what = RPC_EXCEPTION };
    switch (which) {
    case RETURN_RESULTS:
        result.what = RPC_RESULTS;
        result.content = capnp_get_struct(body, 0);
        break;
    case RETURN_EXCEPTION: result.reason = capnp_get_text(body, 0); break;
    case RETURN_CANCELED: result.reason = CV_STR("rpc: the peer canceled the call"); break;
    default: result.reason = CV_STR("rpc: unknown kind of return");
    }
    return result;
}

static void on_call_return(struct rpc *r, uint32_t id, uint16_t which, struct capnp_struct body)
{
    struct rpc_result result = result_of(which, body);
    bool useless_caps = capnp_get_list(body, 1).n > 0;
    struct question q = take_question(r, id);
    if (q.state == GIVEN_UP)
        return; /* was finished then */
    rpc_put_finish(&r->out, id, which == RETURN_RESULTS && !useless_caps);
    q.done(q.arg, &result);
}

void rpc_on_return(struct rpc *r, struct capnp_struct ret)
{
    uint32_t id = capnp_get_u32(ret, 0);
    uint16_t which = capnp_get_u16(ret, 6);
    struct capnp_struct body = capnp_get_struct(ret, 0);
    if (rpc_damaged(r, ret.msg))
        return;
    if (id >= r->n_questions || r->questions[id].state == FREE)
        rpc_violation(r, CV_E_PROTO, "rpc: return for question %" PRIu32 ", which was not asked", id);
    else if (r->questions[id].state == FOR_BOOTSTRAP)
        on_bootstrap_return(r, id, which, body);
    else
        on_call_return(r, id, which, body);
}
