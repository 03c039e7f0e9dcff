/* number.c: whole numbers, durations as Go writes them, and sizes. */
#include "boot.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

static bool digits(const char **p, uint64_t *value)
{
    const char *from = *p;
    uint64_t v = 0;
    for (; isdigit((unsigned char)**p); ++*p) {
        unsigned digit = (unsigned)(**p - '0');
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *value = v;
    return *p != from;
}

bool integer_parse(const char *text, long min, long max, long *value)
{
    const char *p = text + (*text == '-' || *text == '+');
    uint64_t v;
    if (!digits(&p, &v) || *p || v > LONG_MAX)
        return false;
    *value = *text == '-' ? -(long)v : (long)v;
    return *value >= min && *value <= max;
}

static const struct unit {
    const char *name;
    double ms;
} units[] = { { "ns", 1e-6 }, { "us", 1e-3 }, { "\xC2\xB5s", 1e-3 }, { "ms", 1 },
              { "s", 1e3 },   { "m", 6e4 },   { "h", 3.6e6 } };

static const struct unit *unit_at(const char **p)
{
    size_t n = strcspn(*p, "0123456789.");
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strlen(units[i].name) == n && memcmp(units[i].name, *p, n) == 0) {
            *p += n;
            return &units[i];
        }
    return NULL;
}

static bool number_at(const char **p, double *value)
{
    uint64_t whole = 0;
    bool any = digits(p, &whole);
    *value = (double)whole;
    if (**p == '.') {
        double scale = 0.1;
        for (++*p; isdigit((unsigned char)**p); ++*p, scale /= 10, any = true)
            *value += scale * (**p - '0');
    }
    return any;
}

bool duration_parse(const char *text, int64_t *ms)
{
    const char *p = text + (*text == '-' || *text == '+');
    if (strcmp(p, "0") == 0) {
        *ms = 0;
        return true;
    }
    double sum = 0;
    do {
        double number;
        if (!number_at(&p, &number))
            return false;
        const struct unit *unit = unit_at(&p);
        if (!unit)
            return false;
        sum += number * unit->ms;
    } while (*p);
    if (sum > 9.2e12) /* Go's limit, 292 years */
        return false;
    int64_t rounded = sum > 0 && sum < 1 ? 1 : (int64_t)(sum + 0.5);
    *ms = *text == '-' ? -rounded : rounded;
    return true;
}

bool size_parse(const char *text, uint64_t *bytes)
{
    uint64_t v;
    if (!digits(&text, &v))
        return false;
    static const char suffixes[] = "kKmMgG";
    unsigned shift = 0;
    if (*text) {
        const char *s = strchr(suffixes, *text);
        if (!s || text[1])
            return false;
        shift = 10 * ((unsigned)(s - suffixes) / 2 + 1);
    }
    if (v > UINT64_MAX >> shift)
        return false;
    *bytes = v << shift;
    return true;
}

char *duration_format(int64_t ms)
{
    char text[64], *p = text, *end = text + sizeof(text);
    int64_t hours = ms / 3600000, minutes = ms / 60000 % 60, rest = ms % 60000;
    if (hours)
        p += snprintf(p, (size_t)(end - p), "%lldh", (long long)hours);
    if (minutes)
        p += snprintf(p, (size_t)(end - p), "%lldm", (long long)minutes);
    if (rest % 1000)
        p += snprintf(p, (size_t)(end - p), "%lldms", (long long)rest);
    else if (rest || p == text)
        p += snprintf(p, (size_t)(end - p), "%llds", (long long)rest / 1000);
    return cv_xmemdup0(text, (size_t)(p - text));
}

char *size_format(uint64_t n)
{
    const char *suffix = "";
    for (const char *next = "kMG"; *next && n >= 1024 && n % 1024 == 0; next++, n /= 1024)
        suffix = next;
    char text[32];
    snprintf(text, sizeof(text), "%llu%.1s", (unsigned long long)n, suffix);
    return cv_xstrdup(text);
}
