/* schema.c: where each field of the tunnel's messages lies (docs/protocol.md §9). */
#include "tunnel/schema.h"

#include <string.h>

#define REGISTRATION_SERVER   0xf71695ec7fe85497
#define SESSION_MANAGER       0x839445a59fb01686
#define CONFIGURATION_MANAGER 0xb48edfbdaa25db04

const struct rpc_method schema_register_connection = { REGISTRATION_SERVER, 0 };
const struct rpc_method schema_unregister_connection = { REGISTRATION_SERVER, 1 };
const struct rpc_method schema_update_local_configuration = { REGISTRATION_SERVER, 2 };
const struct rpc_method schema_update_configuration = { CONFIGURATION_MANAGER, 0 };
const struct rpc_method schema_register_udp_session = { SESSION_MANAGER, 0 };
const struct rpc_method schema_unregister_udp_session = { SESSION_MANAGER, 1 };

static void put_uuid(struct capnp_new s, size_t i, const uint8_t uuid[SCHEMA_UUID])
{
    capnp_put_data(s, i, (struct cv_str){ (const char *)uuid, SCHEMA_UUID });
}

/* A broken message is told apart from an id of the wrong length, which it would look like. */
static enum cv_error get_uuid(struct capnp_struct s, size_t i, uint8_t uuid[SCHEMA_UUID], const char *name,
                              struct cv_err *err)
{
    struct cv_str v = capnp_get_data(s, i);
    enum cv_error e = capnp_check(s.msg, err);
    if (e)
        return e;
    if (v.n != SCHEMA_UUID)
        return cv_fail(err, CV_E_PROTO, "%s has %zu bytes instead of 16", name, v.n);
    memcpy(uuid, v.p, SCHEMA_UUID);
    return CV_OK;
}

/* Room for n elements at the front of scratch, whatever was there. */
static void *gather(struct cv_buf *scratch, size_t n, size_t size)
{
    CV_ASSERT(n <= CAPNP_MAX_BYTES);
    scratch->n = 0;
    return cv_buf_reserve(scratch, n * size);
}

void schema_put_empty(struct capnp_new s, size_t i)
{
    capnp_put_struct(s, i, 0, 0);
}

/* ---- registerConnection ------------------------------------------------------------------------ */

static void put_auth(struct capnp_new s, size_t i, const struct schema_registration *r)
{
    struct capnp_new auth = capnp_put_struct(s, i, 0, 2);
    capnp_put_text(auth, 0, r->account_tag);
    capnp_put_data(auth, 1, cv_reveal(r->tunnel_secret));
}

static void put_client(struct capnp_new s, size_t i, const struct schema_registration *r)
{
    struct capnp_new client = capnp_put_struct(s, i, 0, 4);
    capnp_put_data(client, 0, r->client_id);
    struct capnp_new features = capnp_put_pointers(client, 1, r->features.n);
    for (size_t k = 0; k < r->features.n; k++)
        capnp_put_text(features, k, r->features.v[k]);
    capnp_put_text(client, 2, r->version);
    capnp_put_text(client, 3, r->arch);
}

static void put_options(struct capnp_new s, size_t i, const struct schema_registration *r)
{
    struct capnp_new options = capnp_put_struct(s, i, 1, 2);
    capnp_put_bit(options, 0, r->replace_existing);
    capnp_put_u8(options, 1, r->compression_quality);
    capnp_put_u8(options, 2, r->previous_attempts);
    put_client(options, 0, r);
    capnp_put_data(options, 1, r->origin_local_ip);
}

void schema_put_registration(struct capnp_new s, size_t i, const struct schema_registration *r)
{
    struct capnp_new params = capnp_put_struct(s, i, 1, 3);
    capnp_put_u8(params, 0, r->conn_index);
    put_auth(params, 0, r);
    put_uuid(params, 1, r->tunnel_id);
    put_options(params, 2, r);
}

static struct cv_list get_texts(struct capnp_struct s, size_t i, struct cv_buf *scratch)
{
    struct capnp_list l = capnp_get_list(s, i);
    struct cv_str *v = gather(scratch, l.n, sizeof *v);
    for (size_t k = 0; k < l.n; k++)
        v[k] = capnp_get_text(capnp_list_at(l, k), 0);
    return (struct cv_list){ v, l.n };
}

static void get_client(struct capnp_struct client, struct schema_registration *r, struct cv_buf *scratch)
{
    r->client_id = capnp_get_data(client, 0);
    r->features = get_texts(client, 1, scratch);
    r->version = capnp_get_text(client, 2);
    r->arch = capnp_get_text(client, 3);
}

enum cv_error schema_get_registration(struct capnp_struct s, struct schema_registration *r,
                                      struct cv_buf *scratch, struct cv_err *err)
{
    struct capnp_struct auth = capnp_get_struct(s, 0), options = capnp_get_struct(s, 2);
    struct cv_str secret = capnp_get_data(auth, 1);
    *r = (struct schema_registration){
        .conn_index = capnp_get_u8(s, 0),
        .account_tag = capnp_get_text(auth, 0),
        .tunnel_secret = { secret.p, secret.n },
        .replace_existing = capnp_get_bit(options, 0),
        .compression_quality = capnp_get_u8(options, 1),
        .previous_attempts = capnp_get_u8(options, 2),
        .origin_local_ip = capnp_get_data(options, 1),
    };
    get_client(capnp_get_struct(options, 0), r, scratch);
    return get_uuid(s, 1, r->tunnel_id, "tunnel id", err);
}

enum { REFUSED, ACCEPTED }; /* ConnectionResponse.which */

static void put_refusal(struct capnp_new s, size_t i, const struct schema_connection_response *r)
{
    struct capnp_new refusal = capnp_put_struct(s, i, 2, 1);
    capnp_put_u64(refusal, 0, (uint64_t)r->retry_after);
    capnp_put_bit(refusal, 64, r->should_retry);
    capnp_put_text(refusal, 0, r->cause);
}

static void put_details(struct capnp_new s, size_t i, const struct schema_connection_response *r)
{
    struct capnp_new details = capnp_put_struct(s, i, 1, 2);
    capnp_put_bit(details, 0, r->remotely_managed);
    put_uuid(details, 0, r->uuid);
    capnp_put_text(details, 1, r->location);
}

void schema_put_connection_response(struct capnp_new s, size_t i, const struct schema_connection_response *r)
{
    struct capnp_new results = capnp_put_struct(s, i, 0, 1);
    struct capnp_new response = capnp_put_struct(results, 0, 1, 1);
    capnp_put_u16(response, 0, r->accepted ? ACCEPTED : REFUSED);
    (r->accepted ? put_details : put_refusal)(response, 0, r);
}

static enum cv_error get_details(struct capnp_struct details, struct schema_connection_response *r,
                                 struct cv_err *err)
{
    r->accepted = true;
    r->remotely_managed = capnp_get_bit(details, 0);
    r->location = capnp_get_text(details, 1);
    return get_uuid(details, 0, r->uuid, "connection id", err);
}

static enum cv_error get_refusal(struct capnp_struct refusal, struct schema_connection_response *r,
                                 struct cv_err *err)
{
    r->retry_after = (int64_t)capnp_get_u64(refusal, 0);
    r->should_retry = capnp_get_bit(refusal, 64);
    r->cause = capnp_get_text(refusal, 0);
    return capnp_check(refusal.msg, err);
}

enum cv_error schema_get_connection_response(struct capnp_struct s, struct schema_connection_response *r,
                                             struct cv_err *err)
{
    struct capnp_struct response = capnp_get_struct(s, 0), body = capnp_get_struct(response, 0);
    *r = (struct schema_connection_response){ 0 };
    switch (capnp_get_u16(response, 0)) {
    case REFUSED: return get_refusal(body, r, err);
    case ACCEPTED: return get_details(body, r, err);
    default: return cv_fail(err, CV_E_PROTO, "connection response of an unknown kind");
    }
}

/* ---- configuration ----------------------------------------------------------------------------- */

void schema_put_local_config(struct capnp_new s, size_t i, struct cv_str config)
{
    capnp_put_data(capnp_put_struct(s, i, 0, 1), 0, config);
}

enum cv_error schema_get_local_config(struct capnp_struct s, struct cv_str *config, struct cv_err *err)
{
    *config = capnp_get_data(s, 0);
    return capnp_check(s.msg, err);
}

void schema_put_config_update(struct capnp_new s, size_t i, const struct schema_config_update *u)
{
    struct capnp_new params = capnp_put_struct(s, i, 1, 1);
    capnp_put_u32(params, 0, (uint32_t)u->version);
    capnp_put_data(params, 0, u->config);
}

enum cv_error schema_get_config_update(struct capnp_struct s, struct schema_config_update *u,
                                       struct cv_err *err)
{
    *u = (struct schema_config_update){ (int32_t)capnp_get_u32(s, 0), capnp_get_data(s, 0) };
    return capnp_check(s.msg, err);
}

void schema_put_config_response(struct capnp_new s, size_t i, const struct schema_config_response *r)
{
    struct capnp_new results = capnp_put_struct(s, i, 0, 1);
    struct capnp_new response = capnp_put_struct(results, 0, 1, 1);
    capnp_put_u32(response, 0, (uint32_t)r->latest_applied_version);
    capnp_put_text(response, 0, r->error);
}

enum cv_error schema_get_config_response(struct capnp_struct s, struct schema_config_response *r,
                                         struct cv_err *err)
{
    struct capnp_struct response = capnp_get_struct(s, 0);
    r->latest_applied_version = (int32_t)capnp_get_u32(response, 0);
    r->error = capnp_get_text(response, 0);
    return capnp_check(s.msg, err);
}

/* ---- UDP sessions ------------------------------------------------------------------------------ */

void schema_put_udp_registration(struct capnp_new s, size_t i, const struct schema_udp_registration *u)
{
    struct capnp_new params = capnp_put_struct(s, i, 2, 3);
    capnp_put_u16(params, 0, u->dst_port);
    capnp_put_u64(params, 8, (uint64_t)u->close_after_idle);
    put_uuid(params, 0, u->session_id);
    capnp_put_data(params, 1, u->dst_ip);
    capnp_put_text(params, 2, u->trace_context);
}

enum cv_error schema_get_udp_registration(struct capnp_struct s, struct schema_udp_registration *u,
                                          struct cv_err *err)
{
    *u = (struct schema_udp_registration){
        .dst_ip = capnp_get_data(s, 1),
        .dst_port = capnp_get_u16(s, 0),
        .close_after_idle = (int64_t)capnp_get_u64(s, 8),
        .trace_context = capnp_get_text(s, 2),
    };
    return get_uuid(s, 0, u->session_id, "session id", err);
}

void schema_put_udp_response(struct capnp_new s, size_t i, const struct schema_udp_response *r)
{
    struct capnp_new results = capnp_put_struct(s, i, 0, 1);
    struct capnp_new response = capnp_put_struct(results, 0, 0, 2);
    capnp_put_text(response, 0, r->error);
    capnp_put_data(response, 1, r->spans);
}

enum cv_error schema_get_udp_response(struct capnp_struct s, struct schema_udp_response *r,
                                      struct cv_err *err)
{
    struct capnp_struct response = capnp_get_struct(s, 0);
    *r = (struct schema_udp_response){ capnp_get_text(response, 0), capnp_get_data(response, 1) };
    return capnp_check(s.msg, err);
}

void schema_put_udp_unregistration(struct capnp_new s, size_t i, const struct schema_udp_unregistration *u)
{
    struct capnp_new params = capnp_put_struct(s, i, 0, 2);
    put_uuid(params, 0, u->session_id);
    capnp_put_text(params, 1, u->message);
}

enum cv_error schema_get_udp_unregistration(struct capnp_struct s, struct schema_udp_unregistration *u,
                                            struct cv_err *err)
{
    u->message = capnp_get_text(s, 1);
    return get_uuid(s, 0, u->session_id, "session id", err);
}

/* ---- heads of data streams --------------------------------------------------------------------- */

static void put_metadata(struct capnp_new s, size_t i, const struct schema_metadata *m, size_t n)
{
    if (!m)
        return;
    struct capnp_new element = capnp_put_structs(s, i, n, 0, 2);
    for (; n--; m++, element = capnp_next(element)) {
        capnp_put_text(element, 0, m->key);
        capnp_put_text(element, 1, m->val);
    }
}

static const struct schema_metadata *get_metadata(struct capnp_struct s, size_t i, size_t *n,
                                                  struct cv_buf *scratch)
{
    struct capnp_list l = capnp_get_list(s, i);
    struct schema_metadata *m = gather(scratch, l.n, sizeof *m);
    for (size_t k = 0; k < l.n; k++) {
        struct capnp_struct element = capnp_list_at(l, k);
        m[k] = (struct schema_metadata){ capnp_get_text(element, 0), capnp_get_text(element, 1) };
    }
    *n = l.n;
    return m;
}

void schema_put_connect_request(struct capnp_new s, size_t i, const struct schema_connect_request *r)
{
    struct capnp_new request = capnp_put_struct(s, i, 1, 2);
    capnp_put_u16(request, 0, r->type);
    capnp_put_text(request, 0, r->dest);
    put_metadata(request, 1, r->metadata, r->n_metadata);
}

enum cv_error schema_get_connect_request(struct capnp_struct s, struct schema_connect_request *r,
                                         struct cv_buf *scratch, struct cv_err *err)
{
    r->type = capnp_get_u16(s, 0);
    r->dest = capnp_get_text(s, 0);
    r->metadata = get_metadata(s, 1, &r->n_metadata, scratch);
    return capnp_check(s.msg, err);
}

void schema_put_connect_response(struct capnp_new s, size_t i, const struct schema_connect_response *r)
{
    struct capnp_new response = capnp_put_struct(s, i, 0, 2);
    capnp_put_text(response, 0, r->error);
    put_metadata(response, 1, r->metadata, r->n_metadata);
}

enum cv_error schema_get_connect_response(struct capnp_struct s, struct schema_connect_response *r,
                                          struct cv_buf *scratch, struct cv_err *err)
{
    r->error = capnp_get_text(s, 0);
    r->metadata = get_metadata(s, 1, &r->n_metadata, scratch);
    return capnp_check(s.msg, err);
}
