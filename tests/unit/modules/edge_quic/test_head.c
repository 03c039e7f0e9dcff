/* test_head.c: heads of data streams, by the golden vectors and by what a peer could get wrong. */
#include "edge_quic/quic.h"
#include "harness.h"
#include "suite.h"
#include "vectors.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { PREAMBLE = QUIC_SIGNATURE + QUIC_VERSION, HEAD_MAX = 65536 };

static struct cv_metadata metadata[QUIC_METADATA];

static enum cv_error decode(const uint8_t *p, size_t n, size_t *need, struct cv_connect_request *head)
{
    *head = (struct cv_connect_request){ .metadata = metadata, .n_metadata = QUIC_METADATA };
    return cv_connect_request_decode(p, n, HEAD_MAX, need, head, NULL);
}

static void same_head(const char *name)
{
    struct cv_buf bytes = vector_bytes(name);
    yyjson_doc *doc = vector_json(name);
    yyjson_val *want = yyjson_doc_get_root(doc), *list = yyjson_obj_get(want, "metadata");
    struct cv_connect_request head;
    size_t need;
    CU_ASSERT_EQUAL(quic_head_kind(bytes.p, bytes.n), QUIC_DATA);
    CU_ASSERT_EQUAL_FATAL(decode(bytes.p + PREAMBLE, bytes.n - PREAMBLE, &need, &head), CV_OK);
    CU_ASSERT_TRUE_FATAL(need <= bytes.n - PREAMBLE);
    CU_ASSERT_EQUAL(head.type, yyjson_get_uint(yyjson_obj_get(want, "type")));
    CU_ASSERT_TRUE(cv_str_eq(head.dest, vector_str(want, "dest")));
    CU_ASSERT_EQUAL_FATAL(head.n_metadata, yyjson_arr_size(list));
    for (size_t i = 0; i < head.n_metadata; i++) {
        CU_ASSERT_TRUE(cv_str_eq(head.metadata[i].key, vector_str(yyjson_arr_get(list, i), "key")));
        CU_ASSERT_TRUE(cv_str_eq(head.metadata[i].val, vector_str(yyjson_arr_get(list, i), "val")));
    }
    for (size_t n = 0; n < need; n++) { /* never more, never less than it needs */
        size_t wanted;
        CU_ASSERT_EQUAL(decode(bytes.p + PREAMBLE, n, &wanted, &head), CV_OK);
        CU_ASSERT_TRUE(wanted > n && wanted <= need);
    }
    yyjson_doc_free(doc);
    cv_buf_free(&bytes);
}

static void reads_every_golden_request(void)
{
    DIR *dir = opendir("tests/vectors/quic");
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char *dot = strstr(e->d_name, ".hex");
        if (strncmp(e->d_name, "req-", 4) != 0 || !dot)
            continue;
        char name[256];
        snprintf(name, sizeof name, "quic/%.*s", (int)(dot - e->d_name), e->d_name);
        same_head(name);
        n++;
    }
    closedir(dir);
    CU_ASSERT_TRUE(n >= 10);
}

static void refuses_what_the_reader_of_the_edge_refuses(void)
{
    yyjson_doc *doc = vector_json("quic/malformed-connect-requests");
    size_t i, max;
    yyjson_val *t, *cases = yyjson_obj_get(yyjson_doc_get_root(doc), "cases");
    yyjson_arr_foreach(cases, i, max, t)
    {
        struct cv_buf bytes = { 0 };
        vector_unhex(&bytes, vector_str(t, "hex_after_signature"));
        struct cv_str verdict = vector_str(t, "reader_error");
        struct cv_connect_request head;
        size_t need = 0, skip = bytes.n < QUIC_VERSION ? bytes.n : QUIC_VERSION;
        enum cv_error e = decode(bytes.p + skip, bytes.n - skip, &need, &head);
        bool accepted = verdict.n > 8 && memcmp(verdict.p, "accepted", 8) == 0;
        if (cv_str_eq(verdict, CV_STR("EOF")))
            CU_ASSERT_TRUE(!e && need > bytes.n - skip);
        if (accepted)
            CU_ASSERT_TRUE(!e && need <= bytes.n - skip);
        if (!accepted && !cv_str_eq(verdict, CV_STR("EOF")))
            CU_ASSERT_TRUE(e == CV_E_PROTO || e == CV_E_LIMIT);
        cv_buf_free(&bytes);
    }
    yyjson_doc_free(doc);
}

static void limits_the_length_and_the_number_of_entries(void)
{
    struct cv_buf bytes = vector_bytes("quic/req-http-get");
    struct cv_connect_request head = { .metadata = metadata, .n_metadata = 3 };
    size_t need;
    CU_ASSERT_EQUAL(cv_connect_request_decode(bytes.p + 8, bytes.n - 8, HEAD_MAX, &need, &head, NULL),
                    CV_E_LIMIT);
    head.n_metadata = QUIC_METADATA;
    CU_ASSERT_EQUAL(cv_connect_request_decode(bytes.p + 8, bytes.n - 8, 100, &need, &head, NULL), CV_E_LIMIT);
    cv_buf_free(&bytes);
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static void destinations_become_scheme_and_path(void)
{
    static const struct {
        const char *dest, *scheme, *path;
    } cases[] = {
        { "https://a.example.com/p?q=1", "https", "/p?q=1" },
        { "http://a.example.com", "http", "/" },
        { "http://a.example.com?q", "http", "/?q" },
        { "http://[::1]:80/p#fragment", "http", "/p" },
        { "/bare?q=http://other/x", "http", "/bare?q=http://other/x" },
        { "", "http", "/" },
        { "no/slash", "http", "/no/slash" },
        { "/a:b", "http", "/a:b" },
        { "/a://b", "http", "/a://b" },
        { "wss://a/p", "wss", "/p" },
    };
    struct harness *h = harness_new(0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cv_req *req = harness_request(h, CV_HTTP);
        struct cv_connect_request head = { .dest = cv_str_of(cases[i].dest) };
        CU_ASSERT_EQUAL(quic_head_request(&head, req, NULL), CV_OK);
        CU_ASSERT_TRUE(cv_str_eq(req->scheme, cv_str_of(cases[i].scheme)));
        CU_ASSERT_TRUE(cv_str_eq(req->path, cv_str_of(cases[i].path)));
        CU_ASSERT_TRUE(cv_str_eq(req->method, CV_STR("GET")));
        cv_req_done(req);
    }
    struct cv_req *req = harness_request(h, CV_HTTP);
    struct cv_connect_request head = { .dest = CV_STR("/a\r\nb") };
    struct cv_err err;
    CU_ASSERT_EQUAL(quic_head_request(&head, req, &err), CV_E_PROTO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "invalid control character in URL"));
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);
}

static void the_last_of_a_key_wins_and_headers_add_up(void)
{
    struct harness *h = harness_new(0);
    struct cv_req *req = harness_request(h, CV_HTTP);
    struct cv_metadata v[] = {
        { CV_STR("HttpMethod"), CV_STR("GET") },
        { CV_STR("HttpMethod"), CV_STR("PUT") },
        { CV_STR("HttpHost"), CV_STR("a") },
        { CV_STR("HttpHost"), CV_STR("b:80") },
        { CV_STR("Unknown"), CV_STR("ignored") },
        { CV_STR("HttpHeader:X-Two"), CV_STR("1") },
        { CV_STR("HttpHeader:X-Two"), CV_STR("2") },
        { CV_STR("HttpHeader:Cf-Cloudflared-Proxy-Connection-Upgrade"), CV_STR("websocket") },
    };
    struct cv_connect_request head = { .dest = CV_STR("/"),
                                       .metadata = v,
                                       .n_metadata = sizeof v / sizeof v[0] };
    CU_ASSERT_EQUAL(quic_head_request(&head, req, NULL), CV_OK);
    CU_ASSERT_TRUE(cv_str_eq(req->method, CV_STR("PUT")));
    CU_ASSERT_TRUE(cv_str_eq(req->authority, CV_STR("b:80")));
    struct cv_str name, value;
    CU_ASSERT_TRUE(cv_header_at(req->headers, 1, &name, &value) && cv_str_eq(value, CV_STR("2")));
    CU_ASSERT_FALSE(cv_header_at(req->headers, 2, &name, &value));
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);
}

/* ---- responses --------------------------------------------------------------------------------------- */

/* Status and headers as the vector's metadata say them. */
static void fill_response(struct cv_req *req, yyjson_val *want)
{
    static const char prefix[] = "HttpHeader:";
    size_t i, max;
    yyjson_val *m;
    req->resp_headers = cv_headers_new(req);
    yyjson_arr_foreach(yyjson_obj_get(want, "metadata"), i, max, m)
    {
        struct cv_str key = vector_str(m, "key"), val = vector_str(m, "val");
        if (cv_str_eq(key, CV_STR("HttpStatus")))
            req->status = (int)strtol(val.p, NULL, 10);
        else if (key.n > sizeof prefix - 1 && memcmp(key.p, prefix, sizeof prefix - 1) == 0)
            cv_header_add(req, req->resp_headers,
                          (struct cv_str){ key.p + sizeof prefix - 1, key.n - (sizeof prefix - 1) }, val);
    }
    req->error_text = vector_str(want, "error");
}

static void writes_the_golden_responses(void)
{
    static const struct {
        const char *name;
        enum cv_req_type type;
        enum cv_error error;
    } cases[] = {
        { "quic/resp-200", CV_HTTP, CV_OK },
        { "quic/resp-204", CV_HTTP, CV_OK },
        { "quic/resp-101", CV_WEBSOCKET, CV_OK },
        { "quic/resp-tcp-ok", CV_TCP, CV_OK },
        { "quic/resp-err-origin", CV_HTTP, CV_E_REFUSED },
        { "quic/resp-err-ratelimit", CV_TCP, CV_E_LIMIT },
    };
    struct harness *h = harness_new(0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cv_buf bytes = vector_bytes(cases[i].name);
        yyjson_doc *doc = vector_json(cases[i].name);
        yyjson_val *want = yyjson_doc_get_root(doc);
        struct cv_req *req = harness_request(h, cases[i].type);
        fill_response(req, want);
        req->error = cases[i].error;
        size_t n;
        uint8_t *got = quic_head_response(req, &n);
        size_t head = bytes.n - vector_str(want, "body_hex").n / 2;
        CU_ASSERT_TRUE(
            vector_same((struct cv_str){ (char *)got, n }, (struct cv_str){ (char *)bytes.p, head }));
        free(got);
        req->error = CV_OK;
        cv_req_done(req);
        harness_turn(h);
        yyjson_doc_free(doc);
        cv_buf_free(&bytes);
    }
    harness_free(h);
}

static void a_failure_always_has_a_text(void)
{
    struct cv_req req = { .type = CV_HTTP, .error = CV_E_TIMEOUT };
    size_t n;
    uint8_t *got = quic_head_response(&req, &n);
    CU_ASSERT_PTR_NOT_NULL(memmem(got, n, "took too long", 13)); /* an empty text would mean success */
    free(got);
}

static void a_failure_carries_its_headers(void)
{
    struct harness *h = harness_new(0);
    struct cv_req *req = harness_request(h, CV_HTTP);
    size_t n;
    req->resp_headers = cv_headers_new(req);
    cv_header_set(req, req->resp_headers, CV_STR("culvert-error"), CV_STR("origin_refused"));
    req->error = CV_E_REFUSED;
    uint8_t *got = quic_head_response(req, &n);
    CU_ASSERT_PTR_NOT_NULL(memmem(got, n, "HttpHeader:Culvert-Error", 24));
    CU_ASSERT_PTR_NOT_NULL(memmem(got, n, "origin_refused", 14));
    CU_ASSERT_PTR_NULL(memmem(got, n, "HttpStatus", 10));
    free(got);
    req->error = CV_OK;
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);
}

static void grpc_is_refused_where_its_status_would_be_lost(void)
{
    static const struct {
        const char *type, *status;
        bool lost;
    } cases[] = {
        { "application/grpc", NULL, true },
        { "Application/gRPC+proto", NULL, true },
        { "application/grpc; charset=x", NULL, true },
        { "application/grpc", "5", false },
        { "application/grpc-web+proto", NULL, false },
        { "application/grpc-web", NULL, false },
        { "application/json", NULL, false },
    };
    struct harness *h = harness_new(0);
    struct cv_req *req = harness_request(h, CV_HTTP);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n;
        req->status = 200;
        req->resp_headers = cv_headers_new(req);
        cv_header_set(req, req->resp_headers, CV_STR("content-type"), cv_str_of(cases[i].type));
        if (cases[i].status)
            cv_header_set(req, req->resp_headers, CV_STR("grpc-status"), cv_str_of(cases[i].status));
        CU_ASSERT_EQUAL(quic_head_needs_trailers(req), cases[i].lost);
        uint8_t *got = quic_head_response(req, &n);
        CU_ASSERT_PTR_NOT_NULL(memmem(got, n, "HttpStatus", 10));
        CU_ASSERT_EQUAL(memmem(got, n, "HttpHeader:Grpc-Status", 22) != NULL,
                        cases[i].lost || cases[i].status);
        CU_ASSERT_EQUAL(memmem(got, n, "protocol = http2", 16) != NULL, cases[i].lost);
        free(got);
    }
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);
}

static void knows_streams_by_their_first_bytes(void)
{
    static const uint8_t data[] = { 0x0a, 0x36, 0xcd, 0x12, 0xa1, 0x3e, '0', '1' };
    static const uint8_t rpc[] = { 0x52, 0xbb, 0x82, 0x5c, 0xdb, 0x65 };
    for (size_t n = 0; n < QUIC_SIGNATURE; n++) {
        CU_ASSERT_EQUAL(quic_head_kind(data, n), QUIC_PARTIAL);
        CU_ASSERT_EQUAL(quic_head_kind(rpc, n), QUIC_PARTIAL);
    }
    CU_ASSERT_EQUAL(quic_head_kind(data, sizeof data), QUIC_DATA);
    CU_ASSERT_EQUAL(quic_head_kind(rpc, sizeof rpc), QUIC_RPC);
    CU_ASSERT_EQUAL(quic_head_kind((const uint8_t *)"G", 1), QUIC_UNKNOWN);
    CU_ASSERT_EQUAL(quic_head_kind((const uint8_t *)"\x0a\x36\xcd\x12\xa1\x3f", 6), QUIC_UNKNOWN);
}

SUITE(quic_head, TEST(reads_every_golden_request), TEST(refuses_what_the_reader_of_the_edge_refuses),
      TEST(limits_the_length_and_the_number_of_entries), TEST(destinations_become_scheme_and_path),
      TEST(the_last_of_a_key_wins_and_headers_add_up), TEST(writes_the_golden_responses),
      TEST(a_failure_always_has_a_text), TEST(a_failure_carries_its_headers),
      TEST(grpc_is_refused_where_its_status_would_be_lost), TEST(knows_streams_by_their_first_bytes));
