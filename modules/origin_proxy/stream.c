/* stream.c: a byte stream between a visitor and a TCP port. */
#include "stream.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum {
    FRAME = 16 * 1024, /* bytes of the origin in one frame, at most */
    CONTROL = 256,     /* room in `down` that data leave to pongs and the close */
};

static const struct origin_conf *conf(const struct origin_stream *s)
{
    return s->w->self.conf;
}

static void send_frame(struct origin_stream *s, unsigned opcode, const void *bytes, size_t n)
{
    uint8_t head[ORIGIN_WS_HEAD_MAX];
    size_t head_n = s->framed ? origin_ws_head(head, opcode, n) : 0;
    if (cv_pipe_room(s->req->down) < head_n + n)
        return; /* a ping or pong: the next one serves as well */
    cv_pipe_write(s->req->down, head, head_n);
    cv_pipe_write(s->req->down, bytes, n);
}

static atomic_uint_fast64_t flows; /* private-network streams of all workers */

/* ---- the end ----------------------------------------------------------------------------------------- */

static void release(struct origin_stream *s)
{
    s->over = true;
    cv_timer_clear(&s->ping);
    cv_timer_clear(&s->linger);
    origin_dial_cancel(s->dial);
    origin_link_free(s->link);
    s->dial = NULL;
    s->link = NULL;
    cv_buf_free(&s->out);
    if (s->counted)
        atomic_fetch_sub(&flows, 1);
    s->counted = false;
}

static void end(struct origin_stream *s)
{
    static const uint8_t normal[] = { 1000 >> 8, 1000 & 0xff }; /* RFC 6455 §7.4.1 */
    if (s->framed)
        send_frame(s, ORIGIN_WS_CLOSE, normal, sizeof(normal));
    cv_pipe_finish(s->req->down);
    release(s);
}

static void fail(struct origin_stream *s, enum cv_error error, const char *why)
{
    release(s);
    cv_add(cv_series(&s->w->self, ORIGIN_ERRORS, (const struct cv_str[]){ cv_str_of(cv_error_name(error)) }),
           1);
    if (s->req->status)
        cv_req_fail(s->req, error, "The stream to the origin ended abruptly: %s", why);
    else if (s->req->type == CV_TCP)
        cv_req_fail(s->req, error, "unable to dial tcp to origin " CV_STR_FMT ": %s",
                    CV_STR_ARG(s->req->authority), why);
    else
        cv_req_fail(s->req, error,
                    "Unable to reach the origin service. The service may be down or it may not be responding "
                    "to traffic from cloudflared: %s",
                    why);
}

static void fail_system(struct origin_stream *s, const char *doing)
{
    struct cv_err err;
    cv_fail(&err, CV_E_IO, "%s: %m", doing);
    fail(s, CV_E_IO, err.text);
}

/* ---- SOCKS ------------------------------------------------------------------------------------------- */

static void dial(struct origin_stream *s);

static void socks_answer(struct origin_stream *s, enum cv_error error, int system_error)
{
    struct sockaddr_storage local = { .ss_family = AF_UNSPEC };
    socklen_t n = sizeof(local);
    if (s->link)
        getsockname(s->link->fd, (struct sockaddr *)&local, &n);
    origin_socks_reply(s->socks, error, system_error, s->link ? &local : NULL);
    send_frame(s, ORIGIN_WS_BINARY, s->socks->reply, s->socks->reply_n);
    s->socks = NULL;
}

static void socks_connect(struct origin_stream *s)
{
    if (s->link) { /* the rule's own destination, whatever was asked for */
        socks_answer(s, CV_OK, 0);
        return;
    }
    s->rule->target = (struct cv_target){ .scheme = CV_STR("tcp"),
                                          .host = cv_str_of(s->socks->host),
                                          .authority = cv_str_of(s->socks->host),
                                          .port = s->socks->port };
    dial(s);
}

static void socks_talk(struct origin_stream *s)
{
    enum origin_socks_next next;
    while ((next = origin_socks_read(s->socks, &s->out)) == ORIGIN_SOCKS_GO_ON)
        send_frame(s, ORIGIN_WS_BINARY, s->socks->reply, s->socks->reply_n);
    if (next == ORIGIN_SOCKS_CONNECT) {
        socks_connect(s);
    } else if (next == ORIGIN_SOCKS_END) {
        send_frame(s, ORIGIN_WS_BINARY, s->socks->reply, s->socks->reply_n);
        end(s);
    }
}

/* ---- visitor to origin ------------------------------------------------------------------------------- */

/* What is unframed goes out. Whether more may be taken. */
static bool flush(struct origin_stream *s)
{
    if (s->socks && !s->dial)
        socks_talk(s);
    if (s->over || s->dial)
        return false;
    if (s->socks)
        return true;
    while (s->out.n > 0) {
        struct iovec iov = { s->out.p, s->out.n };
        ssize_t sent = origin_link_write(s->link, &iov, 1);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail_system(s, "write");
            return false;
        }
        cv_buf_take_front(&s->out, (size_t)sent);
    }
    cv_buf_free(&s->out); /* a stream that lies still holds no buffer */
    return true;
}

static void unframe(struct origin_stream *s, const struct iovec *iov)
{
    size_t used, got;
    uint8_t *to = cv_buf_reserve(&s->out, iov->iov_len);
    enum origin_ws_found found = origin_ws_read(&s->ws, iov->iov_base, iov->iov_len, &used, to, &got);
    s->out.n += got;
    cv_pipe_consume(s->req->up, used);
    if (found == ORIGIN_WS_FOUND_PING)
        send_frame(s, ORIGIN_WS_PONG, s->ws.control, s->ws.control_n);
    else if (found == ORIGIN_WS_FOUND_CLOSE)
        s->parted = true;
    else if (found == ORIGIN_WS_FOUND_FAULT)
        fail(s, CV_E_PROTO, s->ws.why);
}

static bool take(struct origin_stream *s)
{
    struct iovec iov;
    if (s->parted)
        return false;
    if (cv_pipe_peek(s->req->up, 0, &iov, 1) == 0) {
        s->parted = cv_pipe_ended(s->req->up);
        return false;
    }
    if (s->framed) {
        unframe(s, &iov);
    } else {
        cv_buf_add(&s->out, iov.iov_base, iov.iov_len);
        cv_pipe_consume(s->req->up, iov.iov_len);
    }
    return !s->over;
}

/* The visitor sends no more. What the origin has still to say comes through. */
static void part(struct origin_stream *s)
{
    if (!s->link) {
        end(s); /* in the middle of the SOCKS dialogue */
        return;
    }
    s->half_closed = true;
    s->moved = cv_now(&s->w->self);
    origin_link_half_close(s->link);
    if (conf(s)->half_close_timeout.ms > 0)
        cv_timer_set(&s->w->self, &s->linger, conf(s)->half_close_timeout);
}

static void pump(struct origin_stream *s)
{
    bool more = true;
    while (more)
        more = flush(s) && take(s);
    if (!s->over && !s->dial && s->parted && !s->half_closed && (s->out.n == 0 || !s->link))
        part(s);
}

/* ---- origin to visitor ------------------------------------------------------------------------------- */

static void receive_some(struct origin_stream *s)
{
    size_t budget = conf(s)->read_budget.n;
    while (budget > 0) {
        size_t room = cv_pipe_room(s->req->down);
        if (room <= CONTROL) {
            origin_link_watch(s->link, false); /* until credit() */
            return;
        }
        size_t most = room - CONTROL < FRAME ? room - CONTROL : FRAME;
        struct iovec iov = { s->w->scratch, most };
        ssize_t n = origin_link_read(s->link, &iov, 1);
        if (n == 0) {
            end(s);
            return;
        }
        if (n < 0 && errno != EAGAIN) {
            fail_system(s, "read");
            return;
        }
        if (n < 0)
            break;
        send_frame(s, ORIGIN_WS_BINARY, iov.iov_base, (size_t)n);
        s->moved = cv_now(&s->w->self);
        budget -= (size_t)n < budget ? (size_t)n : budget;
    }
    origin_link_watch(s->link, true);
}

static void on_ready(struct origin_link *link, short what)
{
    struct origin_stream *s = link->user;
    if (what & EV_WRITE)
        pump(s);
    if (!s->over && (what & EV_READ))
        receive_some(s);
}

/* ---- time -------------------------------------------------------------------------------------------- */

static void set_ping(struct origin_stream *s)
{
    if (s->framed && conf(s)->websocket_ping.ms > 0)
        cv_timer_set(&s->w->self, &s->ping, conf(s)->websocket_ping);
}

static void on_ping(struct cv_timer *timer)
{
    struct origin_stream *s = CV_OWNER(timer, struct origin_stream, ping);
    send_frame(s, ORIGIN_WS_PING, NULL, 0);
    set_ping(s);
}

static void on_linger(struct cv_timer *timer)
{
    struct origin_stream *s = CV_OWNER(timer, struct origin_stream, linger);
    int64_t left = s->moved + conf(s)->half_close_timeout.ms - cv_now(&s->w->self);
    if (left > 0)
        cv_timer_set(&s->w->self, timer, (struct cv_ms){ left });
    else
        end(s);
}

/* ---- connection -------------------------------------------------------------------------------------- */

static void add_field(struct cv_req *req, struct cv_str name, struct cv_str value)
{
    cv_header_add(req, req->resp_headers, name, value);
}

/* Every request to such a rule is a handshake, whether it says so or not. */
static void accept_visitor(struct origin_stream *s)
{
    struct cv_req *req = s->req;
    struct cv_str key = cv_header(req->headers, CV_STR("sec-websocket-key"));
    req->status = s->framed ? 101 : 200;
    req->resp_headers = cv_headers_new(req);
    if (s->framed && key.n > 0) {
        char accept[ORIGIN_WS_ACCEPT_SIZE];
        origin_ws_accept(key, accept);
        add_field(req, CV_STR("Connection"), CV_STR("Upgrade"));
        add_field(req, CV_STR("Upgrade"), CV_STR("websocket"));
        add_field(req, CV_STR("Sec-Websocket-Accept"), cv_str_of(accept));
    }
    cv_req_respond(req);
    set_ping(s);
}

static void begin_socks(struct origin_stream *s)
{
    s->socks = cv_alloc(s->req, sizeof(*s->socks));
}

static void on_dialled(void *arg, struct origin_link *link, enum cv_error error, const char *why)
{
    struct origin_stream *s = arg;
    int system_error = errno;
    s->dial = NULL;
    s->link = link;
    if (error && !s->socks) {
        fail(s, error, why);
        return;
    }
    if (error) {
        socks_answer(s, error, system_error);
        end(s);
        return;
    }
    origin_link_own(link, on_ready, s);
    if (s->socks) {
        socks_answer(s, CV_OK, 0);
    } else {
        accept_visitor(s);
        if (s->framed && cv_str_eq(s->rule->settings.proxy_type, CV_STR("socks")))
            begin_socks(s);
    }
    pump(s);
    if (!s->over)
        receive_some(s);
}

static void dial(struct origin_stream *s)
{
    s->dial = origin_dial(s->w, s->rule, (struct cv_str){ NULL, 0 }, on_dialled, s);
}

/* What is wrong with where the stream wants to go; NULL: nothing. */
static const char *choose_target(struct origin_stream *s)
{
    struct cv_target *target = &s->rule->target;
    if (s->req->type == CV_TCP) {
        if (!origin_target_parse(s->req->authority, target) || !origin_is_address(target->host))
            return "not an ip:port";
        if (origin_is_virtual_dns(target))
            origin_use_resolver(s->w, target);
        return NULL;
    }
    if (s->rule->kind == CV_SERVICE_BASTION) {
        struct cv_str to = cv_header(s->req->headers, CV_STR("cf-access-jump-destination"));
        return origin_target_parse(to, target) ? NULL : "Cf-Access-Jump-Destination names no host and port";
    }
    return target->port ? NULL : "the service has no port";
}

/* ---- private network --------------------------------------------------------------------------------- */

static bool admit_flow(struct origin_stream *s)
{
    uint64_t most = s->req->rule->max_active_flows;
    if (!conf(s)->private_network) {
        fail(s, CV_E_REFUSED, "private_network of origin_proxy is off");
        return false;
    }
    s->counted = true;
    if (atomic_fetch_add(&flows, 1) < most || most == 0)
        return true;
    release(s);
    cv_add(cv_series(&s->w->self, ORIGIN_FLOWS_LIMITED, (const struct cv_str[]){ CV_STR("tcp") }), 1);
    cv_req_fail(s->req, CV_E_LIMIT, "failed to start tcp flow due to rate limiting: too many active flows");
    return false;
}

/* ---- open -------------------------------------------------------------------------------------------- */

bool origin_is_stream(const struct cv_req *req)
{
    if (req->type == CV_TCP)
        return true;
    return (req->type == CV_HTTP || req->type == CV_WEBSOCKET) && req->rule &&
           (req->rule->kind == CV_SERVICE_TCP || req->rule->kind == CV_SERVICE_BASTION ||
            req->rule->kind == CV_SERVICE_SOCKS);
}

void origin_stream_open(const struct cv_self *self, struct cv_req *req)
{
    struct origin_stream *s = cv_slot(req, self);
    s->w = self->local;
    s->req = req;
    s->framed = req->type != CV_TCP;
    s->ping.fire = on_ping;
    s->linger.fire = on_linger;
    if (req->type == CV_TCP && !admit_flow(s))
        return;
    s->rule = cv_alloc(req, sizeof(*s->rule));
    *s->rule = *req->rule;
    if (s->rule->kind == CV_SERVICE_SOCKS) {
        accept_visitor(s);
        begin_socks(s);
        pump(s);
        return;
    }
    const char *wrong = choose_target(s);
    if (wrong)
        fail(s, CV_E_PROTO, wrong);
    else
        dial(s);
}

/* ---- what the core calls ------------------------------------------------------------------------------ */

static void readable(const struct cv_self *self, struct cv_req *req)
{
    struct origin_stream *s = cv_slot(req, self);
    if (!s->over && !s->dial)
        pump(s);
}

static void credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)n;
    struct origin_stream *s = cv_slot(req, self);
    if (s->link && !s->link->reading)
        receive_some(s);
}

static void closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    (void)why;
    struct origin_stream *s = cv_slot(req, self);
    if (s->w)
        release(s);
}

const struct cv_end origin_stream_end = { readable, credit, closed };
