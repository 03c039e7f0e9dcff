/* tls.c: TLS records over a non-blocking socket.
 *
 * OpenSSL writes through a BIO of ours that never refuses: what the socket does not take waits in the backlog, and
 * nothing new is encrypted until it is gone. So an SSL_write is never half done, and a stream may be reset at any moment
 * without a record of it being stuck in OpenSSL. */
#include "h2.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <pthread.h>

static bool is_again(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static size_t send_now(struct h2_conn *c, const void *p, size_t n)
{
    for (;;) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent >= 0)
            return (size_t)sent;
        if (errno == EINTR)
            continue;
        if (!is_again())
            c->io_errno = errno;
        return 0;
    }
}

static int bio_write(BIO *bio, const char *p, int n)
{
    struct h2_conn *c = BIO_get_data(bio);
    size_t sent = c->backlog.n || c->io_errno ? 0 : send_now(c, p, (size_t)n);
    if (c->io_errno)
        return -1;
    if (sent < (size_t)n)
        cv_buf_add(&c->backlog, p + sent, (size_t)n - sent);
    return n;
}

static int bio_read(BIO *bio, char *p, int n)
{
    struct h2_conn *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = recv(c->fd, p, (size_t)n, 0);
    if (got > 0)
        return (int)got;
    if (got == 0)
        c->peer_ended = true;
    else if (is_again() || errno == EINTR)
        BIO_set_retry_read(bio);
    else
        c->io_errno = errno;
    return got == 0 ? 0 : -1;
}

static long bio_ctrl(BIO *bio, int command, long num, void *ptr)
{
    struct h2_conn *c = BIO_get_data(bio);
    (void)num;
    (void)ptr;
    if (command == BIO_CTRL_EOF)
        return c->peer_ended;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "culvert edge socket");
    CV_ASSERT(method);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

void h2_tls_start(struct h2_conn *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    BIO *bio = BIO_new(method);
    CV_ASSERT(bio);
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    c->ssl = cv_edge_ssl(c->self, "h2.cftunnel.com", NULL, CV_TLS12);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_set_read_ahead(c->ssl, 1); /* one recv() a record instead of two */
    SSL_set_connect_state(c->ssl);
}

bool h2_tls_write(struct h2_conn *c, const uint8_t *p, size_t n)
{
    ERR_clear_error();
    return SSL_write(c->ssl, p, (int)n) == (int)n;
}

bool h2_tls_drain(struct h2_conn *c)
{
    if (c->backlog.n)
        cv_buf_take_front(&c->backlog, send_now(c, c->backlog.p, c->backlog.n));
    if (!c->backlog.n)
        cv_buf_free(&c->backlog); /* a stalled socket is rare: hold nothing for the next one */
    return !c->io_errno;
}
