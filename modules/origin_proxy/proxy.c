/* proxy.c: the module origin_proxy: its options and metrics, what it keeps for each worker, and which
 * requests are its. */
#include "egress.h"
#include "hello.h"
#include "origin.h"
#include "stream.h"

#include <string.h>
#include <time.h>

enum { HEADERS_MIN = 1024, RESOLVERS_MAX = 10 };

static const struct cv_option options[] = {
    CV_OPT(
        struct origin_conf, tags, "",
        "NAME=VALUE pairs, comma separated: each becomes the request header Cf-Warp-Tag-NAME. Also --tag."),
    CV_OPT(struct origin_conf, h2c, "",
           "Origins without TLS that speak HTTP/2 (a gRPC server, say): host:port, or the path of a Unix "
           "socket, "
           "as rules or [rewrite] have it. With TLS the rule's http2Origin lets the handshake decide.",
           .flags = CV_LIVE),
    CV_OPT(struct origin_conf, first_byte_timeout, "0s",
           "How long an origin may take from the end of the request to its response's head; 0 is for ever, "
           "which "
           "models that think before they speak need.",
           .flags = CV_LIVE),
    CV_OPT(struct origin_conf, idle_timeout, "0s",
           "How long a request or response may lie still, once begun, before it is cut; 0 is for ever.",
           .flags = CV_LIVE),
    CV_OPT(struct origin_conf, total_timeout, "0s",
           "How long a request and its response may take as a whole, WebSockets excepted; 0 is for ever. "
           "Long streams "
           "need more than a usual limit.",
           .flags = CV_LIVE),
    CV_OPT(struct origin_conf, half_close_timeout, "30s",
           "How long an upgraded connection (WebSocket) may lie still after the visitor has closed his side.",
           .flags = CV_LIVE),
    CV_OPT(struct origin_conf, websocket_ping, "54s",
           "How often the WebSocket of a TCP service is pinged, so that nobody takes it for dead. 0: never.",
           .flags = CV_LIVE),
    CV_OPT(struct origin_conf, max_response_headers, "256k",
           "Most bytes of names and values in a response's head, trailers included.", .flags = CV_LIVE),
    CV_OPT(struct origin_conf, buffered_body, "1M",
           "Longest request body of unknown length that is kept for a rule with disableChunkedEncoding, "
           "whose origin "
           "has to be told the length first.",
           .flags = CV_LIVE),
    CV_OPT(struct origin_conf, read_budget, "256k",
           "Most bytes read from one origin connection before the others have their turn.", .flags = CV_LIVE),
    CV_OPT(
        struct origin_conf, private_network, "no",
        "Whether TCP streams of private-network routes are served: to any address that the [origins] allow.",
        .flags = CV_LIVE),
    CV_OPT(
        struct origin_conf, dns_resolvers, "",
        "Resolvers IP:PORT, at most 10, taken in turn, for the private network's virtual DNS address "
        "([2606:4700:cf1:2000::1]:53). Empty: the machine's own. The [origins] allow holds for them as well.",
        .flags = CV_LIVE),
    CV_OPT(struct origin_conf, proxy, "env",
           "Whether http and https origins are reached through the proxies of HTTP_PROXY, HTTPS_PROXY and "
           "NO_PROXY. "
           "localhost and loopback addresses never are. [origins] allow then judges names, which the proxy "
           "looks up.",
           .words = "env|none", .flags = CV_LIVE),
    CV_OPT_END
};

static const struct cv_metric metrics[] = {
    [ORIGIN_OPENED] = { .name = "culvert_origin_connections_opened_total",
                        .help = "Connections made to origins.",
                        .type = CV_COUNTER },
    [ORIGIN_REUSED] = { .name = "culvert_origin_connections_reused_total",
                        .help = "Requests sent on a connection that was open already.",
                        .type = CV_COUNTER },
    [ORIGIN_RETRIES] = { .name = "culvert_origin_retries_total",
                         .help = "Requests sent again because the origin had closed the connection, or "
                                 "refused the "
                                 "stream, before it did anything.",
                         .type = CV_COUNTER },
    [ORIGIN_IDLE] = { .name = "culvert_origin_connections_idle",
                      .help = "Connections to origins that wait for a request.",
                      .type = CV_GAUGE },
    [ORIGIN_ERRORS] = { .name = "culvert_origin_errors_total",
                        .help = "Requests that failed at the origin, by what went wrong.",
                        .type = CV_COUNTER,
                        .labels = "reason" },
    [ORIGIN_DNS] = { .name = "cloudflared_virtual_origins_dns_requests_total",
                     .help = "Streams to the address of a private network that stands for a resolver.",
                     .type = CV_COUNTER,
                     .labels = "protocol" },
    [ORIGIN_FLOWS_LIMITED] = { .name = "flow_client_registrations_rate_limited_total",
                               .help =
                                   "Count registrations dropped due to high number of concurrent flows being "
                                   "handled",
                               .type = CV_COUNTER,
                               .labels = "flow_type" },
    CV_METRIC_END
};

/* ---- tags -------------------------------------------------------------------------------------------- */

static bool tag_line(struct cv_buf *out, struct cv_str tag)
{
    const char *equals = memchr(tag.p, '=', tag.n);
    if (!equals)
        return false;
    size_t n = (size_t)(equals - tag.p);
    return origin_tag_line(out, (struct cv_str){ tag.p, n }, (struct cv_str){ equals + 1, tag.n - n - 1 });
}

static void write_tags(struct origin_worker *w, const struct cv_self *self)
{
    const struct origin_conf *conf = self->conf;
    w->tags.n = 0;
    for (size_t i = 0; i < conf->tags.n; i++)
        tag_line(&w->tags, conf->tags.v[i]);
    origin_tag_line(&w->tags, CV_STR("ID"), cv_str_of(self->shared));
}

static enum cv_error check_resolvers(const struct origin_conf *conf, struct cv_err *err)
{
    struct cv_target target;
    if (conf->dns_resolvers.n > RESOLVERS_MAX)
        return cv_conf_fail(err, conf, "dns_resolvers", "more than %d", RESOLVERS_MAX);
    for (size_t i = 0; i < conf->dns_resolvers.n; i++)
        if (!origin_target_parse(conf->dns_resolvers.v[i], &target) || !origin_is_address(target.host))
            return cv_conf_fail(err, conf, "dns_resolvers", "\"" CV_STR_FMT "\" is not IP:PORT",
                                CV_STR_ARG(conf->dns_resolvers.v[i]));
    return CV_OK;
}

static enum cv_error check(const void *opaque, struct cv_err *err)
{
    const struct origin_conf *conf = opaque;
    struct cv_buf line = { 0 };
    enum cv_error error = CV_OK;
    for (size_t i = 0; i < conf->tags.n && !error; i++)
        if (!tag_line(&line, conf->tags.v[i]))
            error = cv_conf_fail(err, conf, "tags", "\"" CV_STR_FMT "\" is not NAME=VALUE",
                                 CV_STR_ARG(conf->tags.v[i]));
    cv_buf_free(&line);
    if (!error)
        error = check_resolvers(conf, err);
    if (!error && conf->max_response_headers.n < HEADERS_MIN)
        error = cv_conf_fail(err, conf, "max_response_headers", "at least %d bytes are needed", HEADERS_MIN);
    return error;
}

/* ---- life -------------------------------------------------------------------------------------------- */

static enum cv_error init(struct cv_self *self, struct cv_err *err)
{
    (void)err;
    struct cv_status status;
    cv_status(&status);
    self->shared = cv_xstrdup(status.connector_id ? status.connector_id : "");
    return CV_OK;
}

static void fini(struct cv_self *self)
{
    free(self->shared);
    self->shared = NULL;
}

static int64_t unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum cv_error start(struct cv_self *self, struct cv_err *err)
{
    (void)err;
    struct origin_worker *w = cv_xcalloc(1, sizeof(*w));
    w->self = *self;
    w->scratch = cv_xmalloc(ORIGIN_SCRATCH);
    LIST_INIT(&w->h2);
    TAILQ_INIT(&w->h2_leading);
    TAILQ_INIT(&w->h2_waiting);
    for (unsigned i = 0; i < ORIGIN_PLAIN_METRICS; i++)
        w->series[i] = cv_series(self, i, NULL);
    w->started_unix_ms = unix_ms();
    origin_find_resolver(w->resolver, "/etc/resolv.conf");
    w->egress = origin_egress_new();
    write_tags(w, self);
    self->local = w;
    return CV_OK;
}

static void stop(struct cv_self *self)
{
    struct origin_worker *w = self->local;
    origin_h2_free(w);
    origin_pool_free(w);
    origin_tls_free(w);
    origin_egress_free(w->egress);
    cv_buf_free(&w->tags);
    free(w->scratch);
    free(w);
    self->local = NULL;
}

static void reload(struct cv_self *self, const void *old_conf)
{
    (void)old_conf;
    struct origin_worker *w = self->local;
    if (!w) /* the main thread's call */
        return;
    w->self.conf = self->conf;
    write_tags(w, self);
}

static bool is_exchange(const struct cv_req *req)
{
    return (req->type == CV_HTTP || req->type == CV_WEBSOCKET) && req->rule &&
           (req->rule->kind == CV_SERVICE_HTTP || req->rule->kind == CV_SERVICE_UNIX);
}

static bool match(const struct cv_self *self, const struct cv_req *req)
{
    (void)self;
    return is_exchange(req) || origin_is_stream(req) || origin_is_hello(req);
}

/* ---- which of the three ------------------------------------------------------------------------------ */

union slot {
    struct origin_exchange exchange;
    struct origin_stream stream;
    struct origin_hello hello;
};

static const struct cv_end exchange_end = { origin_readable, origin_credit, origin_closed };

static const struct cv_end *end_of(const struct cv_req *req)
{
    return origin_is_stream(req)  ? &origin_stream_end
           : origin_is_hello(req) ? &origin_hello_end
                                  : &exchange_end;
}

static void open_any(const struct cv_self *self, struct cv_req *req)
{
    (origin_is_stream(req)  ? origin_stream_open
     : origin_is_hello(req) ? origin_hello_open
                            : origin_open)(self, req);
}

static void readable(const struct cv_self *self, struct cv_req *req)
{
    end_of(req)->readable(self, req);
}

static void credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    end_of(req)->credit(self, req, n);
}

static void closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    end_of(req)->closed(self, req, why);
}

static const struct cv_origin_ops ops = { .match = match,
                                          .open = open_any,
                                          .end = { readable, credit, closed } };

CV_MODULE(
    origin_proxy,
    .summary = "http, https and TCP services, over TCP or Unix sockets, with HTTP/2, gRPC and WebSocket",
    .options = options, .conf_size = sizeof(struct origin_conf), .metrics = metrics,
    .slot_size = sizeof(union slot), .origin = &ops, .check = check, .init = init, .start = start,
    .reload = reload, .stop = stop, .fini = fini);
