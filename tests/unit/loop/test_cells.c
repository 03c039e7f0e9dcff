/* test_cells.c: memory that all threads count in is found again by section and key. */
#include "loop/loop.h"
#include "suite.h"

#include <stdio.h>

static const struct cv_module module = { .name = "m" };
static const struct cv_instance one = { &module, "m one", 1, 0 }, again = { &module, "m one", 2, 0 },
                                two = { &module, "m two", 3, 0 };

static uint64_t *cell(const struct cv_instance *i, const char *key)
{
    return cv_cell(&(const struct cv_self){ .instance = i }, cv_str_of(key), sizeof(uint64_t));
}

static void a_key_has_one_cell_a_section(void)
{
    uint64_t *a = cell(&one, "a");
    CU_ASSERT_EQUAL(*a, 0);
    *a = 7;
    CU_ASSERT_PTR_EQUAL(cell(&one, "a"), a);
    CU_ASSERT_PTR_EQUAL(cell(&again, "a"), a);
    CU_ASSERT_PTR_NOT_EQUAL(cell(&two, "a"), a);
    CU_ASSERT_PTR_NOT_EQUAL(cell(&one, "b"), a);
    cells_free();
    CU_ASSERT_EQUAL(*cell(&one, "a"), 0);
    cells_free();
}

static void too_many_keys_share_one_cell(void)
{
    char key[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        cell(&one, key);
    }
    uint64_t *k5 = cell(&one, "k5"), *other = cell(&one, "new");
    CU_ASSERT_PTR_NOT_EQUAL(k5, other);
    CU_ASSERT_PTR_EQUAL(cell(&one, "newer"), other);
    CU_ASSERT_PTR_EQUAL(cell(&one, "k5"), k5);
    CU_ASSERT_PTR_NOT_EQUAL(cell(&two, "newer"), other);
    cells_free();
}

SUITE(cells, TEST(a_key_has_one_cell_a_section), TEST(too_many_keys_share_one_cell));
