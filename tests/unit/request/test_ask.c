/* test_ask.c: requests of our own: what is told of their answers, and that nobody else hears of them. */
#include "harness.h"
#include "request/ask.h"
#include "suite.h"

#include <string.h>
#include <unistd.h>

static struct harness *h;
static int status;
static enum cv_error error;
static unsigned told;
static struct cv_ask *ask;
static struct cv_req *asked;

static void on_asked(void *arg, int got, enum cv_error e, const char *why)
{
    (void)arg;
    CU_ASSERT_PTR_NOT_NULL(why);
    status = got;
    error = e;
    told++;
}

static void on_rule(void *arg, const struct cv_rule *rule)
{
    ask = cv_ask(arg, rule, CV_STR("/health"), (struct cv_ms){ 30 }, on_asked, NULL);
}

static void answer(struct cv_req *req)
{
    CU_ASSERT(cv_str_eq(req->path, CV_STR("/health")) && cv_str_eq(req->method, CV_STR("GET")));
    req->status = 204;
    cv_req_respond(req);
    cv_pipe_write(req->down, "body", 4);
    asked = req;
}

static void fail(struct cv_req *req)
{
    cv_req_fail(req, CV_E_REFUSED, "nobody there");
}

static void wait_for_it(struct cv_req *req)
{
    asked = req;
}

static void begin(void (*origin)(struct cv_req *))
{
    h = harness_new(2);
    h->in_open = origin;
    status = -1;
    told = 0;
    cv_rules_here(&h->selfs[2], on_rule, &h->selfs[2]);
    CU_ASSERT_PTR_NOT_NULL(ask);
    CU_ASSERT_EQUAL(told, 0); /* not inside the call */
    harness_turn(h);
}

static void end(void)
{
    CU_ASSERT_STRING_EQUAL(h->filter_log, "");
    CU_ASSERT_EQUAL(harness_open(h), 0);
    harness_free(h);
}

static void an_answer_is_told_and_read_to_its_end(void)
{
    begin(answer);
    CU_ASSERT_EQUAL(told, 1);
    CU_ASSERT_EQUAL(status, 204);
    cv_pipe_write(asked->down, "more", 4);
    cv_pipe_finish(asked->down);
    harness_turn(h);
    CU_ASSERT_PTR_NOT_NULL(strstr(h->origin_log, "closed:ok"));
    CU_ASSERT_EQUAL(told, 1);
    end();
}

static void a_failure_is_told_and_not_logged(void)
{
    begin(fail);
    CU_ASSERT_EQUAL(told, 1);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(error, CV_E_REFUSED);
    end();
}

static void it_takes_no_longer_than_it_may(void)
{
    begin(wait_for_it);
    for (int i = 0; i < 100 && !told; i++) {
        usleep(2000);
        harness_turn(h);
    }
    CU_ASSERT_EQUAL(error, CV_E_TIMEOUT);
    harness_turn(h);
    CU_ASSERT_PTR_NOT_NULL(strstr(h->origin_log, "closed:cancel"));
    end();
}

static void who_cancels_hears_nothing(void)
{
    begin(wait_for_it);
    cv_ask_cancel(ask);
    harness_turn(h);
    CU_ASSERT_EQUAL(told, 0);
    end();
}

static void none_begins_once_the_worker_stops(void)
{
    begin(wait_for_it);
    asks_stop(h->worker);
    harness_turn(h);
    CU_ASSERT_EQUAL(error, CV_E_CANCEL);
    cv_rules_here(&h->selfs[2], on_rule, &h->selfs[2]);
    CU_ASSERT_PTR_NULL(ask);
    end();
}

SUITE(ask, TEST(an_answer_is_told_and_read_to_its_end), TEST(a_failure_is_told_and_not_logged),
      TEST(it_takes_no_longer_than_it_may), TEST(who_cancels_hears_nothing),
      TEST(none_begins_once_the_worker_stops));
