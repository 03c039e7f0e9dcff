/* manual_metrics.c: the metrics of core and modules as a page, and what has become of cloudflared's. */
#include "boot/manual.h"
#include "loop/loop.h"

#include <string.h>

/* Of cloudflared's list (docs/protocol.md §22), what is not here. */
static const struct {
    const char *names; /* with commas between */
    const char *why;
} absent[] = {
    { "cloudflared_tunnel_max_concurrent_requests_per_tunnel,cloudflared_tunnel_tunnel_rpc_fail,tunnel_ids",
      "cloudflared never sets it, so it has no series there either" },
    { "cloudflared_tunnel_user_hostnames_counts", "quick tunnels are not served" },
    { "cloudflared_udp_active_flows,cloudflared_udp_total_flows,cloudflared_udp_failed_flows,"
      "cloudflared_udp_retry_flow_responses,cloudflared_udp_migrated_flows,"
      "cloudflared_udp_unsupported_remote_command_total,cloudflared_udp_dropped_datagrams,"
      "cloudflared_icmp_dropped_packets",
      "private-network UDP and ICMP are not carried: no series appears" },
    { "quic_client_buffered_packets,quic_client_dropped_packets",
      "ngtcp2 does not tell; packets that could not be used are culvert_quic_discarded_packets_total" },
};
static const char *const original[] = { "build_info", "cloudflared_", "quic_client_", "flow_client_",
                                        "tunnel_ids" };

static bool is_original(const char *name)
{
    for (size_t i = 0; i < sizeof(original) / sizeof(original[0]); i++)
        if (strncmp(name, original[i], strlen(original[i])) == 0)
            return true;
    return false;
}

/* ---- rows ------------------------------------------------------------------------------------------------- */

static void labels(FILE *out, const char *text)
{
    for (const char *p = text; p && *p; p += strcspn(p, "|"), p += *p == '|')
        fprintf(out, "%s`%.*s`", p == text ? "" : ", ", (int)strcspn(p, "|"), p);
}

static void row(FILE *out, const struct cv_metric *m)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    fprintf(out, "| `%s` | %s | ", m->name, types[m->type]);
    labels(out, m->labels);
    fprintf(out, " | %s |\n", m->help);
}

static void table(FILE *out, const struct cv_metric *metrics, bool originals)
{
    for (const struct cv_metric *m = metrics; m && m->name; m++)
        if (is_original(m->name) == originals)
            row(out, m);
}

static bool has_any(const struct cv_metric *metrics, bool originals)
{
    for (const struct cv_metric *m = metrics; m && m->name; m++)
        if (is_original(m->name) == originals)
            return true;
    return false;
}

#define COLUMNS "| name | type | labels | meaning |\n|---|---|---|---|\n"

static void own_section(FILE *out, const struct core_section *s, const struct cv_module *m)
{
    if (!m || !has_any(m->metrics, false))
        return;
    fprintf(out, "\n### Of %s\n\n" COLUMNS, s->name);
    table(out, m->metrics, false);
}

static void original_section(FILE *out, const struct core_section *s, const struct cv_module *m)
{
    (void)s;
    if (m)
        table(out, m->metrics, true);
}

static void absent_rows(FILE *out)
{
    fputs("\n### cloudflared's that are not here\n\n| name | why |\n|---|---|\n", out);
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        for (const char *p = absent[i].names; *p; p += strcspn(p, ","), p += *p == ',')
            fprintf(out, "| `%.*s` | %s |\n", (int)strcspn(p, ","), p, absent[i].why);
}

int manual_metrics(const struct command *command, FILE *out)
{
    struct manual own = { .out = out, .section = own_section };
    struct manual originals = { .out = out, .section = original_section };
    fputs(
        "# Metrics\n\n"
        "Made by `culvert --options metrics` from the tables that count. `/metrics` answers in Prometheus' "
        "text\n"
        "format 0.0.4, or in OpenMetrics 1.0 for those who ask for it (Accept), packed with gzip if that is\n"
        "accepted. In OpenMetrics, counters that cloudflared named without `_total` are of type unknown, so "
        "that\n"
        "every series has one name in both; `_created` is left out, which Prometheus would store as further "
        "series.\n\n"
        "Labels: `rule` is the hostname of the rule, with its path if it has one, `*` for any, `none` where "
        "no\n"
        "rule was found; the first 64 of a process have their own, later ones are `other`. `status` is a "
        "class,\n"
        "`2xx`, or `none`. A metric has at most 4,000 series; what would be more is `other`. Of time stamps "
        "the\n"
        "age is `time()` minus the value; of counters the rate per second is `rate()`. What is a share, such "
        "as "
        "hits\nof the pool, is made of two counters: reused / (reused + opened).\n\n## culvert's\n\n### Of "
        "the core\n\n" COLUMNS,
        out);
    table(out, core_metrics, false);
    int status = manual_print(&own, command, "");
    fputs("\n## cloudflared's\n\nSame name, type, labels and meaning (docs/protocol.md §22). UDP and ICMP "
          "are not "
          "carried: 0.\n\n" COLUMNS,
          out);
    table(out, core_metrics, true);
    status |= manual_print(&originals, command, "");
    absent_rows(out);
    fputs("\nThe `process_*` metrics of Prometheus' client libraries are here, `go_*` and `promhttp_*` are "
          "not.\n",
          out);
    return status;
}
