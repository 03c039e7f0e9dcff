/* schema_json.c: what the .json beside a vector says, as the structs of the schema. */
#include "schema_json.h"

#include <stdlib.h>
#include <string.h>

struct schema_json *schema_json_new(void)
{
    struct schema_json *j = cv_xcalloc(1, sizeof *j);
    cv_buf_reserve(&j->store, 64 << 10);
    return j;
}

void schema_json_free(struct schema_json *j)
{
    cv_buf_free(&j->store);
    free(j);
}

static void uuid(uint8_t out[SCHEMA_UUID], yyjson_val *object, const char *key, struct schema_json *j)
{
    struct cv_str v = vector_data(object, key, &j->store);
    CV_ASSERT(v.n == SCHEMA_UUID);
    memcpy(out, v.p, SCHEMA_UUID);
}

static uint64_t number(yyjson_val *object, const char *key)
{
    return yyjson_get_uint(yyjson_obj_get(object, key));
}

static bool truth(yyjson_val *object, const char *key)
{
    return yyjson_get_bool(yyjson_obj_get(object, key));
}

static struct cv_list features(yyjson_val *client, struct schema_json *j)
{
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(yyjson_obj_get(client, "features"), i, n, v) j->feature[i] =
        (struct cv_str){ yyjson_get_str(v), yyjson_get_len(v) };
    return (struct cv_list){ j->feature, n };
}

struct schema_registration json_registration(yyjson_val *v, struct schema_json *j)
{
    yyjson_val *auth = yyjson_obj_get(v, "auth"), *options = yyjson_obj_get(v, "options");
    yyjson_val *client = yyjson_obj_get(options, "client");
    struct cv_str secret = vector_data(auth, "tunnelSecret_hex", &j->store);
    struct schema_registration r = {
        .conn_index = (uint8_t)number(v, "connIndex"),
        .account_tag = vector_str(auth, "accountTag"),
        .tunnel_secret = { secret.p, secret.n },
        .replace_existing = truth(options, "replaceExisting"),
        .compression_quality = (uint8_t)number(options, "compressionQuality"),
        .previous_attempts = (uint8_t)number(options, "numPreviousAttempts"),
        .client_id = vector_data(client, "clientId", &j->store),
        .features = features(client, j),
        .version = vector_str(client, "version"),
        .arch = vector_str(client, "arch"),
        .origin_local_ip = vector_data(options, "originLocalIp_hex", &j->store),
    };
    uuid(r.tunnel_id, v, "tunnelId", j);
    return r;
}

struct schema_connection_response json_connection_response(yyjson_val *outcome, struct schema_json *j)
{
    struct schema_connection_response r = {
        .accepted = yyjson_obj_get(outcome, "uuid"),
        .cause = vector_str(outcome, "client_error"),
        .retry_after = (int64_t)number(outcome, "retry_after_ns"),
        .should_retry = truth(outcome, "retryable"),
        .location = vector_str(outcome, "location"),
        .remotely_managed = truth(outcome, "tunnelIsRemotelyManaged"),
    };
    if (r.accepted)
        uuid(r.uuid, outcome, "uuid", j);
    return r;
}

struct schema_config_update json_config_update(yyjson_val *v)
{
    return (struct schema_config_update){ .version = yyjson_get_int(yyjson_obj_get(v, "version")),
                                          .config = vector_str(v, "config_utf8") };
}

struct schema_config_response json_config_response(yyjson_val *outcome)
{
    return (struct schema_config_response){
        .latest_applied_version = yyjson_get_int(yyjson_obj_get(outcome, "latestAppliedVersion")),
        .error = vector_str(outcome, "err"),
    };
}

struct schema_udp_registration json_udp_registration(yyjson_val *v, struct schema_json *j)
{
    struct schema_udp_registration u = {
        .dst_ip = vector_data(v, "dstIp_hex", &j->store),
        .dst_port = (uint16_t)number(v, "dstPort"),
        .close_after_idle = (int64_t)number(v, "closeAfterIdleHint_ns"),
        .trace_context = vector_str(v, "traceContext"),
    };
    uuid(u.session_id, v, "sessionId", j);
    return u;
}

struct schema_udp_response json_udp_response(yyjson_val *outcome, struct schema_json *j)
{
    return (struct schema_udp_response){ .error = vector_str(outcome, "err"),
                                         .spans = vector_data(outcome, "spans_hex", &j->store) };
}

struct schema_udp_unregistration json_udp_unregistration(yyjson_val *v, struct schema_json *j)
{
    struct schema_udp_unregistration u = { .message = vector_str(v, "message") };
    uuid(u.session_id, v, "sessionId", j);
    return u;
}

static size_t metadata(yyjson_val *v, struct schema_json *j)
{
    size_t i, n;
    yyjson_val *m;
    yyjson_arr_foreach(yyjson_obj_get(v, "metadata"), i, n, m) j->metadata[i] =
        (struct schema_metadata){ vector_str(m, "key"), vector_str(m, "val") };
    return n;
}

struct schema_connect_request json_connect_request(yyjson_val *v, struct schema_json *j)
{
    return (struct schema_connect_request){ .type = (uint16_t)number(v, "type"),
                                            .dest = vector_str(v, "dest"),
                                            .metadata = j->metadata,
                                            .n_metadata = metadata(v, j) };
}

struct schema_connect_response json_connect_response(yyjson_val *v, struct schema_json *j)
{
    return (struct schema_connect_response){ .error = vector_str(v, "error"),
                                             .metadata = j->metadata,
                                             .n_metadata = metadata(v, j) };
}
