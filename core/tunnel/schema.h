/* schema.h: the messages of a tunnel as C structs, and how they lie in Cap'n Proto.
 *
 * Source: docs/protocol.md §9. Both directions of each, since a test edge speaks the other one.
 *
 * schema_put_x(place, i, &x) writes x behind pointer i of `place` (the root place of capnp_begin(), or the
 * payload of rpc_call_begin() and rpc_return_begin()).
 *
 * schema_get_x(s, &x, …) reads the struct s. Strings borrow from the message. Lists are gathered in
 * *scratch, which the caller owns and may use again for the next message: x is valid as long as the message
 * and until *scratch is touched. CV_E_PROTO: broken message, or an id that is not 16 bytes.
 *
 * A struct that is to be written whole has zeroes for what is absent: {0} strings are null pointers. */
#ifndef TUNNEL_SCHEMA_H
#define TUNNEL_SCHEMA_H

#include "tunnel/capnp.h"
#include "tunnel/rpc.h"

/* Methods. The edge serves the first three, the connector the next two; unregister_udp_session both. */
extern const struct rpc_method schema_register_connection;        /* registration → connection_response   */
extern const struct rpc_method schema_unregister_connection;      /* empty        → empty                 */
extern const struct rpc_method schema_update_local_configuration; /* local_config → empty                */
extern const struct rpc_method schema_update_configuration;       /* config_update → config_response      */
extern const struct rpc_method schema_register_udp_session;       /* udp_registration → udp_response      */
extern const struct rpc_method schema_unregister_udp_session;     /* udp_unregistration → empty           */

enum { SCHEMA_UUID = 16 };

/* Params of registerConnection with all that hangs below them (TunnelAuth, ConnectionOptions, ClientInfo). */
struct schema_registration {
    uint8_t conn_index;
    struct cv_str account_tag;
    struct cv_secret tunnel_secret;
    uint8_t tunnel_id[SCHEMA_UUID];
    bool replace_existing;
    uint8_t compression_quality;
    uint8_t previous_attempts;
    struct cv_str client_id; /* 16 bytes */
    struct cv_list features;
    struct cv_str version;         /* "2026.8.2"    */
    struct cv_str arch;            /* "linux_amd64" */
    struct cv_str origin_local_ip; /* 16 bytes, or {0}: unknown */
};
void schema_put_registration(struct capnp_new, size_t i, const struct schema_registration *);
enum cv_error schema_get_registration(struct capnp_struct, struct schema_registration *,
                                      struct cv_buf *scratch, struct cv_err *);

/* Results of registerConnection: a refusal or the details. */
struct schema_connection_response {
    bool accepted;
    /* refused */
    struct cv_str cause; /* "EDUPCONN" for one */
    int64_t retry_after; /* nanoseconds        */
    bool should_retry;
    /* accepted */
    uint8_t uuid[SCHEMA_UUID];
    struct cv_str location; /* "dfw08" */
    bool remotely_managed;
};
void schema_put_connection_response(struct capnp_new, size_t i, const struct schema_connection_response *);
enum cv_error schema_get_connection_response(struct capnp_struct, struct schema_connection_response *,
                                             struct cv_err *);

/* Params and results that have no fields. There is nothing to get. */
void schema_put_empty(struct capnp_new, size_t i);

/* Params of updateLocalConfiguration: the JSON document. */
void schema_put_local_config(struct capnp_new, size_t i, struct cv_str config);
enum cv_error schema_get_local_config(struct capnp_struct, struct cv_str *config, struct cv_err *);

/* Params and results of updateConfiguration. */
struct schema_config_update {
    int32_t version;
    struct cv_str config; /* JSON */
};
void schema_put_config_update(struct capnp_new, size_t i, const struct schema_config_update *);
enum cv_error schema_get_config_update(struct capnp_struct, struct schema_config_update *, struct cv_err *);

struct schema_config_response {
    int32_t latest_applied_version;
    struct cv_str error; /* empty: no error */
};
void schema_put_config_response(struct capnp_new, size_t i, const struct schema_config_response *);
enum cv_error schema_get_config_response(struct capnp_struct, struct schema_config_response *,
                                         struct cv_err *);

/* Params and results of registerUdpSession, params of unregisterUdpSession. */
struct schema_udp_registration {
    uint8_t session_id[SCHEMA_UUID];
    struct cv_str dst_ip; /* 4 or 16 bytes; of another length it is the caller's to refuse */
    uint16_t dst_port;
    int64_t close_after_idle; /* nanoseconds */
    struct cv_str trace_context;
};
void schema_put_udp_registration(struct capnp_new, size_t i, const struct schema_udp_registration *);
enum cv_error schema_get_udp_registration(struct capnp_struct, struct schema_udp_registration *,
                                          struct cv_err *);

struct schema_udp_response {
    struct cv_str error; /* empty: no error */
    struct cv_str spans;
};
void schema_put_udp_response(struct capnp_new, size_t i, const struct schema_udp_response *);
enum cv_error schema_get_udp_response(struct capnp_struct, struct schema_udp_response *, struct cv_err *);

struct schema_udp_unregistration {
    uint8_t session_id[SCHEMA_UUID];
    struct cv_str message;
};
void schema_put_udp_unregistration(struct capnp_new, size_t i, const struct schema_udp_unregistration *);
enum cv_error schema_get_udp_unregistration(struct capnp_struct, struct schema_udp_unregistration *,
                                            struct cv_err *);

/* Heads of QUIC data streams: framed messages of their own, behind the signature and version.
 * Metadata that is NULL is written as a null pointer, else as a list, maybe an empty one; both read as none.
 */
struct schema_metadata {
    struct cv_str key, val;
};
struct schema_connect_request {
    uint16_t type; /* whatever the peer says; enum below */
    struct cv_str dest;
    const struct schema_metadata *metadata;
    size_t n_metadata;
};
enum { SCHEMA_HTTP, SCHEMA_WEBSOCKET, SCHEMA_TCP };
void schema_put_connect_request(struct capnp_new, size_t i, const struct schema_connect_request *);
enum cv_error schema_get_connect_request(struct capnp_struct, struct schema_connect_request *,
                                         struct cv_buf *scratch, struct cv_err *);

struct schema_connect_response {
    struct cv_str error; /* empty: accepted */
    const struct schema_metadata *metadata;
    size_t n_metadata;
};
void schema_put_connect_response(struct capnp_new, size_t i, const struct schema_connect_response *);
enum cv_error schema_get_connect_response(struct capnp_struct, struct schema_connect_response *,
                                          struct cv_buf *scratch, struct cv_err *);

#endif
