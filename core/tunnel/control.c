/* control.c: the control stream of a connection: registration, unregistration, the local configuration
 * (docs/protocol.md §10). */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "tunnel/addresses.h"
#include "tunnel/registrar.h"
#include "tunnel/schema.h"

/* A call to the edge under way. */
struct call {
    struct control *control;
    const char *method; /* its name in the metrics; NULL: no call */
    uint32_t question;
    int64_t began;
    struct cv_timer timer;
};
struct control {
    struct stream s; /* first */
    struct connection *conn;
    bool registered;
    struct call registration; /* registerConnection, later unregisterConnection */
    struct call local_config;
};

/* ---- calls --------------------------------------------------------------------------------------------- */

static struct cv_series *series(enum core_metric id, const struct call *call)
{
    return METRIC(id, CV_STR("registration"), cv_str_of(call->method));
}

static void end_call(struct call *call, bool ok)
{
    cv_timer_clear(&call->timer);
    cv_add(series(M_RPC_CLIENT_OPERATIONS, call), 1);
    if (!ok)
        cv_add(series(M_RPC_CLIENT_FAILURES, call), 1);
    cv_observe(series(M_RPC_CLIENT_LATENCY, call), (double)(clock_ms() - call->began) / 1000);
    call->method = NULL;
}

static void begin_call(struct control *c, struct call *call, const char *method, rpc_done_fn *done,
                       struct cv_ms timeout, void (*late)(struct cv_timer *))
{
    call->control = c;
    call->method = method;
    call->began = clock_ms();
    call->question = rpc_call_send(c->s.rpc, done, call);
    call->timer.fire = late;
    cv_timer_set(c->s.self, &call->timer, timeout);
}

static struct call *late_call(struct cv_timer *timer)
{
    struct call *call = CV_OWNER(timer, struct call, timer);
    rpc_cancel(call->control->s.rpc, call->question);
    return call;
}

/* Says goodbye on the stream; the connection stays. */
static void end_stream(struct control *c)
{
    rpc_close(c->s.rpc);
    stream_flush(&c->s);
}

/* ---- local configuration -------------------------------------------------------------------------------- */

static void local_config_failed(struct call *call, struct cv_str why)
{
    end_call(call, false);
    cv_add(metric(M_LOCAL_CONFIG_PUSH_ERRORS, NULL), 1);
    cv_log(call->control->s.self, CV_ERROR, CV_FIELDS(CV_S("error", why)),
           "unable to send local configuration");
}

static void on_local_config(void *arg, const struct rpc_result *result)
{
    struct call *call = arg;
    if (result->what == RPC_RESULTS)
        end_call(call, true);
    else
        local_config_failed(call, result->reason);
}

static void on_local_config_late(struct cv_timer *timer)
{
    struct call *call = late_call(timer);
    local_config_failed(call, CV_STR("the edge did not answer in time"));
    stream_flush(&call->control->s);
}

static void send_local_config(struct control *c)
{
    struct capnp_new payload;
    if (rpc_call_begin(c->s.rpc, &schema_update_local_configuration, &payload, NULL))
        return;
    schema_put_local_config(payload, 0, cv_str_of(c->conn->credentials->local_config));
    cv_add(metric(M_LOCAL_CONFIG_PUSHES, NULL), 1);
    begin_call(c, &c->local_config, "update_local_configuration", on_local_config, registrar_conf.rpc_timeout,
               on_local_config_late);
}

/* ---- registration --------------------------------------------------------------------------------------- */

static void refused(struct control *c, struct conn_report *report)
{
    bool duplicate = strcmp(report->text, "EDUPCONN") == 0;
    end_call(&c->registration, false);
    cv_add(METRIC(M_REGISTER_FAIL, duplicate ? CV_STR("dup_edge_conn") : CV_STR("server_error"),
                  CV_STR("registerConnection")),
           1);
    report->what = CONN_REFUSED;
    connection_report(c->conn, report);
}

static void accepted(struct control *c, const struct schema_connection_response *r)
{
    c->registered = true;
    end_call(&c->registration, true);
    cv_add(METRIC(M_REGISTER_SUCCESS, CV_STR("registerConnection")), 1);
    struct conn_report report = { .what = CONN_REGISTERED };
    memcpy(report.uuid, r->uuid, sizeof(report.uuid));
    snprintf(report.location, sizeof(report.location), CV_STR_FMT, CV_STR_ARG(r->location));
    connection_report(c->conn, &report);
    if (c->conn->base.pub.index == 0 && !r->remotely_managed)
        send_local_config(c);
}

static int64_t ms_of_ns(int64_t ns)
{
    return ns > 0 ? ns / 1000000 : 0;
}

static void judge(struct control *c, struct capnp_struct content)
{
    struct schema_connection_response r;
    struct cv_err err;
    struct conn_report no = { .should_retry = true };
    if (schema_get_connection_response(content, &r, &err)) {
        snprintf(no.text, sizeof(no.text), "the edge's answer to the registration is broken: %.400s",
                 err.text);
    } else if (r.accepted) {
        accepted(c, &r);
        return;
    } else {
        no.answered = true;
        no.should_retry = r.should_retry;
        no.retry_after_ms = ms_of_ns(r.retry_after);
        snprintf(no.text, sizeof(no.text), CV_STR_FMT, CV_STR_ARG(r.cause));
    }
    refused(c, &no);
    rpc_close(c->s.rpc);
}

static void on_registration(void *arg, const struct rpc_result *result)
{
    struct call *call = arg;
    struct control *c = call->control;
    if (result->what == RPC_RESULTS) {
        judge(c, result->content);
        return;
    }
    bool exception = result->what == RPC_EXCEPTION;
    struct conn_report no = { .should_retry = true, .answered = exception };
    snprintf(no.text, sizeof(no.text), "%s: " CV_STR_FMT,
             exception ? "rpc exception" : "the control stream ended before the registration was answered",
             CV_STR_ARG(result->reason));
    refused(c, &no);
    rpc_close(c->s.rpc);
}

static void on_registration_late(struct cv_timer *timer)
{
    struct call *call = late_call(timer);
    struct conn_report no = { .should_retry = true };
    snprintf(no.text, sizeof(no.text), "the edge did not answer the registration within %lld ms",
             (long long)registrar_conf.rpc_timeout.ms);
    refused(call->control, &no);
    end_stream(call->control);
}

/* As 16 bytes, IPv4 mapped into IPv6; 0 for an address that is not known. */
static size_t mapped_ip(const struct sockaddr_storage *a, uint8_t ip[16])
{
    if (a->ss_family == AF_INET6) {
        memcpy(ip, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
        return 16;
    }
    if (a->ss_family != AF_INET)
        return 0;
    memset(ip, 0, 10);
    memset(ip + 10, 0xff, 2);
    memcpy(ip + 12, &((const struct sockaddr_in *)a)->sin_addr, 4);
    return 16;
}

static void log_registration(const struct connection *conn)
{
    if (!cv_log_on(CV_DEBUG))
        return;
    char features[512] = "";
    for (size_t i = 0, n = 0; i < conn->credentials->features.n && n < sizeof(features); i++)
        n += (size_t)snprintf(features + n, sizeof(features) - n, "%s" CV_STR_FMT, i ? " " : "",
                              CV_STR_ARG(conn->credentials->features.v[i]));
    char ip[INET6_ADDRSTRLEN];
    address_ip(&conn->base.pub.addr, ip);
    const struct cv_field index = CV_I("connIndex", conn->base.pub.index), event = CV_I("event", 0),
                          edge = CV_S("ip", cv_str_of(ip));
    log_line(CV_DEBUG, CV_FIELDS(index, event, edge, CV_S("features", cv_str_of(features))),
             "Tunnel connection options");
    log_line(CV_DEBUG,
             CV_FIELDS(index, event, edge,
                       CV_S("protocol", cv_str_of(conn->edge->instance->module->edge->protocol))),
             "Registering tunnel connection");
}

static void send_registration(struct control *c)
{
    const struct connection *conn = c->conn;
    const struct credentials *cred = conn->credentials;
    uint8_t ip[16];
    size_t ip_size = mapped_ip(&conn->base.pub.local, ip);
    struct schema_registration r = {
        .conn_index = (uint8_t)conn->base.pub.index,
        .account_tag = cv_str_of(cred->token.account_tag),
        .tunnel_secret = cred->token.secret,
        .previous_attempts = (uint8_t)(conn->previous_attempts < 255 ? conn->previous_attempts : 255),
        .client_id = { (const char *)cred->client_id, sizeof(cred->client_id) },
        .features = cred->features,
        .version = CV_STR(CLIENT_VERSION),
        .arch = cv_str_of(cred->arch),
        .origin_local_ip = { ip_size ? (const char *)ip : NULL, ip_size },
    };
    memcpy(r.tunnel_id, cred->token.id, sizeof(r.tunnel_id));
    log_registration(conn);
    struct capnp_new payload;
    CV_ASSERT(rpc_call_begin(c->s.rpc, &schema_register_connection, &payload, NULL) == CV_OK);
    schema_put_registration(payload, 0, &r);
    begin_call(c, &c->registration, "register_connection", on_registration, registrar_conf.rpc_timeout,
               on_registration_late);
}

/* ---- unregistration ------------------------------------------------------------------------------------- */

static void unregistered(struct control *c, enum cv_error e, struct cv_str why)
{
    end_call(&c->registration, !e);
    struct conn_report report = { .what = CONN_UNREGISTERED, .error = e };
    snprintf(report.text, sizeof(report.text), CV_STR_FMT, CV_STR_ARG(why));
    connection_report(c->conn, &report);
}

static void on_unregistration(void *arg, const struct rpc_result *result)
{
    struct call *call = arg;
    bool ok = result->what == RPC_RESULTS;
    unregistered(call->control, ok ? CV_OK : CV_E_IO, ok ? CV_STR("") : result->reason);
    rpc_close(call->control->s.rpc);
}

static void on_unregistration_late(struct cv_timer *timer)
{
    struct call *call = late_call(timer);
    unregistered(call->control, CV_E_TIMEOUT, CV_STR("the edge did not answer in time"));
    end_stream(call->control);
}

static void no_unregistration(const struct connection *conn, const char *why)
{
    struct conn_report report = { .what = CONN_UNREGISTERED, .error = CV_E_IO };
    snprintf(report.text, sizeof(report.text), "%s", why);
    connection_report(conn, &report);
}

void control_unregister(struct connection *conn, struct cv_ms timeout)
{
    struct control *c = conn->control;
    struct capnp_new payload;
    if (!c || !c->registered || rpc_call_begin(c->s.rpc, &schema_unregister_connection, &payload, NULL)) {
        no_unregistration(conn, "the control stream is gone");
        return;
    }
    c->registered = false;
    schema_put_empty(payload, 0);
    begin_call(c, &c->registration, "unregister_connection", on_unregistration, timeout,
               on_unregistration_late);
    stream_flush(&c->s);
}

/* ---- the stream ----------------------------------------------------------------------------------------- */

static void control_open(struct stream *s)
{
    struct control *c = (struct control *)s;
    struct connection *conn = s->req->conn ? connection_of(s->req->conn) : NULL;
    if (!conn || conn->registered_once) {
        cv_req_fail(s->req, CV_E_PROTO, "this connection has a control stream already");
        return;
    }
    conn->registered_once = true;
    conn->control = c;
    c->conn = conn;
    s->rpc = rpc_new(NULL, NULL, NULL);
    s->req->status = 200;
    cv_req_respond(s->req);
    send_registration(c);
    stream_flush(s);
}

static void control_closed(struct stream *s)
{
    struct control *c = (struct control *)s;
    if (!c->conn)
        return;
    rpc_close(s->rpc); /* who waits for an answer is told */
    cv_timer_clear(&c->registration.timer);
    cv_timer_clear(&c->local_config.timer);
    c->conn->control = NULL;
}

const struct stream_kind control_stream = {
    .size = sizeof(struct control),
    .open = control_open,
    .readable = stream_pump,
    .closed = control_closed,
};
