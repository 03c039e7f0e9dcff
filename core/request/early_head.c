/* early_head.c: heads that are sent before the origin's, and what becomes of the origin's afterwards. */
#include "request/early_head.h"
#include "request/api.h"
#include "request/chain.h"
#include "request/member.h"
#include "request/sse.h"
#include "request/stock.h"
#include "request/tally.h"

#include "culvert/wire.h"

#include <stdio.h>
#include <string.h>

enum {
    SCAN_MAX =
        16 * 1024 * 1024, /* bytes of a request that are looked at: the longest prompt is before "stream" */
    KEPT_MAX = 16 * 1024, /* of an answer that becomes an event */
    QUOTED_MAX = 512,     /* of an answer that is told in other words */
};

enum progress {
    ASKING,    /* nothing has been sent */
    SENT,      /* the early head; the origin has not answered */
    STREAMING, /* the origin sends events */
    KEEPING,   /* the origin sends what has to become an event */
    OVER
};

struct early_head {
    struct request *r;
    struct pipe_eye eye;   /* on the request's body   */
    struct pipe_trap trap; /* for the response's body */
    struct cv_timer timer;
    struct member_scan stream;
    uint64_t scanned;
    enum progress progress;
    bool wanted;        /* it asks for an event stream          */
    bool due;           /* it has waited long enough            */
    bool untold;        /* the filters have not seen the answer */
    bool json;          /* the answer says that it is           */
    int status;         /* of the answer                        */
    struct cv_buf kept; /* its body, so far                     */
};

/* ---- who wants one ----------------------------------------------------------------------------------- */

static void go_if_due(struct early_head *e)
{
    if (e->wanted && e->due)
        request_wake(e->r);
}

static void saw(struct pipe_eye *eye, const uint8_t *bytes, size_t n)
{
    struct early_head *e = CV_OWNER(eye, struct early_head, eye);
    member_scan(&e->stream, bytes, n);
    e->scanned += n;
    e->wanted |= e->stream.found;
    if (e->wanted || e->scanned > SCAN_MAX)
        e->r->up.eye = NULL;
    go_if_due(e);
}

/* What came while the filters were asked. */
static void look_back(struct early_head *e)
{
    struct iovec iov;
    for (size_t at = 0; cv_pipe_peek(&e->r->up, at, &iov, 1) && e->r->up.eye; at += iov.iov_len)
        saw(&e->eye, iov.iov_base, iov.iov_len);
}

static void on_timer(struct cv_timer *timer)
{
    struct early_head *e = CV_OWNER(timer, struct early_head, timer);
    e->due = true;
    go_if_due(e);
}

/* A body of that type, not packed. */
static bool is_plain_of(const struct cv_headers *h, struct cv_str type)
{
    struct cv_str coding = cv_header(h, CV_STR("content-encoding"));
    return (coding.n == 0 || cv_str_caseeq(coding, CV_STR("identity"))) &&
           sse_is_type(cv_header(h, CV_STR("content-type")), type);
}

void early_head_watch(struct request *r)
{
    const struct stock *stock = r->worker->stock;
    struct cv_req *req = &r->pub;
    bool accepts = sse_is_type(cv_header(req->headers, CV_STR("accept")), CV_STR("text/event-stream"));
    bool json =
        cv_str_eq(req->method, CV_STR("POST")) && is_plain_of(req->headers, CV_STR("application/json"));
    if (!stock->sse || stock->sse->early_head.ms == 0 || req->type != CV_HTTP || !(accepts || json) ||
        cv_str_eq(req->method, CV_STR("HEAD")))
        return;
    struct early_head *e = cv_alloc(req, sizeof(*e));
    e->r = r;
    e->wanted = accepts;
    e->timer.fire = on_timer;
    r->early_head = e;
    cv_timer_set(r->edge, &e->timer, stock->sse->early_head);
    if (accepts)
        return;
    e->stream = (struct member_scan){ .name = "stream", .value = "true" };
    e->eye.saw = saw;
    r->up.eye = &e->eye;
    look_back(e);
}

/* ---- the early head ---------------------------------------------------------------------------------- */

/* The origin's status and fields, which may come at any time from now on, are not to meet ours. */
static void send_head(struct early_head *e)
{
    struct request *r = e->r;
    struct cv_req *req = &r->pub;
    req->status = 200;
    req->resp_headers = cv_headers_new(req);
    cv_header_add(req, req->resp_headers, CV_STR("content-type"), CV_STR("text/event-stream"));
    cv_header_add(req, req->resp_headers, CV_STR("cache-control"), CV_STR("no-cache"));
    r->step = STEP_BODY;
    sse_watch(r);
    sse_begin(r);
    tally_head(r);
    r->edge->instance->module->edge->head(r->edge, req);
    if (req->error || r->edge_done)
        return;
    e->progress = SENT;
    req->status = 0;
    req->resp_headers = NULL;
    cv_add(metric(M_CULVERT_EARLY_HEADS, NULL), 1);
}

/* ---- what comes after it ----------------------------------------------------------------------------- */

/* The last event. The pipe takes it whatever is in it: nothing comes behind it. */
static void end_with(struct early_head *e, struct cv_str json)
{
    struct request *r = e->r;
    bool anthropic = api_shape_of(&r->pub) == API_ANTHROPIC;
    struct cv_buf event = { 0 };
    const char *head = anthropic ? "event: error\ndata: " : "data: ";
    cv_buf_add(&event, head, strlen(head));
    size_t from = event.n;
    cv_buf_add(&event, json.p, json.n);
    for (size_t i = from; i < event.n; i++)
        if (event.p[i] == '\n' || event.p[i] == '\r')
            event.p[i] = ' '; /* between two tokens, where JSON may have it */
    cv_buf_add(&event, "\n\n", 2);
    e->progress = OVER;
    r->down.trap = NULL;
    cv_pipe_limit(&r->down, cv_pipe_held(&r->down) + event.n);
    cv_pipe_write(&r->down, event.p, event.n);
    cv_pipe_finish(&r->down);
    cv_buf_free(&event);
}

static void end_with_error(struct early_head *e, int status, const char *code, struct cv_str text)
{
    end_with(e, cv_api_error(&e->r->pub, status, code, text));
}

/* Errors of either API have a member `error`. */
static bool is_error(struct cv_str json)
{
    struct member_scan s = { .name = "error" };
    member_scan(&s, (const uint8_t *)json.p, json.n);
    return s.found;
}

static void end_with_answer(struct early_head *e)
{
    struct cv_str body = { (const char *)e->kept.p, e->kept.n };
    if (e->json && body.n < KEPT_MAX && is_error(body)) {
        end_with(e, body);
        return;
    }
    size_t n = body.n < QUOTED_MAX ? body.n : QUOTED_MAX;
    struct cv_str text =
        cv_print(&e->r->pub, "The origin answered %d instead of a stream of events%s" CV_STR_FMT, e->status,
                 n ? ": " : ".", (int)n, body.n ? body.p : "");
    end_with_error(e, e->status < 400 ? 502 : e->status, "origin_answer", text);
}

static void took(struct pipe_trap *trap, const uint8_t *bytes, size_t n)
{
    struct early_head *e = CV_OWNER(trap, struct early_head, trap);
    size_t room = KEPT_MAX - e->kept.n;
    cv_buf_add(&e->kept, bytes, n < room ? n : room);
}

static void finished(struct pipe_trap *trap)
{
    end_with_answer(CV_OWNER(trap, struct early_head, trap));
}

bool early_head_responded(struct request *r)
{
    struct early_head *e = r->early_head;
    if (!e || e->progress != SENT)
        return false;
    e->untold = true;
    e->status = r->pub.status;
    e->json = is_plain_of(r->pub.resp_headers, CV_STR("application/json"));
    bool events = e->status == 200 && is_plain_of(r->pub.resp_headers, CV_STR("text/event-stream"));
    e->progress = events ? STREAMING : KEEPING; /* no length was promised: one of the origin's binds nobody */
    if (e->progress == KEEPING) {
        e->trap = (struct pipe_trap){ took, finished };
        r->down.trap = &e->trap;
    }
    request_wake(r);
    return true;
}

bool early_head_waits(const struct request *r)
{
    return r->early_head && r->early_head->progress == SENT;
}

bool early_head_failed(struct request *r, enum cv_error error)
{
    struct early_head *e = r->early_head;
    if (!e || error == CV_E_CANCEL || (e->progress != SENT && e->progress != KEEPING))
        return false;
    char code[64];
    snprintf(code, sizeof(code), "origin_%s", cv_error_name(error));
    r->failed = error;
    end_with_error(e, cv_error_status(error), code,
                   cv_print(&r->pub, "The request could not be served: %s.", cv_error_text(error)));
    return true;
}

/* ---- the end of a turn ------------------------------------------------------------------------------- */

/* What they answer changes nothing any more. */
static void tell_filters(struct early_head *e)
{
    struct request *r = e->r;
    e->untold = false;
    for (unsigned i = r->n_filtered; i-- > 0 && r->step == STEP_BODY;) {
        const struct cv_self *f = r->chain->filters[i];
        if (f->instance->module->filter->response)
            f->instance->module->filter->response(f, &r->pub);
    }
}

void early_head_run(struct request *r)
{
    struct early_head *e = r->early_head;
    bool silent = r->step == STEP_ORIGIN && !r->pub.status && !r->pub.resp_headers;
    if (e->progress == ASKING && e->wanted && e->due && silent)
        send_head(e);
    if (e->untold)
        tell_filters(e);
    if (e->progress == OVER)
        request_close_origin(r, r->failed);
}

void early_head_end(struct request *r)
{
    struct early_head *e = r->early_head;
    if (!e)
        return;
    r->early_head = NULL;
    r->up.eye = NULL;
    r->down.trap = NULL;
    cv_timer_clear(&e->timer);
    cv_buf_free(&e->kept);
    if (e->progress >= SENT)
        r->pub.status = 200; /* what the visitor has */
}
