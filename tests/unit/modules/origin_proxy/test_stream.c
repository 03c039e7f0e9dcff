/* test_stream.c: TCP within WebSocket frames, bastion, SOCKS and private-network streams, over real sockets. */
#include "origin_proxy/stream.h"
#include "rig.h"
#include "suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern const struct cv_module cv_module_origin_proxy;

/* A request that the visitor goes on writing to. */
struct visit {
    struct rig *rig;
    struct cv_req *req;
    struct rig_seen seen;
    int fd; /* the origin's end */
};

static void rule(struct rig *rig, const char *form, const char *settings)
{
    char service[64];
    snprintf(service, sizeof(service), "%s://127.0.0.1:%u", form, rig->port);
    rig_rule(rig, service, settings);
}

static void begin(struct visit *v, enum cv_req_type type)
{
    v->req = rig_request(v->rig, "GET", "/", &v->seen);
    v->req->type = type;
    v->req->body_length = CV_BODY_STREAM;
}

/* A frame as a client sends it: masked, with a mask that changes nothing. */
static void send_frame(struct visit *v, unsigned opcode, const void *bytes, size_t n)
{
    uint8_t head[ORIGIN_WS_HEAD_MAX + 4] = { 0 };
    size_t head_n = origin_ws_head(head, opcode, n);
    head[1] |= 0x80;
    cv_pipe_write(v->req->up, head, head_n + 4);
    while (n > 0) {
        size_t part = cv_pipe_write(v->req->up, bytes, n);
        bytes = (const uint8_t *)bytes + part;
        n -= part;
        rig_turn(v->rig);
    }
    rig_turn(v->rig);
}

static void send_text(struct visit *v, const char *text)
{
    send_frame(v, ORIGIN_WS_BINARY, text, strlen(text));
}

static bool body_is(const struct visit *v, const char *bytes, size_t n)
{
    bool same = v->seen.body.n == n && memcmp(v->seen.body.p, bytes, n) == 0;
    if (!same)
        fprintf(stderr, "    %zu bytes instead of %zu\n", v->seen.body.n, n);
    return same;
}
#define BODY_IS(v, text) body_is(v, text, sizeof(text) - 1)
static void forget_body(struct visit *v)
{
    cv_buf_free(&v->seen.body);
}

/* To a TCP service that has accepted. */
static void connect_tcp(struct visit *v, const char *settings)
{
    *v = (struct visit){ .rig = rig_new() };
    rule(v->rig, "tcp", settings);
    begin(v, CV_WEBSOCKET);
    cv_header_add(v->req, v->req->headers, CV_STR("Sec-WebSocket-Key"), CV_STR("dGhlIHNhbXBsZSBub25jZQ=="));
    rig_send(v->rig, v->req);
    v->fd = rig_accept(v->rig);
    rig_turn(v->rig);
}

static void finish(struct visit *v)
{
    if (!v->seen.closed)
        cv_req_fail(v->req, CV_E_CANCEL, "the visitor left");
    rig_turn(v->rig);
    CU_ASSERT(v->seen.closed);
    rig_seen_free(&v->seen);
    rig_free(v->rig);
    if (v->fd > 0)
        close(v->fd);
}

/* ---- frames ------------------------------------------------------------------------------------------ */

static void carries_bytes_both_ways(void)
{
    struct visit v;
    connect_tcp(&v, "");
    CU_ASSERT_EQUAL(v.seen.status, 101);
    CU_ASSERT_STRING_EQUAL(v.seen.head, "Connection=Upgrade Upgrade=websocket "
                                        "Sec-Websocket-Accept=s3pPLMBiTxaQ9kYGzzhZRbK+xOo= ");
    send_text(&v, "SSH-2.0-client");
    send_frame(&v, 1, "text", 4);
    send_text(&v, "!\n");
    CU_ASSERT_STRING_EQUAL(rig_hear(v.rig, v.fd, "\n"), "SSH-2.0-client!\n");
    rig_say(v.rig, v.fd, "SSH-2.0-server\n");
    CU_ASSERT(BODY_IS(&v, "\x82\x0fSSH-2.0-server\n"));
    forget_body(&v);
    send_frame(&v, ORIGIN_WS_PING, "hey", 3);
    CU_ASSERT(BODY_IS(&v, "\x8a\x03hey"));
    finish(&v);
}

static void delivers_a_long_message_whole(void)
{
    enum { LONG = 150000 };
    struct visit v;
    char *message = cv_xmalloc(LONG);
    memset(message, 'x', LONG);
    message[LONG - 1] = '\n';
    connect_tcp(&v, "");
    send_frame(&v, ORIGIN_WS_BINARY, message, LONG);
    const char *heard = rig_hear(v.rig, v.fd, "\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(heard);
    CU_ASSERT_EQUAL(strlen(heard), LONG);
    free(message);
    finish(&v);
}

static void waits_for_a_slow_visitor(void)
{
    enum { LONG = 300000 };
    struct visit v;
    connect_tcp(&v, "");
    v.rig->hold = true;
    char piece[4096] = { 0 };
    size_t sent = 0;
    for (ssize_t n; (n = send(v.fd, piece, sizeof(piece), MSG_NOSIGNAL)) > 0 && sent < LONG;
         sent += (size_t)n)
        rig_turn(v.rig);
    CU_ASSERT(cv_pipe_held(v.req->down) <= v.rig->limits.pipe.n);
    rig_take(v.rig, v.req);
    for (int i = 0; i < 1000 && v.seen.body.n < sent; i++)
        rig_turn(v.rig);
    CU_ASSERT(v.seen.body.n > sent);
    finish(&v);
}

static void without_a_key_there_are_no_headers(void)
{
    struct visit v = { .rig = rig_new() };
    rule(v.rig, "ssh", "");
    begin(&v, CV_HTTP);
    rig_send(v.rig, v.req);
    v.fd = rig_accept(v.rig);
    rig_turn(v.rig);
    CU_ASSERT_EQUAL(v.seen.status, 101);
    CU_ASSERT_STRING_EQUAL(v.seen.head, "");
    finish(&v);
}

/* ---- ends -------------------------------------------------------------------------------------------- */

static void passes_on_the_end_of_the_origin(void)
{
    struct visit v;
    connect_tcp(&v, "");
    rig_say(v.rig, v.fd, "bye");
    shutdown(v.fd, SHUT_WR);
    CU_ASSERT(rig_until(v.rig, &v.seen.closed));
    CU_ASSERT(v.seen.ended);
    CU_ASSERT_EQUAL(v.seen.error, CV_OK);
    CU_ASSERT(BODY_IS(&v, "\x82\x03"
                          "bye"
                          "\x88\x02\x03\xe8"));
    finish(&v);
}

static void half_closes_and_hears_the_rest(void)
{
    struct visit v;
    connect_tcp(&v, "");
    send_text(&v, "last\n");
    send_frame(&v, ORIGIN_WS_CLOSE, "", 0);
    CU_ASSERT_PTR_NOT_NULL(rig_hear(v.rig, v.fd, "last\n"));
    CU_ASSERT(rig_hears_end(v.rig, v.fd));
    CU_ASSERT_FALSE(v.seen.ended);
    rig_say(v.rig, v.fd, "rest");
    CU_ASSERT(BODY_IS(&v, "\x82\x04rest"));
    shutdown(v.fd, SHUT_WR);
    CU_ASSERT(rig_until(v.rig, &v.seen.ended));
    finish(&v);
}

static void does_not_linger_for_ever(void)
{
    struct visit v;
    connect_tcp(&v, "");
    v.rig->conf.half_close_timeout.ms = 50;
    cv_pipe_finish(v.req->up);
    CU_ASSERT(rig_until(v.rig, &v.seen.ended));
    CU_ASSERT_EQUAL(v.seen.error, CV_OK);
    finish(&v);
}

static void cuts_a_client_that_breaks_the_rules(void)
{
    struct visit v;
    connect_tcp(&v, "");
    cv_pipe_write(v.req->up, "\x82\x01x", 3);
    CU_ASSERT(rig_until(v.rig, &v.seen.closed));
    CU_ASSERT_EQUAL(v.seen.error, CV_E_PROTO);
    CU_ASSERT_PTR_NOT_NULL(strstr(v.seen.why, "not masked"));
    CU_ASSERT(rig_hears_end(v.rig, v.fd));
    finish(&v);
}

static void tells_why_there_is_no_connection(void)
{
    struct visit v = { .rig = rig_new() };
    rig_rule(v.rig, "tcp://127.0.0.1:1", "");
    begin(&v, CV_WEBSOCKET);
    rig_send(v.rig, v.req);
    CU_ASSERT(rig_until(v.rig, &v.seen.closed));
    CU_ASSERT_EQUAL(v.seen.status, 502);
    CU_ASSERT_EQUAL(v.seen.error, CV_E_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(v.seen.why, "Unable to reach the origin service"));
    finish(&v);
}

static void pings_as_often_as_the_option_says(void)
{
    const char *usual = "";
    for (const struct cv_option *o = cv_module_origin_proxy.options; o->name; o++)
        if (strcmp(o->name, "websocket_ping") == 0)
            usual = o->def;
    CU_ASSERT_STRING_EQUAL(usual, "54s"); /* what the original does */
    struct visit v = { .rig = rig_new() };
    v.rig->conf.websocket_ping.ms = 10;
    rule(v.rig, "tcp", "");
    begin(&v, CV_WEBSOCKET);
    rig_send(v.rig, v.req);
    v.fd = rig_accept(v.rig);
    for (int64_t since = clock_ms(); v.seen.body.n < 4 && clock_ms() - since < 5000;)
        rig_turn(v.rig);
    CU_ASSERT(v.seen.body.n >= 4 && memcmp(v.seen.body.p, "\x89\x00\x89\x00", 4) == 0);
    finish(&v);
}

/* ---- bastion ----------------------------------------------------------------------------------------- */

static void bastion_goes_where_the_client_says(void)
{
    static const char *const forms[] = { "127.0.0.1:%u", "tcp://127.0.0.1:%u", "127.0.0.1:%u/path:1" };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct visit v = { .rig = rig_new() };
        rig_rule(v.rig, "bastion", "");
        begin(&v, CV_WEBSOCKET);
        char to[64];
        const char *port = strchr(forms[i], '%');
        snprintf(to, sizeof(to), "%.*s%u%s", (int)(port - forms[i]), forms[i], v.rig->port, port + 2);
        cv_header_add(v.req, v.req->headers, CV_STR("Cf-Access-Jump-Destination"), cv_str_of(to));
        rig_send(v.rig, v.req);
        v.fd = rig_accept(v.rig);
        CU_ASSERT(v.fd >= 0);
        rig_turn(v.rig);
        CU_ASSERT_EQUAL(v.seen.status, 101);
        finish(&v);
    }
}

static void bastion_needs_a_destination(void)
{
    static const char *const wrong[] = { NULL,         "",      "host", "host:", "host:0",
                                         "host:65536", "a:b:1", ":80",  "h:x" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct visit v = { .rig = rig_new() };
        rig_rule(v.rig, "bastion", "");
        begin(&v, CV_WEBSOCKET);
        if (wrong[i])
            cv_header_add(v.req, v.req->headers, CV_STR("Cf-Access-Jump-Destination"), cv_str_of(wrong[i]));
        rig_send(v.rig, v.req);
        CU_ASSERT_EQUAL(v.seen.error, CV_E_PROTO);
        CU_ASSERT_EQUAL(v.seen.status, 502);
        finish(&v);
    }
}

/* ---- SOCKS ------------------------------------------------------------------------------------------- */

static const char GREETING[] = { 5, 1, 0 };

static void socks_asks(struct visit *v, uint16_t port)
{
    char ask[] = { 5, 1, 0, 1, 127, 0, 0, 1, (char)(port >> 8), (char)port };
    begin(v, CV_WEBSOCKET);
    rig_send(v->rig, v->req);
    CU_ASSERT_EQUAL(v->seen.status, 101);
    send_frame(v, ORIGIN_WS_BINARY, GREETING, sizeof(GREETING));
    CU_ASSERT(body_is(v, "\x82\x02\x05\x00", 4));
    forget_body(v);
    send_frame(v, ORIGIN_WS_BINARY, ask, sizeof(ask));
}

static void rule_with_policy(struct rig *rig, const char *ip_rules)
{
    char text[512];
    snprintf(text, sizeof(text), "\"ipRules\":[%s]", ip_rules);
    char document[1024];
    int n = snprintf(document, sizeof(document),
                     "{\"ingress\":[{\"service\":\"socks-proxy\",\"originRequest\":{%s}}]}", text);
    rig_document(rig, (struct cv_str){ document, (size_t)n });
}

static void socks_connects_where_the_policy_lets_it(void)
{
    struct visit v = { .rig = rig_new() };
    rule_with_policy(v.rig, "{\"prefix\":\"127.0.0.0/8\",\"allow\":true}");
    socks_asks(&v, v.rig->port);
    v.fd = rig_accept(v.rig);
    rig_turn(v.rig);
    CU_ASSERT_EQUAL_FATAL(v.seen.body.n, 12);
    CU_ASSERT(memcmp(v.seen.body.p, "\x82\x0a\x05\x00\x00\x01\x7f\x00\x00\x01", 10) == 0);
    forget_body(&v);
    send_text(&v, "hello\n");
    CU_ASSERT_STRING_EQUAL(rig_hear(v.rig, v.fd, "\n"), "hello\n");
    rig_say(v.rig, v.fd, "back");
    CU_ASSERT(BODY_IS(&v, "\x82\x04"
                          "back"));
    finish(&v);
}

static void socks_refuses_what_the_policy_does_not_name(void)
{
    static const char *const policies[] = {
        "",
        "{\"prefix\":\"10.0.0.0/8\",\"allow\":true}",
        "{\"prefix\":\"127.0.0.1/32\",\"allow\":false},{\"prefix\":\"0.0.0.0/0\",\"allow\":true}",
        "{\"prefix\":\"127.0.0.0/8\",\"ports\":[1],\"allow\":true}",
    };
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        struct visit v = { .rig = rig_new() };
        rule_with_policy(v.rig, policies[i]);
        socks_asks(&v, v.rig->port);
        CU_ASSERT(rig_until(v.rig, &v.seen.ended));
        CU_ASSERT(body_is(&v, "\x82\x0a\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00\x88\x02\x03\xe8", 16));
        finish(&v);
    }
}

/* The rig listens there from now on; 0: this machine has no IPv6. */
static uint16_t listen_on_ipv6(struct rig *rig)
{
    struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    socklen_t n = sizeof(addr);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, n) != 0 || listen(fd, 4) != 0) {
        close(fd);
        return 0;
    }
    getsockname(fd, (struct sockaddr *)&addr, &n);
    close(rig->listener);
    rig->listener = fd;
    return ntohs(addr.sin6_port);
}

static void socks_speaks_ipv6(void)
{
    struct visit v = { .rig = rig_new() };
    uint16_t port = listen_on_ipv6(v.rig);
    if (!port) {
        rig_free(v.rig);
        suite_skip("no IPv6 on the loopback of this machine");
        return;
    }
    const char ask[] = {
        5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, (char)(port >> 8), (char)port
    };
    rule_with_policy(v.rig, "{\"prefix\":\"::1/128\",\"allow\":true}");
    begin(&v, CV_WEBSOCKET);
    rig_send(v.rig, v.req);
    send_frame(&v, ORIGIN_WS_BINARY, GREETING, sizeof(GREETING));
    forget_body(&v);
    send_frame(&v, ORIGIN_WS_BINARY, ask, sizeof(ask));
    v.fd = rig_accept(v.rig);
    rig_turn(v.rig);
    CU_ASSERT_EQUAL_FATAL(v.seen.body.n, 24); /* our end is an IPv6 address, too */
    CU_ASSERT(memcmp(v.seen.body.p, "\x82\x16\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 22) == 0);
    forget_body(&v);
    send_text(&v, "six\n");
    CU_ASSERT_STRING_EQUAL(rig_hear(v.rig, v.fd, "\n"), "six\n");
    finish(&v);
}

static void socks_tells_why_there_is_no_connection(void)
{
    static const struct {
        enum cv_error error;
        int system_error;
        uint8_t code;
    } cases[] = { { CV_OK, 0, 0 },
                  { CV_E_DENIED, 0, 2 },
                  { CV_E_RESOLVE, 0, 2 },
                  { CV_E_REFUSED, ENETUNREACH, 3 },
                  { CV_E_REFUSED, EHOSTUNREACH, 4 },
                  { CV_E_TIMEOUT, 0, 4 },
                  { CV_E_REFUSED, ECONNREFUSED, 5 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct origin_socks s = { .greeted = true };
        origin_socks_reply(&s, cases[i].error, cases[i].system_error, NULL);
        CU_ASSERT_EQUAL(s.reply[1], cases[i].code);
    }
    struct visit v = { .rig = rig_new() };
    rule_with_policy(v.rig, "{\"prefix\":\"127.0.0.0/8\",\"allow\":true}");
    socks_asks(&v, 1); /* nobody listens there */
    CU_ASSERT(rig_until(v.rig, &v.seen.ended));
    CU_ASSERT(v.seen.body.n >= 4 && v.seen.body.p[3] == 5);
    finish(&v);
}

static void socks_of_a_rule_goes_to_the_rule(void)
{
    struct visit v = { .rig = rig_new() };
    rule(v.rig, "tcp", "\"proxyType\":\"socks\"");
    begin(&v, CV_WEBSOCKET);
    rig_send(v.rig, v.req);
    v.fd = rig_accept(v.rig);
    rig_turn(v.rig);
    send_frame(&v, ORIGIN_WS_BINARY, GREETING, sizeof(GREETING));
    forget_body(&v);
    send_frame(&v, ORIGIN_WS_BINARY,
               "\x05\x01\x00\x03\x07"
               "nowhere"
               "\x00\x50"
               "early\n",
               20);
    CU_ASSERT_EQUAL(v.seen.body.n, 12);
    CU_ASSERT_STRING_EQUAL(rig_hear(v.rig, v.fd, "\n"), "early\n");
    finish(&v);
}

/* ---- private network --------------------------------------------------------------------------------- */

static void flow(struct visit *v, const char *to)
{
    begin(v, CV_TCP);
    v->req->authority = cv_copy(v->req, cv_str_of(to));
    rig_send(v->rig, v->req);
}

static void carries_private_streams_when_told_to(void)
{
    struct visit v = { .rig = rig_new() };
    char to[32];
    snprintf(to, sizeof(to), "127.0.0.1:%u", v.rig->port);
    flow(&v, to);
    CU_ASSERT_EQUAL(v.seen.status, 502);
    CU_ASSERT_PTR_NOT_NULL(strstr(v.seen.why, "private_network"));
    CU_ASSERT(v.seen.closed);
    v.rig->conf.private_network = true;
    flow(&v, to);
    v.fd = rig_accept(v.rig);
    rig_turn(v.rig);
    CU_ASSERT_EQUAL(v.seen.status, 200);
    cv_pipe_write(v.req->up, "up\n", 3);
    CU_ASSERT_STRING_EQUAL(rig_hear(v.rig, v.fd, "\n"), "up\n");
    rig_say(v.rig, v.fd, "down");
    CU_ASSERT(BODY_IS(&v, "down"));
    finish(&v);
}

static void wants_an_address_and_counts_the_flows(void)
{
    static const char *const wrong[] = { "localhost:80", "127.0.0.1", "127.0.0.1:0", "::1:80", "" };
    struct visit v = { .rig = rig_new() };
    v.rig->conf.private_network = true;
    rig_document(v.rig, CV_STR("{\"warp-routing\":{\"maxActiveFlows\":1}}"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        flow(&v, wrong[i]);
        CU_ASSERT_EQUAL(v.seen.status, 502);
        CU_ASSERT_PTR_NOT_NULL(strstr(v.seen.why, "not an ip:port"));
    }
    char to[32];
    snprintf(to, sizeof(to), "127.0.0.1:%u", v.rig->port);
    flow(&v, to);
    v.fd = rig_accept(v.rig);
    struct visit second = { .rig = v.rig };
    flow(&second, to);
    CU_ASSERT_EQUAL(second.seen.error, CV_E_LIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(second.seen.why, "too many active flows"));
    CU_ASSERT(second.seen.closed);
    finish(&v);
}

static void the_virtual_address_is_a_resolver_of_this_machine(void)
{
    struct visit v = { .rig = rig_new() };
    char to[32];
    snprintf(to, sizeof(to), "127.0.0.1:%u", v.rig->port);
    struct cv_str resolver = cv_str_of(to);
    v.rig->conf.private_network = true;
    v.rig->conf.dns_resolvers = (struct cv_list){ &resolver, 1 };
    flow(&v, "[2606:4700:cf1:2000:0::1]:53");
    v.fd = rig_accept(v.rig);
    rig_turn(v.rig);
    CU_ASSERT_EQUAL(v.seen.status, 200);
    cv_pipe_write(v.req->up, "ask\n", 4);
    CU_ASSERT_STRING_EQUAL(rig_hear(v.rig, v.fd, "\n"), "ask\n");
    finish(&v);
}

static void finds_the_first_server_of_resolv_conf(void)
{
    static const struct {
        const char *text, *server;
    } cases[] = { { "search a\n# nameserver 192.0.2.9\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n",
                    "192.0.2.1" },
                  { "nameserver\t2001:db8::1 # x\n", "2001:db8::1" },
                  { "", "127.0.0.1" } };
    char file[] = "/tmp/culvert-resolv-XXXXXX", found[ORIGIN_RESOLVER_SIZE];
    int fd = mkstemp(file);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = strlen(cases[i].text);
        CU_ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, cases[i].text, n, 0) == (ssize_t)n);
        origin_find_resolver(found, file);
        CU_ASSERT_STRING_EQUAL(found, cases[i].server);
    }
    close(fd);
    unlink(file);
    origin_find_resolver(found, file);
    CU_ASSERT_STRING_EQUAL(found, "127.0.0.1");
    struct cv_target other = { .host = CV_STR("2606:4700:cf1:2000::1"), .port = 54 },
                     one = { .host = CV_STR("2606:4700:0cf1:2000::0001"), .port = 53 };
    CU_ASSERT_FALSE(origin_is_virtual_dns(&other));
    CU_ASSERT_TRUE(origin_is_virtual_dns(&one));
}

SUITE(origin_stream, TEST(pings_as_often_as_the_option_says), TEST(socks_speaks_ipv6),
      TEST(socks_tells_why_there_is_no_connection), TEST(the_virtual_address_is_a_resolver_of_this_machine),
      TEST(finds_the_first_server_of_resolv_conf), TEST(carries_bytes_both_ways),
      TEST(delivers_a_long_message_whole), TEST(waits_for_a_slow_visitor),
      TEST(without_a_key_there_are_no_headers), TEST(passes_on_the_end_of_the_origin),
      TEST(half_closes_and_hears_the_rest), TEST(does_not_linger_for_ever),
      TEST(cuts_a_client_that_breaks_the_rules), TEST(tells_why_there_is_no_connection),
      TEST(bastion_goes_where_the_client_says), TEST(bastion_needs_a_destination),
      TEST(socks_connects_where_the_policy_lets_it), TEST(socks_refuses_what_the_policy_does_not_name),
      TEST(socks_of_a_rule_goes_to_the_rule), TEST(carries_private_streams_when_told_to),
      TEST(wants_an_address_and_counts_the_flows));
