/* culvert/wire.h: what edge modules alone need of the core, beside culvert.h. */
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

/* Header names as Go's HTTP library writes them (content-type → Content-Type): what origins and the edge are used to.
 * Writes s.n bytes to out. Names that are not tokens are copied unchanged. */
void cv_canonical_name(struct cv_str s, char *out);
#endif
