/* test_11_wait.c: with [tunnel] wait_for a sidecar registers once its application answers, and not before. */
#include "scene.h"

#include <stdatomic.h>

static bool health(struct http1 *c, void *arg)
{
    atomic_bool *well = arg;
    return *well ? origin_text(c, 200, "well") : origin_text(c, 503, "loading a model");
}

static void it_registers_once_the_application_is_well(void)
{
    char ini[120];
    static atomic_bool well;
    for (each_transport(transport)) {
        well = false;
        struct origin *app = origin_start(health, &well);
        snprintf(ini, sizeof(ini), "[tunnel]\nwait_for = http://127.0.0.1:%u/healthz\n", origin_port(app));
        struct scene *t =
            scene_start(&(const struct setup){ .transport = transport, .ini = ini, .alone = true });
        CU_ASSERT_TRUE(
            process_says(t->culvert, "Not connecting yet: a service beside this connector", PATIENCE_MS));
        CU_ASSERT_TRUE(origin_requests(app) >= 3); /* asked again and again */
        CU_ASSERT_EQUAL(scene_seen(t, "connected"), 0);
        struct answer a = scene_metrics(t, "/ready");
        CHECK_STATUS(a, 503);
        answer_free(&a);
        well = true;
        CU_ASSERT_TRUE(process_says(t->culvert, "The services beside this connector answer", PATIENCE_MS));
        CU_ASSERT_TRUE(scene_wait(t, "registered=1&timeout=60s"));
        scene_stop(t);
        origin_stop(app);
    }
}

static void it_can_be_ended_while_it_waits(void)
{
    struct scene *t =
        scene_start(&(const struct setup){ .transport = "http2",
                                           .ini = "[tunnel]\nwait_for = 127.0.0.1:1, unix:/nonexistent/s\n",
                                           .alone = true });
    CU_ASSERT_TRUE(process_says(t->culvert, "target=127.0.0.1:1", PATIENCE_MS));
    long long before = now_in_ms();
    CU_ASSERT_EQUAL(scene_end(t, PATIENCE_MS), 0);
    CU_ASSERT_TRUE(now_in_ms() - before < PATIENCE_MS / 4);
    scene_stop(t);
}

SUITE(system_11_wait, TEST(it_registers_once_the_application_is_well), TEST(it_can_be_ended_while_it_waits));
