/* url.c: URLs of services, taken apart and written as Go's net/url does it. */
#include "request/url.h"

#include <arpa/inet.h>
#include <string.h>

/* Which characters a part may hold as they are: the parts differ. */
enum part { HOST, ZONE, USER, PATH, FRAGMENT };

static const struct cv_str empty = { "", 0 };

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static uint8_t hex_byte(const char *p)
{
    uint8_t v = 0;
    for (int i = 0; i < 2; i++)
        v = (uint8_t)(v << 4 | (p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10));
    return v;
}

static bool is_plain(char c, enum part part)
{
    static const char *const extra[] = {
        [HOST] = "-_.~!$&'()*+,;=:[]<>\"", [ZONE] = "-_.~!$&'()*+,;=:[]<>\"", [USER] = "-_.~$&+,;=",
        [PATH] = "-_.~$&+,/:;=@",          [FRAGMENT] = "-_.~$&+,/:;=?@!()*",
    };
    if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
        return true;
    return c && strchr(extra[part], c);
}

static bool bad_escape(struct reason *why, struct cv_str s)
{
    reason_add(why, "invalid URL escape ");
    reason_quote(why, (struct cv_str){ s.p, s.n < 3 ? s.n : 3 });
    return false;
}

/* A host may escape bytes beyond ASCII only, or "%25", the beginning of a zone; a zone what a host may hold.
 */
static bool escape_allowed(const char *p, enum part part)
{
    if (memcmp(p, "%25", 3) == 0)
        return true;
    uint8_t byte = hex_byte(p + 1);
    if (part == HOST)
        return byte >= 0x80;
    return part != ZONE || byte == ' ' || is_plain((char)byte, HOST);
}

static bool check_escapes(struct cv_str s, enum part part, struct reason *why)
{
    for (size_t i = 0; i < s.n; i++) {
        struct cv_str rest = { s.p + i, s.n - i };
        if (*rest.p == '%') {
            if (rest.n < 3 || !is_hex(rest.p[1]) || !is_hex(rest.p[2]) || !escape_allowed(rest.p, part))
                return bad_escape(why, rest);
            i += 2;
        } else if ((part == HOST || part == ZONE) && (uint8_t)*rest.p < 0x80 && !is_plain(*rest.p, part)) {
            reason_add(why, "invalid character ");
            reason_quote(why, (struct cv_str){ rest.p, 1 });
            reason_add(why, " in host name");
            return false;
        }
    }
    return true;
}

static bool unescape(struct bump *mem, struct cv_str s, enum part part, struct cv_str *to, struct reason *why)
{
    *to = empty;
    if (!check_escapes(s, part, why))
        return false;
    char *out = bump_alloc(mem, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; n++) {
        bool escaped = s.p[i] == '%';
        out[n] = escaped ? (char)hex_byte(s.p + i + 1) : s.p[i];
        i += escaped ? 3 : 1;
    }
    *to = (struct cv_str){ out, n };
    return true;
}

static struct cv_str escape(struct bump *mem, struct cv_str s, enum part part)
{
    char *out = bump_array(mem, s.n + 1, 3);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (is_plain(s.p[i], part)) {
            out[n++] = s.p[i];
        } else {
            out[n++] = '%';
            out[n++] = "0123456789ABCDEF"[(uint8_t)s.p[i] >> 4];
            out[n++] = "0123456789ABCDEF"[(uint8_t)s.p[i] & 15];
        }
    }
    return (struct cv_str){ out, n };
}

/* ---- cutting ------------------------------------------------------------------------------------------ */

/* Cuts at the first c: the part before it stays in *s, the part behind it is returned, empty without one. */
static struct cv_str cut(struct cv_str *s, char c)
{
    const char *at = s->n ? memchr(s->p, c, s->n) : NULL;
    if (!at)
        return empty;
    struct cv_str behind = { at + 1, s->n - (size_t)(at - s->p) - 1 };
    s->n = (size_t)(at - s->p);
    return behind;
}

static const char *find(struct cv_str s, char c)
{
    return s.n ? memchr(s.p, c, s.n) : NULL;
}

static const char *find_last(struct cv_str s, char c)
{
    return s.n ? memrchr(s.p, c, s.n) : NULL;
}

static struct cv_str from(struct cv_str s, const char *at)
{
    return (struct cv_str){ at, s.n - (size_t)(at - s.p) };
}

static bool begins(struct cv_str s, const char *with)
{
    return s.n >= strlen(with) && memcmp(s.p, with, strlen(with)) == 0;
}

bool url_split_host_port(struct cv_str text, struct cv_str *host, struct cv_str *port)
{
    const char *colon = find_last(text, ':');
    if (!colon)
        return false;
    struct cv_str before = { text.p, (size_t)(colon - text.p) };
    if (*text.p == '[') {
        const char *close = find(text, ']');
        if (!close || close + 1 != colon)
            return false;
        before = (struct cv_str){ text.p + 1, before.n - 2 };
    } else if (find(before, ':')) {
        return false;
    }
    *host = before;
    *port = from(text, colon + 1);
    return !find(before, '[') && !find(before, ']') && !find(*port, '[') && !find(*port, ']');
}

/* ---- host --------------------------------------------------------------------------------------------- */

/* "" or ":" and digits */
static bool is_port(struct cv_str s)
{
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n == 0 || *s.p == ':';
}

static bool check_port(struct cv_str s, struct reason *why)
{
    if (is_port(s))
        return true;
    reason_add(why, "invalid port ");
    reason_quote(why, s);
    reason_add(why, " after host");
    return false;
}

/* What stands in brackets is an IPv6 address, with a zone perhaps. */
static bool check_ip_literal(struct cv_str s, struct reason *why)
{
    struct cv_str address = s, zone = cut(&address, '%');
    char text[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    bool zoned = address.n < s.n, fits = cv_str_copy(text, sizeof(text), address);
    if (fits && inet_pton(AF_INET6, text, bytes) == 1 && (!zoned || zone.n > 0))
        return true;
    if (fits && !zoned && inet_pton(AF_INET, text, bytes) == 1) {
        reason_add(why, "invalid IP-literal");
        return false;
    }
    reason_add(why, "invalid host: ParseAddr(");
    reason_quote(why, s);
    reason_add(why, "): unable to parse IP");
    return false;
}

/* [address]:port, where the zone of an address begins with "%25" and has rules of its own. */
static bool parse_ip_literal(struct bump *mem, struct cv_str s, struct cv_str *host, struct reason *why)
{
    const char *close = find_last(s, ']');
    if (!close) {
        reason_add(why, "missing ']' in host");
        return false;
    }
    struct cv_str port = from(s, close + 1);
    struct cv_str name = { s.p + 1, (size_t)(close - s.p) - 1 };
    const char *zone = name.n ? memmem(name.p, name.n, "%25", 3) : NULL;
    struct cv_str zone_text = zone ? from(name, zone) : empty;
    name.n -= zone_text.n;
    if (!check_port(port, why) || !unescape(mem, name, HOST, &name, why) ||
        !unescape(mem, zone_text, ZONE, &zone_text, why))
        return false;
    struct cv_str inside = bump_print(mem, "%.*s%.*s", (int)name.n, name.p, (int)zone_text.n, zone_text.p);
    if (!check_ip_literal(inside, why))
        return false;
    *host = bump_print(mem, "[%.*s]%.*s", (int)inside.n, inside.p, (int)port.n, port.p);
    return true;
}

static bool parse_host(struct bump *mem, struct cv_str scheme, struct cv_str s, struct cv_str *host,
                       struct reason *why)
{
    const char *bracket = find_last(s, '[');
    if (bracket && bracket > s.p) {
        reason_add(why, "invalid IP-literal");
        return false;
    }
    if (bracket)
        return parse_ip_literal(mem, s, host, why);
    /* Lists of hosts with ports are let through for all but HTTP. */
    bool http = cv_str_eq(scheme, CV_STR("http")) || cv_str_eq(scheme, CV_STR("https"));
    const char *colon = http ? find(s, ':') : find_last(s, ':');
    if (colon && !check_port(from(s, colon), why))
        return false;
    return unescape(mem, s, HOST, host, why);
}

static void split_host(struct url *url)
{
    url->name = url->host;
    url->port = empty;
    const char *colon = find_last(url->host, ':');
    if (colon && is_port(from(url->host, colon))) {
        url->name.n = (size_t)(colon - url->host.p);
        url->port = from(url->host, colon + 1);
    }
    if (url->name.n >= 2 && *url->name.p == '[' && url->name.p[url->name.n - 1] == ']')
        url->name = (struct cv_str){ url->name.p + 1, url->name.n - 2 };
}

/* ---- user information --------------------------------------------------------------------------------- */

static bool parse_user(struct bump *mem, struct cv_str s, struct cv_str *user, struct reason *why)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_plain(s.p[i], USER) && !memchr(":!'()*%@", s.p[i], 8)) {
            reason_add(why, "net/url: invalid userinfo");
            return false;
        }
    }
    struct cv_str name = s, plain_name, plain_password;
    struct cv_str password = cut(&name, ':');
    bool has_password = name.n < s.n;
    if (!unescape(mem, name, USER, &plain_name, why) || !unescape(mem, password, USER, &plain_password, why))
        return false;
    name = escape(mem, plain_name, USER);
    password = escape(mem, plain_password, USER);
    *user = bump_print(mem, "%.*s%s%.*s@", (int)name.n, name.p, has_password ? ":" : "", (int)password.n,
                       password.p);
    return true;
}

static bool parse_authority(struct bump *mem, struct cv_str s, struct url *url, struct reason *why)
{
    const char *at = find_last(s, '@');
    struct cv_str host = at ? from(s, at + 1) : s;
    if (!parse_host(mem, url->scheme, host, &url->host, why))
        return false;
    split_host(url);
    return !at || parse_user(mem, (struct cv_str){ s.p, (size_t)(at - s.p) }, &url->user, why);
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

/* The scheme, lower case, and what is behind its colon; no scheme is no error. */
static bool parse_scheme(struct bump *mem, struct cv_str *rest, struct cv_str *scheme, struct reason *why)
{
    *scheme = empty;
    for (size_t i = 0; i < rest->n; i++) {
        char c = rest->p[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (c == ':' && i > 0) {
            char *lower = bump_alloc(mem, i + 1);
            for (size_t k = 0; k < i; k++)
                lower[k] = rest->p[k] >= 'A' && rest->p[k] <= 'Z' ? (char)(rest->p[k] | 0x20) : rest->p[k];
            *scheme = (struct cv_str){ lower, i };
            *rest = from(*rest, rest->p + i + 1);
            return true;
        }
        if (c == ':') {
            reason_add(why, "missing protocol scheme");
            return false;
        }
        if (!letter && (i == 0 || !(c && ((c >= '0' && c <= '9') || strchr("+-.", c)))))
            return true;
    }
    return true;
}

static bool has_control_character(struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < ' ' || s.p[i] == 0x7F)
            return true;
    return false;
}

static bool parse(struct bump *mem, struct cv_str s, struct url *url, struct cv_str *query,
                  struct reason *why)
{
    if (has_control_character(s)) {
        reason_add(why, "net/url: invalid control character in URL");
        return false;
    }
    if (!parse_scheme(mem, &s, &url->scheme, why))
        return false;
    struct cv_str rest = s;
    cut(&rest, '?');
    *query = from(s, rest.p + rest.n); /* with its question mark */
    if (!begins(rest, "/")) {
        struct cv_str segment = rest;
        cut(&segment, '/');
        if (url->scheme.n > 0)
            return true;
        if (find(segment, ':')) {
            reason_add(why, "first path segment in URL cannot contain colon");
            return false;
        }
    }
    if (begins(rest, "//") && (url->scheme.n > 0 || !begins(rest, "///"))) {
        struct cv_str authority = from(rest, rest.p + 2);
        const char *slash = find(authority, '/');
        rest = slash ? from(authority, slash) : empty;
        if (slash)
            authority.n = (size_t)(slash - authority.p);
        if (!parse_authority(mem, authority, url, why))
            return false;
    }
    return unescape(mem, rest, PATH, &url->path, why);
}

/* A fragment is kept as it was written if it could have been written so, and is escaped anew otherwise. */
static bool parse_fragment(struct bump *mem, struct cv_str s, struct cv_str *fragment, struct reason *why)
{
    struct cv_str plain;
    if (!unescape(mem, s, FRAGMENT, &plain, why))
        return false;
    bool as_written = true;
    for (size_t i = 0; i < s.n; i++)
        as_written = as_written && (is_plain(s.p[i], FRAGMENT) || memchr("'[]%", s.p[i], 4));
    *fragment = as_written ? s : escape(mem, plain, FRAGMENT);
    return true;
}

static enum cv_error fail(struct reason *why, struct cv_str text, const struct reason *cause)
{
    reason_fail(why, "parse ");
    reason_quote(why, text);
    reason_add(why, ": %s", cause->text);
    return CV_E_CONF;
}

enum cv_error url_parse(struct bump *mem, struct cv_str text, struct url *url, struct reason *why)
{
    if (text.n == 0)
        text = empty;
    *url = (struct url){ empty, empty, empty, empty, empty, empty, empty };
    struct reason cause;
    reason_clear(&cause);
    struct cv_str before = text, query = empty;
    struct cv_str fragment = cut(&before, '#');
    if (!parse(mem, before, url, &query, &cause))
        return fail(why, before, &cause);
    if (!parse_fragment(mem, fragment, &fragment, &cause))
        return fail(why, text, &cause);
    struct cv_str host = escape(mem, url->host, HOST);
    url->text = bump_print(mem, "%.*s://%.*s%.*s%.*s%s%.*s", CV_STR_ARG(url->scheme), CV_STR_ARG(url->user),
                           CV_STR_ARG(host), CV_STR_ARG(query), fragment.n ? "#" : "", CV_STR_ARG(fragment));
    return CV_OK;
}
