/* send.c: what streams have to say, in packets: each stream in its turn, packets filled, batches handed to
 * the kernel. */
#include "quic.h"

#include <errno.h>

enum { VECTORS = 4 };

/* A stream gets one packet, then the next stream has its turn: none starves behind a large one. */
static void rotate(struct quic_conn *c, struct quic_stream *s)
{
    if (!s->queued)
        return;
    TAILQ_REMOVE(&c->writable_streams, s, queue);
    TAILQ_INSERT_TAIL(&c->writable_streams, s, queue);
}

/* The first stream that has something to send. */
static struct quic_stream *next_stream(struct quic_conn *c, ngtcp2_vec *v, size_t *n, bool *fin)
{
    struct quic_stream *s;
    *n = 0;
    *fin = false;
    if (c->window_full)
        return NULL;
    while ((s = TAILQ_FIRST(&c->writable_streams))) {
        *n = quic_stream_output(s, v, VECTORS, fin);
        if (*n || *fin)
            return s;
        quic_stream_unqueue(s);
    }
    return NULL;
}

/* What ngtcp2 said about one stream; true: the packet may take more, go on with the next. */
static bool go_on(struct quic_conn *c, struct quic_stream *s, ngtcp2_ssize result)
{
    switch (result) {
    case NGTCP2_ERR_WRITE_MORE: return true;
    case NGTCP2_ERR_STREAM_DATA_BLOCKED:
        if (ngtcp2_conn_get_max_data_left(c->quic) == 0)
            c->window_full = true;
        else
            quic_stream_unqueue(s); /* on_stream_window() puts it back */
        return true;
    case NGTCP2_ERR_STREAM_SHUT_WR:
    case NGTCP2_ERR_STREAM_NOT_FOUND: quic_stream_stopped(s); return true;
    default:
        if (result > 0)
            rotate(c, s);
        return false;
    }
}

static ngtcp2_ssize write_packet(ngtcp2_conn *quic, ngtcp2_path *path, ngtcp2_pkt_info *info, uint8_t *to,
                                 size_t room, ngtcp2_tstamp now, void *user)
{
    struct quic_conn *c = user;
    for (;;) {
        ngtcp2_vec v[VECTORS];
        size_t n;
        bool fin;
        struct quic_stream *s = next_stream(c, v, &n, &fin);
        if (!s)
            return ngtcp2_conn_writev_stream(quic, path, info, to, room, NULL, 0, -1, NULL, 0, now);

        uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE | (fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0);
        ngtcp2_ssize taken = -1;
        ngtcp2_ssize result =
            ngtcp2_conn_writev_stream(quic, path, info, to, room, &taken, flags, s->id, v, n, now);
        if (taken >= 0) {
            size_t all = 0;
            for (size_t i = 0; i < n; i++)
                all += v[i].len;
            quic_stream_wrote(s, (size_t)taken, fin && (size_t)taken == all);
        }
        if (!go_on(c, s, result))
            return result;
    }
}

int quic_send(struct quic_conn *c, uint64_t now, bool *more)
{
    struct quic_worker *worker = c->self->local;
    c->window_full = false;
    for (int budget = QUIC_SEND_BUDGET; budget; budget--) {
        size_t packet = 0;
        ngtcp2_ssize n = ngtcp2_conn_write_aggregate_pkt(c->quic, NULL, NULL, worker->io.out, QUIC_SEND,
                                                         &packet, write_packet, now);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return 0;
        int error = quic_endpoint_send(&c->endpoint, worker->io.out, (size_t)n, packet);
        if (c->endpoint.held)
            return 0;
        if (error) {
            quic_path_error(c, error);
            return 0;
        }
    }
    *more = true;
    return 0;
}
