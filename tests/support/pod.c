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

enum { START_MS = 30000, DRAIN_MS = 60000, END_MS = 60000, WORDS = 40, APP_LATER_MS = 100 };

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

/* What the kubelet starts first is the sidecar: culvert is told to wait for the router. */
static void write_ini(const struct pod *p)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/culvert.ini", p->dir);
    FILE *f = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs("[tunnel]\nwait_for = unix:router.sock\n", f);
    fclose(f);
}

static void start_connector(struct pod *p, const struct pod_setup *s)
{
    const char *other = getenv("CONNECTOR"), *program = other && *other ? other : SUITE_BUILD "/culvert";
    const char *words[WORDS] = { "--config", "culvert.ini" };
    const char *flags[] = { "tunnel",     "--no-autoupdate", "--no-prechecks", "--cacert", s->cacert,
                            "--protocol", s->transport,      "--metrics",      p->metrics, "--ha-connections",
                            "2" };
    size_t n = program == other ? 0 : 2;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        words[n++] = flags[i];
    for (const char *const *e = s->edges; *e; e++) {
        words[n++] = "--edge";
        words[n++] = *e;
    }
    words[n++] = "run";
    words[n] = NULL;
    write_ini(p);
    p->connector = start_in(p, program, words, s->token);
}

bool pod_start(struct pod *p, const struct pod_setup *s)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/culvert-pod-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(p->dir));
    choose_metrics(p);
    start_connector(p, s);
    sleep_ms(APP_LATER_MS);
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
    static const char *const files[] = { "router.sock", "culvert.ini" };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", p->dir, files[i]);
        unlink(path);
    }
    rmdir(p->dir);
    return well;
}
