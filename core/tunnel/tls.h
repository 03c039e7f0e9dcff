/* tls.h: the one TLS policy towards the edge (docs/protocol.md §6); modules see it as cv_edge_ssl() of
 * culvert/wire.h. */
#ifndef CV_TUNNEL_TLS_H
#define CV_TUNNEL_TLS_H

#include <culvert/wire.h>

/* A root that is trusted by its name and key alone. */
enum { TLS_ANCHORS = 3, TLS_ANCHOR_RDNS = 6 };
struct tls_anchor {
    struct {
        const char *type, *value;
    } subject[TLS_ANCHOR_RDNS + 1]; /* in the order of the encoding, ending in NULL */
    const char *not_after;          /* GeneralizedTime                              */
    const char *key;                /* SubjectPublicKeyInfo, PEM                    */
};
extern const struct tls_anchor tls_anchors[TLS_ANCHORS];
/* The anchor as the certificate that OpenSSL wants in its store. Owned by the caller. */
X509 *tls_anchor_cert(const struct tls_anchor *);

/* Makes the context. cacert: PEM file of the only roots, or NULL or empty for the system's and Cloudflare's.
 * A file that cannot be read or has no certificate is an error. Main thread, before any cv_edge_ssl(); again
 * after tls_free(). */
enum cv_error tls_setup(const char *cacert, bool post_quantum, struct cv_err *);
void tls_free(void);
/* The groups offered, as the log line of docs/protocol.md §6 lists them. */
const char *tls_groups_text(void);

#endif
