/* edge_http2.c: the edge transport over HTTP/2: the module and its options. */
#include "h2.h"

#include <string.h>

static const struct cv_option options[] = {
    CV_OPT(struct h2_conf, connect_timeout, "15s", "How long a TCP connection to the edge may take."),
    CV_OPT(struct h2_conf, handshake_timeout, "15s", "How long the TLS handshake may take."),
    CV_OPT(struct h2_conf, settings_timeout, "10s", "How long the edge may take to begin speaking HTTP/2."),
    CV_OPT(struct h2_conf, keep_alive, "2s",
           "A PING is sent when the edge has been quiet for so long. 0: never, and a dead edge is noticed by "
           "TCP alone."),
    CV_OPT(struct h2_conf, idle_timeout, "5s",
           "An edge that has been quiet for so long, in spite of PINGs that it used to answer, or whose TCP "
           "acknowledges nothing any more, is given up. 0: never."),
    CV_OPT(struct h2_conf, max_streams, "0",
           "Streams the edge may have open at once on a connection; 0: as many as it likes.", .min = 0,
           .max = 2147483647),
    CV_OPT(struct h2_conf, max_headers, "256k", "Bytes of header fields of one request; beyond it is reset."),
    CV_OPT(struct h2_conf, proxy, "env",
           "Way out through a proxy: http://host:port (CONNECT) or socks5://host:port; none; or env: what "
           "HTTPS_PROXY "
           "and NO_PROXY say, loopback excepted. QUIC does not pass one: with protocol = auto HTTP/2 is "
           "taken then."),
    CV_OPT(struct h2_conf, proxy_credentials, "", "user:password for the proxy. env:NAME or file:/path."),
    CV_OPT_END
};

static enum cv_error check(const void *conf, struct cv_err *err)
{
    const struct h2_conf *c = conf;
    struct cv_proxy proxy;
    bool word = strcmp(c->proxy, "env") == 0 || strcmp(c->proxy, "none") == 0;
    if (!word && !h2_proxy_parse(cv_str_of(c->proxy), &proxy))
        return cv_conf_fail(err, conf, "proxy", "want http://host:port, socks5://host:port, env or none");
    return CV_OK;
}

const struct h2_conf *h2_conf(const struct h2_conn *c)
{
    return c->self->conf;
}

static const struct cv_edge_ops edge_ops = {
    .protocol = "http2",
    .dial = h2_dial,
    .close = h2_close,
    .gone = h2_gone,
    .head = h2_head,
    .path = h2_path,
    .end = { .readable = h2_readable, .credit = h2_credit, .closed = h2_closed },
};

CV_MODULE(edge_http2, .summary = "Connects to Cloudflare's edge over HTTP/2 on TCP.", .options = options,
          .conf_size = sizeof(struct h2_conf), .slot_size = sizeof(struct h2_stream), .check = check,
          .edge = &edge_ops);
