/* tunnel.h: room 1, being connected: token, discovery, supervisor, registrar, remote configuration. */
#ifndef TUNNEL_H
#define TUNNEL_H
#include "request/request.h"

/* Section [tunnel]; flags and environment set the same options. options.c says what each is for. */
struct tunnel_conf {
    bool enabled;
    struct cv_secret token;
    const char *token_file;
    struct cv_list edge;
    const char *region;
    int edge_ip_version; /* 0 auto, 1 "4", 2 "6" */
    const char *edge_bind_address;
    struct cv_ms edge_refresh;
    const char *address_cache;
    int protocol; /* 0 auto, 1 quic, 2 http2 */
    struct cv_ms head_start;
    struct cv_ms reprobe;
    int ha_connections;
    struct cv_ms spacing;
    int retries;
    int max_edge_addr_retries;
    int on_refused; /* 0 exit, 1 retry */
    int refused_tries;
    struct cv_ms grace_period;
    struct cv_ms settle;
    struct cv_ms replaced_limit;
    struct cv_ms rpc_timeout;
    struct cv_ms control_timeout;
    int stall_streams;
    struct cv_ms stall_after;
    const char *cacert;
    bool post_quantum;
    struct cv_list features;
    const char *pidfile;
    const char *url;
    const char *ingress_file;
    const char *last_config;
    struct cv_bytes config_size;
    struct cv_ms rules_wait;
    struct cv_list wait_for;
};
extern const struct cv_option tunnel_options[];
enum cv_error tunnel_check(const void *conf, struct cv_err *);

/* The registrar is the origin of CV_CONTROL, CV_RPC and CV_CONFIG requests; boot/ puts it first among the
 * origins. */
extern const struct cv_module cv_module_registrar;

/* One key of the originRequest of the rule that url makes (docs/protocol.md §16.2), or a flag. */
struct tunnel_setting {
    const char *key, *value;
    bool text; /* a string; else value is JSON: true, 30 */
};
/* conf, failover and the arrays are borrowed until tunnel_free(). */
struct failover_conf;
struct tunnel_setup {
    const struct tunnel_conf *conf;
    const struct failover_conf *failover;
    struct cv_worker *main, **workers;
    size_t n_workers;
    const struct cv_instance *const *edges; /* edge modules with a protocol, ini order   */
    size_t n_edges;
    const struct cv_instance *const *gates;
    size_t n_gates;
    const struct tunnel_setting *origin_request;
    size_t n_origin_request;
    const struct tunnel_setting *flags; /* that the edge is told about, by name; all text */
    size_t n_flags;
    const char *settings; /* what the log line `Settings: map[…]` holds between the brackets; NULL: no line */
    void (*ended)(void *arg,
                  int status); /* the tunnel is over: exit with this status; called once, from the loop */
    void *arg;
};
/* Before any module's init(): token, connector id, TLS context, local rules. Main thread, as all that
 * follows. A token that is not valid gives CV_E_DENIED and the text of docs/protocol.md §2.1. Nothing to free
 * after a failure. */
enum cv_error tunnel_prepare(const struct tunnel_setup *, struct cv_err *);
/* After every module's start(): publishes the rules, begins to dial (when enabled). */
enum cv_error tunnel_start(struct cv_err *);
/* The local settings of request/local.h have changed: the rules follow. The workers have them in their next turn. */
void tunnel_local_changed(void);
/* The live options have changed, or the lists of edges and gates, which hold so many now: what does not fit any more is
 * replaced, connection by connection, before it is given up. */
void tunnel_changed(size_t n_edges, size_t n_gates);
enum cv_error tunnel_token_check(struct cv_secret, struct cv_err *); /* is it one? */
/* First signal: unregister, finish, then ended(0) (docs/protocol.md §15). `why` names the signal for the log:
 * "terminated", "interrupt". */
void tunnel_shutdown(const char *why);
/* The same without the end: no connection is registered any more, requests under way finish, the process
 * stays. A tunnel_shutdown() may follow. */
void tunnel_drain(void);
/* The workers have stopped and run nothing any more. */
void tunnel_free(void);
#endif
