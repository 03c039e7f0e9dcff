/* rpc_message.c: writes the messages of RPC. */
#include "tunnel/rpc_message.h"

/* Returns the body. */
static struct capnp_new begin(struct capnp_build *b, struct cv_buf *out, uint16_t which, uint16_t words,
                              uint16_t ptrs)
{
    struct capnp_new message = capnp_put_struct(capnp_begin(b, out), 0, 1, 1);
    capnp_put_u16(message, 0, which);
    return capnp_put_struct(message, 0, words, ptrs);
}

void rpc_put_bootstrap(struct cv_buf *out, uint32_t question)
{
    struct capnp_build b;
    capnp_put_u32(begin(&b, out, MESSAGE_BOOTSTRAP, 1, 1), 0, question);
    capnp_end(&b);
}

void rpc_put_finish(struct cv_buf *out, uint32_t question, bool keep_caps)
{
    struct capnp_build b;
    struct capnp_new finish = begin(&b, out, MESSAGE_FINISH, 1, 0);
    capnp_put_u32(finish, 0, question);
    capnp_put_bit(finish, KEEP_CAPS, keep_caps);
    capnp_end(&b);
}

void rpc_put_release(struct cv_buf *out, uint32_t capability)
{
    struct capnp_build b;
    struct capnp_new release = begin(&b, out, MESSAGE_RELEASE, 1, 0);
    capnp_put_u32(release, 0, capability);
    capnp_put_u32(release, 4, 1);
    capnp_end(&b);
}

/* Fields of an exception of type failed, the only one that the original tells apart from nothing. */
static void put_reason(struct capnp_new exception, struct cv_str reason)
{
    capnp_put_text(exception, 0, reason);
}

void rpc_put_abort(struct cv_buf *out, struct cv_str reason)
{
    struct capnp_build b;
    put_reason(begin(&b, out, MESSAGE_ABORT, 1, 1), reason);
    capnp_end(&b);
}

static struct capnp_new begin_return(struct capnp_build *b, struct cv_buf *out, uint32_t answer,
                                     uint16_t which)
{
    struct capnp_new ret = begin(b, out, MESSAGE_RETURN, 2, 1);
    capnp_put_u32(ret, 0, answer);
    capnp_put_bit(ret, KEEP_CAPS, true);
    capnp_put_u16(ret, 6, which);
    return ret;
}

void rpc_put_interface(struct cv_buf *out, uint32_t answer, uint32_t capability)
{
    struct capnp_build b;
    struct capnp_new payload = capnp_put_struct(begin_return(&b, out, answer, RETURN_RESULTS), 0, 0, 2);
    capnp_put_cap(payload, 0, 0);
    struct capnp_new cap = capnp_put_structs(payload, 1, 1, 1, 1);
    capnp_put_u16(cap, 0, CAP_SENDER_HOSTED);
    capnp_put_u32(cap, 4, capability);
    capnp_end(&b);
}

void rpc_put_exception(struct cv_buf *out, uint32_t answer, struct cv_str reason)
{
    struct capnp_build b;
    put_reason(capnp_put_struct(begin_return(&b, out, answer, RETURN_EXCEPTION), 0, 1, 1), reason);
    capnp_end(&b);
}

void rpc_put_canceled(struct cv_buf *out, uint32_t answer)
{
    struct capnp_build b;
    begin_return(&b, out, answer, RETURN_CANCELED);
    capnp_end(&b);
}

/* Segment 0 of the offending message begins with the pointer to it, and near pointers are relative: the
 * whole segment can stand where that pointer belongs. Far pointers are absolute, so of a message in several
 * segments only the kind is echoed. */
void rpc_put_unimplemented(struct cv_buf *out, struct capnp_msg *offending)
{
    struct capnp_build b;
    struct capnp_new message = capnp_put_struct(capnp_begin(&b, out), 0, 1, 1);
    capnp_put_u16(message, 0, MESSAGE_UNIMPLEMENTED);
    if (offending->segments == 1)
        capnp_put_segment(message, 0, offending);
    else
        capnp_put_u16(capnp_put_struct(message, 0, 1, 1), 0, capnp_get_u16(capnp_root(offending), 0));
    capnp_end(&b);
}

static void put_target(struct capnp_new call, struct rpc_target t)
{
    struct capnp_new target = capnp_put_struct(call, 0, 1, 1);
    capnp_put_u16(target, 4, t.promised ? TARGET_PROMISED_ANSWER : TARGET_CAP);
    if (!t.promised) {
        capnp_put_u32(target, 0, t.id);
        return;
    }
    struct capnp_new promise = capnp_put_struct(target, 0, 1, 1);
    capnp_put_u32(promise, 0, t.id);
    capnp_put_structs(promise, 0, 0, 1, 0); /* transform: the answer itself */
}

struct capnp_new rpc_put_call(struct capnp_build *b, struct cv_buf *out, uint32_t question,
                              struct rpc_method method, struct rpc_target target)
{
    struct capnp_new call = begin(b, out, MESSAGE_CALL, 3, 3);
    capnp_put_u32(call, 0, question);
    capnp_put_u16(call, 4, method.number);
    capnp_put_u16(call, 6, RESULTS_TO_CALLER);
    capnp_put_u64(call, 8, method.interface);
    put_target(call, target);
    return capnp_put_struct(call, 1, 0, 2);
}

struct capnp_new rpc_put_results(struct capnp_build *b, struct cv_buf *out, uint32_t answer)
{
    return capnp_put_struct(begin_return(b, out, answer, RETURN_RESULTS), 0, 0, 2);
}

void rpc_put_payload_end(struct capnp_new payload)
{
    capnp_put_structs(payload, 1, 0, 1, 1); /* capTable */
    capnp_end(payload.b);
}
