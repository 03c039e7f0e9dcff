/* attempt.c: an index tries to get connected: address, protocols raced against each other, failure, back-off. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "culvert/mem.h"
#include "tunnel/supervisor_state.h"

enum { LEAST_WAIT_MS = 100 };

/* ---- addresses ----------------------------------------------------------------------------------------- */

static void give_home_back(struct supervisor *s, struct slot *slot, bool failed, int64_t now)
{
    if (slot->home)
        address_give_back(&s->addresses, slot->home, failed, now);
    slot->home = NULL;
}

/* What failed is free for others while this index looks elsewhere; with nothing else it may come back to it. */
static void rotate(struct supervisor *s, struct slot *slot, int64_t now)
{
    struct edge_addr *old = slot->home;
    give_home_back(s, slot, true, now);
    slot->home = address_take(&s->addresses, old);
}

/* One user of the address to dial. A connection that is to replace another one goes elsewhere if it can: the edge takes
 * a second registration of an index at the same server for a mistake. */
static struct edge_addr *choose_address(struct supervisor *s, struct slot *slot)
{
    if (!slot->home)
        slot->home = address_take(&s->addresses, NULL);
    if (!slot->home)
        return NULL;
    struct edge_addr *other = slot->live ? address_take(&s->addresses, slot->home) : NULL;
    return other ? other : address_share(slot->home);
}

/* ---- legs ---------------------------------------------------------------------------------------------- */

static void start_leg(struct supervisor *s, struct slot *slot, enum sup_protocol protocol,
                      struct edge_addr *addr_take, int64_t now)
{
    struct link *link = cv_xcalloc(1, sizeof(*link));
    link->slot = slot;
    link->id = ++s->last_id;
    link->protocol = protocol;
    link->state = LINK_DIALLING;
    link->addr = addr_take;
    address_ip(&addr_take->addr, link->ip);
    memcpy(slot->ip, link->ip, sizeof(slot->ip));
    link->deadline = now + DIAL_MS;
    link->rtt_us = -1;
    link->token = s->token;
    link->next = s->links;
    s->links = link;
    slot->legs[protocol] = link;
    slot->tried[protocol] = true;
    unsigned attempts = slot->attempts < s->conf.retries ? slot->attempts : s->conf.retries;
    struct sup_dial dial = { link->id, slot->index, protocol, &addr_take->addr, attempts };
    s->ops->dial(s->arg, &dial);
}

static enum sup_protocol first_protocol(const struct supervisor *s, const struct slot *slot)
{
    if (!s->conf.available[SUP_HTTP2] || slot->probing)
        return SUP_QUIC;
    if (!s->conf.available[SUP_QUIC] || s->quic_failed || slot->quic_faults >= QUIC_FAULTS)
        return SUP_HTTP2;
    return SUP_QUIC;
}

static bool may_race(const struct supervisor *s, const struct slot *slot)
{
    return s->conf.available[SUP_QUIC] && s->conf.available[SUP_HTTP2] && !slot->probing;
}

void attempt_begin(struct supervisor *s, struct slot *slot, int64_t now)
{
    slot->due = NEVER;
    slot->second_at = NEVER;
    slot->trying = true;
    slot->tried[SUP_QUIC] = slot->tried[SUP_HTTP2] = false;
    struct edge_addr *addr = choose_address(s, slot);
    if (!addr) {
        log_slot(s, slot, failure_level(s), "there are no free edge addresses left to resolve to",
                 "Unable to establish connection.");
        attempt_failed(s, slot, now, &(struct attempt_failure){ 0 });
        return;
    }
    if (may_race(s, slot))
        slot->second_at = now + s->conf.head_start;
    start_leg(s, slot, first_protocol(s, slot), addr, now);
}

static struct link *running_leg(const struct slot *slot)
{
    return slot->legs[SUP_QUIC] ? slot->legs[SUP_QUIC] : slot->legs[SUP_HTTP2];
}

static void second_leg(struct supervisor *s, struct slot *slot, struct edge_addr *addr_take, int64_t now)
{
    enum sup_protocol other = slot->tried[SUP_QUIC] ? SUP_HTTP2 : SUP_QUIC;
    slot->second_at = NEVER;
    start_leg(s, slot, other, addr_take, now);
}

void attempt_add_second(struct supervisor *s, struct slot *slot, int64_t now)
{
    second_leg(s, slot, address_share(running_leg(slot)->addr), now);
}

void attempt_cancel(struct supervisor *s, struct slot *slot)
{
    for (size_t i = 0; i < SUP_PROTOCOLS; i++)
        if (slot->legs[i])
            link_close(s, slot->legs[i]);
    slot->trying = slot->probing = false;
    slot->due = slot->second_at = NEVER;
}

/* ---- outcome ------------------------------------------------------------------------------------------- */

static void learn_protocol(struct supervisor *s, const struct link *link)
{
    if (link->protocol == SUP_QUIC) {
        s->quic_failed = false;
    } else if (link->slot->tried[SUP_QUIC]) {
        if (!s->quic_failed)
            log_link(s, link, CV_INFO, NULL, "Switching to fallback protocol http2");
        s->quic_failed = true;
    }
}

void attempt_link_up(struct supervisor *s, struct link *link, int64_t now)
{
    struct slot *slot = link->slot;
    struct link *other = slot->legs[1 - link->protocol];
    link->state = LINK_UP;
    link->deadline = now + s->conf.control_timeout + s->conf.rpc_timeout;
    slot->second_at = NEVER;
    learn_protocol(s, link);
    if (other)
        link_close(s, other);
}

void attempt_dial_failed(struct supervisor *s, struct link *link, int64_t now, const char *text)
{
    struct slot *slot = link->slot;
    bool quic = link->protocol == SUP_QUIC;
    log_link(s, link, slot->probing ? CV_DEBUG : failure_level(s), text,
             quic ? "Failed to dial a quic connection"
                  : "Unable to establish connection with Cloudflare edge");
    slot->legs[link->protocol] = NULL;
    if (slot->second_at != NEVER)
        second_leg(s, slot, address_share(link->addr), now);
    if (!running_leg(slot))
        attempt_failed(s, slot, now, &(struct attempt_failure){ .rotate = true });
}

static void probe_failed(struct supervisor *s, struct slot *slot, int64_t now)
{
    slot->probing = false;
    if (slot->probe_every < s->conf.reprobe * PROBE_DOUBLINGS)
        slot->probe_every *= 2;
    slot->probe_at = now + slot->probe_every;
}

/* ---- back-off ------------------------------------------------------------------------------------------ */

static uint32_t random_ms(const struct supervisor *s, int64_t below)
{
    return s->ops->random(s->arg, below > UINT32_MAX ? UINT32_MAX : (uint32_t)below);
}

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Full jitter: anything up to the bound, so that many connectors that lost the edge together do not come together. */
static void wait_and_retry(struct supervisor *s, struct slot *slot, int64_t now, int64_t at_least)
{
    int64_t bound = INT64_C(1000) << slot->retries;
    int64_t wait = max_of(random_ms(s, bound), LEAST_WAIT_MS);
    if (at_least > wait)
        wait = at_least + random_ms(s, bound);
    char text[80];
    snprintf(text, sizeof(text), "Retrying connection in up to %llds",
             (long long)(max_of(bound, at_least ? at_least + bound : 0) + 999) / 1000);
    log_slot(s, slot, CV_INFO, NULL, text);
    slot->due = now + wait;
}

void attempt_failed(struct supervisor *s, struct slot *slot, int64_t now, const struct attempt_failure *f)
{
    slot->trying = false;
    slot->second_at = NEVER;
    if (slot->probing) {
        probe_failed(s, slot, now);
        return;
    }
    if (s->draining)
        return;
    if (f->rotate && !slot->live)
        rotate(s, slot, now);
    slot->attempts++;
    if (slot->retries < s->conf.retries)
        slot->retries++;
    wait_and_retry(s, slot, now, f->at_least);
}

/* When the last one is lost, all of them were lost together, or nearly: the network was away, not the edge. Waiting
 * would only make it longer, once. */
static void hurry(struct supervisor *s, int64_t now)
{
    int64_t due = now;
    for (unsigned i = 0; i < s->n; i++) {
        struct slot *slot = &s->slots[i];
        if (!slot->started || slot->live || slot->trying || slot->retries > 0)
            continue;
        if (slot->due > due)
            slot->due = due;
        due += s->conf.spacing;
    }
}

void attempt_after_loss(struct supervisor *s, struct slot *slot, int64_t now)
{
    if (s->draining || slot->trying)
        return;
    wait_and_retry(s, slot, now, 0);
    if (supervisor_ready(s) == 0)
        hurry(s, now);
}
