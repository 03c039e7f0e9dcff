/* text.c: addresses, numbers and durations as text. */
#include "edge_sim.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cv_str str_cut(struct cv_str text, char sep, struct cv_str *rest)
{
    const char *at = text.n ? memchr(text.p, sep, text.n) : NULL;
    if (!at) {
        *rest = (struct cv_str){ NULL, 0 };
        return text;
    }
    struct cv_str head = { text.p, (size_t)(at - text.p) };
    *rest = (struct cv_str){ at + 1, text.n - head.n - 1 };
    return head;
}

bool str_starts(struct cv_str text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.n >= n && strncasecmp(text.p, prefix, n) == 0;
}

bool parse_u64(struct cv_str text, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (text.n == 0)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)text.p[i] - '0';
        if (digit > 9 || v > (max - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

int64_t parse_ms(struct cv_str text)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = { { "", 1000 }, { "s", 1000 }, { "ms", 1 }, { "m", 60 * 1000 } };
    uint64_t n;
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    if (!parse_u64((struct cv_str){ text.p, digits }, 1000000000, &n))
        return -1;
    struct cv_str unit = { text.p + digits, text.n - digits };
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (cv_str_eq(unit, cv_str_of(units[i].unit)))
            return (int64_t)n * units[i].ms;
    return -1;
}

void print_uuid(const uint8_t uuid[static 16], char out[static 37])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[uuid[i] >> 4];
        *out++ = digits[uuid[i] & 15];
    }
    *out = 0;
}

bool parse_addr(const char *text, struct sockaddr_storage *ss, socklen_t *n)
{
    char host[64] = "127.0.0.1";
    uint64_t port;
    const char *colon = strrchr(text, ':');
    size_t host_n = colon ? (size_t)(colon - text) : 0;
    if (!colon || !parse_u64(cv_str_of(colon + 1), 65535, &port) || host_n >= sizeof(host))
        return false;
    if (host_n >= 2 && text[0] == '[' && text[host_n - 1] == ']')
        snprintf(host, sizeof(host), "%.*s", (int)host_n - 2, text + 1);
    else if (host_n > 0)
        snprintf(host, sizeof(host), "%.*s", (int)host_n, text);
    if (strcmp(host, "localhost") == 0)
        snprintf(host, sizeof(host), "127.0.0.1");
    struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;
    memset(ss, 0, sizeof(*ss));
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *n = sizeof(*v4);
        return true;
    }
    memset(ss, 0, sizeof(*ss));
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *n = sizeof(*v6);
    return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
}

void print_addr(const struct sockaddr *sa, char out[static 64])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)sa;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(out, 64, "%s:%u", host, ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const void *)sa;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(out, 64, "[%s]:%u", host, ntohs(v6->sin6_port));
    }
}
