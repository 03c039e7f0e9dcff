/* network.c: listens to the kernel's news of addresses and routes, and compares clocks to notice sleep. */
#include "tunnel/network.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

enum { CALM_MS = 300, CLOCKS_MS = 2000, SLEPT_MS = 1500 };

struct network_watch {
    const struct cv_self *self;
    network_fn *told;
    void *arg;
    int fd;
    struct event event;
    struct cv_timer calm;   /* since the last news of a flurry */
    struct cv_timer clocks; /* when they are compared next     */
    int64_t asleep;         /* ms, since boot                  */
};

static int64_t asleep_ms(void)
{
    struct timespec boot, awake;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_MONOTONIC, &awake);
    return (int64_t)(boot.tv_sec - awake.tv_sec) * 1000 + (boot.tv_nsec - awake.tv_nsec) / 1000000;
}

static void on_clocks(struct cv_timer *timer)
{
    struct network_watch *w = CV_OWNER(timer, struct network_watch, clocks);
    int64_t asleep = asleep_ms();
    bool slept = asleep - w->asleep >= SLEPT_MS;
    w->asleep = asleep;
    cv_timer_set(w->self, &w->clocks, (struct cv_ms){ CLOCKS_MS });
    if (slept)
        w->told(w->arg, NETWORK_RESUMED);
}

static void on_calm(struct cv_timer *timer)
{
    struct network_watch *w = CV_OWNER(timer, struct network_watch, calm);
    w->told(w->arg, NETWORK_CHANGED);
}

/* What the messages say does not matter: who is told looks for himself. */
static void on_news(evutil_socket_t fd, short what, void *arg)
{
    struct network_watch *w = arg;
    char ignored[4096];
    (void)what;
    while (recv(fd, ignored, sizeof(ignored), MSG_DONTWAIT) > 0)
        ;
    if (!w->calm.set)
        cv_timer_set(w->self, &w->calm, (struct cv_ms){ CALM_MS });
}

static void listen_to_kernel(struct network_watch *w)
{
    struct sockaddr_nl self = { .nl_family = AF_NETLINK,
                                .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                                             RTMGRP_IPV6_ROUTE };
    w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (w->fd < 0)
        return;
    if (bind(w->fd, (struct sockaddr *)&self, sizeof(self)) < 0) {
        close(w->fd);
        w->fd = -1;
        return;
    }
    event_assign(&w->event, w->self->worker->base, w->fd, EV_READ | EV_PERSIST, on_news, w);
    event_add(&w->event, NULL);
}

struct network_watch *network_watch_new(const struct cv_self *self, network_fn *told, void *arg)
{
    struct network_watch *w = cv_xcalloc(1, sizeof(*w));
    w->self = self;
    w->told = told;
    w->arg = arg;
    w->calm.fire = on_calm;
    w->clocks.fire = on_clocks;
    w->asleep = asleep_ms();
    listen_to_kernel(w);
    cv_timer_set(self, &w->clocks, (struct cv_ms){ CLOCKS_MS });
    return w;
}

void network_watch_free(struct network_watch *w)
{
    if (!w)
        return;
    if (w->fd >= 0) {
        event_del(&w->event);
        close(w->fd);
    }
    cv_timer_clear(&w->calm);
    cv_timer_clear(&w->clocks);
    free(w);
}

bool network_source(const struct sockaddr_storage *to, struct sockaddr_storage *source)
{
    socklen_t size = to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    socklen_t room = sizeof(*source);
    int fd = socket(to->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (const struct sockaddr *)to, size) == 0 &&
              getsockname(fd, (struct sockaddr *)source, &room) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}
