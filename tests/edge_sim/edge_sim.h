/* edge_sim.h: Cloudflare's side of a tunnel, scripted: what the files of the simulator share.
 *
 *   visitor ──▶ front*.c ──▶ conn.c ──▶ h2.c or quic.c ──▶ connector      One thread, one event loop.
 *   test ─────▶ control.c: state, script, faults, configuration
 *
 * Words     A *link* is one transport connection of a connector; `struct conn` is what is known of it, also
 *           after it has ended. A *stream* is one exchange on it. A *visit* is one HTTP request at the front.
 * Memory    Strings in a `struct cv_str` are borrowed for the call. Everything else has one owner.
 * Source    docs/protocol.md, above all §25; §11 (HTTP/2) and §12 (QUIC). */
#ifndef EDGE_SIM_H
#define EDGE_SIM_H

#include "culvert/culvert.h"
#include "culvert/mem.h"

#include <openssl/ssl.h>
#include <sys/queue.h>

/* ---- options: options.c, and the loop: main.c ------------------------------------------------------------------- */

struct options {
    const char *listen[16];
    size_t nlisten;
    const char *front, *control;
    const char *ca_out, *ports_file, *token_out, *log_file, *config;
    const char *cert_name, *cert_fault, *location, *ca_key;
    int config_version;
    bool h2, quic;
    bool mute_tcp, mute_udp; /* nobody answers there; live */
    bool keep_refused;       /* leave the TCP connection open after a refused registration  */
    bool keep_unregistered;  /* leave the connection open after unregisterConnection        */
    uint32_t stream_window, conn_window, max_frame, padding;
    int64_t idle_timeout_ms;
    unsigned max_visitors;
    struct {
        double loss, reorder;
        int64_t delay_ms, jitter_ms;
        uint64_t seed;
    } net; /* of QUIC packets, both ways */
};
extern struct options opt;
void options_read(int argc, char **argv); /* ends the process if they make no sense */
_Noreturn void options_usage(const char *option, const char *value);
struct cv_buf options_slurp(const char *path); /* a whole file, or the process ends */
extern struct event_base *loop;
int64_t now_ms(void); /* monotonic */
void quit(void);      /* ends the loop at the end of this turn */

/* ---- text: text.c ------------------------------------------------------------------------------------ */

/* "host:port", "[::1]:port"; an empty host is 127.0.0.1. */
bool parse_addr(const char *text, struct sockaddr_storage *, socklen_t *);
void print_addr(const struct sockaddr *, char out[static 64]);
/* "27s", "500ms", "2m", "15" (seconds); -1 if it is none of these. */
int64_t parse_ms(struct cv_str);
void print_uuid(const uint8_t uuid[static 16], char out[static 37]);
bool parse_u64(struct cv_str, uint64_t max, uint64_t *out);
bool str_starts(struct cv_str, const char *prefix);
/* Cuts text at the first `sep`; *rest is what follows it, empty if there is none. */
struct cv_str str_cut(struct cv_str text, char sep, struct cv_str *rest);

/* ---- bytes waiting to leave: queue.c ----------------------------------------------------------------
 * A list of chunks that never move, so that QUIC may point into them until they are acknowledged. */

struct chunk;
struct queue {
    struct chunk *first, *last;
    size_t n;
};
void queue_add(struct queue *, const void *, size_t n);
/* Up to `max` pieces from byte `skip` on; returns how many. */
int queue_peek(const struct queue *, size_t skip, struct iovec *, int max);
size_t queue_copy(const struct queue *, void *out, size_t n); /* from the front; returns how many */
void queue_take(struct queue *, size_t n);                    /* drops the first n                */
void queue_free(struct queue *);
void queue_drain_pool(void); /* at exit */

/* ---- header fields: fields.c ------------------------------------------------------------------------ */

struct span {
    uint32_t name, name_n, value, value_n;
};
struct fields {
    struct cv_buf text;
    struct span *v;
    size_t n, cap;
};
#define FIELDS_MAX       256
#define FIELDS_BYTES_MAX (128u * 1024)
/* False: a limit is reached. */
bool fields_add(struct fields *, struct cv_str name, struct cv_str value);
struct cv_str fields_name(const struct fields *, size_t i);
struct cv_str fields_value(const struct fields *, size_t i);
/* The first of that name (letters fold), or one whose p is NULL. */
struct cv_str fields_get(const struct fields *, const char *name);
void fields_free(struct fields *);
/* Adds the pairs of a cf-cloudflared-response-headers value; false if it is malformed (docs/protocol.md
 * §11.7). */
bool fields_unserialize(struct fields *, struct cv_str text);
bool unhex(struct cv_str text, struct cv_buf *out); /* white space and dashes are skipped */
void hex(const uint8_t *, size_t n, struct cv_buf *out);

/* ---- what was seen: log.c ---------------------------------------------------------------------------- */

struct conn;
/* One event, kept for GET /log. Fields may be NULL; values are escaped. */
void log_event(const struct conn *, const char *what, const struct cv_fields *);
uint64_t log_count(struct cv_str what);         /* how often so far */
void log_since(uint64_t n, struct cv_buf *out); /* JSON lines of the events after number n */
bool log_open(const char *path);
void log_close(void);

/* ---- streams and connections: conn.c ----------------------------------------------------------------- */

enum kind { KIND_HTTP, KIND_WEBSOCKET, KIND_TCP, KIND_CONTROL, KIND_CONFIG, KIND_RPC };
enum body { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

struct head { /* what the edge asks of the connector */
    enum kind kind;
    struct cv_str method, scheme, authority, path; /* KIND_TCP: authority is the destination */
    struct cv_str visitor;                         /* address of the eyeball                */
    const struct fields *fields;                   /* end-to-end fields; any letter case    */
    enum body body;
};
struct reply { /* what came back */
    int status;
    const struct fields *fields; /* those of the origin                                     */
    bool connector;              /* the connector itself made it, because something failed  */
    bool flow_limited;
    struct cv_str error; /* QUIC: why                                               */
};

enum ending { END_CLEAN, END_RESET, END_LOST }; /* both sides finished; the peer reset it; the link is gone */

struct stream;
struct stream_ops {
    void (*reply)(struct stream *, const struct reply *);
    void (*data)(struct stream *, const uint8_t *, size_t n); /* then give credit                   */
    void (*end)(struct stream *, const struct fields *trailers);
    void (*room)(struct stream *);                               /* bytes of `up` have left            */
    void (*closed)(struct stream *, enum ending, uint64_t code); /* last call                       */
};
struct stream { /* the transports embed it */
    struct conn *conn;
    const struct stream_ops *ops; /* NULL: nobody listens any more */
    void *owner;
    enum kind kind;
    int64_t id;
    struct queue up; /* to the connector */
    bool up_ended, down_ended;
};
#define STREAM_UP_MAX (256u * 1024)
/* NULL: the connection takes no more streams. */
struct stream *stream_open(struct conn *, const struct head *, const struct stream_ops *, void *owner);
size_t stream_room(const struct stream *);
void stream_write(struct stream *, const void *, size_t n);
void stream_finish(struct stream *);
void stream_credit(struct stream *, size_t n);
/* Resets it unless it is over; no callback follows. */
void stream_cancel(struct stream *);
/* For the transports: the peer's reset, for the log; and before they free it: the last callback, the books.
 */
void stream_was_reset(struct stream *, uint64_t code);
void stream_gone(struct stream *, enum ending, uint64_t code);

enum close_how { CLOSE_FIN, CLOSE_RST, CLOSE_SILENT, CLOSE_GOAWAY };
struct transport {
    const char *name;      /* "http2", "quic" */
    enum kind config_kind; /* how a configuration travels: KIND_CONFIG or KIND_RPC */
    struct stream *(*open)(struct conn *, const struct head *);
    void (*written)(struct stream *); /* `up` has more bytes, or its end */
    void (*credit)(struct stream *, size_t n);
    void (*reset)(struct stream *, bool done); /* done: the answer was complete, only `up` is given up */
    void (*close)(struct conn *, enum close_how);
    bool (*raw)(struct conn *, const uint8_t *, size_t n); /* false: not possible here        */
    void (*stop_reading)(struct conn *, bool stop);
    bool (*fault)(struct conn *, struct cv_str what); /* transport's own; false: unknown */
};

struct registration {
    char *account, *version, *arch;
    char **features;
    size_t nfeatures;
    uint8_t tunnel[16], client[16], uuid[16], origin_ip[16];
    size_t origin_ip_n;
    uint8_t index, compression_quality, previous_attempts;
    bool replace_existing;
};
struct conn {
    TAILQ_ENTRY(conn) entry;
    const struct transport *transport;
    void *link; /* NULL: ended */
    unsigned id;
    char peer[64];
    bool called, registered, refused, unregistered, control_ended, draining;
    bool stalled;            /* acknowledges, but no stream moves any more */
    bool pushed;             /* the configuration kept was sent on it, or a successor's connection has it */
    struct registration reg; /* valid once `called` */
    struct control *control; /* the RPC server on the control stream */
    uint64_t requests, resets, window_updates;
    unsigned open;         /* request streams */
    const char *ended_how; /* NULL while it lives; "clean", "eof", "reset", "protocol", "edge", "timeout" */
};
TAILQ_HEAD(conn_list, conn);
extern struct conn_list conns; /* oldest first; ended ones are kept, up to a limit */

struct conn *conn_new(const struct transport *, void *link, const struct sockaddr *peer);
void conn_ended(struct conn *, const char *how); /* the transport has freed its link */
struct conn *conn_pick(int index);               /* round robin over those that take requests; -1: any */
struct conn *conn_by_index(unsigned index);      /* the living one registered last, or NULL            */
unsigned conns_registered(void);                 /* that take requests */
void conn_idle_check(struct conn *); /* closes one that is refused or unregistered, and finished */
void conns_close(void);              /* at exit: asks all to end */
void conns_free(void);

/* ---- registration: register.c ------------------------------------------------------------------------ */

/* The RPC server of a connection's control stream: opens that stream, or serves the one that the connector
 * opened. */
void control_open(struct conn *);
void control_serve(struct conn *, struct stream *);
void control_free(struct conn *);
bool token_make(const char *path); /* writes a token; registrations must then be of its tunnel */

/* ---- configuration: push.c --------------------------------------------------------------------------- */

void push_keep(int version, struct cv_str config); /* for connectors that register from now on */
/* To one connection of every connector. done gets `[{"connector":…,"version":…,"applied":…,"err":…}]` once
 * all have answered or 10 s are over, maybe at once. */
typedef void push_done_fn(void *arg, struct cv_str json);
struct push_round *push_all(push_done_fn *, void *arg);
void push_forget(struct push_round *); /* done will not be called */
void push_registered(struct conn *);
void push_free(void);

/* ---- private-network UDP, version 2: udp.c ----------------------------------------------------------- */

/* Calls registerUdpSession (port > 0) or unregisterUdpSession on a stream of its own. done gets `{"err":…}` once. NULL:
 * the connection cannot do that, or ip is none. */
struct udp_call;
typedef void udp_done_fn(void *arg, struct cv_str json);
struct udp_call *udp_call(struct conn *, const uint8_t session[static 16], struct cv_str ip, uint16_t port,
                          udp_done_fn *, void *arg);
void udp_forget(struct udp_call *); /* done will not be called */

/* ---- script: script.c -------------------------------------------------------------------------------- */

enum answer_what {
    ANSWER_ACCEPT,
    ANSWER_REFUSE,     /* ConnectionError */
    ANSWER_EXCEPTION,  /* of the RPC      */
    ANSWER_SILENCE,    /* registerConnection is never answered                                */
    ANSWER_NO_CONTROL, /* h2: the control stream is never opened                              */
    ANSWER_NO_PREFACE, /* TLS, then not a byte                                                */
    ANSWER_CLOSE,      /* h2: TCP is closed at once; QUIC: packets of the attempt are ignored */
    ANSWER_NO_TLS,     /* h2: TCP is accepted, the handshake never answered; QUIC: as close   */
    ANSWER_VERSION,    /* QUIC: version negotiation                                           */
};
struct answer {
    enum answer_what what;
    int index; /* -1: any */
    bool retry, local;
    int64_t retry_after_ns;
    char *text;
};
/* Replaces the script, one answer a line. False: nothing changed, *err says why. */
bool script_set(struct cv_str text, char err[static 128]);
struct answer *script_dial(void);      /* the next answer if it concerns dialling, else NULL */
struct answer *script_take(int index); /* the next answer for a registration of this index;  */
void answer_free(struct answer *);     /* never NULL: `accept` when the script is over        */
size_t script_left(void);
void script_free(void);

/* ---- an HTTP/1.1 server connection: h1.c --------------------------------------------------------------- */

struct h1;
struct h1_ops {
    void (*head)(struct h1 *);
    void (*body)(struct h1 *, const uint8_t *, size_t n);
    void (*end)(struct h1 *); /* of the request's body; in a tunnel: the visitor sends no more */
    void (*drained)(struct h1 *, size_t left); /* some output has left; `left` is still here               */
    void (*gone)(struct h1 *); /* the visitor left before the answer was complete: last call    */
    void (*http2)(int fd_take, struct cv_str peer, const uint8_t *first, size_t n); /* NULL: not spoken */
};
struct h1_request {
    struct cv_str method, target;
    struct fields fields;
    bool websocket, connect, has_body, chunked;
};
int h1_listen(const char *addr, const struct h1_ops *,
              char printed[static 64]); /* -1 with errno; else the fd */
void h1_unlisten(void);
struct h1_request *h1_request(struct h1 *);
void h1_set_owner(struct h1 *, void *);
void *h1_owner(const struct h1 *);
struct cv_str h1_peer(const struct h1 *); /* address without port */
void h1_reading(struct h1 *, bool on);    /* back-pressure        */
/* The answer: head, body …, finish. Fields about framing are left out and made anew; length -1 is unknown. */
void h1_reply(struct h1 *, int status, const struct fields *, int64_t length);
void h1_body(struct h1 *, const void *, size_t n);
void h1_finish(struct h1 *, const struct fields *trailers);
/* Head for what is no HTTP any more; from now on body and h1_body carry plain bytes. */
void h1_tunnel(struct h1 *, int status, const struct fields *);
void h1_abort(struct h1 *); /* with a TCP reset, so that it cannot look complete */
void h1_simple(struct h1 *, int status, const char *type, struct cv_str body); /* a whole answer */

/* ---- the rest ---------------------------------------------------------------------------------------- */

bool front_start(const char *addr, char printed[static 64]);
struct front_refusal {
    int status;
    const char *why;
};
/* Opens a stream to a connector for what a visitor asks. NULL: what he is to be told instead. */
struct stream *front_visit(const struct h1_request *, struct cv_str peer, const struct stream_ops *,
                           void *owner, struct front_refusal *);
/* A visitor's connection that begins as HTTP/2 does: front_h2.c. */
void front_h2(int fd_take, struct cv_str peer, const uint8_t *first, size_t n);
void front_h2_stop(void);
bool control_start(const char *addr, char printed[static 64]);
void control_poke(void); /* something changed: those who wait look again */
void control_stop(void);
struct cv_str state_json(struct cv_buf *); /* state.c: all connectors and connections */

bool listen_start(SSL_CTX *h2, SSL_CTX *quic,
                  void (*print)(const char *kind, const char *addr)); /* listen.c */
void listen_mute(void);                                               /* opt.mute_tcp has changed */
void listen_stop(void);
/* quic.c; owns fd, bound to the address. */
void quic_listen(int fd, const struct sockaddr_storage *local, socklen_t n, SSL_CTX *);
void quic_unlisten(void);
void h2_accept(int fd, const struct sockaddr *peer, SSL_CTX *); /* h2.c; owns fd */

#endif
