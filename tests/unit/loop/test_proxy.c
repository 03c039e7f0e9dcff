/* test_proxy.c: how a proxy is named, and the words spoken with it, answers coming in pieces. */
#include "culvert/proxy.h"
#include "suite.h"

#include <string.h>

static void urls_are_read(void)
{
    static const struct {
        const char *url;
        int kind;
        const char *host;
        uint16_t port;
        const char *credentials;
    } good[] = {
        { "http://proxy.example.com:8080", CV_PROXY_HTTP, "proxy.example.com", 8080, "" },
        { "http://proxy.example.com", CV_PROXY_HTTP, "proxy.example.com", 0, "" },
        { "proxy.example.com:8080/", CV_PROXY_HTTP, "proxy.example.com", 8080, "" },
        { "SOCKS5://10.0.0.1", CV_PROXY_SOCKS5, "10.0.0.1", 0, "" },
        { "socks5h://[::1]:99", CV_PROXY_SOCKS5, "::1", 99, "" },
        { "http://ann:p%40ss@proxy:1", CV_PROXY_HTTP, "proxy", 1, "ann:p@ss" },
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
    struct cv_proxy p;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CU_ASSERT_TRUE(cv_proxy_parse(cv_str_of(good[i].url), &p));
        CU_ASSERT_EQUAL((int)p.kind, good[i].kind);
        CU_ASSERT_EQUAL(p.port, good[i].port);
        CU_ASSERT_STRING_EQUAL(p.host, good[i].host);
        CU_ASSERT_STRING_EQUAL(p.credentials, good[i].credentials);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CU_ASSERT_FALSE(cv_proxy_parse(cv_str_of(bad[i]), &p));
}

struct turn {
    const char *says; /* the proxy */
    size_t n;
    const char *hears; /* what we send after it */
    size_t n_hears;
    enum cv_proxy_verdict verdict;
};

/* Every answer comes byte by byte; only the last byte may change anything. */
static void talk(const struct cv_proxy *proxy, struct cv_str host, const char *begins, size_t n,
                 const struct turn *turns, size_t n_turns, const char *error)
{
    struct cv_proxy_talk d;
    struct cv_buf out = { 0 };
    struct cv_err err = { "" };
    cv_proxy_begin(&d, proxy, host, 7844, &out);
    CU_ASSERT(out.n == n && memcmp(out.p, begins, n) == 0);
    for (size_t i = 0; i < n_turns; i++) {
        const uint8_t *p = (const uint8_t *)turns[i].says;
        out.n = 0;
        for (size_t k = 0; k + 1 < turns[i].n; k++)
            CU_ASSERT_EQUAL(cv_proxy_feed(&d, p + k, 1, &out, &err), CV_PROXY_MORE);
        CU_ASSERT_EQUAL(out.n, 0);
        CU_ASSERT_EQUAL(cv_proxy_feed(&d, p + turns[i].n - 1, 1, &out, &err), turns[i].verdict);
        CU_ASSERT(out.n == turns[i].n_hears && (out.n == 0 || memcmp(out.p, turns[i].hears, out.n) == 0));
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, error));
    cv_buf_free(&out);
    cv_proxy_end(&d);
}
#define SAYS(text) text, sizeof(text) - 1
static const struct cv_str far_end = { "198.51.100.7", 12 };

static void an_http_proxy_opens_the_tunnel(void)
{
    struct cv_proxy p = { .kind = CV_PROXY_HTTP, .credentials = "ann:secret" },
                    open = { .kind = CV_PROXY_HTTP };
    talk(
        &p, far_end,
        SAYS("CONNECT 198.51.100.7:7844 HTTP/1.1\r\nHost: 198.51.100.7:7844\r\n"
             "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"),
        &(struct turn){ SAYS("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"), "", 0, CV_PROXY_DONE },
        1, "");
    static const char begins[] = "CONNECT 198.51.100.7:7844 HTTP/1.1\r\nHost: 198.51.100.7:7844\r\n\r\n";
    talk(&open, far_end, SAYS(begins),
         &(struct turn){ SAYS("HTTP/1.0 407 Login first\r\n\r\n"), "", 0, CV_PROXY_FAILED }, 1,
         "refuses the tunnel: HTTP/1.0 407 Login first");
    talk(&open, far_end, SAYS(begins),
         &(struct turn){ SAYS("SSH-2.0-OpenSSH\r\n\r\n"), "", 0, CV_PROXY_FAILED }, 1,
         "does not answer CONNECT");
}

static void a_socks_proxy_opens_the_tunnel(void)
{
    struct cv_proxy open = { .kind = CV_PROXY_SOCKS5 },
                    login = { .kind = CV_PROXY_SOCKS5, .credentials = "u:pw" };
    static const char connect[] = "\x05\x01\x00\x01\xc6\x33\x64\x07\x1e\xa4";
    static const char ok[] = "\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38",
                      ok_name[] = "\x05\x00\x00\x03\x02hi\x04\x38";
    const struct turn plain[] = { { SAYS("\x05\x00"), SAYS(connect), CV_PROXY_MORE },
                                  { SAYS(ok), "", 0, CV_PROXY_DONE } };
    talk(&open, far_end, SAYS("\x05\x01\x00"), plain, 2, "");
    const struct turn with_login[] = { { SAYS("\x05\x02"), SAYS("\x01\x01u\x02pw"), CV_PROXY_MORE },
                                       { SAYS("\x01\x00"), SAYS(connect), CV_PROXY_MORE },
                                       { SAYS(ok_name), "", 0, CV_PROXY_DONE } };
    talk(&login, far_end, SAYS("\x05\x02\x00\x02"), with_login, 3, "");
    talk(&open, far_end, SAYS("\x05\x01\x00"), &(struct turn){ SAYS("\x05\xff"), "", 0, CV_PROXY_FAILED }, 1,
         "wants a login");
    const struct turn refused[] = { { SAYS("\x05\x00"), SAYS(connect), CV_PROXY_MORE },
                                    { SAYS("\x05\x05"), "", 0, CV_PROXY_FAILED } };
    talk(&open, far_end, SAYS("\x05\x01\x00"), refused, 2, "connection refused");
    talk(&open, far_end, SAYS("\x05\x01\x00"), &(struct turn){ SAYS("HT"), "", 0, CV_PROXY_FAILED }, 1,
         "does not speak SOCKS5");
}

static void a_socks_proxy_looks_names_up_itself(void)
{
    struct cv_proxy open = { .kind = CV_PROXY_SOCKS5 };
    static const char name[] = "\x05\x01\x00\x03\x0eorigin.example\x1e\xa4",
                      v6[] = "\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x1e\xa4";
    talk(&open, CV_STR("origin.example"), SAYS("\x05\x01\x00"),
         &(struct turn){ SAYS("\x05\x00"), SAYS(name), CV_PROXY_MORE }, 1, "");
    talk(&open, CV_STR("2001:db8::7"), SAYS("\x05\x01\x00"),
         &(struct turn){ SAYS("\x05\x00"), SAYS(v6), CV_PROXY_MORE }, 1, "");
}

static void an_endless_answer_is_cut(void)
{
    struct cv_proxy p = { .kind = CV_PROXY_HTTP };
    struct cv_proxy_talk d;
    struct cv_buf out = { 0 };
    struct cv_err err;
    cv_proxy_begin(&d, &p, CV_STR("2001:db8::7"), 7844, &out);
    CU_ASSERT_PTR_NOT_NULL(memmem(out.p, out.n, "CONNECT [2001:db8::7]:7844 ", 27));
    enum cv_proxy_verdict verdict = CV_PROXY_MORE;
    size_t fed = 0;
    for (; verdict == CV_PROXY_MORE && fed < 100000; fed += 5)
        verdict = cv_proxy_feed(&d, (const uint8_t *)"xxxxx", 5, &out, &err);
    CU_ASSERT_EQUAL(verdict, CV_PROXY_FAILED);
    CU_ASSERT(fed < 10000);
    cv_buf_free(&out);
    cv_proxy_end(&d);
}

SUITE(proxy, TEST(urls_are_read), TEST(an_http_proxy_opens_the_tunnel), TEST(a_socks_proxy_opens_the_tunnel),
      TEST(a_socks_proxy_looks_names_up_itself), TEST(an_endless_answer_is_cut));
