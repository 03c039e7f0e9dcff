/* test_74_sdk.c: the SDKs of two language model APIs as visitors: answers, streams, errors, aborts (tests/sdk). */
#include "real.h"
#include "scene.h"

#include <unistd.h>

static void check_sdks(const char *transport)
{
    struct scene *t =
        scene_start(&(struct setup){ .transport = transport, .ini = "[sse]\nheartbeat = 50ms\n" });
    struct process *mock = real_start("exec node tests/sdk/mock.mjs");
    unsigned port = real_told_port(mock);
    char rules[128];
    snprintf(rules, sizeof(rules), "{\"ingress\":[{\"service\":\"http://127.0.0.1:%u\"}]}", port);
    CU_ASSERT_TRUE_FATAL(scene_push(t, 2, rules));
    char *said = real_run("exec node tests/sdk/check.mjs %s 127.0.0.1:%u", t->front, port);
    CHECK_HOLDS(said, "all is well\n");
    for (char *at = said; (at = strstr(at, "aborts reach")); at++)
        printf("[%s: %.*s] ", transport, (int)strcspn(at, "\n"), at);
    free(said);
    scene_stop(t);
    process_end(mock, 0);
}

static void sdks_are_answered_streamed_to_refused_and_heard_when_they_leave(void)
{
    if (real_lacks("node"))
        return;
    if (access("build/peers/sdk/node_modules", F_OK) != 0) {
        suite_skip("the npm packages of tests/sdk, which tools/deps --peers could not bring");
        return;
    }
    for (each_transport(transport))
        check_sdks(transport);
}

SUITE(system_74_sdk, TEST(sdks_are_answered_streamed_to_refused_and_heard_when_they_leave));
