/* test_abi.c: the public structs are as recorded for this CV_ABI. */
#include "boot_test.h"

#include "culvert/operate.h"
#include "culvert/route.h"

/* What a module is compiled against. A change here without a new CV_ABI would let modules of another build through, so
 * core/abi.txt holds what was released: `CV_ABI_RECORD=1 build/tests/culvert-tests abi` writes it anew. */
struct measure {
    const char *name;
    size_t n;
};
#define SIZE(type)                                                                                           \
    {                                                                                                        \
#type, sizeof(struct type)                                                                           \
    }
#define AT(type, member)                                                                                     \
    {                                                                                                        \
#type "." #member, offsetof(struct type, member)                                                     \
    }

/* clang-format off */
static const struct measure measures[] = {
    SIZE(cv_str),
    AT(cv_str, p), AT(cv_str, n),
    SIZE(cv_list),
    AT(cv_list, v), AT(cv_list, n),
    SIZE(cv_ms),
    AT(cv_ms, ms),
    SIZE(cv_bytes),
    AT(cv_bytes, n),
    SIZE(cv_secret),
    AT(cv_secret, p), AT(cv_secret, n),
    SIZE(cv_err),
    AT(cv_err, text),
    SIZE(cv_self),
    AT(cv_self, conf), AT(cv_self, shared), AT(cv_self, local), AT(cv_self, worker), AT(cv_self, instance),
    SIZE(cv_option),
    AT(cv_option, name), AT(cv_option, def), AT(cv_option, help), AT(cv_option, type), AT(cv_option, at),
    AT(cv_option, flags), AT(cv_option, min), AT(cv_option, max), AT(cv_option, words),
    SIZE(cv_metric),
    AT(cv_metric, name), AT(cv_metric, help), AT(cv_metric, type), AT(cv_metric, labels),
    AT(cv_metric, bounds),
    SIZE(cv_end),
    AT(cv_end, readable), AT(cv_end, credit), AT(cv_end, closed),
    SIZE(cv_req),
    AT(cv_req, magic), AT(cv_req, type), AT(cv_req, id), AT(cv_req, conn), AT(cv_req, method),
    AT(cv_req, scheme), AT(cv_req, authority), AT(cv_req, path), AT(cv_req, headers),
    AT(cv_req, body_length), AT(cv_req, rule), AT(cv_req, status), AT(cv_req, resp_headers),
    AT(cv_req, trailers), AT(cv_req, error), AT(cv_req, error_text), AT(cv_req, up), AT(cv_req, down),
    SIZE(cv_conn),
    AT(cv_conn, magic), AT(cv_conn, index), AT(cv_conn, addr), AT(cv_conn, local), AT(cv_conn, edge),
    SIZE(cv_path), SIZE(cv_edge_ops),
    AT(cv_edge_ops, protocol), AT(cv_edge_ops, dial), AT(cv_edge_ops, close), AT(cv_edge_ops, gone),
    AT(cv_edge_ops, head), AT(cv_edge_ops, path), AT(cv_edge_ops, end),
    SIZE(cv_origin_ops),
    AT(cv_origin_ops, match), AT(cv_origin_ops, open), AT(cv_origin_ops, end),
    SIZE(cv_filter_ops),
    AT(cv_filter_ops, request), AT(cv_filter_ops, response), AT(cv_filter_ops, closed),
    SIZE(cv_gate_ops),
    AT(cv_gate_ops, admit),
    SIZE(cv_event),
    AT(cv_event, what), AT(cv_event, conn), AT(cv_event, req), AT(cv_event, why),
    SIZE(cv_observer_ops),
    AT(cv_observer_ops, event),
    SIZE(cv_module),
    AT(cv_module, magic), AT(cv_module, abi), AT(cv_module, size), AT(cv_module, name),
    AT(cv_module, summary), AT(cv_module, options), AT(cv_module, conf_size), AT(cv_module, metrics),
    AT(cv_module, slot_size), AT(cv_module, edge), AT(cv_module, origin), AT(cv_module, filter),
    AT(cv_module, gate), AT(cv_module, observer), AT(cv_module, check), AT(cv_module, init),
    AT(cv_module, start), AT(cv_module, reload), AT(cv_module, stop), AT(cv_module, fini),
    AT(cv_module, command),
    SIZE(cv_field),
    AT(cv_field, name), AT(cv_field, s), AT(cv_field, i), AT(cv_field, is_int),
    SIZE(cv_fields),
    AT(cv_fields, v), AT(cv_fields, n),
    SIZE(cv_timer),
    AT(cv_timer, fire), AT(cv_timer, event), AT(cv_timer, made), AT(cv_timer, set),
    SIZE(cv_late),
    AT(cv_late, run), AT(cv_late, next), AT(cv_late, queued),
    SIZE(cv_status),
    AT(cv_status, ready), AT(cv_status, draining), AT(cv_status, config_version),
    AT(cv_status, connector_id), AT(cv_status, tunnel_id), AT(cv_status, not_ready),
    AT(cv_status, has_rules), AT(cv_status, stuck), AT(cv_status, stuck_ms),
    SIZE(cv_link),
    AT(cv_link, tunnel), AT(cv_link, index), AT(cv_link, state), AT(cv_link, protocol), AT(cv_link, ip), AT(cv_link, location),
    AT(cv_link, id), AT(cv_link, registered_ms), AT(cv_link, rtt_us), AT(cv_link, open),
    SIZE(cv_note),
    AT(cv_note, unix_s), AT(cv_note, level), AT(cv_note, text),
    SIZE(cv_drained),
    AT(cv_drained, finished), AT(cv_drained, cut), AT(cv_drained, ms),
    SIZE(cv_target),
    AT(cv_target, scheme), AT(cv_target, host), AT(cv_target, authority), AT(cv_target, unix_path),
    AT(cv_target, port), AT(cv_target, tls),
    SIZE(cv_ip_rule),
    AT(cv_ip_rule, prefix), AT(cv_ip_rule, net), AT(cv_ip_rule, family), AT(cv_ip_rule, bits),
    AT(cv_ip_rule, ports), AT(cv_ip_rule, nports), AT(cv_ip_rule, allow),
    SIZE(cv_ip_rules),
    AT(cv_ip_rules, v), AT(cv_ip_rules, n),
    SIZE(cv_access),
    AT(cv_access, required), AT(cv_access, team_name), AT(cv_access, aud_tag), AT(cv_access, environment),
    SIZE(cv_settings),
    AT(cv_settings, connect_timeout), AT(cv_settings, tls_timeout), AT(cv_settings, tcp_keep_alive),
    AT(cv_settings, keep_alive_timeout), AT(cv_settings, keep_alive_connections),
    AT(cv_settings, no_happy_eyeballs), AT(cv_settings, http_host_header),
    AT(cv_settings, origin_server_name), AT(cv_settings, match_sni_to_host), AT(cv_settings, ca_pool),
    AT(cv_settings, no_tls_verify), AT(cv_settings, disable_chunked_encoding),
    AT(cv_settings, bastion_mode), AT(cv_settings, proxy_address), AT(cv_settings, proxy_port),
    AT(cv_settings, proxy_type), AT(cv_settings, ip_rules), AT(cv_settings, http2_origin),
    AT(cv_settings, access),
    SIZE(cv_rule),
    AT(cv_rule, index), AT(cv_rule, kind), AT(cv_rule, hostname), AT(cv_rule, punycode), AT(cv_rule, path),
    AT(cv_rule, service), AT(cv_rule, target), AT(cv_rule, status), AT(cv_rule, implicit),
    AT(cv_rule, access_required), AT(cv_rule, policy), AT(cv_rule, ca_pem), AT(cv_rule, pool_key),
    AT(cv_rule, settings), AT(cv_rule, pattern),
};
/* clang-format on */

static const char file[] = "core/abi.txt";

static void write_record(FILE *f)
{
    fprintf(
        f, "ABI %u, %zu-bit: sizes of structs and offsets of their members; see tests/unit/boot/test_abi.c\n",
        CV_ABI, 8 * sizeof(void *));
    for (size_t i = 0; i < sizeof(measures) / sizeof(measures[0]); i++)
        fprintf(f, "%s %zu\n", measures[i].name, measures[i].n);
}

static void public_structs_are_as_recorded_for_this_abi(void)
{
    if (sizeof(void *) != 8)
        return;
    if (getenv("CV_ABI_RECORD")) {
        FILE *f = fopen(file, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        write_record(f);
        fclose(f);
    }
    char *now, recorded[16384] = "";
    size_t n;
    FILE *f = open_memstream(&now, &n);
    write_record(f);
    fclose(f);
    f = fopen(file, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_TRUE(fread(recorded, 1, sizeof(recorded) - 1, f) > 0);
    fclose(f);
    CU_ASSERT_STRING_EQUAL(recorded, now);
    if (strcmp(recorded, now) != 0)
        fputs("  The contract changed: raise CV_ABI in culvert.h, then run this test with CV_ABI_RECORD=1.\n",
              stderr);
    free(now);
}

SUITE(abi, TEST(public_structs_are_as_recorded_for_this_abi));
