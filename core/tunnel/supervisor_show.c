/* supervisor_show.c: what the supervisor tells of itself. */
#include "tunnel/supervisor_state.h"

unsigned supervisor_ready(const struct supervisor *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n; i++)
        n += s->slots[i].live != NULL;
    return n;
}

unsigned supervisor_running(const struct supervisor *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n && !s->draining; i++)
        n += s->slots[i].started;
    return n;
}

bool supervisor_draining(const struct supervisor *s)
{
    return s->draining;
}

bool supervisor_trial(const struct supervisor *s)
{
    return s->trial;
}

bool supervisor_idle(const struct supervisor *s)
{
    return s->draining && !s->links;
}

struct cv_drained supervisor_drained(const struct supervisor *s, int64_t now)
{
    int64_t end = s->drained ? s->drain_end : now;
    return (struct cv_drained){ s->finished, s->cut, s->draining ? end - s->drain_from : 0 };
}

static enum cv_link_state shown_state(const struct link *link)
{
    if (link->state == LINK_REGISTERED)
        return CV_LINK_REGISTERED;
    return *link->uuid ? CV_LINK_LEAVING : CV_LINK_CONNECTING;
}

void supervisor_each(const struct supervisor *s, int64_t now, void (*fn)(void *, const struct cv_link *),
                     void *arg)
{
    for (const struct link *link = s->links; link; link = link->next) {
        struct cv_link shown = { .index = link->slot->index,
                                 .state = shown_state(link),
                                 .protocol = sup_protocol_names[link->protocol],
                                 .ip = link->ip,
                                 .location = link->location,
                                 .id = link->uuid,
                                 .registered_ms = *link->uuid ? now - link->since : 0,
                                 .rtt_us = link->rtt_us,
                                 .open = link->open };
        fn(arg, &shown);
    }
}
