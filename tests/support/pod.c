/* pod.c: a simulated pod: started and ended as the kubelet does it. */
#include "pod.h"

#include "http1.h"
#include "suite.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { START_MS = 30000, DRAIN_MS = 60000, END_MS = 60000, WORDS = 40 };

/* A port that was free a moment ago. */
static void choose_metrics(struct pod *p)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&at, n), 0);
    getsockname(fd, (struct sockaddr *)&at, &n);
    close(fd);
    snprintf(p->metrics, sizeof(p->metrics), "127.0.0.1:%u", ntohs(at.sin_port));
}

/* Status of one request to the metrics listener; 0: nobody answered. */
static int ask(const struct pod *p, const char *method, const char *path, int timeout_ms)
{
    struct http1 c;
    int status = 0;
    if (!http1_connect(&c, p->metrics))
        return 0;
    c.timeout_ms = timeout_ms;
    if (http1_sendf(&c, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", method, path,
                    p->metrics) &&
        http1_answer(&c, method))
        status = c.status;
    http1_close(&c);
    return status;
}

/* In the pod's folder: the router's socket is named without one. */
static struct process *start_in(const struct pod *p, const char *program, const char *const *words,
                                const char *variable)
{
    static char path[PATH_MAX];
    const char *argv[WORDS] = { "/usr/bin/env", "-C", p->dir, path };
    size_t n = 4;
    CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(program, path));
    while (*words && n < WORDS - 1)
        argv[n++] = *words++;
    return process_start(argv,
                         (const char *const[]){ "PATH=/usr/bin:/bin", "HOME=/nonexistent", variable, NULL });
}

static void start_connector(struct pod *p, const struct pod_setup *s)
{
    const char *connector = getenv("CONNECTOR");
    const char *words[WORDS] = { "tunnel",    "--no-autoupdate", "--cacert",
                                 s->cacert,   "--protocol",      s->transport,
                                 "--metrics", p->metrics,        "--ha-connections",
                                 "2" };
    size_t n = 10;
    for (const char *const *e = s->edges; *e; e++) {
        words[n++] = "--edge";
        words[n++] = *e;
    }
    words[n++] = "run";
    p->connector = start_in(p, connector && *connector ? connector : SUITE_BUILD "/culvert", words, s->token);
}

bool pod_start(struct pod *p, const struct pod_setup *s)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/culvert-pod-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p->dir));
    choose_metrics(p);
    start_connector(p, s);
    p->router =
        start_in(p, SUITE_BUILD "/tests/pod_router", (const char *const[]){ "router.sock", NULL }, NULL);
    bool up = process_says(p->router, "ready\n", START_MS);
    for (long long until = now_in_ms() + START_MS; up && ask(p, "GET", "/ready", START_MS) != 200;
         sleep_ms(10))
        up = now_in_ms() < until && process_running(p->connector);
    return up;
}

bool pod_terminate(struct pod *p)
{
    char path[96];
    ask(p, "POST", "/drain?timeout=30s", DRAIN_MS);
    process_signal(p->router, SIGTERM);
    bool well = process_end(p->router, END_MS) == 0;
    process_signal(p->connector, SIGTERM);
    well &= process_end(p->connector, END_MS) == 0;
    snprintf(path, sizeof(path), "%s/router.sock", p->dir);
    unlink(path);
    rmdir(p->dir);
    return well;
}
