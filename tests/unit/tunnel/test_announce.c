/* test_announce.c: systemd hears READY=1, the pidfile holds the process id and nothing else. */
#include "suite.h"
#include "tunnel/announce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void check_ready(const struct sockaddr_un *a, socklen_t size, const char *name)
{
    char got[32] = "";
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CU_ASSERT_EQUAL(bind(fd, (const struct sockaddr *)a, size), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    announce("");
    CU_ASSERT_EQUAL(recv(fd, got, sizeof(got) - 1, 0), 7);
    CU_ASSERT_STRING_EQUAL(got, "READY=1");
    unsetenv("NOTIFY_SOCKET");
    close(fd);
}

static void systemd_hears_that_it_is_ready(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    char name[64];
    snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/culvert-notify-%d", (int)getpid());
    check_ready(&a, sizeof(a), a.sun_path);
    unlink(a.sun_path);
    snprintf(name, sizeof(name), "@culvert-notify-%d", (int)getpid());
    memcpy(a.sun_path, name, sizeof(name));
    a.sun_path[0] = '\0';
    check_ready(&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)), name);
}

static void the_pidfile_holds_the_number_alone(void)
{
    char file[] = "/tmp/culvert-pid-XXXXXX", got[32] = "", want[32];
    int fd = mkstemp(file);
    announce(file);
    snprintf(want, sizeof(want), "%d", (int)getpid());
    CU_ASSERT_EQUAL(read(fd, got, sizeof(got) - 1), (ssize_t)strlen(want));
    CU_ASSERT_STRING_EQUAL(got, want);
    close(fd);
    unlink(file);
}

static void failures_are_no_end(void)
{
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    announce("/nonexistent/pid");
    unsetenv("NOTIFY_SOCKET");
}

SUITE(announce, TEST(systemd_hears_that_it_is_ready), TEST(the_pidfile_holds_the_number_alone),
      TEST(failures_are_no_end));
