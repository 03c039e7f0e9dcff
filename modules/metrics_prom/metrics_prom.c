/* metrics_prom.c: the metrics server: /metrics for Prometheus, /ready and /healthcheck for probes, /config. It runs on
 * the main thread, so that no scrape ever holds up a request. */
#include "prom.h"

#include <errno.h>
#include <event2/http.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TIMEOUT_S = 10,
    MAX_HEADERS = 16384,
    MAX_BODY = 4096,
    FIRST_PORT = 20241,
    LAST_PORT = 20245,
    BACKLOG = 64
};

struct prom_conf {
    const char *listen;
};

static const struct cv_option options[] = { CV_OPT(struct prom_conf, listen, "localhost:0",
                                                   "Address of the metrics server, host:port. With port 0 "
                                                   "the first free one of 20241 to 20245 is taken, "
                                                   "else any."),
                                            CV_OPT_END };

/* ---- pages ------------------------------------------------------------------------------------------- */

static void answer(struct evhttp_request *req, int status, const char *type, struct evbuffer *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    evhttp_send_reply(req, status, NULL, body);
    evbuffer_free(body);
}

static const char text_type[] = "text/plain; charset=utf-8";

static void on_metrics(struct evhttp_request *req, void *arg)
{
    (void)arg;
    struct evbuffer *body = evbuffer_new();
    prom_write_series(body);
    prom_write_process(body);
    answer(req, 200, "text/plain; version=0.0.4; charset=utf-8", body);
}

static void on_ready(struct evhttp_request *req, void *arg)
{
    (void)arg;
    struct cv_status status;
    cv_status(&status);
    int code = status.ready && !status.not_ready ? 200 : 503;
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "{\"status\":%d,\"readyConnections\":%u,\"connectorId\":\"%s\"", code,
                        status.ready, status.connector_id);
    if (status.not_ready)
        evbuffer_add_printf(body, ",\"reason\":\"%s\"", status.not_ready);
    evbuffer_add_printf(body, "}");
    answer(req, code, text_type, body);
}

static void on_healthcheck(struct evhttp_request *req, void *arg)
{
    (void)arg;
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "OK\n");
    answer(req, 200, text_type, body);
}

static void on_config(struct evhttp_request *req, void *arg)
{
    (void)arg;
    struct evbuffer *body = evbuffer_new();
    char *json = cv_config_json();
    evbuffer_add(body, json, strlen(json));
    free(json);
    answer(req, 200, text_type, body);
}

static void on_quicktunnel(struct evhttp_request *req, void *arg)
{
    (void)arg;
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "{\"hostname\":\"\"}");
    answer(req, 200, text_type, body);
}

static void on_other(struct evhttp_request *req, void *arg)
{
    (void)arg;
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "404 page not found\n");
    answer(req, 404, text_type, body);
}

/* ---- the listener ------------------------------------------------------------------------------------ */

static int bind_one(const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int bind_port(const char *host, const char *port, struct cv_err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list;
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    if (rc != 0) {
        cv_fail(err, CV_E_CONF, "%s", gai_strerror(rc));
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = bind_one(a);
    if (fd < 0)
        cv_fail(err, CV_E_CONF, "%s", strerror(errno));
    freeaddrinfo(list);
    return fd;
}

/* getaddrinfo() takes a number beyond 65535 and cuts it. */
static bool is_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    return n > 0 && n <= 5 && text[n] == '\0' && strtol(text, NULL, 10) <= UINT16_MAX;
}

/* "host:port", "[v6]:port", ":port" */
static bool split_address(const char *listen, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(listen, ':');
    if (!colon)
        return false;
    const char *begin = listen, *end = colon;
    if (end > begin + 1 && *begin == '[' && end[-1] == ']')
        begin++, end--;
    if ((size_t)(end - begin) >= size)
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *port = colon + 1;
    return is_port(*port);
}

static int bind_known_port(const char *host, struct cv_err *err)
{
    for (int p = FIRST_PORT; p <= LAST_PORT; p++) {
        char port[8];
        snprintf(port, sizeof(port), "%d", p);
        int fd = bind_port(host, port, err);
        if (fd >= 0)
            return fd;
    }
    return bind_port(host, "0", err);
}

static int open_listener(const char *listen, struct cv_err *err)
{
    char host[256];
    const char *port;
    struct cv_err why = { .text = "not host:port, with a port up to 65535" };
    int fd = -1;
    if (split_address(listen, host, sizeof(host), &port))
        fd = strcmp(port, "0") == 0 ? bind_known_port(host, &why) : bind_port(host, port, &why);
    if (fd < 0)
        cv_fail(err, CV_E_CONF,
                "Error opening metrics server listener: failed to bind to address (%s): %s. Choose another "
                "address "
                "with --metrics, or stop what listens there.",
                listen, why.text);
    return fd;
}

static void log_address(const struct cv_self *self, int fd)
{
    struct sockaddr_storage addr;
    socklen_t size = sizeof(addr);
    char host[64], port[16];
    if (getsockname(fd, (struct sockaddr *)&addr, &size) == 0 &&
        getnameinfo((struct sockaddr *)&addr, size, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        cv_log(self, CV_INFO, NULL,
               addr.ss_family == AF_INET6 ? "Starting metrics server on [%s]:%s/metrics"
                                          : "Starting metrics server on %s:%s/metrics",
               host, port);
}

static enum cv_error init(struct cv_self *self, struct cv_err *err)
{
    static const struct {
        const char *path;
        void (*page)(struct evhttp_request *, void *);
    } pages[] = { { "/metrics", on_metrics },
                  { "/ready", on_ready },
                  { "/healthcheck", on_healthcheck },
                  { "/config", on_config },
                  { "/quicktunnel", on_quicktunnel } };
    const struct prom_conf *conf = self->conf;
    int fd = open_listener(conf->listen, err);
    if (fd < 0)
        return CV_E_CONF;
    struct evhttp *http = evhttp_new(cv_base(self));
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_timeout(http, TIMEOUT_S);
    evhttp_set_max_headers_size(http, MAX_HEADERS);
    evhttp_set_max_body_size(http, MAX_BODY);
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        evhttp_set_cb(http, pages[i].path, pages[i].page, NULL);
    evhttp_set_gencb(http, on_other, NULL);
    if (!evhttp_accept_socket_with_handle(http, fd)) {
        close(fd);
        evhttp_free(http);
        return cv_fail(err, CV_E_CONF, "Error opening metrics server listener: %s", conf->listen);
    }
    self->shared = http;
    log_address(self, fd);
    return CV_OK;
}

static void fini(struct cv_self *self)
{
    if (self->shared)
        evhttp_free(self->shared);
    cv_log(self, CV_INFO, NULL, "Metrics server stopped");
}

CV_MODULE(metrics_prom, .summary = "Serves Prometheus metrics and probes over HTTP.", .options = options,
          .conf_size = sizeof(struct prom_conf), .init = init, .fini = fini,
          .observer = &(const struct cv_observer_ops){ .event = NULL });
