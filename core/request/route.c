/* route.c: which rule a request meets (docs/protocol.md §17). */
#include "request/route.h"
#include "request/hostname.h"
#include "request/pattern.h"
#include "request/url.h"

#include <string.h>

#define PATH_LIMIT (32 * 1024) /* bytes, encoded; the edge refuses URLs half as long */

struct route_scratch {
    struct pattern_scratch *pattern;
    char path[PATH_LIMIT];
};

struct route_table *route_table_ref(struct route_table *table)
{
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
    return table;
}

void route_table_unref(struct route_table *table)
{
    if (!table || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < table->n; i++)
        pattern_free((struct cv_pattern *)table->rules[i].pattern);
    bump_free(&table->mem);
    free(table);
}

struct route_scratch *route_scratch_new(void)
{
    struct route_scratch *scratch = cv_xmalloc(sizeof *scratch);
    scratch->pattern = pattern_scratch_new();
    return scratch;
}

void route_scratch_free(struct route_scratch *scratch)
{
    if (!scratch)
        return;
    pattern_scratch_free(scratch->pattern);
    free(scratch);
}

struct cv_str route_host(struct cv_str host)
{
    struct cv_str name, port;
    return url_split_host_port(host, &name, &port) ? name : host;
}

/* ---- path --------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Without the query. What is no escape stays as it is. */
static bool decode_path(struct cv_str path, struct route_scratch *scratch, struct cv_str *decoded)
{
    const char *query = path.n ? memchr(path.p, '?', path.n) : NULL;
    size_t n = query ? (size_t)(query - path.p) : path.n, out = 0;
    if (n > sizeof scratch->path)
        return false;
    for (size_t i = 0; i < n; out++) {
        const char *p = path.p + i;
        bool escape = *p == '%' && n - i > 2 && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0;
        scratch->path[out] = escape ? (char)(hex_digit(p[1]) << 4 | hex_digit(p[2])) : *p;
        i += escape ? 3 : 1;
    }
    *decoded = (struct cv_str){ scratch->path, out };
    return true;
}

/* ---- rules -------------------------------------------------------------------------------------------- */

static bool is_for_all(const struct cv_rule *rule)
{
    return rule->hostname.n == 0 || cv_str_eq(rule->hostname, CV_STR("*"));
}

static bool host_matches(const struct cv_rule *rule, struct cv_str host)
{
    return is_for_all(rule) || hostname_matches(rule->hostname, host) ||
           (rule->punycode.n > 0 && hostname_matches(rule->punycode, host));
}

bool route_names(const struct route_table *table, struct cv_str host)
{
    host = route_host(host);
    for (const struct cv_rule *rule = table->rules; rule < table->rules + table->n; rule++)
        if (!is_for_all(rule) && host_matches(rule, host))
            return true;
    return false;
}

const struct cv_rule *route_match(const struct route_table *table, struct cv_str host, struct cv_str path,
                                  struct route_scratch *scratch)
{
    host = route_host(host);
    struct cv_str decoded;
    bool is_decoded = false;
    for (const struct cv_rule *rule = table->rules; rule < table->rules + table->n; rule++) {
        if (!host_matches(rule, host))
            continue;
        if (!rule->pattern)
            return rule;
        if (!is_decoded && !decode_path(path, scratch, &decoded))
            return NULL;
        is_decoded = true;
        if (pattern_match(rule->pattern, decoded, scratch->pattern))
            return rule;
    }
    return &table->rules[table->n - 1];
}
