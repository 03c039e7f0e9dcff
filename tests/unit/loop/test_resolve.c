/* test_resolve.c: names to addresses, asked of a name server that the test plays on the same loop. */
#include "loop/resolve.h"
#include "suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000 };

/* ---- a name server ----------------------------------------------------------------------------------- */

static struct {
    struct cv_worker *worker;
    int fd;
    struct event event;
    int asked;     /* questions so far                                    */
    uint8_t rcode; /* of every answer                                     */
    uint8_t ttl;   /* of its records: 10.0.0.7 and fd00::7                */
} server;

static size_t put_record(uint8_t *out, uint16_t type)
{
    const uint8_t head[] = { 0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 0, server.ttl, 0, type == 1 ? 4 : 16 };
    memcpy(out, head, sizeof(head));
    if (type == 1)
        memcpy(out + sizeof(head), "\x0a\0\0\x07", 4);
    else
        memcpy(out + sizeof(head), "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07", 16);
    return sizeof(head) + head[11];
}

static void on_question(evutil_socket_t fd, short what, void *arg)
{
    (void)what, (void)arg;
    uint8_t m[512];
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    ssize_t got = recvfrom(fd, m, sizeof(m) - 64, 0, (struct sockaddr *)&from, &size);
    if (got < 17)
        return;
    size_t n = 12;
    while (n < (size_t)got && m[n])
        n += m[n] + 1u;
    n += 5;
    uint16_t type = m[n - 3];
    server.asked++;
    m[2] = 0x81;
    m[3] = 0x80 | server.rcode;
    m[7] = server.rcode == 0;
    memset(m + 8, 0, 4);
    if (server.rcode == 0)
        n += put_record(m + n, type);
    sendto(fd, m, n, 0, (struct sockaddr *)&from, size);
}

static void begin(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(addr);
    memset(&server, 0, sizeof(server));
    server.worker = worker_new(0);
    server.ttl = 60;
    server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CU_ASSERT_EQUAL_FATAL(bind(server.fd, (struct sockaddr *)&addr, size), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(server.fd, (struct sockaddr *)&addr, &size), 0);
    event_assign(&server.event, server.worker->base, server.fd, EV_READ | EV_PERSIST, on_question, NULL);
    event_add(&server.event, NULL);
    char csv[32];
    snprintf(csv, sizeof(csv), "127.0.0.1:%d", ntohs(addr.sin_port));
    CU_ASSERT_EQUAL_FATAL(ares_set_servers_ports_csv(resolver_channel(server.worker), csv), ARES_SUCCESS);
}

static void end(void)
{
    event_del(&server.event);
    close(server.fd);
    worker_free(server.worker);
}

/* ---- a caller ---------------------------------------------------------------------------------------- */

struct answer {
    int times;
    enum cv_error error;
    char addrs[256]; /* "10.0.0.7:80 fd00::7:80 " */
};

static void on_answer(void *arg, enum cv_error error, const struct sockaddr_storage *addrs, size_t n)
{
    struct answer *a = arg;
    a->times++;
    a->error = error;
    a->addrs[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        char ip[INET6_ADDRSTRLEN];
        const struct sockaddr_in *in = (const void *)&addrs[i];
        const struct sockaddr_in6 *in6 = (const void *)&addrs[i];
        bool v4 = addrs[i].ss_family == AF_INET;
        inet_ntop(addrs[i].ss_family, v4 ? (const void *)&in->sin_addr : &in6->sin6_addr, ip, sizeof(ip));
        size_t used = strlen(a->addrs);
        snprintf(a->addrs + used, sizeof(a->addrs) - used, "%s:%d ", ip,
                 ntohs(v4 ? in->sin_port : in6->sin6_port));
    }
}

static struct cv_lookup *ask(const char *host, struct answer *a)
{
    *a = (struct answer){ .times = 0 };
    return cv_resolve(&server.worker->core, cv_str_of(host), 80, on_answer, a);
}

static void turn_until(const int *what)
{
    for (int64_t since = clock_ms(); *what == 0 && clock_ms() - since < PATIENCE_MS; usleep(500))
        event_base_loop(server.worker->base, EVLOOP_NONBLOCK);
}

static void turn(void)
{
    for (int i = 0; i < 20; i++)
        event_base_loop(server.worker->base, EVLOOP_NONBLOCK);
}

/* ---- tests ------------------------------------------------------------------------------------------- */

static void knows_literals_and_localhost_without_asking(void)
{
    static const struct {
        const char *host, *addrs;
    } cases[] = { { "127.0.0.1", "127.0.0.1:80 " },         { "::1", "::1:80 " },
                  { "2001:DB8::1", "2001:db8::1:80 " },     { "localhost", "127.0.0.1:80 ::1:80 " },
                  { "LocalHost.", "127.0.0.1:80 ::1:80 " }, { "a.localhost", "127.0.0.1:80 ::1:80 " } };
    begin();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a;
        ask(cases[i].host, &a);
        CU_ASSERT_EQUAL(a.times, 0); /* never inside the call */
        turn_until(&a.times);
        CU_ASSERT_STRING_EQUAL(a.addrs, cases[i].addrs);
    }
    CU_ASSERT_EQUAL(server.asked, 0);
    end();
}

static bool has_both(const struct answer *a)
{
    return a->error == CV_OK && strstr(a->addrs, "10.0.0.7:80 ") && strstr(a->addrs, "fd00::7:80 ");
}

static void asks_once_for_many_and_remembers(void)
{
    begin();
    struct answer a, b, c;
    ask("x.test.", &a);
    ask("X.Test.", &b);
    turn_until(&a.times);
    turn_until(&b.times);
    CU_ASSERT(has_both(&a));
    CU_ASSERT(has_both(&b));
    CU_ASSERT_EQUAL(server.asked, 2); /* A and AAAA */
    ask("x.test.", &c);
    CU_ASSERT_EQUAL(c.times, 0);
    turn_until(&c.times);
    CU_ASSERT(has_both(&c));
    CU_ASSERT_EQUAL(server.asked, 2);
    turn();
    CU_ASSERT_EQUAL(a.times + b.times + c.times, 3);
    end();
}

static void asks_again_when_the_ttl_is_over(void)
{
    begin();
    server.ttl = 1;
    struct answer a;
    ask("x.test.", &a);
    turn_until(&a.times);
    usleep(1100000);
    server.ttl = 60;
    ask("x.test.", &a);
    turn_until(&a.times);
    CU_ASSERT(has_both(&a));
    CU_ASSERT_EQUAL(server.asked, 4);
    end();
}

static void uses_old_addresses_while_servers_are_in_trouble(void)
{
    begin();
    server.ttl = 1;
    struct answer a;
    ask("x.test.", &a);
    turn_until(&a.times);
    usleep(1100000);
    server.rcode = 2; /* SERVFAIL */
    ask("x.test.", &a);
    turn_until(&a.times);
    CU_ASSERT(server.asked > 2);
    CU_ASSERT(has_both(&a));
    end();
}

static void believes_that_there_is_no_such_name_for_a_while(void)
{
    begin();
    server.rcode = 3; /* NXDOMAIN */
    struct answer a;
    ask("x.test.", &a);
    turn_until(&a.times);
    CU_ASSERT_EQUAL(a.error, CV_E_RESOLVE);
    int asked = server.asked;
    server.rcode = 0;
    ask("x.test.", &a);
    turn_until(&a.times);
    CU_ASSERT_EQUAL(a.error, CV_E_RESOLVE);
    CU_ASSERT_EQUAL(server.asked, asked);
    end();
}

static void refuses_what_is_no_name(void)
{
    static const char zero[] = "a\0b";
    char longer[300];
    memset(longer, 'a', sizeof(longer));
    const struct cv_str hosts[] = { { "", 0 }, { NULL, 0 }, { zero, 3 }, { longer, sizeof(longer) } };
    begin();
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct answer a = { .times = 0 };
        cv_resolve(&server.worker->core, hosts[i], 80, on_answer, &a);
        turn_until(&a.times);
        CU_ASSERT_EQUAL(a.error, CV_E_RESOLVE);
    }
    CU_ASSERT_EQUAL(server.asked, 0);
    end();
}

static void says_nothing_after_a_cancel(void)
{
    begin();
    struct answer a, b, c;
    cv_resolve_cancel(ask("x.test.", &a));
    struct cv_lookup *waiting = ask("x.test.", &b);
    ask("x.test.", &c);
    cv_resolve_cancel(waiting);
    turn_until(&c.times);
    turn();
    CU_ASSERT_EQUAL(a.times, 0);
    CU_ASSERT_EQUAL(b.times, 0);
    CU_ASSERT(has_both(&c));
    cv_resolve_cancel(ask("x.test.", &a)); /* known already, to be told soon */
    turn();
    CU_ASSERT_EQUAL(a.times, 0);
    end();
}

static void ends_with_questions_open(void)
{
    begin();
    struct answer a;
    ask("x.test.", &a);
    end();
    CU_ASSERT_EQUAL(a.times, 0);
}

static void remembers_a_bounded_number_of_names(void)
{
    begin();
    struct answer a;
    for (int i = 0; i < 1200; i++) {
        char host[32];
        snprintf(host, sizeof(host), "n%d.localhost", i);
        ask(host, &a);
        turn_until(&a.times);
        CU_ASSERT_EQUAL_FATAL(a.error, CV_OK);
        if (i == 0) {
            ask("x.test.", &a);
            turn_until(&a.times);
        }
    }
    int asked = server.asked;
    ask("x.test.", &a);
    turn_until(&a.times);
    CU_ASSERT(has_both(&a));
    CU_ASSERT(server.asked > asked); /* it was forgotten */
    end();
}

SUITE(resolve, TEST(knows_literals_and_localhost_without_asking), TEST(asks_once_for_many_and_remembers),
      TEST(asks_again_when_the_ttl_is_over), TEST(uses_old_addresses_while_servers_are_in_trouble),
      TEST(believes_that_there_is_no_such_name_for_a_while), TEST(refuses_what_is_no_name),
      TEST(says_nothing_after_a_cancel), TEST(ends_with_questions_open),
      TEST(remembers_a_bounded_number_of_names));
