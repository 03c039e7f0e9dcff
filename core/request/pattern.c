/* pattern.c: path rules as machines whose states are followed all at once (Thompson's way). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "request/pattern.h"
#include "request/pattern_parse.h"

#include <pcre2.h>
#include <string.h>

#define STEPS_MAX 16384 /* of a machine */

/* A step that takes a character, or tests where it is, is followed by the next one; the others say where to go. */
struct step {
    enum { STEP_CHAR, STEP_SET, STEP_ASSERTION, STEP_SPLIT, STEP_JUMP, STEP_FOUND } kind;
    uint32_t x; /* the character, set, assertion, or where to go   */
    uint32_t y; /* STEP_SPLIT: where else to go                    */
};
struct set {
    bool ascii[128];
    pcre2_code *code; /* asked for the other characters */
};
struct cv_pattern {
    struct step *steps;
    uint32_t n;
    struct set *sets;
    size_t n_sets;
};

/* ---- building ----------------------------------------------------------------------------------------- */

/* Step 0 is nobody's aim, so a 0 in a split or jump is yet to be filled in. */
struct builder {
    struct step *steps; /* STEPS_MAX */
    uint32_t n;
    bool full;
};

static uint32_t emit(struct builder *b, int kind, uint32_t x)
{
    if (b->n == STEPS_MAX) {
        b->full = true;
        return 0;
    }
    b->steps[b->n] = (struct step){ .kind = kind, .x = x };
    return b->n++;
}

static void build(struct builder *, const struct pattern_node *);

/* A way around what was built since the split at `at`. */
static void land(struct builder *b, uint32_t at)
{
    b->steps[at].y = b->n;
}

static void build_star(struct builder *b, const struct pattern_node *inner)
{
    uint32_t split = emit(b, STEP_SPLIT, b->n + 1);
    build(b, inner);
    emit(b, STEP_JUMP, split);
    land(b, split);
}

/* x{2,4} is xx(x(x)?)? */
static void build_repeat(struct builder *b, const struct pattern_node *node)
{
    for (int i = 0; i < node->least && !b->full; i++)
        build(b, node->first);
    if (node->most < 0) {
        build_star(b, node->first);
        return;
    }
    uint32_t first = b->n;
    for (int i = node->least; i < node->most && !b->full; i++) {
        emit(b, STEP_SPLIT, b->n + 1);
        build(b, node->first);
    }
    for (uint32_t at = first; at < b->n; at++)
        if (b->steps[at].kind == STEP_SPLIT && b->steps[at].y == 0)
            land(b, at);
}

static void build_alternatives(struct builder *b, const struct pattern_node *branch)
{
    if (!branch->next) {
        build(b, branch);
        return;
    }
    uint32_t first = b->n;
    for (; branch->next && !b->full; branch = branch->next) {
        uint32_t split = emit(b, STEP_SPLIT, b->n + 1);
        build(b, branch);
        emit(b, STEP_JUMP, 0);
        land(b, split);
    }
    build(b, branch);
    for (uint32_t at = first; at < b->n; at++)
        if (b->steps[at].kind == STEP_JUMP && b->steps[at].x == 0)
            b->steps[at].x = b->n;
}

static void build(struct builder *b, const struct pattern_node *node)
{
    switch (node->kind) {
    case NODE_CHAR: emit(b, STEP_CHAR, node->c); break;
    case NODE_SET: emit(b, STEP_SET, (uint32_t)node->set); break;
    case NODE_ASSERTION: emit(b, STEP_ASSERTION, node->assertion); break;
    case NODE_ALT: build_alternatives(b, node->first); break;
    case NODE_REPEAT: build_repeat(b, node); break;
    case NODE_CAT:
        for (const struct pattern_node *inner = node->first; inner && !b->full; inner = inner->next)
            build(b, inner);
        break;
    }
}

static uint32_t build_all(struct step steps[STEPS_MAX], const struct pattern_node *root)
{
    struct builder b = { .steps = steps };
    emit(&b, STEP_JUMP, 1);
    build(&b, root);
    emit(&b, STEP_FOUND, 0);
    return b.full ? 0 : b.n;
}

static bool code_has(pcre2_code *code, uint32_t c, pcre2_match_data *match)
{
    char bytes[4];
    return pcre2_match(code, (PCRE2_SPTR)bytes, utf8_write(bytes, c), 0, PCRE2_NO_UTF_CHECK, match, NULL) > 0;
}

static bool set_init(struct set *set, struct cv_str text)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    CV_ASSERT(context && match);
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALLOW_SURROGATE_ESCAPES);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int error;
    size_t at;
    set->code = pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_UTF | PCRE2_ANCHORED, &error, &at, context);
    for (uint32_t c = 0; set->code && c < 128; c++)
        set->ascii[c] = code_has(set->code, c, match);
    pcre2_match_data_free(match);
    pcre2_compile_context_free(context);
    return set->code != NULL;
}

static struct cv_pattern *build_pattern(const struct pattern_tree *tree)
{
    struct cv_pattern *pattern = cv_xcalloc(1, sizeof *pattern);
    struct step *steps = cv_xcalloc(STEPS_MAX, sizeof *steps);
    pattern->n = build_all(steps, tree->root);
    pattern->steps = cv_xrealloc(steps, pattern->n, sizeof *steps);
    pattern->sets = cv_xcalloc(tree->n_sets, sizeof *pattern->sets);
    bool ok = pattern->n > 0;
    for (const struct pattern_set *set = tree->sets; ok && set; set = set->next)
        ok = set_init(&pattern->sets[pattern->n_sets++], set->text);
    if (ok)
        return pattern;
    pattern_free(pattern);
    return NULL;
}

struct cv_pattern *pattern_new(struct cv_str text, struct reason *why)
{
    struct pattern_tree tree;
    struct cv_pattern *pattern = NULL;
    if (text.n == 0)
        text = (struct cv_str){ "", 0 };
    if (pattern_parse(text, &tree, why) == CV_OK) {
        pattern = build_pattern(&tree);
        if (!pattern)
            pattern_fail(why, "expression too large", text.p, text.p + text.n);
    }
    bump_free(&tree.mem);
    return pattern;
}

void pattern_free(struct cv_pattern *pattern)
{
    if (!pattern)
        return;
    for (size_t i = 0; i < pattern->n_sets; i++)
        pcre2_code_free(pattern->sets[i].code);
    free(pattern->sets);
    free(pattern->steps);
    free(pattern);
}

/* ---- matching ----------------------------------------------------------------------------------------- */

/* A set of steps, each in it once: list[at[s]] == s for its members. */
struct states {
    uint32_t n, list[STEPS_MAX], at[STEPS_MAX];
};
struct pattern_scratch {
    pcre2_match_data *match;
    struct states states[2];
    uint32_t stack[2 * STEPS_MAX + 1];
};
/* Between two characters of the text; -1 stands for its ends. */
struct place {
    int32_t before, after;
};

struct pattern_scratch *pattern_scratch_new(void)
{
    struct pattern_scratch *scratch = cv_xcalloc(1, sizeof *scratch);
    scratch->match = pcre2_match_data_create(1, NULL);
    CV_ASSERT(scratch->match);
    return scratch;
}

void pattern_scratch_free(struct pattern_scratch *scratch)
{
    if (!scratch)
        return;
    pcre2_match_data_free(scratch->match);
    free(scratch);
}

static bool add_state(struct states *states, uint32_t s)
{
    if (states->at[s] < states->n && states->list[states->at[s]] == s)
        return false;
    states->at[s] = states->n;
    states->list[states->n++] = s;
    return true;
}

static bool is_word(int32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool holds(enum pattern_assertion assertion, struct place place)
{
    switch (assertion) {
    case PATTERN_BEGIN: return place.before < 0;
    case PATTERN_END: return place.after < 0;
    case PATTERN_LINE_BEGIN: return place.before < 0 || place.before == '\n';
    case PATTERN_LINE_END: return place.after < 0 || place.after == '\n';
    case PATTERN_WORD_EDGE: return is_word(place.before) != is_word(place.after);
    case PATTERN_WORD_INSIDE: return is_word(place.before) == is_word(place.after);
    }
    return false;
}

/* Adds a step and all that follow it without a character. True when one of them is the end of the pattern. */
static bool follow(const struct cv_pattern *pattern, uint32_t from, struct place place, struct states *states,
                   uint32_t *stack)
{
    uint32_t depth = 0;
    for (stack[depth++] = from; depth > 0;) {
        uint32_t at = stack[--depth];
        if (!add_state(states, at))
            continue;
        const struct step *step = &pattern->steps[at];
        if (step->kind == STEP_FOUND)
            return true;
        if (step->kind == STEP_SPLIT)
            stack[depth++] = step->y;
        if (step->kind == STEP_SPLIT || step->kind == STEP_JUMP)
            stack[depth++] = step->x;
        else if (step->kind == STEP_ASSERTION && holds(step->x, place))
            stack[depth++] = at + 1;
    }
    return false;
}

static bool takes(const struct cv_pattern *pattern, const struct step *step, uint32_t c,
                  pcre2_match_data *match)
{
    if (step->kind == STEP_CHAR)
        return step->x == c;
    if (step->kind != STEP_SET)
        return false;
    const struct set *set = &pattern->sets[step->x];
    return c < 128 ? set->ascii[c] : code_has(set->code, c, match);
}

/* The character at *i, which moves behind it, or -1 at the end. */
static int32_t next_char(struct cv_str text, size_t *i)
{
    size_t len;
    if (*i == text.n)
        return -1;
    int32_t c = (int32_t)utf8_first(text.p + *i, text.n - *i, &len);
    *i += len;
    return c;
}

bool pattern_match(const struct cv_pattern *pattern, struct cv_str text, struct pattern_scratch *scratch)
{
    struct states *now = &scratch->states[0], *then = &scratch->states[1];
    size_t i = 0;
    struct place place = { -1, next_char(text, &i) };
    now->n = 0;
    while (!follow(pattern, 0, place, now, scratch->stack)) {
        if (place.after < 0)
            return false;
        int32_t c = place.after;
        place = (struct place){ c, next_char(text, &i) };
        then->n = 0;
        for (uint32_t k = 0; k < now->n; k++) {
            uint32_t at = now->list[k];
            if (takes(pattern, &pattern->steps[at], (uint32_t)c, scratch->match) &&
                follow(pattern, at + 1, place, then, scratch->stack))
                return true;
        }
        struct states *other = now;
        now = then;
        then = other;
    }
    return true;
}
