/* tunnel.h: room 1, being connected: token, discovery, supervisor, registrar, remote configuration. */
#ifndef TUNNEL_H
#define TUNNEL_H
#include "request/request.h"

#include <openssl/ssl.h>

struct tunnel_conf { /* section [tunnel]; flags and environment set the same options */
    bool enabled;                  /* no: nothing is dialled (edge_loopback alone)      */
    struct cv_secret token;        /* --token, TUNNEL_TOKEN                             */
    const char *token_file;
    struct cv_list edge;           /* host:port, replaces discovery                     */
    const char *region;
    int edge_ip_version;           /* 0 auto, 1 "4", 2 "6"                              */
    const char *edge_bind_address;
    int protocol;                  /* 0 auto, 1 quic, 2 http2                           */
    int ha_connections;
    struct cv_ms spacing;          /* between the starts of connections after the first */
    int retries;
    int max_edge_addr_retries;
    struct cv_ms grace_period;
    struct cv_ms rpc_timeout;
    struct cv_ms control_timeout;  /* for the edge to open the control stream           */
    const char *cacert;
    bool post_quantum;
    struct cv_list features;
    const char *pidfile;
    const char *url;               /* one local rule in force until the edge sends some */
    const char *ingress_file;      /* the same as a document of docs/protocol.md §16.2  */
};
extern const struct cv_option tunnel_options[];
enum cv_error tunnel_check(const void *conf, struct cv_err *);

/* The registrar is the origin of CV_CONTROL, CV_RPC and CV_CONFIG requests; boot/ puts it first among the origins. */
extern const struct cv_module cv_module_registrar;

struct tunnel_setup {
    const struct tunnel_conf *conf;
    struct cv_worker *main, **workers;
    size_t n_workers;
    const struct cv_instance *const *edges; /* edge modules with a protocol, ini order   */
    size_t n_edges;
    const struct cv_instance *const *gates;
    size_t n_gates;
    const char *settings;                   /* for the log line `Settings: map[…]`       */
    void (*ended)(void *arg, int status);   /* the tunnel is over: exit with this status */
    void *arg;
};
/* Before any module's init(): token, connector id, TLS context, local rules. Main thread. */
enum cv_error tunnel_prepare(const struct tunnel_setup *, struct cv_err *);
/* After every module's start(): publishes the rules, begins to dial (when enabled). */
enum cv_error tunnel_start(struct cv_err *);
/* First signal: unregister, finish, then ended(0) (docs/protocol.md §15). `why` names the signal for the log. */
void tunnel_shutdown(const char *why);
void tunnel_free(void);
#endif
