/* dial.c: from a rule's target to a connection: name, addresses in parallel (RFC 8305), TCP or a Unix socket,
 * TLS. */
#include "origin.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ADDRS_MAX = 16,
    STAGGER_MS = 300,    /* before the next address is tried as well */
    SHARE_MIN_MS = 2000, /* of the time limit, for one address when they are tried one by one */
    BACKLOG_MS = 20,     /* until a Unix socket whose backlog is full is tried again */
    KEEP_ALIVE_S = 15,   /* when the rule says 0 */
    KEEP_ALIVE_MAX_S = 32767,
};

struct attempt {
    struct origin_dial *dial;
    int fd; /* -1: not under way */
    size_t addr;
    struct event event;
};

struct origin_dial {
    struct origin_worker *w;
    const struct cv_rule *rule;
    struct cv_str tls_name;
    origin_dialled_fn *done;
    void *arg;
    bool h2;
    struct cv_timer deadline; /* of the connect, then of the handshake */
    int64_t ends_at;          /* when the deadline comes; 0: never */
    struct cv_timer stagger;
    struct cv_lookup *lookup;
    struct sockaddr_storage addrs[ADDRS_MAX];
    struct attempt attempts[ADDRS_MAX];
    size_t n, next;             /* addresses; the next to try */
    unsigned open;              /* attempts under way */
    const struct cv_proxy *via; /* NULL: the way is direct */
    struct cv_proxy_talk talk;
    struct origin_link *link; /* talks to the proxy, shakes hands */
    enum cv_error error;      /* of the first address that failed: the one preferred */
    int system_error;         /* of that address */
    struct cv_err why;
};

/* ---- the end ----------------------------------------------------------------------------------------- */

static void abandon(struct attempt *a)
{
    if (a->fd < 0)
        return;
    event_del(&a->event);
    close(a->fd);
    a->fd = -1;
    a->dial->open--;
}

static void abandon_all(struct origin_dial *d)
{
    for (size_t i = 0; i < d->n; i++)
        abandon(&d->attempts[i]);
}

void origin_dial_cancel(struct origin_dial *d)
{
    if (!d)
        return;
    cv_resolve_cancel(d->lookup);
    cv_timer_clear(&d->deadline);
    cv_timer_clear(&d->stagger);
    abandon_all(d);
    origin_link_free(d->link);
    cv_proxy_end(&d->talk);
    free(d);
}

static void succeed(struct origin_dial *d)
{
    struct origin_link *link = d->link;
    origin_dialled_fn *done = d->done;
    void *arg = d->arg;
    d->link = NULL;
    cv_add(d->w->series[ORIGIN_OPENED], 1);
    origin_dial_cancel(d);
    done(arg, link, CV_OK, NULL);
}

static void fail(struct origin_dial *d)
{
    struct cv_err why = d->why;
    enum cv_error error = d->error;
    int system_error = d->system_error;
    origin_dialled_fn *done = d->done;
    void *arg = d->arg;
    origin_dial_cancel(d);
    errno = system_error;
    done(arg, NULL, error, why.text);
}

/* ---- TLS --------------------------------------------------------------------------------------------- */

static void handshake(struct origin_link *l, short what)
{
    (void)what;
    struct origin_dial *d = l->user;
    d->error = origin_link_handshake(l, &d->why);
    if (d->error == CV_E_CANCEL)
        return;
    if (d->error)
        fail(d);
    else
        succeed(d);
}

static void set_deadline(struct origin_dial *d, int64_t seconds)
{
    cv_timer_clear(&d->deadline);
    d->ends_at = 0;
    if (seconds == 0)
        return;
    struct cv_ms after = cv_seconds(seconds);
    cv_timer_set(&d->w->self, &d->deadline, after);
    d->ends_at = cv_now(&d->w->self) + after.ms;
}

static void secure(struct origin_dial *d)
{
    if (!d->rule->target.tls) {
        succeed(d);
        return;
    }
    d->link->ssl = origin_tls_new(d->w, d->rule, d->tls_name, &d->why);
    if (!d->link->ssl || SSL_set_fd(d->link->ssl, d->link->fd) != 1) {
        d->error = CV_E_TLS;
        fail(d);
        return;
    }
    if (d->h2)
        SSL_set_alpn_protos(d->link->ssl, (const uint8_t *)"\x02h2\x08http/1.1", 12);
    set_deadline(d, d->rule->settings.tls_timeout);
    origin_link_own(d->link, handshake, d);
    handshake(d->link, EV_WRITE);
}

/* ---- the proxy in between --------------------------------------------------------------------------- */

static void fail_proxy(struct origin_dial *d, enum cv_error error, const char *why)
{
    d->error = cv_fail(&d->why, error, "proxy %s: %s", d->via->host, why);
    fail(d);
}

/* A few hundred bytes into an empty socket: they fit, or something is very wrong. False: it is over. */
static bool say(struct origin_dial *d, struct cv_buf *out)
{
    struct iovec iov = { out->p, out->n };
    bool all = out->n == 0 || origin_link_write(d->link, &iov, 1) == (ssize_t)out->n;
    OPENSSL_cleanse(out->p, out->n);
    cv_buf_free(out);
    if (!all)
        fail_proxy(d, CV_E_IO, "write failed");
    return all;
}

static void hear(struct origin_link *l, short what)
{
    struct origin_dial *d = l->user;
    uint8_t bytes[512];
    struct iovec iov = { bytes, sizeof(bytes) };
    struct cv_buf out = { 0 };
    struct cv_err err = { "" };
    if (!(what & EV_READ))
        return;
    ssize_t n = origin_link_read(l, &iov, 1);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        fail_proxy(d, CV_E_IO, "it closed the connection");
        return;
    }
    switch (cv_proxy_feed(&d->talk, bytes, (size_t)n, &out, &err)) {
    case CV_PROXY_MORE: say(d, &out); break;
    case CV_PROXY_DONE: secure(d); break;
    case CV_PROXY_FAILED: fail_proxy(d, CV_E_REFUSED, err.text); break;
    }
}

/* An HTTP proxy is asked for plain HTTP in the request itself. */
static bool needs_tunnel(const struct origin_dial *d)
{
    return d->via && (d->rule->target.tls || d->via->kind == CV_PROXY_SOCKS5);
}

static void connected(struct origin_dial *d, int fd_take)
{
    struct cv_buf out = { 0 };
    cv_timer_clear(&d->stagger);
    d->link = origin_link_new(d->w, fd_take);
    if (!needs_tunnel(d)) {
        secure(d);
        return;
    }
    origin_link_own(d->link, hear, d);
    origin_link_watch(d->link, true);
    cv_proxy_begin(&d->talk, d->via, d->rule->target.host, d->rule->target.port, &out);
    say(d, &out);
}

/* ---- one address ------------------------------------------------------------------------------------- */

static void addr_text(const struct sockaddr_storage *addr, char *out, size_t n)
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (addr->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)addr;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
        snprintf(out, n, "tcp %s:%d", ip, ntohs(in->sin_port));
    } else if (addr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
        snprintf(out, n, "tcp [%s]:%d", ip, ntohs(in6->sin6_port));
    } else {
        snprintf(out, n, "unix %s", ((const struct sockaddr_un *)(const void *)addr)->sun_path);
    }
}

static enum cv_error kind_of(int system_error)
{
    switch (system_error) {
    case ETIMEDOUT: return CV_E_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return CV_E_LIMIT;
    default: return CV_E_REFUSED;
    }
}

static void note(struct origin_dial *d, size_t addr, int system_error)
{
    if (d->error)
        return;
    char where[160];
    addr_text(&d->addrs[addr], where, sizeof(where));
    d->system_error = system_error;
    const char *text = strerror(system_error); /* "Connection refused"; logs are searched for Go's words */
    d->error =
        cv_fail(&d->why, kind_of(system_error), "dial %s: connect: %c%s", where, tolower(*text), text + 1);
}

static void set_options(const struct origin_dial *d, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    int64_t every = d->rule->settings.tcp_keep_alive;
    if (every < 0)
        return;
    int seconds = every == 0 ? KEEP_ALIVE_S : every < KEEP_ALIVE_MAX_S ? (int)every : KEEP_ALIVE_MAX_S;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
}

static void try_next(struct origin_dial *d);

static void on_attempt(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct attempt *a = arg;
    struct origin_dial *d = a->dial;
    int error = 0;
    socklen_t n = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) {
        abandon(a);
        note(d, a->addr, error);
        try_next(d);
        return;
    }
    a->fd = -1;
    d->open--;
    abandon_all(d);
    connected(d, fd);
}

/* An errno value, 0 if the attempt is under way. A connection made at once is told of in a later turn as
 * well. */
static int start(struct origin_dial *d, size_t addr)
{
    static const socklen_t sizes[] = { [AF_UNIX] = sizeof(struct sockaddr_un),
                                       [AF_INET] = sizeof(struct sockaddr_in),
                                       [AF_INET6] = sizeof(struct sockaddr_in6) };
    const struct sockaddr_storage *to = &d->addrs[addr];
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (to->ss_family != AF_UNIX)
        set_options(d, fd);
    if (connect(fd, (const struct sockaddr *)to, sizes[to->ss_family]) < 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        return error;
    }
    struct attempt *a = &d->attempts[addr];
    *a = (struct attempt){ .dial = d, .fd = fd, .addr = addr };
    event_assign(&a->event, cv_base(&d->w->self), fd, EV_WRITE, on_attempt, a);
    event_add(&a->event, NULL);
    d->open++;
    return 0;
}

/* ---- all addresses ----------------------------------------------------------------------------------- */

/* How long the address just begun is waited for before the next one's turn. */
static struct cv_ms patience(const struct origin_dial *d)
{
    if (!d->rule->settings.no_happy_eyeballs)
        return (struct cv_ms){ STAGGER_MS };
    int64_t left = d->ends_at ? d->ends_at - cv_now(&d->w->self) : cv_seconds(CV_SECONDS_MAX).ms;
    int64_t share = left / (int64_t)(d->n - d->next + 1);
    return (struct cv_ms){ share > SHARE_MIN_MS ? share : SHARE_MIN_MS };
}

static void try_next(struct origin_dial *d)
{
    while (d->next < d->n) {
        size_t addr = d->next++;
        int error = start(d, addr);
        if (error == EAGAIN && d->addrs[addr].ss_family == AF_UNIX) {
            d->next--;
            cv_timer_set(&d->w->self, &d->stagger, (struct cv_ms){ BACKLOG_MS });
            return;
        }
        if (!error) {
            if (d->next < d->n)
                cv_timer_set(&d->w->self, &d->stagger, patience(d));
            return;
        }
        note(d, addr, error);
    }
    if (d->open == 0)
        fail(d);
}

static void on_stagger(struct cv_timer *timer)
{
    struct origin_dial *d = CV_OWNER(timer, struct origin_dial, stagger);
    if (d->rule->settings.no_happy_eyeballs && d->open > 0) {
        note(d, d->next - 1, ETIMEDOUT);
        abandon_all(d);
    }
    try_next(d);
}

static void on_deadline(struct cv_timer *timer)
{
    struct origin_dial *d = CV_OWNER(timer, struct origin_dial, deadline);
    const struct cv_target *t = &d->rule->target;
    struct cv_str where = t->unix_path.n ? t->unix_path : t->authority;
    d->error = cv_fail(&d->why, CV_E_TIMEOUT, "%s " CV_STR_FMT ": took too long",
                       d->link ? "TLS handshake with" : "dial", CV_STR_ARG(where));
    fail(d);
}

/* The first address's family first, then by turns: a family that is broken costs one stagger, not all (RFC
 * 8305 §4). */
static void interleave(struct origin_dial *d, const struct sockaddr_storage *addrs, size_t n)
{
    size_t at[2] = { 0, 0 }; /* the next of the first family, of the others */
    for (bool other = false; d->n < ADDRS_MAX && (at[0] < n || at[1] < n); other = !other) {
        size_t *i = &at[other];
        while (*i < n && (addrs[*i].ss_family != addrs[0].ss_family) != other)
            ++*i;
        if (*i < n) {
            d->attempts[d->n] = (struct attempt){ .dial = d, .fd = -1 };
            d->addrs[d->n++] = addrs[(*i)++];
        }
    }
}

/* Addresses that may not be reached are as good as none. */
static size_t permitted(const struct origin_dial *d, const struct sockaddr_storage *addrs, size_t n,
                        struct sockaddr_storage *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < n && kept < ADDRS_MAX; i++)
        if (d->via || origin_may_reach(d->rule, &addrs[i]))
            out[kept++] = addrs[i];
    return kept;
}

static struct cv_str dialled_host(const struct origin_dial *d)
{
    return d->via ? cv_str_of(d->via->host) : d->rule->target.host;
}

static void on_resolved(void *arg, enum cv_error error, const struct sockaddr_storage *addrs, size_t n)
{
    struct origin_dial *d = arg;
    struct sockaddr_storage usable[ADDRS_MAX];
    d->lookup = NULL;
    if (error || n == 0) {
        d->error = cv_fail(&d->why, error ? error : CV_E_RESOLVE, "lookup " CV_STR_FMT ": no such host",
                           CV_STR_ARG(dialled_host(d)));
        fail(d);
        return;
    }
    size_t kept = permitted(d, addrs, n, usable);
    if (kept == 0) {
        d->error = cv_fail(&d->why, CV_E_DENIED, CV_STR_FMT " is not to be reached from here",
                           CV_STR_ARG(d->rule->target.authority));
        fail(d);
        return;
    }
    interleave(d, usable, kept);
    try_next(d);
}

static void begin_unix(struct origin_dial *d)
{
    struct sockaddr_un *un = (void *)&d->addrs[0];
    struct cv_str path = d->rule->target.unix_path;
    un->sun_family = AF_UNIX;
    if (path.n < sizeof(un->sun_path)) {
        memcpy(un->sun_path, path.p, path.n);
        d->attempts[0] = (struct attempt){ .dial = d, .fd = -1 };
        d->n = 1;
    } else {
        d->error = cv_fail(&d->why, CV_E_CONF, "the path of the Unix socket is longer than %zu bytes",
                           sizeof(un->sun_path) - 1);
    }
    cv_timer_set(&d->w->self, &d->stagger, (struct cv_ms){ 0 });
}

/* Told in a later turn. */
static void bar(struct origin_dial *d, enum cv_error error, const char *why)
{
    d->error = cv_fail(&d->why, error, CV_STR_FMT ": %s", CV_STR_ARG(d->rule->target.authority), why);
    cv_timer_set(&d->w->self, &d->stagger, (struct cv_ms){ 0 });
}

struct origin_dial *origin_dial(struct origin_worker *w, const struct cv_rule *rule, struct cv_str tls_name,
                                origin_dialled_fn *done, void *arg)
{
    struct origin_dial *d = cv_xcalloc(1, sizeof(*d));
    const char *refusal;
    d->w = w;
    d->rule = rule;
    d->tls_name = tls_name;
    d->done = done;
    d->arg = arg;
    d->deadline.fire = on_deadline;
    d->stagger.fire = on_stagger;
    set_deadline(d, rule->settings.connect_timeout);
    d->via = origin_via(w, rule, &refusal);
    if (refusal)
        bar(d, CV_E_CONF, refusal);
    else if (d->via && !cv_may_reach_name(rule->target.host, rule->target.port))
        bar(d, CV_E_DENIED, "its name is not among the [origins] allow, and the proxy would look it up");
    else if (rule->target.unix_path.n)
        begin_unix(d);
    else
        d->lookup =
            cv_resolve(&w->self, dialled_host(d), d->via ? d->via->port : rule->target.port, on_resolved, d);
    return d;
}

void origin_dial_offer_h2(struct origin_dial *d)
{
    d->h2 = true;
}
