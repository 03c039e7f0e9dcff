/* h1.c: the server end of an HTTP/1.1 connection: what visitors and tests speak to the simulator. */
#include "h1.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LISTENERS = 2,
    ACCEPTS_A_TURN = 64,
    READ_BYTES = 64 * 1024,
    LINGER_MAX =
        16 * 1024 * 1024, /* bytes read and dropped, so that a visitor that still sends sees the answer */
};

static struct listener {
    int fd;
    const struct h1_ops *ops;
    struct event event;
} listeners[LISTENERS];
static size_t nlisteners;
static unsigned visitors;
static LIST_HEAD(, h1) all = LIST_HEAD_INITIALIZER(all);

/* ---- life ------------------------------------------------------------------------------------------- */

void h1_free(struct h1 *h)
{
    LIST_REMOVE(h, entry);
    visitors--;
    event_del(&h->rev);
    event_del(&h->wev);
    if (h->reset)
        setsockopt(h->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    close(h->fd);
    fields_free(&h->req.fields);
    cv_buf_free(&h->url);
    cv_buf_free(&h->name);
    cv_buf_free(&h->value);
    cv_buf_free(&h->ahead);
    queue_free(&h->out);
    free(h);
}

void h1_bury(struct h1 *h)
{
    if (h->dead)
        return;
    h->dead = true;
    event_del(&h->rev);
    event_active(&h->wev, EV_WRITE, 1);
}

void h1_left(struct h1 *h)
{
    bool told = h->busy;
    h->busy = false;
    if (h->dead)
        return;
    h1_bury(h);
    if (told)
        h->ops->gone(h);
}

static void on_readable(int fd, short what, void *arg);

static void watch(struct h1 *h, short what)
{
    event_del(&h->rev);
    event_assign(&h->rev, loop, h->fd, (short)(what | EV_PERSIST), on_readable, h);
    event_add(&h->rev, NULL);
    if (h->next)
        event_active(&h->rev, 0, 1);
}

void h1_reading(struct h1 *h, bool on)
{
    if (h->reading == on || h->dead || h->closing)
        return;
    h->reading = on;
    watch(h, on ? EV_READ : EV_CLOSED);
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static void input_ended(struct h1 *h)
{
    if (h->tunnel && h->busy) {
        h->reading = false;
        event_del(&h->rev);
        h->ops->end(h);
    } else {
        h1_left(h);
    }
}

static void next_request(struct h1 *h)
{
    h->next = h->received = false;
    h1_reading(h, true);
    struct cv_buf ahead = h->ahead;
    h->ahead = (struct cv_buf){ 0 };
    if (ahead.n > 0)
        h1_parse(h, (const char *)ahead.p, ahead.n);
    cv_buf_free(&ahead);
}

static void drop_input(struct h1 *h, ssize_t n)
{
    h->dropped += n > 0 ? (size_t)n : 0;
    if (n == 0 && h->out.n > 0)
        event_del(&h->rev); /* it may still listen */
    else if (n <= 0 || h->dropped > LINGER_MAX)
        h1_bury(h);
}

/* Whether the other side is gone, not only done with sending. */
static bool is_gone(int fd)
{
    struct pollfd p = { .fd = fd };
    return poll(&p, 1, 0) > 0;
}

static void on_closed(struct h1 *h, short what)
{
    if (h->tunnel && h->busy && !(what & EV_TIMEOUT) && !is_gone(h->fd))
        event_del(&h->rev); /* what it sent before comes first; h1_reading() looks again */
    else
        h1_left(h);
}

static void on_readable(int fd, short what, void *arg)
{
    static char buf[READ_BYTES];
    struct h1 *h = arg;
    if (h->next)
        next_request(h);
    if (h->dead || !(what & (EV_READ | EV_CLOSED | EV_TIMEOUT)))
        return;
    if (what & (EV_CLOSED | EV_TIMEOUT)) {
        on_closed(h, what);
        return;
    }
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 3 && !h->spoken && h->ops->http2 && memcmp(buf, "PRI", 3) == 0) {
        h->ops->http2(fcntl(fd, F_DUPFD_CLOEXEC, 0), h1_peer(h), (const uint8_t *)buf, (size_t)n);
        h1_bury(h);
        return;
    }
    h->spoken = true;
    if (h->closing)
        drop_input(h, n);
    else if (n > 0)
        h1_parse(h, buf, (size_t)n);
    else if (n == 0)
        input_ended(h);
    else
        h1_left(h);
}

/* ---- small things ----------------------------------------------------------------------------------- */

struct h1_request *h1_request(struct h1 *h)
{
    return &h->req;
}

void h1_set_owner(struct h1 *h, void *owner)
{
    h->owner = owner;
}

void *h1_owner(const struct h1 *h)
{
    return h->owner;
}

struct cv_str h1_peer(const struct h1 *h)
{
    return cv_str_of(h->peer);
}

static void welcome(int fd, const struct h1_ops *ops, const struct sockaddr *peer)
{
    struct h1 *h = cv_xcalloc(1, sizeof(*h));
    h->fd = fd;
    h->ops = ops;
    h->reading = true;
    char full[64];
    print_addr(peer, full);
    struct cv_str host = cv_str_of(full);
    while (host.n > 0 && host.p[host.n - 1] != ':')
        host.n--;
    host.n -= host.n > 0;
    snprintf(h->peer, sizeof(h->peer), "%.*s", CV_STR_ARG(host));
    llhttp_init(&h->parser, HTTP_REQUEST, &h1_settings);
    h->parser.data = h;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    event_assign(&h->rev, loop, fd, EV_READ | EV_PERSIST, on_readable, h);
    event_assign(&h->wev, loop, fd, EV_WRITE, h1_on_writable, h);
    event_add(&h->rev, NULL);
    LIST_INSERT_HEAD(&all, h, entry);
    visitors++;
}

static void on_acceptable(int fd, short what, void *arg)
{
    struct listener *l = arg;
    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage peer;
        socklen_t n = sizeof(peer);
        int got = accept4(fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got < 0)
            return;
        if (visitors < opt.max_visitors)
            welcome(got, l->ops, (struct sockaddr *)&peer);
        else
            close(got);
    }
}

int h1_listen(const char *addr, const struct h1_ops *ops, char printed[static 64])
{
    CV_ASSERT(nlisteners < LISTENERS);
    struct sockaddr_storage ss;
    socklen_t n;
    if (!parse_addr(addr, &ss, &n)) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    if (bind(fd, (struct sockaddr *)&ss, n) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&ss, &n) != 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    print_addr((struct sockaddr *)&ss, printed);
    struct listener *l = &listeners[nlisteners++];
    *l = (struct listener){ .fd = fd, .ops = ops };
    event_assign(&l->event, loop, fd, EV_READ | EV_PERSIST, on_acceptable, l);
    event_add(&l->event, NULL);
    return fd;
}

void h1_unlisten(void)
{
    while (nlisteners > 0) {
        struct listener *l = &listeners[--nlisteners];
        event_del(&l->event);
        close(l->fd);
    }
    while (!LIST_EMPTY(&all)) {
        struct h1 *h = LIST_FIRST(&all);
        if (h->busy)
            h->ops->gone(h);
        h1_free(h);
    }
}
