/* test_58_rollout.c: a Deployment is rolled out again and again under load: no request fails, every stream ends whole.
 *
 * The new pod is ready before the old one is told to go (maxUnavailable: 0). With CONNECTOR=PROGRAM the same is done with
 * that connector, for comparison: what it loses is printed, and not held against culvert. */
#include "pod.h"
#include "scene.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    ROLLOUTS = SANITIZED ? 3 : 20,
    REQUESTS = SANITIZED ? 200 : 10000,
    SHORT = 8,
    STREAMS = 4,
    PAUSE_MS = 3
};

struct load {
    const char *front;
    atomic_bool over;
    atomic_uint done, streams, failed;
    char first_failure[256]; /* of the thread that counted the first one */
};

static void failed(struct load *l, const char *path, int status, ssize_t end, const char *head)
{
    if (atomic_fetch_add(&l->failed, 1) == 0)
        snprintf(l->first_failure, sizeof(l->first_failure), "%s: status %d, end %zd, %.180s", path, status,
                 end, head);
}

/* True if the answer came whole. */
static bool visit(struct load *l, const char *path, const char *last)
{
    struct http1 c;
    struct cv_buf body = { 0 };
    ssize_t end = HTTP1_CUT;
    bool head = false;
    if (http1_connect(&c, l->front)) {
        c.timeout_ms = PATIENCE_MS;
        head = http1_sendf(&c, "GET %s HTTP/1.1\r\nHost: api.example.com\r\n\r\n", path) &&
               http1_answer(&c, "GET");
        end = head ? http1_read_all(&c, &body) : HTTP1_CUT;
        cv_buf_add(&body, "", 1);
    }
    bool whole = head && c.status == 200 && end == 0 && strstr((const char *)body.p, last);
    if (!whole)
        failed(l, path, head ? c.status : 0, end, head ? c.head : "no answer");
    http1_close(&c);
    cv_buf_free(&body);
    return whole;
}

static void *ask_shortly(void *arg)
{
    struct load *l = arg;
    while (!l->over) {
        visit(l, "/short", "pod ");
        l->done++;
        sleep_ms(PAUSE_MS);
    }
    return NULL;
}

static void *read_streams(void *arg)
{
    struct load *l = arg;
    while (!l->over) {
        visit(l, "/stream", "data: 7\n\n");
        l->streams++;
    }
    return NULL;
}

static void roll_out(struct scene *t, struct load *l, const struct pod_setup *setup)
{
    struct pod pods[2];
    pthread_t threads[SHORT + STREAMS];
    CU_ASSERT_TRUE_FATAL(pod_start(&pods[0], setup));
    for (size_t i = 0; i < SHORT + STREAMS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, i < SHORT ? ask_shortly : read_streams, l),
                              0);
    unsigned ended = 0;
    for (unsigned i = 0; i < ROLLOUTS; i++) {
        CU_ASSERT_TRUE(pod_start(&pods[(i + 1) % 2], setup));
        ended += pod_terminate(&pods[i % 2]);
    }
    for (long long until = now_in_ms() + PATIENCE_MS; l->done + l->streams < REQUESTS && now_in_ms() < until;)
        sleep_ms(10);
    l->over = true;
    for (size_t i = 0; i < SHORT + STREAMS; i++)
        pthread_join(threads[i], NULL);
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
    memset(&load, 0, sizeof(load));
    load.front = t->front;
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
