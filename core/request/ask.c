/* ask.c: a request of our own to a rule's origin, with ourselves for an edge. */
#include "request/ask.h"
#include "request/route.h"
#include "request/stock.h"

#include <stdio.h>

struct cv_ask {
    struct cv_self self; /* the request's edge */
    struct cv_req *req;
    struct cv_timer timer;
    cv_asked_fn *done; /* NULL: has been called, or is no longer wanted */
    void *arg;
};

static void tell(struct cv_ask *ask, int status, enum cv_error error, const char *why)
{
    cv_asked_fn *done = ask->done;
    ask->done = NULL;
    if (done)
        done(ask->arg, status, error, why);
}

/* ---- its edge ---------------------------------------------------------------------------------------- */

static struct cv_ask *ask_of(const struct cv_self *self)
{
    return self->local;
}

/* The body is read to its end, so that the connection can be used again. */
static void readable(const struct cv_self *self, struct cv_req *req)
{
    (void)self;
    cv_pipe_consume(req->down, cv_pipe_held(req->down));
    if (cv_pipe_ended(req->down))
        cv_req_done(req);
}

static void head(const struct cv_self *self, struct cv_req *req)
{
    char why[256];
    snprintf(why, sizeof(why), CV_STR_FMT, CV_STR_ARG(req->error_text));
    tell(ask_of(self), req->error ? 0 : req->status, req->error, why);
    if (req->error || req->status == 101)
        cv_req_done(req);
    else
        readable(self, req);
}

static void credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)self, (void)req, (void)n;
}

static void closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    struct cv_ask *ask = ask_of(self);
    (void)req;
    cv_timer_clear(&ask->timer);
    tell(ask, 0, why ? why : CV_E_CANCEL, "");
    free(ask);
}

static const struct cv_edge_ops ops = { .head = head, .end = { readable, credit, closed } };
static const struct cv_module module = { .name = "ask", .edge = &ops };
static const struct cv_instance instance = { &module, "ask", 0, 0 };

bool request_is_ours(const struct request *r)
{
    return r->edge->instance == &instance;
}

/* ---- asking ------------------------------------------------------------------------------------------ */

static void on_timer(struct cv_timer *timer)
{
    struct cv_ask *ask = CV_OWNER(timer, struct cv_ask, timer);
    tell(ask, 0, CV_E_TIMEOUT, "took too long");
    cv_req_fail(ask->req, CV_E_CANCEL, "took too long");
}

static bool is_name(struct cv_str host)
{
    return host.n > 0 && host.p[0] != '*';
}

/* The one that the rule is of. */
static struct route_table *table_of(const struct cv_worker *w, const struct cv_rule *rule)
{
    struct route_table *second = w->routes[TUNNEL_SECOND];
    bool is_second = second && rule >= second->rules && rule < second->rules + second->n;
    return is_second ? second : w->routes[TUNNEL_FIRST];
}

struct cv_ask *cv_ask(const struct cv_self *self, const struct cv_rule *rule, struct cv_str path,
                      struct cv_ms limit, cv_asked_fn *done, void *arg)
{
    struct cv_worker *w = self->worker;
    struct stock *stock = w->stock;
    if (stock->asks_over)
        return NULL;
    struct cv_ask *ask = cv_xcalloc(1, sizeof(*ask));
    ask->self = (struct cv_self){ .local = ask, .worker = w, .instance = &instance };
    ask->done = done;
    ask->arg = arg;
    ask->timer.fire = on_timer;
    struct cv_req *req = ask->req =
        cv_req_new(&ask->self, NULL, rule->kind == CV_SERVICE_TCP ? CV_WEBSOCKET : CV_HTTP);
    req->rule = rule;
    request_of(req)->routes = route_table_ref(table_of(w, rule));
    req->method = CV_STR("GET");
    req->scheme = CV_STR("http");
    req->authority = cv_copy(req, is_name(rule->hostname) ? rule->hostname : rule->target.authority);
    req->path = cv_copy(req, path);
    req->body_length = 0;
    cv_header_add(req, req->headers, CV_STR("User-Agent"), CV_STR("culvert"));
    cv_pipe_finish(req->up);
    cv_timer_set(self, &ask->timer, limit);
    request_begin(req);
    return ask;
}

void cv_ask_cancel(struct cv_ask *ask)
{
    if (!ask)
        return;
    ask->done = NULL;
    cv_req_fail(ask->req, CV_E_CANCEL, "no longer wanted");
}

void asks_stop(struct cv_worker *w)
{
    struct stock *stock = w->stock;
    stock->asks_over = true;
    for (struct request *r = stock->open; r; r = r->next)
        if (request_is_ours(r))
            cv_req_fail(&r->pub, CV_E_CANCEL, "the worker stops");
}

void cv_rules_here(const struct cv_self *self, void (*fn)(void *arg, const struct cv_rule *), void *arg)
{
    for (size_t t = 0; t < TUNNELS; t++) {
        const struct route_table *table = self->worker->routes[t];
        for (size_t i = 0; table && i < table->n; i++)
            fn(arg, &table->rules[i]);
    }
}
