/* discover.c: finds the edge: rounds of lookups that are repeated until one succeeds, and refreshed later. */
#include "tunnel/discover.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "tunnel/address_cache.h"
#include "tunnel/srv.h"

enum { ENTRIES_MAX = 64, RETRY_FIRST_MS = 1000, RETRY_MAX_MS = 60000 };

struct lookup { /* one name of a round */
    struct discovery *d;
    struct cv_lookup *pending;
    struct sockaddr_storage addrs[CACHE_ADDRS_MAX];
    size_t n;
};
struct discovery {
    const struct cv_self *self;
    const struct tunnel_conf *conf;
    discovered_fn *found;
    void *arg;
    char srv_name[SRV_NAME_MAX];
    const struct dot_server *fallback;
    struct srv_query *srv;
    struct lookup *lookups; /* of the round */
    size_t n, pending;
    int64_t retry_ms;
    bool ever;             /* a list has been handed over */
    struct cv_timer timer; /* the next round */
};

bool discovery_split(struct cv_str text, struct cv_str *host, uint16_t *port)
{
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || colon == text.n || text.n - colon > 5)
        return false;
    unsigned number = 0;
    for (size_t i = colon; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        number = number * 10 + (unsigned)(text.p[i] - '0');
    }
    *host = (struct cv_str){ text.p, colon - 1 };
    *port = (uint16_t)number;
    if (host->n >= 2 && host->p[0] == '[' && host->p[host->n - 1] == ']')
        *host = (struct cv_str){ host->p + 1, host->n - 2 };
    return host->n > 0 && number > 0 && number <= 65535;
}

/* ---- the end of a round --------------------------------------------------------------------------------- */

static void next_round(struct discovery *d, int64_t ms)
{
    cv_timer_set(d->self, &d->timer, (struct cv_ms){ ms });
}

static bool uses_cache(const struct discovery *d)
{
    return d->conf->edge.n == 0 && d->conf->address_cache && *d->conf->address_cache;
}

static void offer_cache(struct discovery *d)
{
    struct sockaddr_storage addrs[EDGE_REGIONS][CACHE_ADDRS_MAX];
    size_t n[EDGE_REGIONS];
    if (d->ever || !uses_cache(d) || address_cache_read(d->conf->address_cache, addrs, n) == 0)
        return;
    struct sup_region regions[EDGE_REGIONS] = { { addrs[0], n[0] }, { addrs[1], n[1] } };
    log_line(CV_WARN, NULL, "Using the last known addresses of the edge, from %s", d->conf->address_cache);
    d->ever = true;
    d->found(d->arg, regions);
}

/* The first failure is an error, for nothing works yet; later there are addresses to go on with. */
static void round_failed(struct discovery *d, const char *why)
{
    log_line(d->ever ? CV_WARN : CV_ERROR,
             CV_FIELDS(CV_S("error", cv_str_of(why)), CV_I("retrySeconds", d->retry_ms / 1000)),
             "edge discovery: error looking up Cloudflare edge IPs: the DNS query failed");
    offer_cache(d);
    next_round(d, d->retry_ms);
    d->retry_ms = d->retry_ms * 2 < RETRY_MAX_MS ? d->retry_ms * 2 : RETRY_MAX_MS;
}

static void round_succeeded(struct discovery *d, const struct sup_region regions[EDGE_REGIONS])
{
    d->retry_ms = RETRY_FIRST_MS;
    if (d->conf->edge_refresh.ms > 0)
        next_round(d, d->conf->edge_refresh.ms);
    if (uses_cache(d))
        address_cache_write(d->conf->address_cache, regions);
    d->ever = true;
    d->found(d->arg, regions);
}

/* ---- a list: one address an entry, in turn to either region ----------------------------------------------- */

static void end_of_list(struct discovery *d)
{
    struct sockaddr_storage addrs[EDGE_REGIONS][ENTRIES_MAX];
    struct sup_region regions[EDGE_REGIONS] = { { addrs[0], 0 }, { addrs[1], 0 } };
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        if (d->lookups[i].n) {
            struct sup_region *r = &regions[n++ % EDGE_REGIONS];
            addrs[r - regions][r->n++] = d->lookups[i].addrs[0];
        }
    if (n)
        round_succeeded(d, regions);
    else
        round_failed(d, "failed to resolve any edge address");
}

static size_t first_ipv4(const struct sockaddr_storage *addrs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (addrs[i].ss_family == AF_INET)
            return i;
    return 0;
}

static void on_entry(void *arg, enum cv_error e, const struct sockaddr_storage *addrs, size_t n)
{
    struct lookup *l = arg;
    l->pending = NULL;
    if (!e && n > 0) {
        l->addrs[0] = addrs[first_ipv4(addrs, n)];
        l->n = 1;
    }
    if (--l->d->pending == 0)
        end_of_list(l->d);
}

static void begin_list(struct discovery *d)
{
    d->n = d->pending = d->conf->edge.n < ENTRIES_MAX ? d->conf->edge.n : ENTRIES_MAX;
    d->lookups = cv_xcalloc(d->n, sizeof(*d->lookups));
    for (size_t i = 0; i < d->n; i++) {
        struct cv_str host = { NULL, 0 };
        uint16_t port = 0;
        discovery_split(d->conf->edge.v[i], &host, &port);
        d->lookups[i].d = d;
        d->lookups[i].pending = cv_resolve(d->self, host, port, on_entry, &d->lookups[i]);
    }
}

/* ---- DNS: the first two targets are the regions ------------------------------------------------------------ */

static void end_of_targets(struct discovery *d)
{
    struct sup_region regions[EDGE_REGIONS] = { { NULL, 0 } };
    size_t found = 0;
    for (size_t i = 0; i < d->n; i++) {
        regions[i] = (struct sup_region){ d->lookups[i].addrs, d->lookups[i].n };
        found += d->lookups[i].n;
    }
    if (found)
        round_succeeded(d, regions);
    else
        round_failed(d, "the names of the regions have no addresses");
}

static void on_target(void *arg, enum cv_error e, const struct sockaddr_storage *addrs, size_t n)
{
    struct lookup *l = arg;
    l->pending = NULL;
    l->n = e ? 0 : n < CACHE_ADDRS_MAX ? n : CACHE_ADDRS_MAX;
    if (l->n)
        memcpy(l->addrs, addrs, l->n * sizeof(*addrs));
    else
        log_line(CV_WARN, NULL, "edge discovery: a region has no addresses: %s", cv_error_text(e));
    if (--l->d->pending == 0)
        end_of_targets(l->d);
}

static void on_srv(void *arg, const struct srv_answer *answer, const char *why)
{
    struct discovery *d = arg;
    if (!answer) {
        round_failed(d, why);
        return;
    }
    d->n = d->pending = answer->n < EDGE_REGIONS ? answer->n : EDGE_REGIONS;
    d->lookups = cv_xcalloc(d->n, sizeof(*d->lookups));
    for (size_t i = 0; i < d->n; i++) {
        const struct srv_target *t = &answer->targets[i];
        d->lookups[i].d = d;
        d->lookups[i].pending = cv_resolve(d->self, cv_str_of(t->host), t->port, on_target, &d->lookups[i]);
    }
}

/* ---- rounds ------------------------------------------------------------------------------------------------ */

static void drop_round(struct discovery *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->lookups[i].pending)
            cv_resolve_cancel(d->lookups[i].pending);
    srv_query_free(d->srv);
    d->srv = NULL;
    free(d->lookups);
    d->lookups = NULL;
    d->n = 0;
}

static void begin_round(struct cv_timer *timer)
{
    struct discovery *d = CV_OWNER(timer, struct discovery, timer);
    drop_round(d);
    if (d->conf->edge.n)
        begin_list(d);
    else
        d->srv = srv_query_new(d->self, d->srv_name, d->fallback, on_srv, d);
}

struct discovery *discovery_new(const struct cv_self *main, const struct tunnel_conf *conf,
                                const char *region, const struct dot_server *fallback, discovered_fn *found,
                                void *arg)
{
    struct discovery *d = cv_xcalloc(1, sizeof(*d));
    d->self = main;
    d->conf = conf;
    snprintf(d->srv_name, sizeof(d->srv_name), "_%s%sv2-origintunneld._tcp.argotunnel.com", region,
             *region ? "-" : "");
    d->fallback = fallback;
    d->found = found;
    d->arg = arg;
    d->retry_ms = RETRY_FIRST_MS;
    d->timer.fire = begin_round;
    next_round(d, 0);
    return d;
}

void discovery_free(struct discovery *d)
{
    if (!d)
        return;
    drop_round(d);
    cv_timer_clear(&d->timer);
    free(d);
}
