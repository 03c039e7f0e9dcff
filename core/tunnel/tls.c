/* tls.c: the TLS context of all connections to the edge: roots, groups, no resumption; and why a handshake
 * failed. */
#include "tunnel/tls.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "loop/loop.h"

static SSL_CTX *context;
static bool strict_pq;

/* ---- roots ------------------------------------------------------------------------------------------- */

static void add_subject(X509_NAME *name, const struct tls_anchor *a)
{
    for (size_t i = 0; a->subject[i].type; i++)
        CV_ASSERT(X509_NAME_add_entry_by_txt(name, a->subject[i].type, V_ASN1_PRINTABLESTRING,
                                             (const unsigned char *)a->subject[i].value, -1, -1, 0) == 1);
}

static void add_constraints(X509 *cert)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    CV_ASSERT(ext && X509_add_ext(cert, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

/* OpenSSL knows no anchors without a certificate. This one is signed by a key that is thrown away: it is
 * found by its subject, only its key is used, and X509_V_FLAG_PARTIAL_CHAIN ends the chain there. */
X509 *tls_anchor_cert(const struct tls_anchor *a)
{
    X509 *cert = X509_new();
    BIO *pem = BIO_new_mem_buf(a->key, -1);
    EVP_PKEY *key = PEM_read_bio_PUBKEY(pem, NULL, NULL, NULL);
    EVP_PKEY *throw_away = EVP_EC_gen("P-256");
    CV_ASSERT(cert && key && throw_away);
    CV_ASSERT(X509_set_version(cert, X509_VERSION_3) == 1);
    CV_ASSERT(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) == 1);
    CV_ASSERT(ASN1_TIME_set_string(X509_getm_notBefore(cert), "20190101000000Z") == 1);
    CV_ASSERT(ASN1_TIME_set_string(X509_getm_notAfter(cert), a->not_after) == 1);
    CV_ASSERT(X509_set_pubkey(cert, key) == 1);
    X509_NAME *name = X509_NAME_new();
    add_subject(name, a);
    CV_ASSERT(X509_set_subject_name(cert, name) == 1);
    CV_ASSERT(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"trust anchor", -1,
                                         -1, 0) == 1);
    CV_ASSERT(X509_set_issuer_name(cert, name) == 1);
    add_constraints(cert);
    CV_ASSERT(X509_sign(cert, throw_away, EVP_sha256()) > 0);
    X509_NAME_free(name);
    EVP_PKEY_free(throw_away);
    EVP_PKEY_free(key);
    BIO_free(pem);
    return cert;
}

static void trust_defaults(SSL_CTX *ctx)
{
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_default_verify_paths(ctx);
    for (size_t i = 0; i < TLS_ANCHORS; i++) {
        X509 *cert = tls_anchor_cert(&tls_anchors[i]);
        CV_ASSERT(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1);
        X509_free(cert);
    }
}

static enum cv_error trust_file(SSL_CTX *ctx, const char *file, struct cv_err *err)
{
    FILE *f = fopen(file, "re");
    if (!f)
        return cv_fail(err, CV_E_CONF, "cacert: unable to read %s: %m", file);
    X509 *cert;
    size_t n = 0;
    while ((cert = PEM_read_X509_AUX(f, NULL, NULL, NULL))) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
        X509_free(cert);
        n++;
    }
    fclose(f);
    bool clean = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (!clean)
        return cv_fail(err, CV_E_CONF, "cacert: certificate %zu of %s is broken; it must be PEM", n + 1,
                       file);
    if (n == 0)
        return cv_fail(err, CV_E_CONF,
                       "cacert: %s holds no certificate; it must be PEM with the roots that sign the edge's",
                       file);
    return CV_OK;
}

/* ---- context ----------------------------------------------------------------------------------------- */

enum cv_error tls_setup(const char *cacert, bool post_quantum, struct cv_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CV_ASSERT(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    /* the star asks for a key share in the first flight, so that neither kind of edge costs a round trip more
     */
    const char *groups = post_quantum ? "*X25519MLKEM768" : "*X25519MLKEM768:*P-256";
    if (SSL_CTX_set1_groups_list(ctx, groups) != 1) {
        SSL_CTX_free(ctx);
        ERR_clear_error();
        return cv_fail(err, CV_E_CONF, "this OpenSSL has no X25519MLKEM768; culvert needs 3.5 or newer");
    }
    enum cv_error e = CV_OK;
    if (cacert && *cacert)
        e = trust_file(ctx, cacert, err);
    else
        trust_defaults(ctx);
    if (e) {
        SSL_CTX_free(ctx);
        return e;
    }
    tls_free();
    context = ctx;
    strict_pq = post_quantum;
    return CV_OK;
}

void tls_free(void)
{
    SSL_CTX_free(context);
    context = NULL;
}

const char *tls_groups_text(void)
{
    return strict_pq ? "[X25519MLKEM768]" : "[X25519MLKEM768 CurveP256]";
}

/* ---- connections ------------------------------------------------------------------------------------- */

static void set_alpn(SSL *ssl, const char *name)
{
    unsigned char wire[256];
    size_t n = strlen(name);
    CV_ASSERT(n > 0 && n < sizeof(wire));
    wire[0] = (unsigned char)n;
    memcpy(wire + 1, name, n);
    CV_ASSERT(SSL_set_alpn_protos(ssl, wire, (unsigned)n + 1) == 0);
}

SSL *cv_edge_ssl(const struct cv_self *self, const char *server_name, const char *alpn, enum cv_tls_min min)
{
    (void)self;
    CV_ASSERT(context);
    SSL *ssl = SSL_new(context);
    CV_ASSERT(ssl);
    CV_ASSERT(SSL_set_tlsext_host_name(ssl, server_name) == 1);
    CV_ASSERT(SSL_set1_host(ssl, server_name) == 1);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (alpn)
        set_alpn(ssl, alpn);
    if (min == CV_TLS13)
        SSL_set_min_proto_version(ssl, TLS1_3_VERSION);
    return ssl;
}

static const char *remedy(long verdict)
{
    switch (verdict) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED: return " (is the clock of this machine right?)";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return " (its root is not trusted: does a proxy or firewall intercept TLS, or is cacert the wrong "
               "file?)";
    case X509_V_ERR_HOSTNAME_MISMATCH: return " (this is not an edge of Cloudflare's tunnels)";
    default: return "";
    }
}

struct cv_err cv_edge_ssl_error(SSL *ssl)
{
    struct cv_err err;
    long verdict = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (verdict != X509_V_OK)
        cv_fail(&err, CV_E_TLS, "the edge's certificate for %s is not accepted: %s%s",
                SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), X509_verify_cert_error_string(verdict),
                remedy(verdict));
    else if (code)
        cv_fail(&err, CV_E_TLS, "TLS handshake: %s", reason ? reason : "error without a name");
    else
        cv_fail(&err, CV_E_TLS, "TLS handshake: the edge closed the connection");
    ERR_clear_error();
    return err;
}
