/* proxy.c: out through an HTTP or SOCKS5 proxy: which one, and the few bytes that are spoken with it before TLS begins
 * (RFC 9110 §9.3.6, RFC 1928, RFC 1929). Takes and returns bytes; no socket here. */
#include "h2.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HTTP_PORT = 3128, SOCKS_PORT = 1080, ANSWER_MAX = 8192 };

/* ---- which one ----------------------------------------------------------------------------------------- */

static bool take_prefix(struct cv_str *s, struct cv_str prefix)
{
    if (s->n < prefix.n || !cv_str_caseeq((struct cv_str){ s->p, prefix.n }, prefix))
        return false;
    s->p += prefix.n;
    s->n -= prefix.n;
    return true;
}

static bool copy(char *to, size_t size, struct cv_str from)
{
    if (from.n >= size)
        return false;
    memcpy(to, from.p, from.n);
    to[from.n] = '\0';
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
static bool read_authority(struct cv_str s, struct h2_proxy *p)
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
    return host.n > 0 && copy(p->host, sizeof(p->host), host);
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

bool h2_proxy_parse(struct cv_str url, struct h2_proxy *p)
{
    *p = (struct h2_proxy){ .kind = H2_PROXY_HTTP, .port = HTTP_PORT };
    if (take_prefix(&url, CV_STR("socks5://")) || take_prefix(&url, CV_STR("socks5h://"))) {
        p->kind = H2_PROXY_SOCKS5;
        p->port = SOCKS_PORT;
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
        if (!copy(p->credentials, sizeof(p->credentials), user) || !unescape(p->credentials))
            return false;
        url.n -= user.n + 1;
        url.p = at + 1;
    }
    return read_authority(url, p);
}

static const char *environment(const char *upper, const char *lower)
{
    const char *value = getenv(lower);
    if (!value || !*value)
        value = getenv(upper);
    return value && *value ? value : NULL;
}

static size_t address_bytes(const struct sockaddr_storage *a, const uint8_t **bytes)
{
    if (a->ss_family == AF_INET6) {
        *bytes = ((const struct sockaddr_in6 *)a)->sin6_addr.s6_addr;
        return 16;
    }
    *bytes = (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr;
    return 4;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

/* An entry of NO_PROXY: *, an address or a network. Names do not apply: the edge is dialled by address. */
static bool exempts(const char *entry, const struct sockaddr_storage *edge)
{
    const uint8_t *bytes;
    size_t size = address_bytes(edge, &bytes);
    uint8_t net[16];
    char text[64];
    unsigned long bits = size * 8;
    if (strcmp(entry, "*") == 0)
        return true;
    const char *slash = strchr(entry, '/');
    if (slash)
        bits = strtoul(slash + 1, NULL, 10);
    if (!copy(text, sizeof(text), (struct cv_str){ entry, slash ? (size_t)(slash - entry) : strlen(entry) }))
        return false;
    return bits <= size * 8 && inet_pton(edge->ss_family, text, net) == 1 &&
           same_bits(bytes, net, (unsigned)bits);
}

bool h2_proxy_exempt(const char *list, const struct sockaddr_storage *edge)
{
    const uint8_t *bytes;
    if (address_bytes(edge, &bytes) == 4 ? bytes[0] == 127 : memcmp(bytes, &in6addr_loopback, 16) == 0)
        return true;
    for (const char *at = list ? list : ""; *at;) {
        size_t blank = strspn(at, ", "), n = strcspn(at + blank, ", ");
        char entry[80];
        if (n && copy(entry, sizeof(entry), (struct cv_str){ at + blank, n }) && exempts(entry, edge))
            return true;
        at += blank + n;
    }
    return false;
}

enum cv_error h2_proxy_choose(const struct h2_conf *conf, const struct sockaddr_storage *edge,
                              struct h2_proxy *p, struct cv_err *err)
{
    bool from_env = strcmp(conf->proxy, "env") == 0;
    const char *url = from_env ? environment("HTTPS_PROXY", "https_proxy") : conf->proxy;
    *p = (struct h2_proxy){ .kind = H2_PROXY_NONE };
    if (!url || strcmp(url, "none") == 0 ||
        (from_env && h2_proxy_exempt(environment("NO_PROXY", "no_proxy"), edge)))
        return CV_OK;
    if (!h2_proxy_parse(cv_str_of(url), p))
        return cv_fail(err, CV_E_CONF, "%s is not a proxy of the form http://host:port or socks5://host:port",
                       from_env ? "HTTPS_PROXY" : "proxy of [edge_http2]");
    struct cv_str secret = cv_reveal(conf->proxy_credentials);
    if (secret.n && !from_env && !copy(p->credentials, sizeof(p->credentials), secret))
        return cv_fail(err, CV_E_CONF, "proxy_credentials of [edge_http2] are too long");
    return CV_OK;
}

/* ---- HTTP CONNECT --------------------------------------------------------------------------------------- */

static void write_authority(const struct sockaddr_storage *edge, char *text, size_t size)
{
    const uint8_t *bytes;
    char ip[INET6_ADDRSTRLEN] = "";
    bool v6 = address_bytes(edge, &bytes) == 16;
    unsigned port = ntohs(v6 ? ((const struct sockaddr_in6 *)edge)->sin6_port
                             : ((const struct sockaddr_in *)edge)->sin_port);
    inet_ntop(edge->ss_family, bytes, ip, sizeof(ip));
    snprintf(text, size, v6 ? "[%s]:%u" : "%s:%u", ip, port);
}

static void add(struct cv_buf *out, const char *text)
{
    cv_buf_add(out, text, strlen(text));
}

static void http_begin(struct h2_dialogue *d, struct cv_buf *out)
{
    char authority[INET6_ADDRSTRLEN + 10], basic[(sizeof(d->proxy->credentials) + 2) / 3 * 4 + 1];
    write_authority(d->edge, authority, sizeof(authority));
    add(out, "CONNECT ");
    add(out, authority);
    add(out, " HTTP/1.1\r\nHost: ");
    add(out, authority);
    if (d->proxy->credentials[0]) {
        EVP_EncodeBlock((uint8_t *)basic, (const uint8_t *)d->proxy->credentials,
                        (int)strlen(d->proxy->credentials));
        add(out, "\r\nProxy-Authorization: Basic ");
        add(out, basic);
        OPENSSL_cleanse(basic, sizeof(basic));
    }
    add(out, "\r\n\r\n");
}

/* Behind a 2xx head the tunnel begins, and the edge says nothing before we do. */
static enum h2_verdict http_answer(struct h2_dialogue *d, struct cv_err *err)
{
    const char *head = (const char *)d->in.p;
    const char *end = memmem(head, d->in.n, "\r\n\r\n", 4);
    if (!end && d->in.n < ANSWER_MAX)
        return H2_MORE;
    bool http = d->in.n > 12 && memcmp(head, "HTTP/1.", 7) == 0;
    if (http && end && head[9] == '2' && end + 4 == head + d->in.n)
        return H2_DONE;
    size_t line = strcspn(head, "\r\n");
    if (http && head[9] != '2')
        cv_fail(err, CV_E_DENIED, "the proxy refuses the tunnel: %.*s", (int)(line < 100 ? line : 100), head);
    else
        cv_fail(err, CV_E_PROTO, "the proxy does not answer CONNECT as HTTP does");
    return H2_FAILED;
}

/* ---- SOCKS5 --------------------------------------------------------------------------------------------- */

enum { SOCKS_METHOD, SOCKS_LOGIN, SOCKS_CONNECT };

static void socks_begin(struct h2_dialogue *d, struct cv_buf *out)
{
    bool login = d->proxy->credentials[0];
    cv_buf_add(out, login ? "\x05\x02\x00\x02" : "\x05\x01\x00", login ? 4 : 3);
    d->step = SOCKS_METHOD;
}

static void socks_login(struct h2_dialogue *d, struct cv_buf *out)
{
    const char *user = d->proxy->credentials, *colon = strchr(user, ':');
    size_t user_n = colon ? (size_t)(colon - user) : strlen(user), password_n = colon ? strlen(colon + 1) : 0;
    uint8_t head[2] = { 1, (uint8_t)(user_n & 0xff) }, n = (uint8_t)(password_n & 0xff);
    cv_buf_add(out, head, 2);
    cv_buf_add(out, user, user_n);
    cv_buf_add(out, &n, 1);
    cv_buf_add(out, colon ? colon + 1 : "", password_n);
    d->step = SOCKS_LOGIN;
}

static void socks_connect(struct h2_dialogue *d, struct cv_buf *out)
{
    const uint8_t *bytes;
    size_t n = address_bytes(d->edge, &bytes);
    in_port_t port = n == 16 ? ((const struct sockaddr_in6 *)d->edge)->sin6_port
                             : ((const struct sockaddr_in *)d->edge)->sin_port;
    cv_buf_add(out, n == 16 ? "\x05\x01\x00\x04" : "\x05\x01\x00\x01", 4);
    cv_buf_add(out, bytes, n);
    cv_buf_add(out, &port, 2);
    d->step = SOCKS_CONNECT;
}

static enum h2_verdict socks_refused(unsigned code, struct cv_err *err)
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
    return H2_FAILED;
}

static enum h2_verdict socks_broken(struct cv_err *err, const char *what)
{
    cv_fail(err, CV_E_PROTO, "%s", what);
    return H2_FAILED;
}

static enum h2_verdict socks_method(struct h2_dialogue *d, struct cv_buf *out, struct cv_err *err)
{
    uint8_t method = d->in.p[1];
    if (d->in.p[0] != 5)
        return socks_broken(err, "the proxy does not speak SOCKS5");
    if (method == 0)
        socks_connect(d, out);
    else if (method == 2 && d->proxy->credentials[0])
        socks_login(d, out);
    else
        return socks_broken(err, "the SOCKS proxy wants a login: set proxy_credentials in [edge_http2]");
    cv_buf_take_front(&d->in, 2);
    return H2_MORE;
}

static enum h2_verdict socks_logged_in(struct h2_dialogue *d, struct cv_buf *out, struct cv_err *err)
{
    if (d->in.p[1] != 0)
        return socks_broken(err, "the SOCKS proxy refuses the login");
    cv_buf_take_front(&d->in, 2);
    socks_connect(d, out);
    return H2_MORE;
}

static enum h2_verdict socks_connected(struct h2_dialogue *d, struct cv_err *err)
{
    if (d->in.p[1] != 0)
        return socks_refused(d->in.p[1], err);
    if (d->in.n < 5)
        return H2_MORE;
    size_t bound = d->in.p[3] == 1 ? 4 : d->in.p[3] == 4 ? 16 : d->in.p[3] == 3 ? 1u + d->in.p[4] : 0;
    if (!bound)
        return socks_broken(err, "the SOCKS proxy's answer is broken");
    if (d->in.n < 4 + bound + 2)
        return H2_MORE;
    return d->in.n == 4 + bound + 2 ? H2_DONE
                                    : socks_broken(err, "the SOCKS proxy says more than its answer");
}

/* ---- both ----------------------------------------------------------------------------------------------- */

void h2_dialogue_begin(struct h2_dialogue *d, const struct h2_proxy *proxy,
                       const struct sockaddr_storage *edge, struct cv_buf *out)
{
    *d = (struct h2_dialogue){ .proxy = proxy, .edge = edge };
    if (proxy->kind == H2_PROXY_HTTP)
        http_begin(d, out);
    else
        socks_begin(d, out);
}

enum h2_verdict h2_dialogue_feed(struct h2_dialogue *d, const uint8_t *p, size_t n, struct cv_buf *out,
                                 struct cv_err *err)
{
    cv_buf_add(&d->in, p, n);
    cv_buf_add(&d->in, "", 1); /* a string for strcspn() */
    d->in.n--;
    if (d->proxy->kind == H2_PROXY_HTTP)
        return http_answer(d, err);
    if (d->in.n < 2)
        return H2_MORE;
    switch (d->step) {
    case SOCKS_METHOD: return socks_method(d, out, err);
    case SOCKS_LOGIN: return socks_logged_in(d, out, err);
    default: return socks_connected(d, err);
    }
}

void h2_dialogue_free(struct h2_dialogue *d)
{
    cv_buf_free(&d->in);
}
