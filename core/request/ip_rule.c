/* ip_rule.c: lines of a SOCKS policy (docs/protocol.md §16.2, §20). */
#include "request/ip_rule.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct gojson_type string = { .name = "string",
                                           .kind = GOJSON_STRING,
                                           .size = sizeof(struct cv_str) };
static const struct gojson_type boolean = { .name = "bool", .kind = GOJSON_BOOL, .size = sizeof(bool) };
static const struct gojson_type integer = { .name = "int", .kind = GOJSON_INT, .size = sizeof(int64_t) };
static const struct gojson_type integers = {
    .name = "[]int", .kind = GOJSON_LIST, .size = sizeof(struct gojson_list), .of = &integer
};
static const struct gojson_field fields[] = {
    { "prefix", &string, offsetof(struct ip_rule_raw, prefix), offsetof(struct ip_rule_raw, has_prefix) },
    { "ports", &integers, offsetof(struct ip_rule_raw, ports), GOJSON_ALWAYS },
    { "allow", &boolean, offsetof(struct ip_rule_raw, allow), GOJSON_ALWAYS },
    { .name = NULL },
};
static const struct gojson_type rule_type = { .name = "config.IngressIPRule",
                                              .kind = GOJSON_STRUCT,
                                              .size = sizeof(struct ip_rule_raw),
                                              .fields = fields };
const struct gojson_type ip_rule_list_type = { .name = "[]config.IngressIPRule",
                                               .kind = GOJSON_LIST,
                                               .size = sizeof(struct gojson_list),
                                               .of = &rule_type };
const struct cv_ip_rule ip_rule_none = { .prefix = { "<nil>", 5 }, .family = AF_UNSPEC };

static bool parse_bits(struct cv_str s, unsigned most, unsigned *bits)
{
    *bits = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || *bits > most)
            return false;
        *bits = *bits * 10 + (unsigned)(s.p[i] - '0');
    }
    return s.n > 0 && *bits <= most;
}

static void mask(uint8_t *net, size_t n, unsigned bits)
{
    for (size_t i = 0; i < n; i++) {
        unsigned keep = bits > 8 * i ? bits - 8 * (unsigned)i : 0;
        if (keep < 8)
            net[i] &= (uint8_t)(0xFF00u >> keep);
    }
}

/* An IPv4 network in IPv6 clothes is an IPv4 network. */
static void undress(struct cv_ip_rule *rule)
{
    static const uint8_t mapped[12] = { [10] = 0xFF, [11] = 0xFF };
    if (rule->family != AF_INET6 || memcmp(rule->net, mapped, sizeof mapped) != 0)
        return;
    memmove(rule->net, rule->net + 12, 4);
    memset(rule->net + 4, 0, 12);
    rule->family = AF_INET;
    rule->bits -= 96;
}

static bool parse_cidr(struct bump *mem, struct cv_str s, struct cv_ip_rule *rule)
{
    const char *slash = memchr(s.p, '/', s.n);
    char text[INET6_ADDRSTRLEN];
    if (!slash || (size_t)(slash - s.p) >= sizeof text)
        return false;
    size_t n = (size_t)(slash - s.p);
    memcpy(text, s.p, n);
    text[n] = '\0';
    rule->family = memchr(text, ':', n) ? AF_INET6 : AF_INET;
    size_t bytes = rule->family == AF_INET6 ? 16 : 4;
    if (strlen(text) != n || inet_pton(rule->family, text, rule->net) != 1)
        return false;
    if (!parse_bits((struct cv_str){ slash + 1, s.n - n - 1 }, (unsigned)bytes * 8, &rule->bits))
        return false;
    mask(rule->net, bytes, rule->bits);
    undress(rule);
    inet_ntop(rule->family, rule->net, text, sizeof text);
    if (rule->family == AF_INET6 && strchr(text, '.')) /* ::1.2.3.4, which Go writes as any other */
        snprintf(text, sizeof text, "::%x:%x", rule->net[12] << 8 | rule->net[13],
                 rule->net[14] << 8 | rule->net[15]);
    rule->prefix = bump_print(mem, "%s/%u", text, rule->bits);
    return true;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool take_ports(struct bump *mem, struct gojson_list *raw, struct cv_ip_rule *rule, struct reason *why)
{
    int64_t *from = raw->v;
    if (raw->n > 0)
        qsort(from, raw->n, sizeof *from, ascending);
    int *to = raw->v ? bump_array(mem, raw->n, sizeof *to) : NULL;
    for (size_t i = 0; i < raw->n; i++) {
        if (from[i] < 1 || from[i] > 65535) {
            reason_fail(why, "invalid port %lld, needs to be between 1 and 65535", (long long)from[i]);
            return false;
        }
        to[i] = (int)from[i];
    }
    rule->ports = to;
    rule->nports = raw->n;
    return true;
}

enum cv_error ip_rule_parse(struct bump *mem, struct ip_rule_raw *raw, struct cv_ip_rule *rule,
                            struct reason *why)
{
    *rule = (struct cv_ip_rule){ .allow = raw->allow };
    if (!raw->has_prefix || raw->prefix.n == 0)
        return reason_fail(why, "no prefix provided");
    if (!parse_cidr(mem, raw->prefix, rule)) {
        reason_fail(why, "unable to parse cidr: ");
        reason_str(why, raw->prefix);
        return CV_E_CONF;
    }
    return take_ports(mem, &raw->ports, rule, why) ? CV_OK : CV_E_CONF;
}
