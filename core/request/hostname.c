/* hostname.c: host names of rules (docs/protocol.md §17). */
#include "request/hostname.h"

#include <idn2.h>
#include <string.h>

static bool is_ascii(struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] >= 0x80)
            return false;
    return true;
}

static bool has_prefix(struct cv_str label, const char *prefix)
{
    size_t n = strlen(prefix);
    return label.n >= n && cv_str_caseeq((struct cv_str){ label.p, n }, (struct cv_str){ prefix, n });
}

/* Letters, digits and hyphens; no hyphen at an end, nor at the third and fourth place. */
static bool is_plain_label(struct cv_str label)
{
    for (size_t i = 0; i < label.n; i++) {
        char c = label.p[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    if (label.n > 4 && label.p[2] == '-' && label.p[3] == '-')
        return false;
    return label.n == 0 || (*label.p != '-' && label.p[label.n - 1] != '-');
}

enum label_kind { PLAIN, ENCODED, BAD };

/* Any label that needs IDNA makes the whole name need it. */
static enum label_kind classify(struct cv_str name)
{
    enum label_kind kind = is_ascii(name) ? PLAIN : ENCODED;
    for (size_t from = 0, to; kind == PLAIN && from <= name.n; from = to + 1) {
        for (to = from; to < name.n && name.p[to] != '.';)
            to++;
        struct cv_str label = { name.p + from, to - from };
        if (has_prefix(label, "xn--"))
            kind = ENCODED;
        else if (!is_plain_label(label))
            return BAD;
    }
    return kind;
}

static struct cv_str lower(struct bump *mem, struct cv_str name)
{
    char *copy = bump_alloc(mem, name.n + 1);
    for (size_t i = 0; i < name.n; i++)
        copy[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i];
    return (struct cv_str){ copy, name.n };
}

static struct cv_str encode(struct bump *mem, struct cv_str name)
{
    struct cv_str terminated = bump_str(mem, name);
    char *ascii;
    if (memchr(name.p, '\0', name.n) ||
        idn2_to_ascii_8z(terminated.p, &ascii,
                         IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES) != IDN2_OK)
        return (struct cv_str){ NULL, 0 };
    struct cv_str result = bump_str(mem, cv_str_of(ascii));
    idn2_free(ascii);
    return result;
}

struct cv_str hostname_ascii(struct bump *mem, struct cv_str name)
{
    struct cv_str none = { NULL, 0 };
    if (name.n == 0)
        return none;
    enum label_kind kind = classify(name);
    struct cv_str ascii = kind == BAD ? none : kind == PLAIN ? lower(mem, name) : encode(mem, name);
    return cv_str_eq(ascii, name) ? none : ascii;
}

bool hostname_matches(struct cv_str rule, struct cv_str host)
{
    if (cv_str_eq(rule, host))
        return true;
    if (rule.n < 2 || memcmp(rule.p, "*.", 2) != 0)
        return false;
    struct cv_str rest = { rule.p + 1, rule.n - 1 };
    return host.n >= rest.n && memcmp(host.p + host.n - rest.n, rest.p, rest.n) == 0;
}
