/* stream.c: the life of one stream: its first bytes, its request, both bodies, and every way it can end. */
#include "quic.h"

#include <stdlib.h>

static const struct quic_conf *conf_of(const struct quic_conn *c)
{
    return c->self->conf;
}

static struct quic_stream *stream_of(const struct cv_self *self, struct cv_req *req)
{
    return ((struct quic_slot *)cv_slot(req, self))->stream;
}

static bool is_raw(const struct cv_req *req)
{
    return req->type == CV_CONTROL || req->type == CV_RPC;
}

/* For write_stream_timeout, which is usually off. */
static void touch(struct quic_stream *s)
{
    if (conf_of(s->conn)->write_stream_timeout.ms)
        s->since = cv_now(s->conn->self);
}

/* ---- queues ------------------------------------------------------------------------------------------ */

void quic_stream_queue(struct quic_stream *s)
{
    if (s->queued || !s->req || s->shut)
        return;
    s->queued = true;
    TAILQ_INSERT_TAIL(&s->conn->writable_streams, s, queue);
    if (!s->waiting)
        touch(s);
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

static void leave_headless(struct quic_stream *s)
{
    if (!s->headless)
        return;
    s->headless = false;
    s->conn->n_headless--;
    TAILQ_REMOVE(&s->conn->headless, s, queue);
    cv_buf_free(&s->in);
}

/* ---- ends -------------------------------------------------------------------------------------------- */

/* Bytes that nobody will read any more: the edge gets its credit back, or soon the whole connection would
 * stand still. */
static void credit(struct quic_stream *s, uint64_t n)
{
    if (!n || s->conn->down)
        return;
    ngtcp2_conn_extend_max_stream_offset(s->conn->quic, s->id, n);
    ngtcp2_conn_extend_max_offset(s->conn->quic, n);
}

static void forget_unacked(struct quic_stream *s)
{
    s->conn->in_flight -= s->sent - s->acked;
    s->acked = s->sent;
    free(s->head);
    s->head = NULL;
}

/* Stream and request part; whoever takes the request decides how it ends. */
static struct cv_req *part(struct quic_stream *s)
{
    struct cv_req *req = s->req;
    ((struct quic_slot *)cv_slot(req, s->conn->self))->stream = NULL;
    s->req = NULL;
    quic_stream_unqueue(s);
    credit(s, s->owed);
    s->owed = 0;
    forget_unacked(s);
    return req;
}

/* RESET_STREAM and STOP_SENDING, both with code 0: the stream carries no byte any more, either way. */
static void shut(struct quic_stream *s)
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

static void fail(struct quic_stream *s, enum cv_error e, const char *text)
{
    struct cv_req *req = part(s);
    shut(s);
    cv_req_fail(req, e, "%s", text);
}

/* The last byte has been acknowledged. */
static void finish_if_acked(struct quic_stream *s)
{
    if (s->req && s->fin_sent && s->acked == s->sent)
        cv_req_done(part(s));
}

static void refuse(struct quic_stream *s, enum quic_refusal why)
{
    s->conn->stats.refused[why]++;
    leave_headless(s);
    shut(s);
}

/* ---- its beginning ----------------------------------------------------------------------------------- */

static struct quic_stream *stream_new(struct quic_conn *c, int64_t id)
{
    struct quic_stream *s = cv_xcalloc(1, sizeof *s);
    s->conn = c;
    s->id = id;
    TAILQ_INSERT_TAIL(&c->all, s, all);
    return s;
}

struct quic_stream *quic_stream_open(struct quic_conn *c, int64_t id)
{
    struct quic_stream *s = stream_new(c, id);
    s->since = cv_now(c->self);
    s->headless = true;
    TAILQ_INSERT_TAIL(&c->headless, s, queue);
    c->n_headless++;
    if (c->n_headless > (unsigned)conf_of(c)->headless_streams)
        refuse(s, QR_TOO_MANY);
    return s;
}

static struct cv_req *request_new(struct quic_stream *s, enum cv_req_type type)
{
    struct quic_conn *c = s->conn;
    struct cv_req *req = cv_req_new(c->self, c->pub, type);
    ((struct quic_slot *)cv_slot(req, c->self))->stream = s;
    s->req = req;
    cv_pipe_limit(req->up, conf_of(c)->stream_window.n); /* the window of the stream grows up to it */
    return req;
}

static void start_raw(struct quic_stream *s, enum cv_req_type type)
{
    struct cv_req *req = request_new(s, type);
    req->body_length = s->body_left = CV_BODY_STREAM;
    cv_req_start(req);
}

void quic_stream_control(struct quic_conn *c, int64_t id)
{
    struct quic_stream *s = stream_new(c, id);
    ngtcp2_conn_set_stream_user_data(c->quic, id, s);
    start_raw(s, CV_CONTROL);
}

static void start_request(struct quic_stream *s, const struct cv_connect_request *head)
{
    enum cv_req_type type = CV_HTTP;
    struct cv_err err;
    enum cv_error e = quic_head_type(head, &type);
    struct cv_req *req = request_new(s, type);
    if (e)
        cv_fail(&err, e, "unsupported connection type %u", head->type);
    else
        e = quic_head_request(head, req, &err);
    cv_req_start(req); /* also when it fails at once: from here on failures are answered */
    if (e) {
        cv_req_fail(req, e, "%s", err.text);
        return;
    }
    s->body_left = req->body_length;
    if (!s->body_left)
        cv_pipe_finish(req->up);
}

/* A ConnectRequest behind its signature and version. Returns its bytes, 0 if there are too few, -1 if it is
 * none. */
static ssize_t begin_data(struct quic_stream *s, const uint8_t *p, size_t n)
{
    enum { PREAMBLE = QUIC_SIGNATURE + QUIC_VERSION };
    const struct quic_conn *c = s->conn;
    struct quic_worker *worker = c->self->local;
    struct cv_connect_request head = { .metadata = worker->metadata, .n_metadata = QUIC_METADATA };
    struct cv_err err;
    size_t need;
    if (n < PREAMBLE)
        return 0;
    if (cv_connect_request_decode(p + PREAMBLE, n - PREAMBLE, conf_of(c)->max_head.n, &need, &head, &err)) {
        cv_log(c->self, CV_DEBUG,
               CV_FIELDS(CV_I("connIndex", c->pub->index), CV_S("error", cv_str_of(err.text))),
               "Failed to handle QUIC stream");
        return -1;
    }
    if (need > n - PREAMBLE)
        return 0;
    leave_headless(s);
    start_request(s, &head);
    return (ssize_t)(PREAMBLE + need);
}

/* Returns how many bytes the beginning took, 0 while it is not whole; -1: the stream was refused. */
static ssize_t begin(struct quic_stream *s, const uint8_t *p, size_t n)
{
    ssize_t used;
    switch (quic_head_kind(p, n)) {
    case QUIC_PARTIAL: return 0;
    case QUIC_RPC:
        leave_headless(s);
        start_raw(s, CV_RPC);
        return QUIC_SIGNATURE;
    case QUIC_DATA:
        used = begin_data(s, p, n);
        if (used < 0)
            refuse(s, QR_HEAD);
        return used;
    default: refuse(s, QR_SIGNATURE); return -1;
    }
}

/* ---- from the edge ----------------------------------------------------------------------------------- */

/* Bytes to the origin. The window never exceeds the pipe's room, so a short write means that the request is
 * over. */
static void write_up(struct quic_stream *s, const uint8_t *p, size_t n)
{
    size_t written = cv_pipe_write(s->req->up, p, n);
    s->owed += written;
    credit(s, n - written);
}

static void body(struct quic_stream *s, const uint8_t *p, size_t n, bool fin)
{
    struct cv_req *req = s->req;
    size_t take = s->body_left < 0 || (uint64_t)s->body_left > n ? n : (size_t)s->body_left;
    bool counted = s->body_left > 0;
    if (take)
        write_up(s, p, take);
    credit(s, n - take); /* more than was announced is not for the origin */
    if (counted)
        s->body_left -= (int64_t)take;
    if (counted && !s->body_left)
        cv_pipe_finish(req->up);
    else if (counted && fin)
        cv_req_fail(req, CV_E_PROTO, "http: the request body ended %lld bytes before its Content-Length",
                    (long long)s->body_left);
    else if (fin && s->body_left == CV_BODY_STREAM)
        cv_pipe_finish(req->up);
}

/* A head usually comes whole, in one packet, and is read where it lies; else its pieces are gathered. */
static void head(struct quic_stream *s, const uint8_t *p, size_t n, bool fin)
{
    size_t before = s->in.n;
    if (before)
        cv_buf_add(&s->in, p, n);
    struct cv_buf whole = before ? s->in : (struct cv_buf){ .p = (uint8_t *)(uintptr_t)p, .n = n };
    if (before)
        s->in = (struct cv_buf){ 0 };

    ssize_t used = begin(s, whole.p, whole.n);
    if (used > 0) {
        size_t of_head = (size_t)used - before;
        credit(s, of_head);
        body(s, p + of_head, n - of_head, fin);
    } else {
        credit(s, n);
        if (used == 0 && fin)
            refuse(s, QR_SHORT);
    }
    if (used == 0 && !fin) {
        if (!before)
            cv_buf_add(&s->in, p, n);
        else
            s->in = whole;
    } else if (before) {
        cv_buf_free(&whole);
    }
}

void quic_stream_data(struct quic_stream *s, const uint8_t *p, size_t n, bool fin)
{
    s->fin_in |= fin;
    if (s->headless)
        head(s, p, n, fin);
    else if (s->req)
        body(s, p, n, fin);
    else
        credit(s, n);
}

void quic_stream_reset(struct quic_stream *s, uint64_t code)
{
    s->fin_in = true;
    if (s->headless)
        refuse(s, QR_SHORT);
    else if (s->req && !s->fin_sent) /* else it is the answer to our own STOP_SENDING */
        fail(s, CV_E_CANCEL,
             code ? "the edge reset the stream with an error code" : "the edge reset the stream");
}

void quic_stream_stopped(struct quic_stream *s)
{
    if (s->req)
        fail(s, CV_E_CANCEL, "the edge stopped reading the stream");
    else
        quic_stream_unqueue(s);
}

void quic_stream_closed(struct quic_stream *s)
{
    s->shut = true; /* to ngtcp2 the stream is gone */
    leave_headless(s);
    if (s->req)
        fail(s, CV_E_CANCEL, "the edge stopped reading the stream");
    TAILQ_REMOVE(&s->conn->all, s, all);
    free(s);
}

/* ---- to the edge ------------------------------------------------------------------------------------- */

static uint64_t over(uint64_t n, uint64_t min)
{
    return n > min ? n - min : 0;
}

/* Bytes of `down` that are sent and not acknowledged, which is where the unsent ones begin. */
static size_t unacked(const struct quic_stream *s)
{
    return (size_t)(over(s->sent, s->head_n) - over(s->acked, s->head_n));
}

size_t quic_stream_output(struct quic_stream *s, ngtcp2_vec *v, size_t max, bool *fin)
{
    struct cv_req *req = s->req;
    *fin = false;
    if (!req || s->fin_sent || (!s->head_n && !is_raw(req)))
        return 0;
    size_t n = 0, given = 0;
    if (s->sent < s->head_n)
        v[n++] = (ngtcp2_vec){ s->head + s->sent, s->head_n - (size_t)s->sent };
    if (req->error) {
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

/* All that the origin may write is under way: a longer path needs more to stay full. */
static void widen(struct quic_stream *s)
{
    struct cv_pipe *down = s->req->down;
    size_t held = cv_pipe_held(down), max = conf_of(s->conn)->stream_window.n;
    if (held && held < max && held == unacked(s) && !cv_pipe_room(down))
        cv_pipe_limit(down, 2 * held < max ? 2 * held : max);
}

void quic_stream_wrote(struct quic_stream *s, size_t n, bool fin)
{
    struct quic_conn *c = s->conn;
    c->stats.sent[QF_STREAM]++;
    c->in_flight += n;
    s->sent += n;
    touch(s);
    if (!fin) {
        widen(s);
        return;
    }
    s->fin_sent = true;
    s->waiting = false;
    quic_stream_unqueue(s);
    if (!s->fin_in) {
        ngtcp2_conn_shutdown_stream_read(c->quic, 0, s->id, 0);
        c->stats.sent[QF_STOP_SENDING]++;
    }
    finish_if_acked(s);
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
    if (body_bytes)
        cv_pipe_consume(s->req->down, (size_t)body_bytes);
    finish_if_acked(s);
}

/* ---- calls of the core ------------------------------------------------------------------------------- */

void quic_head(const struct cv_self *self, struct cv_req *req)
{
    struct quic_stream *s = stream_of(self, req);
    if (!s) { /* the edge has left; there is nobody to tell */
        cv_req_done(req);
        return;
    }
    if (is_raw(req)) {
        if (!req->error)
            return;
        part(s);
        shut(s);
        cv_req_done(req);
        return;
    }
    s->head = quic_head_response(req, &s->head_n);
    quic_stream_queue(s);
}

void quic_readable(const struct cv_self *self, struct cv_req *req)
{
    struct quic_stream *s = stream_of(self, req);
    if (s)
        quic_stream_queue(s);
}

void quic_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    struct quic_stream *s = stream_of(self, req);
    if (!s)
        return;
    s->owed -= n;
    credit(s, n);
    quic_flush_later(s->conn);
}

void quic_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)why;
    struct quic_stream *s = stream_of(self, req);
    if (!s)
        return;
    part(s);
    shut(s);
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
    int64_t limit = conf_of(s->conn)->write_stream_timeout.ms;
    if (!s->req || s->fin_sent)
        return;
    if (is_stopped(s))
        quic_stream_stopped(s);
    else if (limit && s->waiting && now - s->since > limit)
        fail(s, CV_E_TIMEOUT, "closing the stream: the edge took no byte for write_stream_timeout");
}

void quic_streams_tick(struct quic_conn *c)
{
    int64_t now = cv_now(c->self);
    struct quic_stream *s;
    while ((s = TAILQ_FIRST(&c->headless)) && now - s->since > conf_of(c)->head_timeout.ms)
        refuse(s, QR_HEAD_TIMEOUT);
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
