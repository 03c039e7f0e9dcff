/* quic_conn.c: one QUIC connection: handshake, packets in and out, timers, and its end (docs/protocol.md
 * §12). */
#include "quic.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LATE_PACKETS_MS = 1000, DATAGRAM_LOGS_MAX = 2000 };

static const struct transport quic_transport;
static void close_it(struct conn *conn, enum close_how how);

void quic_reset_token(const ngtcp2_cid *cid, uint8_t token[static NGTCP2_STATELESS_RESET_TOKENLEN])
{
    static uint8_t secret[32];
    static bool made;
    if (!made)
        CV_ASSERT(RAND_bytes(secret, sizeof(secret)) == 1);
    made = true;
    CV_ASSERT(ngtcp2_crypto_generate_stateless_reset_token(token, secret, sizeof(secret), cid) == 0);
}

/* ---- the end ---------------------------------------------------------------------------------------- */

void quic_end(struct quic *q, const char *how)
{
    if (q->ended_how)
        return;
    q->ended_how = how;
    quic_send_soon(q);
}

void quic_send_soon(struct quic *q)
{
    if (!q->flush_queued)
        event_active(&q->flush, EV_WRITE, 1);
    q->flush_queued = true;
}

static void drop_datagrams(struct quic *q)
{
    struct quic_datagram *d;
    while ((d = STAILQ_FIRST(&q->datagrams))) {
        STAILQ_REMOVE_HEAD(&q->datagrams, entry);
        free(d);
    }
    q->ndatagrams = 0;
}

static void free_protocol(struct quic *q)
{
    struct quic_stream *s;
    while ((s = LIST_FIRST(&q->streams)))
        quic_stream_free(s, END_LOST, 0);
    drop_datagrams(q);
    if (q->ssl)
        SSL_set_app_data(q->ssl, NULL);
    ngtcp2_conn_del(q->ng);
    q->ng = NULL;
    SSL_free(q->ssl);
    q->ssl = NULL;
    ngtcp2_crypto_ossl_ctx_del(q->ossl);
    q->ossl = NULL;
}

void quic_conn_free(struct quic *q)
{
    struct conn *conn = q->conn;
    if (!q->ended_how)
        q->ended_how = "edge";
    free_protocol(q);
    event_del(&q->timer);
    event_del(&q->flush);
    if (conn)
        conn_ended(conn, q->ended_how);
    free(q);
}

static void write_farewell(struct quic *q)
{
    ngtcp2_path_storage ps;
    ngtcp2_pkt_info pi;
    ngtcp2_path_storage_zero(&ps);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(q->ng, &ps.path, &pi, q->farewell,
                                                        sizeof(q->farewell), &q->error, quic_now());
    if (n <= 0)
        return;
    q->farewell_n = (size_t)n;
    net_out(q->sock, (struct sockaddr *)&q->peer, q->peer_n, q->farewell, q->farewell_n);
}

/* Its ids are kept for a while: late packets are no reason for a stateless reset. */
static void finish(struct quic *q)
{
    struct conn *conn = q->conn;
    if (!q->quiet_end && !q->silent)
        write_farewell(q);
    if (q->forget) {
        quic_forget(q);
        return;
    }
    free_protocol(q);
    q->conn = NULL;
    event_add(&q->timer, &(struct timeval){ LATE_PACKETS_MS / 1000, LATE_PACKETS_MS % 1000 * 1000 });
    conn_ended(conn, q->ended_how);
}

void quic_fail(struct quic *q, int liberr)
{
    if (liberr == NGTCP2_ERR_CRYPTO)
        ngtcp2_ccerr_set_tls_alert(&q->error, ngtcp2_conn_get_tls_alert(q->ng), NULL, 0);
    else
        ngtcp2_ccerr_set_liberr(&q->error, liberr, NULL, 0);
    log_event(q->conn, "bad-packet", CV_FIELDS(CV_S("why", cv_str_of(ngtcp2_strerror(liberr)))));
    quic_end(q, liberr == NGTCP2_ERR_CRYPTO ? "tls" : "protocol");
}

/* ---- turns ----------------------------------------------------------------------------------------- */

static void on_flush(int fd, short what, void *arg)
{
    struct quic *q = arg;
    (void)fd, (void)what;
    q->flush_queued = false;
    if (!q->conn)
        return;
    if (!q->ended_how && !q->silent)
        quic_write(q);
    if (!q->ended_how && q->goaway && q->conn->open == 0)
        quic_end(q, "edge");
    if (q->ended_how)
        finish(q);
}

static void on_timer(int fd, short what, void *arg)
{
    struct quic *q = arg;
    (void)fd, (void)what;
    if (!q->conn) {
        quic_forget(q);
        return;
    }
    if (q->silent)
        return;
    int rc = ngtcp2_conn_handle_expiry(q->ng, quic_now());
    if (rc == NGTCP2_ERR_IDLE_CLOSE || rc == NGTCP2_ERR_HANDSHAKE_TIMEOUT) {
        q->quiet_end = true;
        quic_end(q, "timeout");
    } else if (rc != 0) {
        quic_fail(q, rc);
    }
    quic_send_soon(q);
}

/* ---- in --------------------------------------------------------------------------------------------- */

static void peer_closed(struct quic *q)
{
    const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(q->ng);
    log_event(q->conn, "connection-close",
              CV_FIELDS(CV_I("code", (int64_t)e->error_code),
                        CV_I("application", e->type == NGTCP2_CCERR_TYPE_APPLICATION),
                        CV_S("reason", ((struct cv_str){ (const char *)e->reason, e->reasonlen }))));
    q->quiet_end = true;
    quic_end(q, e->error_code == 0 ? "clean" : "closed");
}

void quic_conn_read(struct quic *q, const struct sockaddr *from, socklen_t from_n, const uint8_t *p, size_t n)
{
    if (!q->conn) {
        if (q->farewell_n > 0)
            net_out(q->sock, from, from_n, q->farewell, q->farewell_n);
        return;
    }
    if (q->ended_how || q->silent || q->deaf)
        return;
    ngtcp2_path path = { .local = { (struct sockaddr *)&q->sock->local, q->sock->local_n },
                         .remote = { (struct sockaddr *)(uintptr_t)from, from_n } };
    ngtcp2_pkt_info pi = { 0 };
    int rc = ngtcp2_conn_read_pkt(q->ng, &path, &pi, p, n, quic_now());
    if (rc == NGTCP2_ERR_DRAINING) {
        peer_closed(q);
    } else if (rc == NGTCP2_ERR_DROP_CONN ||
               rc == NGTCP2_ERR_RETRY) { /* first packets out of order: once more */
        q->quiet_end = q->forget = true;
        quic_end(q, "dropped");
    } else if (rc != 0) {
        quic_fail(q, rc);
    }
    quic_send_soon(q);
}

static ngtcp2_conn *conn_of(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct quic *)ref->user_data)->ng;
}

static void fill_random(uint8_t *to, size_t n, const ngtcp2_rand_ctx *ctx)
{
    (void)ctx;
    CV_ASSERT(RAND_bytes(to, (int)n) == 1);
}

static void remember_cid(struct quic *q, const ngtcp2_cid *cid)
{
    if (q->ncids == QUIC_CIDS_MAX) { /* the oldest goes */
        memmove(&q->cids[0], &q->cids[1], sizeof(q->cids) - sizeof(q->cids[0]));
        q->ncids--;
    }
    q->cids[q->ncids++] = *cid;
}

static int on_new_cid(ngtcp2_conn *ng, ngtcp2_cid *cid, uint8_t *token, size_t n, void *user)
{
    (void)ng;
    CV_ASSERT(RAND_bytes(cid->data, (int)n) == 1);
    cid->datalen = n;
    quic_reset_token(cid, token);
    remember_cid(user, cid);
    return 0;
}

static int on_handshake(ngtcp2_conn *ng, void *user)
{
    struct quic *q = user;
    const ngtcp2_transport_params *p = ngtcp2_conn_get_remote_transport_params(ng);
    const char *sni = SSL_get_servername(q->ssl, TLSEXT_NAMETYPE_host_name);
    log_event(q->conn, "tls",
              CV_FIELDS(CV_S("sni", cv_str_of(sni)), CV_S("version", cv_str_of(SSL_get_version(q->ssl))),
                        CV_S("group", cv_str_of(SSL_get0_group_name(q->ssl)))));
    log_event(q->conn, "transport-parameters",
              CV_FIELDS(CV_I("max_idle_timeout_ms", (int64_t)(p->max_idle_timeout / NGTCP2_MILLISECONDS)),
                        CV_I("max_data", (int64_t)p->initial_max_data),
                        CV_I("max_stream_data_bidi_local", (int64_t)p->initial_max_stream_data_bidi_local),
                        CV_I("max_stream_data_bidi_remote", (int64_t)p->initial_max_stream_data_bidi_remote),
                        CV_I("max_stream_data_uni", (int64_t)p->initial_max_stream_data_uni),
                        CV_I("max_streams_bidi", (int64_t)p->initial_max_streams_bidi),
                        CV_I("max_streams_uni", (int64_t)p->initial_max_streams_uni),
                        CV_I("max_datagram_frame_size", (int64_t)p->max_datagram_frame_size),
                        CV_I("max_udp_payload_size", (int64_t)p->max_udp_payload_size),
                        CV_I("ack_delay_exponent", (int64_t)p->ack_delay_exponent),
                        CV_I("max_ack_delay_ms", (int64_t)(p->max_ack_delay / NGTCP2_MILLISECONDS)),
                        CV_I("active_connection_id_limit", (int64_t)p->active_connection_id_limit),
                        CV_I("disable_active_migration", p->disable_active_migration)));
    if (q->silent_once_up)
        close_it(q->conn, CLOSE_SILENT);
    return 0;
}

static int on_datagram(ngtcp2_conn *ng, uint32_t flags, const uint8_t *p, size_t n, void *user)
{
    static unsigned logged;
    struct quic *q = user;
    struct cv_buf text = { 0 };
    (void)ng, (void)flags;
    if (logged++ >= DATAGRAM_LOGS_MAX)
        return 0;
    hex(p, n, &text);
    log_event(q->conn, "datagram", CV_FIELDS(CV_S("hex", ((struct cv_str){ (char *)text.p, text.n }))));
    cv_buf_free(&text);
    return 0;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
                       unsigned in_n, void *arg)
{
    static const unsigned char ours[] = "\x0a"
                                        "argotunnel";
    (void)ssl, (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof(ours) - 1, in, in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void start_tls(struct quic *q)
{
    CV_ASSERT(SSL_CTX_set_min_proto_version(q->sock->tls, TLS1_3_VERSION));
    SSL_CTX_set_alpn_select_cb(q->sock->tls, choose_alpn, NULL);
    q->ssl = SSL_new(q->sock->tls);
    CV_ASSERT(q->ssl && ngtcp2_crypto_ossl_ctx_new(&q->ossl, q->ssl) == 0);
    q->ref = (ngtcp2_crypto_conn_ref){ .get_conn = conn_of, .user_data = q };
    SSL_set_app_data(q->ssl, &q->ref);
    SSL_set_accept_state(q->ssl);
    CV_ASSERT(ngtcp2_crypto_ossl_configure_server_session(q->ssl) == 0);
}

static ngtcp2_callbacks all_callbacks(void)
{
    ngtcp2_callbacks cb = quic_stream_callbacks;
    cb.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    cb.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
    cb.encrypt = ngtcp2_crypto_encrypt_cb;
    cb.decrypt = ngtcp2_crypto_decrypt_cb;
    cb.hp_mask = ngtcp2_crypto_hp_mask_cb;
    cb.update_key = ngtcp2_crypto_update_key_cb;
    cb.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    cb.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    cb.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
    cb.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    cb.rand = fill_random;
    cb.get_new_connection_id = on_new_cid;
    cb.handshake_completed = on_handshake;
    cb.recv_datagram = on_datagram;
    return cb;
}

static void start_protocol(struct quic *q, const ngtcp2_pkt_hd *hd)
{
    ngtcp2_callbacks cb = all_callbacks();
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid scid = { .datalen = QUIC_CID };
    CV_ASSERT(RAND_bytes(scid.data, QUIC_CID) == 1);
    ngtcp2_settings_default(&settings);
    settings.initial_ts = quic_now();
    settings.handshake_timeout = 10 * NGTCP2_SECONDS;
    ngtcp2_transport_params_default(&params);
    params.original_dcid = hd->dcid;
    params.original_dcid_present = 1;
    params.initial_max_streams_bidi = 100;
    params.initial_max_stream_data_bidi_local = params.initial_max_stream_data_bidi_remote =
        opt.stream_window;
    params.initial_max_data = opt.conn_window;
    params.max_datagram_frame_size = 65535;
    params.max_idle_timeout = (ngtcp2_duration)opt.idle_timeout_ms * NGTCP2_MILLISECONDS;
    params.stateless_reset_token_present = 1;
    quic_reset_token(&scid, params.stateless_reset_token);
    ngtcp2_path path = { .local = { (struct sockaddr *)&q->sock->local, q->sock->local_n },
                         .remote = { (struct sockaddr *)&q->peer, q->peer_n } };
    CV_ASSERT(ngtcp2_conn_server_new(&q->ng, &hd->scid, &scid, &path, hd->version, &cb, &settings, &params,
                                     NULL, q) == 0);
    ngtcp2_conn_set_tls_native_handle(q->ng, q->ossl);
    remember_cid(q, &hd->dcid);
    remember_cid(q, &scid);
}

struct quic *quic_conn_new(struct quic_sock *sock, const struct sockaddr *from, socklen_t from_n,
                           const ngtcp2_pkt_hd *hd)
{
    struct quic *q = cv_xcalloc(1, sizeof(*q));
    q->sock = sock;
    memcpy(&q->peer, from, from_n);
    q->peer_n = from_n;
    LIST_INIT(&q->streams);
    TAILQ_INIT(&q->ready);
    STAILQ_INIT(&q->datagrams);
    ngtcp2_ccerr_set_application_error(&q->error, 0, NULL, 0);
    event_assign(&q->timer, loop, -1, 0, on_timer, q);
    event_assign(&q->flush, loop, -1, 0, on_flush, q);
    start_tls(q);
    start_protocol(q, hd);
    q->conn = conn_new(&quic_transport, q, from);
    return q;
}

/* ---- the transport ---------------------------------------------------------------------------------- */

static void close_it(struct conn *conn, enum close_how how)
{
    struct quic *q = conn->link;
    switch (how) {
    case CLOSE_SILENT:
        q->silent = conn->draining = true;
        event_del(&q->timer);
        return;
    case CLOSE_GOAWAY: /* QUIC has none: no new requests, then the end */
        q->goaway = conn->draining = true;
        quic_send_soon(q);
        return;
    case CLOSE_RST: q->forget = q->quiet_end = true; break; /* the next packet gets a stateless reset */
    case CLOSE_FIN: break;
    }
    quic_end(q, "edge");
}

static bool send_datagram(struct conn *conn, const uint8_t *p, size_t n)
{
    struct quic *q = conn->link;
    if (q->ndatagrams >= QUIC_DATAGRAMS_MAX)
        return false;
    struct quic_datagram *d = cv_xmalloc(sizeof(*d) + n);
    d->n = n;
    memcpy(d->bytes, p, n);
    STAILQ_INSERT_TAIL(&q->datagrams, d, entry);
    q->ndatagrams++;
    quic_send_soon(q);
    return true;
}

static void stop_reading(struct conn *conn, bool stop)
{
    struct quic *q = conn->link;
    q->deaf = stop;
}

static bool fault(struct conn *conn, struct cv_str what)
{
    struct quic *q = conn->link;
    if (q->ended_how || q->silent)
        return false;
    if (cv_str_eq(what, CV_STR("key-update"))) {
        if (ngtcp2_conn_initiate_key_update(q->ng, quic_now()) != 0)
            return false;
    } else if (cv_str_eq(what, CV_STR("stall"))) {
        conn->stalled = true;
    } else if (cv_str_eq(what, CV_STR("stall-control"))) {
        q->stall_control = true;
    } else if (cv_str_eq(what, CV_STR("reset-streams"))) {
        quic_reset_streams(q);
    } else {
        return false;
    }
    quic_send_soon(q);
    return true;
}

static const struct transport quic_transport = {
    .name = "quic",
    .config_kind = KIND_RPC,
    .open = quic_open,
    .written = quic_written,
    .credit = quic_credit,
    .reset = quic_reset,
    .close = close_it,
    .raw = send_datagram,
    .stop_reading = stop_reading,
    .fault = fault,
};
