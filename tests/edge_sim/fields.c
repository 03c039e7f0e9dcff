/* fields.c: lists of header fields, the connector's serialized form of them, and hexadecimal text. */
#include "edge_sim.h"

#include <stdlib.h>
#include <string.h>

bool fields_add(struct fields *f, struct cv_str name, struct cv_str value)
{
    if (f->n >= FIELDS_MAX || name.n + value.n > FIELDS_BYTES_MAX - f->text.n)
        return false;
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 16;
        f->v = cv_xrealloc(f->v, f->cap, sizeof(*f->v));
    }
    struct span *s = &f->v[f->n++];
    *s = (struct span){ (uint32_t)f->text.n, (uint32_t)name.n, (uint32_t)(f->text.n + name.n),
                        (uint32_t)value.n };
    cv_buf_add(&f->text, name.p, name.n);
    cv_buf_add(&f->text, value.p, value.n);
    return true;
}

struct cv_str fields_name(const struct fields *f, size_t i)
{
    return (struct cv_str){ (const char *)f->text.p + f->v[i].name, f->v[i].name_n };
}

struct cv_str fields_value(const struct fields *f, size_t i)
{
    return (struct cv_str){ (const char *)f->text.p + f->v[i].value, f->v[i].value_n };
}

struct cv_str fields_get(const struct fields *f, const char *name)
{
    struct cv_str want = { name, strlen(name) };
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].name_n == want.n && strncasecmp(fields_name(f, i).p, name, want.n) == 0)
            return fields_value(f, i);
    return (struct cv_str){ NULL, 0 };
}

void fields_free(struct fields *f)
{
    cv_buf_free(&f->text);
    free(f->v);
    *f = (struct fields){ 0 };
}

/* Value of one base64 letter, or -1. */
static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Unpadded standard base64. CR and LF are skipped, as the reference decoder does. */
static bool unbase64(struct cv_str text, struct cv_buf *out)
{
    uint32_t bits = 0;
    unsigned letters = 0;
    cv_buf_reserve(out, text.n);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\r' || text.p[i] == '\n')
            continue;
        int v = sextet(text.p[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        if (letters++ % 4 != 0)
            out->p[out->n++] = (uint8_t)(bits >> (6 - 2 * ((letters - 1) % 4)));
    }
    return letters % 4 != 1;
}

static bool add_piece(struct fields *f, struct cv_str piece, struct cv_buf *scratch)
{
    const char *colon = memchr(piece.p, ':', piece.n);
    if (!colon)
        return false;
    struct cv_str name = { piece.p, (size_t)(colon - piece.p) };
    struct cv_str value = { colon + 1, piece.n - name.n - 1 };
    scratch->n = 0;
    if (!unbase64(name, scratch))
        return false;
    size_t cut = scratch->n;
    if (!unbase64(value, scratch))
        return false;
    const char *p = (const char *)scratch->p;
    return fields_add(f, (struct cv_str){ p, cut }, (struct cv_str){ p + cut, scratch->n - cut });
}

bool fields_unserialize(struct fields *f, struct cv_str text)
{
    struct cv_buf scratch = { 0 };
    bool good = true;
    while (good && text.n > 0) {
        struct cv_str piece = str_cut(text, ';', &text);
        if (piece.n > 0)
            good = add_piece(f, piece, &scratch);
    }
    cv_buf_free(&scratch);
    return good;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool unhex(struct cv_str text, struct cv_buf *out)
{
    int high = -1;
    for (size_t i = 0; i < text.n; i++) {
        if (strchr(" \t\r\n-", text.p[i]))
            continue;
        int v = nibble(text.p[i]);
        if (v < 0)
            return false;
        if (high < 0) {
            high = v;
            continue;
        }
        uint8_t byte = (uint8_t)(high << 4 | v);
        cv_buf_add(out, &byte, 1);
        high = -1;
    }
    return high < 0;
}

void hex(const uint8_t *p, size_t n, struct cv_buf *out)
{
    static const char digits[] = "0123456789abcdef";
    char *to = (char *)cv_buf_reserve(out, 2 * n);
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = digits[p[i] >> 4];
        to[2 * i + 1] = digits[p[i] & 15];
    }
    out->n += 2 * n;
}
