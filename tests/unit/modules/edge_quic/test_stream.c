/* test_stream.c: streams of an edge in the same process: requests and bodies both ways, and all the ways they end. */
#include "bench.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>

#define META(key, value)                                                                                     \
    {                                                                                                        \
        CV_STR(key), CV_STR(value)                                                                           \
    }

static struct bench *connected(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    return b;
}

static struct peer_stream *stream(struct bench *b, int64_t id)
{
    return peer_stream(b->peer, id);
}

static bool refused(struct bench *b, int64_t id)
{
    return BENCH_UNTIL(b, stream(b, id)->reset) && stream(b, id)->code == 0 && stream(b, id)->n_in == 0;
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static void a_request_becomes_a_response(void)
{
    struct bench *b = connected();
    b->answers = true;
    int64_t id = bench_send(b,
                            BENCH_HEAD(CV_CONNECT_HTTP, "https://ignored.example.com/path?x=1", "",
                                       META("HttpMethod", "GET"), META("HttpHost", "a.example.com"),
                                       META("HttpHeader:X-Test", "one")),
                            true);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, stream(b, id)->fin));
    struct bench_answer a = bench_answer(b, id);
    CU_ASSERT_TRUE(a.whole);
    CU_ASSERT_STRING_EQUAL(a.error, "");
    CU_ASSERT_STRING_EQUAL(a.head, "HttpStatus=200 HttpHeader:X-Answer=yes");
    CU_ASSERT_TRUE(cv_str_eq(a.body, CV_STR("hello")));
    CU_ASSERT_STRING_EQUAL(b->seen->head, "GET https a.example.com /path?x=1");
    CU_ASSERT_STRING_EQUAL(b->seen->header, "one");
    CU_ASSERT_EQUAL(b->seen->body_length, 0);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed && stream(b, id)->closed));
    CU_ASSERT_EQUAL(b->seen->why, CV_OK);
    bench_free(b);
}

static void a_head_may_come_byte_by_byte(void)
{
    struct bench *b = connected();
    struct cv_buf head = BENCH_HEAD(CV_CONNECT_HTTP, "http://a/", "body", META("HttpMethod", "POST"),
                                    META("HttpHeader:Content-Length", "4"));
    int64_t id = peer_open(b->peer, true);
    for (size_t i = 0; i < head.n; i++) {
        peer_write(b->peer, id, head.p + i, 1, i + 1 == head.n);
        bench_turn(b);
    }
    cv_buf_free(&head);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen && b->seen->ended));
    CU_ASSERT_EQUAL(b->seen->n_body, 4);
    CU_ASSERT_STRING_EQUAL(b->seen->head, "POST http  /");
    bench_free(b);
}

struct body_case {
    const char *length, *coding, *sent;
    int64_t body_length;
    const char *read;
};

/* docs/protocol.md §12.4 */
static void bodies_follow_length_and_coding(void)
{
    static const struct body_case cases[] = {
        { "", "", "thrown away", 0, "" },
        { "0", "", "thrown away", 0, "" },
        { "4", "", "four", 4, "four" },
        { "4", "", "four and more", 4, "four" },
        { "4", "chunked", "four", 4, "four" },
        { "0", "Chunked", "plain bytes", CV_BODY_STREAM, "plain bytes" },
        { "", "gzip, CHUNKED", "plain bytes", CV_BODY_STREAM, "plain bytes" },
        { "", "gzip", "thrown away", 0, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct body_case *t = &cases[i];
        struct bench *b = connected();
        int64_t id = bench_send(b,
                                BENCH_HEAD(CV_CONNECT_HTTP, "/", t->sent, META("HttpMethod", "POST"),
                                           { CV_STR("HttpHeader:Content-Length"), cv_str_of(t->length) },
                                           { CV_STR("HttpHeader:Transfer-Encoding"), cv_str_of(t->coding) }),
                                true);
        CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen && b->seen->ended));
        CU_ASSERT_EQUAL(b->seen->body_length, t->body_length);
        CU_ASSERT_TRUE(
            cv_str_eq((struct cv_str){ (char *)b->seen->body.p, b->seen->body.n }, cv_str_of(t->read)));
        CU_ASSERT_FALSE(stream(b, id)->reset);
        bench_free(b);
    }
}

static void a_body_shorter_than_its_length_is_an_error(void)
{
    struct bench *b = connected();
    int64_t id = bench_send(b,
                            BENCH_HEAD(CV_CONNECT_HTTP, "/", "thr", META("HttpMethod", "POST"),
                                       META("HttpHeader:Content-Length", "4")),
                            false);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen));
    peer_write(b->peer, id, "", 0, true);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, stream(b, id)->fin));
    CU_ASSERT_PTR_NOT_NULL(strstr(bench_answer(b, id).error, "ended 1 bytes before its Content-Length"));
    CU_ASSERT_EQUAL(bench_answer(b, id).body.n, 0);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed));
    CU_ASSERT_EQUAL(b->seen->why, CV_E_PROTO);
    bench_free(b);
}

static void heads_with_bad_fields_are_answered_with_the_reason(void)
{
    static const struct {
        struct cv_metadata m;
        const char *dest, *text;
        unsigned type;
    } cases[] = {
        { META("HttpHeader:X:Y", "v"), "http://a/", "header Key: HttpHeader:X:Y malformed", CV_CONNECT_HTTP },
        { META("AnHttpHeaderToo", "v"), "http://a/", "header Key: AnHttpHeaderToo malformed",
          CV_CONNECT_HTTP },
        { META("HttpHeader:Content-Length", "abc"), "http://a/",
          "Error setting content-length: strconv.ParseInt: parsing \"abc\": invalid syntax",
          CV_CONNECT_HTTP },
        { META("HttpHeader:Content-Length", "99999999999999999999"), "http://a/",
          "Error setting content-length: strconv.ParseInt: parsing \"99999999999999999999\": value out of "
          "range",
          CV_CONNECT_HTTP },
        { META("HttpMethod", "GET /"), "http://a/", "net/http: invalid method \"GET /\"", CV_CONNECT_HTTP },
        { META("k", "v"), "http://a/", "unsupported connection type 7", 7 },
    };
    struct bench *b = connected();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t id = bench_send(b, bench_head(cases[i].type, cases[i].dest, &cases[i].m, 1, ""), true);
        CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, stream(b, id)->fin));
        CU_ASSERT_STRING_EQUAL(bench_answer(b, id).error, cases[i].text);
        CU_ASSERT_STRING_EQUAL(bench_answer(b, id).head, "");
    }
    CU_ASSERT_EQUAL(b->n_seen, 0);
    bench_free(b);
}

static void a_failure_before_the_head_is_told_and_one_after_it_resets(void)
{
    struct bench *b = connected();
    int64_t id = bench_get(b);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen));
    cv_req_fail(b->seen->req, CV_E_REFUSED, "nobody is home");
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, stream(b, id)->fin));
    CU_ASSERT_STRING_EQUAL(bench_answer(b, id).error, "nobody is home");
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed));

    b->answers = true;
    b->streams = 100 << 20;
    id = bench_get(b);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen->req && stream(b, id)->n_in > 100000));
    cv_req_fail(b->seen->req, CV_E_IO, "it broke");
    CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->reset));
    CU_ASSERT_EQUAL(stream(b, id)->code, 0);
    CU_ASSERT_FALSE(stream(b, id)->fin);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed));
    CU_ASSERT_EQUAL(b->seen->why, CV_E_IO);
    bench_free(b);
}

static void a_flow_limit_is_marked_for_the_edge(void)
{
    struct bench *b = connected();
    int64_t id = bench_send(b, bench_head(CV_CONNECT_TCP, "10.0.0.5:5432", NULL, 0, ""), false);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen));
    cv_req_fail(b->seen->req, CV_E_LIMIT,
                "failed to start tcp flow due to rate limiting: too many active flows");
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, stream(b, id)->fin));
    CU_ASSERT_STRING_EQUAL(bench_answer(b, id).error,
                           "failed to start tcp flow due to rate limiting: too many active flows");
    CU_ASSERT_STRING_EQUAL(bench_answer(b, id).head, "FlowConnectRateLimited=true");
    bench_free(b);
}

/* ---- other kinds ------------------------------------------------------------------------------------- */

static void tcp_and_websocket_carry_bytes_both_ways(void)
{
    static const struct {
        unsigned type;
        int status;
        const char *head;
    } cases[] = { { CV_CONNECT_TCP, 200, "" }, { CV_CONNECT_WEBSOCKET, 101, "HttpStatus=101" } };
    for (size_t i = 0; i < 2; i++) {
        struct bench *b = connected();
        int64_t id = bench_send(b, bench_head(cases[i].type, "10.0.0.5:5432", NULL, 0, "up"), false);
        CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen && b->seen->n_body == 2));
        struct cv_req *req = b->seen->req;
        CU_ASSERT_EQUAL(req->type, cases[i].type == CV_CONNECT_TCP ? CV_TCP : CV_WEBSOCKET);
        CU_ASSERT_EQUAL(req->body_length, CV_BODY_STREAM);
        if (req->type == CV_TCP)
            CU_ASSERT_TRUE(cv_str_eq(req->authority, CV_STR("10.0.0.5:5432")));
        req->status = cases[i].status;
        cv_req_respond(req);
        cv_pipe_write(req->down, "down", 4);
        CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, bench_answer(b, id).body.n == 4));
        CU_ASSERT_STRING_EQUAL(bench_answer(b, id).head, cases[i].head);
        peer_write(b->peer, id, "more", 4, true);
        CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen->ended));
        CU_ASSERT_EQUAL(b->seen->n_body, 6);
        cv_pipe_finish(req->down);
        CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->fin && b->seen->closed));
        CU_ASSERT_EQUAL(b->seen->why, CV_OK);
        bench_free(b);
    }
}

static void rpc_streams_go_to_the_registrar_as_they_are(void)
{
    struct bench *b = connected();
    int64_t id = peer_open(b->peer, true);
    peer_write(b->peer, id,
               "\x52\xbb\x82\x5c\xdb\x65"
               "call",
               10, false);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen && b->seen->n_body == 4));
    CU_ASSERT_EQUAL(b->seen->type, CV_RPC);
    cv_pipe_write(b->seen->req->down, "return", 6);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, stream(b, id)->n_in == 6));
    CU_ASSERT_EQUAL(memcmp(stream(b, id)->in.p, "return", 6), 0);
    cv_pipe_finish(b->seen->req->down);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->fin && b->seen->closed));
    bench_free(b);
}

static void streams_that_are_nothing_are_reset(void)
{
    struct bench *b = connected();
    int64_t id = peer_open(b->peer, true);
    peer_write(b->peer, id, "GET / HTTP/1.1\r\n", 16, false); /* no signature */
    CU_ASSERT_TRUE(refused(b, id));
    id = peer_open(b->peer, true);
    peer_write(b->peer, id, "\x0a\x36", 2, true); /* an end too early */
    CU_ASSERT_TRUE(refused(b, id));
    id = peer_open(b->peer, true);
    peer_write(b->peer, id, "", 0, true); /* nothing at all */
    CU_ASSERT_TRUE(refused(b, id));
    id = peer_open(b->peer, true);
    peer_write(b->peer, id,
               "\x0a\x36\xcd\x12\xa1\x3e"
               "01\xff\xff\xff\xff",
               12, false); /* four billion segments */
    CU_ASSERT_TRUE(refused(b, id));
    id = peer_open(b->peer, true);
    peer_write(b->peer, id,
               "\x0a\x36\xcd\x12\xa1\x3e"
               "01\0\0\0\0\x01\x20\0\0",
               16, false); /* above max_head */
    CU_ASSERT_TRUE(refused(b, id));
    id = peer_open(b->peer, true);
    peer_write(b->peer, id, "\x0a", 1, false);
    bench_for(b, 20);
    peer_reset(b->peer, id, 3); /* gives up */
    CU_ASSERT_TRUE(BENCH_UNTIL(b, bench_conn(b)->n_headless == 0));
    peer_write(b->peer, peer_open(b->peer, false), "unidirectional", 14, false);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, bench_conn(b)->stats.refused[QR_UNIDIRECTIONAL] == 1));
    CU_ASSERT_FALSE(b->down);
    CU_ASSERT_EQUAL(b->n_seen, 0);
    conn_close(1);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_EQUAL(bench_metric("culvert_quic_refused_streams_total", "signature"), 1);
    CU_ASSERT_EQUAL(bench_metric("culvert_quic_refused_streams_total", "short"), 3);
    CU_ASSERT_EQUAL(bench_metric("culvert_quic_refused_streams_total", "head"), 2);
    bench_free(b);
}

static void streams_without_a_head_are_limited_in_number_and_time(void)
{
    struct bench *b = bench_new();
    b->conf.headless_streams = 2;
    b->conf.head_timeout.ms = 300;
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    int64_t id[3];
    for (int i = 0; i < 3; i++) {
        id[i] = peer_open(b->peer, true);
        peer_write(b->peer, id[i], "\x0a", 1, false);
        bench_for(b, 5);
    }
    CU_ASSERT_TRUE(refused(b, id[2]));
    CU_ASSERT_FALSE(stream(b, id[0])->reset);
    CU_ASSERT_EQUAL(bench_conn(b)->n_headless, 2);
    CU_ASSERT_TRUE(refused(b, id[0])); /* by time */
    CU_ASSERT_TRUE(refused(b, id[1]));
    bench_free(b);
}

/* ---- ends -------------------------------------------------------------------------------------------- */

static void an_early_answer_stops_the_request_body(void)
{
    struct bench *b = connected();
    b->answers = true;
    int64_t id = bench_send(b,
                            BENCH_HEAD(CV_CONNECT_HTTP, "/", "some", META("HttpMethod", "POST"),
                                       META("HttpHeader:Content-Length", "1000")),
                            false);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->fin));
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed));
    CU_ASSERT_EQUAL(b->seen->why, CV_OK);
    bench_for(b, 20);
    peer_write(b->peer, id, "late", 4, false);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->stopped));
    bench_free(b);
}

static void a_reset_by_the_edge_cancels_the_request(void)
{
    struct bench *b = connected();
    int64_t id = bench_send(b, bench_head(CV_CONNECT_WEBSOCKET, "/", NULL, 0, ""), false);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen));
    peer_reset(b->peer, id, 7);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed));
    CU_ASSERT_EQUAL(b->seen->why, CV_E_CANCEL);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->reset));
    bench_free(b);
}

static void stop_sending_is_answered_with_its_code_and_cancels(void)
{
    struct bench *b = connected(); /* the edge has finished: a visitor left while the answer streams */
    int64_t id = bench_get(b);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen));
    peer_stop(b->peer, id, 9);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed));
    CU_ASSERT_EQUAL(b->seen->why, CV_E_CANCEL);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->reset && stream(b, id)->code == 9));

    id = bench_send(b, bench_head(CV_CONNECT_WEBSOCKET, "/", NULL, 0, ""),
                    false); /* it has not, and nothing is written */
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->n_seen == 2));
    peer_stop(b->peer, id, 9);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed));
    CU_ASSERT_EQUAL(b->seen->why, CV_E_CANCEL);
    bench_free(b);
}

static void losing_the_connection_closes_its_requests(void)
{
    struct bench *b = connected();
    bench_get(b);
    bench_get(b);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->n_seen == 2));
    peer_close(b->peer, true, 0, "");
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down && b->seen->closed && b->seen->next->closed));
    CU_ASSERT_TRUE(BENCH_UNTIL(b, conns_count() == 0));
    bench_free(b);
}

static void a_stream_that_takes_no_byte_ends_after_write_stream_timeout(void)
{
    struct bench *b = bench_new();
    b->conf.write_stream_timeout.ms = 200;
    b->peer->stream_window = 1000;
    b->peer->hold = true;
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    b->answers = true;
    b->streams = 5000;
    int64_t id = bench_get(b);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen && b->seen->closed));
    CU_ASSERT_EQUAL(b->seen->why, CV_E_TIMEOUT);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->reset));
    CU_ASSERT_EQUAL(stream(b, id)->n_in, 1000);
    bench_free(b);
}

/* ---- flow --------------------------------------------------------------------------------------------- */

static bool is_alphabet(const struct cv_buf *in, size_t from, size_t n)
{
    if (in->n < from + n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (in->p[from + i] != 'a' + i % 26)
            return false;
    return true;
}

static void a_large_answer_arrives_whole_in_spite_of_loss(void)
{
    enum { BYTES = 4 << 20 };
    struct bench *b = connected();
    b->answers = true;
    b->streams = BYTES;
    b->peer->drop_every = 40;
    int64_t id = bench_get(b);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, stream(b, id)->fin));
    struct bench_answer a = bench_answer(b, id);
    CU_ASSERT_EQUAL(a.body.n, BYTES);
    CU_ASSERT_TRUE(is_alphabet(&stream(b, id)->in, stream(b, id)->in.n - BYTES, BYTES));
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->seen->closed && bench_conn(b)->in_flight == 0));
    bench_free(b);
}

static void a_large_body_arrives_whole(void)
{
    enum { BYTES = 8 << 20 };
    struct bench *b = connected();
    uint8_t *bytes = cv_xmalloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)('a' + i % 26);
    int64_t id = bench_send(b,
                            BENCH_HEAD(CV_CONNECT_HTTP, "/", "", META("HttpMethod", "PUT"),
                                       META("HttpHeader:Transfer-Encoding", "chunked")),
                            false);
    peer_write(b->peer, id, bytes, BYTES, true);
    free(bytes);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen && b->seen->ended));
    CU_ASSERT_TRUE(b->seen->n_body == BYTES && is_alphabet(&b->seen->body, 0, BYTES));
    bench_free(b);
}

static void a_reader_that_stops_bounds_what_the_edge_may_send(void)
{
    enum { BYTES = 2 << 20, WINDOW = 100000 };
    struct bench *b = bench_new();
    b->conf.stream_window.n = WINDOW;
    b->lazy = true;
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    uint8_t *bytes = cv_xcalloc(1, BYTES);
    int64_t id = bench_send(b, bench_head(CV_CONNECT_WEBSOCKET, "/", NULL, 0, ""), false);
    peer_write(b->peer, id, bytes, BYTES, true);
    free(bytes);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->seen));
    struct cv_pipe *up = b->seen->req->up;
    bench_for(b, 100);
    CU_ASSERT_TRUE(cv_pipe_held(up) > WINDOW / 2 &&
                   cv_pipe_held(up) <= WINDOW + 1000); /* the head has its own credit */
    for (int i = 0; i < 1000 && !b->seen->ended; i++) {
        bench_read(b, b->seen);
        bench_for(b, 1);
        CU_ASSERT_TRUE(b->seen->ended || cv_pipe_held(up) <= WINDOW + 1000);
    }
    CU_ASSERT_EQUAL(b->seen->n_body, BYTES);
    bench_free(b);
}

static void unread_bodies_do_not_use_up_the_connection(void)
{
    enum { BODY = 300000, REQUESTS = 8 }; /* together more than the connection's first window */
    struct bench *b = bench_new();
    b->conf.conn_window.n = b->conf.stream_window.n = QUIC_INITIAL_CONN;
    b->lazy = true;
    b->answers = true;
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    uint8_t *bytes = cv_xcalloc(1, BODY);
    for (int i = 0; i < REQUESTS; i++) {
        int64_t id = bench_send(b,
                                BENCH_HEAD(CV_CONNECT_HTTP, "/", "", META("HttpMethod", "PUT"),
                                           META("HttpHeader:Content-Length", "300000")),
                                false);
        peer_write(b->peer, id, bytes, BODY, true);
        CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->fin && b->seen->closed));
    }
    free(bytes);
    bench_for(b, 100);
    CU_ASSERT_TRUE(ngtcp2_conn_get_max_data_left(b->peer->quic) > BODY);
    bench_free(b);
}

static void a_stalled_stream_does_not_stop_its_neighbours(void)
{
    struct bench *b = bench_new();
    b->peer->stream_window = 20000;
    b->peer->hold = true;
    b->answers = true;
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    b->streams = 1 << 20;
    int64_t stalled = bench_get(b);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, stalled)->n_in == 20000));
    b->streams = 0;
    for (int i = 0; i < 20; i++) {
        int64_t id = bench_get(b);
        b->streams = 0;
        CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id)->fin));
    }
    CU_ASSERT_FALSE(b->down);
    bench_free(b);
}

static void many_streams_at_once_are_all_answered(void)
{
    enum { N = 300 };
    struct bench *b = connected();
    b->answers = true;
    int64_t id[N];
    for (int i = 0; i < N; i++)
        id[i] = bench_get(b);
    for (int i = 0; i < N; i++) {
        CU_ASSERT_TRUE(BENCH_UNTIL(b, stream(b, id[i])->fin));
        CU_ASSERT_TRUE(cv_str_eq(bench_answer(b, id[i]).body, CV_STR("hello")));
    }
    CU_ASSERT_EQUAL(b->n_seen, N);
    bench_free(b);
}

SUITE(quic_stream, TEST(a_request_becomes_a_response), TEST(a_head_may_come_byte_by_byte),
      TEST(bodies_follow_length_and_coding), TEST(a_body_shorter_than_its_length_is_an_error),
      TEST(heads_with_bad_fields_are_answered_with_the_reason),
      TEST(a_failure_before_the_head_is_told_and_one_after_it_resets),
      TEST(a_flow_limit_is_marked_for_the_edge), TEST(tcp_and_websocket_carry_bytes_both_ways),
      TEST(rpc_streams_go_to_the_registrar_as_they_are), TEST(streams_that_are_nothing_are_reset),
      TEST(streams_without_a_head_are_limited_in_number_and_time),
      TEST(an_early_answer_stops_the_request_body), TEST(a_reset_by_the_edge_cancels_the_request),
      TEST(stop_sending_is_answered_with_its_code_and_cancels),
      TEST(losing_the_connection_closes_its_requests),
      TEST(a_stream_that_takes_no_byte_ends_after_write_stream_timeout),
      TEST(a_large_answer_arrives_whole_in_spite_of_loss), TEST(a_large_body_arrives_whole),
      TEST(a_reader_that_stops_bounds_what_the_edge_may_send),
      TEST(unread_bodies_do_not_use_up_the_connection), TEST(a_stalled_stream_does_not_stop_its_neighbours),
      TEST(many_streams_at_once_are_all_answered));
