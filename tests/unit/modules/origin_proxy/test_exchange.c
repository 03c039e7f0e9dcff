/* test_exchange.c: whole exchanges over real sockets: framing, streams, back-pressure, reuse, retries, failures. */
#include "rig.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static bool body_is(const struct rig_seen *seen, const char *want)
{
    return seen->body.n == strlen(want) &&
           (seen->body.n == 0 || memcmp(seen->body.p, want, seen->body.n) == 0);
}

static bool ends_with(const char *heard, const char *end)
{
    size_t n = heard ? strlen(heard) : 0, m = strlen(end);
    return n >= m && strcmp(heard + n - m, end) == 0;
}

/* A whole exchange on a connection that the test has or, fd -1, gets; returns the connection. */
static int exchange(struct rig *rig, int fd, const char *answer, struct rig_seen *seen)
{
    rig_send(rig, rig_request(rig, "GET", "/", seen));
    if (fd < 0)
        fd = rig_accept(rig);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "\r\n\r\n"));
    rig_say(rig, fd, answer);
    rig_until(rig, &seen->closed);
    rig_seen_free(seen);
    return fd;
}

/* ---- responses --------------------------------------------------------------------------------------- */

static void passes_a_response_with_a_length(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    rig_send(rig, rig_request(rig, "GET", "/x", &seen));
    int fd = rig_accept(rig);
    const char *heard = rig_hear(rig, fd, "\r\n\r\n");
    CU_ASSERT_STRING_EQUAL(heard, "GET /x HTTP/1.1\r\nHost: a.example.com\r\nConnection: keep-alive\r\n"
                                  "Cf-Warp-Tag-Id: 11112222\r\n\r\n");
    rig_say(rig, fd, "HTTP/1.1 201 Made\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nKeep-Alive: timeout=5\r\n");
    rig_say(rig, fd, "Content-Length: 10\r\n\r\n01234");
    CU_ASSERT_EQUAL(seen.status, 201);
    CU_ASSERT_STRING_EQUAL(seen.head, "Set-Cookie=a Set-Cookie=b Keep-Alive=timeout=5 Content-Length=10 ");
    CU_ASSERT(body_is(&seen, "01234"));
    rig_say(rig, fd, "56789");
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_OK);
    CU_ASSERT(body_is(&seen, "0123456789"));
    rig_seen_free(&seen);
    rig_free(rig);
    close(fd);
}

static void passes_events_one_by_one_and_trailers(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int fd = rig_accept(rig);
    rig_hear(rig, fd, "\r\n\r\n");
    rig_say(rig, fd,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            "Trailer: X-Sum\r\n\r\n");
    CU_ASSERT_EQUAL(seen.status, 200);
    CU_ASSERT_STRING_EQUAL(seen.head, "Content-Type=text/event-stream ");
    rig_say(rig, fd, "4\r\none\n\r\n");
    CU_ASSERT(body_is(&seen, "one\n"));
    rig_say(rig, fd, "4\r\ntwo\n");
    CU_ASSERT(body_is(&seen, "one\ntwo\n"));
    rig_say(rig, fd, "\r\n0\r\nX-Sum: 8\r\n\r\n");
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_STRING_EQUAL(seen.trailers, "X-Sum=8 ");
    CU_ASSERT_EQUAL(seen.error, CV_OK);
    rig_seen_free(&seen);
    rig_free(rig);
    close(fd);
}

static void holds_no_more_than_the_edge_takes(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    rig->hold = true;
    struct cv_req *req = rig_request(rig, "GET", "/", &seen);
    rig_send(rig, req);
    int fd = rig_accept(rig);
    rig_hear(rig, fd, "\r\n\r\n");
    enum { SIZE = 400000 };
    char *text = cv_xmalloc(SIZE + 1);
    memset(text, 'x', SIZE);
    text[SIZE] = '\0';
    int half = 100000; /* so that the loopback's buffers never keep the test from going on */
    rig_say(rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
    rig_say(rig, fd, text + SIZE - half);
    CU_ASSERT_EQUAL(cv_pipe_held(req->down), 50000);
    CU_ASSERT_FALSE(seen.ended);
    rig_take(rig, req);
    rig_say(rig, fd, text + SIZE - half);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.body.n, 200000);
    CU_ASSERT(memcmp(seen.body.p, text, 200000) == 0);
    free(text);
    rig_seen_free(&seen);
    rig_free(rig);
    close(fd);
}

struct cut {
    const char *answer;
    int status;
    enum cv_error error;
};

static void resets_what_is_cut_short(void)
{
    static const struct cut cuts[] = {
        { "", 502, CV_E_IO },
        { "HTTP/1.1 200 OK\r\nConte", 502, CV_E_IO },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", 200, CV_E_IO },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200, CV_E_IO },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!", 502,
          CV_E_PROTO }, /* before the head was on its way */
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 502, CV_E_PROTO },
        { "HTTP/1.1 200 OK\r\n\r\nall of it", 200, CV_OK },
    };
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct rig *rig = rig_new();
        struct rig_seen seen;
        rig_send(rig, rig_request(rig, "GET", "/", &seen));
        int fd = rig_accept(rig);
        rig_hear(rig, fd, "\r\n\r\n");
        rig_say(rig, fd, cuts[i].answer);
        close(fd);
        CU_ASSERT(rig_until(rig, &seen.closed));
        CU_ASSERT_EQUAL(seen.status, cuts[i].status);
        CU_ASSERT_EQUAL(seen.error, cuts[i].error);
        CU_ASSERT_EQUAL(seen.ended, cuts[i].error == CV_OK);
        rig_seen_free(&seen);
        rig_free(rig);
    }
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static void sends_chunks_as_they_come(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "POST", "/", &seen);
    req->body_length = CV_BODY_STREAM;
    cv_pipe_write(req->up, "first", 5);
    rig_send(rig, req);
    int fd = rig_accept(rig);
    CU_ASSERT(ends_with(rig_hear(rig, fd, "first\r\n"), "\r\nTransfer-Encoding: chunked\r\n"
                                                        "Cf-Warp-Tag-Id: 11112222\r\n\r\n5\r\nfirst\r\n"));
    cv_pipe_write(req->up, "0123456789abcdef!", 17);
    CU_ASSERT_STRING_EQUAL(rig_hear(rig, fd, "!\r\n"), "11\r\n0123456789abcdef!\r\n");
    cv_pipe_finish(req->up);
    CU_ASSERT_STRING_EQUAL(rig_hear(rig, fd, "\r\n\r\n"), "0\r\n\r\n");
    rig_say(rig, fd, HELLO);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT(body_is(&seen, "hello"));
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 1);
    rig_seen_free(&seen);
    rig_free(rig);
    close(fd);
}

static void sends_a_body_of_known_length_and_not_a_byte_more(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "POST", "/", &seen);
    req->body_length = 7;
    rig_send(rig, req);
    int fd = rig_accept(rig);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "\r\nContent-Length: 7\r\nCf-Warp-Tag-Id: 11112222\r\n\r\n"));
    cv_pipe_write(req->up, "1234", 4);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "1234"));
    cv_pipe_write(req->up, "567surplus", 10);
    cv_pipe_finish(req->up);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "567"));
    rig_turn(rig);
    CU_ASSERT_EQUAL(cv_pipe_held(req->up), 0);
    rig_say(rig, fd, HELLO);
    CU_ASSERT(rig_until(rig, &seen.closed));
    rig_seen_free(&seen);
    exchange(rig, fd, HELLO, &seen); /* the surplus did not become the next request's beginning */
    CU_ASSERT_EQUAL(seen.status, 200);
    rig_free(rig);
    close(fd);
}

static void fails_a_body_shorter_than_its_length(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "POST", "/", &seen);
    req->body_length = 7;
    rig_send(rig, req);
    int fd = rig_accept(rig);
    rig_hear(rig, fd, "\r\n\r\n");
    cv_pipe_write(req->up, "1234", 4);
    cv_pipe_finish(req->up);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_PROTO);
    CU_ASSERT(rig_hears_end(rig, fd));
    rig_free(rig);
    close(fd);
}

static void sends_no_chunks_where_the_rule_forbids_them(void)
{
    struct rig *rig = rig_new();
    char service[64];
    snprintf(service, sizeof(service), "http://127.0.0.1:%u", rig->port);
    rig_rule(rig, service, "\"disableChunkedEncoding\":true");
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "POST", "/", &seen);
    req->body_length = CV_BODY_STREAM;
    cv_pipe_write(req->up, "one ", 4);
    rig_send(rig, req);
    cv_pipe_write(req->up, "two", 3);
    rig_turn(rig);
    CU_ASSERT_EQUAL(cv_pipe_held(req->up), 0);
    cv_pipe_finish(req->up);
    int fd = rig_accept(rig);
    CU_ASSERT(ends_with(rig_hear(rig, fd, "two"),
                        "\r\nContent-Length: 7\r\nCf-Warp-Tag-Id: 11112222\r\n\r\none two"));
    rig_say(rig, fd, HELLO);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_OK);
    rig_seen_free(&seen);

    req = rig_request(rig, "POST", "/", &seen);
    req->body_length = CV_BODY_STREAM;
    rig->conf.buffered_body.n = 3;
    cv_pipe_write(req->up, "four", 4);
    rig_send(rig, req);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_LIMIT);
    rig_free(rig);
    close(fd);
}

static void hears_an_answer_that_comes_before_the_body(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "POST", "/", &seen);
    req->body_length = 1000;
    rig_send(rig, req);
    int fd = rig_accept(rig);
    rig_hear(rig, fd, "\r\n\r\n");
    rig_say(rig, fd, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.status, 413);
    CU_ASSERT_EQUAL(seen.error, CV_OK);
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 0);
    CU_ASSERT(rig_hears_end(rig, fd));
    rig_seen_free(&seen);
    rig_free(rig);
    close(fd);
}

/* ---- connections ------------------------------------------------------------------------------------- */

static void uses_a_connection_again(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    int fd = exchange(rig, -1, HELLO, &seen);
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 1);
    exchange(rig, fd, "HTTP/1.1 204 No\r\n\r\n", &seen);
    CU_ASSERT_EQUAL(seen.status, 204);
    exchange(rig, fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &seen);
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 1);
    close(fd);
    rig_turn(rig);
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 0);
    rig_free(rig);
}

static void uses_no_connection_again_that_is_not_clean(void)
{
    static const char *const answers[] = {
        HELLO "surplus",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No\r\n\r\nbody",
    };
    struct rig *rig = rig_new();
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct rig_seen seen;
        int fd = exchange(rig, -1, answers[i], &seen);
        CU_ASSERT_EQUAL(seen.error, CV_OK);
        CU_ASSERT(seen.ended);
        CU_ASSERT_EQUAL(rig_worker(rig)->idle, 0);
        CU_ASSERT(rig_hears_end(rig, fd));
        close(fd);
    }
    rig_free(rig);
}

static void closes_a_connection_that_speaks_unasked(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    int fd = exchange(rig, -1, HELLO, &seen);
    send(fd, HELLO, strlen(HELLO), MSG_NOSIGNAL); /* the loop has not seen it when the next request comes */
    int second = exchange(rig, -1, "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n", &seen);
    CU_ASSERT_EQUAL(seen.status, 201);
    CU_ASSERT(rig_hears_end(rig, fd));
    close(fd);
    close(second);
    rig_free(rig);
}

static void keeps_as_many_connections_as_the_rule_says(void)
{
    struct rig *rig = rig_new();
    char service[64];
    snprintf(service, sizeof(service), "http://127.0.0.1:%u", rig->port);
    rig_rule(rig, service, "\"keepAliveConnections\":1,\"keepAliveTimeout\":1");
    struct rig_seen seen[2];
    int fd[2];
    for (int i = 0; i < 2; i++) {
        rig_send(rig, rig_request(rig, "GET", "/", &seen[i]));
        fd[i] = rig_accept(rig);
        rig_hear(rig, fd[i], "\r\n\r\n");
    }
    for (int i = 0; i < 2; i++) {
        rig_say(rig, fd[i], HELLO);
        rig_until(rig, &seen[i].closed);
        rig_seen_free(&seen[i]);
    }
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 2); /* it might be wanted at once */
    CU_ASSERT(rig_hears_end(rig, fd[0]));
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 1);
    CU_ASSERT(rig_hears_end(rig, fd[1])); /* after a second */
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 0);
    close(fd[0]);
    close(fd[1]);
    rig_free(rig);
}

static void tries_again_once_when_a_kept_connection_dies(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    int fd = exchange(rig, -1, HELLO, &seen);
    rig_send(rig, rig_request(rig, "POST", "/again", &seen));
    rig_hear(rig, fd, "\r\n\r\n");
    close(fd);
    fd = rig_accept(rig);
    CU_ASSERT(fd >= 0);
    const char *heard = rig_hear(rig, fd, "\r\n\r\n");
    CU_ASSERT(heard && strncmp(heard, "POST /again", 11) == 0);
    close(fd);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.status, 502);
    CU_ASSERT_EQUAL(seen.error, CV_E_IO);
    rig_free(rig);
}

static void sends_no_body_twice(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    int fd = exchange(rig, -1, HELLO, &seen);
    struct cv_req *req = rig_request(rig, "POST", "/", &seen);
    req->body_length = CV_BODY_STREAM;
    cv_pipe_write(req->up, "x", 1);
    rig_send(rig, req);
    rig_hear(rig, fd, "1\r\nx\r\n");
    close(fd);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_IO);
    rig_free(rig);
}

static void retries_an_empty_stream_with_its_framing(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    int fd = exchange(rig, -1, HELLO, &seen);
    struct cv_req *req = rig_request(rig, "POST", "/", &seen);
    req->body_length = CV_BODY_STREAM;
    rig_send(rig, req);
    cv_pipe_finish(req->up);
    rig_hear(rig, fd, "\r\n\r\n0\r\n\r\n");
    close(fd);
    fd = rig_accept(rig);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "\r\n\r\n0\r\n\r\n"));
    rig_say(rig, fd, HELLO);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_OK);
    rig_seen_free(&seen);
    close(fd);
    rig_free(rig);
}

static void leaves_when_the_visitor_leaves(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "GET", "/", &seen);
    rig_send(rig, req);
    int fd = rig_accept(rig);
    rig_hear(rig, fd, "\r\n\r\n");
    cv_req_fail(req, CV_E_CANCEL, "the visitor left");
    CU_ASSERT(rig_hears_end(rig, fd));
    CU_ASSERT(seen.closed);
    close(fd);
    rig_free(rig);
}

static void tells_which_layer_failed(void)
{
    static const struct {
        const char *service;
        enum cv_error error;
        int status;
        const char *why;
    } cases[] = {
        { "http://127.0.0.1:1", CV_E_REFUSED, 502, "dial tcp 127.0.0.1:1: connect: connection refused" },
        { "http://localhost:1", CV_E_REFUSED, 502, "dial tcp 127.0.0.1:1: connect: connection refused" },
        { "unix:/nonexistent/socket", CV_E_REFUSED, 502,
          "dial unix /nonexistent/socket: connect: no such file or directory" },
    };
    struct rig *rig = rig_new();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig_seen seen;
        rig_rule(rig, cases[i].service, "");
        rig_send(rig, rig_request(rig, "GET", "/", &seen));
        CU_ASSERT(rig_until(rig, &seen.closed));
        CU_ASSERT_EQUAL(seen.error, cases[i].error);
        CU_ASSERT_EQUAL(seen.status, cases[i].status);
        CU_ASSERT(strncmp(seen.why, "Unable to reach the origin service. The service may be down", 59) == 0);
        CU_ASSERT(ends_with(seen.why, cases[i].why));
    }
    rig_free(rig);
}

static void limits_the_wait_for_the_first_byte(void)
{
    struct rig *rig = rig_new();
    rig->conf.first_byte_timeout.ms = 50;
    struct rig_seen seen;
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int fd = rig_accept(rig);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_TIMEOUT);
    CU_ASSERT_EQUAL(seen.status, 504);
    close(fd);
    rig_free(rig);
}

static void limits_the_pause_within_a_response(void)
{
    struct rig *rig = rig_new();
    rig->conf.idle_timeout.ms = 50;
    struct rig_seen seen;
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int fd = rig_accept(rig);
    usleep(100000);
    rig_turn(rig);
    CU_ASSERT_FALSE(seen.closed); /* the wait for the first byte is another limit's matter */
    rig_say(rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_TIMEOUT);
    close(fd);
    rig_free(rig);
}

/* Bytes keep moving, which is enough for the other limit. */
static void limits_the_whole_of_an_exchange(void)
{
    struct rig *rig = rig_new();
    rig->conf.total_timeout.ms = 150;
    rig->conf.idle_timeout.ms = 100;
    struct rig_seen seen;
    rig_send(rig, rig_request(rig, "GET", "/", &seen));
    int fd = rig_accept(rig);
    int64_t since = clock_ms();
    rig_say(rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    while (!seen.closed && clock_ms() - since < 5000) {
        rig_say(rig, fd, "x");
        usleep(5000);
    }
    CU_ASSERT_TRUE(seen.closed);
    CU_ASSERT_EQUAL(seen.error, CV_E_TIMEOUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen.why, "total_timeout"));
    CU_ASSERT(clock_ms() - since >= 100);
    rig_seen_free(&seen);
    close(fd);
    rig_free(rig);
}

static void serves_a_unix_socket(void)
{
    struct rig *rig = rig_new();
    char path[64], service[80];
    snprintf(path, sizeof(path), "/tmp/culvert-test-%d", (int)getpid());
    snprintf(service, sizeof(service), "unix:%s", path);
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    memcpy(un.sun_path, path, strlen(path) + 1);
    close(rig->listener);
    rig->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CU_ASSERT_EQUAL(bind(rig->listener, (struct sockaddr *)&un, sizeof(un)), 0);
    CU_ASSERT_EQUAL(listen(rig->listener, 4), 0);
    rig_rule(rig, service, "");
    struct rig_seen seen;
    int fd = exchange(rig, -1, HELLO, &seen);
    CU_ASSERT_EQUAL(seen.status, 200);
    CU_ASSERT_EQUAL(rig_worker(rig)->idle, 1);
    close(fd);
    rig_free(rig);
    unlink(path);
}

/* ---- upgrades ---------------------------------------------------------------------------------------- */

static void carries_raw_bytes_both_ways_after_an_upgrade(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "GET", "/ws", &seen);
    req->type = CV_WEBSOCKET;
    req->body_length = CV_BODY_STREAM;
    cv_pipe_write(req->up, "early", 5);
    rig_send(rig, req);
    int fd = rig_accept(rig);
    CU_ASSERT(ends_with(rig_hear(rig, fd, "\r\n\r\n"),
                        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Version: 13\r\n"
                        "Cf-Warp-Tag-Id: 11112222\r\n\r\n"));
    rig_say(rig, fd, "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
    CU_ASSERT_EQUAL(seen.status, 101);
    CU_ASSERT_STRING_EQUAL(seen.head, "Connection=Upgrade Upgrade=websocket ");
    CU_ASSERT(body_is(&seen, "hello"));
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "early"));
    cv_pipe_write(req->up, "more", 4);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(rig, fd, "more"));
    cv_pipe_finish(req->up);
    CU_ASSERT(rig_hears_end(rig, fd)); /* of what the visitor has to say */
    rig_say(rig, fd, " bye");
    CU_ASSERT(body_is(&seen, "hello bye"));
    CU_ASSERT_FALSE(seen.ended);
    close(fd);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT(seen.ended);
    CU_ASSERT_EQUAL(seen.error, CV_OK);
    rig_seen_free(&seen);
    rig_free(rig);
}

static void ends_an_upgrade_that_nobody_uses_any_more(void)
{
    struct rig *rig = rig_new();
    rig->conf.half_close_timeout.ms = 50;
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "GET", "/ws", &seen);
    req->type = CV_WEBSOCKET;
    rig_send(rig, req);
    int fd = rig_accept(rig);
    rig_hear(rig, fd, "\r\n\r\n");
    rig_say(rig, fd, "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    cv_pipe_finish(req->up);
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT(seen.ended);
    CU_ASSERT_EQUAL(seen.error, CV_OK);
    close(fd);
    rig_free(rig);
}

static void passes_on_that_an_upgrade_was_refused(void)
{
    struct rig *rig = rig_new();
    struct rig_seen seen;
    struct cv_req *req = rig_request(rig, "GET", "/ws", &seen);
    req->type = CV_WEBSOCKET;
    cv_pipe_write(req->up, "early", 5);
    rig_send(rig, req);
    int fd = rig_accept(rig);
    rig_hear(rig, fd, "\r\n\r\n");
    rig_say(rig, fd, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    CU_ASSERT(rig_until(rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.status, 403);
    CU_ASSERT(body_is(&seen, "no"));
    rig_seen_free(&seen);
    close(fd);
    rig_free(rig);
}

SUITE(origin_exchange, TEST(passes_a_response_with_a_length), TEST(passes_events_one_by_one_and_trailers),
      TEST(holds_no_more_than_the_edge_takes), TEST(resets_what_is_cut_short),
      TEST(sends_chunks_as_they_come), TEST(sends_a_body_of_known_length_and_not_a_byte_more),
      TEST(fails_a_body_shorter_than_its_length), TEST(sends_no_chunks_where_the_rule_forbids_them),
      TEST(hears_an_answer_that_comes_before_the_body), TEST(uses_a_connection_again),
      TEST(uses_no_connection_again_that_is_not_clean), TEST(closes_a_connection_that_speaks_unasked),
      TEST(keeps_as_many_connections_as_the_rule_says), TEST(tries_again_once_when_a_kept_connection_dies),
      TEST(sends_no_body_twice), TEST(retries_an_empty_stream_with_its_framing),
      TEST(leaves_when_the_visitor_leaves), TEST(tells_which_layer_failed),
      TEST(limits_the_wait_for_the_first_byte), TEST(limits_the_pause_within_a_response),
      TEST(limits_the_whole_of_an_exchange), TEST(serves_a_unix_socket),
      TEST(carries_raw_bytes_both_ways_after_an_upgrade), TEST(ends_an_upgrade_that_nobody_uses_any_more),
      TEST(passes_on_that_an_upgrade_was_refused));
