/* link.c: one connection to an origin, plain or TLS, on the worker's loop; never blocks. */
#include "origin.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <unistd.h>

enum { TLS_RECORD = 16 * 1024 };

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct origin_link *l = arg;
    bool also_write = l->write_needs_read;
    l->write_needs_read = false;
    l->ready(l, (short)(also_write ? EV_READ | EV_WRITE : EV_READ));
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct origin_link *l = arg;
    bool also_read = l->read_needs_write;
    l->read_needs_write = false;
    l->writing = false;
    l->ready(l, (short)(also_read ? EV_READ | EV_WRITE : EV_WRITE));
}

struct origin_link *origin_link_new(struct origin_worker *w, int fd_take)
{
    struct origin_link *l = cv_xcalloc(1, sizeof(*l));
    l->w = w;
    l->fd = fd_take;
    event_assign(&l->rd, cv_base(&w->self), l->fd, EV_READ | EV_PERSIST, on_readable, l);
    event_assign(&l->wr, cv_base(&w->self), l->fd, EV_WRITE, on_writable, l);
    return l;
}

void origin_link_free(struct origin_link *l)
{
    if (!l)
        return;
    origin_link_watch(l, false);
    if (l->writing)
        event_del(&l->wr);
    if (l->ssl) {
        if (SSL_is_init_finished(l->ssl))
            SSL_shutdown(l->ssl); /* as far as it goes at once */
        SSL_free(l->ssl);
        ERR_clear_error();
    }
    close(l->fd);
    free(l);
}

void origin_link_own(struct origin_link *l, void (*ready)(struct origin_link *, short), void *user)
{
    l->ready = ready;
    l->user = user;
}

void origin_link_watch(struct origin_link *l, bool reading)
{
    if (reading == l->reading)
        return;
    l->reading = reading;
    if (reading)
        event_add(&l->rd, NULL);
    else
        event_del(&l->rd);
}

static void wait_writable(struct origin_link *l)
{
    if (l->writing)
        return;
    l->writing = true;
    event_add(&l->wr, NULL);
}

/* ---- bytes ------------------------------------------------------------------------------------------- */

/* SSL_get_error() looks at both: what others left there must not count. */
static void clear_errors(void)
{
    ERR_clear_error();
    errno = 0;
}

/* What a call of OpenSSL came to, as of read() or write(); *cross is set if it waits for the other direction.
 */
static ssize_t tls_result(struct origin_link *l, int ok, size_t n, int waits_for, bool *cross)
{
    if (ok > 0)
        return (ssize_t)n;
    int saved = errno;
    int why = SSL_get_error(l->ssl, ok);
    ERR_clear_error();
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        *cross = why != waits_for;
        if (why == SSL_ERROR_WANT_WRITE)
            wait_writable(l);
        errno = EAGAIN;
    } else {
        errno = why == SSL_ERROR_SYSCALL && saved ? saved : EPROTO;
    }
    return -1;
}

ssize_t origin_link_read(struct origin_link *l, struct iovec *iov, int n)
{
    if (!l->ssl) {
        ssize_t got;
        do
            got = readv(l->fd, iov, n);
        while (got < 0 && errno == EINTR);
        return got;
    }
    size_t got = 0;
    clear_errors();
    int ok = SSL_read_ex(l->ssl, iov[0].iov_base, iov[0].iov_len, &got);
    return tls_result(l, ok, got, SSL_ERROR_WANT_READ, &l->read_needs_write);
}

/* One record instead of one for each piece. A repeated write must offer the same bytes and at least as many:
 * so it does, since nothing of them was accounted for and more may only have come behind them. */
static ssize_t tls_write(struct origin_link *l, const struct iovec *iov, int n)
{
    const void *bytes = iov[0].iov_base;
    size_t size = iov[0].iov_len < TLS_RECORD ? iov[0].iov_len : TLS_RECORD;
    if (n > 1 && size < TLS_RECORD) {
        size = 0;
        for (int i = 0; i < n && size < TLS_RECORD; i++) {
            size_t part = iov[i].iov_len < TLS_RECORD - size ? iov[i].iov_len : TLS_RECORD - size;
            memcpy(l->w->scratch + size, iov[i].iov_base, part);
            size += part;
        }
        bytes = l->w->scratch;
    }
    size_t sent = 0;
    clear_errors();
    int ok = SSL_write_ex(l->ssl, bytes, size, &sent);
    return tls_result(l, ok, sent, SSL_ERROR_WANT_WRITE, &l->write_needs_read);
}

ssize_t origin_link_write(struct origin_link *l, const struct iovec *iov, int n)
{
    if (l->ssl)
        return tls_write(l, iov, n);
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
    ssize_t sent;
    do
        sent = sendmsg(l->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno == EAGAIN)
        wait_writable(l);
    return sent;
}

bool origin_link_pending(const struct origin_link *l)
{
    return l->ssl && SSL_pending(l->ssl) > 0;
}

bool origin_link_quiet(struct origin_link *l)
{
    char byte;
    if (!l->ssl)
        return recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
    size_t got = 0;
    clear_errors();
    int ok = SSL_peek_ex(l->ssl, &byte, 1, &got); /* session tickets may come in: no bytes of the peer's */
    return tls_result(l, ok, got, SSL_ERROR_WANT_READ, &l->read_needs_write) < 0 && errno == EAGAIN;
}

void origin_link_half_close(struct origin_link *l)
{
    if (l->ssl) {
        SSL_shutdown(l->ssl);
        ERR_clear_error();
    } else {
        shutdown(l->fd, SHUT_WR);
    }
}

enum cv_error origin_link_handshake(struct origin_link *l, struct cv_err *err)
{
    clear_errors();
    int ok = SSL_connect(l->ssl);
    if (ok == 1)
        return CV_OK;
    int why = SSL_get_error(l->ssl, ok);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        origin_link_watch(l, true);
        if (why == SSL_ERROR_WANT_WRITE)
            wait_writable(l);
        return CV_E_CANCEL;
    }
    origin_tls_error(l->ssl, err);
    return CV_E_TLS;
}
