/* resolve.c: names to addresses, with c-ares on this thread's loop; answers are kept for their TTL. */
#include "loop/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 128,
    NAMES_MAX = 1024, /* names remembered; more may be there while they are being asked for */
    NAME_BYTES = 255, /* RFC 1035 §2.3.4, with room for a final dot */
    ADDRS_MAX = 32,   /* of one name */
    ASK_TIMEOUT_MS = 2000,
    ASK_TRIES = 3,
    TTL_MIN_S = 1, /* also for what has no TTL, as a line of /etc/hosts */
    TTL_MAX_S = 3600,
    ABSENT_MS = 3000,  /* "there is no such name" is believed for so long */
    TROUBLE_MS = 1000, /* and so long no server is asked again after none answered */
};

struct watch { /* a socket of c-ares */
    struct watch *next;
    evutil_socket_t fd;
    struct event event;
};

struct name { /* being asked for, or remembered */
    struct name *next;
    struct resolver *resolver;
    struct cv_lookup *lookups; /* that wait for the answer, or for their turn to be told it */
    bool asking;
    int64_t good_until;
    enum cv_error error;
    size_t n;
    struct sockaddr_storage *addrs; /* without ports */
    char host[NAME_BYTES + 1];      /* lower case */
};

struct cv_lookup {
    struct cv_lookup *next, **at; /* of name->lookups */
    struct name *name;
    struct cv_timer soon;
    uint16_t port;
    cv_resolved_fn *done;
    void *arg;
};

struct resolver {
    struct cv_worker *worker;
    ares_channel channel;
    struct cv_timer timer;
    struct watch *watches;
    struct name *names[BUCKETS];
    size_t n_names;
};

/* ---- c-ares on the loop ------------------------------------------------------------------------------ */

static void arm(struct resolver *r)
{
    struct timeval tv;
    if (ares_timeout(r->channel, NULL, &tv))
        cv_timer_set(&r->worker->core, &r->timer, (struct cv_ms){ tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1 });
    else
        cv_timer_clear(&r->timer);
}

static void on_timer(struct cv_timer *timer)
{
    struct resolver *r = CV_OWNER(timer, struct resolver, timer);
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(r);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct resolver *r = arg;
    ares_process_fd(r->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
                    what & EV_WRITE ? fd : ARES_SOCKET_BAD);
    arm(r);
}

static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = arg;
    struct watch **at = &r->watches;
    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    struct watch *w = *at;
    if (w)
        event_del(&w->event);
    if (!readable && !writable) {
        if (w) {
            *at = w->next;
            free(w);
        }
        return;
    }
    if (!w) {
        w = cv_xcalloc(1, sizeof(*w));
        w->fd = fd;
        *at = w;
    }
    short what = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST);
    event_assign(&w->event, r->worker->base, fd, what, on_socket, r);
    event_add(&w->event, NULL);
}

void resolver_new(struct cv_worker *worker)
{
    struct resolver *r = cv_xcalloc(1, sizeof(*r));
    r->worker = worker;
    r->timer.fire = on_timer;
    struct ares_options options = { .timeout = ASK_TIMEOUT_MS,
                                    .tries = ASK_TRIES,
                                    .sock_state_cb = on_socket_state,
                                    .sock_state_cb_data = r };
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_QUERY_CACHE /* c-ares 1.31 and later remember answers too: what is forgotten here must be asked */
    mask |= ARES_OPT_QUERY_CACHE;
    options.qcache_max_ttl = 0;
#endif
    int why = ares_library_init(ARES_LIB_INIT_ALL);
    if (why == ARES_SUCCESS)
        why = ares_init_options(&r->channel, &options, mask);
    if (why != ARES_SUCCESS) {
        r->channel = NULL;
        log_line(CV_ERROR, NULL, "names cannot be resolved: %s", ares_strerror(why));
    }
    worker->resolver = r;
}

static void name_free(struct name *name)
{
    free(name->addrs);
    free(name);
}

void resolver_free(struct cv_worker *worker)
{
    struct resolver *r = worker->resolver;
    if (r->channel)
        ares_destroy(r->channel); /* ends what is still being asked for: answered() runs */
    cv_timer_clear(&r->timer);
    for (size_t i = 0; i < BUCKETS; i++) {
        while (r->names[i]) {
            struct name *name = r->names[i];
            r->names[i] = name->next;
            while (name->lookups)
                cv_resolve_cancel(name->lookups);
            name_free(name);
        }
    }
    ares_library_cleanup();
    free(r);
    worker->resolver = NULL;
}

ares_channel resolver_channel(struct cv_worker *worker)
{
    return ((struct resolver *)worker->resolver)->channel;
}

void resolver_asked(struct cv_worker *worker)
{
    struct resolver *r = worker->resolver;
    if (r->channel)
        arm(r);
}

/* ---- names remembered -------------------------------------------------------------------------------- */

static struct name **bucket(struct resolver *r, const char *host)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = host; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    return &r->names[hash % BUCKETS];
}

/* Makes room: what has expired goes, or everything that nobody waits for. */
static void forget(struct resolver *r, int64_t now)
{
    for (int pass = 0; pass < 2 && r->n_names >= NAMES_MAX; pass++) {
        for (size_t i = 0; i < BUCKETS; i++) {
            struct name **at = &r->names[i];
            while (*at) {
                struct name *name = *at;
                if (name->lookups || name->asking || (pass == 0 && name->good_until > now)) {
                    at = &name->next;
                    continue;
                }
                *at = name->next;
                r->n_names--;
                name_free(name);
            }
        }
    }
}

static struct name *name_of(struct resolver *r, const char *host)
{
    struct name **at = bucket(r, host);
    for (struct name *name = *at; name; name = name->next)
        if (strcmp(name->host, host) == 0)
            return name;
    if (r->n_names >= NAMES_MAX)
        forget(r, clock_ms());
    struct name *name = cv_xcalloc(1, sizeof(*name));
    name->resolver = r;
    memcpy(name->host, host, strlen(host) + 1);
    name->next = *at;
    *at = name;
    r->n_names++;
    return name;
}

static void name_set(struct name *name, const struct sockaddr_storage *addrs, size_t n)
{
    free(name->addrs);
    name->addrs = cv_xmalloc(n * sizeof(*addrs));
    memcpy(name->addrs, addrs, n * sizeof(*addrs));
    name->n = n;
    name->error = CV_OK;
}

/* ---- answers ----------------------------------------------------------------------------------------- */

static void tell(struct cv_timer *timer)
{
    struct cv_lookup *l = CV_OWNER(timer, struct cv_lookup, soon);
    struct sockaddr_storage addrs[ADDRS_MAX];
    enum cv_error error = l->name->error;
    size_t n = error ? 0 : l->name->n;
    for (size_t i = 0; i < n; i++) {
        addrs[i] = l->name->addrs[i];
        if (addrs[i].ss_family == AF_INET)
            ((struct sockaddr_in *)&addrs[i])->sin_port = htons(l->port);
        else
            ((struct sockaddr_in6 *)&addrs[i])->sin6_port = htons(l->port);
    }
    cv_resolved_fn *done = l->done;
    void *arg = l->arg;
    cv_resolve_cancel(l);
    done(arg, error, addrs, n);
}

static void tell_soon(struct cv_lookup *l)
{
    cv_timer_set(&l->name->resolver->worker->core, &l->soon, (struct cv_ms){ 0 });
}

/* Addresses in the order of c-ares, which is that of RFC 6724; the shortest TTL counts. */
static size_t take_addrs(const struct ares_addrinfo *info, struct sockaddr_storage *addrs, int64_t *ttl)
{
    size_t n = 0;
    *ttl = TTL_MAX_S;
    for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
        *ttl = c->ttl < *ttl ? c->ttl : *ttl;
    for (const struct ares_addrinfo_node *a = info->nodes; a && n < ADDRS_MAX; a = a->ai_next) {
        if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || a->ai_addrlen > sizeof(*addrs))
            continue;
        addrs[n] = (struct sockaddr_storage){ 0 };
        memcpy(&addrs[n++], a->ai_addr, a->ai_addrlen);
        *ttl = a->ai_ttl < *ttl ? a->ai_ttl : *ttl;
    }
    if (*ttl < TTL_MIN_S)
        *ttl = TTL_MIN_S;
    return n;
}

static bool is_absent(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME;
}

static void answered(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct name *name = arg;
    struct sockaddr_storage addrs[ADDRS_MAX];
    int64_t ttl = 0;
    size_t n = status == ARES_SUCCESS ? take_addrs(info, addrs, &ttl) : 0;
    name->asking = false;
    if (n > 0) {
        name_set(name, addrs, n);
        name->good_until = clock_ms() + ttl * 1000;
    } else if (is_absent(status) || status == ARES_SUCCESS || name->n == 0) {
        name->error = CV_E_RESOLVE;
        name->n = 0;
        name->good_until = clock_ms() + (is_absent(status) ? ABSENT_MS : TROUBLE_MS);
    } else {
        /* The servers are in trouble: addresses that were right a while ago are better than none (RFC 8767).
         */
        name->good_until = clock_ms() + TROUBLE_MS;
    }
    ares_freeaddrinfo(info);
    for (struct cv_lookup *l = name->lookups; l; l = l->next)
        tell_soon(l);
}

/* ---- questions --------------------------------------------------------------------------------------- */

static bool take_localhost(struct name *name)
{
    size_t n = strlen(name->host);
    if (n > 0 && name->host[n - 1] == '.')
        n--;
    static const char word[] = "localhost";
    size_t w = sizeof(word) - 1;
    if (n < w || memcmp(name->host + n - w, word, w) != 0 || (n > w && name->host[n - w - 1] != '.'))
        return false;
    struct sockaddr_storage addrs[2] = { 0 }; /* RFC 6761 §6.3 */
    *(struct sockaddr_in *)&addrs[0] =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    *(struct sockaddr_in6 *)&addrs[1] =
        (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    name_set(name, addrs, 2);
    return true;
}

static bool take_literal(struct name *name)
{
    struct addrinfo *found, hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    if (getaddrinfo(name->host, NULL, &hints, &found) != 0) /* numeric: it asks nobody */
        return false;
    struct sockaddr_storage addr = { 0 };
    memcpy(&addr, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    name_set(name, &addr, 1);
    return true;
}

static void ask(struct name *name)
{
    struct resolver *r = name->resolver;
    if (take_literal(name) || take_localhost(name)) {
        name->good_until = INT64_MAX;
        return;
    }
    if (!r->channel) {
        name->error = CV_E_RESOLVE;
        return;
    }
    name->asking = true;
    struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    ares_getaddrinfo(r->channel, name->host, NULL, &hints, answered, name);
    arm(r);
}

/* Names are equal whatever the case of their letters. What is no name becomes "", which nobody has. */
static void fold(struct cv_str host, char out[NAME_BYTES + 1])
{
    size_t n = host.p && host.n <= NAME_BYTES && !memchr(host.p, '\0', host.n) ? host.n : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] + 'a' - 'A') : host.p[i];
    out[n] = '\0';
}

struct cv_lookup *cv_resolve(const struct cv_self *self, struct cv_str host, uint16_t port,
                             cv_resolved_fn *done, void *arg)
{
    char folded[NAME_BYTES + 1];
    fold(host, folded);
    struct name *name = name_of(self->worker->resolver, folded);
    struct cv_lookup *l = cv_xcalloc(1, sizeof(*l));
    *l = (struct cv_lookup){ .name = name, .port = port, .done = done, .arg = arg };
    l->soon.fire = tell;
    if (!name->asking && name->good_until <= clock_ms()) {
        if (folded[0])
            ask(name);
        else
            name->error = CV_E_RESOLVE;
    }
    l->next = name->lookups;
    l->at = &name->lookups;
    if (l->next)
        l->next->at = &l->next;
    name->lookups = l;
    if (!name->asking)
        tell_soon(l);
    return l;
}

void cv_resolve_cancel(struct cv_lookup *l)
{
    if (!l)
        return;
    cv_timer_clear(&l->soon);
    *l->at = l->next;
    if (l->next)
        l->next->at = l->at;
    free(l);
}
