/* pattern_parse.c: reading a pattern of RE2 syntax and writing it for PCRE2. */
#include "request/pattern_parse.h"
#include "request/gojson.h"

#include <string.h>

#define DEPTH_MAX  400  /* of groups; PCRE2 has room for some more than that */
#define REPEAT_MAX 1000 /* of a repetition, and of what nested ones come to together: Go's limit */

struct flags {
    bool fold;     /* i */
    bool lines;    /* m */
    bool dot_line; /* s */
};
/* An open group, or the whole pattern. */
struct group {
    struct flags outer; /* in force again after its end                                              */
    size_t at;          /* where it begins in the output                                             */
    unsigned copies;    /* the most copies that repetitions inside make of anything, 1 without any   */
};
struct parser {
    struct pattern_text t;
    struct cv_str whole;
    struct cv_buf *out;
    struct reason *why;
    struct flags flags;
    struct group groups[DEPTH_MAX + 1];
    size_t depth;
    /* the last atom: what a repetition behind it would repeat */
    bool repeatable;         /* there is one                           */
    bool repeated;           /* it is a repetition itself              */
    size_t atom_at;          /* where it begins in the output          */
    unsigned copies;         /* as in struct group                     */
    const char *last_repeat; /* in the pattern, if it was the last thing read; NULL otherwise */
};

bool pattern_fail(struct reason *why, const char *what, const char *from, const char *to)
{
    reason_fail(why, "error parsing regexp: %s: `", what);
    reason_str(why, (struct cv_str){ from, (size_t)(to - from) });
    reason_add(why, "`");
    return false;
}

static bool fail_whole(struct parser *p, const char *what)
{
    return pattern_fail(p->why, what, p->whole.p, p->whole.p + p->whole.n);
}

/* ---- atoms -------------------------------------------------------------------------------------------- */

static void begin_atom(struct parser *p)
{
    p->repeatable = true;
    p->repeated = false;
    p->atom_at = p->out->n;
    p->copies = 1;
}

static bool atom(struct parser *p, const char *code)
{
    begin_atom(p);
    gojson_write(p->out, "%s", code);
    return true;
}

static bool literal(struct parser *p, uint32_t c)
{
    begin_atom(p);
    if (p->flags.fold)
        gojson_write(p->out, "(?i:");
    pattern_write_char(p->out, c);
    if (p->flags.fold)
        gojson_write(p->out, ")");
    return true;
}

/* \Q…\E, or to the end without \E */
static bool quoted(struct parser *p)
{
    struct pattern_text inner = { p->t.p + 2, p->t.end };
    const char *close = memmem(inner.p, (size_t)(inner.end - inner.p), "\\E", 2);
    p->t.p = close ? close + 2 : inner.end;
    if (close)
        inner.end = close;
    uint32_t c;
    while (inner.p < inner.end) {
        if (!pattern_read_char(&inner, &c, p->why))
            return false;
        literal(p, c);
    }
    return true;
}

static bool escaped_group(struct parser *p, enum pattern_group *group)
{
    size_t at = p->out->n;
    gojson_write(p->out, p->flags.fold ? "(?i:[" : "[");
    *group = pattern_read_group(&p->t, p->flags.fold, p->out, p->why);
    if (*group == PATTERN_GROUP_NONE) {
        p->out->n = at;
        return false;
    }
    gojson_write(p->out, p->flags.fold ? "])" : "]");
    begin_atom(p);
    p->atom_at = at;
    return *group == PATTERN_GROUP_WRITTEN;
}

static bool backslash(struct parser *p)
{
    static const char *const assertions[] = { "A(?:\\A)", "b(?:\\b)", "B(?:\\B)", "z(?:\\z)" };
    char second = p->t.end - p->t.p >= 2 ? p->t.p[1] : '\0';
    for (size_t i = 0; i < sizeof assertions / sizeof *assertions; i++) {
        if (second == *assertions[i]) {
            p->t.p += 2;
            return atom(p, assertions[i] + 1);
        }
    }
    if (second == 'C')
        return pattern_fail(p->why, "invalid escape sequence", p->t.p, p->t.p + 2);
    if (second == 'Q')
        return quoted(p);
    enum pattern_group group;
    if (escaped_group(p, &group) || group == PATTERN_GROUP_BAD)
        return group == PATTERN_GROUP_WRITTEN;
    uint32_t c;
    return pattern_read_escape(&p->t, &c, p->why) && literal(p, c);
}

/* ---- repetitions -------------------------------------------------------------------------------------- */

/* Wraps the last atom in a group, so that it can be repeated again. */
static void wrap_atom(struct parser *p)
{
    static const char open[] = "(?:";
    size_t n = p->out->n - p->atom_at;
    cv_buf_reserve(p->out, sizeof open);
    memmove(p->out->p + p->atom_at + 3, p->out->p + p->atom_at, n);
    memcpy(p->out->p + p->atom_at, open, 3);
    p->out->n += 3;
    gojson_write(p->out, ")");
}

/* Everything about `*`, `+`, `?` and `{…}` but how it is written; `at` is where it begins, p->t.p where it
 * ends. */
static bool repeat(struct parser *p, const char *at, const char *code)
{
    if (p->t.p < p->t.end && *p->t.p == '?')
        p->t.p++; /* reluctant or not matters to what is captured, not to whether it matches */
    if (p->last_repeat)
        return pattern_fail(p->why, "invalid nested repetition operator", p->last_repeat, p->t.p);
    if (!p->repeatable)
        return pattern_fail(p->why, "missing argument to repetition operator", at, p->t.p);
    if (p->repeated)
        wrap_atom(p);
    p->repeated = true;
    gojson_write(p->out, "%s", code);
    p->last_repeat = at;
    return true;
}

static bool simple_repeat(struct parser *p)
{
    const char *at = p->t.p++;
    char code[] = { *at, '\0' };
    return repeat(p, at, code);
}

/* A decimal number without needless zeros; more than eight digits is just too big. */
static bool read_number(struct pattern_text *t, int *n)
{
    const char *from = t->p;
    for (*n = 0; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
        *n = *n < 100000000 ? *n * 10 + *t->p - '0' : *n;
    return t->p > from && (*from != '0' || t->p == from + 1);
}

/* {2}, {2,}, {2,5}; *most is -1 without an upper end. False, with t as it was, for what is no repetition. */
static bool read_counts(struct pattern_text *t, int *least, int *most)
{
    struct pattern_text s = { t->p + 1, t->end };
    if (!read_number(&s, least) || s.p == s.end)
        return false;
    *most = *least;
    if (*s.p == ',') {
        s.p++;
        *most = -1;
        if (s.p == s.end || (*s.p != '}' && !read_number(&s, most)))
            return false;
    }
    if (s.p == s.end || *s.p != '}')
        return false;
    t->p = s.p + 1;
    return true;
}

static bool counted_repeat(struct parser *p)
{
    const char *at = p->t.p;
    int least, most;
    if (!read_counts(&p->t, &least, &most)) {
        p->t.p++;
        return literal(p, '{');
    }
    if (least > REPEAT_MAX || most > REPEAT_MAX || (most >= 0 && least > most))
        return pattern_fail(p->why, "invalid repeat count", at, p->t.p);
    char code[32] = "";
    struct cv_str bounds = { at, (size_t)(p->t.p - at) };
    CV_ASSERT(bounds.n < sizeof code);
    memcpy(code, bounds.p, bounds.n);
    if (!repeat(p, at, code))
        return false;
    unsigned times = (unsigned)(most < 0 ? least : most);
    p->copies = most == 0 ? 1 : times > 0 ? p->copies * times : p->copies;
    if ((least >= 2 || most >= 2) && p->copies > REPEAT_MAX)
        return pattern_fail(p->why, "invalid repeat count", at, p->t.p);
    return true;
}

/* ---- groups ------------------------------------------------------------------------------------------- */

/* What the last atom came to counts for its group. */
static void note_copies(struct parser *p)
{
    struct group *group = &p->groups[p->depth];
    if (p->repeatable && p->copies > group->copies)
        group->copies = p->copies;
}

static bool open_group(struct parser *p, struct flags inner)
{
    if (p->depth == DEPTH_MAX)
        return fail_whole(p, "expression nests too deeply");
    p->groups[++p->depth] = (struct group){ .outer = p->flags, .at = p->out->n, .copies = 1 };
    p->flags = inner;
    p->repeatable = false;
    gojson_write(p->out, "(?:");
    return true;
}

static bool close_group(struct parser *p)
{
    if (p->depth == 0)
        return fail_whole(p, "unexpected )");
    struct group group = p->groups[p->depth--];
    gojson_write(p->out, ")");
    begin_atom(p);
    p->atom_at = group.at;
    p->copies = group.copies;
    p->flags = group.outer;
    p->t.p++;
    return true;
}

/* (?P<name> and (?<name>: a name is checked and forgotten, nothing is captured. */
static bool named_group(struct parser *p, size_t before_name)
{
    const char *from = p->t.p, *name = from + before_name;
    const char *close = memchr(from, '>', (size_t)(p->t.end - from));
    if (!close)
        return pattern_fail(p->why, "invalid named capture", from, p->t.end);
    bool good = close > name;
    for (const char *c = name; c < close; c++)
        good = good && (*c == '_' || (*c >= '0' && *c <= '9') || ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z'));
    if (!good)
        return pattern_fail(p->why, "invalid named capture", from, close + 1);
    p->t.p = close + 1;
    return open_group(p, p->flags);
}

static bool *flag_of(struct flags *flags, uint32_t c)
{
    static bool reluctant; /* U swaps greedy and reluctant, which matters to nobody here */
    switch (c) {
    case 'i': return &flags->fold;
    case 'm': return &flags->lines;
    case 's': return &flags->dot_line;
    case 'U': return &reluctant;
    default: return NULL;
    }
}

/* (?i), (?i-s:…: flags for what follows or for a group. */
static bool flag_group(struct parser *p)
{
    const char *from = p->t.p;
    struct flags flags = p->flags;
    bool on = true, seen = false;
    uint32_t c;
    for (p->t.p += 2; p->t.p < p->t.end;) {
        if (!pattern_read_char(&p->t, &c, p->why))
            return false;
        bool *flag = flag_of(&flags, c);
        if (flag) {
            if (c != 'U')
                *flag = on;
            seen = true;
        } else if (c == '-' && on) {
            on = seen = false;
        } else if ((c == ':' || c == ')') && (on || seen)) {
            if (c == ':')
                return open_group(p, flags);
            p->flags = flags;
            return true;
        } else {
            break;
        }
    }
    return pattern_fail(p->why, "invalid or unsupported Perl syntax", from, p->t.p);
}

static bool parenthesis(struct parser *p)
{
    size_t left = (size_t)(p->t.end - p->t.p);
    if (left < 2 || p->t.p[1] != '?') {
        p->t.p++;
        return open_group(p, p->flags);
    }
    if (left > 4 && memcmp(p->t.p, "(?P<", 4) == 0)
        return named_group(p, 4);
    if (left > 3 && p->t.p[2] == '<')
        return named_group(p, 3);
    return flag_group(p);
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static bool one_char(struct parser *p)
{
    uint32_t c;
    return pattern_read_char(&p->t, &c, p->why) && literal(p, c);
}

static bool class(struct parser *p)
{
    begin_atom(p);
    return pattern_read_class(&p->t, p->flags.fold, p->out, p->why);
}

static bool simple_atom(struct parser *p)
{
    switch (*p->t.p++) {
    case '^': return atom(p, p->flags.lines ? "(?:\\A|(?<=\\n))" : "(?:\\A)");
    case '$': return atom(p, p->flags.lines ? "(?:\\z|(?=\\n))" : "(?:\\z)");
    default: return atom(p, p->flags.dot_line ? "(?s:.)" : "[^\\n]");
    }
}

static bool alternative(struct parser *p)
{
    p->t.p++;
    p->repeatable = false;
    gojson_write(p->out, "|");
    return true;
}

static bool step(struct parser *p)
{
    switch (*p->t.p) {
    case '(': return parenthesis(p);
    case ')': return close_group(p);
    case '|': return alternative(p);
    case '^':
    case '$':
    case '.': return simple_atom(p);
    case '[': return class(p);
    case '*':
    case '+':
    case '?': return simple_repeat(p);
    case '{': return counted_repeat(p);
    case '\\': return backslash(p);
    default: return one_char(p);
    }
}

enum cv_error pattern_translate(struct cv_str text, struct cv_buf *out, struct reason *why)
{
    struct parser *p = cv_xcalloc(1, sizeof *p);
    *p = (struct parser){ .t = { text.p, text.p + text.n }, .whole = text, .out = out, .why = why };
    p->groups[0].copies = 1;
    bool ok = true;
    while (ok && p->t.p < p->t.end) {
        const char *last_repeat = p->last_repeat;
        ok = step(p);
        note_copies(p);
        if (p->last_repeat == last_repeat)
            p->last_repeat = NULL;
    }
    if (ok && p->depth > 0)
        ok = fail_whole(p, "missing closing )");
    free(p);
    return ok ? CV_OK : CV_E_CONF;
}
