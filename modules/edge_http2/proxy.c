/* proxy.c: which proxy the edge is reached through. */
#include "h2.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { HTTP_PORT = 3128, SOCKS_PORT = 1080 };

bool h2_proxy_parse(struct cv_str url, struct cv_proxy *p)
{
    if (!cv_proxy_parse(url, p))
        return false;
    if (p->port == 0)
        p->port = p->kind == CV_PROXY_SOCKS5 ? SOCKS_PORT : HTTP_PORT;
    return true;
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
    if (!cv_str_copy(text, sizeof(text),
                     (struct cv_str){ entry, slash ? (size_t)(slash - entry) : strlen(entry) }))
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
        if (n && cv_str_copy(entry, sizeof(entry), (struct cv_str){ at + blank, n }) && exempts(entry, edge))
            return true;
        at += blank + n;
    }
    return false;
}

enum cv_error h2_proxy_choose(const struct h2_conf *conf, const struct sockaddr_storage *edge,
                              struct cv_proxy *p, struct cv_err *err)
{
    bool from_env = strcmp(conf->proxy, "env") == 0;
    const char *url = from_env ? environment("HTTPS_PROXY", "https_proxy") : conf->proxy;
    *p = (struct cv_proxy){ .kind = CV_PROXY_NONE };
    if (!url || strcmp(url, "none") == 0 ||
        (from_env && h2_proxy_exempt(environment("NO_PROXY", "no_proxy"), edge)))
        return CV_OK;
    if (!h2_proxy_parse(cv_str_of(url), p))
        return cv_fail(err, CV_E_CONF, "%s is not a proxy of the form http://host:port or socks5://host:port",
                       from_env ? "HTTPS_PROXY" : "proxy of [edge_http2]");
    struct cv_str secret = cv_reveal(conf->proxy_credentials);
    if (secret.n && !from_env && !cv_str_copy(p->credentials, sizeof(p->credentials), secret))
        return cv_fail(err, CV_E_CONF, "proxy_credentials of [edge_http2] are too long");
    return CV_OK;
}
