/* stream.c: one stream: what it waits in, the request it belongs to, and every way the two part. */
#include "quic.h"

#include <stdlib.h>

static struct quic_stream *stream_of(const struct cv_self *self, struct cv_req *req)
{
    return ((struct quic_slot *)cv_slot(req, self))->stream;
}

bool quic_stream_raw(const struct cv_req *req)
{
    return req->type == CV_CONTROL || req->type == CV_RPC;
}

/* For write_stream_timeout, which is usually off. */
void quic_stream_touch(struct quic_stream *s)
{
    if (quic_conf_of(s->conn)->write_stream_timeout.ms)
        s->since = cv_now(s->conn->self);
}

struct quic_stream *quic_stream_new(struct quic_conn *c, int64_t id)
{
    struct quic_stream *s = cv_xcalloc(1, sizeof *s);
    s->conn = c;
    s->id = id;
    TAILQ_INSERT_TAIL(&c->all, s, all);
    return s;
}

/* ---- queues ------------------------------------------------------------------------------------------ */

void quic_stream_queue(struct quic_stream *s)
{
    if (s->queued || !s->req || s->shut)
        return;
    s->queued = true;
    TAILQ_INSERT_TAIL(&s->conn->writable_streams, s, queue);
    if (!s->waiting)
        quic_stream_touch(s);
    s->waiting = true;
    quic_flush_later(s->conn);
}

void quic_stream_unqueue(struct quic_stream *s)
{
    if (!s->queued)
        return;
    s->queued = false;
    TAILQ_REMOVE(&s->conn->writable_streams, s, queue);
}

/* ---- ends -------------------------------------------------------------------------------------------- */

/* Bytes that nobody will read any more: the edge gets its credit back, or soon the whole connection would
 * stand still. */
void quic_stream_credit(struct quic_stream *s, uint64_t n)
{
    if (!n || s->conn->down)
        return;
    ngtcp2_conn_extend_max_stream_offset(s->conn->quic, s->id, n);
    ngtcp2_conn_extend_max_offset(s->conn->quic, n);
}

static uint64_t withheld(const struct quic_conn *c)
{
    uint64_t most = quic_conf_of(c)->conn_window.n / 2;
    return c->unread > most ? c->unread - most : 0;
}

void quic_stream_took(struct quic_stream *s, size_t n)
{
    struct quic_conn *c = s->conn;
    uint64_t before = withheld(c);
    s->owed += n;
    c->unread += n;
    ngtcp2_conn_extend_max_offset(c->quic, n - (withheld(c) - before));
}

/* n of the bytes that it took have left. */
static void gave(struct quic_stream *s, uint64_t n)
{
    struct quic_conn *c = s->conn;
    uint64_t before = withheld(c);
    s->owed -= n;
    c->unread -= n;
    if (!c->down)
        ngtcp2_conn_extend_max_offset(c->quic, before - withheld(c));
}

static void forget_unacked(struct quic_stream *s)
{
    s->conn->in_flight -= s->sent - s->acked;
    s->acked = s->sent;
    free(s->head);
    s->head = NULL;
}

/* Stream and request part; whoever takes the request decides how it ends. */
struct cv_req *quic_stream_part(struct quic_stream *s)
{
    struct cv_req *req = s->req;
    ((struct quic_slot *)cv_slot(req, s->conn->self))->stream = NULL;
    s->req = NULL;
    quic_stream_unqueue(s);
    gave(s, s->owed); /* the stream needs no more credit, the connection would miss it */
    forget_unacked(s);
    return req;
}

/* RESET_STREAM and STOP_SENDING, both with code 0: the stream carries no byte any more, either way. */
void quic_stream_shut(struct quic_stream *s)
{
    struct quic_conn *c = s->conn;
    if (s->shut)
        return;
    s->shut = true;
    quic_stream_unqueue(s);
    if (c->down)
        return;
    ngtcp2_conn_shutdown_stream(c->quic, 0, s->id, 0);
    c->stats.sent[QF_RESET_STREAM]++;
    if (!s->fin_in)
        c->stats.sent[QF_STOP_SENDING]++;
    quic_flush_later(c);
}

void quic_stream_fail(struct quic_stream *s, enum cv_error e, const char *text)
{
    struct cv_req *req = quic_stream_part(s);
    quic_stream_shut(s);
    cv_req_fail(req, e, "%s", text);
}

/* ---- calls of the core ------------------------------------------------------------------------------- */

void quic_head(const struct cv_self *self, struct cv_req *req)
{
    struct quic_stream *s = stream_of(self, req);
    if (!s) { /* the edge has left; there is nobody to tell */
        cv_req_done(req);
        return;
    }
    if (quic_stream_raw(req)) {
        if (!req->error)
            return;
        quic_stream_part(s);
        quic_stream_shut(s);
        cv_req_done(req);
        return;
    }
    bool refused = quic_head_needs_trailers(req);
    if (refused)
        cv_add(cv_series(self, QM_REFUSED_GRPC, NULL), 1);
    s->failed = refused || req->error;
    s->head = quic_head_response(req, &s->head_n);
    quic_stream_queue(s);
}

void quic_readable(const struct cv_self *self, struct cv_req *req)
{
    struct quic_stream *s = stream_of(self, req);
    if (s)
        quic_stream_queue(s);
    else
        cv_req_done(req); /* the edge has left */
}

void quic_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    struct quic_stream *s = stream_of(self, req);
    if (!s)
        return;
    gave(s, n);
    if (!s->conn->down)
        ngtcp2_conn_extend_max_stream_offset(s->conn->quic, s->id, n);
    quic_flush_later(s->conn);
}

void quic_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)why;
    struct quic_stream *s = stream_of(self, req);
    if (!s)
        return;
    quic_stream_part(s);
    quic_stream_shut(s);
}

/* ---- time -------------------------------------------------------------------------------------------- */

/* ngtcp2 does not tell when the edge stops reading, only that a write fails. More bytes than a stream can
 * ever carry are refused without a side effect, so that asks without writing. */
static bool is_stopped(const struct quic_stream *s)
{
    uint8_t packet[QUIC_PACKET];
    const ngtcp2_vec absurd = { NULL, SIZE_MAX };
    ngtcp2_ssize result =
        ngtcp2_conn_writev_stream(s->conn->quic, NULL, NULL, packet, sizeof packet, NULL, 0, s->id, &absurd,
                                  1, ngtcp2_conn_get_timestamp(s->conn->quic));
    return result == NGTCP2_ERR_STREAM_SHUT_WR;
}

static void tick(struct quic_stream *s, int64_t now)
{
    int64_t limit = quic_conf_of(s->conn)->write_stream_timeout.ms;
    if (!s->req || s->fin_sent)
        return;
    if (is_stopped(s))
        quic_stream_stopped(s);
    else if (limit && s->waiting && now - s->since > limit)
        quic_stream_fail(s, CV_E_TIMEOUT,
                         "closing the stream: the edge took no byte for write_stream_timeout");
}

void quic_streams_tick(struct quic_conn *c)
{
    int64_t now = cv_now(c->self);
    struct quic_stream *s;
    while ((s = TAILQ_FIRST(&c->headless)) && now - s->since > quic_conf_of(c)->head_timeout.ms)
        quic_stream_refuse(s, QR_HEAD_TIMEOUT);
    TAILQ_FOREACH(s, &c->all, all)
    {
        tick(s, now);
    }
}

void quic_streams_free(struct quic_conn *c)
{
    struct quic_stream *s;
    while ((s = TAILQ_FIRST(&c->all))) {
        TAILQ_REMOVE(&c->all, s, all);
        cv_buf_free(&s->in);
        free(s->head);
        free(s);
    }
}
