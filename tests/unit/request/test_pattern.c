/* test_pattern.c: path rules mean what they mean in RE2, are refused in Go's words, and cost no more than a
 * path is long. */
#include "request/pattern.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct reason why;

#define LITERAL(text)                                                                                        \
    {                                                                                                        \
        text, sizeof text - 1                                                                                \
    }

static const struct {
    const char *pattern;
    struct cv_str yes, no; /* one that matches and one that does not, where there are any */
} meanings[] = {
    { "", LITERAL("anything"), { NULL, 0 } },
    { "^/api/v[0-9]+/", LITERAL("/api/v12/x"), LITERAL("/x/api/v1/") },
    { "b", LITERAL("abc"), LITERAL("ac") },
    { "^a$", LITERAL("a"), LITERAL("a\n") },
    { "(?m)^a$", LITERAL("b\na\nc"), LITERAL("ba") },
    { "(?m)x^$", { NULL, 0 }, LITERAL("x\n") },
    { "(?m)\\n^$", LITERAL("x\n"), LITERAL("x") },
    { "^.$", LITERAL("\xC3\xA9"), LITERAL("\n") },
    { "(?s)^.$", LITERAL("\n"), LITERAL("ab") },
    { "^[^a]$", LITERAL("\n"), LITERAL("a") },
    { "(?i)straSSe", LITERAL("STRasse"),
      LITERAL("stra\xC3\x9F"
              "e") },
    { "(?i)k", LITERAL("\xE2\x84\xAA"), LITERAL("x") },
    { "k", LITERAL("k"), LITERAL("\xE2\x84\xAA") },
    { "(?i)^[[:^lower:]]$", LITERAL("1"), LITERAL("\xC5\xBF") },
    { "a(?i)b(?-i)c", LITERAL("aBc"), LITERAL("aBC") },
    { "(?i:a)b", LITERAL("Ab"), LITERAL("AB") },
    { "((?i)a)b", LITERAL("Ab"), LITERAL("AB") },
    { "^\\d+$", LITERAL("09"), LITERAL("\xD9\xA1") },
    { "^\\w$", LITERAL("_"), LITERAL("\xC3\xA9") },
    { "^\\s$", LITERAL("\f"), LITERAL("\v") },
    { "^[[:space:]]$", LITERAL("\v"), LITERAL("a") },
    { "^[\\D]$", LITERAL("a"), LITERAL("1") },
    { "^[^\\W\\d]$", LITERAL("a"), LITERAL("1") },
    { "\\bab\\b", LITERAL("-ab-"), LITERAL("xab") },
    { "^\\p{Greek}+$", LITERAL("\xCE\xB1\xCE\xB2"), LITERAL("a") },
    { "^\\pN$", LITERAL("\xE2\x85\xA7"), LITERAL("a") },
    { "^\\P{^Lu}$", LITERAL("A"), LITERAL("a") },
    { "(?i)^\\p{Lu}$", LITERAL("a"), LITERAL("1") },
    { "^\\p{Uppercase_Letter}\\p{letter}$", LITERAL("Ab"), LITERAL("ab") },
    { "^[\\pL-]$", LITERAL("-"), LITERAL("1") },
    { "^\\Qa.b*\\E$", LITERAL("a.b*"), LITERAL("aXb") },
    { "^\\Qab", LITERAL("abc"), LITERAL("b") },
    { "^a\\Qb\\E+$", LITERAL("abbb"), LITERAL("abab") },
    { "\\x41\\x{e9}\\101\\a",
      LITERAL("A\xC3\xA9"
              "A\a"),
      LITERAL("A") },
    { "^[]a]$", LITERAL("]"), LITERAL("b") },
    { "^[a-]$", LITERAL("-"), LITERAL("b") },
    { "^a{2,3}$", LITERAL("aaa"), LITERAL("a") },
    { "^a{,2}$", LITERAL("a{,2}"), LITERAL("a") },
    { "^a{$", LITERAL("a{"), LITERAL("a") },
    { "^a{02}$", LITERAL("a{02}"), LITERAL("aa") },
    { "^(a*)*(|b)+$", LITERAL("aaab"), LITERAL("c") },
    { "^a(?i)*$", LITERAL("aaa"), LITERAL("A") },
    { "^a*(?i)*$", LITERAL("aaa"), LITERAL("b") },
    { "(?P<n>a)(?<m>b)", LITERAL("ab"), LITERAL("a") },
    { "(?P<n>a)(?P<n>b)", LITERAL("ab"), LITERAL("a") },
    { "a+?b?(?U)c+", LITERAL("ac"), LITERAL("ab") },
    { "\\z\\A^$", { "", 0 }, LITERAL("a") },
    { "a|b|", LITERAL("c"), { NULL, 0 } },
    { "^(a|b|)$", LITERAL("b"), LITERAL("c") },
    { "\\/\\_\\-\\ ", LITERAL("/_- "), LITERAL("/") },
    { "^\\x00$", LITERAL("\0"), LITERAL("0") },
};

static void means_what_re2_means(void)
{
    struct pattern_scratch *scratch = pattern_scratch_new();
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        struct cv_pattern *pattern = pattern_new(cv_str_of(meanings[i].pattern), &why);
        CU_ASSERT_PTR_NOT_NULL_FATAL(pattern);
        if (meanings[i].yes.p)
            CU_ASSERT_TRUE(pattern_match(pattern, meanings[i].yes, scratch));
        if (meanings[i].no.p)
            CU_ASSERT_FALSE(pattern_match(pattern, meanings[i].no, scratch));
        pattern_free(pattern);
    }
    pattern_scratch_free(scratch);
}

static const struct {
    const char *pattern, *error; /* behind "error parsing regexp: " */
} refused[] = {
    { "(?=x)", "invalid or unsupported Perl syntax: `(?=`" },
    { "(?!x)", "invalid or unsupported Perl syntax: `(?!`" },
    { "a(?<=x)", "invalid named capture: `(?<=x)`" },
    { "(?<!x)", "invalid named capture: `(?<!x)`" },
    { "(?>x)", "invalid or unsupported Perl syntax: `(?>`" },
    { "(?#x)", "invalid or unsupported Perl syntax: `(?#`" },
    { "(?R)", "invalid or unsupported Perl syntax: `(?R`" },
    { "(?1)", "invalid or unsupported Perl syntax: `(?1`" },
    { "(?(1)a)", "invalid or unsupported Perl syntax: `(?(`" },
    { "(?C1)", "invalid or unsupported Perl syntax: `(?C`" },
    { "(?|a)", "invalid or unsupported Perl syntax: `(?|`" },
    { "(?P=n)", "invalid or unsupported Perl syntax: `(?P`" },
    { "(?x)a", "invalid or unsupported Perl syntax: `(?x`" },
    { "(?i", "invalid or unsupported Perl syntax: `(?i`" },
    { "(?-)", "invalid or unsupported Perl syntax: `(?-)`" },
    { "(?P<n", "invalid named capture: `(?P<n`" },
    { "(?P<>a)", "invalid named capture: `(?P<>`" },
    { "(?P<n!>a)", "invalid named capture: `(?P<n!>`" },
    { "(*ACCEPT)a", "missing argument to repetition operator: `*`" },
    { "(a)\\1", "invalid escape sequence: `\\1`" },
    { "\\8", "invalid escape sequence: `\\8`" },
    { "\\Z", "invalid escape sequence: `\\Z`" },
    { "\\K", "invalid escape sequence: `\\K`" },
    { "\\G", "invalid escape sequence: `\\G`" },
    { "\\R", "invalid escape sequence: `\\R`" },
    { "\\X", "invalid escape sequence: `\\X`" },
    { "\\h", "invalid escape sequence: `\\h`" },
    { "\\C", "invalid escape sequence: `\\C`" },
    { "\\N", "invalid escape sequence: `\\N`" },
    { "\\g{1}", "invalid escape sequence: `\\g`" },
    { "\\k<n>", "invalid escape sequence: `\\k`" },
    { "\\cA", "invalid escape sequence: `\\c`" },
    { "\\e", "invalid escape sequence: `\\e`" },
    { "[\\b]", "invalid escape sequence: `\\b`" },
    { "\\x{110000}", "invalid escape sequence: `\\x{110000`" },
    { "\\x4", "invalid escape sequence: `\\x4`" },
    { "\\xg0", "invalid escape sequence: `\\xg0`" },
    { "a\\", "trailing backslash at end of expression: ``" },
    { "a**", "invalid nested repetition operator: `**`" },
    { "a++", "invalid nested repetition operator: `++`" },
    { "a?+", "invalid nested repetition operator: `?+`" },
    { "a{2}{3}", "invalid nested repetition operator: `{2}{3}`" },
    { "*a", "missing argument to repetition operator: `*`" },
    { "a|*?", "missing argument to repetition operator: `*?`" },
    { "({2})", "missing argument to repetition operator: `{2}`" },
    { "a{1001}", "invalid repeat count: `{1001}`" },
    { "a{2,1}", "invalid repeat count: `{2,1}`" },
    { "((a{100}){10}){2}", "invalid repeat count: `{2}`" },
    { "(a", "missing closing ): `(a`" },
    { "a)b", "unexpected ): `a)b`" },
    { "[a", "missing closing ]: `[a`" },
    { "x[]", "missing closing ]: `[]`" },
    { "[z-a]", "invalid character class range: `z-a`" },
    { "[[:foo:]]", "invalid character class range: `[:foo:]`" },
    { "[[:d:]]", "invalid character class range: `[:d:]`" },
    { "[a-\\d]", "invalid escape sequence: `\\d`" },
    { "\\p{Foo}", "invalid character class range: `\\p{Foo}`" },
    { "\\pX", "invalid character class range: `\\pX`" },
    { "\\p{L&}", "invalid character class range: `\\p{L&}`" },
    { "\\p{Grek}", "invalid character class range: `\\p{Grek}`" },
    { "\\p{Xan}", "invalid character class range: `\\p{Xan}`" },
    { "\\p{Lu", "invalid character class range: `\\p{Lu`" },
    { "\xff", "invalid UTF-8: `\xff`" },
};

static void refuses_what_re2_refuses(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char error[256];
        snprintf(error, sizeof error, "error parsing regexp: %s", refused[i].error);
        struct cv_pattern *pattern = pattern_new(cv_str_of(refused[i].pattern), &why);
        CU_ASSERT_PTR_NULL(pattern);
        CU_ASSERT_STRING_EQUAL(why.text, error);
        pattern_free(pattern);
    }
}

static void bounds_nesting(void)
{
    char text[2000];
    memset(text, '(', 1000);
    memset(text + 1000, ')', 1000);
    CU_ASSERT_PTR_NULL(pattern_new((struct cv_str){ text, 2000 }, &why));
    CU_ASSERT_EQUAL(strncmp(why.text, "error parsing regexp: expression nests too deeply: `((", 54), 0);
    struct cv_pattern *pattern = pattern_new((struct cv_str){ text + 1, 1998 }, &why);
    CU_ASSERT_PTR_NOT_NULL(pattern);
    pattern_free(pattern);
    char *stars = cv_xmalloc(5 * 5000 + 1);
    stars[0] = 'a';
    for (size_t i = 0; i < 5000; i++)
        memcpy(stars + 1 + 5 * i, "*(?i)", 5);
    CU_ASSERT_PTR_NULL(pattern_new((struct cv_str){ stars, 5 * 5000 + 1 }, &why));
    free(stars);
    char *big = cv_xmalloc(200001);
    memset(big, 'a', 200000);
    CU_ASSERT_PTR_NULL(pattern_new((struct cv_str){ big, 200000 }, &why));
    free(big);
}

/* Patterns over which a matcher that goes back tries 2^n ways, or n² places. */
static void costs_no_more_than_the_path_is_long(void)
{
    static const char *const patterns[] = {
        "^/(a+)+$", "^/(a|a)*$", "^/(a|aa)+$",     "^/(.*a){20}$",
        "(a*)*b$",  "(x+x+)+y",  "^/([a-z]+)*\\d", "a.*b.*c.*d$",
    };
    size_t n = 20000;
    char *path = cv_xmalloc(n + 1);
    memset(path, 'a', n);
    path[0] = '/';
    path[n] = '!';
    struct pattern_scratch *scratch = pattern_scratch_new();
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct cv_pattern *pattern = pattern_new(cv_str_of(patterns[i]), &why);
        CU_ASSERT_PTR_NOT_NULL_FATAL(pattern);
        clock_t begin = clock();
        CU_ASSERT_FALSE(pattern_match(pattern, (struct cv_str){ path, n + 1 }, scratch));
        CU_ASSERT(clock() - begin < 2 * CLOCKS_PER_SEC);
        pattern_free(pattern);
    }
    pattern_scratch_free(scratch);
    free(path);
}

SUITE(pattern, TEST(means_what_re2_means), TEST(refuses_what_re2_refuses), TEST(bounds_nesting),
      TEST(costs_no_more_than_the_path_is_long));
