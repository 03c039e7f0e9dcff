/* hostname.c: host names of rules (docs/protocol.md §17). */
#include "request/hostname.h"
#include "culvert/mem.h"
#include "request/reason.h"

#include <idn2.h>
#include <string.h>

/* The full stops of East Asian scripts separate labels, too. Returns how many bytes the one at p has, 0 for
 * none. */
static size_t full_stop(const char *p, size_t n)
{
    size_t len;
    uint32_t c = utf8_first(p, n, &len);
    return c == '.' || c == 0x3002 || c == 0xFF0E || c == 0xFF61 ? len : 0;
}

/* Letters, digits and hyphens; no hyphen at an end, nor two at the third and fourth place. */
static bool plain_label(struct cv_str label)
{
    if (label.n > 4 && label.p[2] == '-' && label.p[3] == '-')
        return false;
    return label.n == 0 || (*label.p != '-' && label.p[label.n - 1] != '-');
}

enum label_kind { PLAIN, ENCODED, BAD };

static enum label_kind classify(struct cv_str label)
{
    bool ascii = true;
    for (size_t i = 0; i < label.n; i++) {
        char c = label.p[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        ascii = ascii && (uint8_t)c < 0x80;
        if ((uint8_t)c < 0x80 && !letter && !(c >= '0' && c <= '9') && c != '-')
            return BAD;
    }
    if (!ascii || (label.n >= 4 && cv_str_caseeq((struct cv_str){ label.p, 4 }, CV_STR("xn--"))))
        return ENCODED;
    return plain_label(label) ? PLAIN : BAD;
}

static void add_lower(struct cv_buf *out, struct cv_str label)
{
    uint8_t *to = cv_buf_reserve(out, label.n);
    for (size_t i = 0; i < label.n; i++)
        to[i] = (uint8_t)(label.p[i] >= 'A' && label.p[i] <= 'Z' ? label.p[i] | 0x20 : label.p[i]);
    out->n += label.n;
}

static bool add_encoded(struct cv_buf *out, struct cv_str label)
{
    const int flags = IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES;
    char *terminated = cv_xmemdup0(label.p, label.n), *ascii;
    bool ok = idn2_to_ascii_8z(terminated, &ascii, flags) == IDN2_OK;
    free(terminated);
    if (!ok)
        return false;
    cv_buf_add(out, ascii, strlen(ascii));
    idn2_free(ascii);
    return true;
}

static bool add_label(struct cv_buf *out, struct cv_str label)
{
    switch (classify(label)) {
    case PLAIN: add_lower(out, label); return true;
    case ENCODED: return add_encoded(out, label);
    default: return false;
    }
}

static bool to_ascii(struct cv_buf *out, struct cv_str name)
{
    size_t from = 0;
    for (size_t i = 0, stop; i < name.n; i += stop ? stop : 1) {
        stop = full_stop(name.p + i, name.n - i);
        if (!stop)
            continue;
        if (!add_label(out, (struct cv_str){ name.p + from, i - from }))
            return false;
        cv_buf_add(out, ".", 1);
        from = i + stop;
    }
    return add_label(out, (struct cv_str){ name.p + from, name.n - from });
}

struct cv_str hostname_ascii(struct bump *mem, struct cv_str name)
{
    struct cv_buf out = { 0 };
    struct cv_str ascii = { NULL, 0 };
    if (name.n > 0 && to_ascii(&out, name) && !cv_str_eq((struct cv_str){ (char *)out.p, out.n }, name))
        ascii = bump_str(mem, (struct cv_str){ (char *)out.p, out.n });
    cv_buf_free(&out);
    return ascii;
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
