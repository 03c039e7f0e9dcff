/* reach.c: which targets this process lets itself be sent to. */
#include "request/reach.h"
#include "request/ip_rule.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const struct cv_option origins_options[] = {
    CV_OPT(struct origins_conf, allow, "",
           "What may be reached, whatever the remote configuration "
           "says; empty: anything. Each is a name, *.name, "
           "address or network, with or without :port (*:8080 is "
           "that port anywhere, [fd00::/8]:80), or unix:PATH. "
           "Metadata services (169.254.0.0/16, fd00:ec2::254) are "
           "reached only if an address or network of theirs "
           "is listed.",
           .flags = CV_LIVE),
    CV_OPT(struct origins_conf, max_active_flows, "-1",
           "Most private-network streams at a time, instead of what the remote "
           "configuration says (maxActiveFlows). 0: no limit. -1: as it says.",
           .flags = CV_LIVE, .min = -1, .max = INT_MAX),
    CV_OPT_END
};

/* One line of the list. Of net, host and unix_path one says which. */
struct entry {
    struct cv_ip_rule net; /* family AF_UNSPEC: none */
    struct cv_str host;    /* "*" is any name or address */
    struct cv_str unix_path;
    uint16_t port; /* 0: any */
};
struct policy {
    struct policy *before; /* what it replaced, while somebody may still read that */
    struct bump mem;
    struct entry *v;
    size_t n;
};
static _Atomic(struct policy *) in_force; /* immutable once it is here; NULL: anything may be reached */

static const struct policy *policy_now(void)
{
    static const struct policy none = { .n = 0 };
    const struct policy *p = atomic_load_explicit(&in_force, memory_order_acquire);
    return p ? p : &none;
}

/* ---- addresses --------------------------------------------------------------------------------------- */

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
    memcpy(a.bytes, &in6->sin6_addr, 16);
    if (memcmp(a.bytes, mapped, sizeof(mapped)) == 0) {
        a.family = AF_INET;
        memmove(a.bytes, a.bytes + sizeof(mapped), 4);
    }
    return a;
}

static bool net_holds(const struct cv_ip_rule *net, const struct address *a)
{
    unsigned whole = net->bits / 8, rest = net->bits % 8;
    if (net->family != a->family || memcmp(net->net, a->bytes, whole) != 0)
        return false;
    return rest == 0 || (net->net[whole] ^ a->bytes[whole]) >> (8 - rest) == 0;
}

bool cv_ip_rule_holds(const struct cv_ip_rule *rule, const struct sockaddr_storage *addr)
{
    struct address a = address_of(addr);
    bool port = rule->nports == 0;
    for (size_t i = 0; i < rule->nports; i++)
        port = port || rule->ports[i] == a.port;
    return port && net_holds(rule, &a);
}

static bool address_parse(struct cv_str host, uint16_t port, struct sockaddr_storage *addr)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_in *in = (void *)addr;
    struct sockaddr_in6 *in6 = (void *)addr;
    *addr = (struct sockaddr_storage){ .ss_family = AF_UNSPEC };
    if (!cv_str_copy(text, sizeof(text), host))
        return false;
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        return true;
    }
    text[strcspn(text, "%")] = '\0'; /* the zone */
    if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1)
        return false;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    return true;
}

/* ---- reading the list --------------------------------------------------------------------------------- */

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

/* "[a]:1", "a:1", "a"; more than one colon without brackets is an IPv6 address. */
static bool split_port(struct cv_str text, struct cv_str *host, uint16_t *port)
{
    const char *first = memchr(text.p, ':', text.n), *last = memrchr(text.p, ':', text.n);
    const char *bracket = text.p[0] == '[' ? memchr(text.p, ']', text.n) : NULL;
    *port = 0;
    *host = text;
    if (bracket) {
        *host = (struct cv_str){ text.p + 1, (size_t)(bracket - text.p) - 1 };
        if (bracket + 1 == text.p + text.n)
            return true;
        if (last != bracket + 1)
            return false;
    } else if (!first || first != last) {
        return true;
    } else {
        host->n = (size_t)(first - text.p);
    }
    return parse_port((struct cv_str){ last + 1, text.n - (size_t)(last + 1 - text.p) }, port);
}

static bool parse_net(struct bump *mem, struct cv_str text, struct cv_ip_rule *net)
{
    struct sockaddr_storage addr;
    struct reason why;
    struct ip_rule_raw raw = { .has_prefix = true, .prefix = text };
    if (address_parse(text, 0, &addr))
        raw.prefix =
            bump_print(mem, CV_STR_FMT "/%d", CV_STR_ARG(text), addr.ss_family == AF_INET ? 32 : 128);
    return ip_rule_parse(mem, &raw, net, &why) == CV_OK;
}

static bool is_name(struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr("/:[]@ ?#", s.p[i]) || (s.p[i] == '*' && i > 0))
            return false;
    return s.n > 0 && (s.p[0] != '*' || s.n == 1 || (s.n > 2 && s.p[1] == '.'));
}

static bool parse_entry(struct bump *mem, struct cv_str text, struct entry *e)
{
    *e = (struct entry){ .net.family = AF_UNSPEC };
    if (text.n > 5 && memcmp(text.p, "unix:", 5) == 0) {
        e->unix_path = (struct cv_str){ text.p + 5, text.n - 5 };
        return true;
    }
    struct cv_str host;
    if (text.n == 0 || !split_port(text, &host, &e->port))
        return false;
    if (parse_net(mem, host, &e->net))
        return true;
    e->net.family = AF_UNSPEC;
    e->host = host;
    return is_name(host);
}

static void policy_free(struct policy *p)
{
    bump_free(&p->mem);
    *p = (struct policy){ .n = 0 };
}

/* The line that cannot be read, or NULL. */
static const struct cv_str *policy_read(struct policy *p, const struct cv_list *allow)
{
    *p = (struct policy){ .n = 0 };
    p->v = bump_array(&p->mem, allow->n + 1, sizeof(*p->v));
    for (; p->n < allow->n; p->n++)
        if (!parse_entry(&p->mem, allow->v[p->n], &p->v[p->n]))
            return &allow->v[p->n];
    return NULL;
}

enum cv_error origins_check(const void *opaque, struct cv_err *err)
{
    const struct origins_conf *conf = opaque;
    struct policy p;
    const struct cv_str *wrong = policy_read(&p, &conf->allow);
    policy_free(&p);
    if (!wrong)
        return CV_OK;
    return cv_conf_fail(err, conf, "allow", "\"" CV_STR_FMT "\" is no name, address, network or unix:PATH",
                        CV_STR_ARG(*wrong));
}

void reach_setup(const struct origins_conf *conf)
{
    static const struct cv_list anything = { NULL, 0 };
    struct policy *p = cv_xcalloc(1, sizeof(*p));
    CV_ASSERT(!policy_read(p, conf ? &conf->allow : &anything));
    p->before = atomic_load(&in_force);
    atomic_store_explicit(&in_force, p, memory_order_release);
}

static void forget(struct policy *p)
{
    while (p) {
        struct policy *before = p->before;
        policy_free(p);
        free(p);
        p = before;
    }
}

void reach_settle(void)
{
    struct policy *p = atomic_load(&in_force);
    if (!p)
        return;
    forget(p->before);
    p->before = NULL;
}

void reach_free(void)
{
    forget(atomic_exchange(&in_force, NULL));
}

/* ---- asking it ---------------------------------------------------------------------------------------- */

static bool names_host(const struct entry *e, struct cv_str host)
{
    if (e->host.n == 0 || e->host.p[0] != '*')
        return e->host.n > 0 && cv_str_caseeq(e->host, host);
    size_t suffix = e->host.n - 1;
    return host.n > suffix && cv_str_caseeq((struct cv_str){ host.p + host.n - suffix, suffix },
                                            (struct cv_str){ e->host.p + 1, suffix });
}

static bool covers_port(const struct entry *e, uint16_t port)
{
    return e->port == 0 || e->port == port;
}

static const struct cv_ip_rule metadata[] = {
    { .family = AF_INET, .net = { 169, 254 }, .bits = 16 },
    { .family = AF_INET6, .net = { 0xfd, 0, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54 }, .bits = 128 },
};

/* A network that merely includes them, as 0.0.0.0/0, does not name them. */
static bool reaches_metadata(const struct cv_ip_rule *service, const struct address *a)
{
    const struct policy *p = policy_now();
    for (size_t i = 0; i < p->n; i++) {
        const struct entry *e = &p->v[i];
        if (e->net.bits >= service->bits && net_holds(&e->net, a) && covers_port(e, a->port))
            return true;
    }
    return false;
}

bool cv_may_reach(struct cv_str host, const struct sockaddr_storage *addr)
{
    const struct policy *p = policy_now();
    struct address a = address_of(addr);
    for (size_t i = 0; i < sizeof(metadata) / sizeof(metadata[0]); i++)
        if (net_holds(&metadata[i], &a))
            return reaches_metadata(&metadata[i], &a);
    for (size_t i = 0; i < p->n; i++) {
        const struct entry *e = &p->v[i];
        if (covers_port(e, a.port) && (names_host(e, host) || net_holds(&e->net, &a)))
            return true;
    }
    return p->n == 0;
}

bool cv_may_reach_name(struct cv_str host, uint16_t port)
{
    const struct policy *p = policy_now();
    struct sockaddr_storage addr;
    if (address_parse(host, port, &addr))
        return cv_may_reach(host, &addr);
    for (size_t i = 0; i < p->n; i++)
        if (covers_port(&p->v[i], port) && names_host(&p->v[i], host))
            return true;
    return p->n == 0;
}

/* Whether a name may be looked up at all. */
static bool may_resolve(struct cv_str host, uint16_t port)
{
    const struct policy *p = policy_now();
    for (size_t i = 0; i < p->n; i++) {
        const struct entry *e = &p->v[i];
        if (covers_port(e, port) && (names_host(e, host) || e->net.family != AF_UNSPEC))
            return true;
    }
    return p->n == 0;
}

static bool may_open(struct cv_str path)
{
    const struct policy *p = policy_now();
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].unix_path.n > 0 && cv_str_eq(p->v[i].unix_path, path))
            return true;
    return p->n == 0;
}

static bool may_have(const struct cv_rule *rule)
{
    const struct cv_target *target = &rule->target;
    struct sockaddr_storage addr;
    switch (rule->kind) {
    case CV_SERVICE_UNIX: return may_open(target->unix_path);
    case CV_SERVICE_HTTP:
    case CV_SERVICE_TCP:
        return address_parse(target->host, target->port, &addr) ? cv_may_reach(target->host, &addr)
                                                                : may_resolve(target->host, target->port);
    default: return true;
    }
}

bool reach_rule(void *unused, const struct cv_rule *rule, struct reason *why)
{
    (void)unused;
    if (may_have(rule))
        return true;
    const struct cv_target *target = &rule->target;
    reason_str(why, target->unix_path.n ? target->unix_path : target->authority);
    reason_add(why, " is not among the targets that this connector may reach ([origins] allow)");
    return false;
}
