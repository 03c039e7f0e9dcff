/* h2_frames.c: what nghttp2 reports of a connection and asks for, as an exchange understands it. */
#include "culvert/wire.h"
#include "origin.h"

#include <string.h>

enum {
    INTERIM_MAX = 8,            /* 1xx responses of one request */
    IDLE_FRAMES_MAX = 10000,    /* a second */
    IDLE_FRAME = 1024,          /* bytes; a longer one counts as so many */
    EXTENSIONS = 10,            /* types from here on are none of RFC 9113's */
    REQUEST_HEAD_MAX = 1 << 24, /* nghttp2's own limit is lower than what an edge lets in */
    CONNECTION_WINDOW =
        16 << 20, /* streams have windows that pipes can hold; this one is only not to stand still */
};

static const struct origin_sink *const sink = &origin_exchange_sink;

/* ---- the request ------------------------------------------------------------------------------------- */

/* Up to the CRLF, which the line's end is moved behind. */
static struct cv_str next_line(struct cv_str *rest)
{
    const char *cr = memchr(rest->p, '\r', rest->n);
    size_t n = cr ? (size_t)(cr - rest->p) : rest->n;
    struct cv_str line = { rest->p, n };
    size_t past = n + 2 < rest->n ? n + 2 : rest->n;
    *rest = (struct cv_str){ rest->p + past, rest->n - past };
    return line;
}

static struct cv_str cut(struct cv_str *s, char at)
{
    const char *p = memchr(s->p, at, s->n);
    size_t n = p ? (size_t)(p - s->p) : s->n;
    struct cv_str head = { s->p, n };
    size_t past = p ? n + 1 : n;
    *s = (struct cv_str){ s->p + past, s->n - past };
    return head;
}

static void lower(struct cv_str s)
{
    for (char *p = (char *)(uintptr_t)s.p; p < s.p + s.n; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
}

static bool is_of_the_hop(struct cv_str name) /* RFC 9113 §8.2.2 */
{
    return cv_str_eq(name, CV_STR("connection")) || cv_str_eq(name, CV_STR("transfer-encoding"));
}

static nghttp2_nv field(struct cv_str name, struct cv_str value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n,
                         NGHTTP2_NV_FLAG_NONE };
}

/* A head of HTTP/1.1 that origin_request_head() wrote, as fields; names in it become lower case. */
static size_t fields_of(struct cv_str head, bool tls, nghttp2_nv *v)
{
    struct cv_str start = next_line(&head), line;
    size_t n = 0;
    v[n++] = field(CV_STR(":method"), cut(&start, ' '));
    v[n++] = field(CV_STR(":scheme"), tls ? CV_STR("https") : CV_STR("http"));
    v[n++] = field(CV_STR(":path"), cut(&start, ' '));
    while ((line = next_line(&head)).n > 0) {
        struct cv_str name = cut(&line, ':');
        struct cv_str value = { line.p + 1, line.n - 1 }; /* behind the blank */
        lower(name);
        if (cv_str_eq(name, CV_STR("host")))
            name = CV_STR(":authority"); /* the first line: still among the pseudo fields */
        if (!is_of_the_hop(name))
            v[n++] = field(name, value);
    }
    return n;
}

static size_t count_lines(const char *p, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)source;
    (void)user;
    struct origin_exchange *x = nghttp2_session_get_stream_user_data(session, id);
    if (!x)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = origin_sender_take(&x->out, x->req->up, out, max);
    bool done = origin_sender_done(&x->out);
    if (done) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        origin_exchange_sent(x);
    } else if (n == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    origin_exchange_touch(x);
    return (ssize_t)n;
}

int origin_h2_request(struct origin_exchange *x)
{
    struct origin_h2_stream *s = &x->h2;
    nghttp2_session *session = s->conn->session;
    size_t n = x->out.lines_n;
    origin_sender_rewind(&x->out);
    x->out.head_sent = n;
    char *head = cv_xmemdup0(x->out.head.p, n);
    nghttp2_nv *v = cv_xcalloc(count_lines(head, n) + 3, sizeof(*v));
    size_t fields = fields_of((struct cv_str){ head, n }, x->req->rule->target.tls, v);
    nghttp2_data_provider body = { .read_callback = read_body };
    s->id = nghttp2_submit_request(session, NULL, v, fields, origin_sender_done(&x->out) ? NULL : &body, x);
    free(v);
    free(head);
    s->status = 0;
    s->interim = 0;
    s->head_n = s->owed = 0;
    s->gone = false;
    s->window = s->conn->window;
    return s->id < 0 ? s->id : 0;
}

void origin_h2_readable(struct origin_exchange *x)
{
    nghttp2_session_resume_data(x->h2.conn->session, x->h2.id); /* an error says that it was not waiting */
    origin_h2_flush(x->h2.conn);
}

/* What the visitor has read the origin may send again. While memory is short, only to an empty pipe: so no
 * stream stands still, and none holds more than one window. */
void origin_h2_credit(struct origin_exchange *x, size_t n)
{
    struct origin_h2_stream *s = &x->h2;
    struct cv_pipe *down = x->req->down;
    s->owed += n;
    bool short_of_memory = cv_memory_short(&x->w->self);
    if (short_of_memory && cv_pipe_held(down) > 0)
        return;
    nghttp2_session_consume_stream(s->conn->session, s->id, s->owed);
    s->owed = 0;
    size_t whole = cv_pipe_held(down) + cv_pipe_room(down); /* an edge widens it for long paths */
    if (!short_of_memory && whole > s->window && whole <= INT32_MAX) {
        s->window = (uint32_t)whole;
        nghttp2_session_set_local_window_size(s->conn->session, NGHTTP2_FLAG_NONE, s->id, (int32_t)whole);
    }
    origin_h2_flush(s->conn);
}

/* ---- the response ------------------------------------------------------------------------------------ */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)flags;
    (void)user;
    struct origin_exchange *x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!x)
        return 0;
    struct cv_str n = { (const char *)name, name_n }, v = { (const char *)value, value_n };
    x->h2.head_n += name_n + value_n + 4;
    if (x->h2.head_n > ((const struct origin_conf *)x->w->self.conf)->max_response_headers.n)
        origin_exchange_fail(x, CV_E_LIMIT, "the response's head is longer than max_response_headers");
    else if (x->req->status)
        sink->trailer(x, n, v);
    else if (cv_str_eq(n, CV_STR(":status")))
        x->h2.status =
            (v.p[0] - '0') * 100 + (v.p[1] - '0') * 10 + (v.p[2] - '0'); /* nghttp2 has checked it */
    else if (x->h2.status >= 200 && !cv_str_eq(n, CV_STR("trailer")))    /* framing: made anew by the edge */
        sink->field(x, n, v);
    return 0;
}

static void on_head(struct origin_exchange *x)
{
    if (x->req->status)
        return; /* trailers */
    if (x->h2.status >= 200)
        sink->head(x, x->h2.status);
    else if (++x->h2.interim > INTERIM_MAX)
        origin_exchange_fail(x, CV_E_LIMIT, "more interim responses than a request can need");
}

static bool carries(nghttp2_session *session, const nghttp2_frame_hd *hd)
{
    bool ends = hd->flags & NGHTTP2_FLAG_END_STREAM;
    switch (hd->type) {
    case NGHTTP2_HEADERS: return nghttp2_session_get_stream_user_data(session, hd->stream_id) != NULL;
    case NGHTTP2_WINDOW_UPDATE: return true;
    case NGHTTP2_DATA: return hd->length > 0 || ends;
    default: return false;
    }
}

/* An origin that keeps this side busy with frames that carry nothing is left. nghttp2 bounds CONTINUATION and what it
 * answers with. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct origin_h2 *c = user;
    if (carries(session, hd))
        return 0;
    int64_t now = cv_now(&c->w->self);
    if (now - c->idle_since >= 1000) {
        c->idle_since = now;
        c->idle_frames = 0;
    }
    c->idle_frames += 1 + (unsigned)(hd->length / IDLE_FRAME);
    if (c->idle_frames <= IDLE_FRAMES_MAX)
        return 0;
    return nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* RFC 9113 §5.5: ignored. That this side asks for them makes on_begin_frame() hear of them. */
static int on_extension(nghttp2_session *session, void **payload, const nghttp2_frame_hd *hd, void *user)
{
    (void)session, (void)payload, (void)hd, (void)user;
    return NGHTTP2_ERR_CANCEL;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct origin_h2 *c = user;
    if (frame->hd.type == NGHTTP2_SETTINGS && !c->greeted)
        origin_h2_greeted(c);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        c->going = true;
    struct origin_exchange *x = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!x || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    origin_exchange_touch(x);
    if (frame->hd.type == NGHTTP2_HEADERS)
        on_head(x);
    if (x->h2.conn && frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        x->h2.gone = nghttp2_session_get_stream_local_close(session, frame->hd.stream_id) != 0;
        origin_exchange_end(x);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n,
                   void *user)
{
    (void)flags;
    (void)user;
    struct origin_exchange *x = nghttp2_session_get_stream_user_data(session, id);
    nghttp2_session_consume_connection(session, n);
    if (!x)
        return 0;
    origin_exchange_touch(x);
    if (cv_pipe_write(x->req->down, bytes, n) < n)
        origin_exchange_fail(x, CV_E_PROTO, "the origin sends more than its window allows");
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)user;
    struct origin_exchange *x = nghttp2_session_get_stream_user_data(session, id);
    if (!x)
        return 0;
    struct cv_err err;
    cv_fail(&err, CV_E_IO, "the origin reset the stream: %s", nghttp2_http2_strerror(code));
    x->h2.gone = true;
    origin_exchange_lost(x, code == NGHTTP2_REFUSED_STREAM, CV_E_IO, err.text);
    return 0;
}

/* A request that waited for its turn until there was none any more: the session does not know its stream. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    (void)session;
    struct origin_h2 *c = user;
    struct origin_exchange *x;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    TAILQ_FOREACH(x, &c->streams, h2.among)
    {
        if (x->h2.id == frame->hd.stream_id)
            break;
    }
    if (!x)
        return 0;
    x->h2.gone = true;
    origin_exchange_lost(x, true, CV_E_PROTO, nghttp2_strerror(error));
    return 0;
}

/* ---- the session ------------------------------------------------------------------------------------- */

nghttp2_session *origin_h2_session(struct origin_h2 *c)
{
    nghttp2_session_callbacks *calls;
    nghttp2_option *options;
    nghttp2_session *session;
    CV_ASSERT(nghttp2_session_callbacks_new(&calls) == 0 && nghttp2_option_new(&options) == 0);
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_close);
    nghttp2_session_callbacks_set_on_begin_frame_callback(calls, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(calls, on_not_sent);
    nghttp2_session_callbacks_set_unpack_extension_callback(calls, on_extension);
    for (unsigned type = EXTENSIONS; type <= UINT8_MAX; type++)
        nghttp2_option_set_user_recv_extension_type(options, (uint8_t)type);
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_send_header_block_length(options, REQUEST_HEAD_MAX);
    CV_ASSERT(nghttp2_session_client_new2(&session, calls, c, options) == 0);
    nghttp2_session_callbacks_del(calls);
    nghttp2_option_del(options);

    const struct origin_conf *conf = c->w->self.conf;
    uint64_t head_max = conf->max_response_headers.n;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c->window },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, head_max < UINT32_MAX ? (uint32_t)head_max : UINT32_MAX },
    };
    CV_ASSERT(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 3) == 0);
    CV_ASSERT(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0);
    return session;
}
