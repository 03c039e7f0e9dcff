/* dot.c: one question by DNS over TLS: connect, ask, read the answer, close. */
#include "tunnel/dot.h"

#define CARES_NO_DEPRECATED
#include <ares.h>
#include <ares_nameser.h>
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LENGTH = 2 }; /* of a message, before it */

const struct dot_server dot_cloudflare = { "1.1.1.1", 853, "cloudflare-dns.com", NULL, { 15000 } };

struct dot_query {
    const struct cv_self *self;
    const struct dot_server *server;
    dot_done_fn *done;
    void *arg;
    SSL *ssl;
    int fd;
    struct event event;
    bool watched;
    struct cv_timer timer; /* the limit; or why it is over already */
    struct cv_buf out, in; /* with lengths */
    size_t sent;
    const char *why;
    char text[160];
};

static void stop(struct dot_query *q)
{
    if (q->watched)
        event_del(&q->event);
    q->watched = false;
    cv_timer_clear(&q->timer);
    SSL_free(q->ssl);
    q->ssl = NULL;
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
}

static void fail(struct dot_query *q, const char *why)
{
    stop(q);
    q->done(q->arg, NULL, 0, why);
}

static void on_time(struct cv_timer *timer)
{
    struct dot_query *q = CV_OWNER(timer, struct dot_query, timer);
    fail(q, q->why);
}

/* ---- the exchange -------------------------------------------------------------------------------------- */

/* Waits for what OpenSSL wants; false: it failed. */
static bool wait_for(struct dot_query *q, int result, event_callback_fn on_ready)
{
    int error = SSL_get_error(q->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return false;
    if (q->watched)
        event_del(&q->event);
    event_assign(&q->event, q->self->worker->base, q->fd, error == SSL_ERROR_WANT_READ ? EV_READ : EV_WRITE,
                 on_ready, q);
    q->watched = event_add(&q->event, NULL) == 0;
    return true;
}

static const char *tls_trouble(struct dot_query *q)
{
    long verdict = SSL_get_verify_result(q->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    snprintf(q->text, sizeof(q->text), "%s:%u: %s", q->server->ip, q->server->port,
             verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
             : reason             ? reason
                                  : "connection failed");
    return q->text;
}

static bool complete(const struct dot_query *q)
{
    return q->in.n >= LENGTH && q->in.n >= LENGTH + (size_t)(q->in.p[0] << 8 | q->in.p[1]);
}

static void exchange(evutil_socket_t fd, short what, void *arg)
{
    struct dot_query *q = arg;
    int n = 1;
    (void)fd;
    (void)what;
    q->watched = false;
    ERR_clear_error(); /* what others on this thread left would count as ours */
    while (q->sent < q->out.n && (n = SSL_write(q->ssl, q->out.p + q->sent, (int)(q->out.n - q->sent))) > 0)
        q->sent += (size_t)n;
    while (n > 0 && !complete(q)) {
        n = SSL_read(q->ssl, cv_buf_reserve(&q->in, 4096), 4096);
        q->in.n += n > 0 ? (size_t)n : 0;
    }
    if (complete(q)) {
        stop(q);
        q->done(q->arg, q->in.p + LENGTH, (size_t)(q->in.p[0] << 8 | q->in.p[1]), NULL);
    } else if (!wait_for(q, n, exchange)) {
        fail(q, tls_trouble(q));
    }
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct dot_query *q = arg;
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error) {
        snprintf(q->text, sizeof(q->text), "%s:%u: %s", q->server->ip, q->server->port, strerror(error));
        q->watched = false;
        fail(q, q->text);
        return;
    }
    exchange(fd, what, q); /* the handshake happens with the first write */
}

/* ---- set up -------------------------------------------------------------------------------------------- */

static bool make_question(struct dot_query *q, const char *name, int type)
{
    unsigned char *message;
    int n;
    unsigned short id;
    CV_ASSERT(RAND_bytes((unsigned char *)&id, sizeof(id)) == 1);
    if (ares_mkquery(name, ns_c_in, type, id, 1, &message, &n) != ARES_SUCCESS)
        return false;
    const uint8_t length[LENGTH] = { (uint8_t)(n >> 8), (uint8_t)n };
    cv_buf_add(&q->out, length, LENGTH);
    cv_buf_add(&q->out, message, (size_t)n);
    ares_free_string(message);
    return true;
}

static bool make_tls(struct dot_query *q)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CV_ASSERT(ctx);
    bool ok = q->server->cacert ? SSL_CTX_load_verify_file(ctx, q->server->cacert) == 1
                                : SSL_CTX_set_default_verify_paths(ctx) == 1;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    q->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    CV_ASSERT(q->ssl);
    SSL_set_connect_state(q->ssl);
    CV_ASSERT(SSL_set_tlsext_host_name(q->ssl, q->server->name) == 1 &&
              SSL_set1_host(q->ssl, q->server->name) == 1);
    return ok;
}

static bool begin_connect(struct dot_query *q)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(q->server->port) };
    if (inet_pton(AF_INET, q->server->ip, &to.sin_addr) != 1)
        return false;
    q->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (q->fd < 0 || (connect(q->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS))
        return false;
    SSL_set_fd(q->ssl, q->fd);
    event_assign(&q->event, q->self->worker->base, q->fd, EV_WRITE, on_connected, q);
    q->watched = event_add(&q->event, NULL) == 0;
    return true;
}

static const char *set_up(struct dot_query *q, const char *name, int type)
{
    if (!make_question(q, name, type))
        return "the name cannot be asked for";
    if (!make_tls(q))
        return "no root certificates";
    return begin_connect(q) ? NULL : "no way to its server";
}

struct dot_query *dot_query_new(const struct cv_self *self, const struct dot_server *server, const char *name,
                                int type, dot_done_fn *done, void *arg)
{
    struct dot_query *q = cv_xcalloc(1, sizeof(*q));
    q->self = self;
    q->server = server;
    q->done = done;
    q->arg = arg;
    q->fd = -1;
    q->timer.fire = on_time;
    q->why = set_up(q, name, type);
    struct cv_ms limit =
        q->why ? (struct cv_ms){ 0 } : server->timeout; /* a failure is told in a later turn too */
    if (!q->why)
        q->why = "took too long";
    cv_timer_set(self, &q->timer, limit);
    return q;
}

void dot_query_free(struct dot_query *q)
{
    if (!q)
        return;
    stop(q);
    cv_buf_free(&q->out);
    cv_buf_free(&q->in);
    free(q);
}
