/* actions.c: what the supervisors decide, done: orders to connections, timers, observers, the end. */
#include "tunnel/tunnel_state.h"

#include <arpa/inet.h>
#include <openssl/rand.h>
#include <stdio.h>

#include "tunnel/announce.h"
#include "tunnel/await.h"
#include "tunnel/discover.h"
#include "tunnel/tls.h"
#include "tunnel/token_file.h"

/* Each supervisor counts its own; the connections are known by one number. */
static uint32_t id_of(const struct twin *t, uint32_t link)
{
    return link * TUNNELS + t->id;
}

static struct cv_worker *worker_for(unsigned index)
{
    return tunnel.setup.workers[index % tunnel.setup.n_workers];
}

struct denial { /* a dial that a gate did not admit */
    uint32_t id;
    enum cv_error error;
    struct cv_err err;
};

static void run_denial(void *arg)
{
    struct denial *d = arg;
    struct conn_report report = { .id = d->id, .what = CONN_DOWN, .error = CV_E_DENIED };
    snprintf(report.text, sizeof(report.text), "%s", d->err.text);
    tunnel_reported(&report);
    if (d->error == CV_E_CONF && !tunnel.barred) {
        tunnel.barred = true;
        tunnel_shutdown("refused");
    }
    free(d);
}

static enum cv_error ask_gates(struct cv_err *err)
{
    for (size_t i = 0; i < tunnel.setup.n_gates; i++) {
        const struct cv_self *gate = worker_self(tunnel.setup.main, tunnel.setup.gates[i]);
        enum cv_error e = gate->instance->module->gate->admit(gate, err);
        if (e)
            return e;
    }
    return CV_OK;
}

static void log_attempt(const struct twin *t, const struct sup_dial *dial)
{
    char ip[INET6_ADDRSTRLEN];
    address_ip(dial->addr, ip);
    const struct cv_fields *fields =
        CV_FIELDS(CV_I("connIndex", dial->index), CV_I("event", 0), CV_S("ip", cv_str_of(ip)));
    char text[200];
    snprintf(text, sizeof(text), "Tunnel connection curve preferences: %s", tls_groups_text());
    log_tunnel(t->id, CV_INFO, fields, text);
    if (dial->protocol == SUP_HTTP2)
        log_tunnel(t->id, CV_DEBUG, fields, "Connecting via http2");
}

static void act_dial(void *arg, const struct sup_dial *dial)
{
    struct twin *t = arg;
    struct denial *d = cv_xcalloc(1, sizeof(*d));
    d->error = ask_gates(&d->err);
    if (d->error) {
        d->id = id_of(t, dial->id);
        cv_post(tunnel.setup.main, run_denial, d);
        return;
    }
    free(d);
    log_attempt(t, dial);
    struct conn_order order = {
        .id = id_of(t, dial->id),
        .index = dial->index,
        .tunnel = t->id,
        .worker = worker_for(dial->index),
        .edge = tunnel.edges[dial->protocol],
        .addr = *dial->addr,
        .bind = tunnel.bind,
        .previous_attempts = dial->previous_attempts,
        .credentials = t->credentials,
    };
    conn_dial(&order);
}

static void act_unregister(void *arg, uint32_t id, int64_t timeout_ms)
{
    conn_unregister(id_of(arg, id), (struct cv_ms){ timeout_ms });
}

static void act_close(void *arg, uint32_t id)
{
    conn_close(id_of(arg, id));
}

static void act_goodbye(void *arg, uint32_t id)
{
    conn_goodbye(id_of(arg, id));
}

static void act_watch(void *arg, uint32_t id, int64_t every_ms)
{
    conn_watch(id_of(arg, id), (struct cv_ms){ every_ms });
}

void timer_at(struct cv_timer *timer, int64_t at_ms)
{
    if (at_ms == INT64_MAX)
        cv_timer_clear(timer);
    else
        cv_timer_set(tunnel.self, timer, (struct cv_ms){ at_ms - clock_ms() });
}

static void act_timer(void *arg, int64_t at_ms)
{
    struct twin *t = arg;
    timer_at(&t->timer, at_ms);
}

static void act_announce(void *arg)
{
    (void)arg;
    if (!tunnel.announced)
        announce(conf()->pidfile);
    tunnel.announced = true;
}

static void act_replaced(void *arg, enum sup_replaced why)
{
    (void)arg;
    cv_add(METRIC(M_CULVERT_REPLACED, cv_str_of(sup_replaced_names[why])), 1);
}

static void act_keep_old_token(void *arg)
{
    struct twin *t = arg;
    if (!t->old_credentials)
        return;
    credentials_unref(t->credentials);
    t->credentials = t->old_credentials;
    t->old_credentials = NULL;
}

void tunnel_stop_watching(void)
{
    await_free(tunnel.await);
    network_watch_free(tunnel.network_watch);
    tunnel.await = NULL;
    tunnel.network_watch = NULL;
    for (each_twin(t)) {
        discovery_free(t->discovery);
        token_watch_free(t->token_watch);
        t->discovery = NULL;
        t->token_watch = NULL;
    }
    cv_timer_clear(&tunnel.failover_timer);
}

static void on_emptied(void)
{
    log_line(CV_INFO, NULL, "Tunnel server stopped");
    tunnel.setup.ended(tunnel.setup.arg, tunnel.end_status);
}

bool tunnel_idle(void)
{
    for (each_twin(t))
        if (!supervisor_idle(t->supervisor))
            return false;
    return true;
}

/* The second alone drains whenever it stands back. */
static void act_drained(void *arg)
{
    (void)arg;
    if (!supervisor_draining(first->supervisor) || !tunnel_idle())
        return;
    const struct chain *chain = tunnel.setup.main->chain;
    for (size_t i = 0; chain && i < chain->n_observers; i++) {
        const struct cv_self *o = chain->observers[i];
        if (o->instance->module->observer->event)
            o->instance->module->observer->event(o, &(struct cv_event){ .what = CV_EV_DRAINED });
    }
}

void tunnel_over(int status)
{
    tunnel.end_status = tunnel.barred ? 1 : status;
    tunnel_stop_watching();
    conns_when_empty(on_emptied);
}

static void act_end(void *arg, int status)
{
    struct twin *t = arg;
    t->ended = true;
    for (each_twin(other))
        if (!other->ended)
            return;
    tunnel_over(status);
}

static void act_log(void *arg, enum cv_level level, const struct cv_fields *fields, const char *text)
{
    const struct twin *t = arg;
    log_tunnel(t->id, level, fields, text);
}

static uint32_t act_random(void *arg, uint32_t below)
{
    (void)arg;
    uint32_t n;
    CV_ASSERT(RAND_bytes((unsigned char *)&n, sizeof(n)) == 1);
    return (uint32_t)((uint64_t)n * below >> 32);
}

static bool act_source(void *arg, const struct sockaddr_storage *to, struct sockaddr_storage *source)
{
    (void)arg;
    if (tunnel.bind.ss_family == AF_UNSPEC)
        return network_source(to, source);
    *source = tunnel.bind;
    return true;
}

const struct sup_ops supervisor_actions = {
    .dial = act_dial,
    .unregister = act_unregister,
    .close = act_close,
    .goodbye = act_goodbye,
    .watch = act_watch,
    .timer = act_timer,
    .announce = act_announce,
    .replaced = act_replaced,
    .keep_old_token = act_keep_old_token,
    .drained = act_drained,
    .end = act_end,
    .log = act_log,
    .random = act_random,
    .source = act_source,
};
