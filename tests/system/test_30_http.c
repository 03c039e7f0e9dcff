/* test_30_http.c: what goes in comes out: rules, methods, framing, headers and bodies as HTTP wants them. */
#include "scene.h"

#include <stdatomic.h>

/* ---- rules -------------------------------------------------------------------------------------------- */

static void requests_go_where_the_rules_say(void)
{
    static const char rules[] =
        "{\"ingress\":[{\"hostname\":\"a.example\",\"service\":\"$ORIGIN\"},"
        "{\"hostname\":\"teapot.example\",\"service\":\"http_status:418\"},"
        "{\"hostname\":\"*.wild.example\",\"path\":\"^/in/\",\"service\":\"$ORIGIN\"},"
        "{\"service\":\"http_status:404\"}]}";
    static const struct {
        const char *host, *target;
        int status;
        const char *body;
    } cases[] = { { "a.example", "/x?y=%2F", 200, "GET /x?y=%2F" },
                  { "a.example:8443", "/port", 200, "GET /port" },
                  { "teapot.example", "/", 418, "" },
                  { "x.wild.example", "/in/side", 200, "GET /in/side" },
                  { "x.wild.example", "/outside", 404, "" },
                  { "unknown.example", "/", 404, "" },
                  { "A.example", "/", 404, "" },
                  { "a.example", "//a/../b/%41?q=\"'<>", 200, "GET //a/../b/%41?q=\"'<>" } };
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .rules = rules });
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            char host[64];
            snprintf(host, sizeof(host), "Host: %s\r\n", cases[i].host);
            struct answer a = scene_visit(t, "GET", cases[i].target, host, NULL, 0);
            CHECK_STATUS(a, cases[i].status);
            CU_ASSERT_STRING_EQUAL(answer_text(&a), cases[i].body);
            CHECK_HOLDS(a.head, "X-Edge-Source: origin\r\n");
            answer_free(&a);
        }
        scene_stop(t);
    }
}

/* ---- requests at the origin --------------------------------------------------------------------------- */

static bool tell_head(struct http1 *h, void *unused)
{
    (void)unused;
    struct cv_buf body = { 0 }, text = { 0 };
    bool whole = http1_read_all(h, &body) == 0;
    cv_buf_add(&text, h->head, strlen(h->head) - 2);
    cv_buf_add(&text, "\r\n", 2);
    cv_buf_add(&text, body.p, body.n);
    whole = whole && http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", text.n) &&
            http1_send(h, text.p, text.n);
    cv_buf_free(&body);
    cv_buf_free(&text);
    return whole;
}

static const struct {
    const char *method, *fields, *body; /* body NULL: no field about it */
    const char *holds[3], *lacks[2];    /* what the origin gets         */
} requests[] = {
    { "GET",
      "",
      NULL,
      { "GET /r HTTP/1.1\r\nHost: a.example\r\n" },
      { "Content-Length", "Transfer-Encoding" } },
    { "DELETE", "", NULL, { "DELETE /r HTTP/1.1\r\n" }, { "Content-Length", "Transfer-Encoding" } },
    { "OPTIONS", "", NULL, { "OPTIONS /r HTTP/1.1\r\n" }, { "Content-Length", "Transfer-Encoding" } },
    { "POST", "", NULL, { "\r\nContent-Length: 0\r\n" }, { "Transfer-Encoding" } },
    { "POST", "Content-Length: 0\r\n", NULL, { "\r\nContent-Length: 0\r\n" }, { "Transfer-Encoding" } },
    { "PUT", "", NULL, { "\r\nContent-Length: 0\r\n" }, { "Transfer-Encoding" } },
    { "POST", "", "abc", { "\r\nContent-Length: 3\r\n", "\r\n\r\nabc" }, { "Transfer-Encoding" } },
    { "DELETE", "", "abc", { "\r\nContent-Length: 3\r\n", "\r\n\r\nabc" }, { "Transfer-Encoding" } },
    { "POST",
      "Transfer-Encoding: chunked\r\n",
      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
      { "\r\nTransfer-Encoding: chunked\r\n", "\r\n\r\nabcde" },
      { "Content-Length" } },
    { "POST", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", { "POST /r" }, { NULL } },
    { "GET", "X-Twice: 1\r\nX-Twice: 2\r\n", NULL, { "X-Twice: 1\r\n", "X-Twice: 2\r\n" }, { NULL } },
    { "GET", "X-Bytes: caf\xc3\xa9 \xff\xfe\r\n", NULL, { "X-Bytes: caf\xc3\xa9 \xff\xfe\r\n" }, { NULL } },
    { "GET", "X-Empty:\r\n", NULL, { "X-Empty:" }, { NULL } },
    { "GET", "Accept-Encoding: br\r\n", NULL, { "Accept-Encoding: br\r\n" }, { "gzip" } },
    { "GET", "Cf-Trace-Id: 1:2:0:1\r\n", NULL, { "Cf-Warp-Tag-Id: " }, { "Cf-Trace-Id", "User-Agent" } },
    { "GET",
      "User-Agent: me/1\r\nAuthorization: Bearer sk-culvert-test-7f3a9c51\r\n",
      NULL,
      { "User-Agent: me/1\r\n", "Authorization: Bearer sk-culvert-test-7f3a9c51\r\n" },
      { NULL } },
    { "GET",
      "",
      NULL,
      { "Cf-Ray: ", "Cf-Connecting-Ip: 127.0.0.1\r\n", "X-Forwarded-For: 127.0.0.1\r\n" },
      { "Cf-Cloudflared-" } },
    { "PATCH", "Expect: 100-continue\r\n", "x", { "PATCH /r", "\r\n\r\nx" }, { NULL } },
};

static void requests_arrive_as_they_were_sent(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = tell_head });
        for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
            struct http1 h;
            struct cv_buf text = { 0 };
            char length[48] = "";
            const char *body = requests[i].body;
            if (body && !strstr(requests[i].fields, "Transfer-Encoding"))
                snprintf(length, sizeof(length), "Content-Length: %zu\r\n", strlen(body));
            CU_ASSERT_TRUE(http1_connect(&h, t->front));
            CU_ASSERT_TRUE(http1_sendf(&h, "%s /r HTTP/1.1\r\nHost: a.example\r\n%s%s\r\n%s",
                                       requests[i].method, requests[i].fields, length, body ? body : ""));
            CU_ASSERT_TRUE_FATAL(http1_answer(&h, requests[i].method) && http1_read_all(&h, &text) == 0);
            CU_ASSERT_EQUAL(h.status, 200);
            cv_buf_add(&text, "", 1);
            for (size_t k = 0; k < 3 && requests[i].holds[k]; k++)
                CHECK_HOLDS((char *)text.p, requests[i].holds[k]);
            for (size_t k = 0; k < 2 && requests[i].lacks[k]; k++) {
                bool lacks = !strstr((char *)text.p, requests[i].lacks[k]);
                CU_ASSERT_TRUE(lacks);
                if (!lacks)
                    fprintf(stderr, "  %s case %zu: %s in\n%s\n", transport, i, requests[i].lacks[k],
                            (char *)text.p);
            }
            cv_buf_free(&text);
            http1_close(&h);
        }
        scene_stop(t);
    }
}

/* HTTP/2 lets a cookie travel in crumbs, which are one field everywhere else (RFC 9113 §8.2.3). */
static void cookie_crumbs_are_joined(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = tell_head });
        struct answer a = scene_visit(t, "GET", "/", "Cookie: a=1\r\nCookie: b=2\r\n", NULL, 0);
        CHECK_HOLDS(answer_text(&a), strcmp(transport, "http2") == 0 ? "\r\nCookie: a=1; b=2\r\n"
                                                                     : "\r\nCookie: a=1\r\nCookie: b=2\r\n");
        answer_free(&a);
        scene_stop(t);
    }
}

/* ---- answers at the visitor --------------------------------------------------------------------------- */

static const struct {
    const char *method, *answer; /* of the origin */
    int status;
    const char *body, *holds[3];
    const char *lacks;
} answers[] = {
    { "GET",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      200,
      "hello",
      { "\r\nContent-Length: 5\r\n" },
      NULL },
    { "HEAD",
      "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nX-H: 1\r\n\r\n",
      200,
      "",
      { "\r\nContent-Length: 12345\r\n", "\r\nX-H: 1\r\n" },
      NULL },
    { "HEAD", "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n", 404, "", { NULL }, NULL },
    { "GET", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", 204, "", { "\r\nX-A: b\r\n" }, NULL },
    { "GET",
      "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
      304,
      "",
      { "\r\nEtag: \"x\"\r\n" },
      NULL },
    { "DELETE", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, "", { NULL }, NULL },
    { "GET",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"
      "Content-Length: 2\r\n\r\nok",
      200,
      "ok",
      { NULL },
      "Link" },
    { "GET",
      "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nSet-Cookie: a=1; Path=/\r\n"
      "Content-Length: 0\r\n\r\n",
      200,
      "",
      { "\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nSet-Cookie: a=1; Path=/\r\n" },
      NULL },
    { "GET",
      "HTTP/1.1 200 OK\r\nX-Bytes: \xc3\xa9\xff\x80 end\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n",
      200,
      "",
      { "\r\nX-Bytes: \xc3\xa9\xff\x80 end\r\n", "\r\nX-Empty:" },
      NULL },
    { "GET",
      "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
      302,
      "",
      { "\r\nLocation: http://elsewhere/\r\n" },
      NULL },
    { "POST", "HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad", 500, "bad", { NULL }, NULL },
    { "GET", "HTTP/1.1 299\r\nContent-Length: 1\r\n\r\nx", 299, "x", { NULL }, NULL },
    { "GET", "HTTP/1.0 200 OK\r\n\r\nold", 200, "old", { NULL }, NULL },
    { "GET",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n",
      200,
      "abc",
      { NULL },
      NULL },
    { "GET",
      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\nVary: *\r\n\r\n\x1f\x8b!",
      200,
      "\x1f\x8b!",
      { "\r\nVary: *\r\n", "\r\nContent-Encoding: gzip\r\n" },
      NULL },
};

static bool canned(struct http1 *h, void *unused)
{
    (void)unused;
    const char *answer = answers[strtoul(h->target + 1, NULL, 10)].answer;
    struct cv_buf body = { 0 };
    bool whole = http1_read_all(h, &body) == 0 && http1_send(h, answer, strlen(answer));
    cv_buf_free(&body);
    return whole && strncmp(answer, "HTTP/1.0", 8) != 0;
}

static void answers_arrive_as_they_were_sent(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = canned });
        for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
            char target[16];
            snprintf(target, sizeof(target), "/%zu", i);
            struct answer a = scene_visit(t, answers[i].method, target, "Accept-Encoding: gzip\r\n", NULL, 0);
            CHECK_STATUS(a, answers[i].status);
            CU_ASSERT_EQUAL(a.end, 0);
            CU_ASSERT_STRING_EQUAL(answer_text(&a), answers[i].body);
            CU_ASSERT_PTR_NOT_NULL_FATAL(a.head);
            CHECK_HOLDS(a.head, "\r\nX-Edge-Source: origin\r\n");
            for (size_t k = 0; k < 3 && answers[i].holds[k]; k++)
                CHECK_HOLDS(a.head, answers[i].holds[k]);
            CU_ASSERT_TRUE(!answers[i].lacks || !strstr(a.head, answers[i].lacks));
            answer_free(&a);
        }
        CU_ASSERT_EQUAL(scene_seen(t, "interim"), 0);
        scene_stop(t);
    }
}

SUITE(system_30_http, TEST(requests_go_where_the_rules_say), TEST(requests_arrive_as_they_were_sent),
      TEST(cookie_crumbs_are_joined), TEST(answers_arrive_as_they_were_sent));
