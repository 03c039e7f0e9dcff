/* pattern_parse.c: reading a pattern of RE2 syntax into a tree. */
#include "request/pattern_parse.h"
#include "request/gojson.h"

#include <string.h>

#define DEPTH_MAX  999  /* of groups, as in Go */
#define HEIGHT_MAX 4000 /* of the tree, so that walking it needs little stack */
#define REPEAT_MAX 1000 /* of a repetition, and of what nested ones come to together: Go's limit too */

struct flags {
    bool fold;     /* i */
    bool lines;    /* m */
    bool dot_line; /* s */
};
/* An open group, or the whole pattern. */
struct group {
    struct flags outer;            /* in force again after its end       */
    struct pattern_node *branches; /* NODE_ALT; the last one is open     */
};
struct parser {
    struct pattern_text t;
    struct cv_str whole;
    struct pattern_tree *tree;
    struct reason *why;
    struct flags flags;
    struct group groups[DEPTH_MAX + 1];
    size_t depth;
    const char *last_repeat; /* where it begins, if a repetition was the last thing read; NULL otherwise */
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

/* ---- tree --------------------------------------------------------------------------------------------- */

static struct pattern_node *node_new(struct parser *p, int kind)
{
    struct pattern_node *node = bump_alloc(&p->tree->mem, sizeof *node);
    node->kind = kind;
    node->copies = node->height = 1;
    return node;
}

static void append(struct pattern_node *to, struct pattern_node *node)
{
    if (to->last)
        to->last->next = node;
    else
        to->first = node;
    to->last = node;
}

/* The open branch: what is read next goes to its end. */
static struct pattern_node *branch(struct parser *p)
{
    return p->groups[p->depth].branches->last;
}

static void open_branches(struct parser *p, struct flags outer)
{
    struct pattern_node *branches = node_new(p, NODE_ALT);
    append(branches, node_new(p, NODE_CAT));
    p->groups[p->depth] = (struct group){ .outer = outer, .branches = branches };
}

static struct pattern_node *add(struct parser *p, int kind)
{
    struct pattern_node *node = node_new(p, kind);
    append(branch(p), node);
    return node;
}

/* All that is alike shares one set. */
static size_t set_of(struct parser *p, const struct cv_buf *code)
{
    struct cv_str text = { (const char *)code->p, code->n };
    struct pattern_set **at = &p->tree->sets;
    size_t i = 0;
    for (; *at; at = &(*at)->next, i++)
        if (cv_str_eq((*at)->text, text))
            return i;
    *at = bump_alloc(&p->tree->mem, sizeof **at);
    (*at)->text = bump_str(&p->tree->mem, text);
    p->tree->n_sets++;
    return i;
}

/* All inside is complete. */
static void measure(struct pattern_node *node)
{
    for (const struct pattern_node *inner = node->first; inner; inner = inner->next) {
        if (inner->copies > node->copies)
            node->copies = inner->copies;
        if (inner->height >= node->height)
            node->height = inner->height + 1;
    }
}

/* ---- atoms -------------------------------------------------------------------------------------------- */

static bool literal(struct parser *p, uint32_t c)
{
    if (!p->flags.fold || (c < 0x80 && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))) {
        add(p, NODE_CHAR)->c = c;
        return true;
    }
    struct cv_buf code = { 0 };
    gojson_write(&code, "(?i:\\x{%x})", c);
    add(p, NODE_SET)->set = set_of(p, &code);
    cv_buf_free(&code);
    return true;
}

static bool assertion(struct parser *p, enum pattern_assertion which)
{
    add(p, NODE_ASSERTION)->assertion = which;
    return true;
}

static bool any_char(struct parser *p)
{
    struct cv_buf code = { 0 };
    gojson_write(&code, p->flags.dot_line ? "(?s:.)" : "[^\\n]");
    add(p, NODE_SET)->set = set_of(p, &code);
    cv_buf_free(&code);
    return true;
}

static bool class(struct parser *p)
{
    struct cv_buf code = { 0 };
    bool ok = pattern_read_class(&p->t, p->flags.fold, &code, p->why);
    if (ok)
        add(p, NODE_SET)->set = set_of(p, &code);
    cv_buf_free(&code);
    return ok;
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

static enum pattern_group escaped_group(struct parser *p)
{
    struct cv_buf code = { 0 };
    gojson_write(&code, p->flags.fold ? "(?i:[" : "[");
    enum pattern_group group = pattern_read_group(&p->t, p->flags.fold, &code, p->why);
    gojson_write(&code, p->flags.fold ? "])" : "]");
    if (group == PATTERN_GROUP_WRITTEN)
        add(p, NODE_SET)->set = set_of(p, &code);
    cv_buf_free(&code);
    return group;
}

static bool escaped_char(struct parser *p)
{
    uint32_t c;
    return pattern_read_escape(&p->t, &c, p->why) && literal(p, c);
}

static bool backslash(struct parser *p)
{
    static const struct {
        char letter;
        enum pattern_assertion which;
    } assertions[] = {
        { 'A', PATTERN_BEGIN }, { 'z', PATTERN_END }, { 'b', PATTERN_WORD_EDGE }, { 'B', PATTERN_WORD_INSIDE }
    };
    char second = p->t.end - p->t.p >= 2 ? p->t.p[1] : '\0';
    for (size_t i = 0; i < sizeof assertions / sizeof *assertions; i++) {
        if (second == assertions[i].letter) {
            p->t.p += 2;
            return assertion(p, assertions[i].which);
        }
    }
    if (second == 'C')
        return pattern_fail(p->why, "invalid escape sequence", p->t.p, p->t.p + 2);
    if (second == 'Q')
        return quoted(p);
    enum pattern_group group = escaped_group(p);
    return group == PATTERN_GROUP_NONE ? escaped_char(p) : group == PATTERN_GROUP_WRITTEN;
}

/* ---- repetitions -------------------------------------------------------------------------------------- */

/* The last node becomes a repetition of what it was. `at` is where the operator begins, p->t.p where it ends. */
static bool repeat(struct parser *p, const char *at, int least, int most)
{
    if (p->t.p < p->t.end && *p->t.p == '?')
        p->t.p++; /* reluctant or not matters to what is captured, not to whether it matches */
    if (p->last_repeat)
        return pattern_fail(p->why, "invalid nested repetition operator", p->last_repeat, p->t.p);
    struct pattern_node *node = branch(p)->last;
    if (!node)
        return pattern_fail(p->why, "missing argument to repetition operator", at, p->t.p);
    struct pattern_node *inner = node_new(p, NODE_CAT);
    *inner = *node;
    *node = (struct pattern_node){ .kind = NODE_REPEAT, .copies = 1, .height = 1 };
    node->least = least;
    node->most = most;
    append(node, inner);
    measure(node);
    p->last_repeat = at;
    return node->height < HEIGHT_MAX || fail_whole(p, "expression nests too deeply");
}

static bool simple_repeat(struct parser *p)
{
    const char *at = p->t.p++;
    return repeat(p, at, *at == '+', *at == '?' ? 1 : -1);
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
    if (!repeat(p, at, least, most))
        return false;
    struct pattern_node *node = branch(p)->last;
    unsigned times = (unsigned)(most < 0 ? least : most);
    node->copies = most == 0 ? 1 : times > 0 ? node->copies * times : node->copies;
    if ((least >= 2 || most >= 2) && node->copies > REPEAT_MAX)
        return pattern_fail(p->why, "invalid repeat count", at, p->t.p);
    return true;
}

/* ---- groups ------------------------------------------------------------------------------------------- */

static bool open_group(struct parser *p, struct flags inner)
{
    if (p->depth == DEPTH_MAX)
        return fail_whole(p, "expression nests too deeply");
    p->depth++;
    open_branches(p, p->flags);
    p->flags = inner;
    return true;
}

/* A branch is complete when the next one begins, or the group ends. */
static void close_branch(struct parser *p)
{
    struct pattern_node *branches = p->groups[p->depth].branches;
    measure(branches->last);
    measure(branches);
}

static bool close_group(struct parser *p)
{
    if (p->depth == 0)
        return fail_whole(p, "unexpected )");
    close_branch(p);
    struct group group = p->groups[p->depth--];
    append(branch(p), group.branches);
    p->flags = group.outer;
    p->t.p++;
    return true;
}

static bool alternative(struct parser *p)
{
    close_branch(p);
    append(p->groups[p->depth].branches, node_new(p, NODE_CAT));
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

/* False for what is no flag. U swaps greedy and reluctant, which matters to nobody here. */
static bool set_flag(struct flags *flags, uint32_t c, bool on)
{
    switch (c) {
    case 'i': flags->fold = on; return true;
    case 'm': flags->lines = on; return true;
    case 's': flags->dot_line = on; return true;
    default: return c == 'U';
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
        if (set_flag(&flags, c, on)) {
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

static bool simple_atom(struct parser *p)
{
    switch (*p->t.p++) {
    case '^': return assertion(p, p->flags.lines ? PATTERN_LINE_BEGIN : PATTERN_BEGIN);
    case '$': return assertion(p, p->flags.lines ? PATTERN_LINE_END : PATTERN_END);
    default: return any_char(p);
    }
}

static bool plain_char(struct parser *p)
{
    uint32_t c;
    return pattern_read_char(&p->t, &c, p->why) && literal(p, c);
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
    default: return plain_char(p);
    }
}

static bool parse_all(struct parser *p)
{
    while (p->t.p < p->t.end) {
        const char *last_repeat = p->last_repeat;
        if (!step(p))
            return false;
        if (p->last_repeat == last_repeat)
            p->last_repeat = NULL;
    }
    return p->depth == 0 || fail_whole(p, "missing closing )");
}

enum cv_error pattern_parse(struct cv_str text, struct pattern_tree *tree, struct reason *why)
{
    *tree = (struct pattern_tree){ .sets = NULL };
    struct parser *p = cv_xcalloc(1, sizeof *p);
    p->t = (struct pattern_text){ text.p, text.p + text.n };
    p->whole = text;
    p->tree = tree;
    p->why = why;
    open_branches(p, p->flags);
    bool ok = parse_all(p);
    tree->root = p->groups[0].branches;
    free(p);
    return ok ? CV_OK : CV_E_CONF;
}
