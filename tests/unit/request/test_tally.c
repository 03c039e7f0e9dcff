/* test_tally.c: what is counted of requests and rules, by whose doing they fail, and where events of a stream end. */
#include "harness.h"
#include "request/config.h"
#include "request/event_scan.h"
#include "request/tally.h"
#include "suite.h"

#include "culvert/operate.h"
#include "culvert/wire.h"

#include <string.h>
#include <time.h>

/* ---- reading ---------------------------------------------------------------------------------------------- */

struct wanted {
    const char *name, *values; /* "a|b" */
    double sums[METRIC_CELLS_MAX];
    size_t n;
};

static void compare(void *arg, const struct cv_metric *m, const struct cv_str *values, const double *sums,
                    size_t n)
{
    struct wanted *w = arg;
    char text[256] = "";
    size_t labels = m->labels ? 1 : 0, at = 0;
    for (const char *p = m->labels; p && *p; p++)
        labels += *p == '|';
    for (size_t i = 0; i < labels; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s" CV_STR_FMT, i ? "|" : "",
                               CV_STR_ARG(values[i]));
    if (strcmp(m->name, w->name) != 0 || strcmp(text, w->values) != 0)
        return;
    memcpy(w->sums, sums, n * sizeof(*sums));
    w->n = n;
}

static double count(const char *name, const char *values)
{
    struct wanted w = { .name = name, .values = values };
    cv_metrics_each(compare, &w);
    double n = w.sums[0];
    for (size_t i = 1; i + 1 < w.n; i++) /* of a histogram: how many were observed */
        n += w.sums[i];
    return w.n ? n : -1;
}

static double sum(const char *name, const char *values)
{
    struct wanted w = { .name = name, .values = values };
    cv_metrics_each(compare, &w);
    return w.n ? w.sums[w.n - 1] : -1;
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

static struct harness *h;

static void setup(unsigned filters)
{
    h = harness_new(filters);
    tally_rules(h->worker->routes[TUNNEL_FIRST]);
}

static void teardown(void)
{
    tally_free();
    harness_free(h);
}

static struct cv_req *begin(const char *method, enum cv_req_type type)
{
    struct cv_req *req = harness_request(h, type);
    req->method = cv_str_of(method);
    cv_req_start(req);
    harness_turn(h);
    return req;
}

static void finish(struct cv_req *req)
{
    cv_req_done(req);
    harness_turn(h);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void answer_after_a_while(struct cv_req *req)
{
    pause_ms(20);
    req->status = 201;
    cv_req_respond(req);
}

static void requests_are_counted_by_rule_method_and_status(void)
{
    setup(0);
    h->in_open = answer_after_a_while;
    finish(begin("POST", CV_HTTP));
    finish(begin("POST", CV_HTTP));
    finish(begin("BREW", CV_HTTP));
    finish(begin("GET", CV_WEBSOCKET));
    CU_ASSERT_EQUAL(count("culvert_requests_total", "*|POST|2xx"), 2);
    CU_ASSERT_EQUAL(count("culvert_requests_total", "*|other|2xx"), 1);
    CU_ASSERT_EQUAL(count("culvert_requests_total", "*|GET|2xx"), 1);
    CU_ASSERT_EQUAL(count("culvert_request_duration_seconds", "*"),
                    3); /* WebSockets last as long as they like */
    CU_ASSERT_EQUAL(count("cloudflared_tunnel_response_by_code", "201"), 3);
    CU_ASSERT_EQUAL(count("cloudflared_tunnel_total_requests", ""), 4);
    CU_ASSERT_EQUAL(count("cloudflared_tunnel_concurrent_requests_per_tunnel", ""), 0);
    teardown();
}

static void the_time_of_the_origin_is_not_our_own(void)
{
    setup(0);
    h->in_open = answer_after_a_while;
    finish(begin("GET", CV_HTTP));
    CU_ASSERT_TRUE(sum("culvert_response_first_byte_seconds", "*") >= 0.02);
    CU_ASSERT_TRUE(sum("culvert_request_duration_seconds", "*") >=
                   sum("culvert_response_first_byte_seconds", "*"));
    CU_ASSERT_EQUAL(count("culvert_request_overhead_seconds", ""), 1);
    CU_ASSERT_TRUE(sum("culvert_request_overhead_seconds", "") <
                   sum("culvert_response_first_byte_seconds", "*") - 0.019);
    teardown();
}

static void refuse(struct cv_req *req)
{
    cv_req_fail(req, CV_E_REFUSED, "nobody listens");
}

static void open_ones_are_known_by_type(void)
{
    setup(0);
    struct cv_req *a = begin("GET", CV_WEBSOCKET), *b = begin("GET", CV_CONTROL);
    CU_ASSERT_EQUAL(count("culvert_open_requests", "websocket"), 1);
    CU_ASSERT_EQUAL(count("culvert_open_requests", "control"), 1);
    CU_ASSERT_EQUAL(count("culvert_open_requests", "http"), 0);
    cv_req_fail(a, CV_E_CANCEL, "gone");
    cv_req_fail(b, CV_E_CANCEL, "gone");
    harness_turn(h);
    CU_ASSERT_EQUAL(count("culvert_open_requests", "websocket"), 0);
    CU_ASSERT_EQUAL(count("culvert_open_requests", "control"), 0);
    CU_ASSERT_EQUAL(count("culvert_requests_total", "*|GET|none"), 1); /* not the edge's own */
    teardown();
}

static void bytes_are_counted_while_they_pass(void)
{
    setup(0);
    struct cv_req *req = begin("GET", CV_HTTP);
    cv_pipe_write(req->up, "12345", 5);
    cv_pipe_write(req->down, "123", 3);
    CU_ASSERT_EQUAL(count("culvert_body_bytes_total", "up"), 5);
    CU_ASSERT_EQUAL(count("culvert_body_bytes_total", "down"), 3);
    cv_req_fail(req, CV_E_CANCEL, "gone");
    harness_turn(h);
    teardown();
}

/* ---- failures -------------------------------------------------------------------------------------------- */

static void failures_are_laid_to_who_caused_them(void)
{
    setup(0);
    h->in_open = refuse;
    finish(begin("GET", CV_HTTP));
    h->in_open = NULL;
    struct cv_req *left = begin("GET", CV_HTTP);
    cv_req_fail(left, CV_E_CANCEL, "the visitor left");
    struct cv_req *broken = begin("GET", CV_HTTP);
    cv_req_blame_edge(broken);
    cv_req_fail(broken, CV_E_PROTO, "the body is too short");
    harness_turn(h);
    finish(broken);
    h->chain.n_origins = 0;
    finish(begin("GET", CV_HTTP));
    CU_ASSERT_EQUAL(count("culvert_request_errors_total", "*|refused|origin"), 1);
    CU_ASSERT_EQUAL(count("culvert_request_errors_total", "*|cancel|visitor"), 1);
    CU_ASSERT_EQUAL(count("culvert_request_errors_total", "*|proto|visitor"), 1);
    CU_ASSERT_EQUAL(count("culvert_request_errors_total", "*|refused|culvert"), 1);
    CU_ASSERT_EQUAL(count("cloudflared_tunnel_request_errors", ""), 4);
    teardown();
}

static void a_lost_connection_is_the_edges_doing(void)
{
    setup(0);
    struct conn_base conn = { 0 };
    struct cv_req *req = cv_req_new(&h->selfs[0], &conn.pub, CV_HTTP);
    req->method = CV_STR("GET");
    req->authority = CV_STR("a.example.com");
    req->path = CV_STR("/");
    cv_req_start(req);
    harness_turn(h);
    requests_fail_all(&conn, CV_E_TIMEOUT, "lost");
    harness_turn(h);
    CU_ASSERT_EQUAL(count("culvert_request_errors_total", "*|cancel|edge"), 1);
    teardown();
}

/* ---- rules -------------------------------------------------------------------------------------------------- */

static struct route_table *table_of(const char *text)
{
    struct route_table *table;
    struct reason why;
    bool started;
    reason_clear(&why);
    CU_ASSERT_EQUAL_FATAL(config_read(cv_str_of(text), &(struct config_local){ 0 }, &table, &started, &why),
                          CV_OK);
    return table;
}

static void counts_of_a_rule_outlive_its_table(void)
{
    static const char document[] =
        "{\"ingress\":[{\"hostname\":\"a.example.com\",\"path\":\"^/v1/\",\"service\":"
        "\"http://127.0.0.1:1\"},{\"service\":\"http_status:404\"}]}";
    struct route_table *before = table_of(document), *after = table_of(document);
    tally_rules(before);
    tally_rules(after);
    CU_ASSERT_PTR_NOT_NULL(before->rules[0].tally);
    CU_ASSERT_PTR_EQUAL(before->rules[0].tally, after->rules[0].tally);
    CU_ASSERT_PTR_NOT_EQUAL(before->rules[0].tally, before->rules[1].tally);
    route_table_unref(before);
    route_table_unref(after);
    tally_free();
}

static void names_that_come_and_go_end_as_other(void)
{
    const void *last = NULL, *one_more = NULL;
    for (int i = 0; i < 70; i++) {
        char document[256];
        snprintf(document, sizeof(document),
                 "{\"ingress\":[{\"hostname\":\"h%d.example.com\",\"service\":\"http_status:200\"},"
                 "{\"service\":\"http_status:404\"}]}",
                 i);
        struct route_table *table = table_of(document);
        tally_rules(table);
        one_more = last;
        last = table->rules[0].tally;
        CU_ASSERT_PTR_NOT_NULL(last);
        route_table_unref(table);
    }
    CU_ASSERT_PTR_EQUAL(last, one_more);
    tally_free();
}

static void a_rule_tells_what_has_been_counted_of_it(void)
{
    setup(0);
    h->in_open = answer_after_a_while;
    finish(begin("GET", CV_HTTP));
    finish(begin("PUT", CV_HTTP));
    h->in_open = refuse;
    finish(begin("GET", CV_HTTP));
    h->in_open = NULL;
    struct cv_req *left = begin("GET", CV_HTTP);
    cv_req_fail(left, CV_E_CANCEL, "the visitor left");
    harness_turn(h);
    struct cv_rule_counts c;
    cv_rule_counts(&h->worker->routes[TUNNEL_FIRST]->rules[0], &c);
    CU_ASSERT_EQUAL(c.requests, 4);
    CU_ASSERT_EQUAL(c.by_class[2], 2);
    CU_ASSERT_EQUAL(c.by_class[5], 1);
    CU_ASSERT_EQUAL(c.by_class[0], 1);
    CU_ASSERT_EQUAL(c.failed, 1);
    CU_ASSERT_EQUAL(c.duration.n, 4);
    CU_ASSERT_TRUE(c.duration.seconds >= 0.04);
    CU_ASSERT_EQUAL(c.first_byte.n, 3);
    CU_ASSERT_EQUAL(c.first_byte.bounds[0], 0.005);
    CU_ASSERT_EQUAL(c.first_byte.buckets[0], 1); /* the failure; the others took 20 ms */
    teardown();
}

/* ---- events ------------------------------------------------------------------------------------------------- */

static void events_end_where_the_standard_says(void)
{
    static const struct {
        const char *text;
        size_t events;
    } cases[] = {
        { "", 0 },
        { "data: a\n\n", 1 },
        { "data: a\r\n\r\n", 1 },
        { "data: a\r\r", 1 },
        { "data: a\n\r", 1 },
        { "data: a\ndata: b\n\ndata: c\n\n", 2 },
        { ":\n\n", 0 },
        { ": ping\n\n\n\ndata\n\n", 1 },
        { ":c\ndata: a\n:c\n\n", 1 },
        { "data: a\n", 0 },
        { "\n\n\n", 0 },
        { "event: x\r\ndata: a\r\n\r\nevent: y\r\ndata: b\r\n\r\n", 2 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct event_scan whole = { 0 }, pieces = { 0 };
        const uint8_t *p = (const uint8_t *)cases[i].text;
        size_t n = strlen(cases[i].text), found = 0;
        CU_ASSERT_EQUAL(event_scan(&whole, p, n), cases[i].events);
        for (size_t at = 0; at < n; at++)
            found += event_scan(&pieces, p + at, 1);
        CU_ASSERT_EQUAL(found, cases[i].events);
    }
}

static void answer_with_events(struct cv_req *req)
{
    req->status = 200;
    req->resp_headers = cv_headers_new(req);
    cv_header_add(req, req->resp_headers, CV_STR("content-type"), CV_STR("text/event-stream"));
    cv_req_respond(req);
}

static void events_are_timed(void)
{
    setup(0);
    h->in_open = answer_with_events;
    struct cv_req *req = begin("POST", CV_HTTP);
    pause_ms(20);
    cv_pipe_write(req->down, ": hello\n\n", 9);
    CU_ASSERT_EQUAL(count("culvert_sse_first_event_seconds", "*"), -1);
    cv_pipe_write(req->down, "data: 1\n\n", 9);
    CU_ASSERT_EQUAL(count("culvert_sse_first_event_seconds", "*"), 1);
    CU_ASSERT_TRUE(sum("culvert_sse_first_event_seconds", "*") >= 0.02);
    pause_ms(10);
    cv_pipe_write(req->down, "data: 2\n\ndata: 3\n\n", 18);
    CU_ASSERT_EQUAL(count("culvert_sse_event_gap_seconds", "*"), 2);
    CU_ASSERT_TRUE(sum("culvert_sse_event_gap_seconds", "*") >= 0.01);
    CU_ASSERT_TRUE(sum("culvert_sse_event_gap_seconds", "*") < sum("culvert_sse_first_event_seconds", "*"));
    cv_req_fail(req, CV_E_CANCEL, "gone");
    harness_turn(h);
    teardown();
}

SUITE(tally, TEST(requests_are_counted_by_rule_method_and_status),
      TEST(the_time_of_the_origin_is_not_our_own), TEST(open_ones_are_known_by_type),
      TEST(bytes_are_counted_while_they_pass), TEST(failures_are_laid_to_who_caused_them),
      TEST(a_lost_connection_is_the_edges_doing), TEST(counts_of_a_rule_outlive_its_table),
      TEST(names_that_come_and_go_end_as_other), TEST(a_rule_tells_what_has_been_counted_of_it),
      TEST(events_end_where_the_standard_says), TEST(events_are_timed));
