/* rpc_server.c: what the peer asks of us, and the answers that we owe. */
#include "tunnel/rpc_message.h"
#include "tunnel/rpc_state.h"

#include <inttypes.h>
#include <stdio.h>

#define NO_BOOTSTRAP "rpc: no bootstrap interface"
#define NO_TARGET    "rpc: target not found"
enum { OUR_INTERFACE = 0 }; /* the only capability that we give out */

static struct answer *find_answer(struct rpc *r, uint32_t id)
{
    for (unsigned i = 0; i < r->n_answers; i++)
        if (r->answers[i].id == id)
            return &r->answers[i];
    return NULL;
}

/* NULL: nobody waits for an answer to this call. */
static struct answer *owed(struct rpc *r, struct rpc_token t)
{
    struct answer *a = find_answer(r, t.answer);
    return a && a->serial == t.serial && !a->returned ? a : NULL;
}

/* NULL: that was a violation. */
static struct answer *new_answer(struct rpc *r, uint32_t id)
{
    if (find_answer(r, id)) {
        rpc_violation(r, CV_E_PROTO, "rpc: question %" PRIu32 " is in use already", id);
        return NULL;
    }
    if (r->n_answers == r->limits.answers) {
        rpc_violation(r, CV_E_LIMIT, "rpc: more than %u questions without a finish", r->limits.answers);
        return NULL;
    }
    struct answer *a = &r->answers[r->n_answers++];
    *a = (struct answer){ .id = id, .serial = ++r->serial };
    return a;
}

static void cancel(struct rpc *r, struct answer a)
{
    if (!a.returned && r->ops->cancel)
        r->ops->cancel(r->arg, r, (struct rpc_token){ a.id, a.serial });
}

void rpc_end_answers(struct rpc *r)
{
    while (r->n_answers)
        cancel(r, r->answers[--r->n_answers]);
}

/* ---- answering --------------------------------------------------------------------------------- */

struct capnp_new rpc_return_begin(struct rpc *r, struct rpc_token t)
{
    struct answer *a = owed(r, t);
    if (a)
        a->returned = true;
    r->unwanted = !a; /* written all the same, then forgotten: the caller need not care */
    r->draft = r->out.n;
    r->payload = rpc_put_results(&r->build, &r->out, t.answer);
    return r->payload;
}

void rpc_return_send(struct rpc *r)
{
    rpc_put_payload_end(r->payload);
    if (r->unwanted)
        r->out.n = r->draft;
}

void rpc_return_exception(struct rpc *r, struct rpc_token t, struct cv_str reason)
{
    struct answer *a = owed(r, t);
    if (!a)
        return;
    a->returned = true;
    rpc_put_exception(&r->out, t.answer, reason);
}

static void no_method(struct rpc *r, struct rpc_token t, struct rpc_method method)
{
    char reason[80];
    snprintf(reason, sizeof reason, "@0x%" PRIx64 ".@%u: capnp: method not implemented", method.interface,
             method.number);
    rpc_return_exception(r, t, cv_str_of(reason));
}

/* ---- Bootstrap, Call ---------------------------------------------------------------------------- */

void rpc_on_bootstrap(struct rpc *r, struct capnp_struct bootstrap)
{
    struct answer *a = new_answer(r, capnp_get_u32(bootstrap, 0));
    if (!a)
        return;
    a->returned = a->bootstrap = true;
    if (!r->ops) {
        rpc_put_exception(&r->out, a->id, CV_STR(NO_BOOTSTRAP));
        return;
    }
    r->exported++;
    rpc_put_interface(&r->out, a->id, OUR_INTERFACE);
}

static bool takes_a_field(struct capnp_list transform)
{
    for (size_t i = 0; i < transform.n; i++)
        if (capnp_get_u16(capnp_list_at(transform, i), 0) == OP_GET_POINTER_FIELD)
            return true;
    return false;
}

/* Empty if the target is our interface, else why it is not. The results of our methods hold no capabilities,
 * so no promise but that of a Bootstrap leads anywhere. */
static struct cv_str bad_target(struct rpc *r, struct capnp_struct target)
{
    const struct cv_str fine = { 0 };
    if (capnp_get_u16(target, 4) == TARGET_CAP) {
        bool ours = capnp_get_u32(target, 0) == OUR_INTERFACE && r->exported;
        return ours ? fine : CV_STR(NO_TARGET);
    }
    struct capnp_struct promise = capnp_get_struct(target, 0);
    struct answer *a = find_answer(r, capnp_get_u32(promise, 0));
    if (!a)
        return CV_STR(NO_TARGET);
    if (!a->bootstrap || takes_a_field(capnp_get_list(promise, 0)))
        return CV_STR("rpc: target is not a capability");
    return r->ops ? fine : CV_STR(NO_BOOTSTRAP);
}

void rpc_on_call(struct rpc *r, struct capnp_struct call)
{
    struct rpc_method method = { capnp_get_u64(call, 8), capnp_get_u16(call, 4) };
    struct capnp_struct target = capnp_get_struct(call, 0);
    struct capnp_struct params = capnp_get_struct(capnp_get_struct(call, 1), 0);
    struct cv_str bad = bad_target(r, target);
    if (rpc_damaged(r, call.msg))
        return;
    if (capnp_get_u16(call, 6) != RESULTS_TO_CALLER || capnp_get_u16(target, 4) > TARGET_PROMISED_ANSWER) {
        rpc_put_unimplemented(&r->out, call.msg);
        return;
    }
    struct answer *a = new_answer(r, capnp_get_u32(call, 0));
    if (!a)
        return;
    struct rpc_token t = { a->id, a->serial };
    if (bad.n)
        rpc_return_exception(r, t, bad);
    else if (!r->ops->call(r->arg, r, t, method, params))
        no_method(r, t, method);
}

/* ---- Finish, Release ---------------------------------------------------------------------------- */

static void drop_exported(struct rpc *r, uint32_t n)
{
    r->exported -= n < r->exported ? n : r->exported;
}

void rpc_on_finish(struct rpc *r, struct capnp_struct finish)
{
    struct answer *found = find_answer(r, capnp_get_u32(finish, 0));
    if (!found)
        return;
    struct answer a = *found;
    *found = r->answers[--r->n_answers];
    if (a.bootstrap && !capnp_get_bit(finish, KEEP_CAPS))
        drop_exported(r, 1);
    if (!a.returned)
        rpc_put_canceled(&r->out, a.id); /* a Return is due all the same: until then the id is not free */
    cancel(r, a);
}

void rpc_on_release(struct rpc *r, struct capnp_struct release)
{
    if (capnp_get_u32(release, 0) == OUR_INTERFACE)
        drop_exported(r, capnp_get_u32(release, 4));
}
