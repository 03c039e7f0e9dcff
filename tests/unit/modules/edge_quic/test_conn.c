/* test_conn.c: connections to an edge in the same process: shaken hands on, closed, lost, refused. */
#include "bench.h"
#include "pki.h"
#include "suite.h"

#include <openssl/rand.h>
#include <string.h>
#include <unistd.h>

static void says_the_transport_parameters_that_the_edge_expects(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    const ngtcp2_transport_params *p = &b->peer->params;
    CU_ASSERT_EQUAL(p->max_idle_timeout, 5 * NGTCP2_SECONDS);
    CU_ASSERT_EQUAL(p->initial_max_data, 786432);
    CU_ASSERT_EQUAL(p->initial_max_stream_data_bidi_local, 524288);
    CU_ASSERT_EQUAL(p->initial_max_stream_data_bidi_remote, 524288);
    CU_ASSERT_EQUAL(p->initial_max_stream_data_uni, 524288);
    CU_ASSERT_EQUAL(p->initial_max_streams_bidi, UINT64_C(1) << 60);
    CU_ASSERT_EQUAL(p->initial_max_streams_uni, UINT64_C(1) << 60);
    CU_ASSERT_EQUAL(p->max_datagram_frame_size, 16383);
    CU_ASSERT_EQUAL(p->max_udp_payload_size, 1452);
    CU_ASSERT_EQUAL(p->ack_delay_exponent, 3);
    CU_ASSERT_EQUAL(p->max_ack_delay, 26 * NGTCP2_MILLISECONDS);
    CU_ASSERT_EQUAL(p->active_connection_id_limit, 4);
    CU_ASSERT_EQUAL(p->initial_scid.datalen, 0);
    CU_ASSERT_TRUE(b->peer->first_packet >= 1200);
    bench_free(b);
}

static void offers_the_groups_and_the_protocol_name_of_the_edge(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    const unsigned char *alpn;
    unsigned n;
    SSL_get0_alpn_selected(b->peer->ssl, &alpn, &n);
    CU_ASSERT_TRUE(n == 10 && memcmp(alpn, "argotunnel", 10) == 0);
    CU_ASSERT_STRING_EQUAL(SSL_get_servername(b->peer->ssl, TLSEXT_NAMETYPE_host_name), "quic.cftunnel.com");
    CU_ASSERT_STRING_EQUAL(SSL_get0_group_name(b->peer->ssl), "X25519MLKEM768");
    bench_free(b);
}

static void opens_the_control_stream_first_and_carries_its_bytes(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    CU_ASSERT_EQUAL(b->control->type, CV_CONTROL);
    cv_pipe_write(b->control->req->down, "rpc bytes", 9);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, peer_stream(b->peer, 0) && peer_stream(b->peer, 0)->n_in == 9));
    CU_ASSERT_EQUAL(memcmp(peer_stream(b->peer, 0)->in.p, "rpc bytes", 9), 0);
    peer_write(b->peer, 0, "answer", 6, false);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->control->n_body == 6));
    CU_ASSERT_EQUAL(memcmp(b->control->body.p, "answer", 6), 0);
    bench_free(b);
}

static void waits_for_an_edge_that_allows_no_stream_yet(void)
{
    struct bench *b = bench_new();
    b->peer->streams_bidi = 0;
    bench_dial(b);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->up));
    bench_for(b, 50);
    CU_ASSERT_PTR_NULL(b->control);
    ngtcp2_conn_extend_max_streams_bidi(b->peer->quic, 1);
    peer_datagram(b->peer, "x", 1); /* has its frames written, too */
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->control != NULL));
    bench_free(b);
}

static void closes_with_application_error_0_once_all_is_acknowledged(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    cv_pipe_write(b->control->req->down, "last words", 10);
    conn_close(1);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down && b->peer->drained));
    CU_ASSERT_EQUAL(b->why, CV_OK);
    CU_ASSERT_EQUAL(b->peer->closed.type, NGTCP2_CCERR_TYPE_APPLICATION);
    CU_ASSERT_EQUAL(b->peer->closed.error_code, 0);
    CU_ASSERT_EQUAL(b->peer->closed.reasonlen, 0);
    CU_ASSERT_EQUAL(peer_stream(b->peer, 0)->n_in, 10);
    bench_free(b);
}

static void closes_soon_although_the_edge_acknowledges_nothing(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    b->peer->silent = true;
    cv_pipe_write(b->control->req->down, "last words", 10);
    bench_for(b, 20);
    uint64_t began = quic_now();
    conn_close(1);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_TRUE(quic_now() - began < 3 * NGTCP2_SECONDS);
    CU_ASSERT_EQUAL(b->why, CV_OK);
    bench_free(b);
}

struct ending {
    bool application;
    uint64_t code;
    const char *reason;
    enum cv_error why;
    const char *text;
};

static void tells_why_the_edge_closed(void)
{
    static const struct ending cases[] = {
        { true, 0, "", CV_E_CANCEL, "Application error 0x0 (remote)" },
        { true, 7, "go away", CV_E_CANCEL, "Application error 0x7 (remote): go away" },
        { false, 0x0a, "odd frame", CV_E_CANCEL, "PROTOCOL_VIOLATION 0xa (remote): odd frame" },
        { false, 0x12a, "", CV_E_TLS, "CRYPTO_ERROR 0x12a (remote): bad certificate" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct ending *e = &cases[i];
        struct bench *b = bench_new();
        CU_ASSERT_TRUE_FATAL(bench_connect(b));
        peer_close(b->peer, e->application, e->code, e->reason);
        CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
        CU_ASSERT_EQUAL(b->why, e->why);
        CU_ASSERT_PTR_NOT_NULL(
            strstr(b->text, "accept stream listener encountered a failure while serving: "));
        CU_ASSERT_PTR_NOT_NULL(strstr(b->text, e->text));
        CU_ASSERT_TRUE(b->control->closed);
        bench_free(b);
    }
}

static void a_silent_edge_is_lost_after_the_idle_timeout(void)
{
    struct bench *b = bench_new();
    b->conf.idle_timeout.ms = 400;
    b->conf.keep_alive.ms = 100;
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    bench_for(b, 600); /* keep-alive keeps it */
    CU_ASSERT_FALSE(b->down);
    b->peer->silent = true;
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_EQUAL(b->why, CV_E_TIMEOUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(b->text, "timeout: no recent network activity"));
    bench_free(b);
}

static void a_dial_that_hears_nothing_fails_in_time(void)
{
    struct bench *b = bench_new();
    b->conf.handshake_timeout.ms = 300;
    b->peer->silent = true;
    uint64_t began = quic_now();
    bench_dial(b);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_TRUE(quic_now() - began > 250 * NGTCP2_MILLISECONDS);
    CU_ASSERT_EQUAL(b->why, CV_E_TIMEOUT);
    CU_ASSERT_STRING_EQUAL(b->text, "failed to dial to edge with quic: timeout: no recent network activity");
    bench_free(b);
}

static void a_port_where_nothing_listens_fails_at_once(void)
{
    struct bench *b = bench_new();
    event_del(&b->peer->readable);
    close(b->peer->fd);
    b->peer->fd = socket(AF_INET, SOCK_DGRAM, 0);
    uint64_t began = quic_now();
    bench_dial(b);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_TRUE(quic_now() - began < 2 * NGTCP2_SECONDS);
    CU_ASSERT_EQUAL(b->why, CV_E_REFUSED);
    CU_ASSERT_STRING_EQUAL(b->text, "failed to dial to edge with quic: Connection refused");
    bench_free(b);
}

static void an_edge_whose_port_stays_closed_is_lost_before_the_idle_timeout(void)
{
    struct bench *b = bench_new();
    b->conf.keep_alive.ms = 100;
    b->conf.idle_timeout.ms = 30000;
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    event_del(&b->peer->readable);
    event_del(&b->peer->timer);
    close(b->peer->fd);
    b->peer->fd = socket(AF_INET, SOCK_DGRAM, 0);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_EQUAL(b->why, CV_E_REFUSED);
    CU_ASSERT_STRING_EQUAL(b->text,
                           "accept stream listener encountered a failure while serving: Connection refused");
    bench_free(b);
}

static void an_edge_with_a_foreign_certificate_or_name_is_refused(void)
{
    static const struct {
        const char *name;
        enum pki_fault fault;
        const char *text;
    } cases[] = {
        { "other.example.com", PKI_GOOD, "hostname mismatch" },
        { "quic.cftunnel.com", PKI_FOREIGN, "not accepted" },
        { "quic.cftunnel.com", PKI_EXPIRED, "expired" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench *b = bench_new();
        SSL_CTX *bad = pki_server(b->pki, cases[i].name, cases[i].fault);
        b->peer->tls = bad;
        bench_dial(b);
        CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
        CU_ASSERT_FALSE(b->up);
        CU_ASSERT_EQUAL(b->why, CV_E_TLS);
        CU_ASSERT_PTR_NOT_NULL(strstr(b->text, "failed to dial to edge with quic: "));
        CU_ASSERT_PTR_NOT_NULL(strstr(b->text, cases[i].text));
        bench_free(b);
        SSL_CTX_free(bad);
    }
}

static void an_edge_of_another_version_is_refused(void)
{
    struct bench *b = bench_new();
    b->peer->silent = true;
    bench_dial(b);
    CU_ASSERT_TRUE_FATAL(BENCH_UNTIL(b, b->peer->packets > 0));
    uint8_t packet[256];
    const uint32_t versions[] = { 0x0a0a0a0a, 0xff00001d };
    ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(
        packet, sizeof packet, 0x55, NULL, 0, b->peer->first_id.data, b->peer->first_id.datalen, versions, 2);
    CU_ASSERT_TRUE_FATAL(n > 0);
    peer_raw(b->peer, packet, (size_t)n);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_EQUAL(b->why, CV_E_PROTO);
    CU_ASSERT_STRING_EQUAL(b->text,
                           "failed to dial to edge with quic: the edge does not speak QUIC version 1");
    bench_free(b);
}

static void a_stateless_reset_ends_the_connection(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    bench_for(b, 30);
    uint8_t packet[64];
    RAND_bytes(packet, sizeof packet);
    packet[0] = 0x40 | (packet[0] & 0x3f);
    memset(packet + sizeof packet - 16, 0x5a, 16);
    peer_raw(b->peer, packet, sizeof packet);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_PTR_NOT_NULL(strstr(b->text, "received a stateless reset"));
    bench_free(b);
}

static void goes_on_after_the_edge_updates_its_keys(void)
{
    struct bench *b = bench_new();
    b->answers = true;
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    for (int i = 0; i < 3; i++) {
        int64_t id = bench_get(b);
        CU_ASSERT_TRUE(BENCH_UNTIL(b, peer_stream(b->peer, id)->fin));
        bench_for(b, 50); /* a new update has to wait for the last one */
        peer_update_key(b->peer);
    }
    int64_t id = bench_get(b);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, peer_stream(b->peer, id)->fin));
    CU_ASSERT_FALSE(b->down);
    bench_free(b);
}

static void counts_and_drops_datagrams(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(BENCH_UNTIL(b, peer_datagram(b->peer, "ip packet", 9)));
    CU_ASSERT_TRUE(BENCH_UNTIL(b, bench_conn(b)->stats.received[QF_DATAGRAM] == 3));
    conn_close(1);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    CU_ASSERT_EQUAL(bench_metric("culvert_quic_dropped_datagrams_total", NULL), 3);
    CU_ASSERT_EQUAL(bench_metric("quic_client_total_connections", NULL), 1);
    CU_ASSERT_EQUAL(bench_metric("quic_client_closed_connections", NULL), 1);
    CU_ASSERT_TRUE(bench_metric("quic_client_receive_bytes", "0") > 1000);
    CU_ASSERT_EQUAL(bench_metric("quic_client_max_udp_payload", "0"), 65527);
    bench_free(b);
}

static void comes_from_the_same_port_again(void)
{
    struct bench *b = bench_new();
    CU_ASSERT_TRUE_FATAL(bench_connect(b));
    struct quic_worker *worker = b->selfs[0].local;
    uint16_t port = worker->port[0];
    CU_ASSERT_NOT_EQUAL(port, 0);
    struct quic_endpoint e;
    struct sockaddr_storage local = { 0 };
    uint16_t again = port;
    CU_ASSERT_EQUAL(quic_endpoint_open(&e, &b->selfs[0], &b->peer->addr, &local, &again, NULL), CV_OK);
    CU_ASSERT_NOT_EQUAL(again, port); /* taken: another one, which is remembered */
    quic_endpoint_close(&e);
    conn_close(1);
    CU_ASSERT_TRUE(BENCH_UNTIL(b, b->down));
    again = port;
    local = (struct sockaddr_storage){ 0 };
    CU_ASSERT_EQUAL(quic_endpoint_open(&e, &b->selfs[0], &b->peer->addr, &local, &again, NULL), CV_OK);
    CU_ASSERT_EQUAL(again, port);
    quic_endpoint_close(&e);
    bench_free(b);
}

SUITE(quic_conn, TEST(says_the_transport_parameters_that_the_edge_expects),
      TEST(offers_the_groups_and_the_protocol_name_of_the_edge),
      TEST(opens_the_control_stream_first_and_carries_its_bytes),
      TEST(waits_for_an_edge_that_allows_no_stream_yet),
      TEST(closes_with_application_error_0_once_all_is_acknowledged),
      TEST(closes_soon_although_the_edge_acknowledges_nothing), TEST(tells_why_the_edge_closed),
      TEST(a_silent_edge_is_lost_after_the_idle_timeout), TEST(a_dial_that_hears_nothing_fails_in_time),
      TEST(a_port_where_nothing_listens_fails_at_once),
      TEST(an_edge_whose_port_stays_closed_is_lost_before_the_idle_timeout),
      TEST(an_edge_with_a_foreign_certificate_or_name_is_refused),
      TEST(an_edge_of_another_version_is_refused), TEST(a_stateless_reset_ends_the_connection),
      TEST(goes_on_after_the_edge_updates_its_keys), TEST(counts_and_drops_datagrams),
      TEST(comes_from_the_same_port_again));
