/* test_discover.c: where the edge is: lists, SRV records, DNS that fails, DNS over TLS, the cache. Everything on
 * loopback. */
#include "pki.h"
#include "suite.h"
#include "tunnel/address_cache.h"
#include "tunnel/discover.h"
#include "tunnel/srv.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CARES_NO_DEPRECATED
#include "loop/resolve.h"

#include <ares_nameser.h>

/* ---- a name server ---------------------------------------------------------------------------------------- */

static void add16(struct cv_buf *b, unsigned n)
{
    const uint8_t two[] = { (uint8_t)(n >> 8), (uint8_t)n };
    cv_buf_add(b, two, 2);
}

/* Answers a question with records of its own type; SRV: two targets, A: 192.0.2.R, AAAA: nothing. rcode 2: failure. */
static void answer(const uint8_t *question, size_t n, unsigned rcode, struct cv_buf *out)
{
    size_t name = 12;
    while (name < n && question[name])
        name += question[name] + 1u;
    unsigned type = question[name + 1] << 8 | question[name + 2];
    unsigned records = rcode ? 0 : type == ns_t_srv ? 2 : type == ns_t_a ? 1 : 0;
    cv_buf_add(out, question, 2);
    add16(out, 0x8180 | rcode);
    add16(out, 1);
    add16(out, records);
    add16(out, 0);
    add16(out, 0);
    cv_buf_add(out, question + 12, name + 5 - 12);
    for (unsigned i = 0; i < records; i++) {
        static const uint8_t targets[2][11] = { "\7region1\1t", "\7region2\1t" };
        add16(out, 0xc00c); /* the name of the question */
        add16(out, type);
        add16(out, 1);
        add16(out, 0);
        add16(out, 60);
        if (type == ns_t_srv) {
            add16(out, 17);
            add16(out, i); /* priority */
            add16(out, 1);
            add16(out, 7844);
            cv_buf_add(out, targets[i], 11);
        } else {
            const uint8_t ip[] = { 192, 0, 2, question[12 + 7] }; /* the digit of regionN */
            add16(out, 4);
            cv_buf_add(out, ip, 4);
        }
    }
}

static struct rig {
    struct cv_worker *worker;
    const struct cv_self *self;
    int fd;
    struct event *event;
    unsigned rcode, questions;
    /* what came of it */
    struct sockaddr_storage addrs[EDGE_REGIONS][CACHE_ADDRS_MAX];
    size_t n[EDGE_REGIONS];
    unsigned found;
    struct srv_answer srv;
    unsigned done;
    char why[256];
} rig;

static void on_question(evutil_socket_t fd, short what, void *arg)
{
    uint8_t question[512];
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    struct cv_buf out = { 0 };
    (void)what;
    (void)arg;
    ssize_t n = recvfrom(fd, question, sizeof(question), 0, (struct sockaddr *)&from, &size);
    if (n < 17)
        return;
    rig.questions++;
    answer(question, (size_t)n, rig.rcode, &out);
    sendto(fd, out.p, out.n, 0, (struct sockaddr *)&from, size);
    cv_buf_free(&out);
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(a);
    CV_ASSERT(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
              getsockname(fd, (struct sockaddr *)&a, &size) == 0);
    return ntohs(a.sin_port);
}

static void begin(void)
{
    char servers[40];
    memset(&rig, 0, sizeof(rig));
    rig.worker = worker_new(0);
    rig.self = worker_core_self(rig.worker);
    rig.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", bound_port(rig.fd));
    CV_ASSERT(ares_set_servers_ports_csv(resolver_channel(rig.worker), servers) == ARES_SUCCESS);
    rig.event = event_new(rig.worker->base, rig.fd, EV_READ | EV_PERSIST, on_question, NULL);
    event_add(rig.event, NULL);
}

static void end(void)
{
    event_free(rig.event);
    close(rig.fd);
    worker_free(rig.worker);
}

static void run_until(const unsigned *flag, unsigned value)
{
    int64_t limit = clock_ms() + 10000;
    while (*flag < value && clock_ms() < limit)
        event_base_loop(rig.worker->base, EVLOOP_ONCE);
    CU_ASSERT(*flag >= value);
}

/* ---- a name server over TLS, for one question, in a thread of its own --------------------------------------- */

struct tls_server {
    SSL_CTX *ctx;
    int fd;
    pthread_t thread;
};

static void *serve_tls(void *arg)
{
    struct tls_server *s = arg;
    uint8_t question[512];
    int fd = accept(s->fd, NULL, NULL);
    SSL *ssl = SSL_new(s->ctx);
    SSL_set_fd(ssl, fd);
    int n = SSL_accept(ssl) == 1 ? SSL_read(ssl, question, sizeof(question)) : 0;
    if (n > 19) {
        struct cv_buf out = { 0 }, length = { 0 };
        answer(question + 2, (size_t)n - 2, 0, &out);
        add16(&length, (unsigned)out.n);
        SSL_write(ssl, length.p, 1); /* in pieces */
        SSL_write(ssl, length.p + 1, 1);
        SSL_write(ssl, out.p, (int)out.n);
        cv_buf_free(&out);
        cv_buf_free(&length);
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static char ca_path[] = "/tmp/culvert-dot-XXXXXX";

static struct dot_server start_tls(struct tls_server *s, struct pki *pki, const char *names)
{
    s->ctx = pki_server(pki, names, PKI_GOOD);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    struct dot_server server = { "127.0.0.1", bound_port(s->fd), "cloudflare-dns.com", ca_path, { 5000 } };
    listen(s->fd, 1);
    memcpy(ca_path + sizeof(ca_path) - 7, "XXXXXX", 6);
    close(mkstemp(ca_path));
    pki_write_ca(pki, ca_path);
    pthread_create(&s->thread, NULL, serve_tls, s);
    return server;
}

static void stop_tls(struct tls_server *s)
{
    pthread_join(s->thread, NULL);
    close(s->fd);
    SSL_CTX_free(s->ctx);
    unlink(ca_path);
}

/* Nobody listens there. */
static struct dot_server nobody(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct dot_server server = { "127.0.0.1", bound_port(fd), "cloudflare-dns.com", NULL, { 5000 } };
    close(fd);
    return server;
}

/* ---- SRV --------------------------------------------------------------------------------------------------- */

static void on_srv(void *arg, const struct srv_answer *a, const char *why)
{
    (void)arg;
    rig.done++;
    if (a)
        rig.srv = *a;
    snprintf(rig.why, sizeof(rig.why), "%s", why);
}

static void asks_dns_for_srv_records(void)
{
    begin();
    struct dot_server none = nobody();
    struct srv_query *q =
        srv_query_new(rig.self, "_v2-origintunneld._tcp.argotunnel.com", &none, on_srv, NULL);
    run_until(&rig.done, 1);
    CU_ASSERT_EQUAL(rig.srv.n, 2);
    CU_ASSERT_STRING_EQUAL(rig.srv.targets[0].host, "region1.t");
    CU_ASSERT_EQUAL(rig.srv.targets[1].port, 7844);
    srv_query_free(q);
    end();
}

static void asks_over_tls_when_dns_fails(void)
{
    struct tls_server s;
    struct pki *pki = pki_new("Test CA");
    begin();
    rig.rcode = 2;
    struct dot_server server = start_tls(&s, pki, "cloudflare-dns.com");
    struct srv_query *q =
        srv_query_new(rig.self, "_v2-origintunneld._tcp.argotunnel.com", &server, on_srv, NULL);
    run_until(&rig.done, 1);
    CU_ASSERT_EQUAL(rig.srv.n, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "DNS: "));
    srv_query_free(q);
    stop_tls(&s);
    pki_free(pki);
    end();
}

static void trusts_no_name_server_with_another_name(void)
{
    struct tls_server s;
    struct pki *pki = pki_new("Test CA");
    begin();
    rig.rcode = 2;
    struct dot_server server = start_tls(&s, pki, "evil.example.com");
    struct srv_query *q = srv_query_new(rig.self, "x.example.com", &server, on_srv, NULL);
    run_until(&rig.done, 1);
    CU_ASSERT_EQUAL(rig.srv.n, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "ostname mismatch"));
    srv_query_free(q);
    stop_tls(&s);
    pki_free(pki);
    end();
}

static void says_how_both_ways_failed(void)
{
    begin();
    rig.rcode = 3;
    struct dot_server none = nobody();
    struct srv_query *q = srv_query_new(rig.self, "x.example.com", &none, on_srv, NULL);
    run_until(&rig.done, 1);
    CU_ASSERT_EQUAL(rig.srv.n, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "DNS: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "DNS over TLS: 127.0.0.1:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "refused"));
    srv_query_free(q);
    end();
}

static void may_be_given_up_at_any_time(void)
{
    begin();
    struct dot_server none = nobody();
    srv_query_free(srv_query_new(rig.self, "x.example.com", &none, on_srv, NULL));
    end(); /* the resolver still holds the question */
    CU_ASSERT_EQUAL(rig.done, 0);
}

static uint32_t chance; /* of 100 */

static uint32_t percent(void *arg, uint32_t below)
{
    (void)arg;
    return (uint32_t)((uint64_t)below * chance / 100);
}

static void orders_by_priority_and_weight(void)
{
    static const struct srv_answer given = {
        .targets = { { "c", 1, 20, 0 }, { "light", 1, 10, 10 }, { "heavy", 1, 10, 90 }, { "a", 1, 5, 0 } },
        .n = 4
    };
    for (chance = 0; chance < 100; chance += 9) {
        struct srv_answer a = given;
        srv_order(&a, percent, NULL);
        CU_ASSERT_STRING_EQUAL(a.targets[0].host, "a");
        CU_ASSERT_STRING_EQUAL(a.targets[3].host, "c");
        CU_ASSERT_EQUAL(strcmp(a.targets[1].host, "heavy") == 0, chance > 10);
    }
}

static void broken_answers_are_none(void)
{
    struct srv_answer a;
    uint8_t question[] = "\0\1\1\0\0\1\0\0\0\0\0\0\1t\0\0\41\0\1";
    struct cv_buf whole = { 0 };
    answer(question, sizeof(question) - 1, 0, &whole);
    CU_ASSERT(srv_parse(whole.p, whole.n, &a));
    for (size_t n = 0; n < whole.n; n++)
        CU_ASSERT(!srv_parse(whole.p, n, &a));
    cv_buf_free(&whole);
}

/* ---- rounds ------------------------------------------------------------------------------------------------- */

static void on_found(void *arg, const struct sup_region regions[EDGE_REGIONS])
{
    (void)arg;
    rig.found++;
    for (unsigned r = 0; r < EDGE_REGIONS; r++) {
        rig.n[r] = regions[r].n;
        if (regions[r].n)
            memcpy(rig.addrs[r], regions[r].addrs, regions[r].n * sizeof(regions[r].addrs[0]));
    }
}

static const char *text_of(unsigned region, size_t i)
{
    static char text[64];
    const struct sockaddr_in *a = (const struct sockaddr_in *)&rig.addrs[region][i];
    snprintf(text, sizeof(text), "%s:%u", inet_ntoa(a->sin_addr), ntohs(a->sin_port));
    return text;
}

static void a_list_goes_to_the_regions_in_turn(void)
{
    const struct cv_str list[] = { CV_STR("127.0.0.1:1"), CV_STR("127.0.0.1:2"), CV_STR("127.0.0.1:3") };
    struct tunnel_conf conf = { .edge = { list, 3 } };
    struct dot_server none = nobody();
    begin();
    struct discovery *d = discovery_new(rig.self, &conf, "", &none, on_found, NULL);
    run_until(&rig.found, 1);
    CU_ASSERT_EQUAL(rig.n[0], 2);
    CU_ASSERT_EQUAL(rig.n[1], 1);
    CU_ASSERT_STRING_EQUAL(text_of(0, 1), "127.0.0.1:3");
    CU_ASSERT_STRING_EQUAL(text_of(1, 0), "127.0.0.1:2");
    CU_ASSERT_EQUAL(rig.questions, 0);
    discovery_free(d);
    end();
}

static void finds_the_regions_by_dns(void)
{
    struct tunnel_conf conf = { .region = "" };
    struct dot_server none = nobody();
    begin();
    struct discovery *d = discovery_new(rig.self, &conf, "us", &none, on_found, NULL);
    run_until(&rig.found, 1);
    CU_ASSERT_EQUAL(rig.n[0], 1);
    CU_ASSERT_STRING_EQUAL(text_of(0, 0), "192.0.2.49:7844"); /* '1' of region1 */
    CU_ASSERT_STRING_EQUAL(text_of(1, 0), "192.0.2.50:7844");
    discovery_free(d);
    end();
}

static void tries_again_until_dns_works(void)
{
    struct tunnel_conf conf = { .region = "" };
    struct dot_server none = nobody();
    begin();
    rig.rcode = 2;
    struct discovery *d = discovery_new(rig.self, &conf, "", &none, on_found, NULL);
    int64_t limit = clock_ms() + 800;
    while (clock_ms() < limit)
        event_base_loop(rig.worker->base, EVLOOP_NONBLOCK);
    CU_ASSERT_EQUAL(rig.found, 0);
    CU_ASSERT(rig.questions > 0);
    rig.rcode = 0;
    run_until(&rig.found, 1);
    discovery_free(d);
    end();
}

static void starts_from_the_cache_while_dns_is_down(void)
{
    char file[] = "/tmp/culvert-cache-XXXXXX";
    close(mkstemp(file));
    struct tunnel_conf conf = { .region = "", .address_cache = file };
    struct dot_server none = nobody();
    begin();
    struct discovery *d = discovery_new(rig.self, &conf, "", &none, on_found, NULL);
    run_until(&rig.found, 1);
    discovery_free(d);
    end();
    begin();
    rig.rcode = 2;
    d = discovery_new(rig.self, &conf, "", &none, on_found, NULL);
    run_until(&rig.found, 1);
    CU_ASSERT_STRING_EQUAL(text_of(1, 0), "192.0.2.50:7844");
    discovery_free(d);
    end();
    unlink(file);
}

static void passes_over_broken_lines_of_the_cache(void)
{
    char file[] = "/tmp/culvert-cache-XXXXXX";
    static const char text[] =
        "1 192.0.2.1:7844\n\nx\n3 192.0.2.2:7844\n2 [2001:db8::1]:7844\n2 name:7844\n2 192.0.2.3\n"
        "1 192.0.2.4:99999\n2 192.0.2.5:1";
    struct sockaddr_storage addrs[EDGE_REGIONS][CACHE_ADDRS_MAX];
    size_t n[EDGE_REGIONS];
    int fd = mkstemp(file);
    CU_ASSERT_EQUAL(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
    close(fd);
    CU_ASSERT_EQUAL(address_cache_read(file, addrs, n), 3);
    CU_ASSERT_EQUAL(n[0], 1);
    CU_ASSERT_EQUAL(n[1], 2);
    CU_ASSERT_EQUAL(addrs[1][0].ss_family, AF_INET6);
    unlink(file);
    CU_ASSERT_EQUAL(address_cache_read(file, addrs, n), 0);
}

static void splits_host_and_port(void)
{
    static const struct {
        const char *text, *host; /* NULL: refused */
        unsigned port;
    } cases[] = {
        { "region1.v2.argotunnel.com:7844", "region1.v2.argotunnel.com", 7844 },
        { "127.0.0.1:1", "127.0.0.1", 1 },
        { "[::1]:65535", "::1", 65535 },
        { "::1:80", "::1", 80 },
        { "host", NULL, 0 },
        { "host:", NULL, 0 },
        { ":80", NULL, 0 },
        { "host:0", NULL, 0 },
        { "host:65536", NULL, 0 },
        { "host:8o", NULL, 0 },
        { "host:-1", NULL, 0 },
        { "host:000080", NULL, 0 },
        { "", NULL, 0 },
        { "[]:80", NULL, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cv_str host;
        uint16_t port;
        bool ok = discovery_split(cv_str_of(cases[i].text), &host, &port);
        CU_ASSERT_EQUAL(ok, cases[i].host != NULL);
        if (ok && cases[i].host) {
            CU_ASSERT(cv_str_eq(host, cv_str_of(cases[i].host)));
            CU_ASSERT_EQUAL(port, cases[i].port);
        }
    }
}

SUITE(discover, TEST(asks_dns_for_srv_records), TEST(asks_over_tls_when_dns_fails),
      TEST(trusts_no_name_server_with_another_name), TEST(says_how_both_ways_failed),
      TEST(may_be_given_up_at_any_time), TEST(orders_by_priority_and_weight), TEST(broken_answers_are_none),
      TEST(a_list_goes_to_the_regions_in_turn), TEST(finds_the_regions_by_dns),
      TEST(tries_again_until_dns_works), TEST(starts_from_the_cache_while_dns_is_down),
      TEST(passes_over_broken_lines_of_the_cache), TEST(splits_host_and_port));
