/* test_proxy.c: which proxy is taken, and the words spoken with it, answers coming in pieces. */
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

static void urls_are_read(void)
{
    static const struct {
        const char *url;
        int kind;
        const char *host;
        uint16_t port;
        const char *credentials;
    } good[] = {
        { "http://proxy.example.com:8080", H2_PROXY_HTTP, "proxy.example.com", 8080, "" },
        { "http://proxy.example.com", H2_PROXY_HTTP, "proxy.example.com", 3128, "" },
        { "proxy.example.com:8080/", H2_PROXY_HTTP, "proxy.example.com", 8080, "" },
        { "SOCKS5://10.0.0.1", H2_PROXY_SOCKS5, "10.0.0.1", 1080, "" },
        { "socks5h://[::1]:99", H2_PROXY_SOCKS5, "::1", 99, "" },
        { "http://ann:p%40ss@proxy:1", H2_PROXY_HTTP, "proxy", 1, "ann:p@ss" },
    };
    static const char *const bad[] = { "",
                                       "http://",
                                       "https://proxy:1",
                                       "http://proxy:0",
                                       "http://proxy:x",
                                       "ftp://a:1",
                                       "http://proxy:65536",
                                       "http://a:1/path",
                                       "http://u:%zz@a:1" };
    struct h2_proxy p;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CU_ASSERT_TRUE(h2_proxy_parse(cv_str_of(good[i].url), &p));
        CU_ASSERT_EQUAL((int)p.kind, good[i].kind);
        CU_ASSERT_EQUAL(p.port, good[i].port);
        CU_ASSERT_STRING_EQUAL(p.host, good[i].host);
        CU_ASSERT_STRING_EQUAL(p.credentials, good[i].credentials);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CU_ASSERT_FALSE(h2_proxy_parse(cv_str_of(bad[i]), &p));
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
    struct h2_proxy p;
    struct cv_err err;
    unsetenv("https_proxy");
    setenv("HTTPS_PROXY", "http://one:1", 1);
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_OK);
    CU_ASSERT_STRING_EQUAL(p.host, "one");
    setenv("NO_PROXY", "198.51.100.0/24", 1);
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_OK);
    CU_ASSERT_EQUAL(p.kind, H2_PROXY_NONE);
    conf.proxy = "socks5://two:2";
    conf.proxy_credentials = (struct cv_secret){ "u:p", 3 };
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_OK);
    CU_ASSERT_STRING_EQUAL(p.host, "two");
    CU_ASSERT_STRING_EQUAL(p.credentials, "u:p");
    conf.proxy = "none";
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_OK);
    CU_ASSERT_EQUAL(p.kind, H2_PROXY_NONE);
    unsetenv("NO_PROXY");
    setenv("HTTPS_PROXY", "https://secret:word@x", 1);
    conf.proxy = "env";
    CU_ASSERT_EQUAL(h2_proxy_choose(&conf, &edge, &p, &err), CV_E_CONF);
    CU_ASSERT_PTR_NULL(strstr(err.text, "word")); /* never what it holds */
    unsetenv("HTTPS_PROXY");
}

struct turn {
    const char *says; /* the proxy */
    size_t n;
    const char *hears; /* what we send after it */
    size_t n_hears;
    enum h2_verdict verdict;
};

/* Every answer comes byte by byte; only the last byte may change anything. */
static void talk(const struct h2_proxy *proxy, const char *begins, size_t n, const struct turn *turns,
                 size_t n_turns, const char *error)
{
    struct sockaddr_storage edge = address("198.51.100.7", 7844);
    struct h2_dialogue d;
    struct cv_buf out = { 0 };
    struct cv_err err = { "" };
    h2_dialogue_begin(&d, proxy, &edge, &out);
    CU_ASSERT(out.n == n && memcmp(out.p, begins, n) == 0);
    for (size_t i = 0; i < n_turns; i++) {
        const uint8_t *p = (const uint8_t *)turns[i].says;
        out.n = 0;
        for (size_t k = 0; k + 1 < turns[i].n; k++)
            CU_ASSERT_EQUAL(h2_dialogue_feed(&d, p + k, 1, &out, &err), H2_MORE);
        CU_ASSERT_EQUAL(out.n, 0);
        CU_ASSERT_EQUAL(h2_dialogue_feed(&d, p + turns[i].n - 1, 1, &out, &err), turns[i].verdict);
        CU_ASSERT(out.n == turns[i].n_hears && (out.n == 0 || memcmp(out.p, turns[i].hears, out.n) == 0));
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, error));
    cv_buf_free(&out);
    h2_dialogue_free(&d);
}
#define SAYS(text) text, sizeof(text) - 1

static void an_http_proxy_opens_the_tunnel(void)
{
    struct h2_proxy p = { .kind = H2_PROXY_HTTP, .credentials = "ann:secret" },
                    open = { .kind = H2_PROXY_HTTP };
    talk(&p,
         SAYS("CONNECT 198.51.100.7:7844 HTTP/1.1\r\nHost: 198.51.100.7:7844\r\n"
              "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"),
         &(struct turn){ SAYS("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"), "", 0, H2_DONE }, 1,
         "");
    static const char begins[] = "CONNECT 198.51.100.7:7844 HTTP/1.1\r\nHost: 198.51.100.7:7844\r\n\r\n";
    talk(&open, SAYS(begins), &(struct turn){ SAYS("HTTP/1.0 407 Login first\r\n\r\n"), "", 0, H2_FAILED }, 1,
         "refuses the tunnel: HTTP/1.0 407 Login first");
    talk(&open, SAYS(begins), &(struct turn){ SAYS("SSH-2.0-OpenSSH\r\n\r\n"), "", 0, H2_FAILED }, 1,
         "does not answer CONNECT");
}

static void a_socks_proxy_opens_the_tunnel(void)
{
    struct h2_proxy open = { .kind = H2_PROXY_SOCKS5 },
                    login = { .kind = H2_PROXY_SOCKS5, .credentials = "u:pw" };
    static const char connect[] = "\x05\x01\x00\x01\xc6\x33\x64\x07\x1e\xa4";
    static const char ok[] = "\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38",
                      ok_name[] = "\x05\x00\x00\x03\x02hi\x04\x38";
    const struct turn plain[] = { { SAYS("\x05\x00"), SAYS(connect), H2_MORE },
                                  { SAYS(ok), "", 0, H2_DONE } };
    talk(&open, SAYS("\x05\x01\x00"), plain, 2, "");
    const struct turn with_login[] = { { SAYS("\x05\x02"), SAYS("\x01\x01u\x02pw"), H2_MORE },
                                       { SAYS("\x01\x00"), SAYS(connect), H2_MORE },
                                       { SAYS(ok_name), "", 0, H2_DONE } };
    talk(&login, SAYS("\x05\x02\x00\x02"), with_login, 3, "");
    talk(&open, SAYS("\x05\x01\x00"), &(struct turn){ SAYS("\x05\xff"), "", 0, H2_FAILED }, 1,
         "wants a login");
    const struct turn refused[] = { { SAYS("\x05\x00"), SAYS(connect), H2_MORE },
                                    { SAYS("\x05\x05"), "", 0, H2_FAILED } };
    talk(&open, SAYS("\x05\x01\x00"), refused, 2, "connection refused");
    talk(&open, SAYS("\x05\x01\x00"), &(struct turn){ SAYS("HT"), "", 0, H2_FAILED }, 1,
         "does not speak SOCKS5");
}

static void an_endless_answer_is_cut(void)
{
    struct sockaddr_storage edge = address("2001:db8::7", 7844);
    struct h2_proxy p = { .kind = H2_PROXY_HTTP };
    struct h2_dialogue d;
    struct cv_buf out = { 0 };
    struct cv_err err;
    h2_dialogue_begin(&d, &p, &edge, &out);
    CU_ASSERT_PTR_NOT_NULL(memmem(out.p, out.n, "CONNECT [2001:db8::7]:7844 ", 27));
    enum h2_verdict verdict = H2_MORE;
    size_t fed = 0;
    for (; verdict == H2_MORE && fed < 100000; fed += 5)
        verdict = h2_dialogue_feed(&d, (const uint8_t *)"xxxxx", 5, &out, &err);
    CU_ASSERT_EQUAL(verdict, H2_FAILED);
    CU_ASSERT(fed < 10000);
    cv_buf_free(&out);
    h2_dialogue_free(&d);
}

SUITE(h2_proxy, TEST(urls_are_read), TEST(exemptions_hold_for_addresses_and_networks),
      TEST(the_environment_is_asked_unless_the_ini_says_otherwise), TEST(an_http_proxy_opens_the_tunnel),
      TEST(a_socks_proxy_opens_the_tunnel), TEST(an_endless_answer_is_cut));
