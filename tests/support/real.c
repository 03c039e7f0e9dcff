/* real.c: real servers and clients as processes of a test. */
#include "real.h"

#include "culvert/mem.h"
#include "http1.h"
#include "suite.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LONGEST_MS = 120000, READY_MS = 20000 };

static char path[4096];

static const char *search_path(void)
{
    char here[1024] = "";
    const char *given = getenv("PATH");
    CU_ASSERT_PTR_NOT_NULL(getcwd(here, sizeof(here)));
    snprintf(path, sizeof(path), "PATH=%s:/usr/sbin:/sbin:%s/build/peers/bin",
             given ? given : "/usr/bin:/bin", here);
    return path;
}

static struct process *shell(char *command)
{
    struct process *p = process_start((const char *const[]){ "/bin/sh", "-c", command, NULL },
                                      (const char *const[]){ search_path(), "HOME=/nonexistent", NULL });
    free(command);
    return p;
}

__attribute__((format(printf, 1, 0))) static char *format(const char *fmt, va_list args)
{
    char *text;
    CV_ASSERT(vasprintf(&text, fmt, args) >= 0);
    return text;
}

struct process *real_start(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *command = format(fmt, args);
    va_end(args);
    return shell(command);
}

unsigned real_told_port(struct process *p)
{
    unsigned port = 0;
    if (!process_says(p, "\n", READY_MS))
        return 0;
    char *said = process_output(p);
    if (sscanf(said, "listening %u", &port) != 1)
        port = 0;
    free(said);
    return port;
}

char *real_run(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct process *p = shell(format(fmt, args));
    va_end(args);
    int status = process_end(p, LONGEST_MS);
    char *said = process_output(p), *all;
    if (status == 0)
        return said;
    CV_ASSERT(asprintf(&all, "%sstatus %d\n", said, status) >= 0);
    free(said);
    return all;
}

bool real_lacks(const char *programs)
{
    char *found = real_run("for p in %s; do [ -x \"$(command -v $p)\" ] || echo $p; done", programs);
    bool lacks = *found != '\0';
    found[strcspn(found, "\n")] = '\0';
    if (lacks)
        suite_skip("%s, which tools/deps --peers could not bring", found);
    free(found);
    return lacks;
}

unsigned real_port(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CV_ASSERT(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 &&
              getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    close(fd);
    return ntohs(a.sin_port);
}

bool real_listens(unsigned port)
{
    char addr[32];
    bool there = false;
    snprintf(addr, sizeof(addr), "127.0.0.1:%u", port);
    for (long long end = now_in_ms() + READY_MS; !there && now_in_ms() < end; sleep_ms(5)) {
        struct http1 h;
        there = http1_connect(&h, addr);
        http1_close(&h);
    }
    return there;
}

void real_folder(char dir[static 64])
{
    snprintf(dir, 64, "/tmp/culvert-real-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
}

void real_folder_remove(const char *dir)
{
    free(real_run("rm -r %s", dir));
}

void real_write(const char *dir, const char *name, const char *fmt, ...)
{
    char file[128];
    va_list args;
    snprintf(file, sizeof(file), "%s/%s", dir, name);
    FILE *f = fopen(file, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    va_start(args, fmt);
    vfprintf(f, fmt, args);
    va_end(args);
    fclose(f);
}
