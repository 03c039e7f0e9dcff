/* quic.c: UDP sockets, and which connection a packet belongs to. */
#include "quic.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOCKETS = 16, READS_A_TURN = 64, REFUSED_KEPT = 32, SHORTEST_RESET_TRIGGER = 43 };

static struct quic_sock socks[SOCKETS];
static size_t nsocks;
static LIST_HEAD(, quic) links = LIST_HEAD_INITIALIZER(links);

/* Attempts that the script lets fail, by the connection id that their packets carry. */
static struct refused {
    ngtcp2_cid cid;
    enum answer_what what;
} refused[REFUSED_KEPT];
static size_t nrefused;

uint64_t quic_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NGTCP2_SECONDS + (uint64_t)t.tv_nsec;
}

static struct quic *find(const uint8_t *dcid, size_t n)
{
    struct quic *q;
    LIST_FOREACH(q, &links, entry)
    for (size_t i = 0; i < q->ncids; i++)
        if (q->cids[i].datalen == n && memcmp(q->cids[i].data, dcid, n) == 0)
            return q;
    return NULL;
}

static void send_version_negotiation(struct quic_sock *sock, const struct sockaddr *to, socklen_t to_n,
                                     const ngtcp2_version_cid *vc, bool only_reserved)
{
    static const uint32_t reserved[] = { 0x1a2a3a4a }, known[] = { 0x1a2a3a4a, NGTCP2_PROTO_VER_V1 };
    uint8_t out[256];
    ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(
        out, sizeof(out), (uint8_t)(quic_now() & 0xff), vc->scid, vc->scidlen, vc->dcid, vc->dcidlen,
        only_reserved ? reserved : known, only_reserved ? 1 : 2);
    if (n > 0)
        net_out(sock, to, to_n, out, (size_t)n);
}

/* An answer to a packet of a connection that is not known (any more): RFC 9000 §10.3. */
static void send_reset(struct quic_sock *sock, const struct sockaddr *to, socklen_t to_n, const uint8_t *dcid,
                       size_t trigger)
{
    uint8_t out[SHORTEST_RESET_TRIGGER - 1],
        random[SHORTEST_RESET_TRIGGER - 1 - NGTCP2_STATELESS_RESET_TOKENLEN];
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN];
    ngtcp2_cid cid;
    if (trigger <
        SHORTEST_RESET_TRIGGER) /* the answer is shorter, or two ends would answer each other for ever */
        return;
    ngtcp2_cid_init(&cid, dcid, QUIC_CID);
    quic_reset_token(&cid, token);
    RAND_bytes(random, sizeof(random));
    ngtcp2_ssize n = ngtcp2_pkt_write_stateless_reset(out, sizeof(out), token, random, sizeof(random));
    if (n > 0)
        net_out(sock, to, to_n, out, (size_t)n);
}

/* NULL: the attempt is none of those that must fail. */
static const struct refused *must_fail(const ngtcp2_pkt_hd *hd)
{
    for (size_t i = 0; i < nrefused && i < REFUSED_KEPT; i++)
        if (ngtcp2_cid_eq(&refused[i].cid, &hd->dcid))
            return &refused[i];
    struct answer *a = script_dial();
    if (!a)
        return NULL;
    struct refused *r = &refused[nrefused++ % REFUSED_KEPT];
    *r = (struct refused){ .cid = hd->dcid, .what = a->what };
    answer_free(a);
    log_event(NULL, "attempt-refused", NULL);
    return r;
}

static void welcome(struct quic_sock *sock, const struct sockaddr *from, socklen_t from_n,
                    const ngtcp2_version_cid *vc, const uint8_t *p, size_t n)
{
    ngtcp2_pkt_hd hd;
    if (ngtcp2_accept(&hd, p, n) != 0)
        return;
    const struct refused *r = must_fail(&hd);
    bool stall = r && r->what == ANSWER_NO_CONTROL, silent = r && r->what == ANSWER_NO_PREFACE;
    if (r && r->what == ANSWER_VERSION)
        send_version_negotiation(sock, from, from_n, vc, true);
    if (r && !stall && !silent)
        return;
    struct quic *q = quic_conn_new(sock, from, from_n, &hd);
    q->stall_control = stall;
    q->silent_once_up = silent;
    LIST_INSERT_HEAD(&links, q, entry);
    quic_conn_read(q, from, from_n, p, n);
}

void quic_packet(struct quic_sock *sock, const struct sockaddr *from, socklen_t from_n, const uint8_t *p,
                 size_t n)
{
    ngtcp2_version_cid vc;
    int rc = ngtcp2_pkt_decode_version_cid(&vc, p, n, QUIC_CID);
    if (rc == NGTCP2_ERR_VERSION_NEGOTIATION) {
        send_version_negotiation(sock, from, from_n, &vc, false);
        return;
    }
    if (rc != 0)
        return;
    struct quic *q = find(vc.dcid, vc.dcidlen);
    if (q)
        quic_conn_read(q, from, from_n, p, n);
    else if (vc.version != 0)
        welcome(sock, from, from_n, &vc, p, n);
    else if (vc.dcidlen == QUIC_CID)
        send_reset(sock, from, from_n, vc.dcid, n);
}

void quic_forget(struct quic *q)
{
    LIST_REMOVE(q, entry);
    quic_conn_free(q);
}

static void on_readable(int fd, short what, void *arg)
{
    static uint8_t buf[65536];
    struct quic_sock *sock = arg;
    (void)what;
    for (int i = 0; i < READS_A_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t from_n = sizeof(from);
        ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_n);
        if (n < 0)
            return;
        net_in(sock, (struct sockaddr *)&from, from_n, buf, (size_t)n);
    }
}

void quic_listen(int fd, const struct sockaddr_storage *local, socklen_t n, SSL_CTX *tls)
{
    struct quic_sock *sock = &socks[nsocks++];
    *sock = (struct quic_sock){ .fd = fd, .local = *local, .local_n = n, .tls = tls };
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4 << 20 }, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){ 4 << 20 }, sizeof(int));
    event_assign(&sock->event, loop, fd, EV_READ | EV_PERSIST, on_readable, sock);
    event_add(&sock->event, NULL);
}

void quic_unlisten(void)
{
    while (!LIST_EMPTY(&links))
        quic_forget(LIST_FIRST(&links));
    while (nsocks > 0) {
        struct quic_sock *sock = &socks[--nsocks];
        event_del(&sock->event);
        close(sock->fd);
    }
    net_free();
}
