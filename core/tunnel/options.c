/* options.c: the options of sections [tunnel] and [failover], and the rules between them. */
#include "tunnel/await.h"
#include "tunnel/discover.h"
#include "tunnel/failover.h"
#include "tunnel/tunnel.h"

#include <arpa/inet.h>
#include <string.h>

#define OPT(field, ...) CV_OPT(struct tunnel_conf, field, __VA_ARGS__)

const struct cv_option tunnel_options[] = {
    OPT(enabled, "yes", "Whether to connect to Cloudflare at all. `no` serves local listeners alone."),
    OPT(token, "",
        "The tunnel token. A secret: env:NAME or file:/path, never the token itself. A reload reads it "
        "again.",
        .flags = CV_LIVE),
    OPT(token_file, "",
        "File that holds the tunnel token. It is watched: when its content changes, every connection is "
        "registered "
        "anew with the new token before the old one is given up. A broken token is refused and the old one "
        "kept."),
    OPT(edge, "", "Addresses host:port of the edge, instead of looking them up."),
    OPT(region, "", "Region of the edge to connect to: us, fed. Empty: the nearest."),
    OPT(edge_ip_version, "auto", "Address family towards the edge.", .words = "auto|4|6"),
    OPT(edge_bind_address, "",
        "Local IP address for connections to the edge. It also decides the address family."),
    OPT(edge_refresh, "1h", "How often the addresses of the edge are looked up again. 0: never.",
        .flags = CV_LIVE),
    OPT(address_cache, "",
        "File that keeps the last known addresses of the edge, for a start while DNS is down. Empty: none is "
        "kept."),
    OPT(protocol, "auto",
        "Transport to the edge. auto: QUIC, and HTTP/2 where QUIC cannot connect, each connection on its "
        "own.",
        .flags = CV_LIVE, .words = "auto|quic|http2"),
    OPT(head_start, "2500ms",
        "With protocol auto: how long QUIC alone tries to connect before HTTP/2 is tried beside it. The "
        "first that "
        "connects is taken.",
        .flags = CV_LIVE),
    OPT(reprobe, "10m",
        "With protocol auto: how long after its connection a HTTP/2 connection tries to get back to QUIC; "
        "twice as long "
        "after each failure, up to 8 times. Requests under way stay where they are. 0: never.",
        .flags = CV_LIVE),
    OPT(ha_connections, "4", "Connections to the edge. Lowered to the number of its addresses.",
        .flags = CV_LIVE, .min = 1, .max = 64),
    OPT(spacing, "100ms", "Time between the starts of connections, once the first has registered.",
        .flags = CV_LIVE),
    OPT(retries, "5", "Cap of the back-off: 1 s times 2 to the power of this. It is retried for ever.",
        .flags = CV_LIVE, .min = 0, .max = 16),
    OPT(max_edge_addr_retries, "8",
        "Accepted for compatibility. Protocol auto decides by racing both transports, not by counting "
        "failures.",
        .flags = CV_LIVE, .min = 0, .max = 1000),
    OPT(on_refused, "exit",
        "What to do when Cloudflare refuses the registration for good before it was ever accepted (wrong "
        "secret, deleted "
        "tunnel): exit with status 1, or go on trying. With [failover] it always goes on.",
        .flags = CV_LIVE, .words = "exit|retry"),
    OPT(refused_tries, "3", "How many such refusals in a row count as for good.", .flags = CV_LIVE, .min = 1,
        .max = 1000),
    OPT(grace_period, "30s", "How long a shutdown waits for requests under way. At most 3m.",
        .flags = CV_LIVE),
    OPT(settle, "500ms",
        "At shutdown, and when a connection is replaced: how long it must have been quiet after its last "
        "request.",
        .flags = CV_LIVE),
    OPT(replaced_limit, "1h", "How long the requests of a connection that was replaced may still take.",
        .flags = CV_LIVE),
    OPT(rpc_timeout, "5s", "Time limit of calls to the edge, and life of a stream on which the edge calls."),
    OPT(control_timeout, "15s",
        "How long the edge may take to open the control stream of a new connection before it is given up.",
        .flags = CV_LIVE),
    OPT(stall_streams, "3",
        "A connection is half dead when so many of its streams wait for the edge (to take bytes, or to send "
        "a "
        "body), and no stream of it moves at all, for stall_after. It is then replaced. 0: never.",
        .flags = CV_LIVE, .min = 0, .max = 100000),
    OPT(stall_after, "10s", "See stall_streams.", .flags = CV_LIVE),
    OPT(cacert, "",
        "PEM file of the only certificates trusted for the edge, instead of the system's and Cloudflare's."),
    OPT(post_quantum, "no", "Insist on post-quantum key exchange with the edge."),
    OPT(features, "", "More feature names to announce to the edge."),
    OPT(pidfile, "", "File to write the process id to, once the first connection is registered."),
    OPT(url, "", "Service for all requests, in force until the edge sends a configuration."),
    OPT(ingress_file, "",
        "JSON configuration, of the form that the edge sends, in force until the edge sends one."),
    OPT(last_config, "",
        "File that keeps the configuration that the edge sent last, so that a restart serves at once, by the "
        "rules known then; a newer one replaces them when it comes. In a folder that outlives the process "
        "and "
        "may be written to. Empty: none is kept."),
    OPT(config_size, "4M", "Largest configuration accepted from the edge."),
    OPT(wait_for, "",
        "Services beside this connector that must have answered once before it connects, so that no visitor "
        "comes "
        "before they can be served: host:port or unix:PATH (a connection is enough), or "
        "http://host:port/path (a 2xx "
        "or 3xx)."),
    OPT(rules_wait, "2s",
        "How long requests that the edge sends before its first configuration wait for it; then they are "
        "answered 503. 0: not "
        "at all."),
    CV_OPT_END
};

static bool is_ip(const char *text)
{
    struct in_addr v4;
    struct in6_addr v6;
    return inet_pton(AF_INET, text, &v4) == 1 || inet_pton(AF_INET6, text, &v6) == 1;
}

static bool given(const char *text)
{
    return text && *text;
}

static enum cv_error check_edge(const void *conf, const struct cv_list *edge, struct cv_err *err)
{
    for (size_t i = 0; i < edge->n; i++) {
        struct cv_str host;
        uint16_t port;
        if (!discovery_split(edge->v[i], &host, &port))
            return cv_conf_fail(err, conf, "edge", "\"" CV_STR_FMT "\" is not host:port",
                                CV_STR_ARG(edge->v[i]));
    }
    return CV_OK;
}

enum cv_error tunnel_check(const void *conf, struct cv_err *err)
{
    const struct tunnel_conf *c = conf;
    if (c->grace_period.ms > 180000)
        return cv_conf_fail(err, conf, "grace_period", "grace-period must be equal or less than 3m0s");
    if (given(c->edge_bind_address) && !is_ip(c->edge_bind_address))
        return cv_conf_fail(err, conf, "edge_bind_address", "invalid value for edge-bind-address: %s",
                            c->edge_bind_address);
    enum cv_error e = check_edge(conf, &c->edge, err);
    if (e)
        return e;
    for (size_t i = 0; i < c->wait_for.n; i++) {
        struct cv_err why;
        if (await_check(c->wait_for.v[i], &why) != CV_OK)
            return cv_conf_fail(err, conf, "wait_for", "%s", why.text);
    }
    if (given(c->url) && given(c->ingress_file))
        return cv_conf_fail(err, conf, "ingress_file", "url and ingress_file exclude each other");
    if (c->rpc_timeout.ms <= 0)
        return cv_conf_fail(err, conf, "rpc_timeout", "must be more than 0");
    if (c->control_timeout.ms <= 0)
        return cv_conf_fail(err, conf, "control_timeout", "must be more than 0");
    return CV_OK;
}

/* ---- [failover] ---------------------------------------------------------------------------------------- */

#define FAILOVER(field, ...) CV_OPT(struct failover_conf, field, __VA_ARGS__)

const struct cv_option failover_options[] = {
    FAILOVER(
        token, "",
        "Token of a second tunnel, of another zone or account perhaps. A secret: env:NAME or file:/path, "
        "never the token itself. A reload reads it anew. Without it and token_file there is no failover.",
        .flags = CV_LIVE),
    FAILOVER(token_file, "", "File that holds that token; watched as [tunnel] token_file is."),
    FAILOVER(
        edge, "",
        "Addresses host:port of the second tunnel's edge, instead of looking them up. Empty: as [tunnel] "
        "says."),
    FAILOVER(mode, "standby",
             "standby: the second tunnel is connected only while the first is down. hot: always, so that it "
             "serves at once.",
             .flags = CV_LIVE, .words = "standby|hot"),
    FAILOVER(
        after, "30s",
        "The first tunnel is down when it has had no registered connection for so long. With hot it is at "
        "once, but for the start.",
        .flags = CV_LIVE),
    FAILOVER(
        back, "1m",
        "How long the first must have been registered again before the second stands back: requests under "
        "way on it finish, within [tunnel] replaced_limit.",
        .flags = CV_LIVE),
    FAILOVER(
        overlap, "no",
        "With hot: whether the second serves hostnames that rules of the first name, too, while the first "
        "is up. no: it refuses them, as a connector that is down would.",
        .flags = CV_LIVE),
    CV_OPT_END
};

enum cv_error failover_check(const void *conf, struct cv_err *err)
{
    const struct failover_conf *c = conf;
    if (c->token.n && given(c->token_file))
        return cv_conf_fail(err, conf, "token_file", "token and token_file exclude each other");
    return check_edge(conf, &c->edge, err);
}
