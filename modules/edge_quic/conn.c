/* conn.c: one QUIC connection: made, shaken hands on, driven by its socket and one timer, closed. */
#include "quic.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TICK_MS = 2000,
    CLOSE_MS = 500, /* how long close() waits for acknowledgements */
    MAX_ACK_DELAY_MS = 26,
};
#define SERVER_NAME "quic.cftunnel.com"
#define ALPN        "argotunnel"
#define STREAMS_MAX (UINT64_C(1) << 60)
#define MS          NGTCP2_MILLISECONDS
#define NEVER       UINT64_MAX

uint64_t quic_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NGTCP2_SECONDS + (uint64_t)t.tv_nsec;
}

static const struct quic_conf *conf_of(const struct quic_conn *c)
{
    return c->self->conf;
}

/* ---- the end of a connection ------------------------------------------------------------------------- */

/* No packet goes in or out any more. ngtcp2's side stays until gone(): requests still refer to their streams.
 */
static void silence(struct quic_conn *c)
{
    c->down = true;
    event_del(&c->readable);
    event_del(&c->writable);
    event_del(&c->timer);
    cv_timer_clear(&c->tick);
    cv_late_clear(c->self, &c->flush);
    quic_endpoint_close(&c->endpoint);
    quic_stats_down(c);
}

static void say_goodbye(struct quic_conn *c, const ngtcp2_ccerr *why)
{
    uint8_t packet[QUIC_PACKET];
    ngtcp2_ssize n =
        ngtcp2_conn_write_connection_close(c->quic, NULL, NULL, packet, sizeof packet, why, quic_now());
    if (n > 0)
        quic_endpoint_send(&c->endpoint, packet, (size_t)n, (size_t)n);
}

/* A failure before the handshake is one of dialling; the other text is what the original says afterwards. */
static void give_up(struct quic_conn *c, enum cv_error e, const char *cause)
{
    silence(c);
    cv_conn_down(c->pub, e, "%s: %s",
                 c->up ? "accept stream listener encountered a failure while serving"
                       : "failed to dial to edge with quic",
                 cause);
}

static const char *transport_error(uint64_t code)
{
    static const char *const names[] = {
        "NO_ERROR",
        "INTERNAL_ERROR",
        "CONNECTION_REFUSED",
        "FLOW_CONTROL_ERROR",
        "STREAM_LIMIT_ERROR",
        "STREAM_STATE_ERROR",
        "FINAL_SIZE_ERROR",
        "FRAME_ENCODING_ERROR",
        "TRANSPORT_PARAMETER_ERROR",
        "CONNECTION_ID_LIMIT_ERROR",
        "PROTOCOL_VIOLATION",
        "INVALID_TOKEN",
        "APPLICATION_ERROR",
        "CRYPTO_BUFFER_EXCEEDED",
        "KEY_UPDATE_ERROR",
        "AEAD_LIMIT_REACHED",
        "NO_VIABLE_PATH",
    };
    return code < sizeof names / sizeof names[0] ? names[code] : "transport error";
}

/* The edge closed the connection, in its own words. */
static enum cv_error peer_closed(struct quic_conn *c, struct cv_err *err)
{
    enum { CRYPTO_ERROR = 0x100, CRYPTO_ERROR_END = 0x200 };
    const ngtcp2_ccerr *why = ngtcp2_conn_get_ccerr(c->quic);
    struct cv_str reason = { (const char *)why->reason, why->reasonlen };
    const char *colon = reason.n ? ": " : "";
    unsigned long long code = why->error_code;
    quic_stats_error(c, "closed_by_edge");
    if (c->reset)
        return cv_fail(err, CV_E_CANCEL, "received a stateless reset");
    if (why->type == NGTCP2_CCERR_TYPE_APPLICATION)
        return cv_fail(err, CV_E_CANCEL, "Application error 0x%llx (remote)%s" CV_STR_FMT, code, colon,
                       CV_STR_ARG(reason));
    if (code >= CRYPTO_ERROR && code < CRYPTO_ERROR_END)
        return cv_fail(err, CV_E_TLS, "CRYPTO_ERROR 0x%llx (remote): %s%s" CV_STR_FMT, code,
                       SSL_alert_desc_string_long((int)(code - CRYPTO_ERROR)), colon, CV_STR_ARG(reason));
    return cv_fail(err, CV_E_CANCEL, "%s 0x%llx (remote)%s" CV_STR_FMT, transport_error(code), code, colon,
                   CV_STR_ARG(reason));
}

/* Why ngtcp2 gave up; *tell: the edge is told, too. */
static enum cv_error explain(struct quic_conn *c, int error, bool *tell, struct cv_err *err)
{
    *tell = false;
    switch (error) {
    case NGTCP2_ERR_DRAINING:
    case NGTCP2_ERR_CLOSING: return peer_closed(c, err);
    case NGTCP2_ERR_IDLE_CLOSE:
        quic_stats_error(c, "idle");
        return cv_fail(err, CV_E_TIMEOUT, "timeout: no recent network activity");
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
        quic_stats_error(c, "handshake");
        return cv_fail(err, CV_E_TIMEOUT, "timeout: handshake did not complete in time");
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
        quic_stats_error(c, "version");
        return cv_fail(err, CV_E_PROTO, "the edge does not speak QUIC version 1");
    case NGTCP2_ERR_CRYPTO:
        *tell = true;
        quic_stats_error(c, "tls");
        *err = cv_edge_ssl_error(c->ssl);
        return CV_E_TLS;
    default:
        *tell = true;
        quic_stats_error(c, "protocol");
        return cv_fail(err, CV_E_PROTO, "%s", ngtcp2_strerror(error));
    }
}

static void fail(struct quic_conn *c, int error)
{
    bool tell;
    struct cv_err err;
    enum cv_error e = explain(c, error, &tell, &err);
    if (tell) {
        ngtcp2_ccerr why;
        ngtcp2_ccerr_set_liberr(&why, error, NULL, 0);
        if (error == NGTCP2_ERR_CRYPTO)
            ngtcp2_ccerr_set_tls_alert(&why, ngtcp2_conn_get_tls_alert(c->quic), NULL, 0);
        say_goodbye(c, &why);
    }
    give_up(c, e, err.text);
}

/* What the kernel learnt about the peer. Once packets have come back this may be forged or pass; before, it
 * is the quickest answer there is. */
void quic_path_error(struct quic_conn *c, int error)
{
    if (c->heard_any)
        return;
    quic_stats_error(c, "path");
    give_up(c, error == ECONNREFUSED ? CV_E_REFUSED : CV_E_IO, strerror(error));
}

static void leave(struct quic_conn *c)
{
    ngtcp2_ccerr why;
    ngtcp2_ccerr_default(&why);
    ngtcp2_ccerr_set_application_error(&why, 0, NULL, 0);
    say_goodbye(c, &why);
    silence(c);
    cv_conn_down(c->pub, CV_OK, "closed");
}

/* ---- driving it -------------------------------------------------------------------------------------- */

static uint64_t handshake_deadline(const struct quic_conn *c)
{
    return c->handshaken ? NEVER : c->heard + (uint64_t)conf_of(c)->handshake_timeout.ms * MS;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A timer that fires too early only looks again, so it is moved when it would be too late, and left alone
 * else: the deadline changes with every packet. */
static void arm(struct quic_conn *c, uint64_t now, bool at_once)
{
    uint64_t at = earliest(ngtcp2_conn_get_expiry(c->quic), earliest(handshake_deadline(c), c->close_by));
    if (at_once)
        at = now;
    if (at >= c->armed)
        return;
    uint64_t us = at > now ? (at - now + 999) / 1000 : 0;
    event_add(&c->timer, &(struct timeval){ (time_t)(us / 1000000), (suseconds_t)(us % 1000000) });
    c->armed = at;
}

/* Only at the end of a turn: a request that failed during it has let go of bytes that ngtcp2 still points to,
 * until its closed() resets the stream. */
static void on_late(struct cv_late *late)
{
    struct quic_conn *c = CV_OWNER(late, struct quic_conn, flush);
    uint64_t now = quic_now();
    bool more = false;
    int error = c->endpoint.held ? 0 : quic_send(c, now, &more);
    if (c->down)
        return;
    if (error) {
        fail(c, error);
        return;
    }
    if (c->endpoint.held)
        event_add(&c->writable, NULL);
    if (c->close_by != NEVER && !c->in_flight && TAILQ_EMPTY(&c->writable_streams)) {
        leave(c);
        return;
    }
    arm(c, now, more);
}

void quic_flush_later(struct quic_conn *c)
{
    if (!c->down)
        cv_late(c->self, &c->flush);
}

/* The first stream is the control stream; the edge may be slow to allow one. */
static void open_control(struct quic_conn *c)
{
    int64_t id;
    if (ngtcp2_conn_open_bidi_stream(c->quic, &id, NULL) != 0)
        return;
    c->control = true;
    quic_stream_control(c, id);
}

static void on_tick(struct cv_timer *timer)
{
    struct quic_conn *c = CV_OWNER(timer, struct quic_conn, tick);
    quic_streams_tick(c);
    quic_stats_tick(c);
    cv_timer_set(c->self, &c->tick, (struct cv_ms){ TICK_MS });
}

static void go_up(struct quic_conn *c)
{
    c->up = true;
    quic_stats_up(c);
    cv_timer_set(c->self, &c->tick, (struct cv_ms){ TICK_MS });
    cv_conn_up(c->pub);
}

struct reading {
    struct quic_conn *c;
    uint64_t now;
};

static void fill_path(const struct quic_conn *c, ngtcp2_path *path)
{
    *path = (ngtcp2_path){
        .local = { (ngtcp2_sockaddr *)&c->pub->local, quic_addr_len(&c->pub->local) },
        .remote = { (ngtcp2_sockaddr *)&c->pub->addr, quic_addr_len(&c->pub->addr) },
    };
}

static bool on_datagram(void *arg, const uint8_t *p, size_t n)
{
    const struct reading *r = arg;
    struct quic_conn *c = r->c;
    ngtcp2_path path;
    fill_path(c, &path);
    c->heard = r->now;
    c->heard_any = true;
    int error = ngtcp2_conn_read_pkt(c->quic, &path, NULL, p, n, r->now);
    if (error)
        fail(c, error);
    return !error;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct quic_conn *c = arg;
    struct quic_worker *worker = c->self->local;
    struct reading r = { c, quic_now() };
    int error = quic_endpoint_read(&c->endpoint, &worker->io, on_datagram, &r);
    if (c->down)
        return;
    if (error) {
        quic_path_error(c, error);
        if (c->down)
            return;
    }
    if (c->handshaken && !c->up)
        go_up(c);
    if (c->handshaken && !c->control)
        open_control(c);
    quic_flush_later(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct quic_conn *c = arg;
    quic_endpoint_resume(&c->endpoint);
    quic_flush_later(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct quic_conn *c = arg;
    uint64_t now = quic_now();
    c->armed = NEVER;
    int error = 0;
    if (now >= c->close_by) {
        leave(c);
        return;
    }
    if (now >= handshake_deadline(c))
        error = NGTCP2_ERR_IDLE_CLOSE;
    else if (now >= ngtcp2_conn_get_expiry(c->quic))
        error = ngtcp2_conn_handle_expiry(c->quic, now);
    if (error)
        fail(c, error);
    else
        quic_flush_later(c);
}

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
    s->initial_rtt = 100 * MS; /* anycast: the edge is near, and a lost first packet is noticed in 300 ms */
    s->cc_algo = conf->congestion_control ? NGTCP2_CC_ALGO_BBR : NGTCP2_CC_ALGO_CUBIC;
    s->max_tx_udp_payload_size = QUIC_PACKET;
    s->handshake_timeout = 2 * (uint64_t)conf->handshake_timeout.ms * MS;
    s->max_window = conf->conn_window.n;
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
    p->max_idle_timeout = (uint64_t)conf->idle_timeout.ms * MS;
    p->initial_max_data = at_most(QUIC_INITIAL_CONN, conf->conn_window.n);
    p->initial_max_stream_data_bidi_local = stream;
    p->initial_max_stream_data_bidi_remote = stream;
    p->initial_max_stream_data_uni = stream;
    p->initial_max_streams_bidi = STREAMS_MAX;
    p->initial_max_streams_uni = STREAMS_MAX;
    p->max_datagram_frame_size = 16383;
    p->max_udp_payload_size = QUIC_PACKET;
    p->max_ack_delay = MAX_ACK_DELAY_MS * MS;
    p->active_connection_id_limit = 4;
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
    fill_settings(conf_of(c), &settings, c->heard);
    fill_params(conf_of(c), &params);
    fill_path(c, &path);
    random_bytes(random, sizeof random, NULL);
    ngtcp2_cid_init(&destination, random, sizeof random);
    ngtcp2_cid_init(&source, NULL, 0);
    if (ngtcp2_conn_client_new(&c->quic, &destination, &source, &path, NGTCP2_PROTO_VER_V1, &callbacks,
                               &settings, &params, NULL, c) != 0)
        return false;
    ngtcp2_conn_set_tls_native_handle(c->quic, c->crypto);
    ngtcp2_conn_set_keep_alive_timeout(c->quic, (uint64_t)conf_of(c)->keep_alive.ms * MS);
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
    free(c);
}

static void watch(struct quic_conn *c)
{
    struct event_base *base = cv_base(c->self);
    event_assign(&c->readable, base, c->endpoint.fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->writable, base, c->endpoint.fd, EV_WRITE, on_writable, c);
    event_assign(&c->timer, base, -1, 0, on_timer, c);
    event_add(&c->readable, NULL);
    c->flush.run = on_late;
    c->tick.fire = on_tick;
}

enum cv_error quic_dial(const struct cv_self *self, struct cv_conn *pub, struct cv_err *err)
{
    struct quic_worker *worker = self->local;
    struct quic_conn *c = cv_xcalloc(1, sizeof *c);
    *c = (struct quic_conn){
        .pub = pub, .self = self, .heard = quic_now(), .armed = NEVER, .close_by = NEVER
    };
    TAILQ_INIT(&c->all);
    TAILQ_INIT(&c->writable_streams);
    TAILQ_INIT(&c->headless);

    struct cv_err cause;
    uint16_t no_port = 0, *port = pub->index < QUIC_PORTS ? &worker->port[pub->index] : &no_port;
    enum cv_error e = quic_endpoint_open(&c->endpoint, self, &pub->addr, &pub->local, port, &cause);
    if (!e && !(make_tls(c) && make_quic(c)))
        e = cv_fail(&cause, CV_E_TLS, "QUIC cannot be set up with this OpenSSL");
    if (e) {
        free_conn(c);
        return cv_fail(err, e, "failed to dial to edge with quic: %s", cause.text);
    }
    pub->edge = c;
    quic_stats_dial(c);
    watch(c);
    quic_flush_later(c);
    return CV_OK;
}

void quic_close(const struct cv_self *self, struct cv_conn *pub)
{
    (void)self;
    struct quic_conn *c = pub->edge;
    if (c->down || c->close_by != NEVER)
        return;
    c->close_by = quic_now() + (uint64_t)CLOSE_MS * MS;
    quic_flush_later(c);
}

void quic_gone(const struct cv_self *self, struct cv_conn *pub)
{
    (void)self;
    free_conn(pub->edge);
    pub->edge = NULL;
}
