/* control.c: the port where a test asks what happened and says what shall happen. HTTP/1.1, JSON. */
#include "edge_sim.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 32 << 20, WAIT_MAX_MS = 600 * 1000 };

struct ask { /* one request */
    LIST_ENTRY(ask) entry;
    struct h1 *h1;
    struct cv_buf body;
    bool too_large;
    struct push_round *push; /* POST /config: the answers are awaited */
    struct udp_call *udp;    /* POST /udp: likewise                   */
    struct event timer;      /* GET /wait                             */
    bool waiting;
    int registered; /* -1: not asked */
    struct cv_str event;
    uint64_t count;
};
static LIST_HEAD(, ask) waiters = LIST_HEAD_INITIALIZER(waiters);
static struct event *poke;

static void ask_free(struct ask *a)
{
    if (a->waiting) {
        LIST_REMOVE(a, entry);
        event_del(&a->timer);
    }
    if (a->push)
        push_forget(a->push);
    if (a->udp)
        udp_forget(a->udp);
    h1_set_owner(a->h1, NULL);
    cv_buf_free(&a->body);
    free(a);
}

static void answer(struct ask *a, int status, struct cv_str json)
{
    struct h1 *h1 = a->h1;
    ask_free(a);
    h1_simple(h1, status, "application/json", json);
}

static void fail(struct ask *a, int status, const char *why)
{
    char json[192], text[128];
    snprintf(text, sizeof(text), "%s", why);
    for (char *c = text; *c; c++) /* it may repeat what was sent */
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = '?';
    int n = snprintf(json, sizeof(json), "{\"error\":\"%s\"}\n", text);
    answer(a, status, (struct cv_str){ json, (size_t)n });
}

static void done(struct ask *a)
{
    answer(a, 200, CV_STR("{\"ok\":true}\n"));
}

/* ---- parameters -------------------------------------------------------------------------------------- */

static struct cv_str query_of(const struct ask *a, struct cv_str *path)
{
    struct cv_str query;
    *path = str_cut(h1_request(a->h1)->target, '?', &query);
    return query;
}

/* p is NULL if it is not there. */
static struct cv_str param(const struct ask *a, const char *name)
{
    struct cv_str path, value;
    struct cv_str query = query_of(a, &path);
    while (query.n > 0) {
        struct cv_str key = str_cut(str_cut(query, '&', &query), '=', &value);
        if (cv_str_eq(key, cv_str_of(name)))
            return value;
    }
    return (struct cv_str){ NULL, 0 };
}

static bool param_u64(const struct ask *a, const char *name, uint64_t max, uint64_t otherwise, uint64_t *out)
{
    struct cv_str text = param(a, name);
    *out = otherwise;
    return !text.p || parse_u64(text, max, out);
}

/* Calls fn for the connections that ?index=N (or all, the default) means; returns how many. */
static unsigned each_conn(const struct ask *a, bool (*fn)(struct conn *, const struct ask *))
{
    struct cv_str text = param(a, "index");
    uint64_t index = 0;
    bool all = !text.p || cv_str_eq(text, CV_STR("all"));
    if (!all && !parse_u64(text, UINT8_MAX, &index))
        return 0;
    unsigned n = 0;
    struct conn *conn;
    TAILQ_FOREACH(conn, &conns, entry)
    if (conn->link && (all || (conn->called && conn->reg.index == index)))
        n += fn(conn, a);
    return n;
}

static void done_for(struct ask *a, unsigned n)
{
    char json[64];
    if (n == 0) {
        fail(a, 404, "no such connection, or it cannot do that");
        return;
    }
    int len = snprintf(json, sizeof(json), "{\"ok\":true,\"connections\":%u}\n", n);
    answer(a, 200, (struct cv_str){ json, (size_t)len });
}

/* ---- the commands ------------------------------------------------------------------------------------ */

static void do_state(struct ask *a)
{
    struct cv_buf out = { 0 };
    answer(a, 200, state_json(&out));
    cv_buf_free(&out);
}

static void do_log(struct ask *a)
{
    uint64_t since;
    struct cv_buf out = { 0 };
    if (!param_u64(a, "since", UINT64_MAX, 0, &since)) {
        fail(a, 400, "since is not a number");
        return;
    }
    log_since(since, &out);
    answer(a, 200, (struct cv_str){ (char *)out.p, out.n });
    cv_buf_free(&out);
}

static void do_script(struct ask *a)
{
    char why[128];
    if (script_set((struct cv_str){ (char *)a->body.p, a->body.n }, why))
        done(a);
    else
        fail(a, 400, why);
}

static void config_done(void *arg, struct cv_str json)
{
    struct ask *a = arg;
    a->push = NULL;
    answer(a, 200, json);
}

static void do_config(struct ask *a)
{
    uint64_t version;
    if (!param_u64(a, "version", INT32_MAX, 1, &version) || a->body.n == 0) {
        fail(a, 400, "want ?version=N and the configuration as body");
        return;
    }
    push_keep((int)version, (struct cv_str){ (char *)a->body.p, a->body.n });
    a->push = push_all(config_done, a);
}

static bool drop(struct conn *conn, const struct ask *a)
{
    struct cv_str how = param(a, "how");
    enum close_how close = cv_str_eq(how, CV_STR("rst"))      ? CLOSE_RST
                           : cv_str_eq(how, CV_STR("silent")) ? CLOSE_SILENT
                           : cv_str_eq(how, CV_STR("goaway")) ? CLOSE_GOAWAY
                                                              : CLOSE_FIN;
    conn->transport->close(conn, close);
    return true;
}

static void do_drop(struct ask *a)
{
    done_for(a, each_conn(a, drop));
}

static bool raw(struct conn *conn, const struct ask *a)
{
    return conn->transport->raw && conn->transport->raw(conn, a->body.p, a->body.n);
}

static void do_raw(struct ask *a)
{
    struct cv_buf bytes = { 0 };
    if (!unhex((struct cv_str){ (char *)a->body.p, a->body.n }, &bytes)) {
        cv_buf_free(&bytes);
        fail(a, 400, "the body is not hexadecimal");
        return;
    }
    cv_buf_free(&a->body);
    a->body = bytes;
    done_for(a, each_conn(a, raw));
}

static bool stop_reading(struct conn *conn, const struct ask *a)
{
    conn->transport->stop_reading(conn, !cv_str_eq(param(a, "on"), CV_STR("0")));
    return true;
}

static void do_stop_reading(struct ask *a)
{
    done_for(a, each_conn(a, stop_reading));
}

static bool fault(struct conn *conn, const struct ask *a)
{
    return conn->transport->fault(conn, param(a, "what"));
}

static void do_fault(struct ask *a)
{
    done_for(a, each_conn(a, fault));
}

static void do_mute(struct ask *a)
{
    struct cv_str what = param(a, "what");
    bool mute = !cv_str_eq(param(a, "on"), CV_STR("0")), udp = cv_str_eq(what, CV_STR("udp"));
    if (!udp && !cv_str_eq(what, CV_STR("tcp"))) {
        fail(a, 400, "want ?what=udp or ?what=tcp");
        return;
    }
    *(udp ? &opt.mute_udp : &opt.mute_tcp) = mute;
    listen_mute();
    done(a);
}

static void udp_done(void *arg, struct cv_str json)
{
    struct ask *a = arg;
    a->udp = NULL;
    answer(a, 200, json);
}

static void do_udp(struct ask *a)
{
    struct cv_buf session = { 0 };
    uint64_t index, port;
    bool good = param_u64(a, "index", UINT8_MAX, 0, &index) && param_u64(a, "port", UINT16_MAX, 0, &port) &&
                unhex(param(a, "session"), &session) && session.n == 16;
    struct conn *conn = conn_by_index((unsigned)index);
    if (good && conn)
        a->udp = udp_call(conn, session.p, param(a, "ip"), (uint16_t)port, udp_done, a);
    cv_buf_free(&session);
    if (!a->udp)
        fail(a, 400, "want ?index=N&session=UUID&ip=A.B.C.D&port=N of a connection over QUIC");
}

static void do_quit(struct ask *a)
{
    done(a);
    quit();
}

/* ---- waiting ----------------------------------------------------------------------------------------- */

static bool fulfilled(const struct ask *a)
{
    unsigned n = conns_registered();
    if (a->registered == 0 && n > 0)
        return false;
    if (a->registered > 0 && n < (unsigned)a->registered)
        return false;
    return !a->event.p || log_count(a->event) >= a->count;
}

static void wait_over(int fd, short what, void *arg)
{
    (void)fd, (void)what;
    fail(arg, 504, "timeout");
}

static void on_poke(int fd, short what, void *arg)
{
    struct ask *a, *next;
    (void)fd, (void)what, (void)arg;
    for (a = LIST_FIRST(&waiters); a; a = next) {
        next = LIST_NEXT(a, entry);
        if (fulfilled(a))
            do_state(a);
    }
}

void control_poke(void)
{
    if (poke && !LIST_EMPTY(&waiters))
        event_active(poke, 0, 1);
}

static void do_wait(struct ask *a)
{
    uint64_t registered;
    struct cv_str timeout = param(a, "timeout");
    int64_t ms = timeout.p ? parse_ms(timeout) : 10000;
    a->event = param(a, "event");
    bool good = param_u64(a, "registered", INT_MAX, 0, &registered) &&
                param_u64(a, "count", UINT64_MAX, 1, &a->count);
    a->registered = param(a, "registered").p ? (int)registered : -1;
    if (!good || ms < 0 || ms > WAIT_MAX_MS || (a->registered < 0 && !a->event.p)) {
        fail(a, 400, "want ?registered=N or ?event=NAME&count=N, and timeout=10s");
        return;
    }
    a->waiting = true;
    event_assign(&a->timer, loop, -1, 0, wait_over, a);
    event_add(&a->timer, &(struct timeval){ ms / 1000, ms % 1000 * 1000 });
    LIST_INSERT_HEAD(&waiters, a, entry);
    control_poke();
}

/* ---- dispatch ---------------------------------------------------------------------------------------- */

static const struct {
    const char *method, *path;
    void (*run)(struct ask *);
} commands[] = {
    { "GET", "/state", do_state },    { "GET", "/log", do_log },
    { "GET", "/wait", do_wait },      { "POST", "/config", do_config },
    { "POST", "/script", do_script }, { "POST", "/drop", do_drop },
    { "POST", "/raw", do_raw },       { "POST", "/stop-reading", do_stop_reading },
    { "POST", "/fault", do_fault },   { "POST", "/mute", do_mute },
    { "POST", "/udp", do_udp },       { "POST", "/quit", do_quit },
};

static void dispatch(struct ask *a)
{
    struct cv_str path;
    query_of(a, &path);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!cv_str_eq(path, cv_str_of(commands[i].path)))
            continue;
        if (!cv_str_eq(h1_request(a->h1)->method, cv_str_of(commands[i].method)))
            fail(a, 405, "wrong method");
        else
            commands[i].run(a);
        return;
    }
    fail(a, 404, "no such command; see edge_sim --help");
}

static void on_head(struct h1 *h1)
{
    struct ask *a = cv_xcalloc(1, sizeof(*a));
    a->h1 = h1;
    h1_set_owner(h1, a);
}

static void on_body(struct h1 *h1, const uint8_t *p, size_t n)
{
    struct ask *a = h1_owner(h1);
    if (a->body.n + n > BODY_MAX)
        a->too_large = true;
    else
        cv_buf_add(&a->body, p, n);
}

static void on_end(struct h1 *h1)
{
    struct ask *a = h1_owner(h1);
    if (a->too_large)
        fail(a, 413, "the body is too large");
    else
        dispatch(a);
}

static void on_drained(struct h1 *h1, size_t left)
{
    (void)h1, (void)left;
}

static void on_gone(struct h1 *h1)
{
    ask_free(h1_owner(h1));
}

static const struct h1_ops control_ops = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .drained = on_drained,
    .gone = on_gone,
};

bool control_start(const char *addr, char printed[static 64])
{
    poke = event_new(loop, -1, 0, on_poke, NULL);
    return h1_listen(addr, &control_ops, printed) >= 0;
}

void control_stop(void)
{
    if (poke)
        event_free(poke);
    poke = NULL;
}
