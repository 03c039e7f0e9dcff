/* test_egress.c: origins behind the environment's proxies: which targets go there, and what the proxy hears. */
#include "origin_proxy/egress.h"
#include "request/local.h"
#include "request/reach.h"
#include "rig.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void environment(const char *http, const char *https, const char *none)
{
    static const char *const all[] = { "HTTP_PROXY", "http_proxy", "HTTPS_PROXY",   "https_proxy",
                                       "NO_PROXY",   "no_proxy",   "REQUEST_METHOD" };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        unsetenv(all[i]);
    if (http)
        setenv("HTTP_PROXY", http, 1);
    if (https)
        setenv("HTTPS_PROXY", https, 1);
    if (none)
        setenv("NO_PROXY", none, 1);
}

static void end_environment(void)
{
    environment(NULL, NULL, NULL);
}

/* ---- which way ------------------------------------------------------------------------------------------ */

/* What Go's http.ProxyFromEnvironment says with HTTP_PROXY=http://p1:1 and HTTPS_PROXY=p2:2. */
static const struct {
    const char *none, *host;
    uint16_t port;
    bool tls;
    const char *way; /* host of the proxy, or "direct" */
} ways[] = {
    { "", "origin.example", 8080, false, "p1" },
    { "", "origin.example", 443, true, "p2" },
    { "", "localhost", 8080, false, "direct" },
    { "", "127.0.0.2", 8443, true, "direct" },
    { "", "::1", 80, false, "direct" },
    { "", "::ffff:127.0.0.1", 80, false, "direct" },
    { "origin.example", "origin.example", 8080, false, "direct" },
    { "origin.example", "a.origin.example", 8080, false, "direct" },
    { ".origin.example", "origin.example", 8080, false, "p1" },
    { ".origin.example", "a.origin.example", 8080, false, "direct" },
    { "*.origin.example", "origin.example", 8080, false, "p1" },
    { "*.origin.example", "a.b.origin.example", 8080, false, "direct" },
    { "origin.example:8080", "origin.example", 8080, false, "direct" },
    { "origin.example:8080", "origin.example", 8081, false, "p1" },
    { "origin.example:443", "origin.example", 443, true, "direct" },
    { "origin.example:", "origin.example", 8080, false, "direct" },
    { "origin.example:http", "origin.example", 80, false, "p1" },
    { "rigin.example", "origin.example", 8080, false, "p1" },
    { "ORIGIN.example", "Origin.Example", 8080, false, "direct" },
    { "a, *", "origin.example", 8080, false, "direct" },
    { "*a", "origin.example", 8080, false, "p1" },
    { ", ,origin.example", "origin.example", 80, false, "direct" },
    { "a origin.example", "origin.example", 80, false, "p1" },
    { ":80", "origin.example", 80, false, "p1" },
    { ".", "origin.example", 80, false, "p1" },
    { "10.0.0.0/8", "10.1.2.3", 80, false, "direct" },
    { "10.0.0.0/8", "11.1.2.3", 80, false, "p1" },
    { "10.0.0.0/33", "10.0.0.1", 80, false, "p1" },
    { "10.1.2.3", "10.1.2.3", 80, false, "direct" },
    { "10.1.2.3:81", "10.1.2.3", 80, false, "p1" },
    { "10.1.2.3:80", "10.1.2.3", 80, false, "direct" },
    { "10.0.0.1", "::ffff:10.0.0.1", 80, false, "direct" },
    { "2.3", "10.1.2.3", 80, false, "p1" },
    { "2001:db8::/32", "2001:db8::1", 80, false, "direct" },
    { "2001:db8::1", "2001:db8::1", 80, false, "direct" },
    { "[2001:db8::1]:80", "2001:db8::1", 80, false, "direct" },
    { "[2001:db8::1]:81", "2001:db8::1", 80, false, "p1" },
    { "[2001:db8::1]", "2001:db8::1", 80, false, "p1" },
    { "fe80::1", "fe80::1%eth0", 80, false, "direct" },
};

static void targets_go_the_way_that_go_sends_them(void)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        environment("http://p1:1", "p2:2", ways[i].none);
        struct origin_egress *e = origin_egress_new();
        struct cv_target target = { .host = cv_str_of(ways[i].host),
                                    .port = ways[i].port,
                                    .tls = ways[i].tls };
        const char *refusal;
        const struct cv_proxy *proxy = origin_egress_for(e, &target, &refusal);
        CU_ASSERT_PTR_NULL(refusal);
        CU_ASSERT_STRING_EQUAL(proxy ? proxy->host : "direct", ways[i].way);
        if (strcmp(proxy ? proxy->host : "direct", ways[i].way) != 0)
            fprintf(stderr, "  NO_PROXY=%s %s:%u\n", ways[i].none, ways[i].host, ways[i].port);
        origin_egress_free(e);
    }
    end_environment();
}

static const char *refusal_of(bool tls, const char **host)
{
    struct cv_target target = { .host = CV_STR("origin.example"), .port = 80, .tls = tls };
    struct origin_egress *e = origin_egress_new();
    static struct cv_proxy found;
    const char *refusal;
    const struct cv_proxy *proxy = origin_egress_for(e, &target, &refusal);
    found = proxy ? *proxy : (struct cv_proxy){ .kind = CV_PROXY_NONE };
    *host = found.host;
    origin_egress_free(e);
    return refusal ? refusal : "";
}

static void upper_case_wins_and_what_is_unusable_bars_the_way(void)
{
    const char *host;
    environment(NULL, NULL, NULL);
    CU_ASSERT_PTR_NULL(origin_egress_new());
    setenv("https_proxy", "socks5h://lower", 1);
    CU_ASSERT_STRING_EQUAL(refusal_of(true, &host), "");
    CU_ASSERT_STRING_EQUAL(host, "lower");
    CU_ASSERT_STRING_EQUAL(refusal_of(false, &host), "");
    CU_ASSERT_STRING_EQUAL(host, "");
    setenv("HTTPS_PROXY", "http://upper", 1);
    CU_ASSERT_STRING_EQUAL(refusal_of(true, &host), "");
    CU_ASSERT_STRING_EQUAL(host, "upper");
    environment("http://p", "https://user:word@p", NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(refusal_of(true, &host), "HTTPS_PROXY is not of the form"));
    CU_ASSERT_STRING_EQUAL(host, "");
    setenv("REQUEST_METHOD", "GET", 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(refusal_of(false, &host), "CGI"));
    end_environment();
}

/* ---- what the proxy hears ------------------------------------------------------------------------------- */

static struct rig *behind(const char *scheme, const char *login)
{
    struct rig *rig = rig_new();
    char url[96];
    snprintf(url, sizeof(url), "%s://%s127.0.0.1:%u", scheme, login, rig->port);
    environment(url, url, NULL);
    rig_restart_module(rig);
    return rig;
}

static void plain_http_is_asked_of_the_proxy_with_the_whole_url(void)
{
    struct rig *rig = behind("http", "ann:s%40cret@");
    struct rig_seen seen;
    int fd = -1;
    rig_rule(rig, "http://origin.example:8080", "");
    for (int i = 0; i < 2; i++) { /* the second on the connection of the first */
        rig_send(rig, rig_request(rig, "GET", "/x?y", &seen));
        if (fd < 0)
            fd = rig_accept(rig);
        const char *heard = rig_hear(rig, fd, "\r\n\r\n");
        CU_ASSERT_STRING_EQUAL(heard, "GET http://origin.example:8080/x?y HTTP/1.1\r\nHost: a.example.com\r\n"
                                      "Connection: keep-alive\r\n"
                                      "Proxy-Authorization: Basic YW5uOnNAY3JldA==\r\n"
                                      "Cf-Warp-Tag-Id: 11112222\r\n\r\n");
        rig_say(rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
        CU_ASSERT_EQUAL(seen.status, 200);
        rig_seen_free(&seen);
    }
    rig->conf.proxy = ORIGIN_PROXY_NONE; /* a reload: that connection is no way to the origin itself */
    rig_rule(rig, "http://origin.invalid:8080", "");
    rig_send(rig, rig_request(rig, "OPTIONS", "*", &seen));
    rig_until(rig, &seen.closed);
    CU_ASSERT_EQUAL(seen.error, CV_E_RESOLVE);
    rig_free(rig);
    close(fd);
    end_environment();
}

static void https_goes_through_a_tunnel_that_the_proxy_opens(void)
{
    struct rig *rig = behind("http", "ann:secret@");
    struct rig_seen seen;
    rig_rule(rig, "https://origin.example", "");
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int fd = rig_accept(rig);
    const char *heard = rig_hear(rig, fd, "\r\n\r\n");
    CU_ASSERT_STRING_EQUAL(heard, "CONNECT origin.example:443 HTTP/1.1\r\nHost: origin.example:443\r\n"
                                  "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n");
    rig_say(rig, fd, "HTTP/1.1 200 OK\r\n");
    rig_say(rig, fd, "Via: x\r\n\r\n");
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "\x16\x03\x01")); /* ClientHello */
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "origin.example"));
    close(fd);
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_TLS);
    rig_free(rig);
    end_environment();
}

static void a_proxy_that_refuses_is_named_without_its_password(void)
{
    struct rig *rig = behind("http", "ann:secret@");
    struct rig_seen seen;
    rig_rule(rig, "https://origin.example", "");
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int fd = rig_accept(rig);
    rig_hear(rig, fd, "\r\n\r\n");
    rig_say(rig, fd, "HTTP/1.1 407 Who are you\r\n\r\n");
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen.why, "proxy 127.0.0.1: the proxy refuses the tunnel: HTTP/1.1 407"));
    CU_ASSERT_PTR_NULL(strstr(seen.why, "secret"));
    rig_free(rig);
    close(fd);
    end_environment();
}

static void a_socks_proxy_carries_plain_http(void)
{
    struct rig *rig = behind("socks5", "");
    struct rig_seen seen;
    rig_rule(rig, "http://origin.example:8080", "");
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int fd = rig_accept(rig);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "\x05\x01"));
    CU_ASSERT_EQUAL(send(fd, "\x05\x00", 2, 0), 2);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "origin.example\x1f\x90"));
    CU_ASSERT_EQUAL(send(fd, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", 10, 0), 10);
    const char *heard = rig_hear(rig, fd, "\r\n\r\n");
    CU_ASSERT_PTR_NOT_NULL(heard);
    CU_ASSERT_EQUAL(strncmp(heard ? heard : "", "GET / HTTP/1.1\r\nHost: a.example.com\r\n", 37), 0);
    rig_say(rig, fd, "HTTP/1.1 204 No\r\n\r\n");
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.status, 204);
    rig_free(rig);
    close(fd);
    end_environment();
}

static void loopback_origins_are_reached_directly(void)
{
    struct rig *rig = behind("http", "");
    struct rig_seen seen;
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int fd = rig_accept(rig);
    const char *heard = rig_hear(rig, fd, "\r\n\r\n");
    CU_ASSERT_EQUAL(strncmp(heard ? heard : "", "GET / HTTP/1.1\r\n", 16), 0);
    close(fd);
    CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
    rig_free(rig);
    end_environment();
}

static void only_names_that_are_allowed_are_asked_of_a_proxy(void)
{
    static const struct {
        const char *allow;
        bool asked;
    } cases[] = {
        { "10.0.0.0/8", false }, { "origin.example:81", false }, { "*.example", true }, { "*:80", true }
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig *rig = behind("http", "");
        struct rig_seen seen;
        struct cv_str allow = cv_str_of(cases[i].allow);
        reach_setup(&(struct origins_conf){ .allow = { &allow, 1 } });
        rig_rule(rig, "http://origin.example", "");
        rig_send(rig, rig_request(rig, "GET", "/", &seen));
        if (cases[i].asked) {
            int fd = rig_accept(rig);
            CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "\r\n\r\n"));
            close(fd);
        }
        CU_ASSERT_TRUE(rig_until(rig, &seen.closed));
        CU_ASSERT_EQUAL(seen.error, cases[i].asked ? CV_E_IO : CV_E_DENIED);
        reach_setup(NULL);
        rig_free(rig);
        end_environment();
    }
}

SUITE(origin_egress, TEST(targets_go_the_way_that_go_sends_them),
      TEST(upper_case_wins_and_what_is_unusable_bars_the_way),
      TEST(plain_http_is_asked_of_the_proxy_with_the_whole_url),
      TEST(https_goes_through_a_tunnel_that_the_proxy_opens),
      TEST(a_proxy_that_refuses_is_named_without_its_password), TEST(a_socks_proxy_carries_plain_http),
      TEST(loopback_origins_are_reached_directly), TEST(only_names_that_are_allowed_are_asked_of_a_proxy));
