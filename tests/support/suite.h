/* suite.h: how a file of tests joins the one test program.
 *
 *     static void reads_what_it_wrote(void)
 *     {
 *         CU_ASSERT_EQUAL(…);
 *     }
 *
 *     SUITE(capnp, TEST(reads_what_it_wrote), TEST(refuses_a_loop));
 *
 * SUITE stands at the end of the file and registers it before main() runs. A test's full name is
 * `suite/test`; the program runs the tests whose full name begins with one of its arguments, or all.
 * The working directory is the top of the tree; what make built lies under SUITE_BUILD. */
#ifndef SUITE_H
#define SUITE_H
#include <CUnit/CUnit.h>
#include <stddef.h>

struct suite_test {
    const char *name;
    void (*run)(void);
};

struct suite {
    const char *name;
    const struct suite_test *tests;
    size_t n;
    struct suite *next; /* suite.c's list, by name */
};

void suite_add(struct suite *suite);

/* From a test, which then returns: this machine has not got what the test needs; says what. The run counts and names it. */
void suite_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define TEST(function)                                                                                       \
    {                                                                                                        \
        .name = #function, .run = (function)                                                                 \
    }
#define SUITE(id, ...)                                                                                       \
    static const struct suite_test suite_tests_##id[] = { __VA_ARGS__ };                                     \
    static struct suite suite_##id = { .name = #id,                                                          \
                                       .tests = suite_tests_##id,                                            \
                                       .n = sizeof suite_tests_##id / sizeof suite_tests_##id[0] };          \
    __attribute__((constructor)) static void suite_add_##id(void)                                            \
    {                                                                                                        \
        suite_add(&suite_##id);                                                                              \
    }                                                                                                        \
    struct suite

#endif
