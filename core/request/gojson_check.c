/* gojson_check.c: is a text JSON? Decided before anything of it is read, with the error texts of Go. */
#include "request/gojson_check.h"

#include <string.h>

struct check {
    const char *p, *end;
    struct reason *why;
    size_t depth;
    uint8_t objects[GOJSON_DEPTH / 8 + 1]; /* a bit per level: object, not array */
};

static bool is_object(const struct check *c)
{
    return c->objects[c->depth / 8] >> c->depth % 8 & 1;
}

static bool cut_short(struct check *c)
{
    reason_fail(c->why, "unexpected end of JSON input");
    return false;
}

static bool unexpected(struct check *c, const char *where)
{
    if (c->p == c->end)
        return cut_short(c);
    reason_fail(c->why, "invalid character ");
    reason_char(c->why, (struct cv_str){ c->p, (size_t)(c->end - c->p) });
    reason_add(c->why, " %s", where);
    return false;
}

static void skip_space(struct check *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'))
        c->p++;
}

static bool open_level(struct check *c)
{
    if (c->depth == GOJSON_DEPTH) {
        reason_fail(c->why, "exceeded max depth");
        return false;
    }
    c->depth++;
    uint8_t bit = (uint8_t)(1u << c->depth % 8);
    if (*c->p++ == '{')
        c->objects[c->depth / 8] |= bit;
    else
        c->objects[c->depth / 8] &= (uint8_t)~bit;
    return true;
}

static bool literal(struct check *c, const char *word)
{
    for (const char *w = word; *w; w++, c->p++) {
        if (c->p == c->end)
            return cut_short(c);
        if (*c->p != *w) {
            unexpected(c, "in literal ");
            reason_add(c->why, "%s (expecting '%c')", word, *w);
            return false;
        }
    }
    return true;
}

static bool digits(struct check *c)
{
    if (c->p == c->end || *c->p < '0' || *c->p > '9')
        return unexpected(c, "in numeric literal");
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
        c->p++;
    return true;
}

static bool number(struct check *c)
{
    if (*c->p == '-')
        c->p++;
    if (c->p < c->end && *c->p == '0')
        c->p++;
    else if (!digits(c))
        return false;
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!digits(c))
            return false;
    }
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
            c->p++;
        if (!digits(c))
            return false;
    }
    return true;
}

static bool bad_escape(struct check *c, size_t n)
{
    struct cv_str what = { c->p, n };
    bool plain = true;
    for (size_t i = 0; i < n; i++)
        plain = plain && what.p[i] > ' ' && what.p[i] < 0x7F && what.p[i] != '`';
    reason_fail(c->why, "invalid escape sequence ");
    if (plain) {
        reason_add(c->why, "`");
        reason_str(c->why, what);
        reason_add(c->why, "`");
    } else {
        reason_quote(c->why, what);
    }
    reason_add(c->why, " in string");
    return false;
}

/* At a backslash. Ends that could still become an escape are "unexpected end", all else is a bad escape. */
static bool escape(struct check *c)
{
    size_t left = (size_t)(c->end - c->p);
    if (left < 2)
        return cut_short(c);
    if (c->p[1] != 'u') {
        if (!memchr("\"\\/bfnrt", c->p[1], 8))
            return bad_escape(c, 2);
        c->p += 2;
        return true;
    }
    size_t n = 2;
    while (n < 6 && n < left && strchr("0123456789abcdefABCDEF", c->p[n]) && c->p[n])
        n++;
    if (n < 6)
        return n == left ? cut_short(c) : bad_escape(c, left < 6 ? left : 6);
    c->p += 6;
    return true;
}

static bool string(struct check *c)
{
    for (c->p++; c->p < c->end && *c->p != '"';) {
        if (*c->p == '\\') {
            if (!escape(c))
                return false;
        } else if ((uint8_t)*c->p < ' ') {
            return unexpected(c, "in string");
        } else {
            c->p++;
        }
    }
    if (c->p == c->end)
        return cut_short(c);
    c->p++;
    return true;
}

static bool scalar(struct check *c)
{
    switch (c->p < c->end ? *c->p : '\0') {
    case 'n': return literal(c, "null");
    case 't': return literal(c, "true");
    case 'f': return literal(c, "false");
    case '"': return string(c);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return number(c);
    default: return unexpected(c, "looking for beginning of value");
    }
}

/* A key, its colon, and the space before the value. */
static bool key(struct check *c)
{
    if (c->p == c->end || *c->p != '"')
        return unexpected(c, "looking for beginning of object key string");
    if (!string(c))
        return false;
    skip_space(c);
    if (c->p == c->end || *c->p != ':')
        return unexpected(c, "after object key");
    c->p++;
    skip_space(c);
    return true;
}

/* Behind a value: closes what ends here, steps over a comma. False at the end of everything, or on an error.
 */
static bool next_value(struct check *c, bool *bad)
{
    for (; c->depth > 0; c->depth--, c->p++) {
        skip_space(c);
        bool object = is_object(c);
        if (c->p < c->end && *c->p == ',') {
            c->p++;
            skip_space(c);
            *bad = object && !key(c);
            return !*bad;
        }
        if (c->p == c->end || *c->p != (object ? '}' : ']')) {
            *bad = !unexpected(c, object ? "after object key:value pair" : "after array element");
            return false;
        }
    }
    return false;
}

/* A value, or as much of it as comes before its first inner value. */
static bool begin_value(struct check *c)
{
    while (c->p < c->end && (*c->p == '{' || *c->p == '[')) {
        if (!open_level(c))
            return false;
        skip_space(c);
        if (c->p < c->end && *c->p == (is_object(c) ? '}' : ']')) {
            c->p++;
            c->depth--;
            return true;
        }
        if (is_object(c) && !key(c))
            return false;
    }
    return scalar(c);
}

enum cv_error gojson_check(struct cv_str text, struct reason *why)
{
    if (text.n == 0)
        return reason_fail(why, "unexpected end of JSON input");
    struct check c = { .p = text.p, .end = text.p + text.n, .why = why };
    bool bad = false;
    skip_space(&c);
    do {
        if (!begin_value(&c))
            return CV_E_CONF;
    } while (next_value(&c, &bad));
    if (bad)
        return CV_E_CONF;
    skip_space(&c);
    if (c.p < c.end && !unexpected(&c, "after top-level value"))
        return CV_E_CONF;
    return CV_OK;
}
