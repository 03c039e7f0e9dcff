/* sse.c: event streams: their events are timed, and those that lie still get a sign of life. */
#include "request/sse.h"
#include "request/event_scan.h"
#include "request/stock.h"
#include "request/tally.h"

#include <string.h>

const struct cv_option sse_options[] = {
    CV_OPT(
        struct sse_conf, heartbeat, "0s",
        "How long a text/event-stream may lie still before it gets a sign of life between two events: a "
        "comment, or on /v1/messages the event ping. The edge cuts what is still for about 100 s; 15s suits. "
        "0: never.",
        .flags = CV_LIVE),
    CV_OPT(
        struct sse_conf, early_head, "0s",
        "After how long without an answer the visitor gets the head of an event stream, if the request asked "
        "for one: by \"stream\": true in its JSON or by its Accept. An origin that then answers otherwise is "
        "told of by an event. The edge gives up after about 100 s; 60s suits. Needs heartbeat. 0: never.",
        .flags = CV_LIVE),
    CV_OPT_END
};

enum cv_error sse_check(const void *opaque, struct cv_err *err)
{
    const struct sse_conf *c = opaque;
    if (c->early_head.ms > 0 && c->heartbeat.ms == 0)
        return cv_conf_fail(err, c, "early_head", "needs a heartbeat, or the edge gives up a little later");
    return CV_OK;
}

struct sse {
    struct request *r;
    struct pipe_eye eye;
    struct cv_timer timer;
    struct cv_str sign;
    struct event_scan scan;
    int64_t event_at; /* when the last event ended, tally_events(); 0: there was none */
    bool ours;        /* what comes is a sign of life, no event of the origin */
    int64_t moved;    /* when bytes last came */
    uint8_t last[3];  /* of all bytes, the newest at the end; 0: there was none */
};

/* ---- which streams ------------------------------------------------------------------------------------ */

bool sse_is_type(struct cv_str value, struct cv_str type)
{
    if (value.n < type.n || !cv_str_caseeq((struct cv_str){ value.p, type.n }, type))
        return false;
    return value.n == type.n || memchr("; \t", value.p[type.n], 3);
}

/* A body that is packed, or promises its length, must not be added to. */
bool sse_is_stream(const struct cv_req *req)
{
    struct cv_str coding = cv_header(req->resp_headers, CV_STR("content-encoding"));
    return req->status == 200 &&
           sse_is_type(cv_header(req->resp_headers, CV_STR("content-type")), CV_STR("text/event-stream")) &&
           (coding.n == 0 || cv_str_caseeq(coding, CV_STR("identity"))) &&
           cv_header(req->resp_headers, CV_STR("content-length")).p == NULL;
}

static struct cv_str sign_for(const struct cv_req *req)
{
    static const struct cv_str messages = { "/v1/messages", 12 };
    bool anthropic = req->path.n >= messages.n && memcmp(req->path.p, messages.p, messages.n) == 0 &&
                     (req->path.n == messages.n || req->path.p[messages.n] == '?');
    return anthropic ? CV_STR("event: ping\ndata: {\"type\": \"ping\"}\n\n") : CV_STR(":\n\n");
}

/* ---- where in it -------------------------------------------------------------------------------------- */

/* The last line is empty, whatever its end looks like; or there is none yet. */
static bool is_between_events(const struct sse *s)
{
    const uint8_t *end = s->last;
    return end[2] == 0 || memcmp(end + 1, "\n\n", 2) == 0 || memcmp(end + 1, "\r\r", 2) == 0 ||
           memcmp(end, "\n\r\n", 3) == 0;
}

static void saw(struct pipe_eye *eye, const uint8_t *bytes, size_t n)
{
    struct sse *s = CV_OWNER(eye, struct sse, eye);
    size_t events = event_scan(&s->scan, bytes, n);
    if (events && !s->ours)
        s->event_at = tally_events(s->r, events, s->event_at);
    s->moved = cv_now(s->r->edge);
    for (size_t i = n > sizeof(s->last) ? n - sizeof(s->last) : 0; i < n; i++) {
        s->last[0] = s->last[1];
        s->last[1] = s->last[2];
        s->last[2] = bytes[i];
    }
}

/* ---- time --------------------------------------------------------------------------------------------- */

static int64_t pause_of(const struct sse *s)
{
    const struct stock *stock = s->r->worker->stock;
    return stock->sse ? stock->sse->heartbeat.ms : 0;
}

static void set_timer(struct sse *s)
{
    int64_t left = s->moved + pause_of(s) - cv_now(s->r->edge);
    cv_timer_set(s->r->edge, &s->timer, (struct cv_ms){ left > 0 ? left : 0 });
}

static void insert_sign(struct sse *s)
{
    s->ours = true;
    pipe_insert(s->r->pub.down, s->sign);
    s->ours = false;
}

/* A visitor who has not taken what there is needs no sign. */
static void on_timer(struct cv_timer *timer)
{
    struct sse *s = CV_OWNER(timer, struct sse, timer);
    struct cv_pipe *down = s->r->pub.down;
    bool still = cv_now(s->r->edge) - s->moved >= pause_of(s);
    if (cv_pipe_finished(down) || pause_of(s) == 0) /* a reload has switched it off */
        return;
    if (still && is_between_events(s) && cv_pipe_held(down) == 0)
        insert_sign(s);
    else if (still)
        s->moved = cv_now(s->r->edge); /* not now: after another pause */
    set_timer(s);
}

void sse_watch(struct request *r)
{
    if (r->pub.type != CV_HTTP || !sse_is_stream(&r->pub))
        return;
    struct sse *s = cv_alloc(&r->pub, sizeof(*s));
    s->r = r;
    s->timer.fire = on_timer;
    s->sign = sign_for(&r->pub);
    s->moved = cv_now(r->edge);
    s->eye.saw = saw;
    r->sse = s;
    r->down.eye = &s->eye;
}

/* The filters have had their say since. */
void sse_begin(struct request *r)
{
    if (!r->sse || r->pub.error || r->replied)
        return;
    if (pause_of(r->sse) > 0 && sse_is_stream(&r->pub))
        set_timer(r->sse);
}

void sse_end(struct request *r)
{
    if (!r->sse)
        return;
    cv_timer_clear(&r->sse->timer);
    r->down.eye = NULL;
    r->sse = NULL;
}
