/* egress.c: which proxy of the environment an http or https origin is reached through: HTTP_PROXY, HTTPS_PROXY and
 * NO_PROXY (or lower case) as Go's HTTP client reads them. */
#include "egress.h"
#include "origin.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { HTTP_PORT = 80, SOCKS_PORT = 1080, NOT_A_PORT = -1 };

/* One entry of NO_PROXY: an address or network, or the end of a name. */
struct exemption {
    int family; /* AF_UNSPEC: a name */
    uint8_t net[16];
    unsigned bits;
    struct cv_str name; /* "example.com": what ends in .example.com */
    bool itself;        /* and example.com, too */
    int port;           /* 0: any */
};

struct way { /* of one scheme */
    struct cv_proxy proxy;
    const char *refusal; /* why nothing may go this way; NULL: it may */
};

struct origin_egress {
    struct way http, https;
    bool everything_exempt;
    char *text; /* NO_PROXY in lower case; entries point into it */
    struct exemption *v;
    size_t n;
};

/* ---- NO_PROXY ------------------------------------------------------------------------------------------- */

struct address {
    int family;
    uint8_t bytes[16];
};

/* An IPv4 address in IPv6 clothes is an IPv4 address. A zone does not count. */
static bool read_address(struct cv_str text, struct address *a)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    char s[INET6_ADDRSTRLEN + 1];
    const char *zone = text.n ? memchr(text.p, '%', text.n) : NULL;
    *a = (struct address){ .family = AF_INET };
    if (zone)
        text.n = (size_t)(zone - text.p);
    if (!cv_str_copy(s, sizeof(s), text))
        return false;
    if (!zone && inet_pton(AF_INET, s, a->bytes) == 1)
        return true;
    a->family = AF_INET6;
    if (inet_pton(AF_INET6, s, a->bytes) != 1)
        return false;
    if (memcmp(a->bytes, mapped, sizeof(mapped)) == 0) {
        a->family = AF_INET;
        memmove(a->bytes, a->bytes + sizeof(mapped), 4);
    }
    return true;
}

static struct cv_str trim(struct cv_str s)
{
    while (s.n && isspace((unsigned char)s.p[0]))
        s.p++, s.n--;
    while (s.n && isspace((unsigned char)s.p[s.n - 1]))
        s.n--;
    return s;
}

static int read_number(struct cv_str s, int max)
{
    int n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || n > max)
            return NOT_A_PORT;
        n = n * 10 + (s.p[i] - '0');
    }
    return s.n && n <= max ? n : NOT_A_PORT;
}

static bool read_network(struct cv_str text, struct exemption *e)
{
    struct address a;
    const char *slash = memchr(text.p, '/', text.n);
    if (!slash || !read_address((struct cv_str){ text.p, (size_t)(slash - text.p) }, &a))
        return false;
    int width = a.family == AF_INET ? 32 : 128;
    int bits = read_number((struct cv_str){ slash + 1, text.n - (size_t)(slash + 1 - text.p) }, width);
    *e = (struct exemption){ .family = a.family, .bits = (unsigned)bits };
    memcpy(e->net, a.bytes, sizeof(e->net));
    return bits >= 0;
}

/* "host:port" and "[address]:port". A colon alone, or more of them without brackets, is part of the host. */
static struct cv_str cut_port(struct cv_str text, int *port)
{
    const char *colon = memrchr(text.p, ':', text.n);
    size_t n = colon ? (size_t)(colon - text.p) : 0;
    bool brackets = text.p[0] == '[' && n > 1 && text.p[n - 1] == ']';
    *port = 0;
    if (!colon || (!brackets && memchr(text.p, ':', n)))
        return text;
    struct cv_str digits = { colon + 1, text.n - n - 1 };
    *port = digits.n ? read_number(digits, UINT16_MAX) : 0;
    return brackets ? (struct cv_str){ text.p + 1, n - 2 } : (struct cv_str){ text.p, n };
}

static bool read_exemption(struct cv_str text, struct exemption *e)
{
    struct address a;
    if (read_network(text, e))
        return true;
    *e = (struct exemption){ .family = AF_UNSPEC };
    struct cv_str host = cut_port(text, &e->port);
    if (read_address(host, &a)) {
        e->family = a.family;
        e->bits = a.family == AF_INET ? 32 : 128;
        memcpy(e->net, a.bytes, sizeof(e->net));
        return true;
    }
    size_t wild = host.n > 1 && memcmp(host.p, "*.", 2) == 0 ? 2 : host.n && host.p[0] == '.' ? 1 : 0;
    e->itself = wild == 0;
    e->name = (struct cv_str){ host.p + wild, host.n - wild };
    return e->name.n > 0;
}

static void read_list(struct origin_egress *e, const char *list)
{
    size_t most = 1;
    e->text = cv_xstrdup(list);
    for (char *p = e->text; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
        most += *p == ',';
    }
    e->v = cv_xcalloc(most, sizeof(*e->v));
    for (const char *at = e->text;; at++) {
        size_t n = strcspn(at, ",");
        struct cv_str entry = trim((struct cv_str){ at, n });
        if (cv_str_eq(entry, CV_STR("*")))
            e->everything_exempt = true;
        else if (entry.n)
            e->n += read_exemption(entry, &e->v[e->n]);
        at += n;
        if (!*at)
            return;
    }
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static bool is_named(const struct exemption *e, struct cv_str host)
{
    if (e->itself && cv_str_caseeq(host, e->name))
        return true;
    size_t before = host.n > e->name.n ? host.n - e->name.n : 0;
    return before && host.p[before - 1] == '.' &&
           cv_str_caseeq((struct cv_str){ host.p + before, e->name.n }, e->name);
}

static bool is_loopback(const struct address *a)
{
    return a->family == AF_INET ? a->bytes[0] == 127 : memcmp(a->bytes, &in6addr_loopback, 16) == 0;
}

static bool is_exempt(const struct origin_egress *egress, struct cv_str host, uint16_t port)
{
    struct address a;
    bool literal = read_address(host, &a);
    if (egress->everything_exempt || cv_str_caseeq(host, CV_STR("localhost")) || (literal && is_loopback(&a)))
        return true;
    for (const struct exemption *e = egress->v; e < egress->v + egress->n; e++) {
        bool holds = e->family == AF_UNSPEC
                         ? !literal && is_named(e, host)
                         : literal && e->family == a.family && same_bits(e->net, a.bytes, e->bits);
        if (holds && (e->port == 0 || e->port == port))
            return true;
    }
    return false;
}

/* ---- the proxies ---------------------------------------------------------------------------------------- */

static const char *variable(const char *upper, const char *lower)
{
    const char *value = getenv(upper);
    if (!value || !*value)
        value = getenv(lower);
    return value && *value ? value : NULL;
}

/* What somebody meant to be a proxy is not passed by because we cannot use it. */
static void read_way(struct way *way, const char *url, const char *refusal)
{
    if (!url)
        return;
    if (!cv_proxy_parse(cv_str_of(url), &way->proxy))
        way->refusal = refusal;
    else if (way->proxy.port == 0)
        way->proxy.port = way->proxy.kind == CV_PROXY_SOCKS5 ? SOCKS_PORT : HTTP_PORT;
}

struct origin_egress *origin_egress_new(void)
{
    const char *http = variable("HTTP_PROXY", "http_proxy"), *https = variable("HTTPS_PROXY", "https_proxy");
    const char *none = variable("NO_PROXY", "no_proxy"), *cgi = getenv("REQUEST_METHOD");
    if (!http && !https)
        return NULL;
    struct origin_egress *e = cv_xcalloc(1, sizeof(*e));
    read_way(&e->http, http, "HTTP_PROXY is not of the form http://host:port or socks5://host:port");
    read_way(&e->https, https, "HTTPS_PROXY is not of the form http://host:port or socks5://host:port");
    if (http && cgi && *cgi) /* a visitor's header Proxy sets it there */
        e->http.refusal = "HTTP_PROXY is not used in a CGI environment (REQUEST_METHOD is set)";
    read_list(e, none ? none : "");
    return e;
}

void origin_egress_free(struct origin_egress *e)
{
    if (!e)
        return;
    free(e->text);
    free(e->v);
    OPENSSL_cleanse(e, sizeof(*e));
    free(e);
}

const struct cv_proxy *origin_egress_for(const struct origin_egress *e, const struct cv_target *target,
                                         const char **refusal)
{
    *refusal = NULL;
    if (!e)
        return NULL;
    const struct way *way = target->tls ? &e->https : &e->http;
    bool used = way->refusal || way->proxy.kind != CV_PROXY_NONE;
    if (!used || is_exempt(e, target->host, target->port))
        return NULL;
    *refusal = way->refusal;
    return way->refusal ? NULL : &way->proxy;
}

const struct cv_proxy *origin_via(const struct origin_worker *w, const struct cv_rule *rule,
                                  const char **refusal)
{
    const struct origin_conf *conf = w->self.conf;
    *refusal = NULL;
    if (rule->kind != CV_SERVICE_HTTP || conf->proxy == ORIGIN_PROXY_NONE)
        return NULL;
    return origin_egress_for(w->egress, &rule->target, refusal);
}
