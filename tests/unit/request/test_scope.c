/* test_scope.c: hosts and paths in every spelling. */
#include "culvert/culvert.h"
#include "suite.h"

#include <stdio.h>

static struct cv_list list_of(struct cv_str *v, const char *text)
{
    v[0] = cv_str_of(text);
    return (struct cv_list){ v, *text ? 1 : 0 };
}

static void hosts_match_whatever_their_spelling(void)
{
    static const struct {
        const char *pattern, *authority;
        bool in;
    } table[] = { { "", "any", true },
                  { "a.example", "a.example", true },
                  { "a.example", "A.Example:443", true },
                  { "a.example", "a.example.", true },
                  { "a.example", "a.example.:8080", true },
                  { "a.example", "b.a.example", false },
                  { "a.example", "a.example.evil", false },
                  { "*.example", "a.example", true },
                  { "*.example", "a.b.EXAMPLE", true },
                  { "*.example", "example", false },
                  { "*.example", "evilexample", false } };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct cv_str v[1];
        CU_ASSERT_EQUAL(cv_host_in(list_of(v, table[i].pattern), cv_str_of(table[i].authority)), table[i].in);
    }
}

static void no_spelling_of_a_path_gets_around(void)
{
    static const struct {
        const char *prefix, *path;
        bool in;
    } table[] = { { "", "/x", true },           { "/v1", "/v1", true },        { "/v1", "/v1/a?b", true },
                  { "/v1", "/v1?x", true },     { "/v1", "/v10", false },      { "/v1", "/x?/v1", false },
                  { "/v1", "//v1", true },      { "/v1", "/./v1", true },      { "/v1", "/x/../v1", true },
                  { "/v1", "/%76%31/a", true }, { "/v1", "/V1/a", true },      { "/v1", "/x/..%2fv1", true },
                  { "/v1", "\\v1", true },      { "/v1", "/x\\..\\v1", true }, { "/v1", "/%zz", true },
                  { "/v1", "/%7", true },       { "/v1/", "/v1", true },       { "/v1", "/../../v1/x", true },
                  { "/v1", "/v1/../x", false }, { "/", "/anything", true },    { "/v1", "*", true } };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct cv_str v[1];
        bool in = cv_path_in(list_of(v, table[i].prefix), cv_str_of(table[i].path));
        CU_ASSERT_EQUAL(in, table[i].in);
        if (in != table[i].in)
            fprintf(stderr, "  %s in %s\n", table[i].path, table[i].prefix);
    }
}

SUITE(scope, TEST(hosts_match_whatever_their_spelling), TEST(no_spelling_of_a_path_gets_around));
