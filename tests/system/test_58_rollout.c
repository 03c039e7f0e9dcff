/* test_58_rollout.c: a Deployment is rolled out again and again under load: no request fails, every stream ends whole.
 *
 * The new pod is ready before the old one is told to go (maxUnavailable: 0). With CONNECTOR=PROGRAM the same is done with
 * that connector, for comparison: what it loses is printed, and not held against culvert. Others may look for their
 * makers' servers: give such a run a network of its own, `unshare -n sh -c "ip link set lo up; CONNECTOR=… …"`. */
#include "load.h"
#include "pod.h"
#include "scene.h"

#include <stdlib.h>

enum {
    ROLLOUTS = SANITIZED ? 3 : 20,
    REQUESTS = SANITIZED ? 200 : 10000,
    SHORT = 8,
    STREAMS = 4,
    PAUSE_MS = 3
};

static void roll_out(struct scene *t, struct load *l, const struct pod_setup *setup)
{
    struct pod pods[2];
    CU_ASSERT_TRUE_FATAL(pod_start(&pods[0], setup));
    load_start(l);
    unsigned ended = 0;
    for (unsigned i = 0; i < ROLLOUTS; i++) {
        CU_ASSERT_TRUE(pod_start(&pods[(i + 1) % 2], setup));
        ended += pod_terminate(&pods[i % 2]);
    }
    for (long long until = now_in_ms() + PATIENCE_MS; l->done + l->streams < REQUESTS && now_in_ms() < until;)
        sleep_ms(10);
    load_stop(l);
    pod_terminate(&pods[ROLLOUTS % 2]);
    const char *connector = getenv("CONNECTOR");
    printf("\n  %s, %s: %d roll-outs, %u requests and %u streams, %u failed\n", t->transport,
           connector && *connector ? connector : "culvert", ROLLOUTS, (unsigned)l->done, (unsigned)l->streams,
           (unsigned)l->failed);
    if (l->failed)
        printf("  the first: %s\n", l->first_failure);
    if (connector && *connector)
        return;
    CU_ASSERT_EQUAL(ended, ROLLOUTS);
    CU_ASSERT_EQUAL(l->failed, 0);
    CU_ASSERT_TRUE(l->done + l->streams >= REQUESTS);
}

static void check(const char *transport)
{
    static char token[1024], ca[96];
    static struct load load;
    /* the scene's own culvert leaves at once: only its edge is wanted, and no request is sent before */
    struct scene *t = scene_start(&(const struct setup){ .transport = transport, .rules = POD_RULES });
    CU_ASSERT_EQUAL(scene_end(t, PATIENCE_MS), 0);
    const char *const edges[] = { t->edges[0], t->edges[1], t->edges[2], t->edges[3], NULL };
    FILE *f = fopen("tests/vectors/token/good.txt", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    int at = snprintf(token, sizeof(token), "TUNNEL_TOKEN=");
    CU_ASSERT_PTR_NOT_NULL(fgets(token + at, (int)sizeof(token) - at, f));
    fclose(f);
    token[strcspn(token, "\r\n")] = '\0';
    snprintf(ca, sizeof(ca), "%s/ca.pem", t->dir);
    load = (struct load){ .front = t->front,
                          .short_threads = SHORT,
                          .stream_threads = STREAMS,
                          .short_path = "/short",
                          .short_holds = "pod ",
                          .stream_path = "/stream",
                          .stream_holds = "data: 7\n\n",
                          .pause_ms = PAUSE_MS,
                          .timeout_ms = PATIENCE_MS };
    roll_out(t, &load, &(const struct pod_setup){ edges, ca, transport, token });
    process_end_all();
}

static void rolling_out_over_http2_loses_nothing(void)
{
    check("http2");
}

static void rolling_out_over_quic_loses_nothing(void)
{
    check("quic");
}

SUITE(system_58_rollout, TEST(rolling_out_over_http2_loses_nothing),
      TEST(rolling_out_over_quic_loses_nothing));
