/* quic.h: inside edge_quic: one QUIC connection to the edge, its UDP socket and its streams.
 *
 *   socket ──▶ endpoint.c ──▶ conn.c ──▶ intake.c ──▶ up pipe      packets, frames, bytes
 *   socket ◀── endpoint.c ◀── conn.c ◀── send.c ◀──── down pipe
 *
 * Thread   A connection and all its streams live on one worker; nothing here is shared.
 * Order    ngtcp2 calls back while it reads; nothing is written then. What there is to send goes out at the
 *          end of the loop turn (cv_late), when the origins have had their say too, so that packets are full.
 * Source   docs/protocol.md §12, RFC 9000 to 9002. */
#ifndef EDGE_QUIC_H
#define EDGE_QUIC_H
#include "culvert/culvert.h"
#include "culvert/mem.h"
#include "culvert/wire.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_ossl.h>
#include <sys/queue.h>

struct quic_conf {
    int congestion_control; /* 0 cubic, 1 bbr */
    struct cv_ms keep_alive, idle_timeout, handshake_timeout, head_timeout, write_stream_timeout;
    struct cv_bytes conn_window, stream_window, max_head, socket_buffer;
    int headless_streams;
    bool disable_pmtu_discovery, gso, gro;
};

enum {
    QUIC_PACKET = 1452,           /* largest UDP payload, either way                   */
    QUIC_INITIAL_CONN = 786432,   /* windows that a connection begins with             */
    QUIC_INITIAL_STREAM = 524288, /* and a stream                                      */
    QUIC_METADATA = 512,          /* entries of one head                               */
    QUIC_PORTS = 256,             /* connection indexes whose local port is remembered */
};

/* ---- metrics: edge_quic.c has the table, stats.c the counting ---------------------------------------- */

enum quic_metric {
    QM_TOTAL_CONNECTIONS,
    QM_CLOSED_CONNECTIONS,
    QM_MAX_UDP_PAYLOAD,
    QM_SENT_FRAMES,
    QM_RECEIVED_FRAMES,
    QM_SENT_BYTES,
    QM_RECEIVE_BYTES,
    QM_LOST_PACKETS,
    QM_MIN_RTT,
    QM_LATEST_RTT,
    QM_SMOOTHED_RTT,
    QM_MTU,
    QM_CONGESTION_WINDOW,
    QM_CONGESTION_STATE,
    QM_TOO_BIG, /* of datagrams, which are not carried: 0 */
    QM_REFUSED_STREAMS,
    QM_REFUSED_GRPC,
    QM_DROPPED_DATAGRAMS,
    QM_DISCARDED_PACKETS,
    QM_CONNECTION_ERRORS,
};
enum quic_frame { QF_STREAM, QF_RESET_STREAM, QF_STOP_SENDING, QF_DATAGRAM, QF_PING, QF_N };
enum quic_refusal { QR_SIGNATURE, QR_SHORT, QR_HEAD, QR_HEAD_TIMEOUT, QR_TOO_MANY, QR_UNIDIRECTIONAL, QR_N };

/* Counted in plain integers where it happens, handed to the metrics every few seconds. */
struct quic_stats {
    uint64_t sent[QF_N], received[QF_N], refused[QR_N];
    ngtcp2_conn_info last; /* as of the last hand-over */
};

/* ---- the UDP socket (endpoint.c) --------------------------------------------------------------------- */

enum {
    QUIC_BATCH = 8,         /* messages of one recvmmsg                    */
    QUIC_MESSAGE = 65536,   /* a message is up to 64 KiB of equal packets  */
    QUIC_SEND = 61440,      /* a batch to send: under 64 packets of 1,200  */
    QUIC_READ_BUDGET = 256, /* datagrams of one wake-up                    */
    QUIC_SEND_BUDGET = 16,  /* batches of one wake-up                      */
};
/* Scratch of a worker: pages that no packet touches cost nothing. */
struct quic_io {
    uint8_t in[QUIC_BATCH][QUIC_MESSAGE];
    uint8_t out[QUIC_SEND];
};

struct quic_endpoint {
    int fd;
    bool gso;
    uint8_t *held; /* what the socket did not take, or NULL */
    size_t held_n, held_packet;
};
/* A non-blocking socket connected to `to`. `local` says what to bind to (AF_UNSPEC: anything; *port 0: any
 * port) and is filled in; so is *port. The error text names the call that failed. */
enum cv_error quic_endpoint_open(struct quic_endpoint *, const struct cv_self *,
                                 const struct sockaddr_storage *to, struct sockaddr_storage *local,
                                 uint16_t *port, struct cv_err *);
void quic_endpoint_close(struct quic_endpoint *);
/* Hands datagrams to `got` until the socket is empty, the budget is spent or `got` says false. Returns 0 or
 * an errno that a connected socket reports about its peer (ECONNREFUSED, …). */
typedef bool quic_datagram_fn(void *arg, const uint8_t *p, size_t n);
int quic_endpoint_read(struct quic_endpoint *, struct quic_io *, quic_datagram_fn *got, void *arg);
/* n bytes in packets of `packet` bytes, the last one may be shorter. EAGAIN: a copy is held, call
 * quic_endpoint_resume() when the socket is writable. Other errors that concern the path only are swallowed:
 * to QUIC the packets are lost. Returns 0 or an errno. */
int quic_endpoint_send(struct quic_endpoint *, const uint8_t *p, size_t n, size_t packet);
int quic_endpoint_resume(struct quic_endpoint *);
socklen_t quic_addr_len(const struct sockaddr_storage *);

/* ---- one connection (conn.c) ------------------------------------------------------------------------- */

struct quic_stream;
TAILQ_HEAD(quic_streams, quic_stream);

/* cv_self.local: one per worker */
struct quic_worker {
    struct quic_io io;
    uint16_t port[QUIC_PORTS]; /* remembered by connection index */
    struct cv_metadata metadata[QUIC_METADATA];
};

struct quic_conn {
    struct cv_conn *pub;
    const struct cv_self *self;
    struct quic_endpoint endpoint;
    ngtcp2_conn *quic;
    ngtcp2_crypto_conn_ref ref; /* how OpenSSL's callbacks find `quic` */
    ngtcp2_crypto_ossl_ctx *crypto;
    SSL *ssl;
    struct event readable, writable, timer, pacer;
    int pacer_fd;         /* a timer finer than the loop's */
    struct cv_timer tick; /* every QUIC_TICK: limits in time, metrics */
    struct cv_late flush;
    uint64_t armed;                            /* when `timer` fires; UINT64_MAX: not set  */
    uint64_t heard;                            /* last packet during the handshake         */
    uint64_t refused;                          /* since when the edge's port is closed; 0: it is not */
    uint64_t close_by;                         /* close() was called: leave at the latest  */
    struct quic_streams all, writable_streams; /* writable: in turn     */
    struct quic_streams headless;              /* oldest first: nothing but a beginning so far */
    unsigned n_headless;
    size_t batch;           /* bytes of the packets sent last           */
    uint64_t in_flight;     /* stream bytes sent and not acknowledged   */
    uint64_t unread;        /* bytes in all `up` together               */
    bool window_full;       /* the edge's connection window is used up  */
    bool up, down;          /* cv_conn_up(), cv_conn_down() were called */
    bool handshaken, reset; /* told by callbacks                        */
    bool heard_any;         /* a packet has come                        */
    bool control;           /* the control stream is open               */
    struct quic_stats stats;
    uint64_t resets_sent, resets_received; /* handed over before */
};
#define QUIC_NEVER UINT64_MAX
#define QUIC_MS    NGTCP2_MILLISECONDS
static inline const struct quic_conf *quic_conf_of(const struct quic_conn *c)
{
    return c->self->conf;
}
uint64_t quic_now(void); /* monotonic nanoseconds: ngtcp2's clock */

/* dial.c */
enum cv_error quic_dial(const struct cv_self *, struct cv_conn *, struct cv_err *);
void quic_gone(const struct cv_self *, struct cv_conn *);
void quic_fill_path(const struct quic_conn *, ngtcp2_path *);
/* conn.c */
void quic_watch(struct quic_conn *); /* its socket and its timers, from now on */
void quic_close(const struct cv_self *, struct cv_conn *);
/* Something is to be sent: it will be, at the end of this turn. */
void quic_flush_later(struct quic_conn *);
/* The socket reports an errno about the peer; the connection may be down afterwards. */
void quic_path_error(struct quic_conn *, int error);

/* stats.c */
void quic_stats_dial(struct quic_conn *);
void quic_stats_up(struct quic_conn *); /* the handshake is done     */
void quic_stats_tick(struct quic_conn *);
void quic_stats_down(struct quic_conn *);
void quic_stats_error(struct quic_conn *, const char *name);
bool quic_path(const struct cv_self *, const struct cv_conn *, struct cv_path *);

/* ---- streams ----------------------------------------------------------------------------------------- */

struct quic_stream {
    TAILQ_ENTRY(quic_stream) all, queue; /* queue: in writable_streams or in headless */
    struct quic_conn *conn;
    struct cv_req *req; /* NULL before its head is whole and after its end */
    int64_t id;
    int64_t since;        /* cv_now(): opened; later: bytes went out, or first waited to */
    struct cv_buf in;     /* a head that came in pieces                         */
    uint8_t *head;        /* of the response, until it is acknowledged          */
    size_t head_n;        /* 0: not known yet                                   */
    uint64_t sent, acked; /* bytes of head and `down`                           */
    size_t narrow, width; /* what `down` may hold: at first, and now with what is under way */
    uint64_t owed;        /* bytes in `up` that the edge has no credit for yet  */
    int64_t body_left;    /* of a Content-Length; CV_BODY_STREAM: until FIN; 0: discard */
    bool headless;        /* nothing but a beginning so far; queued there       */
    bool queued;          /* in its connection's writable_streams               */
    bool waiting;         /* has something to send                              */
    bool failed;          /* its head tells of a failure; no body follows       */
    bool fin_in, fin_sent, shut;
};
/* Slot of a request: its stream, while there is one. */
struct quic_slot {
    struct quic_stream *stream;
};

/* stream.c: queues and ends */
struct quic_stream *quic_stream_new(struct quic_conn *, int64_t id);
void quic_stream_queue(struct quic_stream *); /* has something to send */
void quic_stream_unqueue(struct quic_stream *);
/* No head, no preamble: the edge's own RPC. */
bool quic_stream_raw(const struct cv_req *);
/* n bytes of the edge are gone: it may send as many again, on the stream and on the connection. */
void quic_stream_credit(struct quic_stream *, uint64_t n);
/* `up` has n bytes more. The stream gets credit when they have left, the connection at once, up to a half of what it
 * may hold: an origin that does not read must not use up the window that all streams share. */
void quic_stream_took(struct quic_stream *, size_t n);
/* For write_stream_timeout: the wait begins anew. */
void quic_stream_touch(struct quic_stream *);
/* Stream and request part; whoever takes the request decides how it ends. */
struct cv_req *quic_stream_part(struct quic_stream *);
/* RESET_STREAM and STOP_SENDING, both with code 0: the stream carries no byte any more, either way. */
void quic_stream_shut(struct quic_stream *);
/* Both: the stream is shut, its request has failed. */
void quic_stream_fail(struct quic_stream *, enum cv_error, const char *text);
void quic_streams_tick(struct quic_conn *); /* those that took too long */
void quic_streams_free(struct quic_conn *);
/* culvert.h's calls */
void quic_head(const struct cv_self *, struct cv_req *);
void quic_readable(const struct cv_self *, struct cv_req *);
void quic_credit(const struct cv_self *, struct cv_req *, size_t n);
void quic_closed(const struct cv_self *, struct cv_req *, enum cv_error);

/* intake.c: from ngtcp2's callbacks; nothing is written then */
struct quic_stream *quic_stream_open(struct quic_conn *, int64_t id);
void quic_stream_control(struct quic_conn *, int64_t id); /* ours: no head, straight to the registrar */
void quic_stream_data(struct quic_stream *, const uint8_t *p, size_t n, bool fin);
void quic_stream_reset(struct quic_stream *, uint64_t code);
void quic_stream_closed(struct quic_stream *);
void quic_stream_stopped(struct quic_stream *); /* the edge does not want more, or the stream is gone */
/* The stream never became a request. */
void quic_stream_refuse(struct quic_stream *, enum quic_refusal);

/* send.c */
void quic_stream_acked(struct quic_stream *, uint64_t n);
/* Writes packets until nothing is left, the congestion window or pacing says stop, or the budget is spent
 * (*more is set). Returns 0 or an ngtcp2 error; a socket that takes no more is no error. */
int quic_send(struct quic_conn *, uint64_t now, bool *more);

/* ---- heads as bytes (head.c): no connection, no stream ----------------------------------------------- */

enum quic_kind { QUIC_PARTIAL, QUIC_DATA, QUIC_RPC, QUIC_UNKNOWN };
enum { QUIC_SIGNATURE = 6, QUIC_VERSION = 2 };
/* What the first bytes of a stream announce. */
enum quic_kind quic_head_kind(const uint8_t *p, size_t n);
/* The type of request that a ConnectRequest asks for; CV_E_PROTO if there is no such type. */
enum cv_error quic_head_type(const struct cv_connect_request *, enum cv_req_type *);
/* Fills in a fresh request: method, authority, path, headers, body_length. The text of an error is what the
 * edge gets. */
enum cv_error quic_head_request(const struct cv_connect_request *, struct cv_req *, struct cv_err *);
/* The response means nothing without trailers, which this transport does not have (gRPC). */
bool quic_head_needs_trailers(const struct cv_req *);
/* The bytes that open the response to req, or that tell why it failed or cannot be carried. free() them. */
uint8_t *quic_head_response(const struct cv_req *, size_t *n);
#endif
