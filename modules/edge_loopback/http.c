/* http.c: a client of the loopback edge: HTTP/1.1 with keep-alive, bodies streamed both ways, WebSocket. */
#include "loopback.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <llhttp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OUT_HIGH = 65536, HEAD_MAX = 65536 };

struct loopback_conn {
    struct loopback_worker *worker;
    struct loopback_conn *prev, *next;
    struct bufferevent *bev;
    llhttp_t parser;
    struct cv_req *req; /* the one being served */
    struct cv_buf name, value;
    size_t head_bytes;
    bool raw;     /* after 101: bytes, not messages           */
    bool chunked; /* how the response is framed               */
    bool keep_alive;
    bool message_ended;
    bool head_sent;
    bool closing; /* once what is written has gone out        */
};

static struct loopback_conn *conn_of(const struct cv_self *self, struct cv_req *req)
{
    return ((struct loopback_slot *)cv_slot(req, self))->conn;
}

static void free_conn(struct loopback_conn *c)
{
    *(c->prev ? &c->prev->next : &c->worker->conns) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (c->req)
        ((struct loopback_slot *)cv_slot(c->req, c->worker->self))->conn = NULL;
    bufferevent_free(c->bev);
    cv_buf_free(&c->name);
    cv_buf_free(&c->value);
    free(c);
}

void loopback_free_all(struct loopback_worker *w)
{
    while (w->conns)
        free_conn(w->conns);
}

static void client_left(struct loopback_conn *c)
{
    struct cv_req *req = c->req;
    free_conn(c);
    if (req)
        cv_req_fail(req, CV_E_CANCEL, "the client left");
}

/* ---- the request ------------------------------------------------------------------------------------- */

static int on_begin(llhttp_t *p)
{
    struct loopback_conn *c = p->data;
    c->req = cv_req_new(c->worker->self, NULL, CV_HTTP);
    ((struct loopback_slot *)cv_slot(c->req, c->worker->self))->conn = c;
    c->head_bytes = 0;
    c->message_ended = c->head_sent = false;
    return 0;
}

static int add_head(struct loopback_conn *c, struct cv_buf *b, const char *p, size_t n)
{
    c->head_bytes += n;
    if (c->head_bytes > HEAD_MAX)
        return -1;
    cv_buf_add(b, p, n);
    return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    struct loopback_conn *c = p->data;
    return add_head(c, &c->value, at, n);
}

static int on_url_complete(llhttp_t *p)
{
    struct loopback_conn *c = p->data;
    c->req->path = cv_copy(c->req, (struct cv_str){ (char *)c->value.p, c->value.n });
    c->value.n = 0;
    return 0;
}

static int on_name(llhttp_t *p, const char *at, size_t n)
{
    struct loopback_conn *c = p->data;
    return add_head(c, &c->name, at, n);
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct loopback_conn *c = p->data;
    return add_head(c, &c->value, at, n);
}

static int on_field(llhttp_t *p)
{
    struct loopback_conn *c = p->data;
    struct cv_str name = { (char *)c->name.p, c->name.n }, value = { (char *)c->value.p, c->value.n };
    if (cv_str_caseeq(name, CV_STR("host")))
        c->req->authority = cv_copy(c->req, value);
    else if (!c->message_ended && !cv_str_caseeq(name, CV_STR("connection")) &&
             !cv_str_caseeq(name, CV_STR("transfer-encoding")) && !cv_str_caseeq(name, CV_STR("expect")))
        cv_header_add(c->req, c->req->headers, name, value);
    c->name.n = c->value.n = 0;
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    struct loopback_conn *c = p->data;
    struct cv_req *req = c->req;
    req->method = cv_copy(req, cv_str_of(llhttp_method_name(llhttp_get_method(p))));
    req->scheme = CV_STR("http");
    c->keep_alive = llhttp_should_keep_alive(p);
    if (p->upgrade && cv_str_caseeq(cv_header(req->headers, CV_STR("upgrade")), CV_STR("websocket")))
        req->type = CV_WEBSOCKET;
    else if (p->flags & F_CHUNKED)
        req->body_length = CV_BODY_STREAM;
    else
        req->body_length = (int64_t)p->content_length; /* 0 when there is none */
    cv_req_start(req);
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct loopback_conn *c = p->data;
    return cv_pipe_write(c->req->up, at, n) == n || c->req->error ? 0 : -1;
}

static int on_complete(llhttp_t *p)
{
    struct loopback_conn *c = p->data;
    c->message_ended = true;
    if (c->req->type != CV_WEBSOCKET)
        cv_pipe_finish(c->req->up);
    return HPE_PAUSED; /* the next one waits until this one is answered */
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_field,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void refuse(struct loopback_conn *c)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    struct cv_req *req = c->req;
    evbuffer_add(bufferevent_get_output(c->bev), text, sizeof(text) - 1);
    c->closing = true;
    if (!req)
        return;
    ((struct loopback_slot *)cv_slot(req, c->worker->self))->conn = NULL;
    c->req = NULL;
    cv_req_fail(req, CV_E_CANCEL, "malformed request");
}

/* Never more at once than the pipe has room for, so that the parser can always hand on what it finds. */
static void take_input(struct loopback_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    while (evbuffer_get_length(in) && !c->closing) {
        size_t n = evbuffer_get_contiguous_space(in);
        size_t room = c->req ? cv_pipe_room(c->req->up) : n;
        if (c->message_ended && !c->raw)
            return;
        if (room == 0 && !(c->req && c->req->error))
            return; /* credit() comes */
        const char *p = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
        n = room && n > room ? room : n;
        if (c->raw) {
            evbuffer_drain(in, cv_pipe_write(c->req->up, p, n));
            continue;
        }
        enum llhttp_errno e = llhttp_execute(&c->parser, p, n);
        if (e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE)
            n = (size_t)(llhttp_get_error_pos(&c->parser) - p);
        evbuffer_drain(in, n);
        if (e != HPE_OK && e != HPE_PAUSED && e != HPE_PAUSED_UPGRADE)
            refuse(c);
    }
}

/* ---- the response ------------------------------------------------------------------------------------ */

static bool has_no_body(const struct cv_req *req)
{
    return cv_str_eq(req->method, CV_STR("HEAD")) || req->status == 204 || req->status == 304;
}

void loopback_head(const struct cv_self *self, struct cv_req *req)
{
    struct loopback_conn *c = conn_of(self, req);
    if (!c)
        return;
    struct evbuffer *out = bufferevent_get_output(c->bev);
    struct cv_str name, value;
    c->raw = req->status == 101;
    c->head_sent = true;
    const char *phrase = llhttp_status_name((llhttp_status_t)req->status);
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", req->status, phrase ? phrase : "Unknown");
    for (size_t i = 0; cv_header_at(req->resp_headers, i, &name, &value); i++)
        if (c->raw || !cv_str_caseeq(name, CV_STR("connection")))
            evbuffer_add_printf(out, CV_STR_FMT ": " CV_STR_FMT "\r\n", CV_STR_ARG(name), CV_STR_ARG(value));
    bool length = cv_header(req->resp_headers, CV_STR("content-length")).n;
    c->chunked = !c->raw && !length && !has_no_body(req) && !req->error;
    if (c->chunked)
        evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
    if (req->error)
        evbuffer_add_printf(out, "Content-Length: %zu\r\nContent-Type: text/plain\r\n",
                            req->error_text.n + 1);
    evbuffer_add_printf(out, "\r\n");
    if (!req->error)
        return;
    if (!has_no_body(req))
        evbuffer_add_printf(out, CV_STR_FMT "\n", CV_STR_ARG(req->error_text));
    cv_req_done(req);
}

static void add_trailers(struct evbuffer *out, const struct cv_req *req)
{
    struct cv_str name, value;
    evbuffer_add_printf(out, "0\r\n");
    for (size_t i = 0; cv_header_at(req->trailers, i, &name, &value); i++)
        evbuffer_add_printf(out, CV_STR_FMT ": " CV_STR_FMT "\r\n", CV_STR_ARG(name), CV_STR_ARG(value));
    evbuffer_add_printf(out, "\r\n");
}

void loopback_readable(const struct cv_self *self, struct cv_req *req)
{
    struct loopback_conn *c = conn_of(self, req);
    if (!c)
        return;
    struct evbuffer *out = bufferevent_get_output(c->bev);
    struct iovec part;
    while (evbuffer_get_length(out) < OUT_HIGH && cv_pipe_peek(req->down, 0, &part, 1) == 1) {
        if (c->chunked)
            evbuffer_add_printf(out, "%zx\r\n", part.iov_len);
        evbuffer_add(out, part.iov_base, part.iov_len);
        if (c->chunked)
            evbuffer_add(out, "\r\n", 2);
        cv_pipe_consume(req->down, part.iov_len);
    }
    if (!cv_pipe_ended(req->down))
        return;
    if (c->chunked)
        add_trailers(out, req);
    cv_req_done(req);
}

void loopback_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)n;
    struct loopback_conn *c = conn_of(self, req);
    if (c)
        take_input(c);
}

void loopback_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    struct loopback_conn *c = conn_of(self, req);
    if (!c)
        return;
    c->req = NULL;
    if (why) { /* cut short: the client must see that */
        free_conn(c);
        return;
    }
    c->closing = c->raw || !c->keep_alive || !c->message_ended;
    if (c->closing && !evbuffer_get_length(bufferevent_get_output(c->bev))) {
        free_conn(c);
        return;
    }
    c->message_ended = false;
    llhttp_resume(&c->parser);
    take_input(c);
}

/* ---- the socket -------------------------------------------------------------------------------------- */

static void on_input(struct bufferevent *bev, void *arg)
{
    (void)bev;
    take_input(arg);
}

static void on_drained(struct bufferevent *bev, void *arg)
{
    (void)bev;
    struct loopback_conn *c = arg;
    if (c->closing && !c->req)
        free_conn(c);
    else if (c->req && c->head_sent && !c->req->error)
        loopback_readable(c->worker->self, c->req);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    struct loopback_conn *c = arg;
    if (what & BEV_EVENT_EOF && c->raw && c->req)
        cv_pipe_finish(c->req->up); /* half-closed: the origin may have more to say */
    else if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        client_left(c);
}

void loopback_accept(struct loopback_worker *w, int fd)
{
    struct loopback_conn *c = cv_xcalloc(1, sizeof(*c));
    c->worker = w;
    c->next = w->conns;
    if (c->next)
        c->next->prev = c;
    w->conns = c;
    evutil_make_socket_nonblocking(fd);
    c->bev = bufferevent_socket_new(cv_base(w->self), fd, BEV_OPT_CLOSE_ON_FREE);
    CV_ASSERT(c->bev);
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
    bufferevent_setwatermark(c->bev, EV_READ, 0, OUT_HIGH);
    bufferevent_setcb(c->bev, on_input, on_drained, on_event, c);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}
