/* quic.h: shared by quic.c (sockets, packets to connections), quic_net.c (a bad network), quic_conn.c (one
 * connection), quic_write.c (what it sends) and quic_stream.c (its streams). */
#ifndef EDGE_SIM_QUIC_H
#define EDGE_SIM_QUIC_H

#include "edge_sim.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_ossl.h>

enum { QUIC_CID = 16, QUIC_CIDS_MAX = 32, QUIC_PACKET = 1452, QUIC_DATAGRAMS_MAX = 256 };

struct quic_sock {
    int fd;
    struct event event;
    struct sockaddr_storage local;
    socklen_t local_n;
    SSL_CTX *tls;
};

struct quic {
    LIST_ENTRY(quic) entry;
    struct conn *conn; /* NULL: closed; it only waits for late packets */
    struct quic_sock *sock;
    struct sockaddr_storage peer;
    socklen_t peer_n;
    ngtcp2_conn *ng;
    SSL *ssl;
    ngtcp2_crypto_ossl_ctx *ossl;
    ngtcp2_crypto_conn_ref ref;
    ngtcp2_cid cids[QUIC_CIDS_MAX]; /* that packets for it may carry */
    size_t ncids;
    LIST_HEAD(, quic_stream) streams;
    TAILQ_HEAD(, quic_stream) ready; /* with bytes to send */
    STAILQ_HEAD(, quic_datagram) datagrams;
    size_t ndatagrams;
    struct event timer, flush;
    const char *ended_how; /* not NULL: it ends at the end of this turn */
    ngtcp2_ccerr error;    /* sent as it ends, unless it ends silently  */
    bool flush_queued, silent, deaf, quiet_end, goaway, forget, stall_control, silent_once_up;
    uint8_t farewell[QUIC_PACKET]; /* CONNECTION_CLOSE, again for every late packet */
    size_t farewell_n;
};

struct quic_stream {
    struct stream s; /* first */
    LIST_ENTRY(quic_stream) entry;
    TAILQ_ENTRY(quic_stream) turn;
    struct quic *quic;
    size_t sent;        /* bytes of s.up that are on their way and not acknowledged */
    struct cv_buf head; /* of the answer, until it is complete                      */
    bool is_ready, fin_sent, shut, replied, serves_rpc;
    struct rpc *rpc; /* a stream that the connector opened for a call */
};

struct quic_datagram {
    STAILQ_ENTRY(quic_datagram) entry;
    size_t n;
    uint8_t bytes[];
};

uint64_t quic_now(void); /* nanoseconds */

/* quic.c */
void quic_forget(struct quic *); /* out of the list; frees it */

/* quic_net.c: through the bad network, both ways. A packet that comes in goes to quic_packet(). */
void net_out(struct quic_sock *, const struct sockaddr *to, socklen_t, const uint8_t *, size_t n);
void net_in(struct quic_sock *, const struct sockaddr *from, socklen_t, const uint8_t *, size_t n);
void net_free(void);
void quic_packet(struct quic_sock *, const struct sockaddr *from, socklen_t, const uint8_t *, size_t n);

/* quic_conn.c */
struct quic *quic_conn_new(struct quic_sock *, const struct sockaddr *from, socklen_t, const ngtcp2_pkt_hd *);
void quic_conn_read(struct quic *, const struct sockaddr *from, socklen_t, const uint8_t *, size_t n);
void quic_end(struct quic *, const char *how);
void quic_fail(struct quic *, int liberr);
void quic_send_soon(struct quic *);
void quic_conn_free(struct quic *);
void quic_reset_token(const ngtcp2_cid *, uint8_t token[static NGTCP2_STATELESS_RESET_TOKENLEN]);

/* quic_write.c: all that may be sent now; sets the timer. */
void quic_write(struct quic *);

/* quic_stream.c */
struct stream *quic_open(struct conn *, const struct head *);
void quic_written(struct stream *);
void quic_credit(struct stream *, size_t n);
void quic_reset(struct stream *, bool done);
void quic_stream_free(struct quic_stream *, enum ending, uint64_t code);
void quic_stream_ready(struct quic_stream *);
void quic_stream_rest(struct quic_stream *);
void quic_reset_streams(struct quic *);
extern const ngtcp2_callbacks quic_stream_callbacks; /* only the members about streams are set */

#endif
