/* listen.c: where connectors come in: for every --listen address a TCP and a UDP socket with the same port.
 */
#include "edge_sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LISTENERS = 16, TRIES = 32 };

static struct listener {
    int fd;
    struct event event;
} tcp[LISTENERS];
static size_t ntcp;
static SSL_CTX *h2_tls;

static void on_acceptable(int fd, short what, void *arg)
{
    struct sockaddr_storage peer;
    socklen_t n = sizeof(peer);
    (void)what, (void)arg;
    int got = accept4(fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (got >= 0)
        h2_accept(got, (struct sockaddr *)&peer, h2_tls);
}

static int bound(int type, const struct sockaddr_storage *ss, socklen_t n)
{
    int fd = socket(ss->ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ type == SOCK_STREAM }, sizeof(int));
    if (bind(fd, (const struct sockaddr *)ss, n) == 0 && (type != SOCK_STREAM || listen(fd, 128) == 0))
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

/* A free port of TCP need not be one of UDP: with port 0 others are tried. */
static bool bind_both(const struct sockaddr_storage *want, socklen_t n, int *stream, int *dgram)
{
    bool any_port = ((const struct sockaddr_in *)want)->sin_port == 0; /* the same place in sockaddr_in6 */
    for (int i = 0; i < (any_port ? TRIES : 1); i++) {
        struct sockaddr_storage ss = *want;
        *stream = bound(SOCK_STREAM, &ss, n);
        if (*stream < 0 || getsockname(*stream, (struct sockaddr *)&ss, &n) != 0)
            return false;
        *dgram = bound(SOCK_DGRAM, &ss, n);
        if (*dgram >= 0)
            return true;
        close(*stream);
    }
    return false;
}

static bool listen_on(const char *addr, SSL_CTX *quic, void (*print)(const char *, const char *))
{
    struct sockaddr_storage ss;
    socklen_t n;
    char text[64];
    int stream, dgram;
    if (!parse_addr(addr, &ss, &n) || !bind_both(&ss, n, &stream, &dgram)) {
        fprintf(stderr, "edge_sim: cannot listen on %s: %s\n", addr, strerror(errno));
        return false;
    }
    getsockname(stream, (struct sockaddr *)&ss, &n);
    print_addr((struct sockaddr *)&ss, text);
    print("edge", text);
    struct listener *l = &tcp[ntcp++];
    l->fd = stream;
    event_assign(&l->event, loop, stream, EV_READ | EV_PERSIST, on_acceptable, l);
    if (opt.h2 && !opt.mute_tcp)
        event_add(&l->event, NULL);
    if (opt.quic)
        quic_listen(dgram, &ss, n, quic);
    else
        close(dgram);
    return true;
}

bool listen_start(SSL_CTX *h2, SSL_CTX *quic, void (*print)(const char *kind, const char *addr))
{
    h2_tls = h2;
    for (size_t i = 0; i < opt.nlisten; i++)
        if (!listen_on(opt.listen[i], quic, print))
            return false;
    return true;
}

void listen_mute(void)
{
    for (size_t i = 0; i < ntcp && opt.h2; i++)
        if (opt.mute_tcp)
            event_del(&tcp[i].event);
        else
            event_add(&tcp[i].event, NULL);
}

void listen_stop(void)
{
    while (ntcp > 0) {
        struct listener *l = &tcp[--ntcp];
        event_del(&l->event);
        close(l->fd);
    }
    quic_unlisten();
}
