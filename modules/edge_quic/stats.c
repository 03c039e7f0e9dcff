/* stats.c: the numbers of one connection, handed to the metrics every few seconds. */
#include "quic.h"

#include <stdio.h>

struct label {
    char text[12];
    struct cv_str index;
};

static void label(const struct quic_conn *c, struct label *l)
{
    int n = snprintf(l->text, sizeof l->text, "%u", c->pub->index);
    l->index = (struct cv_str){ l->text, (size_t)n };
}

/* The series of this connection; further label values follow its index. */
static struct cv_series *series(const struct quic_conn *c, enum quic_metric metric, const char *second)
{
    struct label l;
    label(c, &l);
    return cv_series(c->self, metric, (const struct cv_str[]){ l.index, cv_str_of(second) });
}

static void count(const struct quic_conn *c, enum quic_metric metric, const char *second, uint64_t n)
{
    if (n)
        cv_add(series(c, metric, second), (int64_t)n);
}

static void gauge(const struct quic_conn *c, enum quic_metric metric, uint64_t value)
{
    cv_gauge_set(series(c, metric, NULL), (int64_t)value);
}

void quic_stats_dial(struct quic_conn *c)
{
    cv_add(cv_series(c->self, QM_TOTAL_CONNECTIONS, NULL), 1);
}

void quic_stats_up(struct quic_conn *c)
{
    const ngtcp2_transport_params *peer = ngtcp2_conn_get_remote_transport_params(c->quic);
    if (peer)
        gauge(c, QM_MAX_UDP_PAYLOAD, peer->max_udp_payload_size);
    quic_stats_tick(c);
}

static void hand_over_frames(struct quic_conn *c)
{
    static const char *const frames[QF_N] = {
        [QF_STREAM] = "Stream",
        [QF_RESET_STREAM] = "ResetStream",
        [QF_STOP_SENDING] = "StopSending",
        [QF_DATAGRAM] = "Datagram",
        [QF_PING] = "Ping",
    };
    for (int i = 0; i < QF_N; i++) {
        count(c, QM_SENT_FRAMES, frames[i], c->stats.sent[i]);
        count(c, QM_RECEIVED_FRAMES, frames[i], c->stats.received[i]);
    }
    if (c->stats.received[QF_DATAGRAM])
        cv_add(cv_series(c->self, QM_DROPPED_DATAGRAMS, NULL), (int64_t)c->stats.received[QF_DATAGRAM]);
}

static void hand_over_refusals(struct quic_conn *c)
{
    static const char *const refusals[QR_N] = {
        [QR_SIGNATURE] = "signature",  [QR_SHORT] = "short",       [QR_HEAD] = "head",
        [QR_HEAD_TIMEOUT] = "timeout", [QR_TOO_MANY] = "too_many", [QR_UNIDIRECTIONAL] = "unidirectional",
    };
    for (int i = 0; i < QR_N; i++)
        if (c->stats.refused[i])
            cv_add(cv_series(c->self, QM_REFUSED_STREAMS, (const struct cv_str[]){ cv_str_of(refusals[i]) }),
                   (int64_t)c->stats.refused[i]);
}

/* ngtcp2 does not tell recovery from the rest, so of the original's states these two remain. */
static unsigned congestion_state(const ngtcp2_conn_info *i)
{
    enum { SLOW_START, AVOIDANCE };
    return i->cwnd < i->ssthresh ? SLOW_START : AVOIDANCE;
}

void quic_stats_tick(struct quic_conn *c)
{
    ngtcp2_conn_info now, *last = &c->stats.last;
    ngtcp2_conn_get_conn_info(c->quic, &now);
    count(c, QM_SENT_BYTES, NULL, now.bytes_sent - last->bytes_sent);
    count(c, QM_RECEIVE_BYTES, NULL, now.bytes_recv - last->bytes_recv);
    count(c, QM_LOST_PACKETS, "", now.pkt_lost - last->pkt_lost);
    count(c, QM_DISCARDED_PACKETS, NULL, now.pkt_discarded - last->pkt_discarded);
    c->stats.received[QF_PING] += now.ping_recv - last->ping_recv;
    hand_over_frames(c);
    hand_over_refusals(c);
    c->resets_sent += c->stats.sent[QF_RESET_STREAM];
    c->resets_received += c->stats.received[QF_RESET_STREAM];
    c->stats = (struct quic_stats){ .last = now };

    gauge(c, QM_LATEST_RTT, now.latest_rtt / NGTCP2_MILLISECONDS);
    gauge(c, QM_MIN_RTT, now.min_rtt == UINT64_MAX ? 0 : now.min_rtt / NGTCP2_MILLISECONDS);
    gauge(c, QM_SMOOTHED_RTT, now.smoothed_rtt / NGTCP2_MILLISECONDS);
    gauge(c, QM_MTU, ngtcp2_conn_get_path_max_tx_udp_payload_size(c->quic));
    gauge(c, QM_CONGESTION_WINDOW, now.cwnd);
    gauge(c, QM_CONGESTION_STATE, congestion_state(&now));
}

void quic_stats_down(struct quic_conn *c)
{
    quic_stats_tick(c);
    cv_add(cv_series(c->self, QM_CLOSED_CONNECTIONS, NULL), 1);
}

void quic_stats_error(struct quic_conn *c, const char *reason)
{
    cv_add(cv_series(c->self, QM_CONNECTION_ERRORS, (const struct cv_str[]){ cv_str_of(reason) }), 1);
}

bool quic_path(const struct cv_self *self, const struct cv_conn *conn, struct cv_path *path)
{
    (void)self;
    const struct quic_conn *c = conn->edge;
    ngtcp2_conn_info i;
    if (!c || !c->quic)
        return false;
    ngtcp2_conn_get_conn_info(c->quic, &i);
    *path = (struct cv_path){ .rtt_us = (int64_t)(i.smoothed_rtt / NGTCP2_MICROSECONDS),
                              .min_rtt_us =
                                  i.min_rtt == UINT64_MAX ? 0 : (int64_t)(i.min_rtt / NGTCP2_MICROSECONDS),
                              .sent = i.bytes_sent,
                              .received = i.bytes_recv,
                              .lost = i.pkt_lost,
                              .resent = i.bytes_lost,
                              .resets_sent = c->resets_sent + c->stats.sent[QF_RESET_STREAM],
                              .resets_received = c->resets_received + c->stats.received[QF_RESET_STREAM] };
    return true;
}
