/* register.c: the RPC server on a control stream: registrations are answered as the script says. */
#include "edge_sim.h"

#include "tunnel/rpc.h"
#include "tunnel/schema.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFUSED_LINGER_S = 2, FEATURES_MAX = 64 };

struct control {
    struct conn *conn;
    struct stream *stream; /* NULL: closed */
    struct rpc *rpc;
    struct event linger; /* closes a refused connection whose connector does not end the control stream */
};

/* The tunnel that registrations must be of, if a token was made. */
static struct {
    bool made;
    char account[33];
    uint8_t secret[32], tunnel[16];
} token;

static char *keep(struct cv_str s)
{
    return cv_xmemdup0(s.p, s.n);
}

static void remember(struct conn *conn, const struct schema_registration *r)
{
    struct registration *reg = &conn->reg;
    conn->called = true;
    reg->index = r->conn_index;
    reg->account = keep(r->account_tag);
    reg->version = keep(r->version);
    reg->arch = keep(r->arch);
    memcpy(reg->tunnel, r->tunnel_id, sizeof(reg->tunnel));
    if (r->client_id.n == sizeof(reg->client))
        memcpy(reg->client, r->client_id.p, sizeof(reg->client));
    if (r->origin_local_ip.p && r->origin_local_ip.n <= sizeof(reg->origin_ip)) {
        reg->origin_ip_n = r->origin_local_ip.n;
        memcpy(reg->origin_ip, r->origin_local_ip.p, reg->origin_ip_n);
    }
    reg->replace_existing = r->replace_existing;
    reg->compression_quality = r->compression_quality;
    reg->previous_attempts = r->previous_attempts;
    reg->nfeatures = r->features.n < FEATURES_MAX ? r->features.n : FEATURES_MAX;
    reg->features = cv_xcalloc(reg->nfeatures, sizeof(reg->features[0]));
    for (size_t i = 0; i < reg->nfeatures; i++)
        reg->features[i] = keep(r->features.v[i]);
}

static bool authorized(const struct schema_registration *r)
{
    struct cv_str secret = cv_reveal(r->tunnel_secret);
    return !token.made ||
           (memcmp(r->tunnel_id, token.tunnel, sizeof(token.tunnel)) == 0 &&
            secret.n == sizeof(token.secret) && memcmp(secret.p, token.secret, secret.n) == 0 &&
            cv_str_eq(r->account_tag, cv_str_of(token.account)));
}

static void linger_over(int fd, short what, void *arg)
{
    struct control *c = arg;
    (void)fd, (void)what;
    c->conn->control_ended = true;
    conn_idle_check(c->conn);
}

static void respond(struct control *c, struct rpc_token token_,
                    const struct schema_connection_response *response)
{
    struct capnp_new payload = rpc_return_begin(c->rpc, token_);
    schema_put_connection_response(payload, 0, response);
    rpc_return_send(c->rpc);
}

static void refuse(struct control *c, struct rpc_token t, const struct answer *a)
{
    c->conn->refused = true;
    log_event(c->conn, "refused", CV_FIELDS(CV_S("cause", cv_str_of(a->text)), CV_I("retry", a->retry)));
    respond(c, t,
            &(struct schema_connection_response){
                .cause = cv_str_of(a->text), .retry_after = a->retry_after_ns, .should_retry = a->retry });
}

static void accept_it(struct control *c, struct rpc_token t, const struct answer *a)
{
    struct conn *conn = c->conn;
    struct schema_connection_response response = { .accepted = true,
                                                   .location = cv_str_of(opt.location),
                                                   .remotely_managed = !a->local };
    CV_ASSERT(RAND_bytes(response.uuid, sizeof(response.uuid)) == 1);
    response.uuid[6] = (uint8_t)((response.uuid[6] & 0x0f) | 0x40);
    response.uuid[8] = (uint8_t)((response.uuid[8] & 0x3f) | 0x80);
    memcpy(conn->reg.uuid, response.uuid, sizeof(conn->reg.uuid));
    respond(c, t, &response);
    conn->registered = true;
    log_event(conn, "registered", NULL);
    push_registered(conn);
}

static void answer_registration(struct control *c, struct rpc_token t, const struct answer *a)
{
    switch (a->what) {
    case ANSWER_REFUSE: refuse(c, t, a); break;
    case ANSWER_EXCEPTION:
        c->conn->refused = true;
        log_event(c->conn, "refused", CV_FIELDS(CV_S("exception", cv_str_of(a->text))));
        rpc_return_exception(c->rpc, t, cv_str_of(a->text));
        break;
    case ANSWER_SILENCE: log_event(c->conn, "silent", NULL); break;
    default: accept_it(c, t, a); break;
    }
    if (c->conn->refused && !opt.keep_refused)
        event_add(&c->linger, &(struct timeval){ REFUSED_LINGER_S, 0 });
}

static void log_call(struct conn *conn, const struct schema_registration *r)
{
    struct cv_buf features = { 0 };
    for (size_t i = 0; i < r->features.n; i++) {
        cv_buf_add(&features, ",", i > 0);
        cv_buf_add(&features, r->features.v[i].p, r->features.v[i].n);
    }
    log_event(conn, "register",
              CV_FIELDS(CV_S("features", ((struct cv_str){ (char *)features.p, features.n })),
                        CV_S("version", r->version), CV_S("arch", r->arch),
                        CV_I("previous_attempts", r->previous_attempts),
                        CV_I("secret_bytes", (int64_t)cv_reveal(r->tunnel_secret).n)));
    cv_buf_free(&features);
}

static void register_connection(struct control *c, struct rpc_token t, struct capnp_struct params)
{
    struct schema_registration r;
    struct cv_buf scratch = { 0 };
    struct cv_err err;
    if (schema_get_registration(params, &r, &scratch, &err) != CV_OK) {
        rpc_return_exception(c->rpc, t, cv_str_of(err.text));
    } else if (c->conn->called) {
        rpc_return_exception(c->rpc, t, CV_STR("a second registration on one connection"));
    } else {
        remember(c->conn, &r);
        log_call(c->conn, &r);
        struct answer *a = script_take(r.conn_index);
        if (authorized(&r))
            answer_registration(c, t, a);
        else
            answer_registration(
                c, t,
                &(struct answer){ .what = ANSWER_REFUSE,
                                  .text = (char[]){ "Unauthorized: Invalid tunnel secret" } });
        answer_free(a);
    }
    cv_buf_free(&scratch);
}

static void return_empty(struct control *c, struct rpc_token t)
{
    schema_put_empty(rpc_return_begin(c->rpc, t), 0);
    rpc_return_send(c->rpc);
}

static bool call(void *arg, struct rpc *rpc, struct rpc_token t, struct rpc_method m,
                 struct capnp_struct params)
{
    struct control *c = arg;
    (void)rpc;
    if (rpc_same_method(m, schema_register_connection)) {
        register_connection(c, t, params);
    } else if (rpc_same_method(m, schema_unregister_connection)) {
        c->conn->unregistered = true;
        log_event(c->conn, "unregister", NULL);
        return_empty(c, t);
    } else if (rpc_same_method(m, schema_update_local_configuration)) {
        struct cv_str config = { 0 };
        schema_get_local_config(params, &config, NULL);
        log_event(c->conn, "local-config", CV_FIELDS(CV_S("config", config)));
        return_empty(c, t);
    } else {
        return false;
    }
    return true;
}

static const struct rpc_ops ops = { .call = call };

static void send_output(struct control *c)
{
    struct cv_buf *out = rpc_out(c->rpc);
    if (!c->stream || c->stream->up_ended)
        return;
    stream_write(c->stream, out->p, out->n);
    cv_buf_take_front(out, out->n);
}

static void control_over(struct control *c, const char *how)
{
    if (c->conn->control_ended)
        return;
    c->conn->control_ended = true;
    log_event(c->conn, "control-end", CV_FIELDS(CV_S("how", cv_str_of(how))));
}

static void on_reply(struct stream *s, const struct reply *reply)
{
    if (reply->status != 200)
        log_event(s->conn, "bad-response",
                  CV_FIELDS(CV_S("why", CV_STR("control stream: status is not 200"))));
}

static void on_data(struct stream *s, const uint8_t *p, size_t n)
{
    struct control *c = s->owner;
    struct cv_err err;
    stream_credit(s, n);
    if (rpc_closed(c->rpc))
        return;
    enum cv_error e = rpc_feed(c->rpc, p, n, &err);
    if (e == CV_E_CANCEL)
        log_event(s->conn, "control-abort", CV_FIELDS(CV_S("reason", cv_str_of(err.text))));
    else if (e != CV_OK)
        log_event(s->conn, "bad-rpc", CV_FIELDS(CV_S("why", cv_str_of(err.text))));
    send_output(c);
}

static void on_end(struct stream *s, const struct fields *trailers)
{
    struct control *c = s->owner;
    (void)trailers;
    rpc_feed_end(c->rpc);
    control_over(c, "end");
    stream_finish(s);
}

static void on_closed(struct stream *s, enum ending ending, uint64_t code)
{
    struct control *c = s->owner;
    (void)code;
    control_over(c, ending == END_RESET ? "reset" : ending == END_LOST ? "lost" : "end");
    c->stream = NULL;
}

static const struct stream_ops control_ops = {
    .reply = on_reply,
    .data = on_data,
    .end = on_end,
    .closed = on_closed,
};

static struct control *control_new(struct conn *conn)
{
    CV_ASSERT(!conn->control);
    struct control *c = conn->control = cv_xcalloc(1, sizeof(*c));
    c->conn = conn;
    c->rpc = rpc_new(&ops, c, NULL);
    event_assign(&c->linger, loop, -1, 0, linger_over, c);
    return c;
}

void control_open(struct conn *conn)
{
    static const struct fields none;
    struct head head = { .kind = KIND_CONTROL,
                         .method = CV_STR("GET"),
                         .scheme = CV_STR("https"),
                         .authority = CV_STR("h2.cftunnel.com"),
                         .path = CV_STR("/"),
                         .fields = &none,
                         .body = BODY_CHUNKED };
    struct control *c = control_new(conn);
    c->stream = stream_open(conn, &head, &control_ops, c);
}

void control_serve(struct conn *conn, struct stream *s)
{
    struct control *c = control_new(conn);
    c->stream = s;
    s->ops = &control_ops;
    s->owner = c;
}

void control_free(struct conn *conn)
{
    struct control *c = conn->control;
    if (!c)
        return;
    conn->control = NULL;
    event_del(&c->linger);
    rpc_free(c->rpc);
    free(c);
}

bool token_make(const char *path)
{
    uint8_t account[16];
    char secret[45], json[256], text[384], uuid[37];
    CV_ASSERT(RAND_bytes(account, sizeof(account)) == 1 &&
              RAND_bytes(token.secret, sizeof(token.secret)) == 1 &&
              RAND_bytes(token.tunnel, sizeof(token.tunnel)) == 1);
    for (size_t i = 0; i < sizeof(account); i++)
        snprintf(token.account + 2 * i, 3, "%02x", account[i]);
    print_uuid(token.tunnel, uuid);
    EVP_EncodeBlock((unsigned char *)secret, token.secret, sizeof(token.secret));
    int n =
        snprintf(json, sizeof(json), "{\"a\":\"%s\",\"t\":\"%s\",\"s\":\"%s\"}", token.account, uuid, secret);
    EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)json, n);
    FILE *f = fopen(path, "we");
    if (!f)
        return false;
    fprintf(f, "%s\n", text);
    token.made = true;
    return fclose(f) == 0;
}
