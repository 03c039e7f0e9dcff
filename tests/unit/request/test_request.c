/* test_request.c: the life of a request: who is called, in which order, and never from inside its own call. */
#include "harness.h"
#include "suite.h"

#include <string.h>

static struct harness *h;

static void check(const char *log, const char *expected, int line)
{
    if (strcmp(log, expected) != 0)
        fprintf(stderr, "line %d: saw '%s', expected '%s'\n", line, log, expected);
    CU_ASSERT_STRING_EQUAL(log, expected);
}
#define SAW(log, expected) check((log), (expected), __LINE__)

static void done(struct cv_req *req)
{
    cv_req_done(req);
}

static void an_answer_passes_from_origin_to_edge(void)
{
    h = harness_new(2);
    h->origin_responds = true;
    h->in_head = done;
    cv_req_start(harness_request(h, CV_HTTP));
    SAW(h->origin_log, ""); /* nothing inside the call */
    harness_turn(h);
    SAW(h->origin_log, "open closed:ok");
    SAW(h->filter_log, "request2 request3 response3 response2 closed3:ok closed2:ok");
    SAW(h->edge_log, "head:200 closed:ok");
    harness_free(h);
}

static void bytes_wake_the_reader_and_credit_the_writer(void)
{
    h = harness_new(0);
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    cv_pipe_write(req->up, "hello", 5);
    harness_turn(h);
    cv_pipe_consume(req->up, 2);
    cv_pipe_consume(req->up, 3);
    cv_pipe_finish(req->up);
    harness_turn(h);
    SAW(h->origin_log, "open readable:5 end");
    SAW(h->edge_log, "credit:5");
    cv_pipe_write(req->down, "abc", 3); /* before the head: the edge hears of it after */
    harness_turn(h);
    req->status = 200;
    cv_req_respond(req);
    harness_turn(h);
    SAW(h->edge_log, "credit:5 head:200 readable:3");
    cv_pipe_consume(req->down, 3);
    cv_pipe_finish(req->down);
    harness_turn(h);
    SAW(h->origin_log, "open readable:5 end credit:3");
    SAW(h->edge_log, "credit:5 head:200 readable:3 end");
    cv_req_done(req);
    harness_turn(h);
    SAW(h->origin_log, "open readable:5 end credit:3 closed:ok");
    harness_free(h);
}

static void refuse(struct cv_req *req)
{
    cv_req_fail(req, CV_E_REFUSED, "nobody at %s", "home");
    cv_req_fail(req, CV_E_IO, "a second failure changes nothing");
}

static void a_failure_before_the_head_is_answered(void)
{
    h = harness_new(1);
    h->in_open = refuse;
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    harness_turn(h);
    SAW(h->edge_log, "head:502");
    SAW(h->origin_log, "open closed:refused");
    CU_ASSERT_EQUAL(req->error, CV_E_REFUSED);
    CU_ASSERT(cv_str_eq(req->error_text, CV_STR("nobody at home")));
    cv_req_done(req);
    harness_turn(h);
    SAW(h->edge_log, "head:502 closed:ok");
    SAW(h->filter_log, "request2 closed2:refused");
    harness_free(h);
}

static void fail_as(struct cv_req *req)
{
    cv_req_fail(req, CV_E_TIMEOUT, "too slow");
}

static void check_named(bool on, struct cv_str expected)
{
    h = harness_new(1);
    requests_name_errors(h->worker, on);
    h->in_open = fail_as;
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    harness_turn(h);
    CU_ASSERT(cv_str_eq(cv_header(req->resp_headers, CV_STR("culvert-error")), expected));
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);
}

static void a_failure_names_what_failed(void)
{
    check_named(true, CV_STR("origin_timeout"));
    check_named(false, (struct cv_str){ 0 });
}

static void a_filter_that_fails_is_named(void)
{
    h = harness_new(1);
    requests_name_errors(h->worker, true);
    h->request_says = CV_WAIT;
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    harness_turn(h);
    cv_req_fail(req, CV_E_DENIED, "not you");
    harness_turn(h);
    CU_ASSERT(cv_str_eq(cv_header(req->resp_headers, CV_STR("culvert-error")), CV_STR("filter_denied")));
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);
}

static void a_failure_after_the_head_resets(void)
{
    h = harness_new(0);
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    harness_turn(h);
    req->status = 200;
    cv_req_respond(req);
    cv_pipe_write(req->down, "half", 4);
    harness_turn(h);
    cv_req_fail(req, CV_E_IO, "origin died");
    CU_ASSERT_EQUAL(cv_pipe_write(req->down, "more", 4), 0);
    harness_turn(h);
    SAW(h->edge_log, "head:200 readable:4 closed:io");
    SAW(h->origin_log, "open closed:io");
    harness_free(h);
}

static void an_edge_that_leaves_closes_everything(void)
{
    h = harness_new(1);
    struct cv_req *req = harness_request(h, CV_WEBSOCKET);
    cv_req_start(req);
    harness_turn(h);
    cv_req_fail(req, CV_E_CANCEL, "left");
    harness_turn(h);
    SAW(h->edge_log, "closed:cancel");
    SAW(h->origin_log, "open closed:cancel");
    SAW(h->filter_log, "request2 closed2:cancel");
    harness_free(h);
}

static void a_filter_answers_instead_of_the_origin(void)
{
    h = harness_new(2);
    h->request_says = CV_STOP;
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    harness_turn(h);
    SAW(h->filter_log, "request2");
    SAW(h->origin_log, "");
    SAW(h->edge_log, "head:401 readable:2");
    cv_req_done(req);
    harness_turn(h);
    SAW(h->filter_log, "request2 closed2:ok");
    harness_free(h);
}

static void a_filter_that_waits_is_resumed(void)
{
    h = harness_new(2);
    h->origin_responds = true;
    h->request_says = CV_WAIT;
    h->response_says = CV_WAIT;
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    for (int i = 0; i < 4; i++) {
        harness_turn(h);
        cv_req_resume(req);
    }
    harness_turn(h);
    SAW(h->filter_log, "request2 request3 response3 response2");
    SAW(h->edge_log, "head:200 end");
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);
}

static void too_many_requests_are_refused_and_counted(void)
{
    h = harness_new(0);
    struct cv_req *reqs[4];
    for (int i = 0; i < 4; i++) {
        reqs[i] = harness_request(h, CV_HTTP);
        cv_req_start(reqs[i]);
        harness_turn(h);
    }
    CU_ASSERT_EQUAL(harness_open(h), 4);
    SAW(h->edge_log, "head:503");
    SAW(h->origin_log, "open open open");
    CU_ASSERT_EQUAL(reqs[3]->error, CV_E_LIMIT);
    struct cv_req *control = harness_request(h, CV_CONTROL); /* the edge's own streams are never refused */
    cv_req_start(control);
    harness_turn(h);
    SAW(h->origin_log, "open open open open");
    for (int i = 0; i < 4; i++)
        cv_req_fail(reqs[i], CV_E_CANCEL, "over");
    cv_req_fail(control, CV_E_CANCEL, "over");
    harness_turn(h);
    CU_ASSERT_EQUAL(harness_open(h), 0);
    harness_free(h);
}

static void a_rule_that_requires_access_is_not_served_unguarded(void)
{
    h = harness_new(1);
    harness_require_access(h);
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    harness_turn(h);
    SAW(h->origin_log, "");
    SAW(h->edge_log, "head:403");
    cv_req_done(req);
    h->chain.enforces_access = true; /* a filter that does */
    req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    harness_turn(h);
    SAW(h->origin_log, "open");
    cv_req_fail(req, CV_E_CANCEL, "over");
    harness_turn(h);
    harness_free(h);
}

static unsigned idles;
static void on_idle(struct conn_base *conn)
{
    CU_ASSERT_EQUAL(conn->open, 0);
    idles++;
}

static void losing_a_connection_closes_its_requests(void)
{
    h = harness_new(0);
    struct conn_base conn = { .idle = on_idle };
    struct cv_req *a = cv_req_new(&h->selfs[0], &conn.pub, CV_HTTP);
    struct cv_req *b = cv_req_new(&h->selfs[0], &conn.pub, CV_CONTROL);
    cv_req_start(a);
    cv_req_start(b);
    harness_turn(h);
    CU_ASSERT_EQUAL(conn.open, 2);
    CU_ASSERT_PTR_EQUAL(request_find(h->worker, a->id), a);
    idles = 0;
    requests_fail_all(&conn, CV_E_IO, "edge is gone");
    harness_turn(h);
    SAW(h->edge_log, "closed:cancel closed:cancel");
    CU_ASSERT_EQUAL(idles, 1);
    harness_free(h);
}

static void headers_keep_order_and_fold_case(void)
{
    h = harness_new(0);
    struct cv_req *req = harness_request(h, CV_HTTP);
    struct cv_headers *f = req->headers;
    for (int i = 0; i < 60; i++)
        cv_header_add(req, f, cv_print(req, "x-%d", i % 30), cv_print(req, "%d", i));
    CU_ASSERT(cv_str_eq(cv_header(f, CV_STR("X-7")), CV_STR("7")));
    CU_ASSERT_PTR_NULL(cv_header(f, CV_STR("x-30")).p);
    cv_header_del(f, CV_STR("X-0"));
    cv_header_set(req, f, CV_STR("x-29"), CV_STR("last"));
    struct cv_str name, value;
    CU_ASSERT_TRUE(cv_header_at(f, 56, &name, &value));
    CU_ASSERT(cv_str_eq(value, CV_STR("last")));
    CU_ASSERT_FALSE(cv_header_at(f, 57, &name, &value));
    CU_ASSERT_TRUE(cv_header_at(f, 0, &name, &value));
    CU_ASSERT(cv_str_eq(name, CV_STR("x-1")));
    cv_req_fail(req, CV_E_CANCEL, "over");
    harness_turn(h);
    harness_free(h);
}

static void memory_of_a_request_is_zeroed_and_its_own(void)
{
    h = harness_new(0);
    for (int round = 0; round < 3; round++) {
        struct cv_req *req = harness_request(h, CV_HTTP);
        for (size_t n = 1; n < 9000; n = n * 3 + 1) {
            uint8_t *p = cv_alloc(req, n);
            CU_ASSERT_EQUAL((uintptr_t)p % 16, 0);
            size_t sum = 0;
            for (size_t i = 0; i < n; i++)
                sum += p[i];
            CU_ASSERT_EQUAL(sum, 0);
            memset(p, 0xff, n);
        }
        cv_req_fail(req, CV_E_CANCEL, "over");
        harness_turn(h);
    }
    harness_free(h);
}

SUITE(request, TEST(an_answer_passes_from_origin_to_edge), TEST(bytes_wake_the_reader_and_credit_the_writer),
      TEST(a_failure_before_the_head_is_answered), TEST(a_failure_names_what_failed),
      TEST(a_filter_that_fails_is_named), TEST(a_failure_after_the_head_resets),
      TEST(an_edge_that_leaves_closes_everything), TEST(a_filter_answers_instead_of_the_origin),
      TEST(a_filter_that_waits_is_resumed), TEST(too_many_requests_are_refused_and_counted),
      TEST(a_rule_that_requires_access_is_not_served_unguarded),
      TEST(losing_a_connection_closes_its_requests), TEST(headers_keep_order_and_fold_case),
      TEST(memory_of_a_request_is_zeroed_and_its_own));
