/* h2_origin.c: an HTTP/2 origin that the test plays over a connection of the rig. */
#include "h2_origin.h"
#include "suite.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct h2_origin_stream *stream_of(struct h2_origin *o, int32_t id)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->streams[i].id == id)
            return &o->streams[i];
    CV_ASSERT(o->n < H2_ORIGIN_STREAMS);
    o->streams[o->n].id = id;
    return &o->streams[o->n++];
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)session, (void)flags;
    struct h2_origin_stream *s = stream_of(user, frame->hd.stream_id);
    size_t n = strlen(s->head);
    snprintf(s->head + n, sizeof(s->head) - n, "%.*s=%.*s ", (int)name_n, name, (int)value_n, value);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        stream_of(user, frame->hd.stream_id)->ended = true;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        struct h2_origin_stream *s = stream_of(user, frame->hd.stream_id);
        s->reset = true;
        s->code = frame->rst_stream.error_code;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n,
                   void *user)
{
    (void)session, (void)flags, (void)bytes;
    stream_of(user, id)->body_n += n;
    return 0;
}

struct h2_origin *h2_origin_accept(struct rig *r)
{
    struct h2_origin *o = cv_xcalloc(1, sizeof(*o));
    nghttp2_session_callbacks *calls;
    o->rig = r;
    o->fd = rig_accept(r);
    CV_ASSERT(o->fd >= 0);
    setsockopt(o->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    CV_ASSERT(nghttp2_session_server_new(&o->session, calls, o) == 0);
    nghttp2_session_callbacks_del(calls);
    const nghttp2_settings_entry most = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, r->origin_streams };
    nghttp2_submit_settings(o->session, NGHTTP2_FLAG_NONE, &most, r->origin_streams ? 1 : 0);
    h2_origin_turn(o);
    return o;
}

void h2_origin_free(struct h2_origin *o)
{
    nghttp2_session_del(o->session);
    if (o->fd >= 0)
        close(o->fd);
    rig_turn(o->rig);
    free(o);
}

/* false: nothing was there to be read. */
static bool read_some(struct h2_origin *o)
{
    uint8_t bytes[16384];
    ssize_t got = recv(o->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    o->gone = o->gone || got == 0 || (got < 0 && errno != EAGAIN);
    if (got > 0)
        CU_ASSERT(nghttp2_session_mem_recv(o->session, bytes, (size_t)got) == got);
    return got > 0;
}

static bool write_some(struct h2_origin *o)
{
    const uint8_t *bytes;
    ssize_t n = nghttp2_session_mem_send(o->session, &bytes), all = n;
    for (int tries = 0; n > 0 && tries < 1000; tries++) { /* what does not fit waits for the module to read */
        ssize_t sent = send(o->fd, bytes, (size_t)n, MSG_NOSIGNAL);
        bytes += sent > 0 ? sent : 0;
        n -= sent > 0 ? sent : 0;
        if (n > 0)
            rig_turn(o->rig);
    }
    return all > 0;
}

void h2_origin_turn(struct h2_origin *o)
{
    for (int quiet = 0; quiet < 8 && !o->gone;) {
        rig_turn(o->rig);
        bool in = read_some(o), out = write_some(o);
        quiet = in || out ? 0 : quiet + 1;
        if (quiet > 1)
            usleep(500); /* loopback may take a moment */
    }
}

bool h2_origin_until(struct h2_origin *o, const bool *what)
{
    for (int i = 0; i < 2000 && !*what; i++) {
        h2_origin_turn(o);
        usleep(500);
    }
    return *what;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                         NGHTTP2_NV_FLAG_NONE };
}

void h2_origin_fields(struct h2_origin *o, int32_t id, uint8_t flags, const char *const *fields)
{
    nghttp2_nv v[8];
    size_t n = 0;
    for (; fields[2 * n]; n++)
        v[n] = field(fields[2 * n], fields[2 * n + 1]);
    nghttp2_submit_headers(o->session, flags, id, NULL, v, n, NULL);
    h2_origin_turn(o);
}

void h2_origin_head(struct h2_origin *o, int32_t id, const char *type)
{
    h2_origin_fields(o, id, NGHTTP2_FLAG_NONE,
                     (const char *const[]){ ":status", "200", "content-type", type, NULL });
}

struct sending {
    size_t left;
    bool more;
};

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t max, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)session, (void)id, (void)user;
    struct sending *sending = source->ptr;
    size_t n = sending->left < max ? sending->left : max;
    memset(out, 'x', n);
    sending->left -= n;
    if (sending->left > 0)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF | (sending->more ? NGHTTP2_DATA_FLAG_NO_END_STREAM : 0);
    free(sending);
    return (ssize_t)n;
}

void h2_origin_send(struct h2_origin *o, int32_t id, size_t n, const char *trailer)
{
    struct sending *sending = cv_xmalloc(sizeof(*sending));
    *sending = (struct sending){ n, trailer != NULL };
    nghttp2_data_provider body = { .source = { .ptr = sending }, .read_callback = read_body };
    if (nghttp2_submit_data(o->session, trailer ? NGHTTP2_FLAG_NONE : NGHTTP2_FLAG_END_STREAM, id, &body) !=
        0)
        free(sending); /* the stream is reset already */
    h2_origin_turn(o);
    if (!trailer)
        return;
    const nghttp2_nv v[] = { field("grpc-status", trailer) };
    nghttp2_submit_trailer(o->session, id, v, 1);
    h2_origin_turn(o);
}

void h2_origin_answer(struct h2_origin *o, int32_t id)
{
    h2_origin_head(o, id, "text/plain");
    h2_origin_send(o, id, 5, NULL);
}
