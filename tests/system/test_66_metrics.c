/* test_66_metrics.c: /metrics over HTTP: forms, packing, many scrapers, and what is counted. */
#include "scene.h"

#include "culvert/culvert.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the server ------------------------------------------------------------------------------------------- */

static void a_scraper_gets_the_form_that_it_asks_for(void)
{
    struct scene *t = scene_start(&(struct setup){ .transport = "http2" });
    struct answer plain = scene_operate(t, "GET", "/metrics", "Host: a\r\n");
    CHECK_STATUS(plain, 200);
    CHECK_HOLDS(plain.head, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    CHECK_HOLDS(plain.head, "Vary: Accept, Accept-Encoding\r\n");
    CHECK_HOLDS(answer_text(&plain), "# TYPE cloudflared_tunnel_total_requests counter\n");

    struct answer open = scene_operate(t, "GET", "/metrics",
                                       "Host: a\r\nAccept: application/openmetrics-text;version=1.0.0\r\n");
    CHECK_HOLDS(open.head, "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n");
    CHECK_HOLDS(answer_text(&open), "# TYPE cloudflared_tunnel_total_requests unknown\n");
    CHECK_HOLDS(answer_text(&open), "# TYPE process_cpu_seconds counter\n");
    CHECK_HOLDS(answer_text(&open), "\n# EOF\n");

    struct answer packed = scene_operate(t, "GET", "/metrics", "Host: a\r\nAccept-Encoding: gzip\r\n");
    CHECK_HOLDS(packed.head, "Content-Encoding: gzip\r\n");
    CU_ASSERT_TRUE(packed.body.n < plain.body.n / 2);
    CU_ASSERT_EQUAL(memcmp(packed.body.p, "\x1f\x8b\x08", 3), 0);
    answer_free(&plain);
    answer_free(&open);
    answer_free(&packed);
    scene_stop(t);
}

static int scraper(struct scene *t, const char *method)
{
    char request[128];
    long port = strtol(strrchr(t->metrics, ':') + 1, NULL, 10);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    int n = snprintf(request, sizeof(request), "%s /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                     method);
    CU_ASSERT_EQUAL(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

static void read_all(int fd, struct cv_buf *to)
{
    ssize_t n;
    while ((n = recv(fd, cv_buf_reserve(to, 65536), 65536, 0)) > 0)
        to->n += (size_t)n;
    cv_buf_add(to, "", 1);
    to->n--;
}

static void head_is_answered_without_a_body(void)
{
    struct scene *t = scene_start(&(struct setup){ .transport = "http2" });
    int fd = scraper(t, "HEAD");
    struct cv_buf got = { 0 };
    read_all(fd, &got);
    CHECK_HOLDS((const char *)got.p, "HTTP/1.1 200 OK\r\n");
    CHECK_HOLDS((const char *)got.p, "Content-Length: ");
    CU_ASSERT_PTR_EQUAL(strstr((const char *)got.p, "\r\n\r\n") + 4, (const char *)got.p + got.n);
    close(fd);
    cv_buf_free(&got);
    scene_stop(t);
}

static void scrapers_that_do_not_read_hold_up_nobody(void)
{
    enum { MANY = 50 };
    struct scene *t = scene_start(&(struct setup){ .transport = "http2" });
    int lazy[MANY];
    for (int i = 0; i < MANY; i++)
        lazy[i] = scraper(t, "GET");
    struct answer a = scene_get(t, "/");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    a = scene_metrics(t, "/metrics");
    CHECK_STATUS(a, 200);
    answer_free(&a);
    for (int i = 0; i < MANY; i++) {
        struct cv_buf got = { 0 };
        read_all(lazy[i], &got);
        CHECK_HOLDS((const char *)got.p, "\nprocess_cpu_seconds_total ");
        cv_buf_free(&got);
        close(lazy[i]);
    }
    scene_stop(t);
}

/* ---- what is counted ---------------------------------------------------------------------------------------- */

static bool appears(struct scene *t, const char *series)
{
    for (long long until = now_in_ms() + PATIENCE_MS; now_in_ms() < until; sleep_ms(20)) {
        if (scene_metric(t, series) > 0)
            return true;
    }
    fprintf(stderr, "  no %s\n", series);
    return false;
}

static void both_transports_tell_of_the_edge_in_the_same_words(void)
{
    for (each_transport(t)) {
        struct scene *s = scene_start(&(struct setup){ .transport = t, .connections = 2 });
        char series[128];
        static const char *const sent[] = { "sent_bytes", "received_bytes" };
        for (size_t i = 0; i < 2; i++) {
            snprintf(series, sizeof(series), "culvert_edge_%s_total{conn_index=\"1\",protocol=\"%s\"}",
                     sent[i], t);
            CU_ASSERT_TRUE(appears(s, series));
        }
        CU_ASSERT_TRUE(appears(s, "culvert_edge_rtt_seconds{conn_index=\"0\"}"));
        snprintf(series, sizeof(series), "culvert_edge_connections{protocol=\"%s\",state=\"registered\"}", t);
        CU_ASSERT_TRUE(scene_counts(s, series, 2));
        CU_ASSERT_TRUE(scene_counts(s, "culvert_edge_connection_up{conn_index=\"1\"}", 1));
        process_end(s->edge, 0);
        CU_ASSERT_TRUE(scene_counts(s, "culvert_edge_connection_up{conn_index=\"1\"}", 0));
        CU_ASSERT_TRUE(scene_counts(s, "culvert_edge_rtt_seconds{conn_index=\"0\"}", 0)); /* not there */
        CU_ASSERT_EQUAL(scene_end(s, PATIENCE_MS), 0);
        process_end_all();
    }
}

SUITE(metrics, TEST(a_scraper_gets_the_form_that_it_asks_for), TEST(head_is_answered_without_a_body),
      TEST(scrapers_that_do_not_read_hold_up_nobody),
      TEST(both_transports_tell_of_the_edge_in_the_same_words));
