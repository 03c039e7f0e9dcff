/* test_80_netem.c: a whole tunnel over a network that loses, delays, blocks, breaks and changes. */
#include "scene.h"

#include <stdio.h>

static void check_bytes(struct scene *t, unsigned n)
{
    char target[32];
    snprintf(target, sizeof(target), "/bytes/%u", n);
    struct answer a = scene_get(t, target);
    CHECK_STATUS(a, 200);
    CU_ASSERT_EQUAL(a.end, 0);
    CU_ASSERT_EQUAL(a.body.n, n);
    CU_ASSERT_EQUAL(hash_more(HASH_BEGIN, a.body.p, a.body.n), pattern_hash(n));
    answer_free(&a);
}

static void check_upload(struct scene *t, unsigned n)
{
    char sum[64];
    unsigned char *body = cv_xmalloc(n);
    pattern_fill(body, n, 0);
    snprintf(sum, sizeof(sum), "%u ", n);
    struct answer a = scene_visit(t, "POST", "/sum", NULL, body, n);
    CHECK_STATUS(a, 200);
    CHECK_HOLDS(answer_text(&a), sum);
    answer_free(&a);
    free(body);
}

static void loss_and_delay_cost_time_and_nothing_else(void)
{
    enum { DOWN = 300000, UP = 100000, REQUESTS = 10 };
    struct wire *wire = wire_start();
    if (!wire)
        return;
    wire_delay(wire, 50,
               50); /* each way: a round trip of 100 ms, and each packet one chance in 20 to get lost */
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .connections = 2, .wire = wire });
        long long began = now_in_ms();
        for (int i = 0; i < REQUESTS; i++)
            check_bytes(t, 100);
        long long asked = now_in_ms();
        check_bytes(t, DOWN);
        long long got = now_in_ms();
        check_upload(t, UP);
        printf("[%s: request %lld ms, %lld KB/s down, %lld KB/s up] ", transport, (asked - began) / REQUESTS,
               DOWN / (got - asked), UP / (now_in_ms() - got));
        CU_ASSERT_TRUE(asked - began >= REQUESTS * 100); /* it is the wire that is tested */
        CU_ASSERT_TRUE(SANITIZED || asked - began < REQUESTS * 1000);
        CU_ASSERT_TRUE(SANITIZED || got - asked < 15000);
        CU_ASSERT_EQUAL(scene_seen(t, "registered"), 2);
        scene_stop(t);
    }
    wire_stop(wire);
}

static void with_udp_blackholed_auto_reaches_http2_within_ten_seconds(void)
{
    struct wire *wire = wire_start();
    if (!wire)
        return;
    wire_block_udp(wire, true);
    long long began = now_in_ms();
    struct scene *t = scene_start(&(struct setup){ .transport = "auto", .connections = 4, .wire = wire });
    long long took = now_in_ms() - began;
    printf("[%lld ms] ", took);
    CU_ASSERT_TRUE(SANITIZED || took < 10000);
    CU_ASSERT_EQUAL(process_count(t->culvert, "location=sim01 protocol=http2"), 4);
    CU_ASSERT_EQUAL(process_count(t->culvert, "protocol=quic"), 0);
    check_bytes(t, 10000);
    scene_stop(t);
    wire_stop(wire);
}

/* Longer than both transports wait for a sign of life: each connection is given up, and so are attempts. */
static void after_a_partition_it_is_back_in_seconds(void)
{
    struct wire *wire = wire_start();
    if (!wire)
        return;
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .connections = 2, .wire = wire });
        wire_cut(wire, true);
        sleep_ms(12000);
        CU_ASSERT_EQUAL(process_count(t->culvert, "Connection terminated"), 2);
        long long healed = now_in_ms();
        wire_cut(wire, false);
        CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=3&timeout=60s"));
        long long first = now_in_ms() - healed;
        CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=4&timeout=60s"));
        printf("[%s: %lld ms, all %lld ms] ", transport, first, now_in_ms() - healed);
        CU_ASSERT_TRUE(SANITIZED || first < 5000);
        check_bytes(t, 10000);
        scene_stop(t);
    }
    wire_stop(wire);
}

static void a_new_address_means_new_connections_at_once(void)
{
    struct wire *wire = wire_start();
    if (!wire)
        return;
    const char *addresses[] = { "10.77.0.3", "10.77.0.4" }, **address = addresses;
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .connections = 4, .wire = wire });
        long long moved = now_in_ms();
        wire_move(wire, *address++);
        CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=8&timeout=60s"));
        printf("[%s: %lld ms] ", transport, now_in_ms() - moved);
        CU_ASSERT_TRUE(SANITIZED || now_in_ms() - moved < 3000);
        check_bytes(t, 10000);
        scene_stop(t);
    }
    wire_stop(wire);
}

SUITE(system_80_netem, TEST(loss_and_delay_cost_time_and_nothing_else),
      TEST(with_udp_blackholed_auto_reaches_http2_within_ten_seconds),
      TEST(after_a_partition_it_is_back_in_seconds), TEST(a_new_address_means_new_connections_at_once));
