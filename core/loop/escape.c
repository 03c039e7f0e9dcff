/* escape.c: bytes of anybody as text that forges no line and moves no cursor. */
#include "loop/loop.h"

#include <stdio.h>

static void add(struct cv_buf *b, size_t most, struct cv_str s)
{
    if (b->n + s.n <= most)
        cv_buf_add(b, s.p, s.n);
}

/* How many bytes the character at p takes if it is well-formed UTF-8 beyond ASCII and no control (RFC 3629 §4), else 0. */
static size_t utf8_size(const unsigned char *p, size_t n)
{
    size_t size = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                  : (p[0] & 0xf0) == 0xe0        ? 3
                  : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                 : 0;
    if (size == 0 || size > n)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool c1_control = p[0] == 0xc2 && p[1] < 0xa0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool no_character = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return c1_control || overlong || no_character ? 0 : size;
}

void escape_add(struct cv_buf *b, struct cv_str s, bool quotes, size_t most)
{
    for (size_t i = 0; i < s.n;) {
        const unsigned char *p = (const unsigned char *)s.p + i;
        bool plain = *p >= 0x20 && *p < 0x7f && !(quotes && (*p == '"' || *p == '\\'));
        size_t n = plain ? 1 : *p >= 0x80 ? utf8_size(p, s.n - i) : 0;
        char escaped[8];
        if (n)
            add(b, most, (struct cv_str){ s.p + i, n });
        else if (*p == '"' || *p == '\\')
            add(b, most, (struct cv_str){ escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\%c", *p) });
        else if (*p == '\n')
            add(b, most, CV_STR("\\n"));
        else if (*p == '\t')
            add(b, most, CV_STR("\\t"));
        else
            add(b, most,
                (struct cv_str){ escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", *p) });
        i += n ? n : 1;
    }
}

void cv_json_add(struct cv_buf *b, struct cv_str s)
{
    cv_buf_add(b, "\"", 1);
    escape_add(b, s, true, SIZE_MAX);
    cv_buf_add(b, "\"", 1);
}
