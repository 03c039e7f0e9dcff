/* test_70_interop.c: the QUIC transport against a second implementation: OpenSSL's own QUIC server as the edge.
 *
 * edge_sim and edge_quic both stand on ngtcp2; here the peer's packets, flow control and streams come from other code.
 * Registration is answered with the golden bytes. OpenSSL has no QUIC datagrams: the connector must not need them. */
#include "origin.h"
#include "pki.h"
#include "process.h"
#include "suite.h"
#include "vectors.h"

#include "tunnel/capnp.h"
#include "tunnel/schema.h"

#include <arpa/inet.h>
#include <openssl/quic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UPLOAD = 8 * 1024 * 1024, DOWNLOAD = 4 * 1024 * 1024, PATIENCE_MS = 10000 };

struct edge {
    struct pki *pki;
    SSL_CTX *ctx;
    SSL *listener, *conn, *control;
    int fd;
    unsigned port;
    char dir[64], ca[96];
    struct process *culvert;
    struct origin *origin;
};

/* ---- OpenSSL's side ------------------------------------------------------------------------------------ */

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in,
                       unsigned in_n, void *arg)
{
    (void)ssl, (void)arg;
    static const unsigned char alpn[] = { 10, 'a', 'r', 'g', 'o', 't', 'u', 'n', 'n', 'e', 'l' };
    return SSL_select_next_proto((unsigned char **)out, n, alpn, sizeof(alpn), in, in_n) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool open_socket(struct edge *e)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(a);
    e->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->fd < 0 || bind(e->fd, (struct sockaddr *)&a, n) != 0 ||
        getsockname(e->fd, (struct sockaddr *)&a, &n) != 0)
        return false;
    e->port = ntohs(a.sin_port);
    return true;
}

/* The certificate and key that pki.h makes, in a context of the QUIC server's method. */
static SSL_CTX *quic_context(const struct pki *pki)
{
    SSL_CTX *tls = pki_server(pki, "quic.cftunnel.com", PKI_GOOD);
    SSL_CTX *quic = SSL_CTX_new(OSSL_QUIC_server_method());
    SSL_CTX_use_certificate(quic, SSL_CTX_get0_certificate(tls));
    SSL_CTX_use_PrivateKey(quic, SSL_CTX_get0_privatekey(tls));
    SSL_CTX_free(tls);
    SSL_CTX_set_alpn_select_cb(quic, choose_alpn, NULL);
    return quic;
}

/* Everything is waited for without blocking for ever: what a call needs is retried until it works or time is up. */
#define UNTIL(condition)                                                                                     \
    for (long long end_ = now_in_ms() + PATIENCE_MS; !(condition) && now_in_ms() < end_;                     \
         SSL_handle_events(e->listener), sleep_ms(1))

static size_t read_some(struct edge *e, SSL *s, uint8_t *p, size_t n)
{
    size_t got = 0;
    UNTIL(SSL_read_ex(s, p, n, &got) || SSL_get_stream_read_state(s) == SSL_STREAM_STATE_FINISHED)
    {
    }
    return got;
}

static bool write_all(struct edge *e, SSL *s, const uint8_t *p, size_t n, bool fin)
{
    size_t done = 0, part = 0;
    UNTIL(done == n)
    {
        if (SSL_write_ex2(s, p + done, n - done, 0, &part))
            done += part;
    }
    return done == n && (!fin || SSL_stream_conclude(s, 0));
}

/* One RPC message of the connector. */
static bool read_message(struct edge *e, struct cv_buf *in)
{
    struct cv_err err;
    size_t need = 8;
    in->n = 0;
    while (in->n < need) {
        uint8_t *p = cv_buf_reserve(in, need - in->n);
        size_t got = read_some(e, e->control, p, need - in->n);
        in->n += got;
        if (!got || capnp_frame(in->p, in->n, 65536, &need, &err))
            return false;
    }
    return true;
}

static void answer(struct edge *e, const char *vector)
{
    struct cv_buf bytes = vector_bytes(vector);
    CU_ASSERT_TRUE(write_all(e, e->control, bytes.p, bytes.n, false));
    cv_buf_free(&bytes);
}

/* ---- the scene ----------------------------------------------------------------------------------------- */

static void start_culvert(struct edge *e)
{
    static const char program[] = SUITE_BUILD "/culvert";
    char edge[32], url[48], token[1024] = "TUNNEL_TOKEN=";
    FILE *f = fopen("tests/vectors/token/good.txt", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    size_t at = strlen(token), n = fread(token + at, 1, sizeof(token) - 1 - at, f);
    CU_ASSERT(n > 0);
    fclose(f);
    token[strcspn(token, "\n")] = '\0';
    snprintf(edge, sizeof(edge), "127.0.0.1:%u", e->port);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", origin_port(e->origin));
    e->culvert = process_start((const char *const[]){ program, "tunnel", "--edge", edge, "--cacert", e->ca,
                                                      "--protocol", "quic", "--url", url, "--metrics",
                                                      "127.0.0.1:0", "--loglevel", "debug", "run", NULL },
                               (const char *const[]){ token, NULL });
}

static bool begin(struct edge *e)
{
    *e = (struct edge){ .fd = -1, .dir = "/tmp/culvert-interop-XXXXXX" };
    if (!mkdtemp(e->dir) || !open_socket(e))
        return false;
    snprintf(e->ca, sizeof(e->ca), "%s/ca.pem", e->dir);
    e->pki = pki_new("interop");
    e->ctx = quic_context(e->pki);
    e->listener = SSL_new_listener(e->ctx, 0);
    SSL_set_fd(e->listener, e->fd);
    SSL_set_blocking_mode(e->listener, 0);
    e->origin = origin_start(NULL, NULL);
    if (!pki_write_ca(e->pki, e->ca) || !SSL_listen(e->listener))
        return false;
    start_culvert(e);
    UNTIL((e->conn = SSL_accept_connection(e->listener, SSL_ACCEPT_CONNECTION_NO_BLOCK)))
    {
    }
    if (!e->conn)
        return false;
    SSL_set_blocking_mode(e->conn, 0);
    SSL_set_default_stream_mode(e->conn, SSL_DEFAULT_STREAM_MODE_NONE);
    UNTIL((e->control = SSL_accept_stream(e->conn, SSL_ACCEPT_STREAM_NO_BLOCK)))
    {
    }
    return e->control != NULL;
}

static void finish(struct edge *e)
{
    SSL_free(e->control);
    SSL_free(e->conn);
    SSL_free(e->listener);
    SSL_CTX_free(e->ctx);
    pki_free(e->pki);
    origin_stop(e->origin);
    close(e->fd);
    unlink(e->ca);
    rmdir(e->dir);
}

/* Signature and version of a data stream, docs/protocol.md §12.2. */
static const uint8_t preamble[8] = { 0x0a, 0x36, 0xcd, 0x12, 0xa1, 0x3e, '0', '1' };

/* ---- one request --------------------------------------------------------------------------------------- */

static void put_head(struct cv_buf *out, const char *method, const char *path, size_t body)
{
    char url[128], length[24];
    snprintf(url, sizeof(url), "https://app.example.com%s", path);
    snprintf(length, sizeof(length), "%zu", body);
    struct schema_metadata meta[] = { { CV_STR("HttpMethod"), cv_str_of(method) },
                                      { CV_STR("HttpHost"), CV_STR("app.example.com") },
                                      { CV_STR("HttpHeader:Content-Length"), cv_str_of(length) } };
    struct schema_connect_request r = {
        .type = 0, .dest = cv_str_of(url), .metadata = meta, .n_metadata = body ? 3 : 2
    };
    cv_buf_add(out, preamble, sizeof(preamble));
    struct capnp_build b;
    struct capnp_new root = capnp_begin(&b, out);
    schema_put_connect_request(root, 0, &r);
    capnp_end(&b);
}

/* The response's head must be whole and say 200; its body is added to `body`. */
static void read_response(struct edge *e, SSL *s, struct cv_buf *body)
{
    static uint8_t chunk[65536];
    struct cv_err err;
    size_t need = 0, n;
    while ((n = read_some(e, s, chunk, sizeof(chunk))) > 0)
        cv_buf_add(body, chunk, n);
    CU_ASSERT_FATAL(body->n > 16);
    CU_ASSERT(memcmp(body->p, preamble, sizeof(preamble)) == 0);
    CU_ASSERT_EQUAL_FATAL(capnp_frame(body->p + 8, body->n - 8, 65536, &need, &err), CV_OK);
    CU_ASSERT_PTR_NOT_NULL(memmem(body->p + 8, need, "HttpStatus", 10));
    CU_ASSERT_PTR_NOT_NULL(memmem(body->p + 8, need, "200", 4)); /* the text ends in a NUL */
    cv_buf_take_front(body, 8 + need);
}

static void request(struct edge *e, const char *method, const char *path, size_t upload, struct cv_buf *body)
{
    struct cv_buf out = { 0 };
    SSL *s = SSL_new_stream(e->conn, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    put_head(&out, method, path, upload);
    if (upload)
        pattern_fill(cv_buf_reserve(&out, upload), upload, 0);
    out.n += upload;
    CU_ASSERT_TRUE(write_all(e, s, out.p, out.n, true));
    cv_buf_free(&out);
    read_response(e, s, body);
    SSL_free(s);
}

static void check_requests(struct edge *e)
{
    struct cv_buf body = { 0 };
    request(e, "GET", "/hello?x=1", 0, &body);
    CU_ASSERT(cv_str_eq((struct cv_str){ (char *)body.p, body.n }, CV_STR("GET /hello?x=1")));
    body.n = 0;
    request(e, "GET", "/bytes/4194304", 0, &body);
    CU_ASSERT_EQUAL(body.n, DOWNLOAD);
    CU_ASSERT_EQUAL(hash_more(HASH_BEGIN, body.p, body.n), pattern_hash(DOWNLOAD));
    body.n = 0;
    request(e, "POST", "/sum", UPLOAD, &body);
    char want[64];
    snprintf(want, sizeof(want), "%d %016llx", UPLOAD, pattern_hash(UPLOAD));
    CU_ASSERT(cv_str_eq((struct cv_str){ (char *)body.p, body.n }, cv_str_of(want)));
    cv_buf_free(&body);
}

/* ---- the test ------------------------------------------------------------------------------------------ */

static void check_registration(struct edge *e)
{
    struct cv_buf in = { 0 };
    CU_ASSERT_TRUE(read_message(e, &in)); /* Bootstrap */
    answer(e, "rpc/reg-ok-remote-s0-return");
    CU_ASSERT_TRUE(read_message(e, &in)); /* registerConnection */
    CU_ASSERT_PTR_NOT_NULL(memmem(in.p, in.n, "0123456789abcdef0123456789abcdef", 32));
    answer(e, "rpc/reg-ok-remote-s1-return");
    CU_ASSERT_TRUE(read_message(e, &in)); /* two Finish */
    CU_ASSERT_TRUE(read_message(e, &in));
    cv_buf_free(&in);
    UNTIL(process_says(e->culvert, "location=dfw08 protocol=quic", 1))
    {
    }
    CU_ASSERT_TRUE(process_says(e->culvert, "connection=11111111-2222-4333-8444-555555555555", 1000));
}

static void check_end(struct edge *e)
{
    struct cv_buf in = { 0 };
    process_signal(e->culvert, SIGTERM);
    CU_ASSERT_TRUE(read_message(e, &in)); /* unregisterConnection */
    answer(e, "rpc/reg-ok-remote-s2-return");
    cv_buf_free(&in);
    UNTIL(!process_running(e->culvert))
    {
    }
    CU_ASSERT_EQUAL(process_end(e->culvert, PATIENCE_MS), 0);
    CU_ASSERT_TRUE(process_says(e->culvert, "Unregistered tunnel connection", 0));
    SSL_CONN_CLOSE_INFO why;
    UNTIL(SSL_get_conn_close_info(e->conn, &why, sizeof(why)))
    {
    }
    CU_ASSERT_TRUE(SSL_get_conn_close_info(e->conn, &why, sizeof(why)));
    CU_ASSERT_EQUAL(why.error_code, 0);
    CU_ASSERT_EQUAL(why.flags & SSL_CONN_CLOSE_FLAG_TRANSPORT,
                    0); /* docs/protocol.md §15: application error 0 */
}

static void openssl_as_the_edge_registers_serves_and_lets_go(void)
{
    struct edge e;
    if (begin(&e)) {
        check_registration(&e);
        check_requests(&e);
        check_end(&e);
    } else {
        CU_FAIL("no connection, or no control stream");
        if (e.culvert)
            process_end(e.culvert, 0);
    }
    finish(&e);
}

SUITE(system_70_interop, TEST(openssl_as_the_edge_registers_serves_and_lets_go));
