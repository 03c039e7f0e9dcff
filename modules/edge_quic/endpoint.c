/* endpoint.c: the UDP socket of one connection: batches in, batches out, buffers large enough for a burst. */
#include "quic.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

socklen_t quic_addr_len(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static void set_port(struct sockaddr_storage *a, uint16_t port)
{
    if (a->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)a)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)a)->sin_port = htons(port);
}

static uint16_t get_port(const struct sockaddr_storage *a)
{
    return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
                                          : ((const struct sockaddr_in *)a)->sin_port);
}

/* ---- opening ----------------------------------------------------------------------------------------- */

/* Bytes the kernel grants, which may be less than asked for. It answers with twice the number, its own
 * bookkeeping. */
static uint64_t grow_buffer(int fd, int option, int force, uint64_t wish)
{
    int n = wish > INT32_MAX / 2 ? INT32_MAX / 2 : (int)wish;
    if (setsockopt(fd, SOL_SOCKET, force, &n, sizeof n) < 0)
        setsockopt(fd, SOL_SOCKET, option, &n, sizeof n);
    int got = 0;
    socklen_t len = sizeof got;
    if (getsockopt(fd, SOL_SOCKET, option, &got, &len) < 0 || got < 0)
        return 0;
    return (uint64_t)got / 2;
}

static void grow_buffers(int fd, const struct cv_self *self)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    uint64_t wish = ((const struct quic_conf *)self->conf)->socket_buffer.n;
    uint64_t in = grow_buffer(fd, SO_RCVBUF, SO_RCVBUFFORCE, wish);
    uint64_t out = grow_buffer(fd, SO_SNDBUF, SO_SNDBUFFORCE, wish);
    if ((in >= wish && out >= wish) || atomic_flag_test_and_set(&warned))
        return;
    cv_log(self, CV_WARN,
           CV_FIELDS(CV_I("wanted", (int64_t)wish), CV_I("receive", (int64_t)in), CV_I("send", (int64_t)out)),
           "UDP socket buffers are smaller than wanted: bursts may be lost and QUIC slower than it could be. "
           "Raise net.core.rmem_max and net.core.wmem_max (sysctl), or lower socket_buffer of edge_quic");
}

/* QUIC wants packets that are never fragmented, and finds the path's MTU itself. */
static void forbid_fragments(int fd, int family)
{
    int probe = IP_PMTUDISC_PROBE;
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof probe);
    else
        setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
}

/* The port of the last time, when it is still free: the edge then sees the same flow come back. */
static enum cv_error bind_local(int fd, struct sockaddr_storage *local, int family, uint16_t port,
                                struct cv_err *err)
{
    if (local->ss_family != family)
        *local = (struct sockaddr_storage){ .ss_family = (sa_family_t)family };
    set_port(local, port);
    if (bind(fd, (struct sockaddr *)local, quic_addr_len(local)) == 0)
        return CV_OK;
    set_port(local, 0);
    if (bind(fd, (struct sockaddr *)local, quic_addr_len(local)) == 0)
        return CV_OK;
    return cv_fail(err, CV_E_IO, "bind a UDP socket: %s", strerror(errno));
}

static enum cv_error set_up(struct quic_endpoint *e, const struct cv_self *self,
                            const struct sockaddr_storage *to, struct sockaddr_storage *local, uint16_t *port,
                            struct cv_err *err)
{
    const struct quic_conf *conf = self->conf;
    grow_buffers(e->fd, self);
    forbid_fragments(e->fd, to->ss_family);
    if (conf->gro)
        setsockopt(e->fd, IPPROTO_UDP, UDP_GRO, &(int){ 1 }, sizeof(int));
    enum cv_error error = bind_local(e->fd, local, to->ss_family, *port, err);
    if (error)
        return error;
    if (connect(e->fd, (const struct sockaddr *)to, quic_addr_len(to)) < 0)
        return cv_fail(err, CV_E_IO, "connect a UDP socket: %s", strerror(errno));
    socklen_t len = sizeof *local;
    if (getsockname(e->fd, (struct sockaddr *)local, &len) < 0)
        return cv_fail(err, CV_E_IO, "getsockname: %s", strerror(errno));
    *port = get_port(local);
    return CV_OK;
}

enum cv_error quic_endpoint_open(struct quic_endpoint *e, const struct cv_self *self,
                                 const struct sockaddr_storage *to, struct sockaddr_storage *local,
                                 uint16_t *port, struct cv_err *err)
{
    *e = (struct quic_endpoint){ .gso = ((const struct quic_conf *)self->conf)->gso };
    e->fd = socket(to->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->fd < 0)
        return cv_fail(err, CV_E_IO, "make a UDP socket: %s", strerror(errno));
    enum cv_error error = set_up(e, self, to, local, port, err);
    if (error)
        quic_endpoint_close(e);
    return error;
}

void quic_endpoint_close(struct quic_endpoint *e)
{
    if (e->fd >= 0)
        close(e->fd);
    free(e->held);
    *e = (struct quic_endpoint){ .fd = -1 };
}

/* ---- reading ----------------------------------------------------------------------------------------- */

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* The kernel may have joined packets of equal length; without a word of it a message is one packet. */
static size_t packet_length(struct msghdr *m, size_t n)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int length;
        if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
            continue;
        memcpy(&length, CMSG_DATA(c), sizeof length);
        if (length > 0)
            return (size_t)length;
    }
    return n;
}

/* Returns how many datagrams there were: at least one, an empty one counts too. 0: the receiver has had
 * enough. */
static unsigned deliver(struct msghdr *m, const uint8_t *p, size_t n, quic_datagram_fn *got, void *arg)
{
    size_t packet = packet_length(m, n);
    unsigned count = 0;
    do {
        size_t part = n < packet ? n : packet;
        if (!got(arg, p, part))
            return 0;
        p += part;
        n -= part;
        count++;
    } while (n);
    return count;
}

int quic_endpoint_read(struct quic_endpoint *e, struct quic_io *io, quic_datagram_fn *got, void *arg)
{
    for (unsigned budget = QUIC_READ_BUDGET; budget;) {
        struct mmsghdr messages[QUIC_BATCH];
        struct iovec iov[QUIC_BATCH];
        union control control[QUIC_BATCH];
        for (int i = 0; i < QUIC_BATCH; i++) {
            iov[i] = (struct iovec){ io->in[i], QUIC_MESSAGE };
            messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i],
                                                   .msg_iovlen = 1,
                                                   .msg_control = &control[i],
                                                   .msg_controllen = sizeof control[i] };
        }
        int n = recvmmsg(e->fd, messages, QUIC_BATCH, 0, NULL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno;
        for (int i = 0; i < n; i++) {
            unsigned count = deliver(&messages[i].msg_hdr, io->in[i], messages[i].msg_len, got, arg);
            if (!count)
                return 0;
            budget -= count < budget ? count : budget;
        }
        if (n < QUIC_BATCH)
            return 0;
    }
    return 0;
}

/* ---- sending ----------------------------------------------------------------------------------------- */

/* Segmentation by the kernel or the card does not work on every path; whoever refuses it says one of these. */
static bool refuses_segments(int error)
{
    return error == EIO || error == EINVAL || error == ENOPROTOOPT || error == EOPNOTSUPP;
}

static int send_message(int fd, const uint8_t *p, size_t n, size_t packet)
{
    struct iovec iov = { (void *)(uintptr_t)p, n };
    union control control = { 0 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (n > packet) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(uint16_t));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        memcpy(CMSG_DATA(c), &(uint16_t){ (uint16_t)packet }, sizeof(uint16_t));
    }
    ssize_t sent;
    do {
        sent = sendmsg(fd, &m, 0);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

/* Errors of the path that QUIC takes for loss: packets too large for it (an MTU probe), full queues, filters. */
static bool is_loss(int error)
{
    return error == EMSGSIZE || error == ENOBUFS || error == EPERM || error == EINVAL;
}

/* Returns how many bytes went out or were given up; less than n with *error set. */
static size_t send_packets(struct quic_endpoint *e, const uint8_t *p, size_t n, size_t packet, int *error)
{
    size_t done = 0;
    *error = 0;
    while (done < n) {
        size_t left = n - done, part = e->gso || left < packet ? left : packet;
        int result = send_message(e->fd, p + done, part, packet);
        if (result && part > packet && refuses_segments(result)) {
            e->gso = false;
            continue;
        }
        if (result && !is_loss(result)) {
            *error = result;
            break;
        }
        done += part;
    }
    return done;
}

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

int quic_endpoint_send(struct quic_endpoint *e, const uint8_t *p, size_t n, size_t packet)
{
    int error;
    size_t done = send_packets(e, p, n, packet, &error);
    if (would_block(error)) {
        e->held = cv_xmalloc(n - done);
        memcpy(e->held, p + done, n - done);
        e->held_n = n - done;
        e->held_packet = packet;
    }
    return error;
}

int quic_endpoint_resume(struct quic_endpoint *e)
{
    int error = 0;
    size_t done = e->held ? send_packets(e, e->held, e->held_n, e->held_packet, &error) : 0;
    if (would_block(error)) {
        e->held_n -= done;
        memmove(e->held, e->held + done, e->held_n);
        return error;
    }
    free(e->held);
    e->held = NULL;
    return error;
}
