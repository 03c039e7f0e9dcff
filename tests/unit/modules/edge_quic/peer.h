/* peer.h: the other end of a QUIC connection, for tests: a server on loopback that does what a test tells it, in the
 * event loop of the test, and remembers what came. One connection. */
#ifndef EDGE_QUIC_PEER_H
#define EDGE_QUIC_PEER_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

#include <ngtcp2/ngtcp2.h>
#include <openssl/ssl.h>

struct peer_piece; /* bytes to send */
struct peer_stream {
    struct peer_stream *next;
    int64_t id;
    struct cv_buf in; /* what came, unless peer->discard */
    uint64_t n_in;    /* how much came                   */
    bool fin, reset, closed;
    bool stopped;  /* the other end sent STOP_SENDING: a write was refused */
    uint64_t code; /* of the reset */
    struct peer_piece *first, **last;
};

struct peer {
    struct event_base *base;
    SSL_CTX *tls;
    int fd;
    struct sockaddr_storage addr, client;
    struct event readable, timer;
    ngtcp2_conn *quic; /* NULL before the first packet */
    void *crypto;
    SSL *ssl;
    ngtcp2_transport_params params; /* of the client, once handshaken is set */
    struct peer_stream *streams;
    unsigned handshakes;
    bool handshaken, drained;
    ngtcp2_ccerr closed; /* of the client, once drained is set  */
    size_t packets;      /* received                            */
    size_t first_packet; /* length of the first one             */
    ngtcp2_cid first_id; /* the destination it was sent to      */
    /* what a test may set */
    bool silent;           /* hears and says nothing            */
    bool hold;             /* gives no credit for what comes    */
    bool discard;          /* counts bytes and forgets them     */
    uint64_t streams_bidi; /* how many the client may open      */
    uint64_t stream_window;
    unsigned drop_every; /* drops every n-th packet that comes; 0: none */
};

/* A server on 127.0.0.1 with a free port. The context is borrowed. */
struct peer *peer_new(struct event_base *, SSL_CTX *);
void peer_free(struct peer *);
/* NULL: nothing has come on it and it was not opened. */
struct peer_stream *peer_stream(struct peer *, int64_t id);
int64_t peer_open(struct peer *, bool bidi);
void peer_write(struct peer *, int64_t id, const void *p, size_t n, bool fin);
void peer_reset(struct peer *, int64_t id, uint64_t code);
void peer_stop(struct peer *, int64_t id, uint64_t code);
/* False: not now, other frames or the pace of packets stand before it. */
bool peer_datagram(struct peer *, const void *p, size_t n);
void peer_update_key(struct peer *);
/* CONNECTION_CLOSE, by the application or by the transport. */
void peer_close(struct peer *, bool application, uint64_t code, const char *reason);
/* Bytes as they are, to where the client is. */
void peer_raw(struct peer *, const void *p, size_t n);
#endif
