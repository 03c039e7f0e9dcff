/* push.c: sends configurations to connectors, each transport's way, and gathers their answers. */
#include "edge_sim.h"

#include "tunnel/rpc.h"
#include "tunnel/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

enum { WAIT_S = 10, ANSWER_MAX = 1 << 20 };
static const uint8_t rpc_signature[6] = { 0x52, 0xbb, 0x82, 0x5c, 0xdb, 0x65 };

struct push_round { /* one version on its way to some connectors */
    unsigned waiting;
    struct cv_buf json;
    push_done_fn *done;
    void *arg;
    struct event timeout;
    LIST_HEAD(, push) pushes;
    LIST_ENTRY(push_round) entry;
};

struct push { /* to one of them */
    LIST_ENTRY(push) entry;
    struct push_round *round; /* NULL: nobody waits */
    struct conn *conn;
    int version;
    struct cv_buf answer; /* HTTP/2: the body so far */
    struct rpc *rpc;      /* QUIC                    */
    bool answered;
};

static struct {
    bool set;
    int version;
    struct cv_buf text;
} kept;
static LIST_HEAD(, push_round) rounds = LIST_HEAD_INITIALIZER(rounds);

static struct cv_str text_of(const struct cv_buf *b)
{
    return (struct cv_str){ (const char *)b->p, b->n };
}

static void round_free(struct push_round *r)
{
    while (!LIST_EMPTY(&r->pushes)) {
        LIST_FIRST(&r->pushes)->round = NULL;
        LIST_REMOVE(LIST_FIRST(&r->pushes), entry);
    }
    event_del(&r->timeout);
    LIST_REMOVE(r, entry);
    cv_buf_free(&r->json);
    free(r);
}

static void round_done(struct push_round *r)
{
    push_done_fn *done = r->done;
    if (r->json.n == 0)
        cv_buf_add(&r->json, "[", 1);
    cv_buf_add(&r->json, "]", 1);
    if (done)
        done(r->arg, text_of(&r->json));
    round_free(r);
}

static void round_timeout(int fd, short what, void *arg)
{
    (void)fd, (void)what;
    round_done(arg);
}

static void add_result(struct push_round *r, const struct push *p, int applied, struct cv_str err)
{
    char uuid[37];
    print_uuid(p->conn->reg.client, uuid);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, o);
    yyjson_mut_obj_add_str(doc, o, "connector", uuid);
    yyjson_mut_obj_add_uint(doc, o, "index", p->conn->reg.index);
    yyjson_mut_obj_add_int(doc, o, "version", p->version);
    yyjson_mut_obj_add_int(doc, o, "applied", applied);
    if (err.p)
        yyjson_mut_obj_add_strn(doc, o, "err", err.p, err.n);
    else
        yyjson_mut_obj_add_null(doc, o, "err");
    size_t n;
    char *text = yyjson_mut_write(doc, YYJSON_WRITE_ALLOW_INVALID_UNICODE, &n);
    CV_ASSERT(text);
    cv_buf_add(&r->json, r->json.n ? "," : "[", 1);
    cv_buf_add(&r->json, text, n);
    free(text);
    yyjson_mut_doc_free(doc);
}

/* err.p NULL: it was accepted. */
static void answered(struct push *p, int applied, struct cv_str err)
{
    if (p->answered)
        return;
    p->answered = true;
    log_event(p->conn, "config-answer",
              CV_FIELDS(CV_I("version", p->version), CV_I("applied", applied), CV_S("err", err)));
    struct push_round *r = p->round;
    if (!r)
        return;
    add_result(r, p, applied, err);
    if (--r->waiting == 0)
        event_active(&r->timeout, EV_TIMEOUT, 1);
}

static void no_answer(struct push *p, const char *why)
{
    if (!p->answered && p->conn->pushed)
        p->conn->pushed = false;
    answered(p, -1, cv_str_of(why));
}

static void push_closed(struct stream *s, enum ending ending, uint64_t code)
{
    struct push *p = s->owner;
    (void)code;
    no_answer(p, ending == END_LOST ? "connection lost" : ending == END_RESET ? "stream reset" : "no answer");
    if (p->round)
        LIST_REMOVE(p, entry);
    cv_buf_free(&p->answer);
    rpc_free(p->rpc);
    free(p);
}

/* ---- HTTP/2: one request (docs/protocol.md §11.4) ----------------------------------------------------- */

static void h2_reply(struct stream *s, const struct reply *reply)
{
    if (reply->status != 200)
        no_answer(s->owner, "status is not 200");
}

static void h2_data(struct stream *s, const uint8_t *bytes, size_t n)
{
    struct push *p = s->owner;
    stream_credit(s, n);
    if (p->answer.n + n <= ANSWER_MAX)
        cv_buf_add(&p->answer, bytes, n);
}

static void h2_end(struct stream *s, const struct fields *trailers)
{
    struct push *p = s->owner;
    (void)trailers;
    yyjson_doc *doc = yyjson_read((const char *)p->answer.p, p->answer.n, 0);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    yyjson_val *applied = yyjson_obj_get(root, "lastAppliedVersion"), *err = yyjson_obj_get(root, "err");
    if (!yyjson_is_int(applied) || !err) {
        no_answer(p, "answer is not understood");
    } else {
        size_t n = 0;
        char *text = yyjson_is_null(err) ? NULL : yyjson_val_write(err, 0, &n);
        answered(p, yyjson_get_int(applied), (struct cv_str){ text, n });
        free(text);
    }
    yyjson_doc_free(doc);
}

static const struct stream_ops h2_push_ops = {
    .reply = h2_reply,
    .data = h2_data,
    .end = h2_end,
    .closed = push_closed,
};

static void h2_send(struct stream *s, int version, struct cv_str config)
{
    static const char head[] = "{\"version\":", mid[] = ",\"config\":";
    char number[16];
    int n = snprintf(number, sizeof(number), "%d", version);
    stream_write(s, head, sizeof(head) - 1);
    stream_write(s, number, (size_t)n);
    stream_write(s, mid, sizeof(mid) - 1);
    stream_write(s, config.p, config.n);
    stream_write(s, "}", 1);
    stream_finish(s);
}

/* ---- QUIC: one RPC stream (docs/protocol.md §12.6) ---------------------------------------------------- */

static void rpc_send(struct stream *s)
{
    struct push *p = s->owner;
    struct cv_buf *out = rpc_out(p->rpc);
    if (s->up_ended)
        return;
    stream_write(s, out->p, out->n);
    cv_buf_take_front(out, out->n);
    if (rpc_closed(p->rpc))
        stream_finish(s);
}

static void rpc_done(void *arg, const struct rpc_result *result)
{
    struct push *p = arg;
    struct schema_config_response response;
    if (result->what != RPC_RESULTS)
        answered(p, -1, result->reason);
    else if (schema_get_config_response(result->content, &response, NULL) != CV_OK)
        no_answer(p, "answer is not understood");
    else
        answered(p, response.latest_applied_version,
                 response.error.n ? response.error : (struct cv_str){ NULL, 0 });
    rpc_close(p->rpc);
}

static void quic_data(struct stream *s, const uint8_t *bytes, size_t n)
{
    struct push *p = s->owner;
    stream_credit(s, n);
    if (!rpc_closed(p->rpc))
        rpc_feed(p->rpc, bytes, n, NULL);
    rpc_send(s);
}

static void quic_end(struct stream *s, const struct fields *trailers)
{
    struct push *p = s->owner;
    (void)trailers;
    rpc_feed_end(p->rpc);
    stream_finish(s);
}

static const struct stream_ops quic_push_ops = {
    .data = quic_data,
    .end = quic_end,
    .closed = push_closed,
};

static void quic_send(struct stream *s, int version, struct cv_str config)
{
    struct push *p = s->owner;
    struct capnp_new payload;
    p->rpc = rpc_new(NULL, p, NULL);
    CV_ASSERT(rpc_call_begin(p->rpc, &schema_update_configuration, &payload, NULL) == CV_OK);
    schema_put_config_update(payload, 0,
                             &(struct schema_config_update){ .version = version, .config = config });
    rpc_call_send(p->rpc, rpc_done, p);
    stream_write(s, rpc_signature, sizeof(rpc_signature));
    rpc_send(s);
}

/* ---- both ------------------------------------------------------------------------------------------- */

static void push_to(struct conn *conn, struct push_round *round)
{
    static const struct fields none;
    bool h2 = conn->transport->config_kind == KIND_CONFIG;
    struct head head = { .kind = conn->transport->config_kind,
                         .method = CV_STR("POST"),
                         .scheme = CV_STR("https"),
                         .authority = CV_STR("h2.cftunnel.com"),
                         .path = CV_STR("/"),
                         .fields = &none,
                         .body = BODY_CHUNKED };
    struct push *p = cv_xcalloc(1, sizeof(*p));
    p->conn = conn;
    p->version = kept.version;
    struct stream *s = stream_open(conn, &head, h2 ? &h2_push_ops : &quic_push_ops, p);
    if (!s) {
        free(p);
        return;
    }
    p->round = round;
    round->waiting++;
    LIST_INSERT_HEAD(&round->pushes, p, entry);
    conn->pushed = true;
    log_event(conn, "config-push", CV_FIELDS(CV_I("version", kept.version)));
    (h2 ? h2_send : quic_send)(s, kept.version, text_of(&kept.text));
}

static struct push_round *round_new(push_done_fn *done, void *arg)
{
    struct push_round *r = cv_xcalloc(1, sizeof(*r));
    r->done = done;
    r->arg = arg;
    event_assign(&r->timeout, loop, -1, 0, round_timeout, r);
    event_add(&r->timeout, &(struct timeval){ WAIT_S, 0 });
    LIST_INSERT_HEAD(&rounds, r, entry);
    return r;
}

static void finish_if_empty(struct push_round *r)
{
    if (r->waiting == 0)
        event_active(&r->timeout, EV_TIMEOUT, 1);
}

void push_keep(int version, struct cv_str config)
{
    struct conn *conn;
    kept.set = true;
    kept.version = version;
    kept.text.n = 0;
    cv_buf_add(&kept.text, config.p, config.n);
    TAILQ_FOREACH(conn, &conns, entry)
    conn->pushed = false;
}

static bool has_it(const struct conn *conn)
{
    const struct conn *other;
    TAILQ_FOREACH(other, &conns, entry)
    if (other->pushed && memcmp(other->reg.client, conn->reg.client, sizeof(conn->reg.client)) == 0)
        return true;
    return false;
}

struct push_round *push_all(push_done_fn *done, void *arg)
{
    struct push_round *r = round_new(done, arg);
    struct conn *conn;
    TAILQ_FOREACH(conn, &conns, entry)
    if (conn->link && conn->registered && !has_it(conn))
        push_to(conn, r);
    finish_if_empty(r);
    return r;
}

void push_forget(struct push_round *r)
{
    r->done = NULL;
}

void push_registered(struct conn *conn)
{
    if (!kept.set || has_it(conn))
        return;
    struct push_round *r = round_new(NULL, NULL);
    push_to(conn, r);
    finish_if_empty(r);
}

void push_free(void)
{
    while (!LIST_EMPTY(&rounds))
        round_free(LIST_FIRST(&rounds));
    cv_buf_free(&kept.text);
}
