/* guard.c: which addresses a connection may be made to, once names are addresses. */
#include "origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct address {
    int family;
    uint8_t bytes[16];
    uint16_t port;
};

/* An IPv4 address in IPv6 clothes is an IPv4 address, for the kernel as well. */
static struct address address_of(const struct sockaddr_storage *from)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    struct address a = { .family = from->ss_family };
    if (a.family == AF_INET) {
        const struct sockaddr_in *in = (const void *)from;
        memcpy(a.bytes, &in->sin_addr, 4);
        a.port = ntohs(in->sin_port);
        return a;
    }
    const struct sockaddr_in6 *in6 = (const void *)from;
    a.port = ntohs(in6->sin6_port);
    if (memcmp(&in6->sin6_addr, mapped, sizeof(mapped)) == 0) {
        a.family = AF_INET;
        memcpy(a.bytes, (const uint8_t *)&in6->sin6_addr + sizeof(mapped), 4);
    } else {
        memcpy(a.bytes, &in6->sin6_addr, 16);
    }
    return a;
}

static bool holds_address(const struct cv_ip_rule *line, const struct address *a)
{
    unsigned whole = line->bits / 8, rest = line->bits % 8;
    if (line->family != a->family || memcmp(line->net, a->bytes, whole) != 0)
        return false;
    return rest == 0 || (line->net[whole] ^ a->bytes[whole]) >> (8 - rest) == 0;
}

static bool holds_port(const struct cv_ip_rule *line, uint16_t port)
{
    for (size_t i = 0; i < line->nports; i++)
        if (line->ports[i] == port)
            return true;
    return line->nports == 0;
}

static bool policy_allows(const struct cv_ip_rules *policy, const struct address *a)
{
    for (size_t i = 0; i < policy->n; i++)
        if (holds_address(&policy->v[i], a) && holds_port(&policy->v[i], a->port))
            return policy->v[i].allow;
    return false;
}

bool origin_may_reach(const struct cv_rule *rule, const struct sockaddr_storage *addr)
{
    struct address a = address_of(addr);
    return rule->kind != CV_SERVICE_SOCKS || policy_allows(&rule->policy, &a);
}
