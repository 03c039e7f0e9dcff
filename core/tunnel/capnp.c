/* capnp.c: reads Cap'n Proto messages; no byte is read before it was checked to be there. */
#include "tunnel/capnp.h"
#include "tunnel/capnp_word.h"

/* ---- framing ----------------------------------------------------------------------------------- */

static size_t table_bytes(size_t segments)
{
    return (4 + 4 * segments + WORD - 1) / WORD * WORD;
}

enum cv_error capnp_frame(const uint8_t *p, size_t n, size_t max, size_t *need, struct cv_err *err)
{
    *need = WORD;
    if (n < 4)
        return CV_OK;
    uint64_t segments = (uint64_t)load32(p) + 1;
    if (segments > CAPNP_MAX_SEGMENTS)
        return cv_fail(err, CV_E_LIMIT, "message of %llu segments, at most %d are read",
                       (unsigned long long)segments, CAPNP_MAX_SEGMENTS);
    if (max > CAPNP_MAX_BYTES)
        max = CAPNP_MAX_BYTES;
    uint64_t bytes = *need = table_bytes(segments);
    if (bytes <= n)
        for (size_t i = 0; i < segments; i++)
            bytes += (uint64_t)load32(p + 4 + 4 * i) * WORD;
    if (bytes > max)
        return cv_fail(err, CV_E_LIMIT, "message of %llu bytes, at most %zu are read",
                       (unsigned long long)bytes, max);
    *need = bytes;
    return CV_OK;
}

enum cv_error capnp_open(struct capnp_msg *m, const uint8_t *p, size_t n, struct cv_err *err)
{
    size_t need;
    enum cv_error e = capnp_frame(p, n, CAPNP_MAX_BYTES, &need, err);
    if (e)
        return e;
    if (need > n)
        return cv_fail(err, CV_E_PROTO, "message is cut short");
    m->segments = load32(p) + 1;
    m->body = p + table_bytes(m->segments);
    m->bad = NULL;
    m->start[0] = 0;
    for (uint32_t i = 0; i < m->segments; i++)
        m->start[i + 1] = m->start[i] + load32(p + 4 + 4 * (size_t)i);
    if (!m->start[1])
        return cv_fail(err, CV_E_PROTO, "message without a root pointer");
    m->budget = m->start[m->segments] * CAPNP_READS;
    if (m->budget > CAPNP_MAX_BYTES / WORD)
        m->budget = CAPNP_MAX_BYTES / WORD;
    return CV_OK;
}

/* ---- following pointers ------------------------------------------------------------------------ */

/* A pointer that leads to something: the word that describes the object, and the word in the body that
 * its offset counts from. */
struct aim {
    uint64_t word;
    uint32_t base;
    uint16_t seg;
};

static bool broken(struct capnp_msg *m, const char *why)
{
    if (!m->bad)
        m->bad = why;
    return false;
}

/* Without this a small message of pointers to the same object would be as good as a large one. */
static bool spend(struct capnp_msg *m, uint64_t words)
{
    if (words > m->budget)
        return broken(m, "message refers to its parts too often");
    m->budget -= (uint32_t)words;
    return true;
}

static bool claim(struct capnp_msg *m, uint16_t seg, int64_t at, uint64_t words)
{
    if (at < m->start[seg] || (uint64_t)at + words > m->start[seg + 1])
        return broken(m, "pointer out of bounds");
    return spend(m, words);
}

static uint64_t word_at(const struct capnp_msg *m, uint32_t at)
{
    return load64(m->body + (size_t)at * WORD);
}

/* The place that a far pointer names, where there must be so many words. */
static bool far_place(struct capnp_msg *m, uint64_t far, uint32_t words, uint32_t *at, uint16_t *seg)
{
    if (far >> 32 >= m->segments)
        return broken(m, "far pointer to a segment that is not there");
    *seg = (uint16_t)(far >> 32);
    *at = m->start[*seg] + ((uint32_t)far >> 3);
    return claim(m, *seg, *at, words);
}

static bool follow_far(struct capnp_msg *m, struct aim *a)
{
    bool twice = a->word & DOUBLE_FAR;
    uint32_t pad = 0;
    if (!far_place(m, a->word, twice ? 2 : 1, &pad, &a->seg))
        return false;
    a->word = word_at(m, pad);
    a->base = pad + 1;
    if (!twice)
        return kind(a->word) != FAR || broken(m, "far pointer to a far pointer");
    uint64_t far = a->word;
    a->word = word_at(m, pad + 1);
    if (kind(far) != FAR || far & DOUBLE_FAR || kind(a->word) > LIST || offset(a->word) != 0)
        return broken(m, "bad landing pad of a far pointer");
    return far_place(m, far, 0, &a->base, &a->seg);
}

/* False: null, of another kind than wanted, or broken. */
static bool follow(struct capnp_struct s, size_t i, enum kind want, struct aim *a)
{
    if (i >= s.n_ptrs || s.msg->bad)
        return false;
    uint32_t at = s.ptrs + (uint32_t)i;
    *a = (struct aim){ .word = word_at(s.msg, at), .base = at + 1, .seg = s.seg };
    if (kind(a->word) == FAR && !follow_far(s.msg, a))
        return false;
    if (!a->word || kind(a->word) != want)
        return false;
    return s.depth > 0 || broken(s.msg, "pointers nested too deep");
}

struct capnp_struct capnp_root(struct capnp_msg *m)
{
    struct capnp_struct holder = { .msg = m, .n_ptrs = 1, .depth = CAPNP_MAX_DEPTH };
    return capnp_get_struct(holder, 0);
}

enum cv_error capnp_check(const struct capnp_msg *m, struct cv_err *err)
{
    return m->bad ? cv_fail(err, CV_E_PROTO, "%s", m->bad) : CV_OK;
}

struct capnp_struct capnp_get_struct(struct capnp_struct s, size_t i)
{
    struct capnp_struct none = { .msg = s.msg };
    struct aim a;
    if (!follow(s, i, STRUCT, &a))
        return none;
    uint32_t words = data_words(a.word), ptrs = pointer_count(a.word);
    int64_t at = (int64_t)a.base + offset(a.word);
    if (!claim(s.msg, a.seg, at, words + ptrs))
        return none;
    return (struct capnp_struct){
        .msg = s.msg,
        .data = s.msg->body + (size_t)at * WORD,
        .data_bytes = words * WORD,
        .ptrs = (uint32_t)at + words,
        .n_ptrs = (uint16_t)ptrs,
        .seg = a.seg,
        .depth = s.depth - 1,
    };
}

bool capnp_get_cap(struct capnp_struct s, size_t i, uint32_t *index)
{
    struct aim a;
    if (!follow(s, i, OTHER, &a))
        return false;
    if ((uint32_t)a.word != OTHER)
        return broken(s.msg, "unknown kind of pointer");
    *index = (uint32_t)(a.word >> 32);
    return true;
}

/* ---- lists ------------------------------------------------------------------------------------- */

static const uint8_t element_bytes[] = { [BYTE] = 1, [TWO] = 2, [FOUR] = 4, [EIGHT] = 8, [POINTER] = 8 };

static bool claim_elements(struct capnp_msg *m, const struct aim *a, struct capnp_list *l)
{
    enum code code = list_code(a->word);
    l->n = list_count(a->word);
    l->step = element_bytes[code];
    l->data_bytes = code == POINTER ? 0 : l->step;
    l->n_ptrs = code == POINTER;
    return claim(m, a->seg, l->at, ((uint64_t)l->n * l->step + WORD - 1) / WORD);
}

static bool claim_composite(struct capnp_msg *m, const struct aim *a, struct capnp_list *l)
{
    uint32_t words = list_count(a->word);
    if (!claim(m, a->seg, l->at, (uint64_t)words + 1))
        return false;
    uint64_t tag = word_at(m, l->at++);
    l->n = (uint32_t)tag >> 2;
    l->n_ptrs = (uint16_t)pointer_count(tag);
    l->data_bytes = data_words(tag) * WORD;
    l->step = l->data_bytes + l->n_ptrs * WORD;
    if (kind(tag) != STRUCT)
        return broken(m, "list of something other than structs");
    return (uint64_t)l->n * l->step <= (uint64_t)words * WORD || broken(m, "list out of bounds");
}

struct capnp_list capnp_get_list(struct capnp_struct s, size_t i)
{
    struct capnp_list none = { .msg = s.msg };
    struct aim a;
    if (!follow(s, i, LIST, &a) || list_code(a.word) == BIT)
        return none;
    int64_t at = (int64_t)a.base + offset(a.word);
    if (!claim(s.msg, a.seg, at, 0))
        return none;
    struct capnp_list l = { .msg = s.msg, .at = (uint32_t)at, .seg = a.seg, .depth = s.depth - 1 };
    bool ok = list_code(a.word) == COMPOSITE ? claim_composite(s.msg, &a, &l) : claim_elements(s.msg, &a, &l);
    /* Elements without bytes cost the peer nothing and us a turn each. */
    if (!ok || (!l.step && !spend(s.msg, l.n)))
        return none;
    return l;
}

struct capnp_struct capnp_list_at(struct capnp_list l, size_t i)
{
    CV_ASSERT(i < l.n);
    size_t at = (size_t)l.at * WORD + i * l.step;
    return (struct capnp_struct){
        .msg = l.msg,
        .data = l.msg->body + at,
        .data_bytes = l.data_bytes,
        .ptrs = (uint32_t)((at + l.data_bytes) / WORD),
        .n_ptrs = l.n_ptrs,
        .seg = l.seg,
        .depth = l.depth,
    };
}

struct cv_str capnp_get_data(struct capnp_struct s, size_t i)
{
    struct aim a;
    if (!follow(s, i, LIST, &a) || list_code(a.word) != BYTE)
        return (struct cv_str){ 0 };
    int64_t at = (int64_t)a.base + offset(a.word);
    size_t n = list_count(a.word);
    if (!claim(s.msg, a.seg, at, (n + WORD - 1) / WORD))
        return (struct cv_str){ 0 };
    return (struct cv_str){ (const char *)s.msg->body + (size_t)at * WORD, n };
}

struct cv_str capnp_get_text(struct capnp_struct s, size_t i)
{
    struct cv_str t = capnp_get_data(s, i);
    if (!t.n || t.p[t.n - 1])
        return (struct cv_str){ 0 };
    return (struct cv_str){ t.p, t.n - 1 };
}

/* ---- fields ------------------------------------------------------------------------------------ */

/* Little-endian bytes of a field; the default, zero, where the struct is too short to hold it. */
static uint64_t field(struct capnp_struct s, size_t byte, size_t n)
{
    if (byte > s.data_bytes || n > s.data_bytes - byte)
        return 0;
    uint64_t v = 0;
    while (n--)
        v = v << 8 | s.data[byte + n];
    return v;
}

uint8_t capnp_get_u8(struct capnp_struct s, size_t byte)
{
    return (uint8_t)field(s, byte, 1);
}

uint16_t capnp_get_u16(struct capnp_struct s, size_t byte)
{
    return (uint16_t)field(s, byte, 2);
}

uint32_t capnp_get_u32(struct capnp_struct s, size_t byte)
{
    return (uint32_t)field(s, byte, 4);
}

uint64_t capnp_get_u64(struct capnp_struct s, size_t byte)
{
    return field(s, byte, 8);
}

bool capnp_get_bit(struct capnp_struct s, size_t bit)
{
    return field(s, bit / 8, 1) >> bit % 8 & 1;
}
