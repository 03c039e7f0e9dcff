/* test_mask.c: who and with which password never stands in a URL that is shown. */
#include "culvert/mem.h"
#include "culvert/wire.h"
#include "suite.h"

#include <stdio.h>

static void users_and_passwords_of_urls_are_masked(void)
{
    static const char *const cases[][2] = {
        { "http://user:pass@a:80/x", "http://***@a:80/x" },
        { "from http://u@a to https://u:p@b?c=d@e", "from http://***@a to https://***@b?c=d@e" },
        { "http://p@ss@a", "http://***@a" },
        { "{\"service\":\"http://u:p@a\"},{\"service\":\"http://b\"}",
          "{\"service\":\"http://***@a\"},{\"service\":\"http://b\"}" },
        { "http://a/x@y", "http://a/x@y" },
        { "http://a mail@example.com", "http://a mail@example.com" },
        { "://@", "://@" },
        { "http://", "http://" },
        { "plain", "plain" },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_buf scratch = { 0 };
        struct cv_str out = cv_mask_urls(cv_str_of(cases[i][0]), &scratch);
        CU_ASSERT(cv_str_eq(out, cv_str_of(cases[i][1])));
        if (!cv_str_eq(out, cv_str_of(cases[i][1])))
            fprintf(stderr, "  %s: " CV_STR_FMT "\n", cases[i][0], CV_STR_ARG(out));
        cv_buf_free(&scratch);
    }
}

static void what_has_no_user_is_not_copied(void)
{
    struct cv_buf scratch = { 0 };
    struct cv_str text = CV_STR("to http://a/b");
    CU_ASSERT_PTR_EQUAL(cv_mask_urls(text, &scratch).p, text.p);
    CU_ASSERT_PTR_NULL(scratch.p);
}

SUITE(mask, TEST(users_and_passwords_of_urls_are_masked), TEST(what_has_no_user_is_not_copied));
