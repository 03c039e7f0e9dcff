/* config.h: remote configuration: from pushed documents to routing tables, their versions, and how they are
 * shown.
 *
 * Main thread alone, except that tables may be shared. Source: docs/protocol.md §16. */
#ifndef REQUEST_CONFIG_H
#define REQUEST_CONFIG_H
#include "culvert/mem.h"
#include "request/reason.h"
#include "request/route.h"

#define CONFIG_BYTES_MAX (4 * 1024 * 1024) /* of a document */

/* What the operator of this process adds to what is pushed. {0} adds nothing. */
struct config_local {
    const struct config_rewrite { /* a service of the document is to be found elsewhere */
        struct cv_str from;       /* as the document normalised says it: "http://router:8080" */
        struct cv_str to;         /* a URL without path, or unix:PATH */
    } * rewrites;
    size_t n_rewrites;
    bool has_max_active_flows; /* overrides the document's */
    uint64_t max_active_flows;
    /* May this target be reached? Asked for each rule, rewritten ones too; a refusal refuses the document.
     * May be NULL. */
    bool (*allow)(void *arg, const struct cv_rule *, struct reason *);
    void *arg;
    unsigned generation; /* connections of one are none of the next's */
};

/* The table that is in force before any document: one rule, status 503. */
struct route_table *config_none(const struct config_local *);

/* *started is false while the document itself is at fault, true when a service of it could not be started. On
 * success the caller owns the one reference to *table. */
enum cv_error config_read(struct cv_str document, const struct config_local *, struct route_table **table,
                          bool *started, struct reason *);
/* A document that was accepted before, under other local settings: a rule whose service cannot be started any more is
 * barred (cv_rule.barred), and the others serve on. */
enum cv_error config_reread(struct cv_str document, const struct config_local *, struct route_table **table,
                            struct reason *);

/* ---- versions (§16.1) --------------------------------------------------------------------------------- */

struct config_versions {
    int32_t applied;           /* -1: none yet */
    struct route_table *table; /* in force, with a reference of its own */
};
void config_versions_init(struct config_versions *, const struct config_local *);
void config_versions_free(struct config_versions *);

/* The values say what to log: debug "Current version is equal or newer than received version", info "Updated
 * to new configuration", error "Failed to deserialize new configuration", error "Failed to update ingress".
 */
enum config_verdict { CONFIG_IGNORED, CONFIG_APPLIED, CONFIG_BAD, CONFIG_NOT_STARTED };
/* The answer to the edge is versions->applied afterwards, with the reason as its error for the last two
 * outcomes. A new table replaces the old one here; it is the caller's to hand it to the workers, with a
 * reference. */
enum config_verdict config_update(struct config_versions *, int32_t version, struct cv_str document,
                                  const struct config_local *, struct reason *);

/* ---- showing ------------------------------------------------------------------------------------------ */

/* What /config answers (§16.5). */
void config_write(struct cv_buf *, const struct route_table *, int32_t version);
/* What updateLocalConfiguration tells (§16.6). Flags come in the order of their names; none leaves the key
 * out. */
struct config_flag {
    struct cv_str name, value;
};
void config_write_local(struct cv_buf *, const struct route_table *, const struct config_flag *, size_t n);
/* "rule 2 changed: service http://a:1 → http://b:2; rule 3 added: …", at most about limit bytes; empty for no
 * difference. Rules are counted from 0, as in `ingressRule` of the log. */
void config_write_diff(struct cv_buf *, const struct route_table *from, const struct route_table *to,
                       size_t limit);
#endif
