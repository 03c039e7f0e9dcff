/* conn.c: edge connections: orders from the main thread, what edge modules report, samples of their progress. */
#include "tunnel/conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "request/state.h"
#include "tunnel/registrar.h"

/* ---- main thread: which exist ------------------------------------------------------------------------- */

struct handle {
    struct handle *next;
    uint32_t id;
    struct connection *conn; /* only to be named in orders */
    const struct cv_instance *edge;
};

static struct {
    struct cv_worker *main;
    conn_report_fn *reports;
    struct handle *handles;
    unsigned count;
    void (*emptied)(void);
} conns;

void conns_setup(struct cv_worker *main, conn_report_fn *reports)
{
    conns.main = main;
    conns.reports = reports;
    conns.emptied = NULL;
}

unsigned conns_count(void)
{
    return conns.count;
}

unsigned conns_of(const struct cv_instance *edge)
{
    unsigned n = 0;
    for (const struct handle *h = conns.handles; h; h = h->next)
        n += h->edge == edge;
    return n;
}

static void run_emptied(void *arg)
{
    (void)arg;
    void (*emptied)(void) = conns.emptied;
    conns.emptied = NULL;
    if (emptied)
        emptied();
}

void conns_when_empty(void (*emptied)(void))
{
    conns.emptied = emptied;
    if (conns.count == 0)
        cv_post(conns.main, run_emptied, NULL);
}

static struct connection *find(uint32_t id)
{
    for (struct handle *h = conns.handles; h; h = h->next)
        if (h->id == id)
            return h->conn;
    return NULL;
}

static void forget(uint32_t id)
{
    struct handle **at = &conns.handles;
    while ((*at)->id != id)
        at = &(*at)->next;
    struct handle *gone = *at;
    *at = gone->next;
    free(gone);
    conns.count--;
    if (conns.count == 0 && conns.emptied)
        run_emptied(NULL);
}

/* ---- worker → main ------------------------------------------------------------------------------------ */

static void run_report(void *arg)
{
    struct conn_report *r = arg;
    conns.reports(r);
    free(r);
}

void connection_report(const struct connection *c, struct conn_report *report)
{
    struct conn_report *copy = cv_xmalloc(sizeof(*copy));
    *copy = *report;
    copy->id = c->id;
    copy->index = c->base.pub.index;
    cv_post(conns.main, run_report, copy);
}

/* The object is freed by its own worker once every order that may name it has been run there: the main thread forgets
 * it first, then sends it back behind all those. */
static void run_free(void *arg)
{
    free(arg);
}

static void run_buried(void *arg)
{
    struct connection *c = arg;
    forget(c->id);
    cv_post(c->worker, run_free, c);
}

/* ---- worker: what it carries ---------------------------------------------------------------------------- */

struct tally {
    uint64_t mark;                 /* changes when any stream begins, ends or gets a byte across */
    unsigned open, stuck, written; /* written: the origin is through, the edge has not taken all yet */
};

/* Waits for the edge: to take what we have, or to send the body that it announced. An idle WebSocket or an answer that
 * takes its time waits for nobody there. */
static bool is_stuck(const struct request *r)
{
    bool body_due =
        r->pub.type == CV_HTTP && r->pub.body_length != 0 && !r->up.finished && r->pub.status == 0;
    return r->down.held > 0 || (body_due && r->up.held == 0);
}

static struct tally count_requests(const struct connection *c)
{
    struct tally t = { 0 };
    for (const struct request *r = c->base.requests; r; r = r->conn_next) {
        if (r->pub.type > CV_TCP)
            continue;
        t.open++;
        t.stuck += is_stuck(r);
        t.written += r->step == STEP_BODY && r->down.finished;
        t.mark += r->pub.id * 0x9e3779b97f4a7c15u + r->up.total + r->down.total - r->down.held;
    }
    return t;
}

/* ---- worker: life ------------------------------------------------------------------------------------- */

static void bury(struct connection *c)
{
    cv_timer_clear(&c->sample);
    goodbye_free(c);
    if (c->edge_has_it)
        c->edge->instance->module->edge->gone(c->edge, &c->base.pub);
    credentials_unref(c->credentials);
    c->credentials = NULL;
    cv_post(conns.main, run_buried, c);
}

static void on_bury(struct cv_late *late)
{
    struct connection *c = CV_OWNER(late, struct connection, bury);
    if (c->base.open == 0)
        bury(c);
}

static void on_idle(struct conn_base *base)
{
    struct connection *c = (struct connection *)base;
    if (c->is_down)
        cv_late(worker_core_self(c->worker), &c->bury);
}

static void tell_observers(struct connection *c, int what, enum cv_error why)
{
    const struct chain *chain = c->worker->chain;
    struct cv_event event = { .what = what, .conn = &c->base.pub, .why = why };
    for (size_t i = 0; chain && i < chain->n_observers; i++) {
        const struct cv_self *o = chain->observers[i];
        if (o->instance->module->observer->event)
            o->instance->module->observer->event(o, &event);
    }
}

static void go_down(struct connection *c, enum cv_error why, const char *text)
{
    path_look(c);
    path_gone(c);
    c->is_down = true;
    struct tally t = count_requests(c);
    struct conn_report report = { .what = CONN_DOWN,
                                  .error = why,
                                  .open = t.open,
                                  .written = t.written,
                                  .finished = (unsigned)(c->base.ended - c->ended_before) };
    snprintf(report.text, sizeof(report.text), "%s", text);
    connection_report(c, &report);
    if (c->is_up)
        tell_observers(c, CV_EV_CONN_DOWN, why);
    requests_fail_all(&c->base, why ? why : CV_E_CANCEL, text);
    cv_late(worker_core_self(c->worker), &c->bury);
}

void cv_conn_down(struct cv_conn *conn, enum cv_error why, const char *fmt, ...)
{
    struct connection *c = connection_of(conn);
    CV_ASSERT(!c->is_down);
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    go_down(c, why, text);
}

void cv_conn_up(struct cv_conn *conn)
{
    struct connection *c = connection_of(conn);
    CV_ASSERT(!c->is_up && !c->is_down);
    c->is_up = true;
    c->moved_at = clock_ms();
    struct conn_report report = { .what = CONN_UP, .local = c->base.pub.local };
    connection_report(c, &report);
    tell_observers(c, CV_EV_CONN_UP, CV_OK);
}

void cv_conn_leaving(struct cv_conn *conn)
{
    struct connection *c = connection_of(conn);
    CV_ASSERT(c->is_up);
    struct conn_report report = { .what = CONN_LEAVING };
    if (!c->is_down)
        connection_report(c, &report);
}

static void run_dial(void *arg)
{
    struct connection *c = arg;
    struct cv_err err = { "" };
    c->edge_has_it = true;
    enum cv_error e = c->edge->instance->module->edge->dial(c->edge, &c->base.pub, &err);
    if (!e)
        return;
    c->edge_has_it = false; /* it kept nothing */
    if (!c->is_down)
        go_down(c, e, err.text);
}

/* ---- worker: samples ---------------------------------------------------------------------------------- */

static void on_sample(struct cv_timer *timer)
{
    struct connection *c = CV_OWNER(timer, struct connection, sample);
    struct tally t = count_requests(c);
    int64_t now = clock_ms();
    path_look(c);
    bool moved = t.mark != c->sample_mark;
    if (moved || t.open == 0)
        c->moved_at = now;
    c->sample_mark = t.mark;
    struct conn_report report = { .what = CONN_SAMPLE,
                                  .open = t.open,
                                  .rtt_us = c->path.rtt_us,
                                  .moved = moved,
                                  .stuck = t.stuck,
                                  .still_ms = now - c->moved_at };
    connection_report(c, &report);
    cv_timer_set(worker_core_self(c->worker), &c->sample, c->sample_every);
}

/* ---- orders ------------------------------------------------------------------------------------------- */

static struct connection *new_connection(const struct conn_order *o)
{
    struct connection *c = cv_xcalloc(1, sizeof(*c));
    c->base.pub =
        (struct cv_conn){ .magic = CONN_MAGIC, .index = o->index, .addr = o->addr, .local = o->bind };
    c->base.idle = on_idle;
    c->base.tunnel = o->tunnel;
    c->id = o->id;
    c->previous_attempts = o->previous_attempts;
    c->worker = o->worker;
    c->edge = worker_self(o->worker, o->edge);
    c->credentials = o->credentials ? credentials_ref(o->credentials) : NULL;
    c->bury.run = on_bury;
    c->sample.fire = on_sample;
    c->path.rtt_us = -1;
    return c;
}

void conn_dial(const struct conn_order *o)
{
    struct connection *c = new_connection(o);
    struct handle *h = cv_xmalloc(sizeof(*h));
    *h = (struct handle){ conns.handles, o->id, c, o->edge };
    conns.handles = h;
    conns.count++;
    cv_post(o->worker, run_dial, c);
}

/* An order with an amount of time. */
struct order {
    struct connection *conn;
    struct cv_ms ms;
};

static void send_order(uint32_t id, void (*run)(void *), struct cv_ms ms)
{
    struct connection *c = find(id);
    if (!c)
        return;
    struct order *o = cv_xmalloc(sizeof(*o));
    *o = (struct order){ c, ms };
    cv_post(c->worker, run, o);
}

static void run_unregister(void *arg)
{
    struct order *o = arg;
    o->conn->ended_before = o->conn->base.ended;
    if (!o->conn->is_down)
        control_unregister(o->conn, o->ms);
    free(o);
}

static void run_close(void *arg)
{
    struct order *o = arg;
    struct connection *c = o->conn;
    if (!c->is_down)
        c->edge->instance->module->edge->close(c->edge, &c->base.pub);
    free(o);
}

static void run_goodbye(void *arg)
{
    struct order *o = arg;
    if (!o->conn->is_down)
        goodbye_begin(o->conn);
    free(o);
}

static void run_watch(void *arg)
{
    struct order *o = arg;
    struct connection *c = o->conn;
    if (!c->is_down) {
        c->sample_every = o->ms;
        cv_timer_set(worker_core_self(c->worker), &c->sample, o->ms);
    }
    free(o);
}

void conn_unregister(uint32_t id, struct cv_ms timeout)
{
    send_order(id, run_unregister, timeout);
}

void conn_close(uint32_t id)
{
    send_order(id, run_close, (struct cv_ms){ 0 });
}

void conn_goodbye(uint32_t id)
{
    send_order(id, run_goodbye, (struct cv_ms){ 0 });
}

void conn_watch(uint32_t id, struct cv_ms every)
{
    send_order(id, run_watch, every);
}
