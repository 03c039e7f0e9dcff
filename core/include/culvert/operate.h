/* culvert/operate.h: what a module may ask about the process as a whole, and order it to do: for probes, status pages and
 * operators. Main thread only. What callbacks are given is borrowed for the call. */
#ifndef CV_OPERATE_H
#define CV_OPERATE_H
#include "culvert/route.h"

/* ---- what there is ----------------------------------------------------------------------------------- */

enum cv_link_state { CV_LINK_CONNECTING, CV_LINK_REGISTERED, CV_LINK_LEAVING };
struct cv_link {        /* a connection to the edge; an index may have several while one replaces the other */
    const char *tunnel; /* "first", or "second": that of [failover] */
    unsigned index;     /* of the tunnel's connections */
    enum cv_link_state state;
    const char *protocol;  /* "quic", "http2"                                          */
    const char *ip;        /* of the edge                                              */
    const char *location;  /* of the edge, "ams01"; "" until it has registered         */
    const char *id;        /* UUID that the edge gave it; "" until then                */
    int64_t registered_ms; /* for so long; 0 until then                                */
    int64_t rtt_us;        /* smoothed round-trip time, a second ago; -1: not known    */
    unsigned open;         /* requests of visitors, a second ago                       */
};
void cv_links_each(void (*)(void *arg, const struct cv_link *), void *arg);
/* The rules in force, in their order. */
void cv_rules_each(void (*)(void *arg, const struct cv_rule *), void *arg);
/* What has been counted of the rules that have this one's hostname and path, since the process began. */
#define CV_BUCKETS_MAX 24
struct cv_times {
    const double *bounds;             /* seconds, ending in 0                                  */
    uint64_t buckets[CV_BUCKETS_MAX]; /* up to bounds[i] and above bounds[i - 1]; the last: above all */
    uint64_t n;
    double seconds; /* of all n together */
};
struct cv_rule_counts {
    uint64_t requests;    /* that have ended                                                 */
    uint64_t by_class[6]; /* of those: [2] is 2xx; [0] went without an answer                */
    uint64_t failed;      /* by the doing of the origin, culvert or the edge: no visitor who left */
    struct cv_times duration, first_byte; /* of HTTP requests */
};
void cv_rule_counts(const struct cv_rule *, struct cv_rule_counts *);
/* The instances of modules, in ini order: `section` is "access_headers", or "access_headers api". */
void cv_modules_each(void (*)(void *arg, const char *section, const struct cv_module *), void *arg);
/* The flags of the command line, by name; without secrets. A list is "[a b]". */
void cv_settings_each(void (*)(void *arg, const char *flag, const char *value), void *arg);

/* What the main thread has logged at info or worse, oldest first: the last of it. Text is escaped as in the log. */
struct cv_note {
    int64_t unix_s;
    enum cv_level level;
    struct cv_str text;
};
void cv_notes_each(void (*)(void *arg, const struct cv_note *), void *arg);

/* ---- what may be ordered ------------------------------------------------------------------------------- */

/* Connections are unregistered, requests under way finish, at the latest after `limit` what is left is cut; the process
 * stays. Once more: a shorter limit counts. Observers get CV_EV_DRAINED on the main thread when nothing is left. */
#define CV_GRACE_PERIOD INT64_C(-1) /* as limit: what [tunnel] says */
void cv_drain(struct cv_ms limit);
struct cv_drained {
    unsigned finished, cut; /* requests of visitors since the drain began */
    int64_t ms;             /* from its begin to its end, or until now    */
};
/* Whether a drain has come to its end. */
bool cv_drained(struct cv_drained *);

/* Reads the ini again, as SIGHUP does, after this turn of the loop. done: once, in force or refused, and why; a module
 * that may be gone by then must not be needed by it. */
void cv_reload(void (*done)(void *arg, bool in_force, const char *text), void *arg);

/* Until the next reload or SIGUSR2. */
void cv_log_level_set(enum cv_level);
enum cv_level cv_log_level(void);
#endif
