/* schema_json.h: what the .json beside a vector says, as the structs of the schema. */
#ifndef SCHEMA_JSON_H
#define SCHEMA_JSON_H
#include "tunnel/schema.h"
#include "vectors.h"

/* All that a message needs; strings borrow from the JSON document and from here. */
struct schema_json {
    struct cv_buf store; /* decoded hexadecimal; room made by schema_json_new() */
    struct cv_str feature[32];
    struct schema_metadata metadata[256];
};
struct schema_json *schema_json_new(void);
void schema_json_free(struct schema_json *);

struct schema_registration json_registration(yyjson_val *, struct schema_json *);
struct schema_connection_response json_connection_response(yyjson_val *outcome, struct schema_json *);
struct schema_config_update json_config_update(yyjson_val *);
struct schema_config_response json_config_response(yyjson_val *outcome);
struct schema_udp_registration json_udp_registration(yyjson_val *, struct schema_json *);
struct schema_udp_response json_udp_response(yyjson_val *outcome, struct schema_json *);
struct schema_udp_unregistration json_udp_unregistration(yyjson_val *, struct schema_json *);
struct schema_connect_request json_connect_request(yyjson_val *, struct schema_json *);
struct schema_connect_response json_connect_response(yyjson_val *, struct schema_json *);

#endif
