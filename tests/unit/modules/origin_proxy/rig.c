/* rig.c: origin_proxy on a worker of its own, between a scripted edge and an origin that the test plays itself. */
#include "rig.h"

#include "culvert/operate.h"
#include "request/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct cv_module cv_module_origin_proxy;

enum { PATIENCE_MS = 5000 };

static struct rig *rig;

/* ---- the edge ---------------------------------------------------------------------------------------- */

struct slot {
    struct rig_seen *seen;
};

static struct rig_seen *seen_by(const struct cv_self *self, struct cv_req *req)
{
    return ((struct slot *)cv_slot(req, self))->seen;
}

static void print_fields(char *out, size_t size, const struct cv_headers *fields, const char *between)
{
    struct cv_str name, value;
    size_t n = 0;
    for (size_t i = 0; cv_header_at(fields, i, &name, &value) && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, CV_STR_FMT "%s" CV_STR_FMT " ", CV_STR_ARG(name), between,
                              CV_STR_ARG(value));
}

static void edge_head(const struct cv_self *self, struct cv_req *req)
{
    struct rig_seen *seen = seen_by(self, req);
    seen->status = req->status;
    seen->error = req->error;
    snprintf(seen->why, sizeof(seen->why), CV_STR_FMT, CV_STR_ARG(req->error_text));
    print_fields(seen->head, sizeof(seen->head), req->resp_headers, "=");
    if (req->error)
        cv_req_done(req);
}

static void edge_readable(const struct cv_self *self, struct cv_req *req)
{
    struct rig_seen *seen = seen_by(self, req);
    struct iovec iov;
    while (!rig->hold && cv_pipe_peek(req->down, 0, &iov, 1) == 1) {
        cv_buf_add(&seen->body, iov.iov_base, iov.iov_len);
        cv_pipe_consume(req->down, iov.iov_len);
    }
    if (!cv_pipe_ended(req->down) || seen->ended)
        return;
    seen->ended = true;
    print_fields(seen->trailers, sizeof(seen->trailers), req->trailers, "=");
    cv_req_done(req);
}

static void edge_credit(const struct cv_self *self, struct cv_req *req, size_t n)
{
    (void)self, (void)req, (void)n;
}

static void edge_closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    struct rig_seen *seen = seen_by(self, req);
    seen->closed = true;
    if (!seen->error)
        seen->error = why;
    if (req->error)
        snprintf(seen->why, sizeof(seen->why), CV_STR_FMT, CV_STR_ARG(req->error_text));
}

static const struct cv_edge_ops edge_ops = { .head = edge_head,
                                             .end = { edge_readable, edge_credit, edge_closed } };
static const struct cv_module edge_module = { .name = "edge", .edge = &edge_ops };
static const struct cv_instance instances[] = {
    { .module = &edge_module, .name = "edge", .id = 0, .slot_at = 0 },
    { .module = &cv_module_origin_proxy, .name = "origin_proxy", .id = 1, .slot_at = 16 },
};

/* ---- the rig ----------------------------------------------------------------------------------------- */

void rig_document(struct rig *r, struct cv_str document)
{
    struct route_table *table;
    bool started;
    struct reason reason;
    CV_ASSERT(config_read(document, &(struct config_local){ 0 }, &table, &started, &reason) == CV_OK);
    requests_set_routes(r->worker, TUNNEL_FIRST, table);
}

void rig_rule(struct rig *r, const char *service, const char *settings)
{
    char text[1024];
    int n = snprintf(text, sizeof(text), "{\"ingress\":[{\"service\":\"%s\"}],\"originRequest\":{%s}}",
                     service, settings);
    rig_document(r, (struct cv_str){ text, (size_t)n });
}

static void listen_on_loopback(struct rig *r)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(addr);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CV_ASSERT(r->listener >= 0);
    CV_ASSERT(bind(r->listener, (struct sockaddr *)&addr, n) == 0 && listen(r->listener, 64) == 0);
    CV_ASSERT(getsockname(r->listener, (struct sockaddr *)&addr, &n) == 0);
    r->port = ntohs(addr.sin_port);
}

struct rig *rig_new(void)
{
    struct rig *r = rig = cv_xcalloc(1, sizeof(*r));
    cv_log_level_set(CV_FATAL); /* failures are what most of these tests are about */
    r->limits = (struct limits_conf){ .memory = { 8 << 20 }, .requests = 1000, .pipe = { 50000 } };
    r->conf = (struct origin_conf){ .half_close_timeout = { 30000 },
                                    .max_response_headers = { 4096 },
                                    .buffered_body = { 100000 },
                                    .read_budget = { 256 * 1024 } };
    r->worker = worker_new(0);
    r->selfs[0] = (struct cv_self){ .worker = r->worker, .instance = &instances[0] };
    r->selfs[1] = (struct cv_self){
        .worker = r->worker, .instance = &instances[1], .conf = &r->conf, .shared = cv_xstrdup("11112222")
    };
    r->origins[0] = &r->selfs[1];
    r->chain = (struct chain){ .origins = r->origins,
                               .n_origins = 1,
                               .slot_bytes = 16 + cv_module_origin_proxy.slot_size };
    r->worker->selfs = r->selfs;
    r->worker->chain = &r->chain;
    requests_setup(r->worker, &r->limits);
    CV_ASSERT(cv_module_origin_proxy.start(&r->selfs[1], NULL) == CV_OK);
    listen_on_loopback(r);
    char service[64];
    snprintf(service, sizeof(service), "http://127.0.0.1:%u", r->port);
    rig_rule(r, service, "");
    return r;
}

void rig_restart_module(struct rig *r)
{
    cv_module_origin_proxy.stop(&r->selfs[1]);
    CV_ASSERT(cv_module_origin_proxy.start(&r->selfs[1], NULL) == CV_OK);
}

void rig_free(struct rig *r)
{
    rig_turn(r);
    cv_module_origin_proxy.stop(&r->selfs[1]);
    requests_teardown(r->worker);
    worker_free(r->worker);
    metrics_free();
    free(r->selfs[1].shared);
    close(r->listener);
    free(r);
    rig = NULL;
    cv_log_level_set(CV_INFO);
}

struct origin_worker *rig_worker(struct rig *r)
{
    return r->selfs[1].local;
}

struct cv_req *rig_request(struct rig *r, const char *method, const char *path, struct rig_seen *seen)
{
    *seen = (struct rig_seen){ .status = 0 };
    struct cv_req *req = cv_req_new(&r->selfs[0], NULL, CV_HTTP);
    ((struct slot *)cv_slot(req, &r->selfs[0]))->seen = seen;
    req->method = cv_str_of(method);
    req->path = cv_str_of(path);
    req->authority = CV_STR("a.example.com");
    req->body_length = 0;
    return req;
}

void rig_send(struct rig *r, struct cv_req *req)
{
    cv_req_start(req);
    rig_turn(r);
}

void rig_seen_free(struct rig_seen *seen)
{
    cv_buf_free(&seen->body);
}

void rig_take(struct rig *r, struct cv_req *req)
{
    r->hold = false;
    edge_readable(&r->selfs[0], req);
    rig_turn(r);
}

/* ---- turning ----------------------------------------------------------------------------------------- */

void rig_turn(struct rig *r)
{
    for (int i = 0; i < 20; i++)
        event_base_loop(r->worker->base, EVLOOP_NONBLOCK);
}

static bool wait_a_little(struct rig *r, int64_t since)
{
    event_base_loop(r->worker->base, EVLOOP_NONBLOCK);
    usleep(500);
    return clock_ms() - since < PATIENCE_MS;
}

bool rig_until(struct rig *r, const bool *what)
{
    for (int64_t since = clock_ms(); !*what && wait_a_little(r, since);)
        ;
    return *what;
}

int rig_accept(struct rig *r)
{
    int fd = -1;
    for (int64_t since = clock_ms(); fd < 0 && wait_a_little(r, since);)
        fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd;
}

const char *rig_hear(struct rig *r, int fd, const char *until)
{
    static char heard[200000];
    size_t n = 0;
    heard[0] = '\0';
    for (int64_t since = clock_ms(); n < sizeof(heard) - 1;) {
        if (n >= strlen(until) && memcmp(heard + n - strlen(until), until, strlen(until)) == 0)
            return heard;
        ssize_t got = recv(fd, heard + n, 1, 0);
        if (got == 0)
            break;
        if (got < 0 && !wait_a_little(r, since))
            break;
        n += got > 0 ? 1 : 0;
        heard[n] = '\0';
    }
    fprintf(stderr, "    heard \"%s\" instead of \"…%s\"\n", heard, until);
    return NULL;
}

void rig_say(struct rig *r, int fd, const char *text)
{
    size_t n = strlen(text);
    for (int64_t since = clock_ms(); n > 0;) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent > 0) {
            text += sent;
            n -= (size_t)sent;
        } else if (!wait_a_little(r, since)) {
            return;
        }
    }
    rig_turn(r);
}

bool rig_hears_end(struct rig *r, int fd)
{
    char byte;
    ssize_t got = -1;
    for (int64_t since = clock_ms(); got < 0 && wait_a_little(r, since);) {
        got = recv(fd, &byte, 1, 0);
        if (got < 0 && errno == ECONNRESET)
            return true;
    }
    return got == 0;
}
