/* registrar.h: the streams that Cloudflare opens for itself, as requests whose origin is this program: the control
 * stream (CV_CONTROL), its calls (CV_RPC) and configurations by HTTP/2 (CV_CONFIG). Worker threads. */
#ifndef CV_TUNNEL_REGISTRAR_H
#define CV_TUNNEL_REGISTRAR_H

#include "tunnel/conn.h"
#include "tunnel/orchestrator.h"
#include "tunnel/rpc.h"

/* What all of them need. Set on the main thread before any stream, then only read. */
struct registrar_conf {
    struct cv_worker *main;   /* where the orchestrator lives                      */
    struct cv_ms rpc_timeout; /* of calls, and life of a stream of the edge's calls */
    size_t config_size;       /* largest configuration                             */
};
extern struct registrar_conf registrar_conf;

/* One of those streams: the first member of what each kind keeps. Lies in the request's arena. */
struct stream {
    const struct stream_kind *kind;
    struct cv_req *req;
    const struct cv_self *self;
    struct rpc *rpc; /* NULL for CV_CONFIG; freed with the stream */
};
struct stream_kind {
    size_t size; /* of the whole; zeroed before open() */
    void (*open)(struct stream *);
    void (*readable)(struct stream *);
    void (*closed)(struct stream *); /* the request is over; clear your timers */
    /* An answer to updateConfiguration; applied: the version in force. NULL for a kind that never asks. */
    void (*configured)(struct stream *, uint64_t ticket, const struct config_outcome *);
};
extern const struct stream_kind control_stream, rpc_stream, config_stream;

/* Feeds what has come to the RPC peer and sends what it has to say; ends `down` when the peer is closed. */
void stream_pump(struct stream *);
/* Sends what rpc_out() holds, as far as there is room. */
void stream_flush(struct stream *);
/* Hands a configuration to the main thread; kind->configured() comes later, unless the stream ends first. */
void stream_configure(struct stream *, uint64_t ticket, int32_t version, struct cv_str config);

/* The order of conn_unregister(): on the control stream, if there is one, and its end. */
void control_unregister(struct connection *, struct cv_ms timeout);

#endif
