/* edge_loopback.c: for work and tests without any edge: a local HTTP listener in an edge's place. */
#include "loopback.h"

#include <errno.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 256 };

struct loopback_conf {
    const char *listen;
};

static const struct cv_option options[] = {
    CV_OPT(struct loopback_conf, listen, "127.0.0.1:8088",
           "Address to listen on, ip:port. Plain HTTP, no guard: loopback only."),
    CV_OPT_END
};

/* evutil_parse_sockaddr_port() takes no port 0, which means any. */
static bool parse_address(const char *text, struct sockaddr_storage *addr, int *size)
{
    size_t n = strlen(text);
    bool any = n > 2 && strcmp(text + n - 2, ":0") == 0;
    char *with_port = cv_xmemdup0(text, n);
    if (any)
        with_port[n - 1] = '1';
    bool good = evutil_parse_sockaddr_port(with_port, (struct sockaddr *)addr, size) == 0;
    free(with_port);
    if (good && any && addr->ss_family == AF_INET)
        ((struct sockaddr_in *)addr)->sin_port = 0;
    else if (good && any)
        ((struct sockaddr_in6 *)addr)->sin6_port = 0;
    return good;
}

static int open_listener(const char *address, struct cv_err *err)
{
    struct sockaddr_storage addr = { 0 };
    int size = sizeof(addr), on = 1;
    if (!parse_address(address, &addr, &size)) {
        cv_fail(err, CV_E_CONF, "edge_loopback: listen = %s is not ip:port", address);
        return -1;
    }
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, (socklen_t)size) != 0 || listen(fd, BACKLOG) != 0) {
        cv_fail(err, CV_E_CONF, "edge_loopback: cannot listen on %s: %s", address, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static enum cv_error init(struct cv_self *self, struct cv_err *err)
{
    const struct loopback_conf *conf = self->conf;
    int fd = open_listener(conf->listen, err);
    if (fd < 0)
        return CV_E_CONF;
    self->shared = cv_xmemdup0(&fd, sizeof(fd));
    struct sockaddr_storage addr = { .ss_family = AF_UNSPEC };
    socklen_t size = sizeof(addr);
    getsockname(fd, (struct sockaddr *)&addr, &size);
    in_port_t port = addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
                                                : ((struct sockaddr_in *)&addr)->sin_port;
    cv_log(self, CV_INFO, NULL, "Loopback edge listens on port %d", ntohs(port));
    return CV_OK;
}

static void fini(struct cv_self *self)
{
    close(*(int *)self->shared);
    free(self->shared);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *addr, int n,
                      void *arg)
{
    (void)listener;
    (void)addr;
    (void)n;
    loopback_accept(arg, fd);
}

/* Every worker accepts from the one socket. */
static enum cv_error start(struct cv_self *self, struct cv_err *err)
{
    struct loopback_worker *w = cv_xcalloc(1, sizeof(*w));
    const int *fd = self->shared;
    w->self = self;
    self->local = w;
    w->listener = evconnlistener_new(cv_base(self), on_accept, w, LEV_OPT_CLOSE_ON_EXEC, 0, *fd);
    return w->listener ? CV_OK : cv_fail(err, CV_E_CONF, "edge_loopback: no listener");
}

static void stop(struct cv_self *self)
{
    struct loopback_worker *w = self->local;
    if (w->listener)
        evconnlistener_free(w->listener);
    loopback_free_all(w);
    free(w);
}

CV_MODULE(edge_loopback, .summary = "A local HTTP listener in the edge's place, for work and tests.",
          .options = options, .conf_size = sizeof(struct loopback_conf),
          .slot_size = sizeof(struct loopback_slot), .init = init, .fini = fini, .start = start, .stop = stop,
          .edge = &(const struct cv_edge_ops){
              .head = loopback_head,
              .end = { .readable = loopback_readable, .credit = loopback_credit, .closed = loopback_closed },
          });
