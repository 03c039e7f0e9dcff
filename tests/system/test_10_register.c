/* test_10_register.c: four connections register: what the edge sees, what /ready, the log and the metrics say. */
#include "scene.h"

#include <signal.h>
#include <yyjson.h>

static bool has_text(yyjson_val *list, const char *text)
{
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(list, i, n, v)
    {
        if (strcmp(yyjson_get_str(v), text) == 0)
            return true;
    }
    return false;
}

static void check_connection(yyjson_val *c, const char *transport, const char *connector)
{
    static const char *const features[] = { "allow_remote_config", "serialized_headers",
                                            "support_datagram_v2", "support_quic_eof", "management_logs" };
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        CU_ASSERT_TRUE(has_text(yyjson_obj_get(c, "features"), features[i]));
    static const struct {
        const char *key, *value;
    } texts[] = { { "tunnel", "f47ac10b-58cc-4372-a567-0e02b2c3d479" },
                  { "account", "0123456789abcdef0123456789abcdef" },
                  { "origin_local_ip", "00000000000000000000ffff7f000001" },
                  { "version", "2026.8.2" } };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(c, texts[i].key)), texts[i].value);
    CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(c, "protocol")), transport);
    CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(c, "connector")), connector);
    CU_ASSERT_TRUE(strncmp(yyjson_get_str(yyjson_obj_get(c, "arch")), "linux_", 6) == 0);
    CU_ASSERT_FALSE(yyjson_get_bool(yyjson_obj_get(c, "replace_existing")));
    CU_ASSERT_EQUAL(yyjson_get_uint(yyjson_obj_get(c, "previous_attempts")), 0);
}

/* GET /state: four connections of one connector with the indexes 0 to 3. Returns the connector's id. */
static void check_state(struct scene *t, char connector[static 40])
{
    struct answer a = scene_control(t, "GET", "/state", NULL);
    yyjson_doc *doc = yyjson_read(answer_text(&a), a.body.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *list = yyjson_obj_get(root, "connections"), *c;
    unsigned seen = 0;
    size_t i, n;
    CU_ASSERT_EQUAL_FATAL(yyjson_arr_size(yyjson_obj_get(root, "connectors")), 1);
    const char *id = yyjson_get_str(yyjson_arr_get_first(yyjson_obj_get(root, "connectors")));
    snprintf(connector, 40, "%s", id ? id : "");
    CU_ASSERT_EQUAL(strlen(connector), 36);
    CU_ASSERT_EQUAL(connector[14], '4'); /* a random UUID */
    yyjson_arr_foreach(list, i, n, c)
    {
        check_connection(c, t->transport, connector);
        seen |= 1u << yyjson_get_uint(yyjson_obj_get(c, "index"));
    }
    CU_ASSERT_EQUAL(yyjson_arr_size(list), 4);
    CU_ASSERT_EQUAL(seen, 0xf);
    yyjson_doc_free(doc);
    answer_free(&a);
}

static void check_log(struct scene *t)
{
    char part[128];
    CU_ASSERT_TRUE(process_says(t->culvert, "connIndex=3 connection=", PATIENCE_MS));
    CU_ASSERT_EQUAL(process_count(t->culvert, "INF Registered tunnel connection "), 4);
    char *said = process_output(t->culvert);
    for (int i = 0; i < 4; i++) {
        snprintf(part, sizeof(part), "INF Registered tunnel connection connIndex=%d connection=", i);
        const char *line = strstr(said, part);
        CU_ASSERT_PTR_NOT_NULL_FATAL(line);
        snprintf(part, sizeof(part), " event=0 ip=127.0.0.1 location=sim01 protocol=%s\n", t->transport);
        CHECK_HOLDS(line, part);
    }
    free(said);
}

static void check_ready(struct scene *t, int status, int connections, const char *connector,
                        const char *reason)
{
    char text[240];
    struct answer a = scene_metrics(t, "/ready");
    snprintf(text, sizeof(text), "{\"status\":%d,\"readyConnections\":%d,\"connectorId\":\"%s\"%s}", status,
             connections, connector, reason);
    CU_ASSERT_EQUAL(a.status, status);
    CU_ASSERT_STRING_EQUAL(answer_text(&a), text);
    answer_free(&a);
    a = scene_metrics(t, "/healthcheck");
    CU_ASSERT_STRING_EQUAL(answer_text(&a), "OK\n");
    answer_free(&a);
}

static void check_metrics(struct scene *t)
{
    static const struct {
        const char *name;
        double value;
    } series[] = {
        { "cloudflared_tunnel_ha_connections", 4 },
        { "cloudflared_tunnel_total_requests", 1 },
        { "cloudflared_tunnel_concurrent_requests_per_tunnel", 0 },
        { "cloudflared_tunnel_response_by_code{status_code=\"200\"}", 1 },
        { "cloudflared_tunnel_request_errors", 0 },
        { "cloudflared_tunnel_tunnel_register_success{rpcName=\"registerConnection\"}", 4 },
        { "cloudflared_tunnel_server_locations{connection_id=\"3\",edge_location=\"sim01\"}", 1 },
        { "cloudflared_orchestration_config_version", 1 },
        { "cloudflared_config_local_config_pushes", 0 },
        { "cloudflared_rpc_client_operations{handler=\"registration\",method=\"register_connection\"}", 4 },
        { "cloudflared_rpc_server_operations{handler=\"config\",method=\"update_configuration\"}", 1 },
        { "cloudflared_tcp_active_sessions", 0 },
    };
    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++) {
        bool right = scene_counts(t, series[i].name, series[i].value);
        CU_ASSERT_TRUE(right);
        if (!right)
            fprintf(stderr, "  %s is %g\n", series[i].name, scene_metric(t, series[i].name));
    }
    struct answer a = scene_metrics(t, "/metrics");
    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++) {
        char part[128];
        snprintf(part, sizeof(part), "\n%s ", series[i].name);
        CHECK_HOLDS(answer_text(&a), part);
    }
    if (strcmp(t->transport, "quic") == 0)
        CHECK_HOLDS(answer_text(&a), "\nquic_client_total_connections 4\n");
    answer_free(&a);
}

static void four_connections_register_and_all_can_see_it(void)
{
    for (each_transport(transport)) {
        char connector[40];
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .connections = 4 });
        check_state(t, connector);
        check_log(t);
        check_ready(t, 200, 4, connector, "");
        struct answer a = scene_get(t, "/hello");
        CU_ASSERT_STRING_EQUAL(answer_text(&a), "GET /hello");
        answer_free(&a);
        check_metrics(t);
        scene_stop(t);
    }
}

static void before_the_first_registration_it_is_not_ready(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(
            &(struct setup){ .transport = transport, .edge_flags = "--mute tcp --mute udp", .alone = true });
        CU_ASSERT_TRUE_FATAL(process_says(t->culvert, "Generated Connector ID: ", PATIENCE_MS));
        char *said = process_output(t->culvert), connector[40] = "";
        sscanf(strstr(said, "Connector ID: ") + strlen("Connector ID: "), "%39s", connector);
        free(said);
        check_ready(t, 503, 0, connector, ",\"reason\":\"0 of 1 connections registered\"");
        process_signal(t->culvert, SIGTERM); /* and ends at once, nothing is to be waited for */
        CU_ASSERT_EQUAL(process_end(t->culvert, 2000), 0);
        scene_stop(t);
    }
}

static void a_tunnel_with_rules_of_its_own_tells_them_and_its_flags(void)
{
    for (each_transport(transport)) {
        struct scene *t = scene_start(&(struct setup){ .transport = transport,
                                                       .script = "accept:local\n",
                                                       .flags = "--retries 0x6 --url http_status:204",
                                                       .alone = true });
        char protocol[64];
        snprintf(protocol, sizeof(protocol), "\\\"protocol\\\":\\\"%s\\\",\\\"retries\\\":\\\"6\\\"",
                 transport);
        CU_ASSERT_TRUE(scene_wait(t, "event=local-config&count=1"));
        struct answer a = scene_control(t, "GET", "/log", NULL);
        CHECK_HOLDS(answer_text(&a), "{\\\"__configuration_flags\\\":{");
        CHECK_HOLDS(answer_text(&a), protocol);
        CHECK_HOLDS(answer_text(&a), "},\\\"ingress\\\":[{\\\"service\\\":\\\"http_status:204\\\",");
        answer_free(&a);
        CU_ASSERT_TRUE(scene_counts(t, "cloudflared_config_local_config_pushes", 1));
        scene_stop(t);
    }
}

SUITE(system_10_register, TEST(a_tunnel_with_rules_of_its_own_tells_them_and_its_flags),
      TEST(four_connections_register_and_all_can_see_it),
      TEST(before_the_first_registration_it_is_not_ready));
