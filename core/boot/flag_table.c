/* flag_table.c: the flags of `tunnel` and `tunnel run`, and ours (docs/protocol.md §3). */
#include "boot.h"

#include <string.h>

#define T           FLAG_TUNNEL
#define R           FLAG_RUN
#define LOCAL(json) .where = FLAG_ORIGIN, .effect = FLAG_ORIGIN_REQUEST, .hidden = true, .key = (json)

const struct flag flag_table[] = {
    { "token", .where = R, .type = FLAG_STR, .env = "TUNNEL_TOKEN", .secret = true, .section = "tunnel",
      .key = "token", .help = "The tunnel's token. Safer: TUNNEL_TOKEN or --token-file." },
    { "token-file", .where = R, .type = FLAG_STR, .env = "TUNNEL_TOKEN_FILE", .section = "tunnel",
      .key = "token_file", .help = "File that holds the token. --token wins." },
    { "edge", .where = T, .type = FLAG_LIST, .env = "TUNNEL_EDGE", .section = "tunnel", .key = "edge",
      .help = "host:port of the edge instead of discovery. May repeat." },
    { "region", .where = T, .type = FLAG_STR, .env = "TUNNEL_REGION", .section = "tunnel", .key = "region",
      .help = "Region of the edge, such as us. Empty: the nearest." },
    { "edge-ip-version", .where = T, .type = FLAG_STR, .env = "TUNNEL_EDGE_IP_VERSION", .section = "tunnel",
      .key = "edge_ip_version", .refusal = "invalid value for edge-ip-version: ",
      .help = "4, 6 or auto: addresses of the edge to use." },
    { "edge-bind-address", .where = T, .type = FLAG_STR, .env = "TUNNEL_EDGE_BIND_ADDRESS",
      .section = "tunnel", .key = "edge_bind_address",
      .help = "Local address of the connections to the edge." },
    { "protocol", "p", .where = T | R, .type = FLAG_STR, .env = "TUNNEL_TRANSPORT_PROTOCOL",
      .section = "tunnel", .key = "protocol", .same = "h2mux=http2", .refusal = "unknown protocol ",
      .help = "auto, quic or http2: transport to the edge." },
    { "ha-connections", .where = T, .type = FLAG_INT, .section = "tunnel", .key = "ha_connections",
      .help = "Number of connections to the edge." },
    { "retries", .where = T, .type = FLAG_INT, .env = "TUNNEL_RETRIES", .section = "tunnel", .key = "retries",
      .help = "Cap of the back-off between attempts: 2^N seconds." },
    { "max-edge-addr-retries", .where = T, .type = FLAG_INT, .section = "tunnel",
      .key = "max_edge_addr_retries", .help = "Failed dials of one connection before another transport." },
    { "grace-period", .where = T, .type = FLAG_MS, .env = "TUNNEL_GRACE_PERIOD", .section = "tunnel",
      .key = "grace_period", .help = "How long running requests may take at shutdown." },
    { "rpc-timeout", .where = T, .type = FLAG_MS, .section = "tunnel", .key = "rpc_timeout",
      .help = "Time limit of a registration." },
    { "cacert", .where = T, .type = FLAG_STR, .env = "TUNNEL_CACERT", .section = "tunnel", .key = "cacert",
      .help = "PEM file of the only roots trusted for the edge." },
    { "post-quantum", "pq", .where = T | R, .type = FLAG_BOOL, .env = "TUNNEL_POST_QUANTUM",
      .section = "tunnel", .key = "post_quantum", .help = "Post-quantum key exchange or no connection." },
    { "features", "F", .where = R, .type = FLAG_LIST, .section = "tunnel", .key = "features",
      .help = "More feature names to announce. May repeat." },
    { "pidfile", .where = T, .type = FLAG_STR, .env = "TUNNEL_PIDFILE", .section = "tunnel", .key = "pidfile",
      .help = "Gets the process id once connected." },
    { "metrics", .where = T | FLAG_ORDER, .type = FLAG_STR, .env = "TUNNEL_METRICS",
      .section = "metrics_prom", .key = "listen", .help = "host:port of the metrics and probes listener." },
    { "tag", .where = T, .type = FLAG_LIST, .env = "TUNNEL_TAG", .section = "origin_proxy", .key = "tags",
      .help = "NAME=VALUE: request header Cf-Warp-Tag-NAME. May repeat." },
    { "loglevel", .where = T, .type = FLAG_STR, .env = "TUNNEL_LOGLEVEL", .section = "log", .key = "level",
      .words = "debug|info|warn|error|fatal", .otherwise = "info",
      .help = "debug, info, warn, error or fatal." },
    { "logfile", .where = T, .type = FLAG_STR, .env = "TUNNEL_LOGFILE", .section = "log", .key = "file",
      .help = "Also append JSON lines to this file." },
    { "log-directory", .where = T, .type = FLAG_STR, .env = "TUNNEL_LOGDIRECTORY", .section = "log",
      .key = "directory", .help = "Also write a rolling log in this folder." },
    { "output", .where = T, .type = FLAG_STR, .env = "TUNNEL_MANAGEMENT_OUTPUT|TUNNEL_LOG_OUTPUT",
      .section = "log", .key = "output", .words = "default|json", .otherwise = "default",
      .help = "default or json: form of the log." },
    { "quic-disable-pmtu-discovery", .where = T, .type = FLAG_BOOL, .env = "TUNNEL_DISABLE_QUIC_PMTU",
      .section = "edge_quic", .key = "disable_pmtu_discovery", .help = "QUIC packets of a fixed safe size." },
    { "quic-connection-level-flow-control-limit", .where = T, .type = FLAG_INT,
      .env = "TUNNEL_QUIC_CONN_LEVEL_FLOW_CONTROL_LIMIT", .section = "edge_quic", .key = "conn_window",
      .help = "Largest receive window of a QUIC connection, bytes." },
    { "quic-stream-level-flow-control-limit", .where = T, .type = FLAG_INT,
      .env = "TUNNEL_QUIC_STREAM_LEVEL_FLOW_CONTROL_LIMIT", .section = "edge_quic", .key = "stream_window",
      .help = "Largest receive window of a QUIC stream, bytes." },
    { "write-stream-timeout", .where = T, .type = FLAG_MS, .env = "TUNNEL_STREAM_WRITE_TIMEOUT",
      .section = "edge_quic", .key = "write_stream_timeout",
      .help = "Reset streams the edge stops reading. 0: never." },
    { "url", .where = T | R, .type = FLAG_STR, .env = "TUNNEL_URL", .section = "tunnel", .key = "url",
      .help = "Service for all requests until the dashboard's rules come." },
    { "unix-socket", .where = T | R, .type = FLAG_STR, .env = "TUNNEL_UNIX_SOCKET", .section = "tunnel",
      .key = "url", .instead = "unix:*", .help = "The same, over a Unix socket." },
    { "hello-world", .where = T | R, .type = FLAG_BOOL, .env = "TUNNEL_HELLO_WORLD", .section = "tunnel",
      .key = "url", .instead = "hello_world", .help = "The same, as a built-in test page." },
    { "bastion", .where = T | R, .type = FLAG_BOOL, .env = "TUNNEL_BASTION", .section = "tunnel",
      .key = "url", .instead = "bastion", .help = "The same, as a jump host." },
    { "max-active-flows", .where = R, .type = FLAG_INT, .env = "TUNNEL_MAX_ACTIVE_FLOWS",
      .section = "origins", .key = "max_active_flows",
      .help = "Most private-network streams at a time. 0: no limit." },
    { "dns-resolver-addrs", .where = R, .type = FLAG_LIST, .env = "TUNNEL_DNS_RESOLVER_ADDRS",
      .section = "origin_proxy", .key = "dns_resolvers",
      .help = "IP:PORT of a resolver for private networks. May repeat." },
    { "no-autoupdate", .where = T, .type = FLAG_BOOL, .env = "NO_AUTOUPDATE", .effect = FLAG_SILENT,
      .help = "Accepted: culvert never updates itself." },
    { "no-prechecks", .where = T, .type = FLAG_BOOL, .env = "TUNNEL_NO_PRECHECKS", .effect = FLAG_SILENT,
      .help = "Accepted: there is no connectivity report." },

    /* what may be asked for and does not exist here */
    { "icmpv4-src", .where = R, .type = FLAG_STR, .env = "TUNNEL_ICMPV4_SRC", .hidden = true,
      .effect = FLAG_WARNS },
    { "icmpv6-src", .where = R, .type = FLAG_STR, .env = "TUNNEL_ICMPV6_SRC", .hidden = true,
      .effect = FLAG_WARNS },
    { "stdin-control", .where = T, .type = FLAG_BOOL, .env = "STDIN_CONTROL", .hidden = true,
      .effect = FLAG_WARNS },
    { "label", .where = T, .type = FLAG_STR, .hidden = true, .effect = FLAG_WARNS },
    { "hostname", .where = T, .type = FLAG_STR, .env = "TUNNEL_HOSTNAME", .hidden = true,
      .effect = FLAG_WARNS },
    { "name", "n", .where = T, .type = FLAG_STR, .env = "TUNNEL_NAME", .hidden = true, .effect = FLAG_WARNS },
    { "overwrite-dns", "f", .where = T, .type = FLAG_BOOL, .env = "TUNNEL_FORCE_PROVISIONING_DNS",
      .hidden = true, .effect = FLAG_WARNS },
    { "socks5", .type = FLAG_BOOL, .env = "TUNNEL_SOCKS", .instead = "socks", LOCAL("proxyType") },
    { "proxy-connect-timeout", .type = FLAG_MS, LOCAL("connectTimeout") },
    { "proxy-tls-timeout", .type = FLAG_MS, LOCAL("tlsTimeout") },
    { "proxy-tcp-keepalive", .type = FLAG_MS, LOCAL("tcpKeepAlive") },
    { "proxy-no-happy-eyeballs", .type = FLAG_BOOL, LOCAL("noHappyEyeballs") },
    { "proxy-keepalive-connections", .type = FLAG_INT, LOCAL("keepAliveConnections") },
    { "proxy-keepalive-timeout", .type = FLAG_MS, LOCAL("keepAliveTimeout") },
    { "http-host-header", .type = FLAG_STR, .env = "TUNNEL_HTTP_HOST_HEADER", LOCAL("httpHostHeader") },
    { "origin-server-name", .type = FLAG_STR, .env = "TUNNEL_ORIGIN_SERVER_NAME", LOCAL("originServerName") },
    { "origin-ca-pool", .type = FLAG_STR, .env = "TUNNEL_ORIGIN_CA_POOL", LOCAL("caPool") },
    { "no-tls-verify", .type = FLAG_BOOL, .env = "NO_TLS_VERIFY", LOCAL("noTLSVerify") },
    { "no-chunked-encoding", .type = FLAG_BOOL, .env = "TUNNEL_NO_CHUNKED_ENCODING",
      LOCAL("disableChunkedEncoding") },
    { "http2-origin", .type = FLAG_BOOL, .env = "TUNNEL_ORIGIN_ENABLE_HTTP2", LOCAL("http2Origin") },
    { "proxy-address", .type = FLAG_STR, .env = "TUNNEL_PROXY_ADDRESS", LOCAL("proxyAddress") },
    { "proxy-port", .type = FLAG_INT, .env = "TUNNEL_PROXY_PORT", LOCAL("proxyPort") },

#define IGNORED(where_, name_, ...)                                                                          \
    {                                                                                                        \
        name_, .where = (where_), .hidden = true, .effect = FLAG_SILENT, .type = __VA_ARGS__                 \
    }
    IGNORED(T, "metrics-update-freq", FLAG_MS, .env = "TUNNEL_METRICS_UPDATE_FREQ"),
    IGNORED(T, "transport-loglevel", FLAG_STR, .alias = "proto-loglevel",
            .env = "TUNNEL_PROTO_LOGLEVEL|TUNNEL_TRANSPORT_LOGLEVEL"),
    IGNORED(T, "trace-output", FLAG_STR, .env = "TUNNEL_TRACE_OUTPUT"),
    IGNORED(T, "autoupdate-freq", FLAG_MS),
    IGNORED(T, "is-autoupdated", FLAG_BOOL),
    IGNORED(T, "management-diagnostics", FLAG_BOOL, .env = "TUNNEL_MANAGEMENT_DIAGNOSTICS"),
    IGNORED(T | R, "management-hostname", FLAG_STR, .env = "TUNNEL_MANAGEMENT_HOSTNAME"),
    IGNORED(T | R, "service-op-ip", FLAG_STR, .env = "TUNNEL_SERVICE_OP_IP"),
    IGNORED(T, "heartbeat-interval", FLAG_MS),
    IGNORED(T, "heartbeat-count", FLAG_INT),
    IGNORED(T, "compression-quality", FLAG_INT, .env = "TUNNEL_COMPRESSION_LEVEL"),
    IGNORED(T, "use-reconnect-token", FLAG_BOOL, .env = "TUNNEL_USE_RECONNECT_TOKEN"),
    IGNORED(T, "dial-edge-timeout", FLAG_MS, .env = "DIAL_EDGE_TIMEOUT"),
    IGNORED(T, "api-key", FLAG_STR, .env = "TUNNEL_API_KEY", .secret = true),
    IGNORED(T, "api-email", FLAG_STR, .env = "TUNNEL_API_EMAIL"),
    IGNORED(T, "api-ca-key", FLAG_STR, .env = "TUNNEL_API_CA_KEY", .secret = true),
    IGNORED(T, "api-url", FLAG_STR, .env = "TUNNEL_API_URL"),
    IGNORED(T, "id", FLAG_STR, .env = "TUNNEL_ID"),
    IGNORED(T, "lb-pool", FLAG_STR, .env = "TUNNEL_LB_POOL"),
    IGNORED(T, "ui", FLAG_BOOL),
    IGNORED(T, "quick-service", FLAG_STR),
    IGNORED(T, "max-fetch-size", FLAG_INT, .env = "TUNNEL_MAX_FETCH_SIZE"),
    IGNORED(T, "origincert", FLAG_STR, .env = "TUNNEL_ORIGIN_CERT"),
    IGNORED(T | R, "credentials-file", FLAG_STR, .alias = "cred-file", .env = "TUNNEL_CRED_FILE"),
    IGNORED(R, "credentials-contents", FLAG_STR, .env = "TUNNEL_CRED_CONTENTS", .secret = true),
    IGNORED(T | R, "proxy-connection-timeout", FLAG_MS),
    IGNORED(T | R, "proxy-expect-continue-timeout", FLAG_MS),
    IGNORED(T, "proxy-dns", FLAG_BOOL),
    IGNORED(T, "proxy-dns-port", FLAG_INT),
    IGNORED(T, "proxy-dns-address", FLAG_STR),
    IGNORED(T, "proxy-dns-upstream", FLAG_LIST),
    IGNORED(T, "proxy-dns-max-upstream-conns", FLAG_INT),
    IGNORED(T, "proxy-dns-bootstrap", FLAG_LIST),
    IGNORED(T | R, "ssh-server", FLAG_BOOL, .env = "TUNNEL_SSH_SERVER"),
    IGNORED(T | R, "local-ssh-port", FLAG_STR, .env = "LOCAL_SSH_PORT"),
    IGNORED(T | R, "ssh-idle-timeout", FLAG_MS, .env = "SSH_IDLE_TIMEOUT"),
    IGNORED(T | R, "ssh-max-timeout", FLAG_MS, .env = "SSH_MAX_TIMEOUT"),
    IGNORED(T | R, "bucket-name", FLAG_STR),
    IGNORED(T | R, "region-name", FLAG_STR),
    IGNORED(T | R, "secret-id", FLAG_STR, .secret = true),
    IGNORED(T | R, "access-key-id", FLAG_STR, .secret = true),
    IGNORED(T | R, "session-token", FLAG_STR, .secret = true),
    IGNORED(T | R, "s3-url-host", FLAG_STR),
    IGNORED(T | R, "host-key-path", FLAG_STR),

#define OURS .where = FLAG_OWN, .effect = FLAG_ACTS
    { "config", .type = FLAG_STR, OURS, .help = "The ini to read; SIGHUP reads it again." },
    { "check", .type = FLAG_STR, OURS, .help = "Only tell whether this ini is right." },
    { "dump", .type = FLAG_BOOL, OURS, .help = "Only print every option and where it was set." },
    { "modules", .type = FLAG_BOOL, OURS, .help = "Only list the modules that are found." },
    { "options", .type = FLAG_STR, OURS,
      .help = "Only print all options, as ini or markdown, or all metrics." },
    { "version", "v|V", .type = FLAG_BOOL, OURS, .help = "Only print the version." },
    { "timeout", .type = FLAG_MS, .where = FLAG_ORDER, .effect = FLAG_ACTS,
      .help = "How long to wait: 30s, 1m30s. drain: for requests under way." },
    { "json", .type = FLAG_BOOL, .where = FLAG_DOCTOR, .effect = FLAG_ACTS, .help = "Report as JSON." },
    { "help", "h", .type = FLAG_BOOL, OURS, .help = "This text." },
};
const size_t flag_count = sizeof(flag_table) / sizeof(flag_table[0]);

bool flag_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *w = words; w && *w; w += strcspn(w, "|"), w += *w == '|')
        if (strcspn(w, "|") == n && memcmp(w, word, n) == 0)
            return true;
    return false;
}

const struct flag *flag_find(const char *name, unsigned where)
{
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        if ((f->where & (where | FLAG_OWN)) && (strcmp(f->name, name) == 0 || flag_word(f->alias, name)))
            return f;
    }
    return NULL;
}
