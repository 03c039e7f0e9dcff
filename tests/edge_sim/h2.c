/* h2.c: a connection over HTTP/2: the edge is the TLS server and the HTTP/2 client (docs/protocol.md §11). */
#include "h2.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HANDSHAKE_S = 15, READS_A_TURN = 16, RECORD = 16 * 1024, OUT_MAX = 256 * 1024 };

static void h2_free(struct h2 *h2)
{
    struct h2_stream *s;
    while ((s = LIST_FIRST(&h2->streams)))
        h2_stream_free(s, END_LOST, 0);
    nghttp2_session_del(h2->session);
    SSL_free(h2->ssl);
    event_free(h2->rev);
    event_free(h2->wev);
    event_free(h2->timer);
    if (h2->reset)
        setsockopt(h2->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    close(h2->fd);
    cv_buf_free(&h2->out);
    answer_free(h2->dial);
    conn_ended(h2->conn, h2->ended_how);
    free(h2);
}

/* It ends at the end of this turn: whoever calls may be inside a callback of it. */
void h2_end(struct h2 *h2, const char *how)
{
    if (h2->ended_how)
        return;
    h2->ended_how = how;
    event_del(h2->rev);
    event_active(h2->wev, EV_WRITE, 1);
}

void h2_send_soon(struct h2 *h2)
{
    if (!h2->flush_queued)
        event_active(h2->wev, EV_WRITE, 1);
    h2->flush_queued = true;
}

/* ---- TLS -------------------------------------------------------------------------------------------- */

static const char *why_tls_ended(struct h2 *h2, int rc)
{
    int e = SSL_get_error(h2->ssl, rc);
    if (e == SSL_ERROR_WANT_READ)
        return NULL;
    if (e == SSL_ERROR_WANT_WRITE) {
        event_add(h2->wev, NULL);
        return NULL;
    }
    if (e == SSL_ERROR_ZERO_RETURN)
        return "clean";
    if (e == SSL_ERROR_SYSCALL)
        return errno == ECONNRESET || errno == EPIPE ? "reset" : "eof";
    unsigned long code = ERR_peek_error();
    return ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? "eof" : "tls";
}

static void handshake(struct h2 *h2)
{
    ERR_clear_error();
    int rc = SSL_accept(h2->ssl);
    if (rc != 1) {
        const char *why = why_tls_ended(h2, rc);
        if (why)
            h2_end(h2, why);
        return;
    }
    event_del(h2->timer);
    h2->handshaken = true;
    const unsigned char *alpn;
    unsigned alpn_n;
    SSL_get0_alpn_selected(h2->ssl, &alpn, &alpn_n);
    const char *sni = SSL_get_servername(h2->ssl, TLSEXT_NAMETYPE_host_name);
    log_event(h2->conn, "tls",
              CV_FIELDS(CV_S("sni", cv_str_of(sni)), CV_S("version", cv_str_of(SSL_get_version(h2->ssl))),
                        CV_S("group", cv_str_of(SSL_get0_group_name(h2->ssl))),
                        CV_I("alpn_offered", h2->alpn_offered)));
    if (h2->dial && h2->dial->what == ANSWER_NO_PREFACE)
        return;
    h2_session_start(h2);
    if (!h2->dial)
        control_open(h2->conn);
    h2_send_soon(h2);
}

/* The selection callback runs only if the client offers ALPN, which it should not. */
static int alpn_offered(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
                        unsigned in_n, void *arg)
{
    struct h2 *h2 = SSL_get_app_data(ssl);
    (void)out, (void)out_n, (void)in, (void)in_n, (void)arg;
    h2->alpn_offered = true;
    return SSL_TLSEXT_ERR_NOACK;
}

static void handshake_timeout(int fd, short what, void *arg)
{
    (void)fd, (void)what;
    h2_end(arg, "timeout");
}

/* ---- bytes in and out ------------------------------------------------------------------------------- */

static bool feed(struct h2 *h2, const uint8_t *p, size_t n)
{
    if (!h2->session)
        return true;
    ssize_t used = nghttp2_session_mem_recv(h2->session, p, n);
    if (used < 0) {
        log_event(h2->conn, "bad-frame", CV_FIELDS(CV_S("why", cv_str_of(nghttp2_strerror((int)used)))));
        h2_end(h2, "protocol");
        return false;
    }
    return true;
}

static void on_readable(int fd, short what, void *arg)
{
    static uint8_t buf[RECORD];
    struct h2 *h2 = arg;
    (void)fd, (void)what;
    if (h2->ended_how || h2->silent || (h2->dial && h2->dial->what == ANSWER_NO_TLS))
        return;
    if (!h2->handshaken)
        handshake(h2);
    for (int i = 0; i < READS_A_TURN && h2->handshaken && !h2->ended_how; i++) {
        ERR_clear_error();
        int n = SSL_read(h2->ssl, buf, sizeof(buf));
        if (n <= 0) {
            const char *why = why_tls_ended(h2, n);
            if (why)
                h2_end(h2, why);
            break;
        }
        if (!feed(h2, buf, (size_t)n))
            break;
    }
    if (SSL_has_pending(h2->ssl) && !h2->ended_how)
        event_active(h2->rev, EV_READ, 1);
    if (h2->handshaken)
        h2_send_soon(h2);
}

/* Frames that wait become bytes in h2->out, up to about one TLS record. */
static void gather(struct h2 *h2)
{
    while (h2->session && h2->out.n < RECORD) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h2->session, &p);
        if (n <= 0)
            break;
        cv_buf_add(&h2->out, p, (size_t)n);
    }
}

/* True: nothing waits any more. */
static bool flush(struct h2 *h2)
{
    for (;;) {
        gather(h2);
        if (h2->out.n == 0)
            return true;
        ERR_clear_error();
        int n = SSL_write(h2->ssl, h2->out.p, (int)(h2->out.n < RECORD ? h2->out.n : RECORD));
        if (n <= 0) {
            const char *why = why_tls_ended(h2, n);
            if (why && !h2->ended_how)
                h2_end(h2, why);
            return false;
        }
        cv_buf_take_front(&h2->out, (size_t)n);
    }
}

static bool session_over(const struct h2 *h2)
{
    return h2->session && !nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session);
}

static void on_writable(int fd, short what, void *arg)
{
    struct h2 *h2 = arg;
    (void)fd, (void)what;
    h2->flush_queued = false;
    if (!h2->handshaken && !h2->ended_how)
        handshake(h2);
    bool usable = h2->handshaken && !h2->silent && !h2->reset;
    if (usable && (!h2->ended_how || h2->farewell))
        flush(h2);
    if (!h2->ended_how && (session_over(h2) || (h2->goaway && h2->conn->open == 0)))
        h2_end(h2, h2->goaway ? "edge" : "protocol");
    if (h2->ended_how) {
        if (usable && h2->farewell)
            SSL_shutdown(h2->ssl);
        h2_free(h2);
    }
}

/* ---- the transport ---------------------------------------------------------------------------------- */

static void close_it(struct conn *conn, enum close_how how)
{
    struct h2 *h2 = conn->link;
    if (h2->ended_how)
        return;
    switch (how) {
    case CLOSE_SILENT: h2->silent = conn->draining = true; return;
    case CLOSE_GOAWAY:
        if (h2->session) {
            nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
            h2->goaway = conn->draining = true;
            h2_send_soon(h2);
        }
        return;
    case CLOSE_RST: h2->reset = true; break;
    case CLOSE_FIN: h2->farewell = true; break;
    }
    h2_end(h2, "edge");
}

static bool raw(struct conn *conn, const uint8_t *p, size_t n)
{
    struct h2 *h2 = conn->link;
    if (n > OUT_MAX)
        return false;
    gather(h2);
    cv_buf_add(&h2->out, p, n);
    h2_send_soon(h2);
    return true;
}

static void stop_reading(struct conn *conn, bool stop)
{
    struct h2 *h2 = conn->link;
    if (h2->ended_how)
        return;
    if (stop)
        event_del(h2->rev);
    else
        event_add(h2->rev, NULL);
}

static bool fault(struct conn *conn, struct cv_str what)
{
    struct h2 *h2 = conn->link;
    if (!h2->session || h2->ended_how || h2->silent)
        return false;
    if (cv_str_eq(what, CV_STR("ping")))
        nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
    else if (cv_str_eq(what, CV_STR("stall")))
        conn->stalled = true;
    else if (cv_str_eq(what, CV_STR("reset-streams")))
        h2_reset_streams(h2);
    else
        return false;
    h2_send_soon(h2);
    return true;
}

static const struct transport http2 = {
    .name = "http2",
    .config_kind = KIND_CONFIG,
    .open = h2_open,
    .written = h2_written,
    .credit = h2_credit,
    .reset = h2_reset,
    .close = close_it,
    .raw = raw,
    .stop_reading = stop_reading,
    .fault = fault,
};

void h2_accept(int fd, const struct sockaddr *peer, SSL_CTX *ctx)
{
    struct answer *dial = script_dial();
    struct h2 *h2 = cv_xcalloc(1, sizeof(*h2));
    h2->fd = fd;
    h2->dial = dial;
    h2->ssl = SSL_new(ctx);
    CV_ASSERT(h2->ssl && SSL_set_fd(h2->ssl, fd));
    SSL_set_app_data(h2->ssl, h2);
    SSL_CTX_set_alpn_select_cb(ctx, alpn_offered, NULL);
    SSL_set_mode(h2->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    LIST_INIT(&h2->streams);
    h2->rev = event_new(loop, fd, EV_READ | EV_PERSIST, on_readable, h2);
    h2->wev = event_new(loop, fd, EV_WRITE, on_writable, h2);
    h2->timer = event_new(loop, -1, 0, handshake_timeout, h2);
    h2->conn = conn_new(&http2, h2, peer);
    event_add(h2->rev, NULL);
    event_add(h2->timer, &(struct timeval){ HANDSHAKE_S, 0 });
    if (dial && dial->what == ANSWER_CLOSE)
        h2_end(h2, "edge");
}
