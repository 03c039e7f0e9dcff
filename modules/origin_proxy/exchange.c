/* exchange.c: one request and its response over HTTP/1.1: sends and receives at the same time, keeps both
 * within what the pipes hold, and leaves the connection to the next request if nothing of this one is left on
 * it. */
#include "origin.h"

#include <errno.h>
#include <string.h>

enum { IOVECS = 12 };

static const struct origin_conf *conf(const struct origin_exchange *x)
{
    return x->w->self.conf;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

/* Lets go of everything but the connection. */
static void release(struct origin_exchange *x)
{
    x->over = true;
    cv_timer_clear(&x->timer);
    origin_dial_cancel(x->dial);
    x->dial = NULL;
    origin_parser_free(&x->in);
    cv_buf_free(&x->out.head);
    cv_buf_free(&x->body);
    origin_h2_leave(x);
}

static void drop(struct origin_exchange *x)
{
    release(x);
    origin_link_free(x->link);
    x->link = NULL;
}

void origin_exchange_fail(struct origin_exchange *x, enum cv_error error, const char *cause)
{
    drop(x);
    cv_add(cv_series(&x->w->self, ORIGIN_ERRORS, (const struct cv_str[]){ cv_str_of(cv_error_name(error)) }),
           1);
    if (x->req->status)
        cv_req_fail(x->req, error, "The exchange with the origin ended abruptly: %s", cause);
    else
        cv_req_fail(
            x->req, error,
            "Unable to reach the origin service. The service may be down or it may not be responding to "
            "traffic from cloudflared: %s",
            cause);
}

static void fail_system(struct origin_exchange *x, const char *doing)
{
    struct cv_err err;
    cv_fail(&err, CV_E_IO, "%s: %m", doing);
    origin_exchange_fail(x, CV_E_IO, err.text);
}

/* The response has ended. The connection may serve again if both sides of it are where the next request
 * begins. */
void origin_exchange_complete(struct origin_exchange *x, bool surplus)
{
    struct origin_link *link = x->link;
    bool reusable =
        x->in.keep_alive && origin_sender_done(&x->out) && !x->mute && !surplus && !origin_link_pending(link);
    x->link = NULL;
    if (reusable)
        origin_pool_give(link, x->key, &x->req->rule->settings);
    else
        origin_link_free(link);
    origin_exchange_end(x);
}

/* A connection from the pool may have been closed by the origin in the very moment that it was chosen. If the
 * origin has said nothing and nothing was sent that cannot be sent again, a new one gets the request, once.
 */
static bool again(struct origin_exchange *x)
{
    if (x->retried || x->req->status || x->out.begun)
        return false;
    cv_add(x->w->series[ORIGIN_RETRIES], 1);
    x->retried = true;
    return true;
}

static bool retry(struct origin_exchange *x)
{
    if (!x->reused || x->in.fed > 0 || !again(x))
        return false;
    origin_link_free(x->link);
    x->link = NULL;
    origin_exchange_start(x);
    return true;
}

void origin_exchange_lost(struct origin_exchange *x, bool untouched, enum cv_error error, const char *cause)
{
    if (!untouched || !again(x)) {
        origin_exchange_fail(x, error, cause);
        return;
    }
    origin_h2_leave(x);
    origin_exchange_start(x);
}

void origin_exchange_end(struct origin_exchange *x)
{
    release(x);
    cv_pipe_finish(x->req->down);
}

/* ---- request ----------------------------------------------------------------------------------------- */

static bool is_upgraded(const struct origin_exchange *x)
{
    return x->out.framing == ORIGIN_RAW;
}

static void half_close(struct origin_exchange *x)
{
    x->half_closed = true;
    origin_link_half_close(x->link);
    origin_exchange_sent(x);
}

static void send_some(struct origin_exchange *x)
{
    struct iovec iov[IOVECS];
    bool was_done = origin_sender_done(&x->out);
    int n;
    while (!x->mute && (n = origin_sender_iov(&x->out, x->req->up, iov, IOVECS)) > 0) {
        ssize_t sent = origin_link_write(x->link, iov, n);
        if (sent < 0) {
            x->mute = errno != EAGAIN; /* it may have answered before it closed: reading tells */
            break;
        }
        origin_sender_sent(&x->out, x->req->up, (size_t)sent);
        origin_exchange_touch(x);
    }
    if (is_upgraded(x) && !x->half_closed && cv_pipe_ended(x->req->up))
        half_close(x);
    else if (!was_done && origin_sender_done(&x->out))
        origin_exchange_sent(x);
}

/* ---- response ---------------------------------------------------------------------------------------- */

static void on_field(void *arg, struct cv_str name, struct cv_str value)
{
    struct origin_exchange *x = arg;
    if (!x->req->resp_headers)
        x->req->resp_headers = cv_headers_new(x->req);
    cv_header_add(x->req, x->req->resp_headers, name, value);
}

static void on_trailer(void *arg, struct cv_str name, struct cv_str value)
{
    struct origin_exchange *x = arg;
    if (!x->req->trailers)
        x->req->trailers = cv_headers_new(x->req);
    cv_header_add(x->req, x->req->trailers, name, value);
}

static void on_head(void *arg, int status)
{
    struct origin_exchange *x = arg;
    x->req->status = status;
    if (status == 101)
        x->out.framing = ORIGIN_RAW;
    origin_sender_settle(&x->out);
    origin_exchange_sent(x);
    cv_req_respond(x->req);
}

static void on_body(void *arg, const void *bytes, size_t n)
{
    struct origin_exchange *x = arg;
    cv_pipe_write(x->req->down, bytes, n); /* it fits: no more was read than there was room */
}

const struct origin_sink origin_exchange_sink = { on_field, on_head, on_body, on_trailer };

/* Head and chunks go through the parser, from bytes that belong to the worker: between calls a stream holds
 * none. */
static ssize_t receive_parsed(struct origin_exchange *x, size_t most)
{
    struct iovec iov = { x->w->scratch, most };
    ssize_t n = origin_link_read(x->link, &iov, 1);
    if (n <= 0)
        return n;
    size_t used;
    enum cv_error error = origin_parser_feed(&x->in, iov.iov_base, (size_t)n, &used);
    if (error) {
        origin_exchange_fail(x, error, x->in.why);
        return n;
    }
    size_t surplus = (size_t)n - used;
    if (is_upgraded(x)) {
        cv_pipe_write(x->req->down, (uint8_t *)iov.iov_base + used, surplus);
        send_some(x); /* what the visitor has said already */
    } else if (x->in.reading == ORIGIN_READ_DONE) {
        origin_exchange_complete(x, surplus > 0);
    }
    return n;
}

/* A body without chunks goes from the socket to the pipe. */
static ssize_t receive_direct(struct origin_exchange *x, size_t most)
{
    struct iovec iov[IOVECS];
    int n = cv_pipe_reserve(x->req->down, iov, IOVECS), used = 0;
    for (size_t left = most; used < n && left > 0; used++) {
        if (iov[used].iov_len > left)
            iov[used].iov_len = left;
        left -= iov[used].iov_len;
    }
    ssize_t got = origin_link_read(x->link, iov, used);
    int saved = errno;
    cv_pipe_commit(x->req->down, got > 0 ? (size_t)got : 0);
    errno = saved;
    if (got <= 0)
        return got;
    origin_parser_took(&x->in, (size_t)got);
    if (x->in.reading == ORIGIN_READ_DONE)
        origin_exchange_complete(x, false);
    return got;
}

static void on_eof(struct origin_exchange *x)
{
    if (retry(x))
        return;
    enum cv_error error = origin_parser_eof(&x->in);
    if (error)
        origin_exchange_fail(x, error, x->in.why);
    else
        origin_exchange_complete(x, true);
}

/* Reads until the socket is dry, the pipe is full, or others should have their turn. */
static void receive_some(struct origin_exchange *x)
{
    size_t budget = conf(x)->read_budget.n;
    for (;;) {
        size_t room = cv_pipe_room(x->req->down);
        if (room == 0) {
            origin_link_watch(x->link, false); /* until credit() */
            return;
        }
        size_t direct = origin_parser_direct(&x->in, room);
        size_t asked = direct ? direct : room < ORIGIN_SCRATCH ? room : ORIGIN_SCRATCH;
        ssize_t n = direct ? receive_direct(x, asked) : receive_parsed(x, asked);
        if (x->over)
            return;
        if (n == 0) {
            on_eof(x);
            return;
        }
        if (n < 0) {
            if (errno == EAGAIN)
                break;
            if (!retry(x))
                fail_system(x, "read");
            return;
        }
        origin_exchange_touch(x);
        budget -= (size_t)n < budget ? (size_t)n : budget;
        bool dry = !x->link->ssl && (size_t)n < asked;
        if ((dry || budget == 0) && !origin_link_pending(x->link))
            break;
    }
    origin_link_watch(x->link, true);
}

static void on_ready(struct origin_link *link, short what)
{
    struct origin_exchange *x = link->user;
    if (what & EV_WRITE)
        send_some(x);
    if (what & EV_READ)
        receive_some(x);
}

/* ---- connection -------------------------------------------------------------------------------------- */

static void attach(struct origin_exchange *x, struct origin_link *link, bool reused)
{
    x->link = link;
    x->reused = reused;
    x->mute = false;
    origin_sender_rewind(&x->out);
    origin_parser_init(&x->in, &origin_exchange_sink, x, conf(x)->max_response_headers.n);
    x->in.no_body = cv_str_eq(x->req->method, CV_STR("HEAD"));
    x->in.may_upgrade = x->req->type == CV_WEBSOCKET;
    origin_link_own(link, on_ready, x);
    origin_link_watch(link, true);
    origin_exchange_sent(x);
    send_some(x);
}

static void on_dialled(void *arg, struct origin_link *link, enum cv_error error, const char *why)
{
    struct origin_exchange *x = arg;
    x->dial = NULL;
    if (error) {
        origin_h2_led(x, error, why);
        origin_exchange_fail(x, error, why);
        return;
    }
    if (origin_h2_agreed(x, link))
        origin_h2_adopt(x, link);
    else
        attach(x, link, false);
    origin_h2_led(x, CV_OK, NULL);
}

void origin_exchange_start(struct origin_exchange *x)
{
    if (x->h2.wanted && origin_h2_join(x))
        return;
    struct origin_link *link = x->retried || x->h2.certain ? NULL : origin_pool_take(x->w, x->key);
    if (link) {
        cv_add(x->w->series[ORIGIN_REUSED], 1);
        attach(x, link, true);
        return;
    }
    if (x->h2.wanted && origin_h2_wait(x))
        return;
    x->dial = origin_dial(x->w, x->req->rule, origin_tls_name(x->req), on_dialled, x);
    if (x->h2.wanted) {
        origin_dial_offer_h2(x->dial);
        origin_h2_lead(x);
    }
}

/* ---- what the core calls ----------------------------------------------------------------------------- */

/* Writes the head, which promises a body of that length, and looks for a connection. */
static void begin(struct origin_exchange *x, int64_t body_length)
{
    const char *why;
    const struct cv_proxy *via = origin_via(x->w, x->req->rule, &why);
    bool asks_proxy = via && via->kind == CV_PROXY_HTTP && !x->req->rule->target.tls;
    enum cv_error error =
        asks_proxy ? origin_request_head_via(&x->out.head, via, x->req, body_length, &x->w->tags, &why)
                   : origin_request_head(&x->out.head, x->req, body_length, &x->w->tags, &why);
    if (error) {
        origin_exchange_fail(x, error, why);
        return;
    }
    x->out.lines_n = x->out.head.n;
    if (x->body.n > 0) { /* goes with the head, as often as that */
        cv_buf_add(&x->out.head, x->body.p, x->body.n);
        cv_buf_free(&x->body);
    } else if (body_length) {
        x->out.framing = body_length == CV_BODY_STREAM ? ORIGIN_CHUNKED : ORIGIN_LENGTH;
        x->out.left = body_length > 0 ? (uint64_t)body_length : 0;
    }
    x->key = origin_pool_key(x->req, via);
    if (!asks_proxy)
        origin_h2_choose(x);
    origin_exchange_start(x);
}

/* disableChunkedEncoding: the length must be known before the head is sent. */
static void buffer(struct origin_exchange *x)
{
    struct iovec iov[IOVECS];
    int n;
    while ((n = cv_pipe_peek(x->req->up, 0, iov, IOVECS)) > 0) {
        for (int i = 0; i < n; i++) {
            cv_buf_add(&x->body, iov[i].iov_base, iov[i].iov_len);
            cv_pipe_consume(x->req->up, iov[i].iov_len);
        }
        if (x->body.n > conf(x)->buffered_body.n) {
            origin_exchange_fail(
                x, CV_E_LIMIT,
                "the request's body has no length, is longer than buffered_body, and the rule says "
                "disableChunkedEncoding");
            return;
        }
    }
    if (!cv_pipe_ended(x->req->up))
        return;
    x->buffering = false;
    begin(x, (int64_t)x->body.n);
}

/* A stream that ended before its first byte has no body: most origins like that better than an empty chunk.
 */
static int64_t body_length(const struct cv_req *req)
{
    if (req->type == CV_WEBSOCKET)
        return 0;
    return req->body_length == CV_BODY_STREAM && cv_pipe_ended(req->up) ? 0 : req->body_length;
}

void origin_open(const struct cv_self *self, struct cv_req *req)
{
    struct origin_exchange *x = cv_slot(req, self);
    x->w = self->local;
    x->req = req;
    origin_exchange_limit(x);
    int64_t length = body_length(req);
    x->buffering = length == CV_BODY_STREAM && req->rule->settings.disable_chunked_encoding;
    if (x->buffering)
        buffer(x);
    else
        begin(x, length);
}

/* Bytes that the head did not promise go nowhere; fewer than it promised cannot be made good. */
static bool check_body(struct origin_exchange *x)
{
    struct cv_pipe *up = x->req->up;
    if (x->req->type == CV_WEBSOCKET)
        return true;
    if (x->out.framing == ORIGIN_LENGTH && x->out.left > cv_pipe_held(up) && cv_pipe_finished(up)) {
        origin_exchange_fail(x, CV_E_PROTO, "the request's body is shorter than its Content-Length");
        return false;
    }
    if (x->out.framing == ORIGIN_NO_BODY || (x->out.framing == ORIGIN_LENGTH && x->out.left == 0))
        cv_pipe_consume(up, cv_pipe_held(up));
    return true;
}

void origin_readable(const struct cv_self *self, struct cv_req *req)
{
    struct origin_exchange *x = cv_slot(req, self);
    if (x->over)
        return;
    if (x->buffering) {
        buffer(x);
        return;
    }
    if (!check_body(x))
        return;
    if (x->h2.conn)
        origin_h2_readable(x);
    if (!x->link)
        return;
    send_some(x);
    check_body(x);
}

void origin_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    struct origin_exchange *x = cv_slot(req, self);
    if (x->h2.conn)
        origin_h2_credit(x, n);
    if (x->link && !x->link->reading)
        receive_some(x);
}

void origin_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)why;
    struct origin_exchange *x = cv_slot(req, self);
    if (x->w)
        drop(x);
}
