/* test_early.c: requests that come before any rules wait for them, for a while. */
#include "harness.h"
#include "request/config.h"
#include "suite.h"

#include <string.h>
#include <unistd.h>

static struct harness *h;
static const struct config_local nothing;

static void begin(int64_t limit_ms)
{
    h = harness_new(0);
    requests_set_routes(h->worker, TUNNEL_FIRST, config_none(&nothing));
    requests_wait_for_rules(h->worker, (struct cv_ms){ limit_ms });
}

static void rules_come_for(enum tunnel_id tunnel)
{
    struct route_table *table;
    struct reason why;
    bool started;
    CU_ASSERT_EQUAL_FATAL(config_read(CV_STR("{\"ingress\":[{\"service\":\"http://127.0.0.1:1\"}]}"),
                                      &nothing, &table, &started, &why),
                          CV_OK);
    requests_set_routes(h->worker, tunnel, table);
}

static void rules_come(void)
{
    rules_come_for(TUNNEL_FIRST);
}

static void they_go_on_when_rules_have_come(void)
{
    begin(60000);
    h->origin_responds = true;
    h->in_head = cv_req_done;
    struct cv_req *first = harness_request(h, CV_HTTP);
    cv_req_start(first);
    cv_pipe_write(first->up, "hello", 5); /* what the visitor sends meanwhile is kept */
    cv_req_start(harness_request(h, CV_HTTP));
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->origin_log, "");
    CU_ASSERT_STRING_EQUAL(h->edge_log, "");
    rules_come();
    harness_turn(h);
    CU_ASSERT_PTR_NOT_NULL(strstr(h->origin_log, "open"));
    CU_ASSERT_STRING_EQUAL(h->edge_log, "head:200 head:200 closed:ok closed:ok");
    harness_free(h);
}

static void after_the_limit_the_answer_is_503_for_them_and_at_once_for_others(void)
{
    begin(1);
    h->in_head = cv_req_done;
    cv_req_start(harness_request(h, CV_HTTP));
    for (int i = 0; i < 1000 && !*h->edge_log; i++) {
        usleep(1000);
        harness_turn(h);
    }
    CU_ASSERT_STRING_EQUAL(h->edge_log, "head:503 closed:ok");
    cv_req_start(harness_request(h, CV_HTTP));
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->edge_log, "head:503 closed:ok head:503 closed:ok");
    harness_free(h);
}

static void one_that_is_given_up_does_not_come_back(void)
{
    begin(60000);
    struct cv_req *req = harness_request(h, CV_HTTP);
    cv_req_start(req);
    harness_turn(h);
    cv_req_fail(req, CV_E_CANCEL, "the visitor left");
    cv_req_done(req);
    harness_turn(h);
    rules_come();
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->origin_log, "");
    harness_free(h);
}

static void without_a_limit_nobody_waits(void)
{
    begin(0);
    h->in_head = cv_req_done;
    cv_req_start(harness_request(h, CV_HTTP));
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->edge_log, "head:503 closed:ok");
    harness_free(h);
}

static void they_wait_for_the_rules_of_their_own_tunnel(void)
{
    struct conn_base conn = { .tunnel = TUNNEL_SECOND };
    begin(60000);
    h->origin_responds = true;
    h->in_head = cv_req_done;
    requests_set_routes(h->worker, TUNNEL_SECOND, config_none(&nothing));
    struct cv_req *req = cv_req_new(&h->selfs[0], &conn.pub, CV_HTTP);
    req->method = CV_STR("GET");
    cv_req_start(req);
    rules_come();
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->edge_log, "");
    rules_come_for(TUNNEL_SECOND);
    harness_turn(h);
    CU_ASSERT_STRING_EQUAL(h->edge_log, "head:200 closed:ok");
    harness_free(h);
}

SUITE(early, TEST(they_go_on_when_rules_have_come),
      TEST(after_the_limit_the_answer_is_503_for_them_and_at_once_for_others),
      TEST(one_that_is_given_up_does_not_come_back), TEST(without_a_limit_nobody_waits),
      TEST(they_wait_for_the_rules_of_their_own_tunnel));
