/* quic_write.c: packets that leave a QUIC connection: datagrams and the streams in turn. */
#include "quic.h"

#include <stdlib.h>

enum { PACKETS_A_TURN = 64 };

static void set_timer(struct quic *q)
{
    uint64_t due = ngtcp2_conn_get_expiry(q->ng), now = quic_now();
    if (due == UINT64_MAX)
        return;
    uint64_t us = due > now ? (due - now) / 1000 + 1 : 0;
    event_add(&q->timer, &(struct timeval){ (time_t)(us / 1000000), (suseconds_t)(us % 1000000) });
}

/* One packet with a datagram in it, if one waits; 0: none, or no room for it now. */
static ngtcp2_ssize write_datagram(struct quic *q, ngtcp2_path *path, uint8_t *buf)
{
    struct quic_datagram *d = STAILQ_FIRST(&q->datagrams);
    ngtcp2_pkt_info pi;
    int accepted = 0;
    if (!d)
        return 0;
    ngtcp2_vec vec = { d->bytes, d->n };
    ngtcp2_ssize n = ngtcp2_conn_writev_datagram(q->ng, path, &pi, buf, QUIC_PACKET, &accepted,
                                                 NGTCP2_WRITE_DATAGRAM_FLAG_NONE, 0, &vec, 1, quic_now());
    if (accepted || n == NGTCP2_ERR_INVALID_ARGUMENT ||
        n == NGTCP2_ERR_INVALID_STATE) { /* too long, not allowed */
        STAILQ_REMOVE_HEAD(&q->datagrams, entry);
        q->ndatagrams--;
        free(d);
    }
    return n == NGTCP2_ERR_INVALID_ARGUMENT || n == NGTCP2_ERR_INVALID_STATE ? 0 : n;
}

/* What became of the bytes that were offered. */
static void was_written(struct quic_stream *s, ngtcp2_ssize taken, bool fin)
{
    if (taken < 0)
        return;
    s->sent += (size_t)taken;
    if (s->sent < s->s.up.n) {
        TAILQ_REMOVE(&s->quic->ready, s, turn);
        TAILQ_INSERT_TAIL(&s->quic->ready, s, turn);
        return;
    }
    s->fin_sent = fin;
    quic_stream_rest(s);
}

/* The peer wants no more of it: STOP_SENDING. */
static void shut(struct quic_stream *s)
{
    s->shut = true;
    s->sent = 0;
    quic_stream_rest(s);
    queue_free(&s->s.up);
    if (s->s.ops && s->s.ops->room)
        s->s.ops->room(&s->s);
}

/* One packet of stream data and whatever else is due; 0: nothing more now. */
static ngtcp2_ssize write_streams(struct quic *q, ngtcp2_path *path, uint8_t *buf)
{
    for (;;) {
        bool blocked = q->conn->stalled || ngtcp2_conn_get_max_data_left(q->ng) == 0; /* all must wait */
        struct quic_stream *s = blocked ? NULL : TAILQ_FIRST(&q->ready);
        struct iovec iov[8];
        ngtcp2_vec vec[8];
        ngtcp2_pkt_info pi;
        ngtcp2_ssize taken = -1;
        size_t offered = 0;
        int pieces = s ? queue_peek(&s->s.up, s->sent, iov, 8) : 0;
        for (int i = 0; i < pieces; i++) {
            vec[i] = (ngtcp2_vec){ iov[i].iov_base, iov[i].iov_len };
            offered += iov[i].iov_len;
        }
        bool fin = s && s->s.up_ended && s->sent + offered == s->s.up.n;
        uint32_t flags = (s ? NGTCP2_WRITE_STREAM_FLAG_MORE : 0) | (fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0u);
        ngtcp2_ssize n = ngtcp2_conn_writev_stream(q->ng, path, &pi, buf, QUIC_PACKET, &taken, flags,
                                                   s ? s->s.id : -1, vec, (size_t)pieces, quic_now());
        if (s && (n >= 0 || n == NGTCP2_ERR_WRITE_MORE))
            was_written(s, taken, fin && taken == (ngtcp2_ssize)offered);
        else if (s && n == NGTCP2_ERR_STREAM_DATA_BLOCKED)
            quic_stream_rest(s);
        else if (s && (n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND))
            shut(s);
        else
            return n;
        if (n >= 0)
            return n;
    }
}

void quic_write(struct quic *q)
{
    static uint8_t buf[QUIC_PACKET];
    ngtcp2_path_storage ps;
    ngtcp2_path_storage_zero(&ps);
    int i;
    for (i = 0; i < PACKETS_A_TURN; i++) {
        ngtcp2_ssize n = write_datagram(q, &ps.path, buf);
        if (n == 0)
            n = write_streams(q, &ps.path, buf);
        if (n < 0) {
            quic_fail(q, (int)n);
            return;
        }
        if (n == 0)
            break;
        net_out(q->sock, (struct sockaddr *)&q->peer, q->peer_n, buf, (size_t)n);
    }
    ngtcp2_conn_update_pkt_tx_time(q->ng, quic_now());
    set_timer(q);
    if (i == PACKETS_A_TURN)
        quic_send_soon(q);
}
