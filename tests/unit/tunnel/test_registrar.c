/* test_registrar.c: Cloudflare's own streams against the golden vectors, byte for byte, and against edges that fail. */
#include "harness.h"
#include "suite.h"
#include "tunnel/registrar.h"
#include "tunnel/tunnel.h"
#include "vectors.h"

#include <arpa/inet.h>
#include <string.h>

/* ---- a worker with the registrar as its origin, and one connection ---------------------------------------- */

static struct rig {
    struct harness *h;
    struct cv_instance instance;
    struct cv_self self;
    struct connection conn;
    struct credentials credentials;
    struct cv_req *req;
    struct cv_buf sent; /* by us */
    struct conn_report reports[8];
    size_t n;
    struct cv_str content_type; /* of the head that the edge was given */
} rig;

static const uint8_t tunnel_id[16] = { 0xf4, 0x7a, 0xc1, 0x0b, 0x58, 0xcc, 0x43, 0x72,
                                       0xa5, 0x67, 0x0e, 0x02, 0xb2, 0xc3, 0xd4, 0x79 };
static const uint8_t client_id[16] = { 0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x41, 0xd1,
                                       0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8 };
static uint8_t secret[32];
static const struct cv_str features[] = { CV_STR("allow_remote_config"),  CV_STR("serialized_headers"),
                                          CV_STR("support_datagram_v2"),  CV_STR("support_quic_eof"),
                                          CV_STR("management_logs"),      CV_STR("postquantum"),
                                          CV_STR("support_datagram_v3_2") };

static void on_report(const struct conn_report *r)
{
    CV_ASSERT(rig.n < sizeof(rig.reports) / sizeof(rig.reports[0]));
    rig.reports[rig.n++] = *r;
}

static void set_ip(int family, const char *ip)
{
    struct sockaddr_storage *a = &rig.conn.base.pub.local;
    a->ss_family = (sa_family_t)family;
    inet_pton(family, ip,
              family == AF_INET ? (void *)&((struct sockaddr_in *)a)->sin_addr
                                : (void *)&((struct sockaddr_in6 *)a)->sin6_addr);
}

static void begin(int64_t rpc_timeout_ms)
{
    memset(&rig, 0, sizeof(rig));
    for (size_t i = 0; i < sizeof(secret); i++)
        secret[i] = (uint8_t)i;
    rig.h = harness_new(0);
    rig.instance = (struct cv_instance){ .module = &cv_module_registrar, .name = "registrar", .id = 1 };
    rig.self = (struct cv_self){ .worker = rig.h->worker, .instance = &rig.instance };
    rig.h->origins[0] = &rig.self;
    registrar_conf = (struct registrar_conf){ rig.h->worker, { rpc_timeout_ms }, 1 << 20 };
    conns_setup(rig.h->worker, on_report);
    orchestrator_setup(rig.h->worker, &rig.h->worker, 1);
    rig.credentials = (struct credentials){
        .refs = 1,
        .features = { features, 5 },
        .arch = "linux_amd64",
        .token = { .account_tag = (char *)"0123456789abcdef0123456789abcdef",
                   .secret = { (char *)secret, 32 } },
    };
    memcpy(rig.credentials.token.id, tunnel_id, 16);
    memcpy(rig.credentials.client_id, client_id, 16);
    rig.conn = (struct connection){ .base = { .pub = { .magic = CONN_MAGIC } },
                                    .id = 77,
                                    .worker = rig.h->worker,
                                    .edge = &rig.h->selfs[0],
                                    .credentials = &rig.credentials };
    set_ip(AF_INET, "192.0.2.10");
}

/* What we wrote goes on record, as if the edge had taken it. */
static void turn(void)
{
    harness_turn(rig.h);
    struct iovec v;
    while (rig.req && cv_pipe_peek(rig.req->down, 0, &v, 1) == 1) {
        cv_buf_add(&rig.sent, v.iov_base, v.iov_len);
        cv_pipe_consume(rig.req->down, v.iov_len);
        harness_turn(rig.h);
    }
}

static void end(void)
{
    if (rig.req)
        cv_req_done(rig.req);
    harness_turn(rig.h);
    orchestrator_free();
    harness_turn(rig.h);
    cv_buf_free(&rig.sent);
    harness_free(rig.h);
}

static void open_stream(enum cv_req_type type)
{
    rig.req = cv_req_new(&rig.h->selfs[0], &rig.conn.base.pub, type);
    cv_req_start(rig.req);
    turn();
}

static void receive(const void *p, size_t n)
{
    CU_ASSERT_EQUAL(cv_pipe_write(rig.req->up, p, n), n);
    turn();
}

static void receive_vector(const char *name)
{
    struct cv_buf b = vector_bytes(name);
    receive(b.p, b.n);
    cv_buf_free(&b);
}

/* All that was sent since the beginning are these messages. */
static void sent_exactly(const char *kase, const char *const *messages, size_t n)
{
    struct cv_buf want = { 0 };
    for (size_t i = 0; i < n; i++) {
        char name[80];
        snprintf(name, sizeof(name), "rpc/%s-%s", kase, messages[i]);
        struct cv_buf b = vector_bytes(name);
        cv_buf_add(&want, b.p, b.n);
        cv_buf_free(&b);
    }
    CU_ASSERT(vector_same((struct cv_str){ (char *)rig.sent.p, rig.sent.n },
                          (struct cv_str){ (char *)want.p, want.n }));
    cv_buf_free(&want);
}
#define SENT(kase, ...)                                                                                      \
    sent_exactly(kase, (const char *const[]){ __VA_ARGS__ },                                                 \
                 sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* ---- registration ---------------------------------------------------------------------------------------- */

static void registers_and_unregisters_as_recorded(void)
{
    begin(5000);
    open_stream(CV_CONTROL);
    CU_ASSERT_EQUAL(rig.req->status, 200);
    SENT("reg-ok-remote", "c0-bootstrap", "c1-call");
    receive_vector("rpc/reg-ok-remote-s0-return");
    receive_vector("rpc/reg-ok-remote-s1-return");
    CU_ASSERT_EQUAL_FATAL(rig.n, 1);
    CU_ASSERT_EQUAL(rig.reports[0].what, CONN_REGISTERED);
    CU_ASSERT_EQUAL(rig.reports[0].id, 77);
    CU_ASSERT_STRING_EQUAL(rig.reports[0].location, "dfw08");
    CU_ASSERT_EQUAL(rig.reports[0].uuid[15], 0x55);
    control_unregister(&rig.conn, (struct cv_ms){ 5000 });
    turn();
    receive_vector("rpc/reg-ok-remote-s2-return");
    CU_ASSERT_EQUAL_FATAL(rig.n, 2);
    CU_ASSERT_EQUAL(rig.reports[1].what, CONN_UNREGISTERED);
    CU_ASSERT_EQUAL(rig.reports[1].error, CV_OK);
    SENT("reg-ok-remote", "c0-bootstrap", "c1-call", "c2-finish", "c3-finish", "c4-call", "c5-finish",
         "c6-release", "c7-abort");
    CU_ASSERT(cv_pipe_finished(rig.req->down));
    end();
}

static void tells_its_own_rules_when_they_are_managed_here(void)
{
    begin(5000);
    yyjson_doc *doc = vector_json("rpc/reg-ok-local-c4-call");
    struct cv_str config = vector_str(yyjson_obj_get(yyjson_doc_get_root(doc), "params"), "config_utf8");
    char text[200];
    snprintf(text, sizeof(text), CV_STR_FMT, CV_STR_ARG(config));
    rig.credentials.local_config = text;
    rig.credentials.features.n = 7;
    rig.conn.previous_attempts = 2;
    set_ip(AF_INET6, "2001:db8::10");
    open_stream(CV_CONTROL);
    receive_vector("rpc/reg-ok-local-s0-return");
    receive_vector("rpc/reg-ok-local-s1-return");
    receive_vector("rpc/reg-ok-local-s2-return");
    control_unregister(&rig.conn, (struct cv_ms){ 5000 });
    turn();
    receive_vector("rpc/reg-ok-local-s3-return");
    SENT("reg-ok-local", "c0-bootstrap", "c1-call", "c2-finish", "c3-finish", "c4-call", "c5-finish",
         "c6-call", "c7-finish", "c8-release", "c9-abort");
    yyjson_doc_free(doc);
    end();
}

static void another_index_never_tells_rules(void)
{
    begin(5000);
    rig.conn.base.pub.index = 3;
    open_stream(CV_CONTROL);
    receive_vector("rpc/reg-ok-local-s0-return");
    size_t before = rig.sent.n;
    receive_vector("rpc/reg-ok-local-s1-return");
    CU_ASSERT_EQUAL(rig.reports[0].what, CONN_REGISTERED);
    CU_ASSERT_EQUAL(rig.sent.n - before, 40); /* a Finish */
    end();
}

static void a_refused_local_configuration_changes_nothing(void)
{
    begin(5000);
    rig.credentials.local_config = (char *)"{}";
    open_stream(CV_CONTROL);
    for (int i = 0; i < 3; i++) {
        char name[40];
        snprintf(name, sizeof(name), "rpc/reg-local-exc-s%d-return", i);
        receive_vector(name);
    }
    CU_ASSERT_EQUAL(rig.n, 1);
    CU_ASSERT(!cv_pipe_finished(rig.req->down));
    end();
}

static void reports_each_kind_of_refusal(void)
{
    static const struct {
        const char *kase, *text;
        bool should_retry;
        int64_t retry_after_ms;
    } cases[] = {
        { "reg-err-fatal", "Unauthorized: Invalid tunnel secret", false, 0 },
        { "reg-err-retry", "no capacity in this colo", true, 27000 },
        { "reg-err-dup", "EDUPCONN", false, 0 },
    };
    for (size_t i = 0; i < 3; i++) {
        char name[40];
        begin(5000);
        rig.conn.base.pub.index = 1;
        rig.conn.previous_attempts = i == 1;
        open_stream(CV_CONTROL);
        snprintf(name, sizeof(name), "rpc/%s-s0-return", cases[i].kase);
        receive_vector(name);
        snprintf(name, sizeof(name), "rpc/%s-s1-return", cases[i].kase);
        receive_vector(name);
        CU_ASSERT_EQUAL_FATAL(rig.n, 1);
        CU_ASSERT_EQUAL(rig.reports[0].what, CONN_REFUSED);
        CU_ASSERT(rig.reports[0].answered);
        CU_ASSERT_STRING_EQUAL(rig.reports[0].text, cases[i].text);
        CU_ASSERT_EQUAL(rig.reports[0].retry_after_ms, cases[i].retry_after_ms);
        if (i < 2)
            CU_ASSERT_EQUAL(rig.reports[0].should_retry, cases[i].should_retry);
        SENT(cases[i].kase, "c0-bootstrap", "c1-call", "c2-finish", "c3-finish", "c4-release", "c5-abort");
        CU_ASSERT(cv_pipe_finished(rig.req->down));
        end();
    }
}

static void reports_an_edge_that_keeps_silent(void)
{
    begin(20);
    open_stream(CV_CONTROL);
    for (int i = 0; i < 200 && rig.n == 0; i++)
        event_base_loop(rig.h->worker->base, EVLOOP_ONCE);
    turn();
    CU_ASSERT_EQUAL_FATAL(rig.n, 1);
    CU_ASSERT_EQUAL(rig.reports[0].what, CONN_REFUSED);
    CU_ASSERT(!rig.reports[0].answered);
    CU_ASSERT_STRING_EQUAL(rig.reports[0].text, "the edge did not answer the registration within 20 ms");
    CU_ASSERT(cv_pipe_finished(rig.req->down));
    end();
}

static void reports_a_stream_that_ends_before_the_answer(void)
{
    begin(5000);
    open_stream(CV_CONTROL);
    cv_pipe_finish(rig.req->up);
    turn();
    CU_ASSERT_EQUAL_FATAL(rig.n, 1);
    CU_ASSERT_EQUAL(rig.reports[0].what, CONN_REFUSED);
    CU_ASSERT(!rig.reports[0].answered);
    CU_ASSERT(cv_pipe_finished(rig.req->down));
    end();
}

static void garbage_on_the_control_stream_ends_it_alone(void)
{
    begin(5000);
    open_stream(CV_CONTROL);
    receive("\xff\xff\xff\xff\xff\xff\xff\xff garbage", 16);
    CU_ASSERT_EQUAL(rig.n, 1);
    CU_ASSERT(cv_pipe_finished(rig.req->down));
    CU_ASSERT_EQUAL(rig.req->error, CV_OK);
    end();
}

static void unregistering_without_a_control_stream_says_so(void)
{
    begin(5000);
    control_unregister(&rig.conn, (struct cv_ms){ 100 });
    turn();
    CU_ASSERT_EQUAL_FATAL(rig.n, 1);
    CU_ASSERT_EQUAL(rig.reports[0].what, CONN_UNREGISTERED);
    CU_ASSERT_NOT_EQUAL(rig.reports[0].error, CV_OK);
    end();
}

static void refuses_a_second_control_stream(void)
{
    begin(5000);
    open_stream(CV_CONTROL);
    struct cv_req *first = rig.req;
    open_stream(CV_CONTROL);
    CU_ASSERT_EQUAL(rig.req->error, CV_E_PROTO);
    CU_ASSERT_EQUAL(rig.req->status, 502);
    CU_ASSERT_EQUAL(first->error, CV_OK);
    cv_req_done(first);
    end();
}

static void a_cut_answer_is_read_in_pieces(void)
{
    begin(5000);
    open_stream(CV_CONTROL);
    struct cv_buf b = vector_bytes("rpc/reg-ok-remote-s0-return"),
                  c = vector_bytes("rpc/reg-ok-remote-s1-return");
    cv_buf_add(&b, c.p, c.n);
    for (size_t i = 0; i < b.n; i++)
        receive(b.p + i, 1);
    CU_ASSERT_EQUAL(rig.n, 1);
    CU_ASSERT_EQUAL(rig.reports[0].what, CONN_REGISTERED);
    cv_buf_free(&b);
    cv_buf_free(&c);
    end();
}

/* ---- configurations by RPC ------------------------------------------------------------------------------- */

static void edge_says(const char *kase)
{
    char name[60];
    snprintf(name, sizeof(name), "rpc/%s-c0-bootstrap", kase);
    receive_vector(name);
    snprintf(name, sizeof(name), "rpc/%s-c1-call", kase);
    receive_vector(name);
}

static void ignore(void *arg, const struct config_outcome *outcome)
{
    (void)arg;
    (void)outcome;
}

static void answers_configurations_by_rpc_as_recorded(void)
{
    static const char *const cases[] = { "cfd-update-ok", "cfd-update-old", "cfd-update-bad" };
    for (size_t i = 0; i < 3; i++) {
        begin(5000);
        if (i == 1) {
            orchestrator_update(TUNNEL_FIRST, 7, CV_STR("{}"), ignore, NULL);
            turn();
        }
        open_stream(CV_RPC);
        edge_says(cases[i]);
        SENT(cases[i], "s0-return", "s1-return");
        CU_ASSERT_EQUAL(orchestrator_version(), i < 2 ? 7 : -1);
        end();
    }
}

static void an_rpc_stream_ends_with_the_edges_abort(void)
{
    begin(5000);
    open_stream(CV_RPC);
    edge_says("cfd-update-ok");
    size_t before = rig.sent.n;
    receive_vector("rpc/cfd-update-ok-c2-finish");
    receive_vector("rpc/cfd-update-ok-c3-finish");
    receive_vector("rpc/cfd-update-ok-c4-release");
    receive_vector("rpc/cfd-update-ok-c5-abort");
    CU_ASSERT_EQUAL(rig.sent.n, before);
    CU_ASSERT(cv_pipe_finished(rig.req->down));
    end();
}

static void an_rpc_stream_does_not_live_for_ever(void)
{
    begin(20);
    open_stream(CV_RPC);
    for (int i = 0; i < 200 && !cv_pipe_finished(rig.req->down); i++)
        event_base_loop(rig.h->worker->base, EVLOOP_ONCE);
    CU_ASSERT(cv_pipe_finished(rig.req->down));
    turn();
    SENT("cfd-update-ok", "c5-abort");
    end();
}

static void refuses_udp_sessions(void)
{
    begin(5000);
    open_stream(CV_RPC);
    edge_says("cfd-udpreg-ok");
    CU_ASSERT_PTR_NOT_NULL(memmem(rig.sent.p, rig.sent.n, "does not carry UDP sessions", 27));
    end();
    begin(5000);
    open_stream(CV_RPC);
    edge_says("cfd-udpunreg-ok");
    CU_ASSERT_PTR_NOT_NULL(memmem(rig.sent.p, rig.sent.n, "does not carry UDP sessions", 27));
    end();
}

static void an_answer_to_a_stream_that_is_gone_is_dropped(void)
{
    begin(5000);
    open_stream(CV_RPC);
    struct cv_buf b = vector_bytes("rpc/cfd-update-ok-c1-call"),
                  a = vector_bytes("rpc/cfd-update-ok-c0-bootstrap");
    cv_pipe_write(rig.req->up, a.p, a.n);
    cv_pipe_write(rig.req->up, b.p, b.n);
    event_base_loop(rig.h->worker->base, EVLOOP_NONBLOCK);
    cv_req_done(rig.req);
    rig.req = NULL;
    turn();
    CU_ASSERT_EQUAL(orchestrator_version(), 7);
    cv_buf_free(&a);
    cv_buf_free(&b);
    end();
}

/* ---- configurations by request --------------------------------------------------------------------------- */

static void note_type(struct cv_req *req)
{
    rig.content_type = cv_header(req->resp_headers, CV_STR("content-type"));
}

static void answers_configurations_by_request(void)
{
    static const struct {
        const char *body, *answer; /* NULL: a failure */
    } cases[] = {
        { "{\"version\":3,\"config\":{\"ingress\":[{\"service\":\"http_status:404\"}]}}",
          "{\"lastAppliedVersion\":3,\"err\":null}" },
        { "{\"VERSION\":3,\"Config\":{}, \"more\":[1]} trailing", "{\"lastAppliedVersion\":3,\"err\":null}" },
        { "{\"version\":-1,\"config\":{}}", "{\"lastAppliedVersion\":-1,\"err\":null}" },
        { "{\"version\":1,\"config\":[]}", "{\"lastAppliedVersion\":-1,\"err\":{}}" },
        { "{\"version\":1}", "{\"lastAppliedVersion\":-1,\"err\":{}}" },
        { "{\"version\":1,\"config\":{\"ingress\":[{\"service\":\"http://[::1\"}]}}",
          "{\"lastAppliedVersion\":-1,\"err\":{}}" },
        { "{\"config\":{}}", "{\"lastAppliedVersion\":0,\"err\":null}" },
        { "", NULL },
        { "no json", NULL },
        { "{\"version\":\"x\",\"config\":{}}", NULL },
        { "{\"version\":2147483648,\"config\":{}}", NULL },
        { "{\"version\":1,\"config\":{", NULL },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(5000);
        rig.h->in_head = note_type;
        open_stream(CV_CONFIG);
        size_t half = strlen(cases[i].body) / 2;
        receive(cases[i].body, half);
        receive(cases[i].body + half, strlen(cases[i].body) - half);
        cv_pipe_finish(rig.req->up);
        turn();
        CU_ASSERT_EQUAL(rig.req->status, cases[i].answer ? 200 : 502);
        if (cases[i].answer) {
            CU_ASSERT(
                cv_str_eq((struct cv_str){ (char *)rig.sent.p, rig.sent.n }, cv_str_of(cases[i].answer)));
            CU_ASSERT(cv_str_eq(rig.content_type, CV_STR("text/plain; charset=utf-8")));
        }
        end();
    }
}

static void refuses_a_configuration_that_is_too_long(void)
{
    static char block[40000];
    begin(5000);
    registrar_conf.config_size = 1000;
    memset(block, ' ', sizeof(block));
    open_stream(CV_CONFIG);
    for (int i = 0; i < 3 && !rig.req->error; i++)
        receive(block, sizeof(block));
    CU_ASSERT_EQUAL(rig.req->error, CV_E_LIMIT);
    end();
}

SUITE(registrar, TEST(registers_and_unregisters_as_recorded),
      TEST(tells_its_own_rules_when_they_are_managed_here), TEST(another_index_never_tells_rules),
      TEST(a_refused_local_configuration_changes_nothing), TEST(reports_each_kind_of_refusal),
      TEST(reports_an_edge_that_keeps_silent), TEST(reports_a_stream_that_ends_before_the_answer),
      TEST(garbage_on_the_control_stream_ends_it_alone), TEST(unregistering_without_a_control_stream_says_so),
      TEST(refuses_a_second_control_stream), TEST(a_cut_answer_is_read_in_pieces),
      TEST(answers_configurations_by_rpc_as_recorded), TEST(an_rpc_stream_ends_with_the_edges_abort),
      TEST(an_rpc_stream_does_not_live_for_ever), TEST(refuses_udp_sessions),
      TEST(an_answer_to_a_stream_that_is_gone_is_dropped), TEST(answers_configurations_by_request),
      TEST(refuses_a_configuration_that_is_too_long));
