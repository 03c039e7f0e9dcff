/* quic_stream.c: streams of a QUIC connection, and the heads at their beginning (docs/protocol.md §12.2 to
 * §12.5). */
#include "quic.h"

#include "tunnel/rpc.h"
#include "tunnel/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_MAX = 256 * 1024, SIGNATURE = 6, PREAMBLE = 8 };

static const uint8_t data_preamble[PREAMBLE] = { 0x0a, 0x36, 0xcd, 0x12, 0xa1, 0x3e, '0', '1' };

/* ---- sending ---------------------------------------------------------------------------------------- */

void quic_stream_ready(struct quic_stream *s)
{
    bool nothing = s->sent == s->s.up.n && !s->s.up_ended;
    if (nothing || s->is_ready || s->shut || s->fin_sent)
        return;
    s->is_ready = true;
    TAILQ_INSERT_TAIL(&s->quic->ready, s, turn);
}

void quic_stream_rest(struct quic_stream *s)
{
    if (!s->is_ready)
        return;
    s->is_ready = false;
    TAILQ_REMOVE(&s->quic->ready, s, turn);
}

void quic_written(struct stream *stream)
{
    struct quic_stream *s = (struct quic_stream *)stream;
    if (s->shut)
        queue_free(&stream->up);
    else
        quic_stream_ready(s);
    quic_send_soon(s->quic);
}

void quic_credit(struct stream *stream, size_t n)
{
    struct quic_stream *s = (struct quic_stream *)stream;
    ngtcp2_conn_extend_max_stream_offset(s->quic->ng, stream->id, n);
    quic_send_soon(s->quic);
}

static void shut_writing(struct quic_stream *s)
{
    if (!s->fin_sent)
        ngtcp2_conn_shutdown_stream_write(s->quic->ng, 0, s->s.id, 0);
    s->shut = true;
    quic_stream_rest(s);
}

void quic_reset(struct stream *stream, bool done)
{
    struct quic_stream *s = (struct quic_stream *)stream;
    if (!done)
        ngtcp2_conn_shutdown_stream_read(s->quic->ng, 0, stream->id, 0);
    shut_writing(s);
    quic_send_soon(s->quic);
}

void quic_reset_streams(struct quic *q)
{
    struct quic_stream *s;
    LIST_FOREACH(s, &q->streams, entry)
    if (s->s.kind <= KIND_TCP)
        quic_reset(&s->s, false);
}

void quic_stream_free(struct quic_stream *s, enum ending ending, uint64_t code)
{
    LIST_REMOVE(s, entry);
    quic_stream_rest(s);
    stream_gone(&s->s, ending, code);
    cv_buf_free(&s->head);
    rpc_free(s->rpc);
    free(s);
}

/* ---- opening ---------------------------------------------------------------------------------------- */

struct metadata_list {
    struct schema_metadata v[FIELDS_MAX + 4];
    size_t n;
};

static void add_metadata(struct metadata_list *m, struct cv_str key, struct cv_str val)
{
    if (m->n < sizeof(m->v) / sizeof(m->v[0]))
        m->v[m->n++] = (struct schema_metadata){ key, val };
}

/* Keys "HttpHeader:Name" are written into *text, which must have the room. */
static void add_fields(struct metadata_list *m, const struct fields *fields, struct cv_buf *text)
{
    static const char prefix[] = "HttpHeader:";
    cv_buf_reserve(text, fields->text.n + fields->n * (sizeof(prefix) - 1));
    for (size_t i = 0; i < fields->n; i++) {
        struct cv_str name = fields_name(fields, i);
        const char *key = (char *)text->p + text->n;
        cv_buf_add(text, prefix, sizeof(prefix) - 1);
        cv_buf_add(text, name.p, name.n);
        add_metadata(m, (struct cv_str){ key, sizeof(prefix) - 1 + name.n }, fields_value(fields, i));
    }
}

static void write_head(struct quic_stream *s, const struct head *head)
{
    struct metadata_list m = { .n = 0 };
    struct cv_buf keys = { 0 }, dest = { 0 }, out = { 0 };
    struct capnp_build build;
    if (head->kind == KIND_TCP) {
        cv_buf_add(&dest, head->authority.p, head->authority.n);
    } else {
        const struct cv_str parts[] = { head->scheme, CV_STR("://"), head->authority, head->path };
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
            cv_buf_add(&dest, parts[i].p, parts[i].n);
        add_metadata(&m, CV_STR("HttpMethod"), head->method);
        add_metadata(&m, CV_STR("HttpHost"), head->authority);
        add_fields(&m, head->fields, &keys);
        if (head->kind == KIND_HTTP && head->body == BODY_CHUNKED)
            add_metadata(&m, CV_STR("HttpHeader:Transfer-Encoding"), CV_STR("chunked"));
    }
    struct schema_connect_request request = {
        .type = head->kind == KIND_TCP         ? SCHEMA_TCP
                : head->kind == KIND_WEBSOCKET ? SCHEMA_WEBSOCKET
                                               : SCHEMA_HTTP,
        .dest = { (char *)dest.p, dest.n },
        .metadata = m.v,
        .n_metadata = m.n,
    };
    cv_buf_add(&out, data_preamble, sizeof(data_preamble));
    schema_put_connect_request(capnp_begin(&build, &out), 0, &request);
    capnp_end(&build);
    queue_add(&s->s.up, out.p, out.n);
    cv_buf_free(&out);
    cv_buf_free(&keys);
    cv_buf_free(&dest);
}

static struct quic_stream *stream_new(struct quic *q, enum kind kind, int64_t id)
{
    struct quic_stream *s = cv_xcalloc(1, sizeof(*s));
    s->s = (struct stream){ .conn = q->conn, .kind = kind, .id = id };
    s->quic = q;
    LIST_INSERT_HEAD(&q->streams, s, entry);
    ngtcp2_conn_set_stream_user_data(q->ng, id, s);
    return s;
}

struct stream *quic_open(struct conn *conn, const struct head *head)
{
    struct quic *q = conn->link;
    int64_t id;
    if (q->ended_how || head->kind == KIND_CONFIG || head->kind == KIND_CONTROL ||
        ngtcp2_conn_open_bidi_stream(q->ng, &id, NULL) != 0)
        return NULL;
    struct quic_stream *s = stream_new(q, head->kind, id);
    s->replied = head->kind == KIND_RPC; /* its answer has no head */
    if (head->kind != KIND_RPC)
        write_head(s, head);
    quic_written(&s->s);
    return &s->s;
}

/* ---- heads of answers ------------------------------------------------------------------------------- */

static void bad_response(struct quic_stream *s, const char *why)
{
    log_event(s->s.conn, "bad-response", CV_FIELDS(CV_I("stream", s->s.id), CV_S("why", cv_str_of(why))));
    s->replied = true;
    quic_reset(&s->s, false);
}

static const char *read_metadata(const struct schema_connect_response *r, struct reply *reply,
                                 struct fields *fields)
{
    uint64_t status = 0;
    for (size_t i = 0; i < r->n_metadata; i++) {
        struct cv_str name, key = r->metadata[i].key, val = r->metadata[i].val;
        if (cv_str_eq(key, CV_STR("HttpStatus")) && !parse_u64(val, 999, &status))
            return "HttpStatus is not a number";
        if (cv_str_eq(key, CV_STR("FlowConnectRateLimited")))
            reply->flow_limited = true;
        if (cv_str_eq(str_cut(key, ':', &name), CV_STR("HttpHeader")) && !fields_add(fields, name, val))
            return "too many header fields";
    }
    reply->status = (int)status;
    return NULL;
}

static const char *read_response(struct quic_stream *s, const struct schema_connect_response *r,
                                 struct reply *reply, struct fields *fields)
{
    const char *bad = read_metadata(r, reply, fields);
    if (bad)
        return bad;
    if (r->error.n > 0) {
        reply->status = 502;
        reply->connector = true;
        reply->error = r->error;
    } else if (s->s.kind == KIND_TCP) {
        reply->status = 200;
    } else if (reply->status < 100) {
        return "HttpStatus is missing";
    }
    return NULL;
}

static void deliver_head(struct quic_stream *s, const uint8_t *frame, size_t n)
{
    struct capnp_msg msg;
    struct cv_buf scratch = { 0 };
    struct cv_err err;
    struct schema_connect_response response;
    struct fields fields = { 0 };
    struct reply reply = { .fields = &fields };
    const char *bad = NULL;
    if (capnp_open(&msg, frame, n, &err) != CV_OK ||
        schema_get_connect_response(capnp_root(&msg), &response, &scratch, &err) != CV_OK ||
        capnp_check(&msg, &err) != CV_OK)
        bad = err.text;
    else
        bad = read_response(s, &response, &reply, &fields);
    s->replied = true;
    if (bad)
        bad_response(s, bad);
    else if (s->s.ops && s->s.ops->reply)
        s->s.ops->reply(&s->s, &reply);
    fields_free(&fields);
    cv_buf_free(&scratch);
}

static void give_data(struct quic_stream *s, const uint8_t *p, size_t n)
{
    if (n == 0)
        return;
    if (s->s.ops && s->s.ops->data)
        s->s.ops->data(&s->s, p, n);
    else
        quic_credit(&s->s, n);
}

/* Gathers the head; what follows it is data. */
static void take_head(struct quic_stream *s, const uint8_t *p, size_t n)
{
    size_t need;
    struct cv_err err;
    cv_buf_add(&s->head, p, n);
    size_t check = s->head.n < SIGNATURE ? s->head.n : SIGNATURE;
    if (memcmp(s->head.p, data_preamble, check) != 0) {
        bad_response(s, "the signature is wrong");
        return;
    }
    if (s->head.n < PREAMBLE)
        return;
    const uint8_t *frame = s->head.p + PREAMBLE;
    size_t have = s->head.n - PREAMBLE;
    if (capnp_frame(frame, have, HEAD_MAX, &need, &err) != CV_OK) {
        bad_response(s, err.text);
        return;
    }
    if (need > have)
        return;
    struct cv_buf head = s->head;
    s->head = (struct cv_buf){ 0 };
    quic_credit(&s->s, PREAMBLE + need);
    deliver_head(s, head.p + PREAMBLE, need);
    give_data(s, head.p + PREAMBLE + need, have - need);
    cv_buf_free(&head);
}

/* ---- calls of the connector, on streams of its own (docs/protocol.md §13.1) --------------------------- */

static bool on_call(void *arg, struct rpc *rpc, struct rpc_token t, struct rpc_method m,
                    struct capnp_struct params)
{
    struct quic_stream *s = arg;
    struct schema_udp_unregistration u;
    char id[37];
    if (!rpc_same_method(m, schema_unregister_udp_session) ||
        schema_get_udp_unregistration(params, &u, NULL) != CV_OK)
        return false;
    print_uuid(u.session_id, id);
    log_event(s->s.conn, "udp-unregister",
              CV_FIELDS(CV_S("session", cv_str_of(id)), CV_S("message", u.message)));
    schema_put_empty(rpc_return_begin(rpc, t), 0);
    rpc_return_send(rpc);
    return true;
}

static void serve_rpc(struct quic_stream *s, const uint8_t *p, size_t n)
{
    static const uint8_t signature[SIGNATURE] = { 0x52, 0xbb, 0x82, 0x5c, 0xdb, 0x65 };
    static const struct rpc_ops rpc_ops = { .call = on_call };
    quic_credit(&s->s, n);
    if (!s->rpc) {
        size_t rest = SIGNATURE - s->head.n;
        size_t take = n < rest ? n : rest;
        cv_buf_add(&s->head, p, take);
        p += take;
        n -= take;
        if (s->head.n < SIGNATURE)
            return;
        if (memcmp(s->head.p, signature, SIGNATURE) != 0) {
            bad_response(s, "the signature of a stream of the connector is wrong");
            return;
        }
        s->rpc = rpc_new(&rpc_ops, s, NULL);
    }
    if (n > 0 && !rpc_closed(s->rpc))
        rpc_feed(s->rpc, p, n, NULL);
    struct cv_buf *out = rpc_out(s->rpc);
    if (out->n > 0 && !s->s.up_ended)
        stream_write(&s->s, out->p, out->n);
    cv_buf_take_front(out, out->n);
}

/* ---- what ngtcp2 reports ------------------------------------------------------------------------------ */

static int on_open(ngtcp2_conn *ng, int64_t id, void *user)
{
    struct quic *q = user;
    (void)ng;
    if (!ngtcp2_is_bidi_stream(id))
        return 0;
    struct quic_stream *s = stream_new(q, id == 0 ? KIND_CONTROL : KIND_RPC, id);
    s->replied = true;
    s->serves_rpc = id != 0;
    if (id == 0 && !q->stall_control)
        control_serve(q->conn, &s->s);
    return 0;
}

static void on_bytes(struct quic_stream *s, const uint8_t *p, size_t n)
{
    if (s->s.kind == KIND_CONTROL && s->quic->stall_control)
        return;
    if (s->serves_rpc)
        serve_rpc(s, p, n);
    else if (s->replied)
        give_data(s, p, n);
    else
        take_head(s, p, n);
}

static int on_data(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *p, size_t n,
                   void *user, void *stream)
{
    struct quic_stream *s = stream;
    (void)id, (void)offset, (void)user;
    if (s && s->s.conn->stalled)
        return 0;
    ngtcp2_conn_extend_max_offset(ng, n);
    if (!s)
        return 0;
    if (n > 0)
        on_bytes(s, p, n);
    if (!(flags & NGTCP2_STREAM_DATA_FLAG_FIN))
        return 0;
    if (!s->replied)
        bad_response(s, "the stream ends within the head");
    s->s.down_ended = true;
    if (s->s.ops && s->s.ops->end)
        s->s.ops->end(&s->s, NULL);
    else if (s->serves_rpc)
        stream_finish(&s->s);
    return 0;
}

static int on_acked(ngtcp2_conn *ng, int64_t id, uint64_t offset, uint64_t n, void *user, void *stream)
{
    struct quic_stream *s = stream;
    (void)ng, (void)id, (void)offset, (void)user;
    if (!s || s->shut)
        return 0;
    queue_take(&s->s.up, n);
    s->sent -= n;
    if (n > 0 && s->s.ops && s->s.ops->room)
        s->s.ops->room(&s->s);
    return 0;
}

static int on_reset(ngtcp2_conn *ng, int64_t id, uint64_t final_size, uint64_t code, void *user, void *stream)
{
    struct quic_stream *s = stream;
    (void)ng, (void)id, (void)final_size, (void)user;
    if (!s)
        return 0;
    stream_was_reset(&s->s, code);
    shut_writing(s);
    return 0;
}

static int on_close(ngtcp2_conn *ng, uint32_t flags, int64_t id, uint64_t code, void *user, void *stream)
{
    struct quic_stream *s = stream;
    (void)flags, (void)user;
    if (!ngtcp2_conn_is_local_stream(ng, id) && ngtcp2_is_bidi_stream(id))
        ngtcp2_conn_extend_max_streams_bidi(ng, 1);
    if (s)
        quic_stream_free(s, s->s.down_ended ? END_CLEAN : END_RESET, code);
    return 0;
}

static int on_window(ngtcp2_conn *ng, int64_t id, uint64_t max, void *user, void *stream)
{
    struct quic_stream *s = stream;
    (void)ng, (void)id, (void)max, (void)user;
    if (!s)
        return 0;
    s->s.conn->window_updates++;
    quic_stream_ready(s);
    return 0;
}

const ngtcp2_callbacks quic_stream_callbacks = {
    .stream_open = on_open,
    .recv_stream_data = on_data,
    .acked_stream_data_offset = on_acked,
    .stream_reset = on_reset,
    .stream_close = on_close,
    .extend_max_stream_data = on_window,
};
