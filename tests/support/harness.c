/* harness.c: a worker turned by hand, with a scripted edge, origin and filters that log what they are told. */
#include "harness.h"

#include "request/stock.h"

#include "request/route.h"

#include <string.h>

static struct harness *h;

static void say(char *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(char *log, const char *fmt, ...)
{
    size_t n = strlen(log);
    va_list args;
    if (n + 2 > sizeof(h->edge_log))
        return; /* full */
    va_start(args, fmt);
    if (n)
        log[n++] = ' ';
    vsnprintf(log + n, sizeof(h->edge_log) - n, fmt, args);
    va_end(args);
}

/* ---- edge -------------------------------------------------------------------------------------------- */

static void edge_head(const struct cv_self *self, struct cv_req *req)
{
    (void)self;
    say(h->edge_log, "head:%d", req->status);
    if (h->in_head)
        h->in_head(req);
}

static void edge_readable(const struct cv_self *self, struct cv_req *req)
{
    (void)self;
    say(h->edge_log, cv_pipe_ended(req->down) ? "end" : "readable:%zu", cv_pipe_held(req->down));
}

static void edge_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)self;
    (void)req;
    say(h->edge_log, "credit:%zu", n);
}

static void edge_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)self;
    (void)req;
    say(h->edge_log, "closed:%s", cv_error_name(why));
}

static const struct cv_edge_ops edge_ops = { .head = edge_head,
                                             .end = { edge_readable, edge_credit, edge_closed } };

/* ---- origin ------------------------------------------------------------------------------------------ */

static bool origin_match(const struct cv_self *self, const struct cv_req *req)
{
    (void)self;
    (void)req;
    return true;
}

static void origin_open(const struct cv_self *self, struct cv_req *req)
{
    (void)self;
    say(h->origin_log, "open");
    if (h->in_open) {
        h->in_open(req);
    } else if (h->origin_responds) {
        req->status = 200;
        cv_req_respond(req);
        cv_pipe_finish(req->down);
    }
}

static void origin_readable(const struct cv_self *self, struct cv_req *req)
{
    (void)self;
    say(h->origin_log, cv_pipe_ended(req->up) ? "end" : "readable:%zu", cv_pipe_held(req->up));
}

static void origin_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)self;
    (void)req;
    say(h->origin_log, "credit:%zu", n);
}

static void origin_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)self;
    (void)req;
    say(h->origin_log, "closed:%s", cv_error_name(why));
}

static const struct cv_origin_ops origin_ops = { .match = origin_match,
                                                 .open = origin_open,
                                                 .end = { origin_readable, origin_credit, origin_closed } };

/* ---- filters ----------------------------------------------------------------------------------------- */

static enum cv_next filter_request(const struct cv_self *self, struct cv_req *req)
{
    say(h->filter_log, "request%u", self->instance->id);
    if (h->request_says == CV_STOP)
        cv_req_reply(req, 401, CV_STR("no"));
    return h->request_says;
}

static enum cv_next filter_response(const struct cv_self *self, struct cv_req *req)
{
    (void)req;
    say(h->filter_log, "response%u", self->instance->id);
    return h->response_says;
}

static void filter_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)req;
    say(h->filter_log, "closed%u:%s", self->instance->id, cv_error_name(why));
}

static const struct cv_filter_ops filter_ops = { .request = filter_request,
                                                 .response = filter_response,
                                                 .closed = filter_closed };

/* ---- the worker -------------------------------------------------------------------------------------- */

static const struct cv_module edge_module = { .name = "edge", .edge = &edge_ops };
static const struct cv_module origin_module = { .name = "origin", .origin = &origin_ops };
static const struct cv_module filter_module = { .name = "filter", .filter = &filter_ops };
static const struct cv_instance instances[] = { { .module = &edge_module, .name = "edge", .id = 0 },
                                                { .module = &origin_module, .name = "origin", .id = 1 },
                                                { .module = &filter_module, .name = "filter", .id = 2 },
                                                { .module = &filter_module, .name = "filter", .id = 3 } };

static struct route_table *one_rule(void)
{
    struct route_table *t = cv_xcalloc(1, sizeof(*t));
    t->refs = 1;
    t->n = 1;
    t->rules = bump_array(&t->mem, 1, sizeof(*t->rules));
    t->rules[0] = (struct cv_rule){ .kind = CV_SERVICE_HTTP, .service = CV_STR("http://127.0.0.1:1") };
    return t;
}

struct harness *harness_new(unsigned n_filters)
{
    h = cv_xcalloc(1, sizeof(*h));
    h->limits = (struct limits_conf){ .memory = { 1 << 20 }, .requests = 3, .pipe = { 50000 } };
    h->worker = worker_new(0);
    for (size_t i = 0; i < 4; i++)
        h->selfs[i] = (struct cv_self){ .worker = h->worker, .instance = &instances[i] };
    h->origins[0] = &h->selfs[1];
    h->filters[0] = &h->selfs[2];
    h->filters[1] = &h->selfs[3];
    h->chain = (struct chain){
        .filters = h->filters, .n_filters = n_filters, .origins = h->origins, .n_origins = 1, .slot_bytes = 64
    };
    h->worker->selfs = h->selfs;
    h->worker->chain = &h->chain;
    requests_setup(h->worker, &h->limits);
    requests_set_routes(h->worker, TUNNEL_FIRST, one_rule());
    return h;
}

void harness_require_access(struct harness *harness)
{
    struct route_table *t = one_rule();
    t->rules[0].access_required = true;
    requests_set_routes(harness->worker, TUNNEL_FIRST, t);
}

void harness_free(struct harness *harness)
{
    requests_teardown(harness->worker);
    worker_free(harness->worker);
    metrics_free();
    free(harness);
    h = NULL;
}

unsigned harness_open(const struct harness *harness)
{
    return ((const struct stock *)harness->worker->stock)->n_open;
}

void harness_turn(struct harness *harness)
{
    for (int i = 0; i < 100; i++)
        event_base_loop(harness->worker->base, EVLOOP_NONBLOCK);
}

struct cv_req *harness_request(struct harness *harness, enum cv_req_type type)
{
    struct cv_req *req = cv_req_new(&harness->selfs[0], NULL, type);
    req->method = CV_STR("GET");
    req->path = CV_STR("/");
    req->authority = CV_STR("a.example.com");
    return req;
}
