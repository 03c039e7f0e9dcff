/* tunnel.c: the room as a whole: who we are, what was asked for, and the supervisor's decisions carried out. */
#include "tunnel/tunnel.h"

#include "culvert/operate.h"

#include <arpa/inet.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tunnel/announce.h"
#include "tunnel/await.h"
#include "tunnel/conn.h"
#include "tunnel/discover.h"
#include "tunnel/network.h"
#include "tunnel/orchestrator.h"
#include "tunnel/registrar.h"
#include "tunnel/supervisor.h"
#include "tunnel/tls.h"
#include "tunnel/token_file.h"

enum { INDICES = 64 }; /* most ha_connections */

static struct {
    struct tunnel_setup setup;
    const struct cv_self *self; /* of the main thread */
    uint8_t client_id[16];
    char connector_id[UUID_TEXT];
    struct credentials *credentials,
        *old_credentials; /* old: while the new ones have not proved themselves */
    char *local_json;
    struct sockaddr_storage bind;
    const struct cv_instance *edges[SUP_PROTOCOLS]; /* NULL: not loaded or not wanted */
    struct supervisor *supervisor;
    struct await *await;
    struct discovery *discovery;
    struct token_watch *token_watch;
    struct network_watch *network_watch;
    char locations[INDICES][CONN_LOCATION]; /* of each index, for the metrics */
    unsigned n_indices;                     /* that ever had a connection     */
    struct cv_timer timer;
    bool barred;              /* a gate said: never */
    enum cv_error no_restore; /* why last_config is of no use */
    struct cv_err restore_error;
} tunnel;

static const struct tunnel_conf *conf(void)
{
    return tunnel.setup.conf;
}

/* ---- the supervisor's actions -------------------------------------------------------------------------- */

static struct cv_worker *worker_for(unsigned index)
{
    return tunnel.setup.workers[index % tunnel.setup.n_workers];
}

struct denial { /* a dial that a gate did not admit */
    uint32_t id;
    enum cv_error error;
    struct cv_err err;
};

static void on_report(const struct conn_report *);

static void run_denial(void *arg)
{
    struct denial *d = arg;
    struct conn_report report = { .id = d->id, .what = CONN_DOWN, .error = CV_E_DENIED };
    snprintf(report.text, sizeof(report.text), "%s", d->err.text);
    on_report(&report);
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

static void log_attempt(const struct sup_dial *dial)
{
    char ip[INET6_ADDRSTRLEN];
    address_ip(dial->addr, ip);
    const struct cv_fields *fields =
        CV_FIELDS(CV_I("connIndex", dial->index), CV_I("event", 0), CV_S("ip", cv_str_of(ip)));
    log_line(CV_INFO, fields, "Tunnel connection curve preferences: %s", tls_groups_text());
    if (dial->protocol == SUP_HTTP2)
        log_line(CV_DEBUG, fields, "Connecting via http2");
}

static void act_dial(void *arg, const struct sup_dial *dial)
{
    (void)arg;
    struct denial *d = cv_xcalloc(1, sizeof(*d));
    d->error = ask_gates(&d->err);
    if (d->error) {
        d->id = dial->id;
        cv_post(tunnel.setup.main, run_denial, d);
        return;
    }
    free(d);
    log_attempt(dial);
    struct conn_order order = {
        .id = dial->id,
        .index = dial->index,
        .worker = worker_for(dial->index),
        .edge = tunnel.edges[dial->protocol],
        .addr = *dial->addr,
        .bind = tunnel.bind,
        .previous_attempts = dial->previous_attempts,
        .credentials = tunnel.credentials,
    };
    conn_dial(&order);
}

static void act_unregister(void *arg, uint32_t id, int64_t timeout_ms)
{
    (void)arg;
    conn_unregister(id, (struct cv_ms){ timeout_ms });
}

static void act_close(void *arg, uint32_t id)
{
    (void)arg;
    conn_close(id);
}

static void act_goodbye(void *arg, uint32_t id)
{
    (void)arg;
    conn_goodbye(id);
}

static void act_watch(void *arg, uint32_t id, int64_t every_ms)
{
    (void)arg;
    conn_watch(id, (struct cv_ms){ every_ms });
}

static void act_timer(void *arg, int64_t at_ms)
{
    (void)arg;
    if (at_ms == INT64_MAX)
        cv_timer_clear(&tunnel.timer);
    else
        cv_timer_set(tunnel.self, &tunnel.timer, (struct cv_ms){ at_ms - clock_ms() });
}

static void act_announce(void *arg)
{
    (void)arg;
    announce(conf()->pidfile);
}

static void act_replaced(void *arg, enum sup_replaced why)
{
    (void)arg;
    cv_add(METRIC(M_CULVERT_REPLACED, cv_str_of(sup_replaced_names[why])), 1);
}

static void act_keep_old_token(void *arg)
{
    (void)arg;
    if (!tunnel.old_credentials)
        return;
    credentials_unref(tunnel.credentials);
    tunnel.credentials = tunnel.old_credentials;
    tunnel.old_credentials = NULL;
}

static void stop_watching(void)
{
    await_free(tunnel.await);
    discovery_free(tunnel.discovery);
    token_watch_free(tunnel.token_watch);
    network_watch_free(tunnel.network_watch);
    tunnel.await = NULL;
    tunnel.discovery = NULL;
    tunnel.token_watch = NULL;
    tunnel.network_watch = NULL;
}

static int end_status;

static void on_emptied(void)
{
    log_line(CV_INFO, NULL, "Tunnel server stopped");
    tunnel.setup.ended(tunnel.setup.arg, end_status);
}

static void act_drained(void *arg)
{
    (void)arg;
    const struct chain *chain = tunnel.setup.main->chain;
    for (size_t i = 0; chain && i < chain->n_observers; i++) {
        const struct cv_self *o = chain->observers[i];
        if (o->instance->module->observer->event)
            o->instance->module->observer->event(o, &(struct cv_event){ .what = CV_EV_DRAINED });
    }
}

static void act_end(void *arg, int status)
{
    (void)arg;
    end_status = tunnel.barred ? 1 : status;
    stop_watching();
    conns_when_empty(on_emptied);
}

static void act_log(void *arg, enum cv_level level, const struct cv_fields *fields, const char *text)
{
    (void)arg;
    log_line(level, fields, "%s", text);
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

static const struct sup_ops actions = {
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

/* ---- its events ---------------------------------------------------------------------------------------- */

struct census {
    unsigned by[SUP_PROTOCOLS][CV_LINK_LEAVING + 1];
    bool up[INDICES];
};

static void count_link(void *arg, const struct cv_link *link)
{
    struct census *c = arg;
    size_t protocol = 0;
    while (protocol < SUP_PROTOCOLS - 1 && strcmp(sup_protocol_names[protocol], link->protocol) != 0)
        protocol++;
    c->by[protocol][link->state]++;
    c->up[link->index] |= link->state == CV_LINK_REGISTERED;
    if (link->index >= tunnel.n_indices)
        tunnel.n_indices = link->index + 1;
}

static void show_census(const struct census *c)
{
    static const char *const states[] = { "connecting", "registered", "leaving" };
    for (size_t p = 0; p < SUP_PROTOCOLS; p++)
        for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++)
            cv_gauge_set(
                METRIC(M_CULVERT_EDGE_CONNECTIONS, cv_str_of(sup_protocol_names[p]), cv_str_of(states[s])),
                c->by[p][s]);
    for (unsigned i = 0; i < tunnel.n_indices; i++) {
        char id[12];
        snprintf(id, sizeof(id), "%u", i);
        cv_gauge_set(METRIC(M_CULVERT_EDGE_UP, cv_str_of(id)), c->up[i]);
    }
}

static void count_connections(void)
{
    cv_gauge_set(metric(M_HA_CONNECTIONS, NULL), supervisor_running(tunnel.supervisor));
    struct census census = { 0 };
    supervisor_each(tunnel.supervisor, clock_ms(), count_link, &census);
    show_census(&census);
}

static void set_location(unsigned index, const char *location, int64_t value)
{
    char id[8];
    snprintf(id, sizeof(id), "%u", index);
    cv_gauge_set(METRIC(M_SERVER_LOCATIONS, cv_str_of(id), cv_str_of(location)), value);
}

static void note_location(const struct conn_report *report)
{
    char *known = tunnel.locations[report->index];
    if (*known && strcmp(known, report->location) != 0)
        set_location(report->index, known, 0);
    memcpy(known, report->location, CONN_LOCATION);
    set_location(report->index, known, 1);
}

static void on_report(const struct conn_report *report)
{
    if (!tunnel.supervisor)
        return;
    if (report->what == CONN_REGISTERED)
        note_location(report);
    supervisor_report(tunnel.supervisor, clock_ms(), report);
    count_connections();
}

static void on_timer(struct cv_timer *timer)
{
    (void)timer;
    supervisor_tick(tunnel.supervisor, clock_ms());
    count_connections();
}

static void on_discovered(void *arg, const struct sup_region regions[EDGE_REGIONS])
{
    (void)arg;
    supervisor_addresses(tunnel.supervisor, clock_ms(), regions);
    count_connections();
}

static void on_network(void *arg, enum network_news news)
{
    (void)arg;
    if (news == NETWORK_RESUMED)
        supervisor_resumed(tunnel.supervisor, clock_ms());
    else
        supervisor_network_changed(tunnel.supervisor, clock_ms());
}

/* ---- prepare ------------------------------------------------------------------------------------------- */

static bool given(const char *text)
{
    return text && *text;
}

static enum cv_error token_invalid(struct cv_err *err)
{
    return cv_fail(err, CV_E_DENIED,
                   "Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'.");
}

static bool token_is_in_file(void)
{
    return conf()->token.n == 0;
}

static enum cv_error load_token(struct token *token, struct cv_err *err)
{
    enum cv_error e = token_is_in_file() ? token_file_read(conf()->token_file, token, err)
                                         : token_parse(conf()->token, token, err);
    if (e == CV_E_IO)
        return CV_E_DENIED;
    return e ? token_invalid(err) : CV_OK;
}

static struct credentials *new_credentials(struct token *token_take, unsigned generation)
{
    struct credentials_source from = { tunnel.client_id, &conf()->features, conf()->post_quantum,
                                       tunnel.local_json };
    return credentials_new(token_take, generation, &from);
}

static enum cv_error make_credentials(struct cv_err *err)
{
    struct token token = { 0 };
    enum cv_error e = load_token(&token, err);
    if (e)
        return e;
    tunnel.credentials = new_credentials(&token, 0);
    if (given(conf()->region) && *tunnel.credentials->token.endpoint)
        return cv_fail(err, CV_E_CONF, "region provided with a token that has an endpoint");
    return CV_OK;
}

/* What has proved itself is kept until the new one has; where several come in between, they never count. */
static void on_token(void *arg, struct token *take)
{
    (void)arg;
    if (token_same(take, &tunnel.credentials->token)) {
        token_free(take);
        return;
    }
    log_line(CV_INFO, NULL, "The token has changed, registering the connections with the new one");
    struct credentials *before = tunnel.credentials;
    tunnel.credentials = new_credentials(take, before->generation + 1);
    if (supervisor_trial(tunnel.supervisor)) {
        credentials_unref(before);
    } else {
        credentials_unref(tunnel.old_credentials);
        tunnel.old_credentials = before;
    }
    supervisor_token_changed(tunnel.supervisor, clock_ms());
}

static enum cv_error load_rules(struct cv_err *err)
{
    if (given(conf()->url))
        return orchestrator_local_service(conf()->url, tunnel.setup.origin_request,
                                          tunnel.setup.n_origin_request, err);
    if (given(conf()->ingress_file))
        return orchestrator_local_file(conf()->ingress_file, err);
    return CV_OK;
}

/* Told when the log has begun. */
static void restore_rules(void)
{
    if (given(conf()->last_config))
        tunnel.no_restore = orchestrator_keep(conf()->last_config, &tunnel.restore_error);
}

static void log_restored(void)
{
    if (tunnel.no_restore)
        log_line(CV_WARN, NULL, "last_config: %s; it is not used", tunnel.restore_error.text);
    else if (orchestrator_version() >= 0)
        log_line(
            CV_INFO,
            CV_FIELDS(CV_S("file", cv_str_of(conf()->last_config)), CV_I("version", orchestrator_version())),
            "Using the last configuration until the edge sends a newer one");
}

static enum cv_error choose_edges(struct cv_err *err)
{
    static const char *const names[SUP_PROTOCOLS] = { "quic", "http2" };
    for (size_t p = 0; p < SUP_PROTOCOLS; p++) {
        bool wanted = conf()->protocol == 0 || conf()->protocol == (int)p + 1;
        for (size_t i = tunnel.setup.n_edges; wanted && i-- > 0;)
            if (strcmp(tunnel.setup.edges[i]->module->edge->protocol, names[p]) == 0)
                tunnel.edges[p] = tunnel.setup.edges[i];
    }
    if (tunnel.edges[SUP_QUIC] || tunnel.edges[SUP_HTTP2])
        return CV_OK;
    return cv_fail(err, CV_E_CONF,
                   "protocol: no module for it is loaded; edge_quic serves quic, edge_http2 serves http2");
}

static enum cv_error read_bind_address(struct cv_err *err)
{
    const char *text = conf()->edge_bind_address;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&tunnel.bind;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&tunnel.bind;
    if (!given(text))
        return CV_OK;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
        v4->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
        v6->sin6_family = AF_INET6;
    socklen_t size = tunnel.bind.ss_family == AF_INET ? sizeof(*v4) : sizeof(*v6);
    int fd = socket(tunnel.bind.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&tunnel.bind, size) == 0;
    enum cv_error e =
        ok ? CV_OK : cv_fail(err, CV_E_CONF, "edge_bind_address: unable to bind to %s: %m", text);
    if (fd >= 0)
        close(fd);
    return e;
}

enum cv_error tunnel_prepare(const struct tunnel_setup *setup, struct cv_err *err)
{
    memset(&tunnel, 0, sizeof(tunnel));
    tunnel.setup = *setup;
    tunnel.self = worker_core_self(setup->main);
    tunnel.timer.fire = on_timer;
    registrar_conf =
        (struct registrar_conf){ setup->main, conf()->rpc_timeout, (size_t)conf()->config_size.n };
    uuid_random(tunnel.client_id);
    uuid_text(tunnel.client_id, tunnel.connector_id);
    conns_setup(setup->main, on_report);
    orchestrator_setup(setup->main, setup->workers, setup->n_workers);
    enum cv_error e = load_rules(err);
    tunnel.local_json = orchestrator_local_json(setup->flags, setup->n_flags);
    if (!e)
        e = tls_setup(conf()->cacert, conf()->post_quantum, err);
    if (!e && conf()->enabled && !(e = choose_edges(err)) && !(e = read_bind_address(err)))
        e = make_credentials(err);
    if (e)
        tunnel_free();
    else if (conf()->enabled)
        restore_rules();
    return e;
}

static void log_identity(void)
{
    char id[UUID_TEXT];
    uuid_text(tunnel.credentials->token.id, id);
    log_line(CV_INFO, CV_FIELDS(CV_S("tunnelID", cv_str_of(id))), "Starting tunnel");
    if (tunnel.setup.settings)
        log_line(CV_INFO, NULL, "Settings: map[%s]", tunnel.setup.settings);
    log_line(CV_INFO, NULL, "Generated Connector ID: %s", tunnel.connector_id);
    log_line(CV_INFO, NULL, "Initial protocol %s", tunnel.edges[SUP_QUIC] ? "quic" : "http2");
}

/* ---- start --------------------------------------------------------------------------------------------- */

static int family(void)
{
    static const int families[] = { AF_UNSPEC, AF_INET, AF_INET6 };
    int wanted = families[conf()->edge_ip_version];
    if (tunnel.bind.ss_family == AF_UNSPEC)
        return conf()->edge.n ? AF_UNSPEC : wanted;
    if (wanted != AF_UNSPEC && wanted != tunnel.bind.ss_family)
        log_line(CV_WARN, NULL, "Overriding edge-ip-version: the family of edge-bind-address decides");
    return tunnel.bind.ss_family;
}

static struct sup_conf supervisor_conf(void)
{
    const struct tunnel_conf *c = conf();
    return (struct sup_conf){
        .available = { tunnel.edges[SUP_QUIC] != NULL, tunnel.edges[SUP_HTTP2] != NULL },
        .family = family(),
        .connections = (unsigned)c->ha_connections,
        .retries = (unsigned)c->retries,
        .spacing = c->spacing.ms,
        .head_start = c->head_start.ms,
        .reprobe = c->reprobe.ms,
        .control_timeout = c->control_timeout.ms,
        .rpc_timeout = c->rpc_timeout.ms,
        .grace = c->grace_period.ms,
        .settle = c->settle.ms,
        .replaced_limit = c->replaced_limit.ms,
        .stall_streams = (unsigned)c->stall_streams,
        .stall_after = c->stall_after.ms,
        .exit_when_refused = c->on_refused == 0,
        .refused_tries = (unsigned)c->refused_tries,
    };
}

static void start_supervisor(void)
{
    struct sup_conf sup = supervisor_conf();
    tunnel.supervisor = supervisor_new(&sup, &actions, NULL);
}

/* The first addresses start the supervisor. */
static void find_edge(void *arg)
{
    (void)arg;
    const char *endpoint = tunnel.credentials->token.endpoint;
    const char *region = *endpoint ? endpoint : conf()->region ? conf()->region : "";
    tunnel.discovery = discovery_new(tunnel.self, conf(), region, &dot_cloudflare, on_discovered, NULL);
}

enum cv_error tunnel_start(struct cv_err *err)
{
    (void)err;
    orchestrator_publish();
    if (!conf()->enabled)
        return CV_OK;
    log_identity();
    log_restored();
    start_supervisor();
    if (conf()->wait_for.n)
        tunnel.await = await_new(tunnel.self, &conf()->wait_for, find_edge, NULL);
    else
        find_edge(NULL);
    tunnel.network_watch = network_watch_new(tunnel.self, on_network, NULL);
    if (token_is_in_file())
        tunnel.token_watch = token_watch_new(tunnel.self, conf()->token_file, on_token, NULL);
    return CV_OK;
}

/* ---- a reload ------------------------------------------------------------------------------------------- */

void tunnel_local_changed(void)
{
    orchestrator_reread();
}

enum cv_error tunnel_token_check(struct cv_secret text, struct cv_err *err)
{
    struct token token = { 0 };
    enum cv_error e = token_parse(text, &token, err);
    token_free(&token);
    return e;
}

/* A file is watched; what the ini points to is read again by a reload. */
static void follow_token(void)
{
    struct token token = { 0 };
    struct cv_err err;
    if (!token_is_in_file() && token_parse(conf()->token, &token, &err) == CV_OK)
        on_token(NULL, &token);
}

void tunnel_changed(size_t n_edges, size_t n_gates)
{
    const struct cv_instance *before[SUP_PROTOCOLS];
    bool moved[SUP_PROTOCOLS];
    struct cv_err err;
    tunnel.setup.n_edges = n_edges;
    tunnel.setup.n_gates = n_gates;
    if (!tunnel.supervisor)
        return;
    memcpy(before, tunnel.edges, sizeof(before));
    memset(tunnel.edges, 0, sizeof(tunnel.edges));
    CV_ASSERT(choose_edges(&err) == CV_OK); /* the reload has looked */
    for (size_t p = 0; p < SUP_PROTOCOLS; p++)
        moved[p] = before[p] && tunnel.edges[p] != before[p];
    struct sup_conf sup = supervisor_conf();
    supervisor_configure(tunnel.supervisor, clock_ms(), &sup, moved);
    follow_token();
}

/* ---- the end, and what others may ask -------------------------------------------------------------------- */

void tunnel_shutdown(const char *why)
{
    if (tunnel.supervisor) {
        supervisor_shutdown(tunnel.supervisor, clock_ms(), why);
        count_connections();
    } else {
        act_end(NULL, 0);
    }
}

void cv_drain(struct cv_ms limit)
{
    if (!tunnel.supervisor)
        return;
    if (!supervisor_draining(tunnel.supervisor))
        log_line(CV_INFO, NULL,
                 "Draining: connections are unregistered, requests under way finish, the process stays");
    supervisor_drain(tunnel.supervisor, clock_ms(), limit.ms < 0 ? conf()->grace_period.ms : limit.ms);
    count_connections();
}

void tunnel_drain(void)
{
    cv_drain((struct cv_ms){ CV_GRACE_PERIOD });
}

bool cv_drained(struct cv_drained *drained)
{
    *drained = (struct cv_drained){ 0 };
    if (!tunnel.supervisor)
        return true;
    *drained = supervisor_drained(tunnel.supervisor, clock_ms());
    return supervisor_idle(tunnel.supervisor);
}

void cv_links_each(void (*fn)(void *arg, const struct cv_link *), void *arg)
{
    if (tunnel.supervisor)
        supervisor_each(tunnel.supervisor, clock_ms(), fn, arg);
}

void tunnel_free(void)
{
    stop_watching();
    supervisor_free(tunnel.supervisor);
    cv_timer_clear(&tunnel.timer);
    credentials_unref(tunnel.credentials);
    credentials_unref(tunnel.old_credentials);
    free(tunnel.local_json);
    orchestrator_free();
    tls_free();
    memset(&tunnel, 0, sizeof(tunnel));
}

void cv_status(struct cv_status *status)
{
    static char id[UUID_TEXT];
    if (tunnel.credentials)
        uuid_text(tunnel.credentials->token.id, id);
    *status = (struct cv_status){
        .ready = tunnel.supervisor ? supervisor_ready(tunnel.supervisor) : 0,
        .draining = tunnel.supervisor && supervisor_draining(tunnel.supervisor),
        .config_version = orchestrator_version(),
        .connector_id = tunnel.connector_id,
        .tunnel_id = tunnel.credentials ? id : "",
        .not_ready = unready(),
        .has_rules = orchestrator_has_rules(),
    };
    status->stuck = pulse_stuck(&status->stuck_ms);
}
