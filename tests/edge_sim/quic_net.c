/* quic_net.c: a bad network inside the simulator: packets are lost, late or out of order, both ways,
 * repeatably. */
#include "quic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LATE_MAX = 20000 }; /* packets on their way; more are lost */

struct late {
    TAILQ_ENTRY(late) entry;
    int64_t due;
    bool in;
    struct quic_sock *sock;
    struct sockaddr_storage peer;
    socklen_t peer_n;
    size_t n;
    uint8_t bytes[];
};
static TAILQ_HEAD(late_list, late) way = TAILQ_HEAD_INITIALIZER(way);
static size_t on_way;
static struct event *timer;
static uint64_t seed;

/* SplitMix64: small, and the same everywhere. */
static uint64_t random64(void)
{
    if (seed == 0)
        seed = opt.net.seed;
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static bool happens(double p)
{
    return p > 0 && (double)(random64() >> 11) / (double)(UINT64_C(1) << 53) < p;
}

static void deliver(struct quic_sock *sock, const struct sockaddr *peer, socklen_t peer_n, const uint8_t *p,
                    size_t n, bool in)
{
    if (in)
        quic_packet(sock, peer, peer_n, p, n);
    else
        while (sendto(sock->fd, p, n, 0, peer, peer_n) < 0 &&
               errno == EINTR) /* a full buffer is a lost packet */
            ;
}

static void schedule(void)
{
    struct late *first = TAILQ_FIRST(&way);
    if (!first)
        return;
    int64_t wait = first->due - now_ms();
    if (wait < 0)
        wait = 0;
    event_add(timer, &(struct timeval){ wait / 1000, wait % 1000 * 1000 });
}

static void on_due(int fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    int64_t now = now_ms();
    struct late *l;
    while ((l = TAILQ_FIRST(&way)) && l->due <= now) {
        TAILQ_REMOVE(&way, l, entry);
        on_way--;
        deliver(l->sock, (struct sockaddr *)&l->peer, l->peer_n, l->bytes, l->n, l->in);
        free(l);
    }
    schedule();
}

static void put_off(struct quic_sock *sock, const struct sockaddr *peer, socklen_t peer_n, const uint8_t *p,
                    size_t n, bool in, int64_t ms)
{
    if (on_way >= LATE_MAX)
        return;
    struct late *l = cv_xmalloc(sizeof(*l) + n), *before;
    *l = (struct late){ .due = now_ms() + ms, .in = in, .sock = sock, .peer_n = peer_n, .n = n };
    memcpy(&l->peer, peer, peer_n);
    memcpy(l->bytes, p, n);
    TAILQ_FOREACH_REVERSE(before, &way, late_list, entry)
    if (before->due <= l->due)
        break;
    if (before)
        TAILQ_INSERT_AFTER(&way, before, l, entry);
    else
        TAILQ_INSERT_HEAD(&way, l, entry);
    on_way++;
    if (!timer)
        timer = event_new(loop, -1, 0, on_due, NULL);
    schedule();
}

static void through(struct quic_sock *sock, const struct sockaddr *peer, socklen_t peer_n, const uint8_t *p,
                    size_t n, bool in)
{
    int64_t late = opt.net.delay_ms;
    if (opt.mute_udp || happens(opt.net.loss))
        return;
    if (opt.net.jitter_ms > 0)
        late += (int64_t)(random64() % (uint64_t)opt.net.jitter_ms);
    if (happens(opt.net.reorder))
        late += 2 + (int64_t)(random64() % 10);
    if (late > 0)
        put_off(sock, peer, peer_n, p, n, in, late);
    else
        deliver(sock, peer, peer_n, p, n, in);
}

void net_out(struct quic_sock *sock, const struct sockaddr *to, socklen_t to_n, const uint8_t *p, size_t n)
{
    through(sock, to, to_n, p, n, false);
}

void net_in(struct quic_sock *sock, const struct sockaddr *from, socklen_t from_n, const uint8_t *p, size_t n)
{
    through(sock, from, from_n, p, n, true);
}

void net_free(void)
{
    struct late *l;
    while ((l = TAILQ_FIRST(&way))) {
        TAILQ_REMOVE(&way, l, entry);
        free(l);
    }
    if (timer)
        event_free(timer);
    timer = NULL;
}
