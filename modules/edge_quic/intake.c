/* intake.c: what the edge sends on a stream: its first bytes become a request, the others its body. */
#include "quic.h"

#include <stdlib.h>

static void leave_headless(struct quic_stream *s)
{
    if (!s->headless)
        return;
    s->headless = false;
    s->conn->n_headless--;
    TAILQ_REMOVE(&s->conn->headless, s, queue);
    cv_buf_free(&s->in);
}

void quic_stream_refuse(struct quic_stream *s, enum quic_refusal why)
{
    s->conn->stats.refused[why]++;
    leave_headless(s);
    quic_stream_shut(s);
}

/* ---- its beginning ----------------------------------------------------------------------------------- */

struct quic_stream *quic_stream_open(struct quic_conn *c, int64_t id)
{
    struct quic_stream *s = quic_stream_new(c, id);
    s->since = cv_now(c->self);
    s->headless = true;
    TAILQ_INSERT_TAIL(&c->headless, s, queue);
    c->n_headless++;
    if (c->n_headless > (unsigned)quic_conf_of(c)->headless_streams)
        quic_stream_refuse(s, QR_TOO_MANY);
    return s;
}

static struct cv_req *request_new(struct quic_stream *s, enum cv_req_type type)
{
    struct quic_conn *c = s->conn;
    struct cv_req *req = cv_req_new(c->self, c->pub, type);
    ((struct quic_slot *)cv_slot(req, c->self))->stream = s;
    s->req = req;
    s->narrow = s->width = cv_pipe_room(req->down);
    cv_pipe_limit(req->up, quic_conf_of(c)->stream_window.n); /* the window of the stream grows up to it */
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
    struct quic_stream *s = quic_stream_new(c, id);
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
        cv_req_blame_edge(req);
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
    if (cv_connect_request_decode(p + PREAMBLE, n - PREAMBLE, quic_conf_of(c)->max_head.n, &need, &head,
                                  &err)) {
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
            quic_stream_refuse(s, QR_HEAD);
        return used;
    default: quic_stream_refuse(s, QR_SIGNATURE); return -1;
    }
}

/* ---- from the edge ----------------------------------------------------------------------------------- */

/* Bytes to the origin. The window never exceeds the pipe's room, so a short write means that the request is
 * over. */
static void write_up(struct quic_stream *s, const uint8_t *p, size_t n)
{
    size_t written = cv_pipe_write(s->req->up, p, n);
    quic_stream_took(s, written);
    quic_stream_credit(s, n - written);
}

static void body_too_short(struct quic_stream *s)
{
    struct cv_req *req = s->req;
    cv_req_blame_edge(req);
    cv_req_fail(req, CV_E_PROTO, "http: the request body ended %lld bytes before its Content-Length",
                (long long)s->body_left);
}

static void body(struct quic_stream *s, const uint8_t *p, size_t n, bool fin)
{
    struct cv_req *req = s->req;
    size_t take = s->body_left < 0 || (uint64_t)s->body_left > n ? n : (size_t)s->body_left;
    bool counted = s->body_left > 0;
    if (take)
        write_up(s, p, take);
    quic_stream_credit(s, n - take); /* more than was announced is not for the origin */
    if (counted)
        s->body_left -= (int64_t)take;
    if (counted && !s->body_left)
        cv_pipe_finish(req->up);
    else if (counted && fin)
        body_too_short(s);
    else if (fin && s->body_left == CV_BODY_STREAM)
        cv_pipe_finish(req->up);
}

/* A head usually comes whole, in one packet, and is read where it lies; else its pieces are gathered. */
static void head(struct quic_stream *s, const uint8_t *p, size_t n, bool fin)
{
    struct cv_buf in = s->in;
    size_t before = in.n;
    s->in = (struct cv_buf){ 0 };
    if (before)
        cv_buf_add(&in, p, n);
    ssize_t used = before ? begin(s, in.p, in.n) : begin(s, p, n);
    size_t of_head = used > 0 ? (size_t)used - before : n;
    quic_stream_credit(s, of_head);
    if (used > 0) {
        body(s, p + of_head, n - of_head, fin);
    } else if (used == 0 && fin) {
        quic_stream_refuse(s, QR_SHORT);
    } else if (used == 0) {
        if (!before)
            cv_buf_add(&in, p, n);
        s->in = in;
        return;
    }
    cv_buf_free(&in);
}

void quic_stream_data(struct quic_stream *s, const uint8_t *p, size_t n, bool fin)
{
    s->fin_in |= fin;
    if (s->headless)
        head(s, p, n, fin);
    else if (s->req)
        body(s, p, n, fin);
    else
        quic_stream_credit(s, n);
}

void quic_stream_reset(struct quic_stream *s, uint64_t code)
{
    s->fin_in = true;
    if (s->headless)
        quic_stream_refuse(s, QR_SHORT);
    else if (s->req && !s->fin_sent) /* else it is the answer to our own STOP_SENDING */
        quic_stream_fail(s, CV_E_CANCEL,
                         code ? "the edge reset the stream with an error code" : "the edge reset the stream");
}

void quic_stream_stopped(struct quic_stream *s)
{
    if (s->req)
        quic_stream_fail(s, CV_E_CANCEL, "the edge stopped reading the stream");
    else
        quic_stream_unqueue(s);
}

void quic_stream_closed(struct quic_stream *s)
{
    s->shut = true; /* to ngtcp2 the stream is gone */
    leave_headless(s);
    if (s->req)
        quic_stream_fail(s, CV_E_CANCEL, "the edge stopped reading the stream");
    TAILQ_REMOVE(&s->conn->all, s, all);
    free(s);
}
