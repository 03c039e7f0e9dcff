/* front.c: where visitors come in: requests become streams to a connector, one visit each. Here those of HTTP/1.1. */
#include "edge_sim.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct visit {
    struct h1 *h1;
    struct stream *stream; /* NULL: over */
    size_t owed;           /* bytes of the answer that the connector has no credit for yet */
    bool replied;
};

static void visit_free(struct visit *v)
{
    h1_set_owner(v->h1, NULL);
    free(v);
}

/* An answer that is not the connector's own. */
static void edge_answer(struct h1 *h1, int status, const char *why)
{
    struct fields fields = { 0 };
    struct cv_str body = cv_str_of(why);
    fields_add(&fields, CV_STR("X-Edge-Source"), CV_STR("edge"));
    fields_add(&fields, CV_STR("Content-Type"), CV_STR("text/plain"));
    h1_reply(h1, status, &fields, (int64_t)body.n);
    h1_body(h1, body.p, body.n);
    h1_finish(h1, NULL);
    fields_free(&fields);
}

/* ---- what the connector says ------------------------------------------------------------------------- */

static void give_credit(struct visit *v, size_t still_here)
{
    size_t gone = v->owed > still_here ? v->owed - still_here : 0;
    v->owed -= gone;
    stream_credit(v->stream, gone);
}

static int64_t length_of(const struct fields *fields)
{
    uint64_t n;
    struct cv_str text = fields_get(fields, "content-length");
    return text.p && parse_u64(text, INT64_MAX, &n) ? (int64_t)n : -1;
}

static void on_reply(struct stream *s, const struct reply *reply)
{
    struct visit *v = s->owner;
    v->replied = true;
    struct cv_str source = reply->flow_limited ? CV_STR("connector; flow limited")
                           : reply->connector  ? CV_STR("connector")
                                               : CV_STR("origin");
    struct fields fields = { 0 };
    fields_add(&fields, CV_STR("X-Edge-Source"), source);
    for (size_t i = 0; i < reply->fields->n; i++)
        fields_add(&fields, fields_name(reply->fields, i), fields_value(reply->fields, i));
    if (s->kind == KIND_TCP && reply->status == 200)
        h1_tunnel(v->h1, 200, &fields);
    else if (s->kind == KIND_WEBSOCKET && reply->status == 101)
        h1_tunnel(v->h1, 101, &fields);
    else
        h1_reply(v->h1, reply->status, &fields,
                 reply->error.n ? (int64_t)reply->error.n : length_of(&fields));
    if (reply->error.n)
        h1_body(v->h1, reply->error.p, reply->error.n);
    fields_free(&fields);
}

static void on_data(struct stream *s, const uint8_t *p, size_t n)
{
    struct visit *v = s->owner;
    v->owed += n;
    h1_body(v->h1, p, n);
}

static void on_end(struct stream *s, const struct fields *trailers)
{
    struct visit *v = s->owner;
    give_credit(v, 0);
    h1_finish(v->h1, trailers);
    visit_free(v);
    s->owner = NULL;
    if (s->up_ended)
        s->ops = NULL;
    else
        stream_cancel(s);
}

static void on_room(struct stream *s)
{
    struct visit *v = s->owner;
    if (stream_room(s) > STREAM_UP_MAX / 2)
        h1_reading(v->h1, true);
}

static void on_closed(struct stream *s, enum ending ending, uint64_t code)
{
    struct visit *v = s->owner;
    char why[80];
    if (v->replied) {
        h1_abort(v->h1);
    } else {
        snprintf(why, sizeof(why), "%s (code %llu)\n",
                 ending == END_LOST ? "the connection to the connector was lost"
                                    : "the connector reset the stream",
                 (unsigned long long)code);
        edge_answer(v->h1, 502, why);
    }
    visit_free(v);
}

static const struct stream_ops visit_ops = {
    .reply = on_reply,
    .data = on_data,
    .end = on_end,
    .room = on_room,
    .closed = on_closed,
};

/* ---- what the visitor says --------------------------------------------------------------------------- */

/* Fields that end at this hop, or that only the edge may set. */
static bool is_ours(struct cv_str name)
{
    static const char *const ours[] = {
        "host",         "connection",        "keep-alive",      "proxy-connection",
        "te",           "transfer-encoding", "upgrade",         "expect",
        "cf-ray",       "cf-connecting-ip",  "cf-visitor",      "cdn-loop",
        "x-edge-index", "x-forwarded-proto", "x-forwarded-for", "trailer"
    };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (cv_str_caseeq(name, cv_str_of(ours[i])))
            return true;
    return str_starts(name, "cf-cloudflared-") || str_starts(name, ":");
}

static void add_edge_fields(struct fields *out, const struct h1_request *req, struct cv_str peer)
{
    static uint64_t ray;
    char text[40];
    if (ray == 0)
        RAND_bytes((unsigned char *)&ray, sizeof(ray));
    int n = snprintf(text, sizeof(text), "%016llx-SIM", (unsigned long long)ray++);
    fields_add(out, CV_STR("Cf-Ray"), (struct cv_str){ text, (size_t)n });
    fields_add(out, CV_STR("Cf-Connecting-Ip"), peer);
    fields_add(out, CV_STR("Cf-Visitor"), CV_STR("{\"scheme\":\"https\"}"));
    fields_add(out, CV_STR("Cdn-Loop"), CV_STR("cloudflare; loops=1"));
    fields_add(out, CV_STR("X-Forwarded-Proto"), CV_STR("https"));
    struct cv_str before = fields_get(&req->fields, "x-forwarded-for");
    struct cv_buf list = { 0 };
    cv_buf_add(&list, before.p, before.n);
    if (before.n > 0)
        cv_buf_add(&list, ", ", 2);
    cv_buf_add(&list, peer.p, peer.n);
    fields_add(out, CV_STR("X-Forwarded-For"), (struct cv_str){ (char *)list.p, list.n });
    cv_buf_free(&list);
}

static void edge_fields(struct fields *out, const struct h1_request *req, struct cv_str peer)
{
    out->n = out->text.n = 0;
    for (size_t i = 0; i < req->fields.n; i++) {
        struct cv_str name = fields_name(&req->fields, i), value = fields_value(&req->fields, i);
        if (!is_ours(name))
            fields_add(out, name, value);
        else if (cv_str_caseeq(name, CV_STR("te")) && cv_str_caseeq(value, CV_STR("trailers")))
            fields_add(out, name, value);
    }
    add_edge_fields(out, req, peer);
}

/* "http://host/path" to "/path"; everything else stays. */
static struct cv_str origin_form(struct cv_str target)
{
    if (!str_starts(target, "http://") && !str_starts(target, "https://"))
        return target;
    struct cv_str rest = target;
    for (int slashes = 0; rest.n > 0; rest.p++, rest.n--)
        if (*rest.p == '/' && ++slashes == 3)
            return rest;
    return CV_STR("/");
}

static void make_head(struct head *head, const struct h1_request *req, const struct fields *fields)
{
    struct cv_str host = fields_get(&req->fields, "host");
    *head = (struct head){ .kind = req->connect     ? KIND_TCP
                                   : req->websocket ? KIND_WEBSOCKET
                                                    : KIND_HTTP,
                           .method = req->connect ? CV_STR("GET") : req->method,
                           .scheme = CV_STR("https"),
                           .authority = req->connect ? req->target
                                        : host.n     ? host
                                                     : CV_STR("localhost"),
                           .path = req->connect ? CV_STR("/") : origin_form(req->target),
                           .fields = fields,
                           .body = !req->has_body                                   ? BODY_NONE
                                   : req->chunked || req->connect || req->websocket ? BODY_CHUNKED
                                                                                    : BODY_LENGTH };
}

struct stream *front_visit(const struct h1_request *req, struct cv_str peer, const struct stream_ops *ops,
                           void *owner, struct front_refusal *refusal)
{
    struct fields scratch = { 0 };
    uint64_t index;
    struct cv_str wanted = fields_get(&req->fields, "x-edge-index");
    bool chosen = wanted.p && parse_u64(wanted, UINT8_MAX, &index);
    struct conn *conn = conn_pick(chosen ? (int)index : -1);
    *refusal = (struct front_refusal){ 530, "error code: 1033\n" };
    if (!conn)
        return NULL;
    struct head head;
    edge_fields(&scratch, req, peer);
    make_head(&head, req, &scratch);
    head.visitor = peer;
    struct stream *s = stream_open(conn, &head, ops, owner);
    fields_free(&scratch);
    *refusal = (struct front_refusal){ 502, "the connection takes no more streams\n" };
    return s;
}

static void on_head(struct h1 *h1)
{
    const struct h1_request *req = h1_request(h1);
    struct front_refusal refusal;
    struct visit *v = cv_xcalloc(1, sizeof(*v));
    v->h1 = h1;
    v->stream = front_visit(req, h1_peer(h1), &visit_ops, v, &refusal);
    if (!v->stream) {
        free(v);
        edge_answer(h1, refusal.status, refusal.why);
        return;
    }
    h1_set_owner(h1, v);
    if (!req->has_body)
        stream_finish(v->stream);
}

static void on_body(struct h1 *h1, const uint8_t *p, size_t n)
{
    struct visit *v = h1_owner(h1);
    if (!v)
        return;
    stream_write(v->stream, p, n);
    if (stream_room(v->stream) == 0)
        h1_reading(h1, false);
}

static void on_request_end(struct h1 *h1)
{
    struct visit *v = h1_owner(h1);
    if (v)
        stream_finish(v->stream);
}

static void on_drained(struct h1 *h1, size_t left)
{
    struct visit *v = h1_owner(h1);
    if (v)
        give_credit(v, left);
}

static void on_gone(struct h1 *h1)
{
    struct visit *v = h1_owner(h1);
    if (!v)
        return;
    log_event(v->stream->conn, "visitor-left", CV_FIELDS(CV_I("stream", v->stream->id)));
    stream_credit(v->stream, v->owed);
    stream_cancel(v->stream);
    visit_free(v);
}

static const struct h1_ops front_ops = {
    .head = on_head,
    .body = on_body,
    .end = on_request_end,
    .drained = on_drained,
    .gone = on_gone,
    .http2 = front_h2,
};

bool front_start(const char *addr, char printed[static 64])
{
    return h1_listen(addr, &front_ops, printed) >= 0;
}
