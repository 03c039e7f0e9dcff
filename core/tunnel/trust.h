/* trust.h: how the roots of cv_trust_store() (culvert/wire.h) are read. */
#ifndef CV_TUNNEL_TRUST_H
#define CV_TUNNEL_TRUST_H

#include <culvert/wire.h>

/* The certificates of a PEM file and of hashed directories (with colons between), as OpenSSL's SSL_CERT_FILE and
 * SSL_CERT_DIR have them, and Cloudflare's. What is not there is left out. The caller owns it. */
X509_STORE *trust_read(const char *file, const char *directories);

#endif
