/* test_72_nginx.c: nginx as the origin, curl, h2load and nghttp as visitors: code that knows nothing of culvert at both ends. */
#include "pki.h"
#include "real.h"
#include "scene.h"

#include <signal.h>

enum {
    FILE_MIB = 8,
    VISITS = SANITIZED ? 4000 : 24000,
    AT_A_TIME = 200,
    KEPT = 100, /* requests of one visitor's connection */
};

static const char conf[] =
    "daemon off; master_process off; pid %1$s/pid; worker_rlimit_nofile 4096;\n"
    "events { worker_connections 2048; }\n"
    "http {\n"
    "  access_log off; types { text/plain txt; } default_type application/octet-stream;\n"
    "  client_body_temp_path %1$s/in; proxy_temp_path %1$s/p; fastcgi_temp_path %1$s/f;\n"
    "  uwsgi_temp_path %1$s/u; scgi_temp_path %1$s/s;\n"
    "  keepalive_requests 1000000; client_max_body_size 0; gzip on; gzip_proxied any; gzip_min_length 1;\n"
    "  ssl_certificate %1$s/cert.pem; ssl_certificate_key %1$s/key.pem;\n"
    "  server {\n"
    "    listen 127.0.0.1:%2$u; listen 127.0.0.1:%3$u ssl http2; listen 127.0.0.1:%4$u http2;\n"
    "    listen unix:%1$s/plain; listen unix:%1$s/tls ssl;\n"
    "    root %1$s;\n"
    "    location / { return 200 \"$request_method $request_uri $server_protocol $scheme $http_host "
    "$connection_requests\\n\"; }\n"
    "    location /files/ { dav_methods PUT; create_full_put_path on; }\n"
    "    location /slow/ { alias %1$s/files/; limit_rate 64k; limit_rate_after 1m; }\n"
    "    location /drop { return 444; }\n"
    "  }\n"
    "  server {\n" /* visitors of HTTP/2, whom the edge has too */
    "    listen 127.0.0.1:%5$u http2;\n"
    "    location / { proxy_pass http://%6$s; proxy_http_version 1.1; proxy_set_header Host $http_host; }\n"
    "  }\n"
    "}\n";

static const char rules[] =
    "{\"ingress\":["
    "{\"hostname\":\"plain.example.com\",\"service\":\"http://127.0.0.1:%2$u\"},"
    "{\"hostname\":\"tls.example.com\",\"service\":\"https://127.0.0.1:%3$u\","
    "\"originRequest\":{\"caPool\":\"%1$s/ca.pem\",\"originServerName\":\"origin.example.com\"}},"
    "{\"hostname\":\"h2.example.com\",\"service\":\"https://127.0.0.1:%3$u\",\"originRequest\":"
    "{\"caPool\":\"%1$s/ca.pem\",\"originServerName\":\"origin.example.com\",\"http2Origin\":true}},"
    "{\"hostname\":\"other.example.com\",\"service\":\"https://127.0.0.1:%3$u\","
    "\"originRequest\":{\"caPool\":\"%1$s/ca.pem\",\"originServerName\":\"other.example.com\"}},"
    "{\"hostname\":\"stranger.example.com\",\"service\":\"https://127.0.0.1:%3$u\","
    "\"originRequest\":{\"originServerName\":\"origin.example.com\"}},"
    "{\"hostname\":\"h2c.example.com\",\"service\":\"http://127.0.0.1:%4$u\"},"
    "{\"hostname\":\"unix.example.com\",\"service\":\"unix:%1$s/plain\"},"
    "{\"hostname\":\"unixtls.example.com\",\"service\":\"unix+tls:%1$s/tls\",\"originRequest\":"
    "{\"caPool\":\"%1$s/ca.pem\",\"originServerName\":\"origin.example.com\"}},"
    "{\"service\":\"http://127.0.0.1:%2$u\",\"originRequest\":{\"keepAliveConnections\":%5$d}}]}";

struct site {
    char dir[64];
    unsigned http, https, h2c, front;
    struct process *nginx;
    struct scene *scene;
};

static void write_identity(const char *dir)
{
    char ca[128], cert[128], key[128];
    struct pki *pki = pki_new("peers");
    SSL_CTX *tls = pki_server(pki, "origin.example.com", PKI_GOOD);
    snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    CU_ASSERT_TRUE_FATAL(pki_write_ca(pki, ca) && pki_write_server(tls, cert, key));
    SSL_CTX_free(tls);
    pki_free(pki);
}

static void start_nginx(struct site *s)
{
    s->nginx = real_start("exec nginx -c %s/conf -e stderr", s->dir);
    CU_ASSERT_TRUE_FATAL(real_listens(s->http));
}

static void begin(struct site *s, const char *transport)
{
    char ini[64], *text;
    *s = (struct site){ .http = real_port(), .https = real_port(), .h2c = real_port(), .front = real_port() };
    real_folder(s->dir);
    write_identity(s->dir);
    free(real_run("mkdir %1$s/files && cd %1$s/files && head -c %2$d /dev/urandom >noise && "
                  "base64 noise | head -c %2$d >text.txt",
                  s->dir, FILE_MIB << 20));
    CU_ASSERT_FATAL(asprintf(&text, rules, s->dir, s->http, s->https, s->h2c, AT_A_TIME) > 0);
    snprintf(ini, sizeof(ini), "[origin_proxy]\nh2c = 127.0.0.1:%u\n", s->h2c);
    s->scene =
        scene_start(&(struct setup){ .transport = transport, .connections = 2, .rules = text, .ini = ini });
    free(text);
    real_write(s->dir, "conf", conf, s->dir, s->http, s->https, s->h2c, s->front, s->scene->front);
    start_nginx(s);
}

static void end(struct site *s)
{
    scene_stop(s->scene);
    process_signal(s->nginx, SIGTERM);
    process_end(s->nginx, PATIENCE_MS);
    real_folder_remove(s->dir);
}

/* What curl says with these arguments, of which the last is the path at the host. */
static void says(struct site *s, const char *host, const char *arguments, const char *wanted)
{
    char *said = real_run("cd %s/files; curl -sS --max-time 60 -H 'Host: %s.example.com' http://%s%s", s->dir,
                          host, s->scene->front, arguments);
    CU_ASSERT_STRING_EQUAL(said, wanted);
    if (strcmp(said, wanted) != 0)
        fprintf(stderr, "  %s %s%s\n  said    %s  instead of %s\n", s->scene->transport, host, arguments,
                said, wanted);
    free(said);
}

/* ---- the ways to an origin ---------------------------------------------------------------------------- */

static void check_way(struct site *s, const char *host, const char *protocol, const char *scheme)
{
    char line[128];
    snprintf(line, sizeof(line), "GET /a%%20b?c=%%2F %s %s %s.example.com ", protocol, scheme, host);
    char *said =
        real_run("curl -sS -H 'Host: %s.example.com' 'http://%s/a%%20b?c=%%2F'", host, s->scene->front);
    CHECK_HOLDS(said, line);
    free(said);
    says(s, host, "/files/noise | cmp - noise", "");
    says(s, host, "/files/text.txt | cmp - text.txt", "");              /* gzip between nginx and culvert */
    says(s, host, "/files/text.txt --compressed | cmp - text.txt", ""); /* all the way, in chunks         */
    says(s, host, "/files/noise -r 1000000-1999999 | cmp -n 1000000 -i 0:1000000 - noise", "");
    says(s, host, "/files/up1 -T noise && cmp noise up1", "");
    says(s, host, "/files/up2 -T - <noise && cmp noise up2; rm -f up1 up2", ""); /* in chunks */
    says(s, host, "/files/noise -I -o answer -w '%{http_code} %header{content-length} %{size_download}'",
         "200 8388608 0");
    says(s, host, "/files/missing -o answer -w '%{http_code}'", "404");
}

static void nginx_is_reached_in_every_way_that_a_rule_can_name(void)
{
    if (real_lacks("nginx curl cmp"))
        return;
    for (each_transport(transport)) {
        struct site s;
        begin(&s, transport);
        check_way(&s, "plain", "HTTP/1.1", "http");
        check_way(&s, "tls", "HTTP/1.1", "https");
        check_way(&s, "h2", "HTTP/2.0", "https");
        check_way(&s, "h2c", "HTTP/2.0", "http");
        check_way(&s, "unix", "HTTP/1.1", "http");
        check_way(&s, "unixtls", "HTTP/1.1", "https");
        says(&s, "other", "/ -o answer -w '%{http_code}'", "502");    /* the certificate has another name   */
        says(&s, "stranger", "/ -o answer -w '%{http_code}'", "502"); /* nobody vouches for its authority */
        end(&s);
    }
}

/* ---- origins that break off --------------------------------------------------------------------------- */

static void what_nginx_breaks_off_is_not_taken_for_whole(void)
{
    if (real_lacks("nginx curl"))
        return;
    static const char *const hosts[] = { "plain", "tls", "h2", "h2c", "unix" };
    for (each_transport(transport)) {
        struct site s;
        begin(&s, transport);
        for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
            says(&s, hosts[i], "/drop -o answer -w '%{http_code}'", "502");
            struct process *curl = real_start("curl -sS -H 'Host: %s.example.com' http://%s/slow/%s -D "
                                              "/dev/stderr -o /dev/null; echo ended $?",
                                              hosts[i], s.scene->front, i % 2 ? "text.txt" : "noise");
            CU_ASSERT_TRUE(process_says(curl, "200 OK\r\n", PATIENCE_MS));
            process_signal(s.nginx, SIGKILL);
            CU_ASSERT_TRUE(process_says(curl, "ended", PATIENCE_MS));
            CU_ASSERT_FALSE(process_says(curl, "ended 0", 0));
            process_end(curl, PATIENCE_MS);
            process_end(s.nginx, PATIENCE_MS);
            says(&s, hosts[i], "/ -o answer -w '%{http_code}'", "502");
            free(real_run("rm -f %1$s/plain %1$s/tls", s.dir)); /* nginx does not bind over them */
            start_nginx(&s);
            says(&s, hosts[i], "/ -o answer -w '%{http_code}'", "200");
        }
        end(&s);
    }
}

/* ---- many --------------------------------------------------------------------------------------------- */

static void connections_to_nginx_are_kept(void)
{
    if (real_lacks("nginx curl"))
        return;
    for (each_transport(transport)) {
        struct site s;
        char last[64];
        begin(&s, transport);
        snprintf(last, sizeof(last), "GET /%d HTTP/1.1 http plain.example.com %d", KEPT, KEPT);
        char *said =
            real_run("curl -sS -H 'Host: plain.example.com' 'http://%s/[1-%d]'", s.scene->front, KEPT);
        CHECK_HOLDS(said, last);
        free(said);
        end(&s);
    }
}

static void twenty_thousand_requests_of_two_hundred_visitors_are_served(void)
{
    if (real_lacks("nginx h2load"))
        return;
    char wanted[96], codes[64];
    snprintf(wanted, sizeof(wanted), " %d done, %d succeeded, 0 failed, 0 errored, 0 timeout", VISITS,
             VISITS);
    snprintf(codes, sizeof(codes), "status codes: %d 2xx, 0 3xx, 0 4xx, 0 5xx", VISITS);
    for (each_transport(transport)) {
        struct site s;
        begin(&s, transport);
        long long begun = now_in_ms();
        char *said = real_run("h2load --h1 -n %d -c %d http://%s/", VISITS, AT_A_TIME, s.scene->front);
        CHECK_HOLDS(said, wanted);
        CHECK_HOLDS(said, codes);
        free(said);
        double opened = scene_metric(s.scene, "culvert_origin_connections_opened_total");
        CU_ASSERT_TRUE(opened > 0 && opened <= AT_A_TIME);
        CU_ASSERT_TRUE(SANITIZED || opened * 100 < VISITS);
        CU_ASSERT_EQUAL(scene_metric(s.scene, "cloudflared_tunnel_request_errors"), 0);
        printf("[%s: %.0f connections for %d requests, %lld a second] ", transport, opened, VISITS,
               VISITS * 1000LL / (now_in_ms() - begun));
        end(&s);
    }
}

static void visitors_of_http2_are_served(void)
{
    if (real_lacks("nginx nghttp cmp"))
        return;
    for (each_transport(transport)) {
        struct site s;
        begin(&s, transport);
        char *said = real_run("cd %s/files; url=http://127.0.0.1:%u/files; nghttp $url/noise | cmp - noise;"
                              "nghttp -d noise -H ':method: PUT' $url/up; cmp noise up;"
                              "nghttp -m 20 -n -s $url/noise | grep -c ' 200 .*/files/noise'",
                              s.dir, s.front);
        CU_ASSERT_STRING_EQUAL(said, "20\n");
        if (strcmp(said, "20\n") != 0)
            fprintf(stderr, "  %s\n", said);
        free(said);
        end(&s);
    }
}

SUITE(system_72_nginx, TEST(nginx_is_reached_in_every_way_that_a_rule_can_name),
      TEST(what_nginx_breaks_off_is_not_taken_for_whole), TEST(connections_to_nginx_are_kept),
      TEST(twenty_thousand_requests_of_two_hundred_visitors_are_served), TEST(visitors_of_http2_are_served));
