/* addresses.c: the addresses of the edge: which is handed out, which family, what a failure changes. */
#include "tunnel/addresses.h"

#include <arpa/inet.h>

#include <stdlib.h>
#include <string.h>

#include "culvert/mem.h"

enum { SECONDARY_MS = 10 * 60 * 1000 };

/* ---- the list ------------------------------------------------------------------------------------------ */

void address_ip(const struct sockaddr_storage *a, char ip[INET6_ADDRSTRLEN])
{
    const void *bytes = a->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr
                                                 : (const void *)&((const struct sockaddr_in *)a)->sin_addr;
    if (!inet_ntop(a->ss_family, bytes, ip, INET6_ADDRSTRLEN))
        ip[0] = '\0';
}

bool address_same_ip(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET6)
        return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                      &((const struct sockaddr_in6 *)b)->sin6_addr, 16) == 0;
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
           ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

static bool same_addr(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    /* the port lies at the same place in either family */
    return address_same_ip(a, b) &&
           ((const struct sockaddr_in *)a)->sin_port == ((const struct sockaddr_in *)b)->sin_port;
}

static bool allowed(const struct addresses *p, const struct sockaddr_storage *a)
{
    return p->only_family == AF_UNSPEC || p->only_family == a->ss_family;
}

static void drop_stale(struct edge_region *r)
{
    for (struct edge_addr **at = &r->first; *at;) {
        struct edge_addr *a = *at;
        if (a->stale && a->users == 0) {
            *at = a->next;
            free(a);
        } else {
            at = &a->next;
        }
    }
}

static bool has_family(const struct edge_region *r, int family)
{
    for (const struct edge_addr *a = r->first; a; a = a->next)
        if (!a->stale && a->addr.ss_family == family)
            return true;
    return false;
}

static void choose_family(struct edge_region *r, int primary)
{
    r->primary = primary;
    if (!has_family(r, r->active) || r->active == AF_UNSPEC)
        r->active = primary;
}

/* A static list may name an address twice: each mention is one of its own. */
static struct edge_addr *revive(struct edge_region *r, const struct sockaddr_storage *addr)
{
    for (struct edge_addr *a = r->first; a; a = a->next)
        if (a->stale && same_addr(&a->addr, addr))
            return a;
    return NULL;
}

static void add(struct edge_region *r, unsigned region, const struct sockaddr_storage *addr)
{
    struct edge_addr *known = revive(r, addr);
    if (known) {
        known->stale = false;
        return;
    }
    struct edge_addr **end = &r->first;
    while (*end)
        end = &(*end)->next;
    *end = cv_xcalloc(1, sizeof(**end));
    (*end)->addr = *addr;
    (*end)->region = region;
}

void addresses_set(struct addresses *p, unsigned region, const struct sockaddr_storage *addrs, size_t n)
{
    struct edge_region *r = &p->regions[region];
    int primary = AF_UNSPEC;
    for (struct edge_addr *a = r->first; a; a = a->next)
        a->stale = true;
    for (size_t i = 0; i < n; i++) {
        if (!allowed(p, &addrs[i]))
            continue;
        if (primary == AF_UNSPEC)
            primary = addrs[i].ss_family;
        add(r, region, &addrs[i]);
    }
    drop_stale(r);
    choose_family(r, primary);
}

size_t addresses_count(const struct addresses *p)
{
    size_t n = 0;
    for (size_t i = 0; i < EDGE_REGIONS; i++)
        for (const struct edge_addr *a = p->regions[i].first; a; a = a->next)
            n += !a->stale;
    return n;
}

void addresses_clear(struct addresses *p)
{
    for (size_t i = 0; i < EDGE_REGIONS; i++)
        addresses_set(p, (unsigned)i, NULL, 0);
}

/* ---- out and back -------------------------------------------------------------------------------------- */

static bool is_free(const struct edge_region *r, const struct edge_addr *a, const struct edge_addr *except)
{
    return a->users == 0 && !a->stale && a != except && a->addr.ss_family == r->active;
}

static uint32_t count_free(const struct edge_region *r, const struct edge_addr *except)
{
    uint32_t n = 0;
    for (const struct edge_addr *a = r->first; a; a = a->next)
        n += is_free(r, a, except);
    return n;
}

static struct edge_addr *take_from(struct addresses *p, unsigned region, const struct edge_addr *except)
{
    struct edge_region *r = &p->regions[region];
    uint32_t n = count_free(r, except);
    if (n == 0)
        return NULL;
    uint32_t skip = p->random(p->random_arg, n);
    struct edge_addr *a = r->first;
    while (!is_free(r, a, except) || skip-- > 0)
        a = a->next;
    a->users++;
    return a;
}

struct edge_addr *address_take(struct addresses *p, const struct edge_addr *except)
{
    uint32_t a = count_free(&p->regions[0], NULL), b = count_free(&p->regions[1], NULL);
    unsigned fuller = a != b ? b > a : p->random(p->random_arg, 2);
    struct edge_addr *taken = take_from(p, fuller, except);
    return taken ? taken : take_from(p, 1 - fuller, except);
}

struct edge_addr *address_share(struct edge_addr *a)
{
    a->users++;
    return a;
}

/* What fails over IPv6 may work over IPv4; an IPv4 failure on an IPv4 primary says nothing about the family. */
static void reconsider_family(struct edge_region *r, int failed, int64_t now_ms)
{
    bool on_primary = r->active == r->primary;
    int secondary = r->primary == AF_INET ? AF_INET6 : AF_INET;
    if (on_primary && failed == AF_INET6 && has_family(r, secondary)) {
        r->active = secondary;
        r->secondary_until = now_ms + SECONDARY_MS;
    } else if (!on_primary && (failed == AF_INET || now_ms >= r->secondary_until)) {
        r->active = r->primary;
    }
}

void address_give_back(struct addresses *p, struct edge_addr *a, bool failed, int64_t now_ms)
{
    struct edge_region *r = &p->regions[a->region];
    CV_ASSERT(a->users > 0);
    a->users--;
    if (failed)
        reconsider_family(r, a->addr.ss_family, now_ms);
    drop_stale(r);
}
