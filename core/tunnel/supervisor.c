/* supervisor.c: the events of all connections, dispatched; time limits; what a new situation means for every index. */
#include "tunnel/supervisor.h"

#include <stdio.h>
#include <string.h>

#include "culvert/mem.h"
#include "tunnel/supervisor_state.h"

const char *const sup_protocol_names[SUP_PROTOCOLS] = { "quic", "http2" };
const char *const sup_replaced_names[SUP_REASONS] = { "stalled", "token",   "protocol",
                                                      "network", "leaving", "reload" };

/* ---- log ----------------------------------------------------------------------------------------------- */

static void log_conn(const struct supervisor *s, unsigned index, const char *ip, enum cv_level level,
                     const char *error, const char *text)
{
    struct cv_field f[4] = { CV_I("connIndex", index), CV_I("event", 0), CV_S("ip", cv_str_of(ip)),
                             CV_S("error", cv_str_of(error)) };
    s->ops->log(s->arg, level, &(struct cv_fields){ f, error ? 4 : 3 }, text);
}

void log_link(const struct supervisor *s, const struct link *link, enum cv_level level, const char *error,
              const char *text)
{
    log_conn(s, link->slot->index, link->ip, level, error, text);
}

void log_slot(const struct supervisor *s, const struct slot *slot, enum cv_level level, const char *error,
              const char *text)
{
    log_conn(s, slot->index, slot->ip, level, error, text);
}

enum cv_level failure_level(const struct supervisor *s)
{
    return supervisor_ready(s) > 0 ? CV_WARN : CV_ERROR;
}

/* ---- links --------------------------------------------------------------------------------------------- */

static struct link *find(const struct supervisor *s, uint32_t id)
{
    struct link *link = s->links;
    while (link && link->id != id)
        link = link->next;
    return link;
}

static void detach(struct link *link)
{
    struct slot *slot = link->slot;
    if (slot->live == link)
        slot->live = NULL;
    if (slot->legs[link->protocol] == link)
        slot->legs[link->protocol] = NULL;
}

void link_close(struct supervisor *s, struct link *link)
{
    if (link->state == LINK_CLOSING)
        return;
    detach(link);
    link->state = LINK_CLOSING;
    link->deadline = NEVER;
    s->ops->close(s->arg, link->id);
}

void link_free(struct supervisor *s, struct link *link, int64_t now)
{
    detach(link);
    struct link **at = &s->links;
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    address_give_back(&s->addresses, link->addr, false, now);
    free(link);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_time(const struct supervisor *s)
{
    int64_t at = NEVER;
    for (unsigned i = 0; i < s->n; i++) {
        const struct slot *slot = &s->slots[i];
        if (!slot->trying)
            at = min_of(at, slot->due);
        at = min_of(at, slot->second_at);
        if (slot->live && !slot->trying)
            at = min_of(at, slot->probe_at);
    }
    for (const struct link *link = s->links; link; link = link->next) {
        at = min_of(at, link->deadline);
        if (link->state != LINK_LEAVING)
            continue;
        at = min_of(at, link->goodbye_at);
        if (link->unregistered && link->open == 0)
            at = min_of(at, link->quiet_since + s->conf.settle);
    }
    return at;
}

static void run_slot(struct supervisor *s, struct slot *slot, int64_t now)
{
    if (slot->trying) {
        if (slot->second_at <= now)
            attempt_add_second(s, slot, now);
        return;
    }
    bool probe = slot->live && slot->probe_at <= now;
    if (slot->due > now && !probe)
        return;
    slot->probing = slot->due > now;
    if (slot->probing)
        slot->probe_at = NEVER;
    attempt_begin(s, slot, now);
}

static void silent(struct supervisor *s, struct link *link, int64_t now)
{
    struct conn_report r = { .id = link->id, .what = CONN_REFUSED, .should_retry = true };
    snprintf(r.text, sizeof(r.text), "the edge did not open the control stream within %lld ms",
             (long long)s->conf.control_timeout);
    registration_refused(s, link, now, &r);
}

static void endless_dial(struct supervisor *s, struct link *link, int64_t now)
{
    attempt_dial_failed(s, link, now, "took too long");
    link_close(s, link);
}

static void run_link(struct supervisor *s, struct link *link, int64_t now)
{
    if (link->state == LINK_LEAVING)
        leave_check(s, link, now);
    else if (link->deadline > now)
        return;
    else if (link->state == LINK_UP)
        silent(s, link, now);
    else if (link->state == LINK_DIALLING)
        endless_dial(s, link, now);
}

/* Everything that is due; then the end, or the next time to look. */
static void settle(struct supervisor *s, int64_t now)
{
    for (struct link *link = s->links, *next; link; link = next) {
        next = link->next;
        run_link(s, link, now);
    }
    if (!s->draining)
        for (unsigned i = 0; i < s->n; i++)
            run_slot(s, &s->slots[i], now);
    drained_if_empty(s, now);
    end_if_empty(s);
    s->ops->timer(s->arg, s->ended ? NEVER : next_time(s));
}

void supervisor_tick(struct supervisor *s, int64_t now)
{
    settle(s, now);
}

/* ---- reports ------------------------------------------------------------------------------------------- */

static void learn_from_life(const struct supervisor *s, const struct link *link, int64_t now)
{
    struct slot *slot = link->slot;
    bool stable = now - link->since >= STABLE_MS;
    if (stable)
        slot->retries = slot->quic_faults = 0;
    else if (slot->retries < s->conf.retries)
        slot->retries++;
    if (!stable && link->protocol == SUP_QUIC)
        slot->quic_faults++;
    slot->attempts++;
}

static void lost(struct supervisor *s, struct link *link, int64_t now, const char *text)
{
    struct slot *slot = link->slot;
    slot->live = NULL;
    if (link->protocol == SUP_HTTP2)
        s->ops->log(s->arg, CV_INFO, CV_FIELDS(CV_I("connIndex", slot->index)),
                    "Lost connection with the edge");
    s->ops->log(s->arg, failure_level(s),
                CV_FIELDS(CV_S("error", cv_str_of(text)), CV_I("connIndex", slot->index)),
                "Connection terminated");
    if (!link->sent_away)
        learn_from_life(s, link, now);
    attempt_after_loss(s, slot, now);
}

static void serve_failed(struct supervisor *s, struct link *link, const char *text)
{
    log_link(s, link, link->slot->probing ? CV_DEBUG : failure_level(s), text,
             link->protocol == SUP_QUIC ? "failed to serve tunnel connection" : "Serve tunnel error");
}

/* An edge that closes of itself has what was written; the end that we make may come before that. */
static void count_drained(struct supervisor *s, const struct link *link, const struct conn_report *r)
{
    unsigned had = link->state == LINK_CLOSING ? 0 : r->written;
    s->finished += r->finished + had;
    s->cut += r->open - had;
}

static void on_down(struct supervisor *s, struct link *link, int64_t now, const struct conn_report *r)
{
    struct slot *slot = link->slot;
    switch (link->state) {
    case LINK_DIALLING: attempt_dial_failed(s, link, now, r->text); break;
    case LINK_UP:
        serve_failed(s, link, r->text);
        if (link->protocol == SUP_QUIC)
            slot->quic_faults++;
        slot->legs[link->protocol] = NULL;
        attempt_failed(s, slot, now, &(struct attempt_failure){ 0 });
        break;
    case LINK_REGISTERED: lost(s, link, now, r->text); break;
    case LINK_LEAVING: /* an edge may close at once, its answer was overtaken then */
        if (!link->unregistered)
            log_link(s, link, CV_INFO, NULL, "Unregistered tunnel connection");
        break;
    case LINK_CLOSING: break;
    }
    if (s->draining)
        count_drained(s, link, r);
    link_free(s, link, now);
}

static void on_unregistered(struct supervisor *s, struct link *link, int64_t now, const struct conn_report *r)
{
    if (link->state != LINK_LEAVING)
        return;
    link->unregistered = true;
    link->quiet_since = now;
    if (r->error) /* what is replaced is often known to be dead */
        log_link(s, link, s->draining ? CV_WARN : CV_DEBUG, r->text, "Error shutting down control stream");
    else
        log_link(s, link, CV_INFO, NULL, "Unregistered tunnel connection");
}

static void replace(struct supervisor *s, struct slot *slot, int64_t due, enum sup_replaced why)
{
    s->ops->replaced(s->arg, why);
    slot->retries = 0;
    slot->due = due;
}

/* It was slow: what it has may take as long as on any other connection that was replaced. */
static void not_dead_after_all(const struct supervisor *s, struct link *link, int64_t now)
{
    link->stalled = false;
    if (!s->draining)
        leave_until(link, now, now + s->conf.replaced_limit);
}

static void on_sample(struct supervisor *s, struct link *link, int64_t now, const struct conn_report *r)
{
    struct slot *slot = link->slot;
    link->open = r->open;
    link->rtt_us = r->rtt_us;
    if (r->open > 0 || r->moved)
        link->quiet_since = now;
    if (link->stalled && link->state == LINK_LEAVING && r->moved && r->open > 0)
        not_dead_after_all(s, link, now);
    bool stalled =
        s->conf.stall_streams && r->stuck >= s->conf.stall_streams && r->still_ms >= s->conf.stall_after;
    if (!stalled || link->state != LINK_REGISTERED || link->stalled)
        return;
    char text[120];
    snprintf(text, sizeof(text), "%u streams wait for the edge and nothing has moved for %lld ms", r->stuck,
             (long long)r->still_ms);
    log_link(s, link, CV_WARN, text, "Connection is half dead, replacing it");
    link->stalled = true;
    if (!slot->trying)
        replace(s, slot, now, SUP_STALLED);
}

/* With the waiting time of a loss, or an edge that sends everybody away at once would be asked again at once. */
static void on_leaving(struct supervisor *s, struct link *link, int64_t now)
{
    if (link->state != LINK_REGISTERED || link->sent_away || s->draining)
        return;
    log_link(s, link, CV_INFO, NULL, "The edge takes the connection out of service, replacing it");
    link->sent_away = true;
    s->ops->replaced(s->arg, SUP_LEAVING);
    learn_from_life(s, link, now);
    attempt_after_loss(s, link->slot, now);
}

void supervisor_report(struct supervisor *s, int64_t now, const struct conn_report *r)
{
    struct link *link = find(s, r->id);
    if (!link)
        return;
    bool attempt = link->state == LINK_DIALLING || link->state == LINK_UP;
    switch (r->what) {
    case CONN_UP:
        link->local = r->local;
        if (link->state == LINK_DIALLING)
            attempt_link_up(s, link, now);
        break;
    case CONN_REGISTERED:
        if (attempt)
            registration_accepted(s, link, now, r);
        break;
    case CONN_REFUSED:
        if (attempt)
            registration_refused(s, link, now, r);
        break;
    case CONN_UNREGISTERED: on_unregistered(s, link, now, r); break;
    case CONN_LEAVING: on_leaving(s, link, now); break;
    case CONN_SAMPLE: on_sample(s, link, now, r); break;
    case CONN_DOWN: on_down(s, link, now, r); break;
    }
    settle(s, now);
}

/* ---- what concerns every index --------------------------------------------------------------------------- */

/* As many as are wanted and have an address. Never fewer again for the lack of addresses: a connection that works is
 * worth more than a list. */
static void grow(struct supervisor *s, int64_t now)
{
    size_t available = addresses_count(&s->addresses);
    unsigned n = available < s->conf.connections ? (unsigned)available : s->conf.connections;
    if (!s->started && n < s->conf.connections) {
        char text[120];
        snprintf(text, sizeof(text), "You requested %u HA connections but I can give you at most %zu.",
                 s->conf.connections, available);
        s->ops->log(s->arg, CV_INFO, NULL, text);
    }
    if (n > s->n)
        s->n = n;
    if (!s->started && s->n > 0) {
        s->started = true;
        s->slots[0].started = true;
        s->slots[0].due = now;
    } else if (s->started && s->ever_registered && !s->draining) {
        start_others(s, now);
    }
}

void supervisor_addresses(struct supervisor *s, int64_t now, const struct sup_region regions[EDGE_REGIONS])
{
    for (unsigned i = 0; i < EDGE_REGIONS; i++)
        addresses_set(&s->addresses, i, regions[i].addrs, regions[i].n);
    grow(s, now);
    settle(s, now);
}

/* Connects every index anew, or at once if it waits; those whose connection is fine stay. */
static void reconnect(struct supervisor *s, int64_t now,
                      bool (*fine)(const struct supervisor *, const struct link *))
{
    int64_t due = now;
    for (unsigned i = 0; i < s->n && !s->draining; i++) {
        struct slot *slot = &s->slots[i];
        if (!slot->started || slot->trying || (slot->live && fine(s, slot->live)))
            continue;
        if (slot->live) {
            log_link(s, slot->live, CV_INFO, NULL, "The network has changed, replacing the connection");
            s->ops->replaced(s->arg, SUP_NETWORK);
        }
        slot->retries = 0;
        slot->due = due;
        due += s->conf.spacing;
    }
    s->quic_failed = false;
    settle(s, now);
}

static bool same_path(const struct supervisor *s, const struct link *link)
{
    struct sockaddr_storage source;
    return link->local.ss_family == AF_UNSPEC || !s->ops->source(s->arg, &link->addr->addr, &source) ||
           address_same_ip(&source, &link->local);
}

static bool none_is_fine(const struct supervisor *s, const struct link *link)
{
    (void)s;
    (void)link;
    return false;
}

void supervisor_network_changed(struct supervisor *s, int64_t now)
{
    reconnect(s, now, same_path);
}

void supervisor_resumed(struct supervisor *s, int64_t now)
{
    reconnect(s, now, none_is_fine);
}

static void restart(struct supervisor *s, struct slot *slot, int64_t now)
{
    attempt_cancel(s, slot);
    slot->due = now;
}

void supervisor_token_changed(struct supervisor *s, int64_t now)
{
    struct slot *first = NULL;
    s->token++;
    for (unsigned i = 0; i < s->n && !s->draining; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->trying) /* with the token of before */
            restart(s, slot, now);
        if (slot->live && !first)
            first = slot;
    }
    s->trial = s->ever_registered;
    if (first)
        replace(s, first, now, SUP_TOKEN);
    settle(s, now);
}

/* ---- other settings ------------------------------------------------------------------------------------ */

static void shrink(struct supervisor *s, unsigned n, int64_t now)
{
    for (unsigned i = n; i < s->n; i++) {
        struct slot *slot = &s->slots[i];
        attempt_cancel(s, slot);
        if (slot->live) {
            log_link(s, slot->live, CV_INFO, NULL, "Fewer connections are wanted, giving one up");
            leave(s, slot->live, now, s->conf.replaced_limit);
        }
        if (slot->home)
            address_give_back(&s->addresses, slot->home, false, now);
        *slot = (struct slot){ .index = i, .due = NEVER, .second_at = NEVER, .probe_at = NEVER };
    }
    s->n = n;
}

/* It serves by a protocol that stays, and nothing else asks for another one. */
static bool is_well(const struct supervisor *s, const struct link *live, const bool gone[SUP_PROTOCOLS])
{
    return live && !gone[live->protocol] && !live->stalled && !live->sent_away && live->token == s->token;
}

/* An attempt by a protocol that went is given up. What is connected stays so until the next one is. True: connects anew. */
static bool begin_anew(struct supervisor *s, struct slot *slot, int64_t due, const bool gone[SUP_PROTOCOLS])
{
    bool waits = slot->due != NEVER;
    if ((slot->legs[SUP_QUIC] && gone[SUP_QUIC]) || (slot->legs[SUP_HTTP2] && gone[SUP_HTTP2])) {
        attempt_cancel(s, slot);
        waits = true;
    } else if (slot->trying && !(s->conf.available[SUP_QUIC] && s->conf.available[SUP_HTTP2])) {
        slot->second_at = NEVER;
    }
    bool replaces = slot->live && gone[slot->live->protocol];
    if (slot->trying || !slot->started || !(waits || replaces))
        return false;
    if (replaces)
        s->ops->replaced(s->arg, SUP_RELOAD);
    slot->retries = 0;
    slot->due = is_well(s, slot->live, gone) ? NEVER : due;
    return slot->due != NEVER;
}

void supervisor_configure(struct supervisor *s, int64_t now, const struct sup_conf *conf,
                          const bool moved[SUP_PROTOCOLS])
{
    bool gone[SUP_PROTOCOLS], quic_came = conf->available[SUP_QUIC] && !s->conf.available[SUP_QUIC];
    for (size_t p = 0; p < SUP_PROTOCOLS; p++)
        gone[p] = moved[p] || !conf->available[p];
    s->conf = *conf;
    if (conf->connections < s->n && !s->draining)
        shrink(s, conf->connections, now);
    s->quic_failed &= !quic_came;
    int64_t due = now;
    for (unsigned i = 0; i < s->n && !s->draining; i++) {
        struct slot *slot = &s->slots[i];
        slot->quic_faults = quic_came ? 0 : slot->quic_faults;
        if (!conf->available[SUP_QUIC])
            slot->probe_at = NEVER;
        else if (quic_came && slot->live && slot->live->protocol == SUP_HTTP2)
            slot->probe_at = now;
        if (begin_anew(s, slot, due, gone))
            due += s->conf.spacing;
    }
    grow(s, now);
    settle(s, now);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

void supervisor_drain(struct supervisor *s, int64_t now, int64_t limit)
{
    if (!s->draining)
        s->drain_from = now;
    else if (now + limit >= s->drain_until)
        return;
    s->draining = true;
    leave_all(s, now, limit);
    settle(s, now);
}

void supervisor_resume(struct supervisor *s, int64_t now)
{
    s->draining = s->drained = s->started = false;
    s->finished = s->cut = 0;
    for (unsigned i = 0; i < s->n; i++) {
        struct slot *slot = &s->slots[i];
        slot->started = false;
        slot->due = NEVER;
        slot->retries = slot->attempts = slot->refusals = 0;
    }
    grow(s, now);
    settle(s, now);
}

void supervisor_shutdown(struct supervisor *s, int64_t now, const char *why)
{
    char text[120];
    if (why) {
        snprintf(text, sizeof(text), "Initiating graceful shutdown due to signal %s ...", why);
        s->ops->log(s->arg, CV_INFO, NULL, text);
    }
    s->ending = true;
    if (s->draining)
        settle(s, now);
    else
        supervisor_drain(s, now, s->conf.grace);
}

void fatal(struct supervisor *s, int64_t now, const char *cause)
{
    const struct cv_fields *error = CV_FIELDS(CV_S("error", cv_str_of(cause)));
    s->ops->log(s->arg, CV_ERROR, error, "initial tunnel connection failed");
    s->ops->log(s->arg, CV_ERROR, NULL,
                "Cloudflare refuses this tunnel. Check that the token is the newest of the tunnel, that the "
                "tunnel was not "
                "deleted, and its account. [tunnel] on_refused = retry keeps trying instead of ending.");
    s->ops->log(s->arg, CV_ERROR, error, "Initiating shutdown");
    s->draining = s->ending = true;
    s->drain_from = now;
    s->status = 1;
    leave_all(s, now, s->conf.grace);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

struct supervisor *supervisor_new(const struct sup_conf *conf, const struct sup_ops *ops, void *arg)
{
    struct supervisor *s = cv_xcalloc(1, sizeof(*s));
    s->conf = *conf;
    s->ops = ops;
    s->arg = arg;
    s->addresses.only_family = conf->family;
    s->addresses.random = ops->random;
    s->addresses.random_arg = arg;
    for (unsigned i = 0; i < SUP_CONNECTIONS_MAX; i++)
        s->slots[i] = (struct slot){ .index = i, .due = NEVER, .second_at = NEVER, .probe_at = NEVER };
    return s;
}

void supervisor_free(struct supervisor *s)
{
    if (!s)
        return;
    while (s->links)
        link_free(s, s->links, 0);
    for (unsigned i = 0; i < SUP_CONNECTIONS_MAX; i++)
        if (s->slots[i].home)
            address_give_back(&s->addresses, s->slots[i].home, false, 0);
    addresses_clear(&s->addresses);
    free(s);
}
