/* test_failover.c: when the second tunnel takes over and stands back, with the clock turned by hand. */
#include "suite.h"
#include "tunnel/failover.h"

static const struct failover_conf standby = { .after = { 30000 }, .back = { 60000 } },
                                  hot = { .mode = FAILOVER_HOT, .after = { 30000 }, .back = { 60000 } },
                                  hot_overlap = { .mode = FAILOVER_HOT, .overlap = true };

static void takes_over_when_the_first_has_been_down_for_so_long(void)
{
    struct failover f;
    failover_begin(&f, 1000);
    CU_ASSERT_EQUAL(failover_next(&f, &standby), 31000);
    CU_ASSERT_FALSE(failover_look(&f, &standby, false, 30999));
    CU_ASSERT_FALSE(failover_wants_second(&f, &standby));
    CU_ASSERT_TRUE(failover_look(&f, &standby, false, 31000));
    CU_ASSERT_TRUE(failover_wants_second(&f, &standby));
    CU_ASSERT_EQUAL(failover_next(&f, &standby), INT64_MAX);
    CU_ASSERT_FALSE(failover_look(&f, &standby, false, 99000));
}

static void a_first_that_comes_and_goes_begins_anew(void)
{
    struct failover f;
    failover_begin(&f, 0);
    CU_ASSERT_FALSE(failover_look(&f, &standby, true, 1000));
    CU_ASSERT_EQUAL(failover_next(&f, &standby), INT64_MAX);
    CU_ASSERT_FALSE(failover_look(&f, &standby, false, 50000));
    CU_ASSERT_FALSE(failover_look(&f, &standby, true, 79999));
    CU_ASSERT_FALSE(failover_look(&f, &standby, false, 80000));
    CU_ASSERT_EQUAL(failover_next(&f, &standby), 110000);
    CU_ASSERT_TRUE(failover_look(&f, &standby, false, 110000));
    CU_ASSERT_FALSE(failover_look(&f, &standby, true, 120000));
    CU_ASSERT_FALSE(failover_look(&f, &standby, false, 150000));
    CU_ASSERT_FALSE(failover_look(&f, &standby, true, 160000));
    CU_ASSERT_EQUAL(failover_next(&f, &standby), 220000);
    CU_ASSERT_TRUE(failover_wants_second(&f, &standby));
    CU_ASSERT_TRUE(failover_look(&f, &standby, true, 220000));
    CU_ASSERT_FALSE(failover_wants_second(&f, &standby));
}

static void a_hot_second_serves_at_once_but_not_before_the_first_could(void)
{
    struct failover f;
    failover_begin(&f, 0);
    CU_ASSERT_TRUE(failover_wants_second(&f, &hot));
    CU_ASSERT_FALSE(failover_look(&f, &hot, false, 29999));
    CU_ASSERT_FALSE(failover_look(&f, &hot, true, 29999));
    CU_ASSERT_TRUE(failover_look(&f, &hot, false, 30000));
    CU_ASSERT_FALSE(failover_look(&f, &hot, true, 40000));
    CU_ASSERT_TRUE(failover_look(&f, &hot, true, 100000));
}

static void a_hot_second_yields_while_the_first_is_up_and_did_not_just_come(void)
{
    struct failover f;
    failover_begin(&f, 0);
    CU_ASSERT_FALSE(failover_yields(&f, &hot));
    failover_look(&f, &hot, true, 1000);
    CU_ASSERT_TRUE(failover_yields(&f, &hot));
    CU_ASSERT_FALSE(failover_yields(&f, &hot_overlap));
    CU_ASSERT_FALSE(failover_yields(&f, &standby));
    failover_look(&f, &hot, false, 2000);
    CU_ASSERT_FALSE(failover_yields(&f, &hot));
    failover_look(&f, &hot, true, 3000);
    CU_ASSERT_FALSE(failover_yields(&f, &hot));
    failover_look(&f, &hot, true, 63000);
    CU_ASSERT_TRUE(failover_yields(&f, &hot));
}

SUITE(failover, TEST(takes_over_when_the_first_has_been_down_for_so_long),
      TEST(a_first_that_comes_and_goes_begins_anew),
      TEST(a_hot_second_serves_at_once_but_not_before_the_first_could),
      TEST(a_hot_second_yields_while_the_first_is_up_and_did_not_just_come));
