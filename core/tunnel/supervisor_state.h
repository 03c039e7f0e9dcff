/* supervisor_state.h: what the parts of the supervisor share. */
#ifndef CV_TUNNEL_SUPERVISOR_STATE_H
#define CV_TUNNEL_SUPERVISOR_STATE_H

#include <netinet/in.h>

#include "tunnel/addresses.h"
#include "tunnel/supervisor.h"

#define NEVER INT64_MAX

enum {
    SAMPLE_MS = 1000,       /* of a connection that takes requests               */
    SAMPLE_LEAVING_MS = 50, /* of one that only finishes                         */
    STABLE_MS = 10000,      /* a connection that lived so long was a good one    */
    DIAL_MS = 45000,        /* for edge modules that forget their own time limit */
    QUIC_FAULTS = 2,        /* so many failures past the handshake: HTTP/2 first */
    GOODBYE_MS = 2000,      /* before requests are cut, WebSockets are told      */
    PROBE_DOUBLINGS = 8     /* reprobe grows up to so many times                 */
};

enum link_state {
    LINK_DIALLING,
    LINK_UP,         /* handshake done, not registered                       */
    LINK_REGISTERED, /* slot->live                                           */
    LINK_LEAVING,    /* unregistering, then serving what it has until quiet  */
    LINK_CLOSING     /* only its end is waited for                           */
};
struct link { /* one connection */
    struct link *next;
    struct slot *slot;
    uint32_t id;
    enum sup_protocol protocol;
    enum link_state state;
    struct edge_addr *addr; /* one user of it */
    char ip[INET6_ADDRSTRLEN];
    struct sockaddr_storage local; /* our end   */
    int64_t deadline;              /* of its state */
    int64_t since;                 /* registered   */
    unsigned token;                /* which one it was dialled with */
    bool stalled;
    bool sent_away; /* by the edge; it still serves what it has */
    /* what is shown of it */
    char location[CONN_LOCATION], uuid[UUID_TEXT];
    unsigned open;
    int64_t rtt_us;
    /* leaving */
    bool unregistered; /* or known not to be possible */
    int64_t quiet_since;
    int64_t goodbye_at;
};

struct slot { /* one index */
    unsigned index;
    bool started;
    struct link *live;
    struct edge_addr *home; /* where it is, or means to come back to; one user of it */
    /* the attempt to get a (better) live connection */
    int64_t due; /* of the next one */
    bool trying;
    bool probing; /* for QUIC alone, while HTTP/2 is live */
    struct link *legs[SUP_PROTOCOLS];
    bool tried[SUP_PROTOCOLS];
    int64_t second_at;         /* the other protocol joins in */
    char ip[INET6_ADDRSTRLEN]; /* of the last leg, for the log */
    /* what it learnt */
    unsigned retries;  /* exponent of the back-off            */
    unsigned attempts; /* back-offs since the last success    */
    unsigned refusals; /* for good, in a row                  */
    unsigned quic_faults;
    int64_t probe_at, probe_every;
};

struct supervisor {
    struct sup_conf conf;
    const struct sup_ops *ops;
    void *arg;
    struct addresses addresses;
    struct link *links;
    struct slot slots[SUP_CONNECTIONS_MAX];
    unsigned n; /* of them in use: no more than there are addresses */
    uint32_t last_id;
    bool started, ever_registered;
    bool quic_failed; /* the last time it was tried here, HTTP/2 was faster */
    unsigned token;   /* number of the one in use */
    bool trial;       /* it has not been accepted yet, and there is an old one */
    bool draining, drained, ending, ended;
    int status;
    int64_t drain_from, drain_until, drain_end;
    unsigned finished, cut; /* requests, of the connections that left by the drain */
};

/* attempt.c */
void attempt_begin(struct supervisor *, struct slot *, int64_t now);
void attempt_add_second(struct supervisor *, struct slot *, int64_t now);
void attempt_cancel(struct supervisor *, struct slot *);
void attempt_link_up(struct supervisor *, struct link *, int64_t now);
/* Of an attempt, and what follows. The link is no leg any more; to close or free it is the caller's. */
void attempt_dial_failed(struct supervisor *, struct link *, int64_t now, const char *text);
struct attempt_failure {
    bool rotate;
    int64_t at_least; /* wait */
};
void attempt_failed(struct supervisor *, struct slot *, int64_t now, const struct attempt_failure *);
/* The next attempt after the loss of a registered connection. */
void attempt_after_loss(struct supervisor *, struct slot *, int64_t now);

/* leave.c */
void leave(struct supervisor *, struct link *, int64_t now, int64_t limit);
void leave_until(struct link *, int64_t now, int64_t deadline);
void leave_check(struct supervisor *, struct link *, int64_t now);
void leave_all(struct supervisor *, int64_t now, int64_t limit);
void drained_if_empty(struct supervisor *, int64_t now);
void end_if_empty(struct supervisor *);

/* supervisor.c */
void link_close(struct supervisor *, struct link *);
void link_free(struct supervisor *, struct link *, int64_t now);
void fatal(struct supervisor *, int64_t now, const char *cause);

/* verdict.c: what the edge says to a registration */
void start_others(struct supervisor *, int64_t now); /* indexes that are not, spaced */
void registration_accepted(struct supervisor *, struct link *, int64_t now, const struct conn_report *);
void registration_refused(struct supervisor *, struct link *, int64_t now, const struct conn_report *);

/* log lines of a connection */
void log_link(const struct supervisor *, const struct link *, enum cv_level, const char *error,
              const char *text);
void log_slot(const struct supervisor *, const struct slot *, enum cv_level, const char *error,
              const char *text);
enum cv_level failure_level(const struct supervisor *); /* docs/protocol.md §14.5 */

#endif
