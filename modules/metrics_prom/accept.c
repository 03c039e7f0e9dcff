/* accept.c: which of the forms that there are a scraper would rather have (RFC 9110 §12.4.2, §12.5.1, §12.5.3). */
#include "prom.h"

#include <string.h>

enum { Q_ONE = 1000 }; /* qualities have three decimals */

/* ---- one element of the list ----------------------------------------------------------------------------- */

struct range {
    struct cv_str name;    /* "text/plain", "gzip", a star */
    struct cv_str version; /* its parameter, or {0}        */
    int q;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct cv_str trimmed(struct cv_str s)
{
    while (s.n && is_space(s.p[0]))
        s.p++, s.n--;
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* What stands before `mark`, quoted strings aside; *rest goes on behind it. */
static struct cv_str cut(struct cv_str *rest, char mark)
{
    size_t i = 0;
    for (bool quoted = false; i < rest->n && (quoted || rest->p[i] != mark); i++) {
        if (rest->p[i] == '"')
            quoted = !quoted;
        else if (quoted && rest->p[i] == '\\' && i + 1 < rest->n)
            i++;
    }
    struct cv_str part = { rest->p, i };
    size_t skip = i < rest->n ? i + 1 : i;
    *rest = (struct cv_str){ rest->p + skip, rest->n - skip };
    return trimmed(part);
}

/* "0.5" → 500; -1: no quality. */
static int quality(struct cv_str s)
{
    int q = 0, digit = Q_ONE;
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (i == 1)
            continue;
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        q += (s.p[i] - '0') * digit;
        digit /= 10;
    }
    return q <= Q_ONE ? q : -1;
}

static struct range range_of(struct cv_str element)
{
    struct range r = { .name = cut(&element, ';'), .q = Q_ONE };
    while (element.n) {
        struct cv_str value = cut(&element, ';');
        struct cv_str name = cut(&value, '=');
        value = trimmed(value);
        if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
            value = (struct cv_str){ value.p + 1, value.n - 2 };
        if (cv_str_caseeq(name, CV_STR("q")))
            r.q = quality(value);
        else if (cv_str_caseeq(name, CV_STR("version")))
            r.version = value;
    }
    return r;
}

/* ---- the list ------------------------------------------------------------------------------------------- */

/* How closely it names the form; 0: not at all. Parameters other than the version do not choose. */
static int closeness(const struct range *r, struct cv_str name, struct cv_str version)
{
    const char *slash = name.n ? memchr(name.p, '/', name.n) : NULL;
    if (cv_str_eq(r->name, slash ? CV_STR("*/*") : CV_STR("*")))
        return 1;
    size_t n = slash ? (size_t)(slash - name.p) + 1 : 0;
    if (n && r->name.n == n + 1 && r->name.p[n] == '*' &&
        cv_str_caseeq((struct cv_str){ r->name.p, n }, (struct cv_str){ name.p, n }))
        return 2;
    if (!cv_str_caseeq(r->name, name))
        return 0;
    if (!r->version.n)
        return 3;
    return cv_str_eq(r->version, version) ? 4 : 0;
}

/* What the closest element says; -1: none names the form. */
static int liking(struct cv_str list, struct cv_str name, struct cv_str version)
{
    int best = 0, q = -1;
    while (list.n) {
        struct range r = range_of(cut(&list, ','));
        int close = closeness(&r, name, version);
        if (r.q >= 0 && close > best) {
            best = close;
            q = r.q;
        }
    }
    return q;
}

bool prom_wants_open(const char *accept)
{
    struct cv_str list = cv_str_of(accept);
    int open = liking(list, CV_STR("application/openmetrics-text"), CV_STR("1.0.0"));
    return open > 0 && open > liking(list, CV_STR("text/plain"), CV_STR("0.0.4"));
}

bool prom_wants_gzip(const char *accept_encoding)
{
    struct cv_str list = cv_str_of(accept_encoding), none = { NULL, 0 };
    int gzip = liking(list, CV_STR("gzip"), none);
    return gzip > 0 && gzip >= liking(list, CV_STR("identity"), none);
}
