/* culvert/wire.h: what modules that speak to others need of the core, beside culvert.h. */
#ifndef CV_WIRE_H
#define CV_WIRE_H
#include "culvert/culvert.h"

#include <openssl/ssl.h>

/* A TLS client connection to the edge under the one policy of the program (docs/protocol.md §6): trusted roots
 * (--cacert, or the system's and Cloudflare's), host name verified against server_name (also sent as SNI), key exchange
 * groups, TLS 1.2 and up or 1.3 alone. alpn: one protocol name, or NULL for no ALPN extension. The caller owns it
 * (SSL_free); it has neither BIO nor state set. Never NULL: the context was made when the process started. */
enum cv_tls_min { CV_TLS12, CV_TLS13 };
SSL *cv_edge_ssl(const struct cv_self *, const char *server_name, const char *alpn, enum cv_tls_min);
/* Why the handshake on `ssl` failed, in words an operator can act on: certificate, name, alert. Clears OpenSSL's queue. */
struct cv_err cv_edge_ssl_error(SSL *);

/* The system's roots and Cloudflare's three, which sign origins' certificates too (docs/protocol.md §18.2). Shared and
 * never changed: take a reference, add nothing. Read from disk by the first call, which the main thread makes when rules
 * arrive that need it; after that any thread. */
X509_STORE *cv_trust_store(void);

/* A method or a header's name: one byte at least, of those that RFC 9110 §5.6.2 allows. */
bool cv_is_token(struct cv_str);

/* Header names as Go's HTTP library writes them (content-type → Content-Type): what origins and the edge are used to.
 * Writes s.n bytes to out. Names that are not tokens are copied unchanged. */
void cv_canonical_name(struct cv_str s, char *out);

/* The text with *** for user and password of every URL in it; where there are some, it lies in `scratch` then. */
struct cv_buf;
struct cv_str cv_mask_urls(struct cv_str, struct cv_buf *scratch);

/* How much a pipe may hold at most from now on. A transport that grants its peer a window must never grant more than
 * there is room; lowering the limit below what is held takes nothing away. */
void cv_pipe_limit(struct cv_pipe *, size_t bytes);
/* A softer one: cv_pipe_room() offers no more than up to it. What it offered before may be written all the same, for a
 * writer may have granted its own peer a window. */
void cv_pipe_offer(struct cv_pipe *, size_t bytes);

/* Bytes of memory that this worker's pipes take. */
size_t cv_memory_held(const struct cv_self *);
/* This worker's pipes hold as much as the ini allows: give peers no credit beyond what single streams are owed. */
bool cv_memory_short(const struct cv_self *);

/* ---- one GET over HTTPS ---------------------------------------------------------------------------------------- */

/* For keys and the like: TLS 1.2 and up, the name verified, no proxy, no redirect followed. Borrowed for the call. */
struct cv_https {
    const char *url;         /* "https://host[:port]/path" */
    const char *ca_file;     /* PEM, the only roots trusted; NULL: the system's */
    struct cv_secret bearer; /* Authorization: Bearer …; may be empty */
    struct cv_ms limit;      /* for all of it */
    size_t max;              /* bytes of the body */
};
bool cv_https_url(const char *); /* is it one that can be got? */
/* Called in a later turn, once, never after cancel. status 0: there is no whole answer; why says why, else "". */
typedef void cv_get_fn(void *arg, int status, struct cv_str body, const char *why);
struct cv_get *cv_https_get(const struct cv_self *, const struct cv_https *, cv_get_fn *, void *arg);
void cv_https_cancel(struct cv_get *); /* NULL is fine; not from within the callback */

/* For edge modules: if the request fails next, its visitor or the edge on the way there is to blame, not the origin. */
void cv_req_blame_edge(struct cv_req *);

/* ---- heads of QUIC data streams (docs/protocol.md §9, §12.3) --------------------------------------------------- */

enum cv_connect_type { CV_CONNECT_HTTP, CV_CONNECT_WEBSOCKET, CV_CONNECT_TCP };
struct cv_metadata {
    struct cv_str key, val;
};
struct cv_connect_request {
    unsigned type; /* enum cv_connect_type, or whatever else the peer says */
    struct cv_str dest;
    struct cv_metadata *metadata; /* the caller's array                       */
    size_t n_metadata;            /* before: its room; after: how many it has */
};
/* p, n: what has arrived behind signature and version. On CV_OK *need is the length of the message; the request is
 * filled in if *need <= n, borrowing from p, and otherwise *need bytes are wanted before the next call.
 * CV_E_PROTO: not a ConnectRequest. CV_E_LIMIT: longer than max, or more metadata than the array has room for. */
enum cv_error cv_connect_request_decode(const uint8_t *p, size_t n, size_t max, size_t *need,
                                        struct cv_connect_request *, struct cv_err *);
/* The bytes that answer it: signature, version, ConnectResponse. An empty error text is success. free() them.
 * Without entries, NULL is a null list and an array an empty one: the original makes this difference. */
uint8_t *cv_connect_response_encode(struct cv_str error, const struct cv_metadata *, size_t n, size_t *bytes);
#endif
