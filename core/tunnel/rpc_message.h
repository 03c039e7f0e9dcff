/* rpc_message.h: the messages of RPC, where their fields lie, and how each is written (docs/protocol.md
 * §8.1). For rpc*.c alone. */
#ifndef TUNNEL_RPC_MESSAGE_H
#define TUNNEL_RPC_MESSAGE_H
#include "tunnel/rpc.h"

enum { /* Message.which */
       MESSAGE_UNIMPLEMENTED = 0,
       MESSAGE_ABORT = 1,
       MESSAGE_CALL = 2,
       MESSAGE_RETURN = 3,
       MESSAGE_FINISH = 4,
       MESSAGE_RELEASE = 6,
       MESSAGE_BOOTSTRAP = 8,
};
enum { TARGET_CAP, TARGET_PROMISED_ANSWER };            /* MessageTarget.which */
enum { CAP_SENDER_HOSTED = 1, CAP_SENDER_PROMISE = 2 }; /* CapDescriptor.which */
enum { RETURN_RESULTS, RETURN_EXCEPTION, RETURN_CANCELED };
enum { OP_GET_POINTER_FIELD = 1 };
enum { RESULTS_TO_CALLER = 0 }; /* Call.sendResultsTo */
enum { KEEP_CAPS = 32 };        /* bit of Return and Finish: releaseParamCaps, releaseResultCaps are false */

/* Whole messages, appended to out. */
void rpc_put_bootstrap(struct cv_buf *out, uint32_t question);
void rpc_put_finish(struct cv_buf *out, uint32_t question, bool keep_caps);
void rpc_put_release(struct cv_buf *out, uint32_t capability);
void rpc_put_abort(struct cv_buf *out, struct cv_str reason);
void rpc_put_interface(struct cv_buf *out, uint32_t answer, uint32_t capability); /* Return of a Bootstrap */
void rpc_put_exception(struct cv_buf *out, uint32_t answer, struct cv_str reason);
void rpc_put_canceled(struct cv_buf *out, uint32_t answer);
void rpc_put_unimplemented(struct cv_buf *out, struct capnp_msg *offending);

/* Messages with a payload: returns the place for it; rpc_put_payload_end() completes the message. */
struct rpc_target {
    bool promised; /* the answer to the question id, else the capability id */
    uint32_t id;
};
struct capnp_new rpc_put_call(struct capnp_build *, struct cv_buf *out, uint32_t question, struct rpc_method,
                              struct rpc_target);
struct capnp_new rpc_put_results(struct capnp_build *, struct cv_buf *out, uint32_t answer);
void rpc_put_payload_end(struct capnp_new payload);

#endif
