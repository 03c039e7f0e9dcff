/* edge_quic.c: the module: connections to Cloudflare's edge over QUIC. */
#include "quic.h"

#include <stdlib.h>

#define OPT(field, ...) CV_OPT(struct quic_conf, field, __VA_ARGS__)
static const struct cv_option options[] = {
    OPT(congestion_control, "cubic", "how fast to send: cubic yields to loss, bbr to measured bandwidth",
        .words = "cubic|bbr"),
    OPT(keep_alive, "1s", "a silent connection is kept alive with a PING this often"),
    OPT(idle_timeout, "5s",
        "a connection that hears nothing for so long is lost; the edge's own limit counts if it is smaller"),
    OPT(handshake_timeout, "5s",
        "a dial that hears nothing for so long has failed; twice that is the limit of a whole one"),
    OPT(head_timeout, "10s", "a stream whose first bytes have not come by then is reset"),
    OPT(headless_streams, "1000",
        "streams of one connection whose first bytes have not come; more are reset at once", .min = 1,
        .max = 1000000),
    OPT(max_head, "64k", "longest head of a request that is accepted"),
    OPT(write_stream_timeout, "0s",
        "a stream on which the edge takes no byte for so long is reset; 0: never"),
    OPT(conn_window, "30M", "bytes the edge may send ahead on one connection, at most"),
    OPT(stream_window, "6M",
        "bytes the edge may send ahead on one stream, at most; also the most that is under way to it"),
    OPT(disable_pmtu_discovery, "no",
        "send packets of at most 1200 bytes rather than find out what the path carries"),
    OPT(socket_buffer, "7M",
        "size of the UDP socket's buffers; the kernel may grant less, which is warned about once"),
    OPT(gso, "yes",
        "hand many packets to the kernel at once (UDP_SEGMENT); turned off by itself where it is refused"),
    OPT(gro, "yes", "take many packets from the kernel at once (UDP_GRO)"),
    CV_OPT_END,
};

#define METRIC(id, NAME, TYPE, LABELS, HELP)                                                                 \
    [id] = { .name = NAME, .help = HELP, .type = TYPE, .labels = LABELS }
static const struct cv_metric metrics[] = {
    METRIC(QM_TOTAL_CONNECTIONS, "quic_client_total_connections", CV_COUNTER, NULL,
           "Number of connections initiated"),
    METRIC(QM_CLOSED_CONNECTIONS, "quic_client_closed_connections", CV_COUNTER, NULL,
           "Number of connections that has been closed"),
    METRIC(QM_MAX_UDP_PAYLOAD, "quic_client_max_udp_payload", CV_GAUGE, "conn_index",
           "Maximum UDP payload size in bytes for a QUIC packet"),
    METRIC(QM_SENT_FRAMES, "quic_client_sent_frames", CV_COUNTER, "conn_index|frame_type",
           "Number of frames that have been sent through a connection"),
    METRIC(QM_RECEIVED_FRAMES, "quic_client_received_frames", CV_COUNTER, "conn_index|frame_type",
           "Number of frames that have been received through a connection"),
    METRIC(QM_SENT_BYTES, "quic_client_sent_bytes", CV_COUNTER, "conn_index",
           "Number of bytes that have been sent through a connection"),
    METRIC(QM_RECEIVE_BYTES, "quic_client_receive_bytes", CV_COUNTER, "conn_index",
           "Number of bytes that have been received through a connection"),
    METRIC(QM_LOST_PACKETS, "quic_client_lost_packets", CV_COUNTER, "conn_index|reason",
           "Number of packets that have been lost from a connection"),
    METRIC(QM_MIN_RTT, "quic_client_min_rtt", CV_GAUGE, "conn_index",
           "Lowest RTT measured on a connection in millisec"),
    METRIC(QM_LATEST_RTT, "quic_client_latest_rtt", CV_GAUGE, "conn_index",
           "Latest RTT measured on a connection"),
    METRIC(QM_SMOOTHED_RTT, "quic_client_smoothed_rtt", CV_GAUGE, "conn_index",
           "Calculated smoothed RTT measured on a connection in millisec"),
    METRIC(QM_MTU, "quic_client_mtu", CV_GAUGE, "conn_index",
           "Current maximum transmission unit (MTU) of a connection"),
    METRIC(QM_CONGESTION_WINDOW, "quic_client_congestion_window", CV_GAUGE, "conn_index",
           "Current congestion window size"),
    METRIC(QM_CONGESTION_STATE, "quic_client_congestion_state", CV_GAUGE, "conn_index",
           "Current congestion control state (0=slow_start, 1=congestion_avoidance, 2=application_limited, "
           "3=recovery, -1=unknown)"),
    METRIC(QM_TOO_BIG, "quic_client_packet_too_big_dropped", CV_COUNTER, NULL,
           "Count of packets received from origin that are too big to send to the edge and are dropped as a "
           "result"),
    METRIC(QM_REFUSED_STREAMS, "culvert_quic_refused_streams_total", CV_COUNTER, "reason",
           "streams reset before they became a request"),
    METRIC(QM_REFUSED_GRPC, "culvert_quic_refused_grpc_total", CV_COUNTER, NULL,
           "gRPC responses answered with an error, because QUIC connections carry no trailers"),
    METRIC(QM_DROPPED_DATAGRAMS, "culvert_quic_dropped_datagrams_total", CV_COUNTER, NULL,
           "datagrams received and dropped: private-network UDP is not served"),
    METRIC(QM_DISCARDED_PACKETS, "culvert_quic_discarded_packets_total", CV_COUNTER, "conn_index",
           "packets that could not be decrypted or did not belong here"),
    METRIC(QM_CONNECTION_ERRORS, "culvert_quic_connection_errors_total", CV_COUNTER, "reason",
           "connections that ended with an error"),
    CV_METRIC_END,
};

static enum cv_error check(const void *p, struct cv_err *err)
{
    const struct quic_conf *conf = p;
    const int64_t day = 24 * 3600 * INT64_C(1000);
    if (conf->keep_alive.ms <= 0 || conf->keep_alive.ms > day)
        return cv_conf_fail(err, conf, "keep_alive", "must be more than 0 and at most a day");
    if (conf->idle_timeout.ms <= conf->keep_alive.ms || conf->idle_timeout.ms > day)
        return cv_conf_fail(err, conf, "idle_timeout",
                            "must be more than keep_alive, or a silent connection is always lost");
    if (conf->handshake_timeout.ms <= 0 || conf->handshake_timeout.ms > day)
        return cv_conf_fail(err, conf, "handshake_timeout", "must be more than 0 and at most a day");
    if (conf->head_timeout.ms <= 0)
        return cv_conf_fail(err, conf, "head_timeout", "must be more than 0");
    if (conf->write_stream_timeout.ms < 0)
        return cv_conf_fail(err, conf, "write_stream_timeout", "must not be negative");
    if (conf->max_head.n < 1024 || conf->max_head.n > 16 << 20)
        return cv_conf_fail(err, conf, "max_head", "must be between 1k and 16M");
    if (conf->stream_window.n < 16384 || conf->stream_window.n > 1 << 30)
        return cv_conf_fail(err, conf, "stream_window", "must be between 16k and 1G");
    if (conf->conn_window.n < conf->stream_window.n || conf->conn_window.n > 1 << 30)
        return cv_conf_fail(err, conf, "conn_window", "must be between stream_window and 1G");
    return CV_OK;
}

static enum cv_error init(struct cv_self *self, struct cv_err *err)
{
    (void)self;
    return ngtcp2_crypto_ossl_init() == 0 ? CV_OK : cv_fail(err, CV_E_TLS, "OpenSSL lacks what QUIC needs");
}

static enum cv_error start(struct cv_self *self, struct cv_err *err)
{
    (void)err;
    self->local = cv_xcalloc(1, sizeof(struct quic_worker));
    return CV_OK;
}

static void stop(struct cv_self *self)
{
    free(self->local);
    self->local = NULL;
}

static const struct cv_edge_ops ops = {
    .protocol = "quic",
    .dial = quic_dial,
    .close = quic_close,
    .gone = quic_gone,
    .head = quic_head,
    .path = quic_path,
    .end = { .readable = quic_readable, .credit = quic_credit, .closed = quic_closed },
};

CV_MODULE(edge_quic, .summary = "Cloudflare's edge over QUIC", .options = options,
          .conf_size = sizeof(struct quic_conf), .metrics = metrics, .slot_size = sizeof(struct quic_slot),
          .edge = &ops, .check = check, .init = init, .start = start, .stop = stop);
