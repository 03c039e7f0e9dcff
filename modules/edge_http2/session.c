/* session.c: nghttp2 between the records and the streams. */
#include "h2.h"

#include <string.h>
#include <sys/uio.h>

/* ---- out: frames gather in one record's worth of bytes; larger bodies go from their pipe ---------------- */

static bool send_out(struct h2_conn *c)
{
    size_t n = c->out_n;
    c->out_n = 0;
    return n == 0 || h2_tls_write(c, c->out, n);
}

static bool add_out(struct h2_conn *c, const uint8_t *p, size_t n)
{
    while (n) {
        size_t part = H2_OUT - c->out_n < n ? H2_OUT - c->out_n : n;
        memcpy(c->out + c->out_n, p, part);
        c->out_n += part;
        p += part;
        n -= part;
        if (c->out_n == H2_OUT && !send_out(c))
            return false;
    }
    return true;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *p, size_t n, int flags, void *user)
{
    (void)session;
    (void)flags;
    struct h2_conn *c = user;
    if (c->backlog.n)
        return NGHTTP2_ERR_WOULDBLOCK;
    return add_out(c, p, n) ? (ssize_t)n : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* The header of the frame goes in front of its payload, where the pipe leaves room: one record, nothing copied. */
static bool send_in_place(struct h2_conn *c, const uint8_t *header, struct iovec payload, size_t n)
{
    uint8_t *frame = (uint8_t *)payload.iov_base - 9;
    memcpy(frame, header, 9);
    return send_out(c) && h2_tls_write(c, frame, 9 + n);
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t n,
                        nghttp2_data_source *source, void *user)
{
    (void)source; /* the stream may be gone, its source with it: ask by number */
    struct h2_conn *c = user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (c->backlog.n)
        return NGHTTP2_ERR_WOULDBLOCK;
    struct iovec payload = { NULL, 0 };
    cv_pipe_peek(s->req->down, 0, &payload, 1);
    bool sent = n > H2_COPY_MAX ? send_in_place(c, header, payload, n)
                                : add_out(c, header, 9) && (n == 0 || add_out(c, payload.iov_base, n));
    cv_pipe_consume(s->req->down, n);
    return sent ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s)
        h2_stream_sent_end(s);
    return 0;
}

bool h2_session_send(struct h2_conn *c)
{
    uint8_t out[H2_OUT];
    c->out = out;
    bool good = nghttp2_session_send(c->session) == 0 && send_out(c);
    c->out = NULL;
    return good;
}

/* ---- in ---------------------------------------------------------------------------------------------- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_conn *c = user;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *s = h2_stream_new(c, frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)flags;
    (void)user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST || !s)
        return 0; /* trailers of a request: no transport of the tunnel carries them on */
    bool good = h2_stream_header(s, (struct cv_str){ (const char *)name, name_n },
                                 (struct cv_str){ (const char *)value, value_n });
    return good ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_conn *c = user;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        h2_settings_arrived(c);
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
        c->answers_pings = true;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        cv_conn_leaving(c->pub);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        h2_stream_start(s, ends);
    else if (ends)
        h2_stream_ended(s);
    return 0;
}

/* The connection's window opens as bytes arrive, so that one origin that does not read stalls its own stream alone;
 * when this worker's memory is short it opens as they leave. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    (void)flags;
    struct h2_conn *c = user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    size_t taken = s ? cv_pipe_write(s->req->up, p, n) : 0;
    if (s && taken < n && !s->req->error) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_FLOW_CONTROL_ERROR);
        cv_req_blame_edge(s->req);
        cv_req_fail(s->req, CV_E_PROTO, "the edge sent more than its window");
    }
    if (s && taken && cv_memory_short(c->self))
        s->owed += n;
    else
        nghttp2_session_consume_connection(session, n);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s)
        h2_stream_closed(s, code);
    return 0;
}

static int on_error(nghttp2_session *session, int code, const char *text, size_t n, void *user)
{
    (void)session;
    (void)code;
    struct h2_conn *c = user;
    cv_log(c->self, CV_DEBUG,
           CV_FIELDS(CV_I("connIndex", c->pub->index), CV_S("error", ((struct cv_str){ text, n }))),
           "HTTP/2 protocol error");
    return 0;
}

bool h2_session_receive(struct h2_conn *c, const uint8_t *p, size_t n)
{
    ssize_t used = nghttp2_session_mem_recv(c->session, p, n);
    if (used == (ssize_t)n)
        return true;
    h2_down(c, CV_E_PROTO, "the edge does not speak HTTP/2: %s",
            used < 0 ? nghttp2_strerror((int)used) : "unread bytes");
    return false;
}

/* ---- made -------------------------------------------------------------------------------------------- */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *cb;
    CV_ASSERT(nghttp2_session_callbacks_new(&cb) == 0);
    nghttp2_session_callbacks_set_send_callback(cb, on_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_error_callback2(cb, on_error);
    return cb;
}

/* In this order, docs/protocol.md §11.1. */
static void submit_settings(struct h2_conn *c)
{
    int max = h2_conf(c)->max_streams;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_FRAME_SIZE, H2_MAX_FRAME },
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max ? (uint32_t)max : UINT32_MAX },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_MAX_HEADER_LIST },
        { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 4096 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
    };
    CV_ASSERT(nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                      sizeof(settings) / sizeof(settings[0])) == 0);
    CV_ASSERT(nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, H2_WINDOW) == 0);
}

void h2_session_start(struct h2_conn *c)
{
    nghttp2_session_callbacks *cb = make_callbacks();
    nghttp2_option *option;
    CV_ASSERT(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, H2_MAX_HEADER_LIST);
    CV_ASSERT(nghttp2_session_server_new2(&c->session, cb, c, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    submit_settings(c);
}
