/* dial.c: a QUIC connection from nothing: settings, TLS, what ngtcp2 tells of it; and its very end. */
#include "quic.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MAX_ACK_DELAY_MS = 26, DESTINATION_ID = 16 };
#define SERVER_NAME "quic.cftunnel.com"
#define ALPN        "argotunnel"
#define STREAMS_MAX (UINT64_C(1) << 60)

/* ---- what ngtcp2 tells ------------------------------------------------------------------------------- */

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct quic_conn *)ref->user_data)->quic;
}

static void random_bytes(uint8_t *p, size_t n, const ngtcp2_rand_ctx *unused)
{
    (void)unused;
    CV_ASSERT(RAND_bytes(p, (int)n) == 1);
}

static int new_connection_id(ngtcp2_conn *quic, ngtcp2_cid *cid, ngtcp2_stateless_reset_token *token,
                             size_t n, void *user)
{
    (void)quic, (void)user;
    random_bytes(cid->data, n, NULL);
    cid->datalen = n;
    random_bytes(token->data, sizeof token->data, NULL);
    return 0;
}

static int on_handshake_completed(ngtcp2_conn *quic, void *user)
{
    (void)quic;
    ((struct quic_conn *)user)->handshaken = true;
    return 0;
}

static int on_stateless_reset(ngtcp2_conn *quic, const ngtcp2_pkt_stateless_reset2 *reset, void *user)
{
    (void)quic, (void)reset;
    ((struct quic_conn *)user)->reset = true;
    return 0;
}

static int on_stream_open(ngtcp2_conn *quic, int64_t id, void *user)
{
    struct quic_conn *c = user;
    if (ngtcp2_is_bidi_stream(id))
        return ngtcp2_conn_set_stream_user_data(quic, id, quic_stream_open(c, id))
                   ? NGTCP2_ERR_CALLBACK_FAILURE
                   : 0;
    c->stats.refused[QR_UNIDIRECTIONAL]++;
    return ngtcp2_conn_shutdown_stream_read(quic, 0, id, 0) ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_stream_data(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *p,
                          size_t n, void *user, void *stream)
{
    (void)offset;
    ((struct quic_conn *)user)->stats.received[QF_STREAM]++;
    if (stream) {
        quic_stream_data(stream, p, n, flags & NGTCP2_STREAM_DATA_FLAG_FIN);
    } else {
        ngtcp2_conn_extend_max_stream_offset(quic, id, n);
        ngtcp2_conn_extend_max_offset(quic, n);
    }
    return 0;
}

static int on_stream_acked(ngtcp2_conn *quic, int64_t id, uint64_t offset, uint64_t n, void *user,
                           void *stream)
{
    (void)quic, (void)id, (void)offset, (void)user;
    if (stream)
        quic_stream_acked(stream, n);
    return 0;
}

static int on_stream_reset(ngtcp2_conn *quic, int64_t id, uint64_t final_size, uint64_t code, void *user,
                           void *stream)
{
    (void)quic, (void)id, (void)final_size;
    ((struct quic_conn *)user)->stats.received[QF_RESET_STREAM]++;
    if (stream)
        quic_stream_reset(stream, code);
    return 0;
}

static int on_stream_close(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t code, void *user,
                           void *stream)
{
    (void)quic, (void)flags, (void)id, (void)code, (void)user;
    if (stream)
        quic_stream_closed(stream);
    return 0;
}

static int on_stream_window(ngtcp2_conn *quic, int64_t id, uint64_t max, void *user, void *stream)
{
    (void)quic, (void)id, (void)max, (void)user;
    if (stream)
        quic_stream_queue(stream);
    return 0;
}

static int on_quic_datagram(ngtcp2_conn *quic, uint32_t flags, const uint8_t *p, size_t n, void *user)
{
    (void)quic, (void)flags, (void)p, (void)n;
    ((struct quic_conn *)user)->stats.received[QF_DATAGRAM]++;
    return 0;
}

static const ngtcp2_callbacks callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .update_key = ngtcp2_crypto_update_key_cb,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .get_path_challenge_data2 = ngtcp2_crypto_get_path_challenge_data2_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .rand = random_bytes,
    .get_new_connection_id2 = new_connection_id,
    .handshake_completed = on_handshake_completed,
    .recv_stateless_reset2 = on_stateless_reset,
    .stream_open = on_stream_open,
    .recv_stream_data = on_stream_data,
    .acked_stream_data_offset = on_stream_acked,
    .stream_reset = on_stream_reset,
    .stream_close = on_stream_close,
    .extend_max_stream_data = on_stream_window,
    .recv_datagram = on_quic_datagram,
};

/* ---- making it --------------------------------------------------------------------------------------- */

static uint64_t at_most(uint64_t n, uint64_t max)
{
    return n < max ? n : max;
}

static void fill_settings(const struct quic_conf *conf, ngtcp2_settings *s, uint64_t now)
{
    static const uint16_t probes[] = { QUIC_PACKET, 1392, 1332, 1252 };
    ngtcp2_settings_default(s);
    s->initial_ts = now;
    s->initial_rtt =
        100 * QUIC_MS; /* anycast: the edge is near, and a lost first packet is noticed in 300 ms */
    s->cc_algo = conf->congestion_control ? NGTCP2_CC_ALGO_BBR : NGTCP2_CC_ALGO_CUBIC;
    s->max_tx_udp_payload_size = QUIC_PACKET;
    s->handshake_timeout = 2 * (uint64_t)conf->handshake_timeout.ms * QUIC_MS;
    s->max_window = conf->conn_window.n / 2; /* the other half: quic_stream_took() */
    s->max_stream_window = conf->stream_window.n;
    s->no_pmtud = conf->disable_pmtu_discovery;
    s->pmtud_probes = probes;
    s->pmtud_probeslen = sizeof probes / sizeof probes[0];
}

/* docs/protocol.md §12.1 */
static void fill_params(const struct quic_conf *conf, ngtcp2_transport_params *p)
{
    uint64_t stream = at_most(QUIC_INITIAL_STREAM, conf->stream_window.n);
    ngtcp2_transport_params_default(p);
    p->max_idle_timeout = (uint64_t)conf->idle_timeout.ms * QUIC_MS;
    p->initial_max_data = at_most(QUIC_INITIAL_CONN, conf->conn_window.n);
    p->initial_max_stream_data_bidi_local = stream;
    p->initial_max_stream_data_bidi_remote = stream;
    p->initial_max_stream_data_uni = stream;
    p->initial_max_streams_bidi = STREAMS_MAX;
    p->initial_max_streams_uni = STREAMS_MAX;
    p->max_datagram_frame_size = 16383;
    p->max_udp_payload_size = QUIC_PACKET;
    p->max_ack_delay = MAX_ACK_DELAY_MS * QUIC_MS;
    p->active_connection_id_limit = 4;
}

void quic_fill_path(const struct quic_conn *c, ngtcp2_path *path)
{
    *path = (ngtcp2_path){
        .local = { (ngtcp2_sockaddr *)&c->pub->local, quic_addr_len(&c->pub->local) },
        .remote = { (ngtcp2_sockaddr *)&c->pub->addr, quic_addr_len(&c->pub->addr) },
    };
}

static bool make_tls(struct quic_conn *c)
{
    c->ssl = cv_edge_ssl(c->self, SERVER_NAME, ALPN, CV_TLS13);
    c->ref = (ngtcp2_crypto_conn_ref){ .get_conn = conn_of_ref, .user_data = c };
    SSL_set_app_data(c->ssl, &c->ref);
    SSL_set_connect_state(c->ssl);
    return ngtcp2_crypto_ossl_ctx_new(&c->crypto, c->ssl) == 0 &&
           ngtcp2_crypto_ossl_configure_client_session(c->ssl) == 0;
}

static bool make_quic(struct quic_conn *c)
{
    enum { DCID = 16 };
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_path path;
    ngtcp2_cid destination, source;
    uint8_t random[DCID];
    fill_settings(quic_conf_of(c), &settings, c->heard);
    fill_params(quic_conf_of(c), &params);
    quic_fill_path(c, &path);
    random_bytes(random, sizeof random, NULL);
    ngtcp2_cid_init(&destination, random, sizeof random);
    ngtcp2_cid_init(&source, NULL, 0);
    if (ngtcp2_conn_client_new(&c->quic, &destination, &source, &path, NGTCP2_PROTO_VER_V1, &callbacks,
                               &settings, &params, NULL, c) != 0)
        return false;
    ngtcp2_conn_set_tls_native_handle(c->quic, c->crypto);
    ngtcp2_conn_set_keep_alive_timeout(c->quic, (uint64_t)quic_conf_of(c)->keep_alive.ms * QUIC_MS);
    return true;
}

static void free_conn(struct quic_conn *c)
{
    quic_streams_free(c);
    if (c->ssl)
        SSL_set_app_data(c->ssl, NULL);
    ngtcp2_conn_del(c->quic);
    ngtcp2_crypto_ossl_ctx_del(c->crypto);
    SSL_free(c->ssl);
    quic_endpoint_close(&c->endpoint);
    if (c->pacer_fd >= 0)
        close(c->pacer_fd);
    free(c);
}

enum cv_error quic_dial(const struct cv_self *self, struct cv_conn *pub, struct cv_err *err)
{
    struct quic_worker *worker = self->local;
    struct quic_conn *c = cv_xcalloc(1, sizeof *c);
    *c = (struct quic_conn){
        .pub = pub, .self = self, .heard = quic_now(), .armed = QUIC_NEVER, .close_by = QUIC_NEVER
    };
    c->pacer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    TAILQ_INIT(&c->all);
    TAILQ_INIT(&c->writable_streams);
    TAILQ_INIT(&c->headless);

    struct cv_err cause;
    uint16_t no_port = 0, *port = pub->index < QUIC_PORTS ? &worker->port[pub->index] : &no_port;
    enum cv_error e = quic_endpoint_open(&c->endpoint, self, &pub->addr, &pub->local, port, &cause);
    if (!e && c->pacer_fd < 0)
        e = cv_fail(&cause, CV_E_IO, "make a timer: %m");
    if (!e && !(make_tls(c) && make_quic(c)))
        e = cv_fail(&cause, CV_E_TLS, "QUIC cannot be set up with this OpenSSL");
    if (e) {
        free_conn(c);
        return cv_fail(err, e, "failed to dial to edge with quic: %s", cause.text);
    }
    pub->edge = c;
    quic_stats_dial(c);
    quic_watch(c);
    quic_flush_later(c);
    return CV_OK;
}

void quic_gone(const struct cv_self *self, struct cv_conn *pub)
{
    (void)self;
    free_conn(pub->edge);
    pub->edge = NULL;
}
