/* origin.h: the private header of origin_proxy: HTTP/1.1, HTTP/2 and TCP to the services that rules name.
 *
 *   proxy.c     the module: options, metrics, which requests are ours
 *   exchange.c  one request and its response, from open() to closed()
 *     request.c   its head as bytes          sender.c  head and body on their way out
 *     parser.c    bytes to a response        raw bytes both ways after an upgrade: both, unframed
 *     limits.c    how long that may take
 *   h2.h        the same over HTTP/2, many on one connection
 *   pool.c      idle connections           dial.c  name → address → TCP → TLS, or through a proxy: egress.h
 *   link.c      a connection, plain or TLS  tls.c  how an origin's certificate is checked
 *   hello.h     the test page
 *   stream.h    byte streams: TCP within WebSocket frames, SOCKS, private networks
 *
 * Thread   Everything here belongs to one worker; nothing is shared but strings made by init(). */
#ifndef ORIGIN_H
#define ORIGIN_H
#include "culvert/culvert.h"
#include "culvert/mem.h"
#include "culvert/proxy.h"
#include "culvert/route.h"

#include "h2.h"

#include <llhttp.h>
#include <openssl/ssl.h>
#include <sys/types.h>

struct origin_conf {
    struct cv_list tags;
    struct cv_list h2c;
    struct cv_ms first_byte_timeout;
    struct cv_ms idle_timeout;
    struct cv_ms total_timeout;
    struct cv_ms half_close_timeout;
    struct cv_ms websocket_ping;
    struct cv_bytes max_response_headers;
    struct cv_bytes buffered_body;
    struct cv_bytes read_budget;
    bool private_network;
    struct cv_list dns_resolvers;
    int proxy; /* enum origin_proxies */
};
enum origin_proxies { ORIGIN_PROXY_ENV, ORIGIN_PROXY_NONE };

enum origin_metric {
    ORIGIN_OPENED,
    ORIGIN_REUSED,
    ORIGIN_RETRIES,
    ORIGIN_IDLE,
    ORIGIN_PLAIN_METRICS, /* with labels: */
    ORIGIN_ERRORS = ORIGIN_PLAIN_METRICS,
    ORIGIN_DNS,
    ORIGIN_FLOWS_LIMITED
};

/* Requests come in bursts: an idle connection above the rule's limit is given so long to be wanted again. */
enum { ORIGIN_SURPLUS_MS = 500 };
enum { ORIGIN_RESOLVER_SIZE = 64, ORIGIN_SCRATCH = 64 * 1024, ORIGIN_POOL_BUCKETS = 64 };

/* What a worker keeps (cv_self.local). */
struct origin_worker {
    struct cv_self self;
    struct cv_buf tags; /* header lines that every request gets */
    struct origin_pool *pools[ORIGIN_POOL_BUCKETS];
    struct origin_tls *tls; /* the most recently used first */
    int64_t started_unix_ms;
    char resolver[ORIGIN_RESOLVER_SIZE]; /* of this machine, an address */
    size_t dns_turn;
    struct origin_egress *egress; /* the environment's proxies; NULL: none */
    LIST_HEAD(, origin_h2) h2;
    struct origin_exchanges h2_leading, h2_waiting; /* h2.c: those who dial, and who wait for them */
    uint8_t *scratch;                               /* ORIGIN_SCRATCH bytes, for the length of one call */
    int64_t idle;                                   /* connections in pools */
    struct cv_series *series[ORIGIN_PLAIN_METRICS];
};

/* ---- request.c: a request's head ---------------------------------------------------------------------- */

/* Appends the request line and headers of docs/protocol.md §18.1 to `out`. body_length is what the framing headers
 * promise: 0, N, or CV_BODY_STREAM for chunked. tags: lines to add. What HTTP/1.1 cannot carry safely is refused
 * (CV_E_PROTO) and `why` says it; `out` is then to be thrown away. */
enum cv_error origin_request_head(struct cv_buf *out, const struct cv_req *, int64_t body_length,
                                  const struct cv_buf *tags, const char **why);
/* The same for an HTTP proxy that is to ask the target (RFC 9112 §3.2.2). It may hold a secret. */
enum cv_error origin_request_head_via(struct cv_buf *out, const struct cv_proxy *, const struct cv_req *,
                                      int64_t body_length, const struct cv_buf *tags, const char **why);
/* Appends "Cf-Warp-Tag-<name>: value". false: the pair cannot be a header line. */
bool origin_tag_line(struct cv_buf *out, struct cv_str name, struct cv_str value);

/* ---- sender.c: a request on its way out --------------------------------------------------------------- */

enum origin_framing { ORIGIN_NO_BODY, ORIGIN_LENGTH, ORIGIN_CHUNKED, ORIGIN_RAW };
struct origin_sender {
    struct cv_buf head; /* and a body, if it was buffered; kept until the response begins, for a retry */
    size_t head_sent;
    size_t lines_n; /* of `head`: request line and header lines */
    enum origin_framing framing;
    uint64_t left;  /* ORIGIN_LENGTH: body bytes to come; ORIGIN_CHUNKED: of the chunk under way */
    char frame[20]; /* ORIGIN_CHUNKED: the line in front of the chunk's bytes */
    uint8_t frame_n, frame_sent;
    uint8_t tail; /* ORIGIN_CHUNKED: bytes of CRLF to come behind them */
    bool last;    /* ORIGIN_CHUNKED: the last chunk is framed */
    bool begun;   /* bytes of the pipe have left: no retry any more */
};
/* What is to be written next, body bytes straight from the pipe: number of iovecs, 0 if nothing is there. max >= 4. */
int origin_sender_iov(struct origin_sender *, struct cv_pipe *body, struct iovec *, int max);
/* The first n bytes of that are written: those of the pipe are consumed. */
void origin_sender_sent(struct origin_sender *, struct cv_pipe *body, size_t n);
/* For HTTP/2, which has its own framing: copies body bytes, those of the pipe are consumed. head_sent is past the lines. */
size_t origin_sender_take(struct origin_sender *, struct cv_pipe *body, uint8_t *to, size_t max);
/* A new connection: all that has left is to be sent again. Only if not begun. */
void origin_sender_rewind(struct origin_sender *);
/* There will be no rewind: what has left is forgotten. */
void origin_sender_settle(struct origin_sender *);
/* Everything has been written; never true of ORIGIN_RAW. */
bool origin_sender_done(const struct origin_sender *);

/* ---- parser.c: bytes to a response --------------------------------------------------------------------- */

/* What the parser finds; strings and bytes are borrowed. No field of an interim (1xx) response is reported. */
struct origin_sink {
    void (*field)(void *arg, struct cv_str name, struct cv_str value);
    void (*head)(void *arg, int status); /* after its fields */
    void (*body)(void *arg, const void *bytes, size_t n);
    void (*trailer)(void *arg, struct cv_str name, struct cv_str value);
};
enum origin_reading {
    ORIGIN_READ_HEAD,
    ORIGIN_READ_LENGTH,
    ORIGIN_READ_CHUNKED,
    ORIGIN_READ_TO_EOF,
    ORIGIN_READ_RAW,  /* upgraded: what follows is not HTTP */
    ORIGIN_READ_DONE, /* the response has ended */
};
struct origin_parser {
    llhttp_t http;
    const struct origin_sink *sink;
    void *arg;
    enum origin_reading reading;
    struct cv_buf line; /* name and value of the field under way */
    size_t name_n;
    size_t head_max;    /* bytes: names, values, four more each; trailers too */
    size_t head_n;      /* counted so far */
    size_t fed;         /* bytes given while in the head: 0 means that the origin has said nothing */
    size_t extension_n; /* of the chunk under way */
    uint64_t left;      /* ORIGIN_READ_LENGTH: bytes to come */
    const char *why;    /* what was wrong */
    enum cv_error error;
    uint8_t interim;  /* 1xx responses seen */
    bool no_body;     /* the request was HEAD */
    bool may_upgrade; /* the request asked for it */
    bool coded;       /* a Transfer-Encoding field was seen */
    bool keep_alive;  /* the connection may be used again; known when the response has ended */
};
void origin_parser_init(struct origin_parser *, const struct origin_sink *, void *arg, size_t head_max);
/* Parses until the response ends or, upgraded, turns raw; *used bytes belonged to it. CV_E_PROTO or CV_E_LIMIT: why. */
enum cv_error origin_parser_feed(struct origin_parser *, const void *bytes, size_t n, size_t *used);
/* How many of the next `want` bytes are body and nothing else, so that they may go where they belong unparsed. */
size_t origin_parser_direct(const struct origin_parser *, size_t want);
void origin_parser_took(struct origin_parser *, size_t n);
/* The origin will send no more: ends the response, or CV_E_IO and why. */
enum cv_error origin_parser_eof(struct origin_parser *);
void origin_parser_free(struct origin_parser *);

/* ---- link.c: a connection ------------------------------------------------------------------------------ */

struct origin_link {
    struct origin_worker *w;
    int fd;
    SSL *ssl;                                        /* NULL: plain */
    void (*ready)(struct origin_link *, short what); /* EV_READ, EV_WRITE; the link may be freed within */
    void *user;
    struct event rd, wr;
    bool reading, writing;                   /* rd, wr are waiting */
    bool read_needs_write, write_needs_read; /* TLS */
    struct origin_pool *pool;                /* pool.c: while idle */
    struct origin_link *newer, *older;
    int64_t idle_since, close_at;
};
struct origin_link *origin_link_new(struct origin_worker *, int fd_take);
void origin_link_free(struct origin_link *); /* closes; NULL is allowed */
void origin_link_own(struct origin_link *, void (*ready)(struct origin_link *, short), void *user);
void origin_link_watch(struct origin_link *, bool reading); /* EV_READ: on until switched off */
/* As readv and writev, never blocking: -1 with errno EAGAIN when it has to wait. A write that has to wait gets
 * EV_WRITE once. TLS uses the first iovec alone to read, and takes at most one record to write. */
ssize_t origin_link_read(struct origin_link *, struct iovec *, int n);
ssize_t origin_link_write(struct origin_link *, const struct iovec *, int n);
/* Bytes wait within TLS that no EV_READ will tell of. */
bool origin_link_pending(const struct origin_link *);
/* Nothing has come in and the peer has not closed: fit to carry another request. */
bool origin_link_quiet(struct origin_link *);
void origin_link_half_close(struct origin_link *);
/* Goes on with the TLS handshake: CV_OK when done, CV_E_CANCEL when it has to wait, else why (err). */
enum cv_error origin_link_handshake(struct origin_link *, struct cv_err *err);

/* ---- tls.c --------------------------------------------------------------------------------------------- */

/* The name that the origin's certificate must have, without port and brackets. */
struct cv_str origin_tls_name(const struct cv_req *);
/* A client connection as the rule's settings want it, `name` verified and sent as SNI (docs/protocol.md §18.2).
 * NULL: err says why. The caller owns it. */
SSL *origin_tls_new(struct origin_worker *, const struct cv_rule *, struct cv_str name, struct cv_err *err);
void origin_tls_free(struct origin_worker *);
/* Why the handshake failed, in words an operator can act on. Clears OpenSSL's queue. */
void origin_tls_error(const SSL *, struct cv_err *err);

/* ---- dial.c -------------------------------------------------------------------------------------------- */

/* The proxy that the environment has for the rule's target; NULL: the way is direct, or barred: *refusal says why. */
const struct cv_proxy *origin_via(const struct origin_worker *, const struct cv_rule *, const char **refusal);

struct origin_dial;
/* Once, in a later turn: a connected link, TLS done, that the callee owns; or NULL, error and why (borrowed), and in errno
 * what the system said, 0 if it said nothing. */
typedef void origin_dialled_fn(void *arg, struct origin_link *link_take, enum cv_error, const char *why);
/* To the rule's target within its time limits; tls_name is used if the target speaks TLS. Both outlive the dial. */
struct origin_dial *origin_dial(struct origin_worker *, const struct cv_rule *, struct cv_str tls_name,
                                origin_dialled_fn *, void *arg);
/* Right after origin_dial(): TLS offers HTTP/2 beside HTTP/1.1. */
void origin_dial_offer_h2(struct origin_dial *);
void origin_dial_cancel(struct origin_dial *); /* NULL is allowed */

/* ---- guard.c ------------------------------------------------------------------------------------------- */

/* May the rule's target be this address, with its port? Asked for each one that its name stands for. */
bool origin_may_reach(const struct cv_rule *, const struct sockaddr_storage *);

/* ---- virtual_dns.c ------------------------------------------------------------------------------------- */

void origin_find_resolver(char out[ORIGIN_RESOLVER_SIZE], const char *file);

/* ---- pool.c -------------------------------------------------------------------------------------------- */

/* The rule's key and what it cannot know; lives as long as the request. */
struct cv_str origin_pool_key(struct cv_req *, const struct cv_proxy *via);
/* The connection of that key that was used last, still quiet; NULL if there is none. The caller owns it. */
struct origin_link *origin_pool_take(struct origin_worker *, struct cv_str key);
/* How many idle connections of one key the settings let stay. */
int64_t origin_pool_most(const struct cv_settings *);
/* Keeps it for the next request as the settings say, or closes it. */
void origin_pool_give(struct origin_link *link_take, struct cv_str key, const struct cv_settings *);
/* Idle connections have become more or fewer. */
void origin_pool_count(struct origin_worker *, int64_t change);
void origin_pool_free(struct origin_worker *);

/* ---- exchange.c: one request and its response ----------------------------------------------------------- */

struct origin_exchange { /* in the request's slot */
    struct origin_worker *w;
    struct cv_req *req;
    struct origin_dial *dial;
    struct origin_link *link;   /* HTTP/1.1 */
    struct origin_h2_stream h2; /* HTTP/2 */
    struct cv_str key;          /* of the pool */
    struct origin_sender out;
    struct origin_parser in;
    struct cv_buf body; /* while it is buffered (docs/protocol.md §18.4) */
    struct cv_timer timer;
    int64_t moved;   /* when a byte last went either way; kept only if a limit wants it */
    int64_t ends_at; /* total_timeout; 0: never */
    bool buffering;
    bool reused; /* the link came from the pool */
    bool retried;
    bool mute; /* the origin takes no more of the request */
    bool half_closed;
    bool over; /* the response has ended, or the request failed */
};
/* For h2.c: starts over, without a connection. */
void origin_exchange_start(struct origin_exchange *);
void origin_exchange_fail(struct origin_exchange *, enum cv_error, const char *cause);
/* The connection or the stream is gone; untouched: the origin did nothing with the request, which may go out again. */
void origin_exchange_lost(struct origin_exchange *, bool untouched, enum cv_error, const char *cause);
void origin_exchange_end(struct origin_exchange *); /* the response has ended */
/* It has over HTTP/1.1. surplus: bytes came behind it, or may come, so that the connection serves nobody any more. */
void origin_exchange_complete(struct origin_exchange *, bool surplus);
extern const struct origin_sink origin_exchange_sink; /* arg: the exchange */

/* limits.c: how long an exchange may wait, for what, and how long it may take as a whole */
void origin_exchange_limit(struct origin_exchange *); /* it begins */
/* Another limit may count: the request is sent, or begun. */
void origin_exchange_sent(struct origin_exchange *);
void origin_exchange_touch(struct origin_exchange *); /* a byte has moved */

void origin_open(const struct cv_self *, struct cv_req *);
void origin_readable(const struct cv_self *, struct cv_req *);
void origin_credit(const struct cv_self *, struct cv_req *, size_t n);
void origin_closed(const struct cv_self *, struct cv_req *, enum cv_error);

#endif
