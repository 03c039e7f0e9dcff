/* test_addresses.c: which address of the edge is handed out, and when the family changes: docs/protocol.md §5.3, §5.4. */
#include "suite.h"
#include "tunnel/addresses.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static struct addresses pool;
static uint32_t chance; /* what every random number is, if its bound allows */

static uint32_t random_below(void *arg, uint32_t below)
{
    (void)arg;
    return chance < below ? chance : below - 1;
}

static void begin(int only_family)
{
    pool = (struct addresses){ .only_family = only_family, .random = random_below };
    chance = 0;
}

/* "4 4 6": addresses of these families, different from all others. */
static void set(unsigned region, const char *families)
{
    struct sockaddr_storage addrs[16];
    size_t n = 0;
    memset(addrs, 0, sizeof(addrs));
    for (const char *f = families; *f; f++) {
        char ip[40];
        if (*f == ' ')
            continue;
        snprintf(ip, sizeof(ip), *f == '6' ? "2001:db8::%u:%zu" : "192.0.2.%u%zu", region + 1, n + 1);
        addrs[n].ss_family = *f == '6' ? AF_INET6 : AF_INET;
        inet_pton(addrs[n].ss_family, ip,
                  *f == '6' ? (void *)&((struct sockaddr_in6 *)&addrs[n])->sin6_addr
                            : (void *)&((struct sockaddr_in *)&addrs[n])->sin_addr);
        n++;
    }
    addresses_set(&pool, region, addrs, n);
}

static void end(void)
{
    for (unsigned r = 0; r < EDGE_REGIONS; r++)
        for (struct edge_addr *a = pool.regions[r].first; a; a = a->next)
            a->users = 0;
    addresses_clear(&pool);
}

static void takes_from_the_region_with_more_left(void)
{
    begin(AF_UNSPEC);
    set(0, "4 4");
    set(1, "4 4 4");
    unsigned order[] = { 1, 0, 1, 0, 1 }; /* 3:2, then the coin falls on the first, and so on */
    for (size_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(address_take(&pool, NULL)->region, order[i]);
    CU_ASSERT_PTR_NULL(address_take(&pool, NULL));
    end();
}

static void never_hands_out_the_one_that_just_failed(void)
{
    begin(AF_UNSPEC);
    set(0, "4 4");
    struct edge_addr *first = address_take(&pool, NULL);
    address_give_back(&pool, first, true, 0);
    struct edge_addr *second = address_take(&pool, first);
    CU_ASSERT_PTR_NOT_EQUAL(first, second);
    CU_ASSERT_PTR_NULL(address_take(&pool, first));
    CU_ASSERT_PTR_EQUAL(address_take(&pool, NULL), first); /* it is free for the next attempt */
    end();
}

static void a_shared_address_is_free_only_after_its_last_user(void)
{
    begin(AF_UNSPEC);
    set(0, "4");
    struct edge_addr *a = address_take(&pool, NULL);
    address_share(a);
    address_give_back(&pool, a, false, 0);
    CU_ASSERT_PTR_NULL(address_take(&pool, NULL));
    address_give_back(&pool, a, false, 0);
    CU_ASSERT_PTR_NOT_NULL(address_take(&pool, NULL));
    end();
}

static int family_of_next(void)
{
    struct edge_addr *a = address_take(&pool, NULL);
    if (!a)
        return 0;
    int family = a->addr.ss_family;
    address_give_back(&pool, a, false, 0);
    return family;
}

static void fail_one(int64_t now)
{
    struct edge_addr *a = address_take(&pool, NULL);
    address_give_back(&pool, a, true, now);
}

static void ipv6_that_fails_switches_to_ipv4_for_ten_minutes(void)
{
    begin(AF_UNSPEC);
    set(0, "6 6 4");
    CU_ASSERT_EQUAL(family_of_next(), AF_INET6);
    struct edge_addr *v6 = address_take(&pool, NULL), *other = address_take(&pool, NULL);
    address_give_back(&pool, v6, true, 1000);
    CU_ASSERT_EQUAL(family_of_next(), AF_INET);
    address_give_back(&pool, other, true, 1000 + 599999); /* IPv6 while IPv4 is active: not yet */
    CU_ASSERT_EQUAL(family_of_next(), AF_INET);
    address_share(other);
    address_give_back(&pool, other, true, 1000 + 600000);
    CU_ASSERT_EQUAL(family_of_next(), AF_INET6);
    end();
}

static void ipv4_that_fails_as_second_choice_switches_back_at_once(void)
{
    begin(AF_UNSPEC);
    set(0, "6 4 4");
    fail_one(0);
    CU_ASSERT_EQUAL(family_of_next(), AF_INET);
    fail_one(1);
    CU_ASSERT_EQUAL(family_of_next(), AF_INET6);
    end();
}

static void ipv4_that_fails_as_first_choice_changes_nothing(void)
{
    begin(AF_UNSPEC);
    set(0, "4 4 6");
    fail_one(0);
    CU_ASSERT_EQUAL(family_of_next(), AF_INET);
    end();
}

static void ipv6_without_ipv4_stays(void)
{
    begin(AF_UNSPEC);
    set(0, "6 6");
    fail_one(0);
    CU_ASSERT_EQUAL(family_of_next(), AF_INET6);
    end();
}

static void one_family_may_be_all_there_is(void)
{
    begin(AF_INET6);
    set(0, "4 6 4");
    CU_ASSERT_EQUAL(addresses_count(&pool), 1);
    CU_ASSERT_EQUAL(family_of_next(), AF_INET6);
    end();
}

static void a_new_list_keeps_what_is_in_use(void)
{
    begin(AF_UNSPEC);
    set(0, "4 4 4");
    struct edge_addr *a = address_take(&pool, NULL), *b = address_take(&pool, NULL);
    set(0, "4"); /* the first alone: a is known, b is not */
    CU_ASSERT_EQUAL(addresses_count(&pool), 1);
    CU_ASSERT(!a->stale);
    CU_ASSERT(b->stale);
    CU_ASSERT_PTR_NULL(address_take(&pool, NULL));
    address_give_back(&pool, b, false, 0); /* freed */
    set(0, "4 4");
    CU_ASSERT_EQUAL(addresses_count(&pool), 2);
    CU_ASSERT_PTR_NOT_NULL(address_take(&pool, NULL));
    end();
}

static void an_address_that_is_listed_twice_counts_twice(void)
{
    struct sockaddr_storage addrs[2];
    begin(AF_UNSPEC);
    memset(addrs, 0, sizeof(addrs));
    addrs[0].ss_family = addrs[1].ss_family = AF_INET;
    addresses_set(&pool, 0, addrs, 2);
    CU_ASSERT_EQUAL(addresses_count(&pool), 2);
    addresses_set(&pool, 0, addrs, 2);
    CU_ASSERT_EQUAL(addresses_count(&pool), 2);
    end();
}

SUITE(addresses, TEST(takes_from_the_region_with_more_left), TEST(never_hands_out_the_one_that_just_failed),
      TEST(a_shared_address_is_free_only_after_its_last_user),
      TEST(ipv6_that_fails_switches_to_ipv4_for_ten_minutes),
      TEST(ipv4_that_fails_as_second_choice_switches_back_at_once),
      TEST(ipv4_that_fails_as_first_choice_changes_nothing), TEST(ipv6_without_ipv4_stays),
      TEST(one_family_may_be_all_there_is), TEST(a_new_list_keeps_what_is_in_use),
      TEST(an_address_that_is_listed_twice_counts_twice));
