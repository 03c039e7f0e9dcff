/* match.c: networks that an ini names, and whether an address is in one. */
#include "access.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xFF, [11] = 0xFF };

static bool address(struct cv_str s, uint8_t ip[static 16], bool *v4)
{
    char text[INET6_ADDRSTRLEN];
    if (!cv_str_copy(text, sizeof(text), s))
        return false;
    *v4 = inet_pton(AF_INET, text, ip + 12) == 1;
    if (*v4)
        memcpy(ip, mapped, sizeof(mapped));
    return *v4 || inet_pton(AF_INET6, text, ip) == 1;
}

bool access_net_read(struct cv_str cidr, struct access_net *net)
{
    const char *slash = cidr.n ? memchr(cidr.p, '/', cidr.n) : NULL;
    size_t n = slash ? (size_t)(slash - cidr.p) : cidr.n;
    bool v4;
    if (!address((struct cv_str){ cidr.p, n }, net->net, &v4))
        return false;
    unsigned most = v4 ? 32 : 128, bits = slash ? 0 : most;
    for (size_t i = n + 1; i < cidr.n; i++) {
        if (cidr.p[i] < '0' || cidr.p[i] > '9' || i > n + 3)
            return false;
        bits = bits * 10 + (unsigned)(cidr.p[i] - '0');
    }
    net->bits = v4 ? bits + 96 : bits;
    return bits <= most && !(slash && n + 1 == cidr.n);
}

static bool in_net(const struct access_net *net, const uint8_t ip[static 16])
{
    size_t whole = net->bits / 8;
    unsigned rest = net->bits % 8;
    return memcmp(net->net, ip, whole) == 0 &&
           (rest == 0 || (net->net[whole] ^ ip[whole]) >> (8 - rest) == 0);
}

bool access_nets_hold(const struct access_net *nets, size_t n, struct cv_str text)
{
    uint8_t ip[16];
    bool v4;
    if (n == 0 || !address(text, ip, &v4))
        return false;
    for (size_t i = 0; i < n; i++)
        if (in_net(&nets[i], ip))
            return true;
    return false;
}
