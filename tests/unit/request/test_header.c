/* test_header.c: what a name may consist of, and how names are written. */
#include "culvert/wire.h"
#include "suite.h"

#include <ctype.h>
#include <string.h>

static void tells_tokens_from_everything_else(void)
{
    for (int i = 0; i < 256; i++) {
        char c = (char)i;
        bool expected = i < 128 && (isalnum(i) || (i && strchr("!#$%&'*+-.^_`|~", i)));
        if (cv_is_token((struct cv_str){ &c, 1 }) != expected)
            CU_FAIL("one byte is judged wrongly");
    }
    CU_ASSERT_TRUE(cv_is_token(CV_STR("X-Request-Id")));
    CU_ASSERT_FALSE(cv_is_token(CV_STR("X-Request Id")));
    CU_ASSERT_FALSE(cv_is_token(CV_STR("")));
}

static void writes_names_as_go_does(void)
{
    static const char *const names[][2] = {
        { "content-type", "Content-Type" }, { "CF-RAY", "Cf-Ray" },         { "-a--b", "-A--B" },
        { "x_y.z-1a", "X_y.z-1a" },         { "not a-name", "not a-name" }, { "", "" },
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char out[32] = { 0 };
        cv_canonical_name(cv_str_of(names[i][0]), out);
        CU_ASSERT_STRING_EQUAL(out, names[i][1]);
    }
}

SUITE(header, TEST(tells_tokens_from_everything_else), TEST(writes_names_as_go_does));
