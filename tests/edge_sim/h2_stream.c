/* h2_stream.c: frames and streams of an HTTP/2 connection, and what they mean to a tunnel. */
#include "h2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

enum { WINDOW_EVENTS_MAX = 32 }; /* logged one by one; later ones are only counted */

/* ---- opening ---------------------------------------------------------------------------------------- */

static ssize_t read_up(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    struct h2_stream *s = source->ptr;
    (void)session, (void)id, (void)user;
    size_t got = s->s.conn->stalled ? 0 : queue_copy(&s->s.up, buf, n);
    queue_take(&s->s.up, got);
    if (s->s.up.n == 0 && s->s.up_ended && !s->s.conn->stalled)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (got == 0) {
        s->sleeping = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (got > 0 && s->s.ops && s->s.ops->room)
        s->s.ops->room(&s->s);
    return (ssize_t)got;
}

static nghttp2_nv pair(struct cv_str name, struct cv_str value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n,
                         NGHTTP2_NV_FLAG_NONE };
}

static const struct cv_str upgrade_values[] = {
    [KIND_WEBSOCKET] = CV_STR("websocket"),
    [KIND_CONTROL] = CV_STR("control-stream"),
    [KIND_CONFIG] = CV_STR("update-configuration"),
};

/* Lower-cases the names into *text, which the pairs then point into. */
static size_t make_pairs(const struct head *head, struct cv_buf *text, nghttp2_nv *nv)
{
    size_t n = 0;
    nv[n++] = pair(CV_STR(":method"), head->method);
    nv[n++] = pair(CV_STR(":scheme"), head->scheme);
    nv[n++] = pair(CV_STR(":authority"), head->authority);
    nv[n++] = pair(CV_STR(":path"), head->path);
    if (head->kind == KIND_TCP)
        nv[n++] = pair(CV_STR("cf-cloudflared-proxy-src"), head->visitor);
    else if (head->kind != KIND_HTTP)
        nv[n++] = pair(CV_STR("cf-cloudflared-proxy-connection-upgrade"), upgrade_values[head->kind]);
    cv_buf_reserve(text, head->fields->text.n);
    for (size_t i = 0; i < head->fields->n; i++) {
        struct cv_str name = fields_name(head->fields, i);
        char *lower = (char *)text->p + text->n;
        for (size_t k = 0; k < name.n; k++)
            lower[k] = name.p[k] >= 'A' && name.p[k] <= 'Z' ? (char)(name.p[k] | 0x20) : name.p[k];
        text->n += name.n;
        nv[n++] = pair((struct cv_str){ lower, name.n }, fields_value(head->fields, i));
    }
    return n;
}

struct stream *h2_open(struct conn *conn, const struct head *head)
{
    struct h2 *h2 = conn->link;
    if (!h2->session || h2->ended_how || head->kind == KIND_RPC)
        return NULL;
    nghttp2_nv nv[FIELDS_MAX + 8];
    struct cv_buf text = { 0 };
    size_t n = make_pairs(head, &text, nv);
    struct h2_stream *s = cv_xcalloc(1, sizeof(*s));
    nghttp2_data_provider provider = { .source.ptr = s, .read_callback = read_up };
    bool body = head->body != BODY_NONE;
    int32_t id = nghttp2_submit_request(h2->session, NULL, nv, n, body ? &provider : NULL, s);
    cv_buf_free(&text);
    if (id < 0) {
        free(s);
        return NULL;
    }
    s->s = (struct stream){ .conn = conn, .kind = head->kind, .id = id, .up_ended = !body };
    s->h2 = h2;
    LIST_INSERT_HEAD(&h2->streams, s, entry);
    h2_send_soon(h2);
    return &s->s;
}

void h2_written(struct stream *stream)
{
    struct h2_stream *s = (struct h2_stream *)stream;
    if (s->sleeping) {
        s->sleeping = false;
        nghttp2_session_resume_data(s->h2->session, (int32_t)stream->id);
    }
    h2_send_soon(s->h2);
}

void h2_credit(struct stream *stream, size_t n)
{
    struct h2_stream *s = (struct h2_stream *)stream;
    nghttp2_session_consume_stream(s->h2->session, (int32_t)stream->id, n);
    h2_send_soon(s->h2);
}

void h2_reset(struct stream *stream, bool done)
{
    struct h2_stream *s = (struct h2_stream *)stream;
    nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, (int32_t)stream->id,
                              done ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
    h2_send_soon(s->h2);
}

void h2_reset_streams(struct h2 *h2)
{
    struct h2_stream *s;
    LIST_FOREACH(s, &h2->streams, entry)
    if (s->s.kind <= KIND_TCP)
        nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, (int32_t)s->s.id, NGHTTP2_CANCEL);
}

void h2_stream_free(struct h2_stream *s, enum ending ending, uint64_t code)
{
    LIST_REMOVE(s, entry);
    stream_gone(&s->s, ending, code);
    fields_free(&s->fields);
    free(s);
}

/* ---- responses -------------------------------------------------------------------------------------- */

static void bad_response(struct h2_stream *s, const char *why)
{
    log_event(s->s.conn, "bad-response", CV_FIELDS(CV_I("stream", s->s.id), CV_S("why", cv_str_of(why))));
    nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, (int32_t)s->s.id, NGHTTP2_PROTOCOL_ERROR);
}

/* False: the value is not what docs/protocol.md §11.6 and §11.8 describe. */
static bool read_meta(struct cv_str meta, struct reply *reply)
{
    if (cv_str_eq(meta, CV_STR("{\"src\":\"origin\"}")))
        return true;
    yyjson_doc *doc = yyjson_read(meta.p, meta.n, 0);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *src = yyjson_get_str(yyjson_obj_get(root, "src"));
    reply->connector = src && strcmp(src, "cloudflared") == 0;
    reply->flow_limited = yyjson_get_bool(yyjson_obj_get(root, "flow_rate_limited"));
    bool good = reply->connector || (src && strcmp(src, "origin") == 0);
    yyjson_doc_free(doc);
    return good;
}

/* The response of a proxied request: what the visitor gets is in the serialized list. */
static const char *read_response(struct h2_stream *s, struct reply *reply, struct fields *origin)
{
    struct cv_str meta = fields_get(&s->fields, "cf-cloudflared-response-meta");
    struct cv_str list = fields_get(&s->fields, "cf-cloudflared-response-headers");
    struct cv_str length = fields_get(&s->fields, "content-length");
    if (!meta.p || !read_meta(meta, reply))
        return "cf-cloudflared-response-meta is missing or malformed";
    if (!reply->connector && !list.p)
        return "cf-cloudflared-response-headers is missing";
    if (!fields_unserialize(origin, list))
        return "cf-cloudflared-response-headers is malformed";
    if (length.p && !fields_get(origin, "content-length").p)
        fields_add(origin, CV_STR("Content-Length"), length);
    if (s->s.kind == KIND_WEBSOCKET && reply->status == 200 && fields_get(origin, "sec-websocket-accept").p)
        reply->status = 101;
    return NULL;
}

static void deliver_head(struct h2_stream *s)
{
    struct fields origin = { 0 };
    struct reply reply = { .status = s->status, .fields = &origin };
    s->replied = true;
    const char *bad = s->s.kind <= KIND_TCP ? read_response(s, &reply, &origin) : NULL;
    if (bad)
        bad_response(s, bad);
    else if (s->s.ops && s->s.ops->reply)
        s->s.ops->reply(&s->s, &reply);
    fields_free(&origin);
    fields_free(&s->fields);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct cv_str n = { (const char *)name, name_n }, v = { (const char *)value, value_n };
    (void)flags, (void)user;
    uint64_t status;
    if (!s)
        return 0;
    if (cv_str_eq(n, CV_STR(":status")))
        s->status = parse_u64(v, 999, &status) ? (int)status : 0;
    else if (!fields_add(&s->fields, n, v))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)flags, (void)user;
    if (s && s->s.conn->stalled)
        return 0;
    nghttp2_session_consume_connection(session, n);
    if (s && s->s.ops && s->s.ops->data)
        s->s.ops->data(&s->s, p, n);
    else
        nghttp2_session_consume_stream(session, id, n);
    return 0;
}

static void on_down_end(struct h2_stream *s)
{
    s->s.down_ended = true;
    if (s->s.ops && s->s.ops->end)
        s->s.ops->end(&s->s, &s->fields); /* what came after the head: trailers */
}

static void on_settings(struct h2 *h2, const nghttp2_settings *settings)
{
    struct cv_buf text = { 0 };
    for (size_t i = 0; i < settings->niv; i++) {
        char one[32];
        int n = snprintf(one, sizeof(one), "%s%d=%u", i ? "," : "", settings->iv[i].settings_id,
                         settings->iv[i].value);
        cv_buf_add(&text, one, (size_t)n);
    }
    if (h2->settings_seen++ < WINDOW_EVENTS_MAX)
        log_event(h2->conn, "settings",
                  CV_FIELDS(CV_S("values", ((struct cv_str){ (char *)text.p, text.n }))));
    cv_buf_free(&text);
}

static void on_window(struct h2 *h2, const nghttp2_frame *frame)
{
    if (h2->conn->window_updates++ < WINDOW_EVENTS_MAX)
        log_event(h2->conn, "window-update",
                  CV_FIELDS(CV_I("stream", frame->hd.stream_id),
                            CV_I("increment", frame->window_update.window_size_increment)));
}

static void on_headers(struct h2_stream *s)
{
    if (s->replied)
        return; /* trailers; they are used at the end */
    if (s->status >= 100 && s->status < 200) {
        log_event(s->s.conn, "interim", CV_FIELDS(CV_I("stream", s->s.id), CV_I("status", s->status)));
        s->fields.n = s->fields.text.n = 0;
    } else {
        deliver_head(s);
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            on_settings(h2, &frame->settings);
        break;
    case NGHTTP2_WINDOW_UPDATE: on_window(h2, frame); break;
    case NGHTTP2_GOAWAY:
        h2->conn->draining = true;
        log_event(
            h2->conn, "goaway",
            CV_FIELDS(CV_I("code", frame->goaway.error_code), CV_I("last", frame->goaway.last_stream_id)));
        break;
    case NGHTTP2_RST_STREAM:
        if (s)
            stream_was_reset(&s->s, frame->rst_stream.error_code);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            log_event(h2->conn, "pong", NULL);
        break;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        if (s && frame->hd.type == NGHTTP2_HEADERS)
            on_headers(s);
        if (s && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            on_down_end(s);
        break;
    default: break;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)user;
    if (s)
        h2_stream_free(s, s->s.down_ended ? END_CLEAN : END_RESET, code);
    return 0;
}

static int on_bad_frame(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
    struct h2 *h2 = user;
    (void)session;
    log_event(h2->conn, "bad-frame",
              CV_FIELDS(CV_I("type", frame->hd.type), CV_I("stream", frame->hd.stream_id),
                        CV_S("why", cv_str_of(nghttp2_strerror(code)))));
    return 0;
}

static ssize_t pad(nghttp2_session *session, const nghttp2_frame *frame, size_t max, void *user)
{
    (void)session, (void)user;
    size_t n = frame->hd.length + opt.padding;
    return (ssize_t)(n < max ? n : max);
}

/* ---- the session ------------------------------------------------------------------------------------ */

static nghttp2_session_callbacks *callbacks(void)
{
    nghttp2_session_callbacks *cb;
    CV_ASSERT(nghttp2_session_callbacks_new(&cb) == 0);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_bad_frame);
    if (opt.padding)
        nghttp2_session_callbacks_set_select_padding_callback(cb, pad);
    return cb;
}

void h2_session_start(struct h2 *h2)
{
    nghttp2_option *option;
    nghttp2_session_callbacks *cb = callbacks();
    CV_ASSERT(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, UINT32_MAX);
    CV_ASSERT(nghttp2_session_client_new2(&h2->session, cb, h2, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, opt.stream_window },
        { NGHTTP2_SETTINGS_MAX_FRAME_SIZE, opt.max_frame },
    };
    nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
    nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)opt.conn_window);
}
