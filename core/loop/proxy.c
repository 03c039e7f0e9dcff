/* proxy.c: out through an HTTP or SOCKS5 proxy: the URL that names it, and the few bytes that are spoken with it. */
#include "culvert/proxy.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 8192 };

/* ---- its URL --------------------------------------------------------------------------------------------- */

static bool take_prefix(struct cv_str *s, struct cv_str prefix)
{
    if (s->n < prefix.n || !cv_str_caseeq((struct cv_str){ s->p, prefix.n }, prefix))
        return false;
    s->p += prefix.n;
    s->n -= prefix.n;
    return true;
}

static bool read_port(struct cv_str s, uint16_t *port)
{
    unsigned long n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || i == 5)
            return false;
        n = n * 10 + (unsigned long)(s.p[i] - '0');
    }
    *port = (uint16_t)n;
    return n > 0 && n <= UINT16_MAX;
}

/* "host", "host:port", "[v6]:port" */
static bool read_authority(struct cv_str s, struct cv_proxy *p)
{
    const char *bracket = s.n && s.p[0] == '[' ? memchr(s.p, ']', s.n) : NULL;
    struct cv_str host = s, rest = { NULL, 0 };
    const char *colon = bracket ? bracket + 1 : memchr(s.p, ':', s.n);
    if (bracket)
        host = (struct cv_str){ s.p + 1, (size_t)(bracket - s.p - 1) };
    if (colon && colon < s.p + s.n) {
        rest = (struct cv_str){ colon, (size_t)(s.p + s.n - colon) };
        host.n = bracket ? host.n : (size_t)(colon - s.p);
    }
    if (rest.n && (rest.p[0] != ':' || !read_port((struct cv_str){ rest.p + 1, rest.n - 1 }, &p->port)))
        return false;
    return host.n > 0 && cv_str_copy(p->host, sizeof(p->host), host);
}

/* %40 and the like: a password may hold an @. */
static bool unescape(char *s)
{
    char *out = s;
    for (const char *in = s; *in; in++) {
        unsigned byte;
        if (*in == '%') {
            if (sscanf(in + 1, "%2x", &byte) != 1 || byte == 0)
                return false;
            *out++ = (char)byte;
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
    return true;
}

bool cv_proxy_parse(struct cv_str url, struct cv_proxy *p)
{
    *p = (struct cv_proxy){ .kind = CV_PROXY_HTTP };
    if (take_prefix(&url, CV_STR("socks5://")) || take_prefix(&url, CV_STR("socks5h://"))) {
        p->kind = CV_PROXY_SOCKS5;
    } else if (!take_prefix(&url, CV_STR("http://")) && memmem(url.p, url.n, "://", 3)) {
        return false; /* https:// to the proxy itself is not spoken */
    }
    const char *slash = memchr(url.p, '/', url.n),
               *at = memrchr(url.p, '@', slash ? (size_t)(slash - url.p) : url.n);
    if (slash && slash != url.p + url.n - 1)
        return false;
    url.n -= slash ? 1 : 0;
    if (at) {
        struct cv_str user = { url.p, (size_t)(at - url.p) };
        if (!cv_str_copy(p->credentials, sizeof(p->credentials), user) || !unescape(p->credentials))
            return false;
        url.n -= user.n + 1;
        url.p = at + 1;
    }
    return read_authority(url, p);
}

/* ---- HTTP CONNECT --------------------------------------------------------------------------------------- */

static void add(struct cv_buf *out, const char *text)
{
    cv_buf_add(out, text, strlen(text));
}

void cv_proxy_login(const struct cv_proxy *proxy, struct cv_buf *out)
{
    char basic[(sizeof(proxy->credentials) + 2) / 3 * 4 + 1];
    if (!proxy->credentials[0])
        return;
    EVP_EncodeBlock((uint8_t *)basic, (const uint8_t *)proxy->credentials, (int)strlen(proxy->credentials));
    add(out, "Basic ");
    add(out, basic);
    OPENSSL_cleanse(basic, sizeof(basic));
}

static void add_authority(const struct cv_proxy_talk *t, struct cv_buf *out)
{
    bool brackets = t->host.n && memchr(t->host.p, ':', t->host.n);
    char port[8];
    snprintf(port, sizeof(port), ":%u", t->port);
    add(out, brackets ? "[" : "");
    cv_buf_add(out, t->host.p, t->host.n);
    add(out, brackets ? "]" : "");
    add(out, port);
}

static void http_begin(struct cv_proxy_talk *t, struct cv_buf *out)
{
    add(out, "CONNECT ");
    add_authority(t, out);
    add(out, " HTTP/1.1\r\nHost: ");
    add_authority(t, out);
    if (t->proxy->credentials[0])
        add(out, "\r\nProxy-Authorization: ");
    cv_proxy_login(t->proxy, out);
    add(out, "\r\n\r\n");
}

/* Behind a 2xx head the tunnel begins, and the far end says nothing before we do. */
static enum cv_proxy_verdict http_answer(struct cv_proxy_talk *t, struct cv_err *err)
{
    const char *head = (const char *)t->in.p;
    const char *end = memmem(head, t->in.n, "\r\n\r\n", 4);
    if (!end && t->in.n < ANSWER_MAX)
        return CV_PROXY_MORE;
    bool http = t->in.n > 12 && memcmp(head, "HTTP/1.", 7) == 0;
    if (http && end && head[9] == '2' && end + 4 == head + t->in.n)
        return CV_PROXY_DONE;
    size_t line = strcspn(head, "\r\n");
    if (http && head[9] != '2')
        cv_fail(err, CV_E_DENIED, "the proxy refuses the tunnel: %.*s", (int)(line < 100 ? line : 100), head);
    else
        cv_fail(err, CV_E_PROTO, "the proxy does not answer CONNECT as HTTP does");
    return CV_PROXY_FAILED;
}

/* ---- SOCKS5 --------------------------------------------------------------------------------------------- */

enum { SOCKS_METHOD, SOCKS_LOGIN, SOCKS_CONNECT };

static void socks_begin(struct cv_proxy_talk *t, struct cv_buf *out)
{
    bool login = t->proxy->credentials[0];
    cv_buf_add(out, login ? "\x05\x02\x00\x02" : "\x05\x01\x00", login ? 4 : 3);
    t->step = SOCKS_METHOD;
}

static void socks_login(struct cv_proxy_talk *t, struct cv_buf *out)
{
    const char *user = t->proxy->credentials, *colon = strchr(user, ':');
    size_t user_n = colon ? (size_t)(colon - user) : strlen(user), password_n = colon ? strlen(colon + 1) : 0;
    uint8_t head[2] = { 1, (uint8_t)(user_n & 0xff) }, n = (uint8_t)(password_n & 0xff);
    cv_buf_add(out, head, 2);
    cv_buf_add(out, user, user_n);
    cv_buf_add(out, &n, 1);
    cv_buf_add(out, colon ? colon + 1 : "", password_n);
    t->step = SOCKS_LOGIN;
}

/* Names are the proxy's to look up. */
static void socks_connect(struct cv_proxy_talk *t, struct cv_buf *out)
{
    enum { IPV4 = 1, NAME = 3, IPV6 = 4 };
    char host[INET6_ADDRSTRLEN];
    uint8_t bytes[256], n = 4;
    cv_str_copy(host, sizeof(host), t->host);
    uint8_t kind = inet_pton(AF_INET, host, bytes) == 1    ? IPV4
                   : inet_pton(AF_INET6, host, bytes) == 1 ? IPV6
                                                           : NAME;
    if (kind == NAME) {
        bytes[0] = n = (uint8_t)t->host.n;
        memcpy(bytes + 1, t->host.p, n++);
    } else if (kind == IPV6) {
        n = 16;
    }
    cv_buf_add(out, (const uint8_t[]){ 5, 1, 0, kind }, 4);
    cv_buf_add(out, bytes, n);
    cv_buf_add(out, (const uint8_t[]){ (uint8_t)(t->port >> 8), (uint8_t)(t->port & 0xff) }, 2);
    t->step = SOCKS_CONNECT;
}

static enum cv_proxy_verdict socks_refused(unsigned code, struct cv_err *err)
{
    static const char *const texts[] = { "",
                                         "general failure",
                                         "not allowed by its rules",
                                         "network unreachable",
                                         "host unreachable",
                                         "connection refused",
                                         "TTL expired",
                                         "command not supported",
                                         "address type not supported" };
    cv_fail(err, CV_E_DENIED, "the SOCKS proxy refuses the tunnel: %s",
            code < 9 ? texts[code] : "unknown reason");
    return CV_PROXY_FAILED;
}

static enum cv_proxy_verdict socks_broken(struct cv_err *err, const char *what)
{
    cv_fail(err, CV_E_PROTO, "%s", what);
    return CV_PROXY_FAILED;
}

static enum cv_proxy_verdict socks_method(struct cv_proxy_talk *t, struct cv_buf *out, struct cv_err *err)
{
    uint8_t method = t->in.p[1];
    if (t->in.p[0] != 5)
        return socks_broken(err, "the proxy does not speak SOCKS5");
    if (method == 0)
        socks_connect(t, out);
    else if (method == 2 && t->proxy->credentials[0])
        socks_login(t, out);
    else
        return socks_broken(err, "the SOCKS proxy wants a login that it was not given");
    cv_buf_take_front(&t->in, 2);
    return CV_PROXY_MORE;
}

static enum cv_proxy_verdict socks_logged_in(struct cv_proxy_talk *t, struct cv_buf *out, struct cv_err *err)
{
    if (t->in.p[1] != 0)
        return socks_broken(err, "the SOCKS proxy refuses the login");
    cv_buf_take_front(&t->in, 2);
    socks_connect(t, out);
    return CV_PROXY_MORE;
}

static enum cv_proxy_verdict socks_connected(struct cv_proxy_talk *t, struct cv_err *err)
{
    if (t->in.p[1] != 0)
        return socks_refused(t->in.p[1], err);
    if (t->in.n < 5)
        return CV_PROXY_MORE;
    size_t bound = t->in.p[3] == 1 ? 4 : t->in.p[3] == 4 ? 16 : t->in.p[3] == 3 ? 1u + t->in.p[4] : 0;
    if (!bound)
        return socks_broken(err, "the SOCKS proxy's answer is broken");
    if (t->in.n < 4 + bound + 2)
        return CV_PROXY_MORE;
    return t->in.n == 4 + bound + 2 ? CV_PROXY_DONE
                                    : socks_broken(err, "the SOCKS proxy says more than its answer");
}

/* ---- both ----------------------------------------------------------------------------------------------- */

void cv_proxy_begin(struct cv_proxy_talk *t, const struct cv_proxy *proxy, struct cv_str host, uint16_t port,
                    struct cv_buf *out)
{
    *t = (struct cv_proxy_talk){ .proxy = proxy, .host = host, .port = port };
    t->host.n = host.n < 256 ? host.n : 255; /* no name is longer */
    if (proxy->kind == CV_PROXY_HTTP)
        http_begin(t, out);
    else
        socks_begin(t, out);
}

enum cv_proxy_verdict cv_proxy_feed(struct cv_proxy_talk *t, const uint8_t *p, size_t n, struct cv_buf *out,
                                    struct cv_err *err)
{
    cv_buf_add(&t->in, p, n);
    cv_buf_add(&t->in, "", 1); /* a string for strcspn() */
    t->in.n--;
    if (t->proxy->kind == CV_PROXY_HTTP)
        return http_answer(t, err);
    if (t->in.n < 2)
        return CV_PROXY_MORE;
    switch (t->step) {
    case SOCKS_METHOD: return socks_method(t, out, err);
    case SOCKS_LOGIN: return socks_logged_in(t, out, err);
    default: return socks_connected(t, err);
    }
}

void cv_proxy_end(struct cv_proxy_talk *t)
{
    cv_buf_free(&t->in);
}
