/* conn.c: a connection to the edge: dialled, TLS, open, closed; its socket's events and its one timer. */
#include "h2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 16384, READS_PER_TURN = 8, CLOSE_MS = 1000, KEEP_ALIVE_S = 15 };

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

/* ---- ending ------------------------------------------------------------------------------------------ */

void h2_down(struct h2_conn *c, enum cv_error e, const char *fmt, ...)
{
    if (c->state == H2_DOWN)
        return;
    c->state = H2_DOWN;
    if (c->fd >= 0) {
        event_del(c->read_event);
        event_del(c->write_event);
    }
    cv_timer_clear(&c->timer);
    cv_timer_clear(&c->alive);
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    cv_conn_down(c->pub, e, "%s", text);
}

static void free_conn(struct h2_conn *c)
{
    cv_timer_clear(&c->timer);
    cv_timer_clear(&c->alive);
    cv_late_clear(c->self, &c->flush);
    nghttp2_session_del(c->session);
    SSL_free(c->ssl);
    if (c->lookup)
        cv_resolve_cancel(c->lookup);
    if (c->fd >= 0) {
        event_free(c->read_event);
        event_free(c->write_event);
        close(c->fd);
    }
    if (c->proxy) {
        cv_proxy_end(&c->talk);
        OPENSSL_cleanse(c->proxy, sizeof(*c->proxy));
        free(c->proxy);
    }
    cv_buf_free(&c->backlog);
    free(c->out);
    free(c);
}

void h2_gone(const struct cv_self *self, struct cv_conn *pub)
{
    (void)self;
    free_conn(pub->edge);
    pub->edge = NULL;
}

/* The peer sees the end of our data, we wait for the end of its own, so that no reset overtakes what was written. */
static void close_when_flushed(struct h2_conn *c)
{
    if (c->out_n || c->backlog.n || nghttp2_session_want_write(c->session))
        return;
    SSL_shutdown(c->ssl);
    shutdown(c->fd, SHUT_WR);
}

void h2_close(const struct cv_self *self, struct cv_conn *pub)
{
    struct h2_conn *c = pub->edge;
    if (c->state == H2_DOWN || c->state == H2_CLOSING)
        return;
    if (c->state != H2_OPEN) {
        h2_down(c, CV_OK, "closed while connecting");
        return;
    }
    c->state = H2_CLOSING;
    cv_timer_set(self, &c->timer, (struct cv_ms){ CLOSE_MS });
    h2_flush_soon(c);
}

/* ---- what the timer means ---------------------------------------------------------------------------- */

static void on_timer(struct cv_timer *t)
{
    struct h2_conn *c = CV_OWNER(t, struct h2_conn, timer);
    switch (c->state) {
    case H2_RESOLVING:
    case H2_CONNECTING:
    case H2_PROXY:
        h2_down(c, CV_E_TIMEOUT, "no TCP connection within %lld ms",
                (long long)h2_conf(c)->connect_timeout.ms);
        break;
    case H2_HANDSHAKE:
        h2_down(c, CV_E_TIMEOUT, "no TLS handshake within %lld ms",
                (long long)h2_conf(c)->handshake_timeout.ms);
        break;
    case H2_OPEN:
        h2_down(c, CV_E_TIMEOUT, "the edge did not begin HTTP/2 within %lld ms",
                (long long)h2_conf(c)->settings_timeout.ms);
        break;
    case H2_CLOSING: h2_down(c, CV_OK, "closed"); break;
    case H2_DOWN: break;
    }
}

void h2_settings_arrived(struct h2_conn *c)
{
    if (c->settings_seen)
        return;
    c->settings_seen = true;
    if (c->state == H2_OPEN)
        cv_timer_clear(&c->timer);
    h2_alive_start(c);
}

/* ---- the socket -------------------------------------------------------------------------------------- */

static void on_flush(struct cv_late *late)
{
    struct h2_conn *c = CV_OWNER(late, struct h2_conn, flush);
    if (c->state != H2_OPEN && c->state != H2_CLOSING)
        return;
    if (!h2_session_send(c)) {
        h2_down(c, CV_E_IO, "writing to the edge: %s", strerror(c->io_errno));
        return;
    }
    if (c->backlog.n)
        event_add(c->write_event, NULL);
    if (c->state == H2_CLOSING)
        close_when_flushed(c);
    else if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
        h2_down(c, CV_E_PROTO, "the HTTP/2 session ended");
}

void h2_flush_soon(struct h2_conn *c)
{
    if (c->state == H2_OPEN || c->state == H2_CLOSING)
        cv_late(c->self, &c->flush);
}

static void end_of_input(struct h2_conn *c)
{
    if (c->state == H2_CLOSING)
        h2_down(c, CV_OK, "closed");
    else if (c->io_errno)
        h2_down(c, CV_E_IO, "connection with edge closed: %s", strerror(c->io_errno));
    else if (c->peer_ended)
        h2_down(c, CV_E_IO, "connection with edge closed");
    else
        h2_down(c, CV_E_TLS, "connection with edge closed: %s", cv_edge_ssl_error(c->ssl).text);
}

/* false: nothing more for now, or the connection is over. The thread's queue of errors is emptied before each call: what
 * another connection left there would end this one. */
static bool read_some(struct h2_conn *c)
{
    uint8_t bytes[READ_BYTES];
    ERR_clear_error();
    int n = SSL_read(c->ssl, bytes, sizeof(bytes));
    if (n > 0) {
        c->heard_at = cv_now(c->self);
        return h2_session_receive(c, bytes, (size_t)n);
    }
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_ZERO_RETURN)
        c->peer_ended = true;
    if (why != SSL_ERROR_WANT_READ)
        end_of_input(c);
    return false;
}

static void shake_hands(struct h2_conn *c)
{
    ERR_clear_error();
    int n = SSL_do_handshake(c->ssl);
    if (c->backlog.n)
        event_add(c->write_event, NULL);
    if (n != 1 && SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ)
        return;
    if (n != 1) {
        if (c->io_errno)
            h2_down(c, CV_E_TLS, "TLS handshake with edge error: %s", strerror(c->io_errno));
        else
            h2_down(c, CV_E_TLS, "TLS handshake with edge error: %s",
                    c->peer_ended ? "the edge closed the connection" : cv_edge_ssl_error(c->ssl).text);
        return;
    }
    c->state = H2_OPEN;
    cv_timer_set(c->self, &c->timer, h2_conf(c)->settings_timeout);
    h2_session_start(c);
    h2_flush_soon(c);
    cv_conn_up(c->pub);
}

static void start_tls(struct h2_conn *c)
{
    c->state = H2_HANDSHAKE;
    cv_timer_set(c->self, &c->timer, h2_conf(c)->handshake_timeout);
    h2_tls_start(c);
    shake_hands(c);
}

/* ---- the proxy in between ------------------------------------------------------------------------------- */

/* A few dozen bytes into an empty socket: they fit, or something is very wrong. */
static void say(struct h2_conn *c, struct cv_buf *out)
{
    ssize_t sent = out->n ? send(c->fd, out->p, out->n, MSG_NOSIGNAL) : 0;
    bool all = sent == (ssize_t)out->n;
    OPENSSL_cleanse(out->p, out->n);
    cv_buf_free(out);
    if (!all)
        h2_down(c, CV_E_IO, "writing to the proxy %s: %s", c->proxy->host, strerror(errno));
}

static uint16_t write_edge(const struct sockaddr_storage *edge, char ip[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)edge;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)edge;
    bool is_v6 = edge->ss_family == AF_INET6;
    inet_ntop(edge->ss_family, is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr, ip, INET6_ADDRSTRLEN);
    return ntohs(is_v6 ? v6->sin6_port : v4->sin_port);
}

static void greet_proxy(struct h2_conn *c)
{
    struct cv_buf out = { 0 };
    c->state = H2_PROXY;
    uint16_t port = write_edge(&c->pub->addr, c->ip);
    cv_proxy_begin(&c->talk, c->proxy, cv_str_of(c->ip), port, &out);
    say(c, &out);
}

static void hear_proxy(struct h2_conn *c)
{
    uint8_t bytes[512];
    struct cv_buf out = { 0 };
    struct cv_err err = { "" };
    ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        h2_down(c, CV_E_IO, "the proxy %s closed the connection", c->proxy->host);
        return;
    }
    switch (cv_proxy_feed(&c->talk, bytes, (size_t)n, &out, &err)) {
    case CV_PROXY_MORE: say(c, &out); break;
    case CV_PROXY_DONE: start_tls(c); break;
    case CV_PROXY_FAILED: h2_down(c, CV_E_DENIED, "%s: %s", c->proxy->host, err.text); break;
    }
}

static void connected(struct h2_conn *c)
{
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        h2_down(c, CV_E_REFUSED, "DialContext error: %s%s%s", c->proxy ? c->proxy->host : "",
                c->proxy ? ": " : "", strerror(error));
        return;
    }
    size = sizeof(c->pub->local);
    getsockname(c->fd, (struct sockaddr *)&c->pub->local, &size);
    event_add(c->read_event, NULL);
    if (c->proxy)
        greet_proxy(c);
    else
        start_tls(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct h2_conn *c = arg;
    if (c->state == H2_PROXY)
        hear_proxy(c);
    else if (c->state == H2_HANDSHAKE)
        shake_hands(c);
    if (c->state != H2_OPEN && c->state != H2_CLOSING)
        return;
    int reads = 0;
    while (reads < READS_PER_TURN && read_some(c))
        reads++;
    if (reads == READS_PER_TURN && SSL_has_pending(c->ssl))
        event_active(c->read_event, EV_READ, 0); /* what OpenSSL holds wakes no socket */
    h2_flush_soon(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct h2_conn *c = arg;
    if (c->state == H2_CONNECTING) {
        connected(c);
        return;
    }
    if (!h2_tls_drain(c)) {
        h2_down(c, CV_E_IO, "writing to the edge: %s", strerror(c->io_errno));
        return;
    }
    if (c->backlog.n)
        event_add(c->write_event, NULL);
    else
        h2_flush_soon(c);
}

/* ---- dialling ---------------------------------------------------------------------------------------- */

static socklen_t address_size(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static void set_up_socket(int fd)
{
    int on = 1, idle = KEEP_ALIVE_S;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
}

/* To the edge, or to the proxy before it. */
static enum cv_error dial(struct h2_conn *c, const struct sockaddr_storage *to, struct cv_err *err)
{
    const struct sockaddr_storage *from = &c->pub->local;
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return cv_fail(err, CV_E_IO, "no socket: %s", strerror(errno));
    set_up_socket(fd);
    enum cv_error e = CV_OK;
    if (from->ss_family && bind(fd, (const struct sockaddr *)from, address_size(from)) != 0)
        e = cv_fail(err, CV_E_IO, "cannot bind to the address of --edge-bind-address: %s", strerror(errno));
    else if (connect(fd, (const struct sockaddr *)to, address_size(to)) != 0 && errno != EINPROGRESS)
        e = cv_fail(err, errno == ECONNREFUSED ? CV_E_REFUSED : CV_E_IO, "DialContext error: %s",
                    strerror(errno));
    if (e) {
        close(fd);
        return e;
    }
    c->state = H2_CONNECTING;
    c->fd = fd;
    c->read_event = event_new(cv_base(c->self), fd, EV_READ | EV_PERSIST, on_readable, c);
    c->write_event = event_new(cv_base(c->self), fd, EV_WRITE, on_writable, c);
    CV_ASSERT(c->read_event && c->write_event);
    event_add(c->write_event, NULL);
    return CV_OK;
}

static void on_proxy_resolved(void *arg, enum cv_error e, const struct sockaddr_storage *addrs, size_t n)
{
    struct h2_conn *c = arg;
    struct cv_err err = { "no address" };
    c->lookup = NULL;
    if (e || n == 0)
        h2_down(c, CV_E_RESOLVE, "the proxy %s: %s", c->proxy->host, e ? cv_error_text(e) : err.text);
    else if ((e = dial(c, &addrs[0], &err)))
        h2_down(c, e, "the proxy %s: %s", c->proxy->host, err.text);
}

enum cv_error h2_dial(const struct cv_self *self, struct cv_conn *pub, struct cv_err *err)
{
    struct cv_proxy proxy;
    enum cv_error e = h2_proxy_choose(self->conf, &pub->addr, &proxy, err);
    if (e)
        return e;
    struct h2_conn *c = cv_xcalloc(1, sizeof(*c));
    *c =
        (struct h2_conn){ .self = self, .pub = pub, .fd = -1, .timer.fire = on_timer, .flush.run = on_flush };
    if (proxy.kind != CV_PROXY_NONE) {
        c->proxy = cv_xmalloc(sizeof(*c->proxy));
        *c->proxy = proxy;
        OPENSSL_cleanse(&proxy, sizeof(proxy));
        c->lookup = cv_resolve(self, cv_str_of(c->proxy->host), c->proxy->port, on_proxy_resolved, c);
    } else if ((e = dial(c, &pub->addr, err))) {
        free(c);
        return e;
    }
    pub->edge = c;
    cv_timer_set(self, &c->timer, h2_conf(c)->connect_timeout);
    return CV_OK;
}
