/* stream.c: a stream of the edge as a request: its kind, its head, its body both ways, its end. */
#include "h2.h"

#include <string.h>

enum { HEADERS_MAX = 64 };

static struct h2_stream *stream_of(const struct cv_self *self, struct cv_req *req)
{
    return cv_slot(req, self);
}

/* ---- the request's head ------------------------------------------------------------------------------ */

struct h2_stream *h2_stream_new(struct h2_conn *c, int32_t id)
{
    struct cv_req *req = cv_req_new(c->self, c->pub, CV_HTTP);
    struct h2_stream *s = cv_slot(req, c->self);
    *s = (struct h2_stream){ .req = req, .conn = c, .id = id };
    cv_pipe_limit(req->up, H2_WINDOW);
    return s;
}

bool h2_stream_header(struct h2_stream *s, struct cv_str name, struct cv_str value)
{
    struct cv_req *req = s->req;
    s->header_bytes += name.n + value.n + 32; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    if (s->header_bytes > h2_conf(s->conn)->max_headers.n) {
        cv_req_fail(req, CV_E_LIMIT, "the request has more than %llu bytes of header fields",
                    (unsigned long long)h2_conf(s->conn)->max_headers.n);
        return false;
    }
    if (cv_str_eq(name, CV_STR(":method")))
        req->method = cv_copy(req, value);
    else if (cv_str_eq(name, CV_STR(":scheme")))
        req->scheme = cv_copy(req, value);
    else if (cv_str_eq(name, CV_STR(":authority")))
        req->authority = cv_copy(req, value);
    else if (cv_str_eq(name, CV_STR(":path")))
        req->path = cv_copy(req, value);
    else
        cv_header_add(req, req->headers, name, value);
    return true;
}

/* docs/protocol.md §11.2: the first that fits; values compare exactly. */
static enum cv_req_type kind_of(const struct cv_req *req)
{
    struct cv_str upgrade = cv_header(req->headers, CV_STR("cf-cloudflared-proxy-connection-upgrade"));
    if (cv_str_eq(upgrade, CV_STR("update-configuration")))
        return CV_CONFIG;
    if (cv_str_eq(upgrade, CV_STR("websocket")))
        return CV_WEBSOCKET;
    if (cv_header(req->headers, CV_STR("cf-cloudflared-proxy-src")).n)
        return CV_TCP;
    return cv_str_eq(upgrade, CV_STR("control-stream")) ? CV_CONTROL : CV_HTTP;
}

/* Several cookie fields are one list, RFC 9113 §8.2.3. */
static void join_cookies(struct cv_req *req)
{
    struct cv_str name, value, joined = { NULL, 0 };
    size_t n = 0;
    for (size_t i = 0; cv_header_at(req->headers, i, &name, &value); i++) {
        if (!cv_str_eq(name, CV_STR("cookie")))
            continue;
        n++;
        joined.n += value.n + 2;
    }
    if (n < 2)
        return;
    char *p = cv_alloc(req, joined.n);
    joined.p = p;
    for (size_t i = 0; cv_header_at(req->headers, i, &name, &value); i++) {
        if (!cv_str_eq(name, CV_STR("cookie")))
            continue;
        memcpy(p, value.p, value.n);
        memcpy(p + value.n, "; ", 2);
        p += value.n + 2;
    }
    joined.n -= 2;
    cv_header_set(req, req->headers, CV_STR("cookie"), joined);
}

static int64_t content_length(const struct cv_headers *headers)
{
    struct cv_str text = cv_header(headers, CV_STR("content-length"));
    int64_t n = 0;
    if (!text.n || text.n > 18)
        return CV_BODY_STREAM;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return CV_BODY_STREAM;
        n = n * 10 + (text.p[i] - '0');
    }
    return n;
}

void h2_stream_start(struct h2_stream *s, bool ended)
{
    struct cv_req *req = s->req;
    req->type = kind_of(req);
    cv_header_del(req->headers, CV_STR("cf-cloudflared-proxy-connection-upgrade"));
    cv_header_del(req->headers, CV_STR("expect")); /* RFC 9110 §10.1.1: the body comes anyway */
    struct cv_str host = cv_header(req->headers, CV_STR("host"));
    if (!req->authority.n)
        req->authority = host;
    cv_header_del(req->headers, CV_STR("host"));
    join_cookies(req);
    if (req->type == CV_HTTP)
        req->body_length = ended ? 0 : content_length(req->headers);
    if (ended)
        h2_stream_ended(s);
    cv_req_start(req);
}

void h2_stream_ended(struct h2_stream *s)
{
    s->body_ended = true;
    cv_pipe_finish(s->req->up);
}

/* ---- the response ------------------------------------------------------------------------------------ */

struct fields {
    nghttp2_nv v[HEADERS_MAX];
    size_t n;
};

static void add_field(struct fields *f, struct cv_str name, struct cv_str value)
{
    if (f->n == HEADERS_MAX)
        return;
    f->v[f->n++] =
        (nghttp2_nv){ (uint8_t *)name.p, (uint8_t *)value.p, name.n, value.n, NGHTTP2_NV_FLAG_NONE };
}

static struct cv_str lower(struct cv_req *req, struct cv_str s)
{
    char *p = cv_alloc(req, s.n);
    for (size_t i = 0; i < s.n; i++)
        p[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] - 'A' + 'a') : s.p[i];
    return (struct cv_str){ p, s.n };
}

static void add_plain(struct cv_req *req, struct fields *f, const struct cv_headers *headers)
{
    struct cv_str name, value;
    for (size_t i = 0; cv_header_at(headers, i, &name, &value); i++)
        add_field(f, lower(req, name), value);
}

static void add_status(struct cv_req *req, struct fields *f, int status)
{
    add_field(f, CV_STR(":status"), cv_print(req, "%d", status));
}

/* What went wrong here, not at the origin: §11.8. */
static void failure_head(struct cv_req *req, struct fields *f)
{
    struct cv_str fields = h2_serialize_headers(req, req->resp_headers);
    bool flow = req->type == CV_TCP;
    add_status(req, f, flow ? 502 : req->status);
    if (fields.n)
        add_field(f, CV_STR("cf-cloudflared-response-headers"), fields);
    add_field(f, CV_STR("cf-cloudflared-response-meta"),
              flow && req->error == CV_E_LIMIT
                  ? CV_STR("{\"src\":\"cloudflared\",\"flow_rate_limited\":true}")
                  : CV_STR("{\"src\":\"cloudflared\"}"));
    add_field(f, CV_STR("content-length"), CV_STR("0"));
}

static void proxied_head(struct cv_req *req, struct fields *f)
{
    add_status(req, f, req->status == 101 ? 200 : req->status);
    add_field(f, CV_STR("cf-cloudflared-response-headers"), h2_serialize_headers(req, req->resp_headers));
    add_field(f, CV_STR("cf-cloudflared-response-meta"), CV_STR("{\"src\":\"origin\"}"));
    struct cv_str length = cv_header(req->resp_headers, CV_STR("content-length"));
    if (length.n && content_length(req->resp_headers) >= 0)
        add_field(f, CV_STR("content-length"), length);
}

/* The core's own answers: control stream and configuration, §11.3 and §11.4. */
static void own_head(struct cv_req *req, struct fields *f)
{
    add_status(req, f, req->status);
    if (req->type == CV_CONTROL)
        add_field(f, CV_STR("content-type"), CV_STR("application/octet-stream"));
    add_plain(req, f, req->resp_headers);
}

static void submit_trailers(struct h2_stream *s)
{
    struct fields f = { .n = 0 };
    add_plain(s->req, &f, s->req->trailers);
    nghttp2_submit_trailer(s->conn->session, s->id, f.v, f.n);
}

static bool has_trailers(const struct cv_req *req)
{
    struct cv_str name, value;
    return cv_header_at(req->trailers, 0, &name, &value);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)buf; /* on_send_data takes the bytes from the pipe itself */
    (void)source;
    (void)user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s || s->req->error)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    struct cv_pipe *down = s->req->down;
    struct iovec first = { NULL, 0 };
    cv_pipe_peek(down, 0, &first, 1);
    size_t n = first.iov_len < max ? first.iov_len : max;
    if (n == 0 && !cv_pipe_finished(down))
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (cv_pipe_finished(down) && n == cv_pipe_held(down)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (has_trailers(s->req)) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(s);
        }
    }
    return (ssize_t)n;
}

void h2_head(const struct cv_self *self, struct cv_req *req)
{
    struct h2_stream *s = stream_of(self, req);
    if (s->reset)
        return; /* closed() is on its way */
    struct fields f = { .n = 0 };
    if (req->error)
        failure_head(req, &f);
    else if (req->type == CV_CONTROL || req->type == CV_CONFIG)
        own_head(req, &f);
    else
        proxied_head(req, &f);
    bool bodyless = req->error || (cv_pipe_ended(req->down) && !has_trailers(req));
    nghttp2_data_provider body = { .read_callback = read_body };
    int rc = nghttp2_submit_response(s->conn->session, s->id, f.v, f.n, bodyless ? NULL : &body);
    s->head_sent = true;
    if (rc != 0)
        cv_req_fail(req, CV_E_PROTO, "cannot answer the edge: %s", nghttp2_strerror(rc));
    h2_flush_soon(s->conn);
}

void h2_stream_sent_end(struct h2_stream *s)
{
    s->ended = true;
    if (!s->body_ended) /* RFC 9113 §8.1: answered before the request was read whole */
        nghttp2_submit_rst_stream(s->conn->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    cv_req_done(s->req);
}

/* ---- the ends ---------------------------------------------------------------------------------------- */

void h2_readable(const struct cv_self *self, struct cv_req *req)
{
    struct h2_stream *s = stream_of(self, req);
    if (s->reset)
        return;
    nghttp2_session_resume_data(s->conn->session, s->id); /* an error says that it was not waiting */
    h2_flush_soon(s->conn);
}

void h2_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    struct h2_stream *s = stream_of(self, req);
    if (s->conn->state == H2_DOWN)
        return;
    if (!s->reset)
        nghttp2_session_consume_stream(s->conn->session, s->id, n);
    size_t owed = s->owed < n ? s->owed : n;
    s->owed -= owed;
    nghttp2_session_consume_connection(s->conn->session, owed);
    h2_flush_soon(s->conn);
}

void h2_stream_closed(struct h2_stream *s, uint32_t error_code)
{
    if (error_code)
        s->conn->resets_received++;
    s->reset = true;
    if (!s->ended)
        cv_req_fail(s->req, CV_E_CANCEL,
                    "Incoming request ended abruptly: context canceled (the edge closed the "
                    "stream: %s)",
                    nghttp2_http2_strerror(error_code));
}

/* The session may live on without this stream, or be gone already. */
void h2_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    struct h2_stream *s = stream_of(self, req);
    struct h2_conn *c = s->conn;
    if (c->state == H2_DOWN)
        return;
    nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
    nghttp2_session_consume_connection(c->session, s->owed);
    if (why && !s->reset) {
        s->conn->resets_sent++;
        nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
    }
    h2_flush_soon(c);
}
