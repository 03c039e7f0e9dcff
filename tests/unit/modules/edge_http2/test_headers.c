/* test_headers.c: the origin's header fields as the edge expects them, against the golden vectors. */
#include "../../../../modules/edge_http2/h2.h"
#include "harness.h"
#include "suite.h"
#include "vectors.h"

static void serializes_as_the_vectors(void)
{
    struct harness *h = harness_new(0);
    yyjson_doc *doc = vector_json("http2/user-headers");
    size_t i, max, k, n, cases = 0;
    yyjson_val *c, *pair;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "cases"), i, max, c)
    {
        if (cv_str_eq(vector_str(c, "name"), CV_STR("noncanonical")))
            continue; /* the serializer there was handed such a name; here it makes them canonical itself */
        struct cv_req *req = harness_request(h, CV_HTTP);
        struct cv_headers *headers = cv_headers_new(req);
        yyjson_arr_foreach(yyjson_obj_get(c, "headers"), k, n, pair)
        {
            struct cv_buf value = { 0 };
            vector_unhex(&value, vector_str(pair, "value_hex"));
            cv_header_add(req, headers, vector_str(pair, "name"),
                          (struct cv_str){ (char *)value.p, value.n });
            cv_buf_free(&value);
        }
        struct cv_str got = h2_serialize_headers(req, headers);
        CU_ASSERT(cv_str_eq(got, vector_str(c, "serialized")));
        cv_req_fail(req, CV_E_CANCEL, "over");
        cases++;
    }
    CU_ASSERT(cases > 5);
    yyjson_doc_free(doc);
    harness_turn(h);
    harness_free(h);
}

static void drops_the_headers_that_control_the_edge(void)
{
    yyjson_doc *doc = vector_json("http2/response-header-classes");
    size_t i, max;
    yyjson_val *c;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "cases"), i, max, c)
    {
        bool control = yyjson_get_bool(yyjson_obj_get(c, "is_control"));
        CU_ASSERT_EQUAL(h2_is_control_header(vector_str(c, "name")), control);
    }
    yyjson_doc_free(doc);
}

static void names_become_canonical(void)
{
    struct harness *h = harness_new(0);
    struct cv_req *req = harness_request(h, CV_HTTP);
    struct cv_headers *headers = cv_headers_new(req);
    cv_header_add(req, headers, CV_STR("x-REQUEST-id"), CV_STR("1"));
    cv_header_add(req, headers, CV_STR("cf-int-secret"), CV_STR("2"));
    CU_ASSERT(cv_str_eq(h2_serialize_headers(req, headers), CV_STR("WC1SZXF1ZXN0LUlk:MQ")));
    cv_req_fail(req, CV_E_CANCEL, "over");
    harness_turn(h);
    harness_free(h);
}

SUITE(h2_headers, TEST(serializes_as_the_vectors), TEST(drops_the_headers_that_control_the_edge),
      TEST(names_become_canonical));
