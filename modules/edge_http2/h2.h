/* h2.h: an edge connection over HTTP/2 (docs/protocol.md §11): we dialled it, and we are its HTTP/2 server. */
#ifndef H2_H
#define H2_H
#include "culvert/culvert.h"
#include "culvert/mem.h"
#include "culvert/proxy.h"
#include "culvert/wire.h"

#include <netinet/in.h>
#include <nghttp2/nghttp2.h>

enum {
    H2_WINDOW = 1048576,    /* of a stream and of the connection, §11.1               */
    H2_MAX_FRAME = 1048576, /* what we accept in one frame                             */
    H2_MAX_HEADER_LIST = 1048896,
    H2_OUT = 16384,    /* one TLS record                                          */
    H2_COPY_MAX = 4096 /* smaller bodies share a record with what stands before them */
};

struct h2_conf {
    struct cv_ms connect_timeout, handshake_timeout, settings_timeout, keep_alive, idle_timeout;
    int max_streams;
    struct cv_bytes max_headers;
    const char *proxy;
    struct cv_secret proxy_credentials;
};

/* ---- proxy.c: on the way out ---- */

/* As cv_proxy_parse(), with a port in any case. */
bool h2_proxy_parse(struct cv_str url, struct cv_proxy *);
/* Whether NO_PROXY (NULL: unset) keeps this address from the proxy of the environment; loopback always is. */
bool h2_proxy_exempt(const char *no_proxy, const struct sockaddr_storage *edge);
/* The proxy to use for this address, kind NONE for a direct way. */
enum cv_error h2_proxy_choose(const struct h2_conf *, const struct sockaddr_storage *edge, struct cv_proxy *,
                              struct cv_err *);

/* ---- a connection and its streams ---- */

enum h2_state { H2_RESOLVING, H2_CONNECTING, H2_PROXY, H2_HANDSHAKE, H2_OPEN, H2_CLOSING, H2_DOWN };

struct h2_conn {
    const struct cv_self *self;
    struct cv_conn *pub;
    enum h2_state state;
    int fd;
    struct event *read_event, *write_event; /* NULL before there is a socket */
    struct cv_proxy *proxy;                 /* NULL: the way is direct */
    struct cv_proxy_talk talk;
    char ip[INET6_ADDRSTRLEN]; /* of the edge, for the proxy */
    struct cv_lookup *lookup;  /* of the proxy's name */
    struct cv_timer timer;     /* of the state: connecting, shaking hands, waiting for SETTINGS, closing */
    struct cv_timer alive;
    int64_t heard_at; /* when the edge last sent anything */
    struct cv_late flush;
    /* TLS */
    SSL *ssl;
    struct cv_buf backlog; /* ciphertext that the socket did not take */
    bool peer_ended;       /* its FIN, or its close_notify            */
    int io_errno;
    /* HTTP/2 */
    nghttp2_session *session;
    uint8_t *out; /* H2_OUT bytes of frames on their way into a record; only while it holds any */
    size_t out_n;
    bool settings_seen;
    bool answers_pings;                    /* it has answered one */
    uint64_t resets_sent, resets_received; /* streams */
};

/* One stream of the edge; it lies in the request's slot. */
struct h2_stream {
    struct cv_req *req;
    struct h2_conn *conn;
    int32_t id;
    size_t header_bytes;
    size_t owed;     /* bytes received whose connection credit was withheld */
    bool body_ended; /* END_STREAM seen                       */
    bool head_sent;
    bool reset; /* by the peer, or by us                 */
    bool ended; /* our END_STREAM went out               */
};

extern const struct h2_conf *h2_conf(const struct h2_conn *);

/* conn.c: the socket and the states of a connection */
enum cv_error h2_dial(const struct cv_self *, struct cv_conn *, struct cv_err *);
void h2_close(const struct cv_self *, struct cv_conn *);
void h2_gone(const struct cv_self *, struct cv_conn *);
bool h2_path(const struct cv_self *, const struct cv_conn *, struct cv_path *); /* path.c */
void h2_down(struct h2_conn *, enum cv_error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void h2_settings_arrived(struct h2_conn *);

/* alive.c: PING, and the end of a connection that does not answer */
void h2_alive_start(struct h2_conn *);

/* tls.c: records over a socket that never blocks */
void h2_tls_start(struct h2_conn *);
bool h2_tls_write(struct h2_conn *, const uint8_t *,
                  size_t n);         /* takes all; false: the connection is broken  */
bool h2_tls_drain(struct h2_conn *); /* sends the backlog; false: broken            */

/* session.c: nghttp2 */
void h2_session_start(struct h2_conn *);
bool h2_session_receive(struct h2_conn *, const uint8_t *, size_t n); /* false: the connection is over */
bool h2_session_send(struct h2_conn *);                               /* false: broken                 */
void h2_flush_soon(struct h2_conn *);

/* stream.c: requests */
void h2_readable(const struct cv_self *, struct cv_req *);
void h2_credit(const struct cv_self *, struct cv_req *, size_t n);
void h2_closed(const struct cv_self *, struct cv_req *, enum cv_error);
void h2_head(const struct cv_self *, struct cv_req *);
struct h2_stream *h2_stream_new(struct h2_conn *, int32_t id);
bool h2_stream_header(struct h2_stream *, struct cv_str name,
                      struct cv_str value); /* false: refuse the stream */
void h2_stream_start(struct h2_stream *, bool ended);
void h2_stream_ended(struct h2_stream *); /* END_STREAM after the body */
void h2_stream_closed(struct h2_stream *, uint32_t error_code);
void h2_stream_sent_end(struct h2_stream *);

/* headers.c */
bool h2_is_control_header(struct cv_str name);
/* Value of cf-cloudflared-response-headers, §11.7; lives as long as the request. */
struct cv_str h2_serialize_headers(struct cv_req *, const struct cv_headers *);
#endif
