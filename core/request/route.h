/* route.h: the routing table: the rules of one configuration, shared by all threads, and which of them a
 * request meets. */
#ifndef REQUEST_ROUTE_H
#define REQUEST_ROUTE_H
#include "culvert/route.h"
#include "request/bump.h"

#include <stdatomic.h>

struct route_warp {                          /* private-network TCP */
    int64_t connect_timeout, tcp_keep_alive; /* seconds */
    uint64_t max_active_flows;               /* 0: no limit */
};
/* Made by config.c on the main thread; immutable from the moment another thread can see it. */
struct route_table {
    atomic_size_t refs;
    bool none;                   /* of no document: none has come yet */
    struct bump mem;             /* all that the rules point to, patterns excepted */
    struct cv_rule *rules;       /* the last one matches everything                */
    size_t n;                    /* at least 1                                     */
    struct cv_settings defaults; /* of the document, for showing             */
    struct route_warp warp;
    struct cv_rule network; /* what private-network streams follow: `warp` as settings, no target */
};
/* Any thread. unref frees the table with the last reference; NULL is fine. */
struct route_table *route_table_ref(struct route_table *);
void route_table_unref(struct route_table *);

struct route_scratch; /* what matching needs; one per thread */
struct route_scratch *route_scratch_new(void);
void route_scratch_free(struct route_scratch *); /* NULL is fine */

/* The rule for a request's Host and its path, still encoded and perhaps with a query. NULL when the path is too long to
 * be decoded and a rule depends on it: then the request has to be refused, because the rule that was not reached may
 * be the one that protects something. Allocates nothing. The management host is the caller's to look for, first.
 * Source: docs/protocol.md §17. */
const struct cv_rule *route_match(const struct route_table *, struct cv_str host, struct cv_str path,
                                  struct route_scratch *);
/* Whether a rule names this Host, by itself or by its ending ("*.a.com"), whatever the path. */
bool route_names(const struct route_table *, struct cv_str host);
/* Host without a port, as rules see it: "a.com:80" → "a.com", "[::1]:80" → "::1", "::1" → "::1". */
struct cv_str route_host(struct cv_str host);
#endif
