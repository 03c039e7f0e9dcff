/* verdict.c: what the edge says to a registration, and what follows from it (docs/protocol.md §10.2, §10.3). */
#include <stdio.h>
#include <string.h>

#include "tunnel/credentials.h"
#include "tunnel/supervisor_state.h"

enum { LONGEST_RETRY_AFTER_MS = 10 * 60 * 1000 };

/* ---- accepted ------------------------------------------------------------------------------------------ */

static void log_registered(const struct supervisor *s, const struct link *link)
{
    s->ops->log(s->arg, CV_INFO,
                CV_FIELDS(CV_I("connIndex", link->slot->index), CV_S("connection", cv_str_of(link->uuid)),
                          CV_I("event", 0), CV_S("ip", cv_str_of(link->ip)),
                          CV_S("location", cv_str_of(link->location)),
                          CV_S("protocol", cv_str_of(sup_protocol_names[link->protocol]))),
                "Registered tunnel connection");
}

void start_others(struct supervisor *s, int64_t now)
{
    int64_t due = now;
    for (unsigned i = 0; i < s->n; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->started)
            continue;
        slot->started = true;
        slot->due = due;
        due += s->conf.spacing;
    }
}

static void move_home(struct supervisor *s, struct slot *slot, struct edge_addr *addr, int64_t now)
{
    if (slot->home == addr)
        return;
    if (slot->home)
        address_give_back(&s->addresses, slot->home, false, now);
    slot->home = address_share(addr);
}

static void plan_probe(struct supervisor *s, struct slot *slot, int64_t now)
{
    slot->probe_at = NEVER;
    if (slot->live->protocol == SUP_QUIC || !s->conf.available[SUP_QUIC] || s->conf.reprobe <= 0)
        return;
    if (slot->probe_every == 0)
        slot->probe_every = s->conf.reprobe;
    slot->probe_at = now + slot->probe_every + s->ops->random(s->arg, (uint32_t)(slot->probe_every / 4 + 1));
}

/* QUIC works again: the others need not wait for their time to look. */
static void probe_others(struct supervisor *s, int64_t now)
{
    int64_t at = now;
    for (unsigned i = 0; i < s->n; i++) {
        struct slot *slot = &s->slots[i];
        if (!slot->live || slot->live->protocol == SUP_QUIC || slot->probe_at == NEVER)
            continue;
        at += s->conf.spacing;
        slot->probe_at = at;
    }
}

static void protocol_regained(struct supervisor *s, int64_t now)
{
    s->ops->log(s->arg, CV_INFO, NULL, "Changing protocol to quic");
    s->ops->replaced(s->arg, SUP_PROTOCOL);
    probe_others(s, now);
}

/* The first connection with a new token has been accepted: now the others, one after the other. */
static void token_accepted(struct supervisor *s, int64_t now)
{
    s->trial = false;
    int64_t due = now;
    for (unsigned i = 0; i < s->n; i++) {
        struct slot *slot = &s->slots[i];
        if (!slot->live || slot->live->token == s->token)
            continue;
        s->ops->replaced(s->arg, SUP_TOKEN);
        slot->due = due;
        due += s->conf.spacing;
    }
}

static int64_t limit_for(const struct supervisor *s, const struct link *old)
{
    return old->stalled ? s->conf.grace : s->conf.replaced_limit;
}

void registration_accepted(struct supervisor *s, struct link *link, int64_t now, const struct conn_report *r)
{
    struct slot *slot = link->slot;
    struct link *old = slot->live;
    bool first = !s->ever_registered, probed = slot->probing;
    slot->legs[link->protocol] = NULL;
    slot->trying = slot->probing = false;
    slot->due = NEVER;
    slot->attempts = slot->refusals = 0;
    link->state = LINK_REGISTERED;
    link->since = now;
    link->deadline = NEVER;
    slot->live = link;
    s->ever_registered = true;
    move_home(s, slot, link->addr, now);
    memcpy(link->location, r->location, sizeof(link->location));
    uuid_text(r->uuid, link->uuid);
    log_registered(s, link);
    if (first)
        s->ops->announce(s->arg);
    if (old)
        leave(s, old, now, limit_for(s, old));
    if (s->draining) {
        leave(s, link, now, s->drain_until - now);
        return;
    }
    plan_probe(s, slot, now);
    if (probed)
        protocol_regained(s, now);
    s->ops->watch(s->arg, link->id, SAMPLE_MS);
    if (s->trial && link->token == s->token)
        token_accepted(s, now);
    start_others(s, now);
}

/* ---- refused ------------------------------------------------------------------------------------------- */

static bool says(const struct conn_report *r, const char *what)
{
    return strstr(r->text, what) != NULL;
}

/* About who we are, not about this moment. An RPC exception is neither. */
static bool for_good(const struct conn_report *r)
{
    return r->answered && (says(r, "Unauthorized") || !r->should_retry);
}

static void token_refused(struct supervisor *s, const char *cause)
{
    char text[768];
    snprintf(text, sizeof(text),
             "The new token is refused, the old one stays in use: check that it is the token of this tunnel: "
             "%.512s",
             cause);
    s->ops->log(s->arg, CV_ERROR, NULL, text);
    s->ops->keep_old_token(s->arg);
    s->trial = false;
    s->token++;
}

static int64_t wait_for(const struct conn_report *r)
{
    return r->retry_after_ms < LONGEST_RETRY_AFTER_MS ? r->retry_after_ms : LONGEST_RETRY_AFTER_MS;
}

static void refused_for_good(struct supervisor *s, struct slot *slot, int64_t now, const char *cause)
{
    slot->refusals++;
    if (!s->ever_registered && s->conf.exit_when_refused && slot->refusals >= s->conf.refused_tries)
        fatal(s, now, cause);
}

/* An index that has a live connection with the old token needs no other one now. */
static bool gave_up_new_token(struct supervisor *s, struct slot *slot, const char *cause)
{
    token_refused(s, cause);
    if (!slot->live)
        return false;
    slot->trying = false;
    slot->due = NEVER;
    return true;
}

/* A half-dead connection that cannot be replaced beside itself is given up first. */
static void make_room(struct supervisor *s, struct slot *slot)
{
    if (slot->live && slot->live->stalled)
        link_close(s, slot->live);
}

void registration_refused(struct supervisor *s, struct link *link, int64_t now, const struct conn_report *r)
{
    struct slot *slot = link->slot;
    bool duplicate = strcmp(r->text, "EDUPCONN") == 0;
    bool quiet = slot->probing;
    bool trial = s->trial && link->token == s->token;
    log_link(s, link, quiet ? CV_DEBUG : failure_level(s),
             duplicate ? "already connected to this server, trying another address" : r->text,
             duplicate ? "Unable to establish connection." : "Register tunnel error from server side");
    link_close(s, link);
    if (link->protocol == SUP_QUIC && !r->answered)
        slot->quic_faults++;
    if (duplicate)
        make_room(s, slot);
    if (for_good(r) && !duplicate) {
        if (trial && gave_up_new_token(s, slot, r->text))
            return;
        if (!trial && !quiet)
            refused_for_good(s, slot, now, r->text);
    } else {
        slot->refusals = 0;
    }
    attempt_failed(s, slot, now, &(struct attempt_failure){ .rotate = duplicate, .at_least = wait_for(r) });
}
