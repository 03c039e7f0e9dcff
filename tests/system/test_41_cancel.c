/* test_41_cancel.c: a visitor who leaves: how soon his origin knows. */
#include "scene.h"

#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <time.h>

enum { SOON_US = SANITIZED ? 2000000 : 200000 }; /* 50 ms is meant; the rest is for a busy machine */

static long long now_in_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- an origin that waits to be left -------------------------------------------------------------------- */

struct left {
    bool answers; /* head and four bytes, then no more */
    sem_t asked, gone;
    long long at;
};

static void is_left(struct left *l)
{
    l->at = now_in_us();
    sem_post(&l->gone);
}

static bool over_http1(struct http1 *h, void *arg)
{
    struct left *l = arg;
    char byte;
    if (l->answers)
        http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nword");
    sem_post(&l->asked);
    recv(h->fd, &byte, 1, 0); /* its end */
    is_left(l);
    return false;
}

static ssize_t word(nghttp2_session *session, int32_t id, uint8_t *out, size_t max, uint32_t *flags,
                    nghttp2_data_source *source, void *user)
{
    (void)session, (void)id, (void)flags, (void)user;
    CV_ASSERT(max >= 4);
    if (!source->ptr)
        return NGHTTP2_ERR_DEFERRED;
    source->ptr = NULL;
    memcpy(out, "word", 4);
    return 4;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    static const nghttp2_nv ok = { (uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE };
    struct left *l = user;
    nghttp2_data_provider body = { .source.ptr = l, .read_callback = word };
    if (frame->hd.type == NGHTTP2_HEADERS) {
        if (l->answers)
            nghttp2_submit_response(session, frame->hd.stream_id, &ok, 1, &body);
        sem_post(&l->asked);
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        CU_ASSERT_EQUAL(frame->rst_stream.error_code, NGHTTP2_CANCEL);
        is_left(l);
    }
    return 0;
}

static bool send_frames(nghttp2_session *session, struct http1 *h)
{
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(session, &bytes)) > 0)
        if (!http1_send(h, bytes, (size_t)n))
            return false;
    return n == 0;
}

/* Its preface looks like the head of a request, up to here. */
static bool over_http2(struct http1 *h, void *arg)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\n";
    nghttp2_session_callbacks *calls;
    nghttp2_session *session;
    uint8_t bytes[4096];
    ssize_t n = (ssize_t)h->in.n;
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
    nghttp2_session_server_new(&session, calls, arg);
    nghttp2_session_callbacks_del(calls);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
    nghttp2_session_mem_recv(session, (const uint8_t *)preface, sizeof(preface) - 1);
    bool good = nghttp2_session_mem_recv(session, h->in.p, h->in.n) == n;
    while (good && send_frames(session, h) && (n = recv(h->fd, bytes, sizeof(bytes), 0)) > 0)
        good = nghttp2_session_mem_recv(session, bytes, (size_t)n) == n;
    CU_ASSERT_TRUE(good);
    nghttp2_session_del(session);
    return false;
}

/* ---- the test --------------------------------------------------------------------------------------------- */

static void leave(struct scene *t, struct left *l, const char *version)
{
    struct http1 h;
    char bytes[4];
    CU_ASSERT_TRUE_FATAL(scene_open(t, &h, "GET", "/", NULL));
    CU_ASSERT_TRUE(sem_within(&l->asked, PATIENCE_MS));
    if (l->answers) {
        CU_ASSERT_TRUE(http1_answer(&h, "GET") && h.status == 200);
        CU_ASSERT_EQUAL(http1_read(&h, bytes, sizeof(bytes)), 4);
    }
    long long before = now_in_us();
    http1_close(&h);
    CU_ASSERT_TRUE_FATAL(sem_within(&l->gone, PATIENCE_MS));
    printf("[%s, HTTP/%s, %s: %.1f ms] ", t->transport, version, l->answers ? "amid the answer" : "before it",
           (double)(l->at - before) / 1000);
    CU_ASSERT_TRUE(l->at - before <= SOON_US);
}

static void check_version(const char *transport, const char *version, origin_fn *fn)
{
    char rules[96], ini[64];
    struct left l = { .at = 0 };
    sem_init(&l.asked, 0, 0);
    sem_init(&l.gone, 0, 0);
    struct origin *origin = origin_start(fn, &l);
    unsigned port = origin_port(origin);
    snprintf(rules, sizeof(rules), "{\"ingress\":[{\"service\":\"http://127.0.0.1:%u\"}]}", port);
    snprintf(ini, sizeof(ini), "[origin_proxy]\nh2c = 127.0.0.1:%u\n", *version == '2' ? port : 1);
    struct scene *t = scene_start(&(struct setup){ .transport = transport, .rules = rules, .ini = ini });
    for (int answers = 0; answers < 2; answers++) {
        l.answers = answers;
        leave(t, &l, version);
    }
    scene_stop(t);
    origin_stop(origin);
    sem_destroy(&l.asked);
    sem_destroy(&l.gone);
}

static void an_origin_hears_at_once_that_its_visitor_has_left(void)
{
    for (each_transport(transport)) {
        check_version(transport, "1.1", over_http1);
        check_version(transport, "2", over_http2);
    }
}

SUITE(system_41_cancel, TEST(an_origin_hears_at_once_that_its_visitor_has_left));
