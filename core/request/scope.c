/* scope.c: hosts and paths that an ini names, compared so that no other spelling gets around them. */
#include "culvert/route.h"

#include <string.h>

enum { PATH_MAX_BYTES = 2048 };

/* ---- hosts ------------------------------------------------------------------------------------------------- */

static struct cv_str bare_host(struct cv_str authority)
{
    struct cv_str h = authority;
    while (h.n > 0 && h.p[h.n - 1] >= '0' && h.p[h.n - 1] <= '9')
        h.n--;
    h.n = h.n > 0 && h.p[h.n - 1] == ':' ? h.n - 1 : authority.n;
    while (h.n > 0 && h.p[h.n - 1] == '.')
        h.n--;
    return h;
}

static bool host_is(struct cv_str pattern, struct cv_str host)
{
    if (pattern.n < 2 || pattern.p[0] != '*')
        return cv_str_caseeq(pattern, host);
    struct cv_str suffix = { pattern.p + 1, pattern.n - 1 };
    return host.n > suffix.n &&
           cv_str_caseeq(suffix, (struct cv_str){ host.p + host.n - suffix.n, suffix.n });
}

bool cv_host_in(struct cv_list hosts, struct cv_str authority)
{
    struct cv_str host = bare_host(authority);
    for (size_t i = 0; i < hosts.n; i++)
        if (host_is(hosts.v[i], host))
            return true;
    return hosts.n == 0;
}

/* ---- paths ------------------------------------------------------------------------------------------------- */

static int hex_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Without query and with every %XX decoded; false if that cannot be done. */
static bool decode(struct cv_str path, char out[static PATH_MAX_BYTES], size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < path.n && path.p[i] != '?' && path.p[i] != '#'; i++) {
        char c = path.p[i];
        if (*n == PATH_MAX_BYTES)
            return false;
        if (c == '%') {
            int high = i + 2 < path.n ? hex_of(path.p[i + 1]) : -1,
                low = i + 2 < path.n ? hex_of(path.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[(*n)++] = c == '\\' ? '/' : c;
    }
    return true;
}

/* "/a//b/./../c" to "/a/c", in place. */
static size_t resolve(char *path, size_t n)
{
    size_t to = 0;
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && path[end] != '/')
            end++;
        size_t part = end - i;
        if (part == 2 && path[i] == '.' && path[i + 1] == '.') {
            while (to > 0 && path[--to] != '/')
                ;
        } else if (part > 0 && !(part == 1 && path[i] == '.')) {
            path[to++] = '/';
            memmove(path + to, path + i, part);
            to += part;
        }
        i = end + 1;
    }
    return to;
}

bool cv_path_in(struct cv_list prefixes, struct cv_str path)
{
    char text[PATH_MAX_BYTES];
    size_t n;
    if (prefixes.n == 0 || path.n == 0 || path.p[0] != '/' || !decode(path, text + 0, &n))
        return true;
    n = resolve(text, n);
    for (size_t i = 0; i < prefixes.n; i++) {
        struct cv_str p = prefixes.v[i];
        while (p.n > 0 && p.p[p.n - 1] == '/')
            p.n--;
        /* "/v1" is "/v1" and all below, not "/v10"; case folds, for origins that do not care */
        if (n >= p.n && cv_str_caseeq(p, (struct cv_str){ text, p.n }) && (n == p.n || text[p.n] == '/'))
            return true;
    }
    return false;
}

bool cv_in_scope(const struct cv_req *req, struct cv_list hosts, struct cv_list paths)
{
    bool host = cv_host_in(hosts, req->authority) ||
                (req->rule && req->rule->hostname.n && cv_host_in(hosts, req->rule->hostname));
    return host && cv_path_in(paths, req->path);
}
