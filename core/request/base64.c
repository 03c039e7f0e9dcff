/* base64.c: standard base64 as Go reads it, with its opinion on where a fault is. */
#include "request/base64.h"

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static size_t skip_newlines(struct cv_str s, size_t i)
{
    while (i < s.n && (s.p[i] == '\r' || s.p[i] == '\n'))
        i++;
    return i;
}

/* The padding at text[i], which ends a group of `have` characters. Nothing but newlines may follow. */
static bool base64_padding(struct cv_str text, size_t i, int have, size_t *bad)
{
    *bad = i;
    if (have < 2)
        return false;
    i = skip_newlines(text, i + 1);
    if (have == 2) {
        *bad = i == text.n ? i : i - 1;
        if (i == text.n || text.p[i] != '=')
            return false;
        i = skip_newlines(text, i + 1);
    }
    *bad = i;
    return i == text.n;
}

enum cv_error base64_decode(struct cv_str text, uint8_t *to, size_t *n)
{
    size_t out = 0, i = 0;
    uint32_t group = 0;
    int have = 0; /* characters of the group */
    for (; i < text.n && text.p[i] != '='; i++) {
        int v = base64_value(text.p[i]);
        if (v < 0 && (text.p[i] == '\r' || text.p[i] == '\n'))
            continue;
        *n = i;
        if (v < 0)
            return CV_E_CONF;
        group = group << 6 | (uint32_t)v;
        if (++have == 4) {
            to[out++] = (uint8_t)(group >> 16);
            to[out++] = (uint8_t)(group >> 8);
            to[out++] = (uint8_t)group;
            have = 0;
        }
    }
    if (i == text.n && have > 0) {
        *n = i - (size_t)have; /* Go counts back from the end, newlines or not */
        return CV_E_CONF;
    }
    if (i < text.n && !base64_padding(text, i, have, n))
        return CV_E_CONF;
    if (have >= 2)
        to[out++] = (uint8_t)(group << 6 * (4 - have) >> 16);
    if (have == 3)
        to[out++] = (uint8_t)(group << 6 >> 8);
    *n = out;
    return CV_OK;
}
