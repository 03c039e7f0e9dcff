/* test_request.c: heads as origins get them, and what must never be sent. */
#include "rig.h"
#include "suite.h"

#include <string.h>

static const struct cv_buf no_tags;

static void add_fields(struct cv_req *req, const char *text)
{
    while (*text) {
        const char *colon = strchr(text, ':'), *end = strchr(text, '\n');
        cv_header_add(req, req->headers, (struct cv_str){ text, (size_t)(colon - text) },
                      (struct cv_str){ colon + 1, (size_t)(end - colon - 1) });
        text = end + 1;
    }
}

struct head {
    const char *method, *path, *fields, *want;
    int64_t body_length;
    enum cv_req_type type;
};

static const struct head heads[] = {
    { "GET", "/a%2fb?c=d", "accept:x\n",
      "GET /a%2fb?c=d HTTP/1.1\r\nHost: a.example.com\r\nAccept: x\r\nConnection: keep-alive\r\n\r\n", 0,
      CV_HTTP },
    { "GET", "", "", "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: keep-alive\r\n\r\n", 0, CV_HTTP },
    { "OPTIONS", "*", "", "OPTIONS * HTTP/1.1\r\nHost: a.example.com\r\nConnection: keep-alive\r\n\r\n", 0,
      CV_HTTP },
    { "POST", "/", "",
      "POST / HTTP/1.1\r\nHost: a.example.com\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 0,
      CV_HTTP },
    { "PUT", "/", "content-length:12\n",
      "PUT / HTTP/1.1\r\nHost: a.example.com\r\nConnection: keep-alive\r\nContent-Length: 12\r\n\r\n", 12,
      CV_HTTP },
    { "DELETE", "/", "content-length:5\ntransfer-encoding:chunked\ntrailer:x\n",
      "DELETE / HTTP/1.1\r\nHost: a.example.com\r\nConnection: keep-alive\r\nTransfer-Encoding: "
      "chunked\r\n\r\n",
      CV_BODY_STREAM, CV_HTTP },
    { "GET", "/",
      "connection:close, "
      "x-a\nkeep-alive:5\nproxy-connection:x\nupgrade:h2c\nhost:evil\nx-a:b\ncf-trace-id:1:2:3:1\n"
      "cf-cloudflared-proxy-connection-upgrade:odd\nte:gzip\ncf-ray:r\n",
      "GET / HTTP/1.1\r\nHost: a.example.com\r\nX-A: b\r\nCf-Ray: r\r\nConnection: keep-alive\r\n\r\n", 0,
      CV_HTTP },
    { "GET", "/",
      "te:trailers\nx-forwarded-host:x\nx: \t y z \t\nx:2\nuser-agent:\nsec-websocket-version:8\n",
      "GET / HTTP/1.1\r\nHost: a.example.com\r\nTe: trailers\r\nX-Forwarded-Host: x\r\nX: y z\r\nX: 2\r\n"
      "User-Agent: \r\nSec-Websocket-Version: 8\r\nConnection: keep-alive\r\n\r\n",
      0, CV_HTTP },
    { "GET", "/ws", "sec-websocket-version:8\nsec-websocket-key:k\nconnection:x\nupgrade:y\n",
      "GET /ws HTTP/1.1\r\nHost: a.example.com\r\nSec-Websocket-Key: k\r\nConnection: Upgrade\r\nUpgrade: "
      "websocket\r\n"
      "Sec-Websocket-Version: 13\r\n\r\n",
      0, CV_WEBSOCKET },
    { "GET", "/\xc3\xa9", "x:\xc3\xa9\n",
      "GET /\xc3\xa9 HTTP/1.1\r\nHost: a.example.com\r\nX: \xc3\xa9\r\nConnection: keep-alive\r\n\r\n", 0,
      CV_HTTP },
};

static enum cv_error head_of(struct rig *rig, const struct head *h, struct cv_buf *out)
{
    static const struct cv_rule rule;
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, h->method, h->path, &seen);
    req->type = h->type;
    req->rule = &rule;
    add_fields(req, h->fields);
    const char *why = NULL;
    enum cv_error error = origin_request_head(out, req, h->body_length, &no_tags, &why);
    CU_ASSERT(!error || why);
    cv_req_fail(req, CV_E_CANCEL, "enough");
    rig_turn(rig);
    return error;
}

static void rebuilds_heads(void)
{
    struct rig *rig = rig_new();
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct cv_buf out = { 0 };
        CU_ASSERT_EQUAL(head_of(rig, &heads[i], &out), CV_OK);
        cv_buf_add(&out, "", 1);
        CU_ASSERT_STRING_EQUAL((const char *)out.p, heads[i].want);
        cv_buf_free(&out);
    }
    rig_free(rig);
}

static const struct head refused[] = {
    { "GET /", "/", "", NULL, 0, CV_HTTP },
    { "", "/", "", NULL, 0, CV_HTTP },
    { "GET\r\n", "/", "", NULL, 0, CV_HTTP },
    { "CONNECT", "/", "", NULL, 0, CV_HTTP },
    { "GET", "/ HTTP/1.1", "", NULL, 0, CV_HTTP },
    { "GET", "/\r\nX: y", "", NULL, 0, CV_HTTP },
    { "GET", "/\t", "", NULL, 0, CV_HTTP },
    { "GET", "/\x7f", "", NULL, 0, CV_HTTP },
    { "GET", "a/b", "", NULL, 0, CV_HTTP },
    { "GET", "http://b/", "", NULL, 0, CV_HTTP },
    { "GET", "/", "x y:1\n", NULL, 0, CV_HTTP },
    { "GET", "/", ":1\n", NULL, 0, CV_HTTP },
    { "GET", "/", "x\r:1\n", NULL, 0, CV_HTTP },
    { "GET", "/", "x:1\r\n", NULL, 0, CV_HTTP },
    { "GET", "/", "x:a\x01z\n", NULL, 0, CV_HTTP },
    { "GET", "/", "x\xc3\xa9:1\n", NULL, 0, CV_HTTP },
    { "GET", "/", "content-length :1\n", NULL, 0, CV_HTTP },
};

static void refuses_what_could_split_a_request(void)
{
    struct rig *rig = rig_new();
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct cv_buf out = { 0 };
        CU_ASSERT_EQUAL(head_of(rig, &refused[i], &out), CV_E_PROTO);
        cv_buf_free(&out);
    }
    rig_free(rig);
}

static void refuses_a_host_that_is_none(void)
{
    static const struct cv_str hosts[] = { CV_STR("a b"), CV_STR("a\r\nX: y"), CV_STR("a/b"), CV_STR("a@b"),
                                           CV_STR("a?b"), CV_STR("a\0b"),      CV_STR("a,b") };
    struct rig *rig = rig_new();
    static const struct cv_rule rule;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct rig_seen seen;
        struct cv_req *req = rig_request(rig, "GET", "/", &seen);
        req->rule = &rule;
        req->authority = hosts[i];
        struct cv_buf out = { 0 };
        const char *why;
        CU_ASSERT_EQUAL(origin_request_head(&out, req, 0, &no_tags, &why), CV_E_PROTO);
        cv_buf_free(&out);
        cv_req_fail(req, CV_E_CANCEL, "enough");
        rig_turn(rig);
    }
    rig_free(rig);
}

static void replaces_the_host_and_tells_the_old_one(void)
{
    struct rig *rig = rig_new();
    static const struct cv_rule rule = { .settings.http_host_header = CV_STR("inner:1") };
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "GET", "/", &seen);
    req->rule = &rule;
    add_fields(req, "x-forwarded-host:forged\n");
    struct cv_buf out = { 0 };
    const char *why;
    CU_ASSERT_EQUAL(origin_request_head(&out, req, 0, &no_tags, &why), CV_OK);
    cv_buf_add(&out, "", 1);
    CU_ASSERT_STRING_EQUAL((const char *)out.p,
                           "GET / HTTP/1.1\r\nHost: inner:1\r\nX-Forwarded-Host: a.example.com\r\n"
                           "Connection: keep-alive\r\n\r\n");
    cv_buf_free(&out);
    cv_req_fail(req, CV_E_CANCEL, "enough");
    rig_free(rig);
}

static void makes_tags_header_lines(void)
{
    struct cv_buf out = { 0 };
    CU_ASSERT(origin_tag_line(&out, CV_STR("team-NAME"), CV_STR(" blue ")));
    CU_ASSERT_FALSE(origin_tag_line(&out, CV_STR("a b"), CV_STR("c")));
    CU_ASSERT_FALSE(origin_tag_line(&out, CV_STR(""), CV_STR("c")));
    CU_ASSERT_FALSE(origin_tag_line(&out, CV_STR("a"), CV_STR("b\r\nc")));
    cv_buf_add(&out, "", 1);
    CU_ASSERT_STRING_EQUAL((const char *)out.p, "Cf-Warp-Tag-Team-Name: blue\r\n");
    cv_buf_free(&out);
}

SUITE(origin_request, TEST(rebuilds_heads), TEST(refuses_what_could_split_a_request),
      TEST(refuses_a_host_that_is_none), TEST(replaces_the_host_and_tells_the_old_one),
      TEST(makes_tags_header_lines));
