/* https.c: one GET over HTTPS on this thread's loop, for keys and the like; never blocks, always ends. */
#include "culvert/wire.h"
#include "loop/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <llhttp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ADDRS_MAX = 8, READ_BYTES = 16384, HOST_MAX = 256 };

struct cv_get {
    const struct cv_self *self;
    cv_get_fn *done;
    void *arg;
    struct cv_timer limit;
    struct cv_lookup *lookup;
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    struct event event;
    bool watched;
    char host[HOST_MAX];
    struct sockaddr_storage addrs[ADDRS_MAX];
    size_t n, next;
    struct cv_buf out, body;
    size_t sent, max;
    llhttp_settings_t settings;
    llhttp_t http;
    bool complete, too_long;
    struct cv_err why;
};

/* ---- the end ------------------------------------------------------------------------------------------- */

static void hang_up(struct cv_get *g)
{
    if (g->watched)
        event_del(&g->event);
    g->watched = false;
    SSL_free(g->ssl);
    g->ssl = NULL;
    if (g->fd >= 0)
        close(g->fd);
    g->fd = -1;
    ERR_clear_error();
}

void cv_https_cancel(struct cv_get *g)
{
    if (!g)
        return;
    cv_resolve_cancel(g->lookup);
    cv_timer_clear(&g->limit);
    hang_up(g);
    SSL_CTX_free(g->ctx);
    if (g->out.p)
        OPENSSL_cleanse(g->out.p, g->out.n); /* may hold a credential */
    cv_buf_free(&g->out);
    cv_buf_free(&g->body);
    free(g);
}

static void finish(struct cv_get *g, int status)
{
    struct cv_str body = { (const char *)g->body.p, status ? g->body.n : 0 };
    g->done(g->arg, status, body, g->why.text);
    cv_https_cancel(g);
}

static void on_limit(struct cv_timer *timer)
{
    struct cv_get *g = CV_OWNER(timer, struct cv_get, limit);
    if (!*g->why.text)
        cv_fail(&g->why, CV_E_TIMEOUT, "%s: no whole answer in time", g->host);
    finish(g, 0);
}

/* ---- the exchange -------------------------------------------------------------------------------------- */

static int on_body(llhttp_t *http, const char *bytes, size_t n)
{
    struct cv_get *g = CV_OWNER(http, struct cv_get, http);
    g->too_long = n > g->max - g->body.n;
    if (g->too_long)
        return HPE_USER;
    cv_buf_add(&g->body, bytes, n);
    return 0;
}

static int on_complete(llhttp_t *http)
{
    CV_OWNER(http, struct cv_get, http)->complete = true;
    return HPE_PAUSED;
}

static void connect_next(struct cv_get *);
static void on_ready(evutil_socket_t, short, void *);

static void watch(struct cv_get *g, short what)
{
    event_assign(&g->event, cv_base(g->self), g->fd, what, on_ready, g);
    g->watched = event_add(&g->event, NULL) == 0;
}

/* False: it is over, and why says why. */
static bool wait_for_tls(struct cv_get *g, int result)
{
    int error = SSL_get_error(g->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        watch(g, error == SSL_ERROR_WANT_READ ? EV_READ : EV_WRITE);
        return true;
    }
    long verdict = SSL_get_verify_result(g->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    cv_fail(&g->why, CV_E_TLS, "%s: %s", g->host,
            verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
            : reason             ? reason
                                 : "the connection was cut");
    return false;
}

/* A body without a length ends with the connection. */
static bool ends_well(struct cv_get *g)
{
    return SSL_get_shutdown(g->ssl) & SSL_RECEIVED_SHUTDOWN && llhttp_finish(&g->http) == HPE_OK &&
           g->complete;
}

static void exchange(struct cv_get *g)
{
    char bytes[READ_BYTES];
    ERR_clear_error(); /* what others on this thread left would count as ours */
    int n = SSL_is_init_finished(g->ssl) ? 1 : SSL_do_handshake(g->ssl);
    while (n > 0 && g->sent < g->out.n) {
        n = SSL_write(g->ssl, g->out.p + g->sent, (int)(g->out.n - g->sent));
        g->sent += n > 0 ? (size_t)n : 0;
    }
    while (n > 0 && !g->complete && (n = SSL_read(g->ssl, bytes, sizeof(bytes))) > 0) {
        if (llhttp_execute(&g->http, bytes, (size_t)n) == HPE_OK || g->complete)
            continue;
        cv_fail(&g->why, CV_E_PROTO, "%s: %s", g->host,
                g->too_long ? "the answer is too long" : "no HTTP answer");
        finish(g, 0);
        return;
    }
    if (g->complete || ends_well(g))
        finish(g, g->http.status_code);
    else if (!wait_for_tls(g, n))
        finish(g, 0);
}

static bool connected(struct cv_get *g)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(g->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error) {
        errno = error;
        cv_fail(&g->why, CV_E_REFUSED, "%s: %m", g->host);
    }
    return !error;
}

static bool begin_tls(struct cv_get *g)
{
    g->ssl = SSL_new(g->ctx);
    CV_ASSERT(g->ssl);
    X509_VERIFY_PARAM *param = SSL_get0_param(g->ssl);
    bool named =
        X509_VERIFY_PARAM_set1_ip_asc(param, g->host) ||
        (X509_VERIFY_PARAM_set1_host(param, g->host, 0) && SSL_set_tlsext_host_name(g->ssl, g->host));
    ERR_clear_error();
    SSL_set_connect_state(g->ssl);
    return named && SSL_set_fd(g->ssl, g->fd) == 1;
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct cv_get *g = arg;
    (void)fd, (void)what;
    g->watched = false;
    if (g->ssl)
        exchange(g);
    else if (!connected(g))
        connect_next(g);
    else if (begin_tls(g))
        exchange(g);
    else
        finish(g, 0);
}

/* ---- getting there ------------------------------------------------------------------------------------- */

static void connect_next(struct cv_get *g)
{
    hang_up(g);
    while (g->next < g->n) {
        const struct sockaddr_storage *a = &g->addrs[g->next++];
        socklen_t size = a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        g->fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (g->fd >= 0 && (connect(g->fd, (const struct sockaddr *)a, size) == 0 || errno == EINPROGRESS)) {
            watch(g, EV_WRITE);
            return;
        }
        cv_fail(&g->why, CV_E_REFUSED, "%s: %m", g->host);
        hang_up(g);
    }
    finish(g, 0);
}

static void on_resolved(void *arg, enum cv_error error, const struct sockaddr_storage *addrs, size_t n)
{
    struct cv_get *g = arg;
    g->lookup = NULL;
    g->n = n < ADDRS_MAX ? n : ADDRS_MAX;
    if (g->n)
        memcpy(g->addrs, addrs, g->n * sizeof(*addrs));
    if (error || n == 0)
        cv_fail(&g->why, CV_E_RESOLVE, "%s: %s", g->host, cv_error_text(CV_E_RESOLVE));
    connect_next(g);
}

/* "https://host[:port]/path" into its parts; false: it is not one. */
static bool split(const char *url, char host[HOST_MAX], uint16_t *port, const char **path)
{
    static const char scheme[] = "https://";
    if (strncmp(url, scheme, strlen(scheme)) != 0)
        return false;
    const char *begin = url + strlen(scheme), *end = begin + strcspn(begin, "/");
    const char *colon = *begin == '[' ? memchr(begin, ']', (size_t)(end - begin)) : begin;
    if (!colon || url[strcspn(url, " @?#\r\n\t")] || !*end)
        return false;
    colon = memchr(colon, ':', (size_t)(end - colon));
    const char *stop = colon ? colon : end;
    unsigned long number = colon ? strtoul(colon + 1, NULL, 10) : 443;
    if (colon && strspn(colon + 1, "0123456789") != (size_t)(end - colon - 1))
        return false;
    if (*begin == '[' && stop > begin + 1 && stop[-1] == ']')
        begin++, stop--;
    if (stop <= begin || stop - begin >= HOST_MAX || number == 0 || number > UINT16_MAX)
        return false;
    memcpy(host, begin, (size_t)(stop - begin));
    host[stop - begin] = '\0';
    *port = (uint16_t)number;
    *path = end;
    return true;
}

bool cv_https_url(const char *url)
{
    char host[HOST_MAX];
    uint16_t port;
    const char *path;
    return split(url, host, &port, &path);
}

static bool trust(struct cv_get *g, const char *ca_file)
{
    g->ctx = SSL_CTX_new(TLS_client_method());
    CV_ASSERT(g->ctx);
    SSL_CTX_set_min_proto_version(g->ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(g->ctx, SSL_VERIFY_PEER, NULL);
    bool ok = ca_file ? SSL_CTX_load_verify_file(g->ctx, ca_file) : SSL_CTX_set_default_verify_paths(g->ctx);
    if (!ok)
        cv_fail(&g->why, CV_E_CONF, "%s holds no certificate that can be trusted",
                ca_file ? ca_file : "the system");
    ERR_clear_error();
    return ok;
}

static void write_request(struct cv_get *g, const char *url, const char *path, struct cv_secret bearer)
{
    const char *authority = url + strlen("https://");
    const char *const parts[] = { "GET ", path, " HTTP/1.1\r\nHost: " };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        cv_buf_add(&g->out, parts[i], strlen(parts[i]));
    cv_buf_add(&g->out, authority, (size_t)(path - authority));
    static const char fields[] = "\r\nUser-Agent: culvert/" CV_VERSION "\r\nAccept: application/json\r\n"
                                 "Connection: close\r\n";
    cv_buf_add(&g->out, fields, strlen(fields));
    if (bearer.n) {
        struct cv_str s = cv_reveal(bearer);
        cv_buf_add(&g->out, "Authorization: Bearer ", 22);
        cv_buf_add(&g->out, s.p, s.n);
        cv_buf_add(&g->out, "\r\n", 2);
    }
    cv_buf_add(&g->out, "\r\n", 2);
}

struct cv_get *cv_https_get(const struct cv_self *self, const struct cv_https *order, cv_get_fn *done,
                            void *arg)
{
    struct cv_get *g = cv_xcalloc(1, sizeof(*g));
    g->self = self;
    g->done = done;
    g->arg = arg;
    g->fd = -1;
    g->max = order->max;
    llhttp_settings_init(&g->settings);
    g->settings.on_body = on_body;
    g->settings.on_message_complete = on_complete;
    llhttp_init(&g->http, HTTP_RESPONSE, &g->settings);
    g->limit.fire = on_limit;
    cv_timer_set(self, &g->limit, order->limit);
    uint16_t port = 0;
    const char *path = "";
    if (!split(order->url, g->host, &port, &path))
        cv_fail(&g->why, CV_E_CONF, "not an https URL");
    else if (trust(g, order->ca_file)) {
        write_request(g, order->url, path, order->bearer);
        g->lookup = cv_resolve(self, cv_str_of(g->host), port, on_resolved, g);
        return g;
    }
    cv_timer_set(self, &g->limit, (struct cv_ms){ 0 }); /* done comes in a later turn */
    return g;
}
