/* hello.c: the service hello_world, answered on the spot: no server, no socket in between. */
#include "hello.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SHOWN = 16 * 1024, /* bytes of a request's body */
    EVERY_MS = 10000,  /* between two events */
    CONTROL = 256,     /* room in `down` that data leave to pongs and the close */
};

/* ---- what is written ------------------------------------------------------------------------------------ */

static void release(struct origin_hello *h)
{
    h->over = true;
    cv_timer_clear(&h->tick);
    cv_buf_free(&h->body);
    cv_buf_free(&h->out);
}

static void flush(struct origin_hello *h)
{
    if (h->over || h->echoes || h->every.ms)
        return;
    size_t n = cv_pipe_write(h->req->down, h->out.p, h->out.n);
    cv_buf_take_front(&h->out, n);
    if (h->out.n)
        return; /* until credit() */
    cv_pipe_finish(h->req->down);
    release(h);
}

static bool is_head(const struct cv_req *req)
{
    return cv_str_eq(req->method, CV_STR("HEAD"));
}

static void respond(struct origin_hello *h, int status, const char *type)
{
    struct cv_req *req = h->req;
    req->status = status;
    req->resp_headers = cv_headers_new(req);
    cv_header_add(req, req->resp_headers, CV_STR("Content-Type"), cv_str_of(type));
    if (!h->every.ms)
        cv_header_add(req, req->resp_headers, CV_STR("Content-Length"), cv_print(req, "%zu", h->out.n));
    if (is_head(req))
        h->out.n = 0;
    cv_req_respond(req);
    flush(h);
}

static void say(struct origin_hello *h, int status, const char *type, const char *text)
{
    cv_buf_add(&h->out, text, strlen(text));
    respond(h, status, type);
}

/* ---- /, /uptime ------------------------------------------------------------------------------------------ */

static void show(struct origin_hello *h)
{
    h->waits = false;
    origin_hello_page(&h->out, h->req, (struct cv_str){ (const char *)h->body.p, h->body.n });
    respond(h, 200, "text/html; charset=utf-8");
}

/* Read to its end; what is longer than is shown goes nowhere. */
static void read_body(struct origin_hello *h)
{
    struct iovec iov;
    h->waits = true;
    while (cv_pipe_peek(h->req->up, 0, &iov, 1) == 1) {
        size_t room = SHOWN - h->body.n;
        cv_buf_add(&h->body, iov.iov_base, iov.iov_len < room ? iov.iov_len : room);
        cv_pipe_consume(h->req->up, iov.iov_len);
    }
    if (h->req->body_length == 0 || cv_pipe_ended(h->req->up))
        show(h);
}

static void tell_uptime(struct origin_hello *h)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    origin_hello_uptime(&h->out, h->w->started_unix_ms, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    respond(h, 200, "application/json");
}

/* ---- /sse ------------------------------------------------------------------------------------------------ */

static void on_tick(struct cv_timer *timer)
{
    struct origin_hello *h = CV_OWNER(timer, struct origin_hello, tick);
    char text[32];
    int n = snprintf(text, sizeof(text), "%llu\n\n", h->ticks);
    if (cv_pipe_room(h->req->down) >= (size_t)n) { /* else the visitor is slow, and hears the next one */
        cv_pipe_write(h->req->down, text, (size_t)n);
        h->ticks++;
    }
    cv_timer_set(&h->w->self, timer, h->every);
}

static struct cv_str query_value(struct cv_str path, struct cv_str name)
{
    const char *at = memchr(path.p, '?', path.n);
    const char *end = path.p + path.n;
    while (at) {
        struct cv_str pair = { at + 1, (size_t)(end - at - 1) };
        at = memchr(pair.p, '&', pair.n);
        pair.n = at ? (size_t)(at - pair.p) : pair.n;
        if (pair.n > name.n && memcmp(pair.p, name.p, name.n) == 0 && pair.p[name.n] == '=')
            return (struct cv_str){ pair.p + name.n + 1, pair.n - name.n - 1 };
    }
    return (struct cv_str){ NULL, 0 };
}

static void begin_events(struct origin_hello *h)
{
    int64_t asked = origin_hello_duration(query_value(h->req->path, CV_STR("freq")));
    h->every.ms = asked ? asked : EVERY_MS;
    if (is_head(h->req))
        h->every.ms = 0;
    respond(h, 200, "text/event-stream; charset=utf-8");
    if (h->every.ms)
        cv_timer_set(&h->w->self, &h->tick, h->every);
}

/* ---- /ws ------------------------------------------------------------------------------------------------- */

static void send_control(struct origin_hello *h, unsigned opcode)
{
    uint8_t head[ORIGIN_WS_HEAD_MAX];
    size_t n = origin_ws_head(head, opcode, h->ws.control_n);
    cv_pipe_write(h->req->down, head, n);
    cv_pipe_write(h->req->down, h->ws.control, h->ws.control_n);
}

static void end_echo(struct origin_hello *h)
{
    cv_pipe_finish(h->req->down);
    release(h);
}

/* One piece of what the visitor said. False: it is over, or has to wait for room or bytes. */
static bool echo_some(struct origin_hello *h)
{
    struct iovec iov;
    size_t used, got, room = cv_pipe_room(h->req->down);
    if (cv_pipe_peek(h->req->up, 0, &iov, 1) == 0) {
        if (cv_pipe_ended(h->req->up))
            end_echo(h);
        return false;
    }
    if (room <= CONTROL)
        return false;
    room = room - CONTROL < ORIGIN_SCRATCH ? room - CONTROL : ORIGIN_SCRATCH;
    enum origin_ws_found found = origin_ws_read(&h->ws, iov.iov_base, iov.iov_len < room ? iov.iov_len : room,
                                                &used, h->w->scratch, &got);
    cv_pipe_write(h->req->down, h->w->scratch, got);
    cv_pipe_consume(h->req->up, used);
    if (found == ORIGIN_WS_FOUND_PING)
        send_control(h, ORIGIN_WS_PONG);
    if (found != ORIGIN_WS_FOUND_CLOSE && found != ORIGIN_WS_FOUND_FAULT)
        return true;
    if (found == ORIGIN_WS_FOUND_CLOSE) {
        send_control(h, ORIGIN_WS_CLOSE);
        end_echo(h);
    } else {
        release(h);
        cv_req_fail(h->req, CV_E_PROTO, "%s", h->ws.why);
    }
    return false;
}

static void echo(struct origin_hello *h)
{
    while (!h->over && echo_some(h))
        ;
}

static void begin_echo(struct origin_hello *h)
{
    struct cv_req *req = h->req;
    struct cv_str key = cv_header(req->headers, CV_STR("sec-websocket-key"));
    char accept[ORIGIN_WS_ACCEPT_SIZE];
    if (req->type != CV_WEBSOCKET || key.n == 0) {
        say(h, 400, "text/plain; charset=utf-8", "Bad Request\n");
        return;
    }
    h->echoes = h->ws.echo = true;
    origin_ws_accept(key, accept);
    req->status = 101;
    req->resp_headers = cv_headers_new(req);
    cv_header_add(req, req->resp_headers, CV_STR("Connection"), CV_STR("Upgrade"));
    cv_header_add(req, req->resp_headers, CV_STR("Upgrade"), CV_STR("websocket"));
    cv_header_add(req, req->resp_headers, CV_STR("Sec-Websocket-Accept"), cv_str_of(accept));
    cv_req_respond(req);
    echo(h);
}

/* ---- what the core calls ---------------------------------------------------------------------------------- */

bool origin_is_hello(const struct cv_req *req)
{
    return (req->type == CV_HTTP || req->type == CV_WEBSOCKET) && req->rule &&
           req->rule->kind == CV_SERVICE_HELLO;
}

void origin_hello_open(const struct cv_self *self, struct cv_req *req)
{
    struct origin_hello *h = cv_slot(req, self);
    struct cv_str path = req->path;
    const char *query = path.n ? memchr(path.p, '?', path.n) : NULL;
    path.n = query ? (size_t)(query - path.p) : path.n;
    h->w = self->local;
    h->req = req;
    h->tick.fire = on_tick;
    if (cv_str_eq(path, CV_STR("/uptime"))) {
        tell_uptime(h);
    } else if (cv_str_eq(path, CV_STR("/_health"))) {
        say(h, 200, "text/plain; charset=utf-8", "ok");
    } else if (cv_str_eq(path, CV_STR("/sse"))) {
        begin_events(h);
    } else if (cv_str_eq(path, CV_STR("/ws"))) {
        begin_echo(h);
    } else if (req->type == CV_WEBSOCKET) {
        show(h); /* a handshake that is answered like any other request */
    } else {
        read_body(h);
    }
}

static void readable(const struct cv_self *self, struct cv_req *req)
{
    struct origin_hello *h = cv_slot(req, self);
    if (h->echoes)
        echo(h);
    else if (h->waits)
        read_body(h);
    else
        cv_pipe_consume(req->up, cv_pipe_held(req->up));
}

static void credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)n;
    struct origin_hello *h = cv_slot(req, self);
    if (h->echoes)
        echo(h);
    else if (req->status)
        flush(h);
}

static void closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)why;
    struct origin_hello *h = cv_slot(req, self);
    if (h->w)
        release(h);
}

const struct cv_end origin_hello_end = { readable, credit, closed };
