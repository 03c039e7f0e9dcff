/* test_38_http2_origin.c: origins that speak HTTP/2, as others have written them: Node (and gRPC over it), nghttpd, nginx. */
#include "scene.h"

#include "pki.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const no_environment[] = { NULL };

/* ---- files ---------------------------------------------------------------------------------------------- */

struct keys {
    char dir[64], key[96], cert[96];
};

static struct keys keys_new(void)
{
    struct keys k = { .dir = "/tmp/culvert-h2-XXXXXX" };
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(k.dir));
    snprintf(k.key, sizeof(k.key), "%s/key.pem", k.dir);
    snprintf(k.cert, sizeof(k.cert), "%s/cert.pem", k.dir);
    struct pki *pki = pki_new("an authority");
    SSL_CTX *ctx = pki_server(pki, "127.0.0.1", PKI_GOOD);
    CU_ASSERT_TRUE_FATAL(pki_write_server(ctx, k.cert, k.key));
    SSL_CTX_free(ctx);
    pki_free(pki);
    return k;
}

static char *in(const struct keys *k, const char *name, char out[static 128])
{
    snprintf(out, 128, "%s/%s", k->dir, name);
    return out;
}

static void keys_free(struct keys *k)
{
    static const char *const names[] = {
        "key.pem", "cert.pem", "file", "nginx.conf", "nginx.pid", "error.log"
    };
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(in(k, names[i], path));
    rmdir(k->dir);
}

static void put_pattern(const char *path, size_t n)
{
    unsigned char *bytes = malloc(n);
    FILE *f = fopen(path, "we");
    CU_ASSERT_TRUE_FATAL(bytes && f);
    pattern_fill(bytes, n, 0);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, n, f), n);
    fclose(f);
    free(bytes);
}

/* ---- gRPC ------------------------------------------------------------------------------------------------- */

struct grpc {
    char node[64];
    struct process *server;
    char rules[160], ini[64];
};

static bool grpc_start(struct grpc *g, const struct keys *k)
{
    unsigned port;
    if (!process_find("node", g->node)) {
        suite_skip("node");
        return false;
    }
    const char *argv[] = {
        g->node, "tests/grpc/peer.js", "serve", k ? k->key : NULL, k ? k->cert : NULL, NULL
    };
    g->server = process_start(argv, no_environment);
    CU_ASSERT_TRUE_FATAL(process_says(g->server, "port ", PATIENCE_MS));
    char *said = process_output(g->server);
    CU_ASSERT_EQUAL_FATAL(sscanf(said, "port %u", &port), 1);
    free(said);
    snprintf(g->rules, sizeof(g->rules),
             "{\"ingress\":[{\"service\":\"%s://127.0.0.1:%u\",\"originRequest\":{\"http2Origin\":true,"
             "\"noTLSVerify\":true}}]}",
             k ? "https" : "http", port);
    snprintf(g->ini, sizeof(g->ini), "[origin_proxy]\nh2c = 127.0.0.1:%u\n", port);
    return true;
}

static void grpc_stop(struct grpc *g)
{
    process_signal(g->server, 15);
    process_end(g->server, PATIENCE_MS);
}

/* What the client says in the end; free() it. */
static char *grpc_calls(struct grpc *g, const struct scene *t)
{
    struct process *client = process_start(
        (const char *const[]){ g->node, "tests/grpc/peer.js", "call", t->front, NULL }, no_environment);
    CU_ASSERT_TRUE(process_says(client, "done\n", PATIENCE_MS));
    CU_ASSERT_EQUAL(process_end(client, PATIENCE_MS), 0);
    return process_output(client);
}

static const char all_well[] = "Unary: [got hello] 0 in trailers \"\"\n"
                               "Refused: [] 5 in head \"no such thing\"\n"
                               "Down: [m1,m2,m3,m4,m5] 0 in trailers \"\"\n"
                               "Up: [n3] 0 in trailers \"\"\n"
                               "Chat: [re 1,re 2,re 3,re 4] 0 in trailers \"\"\n"
                               "Broken: [first] 9 in trailers \"half way\"\n"
                               "Large: [large] 0 in trailers \"\"\n"
                               "Forever: [begun]  in nowhere \"\"\n"
                               "done\n";

static void check_all_kinds(const struct keys *k)
{
    struct grpc g;
    if (!grpc_start(&g, k))
        return;
    struct scene *t =
        scene_start(&(struct setup){ .transport = "http2", .rules = g.rules, .ini = k ? NULL : g.ini });
    char *said = grpc_calls(&g, t);
    CU_ASSERT_STRING_EQUAL(said, all_well);
    if (strcmp(said, all_well) != 0)
        fprintf(stderr, "%s", said);
    free(said);
    CU_ASSERT_TRUE(process_says(g.server, "forever closed 8\n", PATIENCE_MS));
    CU_ASSERT_EQUAL(scene_metric(t, "culvert_origin_connections_opened_total"), 1);
    scene_stop(t);
    grpc_stop(&g);
}

static void grpc_of_every_kind_passes_over_http2(void)
{
    check_all_kinds(NULL);
}

static void grpc_of_every_kind_passes_over_http2_and_tls(void)
{
    struct keys k = keys_new();
    check_all_kinds(&k);
    keys_free(&k);
}

static void grpc_over_quic_says_why_it_cannot_be(void)
{
    struct grpc g;
    if (!grpc_start(&g, NULL))
        return;
    struct scene *t = scene_start(&(struct setup){ .transport = "quic", .rules = g.rules, .ini = g.ini });
    char *said = grpc_calls(&g, t);
    CHECK_HOLDS(said, "Unary: [] 13 in head \"culvert: the status of a gRPC response is a trailer");
    CHECK_HOLDS(said, "Refused: [] 5 in head \"no such thing\"");
    CHECK_HOLDS(said, "Chat: [] 13 in head");
    free(said);
    CU_ASSERT_EQUAL(scene_metric(t, "culvert_quic_refused_grpc_total"), 7);
    scene_stop(t);
    grpc_stop(&g);
}

/* ---- servers ------------------------------------------------------------------------------------------- */

enum { FILE_BYTES = 8 << 20, VISITS = 50 };

static void check_file(struct scene *t)
{
    struct answer a = scene_get(t, "/file");
    CHECK_STATUS(a, 200);
    CU_ASSERT_EQUAL(a.end, 0);
    CU_ASSERT_EQUAL(a.body.n, FILE_BYTES);
    CU_ASSERT_EQUAL(hash_more(HASH_BEGIN, a.body.p, a.body.n), pattern_hash(FILE_BYTES));
    CU_ASSERT_PTR_NULL(strstr(a.head, "trailer"));
    answer_free(&a);
    a = scene_visit(t, "HEAD", "/file", NULL, NULL, 0);
    CHECK_STATUS(a, 200);
    CHECK_HOLDS(a.head, "Content-Length: 8388608");
    answer_free(&a);
    for (int i = 0; i < VISITS; i++) {
        a = scene_get(t, "/none");
        CHECK_STATUS(a, 404);
        answer_free(&a);
    }
    CU_ASSERT_EQUAL(scene_metric(t, "culvert_origin_connections_opened_total"), 1);
}

static int loopback(unsigned port, struct sockaddr_in *at)
{
    *at = (struct sockaddr_in){ .sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static unsigned free_port(void)
{
    struct sockaddr_in at;
    socklen_t n = sizeof(at);
    int fd = loopback(0, &at);
    CU_ASSERT_TRUE_FATAL(bind(fd, (struct sockaddr *)&at, n) == 0 &&
                         getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* These servers do not say that they listen. */
static bool listens(unsigned port)
{
    struct sockaddr_in at;
    int fd, rc = -1;
    for (int i = 0; i < PATIENCE_MS / 5 && rc != 0; i++, close(fd)) {
        fd = loopback(port, &at);
        rc = connect(fd, (struct sockaddr *)&at, sizeof(at));
        if (rc != 0)
            sleep_ms(5);
    }
    return rc == 0;
}

static void check_server(const char *const *argv, unsigned port, const char *scheme)
{
    char rules[160], ini[64];
    snprintf(rules, sizeof(rules),
             "{\"ingress\":[{\"service\":\"%s://127.0.0.1:%u\",\"originRequest\":{\"http2Origin\":true,"
             "\"noTLSVerify\":true}}]}",
             scheme, port);
    snprintf(ini, sizeof(ini), "[origin_proxy]\nh2c = 127.0.0.1:%u\n", port);
    for (each_transport(transport)) {
        struct process *server = process_start(argv, no_environment);
        CU_ASSERT_TRUE_FATAL(listens(port));
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .rules = rules, .ini = ini });
        check_file(t);
        scene_stop(t);
        process_signal(server, 15);
        process_end(server, PATIENCE_MS);
    }
}

static void nghttpd_serves(void)
{
    char path[64], port[16], file[128];
    if (!process_find("nghttpd", path)) {
        suite_skip("nghttpd");
        return;
    }
    struct keys k = keys_new();
    put_pattern(in(&k, "file", file), FILE_BYTES);
    for (int tls = 0; tls < 2; tls++) {
        unsigned at = free_port();
        snprintf(port, sizeof(port), "%u", at);
        const char *argv[] = { path,
                               "-a",
                               "127.0.0.1",
                               "-d",
                               k.dir,
                               tls ? port : "--no-tls",
                               tls ? k.key : port,
                               tls ? k.cert : NULL,
                               NULL };
        check_server(argv, at, tls ? "https" : "http");
    }
    keys_free(&k);
}

static void nginx_serves(void)
{
    char path[64], conf[128], file[128], text[1200];
    if (!process_find("nginx", path)) {
        suite_skip("nginx");
        return;
    }
    struct keys k = keys_new();
    unsigned at = free_port();
    put_pattern(in(&k, "file", file), FILE_BYTES);
    snprintf(
        text, sizeof(text),
        "daemon off; master_process off; pid %s/nginx.pid; error_log %s/error.log;\n"
        "events { }\n"
        "http { access_log off; client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s;\n"
        "  uwsgi_temp_path %s; scgi_temp_path %s; keepalive_requests 10000;\n"
        "  server { listen 127.0.0.1:%u ssl http2; root %s; ssl_certificate %s; ssl_certificate_key %s; }\n"
        "}\n",
        k.dir, k.dir, k.dir, k.dir, k.dir, k.dir, k.dir, at, k.dir, k.cert, k.key);
    FILE *f = fopen(in(&k, "nginx.conf", conf), "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
    const char *argv[] = { path, "-e", "stderr", "-c", conf, NULL };
    check_server(argv, at, "https");
    keys_free(&k);
}

SUITE(http2_origin, TEST(grpc_of_every_kind_passes_over_http2),
      TEST(grpc_of_every_kind_passes_over_http2_and_tls), TEST(grpc_over_quic_says_why_it_cannot_be),
      TEST(nghttpd_serves), TEST(nginx_serves));
