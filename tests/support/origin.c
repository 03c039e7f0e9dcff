/* origin.c: a scripted HTTP/1.1 origin in the test program, a thread for each connection. */
#include "origin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct guest {
    struct guest *next;
    struct origin *origin;
    pthread_t thread;
    struct http1 http;
    int shut; /* a second descriptor of the connection, for origin_stop(); -1: it is over */
};

struct origin {
    origin_fn *fn;
    void *arg;
    int fd;
    unsigned port;
    pthread_t thread;
    struct guest *guests; /* the accepting thread's, until it has ended */
    atomic_uint connections, requests;
    pthread_mutex_t lock; /* of guests' shut */
};

static void *serve(void *arg)
{
    struct guest *g = arg;
    g->http.timeout_ms = 300000; /* origin_stop() ends it */
    bool more = true;
    while (more && http1_request(&g->http)) {
        atomic_fetch_add(&g->origin->requests, 1);
        more = g->origin->fn(&g->http, g->origin->arg);
    }
    http1_close(&g->http);
    pthread_mutex_lock(&g->origin->lock);
    close(g->shut);
    g->shut = -1;
    pthread_mutex_unlock(&g->origin->lock);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct origin *o = arg;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    for (int fd;
         (fd = accept4(o->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == EINTR || errno == ECONNABORTED;) {
        if (fd < 0)
            continue;
        struct guest *g = cv_xcalloc(1, sizeof(*g));
        g->origin = o;
        g->shut = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        http1_adopt(&g->http, fd);
        atomic_fetch_add(&o->connections, 1);
        g->next = o->guests;
        o->guests = g;
        CV_ASSERT(pthread_create(&g->thread, &attr, serve, g) == 0);
    }
    pthread_attr_destroy(&attr);
    return NULL;
}

struct origin *origin_start(origin_fn *fn, void *arg)
{
    struct origin *o = cv_xcalloc(1, sizeof(*o));
    o->fn = fn ? fn : origin_plain;
    o->arg = arg;
    pthread_mutex_init(&o->lock, NULL);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(at);
    o->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CV_ASSERT(o->fd >= 0 && bind(o->fd, (struct sockaddr *)&at, n) == 0 && listen(o->fd, 4096) == 0);
    getsockname(o->fd, (struct sockaddr *)&at, &n);
    o->port = ntohs(at.sin_port);
    CV_ASSERT(pthread_create(&o->thread, NULL, accept_all, o) == 0);
    return o;
}

void origin_stop(struct origin *o)
{
    if (!o)
        return;
    shutdown(o->fd, SHUT_RDWR);
    pthread_join(o->thread, NULL);
    close(o->fd);
    pthread_mutex_lock(&o->lock);
    for (struct guest *g = o->guests; g; g = g->next)
        if (g->shut >= 0)
            shutdown(g->shut, SHUT_RDWR);
    pthread_mutex_unlock(&o->lock);
    for (struct guest *g = o->guests, *next; g; g = next) {
        next = g->next;
        pthread_join(g->thread, NULL);
        free(g);
    }
    free(o);
}

unsigned origin_port(const struct origin *o)
{
    return o->port;
}

unsigned origin_connections(struct origin *o)
{
    return atomic_load(&o->connections);
}

unsigned origin_requests(struct origin *o)
{
    return atomic_load(&o->requests);
}

/* ---- answers ------------------------------------------------------------------------------------------ */

void pattern_fill(unsigned char *out, size_t n, unsigned long long at)
{
    for (size_t i = 0; i < n; i++, at++)
        out[i] = (unsigned char)((at * 2654435761U) >> 13 ^ at >> 20);
}

unsigned long long hash_more(unsigned long long hash, const void *p, size_t n)
{
    for (const unsigned char *at = p; n; n--, at++)
        hash = (hash ^ *at) * 1099511628211ULL;
    return hash;
}

unsigned long long pattern_hash(unsigned long long n)
{
    unsigned char piece[16384];
    unsigned long long hash = HASH_BEGIN;
    for (unsigned long long at = 0; at < n;) {
        size_t part = n - at < sizeof(piece) ? (size_t)(n - at) : sizeof(piece);
        pattern_fill(piece, part, at);
        hash = hash_more(hash, piece, part);
        at += part;
    }
    return hash;
}

static bool send_pattern(struct http1 *h, unsigned long long n, bool chunked)
{
    unsigned char piece[65536];
    bool good = chunked ? http1_sendf(h, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                        : http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", n);
    for (unsigned long long at = 0; good && at < n;) {
        size_t part = n - at < sizeof(piece) ? (size_t)(n - at) : sizeof(piece);
        pattern_fill(piece, part, at);
        good = (!chunked || http1_sendf(h, "%zx\r\n", part)) && http1_send(h, piece, part) &&
               (!chunked || http1_send(h, "\r\n", 2));
        at += part;
    }
    return good && (!chunked || http1_sendf(h, "0\r\n\r\n"));
}

static bool answer_sum(struct http1 *h)
{
    char piece[65536], text[64];
    unsigned long long total = 0, hash = HASH_BEGIN;
    ssize_t n;
    while ((n = http1_read(h, piece, sizeof(piece))) > 0) {
        hash = hash_more(hash, piece, (size_t)n);
        total += (unsigned long long)n;
    }
    snprintf(text, sizeof(text), "%llu %016llx", total, hash);
    return n == 0 && origin_text(h, 200, text);
}

bool origin_text(struct http1 *h, int status, const char *text)
{
    return http1_sendf(h, "HTTP/1.1 %d Status\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
                       status, strlen(text), strcmp(h->method, "HEAD") == 0 ? "" : text);
}

bool origin_plain(struct http1 *h, void *unused)
{
    (void)unused;
    unsigned long long n;
    char line[sizeof(h->method) + sizeof(h->target) + 1];
    if (sscanf(h->target, "/bytes/%llu", &n) == 1)
        return send_pattern(h, n, false);
    if (sscanf(h->target, "/chunks/%llu", &n) == 1)
        return send_pattern(h, n, true);
    if (strcmp(h->target, "/sum") == 0)
        return answer_sum(h);
    struct cv_buf body = { 0 };
    bool whole = http1_read_all(h, &body) == 0;
    cv_buf_add(&body, "", 1);
    snprintf(line, sizeof(line), "%s %s", h->method, h->target);
    const char *text = strcmp(h->target, "/echo") == 0   ? (char *)body.p
                       : strcmp(h->target, "/head") == 0 ? h->head
                                                         : line;
    whole = whole && origin_text(h, 200, text);
    cv_buf_free(&body);
    return whole;
}

bool sem_within(sem_t *s, int ms)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    long long ns = t.tv_nsec + ms % 1000 * 1000000LL;
    t.tv_sec += ms / 1000 + (time_t)(ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    int r;
    while ((r = sem_timedwait(s, &t)) < 0 && errno == EINTR)
        ;
    return r == 0;
}
