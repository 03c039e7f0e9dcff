/* test_api.c: errors in the form of the API that the caller speaks. */
#include "harness.h"
#include "request/api.h"
#include "suite.h"

#include <string.h>

static struct harness *h;

static struct cv_req *asks(const char *path, const char *header)
{
    struct cv_req *req = harness_request(h, CV_HTTP);
    req->path = cv_str_of(path);
    if (header)
        cv_header_add(req, req->headers, cv_str_of(header), CV_STR("2023-06-01"));
    cv_header_add(req, req->headers, CV_STR("Cf-Ray"), CV_STR("8f00-\"FRA"));
    return req;
}

static void path_and_headers_tell_the_api(void)
{
    static const struct {
        const char *path, *header;
        enum api_shape shape;
    } cases[] = { { "/v1/chat/completions", NULL, API_OPENAI },
                  { "/proxy/v1/embeddings?x=1", NULL, API_OPENAI },
                  { "/v1/messages", NULL, API_ANTHROPIC },
                  { "/v1/messages?beta=true", NULL, API_ANTHROPIC },
                  { "/v1/messages/count_tokens", NULL, API_ANTHROPIC },
                  { "/v1/messagesx", NULL, API_OPENAI },
                  { "/anything", "Anthropic-Version", API_ANTHROPIC },
                  { "/v1/models", "X-Api-Key", API_ANTHROPIC },
                  { "/anything", "X-Api-Key", API_NONE },
                  { "/?to=/v1/messages", NULL, API_NONE },
                  { "/v1", NULL, API_NONE },
                  { "", NULL, API_NONE } };
    h = harness_new(0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_req *req = asks(cases[i].path, cases[i].header);
        CU_ASSERT_EQUAL(api_shape_of(req), cases[i].shape);
        cv_req_fail(req, CV_E_CANCEL, "over");
        harness_turn(h);
    }
    harness_free(h);
}

static void an_error_is_json_whatever_it_says(void)
{
    h = harness_new(0);
    struct cv_req *req = asks("/", NULL);
    struct cv_str text = CV_STR("say \"no\"\n");
    CU_ASSERT(cv_str_eq(cv_api_error(req, 503, "queue_full", text),
                        CV_STR("{\"error\":{\"message\":\"say \\\"no\\\"\\n\",\"type\":\"server_error\","
                               "\"param\":null,\"code\":\"queue_full\"}}")));
    req->path = CV_STR("/v1/messages");
    CU_ASSERT(cv_str_eq(cv_api_error(req, 503, "queue_full", text),
                        CV_STR("{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
                               "\"say \\\"no\\\"\\n\"},\"request_id\":\"8f00-\\\"FRA\"}")));
    cv_req_fail(req, CV_E_CANCEL, "over");
    harness_turn(h);
    harness_free(h);
}

static void fail_as(struct cv_req *req)
{
    cv_req_fail(req, CV_E_REFUSED, "dial tcp 10.0.0.1:80: connection refused");
}

static const char *answer(const char *path, bool on, struct cv_req **out)
{
    static char body[512];
    struct iovec iov;
    h = harness_new(1);
    requests_name_errors(h->worker, true);
    requests_api_errors(h->worker, on);
    h->in_open = fail_as;
    struct cv_req *req = *out = asks(path, NULL);
    cv_req_start(req);
    harness_turn(h);
    size_t n = cv_pipe_peek(req->down, 0, &iov, 1) ? iov.iov_len : 0;
    memcpy(body, n ? iov.iov_base : "", n);
    body[n] = '\0';
    return body;
}

static void a_failure_is_an_answer_if_the_ini_says_so(void)
{
    struct cv_req *req;
    const char *body = answer("/v1/completions", true, &req);
    CU_ASSERT_STRING_EQUAL(body,
                           "{\"error\":{\"message\":\"The request could not be served: connection refused.\","
                           "\"type\":\"server_error\",\"param\":null,\"code\":\"origin_refused\"}}");
    CU_ASSERT_EQUAL(req->status, 502);
    CU_ASSERT_EQUAL(req->error, CV_OK);
    CU_ASSERT(cv_str_eq(cv_header(req->resp_headers, CV_STR("culvert-error")), CV_STR("origin_refused")));
    cv_req_done(req);
    harness_turn(h);
    CU_ASSERT_PTR_NOT_NULL(strstr(h->filter_log, "closed2:refused")); /* filters and observers know better */
    CU_ASSERT_PTR_NOT_NULL(strstr(h->edge_log, "closed:ok"));
    harness_free(h);
}

static void other_failures_stay_the_edges_own(void)
{
    static const struct {
        const char *path;
        bool on;
    } cases[] = { { "/v1/completions", false }, { "/page", true } };
    for (size_t i = 0; i < 2; i++) {
        struct cv_req *req;
        CU_ASSERT_STRING_EQUAL(answer(cases[i].path, cases[i].on, &req), "");
        CU_ASSERT_EQUAL(req->error, CV_E_REFUSED);
        cv_req_done(req);
        harness_turn(h);
        harness_free(h);
    }
}

SUITE(api, TEST(path_and_headers_tell_the_api), TEST(an_error_is_json_whatever_it_says),
      TEST(a_failure_is_an_answer_if_the_ini_says_so), TEST(other_failures_stay_the_edges_own));
