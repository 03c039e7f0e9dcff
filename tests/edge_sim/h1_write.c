/* h1_write.c: answers to visitors and tests: heads, framing, trailers, and how they end. */
#include "h1.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LINGER_S = 5 };

static void begin_closing(struct h1 *h)
{
    if (h->received || h->tunnel) {
        h1_bury(h);
        return;
    }
    shutdown(h->fd, SHUT_WR);
    event_del(&h->rev);
    event_add(&h->rev, &(struct timeval){ LINGER_S, 0 });
}

/* False: the visitor is gone. */
static bool write_some(struct h1 *h)
{
    struct iovec iov[32];
    while (h->out.n > 0) {
        int pieces = queue_peek(&h->out, 0, iov, sizeof(iov) / sizeof(iov[0]));
        ssize_t n =
            sendmsg(h->fd, &(struct msghdr){ .msg_iov = iov, .msg_iovlen = (size_t)pieces }, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        queue_take(&h->out, (size_t)n);
    }
    return true;
}

void h1_on_writable(int fd, short what, void *arg)
{
    struct h1 *h = arg;
    (void)fd, (void)what;
    if (h->dead) {
        h1_free(h);
        return;
    }
    size_t before = h->out.n;
    if (!write_some(h)) {
        h1_left(h);
        return;
    }
    if (h->out.n > 0)
        event_add(&h->wev, NULL);
    else if (h->closing)
        begin_closing(h);
    if (h->busy && h->out.n < before)
        h->ops->drained(h, h->out.n);
}

void h1_send_soon(struct h1 *h)
{
    event_active(&h->wev, EV_WRITE, 1);
}

static void put(struct h1 *h, const void *p, size_t n)
{
    if (h->dead || h->closing)
        return;
    if (h->out.n == 0)
        h1_send_soon(h);
    queue_add(&h->out, p, n);
}

static void put_field(struct h1 *h, struct cv_str name, struct cv_str value)
{
    put(h, name.p, name.n);
    put(h, ": ", 2);
    put(h, value.p, value.n);
    put(h, "\r\n", 2);
}

static const char *reason(int status)
{
    switch (status) {
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    default: return "";
    }
}

static bool is_framing(struct cv_str name)
{
    static const char *const framing[] = { "connection",     "keep-alive",        "proxy-connection",
                                           "content-length", "transfer-encoding", "upgrade" };
    for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++)
        if (cv_str_caseeq(name, cv_str_of(framing[i])))
            return true;
    return false;
}

static void put_head(struct h1 *h, int status, const struct fields *fields, bool all_fields)
{
    char line[64];
    put(h, line, (size_t)snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status, reason(status)));
    for (size_t i = 0; i < fields->n; i++)
        if (all_fields || !is_framing(fields_name(fields, i)))
            put_field(h, fields_name(fields, i), fields_value(fields, i));
}

void h1_reply(struct h1 *h, int status, const struct fields *fields, int64_t length)
{
    char line[64];
    bool head_only = llhttp_get_method(&h->parser) == HTTP_HEAD;
    bool old = h->parser.http_major == 1 && h->parser.http_minor == 0;
    bool empty = status == 204 || status == 304 || status < 200;
    h->bodiless = head_only || empty;
    h->chunked = !h->bodiless && length < 0 && !old;
    h->left = length;
    if (h->req.connect || h->req.websocket || (length < 0 && !h->chunked && !h->bodiless))
        h->keep_alive = false; /* what follows the request is not known to be a request */
    put_head(h, status, fields, false);
    if (length >= 0 && !(empty && status != 304))
        put(h, line, (size_t)snprintf(line, sizeof(line), "Content-Length: %lld\r\n", (long long)length));
    if (h->chunked)
        put_field(h, CV_STR("Transfer-Encoding"), CV_STR("chunked"));
    if (!h->keep_alive)
        put_field(h, CV_STR("Connection"), CV_STR("close"));
    else if (old)
        put_field(h, CV_STR("Connection"), CV_STR("keep-alive"));
    put(h, "\r\n", 2);
}

void h1_tunnel(struct h1 *h, int status, const struct fields *fields)
{
    put_head(h, status, fields, true);
    put(h, "\r\n", 2);
    h->left = -1;
    h->chunked = h->bodiless = h->keep_alive = false;
}

void h1_body(struct h1 *h, const void *p, size_t n)
{
    char line[24];
    if (h->bodiless || n == 0)
        return;
    if (h->left >= 0) {
        if (n > (size_t)h->left)
            n = (size_t)h->left;
        h->left -= (int64_t)n;
    }
    if (h->chunked)
        put(h, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", n));
    put(h, p, n);
    if (h->chunked)
        put(h, "\r\n", 2);
}

void h1_over(struct h1 *h)
{
    if (h->dead || h->closing)
        return;
    if (h->keep_alive && h->received) {
        h->next = true;
        event_active(&h->rev, 0, 1);
        return;
    }
    h->keep_alive = false;
    h1_reading(h, true);
    h->closing = true;
    if (h->out.n == 0)
        h1_send_soon(h);
}

void h1_finish(struct h1 *h, const struct fields *trailers)
{
    if (!h->busy)
        return;
    if (h->left > 0 && !h->bodiless) {
        h1_abort(h);
        return;
    }
    if (h->chunked) {
        put(h, "0\r\n", 3);
        for (size_t i = 0; trailers && i < trailers->n; i++)
            if (!is_framing(fields_name(trailers, i)))
                put_field(h, fields_name(trailers, i), fields_value(trailers, i));
        put(h, "\r\n", 2);
    }
    h->busy = false;
    h1_over(h);
}

void h1_abort(struct h1 *h)
{
    h->busy = false;
    h->reset = true;
    if (!h->dead)
        write_some(h); /* what came before the cut, as far as it goes */
    h1_bury(h);
}

void h1_simple(struct h1 *h, int status, const char *type, struct cv_str body)
{
    struct fields fields = { 0 };
    fields_add(&fields, CV_STR("Content-Type"), cv_str_of(type));
    h1_reply(h, status, &fields, (int64_t)body.n);
    h1_body(h, body.p, body.n);
    h1_finish(h, NULL);
    fields_free(&fields);
}
