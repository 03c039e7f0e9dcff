/* pattern.c: path rules, compiled and matched by PCRE2's parallel matcher. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "request/pattern.h"
#include "request/pattern_parse.h"

#include <pcre2.h>

#define NESTING   1500        /* brackets of the translation: a few for each of ours */
#define WORKSPACE (64 * 1024) /* ints; 3 for each state that can be in force at a time, twice   */

struct cv_pattern {
    pcre2_code *code;
};

/* Whatever may come before is part of the pattern, so that one pass answers for all places to begin at. */
static pcre2_code *compile(struct cv_str translated)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    CV_ASSERT(context);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, NESTING);
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALLOW_SURROGATE_ESCAPES);
    int error;
    size_t at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)translated.p, translated.n,
                      PCRE2_UTF | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error, &at, context);
    pcre2_compile_context_free(context);
    return code;
}

struct cv_pattern *pattern_new(struct cv_str text, struct reason *why)
{
    struct cv_buf out = { 0 };
    cv_buf_add(&out, "(?s:.)*?(?:", 11);
    pcre2_code *code = NULL;
    if (pattern_translate(text, &out, why) == CV_OK) {
        cv_buf_add(&out, ")", 1);
        code = compile((struct cv_str){ (const char *)out.p, out.n });
        if (!code)
            pattern_fail(why, "expression too large", text.p, text.p + text.n);
    }
    cv_buf_free(&out);
    if (!code)
        return NULL;
    struct cv_pattern *pattern = cv_xcalloc(1, sizeof *pattern);
    pattern->code = code;
    return pattern;
}

void pattern_free(struct cv_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    free(pattern);
}

struct pattern_scratch {
    pcre2_match_data *match;
    int workspace[WORKSPACE];
};

struct pattern_scratch *pattern_scratch_new(void)
{
    struct pattern_scratch *scratch = cv_xmalloc(sizeof *scratch);
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

enum pattern_verdict pattern_match(const struct cv_pattern *pattern, struct cv_str text,
                                   struct pattern_scratch *scratch)
{
    int found = pcre2_dfa_match(pattern->code, (PCRE2_SPTR)(text.n ? text.p : ""), text.n, 0,
                                PCRE2_NO_UTF_CHECK | PCRE2_DFA_SHORTEST, scratch->match, NULL,
                                scratch->workspace, WORKSPACE);
    if (found == PCRE2_ERROR_NOMATCH)
        return PATTERN_NO;
    return found >= 0 ? PATTERN_YES : PATTERN_LIMIT;
}
