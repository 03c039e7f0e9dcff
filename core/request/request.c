/* request.c: the life of a request: made by an edge, woken at the end of a turn, failed, closed. */
#include "request/api.h"
#include "request/ask.h"
#include "request/body_limit.h"
#include "request/chain.h"
#include "request/early.h"
#include "request/early_head.h"
#include "request/route.h"
#include "request/say.h"
#include "request/sse.h"
#include "request/state.h"
#include "request/stock.h"
#include "request/tally.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct cv_option limits_options[] = {
    CV_OPT(struct limits_conf, memory, "256M",
           "Bytes under way that one worker may hold; beyond it new requests are answered 503.",
           .flags = CV_LIVE),
    CV_OPT(struct limits_conf, requests, "20000",
           "Open requests of one worker; beyond it new ones are answered 503.", .flags = CV_LIVE, .min = 1,
           .max = 1000000),
    CV_OPT(struct limits_conf, pipe, "96k",
           "Bytes that one direction of one request holds for a slow reader.", .flags = CV_LIVE),
    CV_OPT(struct limits_conf, request_body, "0",
           "Bytes of a request's body that are accepted; a longer one is answered 413, and no more of it "
           "reaches the origin. 0: any number. WebSockets and TCP streams have no such limit.",
           .flags = CV_LIVE),
    CV_OPT_END
};

/* ---- the thread's part ------------------------------------------------------------------------------- */

static struct stock *stock_of(const struct request *r)
{
    return r->worker->stock;
}

void requests_setup(struct cv_worker *w, const struct limits_conf *limits)
{
    struct stock *stock = cv_xcalloc(1, sizeof(*stock));
    stock->limits = limits;
    stock->next_id = (uint64_t)w->index << 48 | 1; /* unique in the process without a shared counter */
    stock->pipe_memory = metric(M_CULVERT_PIPE_BYTES, NULL);
    tally_setup(&stock->tallies);
    w->stock = stock;
    w->scratch = route_scratch_new();
    w->run_ready = requests_run;
}

void requests_teardown(struct cv_worker *w)
{
    struct stock *stock = w->stock;
    if (!stock)
        return;
    CV_ASSERT(!stock->open);
    early_teardown(w);
    stock_free_blocks(stock);
    stock_free_chunks(stock);
    tally_teardown(&stock->tallies);
    free(stock);
    w->stock = NULL;
    route_scratch_free(w->scratch);
    w->scratch = NULL;
    for (size_t i = 0; i < TUNNELS; i++) {
        route_table_unref(w->routes[i]);
        w->routes[i] = NULL;
    }
}

void requests_limit(struct cv_worker *w, const struct limits_conf *limits)
{
    struct stock *stock = w->stock;
    stock->limits = limits;
}

void requests_heartbeat(struct cv_worker *w, const struct sse_conf *conf)
{
    struct stock *stock = w->stock;
    stock->sse = conf;
}

void requests_wait_for_rules(struct cv_worker *w, struct cv_ms limit)
{
    struct stock *stock = w->stock;
    for (size_t i = 0; i < TUNNELS; i++)
        stock->early[i].limit = limit;
}

void requests_name_errors(struct cv_worker *w, bool on)
{
    struct stock *stock = w->stock;
    stock->name_errors = on;
}

void requests_api_errors(struct cv_worker *w, bool on)
{
    struct stock *stock = w->stock;
    stock->api_errors = on;
}

static bool keeps_chain(const struct request *r)
{
    return r->pub.type < CV_CONTROL;
}

void requests_rechain(struct cv_worker *w, uint32_t epoch)
{
    struct stock *stock = w->stock;
    w->epoch = epoch;
    for (struct request *r = stock->open; r; r = r->next) {
        if (keeps_chain(r))
            continue;
        if (r->step <= STEP_FILTER)
            r->at = (unsigned)w->chain->n_filters;
        r->chain = w->chain;
    }
}

uint32_t requests_oldest(const struct cv_worker *w)
{
    const struct stock *stock = w->stock;
    uint32_t oldest = w->epoch;
    for (const struct request *r = stock->open; r; r = r->next)
        if (keeps_chain(r) && r->epoch < oldest)
            oldest = r->epoch;
    return oldest;
}

void requests_set_routes(struct cv_worker *w, enum tunnel_id tunnel, struct route_table *table_take)
{
    route_table_unref(w->routes[tunnel]);
    w->routes[tunnel] = table_take;
    if (w->stock && !table_take->none)
        early_go(w, tunnel);
}

void requests_yield(struct cv_worker *w, bool yields)
{
    struct stock *stock = w->stock;
    stock->yields = yields;
}

enum tunnel_id request_tunnel(const struct request *r)
{
    const struct conn_base *conn = (const struct conn_base *)r->pub.conn;
    return conn ? conn->tunnel : TUNNEL_FIRST;
}

struct cv_req *request_find(struct cv_worker *w, uint64_t id)
{
    struct stock *stock = w->stock;
    for (struct request *r = stock->open; r; r = r->next)
        if (r->pub.id == id)
            return r->step == STEP_CLOSE ? NULL : &r->pub;
    return NULL;
}

/* ---- lists ------------------------------------------------------------------------------------------- */

static void link_request(struct request *r)
{
    struct stock *stock = stock_of(r);
    r->next = stock->open;
    if (r->next)
        r->next->prev = r;
    stock->open = r;
    struct conn_base *conn = (struct conn_base *)r->pub.conn;
    if (!conn)
        return;
    r->conn_next = conn->requests;
    if (r->conn_next)
        r->conn_next->conn_prev = r;
    conn->requests = r;
    conn->open++;
}

static void unlink_request(struct request *r)
{
    struct stock *stock = stock_of(r);
    *(r->prev ? &r->prev->next : &stock->open) = r->next;
    if (r->next)
        r->next->prev = r->prev;
    struct conn_base *conn = (struct conn_base *)r->pub.conn;
    if (!conn)
        return;
    *(r->conn_prev ? &r->conn_prev->conn_next : &conn->requests) = r->conn_next;
    if (r->conn_next)
        r->conn_next->conn_prev = r->conn_prev;
    conn->open--;
}

void request_wake(struct request *r)
{
    struct cv_worker *w = r->worker;
    if (r->ready)
        return;
    r->ready = true;
    r->next_ready = NULL;
    *w->ready_last = r;
    w->ready_last = &r->next_ready;
    worker_end_of_turn(w);
}

/* ---- made and filled --------------------------------------------------------------------------------- */

struct cv_req *cv_req_new(const struct cv_self *edge, struct cv_conn *conn, enum cv_req_type type)
{
    struct cv_worker *w = edge->worker;
    struct stock *stock = w->stock;
    struct arena arena = { .worker = w };
    struct request *r = arena_alloc(&arena, sizeof(*r) + w->chain->slot_bytes);
    r->arena = arena;
    r->worker = w;
    r->edge = edge;
    r->chain = w->chain;
    r->epoch = w->epoch;
    r->pub = (struct cv_req){ .magic = REQ_MAGIC,
                              .type = type,
                              .id = stock->next_id++,
                              .conn = conn,
                              .body_length = CV_BODY_STREAM,
                              .up = &r->up,
                              .down = &r->down };
    pipe_init(&r->up, r, stock->limits->pipe.n);
    pipe_init(&r->down, r, stock->limits->pipe.n);
    link_request(r);
    r->pub.headers = cv_headers_new(&r->pub);
    return &r->pub;
}

void *cv_alloc(struct cv_req *req, size_t n)
{
    return arena_alloc(&request_of(req)->arena, n);
}

void *cv_slot(struct cv_req *req, const struct cv_self *self)
{
    return request_of(req)->slots + self->instance->slot_at;
}

struct cv_str cv_copy(struct cv_req *req, struct cv_str s)
{
    if (s.n == 0)
        return (struct cv_str){ "", 0 };
    char *p = cv_alloc(req, s.n);
    memcpy(p, s.p, s.n);
    return (struct cv_str){ p, s.n };
}

__attribute__((format(printf, 2, 0))) static struct cv_str print_va(struct cv_req *req, const char *fmt,
                                                                    va_list args)
{
    char text[1024];
    int n = vsnprintf(text, sizeof(text), fmt, args);
    size_t used = n < 0 ? 0 : n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1;
    return cv_copy(req, (struct cv_str){ text, used });
}

struct cv_str cv_print(struct cv_req *req, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct cv_str s = print_va(req, fmt, args);
    va_end(args);
    return s;
}

/* ---- steps that a caller asks for --------------------------------------------------------------------- */

static void go(struct request *r, enum step step)
{
    r->step = step;
    r->stepping = true;
    request_wake(r);
}

void cv_req_start(struct cv_req *req)
{
    struct request *r = request_of(req);
    if (req->error)
        return;
    CV_ASSERT(r->step == STEP_NEW);
    if (req->type == CV_HTTP || req->type == CV_WEBSOCKET || req->type == CV_TCP)
        tally_begin(r);
    tally_open(r);
    go(r, STEP_START);
}

void request_begin(struct cv_req *req)
{
    struct request *r = request_of(req);
    r->at = (unsigned)r->chain->n_filters;
    go(r, STEP_FILTER);
}

void cv_req_resume(struct cv_req *req)
{
    struct request *r = request_of(req);
    if (r->step != STEP_FILTER && r->step != STEP_RESPOND)
        return; /* failed while the filter waited */
    r->stepping = true;
    request_wake(r);
}

void cv_req_respond(struct cv_req *req)
{
    struct request *r = request_of(req);
    if (req->error || (r->step != STEP_ORIGIN && !r->early_head))
        return;
    if (!req->resp_headers)
        req->resp_headers = cv_headers_new(req);
    if (early_head_responded(r) || r->step != STEP_ORIGIN)
        return;
    r->at = r->n_filtered;
    tally_answered(r);
    sse_watch(r);
    go(r, STEP_RESPOND);
}

void cv_req_reply(struct cv_req *req, int status, struct cv_str body)
{
    struct request *r = request_of(req);
    if (req->error || r->step >= STEP_HEAD)
        return;
    req->status = status;
    if (!req->resp_headers)
        req->resp_headers = cv_headers_new(req);
    sse_end(r);
    early_head_end(r);
    pipe_kill(&r->down); /* what an origin may have said already */
    pipe_init(&r->down, r, stock_of(r)->limits->pipe.n);
    cv_pipe_write(&r->down, body.p, body.n);
    cv_pipe_finish(&r->down);
    r->replied = true;
    go(r, STEP_HEAD);
}

void cv_req_done(struct cv_req *req)
{
    struct request *r = request_of(req);
    r->edge_done = true;
    if (r->step != STEP_CLOSE)
        go(r, STEP_CLOSE);
}

/* ---- failing ----------------------------------------------------------------------------------------- */

/* Who had the request when it failed. */
static const char *layer_of(const struct request *r)
{
    bool in_filters = r->step == STEP_RESPOND || (r->step == STEP_FILTER && r->at < r->chain->n_filters);
    return in_filters ? "filter" : r->origin ? "origin" : "connector";
}

static void failure_head(struct request *r)
{
    struct cv_req *req = &r->pub;
    req->status = cv_error_status(req->error);
    req->resp_headers = cv_headers_new(req);
    if (stock_of(r)->name_errors && req->type != CV_TCP)
        cv_header_set(req, req->resp_headers, CV_STR("culvert-error"),
                      cv_print(req, "%s_%s", layer_of(r), cv_error_name(req->error)));
}

/* Not the text of the log: that names addresses, which are no visitor's business. */
static void answer_failure(struct request *r, enum cv_error e)
{
    struct cv_req *req = &r->pub;
    int status = cv_error_status(e);
    char code[64];
    snprintf(code, sizeof(code), "%s_%s", layer_of(r), cv_error_name(e));
    api_refuse(req, status, code, (struct cv_ms){ status == 503 ? 1000 : 0 },
               cv_print(req, "The request could not be served: %s.", cv_error_text(e)));
}

static void fail(struct request *r, enum cv_error e, struct cv_str text)
{
    struct cv_req *req = &r->pub;
    req->error = e;
    req->error_text = text;
    req->origin_failed = r->origin && (r->step == STEP_ORIGIN || early_head_waits(r));
    if (!request_is_ours(r))
        say_failure(r);
    tally_failed(r, e);
    if (early_head_failed(r, e)) {
        req->error = CV_OK;
        return;
    }
    bool as_api = stock_of(r)->api_errors && req->type == CV_HTTP && !request_is_ours(r) && api_shape_of(req);
    bool answers = e != CV_E_CANCEL && r->step < STEP_BODY && r->step != STEP_NEW;
    if (answers && as_api && r->step < STEP_HEAD) {
        req->error = CV_OK;
        r->failed = e;
        answer_failure(r, e);
        return;
    }
    pipe_kill(&r->up);
    r->down.dead = true; /* its bytes stay until closed(): a transport may point to them until then */
    if (answers)
        failure_head(r);
    go(r, answers ? STEP_HEAD : STEP_CLOSE);
}

void cv_req_fail(struct cv_req *req, enum cv_error e, const char *fmt, ...)
{
    struct request *r = request_of(req);
    CV_ASSERT(e > CV_OK && e < CV_E_MAX);
    if (r->step == STEP_CLOSE)
        return;
    if (req->error) { /* while its failure was on the way out: only an edge that left changes anything */
        if (e == CV_E_CANCEL)
            go(r, STEP_CLOSE);
        return;
    }
    va_list args;
    va_start(args, fmt);
    struct cv_str text = print_va(req, fmt, args);
    va_end(args);
    fail(r, e, text);
}

void requests_fail_all(struct conn_base *conn, enum cv_error e, const char *why)
{
    (void)e;
    for (struct request *r = conn->requests; r; r = r->conn_next) {
        r->blamed = SIDE_EDGE;
        cv_req_fail(&r->pub, CV_E_CANCEL, "%s", why); /* nobody is left to be answered */
    }
}

/* ---- the end of a turn ------------------------------------------------------------------------------- */

static void tell_observers(struct request *r, enum cv_error why)
{
    struct cv_event event = { .what = CV_EV_REQ_END, .conn = r->pub.conn, .req = &r->pub, .why = why };
    for (size_t i = 0; i < r->chain->n_observers; i++) {
        const struct cv_self *o = r->chain->observers[i];
        if (o->instance->module->observer->event)
            o->instance->module->observer->event(o, &event);
    }
}

/* closed() to the origin, the filters that saw the request, the edge; then nothing is left of it. */
static void close_request(struct request *r)
{
    struct cv_req *req = &r->pub;
    struct cv_worker *w = r->worker;
    struct conn_base *conn = (struct conn_base *)req->conn;
    enum cv_error why = req->error ? req->error : r->failed;
    sse_end(r);
    early_head_end(r);
    pipe_kill(&r->up);
    pipe_kill(&r->down);
    request_close_origin(r, why);
    for (unsigned i = r->n_filtered; i-- > 0;) {
        const struct cv_self *f = r->chain->filters[i];
        if (f->instance->module->filter->closed)
            f->instance->module->filter->closed(f, req, why);
    }
    if (r->counted)
        tell_observers(r, why);
    r->edge->instance->module->edge->end.closed(r->edge, req, r->edge_done ? CV_OK : req->error);
    if (r->counted)
        tally_end(r);
    if (conn && req->type <= CV_TCP)
        conn->ended++;
    tally_closed(r);
    unlink_request(r);
    route_table_unref(r->routes);
    struct arena arena = r->arena; /* the request itself lies in it */
    arena.worker = w;
    arena_free(&arena);
    if (conn && conn->open == 0 && conn->idle)
        conn->idle(conn);
}

static void deliver_pipes(struct request *r)
{
    struct cv_req *req = &r->pub;
    const struct cv_end *edge = &r->edge->instance->module->edge->end;
    size_t n = r->up.news;
    if (n) {
        r->up.news = 0;
        edge->credit(r->edge, req, n);
    }
    if (r->origin && r->up.readable && !req->error) {
        r->up.readable = false;
        r->origin->instance->module->origin->end.readable(r->origin, req);
    }
    n = r->down.news;
    if (r->origin && n && !req->error) {
        r->down.news = 0;
        r->origin->instance->module->origin->end.credit(r->origin, req, n);
    }
    if (r->step == STEP_BODY && r->down.readable && !req->error) {
        r->down.readable = false;
        edge->readable(r->edge, req);
    }
}

static void run_request(struct request *r)
{
    body_limit_passed(r); /* before the origin sees what has come */
    while (r->stepping && r->step != STEP_CLOSE)
        chain_step(r);
    if (r->early_head)
        early_head_run(r);
    if (r->step != STEP_CLOSE && r->step != STEP_NEW)
        deliver_pipes(r);
    if (r->step == STEP_CLOSE) {
        if (r->ready) /* asked to be woken by its own callbacks: that is now */
            return;
        close_request(r);
    }
}

void requests_run(struct cv_worker *w)
{
    struct request *r = w->ready_first; /* those that are woken from here on wait for the next round */
    w->ready_first = NULL;
    w->ready_last = &w->ready_first;
    while (r) {
        struct request *next = r->next_ready;
        r->ready = false;
        run_request(r);
        r = next;
    }
}
