/* front_h2.c: visitors who speak HTTP/2 from the first byte, without TLS: each of their streams is a visit, with
 * trailers, and with bodies both ways at once. */
#include "edge_sim.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, VISITS_MAX = 1000, NV_MAX = FIELDS_MAX + 1 };

struct front {
    LIST_ENTRY(front) entry;
    LIST_HEAD(, visit) visits;
    int fd;
    struct event rev, wev;
    nghttp2_session *session;
    const uint8_t *out; /* nghttp2's, not yet written */
    size_t out_n;
    char peer[64];
};
static LIST_HEAD(, front) all = LIST_HEAD_INITIALIZER(all);

struct visit {
    LIST_ENTRY(visit) entry;
    struct front *front;
    int32_t id;
    struct h1_request req;
    struct stream *stream; /* NULL: over, or not begun */
    struct queue down;
    struct fields trailers;
    size_t held; /* bytes of the body that the visitor has no window for again */
    bool replied, ended;
};

static struct visit *visit_of(struct front *l, int32_t id)
{
    return nghttp2_session_get_stream_user_data(l->session, id);
}

static void send_soon(struct front *l)
{
    event_add(&l->wev, NULL);
}

/* ---- ends -------------------------------------------------------------------------------------------- */

static void leave_stream(struct visit *v)
{
    struct stream *s = v->stream;
    v->stream = NULL;
    if (!s)
        return;
    stream_credit(s, v->down.n);
    if (s->up_ended && s->down_ended)
        s->ops = NULL;
    else
        stream_cancel(s);
}

static void visit_free(struct visit *v)
{
    LIST_REMOVE(v, entry);
    if (v->stream && !v->ended)
        log_event(v->stream->conn, "visitor-left", CV_FIELDS(CV_I("stream", v->stream->id)));
    leave_stream(v);
    queue_free(&v->down);
    fields_free(&v->trailers);
    fields_free(&v->req.fields);
    free(v);
}

static void front_free(struct front *l)
{
    while (!LIST_EMPTY(&l->visits))
        visit_free(LIST_FIRST(&l->visits));
    LIST_REMOVE(l, entry);
    event_del(&l->rev);
    event_del(&l->wev);
    nghttp2_session_del(l->session);
    close(l->fd);
    free(l);
}

/* ---- the answer -------------------------------------------------------------------------------------- */

static nghttp2_nv pair(struct cv_str name, struct cv_str value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n,
                         NGHTTP2_NV_FLAG_NONE };
}

static size_t pairs(nghttp2_nv *v, const struct fields *fields)
{
    static const char *const of_the_hop[] = { "connection", "keep-alive", "transfer-encoding", "upgrade" };
    size_t n = 0;
    for (size_t i = 0; i < fields->n; i++) {
        bool passes = true;
        for (size_t k = 0; k < sizeof(of_the_hop) / sizeof(of_the_hop[0]); k++)
            passes = passes && !cv_str_caseeq(fields_name(fields, i), cv_str_of(of_the_hop[k]));
        if (passes)
            v[n++] = pair(fields_name(fields, i), fields_value(fields, i));
    }
    return n;
}

static void end_body(struct visit *v, uint32_t *flags)
{
    nghttp2_nv nv[NV_MAX];
    size_t n = pairs(nv, &v->trailers);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (n == 0)
        return;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(v->front->session, v->id, nv, n);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)session, (void)source;
    struct visit *v = visit_of(user, id);
    if (!v)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = queue_copy(&v->down, out, max);
    queue_take(&v->down, n);
    if (v->stream)
        stream_credit(v->stream, n);
    if (v->ended && v->down.n == 0)
        end_body(v, flags);
    else if (n == 0)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)n;
}

static void reply(struct visit *v, int status, const char *source, const struct fields *fields)
{
    nghttp2_nv nv[NV_MAX + 2];
    char digits[16];
    snprintf(digits, sizeof(digits), "%d", status);
    nv[0] = pair(CV_STR(":status"), cv_str_of(digits));
    nv[1] = pair(CV_STR("x-edge-source"), cv_str_of(source));
    nghttp2_data_provider body = { .read_callback = read_body };
    nghttp2_submit_response(v->front->session, v->id, nv, 2 + pairs(nv + 2, fields), &body);
    v->replied = true;
    send_soon(v->front);
}

/* An answer that is not the connector's own. */
static void edge_answer(struct visit *v, int status, const char *why)
{
    queue_add(&v->down, why, strlen(why));
    v->ended = true;
    reply(v, status, "edge", &(struct fields){ 0 });
}

static void on_reply(struct stream *s, const struct reply *r)
{
    struct visit *v = s->owner;
    queue_add(&v->down, r->error.p, r->error.n);
    reply(v, r->status, r->connector ? "connector" : "origin", r->fields);
}

static void on_data(struct stream *s, const uint8_t *p, size_t n)
{
    struct visit *v = s->owner;
    queue_add(&v->down, p, n);
    nghttp2_session_resume_data(v->front->session, v->id); /* an error says that it was not waiting */
    send_soon(v->front);
}

static void on_end(struct stream *s, const struct fields *trailers)
{
    struct visit *v = s->owner;
    for (size_t i = 0; trailers && i < trailers->n; i++)
        fields_add(&v->trailers, fields_name(trailers, i), fields_value(trailers, i));
    v->ended = true;
    stream_credit(s, v->down.n);
    v->stream = NULL;
    if (s->up_ended)
        s->ops = NULL;
    else
        stream_cancel(s);
    nghttp2_session_resume_data(v->front->session, v->id);
    send_soon(v->front);
}

static void on_room(struct stream *s)
{
    struct visit *v = s->owner;
    if (v->held == 0 || stream_room(s) < STREAM_UP_MAX / 2)
        return;
    nghttp2_session_consume_stream(v->front->session, v->id, v->held);
    v->held = 0;
    send_soon(v->front);
}

static void on_closed(struct stream *s, enum ending ending, uint64_t code)
{
    struct visit *v = s->owner;
    v->stream = NULL;
    if (v->replied)
        nghttp2_submit_rst_stream(v->front->session, NGHTTP2_FLAG_NONE, v->id, NGHTTP2_INTERNAL_ERROR);
    else
        edge_answer(v, 502,
                    ending == END_LOST ? "the connection to the connector was lost\n"
                                       : "the connector reset the stream\n");
    (void)code;
    send_soon(v->front);
}

static const struct stream_ops visit_ops = {
    .reply = on_reply,
    .data = on_data,
    .end = on_end,
    .room = on_room,
    .closed = on_closed,
};

/* ---- the request ------------------------------------------------------------------------------------- */

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct front *l = user;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct visit *v = cv_xcalloc(1, sizeof(*v));
    v->front = l;
    v->id = frame->hd.stream_id;
    LIST_INSERT_HEAD(&l->visits, v, entry);
    nghttp2_session_set_stream_user_data(session, v->id, v);
    return 0;
}

/* As a request of HTTP/1.1 has it: method and target are fields here until the head is whole. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)session, (void)flags;
    struct visit *v = visit_of(user, frame->hd.stream_id);
    struct cv_str n = { (const char *)name, name_n };
    if (!v || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (cv_str_eq(n, CV_STR(":authority")))
        n = CV_STR("host");
    return fields_add(&v->req.fields, n, (struct cv_str){ (const char *)value, value_n })
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void begin(struct visit *v, bool ended)
{
    struct h1_request *req = &v->req;
    struct front_refusal refusal;
    req->method = fields_get(&req->fields, ":method");
    req->target = fields_get(&req->fields, ":path");
    req->has_body = !ended;
    req->chunked = !ended && !fields_get(&req->fields, "content-length").p;
    v->stream = front_visit(req, cv_str_of(v->front->peer), &visit_ops, v, &refusal);
    if (!v->stream)
        edge_answer(v, refusal.status, refusal.why);
    else if (ended)
        stream_finish(v->stream);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct visit *v = visit_of(user, frame->hd.stream_id);
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!v || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        begin(v, ends);
    else if (ends && v->stream)
        stream_finish(v->stream);
    return 0;
}

static int on_bytes(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                    void *user)
{
    (void)flags;
    struct visit *v = visit_of(user, id);
    nghttp2_session_consume_connection(session, n);
    if (!v || !v->stream)
        return 0;
    stream_write(v->stream, p, n);
    v->held += n;
    on_room(v->stream);
    return 0;
}

static int on_gone(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)session, (void)code;
    struct visit *v = visit_of(user, id);
    if (v)
        visit_free(v);
    return 0;
}

/* RFC 9113 §8.1: answered before the request was whole, which nobody reads any more. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    int32_t id = frame->hd.stream_id;
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (ends && nghttp2_session_get_stream_remote_close(session, id) == 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    return 0;
}

/* ---- the connection ---------------------------------------------------------------------------------- */

/* false: it is freed. */
static bool receive(struct front *l, const uint8_t *p, size_t n)
{
    ssize_t used = nghttp2_session_mem_recv(l->session, p, n);
    if (used == (ssize_t)n) {
        send_soon(l);
        return true;
    }
    front_free(l);
    return false;
}

static void on_readable(int fd, short what, void *arg)
{
    static uint8_t buf[READ_BYTES];
    struct front *l = arg;
    (void)what;
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    if (n > 0)
        receive(l, buf, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        front_free(l);
}

static bool next_output(struct front *l)
{
    ssize_t n = l->out_n > 0 ? (ssize_t)l->out_n : nghttp2_session_mem_send(l->session, &l->out);
    l->out_n = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static void on_writable(int fd, short what, void *arg)
{
    struct front *l = arg;
    (void)what;
    while (next_output(l)) {
        ssize_t sent = send(fd, l->out, l->out_n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            send_soon(l);
            return;
        }
        if (sent < 0)
            break;
        l->out += sent;
        l->out_n -= (size_t)sent;
    }
    if (l->out_n > 0 || (!nghttp2_session_want_read(l->session) && !nghttp2_session_want_write(l->session)))
        front_free(l);
}

static nghttp2_session *make_session(struct front *l)
{
    nghttp2_session_callbacks *calls;
    nghttp2_option *option;
    nghttp2_session *session;
    CV_ASSERT(nghttp2_session_callbacks_new(&calls) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_bytes);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_gone);
    nghttp2_session_callbacks_set_on_frame_send_callback(calls, on_sent);
    nghttp2_option_set_no_auto_window_update(option, 1);
    CV_ASSERT(nghttp2_session_server_new2(&session, calls, l, option) == 0);
    nghttp2_session_callbacks_del(calls);
    nghttp2_option_del(option);
    const nghttp2_settings_entry most = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, VISITS_MAX };
    CV_ASSERT(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &most, 1) == 0);
    return session;
}

void front_h2(int fd_take, struct cv_str peer, const uint8_t *first, size_t n)
{
    struct front *l = cv_xcalloc(1, sizeof(*l));
    l->fd = fd_take;
    snprintf(l->peer, sizeof(l->peer), CV_STR_FMT, CV_STR_ARG(peer));
    LIST_INIT(&l->visits);
    LIST_INSERT_HEAD(&all, l, entry);
    l->session = make_session(l);
    event_assign(&l->rev, loop, fd_take, EV_READ | EV_PERSIST, on_readable, l);
    event_assign(&l->wev, loop, fd_take, EV_WRITE, on_writable, l);
    event_add(&l->rev, NULL);
    receive(l, first, n);
}

void front_h2_stop(void)
{
    while (!LIST_EMPTY(&all))
        front_free(LIST_FIRST(&all));
}
