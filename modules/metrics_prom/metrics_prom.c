/* metrics_prom.c: the metrics server: an HTTP listener for Prometheus, probes and operators. It runs on the main thread,
 * so that no scrape ever holds up a request. */
#include "history.h"
#include "pages.h"

#include <netdb.h>
#include <unistd.h>

enum { TIMEOUT_S = 10, MAX_HEADERS = 16384, MAX_BODY = 4096 };

static const struct cv_option options[] = {
    CV_OPT(struct prom_conf, listen, "localhost:0",
           "Address of the metrics server, host:port. With port 0 the first free one of 20241 to 20245 is "
           "taken, else any."),
    CV_OPT(struct prom_conf, token, "",
           "Who shows it (Authorization: Bearer) may drain, reload and set the log level from anywhere. From "
           "this machine that needs no token. Empty: only from this machine.",
           .flags = CV_LIVE),
    CV_OPT(struct prom_conf, ready_connections, "1",
           "/ready: so many connections have to be registered. 0: they do not count.", .flags = CV_LIVE,
           .min = 0, .max = 64),
    CV_OPT(struct prom_conf, ready_rules, "yes",
           "/ready: rules have to be there, from the edge or from here: without any, every request is 503.",
           .flags = CV_LIVE),
    CV_OPT(struct prom_conf, ready_modules, "yes",
           "/ready: every module has to be able to do its work: the guard to admit, Access to check keys.",
           .flags = CV_LIVE),
    CV_OPT(struct prom_conf, status_page, "yes",
           "/: a page that shows connections, rules, rates and events; hostnames and services, no secrets.",
           .flags = CV_LIVE),
    CV_OPT_END
};

struct server {
    struct evhttp *http;
    struct history *history;
};

const struct history *prom_history(const struct cv_self *self)
{
    return ((const struct server *)self->shared)->history;
}

static void log_address(const struct cv_self *self, int fd)
{
    struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };
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
    const struct prom_conf *conf = self->conf;
    int fd = listener_open(conf->listen, err);
    if (fd < 0)
        return CV_E_CONF;
    struct evhttp *http = evhttp_new(cv_base(self));
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT);
    evhttp_set_timeout(http, TIMEOUT_S);
    evhttp_set_max_headers_size(http, MAX_HEADERS);
    evhttp_set_max_body_size(http, MAX_BODY);
    evhttp_set_gencb(http, pages_dispatch, self);
    if (!evhttp_accept_socket_with_handle(http, fd)) {
        close(fd);
        evhttp_free(http);
        return cv_fail(err, CV_E_CONF, "Error opening metrics server listener: %s", conf->listen);
    }
    struct server *server = cv_xmalloc(sizeof(*server));
    *server = (struct server){ http, history_new(self) };
    self->shared = server;
    log_address(self, fd);
    return CV_OK;
}

static void fini(struct cv_self *self)
{
    struct server *server = self->shared;
    evhttp_free(server->http);
    history_free(server->history);
    free(server);
    cv_log(self, CV_INFO, NULL, "Metrics server stopped");
}

static void event(const struct cv_self *self, const struct cv_event *event)
{
    (void)self;
    if (event->what == CV_EV_DRAINED)
        drain_is_over();
}

CV_MODULE(metrics_prom, .summary = "Serves Prometheus metrics and probes over HTTP.", .options = options,
          .conf_size = sizeof(struct prom_conf), .init = init, .fini = fini, .command = ask_command,
          .observer = &(const struct cv_observer_ops){ .event = event });
