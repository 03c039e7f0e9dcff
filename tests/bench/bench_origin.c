/* bench_origin.c: the origin of the benchmark: it answers at once and costs as little as possible.
 *
 *     bench_origin PORT      (loopback, HTTP/1.1 with keep-alive, one thread; runs until SIGTERM)
 *
 *     /1k         1 KiB          /bulk?n=N   N bytes
 *     /sse        one event, then nothing for as long as the client stays
 *
 * A request body with Content-Length is read and thrown away before the answer. Requests are not pipelined. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 8192, CHUNK = 256 * 1024 };

struct visitor {
    int fd;
    bool asked;       /* the head is complete: what comes now is the body */
    size_t have;      /* bytes of the head */
    uint64_t to_read; /* of the body */
    uint64_t to_send; /* of a bulk answer */
    char *head;       /* HEAD_MAX + 1 bytes, only while a head is incomplete or its body is coming */
};

static int poller;
static char filler[CHUNK], sink[CHUNK];

static void leave(struct visitor *v)
{
    close(v->fd);
    free(v->head);
    free(v);
}

static void watch(struct visitor *v, uint32_t events, int how)
{
    struct epoll_event e = { .events = events, .data.ptr = v };
    epoll_ctl(poller, how, v->fd, &e);
}

/* ---- answering ---------------------------------------------------------------------------------------- */

static bool send_rest(struct visitor *v)
{
    while (v->to_send) {
        ssize_t n = send(v->fd, filler, v->to_send < CHUNK ? (size_t)v->to_send : CHUNK, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(v, EPOLLOUT, EPOLL_CTL_MOD);
            return true;
        }
        if (n < 0)
            return false;
        v->to_send -= (uint64_t)n;
    }
    return true;
}

static bool say(struct visitor *v, const char *text, size_t n)
{
    return send(v->fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool answer_sized(struct visitor *v, uint64_t n)
{
    char out[2048] = { 0 };
    int head = snprintf(out, sizeof(out) - 1024,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                        "Content-Length: %llu\r\n\r\n",
                        (unsigned long long)n);
    size_t now = n < 1024 ? (size_t)n : 1024;
    v->to_send = n - now;
    return say(v, out, (size_t)head + now) && send_rest(v);
}

static bool answer_stream(struct visitor *v)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n";
    return say(v, text, sizeof(text) - 1);
}

static bool answer(struct visitor *v)
{
    const char *path = strchr(v->head, ' ');
    bool stream = path && strncmp(path, " /sse", 5) == 0;
    const char *size = path ? strstr(path, "/bulk?n=") : NULL;
    uint64_t n = size ? strtoull(size + 8, NULL, 10) : 1024;
    free(v->head);
    v->head = NULL;
    v->have = 0;
    v->asked = false;
    return stream ? answer_stream(v) : answer_sized(v, n);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static uint64_t length_of_body(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");
    return at ? strtoull(at + 17, NULL, 10) : 0;
}

static ssize_t read_head(struct visitor *v)
{
    if (!v->head)
        v->head = malloc(HEAD_MAX + 1);
    if (!v->head || v->have == HEAD_MAX)
        return 0;
    ssize_t n = recv(v->fd, v->head + v->have, HEAD_MAX - v->have, 0);
    if (n <= 0)
        return n;
    v->have += (size_t)n;
    v->head[v->have] = 0;
    char *end = strstr(v->head, "\r\n\r\n");
    if (end) {
        uint64_t body = length_of_body(v->head), came = v->have - (size_t)(end + 4 - v->head);
        v->to_read = body > came ? body - came : 0;
        v->asked = true;
    }
    return n;
}

static ssize_t read_body(struct visitor *v)
{
    ssize_t n = recv(v->fd, sink, v->to_read < CHUNK ? (size_t)v->to_read : CHUNK, 0);
    v->to_read -= n > 0 ? (uint64_t)n : 0;
    return n;
}

static bool on_readable(struct visitor *v)
{
    ssize_t n = v->asked ? read_body(v) : read_head(v);
    if (n < 0)
        return errno == EAGAIN;
    return n > 0 && (!v->asked || v->to_read || answer(v));
}

static bool on_writable(struct visitor *v)
{
    bool alive = send_rest(v);
    if (alive && !v->to_send)
        watch(v, EPOLLIN, EPOLL_CTL_MOD);
    return alive;
}

/* ---- the program -------------------------------------------------------------------------------------- */

static void welcome(int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct visitor *v = calloc(1, sizeof(*v));
        if (!v)
            abort();
        v->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        watch(v, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static int listen_on(const char *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0) {
        perror("bench_origin");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("bench_origin PORT\n", stderr);
        return 2;
    }
    int listener = listen_on(argv[1]);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event first = { .events = EPOLLIN }, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &first);
    for (;;) {
        int n = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            struct visitor *v = ready[i].data.ptr;
            if (!v)
                welcome(listener);
            else if (!(ready[i].events & EPOLLOUT ? on_writable(v) : on_readable(v)))
                leave(v);
        }
    }
}
