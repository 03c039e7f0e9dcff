/* test_31_limits.c: large heads, trailers, and what a visitor is told when the origin cannot be reached or does not
 * answer. */
#include "scene.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Over HTTP/2 a failure has a status, over QUIC a text, of which the edge makes 502. */
static int told(const char *transport, int status)
{
    return strcmp(transport, "http2") == 0 ? status : 502;
}

/* ---- heads -------------------------------------------------------------------------------------------- */

/* `n` fields X-0: to X-(n-1): of `size` letters each. */
static char *many_fields(int n, int size)
{
    struct cv_buf b = { 0 };
    for (int i = 0; i < n; i++) {
        char name[24];
        cv_buf_add(&b, name, (size_t)snprintf(name, sizeof(name), "X-%d: ", i));
        memset(cv_buf_reserve(&b, (size_t)size), 'a' + i % 26, (size_t)size);
        b.n += (size_t)size;
        cv_buf_add(&b, "\r\n", 2);
    }
    cv_buf_add(&b, "", 1);
    return (char *)b.p;
}

/* Answers with the request's own X- fields, or at /big/N with one of N bytes. */
static bool give_back(struct http1 *h, void *unused)
{
    int n;
    if (sscanf(h->target, "/big/%d", &n) != 1) {
        const char *from = strstr(h->head, "\r\nX-0:");
        const char *to = from ? strstr(from, "\r\nCf-Ray:") : NULL;
        if (!to)
            return origin_plain(h, unused);
        return http1_sendf(h, "HTTP/1.1 200 OK%.*s\r\nContent-Length: 0\r\n\r\n", (int)(to - from), from);
    }
    char *field = many_fields(1, n);
    bool sent = http1_sendf(h, "HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok", field);
    free(field);
    return sent;
}

static void sixty_kilobytes_of_fields_go_both_ways(void)
{
    char *fields = many_fields(60, 1000);
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = give_back });
        struct answer a = scene_visit(t, "GET", "/echo", fields, NULL, 0);
        CHECK_STATUS(a, 200);
        CU_ASSERT_TRUE(a.head && strstr(a.head, fields));
        answer_free(&a);
        scene_stop(t);
    }
    free(fields);
}

static void a_head_that_is_too_large_is_an_error_of_one_request(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = give_back });
        for (int n = 1 << 20; n <= 16 << 20; n *= 4) {
            char target[24];
            process_forget(t->culvert);
            snprintf(target, sizeof(target), "/big/%d", n);
            struct answer a = scene_get(t, target);
            CHECK_STATUS(a, told(transport, 503));
            CU_ASSERT_TRUE(process_says(t->culvert, " ERR ", PATIENCE_MS));
            answer_free(&a);
        }
        struct answer a = scene_get(t, "/fine");
        CHECK_STATUS(a, 200);
        answer_free(&a);
        CU_ASSERT_EQUAL(scene_seen(t, "connected"), 1);
        scene_stop(t);
    }
}

/* ---- trailers ----------------------------------------------------------------------------------------- */

static bool trailing(struct http1 *h, void *unused)
{
    (void)unused;
    return http1_sendf(
        h, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\n"
           "X-Sum: 42\r\nX-Sum: 43\r\n\r\n");
}

static void trailers_arrive_over_http2_and_do_no_harm_over_quic(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .origin = trailing });
        struct answer a = scene_visit(t, "GET", "/", "TE: trailers\r\n", NULL, 0);
        CHECK_STATUS(a, 200);
        CU_ASSERT_EQUAL(a.end, 0);
        CU_ASSERT_STRING_EQUAL(answer_text(&a), "abc");
        CU_ASSERT_STRING_EQUAL(a.trailers ? a.trailers : "none",
                               strcmp(transport, "http2") == 0 ? "x-sum: 42\r\nx-sum: 43\r\n" : "");
        answer_free(&a);
        scene_stop(t);
    }
}

/* ---- origins that cannot be reached ------------------------------------------------------------------- */

/* A port that takes connections and says nothing; a full one, where no connection comes about. */
static int silent_port(int backlog, unsigned *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_TRUE_FATAL(bind(fd, (struct sockaddr *)&at, n) == 0 && listen(fd, backlog) == 0);
    getsockname(fd, (struct sockaddr *)&at, &n);
    *port = ntohs(at.sin_port);
    return fd;
}

static void fill_backlog(unsigned port, int *fds, size_t n)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (size_t i = 0; i < n; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fds[i], (struct sockaddr *)&to, sizeof(to)) != 0)
            sleep_ms(1);
    }
}

static void an_origin_that_cannot_be_reached_is_named_in_the_log(void)
{
    unsigned silent, full, closed;
    int silent_fd = silent_port(64, &silent), full_fd = silent_port(0, &full), fds[4];
    close(silent_port(1, &closed));
    fill_backlog(full, fds, 4);
    char rules[1024], services[5][96];
    snprintf(services[0], 64, "http://127.0.0.1:%u", closed);
    snprintf(services[1], 64, "http://127.0.0.1:%u", full);
    snprintf(services[2], 64, "https://127.0.0.1:%u", silent);
    /* a label of 64 letters is no name (RFC 1035 §2.3.4): refused before any server is asked */
    snprintf(services[3], 96, "http://%s.example:80",
             "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll");
    snprintf(services[4], 64, "unix:/nonexistent/origin.sock");
    static const char *const reasons[] = { "refused", "timeout", "timeout", "resolve", NULL };
    static const int statuses[] = { 502, 504, 504, 502, 502 };
    snprintf(
        rules, sizeof(rules),
        "{\"originRequest\":{\"connectTimeout\":1,\"tlsTimeout\":1},\"ingress\":["
        "{\"hostname\":\"0.example\",\"service\":\"%s\"},{\"hostname\":\"1.example\",\"service\":\"%s\"},"
        "{\"hostname\":\"2.example\",\"service\":\"%s\"},{\"hostname\":\"3.example\",\"service\":\"%s\"},"
        "{\"hostname\":\"4.example\",\"service\":\"%s\"},{\"service\":\"http_status:404\"}]}",
        services[0], services[1], services[2], services[3], services[4]);
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .rules = rules });
        for (int i = 0; i < 5; i++) {
            char host[32], part[640];
            process_forget(t->culvert);
            snprintf(host, sizeof(host), "Host: %d.example\r\n", i);
            long long begun = now_in_ms();
            struct answer a = scene_visit(t, "GET", "/", host, NULL, 0);
            CU_ASSERT_TRUE(now_in_ms() - begun < 4000 + SANITIZED * 20000);
            CHECK_STATUS(a, told(transport, statuses[i]));
            CHECK_HOLDS(a.head, "\r\nX-Edge-Source: connector\r\n");
            answer_free(&a);
            snprintf(part, sizeof(part), " ingressRule=%d originService=%s", i, services[i]);
            CU_ASSERT_TRUE(process_says(t->culvert, "Unable to reach the origin service", PATIENCE_MS));
            char *said = process_output(t->culvert);
            CHECK_HOLDS(said, part);
            snprintf(part, sizeof(part), " reason=%s\n", reasons[i] ? reasons[i] : "");
            if (reasons[i])
                CHECK_HOLDS(said, part);
            free(said);
        }
        scene_stop(t);
    }
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(silent_fd);
    close(full_fd);
}

SUITE(system_31_limits, TEST(sixty_kilobytes_of_fields_go_both_ways),
      TEST(a_head_that_is_too_large_is_an_error_of_one_request),
      TEST(trailers_arrive_over_http2_and_do_no_harm_over_quic),
      TEST(an_origin_that_cannot_be_reached_is_named_in_the_log));
