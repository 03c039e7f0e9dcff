/* tls.c: how an origin's certificate is checked: one OpenSSL context for each combination of settings. */
#include "culvert/wire.h"
#include "origin.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { CONTEXTS_MAX = 16 };

struct origin_tls {
    struct origin_tls *next;
    SSL_CTX *ctx;
    bool verify;
    struct cv_buf pem; /* roots beside the system's */
};

/* A store of its own with what the shared one holds. */
static void copy_roots(X509_STORE *to)
{
    STACK_OF(X509) *all = X509_STORE_get1_all_certs(cv_trust_store());
    for (int i = 0; i < sk_X509_num(all); i++)
        X509_STORE_add_cert(to, sk_X509_value(all, i));
    OSSL_STACK_OF_X509_free(all);
}

static void add_roots(const struct origin_worker *w, SSL_CTX *ctx, const struct cv_rule *rule)
{
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    if (rule->ca_pem.n == 0) {
        SSL_CTX_set1_cert_store(ctx, cv_trust_store());
        return;
    }
    copy_roots(SSL_CTX_get_cert_store(ctx));
    BIO *bio = BIO_new_mem_buf(rule->ca_pem.p, (int)rule->ca_pem.n);
    CV_ASSERT(bio);
    size_t n = 0;
    X509 *cert;
    for (; (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)); n++) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (n == 0)
        cv_log(&w->self, CV_WARN, CV_FIELDS(CV_S("file", rule->settings.ca_pool)),
               "caPool holds no certificate: the system's roots alone are trusted");
}

static SSL_CTX *new_context(const struct origin_worker *w, const struct cv_rule *rule)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CV_ASSERT(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* Many an origin just closes: a body that is framed tells a cut by itself. */
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    if (rule->settings.no_tls_verify) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return ctx;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    add_roots(w, ctx, rule);
    return ctx;
}

static void tls_free(struct origin_tls *t)
{
    SSL_CTX_free(t->ctx);
    cv_buf_free(&t->pem);
    free(t);
}

static bool fits(const struct origin_tls *t, const struct cv_rule *rule)
{
    struct cv_str pem = { (const char *)t->pem.p, t->pem.n };
    return t->verify != rule->settings.no_tls_verify && cv_str_eq(pem, rule->ca_pem);
}

/* Old configurations leave contexts behind: the one not used for longest goes. Connections hold theirs. */
static void forget_oldest(struct origin_worker *w)
{
    size_t n = 0;
    for (struct origin_tls **at = &w->tls; *at; at = &(*at)->next) {
        if (++n < CONTEXTS_MAX)
            continue;
        tls_free(*at);
        *at = NULL;
        return;
    }
}

static SSL_CTX *context(struct origin_worker *w, const struct cv_rule *rule)
{
    struct origin_tls **at = &w->tls;
    while (*at && !fits(*at, rule))
        at = &(*at)->next;
    struct origin_tls *t = *at;
    if (t) {
        *at = t->next;
    } else {
        forget_oldest(w);
        t = cv_xcalloc(1, sizeof(*t));
        t->ctx = new_context(w, rule);
        t->verify = !rule->settings.no_tls_verify;
        cv_buf_add(&t->pem, rule->ca_pem.p, rule->ca_pem.n);
    }
    t->next = w->tls;
    w->tls = t;
    return t->ctx;
}

static struct cv_str without_port(struct cv_str host)
{
    for (size_t i = host.n; i-- > 0;) {
        if (host.p[i] == ']' || host.p[i] < '0' || host.p[i] > ':')
            break;
        if (host.p[i] == ':') {
            host.n = i;
            break;
        }
    }
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct cv_str){ host.p + 1, host.n - 2 };
    return host;
}

struct cv_str origin_tls_name(const struct cv_req *req)
{
    const struct cv_settings *s = &req->rule->settings;
    if (s->match_sni_to_host)
        return without_port(s->http_host_header.n ? s->http_host_header : req->authority);
    if (s->origin_server_name.n)
        return s->origin_server_name;
    return req->rule->target.unix_path.n ? CV_STR("localhost") : req->rule->target.host;
}

SSL *origin_tls_new(struct origin_worker *w, const struct cv_rule *rule, struct cv_str name,
                    struct cv_err *err)
{
    char host[256];
    if (name.n == 0 || !cv_str_copy(host, sizeof(host), name)) {
        cv_fail(err, CV_E_TLS, "no usable server name to verify");
        return NULL;
    }
    SSL *ssl = SSL_new(context(w, rule));
    CV_ASSERT(ssl);
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    bool ok;
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host)) {
        ok = true; /* addresses are not sent as SNI (RFC 6066 §3) */
    } else {
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ok = X509_VERIFY_PARAM_set1_host(param, host, 0) && SSL_set_tlsext_host_name(ssl, host);
    }
    ERR_clear_error();
    if (!ok) {
        SSL_free(ssl);
        cv_fail(err, CV_E_TLS, "the server name %s cannot be verified", host);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

void origin_tls_free(struct origin_worker *w)
{
    while (w->tls) {
        struct origin_tls *t = w->tls;
        w->tls = t->next;
        tls_free(t);
    }
}

void origin_tls_error(const SSL *ssl, struct cv_err *err)
{
    long verdict = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (verdict != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        cv_fail(err, CV_E_TLS, "the origin's certificate is not accepted: %s",
                X509_verify_cert_error_string(verdict));
    else if (code && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
        cv_fail(err, CV_E_TLS, "TLS handshake: the origin does not speak TLS on this port");
    else
        cv_fail(err, CV_E_TLS, "TLS handshake: %s", reason ? reason : "the origin closed the connection");
    ERR_clear_error();
}
