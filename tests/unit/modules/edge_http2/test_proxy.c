/* test_proxy.c: which proxy the edge is reached through. */
#include "../../../../modules/edge_http2/h2.h"
#include "suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static struct sockaddr_storage address(const char *ip, uint16_t port)
{
    struct sockaddr_storage a = { 0 };
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else {
        CU_ASSERT_EQUAL_FATAL(inet_pton(AF_INET6, ip, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
    }
    return a;
}

static void a_port_that_is_not_named_is_the_usual_one(void)
{
    struct cv_proxy p;
    CU_ASSERT_TRUE(h2_proxy_parse(CV_STR("http://proxy.example.com"), &p));
    CU_ASSERT_EQUAL(p.port, 3128);
    CU_ASSERT_TRUE(h2_proxy_parse(CV_STR("socks5://proxy.example.com"), &p));
    CU_ASSERT_EQUAL(p.port, 1080);
    CU_ASSERT_TRUE(h2_proxy_parse(CV_STR("socks5://proxy.example.com:99"), &p));
    CU_ASSERT_EQUAL(p.port, 99);
    CU_ASSERT_FALSE(h2_proxy_parse(CV_STR("https://proxy.example.com"), &p));
}

static void exemptions_hold_for_addresses_and_networks(void)
{
    struct sockaddr_storage v4 = address("198.51.100.7", 7844), v6 = address("2001:db8::7", 7844),
                            loop4 = address("127.0.0.9", 1), loop6 = address("::1", 1);
    CU_ASSERT_TRUE(h2_proxy_exempt(NULL, &loop4));
    CU_ASSERT_TRUE(h2_proxy_exempt(NULL, &loop6));
    CU_ASSERT_FALSE(h2_proxy_exempt(NULL, &v4));
    CU_ASSERT_FALSE(h2_proxy_exempt("localhost,.example.com,198.51.100.70, 198.51.100.0/33", &v4));
    CU_ASSERT_TRUE(h2_proxy_exempt("a.example.com, 198.51.100.7", &v4));
    CU_ASSERT_TRUE(h2_proxy_exempt("198.51.100.0/29", &v4));
    CU_ASSERT_FALSE(h2_proxy_exempt("198.51.100.8/29", &v4));
    CU_ASSERT_TRUE(h2_proxy_exempt("2001:db8::/32", &v6));
    CU_ASSERT_FALSE(h2_proxy_exempt("2001:db9::/32", &v6));
    CU_ASSERT_TRUE(h2_proxy_exempt("*", &v6));
}

static void the_environment_is_asked_unless_the_ini_says_otherwise(void)
{
    struct sockaddr_storage edge = address("198.51.100.7", 7844);
    struct h2_conf conf = { .proxy = "env" };
    struct cv_proxy p;
    struct cv_err err;
    unsetenv("https_proxy");
    setenv("HTTPS_PROXY", "http://one:1", 1);
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_OK);
    CU_ASSERT_STRING_EQUAL(p.host, "one");
    setenv("NO_PROXY", "198.51.100.0/24", 1);
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_OK);
    CU_ASSERT_EQUAL(p.kind, CV_PROXY_NONE);
    conf.proxy = "socks5://two:2";
    conf.proxy_credentials = (struct cv_secret){ "u:p", 3 };
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_OK);
    CU_ASSERT_STRING_EQUAL(p.host, "two");
    CU_ASSERT_STRING_EQUAL(p.credentials, "u:p");
    conf.proxy = "none";
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_OK);
    CU_ASSERT_EQUAL(p.kind, CV_PROXY_NONE);
    unsetenv("NO_PROXY");
    setenv("HTTPS_PROXY", "https://secret:word@x", 1);
    conf.proxy = "env";
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_E_CONF);
    CU_ASSERT_PTR_NULL(strstr(err.text, "word")); /* never what it holds */
    unsetenv("HTTPS_PROXY");
}

SUITE(h2_proxy, TEST(a_port_that_is_not_named_is_the_usual_one),
      TEST(exemptions_hold_for_addresses_and_networks),
      TEST(the_environment_is_asked_unless_the_ini_says_otherwise));
