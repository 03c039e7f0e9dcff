/* supervisor.h: which edge connection is made when, to where and over what: decisions alone. No socket, no thread, no
 * clock: events come in with their time, actions go out through a table. Main thread.
 *
 * An index has one connection that takes requests, perhaps a next one being made beside it (make before break), and
 * older ones that only finish what they have. Source: docs/protocol.md §5, §10.3, §14, §15, and §24 where it advises
 * better. */
#ifndef CV_TUNNEL_SUPERVISOR_H
#define CV_TUNNEL_SUPERVISOR_H

#include "tunnel/addresses.h"
#include "tunnel/conn.h"

#include "culvert/operate.h"

enum sup_protocol { SUP_QUIC, SUP_HTTP2, SUP_PROTOCOLS };
extern const char *const sup_protocol_names[SUP_PROTOCOLS]; /* "quic", "http2" */

struct sup_conf {                  /* times in ms */
    bool available[SUP_PROTOCOLS]; /* transports that may be used; at least one */
    int family;                    /* of addresses; AF_UNSPEC: both             */
    unsigned connections;          /* wanted, at most SUP_CONNECTIONS_MAX */
    unsigned retries;              /* cap of the back-off's exponent */
    int64_t spacing, head_start, reprobe, control_timeout, rpc_timeout, grace, settle, replaced_limit;
    unsigned stall_streams; /* 0: never */
    int64_t stall_after;
    bool exit_when_refused;
    unsigned refused_tries;
};

struct sup_dial {
    uint32_t id;
    unsigned index;
    enum sup_protocol protocol;
    const struct sockaddr_storage *addr;
    unsigned previous_attempts;
};
enum sup_replaced { SUP_STALLED, SUP_TOKEN, SUP_PROTOCOL, SUP_NETWORK, SUP_LEAVING, SUP_RELOAD, SUP_REASONS };
enum { SUP_CONNECTIONS_MAX = 64 };
extern const char *const sup_replaced_names[SUP_REASONS]; /* for the metrics: "stalled", … */

/* Called from within an event; they come back only as later events. */
struct sup_ops {
    void (*dial)(void *arg, const struct sup_dial *);
    void (*unregister)(void *arg, uint32_t id, int64_t timeout_ms);
    void (*close)(void *arg, uint32_t id);
    void (*goodbye)(void *arg, uint32_t id); /* its WebSockets are to hear that the end is near */
    void (*watch)(void *arg, uint32_t id, int64_t every_ms); /* samples wanted */
    void (*timer)(void *arg, int64_t at_ms);                 /* tick then; INT64_MAX: never */
    void (*announce)(void *arg);                             /* the first registration of the process */
    void (*replaced)(void *arg, enum sup_replaced);          /* a connection is going to be, and why */
    void (*keep_old_token)(void *arg);                       /* the new one is refused */
    void (*drained)(void *arg);                              /* once, when nothing is left under way */
    void (*end)(void *arg, int status);                      /* once, when nothing is left to wait for */
    void (*log)(void *arg, enum cv_level, const struct cv_fields *, const char *text);
    uint32_t (*random)(void *arg, uint32_t below);
    /* which of our addresses leads to this one now; false: none does */
    bool (*source)(void *arg, const struct sockaddr_storage *to, struct sockaddr_storage *source);
};

struct supervisor;
struct supervisor *supervisor_new(const struct sup_conf *, const struct sup_ops *, void *arg);
void supervisor_free(struct supervisor *);

/* The edge's addresses, again whenever they have been looked up anew. The first time starts everything. */
struct sup_region {
    const struct sockaddr_storage *addrs;
    size_t n;
};
void supervisor_addresses(struct supervisor *, int64_t now, const struct sup_region regions[EDGE_REGIONS]);
void supervisor_report(struct supervisor *, int64_t now, const struct conn_report *);
void supervisor_tick(struct supervisor *, int64_t now);
/* why: what the log line says, "terminated"; NULL: somebody else says it. */
void supervisor_shutdown(struct supervisor *, int64_t now, const char *why);
/* The same within `limit`, and no end(). Once more: a limit that is sooner counts. */
void supervisor_drain(struct supervisor *, int64_t now, int64_t limit);
/* After a drain: connects anew. What still leaves goes on leaving. */
void supervisor_resume(struct supervisor *, int64_t now);
/* Routes or addresses changed: what is connected from an address that leads there no more is dead, what waits may work
 * now. After a sleep everything may be dead. */
void supervisor_network_changed(struct supervisor *, int64_t now);
void supervisor_resumed(struct supervisor *, int64_t now);
/* Other settings, but for the family. moved: connections of this protocol are made anew, by another module perhaps, before
 * they are given up; so are those of one that is not available any more. */
void supervisor_configure(struct supervisor *, int64_t now, const struct sup_conf *,
                          const bool moved[SUP_PROTOCOLS]);
/* From now on dials use a new token. */
void supervisor_token_changed(struct supervisor *, int64_t now);

unsigned supervisor_ready(const struct supervisor *);   /* registered and not leaving */
unsigned supervisor_running(const struct supervisor *); /* indexes that are connected or being connected */
bool supervisor_draining(const struct supervisor *);
bool supervisor_trial(const struct supervisor *); /* a new token has not proved itself yet */
bool supervisor_idle(const struct supervisor *);  /* draining, and nothing is left */
struct cv_drained supervisor_drained(const struct supervisor *, int64_t now);
void supervisor_each(const struct supervisor *, int64_t now, void (*)(void *, const struct cv_link *),
                     void *arg);

#endif
