/* test_dial.c: the way to a connection when addresses refuse, keep silent, or are busy. */
#include "request/reach.h"
#include "rig.h"
#include "suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

enum { CROWD = 8 };

/* A second listener, on ::1 and the rig's port; -1: this machine has no IPv6. */
static int listen_on_ipv6(const struct rig *rig)
{
    struct sockaddr_in6 addr = { .sin6_family = AF_INET6,
                                 .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                                 .sin6_port = htons(rig->port) };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 8) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Fills the backlog of a listener, so that it keeps silent to whoever comes next. */
static void crowd(int listener, int visitors[CROWD])
{
    struct sockaddr_storage addr;
    socklen_t n = sizeof(addr);
    listen(listener, 0);
    getsockname(listener, (struct sockaddr *)&addr, &n);
    for (int i = 0; i < CROWD; i++) {
        visitors[i] = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(visitors[i], (struct sockaddr *)&addr, n);
    }
}

static void leave(int visitors[CROWD])
{
    for (int i = 0; i < CROWD; i++)
        close(visitors[i]);
}

static void rule_for(struct rig *rig, const char *host, const char *settings)
{
    char service[64];
    snprintf(service, sizeof(service), "http://%s:%u", host, rig->port);
    rig_rule(rig, service, settings);
}

/* Takes part in the exchange at ::1; how long it took to come there, or -1. */
static int64_t serve_ipv6(struct rig *rig, int listener)
{
    struct rig_seen seen;
    int64_t since = clock_ms();
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int other = rig->listener;
    rig->listener = listener;
    int fd = rig_accept(rig);
    int64_t took = fd < 0 ? -1 : clock_ms() - since;
    rig->listener = other;
    if (fd >= 0) {
        rig_hear(rig, fd, "\r\n\r\n");
        rig_say(rig, fd, HELLO);
    }
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.status, 200);
    rig_seen_free(&seen);
    close(fd);
    return took;
}

static void goes_to_the_other_family_at_once_when_the_first_refuses(void)
{
    struct rig *rig = rig_new();
    rule_for(rig, "localhost", "");
    int fd = listen_on_ipv6(rig);
    shutdown(rig->listener, SHUT_RDWR); /* listens no more */
    if (fd >= 0)
        CU_ASSERT(serve_ipv6(rig, fd) >= 0);
    close(fd);
    rig_free(rig);
}

static void goes_to_the_other_family_soon_when_the_first_is_silent(void)
{
    struct rig *rig = rig_new();
    int visitors[CROWD];
    rule_for(rig, "localhost", "");
    int fd = listen_on_ipv6(rig);
    crowd(rig->listener, visitors);
    int64_t took = fd >= 0 ? serve_ipv6(rig, fd) : 300;
    CU_ASSERT(took >= 290 && took < 3000);
    leave(visitors);
    close(fd);
    rig_free(rig);
}

static void waits_its_share_for_each_address_when_told_to(void)
{
    struct rig *rig = rig_new();
    int visitors[CROWD];
    rule_for(rig, "localhost", "\"noHappyEyeballs\":true,\"connectTimeout\":4");
    int fd = listen_on_ipv6(rig);
    crowd(rig->listener, visitors);
    int64_t took = fd >= 0 ? serve_ipv6(rig, fd) : 2000;
    CU_ASSERT(took >= 1900 && took < 3900);
    leave(visitors);
    close(fd);
    rig_free(rig);
}

static void gives_up_when_the_time_is_over(void)
{
    struct rig *rig = rig_new();
    int visitors[CROWD];
    rule_for(rig, "127.0.0.1", "\"connectTimeout\":1");
    crowd(rig->listener, visitors);
    struct rig_seen seen;
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_TIMEOUT);
    CU_ASSERT_EQUAL(seen.status, 504);
    leave(visitors);
    rig_free(rig);
}

static void leaves_a_dial_when_the_visitor_leaves(void)
{
    struct rig *rig = rig_new();
    int visitors[CROWD];
    rule_for(rig, "localhost", "");
    crowd(rig->listener, visitors);
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "GET", "/", &seen);
    rig_send(rig, req);
    cv_req_fail(req, CV_E_CANCEL, "the visitor left");
    CU_ASSERT(rig_until(rig, &seen.closed));
    leave(visitors);
    rig_free(rig);
}

static void waits_for_a_unix_socket_that_is_busy(void)
{
    struct rig *rig = rig_new();
    int visitors[CROWD];
    char path[64], service[80];
    snprintf(path, sizeof(path), "/tmp/culvert-busy-%d", (int)getpid());
    snprintf(service, sizeof(service), "unix:%s", path);
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    memcpy(un.sun_path, path, strlen(path) + 1);
    close(rig->listener);
    rig->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(bind(rig->listener, (struct sockaddr *)&un, sizeof(un)), 0);
    crowd(rig->listener, visitors);
    rig_rule(rig, service, "");
    struct rig_seen seen;
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    usleep(50000);
    rig_turn(rig);
    CU_ASSERT_FALSE(seen.closed);
    leave(visitors);
    int fd;
    char byte;
    while ((fd = rig_accept(rig)) >= 0 && recv(fd, &byte, 1, MSG_PEEK) == 0)
        close(fd); /* one of the crowd */
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "\r\n\r\n"));
    rig_say(rig, fd, HELLO);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.status, 200);
    rig_seen_free(&seen);
    close(fd);
    rig_free(rig);
    unlink(path);
}

static void does_not_go_where_it_must_not(void)
{
    struct cv_str networks[] = { CV_STR("10.0.0.0/8") };
    const struct origins_conf conf = { .allow = { networks, 1 } };
    struct rig *rig = rig_new();
    struct rig_seen seen;
    char service[64];
    snprintf(service, sizeof(service), "http://localhost:%u", rig->port);
    rig_rule(rig, service, "");
    reach_setup(&conf);
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_DENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen.why, "not to be reached"));
    reach_setup(NULL);
    rig_free(rig);
}

SUITE(origin_dial, TEST(does_not_go_where_it_must_not),
      TEST(goes_to_the_other_family_at_once_when_the_first_refuses),
      TEST(goes_to_the_other_family_soon_when_the_first_is_silent),
      TEST(waits_its_share_for_each_address_when_told_to), TEST(gives_up_when_the_time_is_over),
      TEST(leaves_a_dial_when_the_visitor_leaves), TEST(waits_for_a_unix_socket_that_is_busy));
