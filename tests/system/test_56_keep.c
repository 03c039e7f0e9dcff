/* test_56_keep.c: what visitors have under way while tokens change, connections are dropped and the edge starts anew. */
#include "scene.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

static const char token_json[] = "{\"a\":\"0123456789abcdef0123456789abcdef\",\"s\":\"%s\","
                                 "\"t\":\"f47ac10b-58cc-4372-a567-0e02b2c3d479\"}";

/* As an operator should do it: there is never half a token in the file. */
static void put_token(const char *path, const char *secret)
{
    char json[256], token[400], fresh[96];
    int n = snprintf(json, sizeof(json), token_json, secret);
    EVP_EncodeBlock((unsigned char *)token, (unsigned char *)json, n);
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    FILE *f = fopen(fresh, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(token, f);
    fclose(f);
    CU_ASSERT_EQUAL(rename(fresh, path), 0);
}

static void control(struct scene *t, const char *target)
{
    struct answer a = scene_control(t, "POST", target, "");
    CHECK_STATUS(a, 200);
    answer_free(&a);
}

/* ---- requests under way ----------------------------------------------------------------------------------------- */

static void open_upload(struct scene *t, struct http1 *h, unsigned index)
{
    char fields[64];
    snprintf(fields, sizeof(fields), "X-Edge-Index: %u\r\nContent-Length: 4\r\n", index);
    CU_ASSERT_TRUE(scene_open(t, h, "POST", "/echo", fields));
    CU_ASSERT_TRUE(http1_send(h, "la", 2));
}

static bool finish_upload(struct http1 *h)
{
    struct cv_buf body = { 0 };
    bool ok = http1_send(h, "te", 2) && http1_answer(h, "POST") && h->status == 200 &&
              http1_read_all(h, &body) == 0 && body.n == 4 && memcmp(body.p, "late", 4) == 0;
    cv_buf_free(&body);
    http1_close(h);
    return ok;
}

static void wait_for_requests(struct scene *t, unsigned n)
{
    for (int i = 0; i < 1000 && origin_requests(t->origin) < n; i++)
        sleep_ms(5);
    CU_ASSERT_EQUAL(origin_requests(t->origin), n);
}

/* Asks until the edge has seen that many registrations; every answer must be right. */
static unsigned ask_until_registered(struct scene *t, unsigned n)
{
    unsigned asked = 0;
    for (long long until = now_in_ms() + PATIENCE_MS; now_in_ms() < until && scene_seen(t, "registered") < n;
         asked++) {
        struct answer a = scene_get(t, "/");
        CHECK_STATUS(a, 200);
        answer_free(&a);
    }
    CU_ASSERT_EQUAL(scene_seen(t, "registered"), n);
    return asked;
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void a_new_token_costs_no_request_and_a_broken_one_nothing(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/tmp/culvert-token-%d", (int)getpid());
    for (each_transport(transport)) {
        put_token(path, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .connections = 4, .token_file = path });
        struct http1 slow[4];
        for (unsigned i = 0; i < 4; i++)
            open_upload(t, &slow[i], i);
        wait_for_requests(t, 4);
        put_token(path, "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        CU_ASSERT_TRUE(ask_until_registered(t, 8) > 0);
        for (unsigned i = 0; i < 4; i++)
            CU_ASSERT_TRUE(finish_upload(&slow[i]));
        put_token(path, "not base64!");
        CU_ASSERT_TRUE(process_says(t->culvert, "the old one stays in use", PATIENCE_MS));
        CU_ASSERT_EQUAL(scene_seen(t, "registered"), 8);
        scene_stop(t);
    }
    unlink(path);
}

static void one_lost_connection_costs_only_what_it_carried(void)
{
    enum { N = 40 };
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .connections = 4 });
        struct http1 slow[N];
        unsigned lost = 0;
        for (unsigned i = 0; i < N; i++)
            open_upload(t, &slow[i], i % 4);
        wait_for_requests(t, N);
        control(t, "/drop?index=1&how=rst");
        ask_until_registered(t, 5);
        for (unsigned i = 0; i < N; i++)
            lost += !finish_upload(&slow[i]);
        CU_ASSERT_EQUAL(lost, N / 4);
        scene_stop(t);
    }
}

static void connections_that_are_told_to_go_finish_what_they_carry(void)
{
    enum { N = 40 };
    struct scene *t = scene_start(&(struct setup){ .transport = "http2", .connections = 4 });
    struct http1 slow[N];
    for (unsigned i = 0; i < N; i++)
        open_upload(t, &slow[i], i % 4);
    wait_for_requests(t, N);
    long long began = now_in_ms();
    control(t, "/drop?index=all&how=goaway");
    CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=8&timeout=60s"));
    CU_ASSERT_TRUE(SANITIZED || now_in_ms() - began < 5000);
    for (unsigned i = 0; i < N; i++)
        CU_ASSERT_TRUE(finish_upload(&slow[i]));
    scene_stop(t);
}

/* It vanishes without a word, as in a power cut of which only the ports are left. */
static void an_edge_that_starts_anew_has_all_connections_in_seconds(void)
{
    for (each_transport(transport)) {
        struct setup setup = { .transport = transport, .connections = 4 };
        struct scene *t = scene_start(&setup);
        scene_restart_edge(t, &setup);
        long long began = now_in_ms();
        CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=4&timeout=60s"));
        long long took = now_in_ms() - began;
        printf("[%s: %lld ms] ", transport, took);
        CU_ASSERT_TRUE(SANITIZED || took < (strcmp(transport, "quic") == 0 ? 9000 : 5000));
        struct answer a = scene_get(t, "/bytes/10000");
        CHECK_STATUS(a, 200);
        CU_ASSERT_EQUAL(a.body.n, 10000);
        answer_free(&a);
        scene_stop(t);
    }
}

SUITE(system_56_keep, TEST(a_new_token_costs_no_request_and_a_broken_one_nothing),
      TEST(one_lost_connection_costs_only_what_it_carried),
      TEST(connections_that_are_told_to_go_finish_what_they_carry),
      TEST(an_edge_that_starts_anew_has_all_connections_in_seconds));
