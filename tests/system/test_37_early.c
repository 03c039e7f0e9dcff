/* test_37_early.c: event streams whose head comes before the origin's answer. */
#include "scene.h"

static const char ini[] = "[sse]\nheartbeat = 50ms\nearly_head = 100ms\n";
static const char fields[] = "Content-Type: application/json\r\nContent-Length: 33\r\n";
static const char question[] = "{\"messages\":[\"a\"],\"stream\": true}";

/* Thinks until it is told to go on; what it then says is by the path. */
static bool think(struct http1 *h, void *go_on)
{
    struct cv_buf body = { 0 };
    bool whole = http1_read_all(h, &body) == 0 && body.n == strlen(question);
    cv_buf_free(&body);
    if (!whole || !sem_within(go_on, PATIENCE_MS))
        return false;
    if (strcmp(h->target, "/v1/messages") == 0)
        return http1_sendf(
            h, "HTTP/1.1 529 Busy\r\nContent-Type: application/json\r\nContent-Length: 67\r\n\r\n"
               "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n");
    if (strcmp(h->target, "/v1/dies") == 0)
        return false;
    return http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
                          "data: one\n\ndata: [DONE]\n\n") &&
           false;
}

static void ask(struct scene *t, struct http1 *h, const char *target)
{
    CU_ASSERT_TRUE_FATAL(scene_open(t, h, "POST", target, fields));
    CU_ASSERT_TRUE_FATAL(http1_send(h, question, strlen(question)));
}

static void hears(struct http1 *h, const char *part)
{
    struct cv_buf body = { 0 };
    CU_ASSERT_EQUAL(http1_read_all(h, &body), 0);
    cv_buf_add(&body, "", 1);
    CHECK_HOLDS((char *)body.p, part);
    cv_buf_free(&body);
    http1_close(h);
}

static void the_head_is_there_while_the_origin_thinks(void)
{
    static const struct {
        const char *target, *sign, *end;
    } cases[] = { { "/v1/chat/completions", ":\n\n", "data: one\n\ndata: [DONE]\n\n" },
                  { "/v1/messages", "event: ping\n",
                    "\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"" },
                  { "/v1/dies", ":\n\n",
                    "data: {\"error\":{\"message\":\"The request could not be served: " } };
    for (each_transport(transport)) {
        sem_t go_on;
        sem_init(&go_on, 0, 0);
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .origin = think, .origin_arg = &go_on, .ini = ini });
        for (size_t i = 0; i < 3; i++) {
            struct http1 h;
            char sign[16] = "";
            ask(t, &h, cases[i].target);
            CU_ASSERT_TRUE_FATAL(http1_answer(&h, "POST"));
            CU_ASSERT_EQUAL(h.status, 200);
            CHECK_HOLDS(h.head, "\r\nContent-Type: text/event-stream\r\n");
            CU_ASSERT_TRUE(http1_read(&h, sign, strlen(cases[i].sign)) > 0);
            CU_ASSERT_EQUAL(strncmp(sign, cases[i].sign, strlen(sign)), 0);
            sem_post(&go_on);
            hears(&h, cases[i].end);
        }
        CU_ASSERT_TRUE(scene_counts(t, "culvert_sse_early_heads_total", 3));
        scene_stop(t);
        sem_destroy(&go_on);
    }
}

static void a_visitor_who_leaves_meanwhile_leaves_nothing(void)
{
    for (each_transport(transport)) {
        sem_t go_on;
        sem_init(&go_on, 0, 0);
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .origin = think, .origin_arg = &go_on, .ini = ini });
        struct http1 h;
        ask(t, &h, "/v1/chat/completions");
        CU_ASSERT_TRUE_FATAL(http1_answer(&h, "POST"));
        http1_reset(&h);
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_tunnel_concurrent_requests_per_tunnel", 0));
        sem_post(&go_on);
        scene_stop(t);
        sem_destroy(&go_on);
    }
}

SUITE(system_37_early, TEST(the_head_is_there_while_the_origin_thinks),
      TEST(a_visitor_who_leaves_meanwhile_leaves_nothing));
