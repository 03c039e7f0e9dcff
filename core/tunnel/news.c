/* news.c: what the supervisors are told, by connections, timers, discovery and the network, and what it does to the metrics. */
#include <stdio.h>
#include <string.h>

#include "tunnel/discover.h"
#include "tunnel/tunnel_state.h"

/* The first tunnel's, as indexes in the metrics are. */
static struct {
    char locations[SUP_CONNECTIONS_MAX][CONN_LOCATION]; /* of each index */
    unsigned n_indices;                                 /* that ever had a connection */
} seen;

struct census {
    unsigned by[SUP_PROTOCOLS][CV_LINK_LEAVING + 1];
    bool up[SUP_CONNECTIONS_MAX];
};

static void count_link(void *arg, const struct cv_link *link)
{
    struct census *c = arg;
    size_t protocol = 0;
    while (protocol < SUP_PROTOCOLS - 1 && strcmp(sup_protocol_names[protocol], link->protocol) != 0)
        protocol++;
    c->by[protocol][link->state]++;
    c->up[link->index] |= link->state == CV_LINK_REGISTERED;
    if (link->index >= seen.n_indices)
        seen.n_indices = link->index + 1;
}

static void show_census(const struct census *c)
{
    static const char *const states[] = { "connecting", "registered", "leaving" };
    for (size_t p = 0; p < SUP_PROTOCOLS; p++)
        for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++)
            cv_gauge_set(
                METRIC(M_CULVERT_EDGE_CONNECTIONS, cv_str_of(sup_protocol_names[p]), cv_str_of(states[s])),
                c->by[p][s]);
    for (unsigned i = 0; i < seen.n_indices; i++) {
        char id[12];
        snprintf(id, sizeof(id), "%u", i);
        cv_gauge_set(METRIC(M_CULVERT_EDGE_UP, cv_str_of(id)), c->up[i]);
    }
}

/* The first one's, which the names and indexes are of. */
static void count_connections(void)
{
    cv_gauge_set(metric(M_HA_CONNECTIONS, NULL), supervisor_running(first->supervisor));
    struct census census = { 0 };
    supervisor_each(first->supervisor, clock_ms(), count_link, &census);
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
    char *known = seen.locations[report->index];
    if (*known && strcmp(known, report->location) != 0)
        set_location(report->index, known, 0);
    memcpy(known, report->location, CONN_LOCATION);
    set_location(report->index, known, 1);
}

void tunnel_look(void)
{
    count_connections();
    second_look();
}

void tunnel_reported(const struct conn_report *report)
{
    struct twin *t = &tunnel.twins[report->id % TUNNELS];
    struct conn_report own = *report;
    own.id /= TUNNELS;
    if (!t->supervisor)
        return;
    if (t == first && report->what == CONN_REGISTERED)
        note_location(report);
    supervisor_report(t->supervisor, clock_ms(), &own);
    tunnel_look();
}

void tunnel_tick(struct cv_timer *timer)
{
    struct twin *t = CV_OWNER(timer, struct twin, timer);
    supervisor_tick(t->supervisor, clock_ms());
    tunnel_look();
}

static void on_discovered(void *arg, const struct sup_region regions[EDGE_REGIONS])
{
    struct twin *t = arg;
    supervisor_addresses(t->supervisor, clock_ms(), regions);
    tunnel_look();
}

void tunnel_find_edge(struct twin *t)
{
    const char *endpoint = t->credentials->token.endpoint;
    const char *region = *endpoint ? endpoint : conf()->region ? conf()->region : "";
    t->discovery = discovery_new(tunnel.self, t->conf, region, &dot_cloudflare, on_discovered, t);
}

void tunnel_network(void *unused, enum network_news news)
{
    (void)unused;
    for (each_twin(t))
        if (news == NETWORK_RESUMED)
            supervisor_resumed(t->supervisor, clock_ms());
        else
            supervisor_network_changed(t->supervisor, clock_ms());
}
