/* leave.c: connections that are given up in order: unregistered first, kept until their requests have ended; the end of
 * the process is all of them together (docs/protocol.md §15). */
#include "tunnel/supervisor_state.h"

void leave_until(struct link *link, int64_t now, int64_t deadline)
{
    int64_t half = (deadline - now) / 2;
    link->deadline = deadline;
    link->goodbye_at = deadline - (half < GOODBYE_MS ? half : GOODBYE_MS);
}

void leave(struct supervisor *s, struct link *link, int64_t now, int64_t limit)
{
    struct slot *slot = link->slot;
    if (slot->live == link)
        slot->live = NULL;
    link->state = LINK_LEAVING;
    leave_until(link, now, now + limit);
    link->quiet_since = now;
    link->unregistered = false;
    if (limit <= 0) {
        link_close(s, link);
        return;
    }
    int64_t timeout = limit < s->conf.rpc_timeout ? limit : s->conf.rpc_timeout;
    s->ops->unregister(s->arg, link->id, timeout);
    s->ops->watch(s->arg, link->id, SAMPLE_LEAVING_MS);
}

/* The edge may have had requests under way when it was told: quiet for a moment, not only empty. */
void leave_check(struct supervisor *s, struct link *link, int64_t now)
{
    bool quiet = link->unregistered && link->open == 0 && now - link->quiet_since >= s->conf.settle;
    if (quiet || now >= link->deadline) {
        link_close(s, link);
    } else if (now >= link->goodbye_at) {
        link->goodbye_at = NEVER;
        s->ops->goodbye(s->arg, link->id);
    }
}

void leave_all(struct supervisor *s, int64_t now, int64_t limit)
{
    s->drain_until = now + limit;
    for (unsigned i = 0; i < SUP_CONNECTIONS_MAX; i++)
        attempt_cancel(s, &s->slots[i]);
    for (struct link *link = s->links; link; link = link->next)
        if (link->state == LINK_REGISTERED)
            leave(s, link, now, limit);
        else if (link->state == LINK_LEAVING && link->deadline > s->drain_until)
            leave_until(link, now, s->drain_until);
}

void drained_if_empty(struct supervisor *s, int64_t now)
{
    if (!s->draining || s->drained || s->links)
        return;
    s->drained = true;
    s->drain_end = now;
    s->ops->drained(s->arg);
}

void end_if_empty(struct supervisor *s)
{
    if (!s->ending || s->ended || s->links)
        return;
    s->ended = true;
    s->ops->end(s->arg, s->status);
}
