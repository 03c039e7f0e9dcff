/* origins.c: the services that the rules known here send requests to: can they be reached from here? */
#include "doctor/doctor.h"

#include <culvert/operate.h>
#include <culvert/route.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { ORIGINS_MAX = 50, CONNECT_MS = 5000 };

struct attempt {
    struct runtime *r;
    struct cv_lookup *lookup;
    struct sockaddr_storage addr;
    bool told;
    enum cv_error error;
};

static void tell(struct attempt *a)
{
    a->told = true;
    event_base_loopbreak(a->r->main->base);
}

static void on_addresses(void *arg, enum cv_error e, const struct sockaddr_storage *addrs, size_t n)
{
    struct attempt *a = arg;
    a->lookup = NULL;
    a->error = e;
    if (n)
        a->addr = addrs[0];
    tell(a);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    tell(arg);
}

/* 0, or why not, as errno says it. */
static int connect_to(struct attempt *a, const struct sockaddr *to, socklen_t size)
{
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = connect(fd, to, size) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        struct event *event = event_new(a->r->main->base, fd, EV_WRITE, on_writable, a);
        CV_ASSERT(event && event_add(event, NULL) == 0);
        a->told = false;
        wait_until_told(a->r, CONNECT_MS);
        event_free(event);
        socklen_t n = sizeof(error);
        if (!a->told)
            error = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
            error = errno;
    }
    close(fd);
    return error;
}

static void report_origin(struct report *report, const struct cv_rule *rule, const char *why)
{
    char to[128] = "";
    if (rule->target.unix_path.n)
        snprintf(to, sizeof(to), "unix:" CV_STR_FMT, CV_STR_ARG(rule->target.unix_path));
    else
        snprintf(to, sizeof(to), CV_STR_FMT, CV_STR_ARG(rule->target.authority));
    report_add(report, "origin", why ? VERDICT_BAD : VERDICT_GOOD,
               why ? "start that service, or correct the rule in the dashboard or [rewrite]" : NULL,
               "rule %d: " CV_STR_FMT " (%s): %s", rule->index, CV_STR_ARG(rule->service), to,
               why ? why : "reached");
}

static void check_unix(struct report *report, struct runtime *r, const struct cv_rule *rule)
{
    struct attempt a = { .r = r };
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (rule->target.unix_path.n >= sizeof(to.sun_path)) {
        report_origin(report, rule, strerror(ENAMETOOLONG));
        return;
    }
    memcpy(to.sun_path, rule->target.unix_path.p, rule->target.unix_path.n);
    int error = connect_to(&a, (const struct sockaddr *)&to, sizeof(to));
    report_origin(report, rule, error ? strerror(error) : NULL);
}

static void check_address(struct report *report, struct runtime *r, const struct cv_rule *rule)
{
    struct attempt a = { .r = r, .error = CV_E_TIMEOUT };
    a.lookup = cv_resolve(worker_core_self(r->main), rule->target.host, rule->target.port, on_addresses, &a);
    wait_until_told(r, CONNECT_MS);
    if (!a.told)
        cv_resolve_cancel(a.lookup);
    if (a.error) {
        report_origin(report, rule, cv_error_text(a.error));
        return;
    }
    if (!cv_may_reach(rule->target.host, &a.addr)) {
        report_origin(report, rule, "[origins] allow does not hold this address");
        return;
    }
    socklen_t size = a.addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int error = connect_to(&a, (const struct sockaddr *)&a.addr, size);
    report_origin(report, rule, error ? strerror(error) : NULL);
}

static bool same_target(const struct cv_rule *a, const struct cv_rule *b)
{
    return a->kind == b->kind && cv_str_eq(a->target.host, b->target.host) &&
           a->target.port == b->target.port && cv_str_eq(a->target.unix_path, b->target.unix_path);
}

/* Statuses, the test page, and what names its target later. */
static bool has_target(const struct cv_rule *rule)
{
    return rule->kind == CV_SERVICE_UNIX ||
           ((rule->kind == CV_SERVICE_HTTP || rule->kind == CV_SERVICE_TCP) && rule->target.port != 0);
}

struct visit {
    struct report *report;
    struct runtime *r;
    const struct cv_rule *seen[ORIGINS_MAX];
    size_t n;
};

static void on_rule(void *arg, const struct cv_rule *rule)
{
    struct visit *v = arg;
    if (!has_target(rule) || v->n == ORIGINS_MAX)
        return;
    for (size_t i = 0; i < v->n; i++)
        if (same_target(v->seen[i], rule))
            return;
    v->seen[v->n++] = rule;
    (rule->kind == CV_SERVICE_UNIX ? check_unix : check_address)(v->report, v->r, rule);
}

void check_origins(struct report *report, struct runtime *r)
{
    struct visit v = { .report = report, .r = r };
    cv_rules_each(on_rule, &v);
    if (v.n == 0)
        report_add(report, "origin", VERDICT_SKIPPED, NULL, "no rule known here names a service");
}
