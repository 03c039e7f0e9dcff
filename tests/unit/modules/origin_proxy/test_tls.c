/* test_tls.c: https origins: whose certificate is accepted under which settings, and bytes through TLS. */
#include "pki.h"
#include "rig.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct server { /* an https origin that the test plays */
    struct rig *rig;
    struct pki *pki;
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    char ca[64];
};

static struct server server_new(const char *names, enum pki_fault fault)
{
    struct server s = { .rig = rig_new(), .pki = pki_new("origin roots"), .fd = -1 };
    s.ctx = pki_server(s.pki, names, fault);
    snprintf(s.ca, sizeof(s.ca), "/tmp/culvert-test-%d.pem", (int)getpid());
    CU_ASSERT(pki_write_ca(s.pki, s.ca));
    return s;
}

static void hang_up(struct server *s)
{
    SSL_free(s->ssl);
    s->ssl = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void server_free(struct server *s)
{
    rig_free(s->rig);
    hang_up(s);
    SSL_CTX_free(s->ctx);
    pki_free(s->pki);
    unlink(s->ca);
}

/* settings: more of originRequest, with a comma in front. */
static void serve(struct server *s, const char *host, bool with_ca, const char *settings)
{
    char service[64], all[256];
    snprintf(service, sizeof(service), "https://%s:%u", host, s->rig->port);
    snprintf(all, sizeof(all), "\"caPool\":\"%s\"%s", with_ca ? s->ca : "", settings);
    rig_rule(s->rig, service, all);
}

/* Runs an operation of the server's until it is done or has failed; the loop turns meanwhile. */
static int drive(struct server *s, int (*operation)(SSL *))
{
    for (int i = 0; i < 2000; i++) {
        int ok = operation(s->ssl);
        int why = SSL_get_error(s->ssl, ok);
        if (ok > 0 || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE))
            return ok;
        rig_turn(s->rig);
        usleep(500);
    }
    return -1;
}

static bool shake_hands(struct server *s)
{
    s->fd = rig_accept(s->rig);
    s->ssl = SSL_new(s->ctx);
    SSL_set_fd(s->ssl, s->fd);
    return drive(s, SSL_accept) == 1;
}

static char heard[70000];
static size_t n_heard;
static int hear_some(SSL *ssl)
{
    int n = SSL_read(ssl, heard + n_heard, (int)(sizeof(heard) - 1 - n_heard));
    if (n > 0)
        n_heard += (size_t)n;
    heard[n_heard] = '\0';
    return n;
}

static bool hear(struct server *s, const char *end)
{
    n_heard = 0;
    do
        if (drive(s, hear_some) <= 0)
            return false;
    while (n_heard < strlen(end) || strcmp(heard + n_heard - strlen(end), end) != 0);
    return true;
}

static void answer(struct server *s, const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t part = n - at < 16384 ? n - at : 16384;
        int sent = SSL_write(s->ssl, text + at, (int)part);
        if (sent > 0)
            at += (size_t)sent;
        rig_turn(s->rig);
    }
}

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static void check_exchanges(const char *settings)
{
    struct server s = server_new("127.0.0.1", PKI_GOOD);
    serve(&s, "127.0.0.1", true, settings);
    for (int i = 0; i < 3; i++) {
        struct rig_seen seen;
        struct cv_req *req = rig_request(s.rig, "POST", "/", &seen);
        req->body_length = CV_BODY_STREAM;
        cv_pipe_write(req->up, "question", 8);
        cv_pipe_finish(req->up);
        rig_send(s.rig, req);
        CU_ASSERT(i > 0 || shake_hands(&s));
        CU_ASSERT(hear(&s, "8\r\nquestion\r\n0\r\n\r\n"));
        answer(&s, HELLO, strlen(HELLO));
        CU_ASSERT(rig_until(s.rig, &seen.closed));
        CU_ASSERT(seen.body.n == 5 && memcmp(seen.body.p, "hello", 5) == 0);
        CU_ASSERT_EQUAL(rig_worker(s.rig)->idle, 1);
        rig_seen_free(&seen);
    }
    hang_up(&s);
    rig_turn(s.rig);
    CU_ASSERT_EQUAL(rig_worker(s.rig)->idle, 0);
    server_free(&s);
}

static void exchanges_over_tls_and_uses_the_connection_again(void)
{
    check_exchanges("");
}

static void an_origin_that_does_not_choose_http2_gets_http1(void)
{
    check_exchanges(",\"http2Origin\":true");
}

static void moves_much_both_ways_with_a_slow_reader(void)
{
    struct server s = server_new("127.0.0.1", PKI_GOOD);
    serve(&s, "127.0.0.1", true, "");
    enum { SIZE = 60000, BACK = 150000 };
    struct rig_seen seen;
    struct cv_req *req = rig_request(s.rig, "POST", "/", &seen);
    req->body_length = SIZE;
    char *text = cv_xmalloc(BACK);
    for (size_t i = 0; i < BACK; i++)
        text[i] = (char)('a' + i * i % 26);
    size_t sent = cv_pipe_write(req->up, text, SIZE);
    rig_send(s.rig, req);
    CU_ASSERT(shake_hands(&s));
    n_heard = 0;
    while (!strstr(heard, "\r\n\r\n") || n_heard < (size_t)(strstr(heard, "\r\n\r\n") - heard) + 4 + SIZE) {
        CU_ASSERT_FATAL(drive(&s, hear_some) > 0);
        sent += cv_pipe_write(req->up, text + sent, SIZE - sent);
    }
    cv_pipe_finish(req->up);
    CU_ASSERT(memcmp(strstr(heard, "\r\n\r\n") + 4, text, SIZE) == 0);
    s.rig->hold = true;
    char head[80];
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BACK);
    answer(&s, head, strlen(head));
    answer(&s, text, 100000);
    CU_ASSERT_EQUAL(cv_pipe_held(req->down), 50000);
    rig_take(s.rig, req);
    answer(&s, text + 100000, BACK - 100000);
    CU_ASSERT(rig_until(s.rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_OK);
    CU_ASSERT(seen.body.n == BACK && memcmp(seen.body.p, text, BACK) == 0);
    free(text);
    rig_seen_free(&seen);
    server_free(&s);
}

struct verdict {
    const char *names; /* of the certificate */
    enum pki_fault fault;
    const char *host; /* of the service */
    bool with_ca;
    const char *settings;
    const char *sni; /* what the server is told; "": nothing */
    bool accepted;
};

static const struct verdict verdicts[] = {
    { "127.0.0.1", PKI_GOOD, "127.0.0.1", true, "", "", true },
    { "127.0.0.1", PKI_GOOD, "127.0.0.1", false, "", "", false },
    { "127.0.0.2", PKI_GOOD, "127.0.0.1", true, "", "", false },
    { "127.0.0.1", PKI_EXPIRED, "127.0.0.1", true, "", "", false },
    { "127.0.0.1", PKI_FOREIGN, "127.0.0.1", true, "", "", false },
    { "127.0.0.2", PKI_FOREIGN, "127.0.0.1", false, ",\"noTLSVerify\":true", "", true },
    { "localhost", PKI_GOOD, "localhost", true, "", "localhost", true },
    { "inner.example", PKI_GOOD, "127.0.0.1", true, ",\"originServerName\":\"inner.example\"",
      "inner.example", true },
    { "other.example", PKI_GOOD, "127.0.0.1", true, ",\"originServerName\":\"inner.example\"",
      "inner.example", false },
    { "a.example.com", PKI_GOOD, "127.0.0.1", true, ",\"matchSNItoHost\":true", "a.example.com", true },
    { "a.example.com", PKI_GOOD, "127.0.0.1", true,
      ",\"matchSNItoHost\":true,\"httpHostHeader\":\"b.example:8\"", "b.example", false },
    { "localhost", PKI_FOREIGN, "localhost", true, ",\"noTLSVerify\":true", "localhost", true },
};

static void accepts_the_certificates_that_the_rule_accepts(void)
{
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        const struct verdict *v = &verdicts[i];
        struct server s = server_new(v->names, v->fault);
        serve(&s, v->host, v->with_ca, v->settings);
        struct rig_seen seen;
        rig_send(s.rig, rig_request(s.rig, "GET", "/", &seen));
        shake_hands(&s);
        const char *sni = SSL_get_servername(s.ssl, TLSEXT_NAMETYPE_host_name);
        CU_ASSERT_STRING_EQUAL(sni ? sni : "", v->sni);
        if (v->accepted) {
            CU_ASSERT(hear(&s, "\r\n\r\n"));
            answer(&s, HELLO, strlen(HELLO));
        }
        CU_ASSERT(rig_until(s.rig, &seen.closed));
        CU_ASSERT_EQUAL(seen.error, v->accepted ? CV_OK : CV_E_TLS);
        CU_ASSERT(v->accepted || strstr(seen.why, "certificate is not accepted"));
        if ((seen.error == CV_OK) != v->accepted)
            fprintf(stderr, "    case %zu: %s\n", i, seen.why);
        rig_seen_free(&seen);
        server_free(&s);
    }
}

static void keeps_connections_of_different_names_apart(void)
{
    struct server s = server_new("*.example.com", PKI_GOOD);
    serve(&s, "127.0.0.1", true, ",\"matchSNItoHost\":true");
    struct rig_seen seen;
    rig_send(s.rig, rig_request(s.rig, "GET", "/", &seen));
    CU_ASSERT(shake_hands(&s));
    CU_ASSERT(hear(&s, "\r\n\r\n"));
    answer(&s, HELLO, strlen(HELLO));
    CU_ASSERT(rig_until(s.rig, &seen.closed));
    rig_seen_free(&seen);
    struct cv_req *req = rig_request(s.rig, "GET", "/", &seen);
    req->authority = CV_STR("b.example.com");
    rig_send(s.rig, req);
    int second = rig_accept(s.rig);
    CU_ASSERT(second >= 0);
    cv_req_fail(req, CV_E_CANCEL, "enough");
    close(second);
    server_free(&s);
}

static void says_that_an_origin_does_not_speak_tls(void)
{
    struct server s = server_new("127.0.0.1", PKI_GOOD);
    serve(&s, "127.0.0.1", true, "");
    struct rig_seen seen;
    rig_send(s.rig, rig_request(s.rig, "GET", "/", &seen));
    s.fd = rig_accept(s.rig);
    rig_say(s.rig, s.fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
    CU_ASSERT(rig_until(s.rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_TLS);
    CU_ASSERT(strstr(seen.why, "the origin does not speak TLS on this port") != NULL);
    server_free(&s);
}

static void limits_the_handshake(void)
{
    struct server s = server_new("127.0.0.1", PKI_GOOD);
    serve(&s, "127.0.0.1", true, ",\"tlsTimeout\":1");
    struct rig_seen seen;
    rig_send(s.rig, rig_request(s.rig, "GET", "/", &seen));
    s.fd = rig_accept(s.rig);
    CU_ASSERT(rig_until(s.rig, &seen.closed));
    CU_ASSERT_EQUAL(seen.error, CV_E_TIMEOUT);
    CU_ASSERT(strstr(seen.why, "TLS handshake with 127.0.0.1:") != NULL);
    server_free(&s);
}

SUITE(origin_tls, TEST(exchanges_over_tls_and_uses_the_connection_again),
      TEST(an_origin_that_does_not_choose_http2_gets_http1), TEST(moves_much_both_ways_with_a_slow_reader),
      TEST(accepts_the_certificates_that_the_rule_accepts), TEST(keeps_connections_of_different_names_apart),
      TEST(says_that_an_origin_does_not_speak_tls), TEST(limits_the_handshake));
