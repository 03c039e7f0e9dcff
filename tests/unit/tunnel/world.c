/* world.c: what surrounds a supervisor under test. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world world;

static struct action *record(enum act what)
{
    CV_ASSERT(world.n < sizeof(world.did) / sizeof(world.did[0]));
    struct action *a = &world.did[world.n++];
    *a = (struct action){ .what = what, .at = world.now };
    return a;
}

static void on_dial(void *arg, const struct sup_dial *d)
{
    (void)arg;
    struct action *a = record(DIAL);
    a->id = d->id;
    a->index = d->index;
    a->protocol = d->protocol;
    a->port = ntohs(((const struct sockaddr_in *)d->addr)->sin_port);
    a->attempts = d->previous_attempts;
}

static void on_unregister(void *arg, uint32_t id, int64_t timeout)
{
    (void)arg;
    struct action *a = record(UNREGISTER);
    a->id = id;
    a->amount = timeout;
}

static void on_close(void *arg, uint32_t id)
{
    (void)arg;
    record(CLOSE)->id = id;
}

static void on_goodbye(void *arg, uint32_t id)
{
    (void)arg;
    record(GOODBYE)->id = id;
}

static void on_watch(void *arg, uint32_t id, int64_t every)
{
    (void)arg;
    (void)id;
    (void)every;
}

static void on_timer(void *arg, int64_t at)
{
    (void)arg;
    world.timer = at;
}

static void on_announce(void *arg)
{
    (void)arg;
    record(ANNOUNCE);
}

static void on_replaced(void *arg, enum sup_replaced why)
{
    (void)arg;
    record(REPLACED)->amount = why;
}

static void on_keep_old(void *arg)
{
    (void)arg;
    record(KEEP_OLD);
}

static void on_drained(void *arg)
{
    (void)arg;
    record(DRAINED);
}

static void on_end(void *arg, int status)
{
    (void)arg;
    record(END)->amount = status;
}

static void on_log(void *arg, enum cv_level level, const struct cv_fields *fields, const char *text)
{
    (void)arg;
    struct action *a = record(LOG);
    a->level = level;
    int n = snprintf(a->text, sizeof(a->text), "%s", text);
    for (size_t i = 0; fields && i < fields->n; i++) {
        if (strcmp(fields->v[i].name, "connIndex") == 0)
            a->index = (unsigned)fields->v[i].i;
        if (strcmp(fields->v[i].name, "error") == 0)
            snprintf(a->text + n, sizeof(a->text) - (size_t)n, " error=" CV_STR_FMT,
                     CV_STR_ARG(fields->v[i].s));
    }
}

static uint32_t on_random(void *arg, uint32_t below)
{
    (void)arg;
    uint32_t n = (uint32_t)(world.chance * below);
    return n < below ? n : below - 1;
}

static bool on_source(void *arg, const struct sockaddr_storage *to, struct sockaddr_storage *source)
{
    (void)arg;
    *source = *to;
    ((struct sockaddr_in *)source)->sin_addr.s_addr = htonl(world.path_gone ? 0x0a000002 : 0x0a000001);
    return true;
}

static const struct sup_ops ops = { on_dial,  on_unregister, on_close,    on_goodbye,  on_watch,
                                    on_timer, on_announce,   on_replaced, on_keep_old, on_drained,
                                    on_end,   on_log,        on_random,   on_source };

void world_begin(unsigned connections)
{
    memset(&world, 0, sizeof(world));
    world.chance = 0.5;
    world.timer = INT64_MAX;
    world.conf = (struct sup_conf){
        .available = { true, true },
        .connections = connections,
        .retries = 5,
        .spacing = 100,
        .head_start = 2500,
        .reprobe = 600000,
        .control_timeout = 15000,
        .rpc_timeout = 5000,
        .grace = 30000,
        .settle = 500,
        .replaced_limit = 3600000,
        .stall_streams = 3,
        .stall_after = 10000,
        .exit_when_refused = true,
        .refused_tries = 3,
    };
}

void world_conf(void)
{
    world.s = supervisor_new(&world.conf, &ops, NULL);
}

void world_addresses(size_t n)
{
    struct sockaddr_storage addrs[EDGE_REGIONS][32];
    struct sup_region regions[EDGE_REGIONS] = { { addrs[0], 0 }, { addrs[1], 0 } };
    memset(addrs, 0, sizeof(addrs));
    for (size_t i = 0; i < n; i++) {
        struct sockaddr_in *a = (struct sockaddr_in *)&addrs[i % 2][i / 2];
        a->sin_family = AF_INET;
        a->sin_port = htons((uint16_t)(i + 1));
        a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        regions[i % 2].n++;
    }
    if (!world.s)
        world_conf();
    supervisor_addresses(world.s, world.now, regions);
}

void world_end(void)
{
    supervisor_free(world.s);
    world.s = NULL;
}

void world_pass(int64_t ms)
{
    int64_t until = world.now + ms;
    while (world.timer <= until) {
        world.now = world.timer > world.now ? world.timer : world.now;
        supervisor_tick(world.s, world.now);
    }
    world.now = until;
}

/* ---- the record ------------------------------------------------------------------------------------------ */

const struct action *world_last(enum act what, unsigned index)
{
    for (size_t i = world.n; i-- > 0;) {
        const struct action *a = &world.did[i];
        if (a->what == what && (what == DIAL || what == LOG ? a->index : a->id) == index)
            return a;
    }
    return NULL;
}

const struct action *world_dial(unsigned index)
{
    const struct action *a = world_last(DIAL, index);
    CV_ASSERT(a);
    return a;
}

const struct action *world_said(const char *part)
{
    for (size_t i = world.n; i-- > 0;)
        if (world.did[i].what == LOG && strstr(world.did[i].text, part))
            return &world.did[i];
    return NULL;
}

size_t world_count(enum act what)
{
    size_t n = 0;
    for (size_t i = 0; i < world.n; i++)
        n += world.did[i].what == what;
    return n;
}

void world_forget(void)
{
    world.n = 0;
}

/* ---- events ---------------------------------------------------------------------------------------------- */

static void report(struct conn_report *r)
{
    supervisor_report(world.s, world.now, r);
}

void world_up(uint32_t id)
{
    struct conn_report r = { .id = id, .what = CONN_UP };
    struct sockaddr_in *local = (struct sockaddr_in *)&r.local;
    local->sin_family = AF_INET;
    local->sin_addr.s_addr = htonl(0x0a000001);
    report(&r);
}

void world_registered(uint32_t id)
{
    struct conn_report r = { .id = id, .what = CONN_REGISTERED, .location = "dfw08" };
    report(&r);
}

void world_leaving(uint32_t id)
{
    struct conn_report r = { .id = id, .what = CONN_LEAVING };
    report(&r);
}

void world_connect(unsigned index)
{
    uint32_t id = world_dial(index)->id;
    world_up(id);
    world_registered(id);
}

void world_connect_all(void)
{
    for (unsigned i = 0; i < world.conf.connections; i++) {
        world_connect(i);
        world_pass(world.conf.spacing);
    }
}

void world_down(uint32_t id, const char *why)
{
    struct conn_report r = { .id = id, .what = CONN_DOWN, .error = CV_E_IO };
    snprintf(r.text, sizeof(r.text), "%s", why);
    report(&r);
}

void world_refused(uint32_t id, const char *why, bool should_retry, int64_t retry_after_ms)
{
    struct conn_report r = { .id = id,
                             .what = CONN_REFUSED,
                             .answered = true,
                             .should_retry = should_retry,
                             .retry_after_ms = retry_after_ms };
    snprintf(r.text, sizeof(r.text), "%s", why);
    report(&r);
}

void world_unregistered(uint32_t id)
{
    struct conn_report r = { .id = id, .what = CONN_UNREGISTERED };
    report(&r);
}

void world_sample(uint32_t id, unsigned open, bool moved, unsigned stuck, int64_t still_ms)
{
    struct conn_report r = {
        .id = id, .what = CONN_SAMPLE, .open = open, .moved = moved, .stuck = stuck, .still_ms = still_ms
    };
    report(&r);
}
