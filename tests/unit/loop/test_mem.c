/* test_mem.c: the byte buffer, strings of either kind, and allocation that the process does not outlive. */
#include "culvert/culvert.h"
#include "culvert/mem.h"
#include "suite.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_buffer_gives_back_in_order_what_was_added(void)
{
    struct cv_buf b = { 0 };
    uint8_t in = 0, out = 0;
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < round; i++)
            cv_buf_add(&b, &(uint8_t){ in++ }, 1);
        size_t take = b.n / 3;
        for (size_t i = 0; i < take; i++)
            CU_ASSERT_EQUAL(b.p[i], out++);
        cv_buf_take_front(&b, take);
        CU_ASSERT_TRUE(b.n <= b.cap);
    }
    cv_buf_free(&b);
    CU_ASSERT_TRUE(!b.p && !b.n && !b.cap);
}

static void adding_nothing_needs_no_memory(void)
{
    struct cv_buf b = { 0 };
    cv_buf_add(&b, NULL, 0);
    cv_buf_take_front(&b, 0);
    CU_ASSERT_PTR_NULL(b.p);
}

static void reserved_room_is_there_and_not_yet_in_use(void)
{
    struct cv_buf b = { 0 };
    cv_buf_add(&b, "abc", 3);
    memset(cv_buf_reserve(&b, 1000), 'x', 1000);
    CU_ASSERT_EQUAL(b.n, 3);
    CU_ASSERT_EQUAL(memcmp(b.p, "abc", 3), 0);
    cv_buf_free(&b);
}

static void a_copy_ends_in_nul(void)
{
    char *s = cv_xmemdup0("abcdef", 3), *empty = cv_xmemdup0(NULL, 0);
    CU_ASSERT_STRING_EQUAL(s, "abc");
    CU_ASSERT_STRING_EQUAL(empty, "");
    free(s);
    free(empty);
}

static volatile size_t huge = SIZE_MAX / 2 + 2; /* times 2 it is 2 */

static void multiply(void)
{
    free(cv_xrealloc(NULL, huge, 2));
}

static void add(void)
{
    struct cv_buf b = { 0 };
    cv_buf_add(&b, "x", 1);
    cv_buf_reserve(&b, SIZE_MAX);
}

static void take_too_much(void)
{
    struct cv_buf b = { 0 };
    cv_buf_add(&b, "x", 1);
    cv_buf_take_front(&b, 2);
}

static bool aborts(void (*f)(void))
{
    pid_t child = fork();
    if (!child) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        f();
        _exit(0);
    }
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

static void a_string_is_copied_whole_or_not_at_all(void)
{
    char to[4] = "xyz";
    CU_ASSERT_TRUE(cv_str_copy(to, sizeof(to), CV_STR("abc")));
    CU_ASSERT_STRING_EQUAL(to, "abc");
    CU_ASSERT_FALSE(cv_str_copy(to, sizeof(to), CV_STR("abcd")));
    CU_ASSERT_STRING_EQUAL(to, "");
    CU_ASSERT_FALSE(cv_str_copy(to, sizeof(to), CV_STR("a\0c")));
    CU_ASSERT_STRING_EQUAL(to, "");
    CU_ASSERT_TRUE(cv_str_copy(to, sizeof(to), (struct cv_str){ NULL, 0 }));
    CU_ASSERT_STRING_EQUAL(to, "");
}

static void sizes_that_do_not_fit_end_the_process(void)
{
    CU_ASSERT_TRUE(aborts(multiply));
    CU_ASSERT_TRUE(aborts(add));
    CU_ASSERT_TRUE(aborts(take_too_much));
}

SUITE(mem, TEST(a_buffer_gives_back_in_order_what_was_added), TEST(adding_nothing_needs_no_memory),
      TEST(reserved_room_is_there_and_not_yet_in_use), TEST(a_copy_ends_in_nul),
      TEST(a_string_is_copied_whole_or_not_at_all), TEST(sizes_that_do_not_fit_end_the_process));
