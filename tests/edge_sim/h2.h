/* h2.h: shared by h2.c (TLS and the socket) and h2_stream.c (frames and streams). */
#ifndef EDGE_SIM_H2_H
#define EDGE_SIM_H2_H

#include "edge_sim.h"

#include <nghttp2/nghttp2.h>

struct h2 {
    struct conn *conn;
    int fd;
    SSL *ssl;
    struct event *rev, *wev, *timer;
    nghttp2_session *session; /* NULL until the handshake is done */
    struct cv_buf out;        /* bytes that TLS has not taken yet */
    LIST_HEAD(, h2_stream) streams;
    struct answer *dial;   /* what the script wants of this attempt, or NULL */
    const char *ended_how; /* not NULL: it ends at the end of this turn      */
    bool handshaken, alpn_offered, flush_queued;
    bool silent, reset, farewell, goaway;
    unsigned settings_seen;
};

struct h2_stream {
    struct stream s; /* first */
    LIST_ENTRY(h2_stream) entry;
    struct h2 *h2;
    struct fields fields; /* as they come in */
    int status;
    bool replied, sleeping; /* sleeping: nghttp2 waits to be told of new bytes */
};

void h2_end(struct h2 *, const char *how);
void h2_send_soon(struct h2 *);

void h2_session_start(struct h2 *);
void h2_stream_free(struct h2_stream *, enum ending, uint64_t code);
void h2_reset_streams(struct h2 *);
struct stream *h2_open(struct conn *, const struct head *);
void h2_written(struct stream *);
void h2_credit(struct stream *, size_t n);
void h2_reset(struct stream *, bool done);

#endif
