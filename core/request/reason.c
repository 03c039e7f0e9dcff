/* reason.c: why a document was refused: a bounded text, quoted as Go quotes. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "request/reason.h"
#include "culvert/mem.h"

#include <pcre2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void reason_clear(struct reason *r)
{
    r->n = 0;
    r->text[0] = '\0';
}

__attribute__((format(printf, 2, 0))) static void add_args(struct reason *r, const char *fmt, va_list args)
{
    size_t room = sizeof r->text - r->n;
    int n = vsnprintf(r->text + r->n, room, fmt, args);
    CV_ASSERT(n >= 0);
    r->n += (size_t)n < room ? (size_t)n : room - 1;
}

void reason_add(struct reason *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_args(r, fmt, args);
    va_end(args);
}

enum cv_error reason_fail(struct reason *r, const char *fmt, ...)
{
    reason_clear(r);
    va_list args;
    va_start(args, fmt);
    add_args(r, fmt, args);
    va_end(args);
    return CV_E_CONF;
}

void reason_str(struct reason *r, struct cv_str s)
{
    size_t room = sizeof r->text - 1 - r->n;
    size_t n = s.n < room ? s.n : room;
    if (n > 0)
        memcpy(r->text + r->n, s.p, n);
    r->n += n;
    r->text[r->n] = '\0';
}

uint32_t utf8_first(const char *p, size_t n, size_t *len)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const uint8_t *b = (const uint8_t *)p;
    *len = 1;
    if (b[0] < 0x80)
        return b[0];
    size_t need = b[0] >= 0xF0 && b[0] <= 0xF4  ? 4
                  : b[0] >= 0xE0 && b[0] < 0xF0 ? 3
                  : b[0] >= 0xC2 && b[0] < 0xE0 ? 2
                                                : 0;
    if (need == 0 || need > n)
        return UTF8_BAD;
    uint32_t c = b[0] & (0x7Fu >> need);
    for (size_t i = 1; i < need; i++) {
        if ((b[i] & 0xC0) != 0x80)
            return UTF8_BAD;
        c = c << 6 | (b[i] & 0x3Fu);
    }
    if (c < least[need] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return UTF8_BAD;
    *len = need;
    return c;
}

size_t utf8_write(char *to, uint32_t c)
{
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        c = UTF8_BAD;
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3F));
    to[0] = (char)((0xF00u >> n) | c);
    return n;
}

/* Go prints letters, marks, numbers, punctuation and symbols as they are. PCRE2 knows which those are; an
 * error text is rare enough to ask it anew each time. */
static bool printable(const char *p, size_t len)
{
    if (len == 1)
        return *p >= ' ' && *p < 0x7F;
    int code;
    size_t at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR) "^[\\pL\\pM\\pN\\pP\\pS]", PCRE2_ZERO_TERMINATED, PCRE2_UTF,
                                   &code, &at, NULL);
    CV_ASSERT(re);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    CV_ASSERT(match);
    bool yes = pcre2_match(re, (PCRE2_SPTR)p, len, 0, 0, match, NULL) > 0;
    pcre2_match_data_free(match);
    pcre2_code_free(re);
    return yes;
}

/* One character inside quotes; returns how many bytes it took. */
static size_t add_quoted(struct reason *r, struct cv_str s, char quote)
{
    static const char plain[] = "\a\b\f\n\r\t\v", escaped[] = "abfnrtv";
    size_t len;
    uint32_t c = utf8_first(s.p, s.n, &len);
    const char *known = c && c < 0x80 ? strchr(plain, (int)c) : NULL;
    if (c == UTF8_BAD && len == 1)
        reason_add(r, "\\x%02x", (unsigned)(uint8_t)*s.p);
    else if (c == (uint32_t)quote || c == '\\')
        reason_add(r, "\\%c", (int)c);
    else if (known)
        reason_add(r, "\\%c", escaped[known - plain]);
    else if (printable(s.p, len))
        reason_str(r, (struct cv_str){ s.p, len });
    else if (c < 0x80)
        reason_add(r, "\\x%02x", c);
    else
        reason_add(r, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    return len;
}

void reason_quote(struct reason *r, struct cv_str s)
{
    reason_add(r, "\"");
    for (size_t i = 0; i < s.n && r->n < sizeof r->text - 1;)
        i += add_quoted(r, (struct cv_str){ s.p + i, s.n - i }, '"');
    reason_add(r, "\"");
}

void reason_char(struct reason *r, struct cv_str s)
{
    reason_add(r, "'");
    add_quoted(r, s, '\'');
    reason_add(r, "'");
}
