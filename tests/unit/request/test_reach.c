/* test_reach.c: which targets may be reached, and what may be rewritten to what. */
#include "request/config.h"
#include "request/local.h"
#include "request/reach.h"
#include "suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static struct cv_str items[8];

/* "a, b" as a list */
static struct cv_list list_of(const char *text)
{
    struct cv_list list = { items, 0 };
    while (*text) {
        size_t n = strcspn(text, ",");
        items[list.n++] = (struct cv_str){ text, n };
        text += n;
        text += strspn(text, ", ");
    }
    return list;
}

static void allow(const char *text)
{
    const struct origins_conf conf = { .allow = list_of(text) };
    CU_ASSERT_EQUAL(origins_check(&conf, NULL), CV_OK);
    reach_setup(&conf);
}

static bool reaches(const char *host, const char *address, uint16_t port)
{
    struct sockaddr_storage addr = { .ss_family = strchr(address, ':') ? AF_INET6 : AF_INET };
    struct sockaddr_in *in = (void *)&addr;
    struct sockaddr_in6 *in6 = (void *)&addr;
    in->sin_port = htons(port); /* at the same place in both */
    CU_ASSERT_EQUAL(inet_pton(addr.ss_family, address,
                              addr.ss_family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr),
                    1);
    return cv_may_reach(cv_str_of(host), &addr);
}

static void decides_over_addresses(void)
{
    static const struct {
        const char *allow, *host, *address;
        uint16_t port;
        bool reached;
    } cases[] = {
        { "", "any", "10.1.2.3", 80, true },
        { "", "any", "169.254.169.254", 80, false },
        { "", "any", "::ffff:169.254.169.254", 80, false },
        { "", "any", "fd00:ec2::254", 80, false },
        { "", "any", "fd00:ec2::253", 80, true },
        { "0.0.0.0/0", "any", "169.254.169.254", 80, false },
        { "meta", "meta", "169.254.169.254", 80, false },
        { "169.254.169.254", "any", "169.254.169.254", 80, true },
        { "169.254.169.254:80", "any", "169.254.169.254", 81, false },
        { "169.254.0.0/16", "any", "169.254.169.254", 80, true },
        { "fd00:ec2::254", "any", "fd00:ec2::254", 80, true },
        { "127.0.0.0/8", "any", "127.3.2.1", 1, true },
        { "127.0.0.0/8", "any", "128.0.0.1", 1, false },
        { "127.0.0.0/9", "any", "127.128.0.1", 1, false },
        { "127.0.0.1:8080", "any", "127.0.0.1", 8080, true },
        { "127.0.0.1:8080", "any", "127.0.0.1", 8081, false },
        { "127.0.0.1", "any", "::ffff:127.0.0.1", 1, true },
        { "[::1]:80", "any", "::1", 80, true },
        { "[::1]:80", "any", "::1", 81, false },
        { "[fd00::/8]:80", "any", "fd12::1", 80, true },
        { "::1", "any", "::1", 443, true },
        { "router", "router", "10.0.0.1", 80, true },
        { "router", "Router", "10.0.0.1", 80, true },
        { "router", "router.evil", "10.0.0.1", 80, false },
        { "router:80", "router", "10.0.0.1", 81, false },
        { "*.svc", "router.svc", "10.0.0.1", 81, true },
        { "*.svc", "svc", "10.0.0.1", 81, false },
        { "*:81", "any", "10.0.0.1", 81, true },
        { "*:81", "any", "10.0.0.1", 80, false },
        { "*", "any", "169.254.169.254", 80, false },
        { "unix:/run/x", "any", "10.0.0.1", 80, false },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        allow(cases[i].allow);
        bool is = reaches(cases[i].host, cases[i].address, cases[i].port);
        CU_ASSERT_EQUAL(is, cases[i].reached);
        if (is != cases[i].reached)
            fprintf(stderr, "    allow %s, %s at %s:%u\n", cases[i].allow, cases[i].host, cases[i].address,
                    cases[i].port);
    }
    reach_setup(NULL);
}

static void refuses_lines_that_mean_nothing(void)
{
    static const char *const wrong[] = { "10.0.0.0/33", "a b",     "a:0",  "a:65536", "a:x",
                                         "http://a:80", "[::1]80", "[::1", "*a",      "*.",
                                         "a*",          "::1/129", "unix:" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct origins_conf conf = { .allow = list_of(wrong[i]) };
        CU_ASSERT_EQUAL(origins_check(&conf, NULL), CV_E_CONF);
    }
}

/* What the edge is told of a configuration with one rule to `service`; empty: it is applied. */
static const char *refusal(const char *service, const char *allowed, const char *rewrites)
{
    static struct reason why;
    char text[256];
    struct cv_str map_items[1] = { cv_str_of(rewrites) };
    const struct origins_conf origins = { .allow = list_of(allowed) };
    const struct rewrite_conf rewrite = { { map_items, *rewrites ? 1 : 0 } };
    int n = snprintf(text, sizeof(text), "{\"ingress\":[{\"service\":\"%s\"}]}", service);
    struct route_table *table = NULL;
    bool started;
    CU_ASSERT_EQUAL_FATAL(rewrite_check(&rewrite, NULL), CV_OK);
    local_setup(&origins, &rewrite);
    reason_clear(&why);
    config_read((struct cv_str){ text, (size_t)n }, local_config(), &table, &started, &why);
    route_table_unref(table);
    local_free();
    return why.text;
}

static void decides_over_rules_when_they_arrive(void)
{
    static const struct {
        const char *service, *allow, *rewrite;
        bool applied;
    } cases[] = {
        { "http://10.0.0.1:80", "", "", true },
        { "http://10.0.0.1:80", "127.0.0.1", "", false },
        { "http://10.0.0.1:80", "127.0.0.1", "http://10.0.0.1:80 = http://127.0.0.1:8080", true },
        { "http://127.0.0.1:80", "127.0.0.1", "http://127.0.0.1:80 = http://10.0.0.1", false },
        { "http://169.254.169.254", "", "", false },
        { "http://[fd00:ec2::254]", "", "", false },
        { "tcp://10.0.0.1:22", "10.0.0.1:22", "", true },
        { "ssh://10.0.0.1", "10.0.0.1:23", "", false },
        { "http://router", "router", "", true },
        { "http://router", "other", "", false },
        { "http://router", "10.0.0.0/8", "", true },     /* decided by what it resolves to */
        { "http://router", "10.0.0.0/8:81", "", false }, /* cannot be */
        { "unix:/run/x", "unix:/run/x", "", true },
        { "unix:/run/y", "unix:/run/x", "", false },
        { "unix:/run/y", "*", "", false },
        { "http_status:404", "127.0.0.1", "", true },
        { "bastion", "127.0.0.1", "", true },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *why = refusal(cases[i].service, cases[i].allow, cases[i].rewrite);
        CU_ASSERT_EQUAL(*why == '\0', cases[i].applied);
        if ((*why == '\0') != cases[i].applied)
            fprintf(stderr, "    %s, allow %s: %s\n", cases[i].service, cases[i].allow, why);
        CU_ASSERT(cases[i].applied || strstr(why, "[origins] allow"));
    }
}

static void refuses_rewrites_that_cannot_be(void)
{
    static const char *const wrong[] = { "http://a",     "http://a = ", "http://a = http://b/path",
                                         "a = http://b", "= http://b",  "http://a = bastion" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct cv_str one[] = { cv_str_of(wrong[i]) };
        const struct rewrite_conf conf = { { one, 1 } };
        CU_ASSERT_EQUAL(rewrite_check(&conf, NULL), CV_E_CONF);
    }
}

static void a_limit_of_flows_from_here_wins(void)
{
    static const struct {
        int here;
        uint64_t limit;
    } cases[] = { { -1, 7 }, { 0, 0 }, { 3, 3 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct origins_conf origins = { .max_active_flows = cases[i].here };
        struct route_table *table = NULL;
        struct reason why;
        bool started;
        local_setup(&origins, &(struct rewrite_conf){ { NULL, 0 } });
        CU_ASSERT_EQUAL(config_read(CV_STR("{\"warp-routing\":{\"maxActiveFlows\":7}}"), local_config(),
                                    &table, &started, &why),
                        CV_OK);
        CU_ASSERT_EQUAL(table->network.max_active_flows, cases[i].limit);
        route_table_unref(table);
        local_free();
    }
}

SUITE(reach, TEST(a_limit_of_flows_from_here_wins), TEST(decides_over_addresses),
      TEST(refuses_lines_that_mean_nothing), TEST(decides_over_rules_when_they_arrive),
      TEST(refuses_rewrites_that_cannot_be));
