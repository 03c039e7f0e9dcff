/* registrar.c: the core's own origin: takes Cloudflare's own streams and moves their bytes to and from RPC peers. */
#include "tunnel/registrar.h"
#include "tunnel/tunnel.h"

#include "request/state.h"

struct registrar_conf registrar_conf;

/* ---- bytes -------------------------------------------------------------------------------------------- */

void stream_flush(struct stream *s)
{
    struct cv_buf *out = rpc_out(s->rpc);
    size_t n = cv_pipe_write(s->req->down, out->p, out->n);
    cv_buf_take_front(out, n);
    if (rpc_closed(s->rpc) && out->n == 0 && !cv_pipe_finished(s->req->down))
        cv_pipe_finish(s->req->down);
}

static bool feed(struct stream *s, const struct iovec *v)
{
    struct cv_err err;
    enum cv_error e = rpc_feed(s->rpc, v->iov_base, v->iov_len, &err);
    if (e && e != CV_E_CANCEL)
        cv_log(s->self, CV_WARN, CV_FIELDS(CV_S("error", cv_str_of(err.text))),
               "The edge broke the RPC protocol");
    return !e;
}

void stream_pump(struct stream *s)
{
    struct cv_pipe *up = s->req->up;
    struct iovec v;
    while (cv_pipe_peek(up, 0, &v, 1) == 1) {
        if (!rpc_closed(s->rpc))
            feed(s, &v);
        cv_pipe_consume(up, v.iov_len);
    }
    if (cv_pipe_ended(up) && !rpc_closed(s->rpc))
        rpc_feed_end(s->rpc);
    stream_flush(s);
}

/* ---- configurations: to the main thread and back ------------------------------------------------------- */

struct errand {
    struct cv_worker *worker;
    const struct cv_self *self;
    enum tunnel_id tunnel;
    uint64_t req, ticket;
    int32_t version, applied;
    struct cv_str config; /* owned */
    char *error;          /* NULL: none; owned */
};

static void free_errand(struct errand *e)
{
    free((char *)e->config.p);
    free(e->error);
    free(e);
}

static struct stream **slot(const struct cv_self *self, struct cv_req *req)
{
    return cv_slot(req, self);
}

static void run_return(void *arg)
{
    struct errand *e = arg;
    struct cv_req *req =
        e->worker->stock ? request_find(e->worker, e->req) : NULL; /* NULL: it has been stopped */
    struct stream *s = req ? *slot(e->self, req) : NULL;
    struct config_outcome outcome = { e->applied, cv_str_of(e->error) };
    if (s)
        s->kind->configured(s, e->ticket, &outcome);
    free_errand(e);
}

static void on_outcome(void *arg, const struct config_outcome *outcome)
{
    struct errand *e = arg;
    if (!outcome) {
        free_errand(e);
        return;
    }
    e->applied = outcome->applied;
    e->error = outcome->error.n ? cv_xmemdup0(outcome->error.p, outcome->error.n) : NULL;
    cv_post(e->worker, run_return, e);
}

static void run_errand(void *arg)
{
    struct errand *e = arg;
    orchestrator_update(e->tunnel, e->version, e->config, on_outcome, e);
}

void stream_configure(struct stream *s, uint64_t ticket, int32_t version, struct cv_str config)
{
    struct errand *e = cv_xcalloc(1, sizeof(*e));
    e->worker = s->self->worker;
    e->self = s->self;
    e->tunnel = request_tunnel(request_of(s->req));
    e->req = s->req->id;
    e->ticket = ticket;
    e->version = version;
    e->config = (struct cv_str){ cv_xmemdup0(config.p, config.n), config.n };
    cv_post(registrar_conf.main, run_errand, e);
}

/* ---- the module ---------------------------------------------------------------------------------------- */

static bool match(const struct cv_self *self, const struct cv_req *req)
{
    (void)self;
    bool ours = req->type == CV_CONTROL || req->type == CV_RPC || req->type == CV_CONFIG;
    return ours && (!req->conn || connection_of(req->conn)->credentials);
}

static void open_stream(const struct cv_self *self, struct cv_req *req)
{
    const struct stream_kind *kind = req->type == CV_CONTROL ? &control_stream
                                     : req->type == CV_RPC   ? &rpc_stream
                                                             : &config_stream;
    struct stream *s = cv_alloc(req, kind->size);
    *s = (struct stream){ .kind = kind, .req = req, .self = self };
    *slot(self, req) = s;
    kind->open(s);
}

static void readable(const struct cv_self *self, struct cv_req *req)
{
    struct stream *s = *slot(self, req);
    s->kind->readable(s);
}

static void credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)n;
    struct stream *s = *slot(self, req);
    if (s->rpc)
        stream_flush(s);
}

static void closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)why;
    struct stream *s = *slot(self, req);
    s->kind->closed(s);
    rpc_free(s->rpc);
    *slot(self, req) = NULL;
}

static const struct cv_origin_ops origin = {
    .match = match,
    .open = open_stream,
    .end = { .readable = readable, .credit = credit, .closed = closed },
};

CV_MODULE(registrar, .summary = "Registration with Cloudflare's edge, and the configurations that it sends.",
          .slot_size = sizeof(struct stream *), .origin = &origin);
