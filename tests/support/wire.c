/* wire.c: two tun devices in namespaces of their own, and the thread that carries packets from one to the other. */
#include "wire.h"

#include "culvert/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

enum { PACKET_MAX = 65536, WAITING_MAX = 4096, TURN_MAX = 64 };

struct packet {
    STAILQ_ENTRY(packet) next;
    long long due; /* us */
    size_t n;
    unsigned char bytes[];
};

struct end {
    int ns, tun;
    STAILQ_HEAD(, packet) waiting; /* for this end's tun; the wire's thread's */
    unsigned n;
};

struct wire {
    int home; /* the namespace from which it all began */
    struct end near, far;
    pthread_t thread;
    atomic_int delay_ms;
    atomic_uint lost_of_1000;
    atomic_bool no_udp, cut, over;
    unsigned long long random; /* the thread's */
};

static struct wire *current;

/* ---- namespaces and devices ------------------------------------------------------------------------------------- */

static int this_ns(void)
{
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static void enter(int ns)
{
    CV_ASSERT(setns(ns, CLONE_NEWNET) == 0);
}

void wire_enter_far(struct wire *w)
{
    if (w)
        enter(w->far.ns);
}

void wire_leave_far(struct wire *w)
{
    if (w)
        enter(w->near.ns);
}

static struct sockaddr ipv4(const char *text)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
    } a = { .in = { .sin_family = AF_INET } };
    inet_pton(AF_INET, text, &a.in.sin_addr);
    return a.any;
}

/* In the calling thread's namespace. */
static bool set_address(const char *device, const char *address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = { 0 };
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", device);
    r.ifr_addr = ipv4(address);
    bool ok = ioctl(fd, SIOCSIFADDR, &r) == 0;
    r.ifr_netmask = ipv4("255.255.255.0");
    ok = ok && ioctl(fd, SIOCSIFNETMASK, &r) == 0;
    close(fd);
    return ok;
}

static bool set_up(const char *device)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = { .ifr_flags = IFF_UP | IFF_RUNNING };
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", device);
    bool ok = ioctl(fd, SIOCSIFFLAGS, &r) == 0;
    close(fd);
    return ok;
}

static int open_tun(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    snprintf(r.ifr_name, sizeof(r.ifr_name), "wire");
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &r) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Leaves the calling thread in the end's namespace. */
static bool make_end(struct end *e, const char *address)
{
    STAILQ_INIT(&e->waiting);
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    e->ns = this_ns();
    e->tun = open_tun();
    return e->ns >= 0 && e->tun >= 0 && set_up("lo") && set_address("wire", address) && set_up("wire");
}

/* ---- carrying --------------------------------------------------------------------------------------------------- */

static long long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool unlucky(struct wire *w)
{
    w->random = w->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (w->random >> 33) % 1000 < atomic_load(&w->lost_of_1000);
}

static bool passes(struct wire *w, const unsigned char *ip, size_t n)
{
    bool udp = n > 20 && ip[0] >> 4 == 4 && ip[9] == IPPROTO_UDP;
    return !atomic_load(&w->cut) && !(udp && atomic_load(&w->no_udp)) && !unlucky(w);
}

static void take(struct wire *w, struct end *from, struct end *to)
{
    static unsigned char packet[PACKET_MAX]; /* there is one wire */
    ssize_t n;
    for (int i = 0; i < TURN_MAX && (n = read(from->tun, packet, sizeof(packet))) > 0; i++) {
        if (to->n == WAITING_MAX || !passes(w, packet, (size_t)n))
            continue;
        struct packet *p = cv_xmalloc(sizeof(*p) + (size_t)n);
        p->due = now_us() + atomic_load(&w->delay_ms) * 1000LL;
        p->n = (size_t)n;
        memcpy(p->bytes, packet, p->n);
        STAILQ_INSERT_TAIL(&to->waiting, p, next);
        to->n++;
    }
}

static void give_first(struct end *e)
{
    struct packet *p = STAILQ_FIRST(&e->waiting);
    STAILQ_REMOVE_HEAD(&e->waiting, next);
    e->n--;
    if (write(e->tun, p->bytes, p->n) < 0)
        CV_ASSERT(errno != EBADF); /* what the kernel refuses is lost, as on other wires */
    free(p);
}

/* Microseconds until the next packet is due; at most 50 ms, for `over`. */
static long long give(struct end *e, long long now)
{
    while (!STAILQ_EMPTY(&e->waiting) && STAILQ_FIRST(&e->waiting)->due <= now)
        give_first(e);
    long long left = STAILQ_EMPTY(&e->waiting) ? 50000 : STAILQ_FIRST(&e->waiting)->due - now;
    return left < 50000 ? left : 50000;
}

static void *carry(void *arg)
{
    struct wire *w = arg;
    while (!atomic_load(&w->over)) {
        long long now = now_us(), a = give(&w->near, now), b = give(&w->far, now), wait = a < b ? a : b;
        struct pollfd fds[] = { { w->near.tun, POLLIN, 0 }, { w->far.tun, POLLIN, 0 } };
        ppoll(fds, 2, &(struct timespec){ 0, wait * 1000 }, NULL);
        take(w, &w->near, &w->far);
        take(w, &w->far, &w->near);
    }
    return NULL;
}

/* ---- its life --------------------------------------------------------------------------------------------------- */

static void end_free(struct end *e)
{
    while (!STAILQ_EMPTY(&e->waiting)) {
        struct packet *p = STAILQ_FIRST(&e->waiting);
        STAILQ_REMOVE_HEAD(&e->waiting, next);
        free(p);
    }
    if (e->tun >= 0)
        close(e->tun);
    if (e->ns >= 0)
        close(e->ns);
}

static void leave(struct wire *w)
{
    enter(w->home);
    close(w->home);
    end_free(&w->far);
    end_free(&w->near);
    free(w);
}

struct wire *wire_start(void)
{
    wire_stop(current);
    struct wire *w = cv_xcalloc(1, sizeof(*w));
    w->near.ns = w->near.tun = w->far.ns = w->far.tun = -1;
    STAILQ_INIT(&w->near.waiting);
    w->home = this_ns();
    if (w->home < 0 || !make_end(&w->far, WIRE_FAR) || !make_end(&w->near, "10.77.0.2")) {
        printf("skipped: no network namespace with a tun device (%s) ", strerror(errno));
        leave(w);
        return NULL;
    }
    w->random = 1;
    CV_ASSERT(pthread_create(&w->thread, NULL, carry, w) == 0);
    return current = w;
}

void wire_stop(struct wire *w)
{
    if (!w)
        return;
    atomic_store(&w->over, true);
    pthread_join(w->thread, NULL);
    current = NULL;
    leave(w);
}

void wire_delay(struct wire *w, int ms, unsigned lost_of_1000)
{
    atomic_store(&w->delay_ms, ms);
    atomic_store(&w->lost_of_1000, lost_of_1000);
}

void wire_block_udp(struct wire *w, bool on)
{
    atomic_store(&w->no_udp, on);
}

void wire_cut(struct wire *w, bool on)
{
    atomic_store(&w->cut, on);
}

void wire_move(struct wire *w, const char *address)
{
    enter(w->near.ns);
    CV_ASSERT(set_address("wire", address));
}
