/* test_55_supervise.c: connections that are lost, refused, silent, half dead or on the wrong protocol, against a whole
 * process. What follows from what is tested with a clock turned by hand: tests/unit/tunnel/test_supervisor.c. */
#include "scene.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static char *ini(const char *text)
{
    static char flags[80];
    snprintf(flags, sizeof(flags), "--config /tmp/culvert-ini-XXXXXX");
    int fd = mkstemp(strchr(flags, '/'));
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return flags;
}

static void drop_ini(const char *flags)
{
    unlink(strchr(flags, '/'));
}

static void control(struct scene *t, const char *target)
{
    struct answer a = scene_control(t, "POST", target, "");
    CU_ASSERT_EQUAL(a.status, 200);
    answer_free(&a);
}

static void lost_connections_come_back(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .connections = 4 });
        long long lost = now_in_ms();
        control(t, "/drop?index=all&how=rst");
        CU_ASSERT_TRUE(process_says(t->culvert, "Connection terminated", PATIENCE_MS));
        CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=8&timeout=60s"));
        CU_ASSERT_TRUE(SANITIZED || now_in_ms() - lost < 10000);
        CU_ASSERT_TRUE(scene_wait(t, "registered=4&timeout=60s"));
        scene_stop(t);
    }
}

/* Not a word of good-bye, and nothing answers any more. */
static void a_dead_connection_is_replaced_within_seconds(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .connections = 2 });
        long long lost = now_in_ms();
        control(t, "/drop?index=1&how=silent");
        CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=3&timeout=60s"));
        CU_ASSERT_TRUE(SANITIZED || now_in_ms() - lost < 9000);
        CU_ASSERT_TRUE(process_says(t->culvert, "no recent network activity", 0));
        scene_stop(t);
    }
}

static void a_refusal_for_good_ends_the_process_with_its_cause(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport,
                             .alone = true,
                             .script = "refuse:permanent:Unauthorized: Invalid tunnel secret\n"
                                       "refuse:permanent:Unauthorized: Invalid tunnel secret\n"
                                       "refuse:permanent:Unauthorized: Invalid tunnel secret\n" });
        CU_ASSERT_EQUAL(process_end(t->culvert, PATIENCE_MS), 1);
        char *said = process_output(t->culvert);
        CHECK_HOLDS(said,
                    "Register tunnel error from server side error=\"Unauthorized: Invalid tunnel secret\"");
        CHECK_HOLDS(said, "initial tunnel connection failed error=\"Unauthorized: Invalid tunnel secret\"");
        CHECK_HOLDS(said, "Check that the token is the newest of the tunnel");
        free(said);
        scene_restart(t, &(struct setup){ .transport = transport });
        scene_stop(t);
    }
}

static void refusals_that_may_pass_are_logged_and_tried_again(void)
{
    for (each_transport(transport)) {
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport,
                                         .flags = "--retries 1",
                                         .script = "dup\nrefuse:retry:1s:no capacity in this colo\n"
                                                   "exception:something broke\n" });
        char *said = process_output(t->culvert);
        CHECK_HOLDS(said, "already connected to this server, trying another address");
        CHECK_HOLDS(said, "error=\"no capacity in this colo\"");
        CHECK_HOLDS(said, "something broke");
        CHECK_HOLDS(said, "Retrying connection in up to 2s");
        free(said);
        scene_stop(t);
    }
}

static void auto_reaches_http2_when_udp_is_blocked_and_returns(void)
{
    char *flags = ini("[tunnel]\nreprobe = 1s\n");
    long long began = now_in_ms();
    struct scene *t = scene_start(
        &(struct setup){ .transport = "auto", .connections = 2, .edge_flags = "--mute udp", .flags = flags });
    CU_ASSERT_TRUE(SANITIZED || now_in_ms() - began < 10000);
    CU_ASSERT_TRUE(process_says(t->culvert, "Switching to fallback protocol http2", 0));
    CU_ASSERT_TRUE(process_says(t->culvert, "connIndex=1 connection=", PATIENCE_MS));
    CU_ASSERT_EQUAL(process_count(t->culvert, "location=sim01 protocol=http2"), 2);
    struct http1 slow;
    CU_ASSERT_TRUE(scene_open(t, &slow, "POST", "/echo", "Content-Length: 4\r\n"));
    control(t, "/mute?what=udp&on=0");
    CU_ASSERT_TRUE(process_says(t->culvert, "Changing protocol to quic", PATIENCE_MS));
    CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=4&timeout=60s"));
    struct cv_buf body = { 0 };
    CU_ASSERT_TRUE(http1_send(&slow, "late", 4)); /* what is under way stays where it is */
    CU_ASSERT_TRUE(http1_answer(&slow, "POST"));
    CU_ASSERT_EQUAL(http1_read_all(&slow, &body), 0);
    CU_ASSERT(body.n == 4 && memcmp(body.p, "late", 4) == 0);
    cv_buf_free(&body);
    http1_close(&slow);
    scene_stop(t);
    drop_ini(flags);
}

static void a_half_dead_connection_is_replaced(void)
{
    for (each_transport(transport)) {
        char *flags = ini("[tunnel]\nstall_after = 1s\ngrace_period = 3s\n");
        struct scene *t =
            scene_start(&(struct setup){ .transport = transport, .connections = 2, .flags = flags });
        struct http1 visitors[4];
        for (size_t i = 0; i < 4; i++) {
            CU_ASSERT_TRUE(scene_open(t, &visitors[i], "GET", "/bytes/50000000", "X-Edge-Index: 1\r\n"));
            CU_ASSERT_TRUE(http1_answer(&visitors[i], "GET"));
        }
        control(t, "/fault?index=1&what=stall");
        CU_ASSERT_TRUE(process_says(t->culvert, "Connection is half dead, replacing it", PATIENCE_MS));
        CU_ASSERT_TRUE(scene_wait(t, "event=registered&count=3&timeout=60s"));
        CU_ASSERT_TRUE(scene_counts(t, "culvert_edge_replaced_total{reason=\"stalled\"}", 1));
        for (size_t i = 0; i < 4; i++)
            http1_close(&visitors[i]);
        scene_stop(t);
        drop_ini(flags);
    }
}

static bool upgrades(struct http1 *c, void *arg)
{
    char more[64];
    (void)arg;
    http1_sendf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    while (recv(c->fd, more, sizeof(more), 0) > 0)
        ;
    return false;
}

static void websockets_hear_of_the_end_before_it_comes(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .flags = "--grace-period 4s", .origin = upgrades });
        struct http1 visitor;
        struct cv_buf got = { 0 };
        CU_ASSERT_TRUE(scene_open(t, &visitor, "GET", "/socket",
                                  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        CU_ASSERT_TRUE(http1_answer(&visitor, "GET"));
        CU_ASSERT_EQUAL(visitor.status, 101);
        process_signal(t->culvert, SIGTERM);
        ssize_t n;
        while (got.n < 4 && (n = recv(visitor.fd, cv_buf_reserve(&got, 64), 64, 0)) > 0)
            got.n += (size_t)n;
        CU_ASSERT_TRUE(process_running(t->culvert));
        CU_ASSERT_EQUAL(got.n, 4);
        CU_ASSERT(got.n == 4 && memcmp(got.p, "\x88\x02\x03\xf4", 4) == 0);
        http1_close(&visitor); /* and is the last one */
        CU_ASSERT_EQUAL(process_end(t->culvert, PATIENCE_MS), 0);
        cv_buf_free(&got);
        scene_stop(t);
    }
}

SUITE(system_55_supervise, TEST(lost_connections_come_back),
      TEST(a_dead_connection_is_replaced_within_seconds),
      TEST(a_refusal_for_good_ends_the_process_with_its_cause),
      TEST(refusals_that_may_pass_are_logged_and_tried_again),
      TEST(auto_reaches_http2_when_udp_is_blocked_and_returns), TEST(a_half_dead_connection_is_replaced),
      TEST(websockets_hear_of_the_end_before_it_comes));
