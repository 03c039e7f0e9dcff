/* serve.c: what the edge asks of this connector: configurations, by RPC stream (QUIC, docs/protocol.md §12.6) or by
 * request (HTTP/2, §11.4), and UDP sessions, which are refused. */
#include <stdio.h>
#include <string.h>

#include "request/gojson.h"
#include "tunnel/registrar.h"
#include "tunnel/schema.h"

enum { ENVELOPE = 64 * 1024 }; /* what may be wrapped around a configuration */

struct served {         /* the call or request under way, for the metrics */
    const char *method; /* NULL: none */
    int64_t began;
};

static void serve_begin(struct served *served, const char *method)
{
    *served = (struct served){ method, clock_ms() };
}

static void serve_end(struct served *served, bool ok)
{
    if (!served->method)
        return;
    const bool config = strcmp(served->method, "update_configuration") == 0;
    const struct cv_str labels[] = { config ? CV_STR("config") : CV_STR("session"),
                                     cv_str_of(served->method) };
    cv_add(metric(M_RPC_SERVER_OPERATIONS, labels), 1);
    if (!ok)
        cv_add(metric(M_RPC_SERVER_FAILURES, labels), 1);
    cv_observe(metric(M_RPC_SERVER_LATENCY, labels), (double)(clock_ms() - served->began) / 1000);
    served->method = NULL;
}

/* ---- RPC streams ---------------------------------------------------------------------------------------- */

struct rpc_request {
    struct stream s; /* first */
    struct cv_timer life;
    struct served served;
};

static uint64_t ticket_of(struct rpc_token t)
{
    return (uint64_t)t.serial << 32 | t.answer;
}

static struct rpc_token token_of(uint64_t ticket)
{
    return (struct rpc_token){ .answer = (uint32_t)ticket, .serial = (uint32_t)(ticket >> 32) };
}

static void update_configuration(struct rpc_request *r, struct rpc_token token, struct capnp_struct params)
{
    struct schema_config_update update;
    struct cv_err err;
    serve_begin(&r->served, "update_configuration");
    if (schema_get_config_update(params, &update, &err)) {
        serve_end(&r->served, false);
        rpc_return_exception(r->s.rpc, token, cv_str_of(err.text));
        return;
    }
    stream_configure(&r->s, ticket_of(token), update.version, update.config);
}

static void rpc_configured(struct stream *s, uint64_t ticket, const struct config_outcome *outcome)
{
    struct rpc_request *r = (struct rpc_request *)s;
    struct schema_config_response response = { outcome->applied, outcome->error };
    serve_end(&r->served, outcome->error.n == 0);
    schema_put_config_response(rpc_return_begin(s->rpc, token_of(ticket)), 0, &response);
    rpc_return_send(s->rpc);
    stream_flush(s);
}

static const char no_udp[] = "this connector does not carry UDP sessions";

static void refuse_udp_registration(struct rpc_request *r, struct rpc_token token)
{
    struct schema_udp_response response = { .error = cv_str_of(no_udp) };
    serve_begin(&r->served, "register_udp_session");
    serve_end(&r->served, false);
    schema_put_udp_response(rpc_return_begin(r->s.rpc, token), 0, &response);
    rpc_return_send(r->s.rpc);
}

static void refuse_udp_unregistration(struct rpc_request *r, struct rpc_token token)
{
    serve_begin(&r->served, "unregister_udp_session");
    serve_end(&r->served, false);
    rpc_return_exception(r->s.rpc, token, cv_str_of(no_udp));
}

static bool on_call(void *arg, struct rpc *rpc, struct rpc_token token, struct rpc_method method,
                    struct capnp_struct params)
{
    struct rpc_request *r = arg;
    (void)rpc;
    if (rpc_same_method(method, schema_update_configuration))
        update_configuration(r, token, params);
    else if (rpc_same_method(method, schema_register_udp_session))
        refuse_udp_registration(r, token);
    else if (rpc_same_method(method, schema_unregister_udp_session))
        refuse_udp_unregistration(r, token);
    else
        return false;
    return true;
}

static void on_life_over(struct cv_timer *timer)
{
    struct rpc_request *r = CV_OWNER(timer, struct rpc_request, life);
    rpc_close(r->s.rpc);
    stream_flush(&r->s);
}

static void rpc_open(struct stream *s)
{
    static const struct rpc_ops ops = { .call = on_call };
    struct rpc_request *r = (struct rpc_request *)s;
    struct rpc_limits limits = { .message = registrar_conf.config_size + ENVELOPE };
    s->rpc = rpc_new(&ops, r, &limits);
    s->req->status = 200;
    cv_req_respond(s->req);
    r->life.fire = on_life_over;
    cv_timer_set(s->self, &r->life, registrar_conf.rpc_timeout);
}

static void rpc_request_closed(struct stream *s)
{
    struct rpc_request *r = (struct rpc_request *)s;
    serve_end(&r->served, false);
    cv_timer_clear(&r->life);
}

const struct stream_kind rpc_stream = {
    .size = sizeof(struct rpc_request),
    .open = rpc_open,
    .readable = stream_pump,
    .closed = rpc_request_closed,
    .configured = rpc_configured,
};

/* ---- configuration requests ----------------------------------------------------------------------------- */

struct config_request {
    struct stream s; /* first */
    struct cv_buf body;
    bool whole;
    struct served served;
};
struct envelope {
    int64_t version;
    struct cv_str config; /* JSON text, within the body */
};

static bool read_config(struct cv_str text, void *value, struct reason *why)
{
    (void)why;
    *(struct cv_str *)value = text;
    return true;
}

static const struct gojson_type version_type = { "int32", GOJSON_INT, sizeof(int64_t), NULL, NULL, NULL };
static const struct gojson_type config_type = {
    "json.RawMessage", GOJSON_RAW, sizeof(struct cv_str), NULL, NULL, read_config
};
static const struct gojson_field envelope_fields[] = {
    { "version", &version_type, offsetof(struct envelope, version), GOJSON_ALWAYS },
    { "config", &config_type, offsetof(struct envelope, config), GOJSON_ALWAYS },
    { NULL, NULL, 0, 0 },
};
static const struct gojson_type envelope_type = {
    "connection.ConfigurationUpdate", GOJSON_STRUCT, sizeof(struct envelope), envelope_fields, NULL, NULL
};

/* The edge may send more behind the object: where does it end? */
static size_t object_end(struct cv_str text)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        char ch = text.p[i];
        if (quoted && ch == '\\')
            i++;
        else if (ch == '"')
            quoted = !quoted;
        else if (!quoted && (ch == '{' || ch == '['))
            depth++;
        else if (!quoted && (ch == '}' || ch == ']') && (depth == 0 || --depth == 0))
            return i + 1;
    }
    return text.n;
}

static void use_body(struct config_request *r)
{
    struct cv_str text = { (const char *)r->body.p, r->body.n };
    struct bump bump = { NULL };
    struct envelope envelope = { 0, { NULL, 0 } };
    struct reason why;
    reason_clear(&why);
    text.n = object_end(text);
    enum cv_error e = gojson_read(&bump, text, &envelope_type, &envelope, &why);
    if (!e && (envelope.version < INT32_MIN || envelope.version > INT32_MAX))
        e = reason_fail(&why, "version %lld is not an int32", (long long)envelope.version);
    if (e) {
        serve_end(&r->served, false);
        cv_req_fail(r->s.req, CV_E_PROTO, "configuration request: %s", why.text);
    } else {
        stream_configure(&r->s, 0, (int32_t)envelope.version, envelope.config);
    }
    bump_free(&bump);
}

static void config_readable(struct stream *s)
{
    struct config_request *r = (struct config_request *)s;
    struct iovec v;
    while (cv_pipe_peek(s->req->up, 0, &v, 1) == 1) {
        if (r->body.n + v.iov_len > registrar_conf.config_size + ENVELOPE) {
            cv_req_fail(s->req, CV_E_LIMIT, "configuration request: more than %zu bytes",
                        registrar_conf.config_size);
            return;
        }
        cv_buf_add(&r->body, v.iov_base, v.iov_len);
        cv_pipe_consume(s->req->up, v.iov_len);
    }
    if (cv_pipe_ended(s->req->up) && !r->whole) {
        r->whole = true;
        serve_begin(&r->served, "update_configuration");
        use_body(r);
    }
}

static void config_open(struct stream *s)
{
    config_readable(s);
}

/* cloudflared answers a refusal with its error value as a JSON object, in which no text survives; the edge only looks
 * whether it is null. */
static void config_configured(struct stream *s, uint64_t ticket, const struct config_outcome *outcome)
{
    struct config_request *r = (struct config_request *)s;
    (void)ticket;
    bool ok = outcome->error.n == 0;
    serve_end(&r->served, ok);
    struct cv_str body =
        cv_print(s->req, "{\"lastAppliedVersion\":%d,\"err\":%s}", (int)outcome->applied, ok ? "null" : "{}");
    s->req->resp_headers = cv_headers_new(s->req);
    cv_header_set(s->req, s->req->resp_headers, CV_STR("content-type"), CV_STR("text/plain; charset=utf-8"));
    cv_header_set(s->req, s->req->resp_headers, CV_STR("content-length"), cv_print(s->req, "%zu", body.n));
    cv_req_reply(s->req, 200, body);
}

static void config_closed(struct stream *s)
{
    struct config_request *r = (struct config_request *)s;
    serve_end(&r->served, false);
    cv_buf_free(&r->body);
}

const struct stream_kind config_stream = {
    .size = sizeof(struct config_request),
    .open = config_open,
    .readable = config_readable,
    .closed = config_closed,
    .configured = config_configured,
};
