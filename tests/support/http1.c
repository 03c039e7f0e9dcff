/* http1.c: one end of an HTTP/1.1 connection for tests: heads, bodies and their ends, each step with a deadline. */
#include "http1.h"

#include "process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIMEOUT_MS = SANITIZED ? 60000 : 20000, HEAD_MAX = 1 << 20 };

/* ---- the connection ----------------------------------------------------------------------------------- */

void http1_adopt(struct http1 *h, int fd)
{
    *h = (struct http1){ .fd = fd, .timeout_ms = TIMEOUT_MS };
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

bool http1_connect(struct http1 *h, const char *addr)
{
    struct sockaddr_in to = { .sin_family = AF_INET };
    char host[64];
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(addr, ":"), addr);
    inet_pton(AF_INET, host, &to.sin_addr);
    to.sin_port = htons((uint16_t)strtoul(addr + strcspn(addr, ":") + 1, NULL, 10));
    http1_adopt(h, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return connect(h->fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

void http1_close(struct http1 *h)
{
    if (h->fd >= 0)
        close(h->fd);
    free(h->head);
    free(h->trailers);
    cv_buf_free(&h->in);
    *h = (struct http1){ .fd = -1 };
}

void http1_reset(struct http1 *h)
{
    setsockopt(h->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
    http1_close(h);
}

void http1_shut(struct http1 *h)
{
    shutdown(h->fd, SHUT_WR);
}

static bool ready(const struct http1 *h, short what, long long until)
{
    struct pollfd p = { .fd = h->fd, .events = what };
    int n;
    do {
        long long left = until - now_in_ms();
        n = poll(&p, 1, left > 0 ? (int)left : 0);
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

bool http1_send(struct http1 *h, const void *p, size_t n)
{
    const char *at = p;
    while (n) {
        if (!ready(h, POLLOUT, now_in_ms() + h->timeout_ms))
            return false;
        ssize_t sent = send(h->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent > 0) {
            at += sent;
            n -= (size_t)sent;
        }
    }
    return true;
}

bool http1_sendf(struct http1 *h, const char *fmt, ...)
{
    char *text;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    bool sent = n >= 0 && http1_send(h, text, (size_t)n);
    free(text);
    return sent;
}

/* Adds what has come to h->in. > 0, 0 at the end, HTTP1_CUT, HTTP1_LATE. */
static ssize_t fill(struct http1 *h, long long until)
{
    if (!ready(h, POLLIN, until))
        return HTTP1_LATE;
    ssize_t n;
    do
        n = recv(h->fd, cv_buf_reserve(&h->in, 65536), 65536, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        h->in.n += (size_t)n;
    return n < 0 ? HTTP1_CUT : n;
}

/* ---- heads -------------------------------------------------------------------------------------------- */

/* Takes text up to and with `end`; NULL: it did not come. */
static char *take_until(struct http1 *h, const char *end)
{
    long long until = now_in_ms() + h->timeout_ms;
    for (size_t from = 0;;) {
        const uint8_t *at = h->in.n > from ? memmem(h->in.p + from, h->in.n - from, end, strlen(end)) : NULL;
        if (at) {
            size_t n = (size_t)(at - h->in.p) + strlen(end);
            char *text = cv_xmemdup0(h->in.p, n);
            cv_buf_take_front(&h->in, n);
            return text;
        }
        from = h->in.n > 3 ? h->in.n - 3 : 0;
        if (h->in.n > HEAD_MAX || fill(h, until) <= 0)
            return NULL;
    }
}

static bool read_head(struct http1 *h)
{
    free(h->head);
    free(h->trailers);
    h->trailers = NULL;
    h->head = take_until(h, "\r\n\r\n");
    return h->head != NULL;
}

const char *http1_field(const struct http1 *h, const char *name, unsigned nth)
{
    static _Thread_local char value[65536];
    size_t n = strlen(name);
    for (const char *line = h->head ? strstr(h->head, "\r\n") : NULL; line; line = strstr(line + 2, "\r\n")) {
        const char *at = line + 2;
        if (strncasecmp(at, name, n) != 0 || at[n] != ':' || nth-- > 0)
            continue;
        at += n + 1 + strspn(at + n + 1, " ");
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r"), at);
        return value;
    }
    return NULL;
}

static void find_framing(struct http1 *h, enum http1_framing otherwise)
{
    const char *coding = http1_field(h, "Transfer-Encoding", 0);
    h->left = 0;
    h->framing = coding && strcasecmp(coding, "chunked") == 0 ? HTTP1_CHUNKED : otherwise;
    const char *length = http1_field(h, "Content-Length", 0);
    if (h->framing == HTTP1_CHUNKED || !length)
        return;
    h->framing = HTTP1_LENGTH;
    h->left = strtoll(length, NULL, 10);
}

bool http1_request(struct http1 *h)
{
    if (!read_head(h) || sscanf(h->head, "%15s %4095s", h->method, h->target) != 2)
        return false;
    find_framing(h, HTTP1_NO_BODY);
    return true;
}

bool http1_answer(struct http1 *h, const char *method)
{
    do {
        if (!read_head(h) || sscanf(h->head, "HTTP/1.1 %d", &h->status) != 1)
            return false;
    } while (h->status >= 100 && h->status < 200 && h->status != 101);
    find_framing(h, HTTP1_TO_END);
    if (strcmp(method, "HEAD") == 0 || h->status == 204 || h->status == 304)
        h->framing = HTTP1_NO_BODY;
    if (h->status == 101)
        h->framing = HTTP1_TO_END;
    return true;
}

/* ---- bodies ------------------------------------------------------------------------------------------- */

/* Begins the next chunk: > 0 bytes, 0 after the last one, HTTP1_CUT. */
static ssize_t next_chunk(struct http1 *h)
{
    char *line = take_until(h, "\r\n");
    if (!line)
        return HTTP1_CUT;
    char *end;
    h->left = strtoll(line, &end, 16);
    bool good = end != line && h->left >= 0;
    free(line);
    if (!good)
        return HTTP1_CUT;
    if (h->left > 0)
        return 1;
    struct cv_buf trailers = { 0 };
    while ((line = take_until(h, "\r\n")) && strcmp(line, "\r\n") != 0) {
        cv_buf_add(&trailers, line, strlen(line));
        free(line);
    }
    good = line;
    free(line);
    h->trailers = cv_xmemdup0(trailers.p, trailers.n);
    cv_buf_free(&trailers);
    h->framing = HTTP1_NO_BODY;
    return good ? 0 : HTTP1_CUT;
}

ssize_t http1_read(struct http1 *h, void *out, size_t n)
{
    if (h->framing == HTTP1_NO_BODY || (h->framing == HTTP1_LENGTH && h->left == 0))
        return 0;
    if (h->framing == HTTP1_CHUNKED && h->left == 0) {
        ssize_t chunk = next_chunk(h);
        if (chunk <= 0)
            return chunk;
    }
    if (h->in.n == 0) {
        ssize_t got = fill(h, now_in_ms() + h->timeout_ms);
        if (got < 0)
            return got;
        if (got == 0)
            return h->framing == HTTP1_TO_END ? 0 : HTTP1_CUT;
    }
    if (n > h->in.n)
        n = h->in.n;
    if (h->framing != HTTP1_TO_END && (long long)n > h->left)
        n = (size_t)h->left;
    memcpy(out, h->in.p, n);
    cv_buf_take_front(&h->in, n);
    h->left -= h->framing == HTTP1_TO_END ? 0 : (long long)n;
    if (h->framing != HTTP1_CHUNKED || h->left > 0)
        return (ssize_t)n;
    char *end = take_until(h, "\r\n");
    bool good = end && strcmp(end, "\r\n") == 0;
    free(end);
    return good ? (ssize_t)n : HTTP1_CUT;
}

ssize_t http1_read_all(struct http1 *h, struct cv_buf *out)
{
    char piece[65536];
    ssize_t n;
    while ((n = http1_read(h, piece, sizeof(piece))) > 0)
        cv_buf_add(out, piece, (size_t)n);
    return n;
}
