/* conn.h: edge connections: ordered by the main thread, living on a worker, reporting back.
 *
 * The main thread knows a connection by its id alone; the worker owns the object, and edge modules see its first
 * member. Orders travel with cv_post(), reports come back the same way, so neither side ever reads the other's memory. */
#ifndef CV_TUNNEL_CONN_H
#define CV_TUNNEL_CONN_H

#include "request/request.h"
#include "tunnel/credentials.h"

struct control; /* registrar: the control stream */
struct goodbye; /* goodbye.c */

enum { CONN_LOCATION = 32 };

/* ---- main thread ------------------------------------------------------------------------------------- */

struct conn_order {
    uint32_t id;    /* never used before */
    unsigned index; /* connIndex         */
    enum tunnel_id tunnel;
    struct cv_worker *worker;
    const struct cv_instance *edge;
    struct sockaddr_storage addr, bind; /* bind: family 0 for none */
    unsigned previous_attempts;
    struct credentials *credentials; /* one more reference is taken; NULL: only to see whether it comes up */
};

/* What a worker tells of a connection. DOWN is the last one of an id. */
enum conn_news {
    CONN_UP,
    CONN_REGISTERED,
    CONN_REFUSED,
    CONN_UNREGISTERED,
    CONN_SAMPLE,
    CONN_LEAVING,
    CONN_DOWN
};
struct conn_report {
    uint32_t id;
    unsigned index;
    enum conn_news what;
    enum cv_error error; /* DOWN; UNREGISTERED: CV_OK when the edge has confirmed it                    */
    char text[512];      /* REFUSED: the edge's own words; DOWN, UNREGISTERED: what went wrong          */
    struct sockaddr_storage local; /* UP */
    /* REFUSED */
    bool should_retry;
    bool answered;          /* by the edge; else it kept silent or the stream ended */
    int64_t retry_after_ms; /* 0: not said */
    /* REGISTERED */
    uint8_t uuid[16];
    char location[CONN_LOCATION];
    /* SAMPLE, DOWN */
    unsigned open; /* requests of visitors                                                               */
    /* DOWN */
    unsigned written;  /* of those: all is written, and the edge has not said that it has it             */
    unsigned finished; /* requests that ended since it was unregistered                                  */
    /* SAMPLE */
    int64_t rtt_us;   /* -1: not known                                                                   */
    bool moved;       /* since the last sample something was begun, ended or got bytes across            */
    unsigned stuck;   /* streams that wait for the edge, either way                                      */
    int64_t still_ms; /* how long nothing of the whole connection has moved                              */
};
typedef void conn_report_fn(const struct conn_report *);

/* reports: called on the main thread, in the order of events. */
void conns_setup(struct cv_worker *main, conn_report_fn *reports);
/* Dials; at the latest a DOWN follows. */
void conn_dial(const struct conn_order *);
/* Orders for connections that are down already vanish. */
void conn_unregister(uint32_t id, struct cv_ms timeout); /* UNREGISTERED follows, unless DOWN comes first */
void conn_close(uint32_t id);                            /* DOWN follows                                  */
void conn_goodbye(uint32_t id);                          /* WebSockets are told: close 1012               */
void conn_watch(uint32_t id, struct cv_ms every);        /* how often a SAMPLE comes                      */
/* Objects that exist, down ones included that still hold requests. */
unsigned conns_count(void);
unsigned conns_of(const struct cv_instance *edge); /* of one edge module */
/* Calls emptied() once none exists, in a later turn. */
void conns_when_empty(void (*emptied)(void));

/* ---- worker ------------------------------------------------------------------------------------------ */

#define CONN_MAGIC 0x636f6e31u

struct connection {
    struct conn_base base;
    uint32_t id;
    unsigned previous_attempts;
    struct cv_worker *worker;
    const struct cv_self *edge;
    struct credentials *credentials;
    struct control *control; /* NULL: none is open */
    bool registered_once;    /* a second control stream is refused */
    bool is_up, is_down;
    bool edge_has_it; /* dial() took it: gone() is owed */
    struct cv_late bury;
    /* samples */
    struct cv_timer sample;
    struct cv_ms sample_every;
    uint64_t sample_mark;
    uint64_t ended_before; /* requests, when it was told to unregister */
    int64_t moved_at;
    struct cv_path path; /* as last counted */
    struct goodbye *goodbye;
};
static inline struct connection *connection_of(struct cv_conn *conn)
{
    CV_ASSERT(conn->magic == CONN_MAGIC);
    return (struct connection *)conn;
}
/* goodbye.c: tells the WebSockets that are between two messages that this end restarts. */
void goodbye_begin(struct connection *);
void goodbye_free(struct connection *);
/* path.c: counts what has changed on the way to the edge; the connection is down */
void path_look(struct connection *);
void path_gone(const struct connection *);
/* Sends it to the main thread, id filled in. */
void connection_report(const struct connection *, struct conn_report *);

#endif
