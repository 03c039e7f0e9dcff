/* config_show.c: how a configuration is shown: to the metrics server, to the edge, to whoever reads the log.
 */
#include "request/config.h"
#include "request/settings.h"

static void write_key_str(struct cv_buf *buf, const char *key, struct cv_str value)
{
    gojson_write(buf, "\"%s\":", key);
    gojson_write_str(buf, value);
}

static void write_key_seconds(struct cv_buf *buf, const char *key, int64_t seconds, const char **separator)
{
    gojson_write(buf, "%s\"%s\":", *separator, key);
    settings_write_seconds(buf, seconds);
    *separator = ",";
}

/* What differs from the defaults, everywhere. */
static void write_warp(struct cv_buf *buf, const struct route_warp *warp)
{
    const char *separator = "";
    gojson_write(buf, "\"warp-routing\":{");
    if (warp->connect_timeout != 5)
        write_key_seconds(buf, "connectTimeout", warp->connect_timeout, &separator);
    if (warp->max_active_flows != 0) {
        gojson_write(buf, "%s\"maxActiveFlows\":%llu", separator, (unsigned long long)warp->max_active_flows);
        separator = ",";
    }
    if (warp->tcp_keep_alive != 30)
        write_key_seconds(buf, "tcpKeepAlive", warp->tcp_keep_alive, &separator);
    gojson_write(buf, "}");
}

static void write_rule(struct cv_buf *buf, const struct cv_rule *rule)
{
    gojson_write(buf, "{");
    write_key_str(buf, "hostname", rule->hostname);
    gojson_write(buf, ",\"path\":");
    if (rule->path.n > 0)
        gojson_write_str(buf, rule->path);
    else
        gojson_write(buf, "null");
    gojson_write(buf, ",");
    write_key_str(buf, "service", rule->service);
    gojson_write(buf, ",\"Handlers\":%s,\"originRequest\":", rule->access_required ? "[{}]" : "null");
    settings_write(buf, &rule->settings);
    gojson_write(buf, "}");
}

void config_write(struct cv_buf *buf, const struct route_table *table, int32_t version)
{
    gojson_write(buf, "{\"version\":%d,\"config\":{\"ingress\":[", version);
    for (size_t i = 0; i < table->n; i++) {
        gojson_write(buf, i ? "," : "");
        write_rule(buf, &table->rules[i]);
    }
    gojson_write(buf, "],");
    write_warp(buf, &table->warp);
    gojson_write(buf, ",\"originRequest\":");
    settings_write(buf, &table->defaults);
    gojson_write(buf, "}}");
}

static void write_local_rule(struct cv_buf *buf, const struct cv_rule *rule)
{
    gojson_write(buf, "{");
    if (rule->hostname.n > 0) {
        write_key_str(buf, "hostname", rule->hostname);
        gojson_write(buf, ",");
    }
    if (rule->path.n > 0) {
        write_key_str(buf, "path", rule->path);
        gojson_write(buf, ",");
    }
    write_key_str(buf, "service", rule->service);
    gojson_write(buf, ",\"originRequest\":");
    settings_write_changed(buf, &rule->settings);
    gojson_write(buf, "}");
}

void config_write_local(struct cv_buf *buf, const struct route_table *table, const struct config_flag *flags,
                        size_t n)
{
    gojson_write(buf, n ? "{\"__configuration_flags\":{" : "{");
    for (size_t i = 0; i < n; i++) {
        gojson_write(buf, i ? "," : "");
        gojson_write_str(buf, flags[i].name);
        gojson_write(buf, ":");
        gojson_write_str(buf, flags[i].value);
    }
    gojson_write(buf, n ? "},\"ingress\":[" : "\"ingress\":[");
    for (size_t i = 0; i < table->n; i++) {
        gojson_write(buf, i ? "," : "");
        write_local_rule(buf, &table->rules[i]);
    }
    gojson_write(buf, "],");
    write_warp(buf, &table->warp);
    gojson_write(buf, "}");
}

/* ---- differences -------------------------------------------------------------------------------------- */

static void add_str(struct cv_buf *buf, struct cv_str s)
{
    cv_buf_add(buf, s.n ? s.p : "", s.n);
}

static void diff_str(struct cv_buf *buf, const char *what, struct cv_str from, struct cv_str to)
{
    if (cv_str_eq(from, to))
        return;
    gojson_write(buf, ", %s ", what);
    add_str(buf, from.n ? from : CV_STR("(none)"));
    gojson_write(buf, " → ");
    add_str(buf, to.n ? to : CV_STR("(none)"));
}

static struct cv_str target_of(const struct cv_rule *rule)
{
    return rule->target.unix_path.n ? rule->target.unix_path : rule->target.authority;
}

/* Each difference begins with ", ". */
static void diff_rule(struct cv_buf *buf, const struct cv_rule *from, const struct cv_rule *to)
{
    diff_str(buf, "hostname", from->hostname, to->hostname);
    diff_str(buf, "path", from->path, to->path);
    diff_str(buf, "service", from->service, to->service);
    if (cv_str_eq(from->service, to->service)) /* it is to be found elsewhere from here */
        diff_str(buf, "target", target_of(from), target_of(to));
    settings_write_diff(buf, &from->settings, &to->settings);
}

static void describe_rule(struct cv_buf *buf, const struct cv_rule *rule)
{
    add_str(buf, rule->hostname.n ? rule->hostname : CV_STR("*"));
    if (rule->path.n > 0) {
        gojson_write(buf, " path ");
        add_str(buf, rule->path);
    }
    gojson_write(buf, " → ");
    add_str(buf, rule->service);
}

static void write_rule_diff(struct cv_buf *buf, const struct route_table *from, const struct route_table *to,
                            size_t i)
{
    struct cv_buf changes = { 0 };
    const char *separator = buf->n ? "; " : "";
    if (i < from->n && i < to->n)
        diff_rule(&changes, &from->rules[i], &to->rules[i]);
    if (changes.n > 0) {
        gojson_write(buf, "%srule %zu changed: ", separator, i);
        cv_buf_add(buf, changes.p + 2, changes.n - 2);
    } else if (i >= from->n || i >= to->n) {
        bool added = i >= from->n;
        gojson_write(buf, "%srule %zu %s: ", separator, i, added ? "added" : "removed");
        describe_rule(buf, added ? &to->rules[i] : &from->rules[i]);
    }
    cv_buf_free(&changes);
}

/* Cut between two characters. */
static void cut(struct cv_buf *buf, size_t limit)
{
    while (limit > 0 && (buf->p[limit] & 0xC0) == 0x80)
        limit--;
    buf->n = limit;
    gojson_write(buf, "…");
}

void config_write_diff(struct cv_buf *buf, const struct route_table *from, const struct route_table *to,
                       size_t limit)
{
    size_t n = from->n > to->n ? from->n : to->n;
    for (size_t i = 0; i < n && buf->n <= limit; i++)
        write_rule_diff(buf, from, to, i);
    if (buf->n > limit)
        cut(buf, limit);
}
