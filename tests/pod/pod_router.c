/* pod_router.c: the application container of a simulated pod: an HTTP server on a Unix socket that ends well.
 *
 *     pod_router SOCKET
 *
 * GET /short answers at once, GET /stream sends EVENTS events EVENT_MS apart. SIGTERM: it takes no more connections,
 * finishes what is under way and ends with status 0, as a router should. */
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS = 8, EVENT_MS = 50 };

struct router {
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *listener;
    unsigned streams;
    int leaving;
};
struct stream {
    struct router *router;
    struct evhttp_request *req;
    struct event *timer;
    int sent;
};

static void leave_when_idle(struct router *r)
{
    if (r->leaving && r->streams == 0)
        event_base_loopexit(r->base, &(struct timeval){ 0, 20000 }); /* what was just answered leaves first */
}

static void end_stream(struct stream *s)
{
    struct router *r = s->router;
    r->streams--;
    event_free(s->timer);
    free(s);
    leave_when_idle(r);
}

static void on_left(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    end_stream(arg);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct stream *s = arg;
    struct evbuffer *b = evbuffer_new();
    evbuffer_add_printf(b, "data: %d\n\n", s->sent);
    evhttp_send_reply_chunk(s->req, b);
    evbuffer_free(b);
    if (++s->sent < EVENTS) {
        const struct timeval soon = { 0, EVENT_MS * 1000 };
        evtimer_add(s->timer, &soon);
        return;
    }
    evhttp_connection_set_closecb(evhttp_request_get_connection(s->req), NULL, NULL);
    evhttp_send_reply_end(s->req);
    end_stream(s);
}

static void on_stream(struct evhttp_request *req, void *arg)
{
    struct router *r = arg;
    struct stream *s = calloc(1, sizeof(*s));
    if (!s)
        abort();
    *s = (struct stream){ r, req, evtimer_new(r->base, on_tick, s), 0 };
    r->streams++;
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "text/event-stream");
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_left, s);
    evhttp_send_reply_start(req, 200, "OK");
    on_tick(-1, 0, s);
}

static void on_short(struct evhttp_request *req, void *arg)
{
    (void)arg;
    struct evbuffer *b = evbuffer_new();
    evbuffer_add_printf(b, "pod %ld\n", (long)getpid());
    evhttp_send_reply(req, 200, "OK", b);
    evbuffer_free(b);
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct router *r = arg;
    r->leaving = 1;
    evhttp_del_accept_socket(r->http, r->listener);
    leave_when_idle(r);
}

static int listen_on(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 128) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: pod_router SOCKET\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct router r = { .base = event_base_new() };
    r.http = evhttp_new(r.base);
    evhttp_set_cb(r.http, "/short", on_short, &r);
    evhttp_set_cb(r.http, "/stream", on_stream, &r);
    r.listener = evhttp_accept_socket_with_handle(r.http, listen_on(argv[1]));
    struct event *term = evsignal_new(r.base, SIGTERM, on_term, &r);
    event_add(term, NULL);
    puts("ready");
    fflush(stdout);
    event_base_dispatch(r.base);
    event_free(term);
    evhttp_free(r.http);
    event_base_free(r.base);
    return 0;
}
