/* peer.c: a QUIC server for tests, as plain as it can be. */
#include "peer.h"

#include <arpa/inet.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_ossl.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PACKET = 1452, CID = 16 };
#define MS NGTCP2_MILLISECONDS

struct peer_piece {
    struct peer_piece *next;
    size_t n, at;
    bool fin, done;
    uint8_t bytes[];
};

struct crypto {
    ngtcp2_crypto_conn_ref ref;
    ngtcp2_crypto_ossl_ctx *ctx;
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NGTCP2_SECONDS + (uint64_t)t.tv_nsec;
}

static ngtcp2_conn *conn_of(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct peer *)ref->user_data)->quic;
}

static void fill_path(struct peer *p, ngtcp2_path *path)
{
    *path = (ngtcp2_path){ .local = { (ngtcp2_sockaddr *)&p->addr, sizeof(struct sockaddr_in) },
                           .remote = { (ngtcp2_sockaddr *)&p->client, sizeof(struct sockaddr_in) } };
}

/* ---- streams ----------------------------------------------------------------------------------------- */

struct peer_stream *peer_stream(struct peer *p, int64_t id)
{
    for (struct peer_stream *s = p->streams; s; s = s->next)
        if (s->id == id)
            return s;
    return NULL;
}

static struct peer_stream *stream_new(struct peer *p, int64_t id)
{
    struct peer_stream *s = cv_xcalloc(1, sizeof *s);
    s->id = id;
    s->last = &s->first;
    s->next = p->streams;
    p->streams = s;
    return s;
}

static int on_data(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *bytes,
                   size_t n, void *user, void *unused)
{
    (void)offset, (void)unused;
    struct peer *p = user;
    struct peer_stream *s = peer_stream(p, id);
    if (!s)
        s = stream_new(p, id);
    s->n_in += n;
    s->fin |= flags & NGTCP2_STREAM_DATA_FLAG_FIN;
    if (!p->discard)
        cv_buf_add(&s->in, bytes, n);
    if (!p->hold) {
        ngtcp2_conn_extend_max_stream_offset(quic, id, n);
        ngtcp2_conn_extend_max_offset(quic, n);
    }
    return 0;
}

static int on_reset(ngtcp2_conn *quic, int64_t id, uint64_t size, uint64_t code, void *user, void *unused)
{
    (void)quic, (void)size, (void)unused;
    struct peer_stream *s = peer_stream(user, id);
    if (!s)
        s = stream_new(user, id);
    s->reset = true;
    s->code = code;
    return 0;
}

static int on_close(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t code, void *user, void *unused)
{
    (void)quic, (void)flags, (void)code, (void)unused;
    struct peer_stream *s = peer_stream(user, id);
    if (s)
        s->closed = true;
    return 0;
}

static struct peer_piece *unsent(struct peer_stream *s)
{
    struct peer_piece *piece = s->first;
    while (piece && piece->done)
        piece = piece->next;
    return s->stopped ? NULL : piece;
}

/* ---- packets ----------------------------------------------------------------------------------------- */

static void put(struct peer *p, const uint8_t *bytes, ngtcp2_ssize n)
{
    if (n > 0 && !p->silent)
        sendto(p->fd, bytes, (size_t)n, 0, (struct sockaddr *)&p->client, sizeof(struct sockaddr_in));
}

/* One packet of one stream, or of none (s is NULL). False: nothing was written. */
static bool write_one(struct peer *p, struct peer_stream *s)
{
    uint8_t packet[PACKET];
    struct peer_piece *piece = s ? unsent(s) : NULL;
    ngtcp2_vec v = { piece ? piece->bytes + piece->at : NULL, piece ? piece->n - piece->at : 0 };
    ngtcp2_ssize taken = -1;
    ngtcp2_ssize n = ngtcp2_conn_writev_stream(p->quic, NULL, NULL, packet, sizeof packet, &taken,
                                               piece && piece->fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0,
                                               piece ? s->id : -1, &v, piece ? 1 : 0, now());
    if (s && (n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND))
        s->stopped = true;
    if (piece && taken >= 0) {
        piece->at += (size_t)taken;
        piece->done = piece->at == piece->n;
    }
    put(p, packet, n);
    return n > 0;
}

static void write_all(struct peer *p)
{
    if (!p->quic || p->drained)
        return;
    bool any = true;
    for (int budget = 256; any && budget; budget--) {
        any = false;
        for (struct peer_stream *s = p->streams; s; s = s->next)
            if (unsent(s))
                any |= write_one(p, s);
        any |= write_one(p, NULL);
    }
    ngtcp2_conn_update_pkt_tx_time(p->quic, now());
    uint64_t at = ngtcp2_conn_get_expiry(p->quic), t = now(), us = at > t ? (at - t) / 1000 + 1 : 0;
    if (us > 1000000)
        us = 1000000;
    if (any)
        us = 0;
    event_add(&p->timer, &(struct timeval){ (time_t)(us / 1000000), (suseconds_t)(us % 1000000) });
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct peer *p = arg;
    if (p->quic && ngtcp2_conn_get_expiry(p->quic) <= now() && ngtcp2_conn_handle_expiry(p->quic, now()) != 0)
        p->drained = true;
    write_all(p);
}

/* ---- the connection ---------------------------------------------------------------------------------- */

static void random_bytes(uint8_t *bytes, size_t n, const ngtcp2_rand_ctx *unused)
{
    (void)unused;
    RAND_bytes(bytes, (int)n);
}

static int new_cid(ngtcp2_conn *quic, ngtcp2_cid *cid, uint8_t *token, size_t n, void *user)
{
    (void)quic, (void)user;
    RAND_bytes(cid->data, (int)n);
    cid->datalen = n;
    memset(token, 0x5a, NGTCP2_STATELESS_RESET_TOKENLEN);
    return 0;
}

static int on_handshake(ngtcp2_conn *quic, void *user)
{
    struct peer *p = user;
    p->handshaken = true;
    p->handshakes++;
    p->params = *ngtcp2_conn_get_remote_transport_params(quic);
    return 0;
}

static const ngtcp2_callbacks callbacks = {
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .update_key = ngtcp2_crypto_update_key_cb,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .rand = random_bytes,
    .get_new_connection_id = new_cid,
    .handshake_completed = on_handshake,
    .recv_stream_data = on_data,
    .stream_reset = on_reset,
    .stream_close = on_close,
};

static bool accept_conn(struct peer *p, const uint8_t *bytes, size_t n)
{
    ngtcp2_pkt_hd hd;
    if (ngtcp2_accept(&hd, bytes, n) != 0)
        return false;
    p->ssl = SSL_new(p->tls);
    struct crypto *crypto = cv_xcalloc(1, sizeof *crypto);
    p->crypto = crypto;
    crypto->ref = (ngtcp2_crypto_conn_ref){ .get_conn = conn_of, .user_data = p };
    SSL_set_app_data(p->ssl, &crypto->ref);
    SSL_set_accept_state(p->ssl);
    ngtcp2_crypto_ossl_ctx_new(&crypto->ctx, p->ssl);
    ngtcp2_crypto_ossl_configure_server_session(p->ssl);

    ngtcp2_settings settings;
    ngtcp2_settings_default(&settings);
    settings.initial_ts = now();
    settings.max_window = settings.max_stream_window = 0;
    ngtcp2_transport_params params;
    ngtcp2_transport_params_default(&params);
    params.initial_max_streams_bidi = p->streams_bidi;
    params.initial_max_stream_data_bidi_local = params.initial_max_stream_data_bidi_remote = p->stream_window;
    params.initial_max_data = 64 << 20;
    params.max_idle_timeout = 60 * NGTCP2_SECONDS;
    params.max_datagram_frame_size = 65535;
    params.original_dcid = hd.dcid;
    params.original_dcid_present = 1;
    params.stateless_reset_token_present = 1;
    memset(params.stateless_reset_token, 0x5a, sizeof params.stateless_reset_token);
    ngtcp2_cid scid;
    scid.datalen = CID;
    RAND_bytes(scid.data, CID);
    ngtcp2_path path;
    fill_path(p, &path);
    ngtcp2_conn_server_new(&p->quic, &hd.scid, &scid, &path, hd.version, &callbacks, &settings, &params, NULL,
                           p);
    ngtcp2_conn_set_tls_native_handle(p->quic, crypto->ctx);
    return true;
}

static void remember_first(struct peer *p, const uint8_t *bytes, size_t n)
{
    ngtcp2_version_cid ids;
    p->first_packet = n;
    if (ngtcp2_pkt_decode_version_cid(&ids, bytes, n, CID) == 0)
        ngtcp2_cid_init(&p->first_id, ids.dcid, ids.dcidlen);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct peer *p = arg;
    uint8_t bytes[65536];
    for (int budget = 256; budget; budget--) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
        if (n < 0)
            break;
        p->client = from;
        if (!p->packets++)
            remember_first(p, bytes, (size_t)n);
        if (p->silent || (p->drop_every && p->packets % p->drop_every == 0))
            continue;
        if (!p->quic && !accept_conn(p, bytes, (size_t)n))
            continue;
        ngtcp2_path path;
        fill_path(p, &path);
        int error = ngtcp2_conn_read_pkt(p->quic, &path, NULL, bytes, (size_t)n, now());
        if (error == NGTCP2_ERR_DRAINING) {
            p->drained = true;
            p->closed = *ngtcp2_conn_get_ccerr(p->quic);
        }
    }
    write_all(p);
}

struct peer *peer_new(struct event_base *base, SSL_CTX *tls)
{
    struct peer *p = cv_xcalloc(1, sizeof *p);
    p->base = base;
    p->tls = tls;
    p->streams_bidi = 100;
    p->stream_window = 1 << 20;
    p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof p->addr;
    int size = 4 << 20;
    setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    CV_ASSERT(bind(p->fd, (struct sockaddr *)&any, sizeof any) == 0);
    CV_ASSERT(getsockname(p->fd, (struct sockaddr *)&p->addr, &len) == 0);
    event_assign(&p->readable, base, p->fd, EV_READ | EV_PERSIST, on_readable, p);
    event_assign(&p->timer, base, -1, 0, on_timer, p);
    event_add(&p->readable, NULL);
    return p;
}

static void free_stream(struct peer_stream *s)
{
    for (struct peer_piece *piece = s->first, *next; piece; piece = next) {
        next = piece->next;
        free(piece);
    }
    cv_buf_free(&s->in);
    free(s);
}

void peer_free(struct peer *p)
{
    event_del(&p->readable);
    event_del(&p->timer);
    close(p->fd);
    if (p->ssl)
        SSL_set_app_data(p->ssl, NULL);
    ngtcp2_conn_del(p->quic);
    SSL_free(p->ssl);
    if (p->crypto)
        ngtcp2_crypto_ossl_ctx_del(((struct crypto *)p->crypto)->ctx);
    free(p->crypto);
    for (struct peer_stream *s = p->streams, *next; s; s = next) {
        next = s->next;
        free_stream(s);
    }
    free(p);
}

/* ---- what a test tells it to do ---------------------------------------------------------------------- */

int64_t peer_open(struct peer *p, bool bidi)
{
    int64_t id = -1;
    if (bidi)
        ngtcp2_conn_open_bidi_stream(p->quic, &id, NULL);
    else
        ngtcp2_conn_open_uni_stream(p->quic, &id, NULL);
    stream_new(p, id);
    return id;
}

void peer_write(struct peer *p, int64_t id, const void *bytes, size_t n, bool fin)
{
    struct peer_stream *s = peer_stream(p, id);
    struct peer_piece *piece = cv_xcalloc(1, sizeof *piece + n);
    piece->n = n;
    piece->fin = fin;
    if (n)
        memcpy(piece->bytes, bytes, n);
    *s->last = piece;
    s->last = &piece->next;
    write_all(p);
}

void peer_reset(struct peer *p, int64_t id, uint64_t code)
{
    ngtcp2_conn_shutdown_stream_write(p->quic, 0, id, code);
    struct peer_stream *s = peer_stream(p, id);
    if (s)
        s->stopped = true; /* nothing more of it can be sent */
    write_all(p);
}

void peer_stop(struct peer *p, int64_t id, uint64_t code)
{
    ngtcp2_conn_shutdown_stream_read(p->quic, 0, id, code);
    write_all(p);
}

bool peer_datagram(struct peer *p, const void *bytes, size_t n)
{
    uint8_t packet[PACKET];
    int accepted;
    put(p, packet,
        ngtcp2_conn_write_datagram(p->quic, NULL, NULL, packet, sizeof packet, &accepted, 0, 1, bytes, n,
                                   now()));
    return accepted;
}

void peer_update_key(struct peer *p)
{
    ngtcp2_conn_initiate_key_update(p->quic, now());
    write_all(p);
}

void peer_close(struct peer *p, bool application, uint64_t code, const char *reason)
{
    uint8_t packet[PACKET];
    ngtcp2_ccerr why;
    const uint8_t *text = (const uint8_t *)reason;
    if (application)
        ngtcp2_ccerr_set_application_error(&why, code, text, strlen(reason));
    else
        ngtcp2_ccerr_set_transport_error(&why, code, text, strlen(reason));
    put(p, packet,
        ngtcp2_conn_write_connection_close(p->quic, NULL, NULL, packet, sizeof packet, &why, now()));
    p->drained = true;
}

void peer_raw(struct peer *p, const void *bytes, size_t n)
{
    sendto(p->fd, bytes, n, 0, (struct sockaddr *)&p->client, sizeof(struct sockaddr_in));
}
