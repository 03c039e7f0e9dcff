/* chain.c: the way of a request: its rule, the filters, an origin; and of the answer: the filters in reverse, the edge.
 * One step at a time, each at the end of a turn, so that no module is called from inside its own call. */
#include "request/chain.h"
#include "request/body_limit.h"
#include "request/early.h"
#include "request/early_head.h"
#include "request/route.h"
#include "request/say.h"
#include "request/sse.h"
#include "request/stock.h"
#include "request/tally.h"

static void next_step(struct request *r, enum step step)
{
    r->step = step;
    r->stepping = true;
}

/* ---- towards the origin ------------------------------------------------------------------------------ */

static const char *limit_reached(const struct request *r)
{
    const struct stock *stock = r->worker->stock;
    if (stock->n_open > (unsigned)stock->limits->requests)
        return "requests";
    return stock_over_memory(stock) ? "memory" : NULL;
}

/* The first tunnel is up, and serves this one. */
static bool yields(const struct request *r, enum tunnel_id tunnel)
{
    const struct stock *stock = r->worker->stock;
    return stock->yields && tunnel == TUNNEL_SECOND && r->pub.type != CV_TCP &&
           route_names(r->worker->routes[TUNNEL_FIRST], r->pub.authority);
}

static void choose_rule(struct request *r)
{
    struct cv_req *req = &r->pub;
    enum tunnel_id tunnel = request_tunnel(r);
    if (yields(r, tunnel)) {
        cv_req_fail(
            req, CV_E_REFUSED,
            "the first tunnel is up and serves this hostname; [failover] overlap = yes serves it here "
            "too");
        return;
    }
    r->routes = route_table_ref(r->worker->routes[tunnel]);
    if (req->type == CV_TCP) { /* private-network streams name their destination themselves */
        req->rule = &r->routes->network;
    } else {
        req->rule = route_match(r->routes, req->authority, req->path, r->worker->scratch);
        if (!req->rule) {
            cv_req_fail(req, CV_E_LIMIT, "no ingress rule could be decided for this path within the limits");
            return;
        }
    }
    say_request(r);
    body_limit_set(r);
    if (body_limit_passed(r))
        return;
    r->at = 0;
    next_step(r, STEP_FILTER);
}

static void start(struct request *r)
{
    if (!r->counted) { /* the edge's own streams: no limits, no filters, no rules */
        r->at = (unsigned)r->chain->n_filters;
        next_step(r, STEP_FILTER);
        return;
    }
    const char *limit = limit_reached(r);
    if (limit) {
        cv_add(METRIC(M_CULVERT_REFUSED, cv_str_of(limit)), 1);
        cv_req_fail(&r->pub, CV_E_LIMIT, "the limit of this connector on %s was reached", limit);
    } else if (!early_waits(r)) {
        choose_rule(r);
    }
}

static void open_origin(struct request *r)
{
    struct cv_req *req = &r->pub;
    if (req->rule && req->rule->access_required && !r->chain->enforces_access) {
        cv_req_fail(req, CV_E_DENIED,
                    "the rule requires Cloudflare Access and no module enforces it: add the section "
                    "[access_headers] to the ini");
        return;
    }
    if (req->rule && req->rule->barred.n) {
        cv_req_fail(req, CV_E_DENIED, "rule %d is barred: " CV_STR_FMT, req->rule->index,
                    CV_STR_ARG(req->rule->barred));
        return;
    }
    if (req->rule && req->rule->kind == CV_SERVICE_STATUS) {
        if (req->rule->implicit)
            cv_log(r->edge, CV_WARN, NULL,
                   "No ingress rules were defined in provided config (if any) nor from the cli, cloudflared "
                   "will "
                   "return 503 for all incoming HTTP requests");
        cv_req_reply(req, req->rule->status, (struct cv_str){ NULL, 0 });
        return;
    }
    for (size_t i = 0; i < r->chain->n_origins; i++) {
        const struct cv_self *o = r->chain->origins[i];
        const struct cv_origin_ops *ops = o->instance->module->origin;
        if (!ops->match(o, req))
            continue;
        r->origin = o;
        r->step = STEP_ORIGIN;
        tally_asked(r);
        early_head_watch(r);
        ops->open(o, req);
        return;
    }
    cv_req_fail(req, CV_E_REFUSED, "no module serves the service " CV_STR_FMT,
                CV_STR_ARG(req->rule ? req->rule->service : CV_STR("of this stream")));
}

/* What the filter `at` says of the request or of the response; a filter that waited has said its part. */
static enum cv_next ask_filter(struct request *r, const struct cv_self *f, bool response)
{
    const struct cv_filter_ops *ops = f->instance->module->filter;
    enum cv_next (*op)(const struct cv_self *, struct cv_req *) = response ? ops->response : ops->request;
    enum step step = r->step;
    if (r->waited || !op) {
        r->waited = false;
        return CV_PASS;
    }
    enum cv_next next = op(f, &r->pub);
    if (r->step != step)
        return CV_STOP; /* answered or failed, whatever it returned */
    if (next == CV_STOP)
        cv_req_fail(&r->pub, CV_E_CONF, "the filter %s stopped the request without an answer",
                    f->instance->name);
    r->waited = next == CV_WAIT;
    return next;
}

static void filter_request(struct request *r)
{
    if (r->at == r->chain->n_filters) {
        open_origin(r);
        return;
    }
    const struct cv_self *f = r->chain->filters[r->at];
    r->n_filtered = r->at + 1;
    if (ask_filter(r, f, false) == CV_PASS) {
        r->at++;
        r->stepping = true;
    }
}

/* ---- back to the edge -------------------------------------------------------------------------------- */

static void filter_response(struct request *r)
{
    if (r->at == 0) {
        next_step(r, STEP_HEAD);
        return;
    }
    if (ask_filter(r, r->chain->filters[r->at - 1], true) == CV_PASS) {
        r->at--;
        r->stepping = true;
    }
}

void request_close_origin(struct request *r, enum cv_error why)
{
    const struct cv_self *o = r->origin;
    if (!o)
        return;
    r->origin = NULL;
    o->instance->module->origin->end.closed(o, &r->pub, why);
}

static void give_head(struct request *r)
{
    say_answer(r);
    if (r->pub.error || r->replied) /* the origin has nothing more to say */
        request_close_origin(r, r->pub.error);
    r->step = STEP_BODY;
    r->down.readable = r->down.held > 0 || r->down.finished;
    sse_begin(r);
    tally_head(r);
    r->edge->instance->module->edge->head(r->edge, &r->pub);
}

void chain_step(struct request *r)
{
    r->stepping = false;
    switch (r->step) {
    case STEP_START: start(r); break;
    case STEP_FILTER: filter_request(r); break;
    case STEP_RESPOND: filter_response(r); break;
    case STEP_HEAD: give_head(r); break;
    case STEP_NEW:
    case STEP_ORIGIN:
    case STEP_BODY:
    case STEP_CLOSE: break;
    }
}
