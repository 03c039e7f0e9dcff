/* test_url.c: URLs of services as Go's net/url takes them apart. */
#include "request/url.h"
#include "suite.h"

static struct bump mem;
static struct reason why;

static const struct {
    const char *text, *scheme, *host, *name, *port, *path, *normal; /* normal NULL: not looked at */
} good[] = {
    { "http://a", "http", "a", "a", "", "", "http://a" },
    { "HTTP://A:8080", "http", "A:8080", "A", "8080", "", "http://A:8080" },
    { "http://a:", "http", "a:", "a", "", "", "http://a:" },
    { "http://[::1]:80", "http", "[::1]:80", "::1", "80", "", "http://[::1]:80" },
    { "http://[fe80::1%25en0]", "http", "[fe80::1%en0]", "fe80::1%en0", "", "", NULL },
    { "http://u:p@a", "http", "a", "a", "", "", "http://u:p@a" },
    { "http://u%40:p%3a@a", "http", "a", "a", "", "", "http://u%40:p%3A@a" },
    { "http://u@v@a", "http", "a", "a", "", "", "http://u%40v@a" },
    { "http://a?x=1", "http", "a", "a", "", "", "http://a?x=1" },
    { "http://a?", "http", "a", "a", "", "", "http://a?" },
    { "http://a??", "http", "a", "a", "", "", "http://a??" },
    { "http://a#f%41 b", "http", "a", "a", "", "", "http://a#fA%20b" },
    { "http://a#", "http", "a", "a", "", "", "http://a" },
    { "http://\xC3\xA9", "http", "\xC3\xA9", "\xC3\xA9", "", "", "http://%C3%A9" },
    { "http://%C3%A9", "http", "\xC3\xA9", "\xC3\xA9", "", "", "http://%C3%A9" },
    { "http://a/b%20c", "http", "a", "a", "", "/b c", NULL },
    { "tcp://a:1:2", "tcp", "a:1:2", "a:1", "2", "", NULL },
    { "a+b-c.1://x", "a+b-c.1", "x", "x", "", "", "a+b-c.1://x" },
    { "localhost:80", "localhost", "", "", "", "", NULL },
    { "localhost", "", "", "", "", "localhost", NULL },
    { "//a", "", "a", "a", "", "", NULL },
    { "", "", "", "", "", "", NULL },
};

static bool is(struct cv_str s, const char *text)
{
    return cv_str_eq(s, cv_str_of(text));
}

static void takes_urls_apart(void)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct url url;
        CU_ASSERT_EQUAL_FATAL(url_parse(&mem, cv_str_of(good[i].text), &url, &why), CV_OK);
        CU_ASSERT(is(url.scheme, good[i].scheme) && is(url.host, good[i].host) && is(url.name, good[i].name));
        CU_ASSERT(is(url.port, good[i].port) && is(url.path, good[i].path));
        CU_ASSERT(!good[i].normal || is(url.text, good[i].normal));
    }
    bump_free(&mem);
}

static const char *const bad[][2] = {
    { "://a", "parse \"://a\": missing protocol scheme" },
    { "127.0.0.1:80", "parse \"127.0.0.1:80\": first path segment in URL cannot contain colon" },
    { "http://a:b", "parse \"http://a:b\": invalid port \":b\" after host" },
    { "http://a:1:2", "parse \"http://a:1:2\": invalid port \":1:2\" after host" },
    { "http://[::1]x", "parse \"http://[::1]x\": invalid port \"x\" after host" },
    { "http://[::1", "parse \"http://[::1\": missing ']' in host" },
    { "http://a[::1]", "parse \"http://a[::1]\": invalid IP-literal" },
    { "http://[1.2.3.4]", "parse \"http://[1.2.3.4]\": invalid IP-literal" },
    { "http://a b", "parse \"http://a b\": invalid character \" \" in host name" },
    { "http://a\\b", "parse \"http://a\\\\b\": invalid character \"\\\\\" in host name" },
    { "http://a%41", "parse \"http://a%41\": invalid URL escape \"%41\"" },
    { "http://a%4", "parse \"http://a%4\": invalid URL escape \"%4\"" },
    { "http://a/%zz", "parse \"http://a/%zz\": invalid URL escape \"%zz\"" },
    { "http://a#%zz", "parse \"http://a#%zz\": invalid URL escape \"%zz\"" },
    { "http://a b#f", "parse \"http://a b\": invalid character \" \" in host name" },
    { "http://u<@a", "parse \"http://u<@a\": net/url: invalid userinfo" },
    { "http://\xC3\xBC@a", "parse \"http://\xC3\xBC@a\": net/url: invalid userinfo" },
    { "http://a\x01", "parse \"http://a\\x01\": net/url: invalid control character in URL" },
    { "http://a\x7f\xC2\xA0", "parse \"http://a\\x7f\\u00a0\": net/url: invalid control character in URL" },
};

static void words_refusals_as_go_does(void)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct url url;
        CU_ASSERT_EQUAL(url_parse(&mem, cv_str_of(bad[i][0]), &url, &why), CV_E_CONF);
        CU_ASSERT_STRING_EQUAL(why.text, bad[i][1]);
    }
    bump_free(&mem);
}

SUITE(url, TEST(takes_urls_apart), TEST(words_refusals_as_go_does));
