/* header.c: header fields of a head, in order, in the request's arena. */
#include "request/state.h"

#include "culvert/wire.h"

#include <string.h>

enum { FIRST_ROOM = 24 };

struct entry {
    const char *name, *value;
    uint32_t name_n, value_n;
};
struct cv_headers {
    struct entry *v;
    size_t n, room;
};

static struct cv_str name_of(const struct entry *e)
{
    return (struct cv_str){ e->name, e->name_n };
}

struct cv_headers *cv_headers_new(struct cv_req *req)
{
    return cv_alloc(req, sizeof(struct cv_headers));
}

struct cv_str cv_header(const struct cv_headers *h, struct cv_str name)
{
    for (size_t i = 0; h && i < h->n; i++)
        if (cv_str_caseeq(name_of(&h->v[i]), name))
            return (struct cv_str){ h->v[i].value, h->v[i].value_n };
    return (struct cv_str){ NULL, 0 };
}

void cv_header_add(struct cv_req *req, struct cv_headers *h, struct cv_str name, struct cv_str value)
{
    CV_ASSERT(name.n <= UINT32_MAX && value.n <= UINT32_MAX);
    if (h->n == h->room) {
        size_t room = h->room ? 2 * h->room : FIRST_ROOM;
        struct entry *v = cv_alloc(req, room * sizeof(*v));
        if (h->n)
            memcpy(v, h->v, h->n * sizeof(*v));
        h->v = v;
        h->room = room;
    }
    name = cv_copy(req, name);
    value = cv_copy(req, value);
    h->v[h->n++] = (struct entry){ name.p, value.p, (uint32_t)name.n, (uint32_t)value.n };
}

void cv_header_del(struct cv_headers *h, struct cv_str name)
{
    size_t kept = 0;
    for (size_t i = 0; h && i < h->n; i++)
        if (!cv_str_caseeq(name_of(&h->v[i]), name))
            h->v[kept++] = h->v[i];
    if (h)
        h->n = kept;
}

void cv_header_set(struct cv_req *req, struct cv_headers *h, struct cv_str name, struct cv_str value)
{
    cv_header_del(h, name);
    cv_header_add(req, h, name, value);
}

bool cv_header_at(const struct cv_headers *h, size_t i, struct cv_str *name, struct cv_str *value)
{
    if (!h || i >= h->n)
        return false;
    *name = name_of(&h->v[i]);
    *value = (struct cv_str){ h->v[i].value, h->v[i].value_n };
    return true;
}

/* Every byte of every name is looked at, several times: one bit for each, of letters, digits and !#$%&'*+-.^_`|~ */
bool cv_is_token(struct cv_str s)
{
    static const uint64_t allowed[4] = { 0x03ff6cfa00000000, 0x57ffffffc7fffffe, 0, 0 };
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (!(allowed[c / 64] >> c % 64 & 1))
            return false;
    }
    return s.n > 0;
}

void cv_canonical_name(struct cv_str s, char *out)
{
    if (!cv_is_token(s)) {
        for (size_t i = 0; i < s.n; i++)
            out[i] = s.p[i];
        return;
    }
    bool upper = true;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z')
            c ^= 0x20;
        out[i] = c;
        upper = c == '-';
    }
}
