/* await.c: asks each target again and again until it has answered once. */
#include "tunnel/await.h"

#include "tunnel/discover.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum {
    PAUSE_MS = 50,
    PAUSE_MAX_MS = 1000,
    ANSWER_S = 2,
    REPEAT_MS = 30000,
    TARGET_MAX = 256,
    STATUS_LINE = 12
};

struct place {                /* what a target's text says */
    struct cv_str host, path; /* path: empty when a connection is enough */
    struct cv_str unix_path;
    uint16_t port;
};
struct target {
    struct await *await;
    struct place place;
    char text[TARGET_MAX];
    bool answered;
    struct cv_lookup *lookup;
    struct bufferevent *conn;
    struct cv_timer again;
    int64_t pause;
};
struct await {
    const struct cv_self *self;
    struct target *targets;
    size_t n;
    void (*answered)(void *arg);
    void *arg;
    struct cv_timer say; /* that it still waits */
    int64_t since;
};

/* ---- targets -------------------------------------------------------------------------------------------- */

static bool begins(struct cv_str *text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (text->n <= n || memcmp(text->p, prefix, n) != 0)
        return false;
    *text = (struct cv_str){ text->p + n, text->n - n };
    return true;
}

static bool parse_url(struct cv_str rest, struct place *p)
{
    const char *slash = memchr(rest.p, '/', rest.n);
    struct cv_str authority = { rest.p, slash ? (size_t)(slash - rest.p) : rest.n };
    p->path = slash ? (struct cv_str){ slash, rest.n - authority.n } : CV_STR("/");
    if (discovery_split(authority, &p->host, &p->port))
        return true;
    p->host = authority;
    p->port = 80;
    return authority.n > 0 && !memchr(authority.p, ':', authority.n);
}

static bool parse(struct cv_str text, struct place *p)
{
    *p = (struct place){ .port = 0 };
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7f)
            return false;
    if (text.n >= TARGET_MAX)
        return false;
    if (begins(&text, "unix:")) {
        p->unix_path = text;
        return text.n < sizeof(((struct sockaddr_un *)NULL)->sun_path);
    }
    return begins(&text, "http://") ? parse_url(text, p) : discovery_split(text, &p->host, &p->port);
}

enum cv_error await_check(struct cv_str target, struct cv_err *err)
{
    struct place p;
    return parse(target, &p)
               ? CV_OK
               : cv_fail(err, CV_E_CONF,
                         "\"" CV_STR_FMT "\" is not host:port, unix:PATH or http://host:port/path",
                         CV_STR_ARG(target));
}

/* ---- asking --------------------------------------------------------------------------------------------- */

static void hang_up(struct target *t)
{
    if (t->conn)
        bufferevent_free(t->conn);
    t->conn = NULL;
}

static void try_again(struct target *t)
{
    hang_up(t);
    cv_timer_set(t->await->self, &t->again, (struct cv_ms){ t->pause });
    t->pause = t->pause * 2 < PAUSE_MAX_MS ? t->pause * 2 : PAUSE_MAX_MS;
}

static void has_answered(struct target *t)
{
    struct await *a = t->await;
    hang_up(t);
    t->answered = true;
    if (await_missing(a))
        return;
    cv_timer_clear(&a->say);
    cv_log(a->self, CV_INFO, CV_FIELDS(CV_I("waitedMs", cv_now(a->self) - a->since)),
           "The services beside this connector answer, connecting");
    a->answered(a->arg);
}

static void on_bytes(struct bufferevent *conn, void *arg)
{
    struct target *t = arg;
    char line[STATUS_LINE + 1] = "";
    if (evbuffer_copyout(bufferevent_get_input(conn), line, STATUS_LINE) < STATUS_LINE)
        return;
    bool good = strncmp(line, "HTTP/1.", 7) == 0 && (line[9] == '2' || line[9] == '3');
    (good ? has_answered : try_again)(t);
}

static void on_event(struct bufferevent *conn, short what, void *arg)
{
    struct target *t = arg;
    if (!(what & BEV_EVENT_CONNECTED)) {
        try_again(t);
        return;
    }
    if (t->place.path.n == 0) {
        has_answered(t);
        return;
    }
    evbuffer_add_printf(bufferevent_get_output(conn),
                        "GET " CV_STR_FMT " HTTP/1.1\r\nHost: " CV_STR_FMT ":%u\r\nConnection: close\r\n\r\n",
                        CV_STR_ARG(t->place.path), CV_STR_ARG(t->place.host), t->place.port);
    bufferevent_enable(conn, EV_READ | EV_WRITE);
}

static void call(struct target *t, const struct sockaddr *to, size_t size)
{
    const struct timeval limit = { ANSWER_S, 0 };
    t->conn = bufferevent_socket_new(cv_base(t->await->self), -1, BEV_OPT_CLOSE_ON_FREE);
    if (!t->conn) {
        try_again(t);
        return;
    }
    bufferevent_setcb(t->conn, on_bytes, NULL, on_event, t);
    bufferevent_set_timeouts(t->conn, &limit, &limit);
    if (bufferevent_socket_connect(t->conn, to, (int)size) != 0 && t->conn)
        try_again(t);
}

static void on_addresses(void *arg, enum cv_error e, const struct sockaddr_storage *addrs, size_t n)
{
    struct target *t = arg;
    t->lookup = NULL;
    if (e || n == 0)
        try_again(t);
    else
        call(t, (const struct sockaddr *)addrs,
             addrs->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
}

static void on_again(struct cv_timer *timer)
{
    struct target *t = CV_OWNER(timer, struct target, again);
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (t->place.unix_path.n == 0) {
        t->lookup = cv_resolve(t->await->self, t->place.host, t->place.port, on_addresses, t);
        return;
    }
    memcpy(to.sun_path, t->place.unix_path.p, t->place.unix_path.n);
    call(t, (const struct sockaddr *)&to, sizeof(to));
}

/* ---- all of them ---------------------------------------------------------------------------------------- */

static void on_say(struct cv_timer *timer)
{
    struct await *a = CV_OWNER(timer, struct await, say);
    cv_log(a->self, CV_WARN, CV_FIELDS(CV_S("target", cv_str_of(await_missing(a)))),
           "Not connecting yet: a service beside this connector does not answer ([tunnel] wait_for)");
    cv_timer_set(a->self, &a->say, (struct cv_ms){ REPEAT_MS });
}

const char *await_missing(const struct await *a)
{
    for (size_t i = 0; a && i < a->n; i++)
        if (!a->targets[i].answered)
            return a->targets[i].text;
    return NULL;
}

struct await *await_new(const struct cv_self *self, const struct cv_list *targets,
                        void (*answered)(void *arg), void *arg)
{
    struct await *a = cv_xcalloc(1, sizeof(*a));
    *a = (struct await){ .self = self, .answered = answered, .arg = arg, .since = cv_now(self) };
    a->n = targets->n;
    a->targets = cv_xcalloc(a->n, sizeof(*a->targets));
    a->say.fire = on_say;
    for (size_t i = 0; i < a->n; i++) {
        struct target *t = &a->targets[i];
        t->await = a;
        t->pause = PAUSE_MS;
        t->again.fire = on_again;
        snprintf(t->text, sizeof(t->text), CV_STR_FMT, CV_STR_ARG(targets->v[i]));
        parse(cv_str_of(t->text), &t->place);
        cv_timer_set(self, &t->again, (struct cv_ms){ 0 });
    }
    cv_timer_set(self, &a->say, (struct cv_ms){ PAUSE_MAX_MS });
    return a;
}

void await_free(struct await *a)
{
    if (!a)
        return;
    cv_timer_clear(&a->say);
    for (size_t i = 0; i < a->n; i++) {
        if (a->targets[i].lookup)
            cv_resolve_cancel(a->targets[i].lookup);
        cv_timer_clear(&a->targets[i].again);
        hang_up(&a->targets[i]);
    }
    free(a->targets);
    free(a);
}
