/* test_60_edge.c: an edge that misbehaves: broken frames and packets, connections that vanish while others serve. */
#include "scene.h"

#include <yyjson.h>

static void control(struct scene *t, const char *target, const char *body)
{
    struct answer a = scene_control(t, "POST", target, body);
    CHECK_STATUS(a, 200);
    answer_free(&a);
}

static int status_over(struct scene *t, int index)
{
    char fields[32];
    snprintf(fields, sizeof(fields), "X-Edge-Index: %d\r\n", index);
    struct answer a = scene_visit(t, "GET", "/", fields, NULL, 0);
    int status = a.status;
    answer_free(&a);
    return status;
}

/* ---- broken frames ------------------------------------------------------------------------------------ */

static const char *const broken_frames[] = {
    "000005 00 00 00000000 0102030405",                 /* DATA on stream 0                */
    "000001 06 00 00000000 00",                         /* PING of one byte                */
    "000005 04 00 00000000 0000000000",                 /* SETTINGS that are no multiple   */
    "ffffff 00 00 00000001",                            /* larger than was announced       */
    "000004 08 00 00000000 00000000",                   /* WINDOW_UPDATE by nothing        */
    "000004 08 00 00000000 7fffffff",                   /* and by too much                 */
    "000003 01 04 00001001 ffffff",                     /* HEADERS that HPACK cannot read  */
    "000004 03 00 00000000 00000000",                   /* RST_STREAM of the connection    */
    "000001 09 04 00000001 82",                         /* CONTINUATION of nothing         */
    "000005 05 04 00000001 0000000282",                 /* PUSH_PROMISE from a client      */
    "47455420 2f20 485454502f312e31 0d0a0d0a 00000000", /* HTTP/1.1                        */
};

static void a_broken_frame_costs_its_connection_and_no_other(void)
{
    struct scene *t =
        scene_start(&(struct setup){ .transport = "http2", .connections = 2, .flags = "--retries 0" });
    unsigned registered = 2;
    for (size_t i = 0; i < sizeof(broken_frames) / sizeof(broken_frames[0]); i++) {
        char query[80];
        control(t, "/raw?index=1", broken_frames[i]);
        for (int n = 0; n < 20; n++)
            CU_ASSERT_EQUAL(status_over(t, 0), 200);
        snprintf(query, sizeof(query), "registered=2&event=registered&count=%u&timeout=60s", ++registered);
        bool replaced = scene_wait(t, query);
        CU_ASSERT_TRUE_FATAL(replaced);
        CU_ASSERT_EQUAL(status_over(t, 1), 200);
    }
    scene_stop(t);
}

static const char *const broken_packets[] = {
    "00",
    "ff",
    "40 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "c0 00000001 00 00 00 4400 0102030405060708090a0b0c0d0e0f10",
    "c0 00000000 00 00",                                                   /* version negotiation        */
    "c0 aabbccdd 00 00 000102030405060708090a0b0c0d0e0f10111213",          /* a version that nobody has  */
    "f0 00000001 00 08 0001020304050607 00112233445566778899aabbccddeeff", /* Retry            */
    "80 00000000 08 0001020304050607 08 0001020304050607 00000001",
    "5f 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f",
};

static void packets_of_nobody_change_nothing(void)
{
    struct scene *t = scene_start(&(struct setup){ .transport = "quic", .connections = 2 });
    for (size_t i = 0; i < sizeof(broken_packets) / sizeof(broken_packets[0]); i++) {
        control(t, "/raw?index=1", broken_packets[i]);
        CU_ASSERT_EQUAL(status_over(t, 1), 200);
        CU_ASSERT_EQUAL(status_over(t, 0), 200);
    }
    CU_ASSERT_EQUAL(scene_seen(t, "registered"), 2);
    scene_stop(t);
}

/* ---- connections that vanish -------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

/* Milliseconds from the end of each connection to the registration of its successor, as the edge's log has them. */
static size_t outages(struct scene *t, long long *took, size_t max)
{
    long long ended[8] = { 0 };
    size_t found = 0;
    struct answer a = scene_control(t, "GET", "/log", NULL);
    for (char *line = (char *)a.body.p, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        yyjson_doc *doc = yyjson_read(line, (size_t)(end - line), 0);
        yyjson_val *o = yyjson_doc_get_root(doc);
        const char *event = yyjson_get_str(yyjson_obj_get(o, "event"));
        uint64_t index = yyjson_get_uint(yyjson_obj_get(o, "index"));
        long long ms = yyjson_get_sint(yyjson_obj_get(o, "ms"));
        if (event && index < 8 && strcmp(event, "ended") == 0)
            ended[index] = ms;
        else if (event && index < 8 && strcmp(event, "registered") == 0 && ended[index] && found < max)
            took[found++] = ms - ended[index];
        yyjson_doc_free(doc);
    }
    answer_free(&a);
    return found;
}

static void connections_that_the_edge_ends_are_back_in_a_second(void)
{
    static const char *const ways[] = { "index=all&how=fin", "index=2&how=goaway" };
    for (each_transport(transport)) {
        long long took[32];
        size_t n = 0;
        for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
            struct scene *t = scene_start(&(struct setup){ .transport = transport, .connections = 4 });
            char target[48], query[80];
            snprintf(target, sizeof(target), "/drop?%s", ways[i]);
            snprintf(query, sizeof(query), "registered=4&event=registered&count=%d&timeout=60s",
                     i == 0 ? 8 : 5);
            control(t, target, "");
            CU_ASSERT_TRUE(scene_wait(t, query));
            CU_ASSERT_EQUAL(status_over(t, 3), 200);
            n += outages(t, took + n, 32 - n);
            scene_stop(t);
        }
        CU_ASSERT_EQUAL(n, 5);
        qsort(took, n, sizeof(took[0]), by_value);
        long long median = n ? took[n / 2] : 0, worst = n ? took[n - 1] : 0;
        CU_ASSERT_TRUE(SANITIZED || (median < 2500 && worst < 5000));
        printf("[%s: median %lld ms, worst %lld ms] ", transport, median, worst);
    }
}

static void while_one_connection_is_lost_the_others_serve(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .connections = 2 });
        control(t, strcmp(transport, "quic") == 0 ? "/drop?index=0&how=fin" : "/drop?index=0&how=rst", "");
        for (int i = 0; i < 50; i++) {
            struct answer a = scene_get(t, "/");
            CHECK_STATUS(a, 200);
            answer_free(&a);
        }
        CU_ASSERT_TRUE(scene_wait(t, "registered=2&event=registered&count=3&timeout=60s"));
        struct answer a = scene_metrics(t, "/ready");
        CHECK_HOLDS(answer_text(&a), "\"status\":200");
        answer_free(&a);
        scene_stop(t);
    }
}

SUITE(system_60_edge, TEST(a_broken_frame_costs_its_connection_and_no_other),
      TEST(packets_of_nobody_change_nothing), TEST(connections_that_the_edge_ends_are_back_in_a_second),
      TEST(while_one_connection_is_lost_the_others_serve));
