/* test_67_dashboards.c: what Prometheus and its tools say of /metrics, and of the dashboard and the alerts in deploy/. */
#include "scene.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yyjson.h>

#define DASHBOARD "deploy/grafana/culvert.json"
#define RULES     "deploy/prometheus/culvert.rules.yml"

/* ---- programs --------------------------------------------------------------------------------------------- */

static bool tool(const char *name, char path[static 64])
{
    snprintf(path, 64, SUITE_BUILD "/../build/peers/bin/%s", name);
    if (access(path, X_OK) == 0 || process_find(name, path))
        return true;
    suite_skip("%s", name);
    return false;
}

static char *output_of(int status, const char *const *argv)
{
    static const char *const env[] = { "HOME=/nonexistent", NULL };
    struct process *p = process_start(argv, env);
    CU_ASSERT_EQUAL(process_end(p, 60000), status);
    return process_output(p);
}

static char *content(const char *name)
{
    struct cv_buf text = { 0 };
    FILE *f = fopen(name, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    size_t n;
    while ((n = fread(cv_buf_reserve(&text, 65536), 1, 65536, f)) > 0)
        text.n += n;
    fclose(f);
    cv_buf_add(&text, "", 1);
    return (char *)text.p;
}

/* ---- traffic, so that there is something to see ------------------------------------------------------------ */

static bool origin(struct http1 *h, void *arg)
{
    if (strcmp(h->target, "/events") == 0) {
        http1_sendf(h, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\ndata: 2\n\n");
        return false;
    }
    if (strcmp(h->target, "/cut") == 0)
        return false;
    return origin_plain(h, arg);
}

static void visit(struct scene *t)
{
    static const char *const targets[] = { "/bytes/1000", "/events", "/cut", "/bytes/10" };
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct answer a = scene_get(t, targets[i]);
        answer_free(&a);
    }
}

/* What is sampled comes after a while. */
static bool scene_has(struct scene *t, const char *series)
{
    for (long long until = now_in_ms() + PATIENCE_MS; now_in_ms() < until; sleep_ms(20))
        if (scene_metric(t, series) > 0)
            return true;
    return false;
}

static struct scene *busy_scene(const char *transport)
{
    struct scene *t =
        scene_start(&(struct setup){ .transport = transport, .connections = 2, .origin = origin });
    visit(t);
    CU_ASSERT_TRUE(scene_has(t, "culvert_edge_rtt_seconds{conn_index=\"1\"}"));
    return t;
}

/* ---- promtool ------------------------------------------------------------------------------------------------ */

static void alert_rules_are_what_promtool_takes(void)
{
    char promtool[64];
    if (!tool("promtool", promtool))
        return;
    free(output_of(0, (const char *const[]){ promtool, "check", "rules", RULES, NULL }));
    free(output_of(0, (const char *const[]){ promtool, "test", "rules",
                                             "deploy/prometheus/culvert.rules.test.yml", NULL }));
}

/* Names that cloudflared gave are not what promtool would have them; all others are. */
static void check_complaints(const char *said)
{
    static const char *const originals[] = { "cloudflared_", "quic_client_", "flow_client_" };
    for (const char *line = said; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        bool known = *line == '\n';
        for (size_t i = 0; i < sizeof(originals) / sizeof(originals[0]); i++)
            known |= strncmp(line, originals[i], strlen(originals[i])) == 0;
        CU_ASSERT_TRUE(known);
        if (!known)
            fprintf(stderr, "  %.*s\n", (int)strcspn(line, "\n"), line);
    }
}

static void promtool_has_nothing_against_our_names(void)
{
    char promtool[64], file[96], command[256];
    if (!tool("promtool", promtool))
        return;
    for (each_transport(transport)) {
        struct scene *t = busy_scene(transport);
        struct answer a = scene_metrics(t, "/metrics");
        snprintf(file, sizeof(file), "%s/metrics", t->dir);
        FILE *f = fopen(file, "we");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        fwrite(a.body.p, 1, a.body.n, f);
        fclose(f);
        answer_free(&a);
        snprintf(command, sizeof(command), "exec %s check metrics <%s", promtool, file);
        char *said = output_of(3, (const char *const[]){ "/bin/sh", "-c", command, NULL });
        check_complaints(said);
        free(said);
        unlink(file);
        scene_stop(t);
    }
}

/* ---- names in the files --------------------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Series that a quiet tunnel without Access and limits has no reason to have. */
static bool may_be_absent(const char *name, size_t n)
{
    static const char *const names[] = {
        "culvert_access_requests_total",        "culvert_requests_refused_total",
        "culvert_edge_replaced_total",          "cloudflared_tunnel_tunnel_register_fail",
        "culvert_token_file_timestamp_seconds", "culvert_config_applied_timestamp_seconds"
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0)
            return true;
    return false;
}

static bool has_series(const char *metrics, const char *docs, const char *name, size_t n)
{
    char begin[128];
    snprintf(begin, sizeof(begin), "\n%.*s", (int)n, name);
    for (const char *at = metrics; (at = strstr(at, begin)); at++)
        if (at[n + 1] == ' ' || at[n + 1] == '{')
            return true;
    snprintf(begin, sizeof(begin), "`%.*s`", (int)n, name);
    return may_be_absent(name, n) && strstr(docs, begin);
}

static unsigned check_names(const char *text, const char *metrics, const char *docs)
{
    static const char *const families[] = { "culvert_", "cloudflared_", "process_", "quic_client_" };
    unsigned names = 0;
    for (const char *p = text; *p; p++) {
        bool begins = p == text || !is_name_char(p[-1]), ours = false;
        for (size_t i = 0; begins && i < sizeof(families) / sizeof(families[0]); i++)
            ours |= strncmp(p, families[i], strlen(families[i])) == 0;
        if (!ours)
            continue;
        size_t n = 0;
        while (is_name_char(p[n]))
            n++;
        bool there = has_series(metrics, docs, p, n);
        CU_ASSERT_TRUE(there);
        if (!there)
            fprintf(stderr, "  no series %.*s\n", (int)n, p);
        names++;
        p += n - 1;
    }
    return names;
}

static void dashboard_and_alerts_name_what_there_is(void)
{
    struct scene *t = busy_scene("quic");
    struct answer a = scene_metrics(t, "/metrics");
    char *dashboard = content(DASHBOARD), *rules = content(RULES), *docs = content("docs/metrics.md");
    CU_ASSERT_TRUE(check_names(dashboard, answer_text(&a), docs) > 50);
    CU_ASSERT_TRUE(check_names(rules, answer_text(&a), docs) > 10);
    free(dashboard);
    free(rules);
    free(docs);
    answer_free(&a);
    scene_stop(t);
}

/* What published dashboards for cloudflared ask for, go_* aside. */
static const char *const wanted[] = {
    "build_info",
    "cloudflared_icmp_total_replies",
    "cloudflared_icmp_total_requests",
    "cloudflared_orchestration_config_version",
    "cloudflared_proxy_connect_latency_bucket",
    "cloudflared_proxy_connect_streams_errors",
    "cloudflared_rpc_client_latency_secs_bucket",
    "cloudflared_rpc_client_operations",
    "cloudflared_rpc_server_latency_secs_bucket",
    "cloudflared_rpc_server_operations",
    "cloudflared_tcp_active_sessions",
    "cloudflared_tcp_total_sessions",
    "cloudflared_tunnel_concurrent_requests_per_tunnel",
    "cloudflared_tunnel_ha_connections",
    "cloudflared_tunnel_request_errors",
    "cloudflared_tunnel_response_by_code",
    "cloudflared_tunnel_server_locations",
    "cloudflared_tunnel_total_requests",
    "cloudflared_tunnel_tunnel_register_success",
    "cloudflared_udp_active_sessions",
    "cloudflared_udp_total_sessions",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_network_receive_bytes_total",
    "process_network_transmit_bytes_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
    "quic_client_closed_connections",
    "quic_client_congestion_state",
    "quic_client_congestion_window",
    "quic_client_latest_rtt",
    "quic_client_max_udp_payload",
    "quic_client_min_rtt",
    "quic_client_mtu",
    "quic_client_packet_too_big_dropped",
    "quic_client_receive_bytes",
    "quic_client_received_frames",
    "quic_client_sent_bytes",
    "quic_client_sent_frames",
    "quic_client_smoothed_rtt",
    "quic_client_total_connections",
};

static void dashboards_for_cloudflared_find_their_series(void)
{
    struct scene *t = busy_scene("quic");
    CU_ASSERT_TRUE(scene_has(t, "quic_client_sent_frames{conn_index=\"0\",frame_type=\"Stream\"}"));
    struct answer a = scene_metrics(t, "/metrics");
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        bool there = has_series(answer_text(&a), "", wanted[i], strlen(wanted[i]));
        CU_ASSERT_TRUE(there);
        if (!there)
            fprintf(stderr, "  no series %s\n", wanted[i]);
    }
    answer_free(&a);
    scene_stop(t);
}

/* ---- Prometheus ------------------------------------------------------------------------------------------------ */

static unsigned free_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&addr, size), 0);
    CU_ASSERT_EQUAL(getsockname(fd, (struct sockaddr *)&addr, &size), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static struct process *prometheus_start(struct scene *t, const char *program, unsigned port)
{
    char file[96], config[128], listen[64], data[128];
    char *top = realpath(".", NULL);
    snprintf(file, sizeof(file), "%s/prometheus.yml", t->dir);
    FILE *f = fopen(file, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fprintf(f,
            "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
            "rule_files: [ '%s/" RULES "' ]\n"
            "scrape_configs: [ { job_name: culvert, static_configs: [ { targets: [ '%s' ] } ] } ]\n",
            top, t->metrics);
    fclose(f);
    free(top);
    snprintf(config, sizeof(config), "--config.file=%s", file);
    snprintf(listen, sizeof(listen), "--web.listen-address=127.0.0.1:%u", port);
    snprintf(data, sizeof(data), "--storage.tsdb.path=%s/tsdb", t->dir);
    const char *const argv[] = { program, config, listen, data, NULL };
    static const char *const env[] = { "HOME=/nonexistent", NULL };
    return process_start(argv, env);
}

/* The document that Prometheus answers, or NULL. */
static yyjson_doc *get(unsigned port, const char *target)
{
    char addr[32];
    struct http1 h;
    struct cv_buf body = { 0 };
    yyjson_doc *doc = NULL;
    snprintf(addr, sizeof(addr), "127.0.0.1:%u", port);
    if (!http1_connect(&h, addr))
        return NULL;
    if (http1_sendf(&h, "GET %s HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n", target) &&
        http1_answer(&h, "GET") && http1_read_all(&h, &body) == 0)
        doc = yyjson_read((const char *)body.p, body.n, 0);
    http1_close(&h);
    cv_buf_free(&body);
    return doc;
}

/* How many series the query finds; -1: it is wrong. */
static long query(unsigned port, const char *text)
{
    char target[4096] = "/api/v1/query?query=";
    for (; *text; text++)
        snprintf(target + strlen(target), sizeof(target) - strlen(target),
                 isalnum((unsigned char)*text) ? "%c" : "%%%02X", (unsigned char)*text);
    yyjson_doc *doc = get(port, target);
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool good = yyjson_equals_str(yyjson_obj_get(root, "status"), "success");
    long n = (long)yyjson_arr_size(yyjson_obj_get(yyjson_obj_get(root, "data"), "result"));
    yyjson_doc_free(doc);
    return good ? n : -1;
}

static void replace(char *text, size_t size, const char *what, const char *by)
{
    char out[2048] = "";
    const char *from = text, *at;
    for (; (at = strstr(from, what)); from = at + strlen(what))
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%.*s%s", (int)(at - from), from, by);
    snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s", from);
    snprintf(text, size, "%s", out);
}

static bool finds_nothing_here(const char *text)
{
    for (const char *p = text; *p; p++)
        for (size_t n = 0; is_name_char(p[n]); n++)
            if (!is_name_char(p[n + 1]) && may_be_absent(p, n + 1))
                return true;
    return strstr(text, "config_updates_total") != NULL;
}

static void ask_panel(unsigned port, yyjson_val *panel)
{
    size_t i, n;
    yyjson_val *target;
    yyjson_arr_foreach(yyjson_obj_get(panel, "targets"), i, n, target)
    {
        char text[2048];
        snprintf(text, sizeof(text), "%s", yyjson_get_str(yyjson_obj_get(target, "expr")));
        replace(text, sizeof(text), "$__rate_interval", "1m");
        replace(text, sizeof(text), "$job", ".*");
        replace(text, sizeof(text), "$instance", ".*");
        long found = query(port, text);
        CU_ASSERT_TRUE(found > 0 || (found == 0 && finds_nothing_here(text)));
        if (found <= 0 && !(found == 0 && finds_nothing_here(text)))
            fprintf(stderr, "  %s: %s\n", found < 0 ? "wrong" : "nothing", text);
    }
}

static void ask_dashboard(unsigned port)
{
    char *text = content(DASHBOARD);
    yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
    size_t i, n;
    yyjson_val *panel;
    CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "panels"), i, n, panel)
        ask_panel(port, panel);
    yyjson_doc_free(doc);
    free(text);
}

static void check_alerts(unsigned port)
{
    yyjson_doc *doc = get(port, "/api/v1/rules");
    yyjson_val *groups = yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "data"), "groups"), *rule;
    size_t i, n;
    CU_ASSERT_EQUAL(yyjson_arr_size(groups), 1);
    yyjson_val *rules = yyjson_obj_get(yyjson_arr_get(groups, 0), "rules");
    CU_ASSERT_TRUE(yyjson_arr_size(rules) > 5);
    yyjson_arr_foreach(rules, i, n, rule)
    {
        CU_ASSERT_TRUE(yyjson_equals_str(yyjson_obj_get(rule, "health"), "ok"));
    }
    yyjson_doc_free(doc);
}

static void every_query_finds_something_in_prometheus(void)
{
    char program[64];
    if (!tool("prometheus", program))
        return;
    struct scene *t = busy_scene("quic");
    unsigned port = free_port();
    struct process *p = prometheus_start(t, program, port);
    bool scraped = false;
    for (long long until = now_in_ms() + 60000; !scraped && now_in_ms() < until; sleep_ms(200)) {
        visit(t);
        scraped = query(port, "count_over_time(culvert_sse_event_gap_seconds_count[1m]) >= 2") > 0;
    }
    CU_ASSERT_TRUE(scraped);
    CU_ASSERT_TRUE(query(port, "up == 1") == 1);
    ask_dashboard(port);
    check_alerts(port);
    process_end(p, 0);
    char data[96];
    snprintf(data, sizeof(data), "%s/tsdb", t->dir);
    free(output_of(0, (const char *const[]){ "/bin/rm", "-r", data, NULL }));
    snprintf(data, sizeof(data), "%s/prometheus.yml", t->dir);
    unlink(data);
    scene_stop(t);
}

SUITE(dashboards, TEST(alert_rules_are_what_promtool_takes), TEST(promtool_has_nothing_against_our_names),
      TEST(dashboard_and_alerts_name_what_there_is), TEST(dashboards_for_cloudflared_find_their_series),
      TEST(every_query_finds_something_in_prometheus));
