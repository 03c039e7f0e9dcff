/* culvert/route.h: one ingress rule as an origin sees it: where requests go, and how, all settings resolved.
 *
 * Memory   A rule belongs to the routing table of its configuration. A request whose `rule` is set holds that
 *          table, so the rule and all it points to stay until the request is gone, whatever is pushed
 *          meanwhile. Nothing here is written after the table is made: read it from any thread.
 * Source   docs/protocol.md §16.2 (settings), §16.3 (services), §18.2 (what settings do to connections). */
#ifndef CV_ROUTE_H
#define CV_ROUTE_H
#include "culvert/culvert.h"

enum cv_service {
    CV_SERVICE_HTTP,    /* http, https, ws, wss: target.host and target.port */
    CV_SERVICE_UNIX,    /* HTTP over the socket target.unix_path */
    CV_SERVICE_STATUS,  /* answer `status` with an empty body */
    CV_SERVICE_HELLO,   /* the built-in test page */
    CV_SERVICE_TCP,     /* bytes over WebSocket to target.host and target.port */
    CV_SERVICE_BASTION, /* bytes over WebSocket to where the client says */
    CV_SERVICE_SOCKS,   /* SOCKS5 over WebSocket, guarded by `policy` */
};

/* Where an origin listens. What does not belong to the kind of service is empty. */
struct cv_target {
    struct cv_str scheme;    /* as in the service, lower case: "http", "wss", "ssh", "unix+tls" … */
    struct cv_str host;      /* name or address, no brackets; an IPv6 zone as in "fe80::1%eth0" */
    struct cv_str authority; /* host and port as in the service: what HTTP calls Host, brackets included */
    struct cv_str unix_path; /* as in the service, unchecked */
    uint16_t port;           /* from the scheme where the service names none; 0: cannot be reached, refuse */
    bool tls;                /* https, wss, unix+tls */
};

/* One line of a SOCKS policy. The first that holds address and port decides; none, or no lines: denied. */
struct cv_ip_rule {
    struct cv_str prefix; /* CIDR, canonical: "10.0.0.0/8" */
    uint8_t net[16];      /* network order; an IPv4 network in the first 4 bytes, the rest 0 */
    int family;           /* AF_INET or AF_INET6; AF_UNSPEC matches nothing */
    unsigned bits;        /* length of the prefix */
    const int *ports;     /* sorted, each 1 to 65535 */
    size_t nports;        /* 0: any port */
    bool allow;
};
struct cv_ip_rules {
    const struct cv_ip_rule *v;
    size_t n;
};

struct cv_access { /* the Access check of docs/protocol.md §19 */
    bool required;
    struct cv_str team_name;
    struct cv_list aud_tag;
    struct cv_str environment; /* "fed" means the FedRAMP certificates, all else the normal ones */
};

/* Durations are whole seconds as the document says them, any int64_t: use cv_seconds(). For a time limit
 * 0 is "no limit" and a negative value "already over". */
struct cv_settings {
    int64_t connect_timeout;        /* TCP connect to the origin */
    int64_t tls_timeout;            /* TLS handshake with the origin */
    int64_t tcp_keep_alive;         /* interval; 0: the system's, negative: off */
    int64_t keep_alive_timeout;     /* idle connections are closed after it; 0: never */
    int64_t keep_alive_connections; /* idle connections kept; 0: two a host, negative: none */
    bool no_happy_eyeballs;
    struct cv_str http_host_header;   /* empty: the visitor's Host */
    struct cv_str origin_server_name; /* empty: the target's host; sent as SNI and verified */
    bool match_sni_to_host; /* SNI and name to verify are the request's Host; pool_key cannot know */
    struct cv_str ca_pool;  /* name of a PEM file; empty: the system's roots alone */
    bool no_tls_verify;
    bool disable_chunked_encoding;
    bool bastion_mode;
    struct cv_str proxy_address; /* stored and shown, without effect */
    uint64_t proxy_port;         /* stored and shown, without effect */
    struct cv_str proxy_type;    /* "socks": speak SOCKS5 to the client of a TCP service */
    struct cv_ip_rules ip_rules; /* as shown; what guards a SOCKS service is cv_rule.policy */
    bool http2_origin;           /* offer h2 to https origins */
    struct cv_access access;     /* as shown; enforced only if cv_rule.access_required */
};

struct cv_pattern; /* a compiled path rule; private to the core */
struct cv_tally;   /* what is counted of rules, see cv_rule_counts(); private to the core */

struct cv_rule {
    int index; /* 0 is the first; -1 of no document: the management host's, the private network's */
    enum cv_service kind;
    struct cv_str hostname; /* as in the document */
    struct cv_str punycode; /* a second name to try, or empty */
    struct cv_str path;     /* regular expression (RE2 syntax), or empty */
    struct cv_str service;  /* normalised text, for logs: "http://127.0.0.1:8080", "http_status:404" */
    struct cv_target target;
    int status;                /* CV_SERVICE_STATUS: 100 to 999 */
    bool implicit;             /* the 503 rule of a document without rules: warn on every request */
    bool access_required;      /* settings.access is the rule's own and must be enforced */
    struct cv_ip_rules policy; /* CV_SERVICE_SOCKS */
    struct cv_str ca_pem;      /* content of settings.ca_pool, read when the table was made */
    struct cv_str barred;      /* why its service is not to be used any more; the core refuses its requests */
    struct cv_str pool_key;    /* two rules whose keys are equal may share idle connections */
    struct cv_settings settings;
    const struct cv_pattern *pattern; /* compiled `path`, or NULL */
    struct cv_tally *tally;           /* NULL: not in force yet      */
    uint64_t max_active_flows; /* private-network streams: most at a time in the process; 0: no limit */
};

/* May this process connect to that address, which `host` stands for ([origins] allow)? Ask for every address before
 * connect(): a name can change its mind. Any thread. */
bool cv_may_reach(struct cv_str host, const struct sockaddr_storage *addr);
/* The same for a name that somebody else will look up, a proxy: only what names it speaks for it then, no network. */
bool cv_may_reach_name(struct cv_str host, uint16_t port);

/* Worker: the rules in force there, in their order; borrowed for the call. */
void cv_rules_here(const struct cv_self *, void (*)(void *arg, const struct cv_rule *), void *arg);

/* A GET of our own to the origin of such a rule, asked for from within cv_rules_here(): past limits and filters, neither
 * counted nor logged; a TCP service is connected to, 101. Told in a later turn, once, never after cancel: the status, or
 * 0, an error and why; the handle is void from then on. NULL: the worker is about to stop. */
typedef void cv_asked_fn(void *arg, int status, enum cv_error, const char *why);
struct cv_ask *cv_ask(const struct cv_self *, const struct cv_rule *, struct cv_str path, struct cv_ms limit,
                      cv_asked_fn *, void *arg);
void cv_ask_cancel(struct cv_ask *); /* NULL is fine */

/* Does the line hold that address and port? */
bool cv_ip_rule_holds(const struct cv_ip_rule *, const struct sockaddr_storage *addr);

#define CV_SECONDS_MAX (INT64_MAX / 1000000000)
/* A duration of the settings for cv_timer_set(), cut at about 292 years. */
static inline struct cv_ms cv_seconds(int64_t s)
{
    int64_t cut = s > CV_SECONDS_MAX ? CV_SECONDS_MAX : s < -CV_SECONDS_MAX ? -CV_SECONDS_MAX : s;
    return (struct cv_ms){ cut * 1000 };
}
#endif
