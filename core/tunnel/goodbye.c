/* goodbye.c: before a connection is cut, its WebSockets hear why: Close 1012, "service restart" (RFC 6455 §7.4), so that
 * clients come back at once instead of wondering.
 *
 * Nobody here follows the frames of a WebSocket. A Close is written only where nothing was sent for a moment: there a
 * message has ended, as good as surely, and what follows is the end anyway. */
#include "request/state.h"
#include "tunnel/conn.h"

enum { CALM_MS = 150, LOOKS = 8 };

struct calm {            /* a WebSocket, and how much had been sent when it was looked at */
    uint64_t req, total; /* total may be TOLD */
};
struct goodbye {
    struct connection *conn;
    struct cv_timer timer;
    unsigned looks; /* still to come */
    struct calm *v;
    size_t n;
};

static bool is_open_websocket(const struct request *r)
{
    return r->pub.type == CV_WEBSOCKET && r->pub.status == 101 && !r->down.finished;
}

#define TOLD (UINT64_MAX - 1)
#define NEW  UINT64_MAX

static uint64_t remembered(const struct goodbye *g, const struct request *r)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->v[i].req == r->pub.id)
            return g->v[i].total;
    return NEW;
}

static void tell(struct request *r)
{
    static const uint8_t close_1012[] = { 0x88, 0x02, 0x03, 0xf4 };
    cv_pipe_write(&r->down, close_1012, sizeof(close_1012));
}

/* Returns what to remember of it. */
static uint64_t tell_if_calm(const struct goodbye *g, struct request *r)
{
    uint64_t before = remembered(g, r);
    if (before == TOLD)
        return TOLD;
    if (before != r->down.total || r->down.held > 0)
        return r->down.total;
    tell(r);
    return TOLD;
}

static void look(struct goodbye *g)
{
    struct calm *v = cv_xcalloc(g->conn->base.open, sizeof(*v));
    size_t n = 0;
    for (struct request *r = g->conn->base.requests; r; r = r->conn_next)
        if (is_open_websocket(r))
            v[n++] = (struct calm){ r->pub.id, tell_if_calm(g, r) };
    free(g->v);
    g->v = v;
    g->n = n;
}

static void on_timer(struct cv_timer *timer)
{
    struct goodbye *g = CV_OWNER(timer, struct goodbye, timer);
    look(g);
    if (--g->looks > 0)
        cv_timer_set(worker_core_self(g->conn->worker), &g->timer, (struct cv_ms){ CALM_MS });
}

void goodbye_begin(struct connection *c)
{
    goodbye_free(c);
    c->goodbye = cv_xcalloc(1, sizeof(*c->goodbye));
    c->goodbye->conn = c;
    c->goodbye->looks = LOOKS;
    c->goodbye->timer.fire = on_timer;
    cv_timer_set(worker_core_self(c->worker), &c->goodbye->timer, (struct cv_ms){ 0 });
}

void goodbye_free(struct connection *c)
{
    if (!c->goodbye)
        return;
    cv_timer_clear(&c->goodbye->timer);
    free(c->goodbye->v);
    free(c->goodbye);
    c->goodbye = NULL;
}
