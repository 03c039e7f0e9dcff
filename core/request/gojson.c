/* gojson.c: JSON as Go's encoding/json reads and writes it. */
#include "request/gojson.h"
#include "request/base64.h"
#include "request/gojson_check.h"

#include <string.h>

#define KEY_MAX 32 /* no key that we know is as long */

/* Where in the document a value is, innermost first. */
struct place {
    const struct place *up; /* NULL: the document itself */
    struct cv_str key;      /* member of an object, as the document spells it… */
    size_t index;           /* …or, when key.p is NULL, element of a list      */
};
struct reader {
    const char *p; /* all that lies ahead is known to be well formed */
    struct bump *mem;
    struct reason *why;
    const char *root; /* Go's name of the outermost type, without its package */
};

static bool read_value(struct reader *, const struct gojson_type *, void *value, const struct place *);

static void skip_space(struct reader *r)
{
    while (*r->p == ' ' || *r->p == '\t' || *r->p == '\r' || *r->p == '\n')
        r->p++;
}

static void skip_string(struct reader *r)
{
    for (r->p++; *r->p != '"'; r->p++)
        r->p += *r->p == '\\';
    r->p++;
}

/* Steps over the value here, whatever it is, and returns its text. */
static struct cv_str skip_value(struct reader *r)
{
    const char *from = r->p;
    size_t depth = 0;
    do {
        if (*r->p == '"') {
            skip_string(r);
        } else if (strchr("{[", *r->p)) {
            depth++;
            r->p++;
        } else if (strchr("}]", *r->p)) {
            depth--;
            r->p++;
        } else if (strchr(",: \t\r\n", *r->p)) {
            r->p++;
        } else {
            r->p += strcspn(r->p, ",]} \t\r\n");
        }
    } while (depth > 0);
    return (struct cv_str){ from, (size_t)(r->p - from) };
}

/* After the opening bracket or a value: is there another one? Steps over commas and the closing bracket. */
static bool another(struct reader *r, char closing)
{
    skip_space(r);
    if (*r->p == ',') {
        r->p++;
        skip_space(r);
    }
    if (*r->p != closing)
        return true;
    r->p++;
    return false;
}

static const char *kind_of(char first)
{
    switch (first) {
    case '{': return "object";
    case '[': return "array";
    case '"': return "string";
    case 't':
    case 'f': return "bool";
    default: return "number";
    }
}

/* ---- errors ------------------------------------------------------------------------------------------- */

static void add_place(struct reason *why, const struct place *at)
{
    if (at->up->up) {
        add_place(why, at->up);
        reason_add(why, ".");
    }
    if (at->key.p)
        reason_str(why, at->key);
    else
        reason_add(why, "%zu", at->index);
}

/* "json: cannot unmarshal WHAT[ NUMBER] into Go struct field ROOT.PLACE of type TYPE". Go takes a place that
 * ends in a number for an element of a list. */
static bool mismatch(struct reader *r, const char *what, struct cv_str number, const struct gojson_type *type,
                     const struct place *at)
{
    reason_fail(r->why, "json: cannot unmarshal %s%s", what, number.n ? " " : "");
    reason_str(r->why, number);
    if (at->up) {
        reason_add(r->why, " into %s%s.", at->key.p ? "Go struct field " : "", r->root);
        add_place(r->why, at);
    } else {
        reason_add(r->why, " into Go value");
    }
    reason_add(r->why, " of type %s", type->name);
    return false;
}

static bool wrong_kind(struct reader *r, const struct gojson_type *type, const struct place *at)
{
    return mismatch(r, kind_of(*r->p), (struct cv_str){ NULL, 0 }, type, at);
}

/* ---- strings ------------------------------------------------------------------------------------------ */

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return v;
}

/* At \uXXXX. A pair of surrogates is one character; a lone one is none. */
static uint32_t unicode_escape(const char **p)
{
    uint32_t c = hex4(*p + 2);
    *p += 6;
    if (c >= 0xD800 && c < 0xDC00 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        uint32_t low = hex4(*p + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            *p += 6;
            return 0x10000 + ((c - 0xD800) << 10 | (low - 0xDC00));
        }
    }
    return c;
}

/* The characters of the string whose text with quotes is `raw`. `to` has room for 3 bytes per byte of it. */
static size_t unquote(struct cv_str raw, char *to)
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    char *t = to;
    const char *end = raw.p + raw.n - 1;
    for (const char *p = raw.p + 1; p < end;) {
        if (*p == '\\' && p[1] == 'u') {
            t += utf8_write(t, unicode_escape(&p));
        } else if (*p == '\\') {
            const char *known = strchr(letters, p[1]);
            *t++ = known ? meant[known - letters] : p[1];
            p += 2;
        } else {
            size_t len;
            t += utf8_write(t, utf8_first(p, (size_t)(end - p), &len));
            p += len;
        }
    }
    return (size_t)(t - to);
}

static struct cv_str unquote_str(struct bump *mem, struct cv_str raw)
{
    if (raw.n == 2)
        return (struct cv_str){ "", 0 };
    bool plain = true;
    for (size_t i = 1; plain && i < raw.n - 1; i++)
        plain = raw.p[i] != '\\' && (uint8_t)raw.p[i] < 0x80;
    if (plain)
        return bump_str(mem, (struct cv_str){ raw.p + 1, raw.n - 2 });
    char *to = bump_array(mem, raw.n, 3);
    return (struct cv_str){ to, unquote(raw, to) };
}

/* ---- numbers ------------------------------------------------------------------------------------------ */

enum digits { DIGITS_GOOD, DIGITS_BAD, DIGITS_TOO_BIG };

/* Decimal digits and nothing else. Whichever fault comes first counts. */
static enum digits parse_digits(struct cv_str s, uint64_t *n)
{
    *n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return DIGITS_BAD;
        if (__builtin_mul_overflow(*n, 10u, n) || __builtin_add_overflow(*n, (uint64_t)(s.p[i] - '0'), n))
            return DIGITS_TOO_BIG;
    }
    return s.n > 0 ? DIGITS_GOOD : DIGITS_BAD;
}

/* The sign's share: at most INT64_MAX up, one more down. */
static bool with_sign(uint64_t n, bool negative, int64_t *to)
{
    if (n > (uint64_t)INT64_MAX + negative)
        return false;
    *to = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

bool gojson_parse_int(struct cv_str text, const char *function, int64_t *n, struct reason *why)
{
    bool sign = text.n > 0 && (*text.p == '-' || *text.p == '+');
    uint64_t value;
    enum digits digits = parse_digits((struct cv_str){ text.p + sign, text.n - sign }, &value);
    if (digits == DIGITS_GOOD && with_sign(value, sign && *text.p == '-', n))
        return true;
    reason_fail(why, "strconv.%s: parsing ", function);
    reason_quote(why, text);
    reason_add(why, digits == DIGITS_BAD ? ": invalid syntax" : ": value out of range");
    return false;
}

static bool read_int(struct reader *r, const struct gojson_type *type, int64_t *to, const struct place *at)
{
    if (strcmp(kind_of(*r->p), "number") != 0)
        return wrong_kind(r, type, at);
    bool negative = *r->p == '-';
    struct cv_str text = skip_value(r);
    uint64_t n;
    enum digits digits = parse_digits((struct cv_str){ text.p + negative, text.n - negative }, &n);
    if (digits == DIGITS_GOOD && with_sign(n, negative, to))
        return true;
    return mismatch(r, "number", text, type, at);
}

static bool read_uint(struct reader *r, const struct gojson_type *type, void *to, const struct place *at)
{
    if (strcmp(kind_of(*r->p), "number") != 0)
        return wrong_kind(r, type, at);
    struct cv_str text = skip_value(r);
    uint64_t n;
    if (parse_digits(text, &n) != DIGITS_GOOD || (type->size == 1 && n > UINT8_MAX))
        return mismatch(r, "number", text, type, at);
    if (type->size == 1)
        *(uint8_t *)to = (uint8_t)n;
    else
        *(uint64_t *)to = n;
    return true;
}

/* ---- values ------------------------------------------------------------------------------------------- */

static void *list_at(struct reader *r, const struct gojson_type *of, struct gojson_list *list, size_t i)
{
    if (i == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 4;
        void *v = bump_array(r->mem, cap, of->size);
        if (list->cap)
            memcpy(v, list->v, list->cap * of->size);
        list->v = v;
        list->cap = cap;
    }
    return (char *)list->v + i * of->size;
}

static bool read_elements(struct reader *r, const struct gojson_type *of, struct gojson_list *list,
                          const struct place *at)
{
    size_t i = 0;
    for (r->p++; another(r, ']'); i++) {
        if (i == GOJSON_LIST_MAX) {
            reason_fail(r->why, "a list of more than %d elements", GOJSON_LIST_MAX);
            return false;
        }
        struct place here = { .up = at, .index = i };
        if (!read_value(r, of, list_at(r, of, list, i), &here))
            return false;
    }
    static char none;
    if (i == 0)
        *list = (struct gojson_list){ .v = &none };
    list->n = i;
    return true;
}

static bool read_list(struct reader *r, const struct gojson_type *type, struct gojson_list *list,
                      const struct place *at)
{
    return *r->p == '[' ? read_elements(r, type->of, list, at) : wrong_kind(r, type, at);
}

static bool read_bytes(struct reader *r, const struct gojson_type *type, struct gojson_list *list,
                       const struct place *at)
{
    static const struct gojson_type byte = { .name = "uint8", .kind = GOJSON_UINT, .size = 1 };
    if (*r->p == '[')
        return read_elements(r, &byte, list, at);
    if (*r->p != '"')
        return wrong_kind(r, type, at);
    struct cv_str text = unquote_str(r->mem, skip_value(r));
    uint8_t *bytes = bump_array(r->mem, text.n / 4 + 1, 3);
    size_t n;
    if (base64_decode(text, bytes, &n) != CV_OK) {
        mismatch(r, "string", (struct cv_str){ NULL, 0 }, type, at);
        reason_add(r->why, ": illegal base64 data at input byte %zu", n);
        return false;
    }
    *list = (struct gojson_list){ .v = bytes, .n = n };
    return true;
}

/* As strings.EqualFold does for names of ASCII letters: two characters beyond ASCII fold into them. */
static bool fold_equal(struct cv_str key, const char *name)
{
    size_t i = 0;
    for (; i < key.n && *name; name++) {
        size_t len;
        uint32_t c = utf8_first(key.p + i, key.n - i, &len);
        i += len;
        c = c == 0x17F ? 's' : c == 0x212A ? 'k' : c;
        uint32_t want = (uint8_t)*name;
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (want >= 'A' && want <= 'Z')
            want |= 0x20;
        if (c != want)
            return false;
    }
    return i == key.n && !*name;
}

static const struct gojson_field *field_of(const struct gojson_type *type, struct cv_str key)
{
    for (const struct gojson_field *f = type->fields; f->name; f++)
        if (cv_str_eq(key, cv_str_of(f->name)))
            return f;
    for (const struct gojson_field *f = type->fields; f->name; f++)
        if (fold_equal(key, f->name))
            return f;
    return NULL;
}

/* A field with `set_at` is a pointer in Go: null drops what it pointed to, a value after that begins anew. */
static bool read_field(struct reader *r, const struct gojson_field *field, char *object,
                       const struct place *at)
{
    void *value = object + field->at;
    if (field->set_at != GOJSON_ALWAYS) {
        bool *set = (bool *)(object + field->set_at), null = *r->p == 'n';
        if (!*set || null)
            memset(value, 0, field->type->size);
        *set = !null;
    }
    return read_value(r, field->type, value, at);
}

static bool read_struct(struct reader *r, const struct gojson_type *type, char *object,
                        const struct place *at)
{
    if (*r->p != '{')
        return wrong_kind(r, type, at);
    for (r->p++; another(r, '}');) {
        const char *from = r->p;
        skip_string(r);
        struct cv_str raw = { from, (size_t)(r->p - from) };
        skip_space(r);
        r->p++; /* the colon */
        skip_space(r);
        char key[6 * KEY_MAX * 3];
        size_t n = raw.n <= sizeof key / 3 ? unquote(raw, key) : 0;
        struct place here = { .up = at, .key = { key, n } };
        const struct gojson_field *field = field_of(type, here.key);
        if (!field)
            skip_value(r);
        else if (!read_field(r, field, object, &here))
            return false;
    }
    return true;
}

static bool read_text(struct reader *r, const struct gojson_type *type, void *value, const struct place *at)
{
    if (*r->p == '"')
        return type->read(unquote_str(r->mem, skip_value(r)), value, r->why);
    wrong_kind(r, type, at);
    reason_add(r->why, ": JSON value must be string type");
    return false;
}

static bool read_value(struct reader *r, const struct gojson_type *type, void *value, const struct place *at)
{
    if (*r->p == 'n') {
        skip_value(r);
        if (type->kind == GOJSON_LIST || type->kind == GOJSON_BYTES)
            *(struct gojson_list *)value = (struct gojson_list){ .v = NULL };
        return true;
    }
    switch (type->kind) {
    case GOJSON_STRING:
        if (*r->p != '"')
            return wrong_kind(r, type, at);
        *(struct cv_str *)value = unquote_str(r->mem, skip_value(r));
        return true;
    case GOJSON_BOOL:
        if (*r->p != 't' && *r->p != 'f')
            return wrong_kind(r, type, at);
        *(bool *)value = *skip_value(r).p == 't';
        return true;
    case GOJSON_INT: return read_int(r, type, value, at);
    case GOJSON_UINT: return read_uint(r, type, value, at);
    case GOJSON_BYTES: return read_bytes(r, type, value, at);
    case GOJSON_LIST: return read_list(r, type, value, at);
    case GOJSON_STRUCT: return read_struct(r, type, value, at);
    case GOJSON_RAW: return type->read(skip_value(r), value, r->why);
    case GOJSON_TEXT: return read_text(r, type, value, at);
    }
    return false;
}

enum cv_error gojson_read(struct bump *mem, struct cv_str text, const struct gojson_type *type, void *value,
                          struct reason *why)
{
    enum cv_error error = gojson_check(text, why);
    if (error)
        return error;
    /* A NUL behind it lets the reader look one byte past any value. */
    struct cv_str copy = bump_str(mem, text);
    const char *dot = strrchr(type->name, '.');
    struct reader r = { .p = copy.p, .mem = mem, .why = why, .root = dot ? dot + 1 : type->name };
    const struct place root = { .up = NULL };
    skip_space(&r);
    return read_value(&r, type, value, &root) ? CV_OK : CV_E_CONF;
}
