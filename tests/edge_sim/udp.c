/* udp.c: calls about private-network UDP sessions to a connector (docs/protocol.md §13.1). */
#include "edge_sim.h"

#include "tunnel/rpc.h"
#include "tunnel/schema.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t signature[6] = { 0x52, 0xbb, 0x82, 0x5c, 0xdb, 0x65 };

struct udp_call {
    struct stream *stream;
    struct rpc *rpc;
    udp_done_fn *done; /* NULL: told, or nobody waits */
    void *arg;
};

static void tell(struct udp_call *u, struct cv_str err)
{
    udp_done_fn *done = u->done;
    char json[512], text[400];
    snprintf(text, sizeof(text), "%.*s", (int)(err.n < 399 ? err.n : 399), err.p ? err.p : "");
    for (char *c = text; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = '\'';
    int n = snprintf(json, sizeof(json), "{\"err\":\"%s\"}\n", text);
    u->done = NULL;
    log_event(u->stream->conn, "udp-answer", CV_FIELDS(CV_S("err", err)));
    if (done)
        done(u->arg, (struct cv_str){ json, (size_t)n });
}

static void on_registered(void *arg, const struct rpc_result *result)
{
    struct udp_call *u = arg;
    struct schema_udp_response response;
    if (result->what != RPC_RESULTS)
        tell(u, result->reason);
    else if (schema_get_udp_response(result->content, &response, NULL) != CV_OK)
        tell(u, CV_STR("answer is not understood"));
    else
        tell(u, response.error);
    rpc_close(u->rpc);
}

static void on_unregistered(void *arg, const struct rpc_result *result)
{
    struct udp_call *u = arg;
    tell(u, result->what == RPC_RESULTS ? (struct cv_str){ NULL, 0 } : result->reason);
    rpc_close(u->rpc);
}

static void send_output(struct udp_call *u)
{
    struct cv_buf *out = rpc_out(u->rpc);
    if (u->stream->up_ended)
        return;
    stream_write(u->stream, out->p, out->n);
    cv_buf_take_front(out, out->n);
    if (rpc_closed(u->rpc))
        stream_finish(u->stream);
}

static void on_data(struct stream *s, const uint8_t *p, size_t n)
{
    struct udp_call *u = s->owner;
    stream_credit(s, n);
    if (!rpc_closed(u->rpc))
        rpc_feed(u->rpc, p, n, NULL);
    send_output(u);
}

static void on_end(struct stream *s, const struct fields *trailers)
{
    struct udp_call *u = s->owner;
    (void)trailers;
    rpc_feed_end(u->rpc);
    stream_finish(s);
}

static void on_closed(struct stream *s, enum ending ending, uint64_t code)
{
    struct udp_call *u = s->owner;
    (void)ending, (void)code;
    if (u->done)
        tell(u, CV_STR("no answer"));
    rpc_free(u->rpc);
    free(u);
}

static const struct stream_ops ops = { .data = on_data, .end = on_end, .closed = on_closed };

static bool put_call(struct udp_call *u, const uint8_t session[static 16], struct cv_str ip, uint16_t port)
{
    struct capnp_new payload;
    char text[64];
    uint8_t addr[16];
    snprintf(text, sizeof(text), "%.*s", (int)(ip.n < 63 ? ip.n : 63), ip.p ? ip.p : "");
    bool v4 = inet_pton(AF_INET, text, addr) == 1;
    if (port > 0 && !v4 && inet_pton(AF_INET6, text, addr) != 1)
        return false;
    CV_ASSERT(rpc_call_begin(u->rpc, port ? &schema_register_udp_session : &schema_unregister_udp_session,
                             &payload, NULL) == CV_OK);
    if (port > 0) {
        struct schema_udp_registration r = { .dst_ip = { (char *)addr, v4 ? 4 : 16 }, .dst_port = port };
        memcpy(r.session_id, session, sizeof(r.session_id));
        schema_put_udp_registration(payload, 0, &r);
    } else {
        struct schema_udp_unregistration r = { .message = CV_STR("ended by the edge") };
        memcpy(r.session_id, session, sizeof(r.session_id));
        schema_put_udp_unregistration(payload, 0, &r);
    }
    rpc_call_send(u->rpc, port > 0 ? on_registered : on_unregistered, u);
    return true;
}

struct udp_call *udp_call(struct conn *conn, const uint8_t session[static 16], struct cv_str ip,
                          uint16_t port, udp_done_fn *done, void *arg)
{
    static const struct fields none;
    struct head head = { .kind = KIND_RPC, .fields = &none, .body = BODY_CHUNKED };
    struct udp_call *u = cv_xcalloc(1, sizeof(*u));
    u->rpc = rpc_new(NULL, u, NULL);
    if (put_call(u, session, ip, port))
        u->stream = stream_open(conn, &head, &ops, u);
    if (!u->stream) {
        rpc_free(u->rpc);
        free(u);
        return NULL;
    }
    u->done = done;
    u->arg = arg;
    stream_write(u->stream, signature, sizeof(signature));
    send_output(u);
    return u;
}

void udp_forget(struct udp_call *u)
{
    u->done = NULL;
}
