/* conn.c: one QUIC connection at work: driven by its socket and one timer, flushed at the end of a turn, closed. */
#include "quic.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_MS = 2000,
    CLOSE_MS = 500, /* how long close() waits for acknowledgements */
};

uint64_t quic_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NGTCP2_SECONDS + (uint64_t)t.tv_nsec;
}

/* ---- the end of a connection ------------------------------------------------------------------------- */

/* No packet goes in or out any more. ngtcp2's side stays until gone(): requests still refer to their streams. */
static void silence(struct quic_conn *c)
{
    c->down = true;
    event_del(&c->readable);
    event_del(&c->writable);
    event_del(&c->timer);
    event_del(&c->pacer);
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

/* What a peer tried to make us hold beyond what it was allowed; for the metrics. Path challenges are answered, not kept:
 * ngtcp2 holds a fixed few and forgets the rest. */
static const char *broken_limit(int error)
{
    switch (error) {
    case NGTCP2_ERR_CONNECTION_ID_LIMIT: return "connection_ids";
    case NGTCP2_ERR_FLOW_CONTROL: return "flow_control"; /* out of order data counts against the window */
    case NGTCP2_ERR_STREAM_LIMIT: return "streams";
    case NGTCP2_ERR_CRYPTO_BUFFER_EXCEEDED: return "handshake_bytes";
    default: return "protocol";
    }
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
        quic_stats_error(c, broken_limit(error));
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

/* What the kernel learnt about the peer. Before the first packet it is the quickest answer there is. Later it may be
 * forged, so the port has to stay closed for a while in which nothing is heard: an edge that restarts is noticed long
 * before the idle timeout. */
void quic_path_error(struct quic_conn *c, int error)
{
    enum { CLOSED_MS = 200 };
    uint64_t now = quic_now();
    if (c->heard_any && error != ECONNREFUSED)
        return;
    if (c->heard_any && !c->refused) {
        c->refused = now;
        return;
    }
    if (c->heard_any && now - c->refused < (uint64_t)CLOSED_MS * QUIC_MS)
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
    return c->handshaken ? QUIC_NEVER : c->heard + (uint64_t)quic_conf_of(c)->handshake_timeout.ms * QUIC_MS;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The loop counts in milliseconds. That suits what can wait, and lets small packets gather; but a large batch that is
 * followed by a pause of 2 ms, again and again, is 30 MB/s. Such pauses end by a clock of their own. */
static void wake_after(struct quic_conn *c, uint64_t ns)
{
    enum { FINE_NS = 2000000, LARGE = 32768 };
    if (ns && ns < FINE_NS && c->batch >= LARGE && !TAILQ_EMPTY(&c->writable_streams)) {
        timerfd_settime(c->pacer_fd, 0, &(struct itimerspec){ .it_value.tv_nsec = (long)ns }, NULL);
        return;
    }
    uint64_t us = (ns + 999) / 1000;
    event_add(&c->timer, &(struct timeval){ (time_t)(us / 1000000), (suseconds_t)(us % 1000000) });
}

/* A timer that fires too early only looks again, so it is moved when it would be too late, and left alone
 * otherwise: the deadline changes with every packet. */
static void arm(struct quic_conn *c, uint64_t now, bool at_once)
{
    uint64_t at = earliest(ngtcp2_conn_get_expiry(c->quic), earliest(handshake_deadline(c), c->close_by));
    if (at_once || at < now)
        at = now;
    if (at >= c->armed)
        return;
    c->armed = at;
    wake_after(c, at - now);
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
    if (c->close_by != QUIC_NEVER && !c->in_flight && TAILQ_EMPTY(&c->writable_streams)) {
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

static bool on_datagram(void *arg, const uint8_t *p, size_t n)
{
    const struct reading *r = arg;
    struct quic_conn *c = r->c;
    ngtcp2_path path;
    quic_fill_path(c, &path);
    c->heard = r->now;
    c->heard_any = true;
    c->refused = 0;
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

static void look(struct quic_conn *c)
{
    uint64_t now = quic_now();
    c->armed = QUIC_NEVER;
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

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    look(arg);
}

static void on_pacer(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    uint64_t times;
    if (read(fd, &times, sizeof times) == sizeof times)
        look(arg);
}

/* ---- what the module calls ---------------------------------------------------------------------------- */

void quic_watch(struct quic_conn *c)
{
    struct event_base *base = cv_base(c->self);
    event_assign(&c->readable, base, c->endpoint.fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->writable, base, c->endpoint.fd, EV_WRITE, on_writable, c);
    event_assign(&c->timer, base, -1, 0, on_timer, c);
    event_assign(&c->pacer, base, c->pacer_fd, EV_READ | EV_PERSIST, on_pacer, c);
    event_add(&c->readable, NULL);
    event_add(&c->pacer, NULL);
    c->flush.run = on_late;
    c->tick.fire = on_tick;
}

void quic_close(const struct cv_self *self, struct cv_conn *pub)
{
    (void)self;
    struct quic_conn *c = pub->edge;
    if (c->down || c->close_by != QUIC_NEVER)
        return;
    c->close_by = quic_now() + (uint64_t)CLOSE_MS * QUIC_MS;
    quic_flush_later(c);
}
