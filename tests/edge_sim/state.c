/* state.c: all that is known of connectors and connections, as JSON for GET /state. */
#include "edge_sim.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static void add_hex(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *name, const uint8_t *p, size_t n)
{
    struct cv_buf text = { 0 };
    hex(p, n, &text);
    yyjson_mut_obj_add_strncpy(doc, o, name, n ? (char *)text.p : "", text.n);
    cv_buf_free(&text);
}

static void add_uuid(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *name, const uint8_t uuid[16])
{
    char text[37];
    print_uuid(uuid, text);
    yyjson_mut_obj_add_strcpy(doc, o, name, text);
}

static void add_registration(yyjson_mut_doc *doc, yyjson_mut_val *o, const struct conn *conn)
{
    const struct registration *reg = &conn->reg;
    yyjson_mut_obj_add_uint(doc, o, "index", reg->index);
    add_uuid(doc, o, "connector", reg->client);
    add_uuid(doc, o, "tunnel", reg->tunnel);
    if (conn->registered)
        add_uuid(doc, o, "uuid", reg->uuid);
    yyjson_mut_obj_add_str(doc, o, "account", reg->account);
    yyjson_mut_obj_add_str(doc, o, "version", reg->version);
    yyjson_mut_obj_add_str(doc, o, "arch", reg->arch);
    add_hex(doc, o, "origin_local_ip", reg->origin_ip, reg->origin_ip_n);
    yyjson_mut_obj_add_bool(doc, o, "replace_existing", reg->replace_existing);
    yyjson_mut_obj_add_uint(doc, o, "compression_quality", reg->compression_quality);
    yyjson_mut_obj_add_uint(doc, o, "previous_attempts", reg->previous_attempts);
    yyjson_mut_val *features = yyjson_mut_obj_add_arr(doc, o, "features");
    for (size_t i = 0; i < reg->nfeatures; i++)
        yyjson_mut_arr_add_str(doc, features, reg->features[i]);
}

static void add_conn(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct conn *conn)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);
    yyjson_mut_obj_add_uint(doc, o, "conn", conn->id);
    yyjson_mut_obj_add_str(doc, o, "protocol", conn->transport->name);
    yyjson_mut_obj_add_str(doc, o, "peer", conn->peer);
    yyjson_mut_obj_add_bool(doc, o, "alive", conn->link != NULL);
    yyjson_mut_obj_add_bool(doc, o, "registered", conn->registered);
    yyjson_mut_obj_add_bool(doc, o, "refused", conn->refused);
    yyjson_mut_obj_add_bool(doc, o, "unregistered", conn->unregistered);
    yyjson_mut_obj_add_bool(doc, o, "control_ended", conn->control_ended);
    yyjson_mut_obj_add_uint(doc, o, "requests", conn->requests);
    yyjson_mut_obj_add_uint(doc, o, "open", conn->open);
    yyjson_mut_obj_add_uint(doc, o, "resets", conn->resets);
    yyjson_mut_obj_add_uint(doc, o, "window_updates", conn->window_updates);
    if (conn->ended_how)
        yyjson_mut_obj_add_str(doc, o, "ended", conn->ended_how);
    if (conn->called)
        add_registration(doc, o, conn);
}

/* A connector is what its connections have in common: its id. */
static bool first_of_connector(const struct conn *conn)
{
    const struct conn *other;
    TAILQ_FOREACH(other, &conns, entry)
    {
        if (other == conn)
            return true;
        if (other->called && memcmp(other->reg.client, conn->reg.client, sizeof(conn->reg.client)) == 0)
            return false;
    }
    return true;
}

static void add_connectors(yyjson_mut_doc *doc, yyjson_mut_val *root)
{
    yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "connectors");
    const struct conn *conn;
    TAILQ_FOREACH(conn, &conns, entry)
    {
        char text[37];
        if (!conn->called || !first_of_connector(conn))
            continue;
        print_uuid(conn->reg.client, text);
        yyjson_mut_arr_add_strcpy(doc, list, text);
    }
}

struct cv_str state_json(struct cv_buf *out)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_uint(doc, root, "registered", conns_registered());
    yyjson_mut_obj_add_uint(doc, root, "script_left", script_left());
    add_connectors(doc, root);
    yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, root, "connections");
    const struct conn *conn;
    TAILQ_FOREACH(conn, &conns, entry)
    add_conn(doc, list, conn);
    size_t n;
    char *text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY | YYJSON_WRITE_ALLOW_INVALID_UNICODE, &n);
    CV_ASSERT(text);
    cv_buf_add(out, text, n);
    cv_buf_add(out, "\n", 1);
    free(text);
    yyjson_mut_doc_free(doc);
    return (struct cv_str){ (const char *)out->p, out->n };
}
