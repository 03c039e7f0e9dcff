/* test_68_log.c: what stands in the log of requests, and that its level changes while the process runs. */
#include "scene.h"

#include "culvert/culvert.h"

#include <signal.h>
#include <stdio.h>

/* test_90_secrets.c looks for it */
#define QUERY_SECRET "query-5e0d9c2b61"

static bool level_becomes(struct scene *t, const char *wanted)
{
    for (long long until = now_in_ms() + PATIENCE_MS; now_in_ms() < until; sleep_ms(10)) {
        struct answer a = scene_operate(t, "GET", "/loglevel", NULL);
        bool is = strcmp(answer_text(&a), wanted) == 0;
        answer_free(&a);
        if (is)
            return true;
    }
    return false;
}

static void the_level_of_the_log_changes_while_it_runs(void)
{
    struct scene *t = scene_start(&(struct setup){ .transport = "http2" });
    struct answer a = scene_operate(t, "PUT", "/loglevel?level=error", NULL);
    CHECK_STATUS(a, 200);
    CHECK_HOLDS(answer_text(&a), "{\"level\":\"error\"}");
    answer_free(&a);
    CU_ASSERT_TRUE(process_says(t->culvert, "Log level is error now\n", PATIENCE_MS));
    process_forget(t->culvert);
    a = scene_get(t, "/");
    answer_free(&a);
    char *said = process_output(t->culvert);
    CU_ASSERT_STRING_EQUAL(said, "");
    free(said);
    process_signal(t->culvert, SIGUSR2);
    CU_ASSERT_TRUE(level_becomes(t, "{\"level\":\"debug\"}\n"));
    scene_stop(t);
}

static void a_request_is_a_line_at_level_debug_without_its_query(void)
{
    struct scene *t = scene_start(&(struct setup){ .transport = "http2" });
    struct answer a = scene_visit(t, "GET", "/v1/chat?api_key=" QUERY_SECRET, "Host: b.example\r\n", NULL, 0);
    CHECK_STATUS(a, 200);
    answer_free(&a);
    CU_ASSERT_TRUE(process_says(t->culvert, " DBG 200 OK ", PATIENCE_MS));
    char *said = process_output(t->culvert);
    CHECK_HOLDS(said, " DBG GET https://b.example/v1/chat HTTP/2.0 cfRay=");
    CHECK_HOLDS(said,
                " connIndex=0 content-length=0 event=1 host=b.example ingressRule=0 originService=http://");
    CHECK_HOLDS(said, " path=/v1/chat\n");
    free(said);
    scene_stop(t);
}

/* No control bytes but the end of a line, and all of it UTF-8. */
static bool is_clean(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        size_t more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc2 ? 1 : 0;
        if ((*p < ' ' && *p != '\n') || *p == 0x7f || (*p >= 0x80 && more == 0) ||
            (*p == 0xc2 && p[1] < 0xa0))
            return false;
        for (; more > 0; more--)
            if ((*++p & 0xc0) != 0x80)
                return false;
    }
    return true;
}

#define UGLY "\x1b[31m\xff\xfe\xc2\x9b"

static bool answers_ugly(struct http1 *h, void *unused)
{
    (void)unused;
    http1_sendf(h, "HTTP/1.1 200 " UGLY "\r\nContent-Length: " UGLY "\r\n\r\n");
    return false;
}

/* The edge's words, a configuration, what an origin says, what a visitor asks for. */
static void a_peer_s_bytes_do_no_harm_to_the_log(void)
{
    static const char *const outputs[] = { "--output default", "--output json" };
    for (each_transport(transport))
        for (size_t o = 0; o < 2; o++) {
            struct scene *t = scene_start(&(struct setup){ .transport = transport,
                                                           .flags = outputs[o],
                                                           .origin = answers_ugly,
                                                           .edge_flags = "--location " UGLY });
            struct answer a = scene_get(t, "/%0aINF%20forged");
            CHECK_STATUS(a, 502);
            answer_free(&a);
            a = scene_control(t, "POST", "/config?version=2", "{\"ingress\":\"" UGLY "\"}");
            answer_free(&a);
            CU_ASSERT_TRUE(process_says(t->culvert, "in string", PATIENCE_MS));
            char *said = process_output(t->culvert);
            CU_ASSERT_TRUE(is_clean(said));
            CHECK_HOLDS(said, "\\u001b[31m\\u00ff\\u00fe\\u00c2\\u009b");
            CHECK_HOLDS(said, "/%0aINF%20forged");
            CHECK_HOLDS(said, "invalid character '\\\\x1b' in string");
            free(said);
            scene_stop(t);
        }
}

SUITE(system_68_log, TEST(the_level_of_the_log_changes_while_it_runs),
      TEST(a_request_is_a_line_at_level_debug_without_its_query), TEST(a_peer_s_bytes_do_no_harm_to_the_log));
