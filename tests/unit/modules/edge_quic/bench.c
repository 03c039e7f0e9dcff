/* bench.c: a worker with edge_quic, a scripted origin and a peer as the edge. */
#include "bench.h"

#include "pki.h"
#include "request/config.h"
#include "tunnel/schema.h"
#include "tunnel/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct cv_module cv_module_edge_quic;
static struct bench *bench;

/* ---- the origin -------------------------------------------------------------------------------------- */

struct slot {
    struct seen *seen;
};

static struct seen *seen_of(const struct cv_self *self, struct cv_req *req)
{
    return ((struct slot *)cv_slot(req, self))->seen;
}

static void fill(struct cv_req *req)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    while (bench->streams && cv_pipe_room(req->down)) {
        size_t n = bench->streams < 26 ? bench->streams : 26;
        n = cv_pipe_write(req->down, letters + bench->streamed % 26, n);
        bench->streams -= n;
        bench->streamed += n;
    }
    if (!bench->streams)
        cv_pipe_finish(req->down);
}

static void answer(struct cv_req *req)
{
    req->status = 200;
    req->resp_headers = cv_headers_new(req);
    cv_header_add(req, req->resp_headers, CV_STR("x-answer"), CV_STR("yes"));
    cv_req_respond(req);
    if (bench->streams) {
        fill(req);
        return;
    }
    cv_pipe_write(req->down, "hello", 5);
    cv_pipe_finish(req->down);
}

void bench_read(struct bench *b, struct seen *s)
{
    (void)b;
    struct iovec v;
    while (s->req && cv_pipe_peek(s->req->up, 0, &v, 1) == 1) {
        cv_buf_add(&s->body, v.iov_base, v.iov_len);
        s->n_body += v.iov_len;
        cv_pipe_consume(s->req->up, v.iov_len);
    }
    s->ended = s->req && cv_pipe_ended(s->req->up);
}

static bool origin_match(const struct cv_self *self, const struct cv_req *req)
{
    (void)self, (void)req;
    return true;
}

static void origin_open(const struct cv_self *self, struct cv_req *req)
{
    struct seen *s = cv_xcalloc(1, sizeof *s);
    ((struct slot *)cv_slot(req, self))->seen = s;
    s->req = req;
    s->type = req->type;
    s->body_length = req->body_length;
    snprintf(s->head, sizeof s->head, CV_STR_FMT " " CV_STR_FMT " " CV_STR_FMT " " CV_STR_FMT,
             CV_STR_ARG(req->method), CV_STR_ARG(req->scheme), CV_STR_ARG(req->authority),
             CV_STR_ARG(req->path));
    struct cv_str test = cv_header(req->headers, CV_STR("X-Test"));
    snprintf(s->header, sizeof s->header, CV_STR_FMT, CV_STR_ARG(test));
    if (req->type == CV_CONTROL || req->type == CV_RPC)
        cv_req_respond(req); /* as the registrar does */
    if (req->type == CV_CONTROL) {
        bench->control = s;
        return;
    }
    s->next = bench->seen;
    bench->seen = s;
    bench->n_seen++;
    if (bench->answers && req->type != CV_RPC)
        answer(req);
}

static void origin_readable(const struct cv_self *self, struct cv_req *req)
{
    if (!bench->lazy)
        bench_read(bench, seen_of(self, req));
}

static void origin_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)self, (void)n;
    if (bench->answers && req->type != CV_CONTROL && !cv_pipe_finished(req->down))
        fill(req);
}

static void origin_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    struct seen *s = seen_of(self, req);
    s->req = NULL;
    s->closed = true;
    s->why = why;
}

static const struct cv_origin_ops origin_ops = { .match = origin_match,
                                                 .open = origin_open,
                                                 .end = { origin_readable, origin_credit, origin_closed } };
static const struct cv_module origin_module = { .name = "origin", .origin = &origin_ops };
static const struct cv_instance instances[] = {
    { .module = &cv_module_edge_quic, .name = "edge_quic", .id = 0 },
    { .module = &origin_module, .name = "origin", .id = 1, .slot_at = sizeof(struct quic_slot) },
};

/* ---- the worker -------------------------------------------------------------------------------------- */

static void on_report(const struct conn_report *r)
{
    bench->up |= r->what == CONN_UP;
    if (r->what != CONN_DOWN)
        return;
    bench->down = true;
    bench->why = r->error;
    snprintf(bench->text, sizeof bench->text, "%s", r->text);
}

static void route_everything(struct bench *b)
{
    struct route_table *table;
    bool started;
    struct reason reason;
    CV_ASSERT(config_read(CV_STR("{\"ingress\":[{\"service\":\"http://127.0.0.1:1\"}]}"),
                          &(struct config_local){ 0 }, &table, &started, &reason) == CV_OK);
    requests_set_routes(b->worker, TUNNEL_FIRST, table);
}

static void trust(struct bench *b)
{
    char path[] = "/tmp/culvert-quic-XXXXXX";
    int fd = mkstemp(path);
    CV_ASSERT(fd >= 0);
    close(fd);
    CV_ASSERT(pki_write_ca(b->pki, path));
    CV_ASSERT(tls_setup(path, false, NULL) == CV_OK);
    unlink(path);
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in,
                       unsigned n_in, void *unused)
{
    (void)ssl, (void)unused;
    static const unsigned char ours[] = "\012argotunnel";
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, n, ours, sizeof ours - 1, in, n_in) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

struct bench *bench_new(void)
{
    struct bench *b = bench = cv_xcalloc(1, sizeof *b);
    b->limits = (struct limits_conf){ .memory = { 64 << 20 }, .requests = 10000, .pipe = { 131072 } };
    b->conf = (struct quic_conf){ .keep_alive = { 1000 },
                                  .idle_timeout = { 5000 },
                                  .handshake_timeout = { 5000 },
                                  .head_timeout = { 10000 },
                                  .conn_window = { 30 << 20 },
                                  .stream_window = { 6 << 20 },
                                  .max_head = { 65536 },
                                  .socket_buffer = { 200000 },
                                  .headless_streams = 1000,
                                  .gso = true,
                                  .gro = true };
    b->worker = worker_new(0);
    metrics_setup(1);
    for (size_t i = 0; i < 2; i++)
        b->selfs[i] = (struct cv_self){ .worker = b->worker, .instance = &instances[i] };
    b->selfs[0].conf = &b->conf;
    b->origins[0] = &b->selfs[1];
    b->chain = (struct chain){ .origins = b->origins,
                               .n_origins = 1,
                               .slot_bytes = sizeof(struct quic_slot) + sizeof(struct slot) };
    b->worker->selfs = b->selfs;
    b->worker->chain = &b->chain;
    requests_setup(b->worker, &b->limits);
    route_everything(b);
    conns_setup(b->worker, on_report);
    CV_ASSERT(cv_module_edge_quic.init(&b->selfs[0], NULL) == CV_OK);
    CV_ASSERT(cv_module_edge_quic.start(&b->selfs[0], NULL) == CV_OK);
    b->pki = pki_new("test edge");
    trust(b);
    b->server = pki_server(b->pki, "quic.cftunnel.com", PKI_GOOD);
    SSL_CTX_set_alpn_select_cb(b->server, choose_alpn, NULL);
    b->peer = peer_new(b->worker->base, b->server);
    return b;
}

static void free_seen(struct seen *s)
{
    while (s) {
        struct seen *next = s->next;
        cv_buf_free(&s->body);
        free(s);
        s = next;
    }
}

void bench_free(struct bench *b)
{
    if (!b->down)
        conn_close(1);
    BENCH_UNTIL(b, conns_count() == 0);
    bench_for(b, 1);
    peer_free(b->peer);
    cv_module_edge_quic.stop(&b->selfs[0]);
    requests_teardown(b->worker);
    worker_free(b->worker);
    metrics_free();
    tls_free();
    SSL_CTX_free(b->server);
    pki_free(b->pki);
    free_seen(b->seen);
    free_seen(b->control);
    free(b);
    bench = NULL;
}

void bench_dial(struct bench *b)
{
    struct token token = { .account_tag = cv_xstrdup("tag"), .endpoint = cv_xstrdup("") };
    uint8_t id[16] = { 1 };
    struct credentials *credentials = credentials_new(
        &token, 1,
        &(struct credentials_source){
            .client_id = id, .extra_features = &(struct cv_list){ 0 }, .local_config = "{}" });
    struct conn_order order = {
        .id = 1, .worker = b->worker, .edge = &instances[0], .addr = b->peer->addr, .credentials = credentials
    };
    conn_dial(&order);
    credentials_unref(credentials);
}

bool bench_connect(struct bench *b)
{
    bench_dial(b);
    return BENCH_UNTIL(b, b->down || (b->up && b->control && b->peer->handshaken)) && !b->down;
}

void bench_turn(struct bench *b)
{
    /* a short sleep at most: the condition may hang on time alone */
    struct timeval nap = { 0, 2000 };
    event_base_loopexit(b->worker->base, &nap);
    event_base_loop(b->worker->base, EVLOOP_ONCE);
}

void bench_for(struct bench *b, int ms)
{
    uint64_t end = quic_now() + (uint64_t)ms * QUIC_MS;
    do
        bench_turn(b);
    while (quic_now() < end);
}

struct quic_conn *bench_conn(struct bench *b)
{
    return b->control->req->conn->edge;
}

/* ---- heads ------------------------------------------------------------------------------------------- */

struct cv_buf bench_head(unsigned type, const char *dest, const struct cv_metadata *v, size_t n,
                         const char *body)
{
    struct schema_metadata *metadata = cv_xcalloc(n, sizeof *metadata);
    for (size_t i = 0; i < n; i++)
        metadata[i] = (struct schema_metadata){ v[i].key, v[i].val };
    struct schema_connect_request head = {
        .type = (uint16_t)type, .dest = cv_str_of(dest), .metadata = metadata, .n_metadata = n
    };
    struct cv_buf out = { 0 };
    cv_buf_add(&out,
               "\x0a\x36\xcd\x12\xa1\x3e"
               "01",
               8);
    struct capnp_build build;
    struct capnp_new root = capnp_begin(&build, &out);
    schema_put_connect_request(root, 0, &head);
    capnp_end(&build);
    free(metadata);
    cv_buf_add(&out, body, strlen(body));
    return out;
}

int64_t bench_send(struct bench *b, struct cv_buf take, bool fin)
{
    int64_t id = peer_open(b->peer, true);
    peer_write(b->peer, id, take.p, take.n, fin);
    cv_buf_free(&take);
    return id;
}

int64_t bench_get(struct bench *b)
{
    return bench_send(b,
                      BENCH_HEAD(CV_CONNECT_HTTP, "https://a.example.com/", "",
                                 { CV_STR("HttpMethod"), CV_STR("GET") },
                                 { CV_STR("HttpHost"), CV_STR("a.example.com") }),
                      true);
}

static void read_response(const struct schema_connect_response *r, struct bench_answer *a)
{
    snprintf(a->error, sizeof a->error, CV_STR_FMT, CV_STR_ARG(r->error));
    size_t n = 0;
    for (size_t i = 0; i < r->n_metadata && n < sizeof a->head; i++)
        n += (size_t)snprintf(a->head + n, sizeof a->head - n, "%s" CV_STR_FMT "=" CV_STR_FMT, i ? " " : "",
                              CV_STR_ARG(r->metadata[i].key), CV_STR_ARG(r->metadata[i].val));
}

struct bench_answer bench_answer(struct bench *b, int64_t id)
{
    struct bench_answer a = { 0 };
    struct peer_stream *s = peer_stream(b->peer, id);
    size_t need;
    if (!s || s->in.n < 8 ||
        memcmp(s->in.p,
               "\x0a\x36\xcd\x12\xa1\x3e"
               "01",
               8) != 0 ||
        capnp_frame(s->in.p + 8, s->in.n - 8, 1 << 20, &need, NULL) || need > s->in.n - 8)
        return a;
    struct capnp_msg msg;
    struct schema_connect_response r;
    struct cv_buf scratch = { 0 };
    if (capnp_open(&msg, s->in.p + 8, need, NULL) == CV_OK &&
        schema_get_connect_response(capnp_root(&msg), &r, &scratch, NULL) == CV_OK) {
        a.whole = true;
        read_response(&r, &a);
        a.body = (struct cv_str){ (char *)s->in.p + 8 + need, s->in.n - 8 - need };
    }
    cv_buf_free(&scratch);
    return a;
}

/* ---- metrics ----------------------------------------------------------------------------------------- */

struct sum {
    const char *name, *value;
    double sum;
};

static void add_metric(void *arg, const struct cv_metric *m, const struct cv_str *values, const double *sums,
                       size_t n)
{
    struct sum *s = arg;
    (void)n;
    if (strcmp(m->name, s->name) != 0)
        return;
    bool match = !s->value;
    for (int i = 0; !match && m->labels && i < (strchr(m->labels, '|') ? 2 : 1); i++)
        match = cv_str_eq(values[i], cv_str_of(s->value));
    if (match)
        s->sum = (s->sum < 0 ? 0 : s->sum) + sums[0];
}

double bench_metric(const char *name, const char *value)
{
    struct sum s = { name, value, -1 };
    cv_metrics_each(add_metric, &s);
    return s.sum;
}
