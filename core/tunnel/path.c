/* path.c: what the way to the edge is like, under the same names whatever the transport. Worker thread. */
#include "tunnel/conn.h"

#include <stdio.h>

static void count(enum core_metric id, struct cv_str index, struct cv_str protocol, const char *by,
                  uint64_t now, uint64_t before)
{
    struct cv_series *s = METRIC(id, index, protocol, cv_str_of(by));
    cv_add(s, now > before ? (int64_t)(now - before) : 0);
}

static void show_times(struct cv_str index, const struct cv_path *p)
{
    struct cv_series *rtt = METRIC(M_CULVERT_EDGE_RTT, index), *least = METRIC(M_CULVERT_EDGE_MIN_RTT, index);
    if (p->rtt_us < 0) {
        cv_gauge_unset(rtt);
        cv_gauge_unset(least);
        return;
    }
    cv_gauge_set(rtt, p->rtt_us);
    cv_gauge_set(least, p->min_rtt_us);
}

static struct cv_str name_of(unsigned index, char text[12])
{
    int n = snprintf(text, 12, "%u", index);
    return (struct cv_str){ text, (size_t)n };
}

void path_look(struct connection *c)
{
    const struct cv_edge_ops *edge = c->edge->instance->module->edge;
    struct cv_path now = { .rtt_us = -1 };
    char text[12];
    if (!edge->path || !c->is_up || c->is_down || !edge->path(c->edge, &c->base.pub, &now))
        return;
    struct cv_path before = c->path;
    c->path = now;
    if (c->base.tunnel != TUNNEL_FIRST) /* whose indexes they are */
        return;
    struct cv_str index = name_of(c->base.pub.index, text), protocol = cv_str_of(edge->protocol);
    count(M_CULVERT_EDGE_SENT, index, protocol, NULL, now.sent, before.sent);
    count(M_CULVERT_EDGE_RECEIVED, index, protocol, NULL, now.received, before.received);
    count(M_CULVERT_EDGE_LOST, index, protocol, NULL, now.lost, before.lost);
    count(M_CULVERT_EDGE_RESENT, index, protocol, NULL, now.resent, before.resent);
    count(M_CULVERT_EDGE_RESETS, index, protocol, "culvert", now.resets_sent, before.resets_sent);
    count(M_CULVERT_EDGE_RESETS, index, protocol, "edge", now.resets_received, before.resets_received);
    show_times(index, &now);
}

void path_gone(const struct connection *c)
{
    char text[12];
    if (c->is_up && c->base.tunnel == TUNNEL_FIRST)
        show_times(name_of(c->base.pub.index, text), &(struct cv_path){ .rtt_us = -1 });
}
