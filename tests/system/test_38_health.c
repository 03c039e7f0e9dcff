/* test_38_health.c: origins that are down get no requests, whether requests or checks found it out. */
#include "scene.h"

#include <stdatomic.h>
#include <stdio.h>

static atomic_bool well;
static atomic_uint checks, visits;

/* While it is not well, visitors are cut off and checks answered 500. */
static bool moody(struct http1 *h, void *unused)
{
    (void)unused;
    bool check = strcmp(h->target, "/health") == 0;
    atomic_fetch_add(check ? &checks : &visits, 1);
    if (check)
        return origin_text(h, atomic_load(&well) ? 200 : 500, "");
    return atomic_load(&well) && origin_text(h, 200, "fine");
}

static void is_down(struct answer *a)
{
    CHECK_STATUS(*a, 503);
    CHECK_HOLDS(a->head, "\r\nCulvert-Error: origin_down\r\n");
    CHECK_HOLDS(a->head, "\r\nRetry-After: ");
    CHECK_HOLDS(answer_text(a), "\"code\":\"origin_down\"");
    answer_free(a);
}

static bool says(struct scene *t, int status)
{
    for (long long until = now_in_ms() + PATIENCE_MS; now_in_ms() < until; sleep_ms(10)) {
        struct answer a = scene_get(t, "/v1/models");
        bool so = a.status == status;
        answer_free(&a);
        if (so)
            return true;
    }
    return false;
}

static bool up_is(struct scene *t, int value)
{
    char series[96];
    snprintf(series, sizeof(series), "culvert_origin_up{service=\"http://127.0.0.1:%u\"}",
             origin_port(t->origin));
    return scene_counts(t, series, value);
}

static void requests_find_out(void)
{
    for (each_transport(transport)) {
        atomic_store(&well, true);
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport,
                             .connections = 2,
                             .origin = moody,
                             .ini = "[culvert]\nworkers = 2\n[health]\nfailures = 3\nretry = 1s\n" });
        CU_ASSERT_TRUE(says(t, 200));
        CU_ASSERT_TRUE(up_is(t, 1));
        atomic_store(&well, false);
        for (int i = 0; i < 3; i++) {
            struct answer a = scene_get(t, "/v1/models");
            CHECK_STATUS(a, 502);
            answer_free(&a);
        }
        CU_ASSERT_TRUE(process_says(t->culvert, "Origin is down", PATIENCE_MS));
        atomic_store(&visits, 0);
        struct answer a = scene_get(t, "/v1/models");
        is_down(&a);
        CU_ASSERT_EQUAL(atomic_load(&visits), 0);
        CU_ASSERT_TRUE(up_is(t, 0));
        atomic_store(&well, true);
        CU_ASSERT_TRUE(says(t, 200));
        CU_ASSERT_EQUAL(atomic_load(&visits), 1);
        CU_ASSERT_TRUE(up_is(t, 1));
        scene_stop(t);
    }
}

static void checks_find_out_before_anybody_asks(void)
{
    for (each_transport(transport)) {
        atomic_store(&well, false);
        atomic_store(&visits, 0);
        struct scene *t = scene_start(&(struct setup){
            .transport = transport,
            .origin = moody,
            .ini =
                "[culvert]\nworkers = 2\n[health]\ninterval = 100ms\npath = /health\nfall = 2\nrise = 2\n" });
        CU_ASSERT_TRUE(process_says(t->culvert, "Origin is down", PATIENCE_MS));
        struct answer a = scene_get(t, "/v1/models");
        is_down(&a);
        CU_ASSERT_EQUAL(atomic_load(&visits), 0);
        for (int flaps = 0; flaps < 2; flaps++) {
            atomic_store(&well, true);
            CU_ASSERT_TRUE(says(t, 200));
            atomic_store(&well, false);
            CU_ASSERT_TRUE(says(t, 503));
        }
        CU_ASSERT_TRUE(up_is(t, 0));
        scene_stop(t);
    }
}

static bool stop_counting(atomic_uint *count)
{
    for (int i = 0; i < 50; i++) {
        unsigned before = atomic_load(count);
        sleep_ms(400);
        if (atomic_load(count) == before)
            return true;
    }
    return false;
}

static void a_service_that_is_no_longer_named_is_no_longer_checked(void)
{
    atomic_store(&well, false);
    atomic_store(&checks, 0);
    struct scene *t = scene_start(&(struct setup){
        .transport = "http2", .origin = moody, .ini = "[health]\ninterval = 100ms\npath = /health\n" });
    CU_ASSERT_TRUE(process_says(t->culvert, "Origin is down", PATIENCE_MS));
    struct answer a =
        scene_control(t, "POST", "/config?version=100", "{\"ingress\":[{\"service\":\"http_status:404\"}]}");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    CU_ASSERT_TRUE(stop_counting(&checks));
    CU_ASSERT_TRUE(up_is(t, 1)); /* nothing is held against it */
    char *rules;
    scene_rules(t, "{\"ingress\":[{\"service\":\"$ORIGIN\"}]}", &rules);
    a = scene_control(t, "POST", "/config?version=101", rules);
    free(rules);
    CHECK_STATUS(a, 200);
    answer_free(&a);
    process_forget(t->culvert);
    CU_ASSERT_TRUE(process_says(t->culvert, "Origin is down", PATIENCE_MS));
    scene_stop(t);
}

static bool is_checked(struct scene *t, const char *service, const char *result)
{
    char series[192];
    snprintf(series, sizeof(series), "culvert_origin_checks_total{service=\"%s\",result=\"%s\"}", service,
             result);
    for (long long until = now_in_ms() + PATIENCE_MS; now_in_ms() < until; sleep_ms(10))
        if (scene_metric(t, series) >= 1)
            return true;
    return false;
}

static void every_kind_of_service_is_checked_as_visitors_reach_it(void)
{
    char tcp[64];
    struct scene *t =
        scene_start(&(struct setup){ .transport = "quic", .ini = "[health]\ninterval = 100ms\n" });
    snprintf(tcp, sizeof(tcp), "tcp://127.0.0.1:%u", origin_port(t->origin));
    char rules[512];
    snprintf(rules, sizeof(rules),
             "{\"ingress\":[{\"hostname\":\"t.example\",\"service\":\"%s\"},{\"hostname\":\"u.example\","
             "\"service\":"
             "\"unix:/nonexistent/s\"},{\"hostname\":\"s.example\",\"service\":\"https://127.0.0.1:%u\"},"
             "{\"service\":\"http_status:404\"}]}",
             tcp, origin_port(t->origin));
    struct answer a = scene_control(t, "POST", "/config?version=100", rules);
    CHECK_STATUS(a, 200);
    answer_free(&a);
    CU_ASSERT_TRUE(is_checked(t, tcp, "passed"));
    CU_ASSERT_TRUE(is_checked(t, "unix:/nonexistent/s", "failed"));
    snprintf(tcp, sizeof(tcp), "https://127.0.0.1:%u", origin_port(t->origin));
    CU_ASSERT_TRUE(is_checked(t, tcp, "failed")); /* it speaks no TLS */
    CU_ASSERT_EQUAL((int)scene_metric(t, "cloudflared_tunnel_total_requests"), 0);
    scene_stop(t);
}

SUITE(system_38_health, TEST(every_kind_of_service_is_checked_as_visitors_reach_it), TEST(requests_find_out),
      TEST(checks_find_out_before_anybody_asks),
      TEST(a_service_that_is_no_longer_named_is_no_longer_checked));
