/* no_proxy.c: the variables of the environment that name proxies, and what NO_PROXY keeps from them. */
#include "culvert/proxy.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_A_PORT = -1 };

/* An address or network, or the end of a name. */
struct exemption {
    int family; /* AF_UNSPEC: a name */
    uint8_t net[16];
    unsigned bits;
    struct cv_str name; /* "example.com": what ends in .example.com */
    bool itself;        /* and example.com, too */
    int port;           /* 0: any */
};

struct cv_no_proxy {
    bool everything;
    char *text; /* the list in lower case; entries point into it */
    struct exemption *v;
    size_t n;
};

const char *cv_proxy_variable(const char *upper)
{
    char lower[32] = "";
    for (size_t i = 0; i < sizeof(lower) - 1 && upper[i]; i++)
        lower[i] = (char)tolower((unsigned char)upper[i]);
    const char *value = getenv(upper);
    if (!value || !*value)
        value = getenv(lower);
    return value && *value ? value : NULL;
}

/* ---- the list ------------------------------------------------------------------------------------------- */

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

struct cv_no_proxy *cv_no_proxy_new(const char *list)
{
    struct cv_no_proxy *none = cv_xcalloc(1, sizeof(*none));
    size_t most = 1;
    none->text = cv_xstrdup(list ? list : "");
    for (char *p = none->text; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
        most += *p == ',';
    }
    none->v = cv_xcalloc(most, sizeof(*none->v));
    for (const char *at = none->text;; at++) {
        size_t n = strcspn(at, ",");
        struct cv_str entry = trim((struct cv_str){ at, n });
        if (cv_str_eq(entry, CV_STR("*")))
            none->everything = true;
        else if (entry.n)
            none->n += read_exemption(entry, &none->v[none->n]);
        at += n;
        if (!*at)
            return none;
    }
}

void cv_no_proxy_free(struct cv_no_proxy *none)
{
    if (!none)
        return;
    free(none->text);
    free(none->v);
    free(none);
}

/* ---- what it holds --------------------------------------------------------------------------------------- */

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

bool cv_no_proxy_holds(const struct cv_no_proxy *none, struct cv_str host, uint16_t port)
{
    struct address a;
    bool literal = read_address(host, &a);
    if (none->everything || cv_str_caseeq(host, CV_STR("localhost")) || (literal && is_loopback(&a)))
        return true;
    for (const struct exemption *e = none->v; e < none->v + none->n; e++) {
        bool holds = e->family == AF_UNSPEC
                         ? !literal && is_named(e, host)
                         : literal && e->family == a.family && same_bits(e->net, a.bytes, e->bits);
        if (holds && (e->port == 0 || e->port == port))
            return true;
    }
    return false;
}
