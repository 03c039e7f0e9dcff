/* target.c: where a stream goes that names its own destination. */
#include "stream.h"

#include <arpa/inet.h>
#include <string.h>

/* A URL without what stands before and behind its host and port. */
static struct cv_str authority_of(struct cv_str s)
{
    for (size_t i = 0; i + 2 < s.n; i++) {
        if (memcmp(s.p + i, "://", 3) == 0) {
            s = (struct cv_str){ s.p + i + 3, s.n - i - 3 };
            break;
        }
    }
    for (size_t i = 0; i < s.n; i++)
        if (memchr("/?#", s.p[i], 3))
            s.n = i;
    const char *user = s.n ? memrchr(s.p, '@', s.n) : NULL;
    return user ? (struct cv_str){ user + 1, s.n - (size_t)(user + 1 - s.p) } : s;
}

static bool parse_port(struct cv_str s, uint16_t *port)
{
    unsigned n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || n > UINT16_MAX)
            return false;
        n = n * 10 + (unsigned)(s.p[i] - '0');
    }
    *port = (uint16_t)n;
    return n > 0 && n <= UINT16_MAX;
}

bool origin_target_parse(struct cv_str text, struct cv_target *target)
{
    struct cv_str s = authority_of(text);
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    if (!colon)
        return false;
    struct cv_str host = { s.p, (size_t)(colon - s.p) };
    struct cv_str port = { colon + 1, s.n - host.n - 1 };
    bool brackets = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (brackets)
        host = (struct cv_str){ host.p + 1, host.n - 2 };
    else if (memchr(host.p, ':', host.n))
        return false;
    *target = (struct cv_target){ .scheme = CV_STR("tcp"), .host = host, .authority = s };
    return host.n > 0 && !memchr(host.p, '\0', host.n) && parse_port(port, &target->port);
}

bool origin_is_address(struct cv_str host)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    return cv_str_copy(text, sizeof(text), host) &&
           (inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1);
}
