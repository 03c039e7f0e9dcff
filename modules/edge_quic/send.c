/* send.c: what streams have to say: each in its turn, in full packets, handed to the kernel in batches. */
#include "quic.h"

#include <stdlib.h>

enum { VECTORS = 4 };

/* ---- bytes of one stream ----------------------------------------------------------------------------- */

static uint64_t over(uint64_t n, uint64_t min)
{
    return n > min ? n - min : 0;
}

/* Bytes of `down` that are sent and not acknowledged, which is where the unsent ones begin. */
static size_t unacked(const struct quic_stream *s)
{
    return (size_t)(over(s->sent, s->head_n) - over(s->acked, s->head_n));
}

static size_t output(struct quic_stream *s, ngtcp2_vec *v, size_t max, bool *fin)
{
    struct cv_req *req = s->req;
    *fin = false;
    if (!req || s->fin_sent || (!s->head_n && !quic_stream_raw(req)) || (req->error && !s->failed))
        return 0; /* the last one: it failed in the middle, closed() comes */
    size_t n = 0, given = 0;
    if (s->sent < s->head_n)
        v[n++] = (ngtcp2_vec){ s->head + s->sent, s->head_n - (size_t)s->sent };
    if (s->failed) {
        *fin = true;
        return n;
    }
    struct iovec iov[8];
    int pieces = cv_pipe_peek(req->down, unacked(s), iov, max - n < 8 ? (int)(max - n) : 8);
    for (int i = 0; i < pieces; i++) {
        v[n++] = (ngtcp2_vec){ iov[i].iov_base, iov[i].iov_len };
        given += iov[i].iov_len;
    }
    *fin = cv_pipe_finished(req->down) && given == cv_pipe_held(req->down) - unacked(s);
    if (!n && !*fin)
        s->waiting = false;
    return n;
}

/* All that the origin may write is under way: a longer path needs more to stay full. Not if many share it: together
 * they fill it, and what all of them have by widening stays within what one may have. */
static void widen(struct quic_stream *s)
{
    struct cv_pipe *down = s->req->down;
    size_t held = cv_pipe_held(down), max = quic_conf_of(s->conn)->stream_window.n;
    if (!held || held != unacked(s) || cv_pipe_room(down) || cv_memory_held(s->conn->self) + held > max)
        return;
    s->width = 2 * held < max ? 2 * held : max;
    cv_pipe_limit(down, s->width);
}

/* The width is for what is under way, not for a reader that is slow: what the edge has no window for, beyond what every
 * pipe holds, can as well stay with the origin. */
static void fit(struct quic_stream *s)
{
    uint64_t window = ngtcp2_conn_get_max_stream_data_left(s->conn->quic, s->id);
    uint64_t useful = unacked(s) + (window > s->narrow ? window : s->narrow);
    cv_pipe_offer(s->req->down, useful < s->width ? (size_t)useful : s->width);
}

/* The last byte has been acknowledged. */
static void finish(struct quic_stream *s)
{
    if (s->req && s->fin_sent && s->acked == s->sent)
        cv_req_done(quic_stream_part(s));
}

static void wrote(struct quic_stream *s, size_t n, bool fin)
{
    struct quic_conn *c = s->conn;
    c->stats.sent[QF_STREAM]++;
    c->in_flight += n;
    s->sent += n;
    quic_stream_touch(s);
    if (!fin) {
        widen(s);
        fit(s);
        return;
    }
    s->fin_sent = true;
    s->waiting = false;
    quic_stream_unqueue(s);
    if (!s->fin_in) {
        ngtcp2_conn_shutdown_stream_read(c->quic, 0, s->id, 0);
        c->stats.sent[QF_STOP_SENDING]++;
    }
    finish(s);
}

void quic_stream_acked(struct quic_stream *s, uint64_t n)
{
    if (!s->req)
        return;
    uint64_t before = over(s->acked, s->head_n);
    s->acked += n;
    s->conn->in_flight -= n;
    if (s->head && s->acked >= s->head_n) {
        free(s->head);
        s->head = NULL;
    }
    uint64_t body_bytes = over(s->acked, s->head_n) - before;
    if (body_bytes) {
        cv_pipe_consume(s->req->down, (size_t)body_bytes);
        fit(s);
    }
    finish(s);
}

/* ---- packets ----------------------------------------------------------------------------------------- */

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
        *n = output(s, v, VECTORS, fin);
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
            wrote(s, (size_t)taken, fin && (size_t)taken == all);
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
        c->batch = (size_t)n;
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
