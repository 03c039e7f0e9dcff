/* tunnel.c: the room as a whole: made ready, started, changed by a reload, drained, ended. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tunnel/await.h"
#include "tunnel/discover.h"
#include "tunnel/orchestrator.h"
#include "tunnel/registrar.h"
#include "tunnel/tls.h"
#include "tunnel/tunnel_state.h"

struct tunnel_room tunnel;

/* ---- prepare ------------------------------------------------------------------------------------------- */

static bool given(const char *text)
{
    return text && *text;
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

static void make_rest(void)
{
    if (tunnel.has_second) {
        orchestrator_add_second();
        identity_load_second();
    }
    restore_rules();
}

/* As the first one's, but for the edge; the file of last known addresses is the first one's alone. */
static void make_second_conf(void)
{
    const struct failover_conf *f = tunnel.setup.failover;
    tunnel.second_conf = *conf();
    tunnel.second_conf.address_cache = "";
    if (f->edge.n)
        tunnel.second_conf.edge = f->edge;
}

static void set_up_twins(void)
{
    const struct failover_conf *f = tunnel.setup.failover;
    tunnel.has_second = conf()->enabled && failover_given(f);
    *first = (struct twin){ .id = TUNNEL_FIRST, .token_file = conf()->token_file, .conf = conf() };
    *second = (struct twin){ .id = TUNNEL_SECOND, .token_file = f->token_file, .conf = &tunnel.second_conf };
    first->timer.fire = second->timer.fire = tunnel_tick;
    make_second_conf();
}

enum cv_error tunnel_prepare(const struct tunnel_setup *setup, struct cv_err *err)
{
    memset(&tunnel, 0, sizeof(tunnel));
    tunnel.setup = *setup;
    tunnel.self = worker_core_self(setup->main);
    set_up_twins();
    registrar_conf =
        (struct registrar_conf){ setup->main, conf()->rpc_timeout, (size_t)conf()->config_size.n };
    uuid_random(tunnel.client_id);
    uuid_text(tunnel.client_id, tunnel.connector_id);
    conns_setup(setup->main, tunnel_reported);
    orchestrator_setup(setup->main, setup->workers, setup->n_workers);
    enum cv_error e = load_rules(err);
    tunnel.local_json = orchestrator_local_json(setup->flags, setup->n_flags);
    if (!e)
        e = tls_setup(conf()->cacert, conf()->post_quantum, err);
    if (!e && conf()->enabled && !(e = choose_edges(err)) && !(e = read_bind_address(err)))
        e = identity_load(err);
    if (e)
        tunnel_free();
    else if (conf()->enabled)
        make_rest();
    return e;
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
        .exit_when_refused = c->on_refused == 0 && !tunnel.has_second, /* one is worth going on for */
        .refused_tries = (unsigned)c->refused_tries,
    };
}

static void start_supervisors(void)
{
    struct sup_conf sup = supervisor_conf();
    for (each_twin(t))
        t->supervisor = supervisor_new(&sup, &supervisor_actions, t);
}

static void begin(void *arg)
{
    (void)arg;
    tunnel_find_edge(first);
    second_begin();
}

enum cv_error tunnel_start(struct cv_err *err)
{
    (void)err;
    orchestrator_publish();
    if (!conf()->enabled)
        return CV_OK;
    identity_log();
    log_restored();
    start_supervisors();
    if (conf()->wait_for.n)
        tunnel.await = await_new(tunnel.self, &conf()->wait_for, begin, NULL);
    else
        begin(NULL);
    tunnel.network_watch = network_watch_new(tunnel.self, tunnel_network, NULL);
    identity_watch();
    return CV_OK;
}

/* ---- a reload ------------------------------------------------------------------------------------------- */

void tunnel_local_changed(void)
{
    orchestrator_reread();
}

void tunnel_changed(size_t n_edges, size_t n_gates)
{
    const struct cv_instance *before[SUP_PROTOCOLS];
    bool moved[SUP_PROTOCOLS];
    struct cv_err err;
    tunnel.setup.n_edges = n_edges;
    tunnel.setup.n_gates = n_gates;
    if (!first->supervisor)
        return;
    memcpy(before, tunnel.edges, sizeof(before));
    memset(tunnel.edges, 0, sizeof(tunnel.edges));
    CV_ASSERT(choose_edges(&err) == CV_OK); /* the reload has looked */
    for (size_t p = 0; p < SUP_PROTOCOLS; p++)
        moved[p] = before[p] && tunnel.edges[p] != before[p];
    struct sup_conf sup = supervisor_conf();
    make_second_conf();
    for (each_twin(t))
        supervisor_configure(t->supervisor, clock_ms(), &sup, moved);
    for (each_twin(t))
        identity_follow(t);
    tunnel_look();
}

/* ---- the end, and what others may ask -------------------------------------------------------------------- */

void tunnel_shutdown(const char *why)
{
    if (!first->supervisor) {
        tunnel_over(0);
        return;
    }
    bool drains = supervisor_draining(first->supervisor);
    supervisor_shutdown(first->supervisor, clock_ms(), why);
    if (tunnel.has_second) {
        if (!drains)
            supervisor_drain(second->supervisor, clock_ms(), conf()->grace_period.ms);
        supervisor_shutdown(second->supervisor, clock_ms(), NULL);
    }
    tunnel_look();
}

void cv_drain(struct cv_ms limit)
{
    if (!first->supervisor)
        return;
    if (!supervisor_draining(first->supervisor)) {
        log_line(CV_INFO, NULL,
                 "Draining: connections are unregistered, requests under way finish, the process stays");
        second_drains();
    }
    for (each_twin(t))
        supervisor_drain(t->supervisor, clock_ms(), limit.ms < 0 ? conf()->grace_period.ms : limit.ms);
    tunnel_look();
}

void tunnel_drain(void)
{
    cv_drain((struct cv_ms){ CV_GRACE_PERIOD });
}

bool cv_drained(struct cv_drained *drained)
{
    *drained = (struct cv_drained){ 0 };
    if (!first->supervisor)
        return true;
    *drained = supervisor_drained(first->supervisor, clock_ms());
    second_add_drained(drained);
    return tunnel_idle();
}

struct show {
    void (*fn)(void *arg, const struct cv_link *);
    void *arg;
    const struct twin *twin;
};

static void show_link(void *arg, const struct cv_link *link)
{
    const struct show *s = arg;
    struct cv_link shown = *link;
    shown.tunnel = tunnel_names[s->twin->id];
    s->fn(s->arg, &shown);
}

void cv_links_each(void (*fn)(void *arg, const struct cv_link *), void *arg)
{
    for (each_twin(t))
        if (t->supervisor)
            supervisor_each(t->supervisor, clock_ms(), show_link, &(struct show){ fn, arg, t });
}

void tunnel_free(void)
{
    tunnel_stop_watching();
    for (each_twin(t)) {
        supervisor_free(t->supervisor);
        cv_timer_clear(&t->timer);
        credentials_unref(t->credentials);
        credentials_unref(t->old_credentials);
    }
    free(tunnel.local_json);
    orchestrator_free();
    tls_free();
    memset(&tunnel, 0, sizeof(tunnel));
}

void cv_status(struct cv_status *status)
{
    static char id[UUID_TEXT];
    unsigned ready = 0;
    for (each_twin(t))
        ready += t->supervisor ? supervisor_ready(t->supervisor) : 0;
    if (first->credentials)
        uuid_text(first->credentials->token.id, id);
    *status = (struct cv_status){
        .ready = ready,
        .draining = first->supervisor && supervisor_draining(first->supervisor),
        .config_version = orchestrator_version(),
        .connector_id = tunnel.connector_id,
        .tunnel_id = first->credentials ? id : "",
        .not_ready = unready(),
        .has_rules = orchestrator_has_rules(),
    };
    status->stuck = pulse_stuck(&status->stuck_ms);
}
