/* capnp_build.c: writes Cap'n Proto messages, in one segment. */
#include "tunnel/capnp.h"
#include "tunnel/capnp_word.h"

static uint8_t *build_at(const struct capnp_build *b, size_t word)
{
    return b->out->p + b->begin + WORD + word * WORD; /* out moves: never kept */
}

static uint32_t built(const struct capnp_build *b)
{
    return (uint32_t)((b->out->n - b->begin) / WORD - 1);
}

/* So many zero words more; returns the first. */
static uint32_t grow(struct capnp_build *b, size_t words)
{
    uint32_t at = built(b);
    CV_ASSERT(words < CAPNP_MAX_BYTES / WORD - at);
    memset(cv_buf_reserve(b->out, words * WORD), 0, words * WORD);
    b->out->n += words * WORD;
    return at;
}

struct capnp_new capnp_begin(struct capnp_build *b, struct cv_buf *out)
{
    *b = (struct capnp_build){ .out = out, .begin = out->n };
    memset(cv_buf_reserve(out, WORD), 0, WORD);
    out->n += WORD;
    return (struct capnp_new){ .b = b, .at = grow(b, 1), .ptrs = 1 };
}

void capnp_end(struct capnp_build *b)
{
    store64(b->out->p + b->begin, (uint64_t)built(b) << 32);
}

/* Pointer i leads to word `to`; `rest` is its upper half and its kind. */
static void point(struct capnp_new s, size_t i, uint32_t to, uint64_t rest)
{
    CV_ASSERT(i < s.ptrs);
    size_t at = s.at + s.words + i;
    store64(build_at(s.b, at), rest | (uint32_t)(to - (uint32_t)at - 1) << 2);
}

static uint64_t struct_size(uint16_t words, uint16_t ptrs)
{
    return (uint64_t)ptrs << 48 | (uint64_t)words << 32;
}

static uint64_t list_size(enum code code, size_t count)
{
    return (uint64_t)count << 35 | (uint64_t)code << 32 | LIST;
}

struct capnp_new capnp_put_struct(struct capnp_new s, size_t i, uint16_t words, uint16_t ptrs)
{
    uint32_t at = grow(s.b, (size_t)words + ptrs);
    /* One of no size lies at its own pointer (offset -1), so that it cannot be taken for null. */
    point(s, i, words + ptrs ? at : s.at + s.words + (uint32_t)i, struct_size(words, ptrs));
    return (struct capnp_new){ .b = s.b, .at = at, .words = words, .ptrs = ptrs };
}

struct capnp_new capnp_put_structs(struct capnp_new s, size_t i, size_t n, uint16_t words, uint16_t ptrs)
{
    size_t size = (size_t)words + ptrs;
    CV_ASSERT(!size || n < CAPNP_MAX_BYTES / WORD / size);
    uint32_t tag = grow(s.b, 1 + n * size);
    point(s, i, tag, list_size(COMPOSITE, n * size));
    store64(build_at(s.b, tag), struct_size(words, ptrs) | (uint64_t)n << 2);
    return (struct capnp_new){ .b = s.b, .at = tag + 1, .words = words, .ptrs = ptrs };
}

struct capnp_new capnp_next(struct capnp_new s)
{
    s.at += s.words + s.ptrs;
    return s;
}

struct capnp_new capnp_put_pointers(struct capnp_new s, size_t i, size_t n)
{
    uint32_t at = grow(s.b, n);
    point(s, i, at, list_size(POINTER, n));
    return (struct capnp_new){ .b = s.b, .at = at, .ptrs = (uint32_t)n };
}

/* A byte list that ends in so many zeroes more. */
static void put_bytes(struct capnp_new s, size_t i, struct cv_str v, size_t zeroes)
{
    CV_ASSERT(v.n < CAPNP_MAX_BYTES);
    uint32_t at = grow(s.b, (v.n + zeroes + WORD - 1) / WORD);
    point(s, i, at, list_size(BYTE, v.n + zeroes));
    if (v.n)
        memcpy(build_at(s.b, at), v.p, v.n);
}

void capnp_put_text(struct capnp_new s, size_t i, struct cv_str v)
{
    if (v.n)
        put_bytes(s, i, v, 1);
}

void capnp_put_data(struct capnp_new s, size_t i, struct cv_str v)
{
    if (v.p)
        put_bytes(s, i, v, 0);
}

void capnp_put_cap(struct capnp_new s, size_t i, uint32_t index)
{
    CV_ASSERT(i < s.ptrs);
    store64(build_at(s.b, s.at + s.words + i), (uint64_t)index << 32 | OTHER);
}

void capnp_put_segment(struct capnp_new s, size_t i, const struct capnp_msg *m)
{
    CV_ASSERT(s.at + s.words + i + 1 == built(s.b));
    s.b->out->n -= WORD;
    cv_buf_add(s.b->out, m->body, (size_t)m->start[1] * WORD);
}

static void put_field(struct capnp_new s, size_t byte, size_t n, uint64_t v)
{
    CV_ASSERT(byte + n <= (size_t)s.words * WORD);
    uint8_t *p = build_at(s.b, s.at) + byte;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

void capnp_put_u8(struct capnp_new s, size_t byte, uint8_t v)
{
    put_field(s, byte, 1, v);
}

void capnp_put_u16(struct capnp_new s, size_t byte, uint16_t v)
{
    put_field(s, byte, 2, v);
}

void capnp_put_u32(struct capnp_new s, size_t byte, uint32_t v)
{
    put_field(s, byte, 4, v);
}

void capnp_put_u64(struct capnp_new s, size_t byte, uint64_t v)
{
    put_field(s, byte, 8, v);
}

void capnp_put_bit(struct capnp_new s, size_t bit, bool v)
{
    CV_ASSERT(bit / 8 < (size_t)s.words * WORD);
    uint8_t *p = build_at(s.b, s.at) + bit / 8;
    *p = (uint8_t)((*p & ~(1u << bit % 8)) | (unsigned)v << bit % 8);
}
