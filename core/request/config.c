/* config.c: from pushed documents to routing tables (docs/protocol.md §16). */
#include "request/config.h"
#include "request/hostname.h"
#include "request/pattern.h"
#include "request/service.h"
#include "request/url.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CA_BYTES_MAX (4 * 1024 * 1024)

/* ---- the document as it is written -------------------------------------------------------------------- */

struct raw_rule {
    struct cv_str hostname, path, service;
    struct settings_raw settings;
};
struct raw_warp {
    bool has_connect_timeout, has_tcp_keep_alive, has_max_active_flows;
    int64_t connect_timeout, tcp_keep_alive;
    uint64_t max_active_flows;
};
struct raw_document {
    bool has_settings;
    struct settings_raw settings;
    struct gojson_list ingress;
    struct raw_warp warp;
};

static const struct gojson_type string = { .name = "string",
                                           .kind = GOJSON_STRING,
                                           .size = sizeof(struct cv_str) };
static const struct gojson_type uint64 = { .name = "uint64", .kind = GOJSON_UINT, .size = sizeof(uint64_t) };
static const struct gojson_field rule_fields[] = {
    { "hostname", &string, offsetof(struct raw_rule, hostname), GOJSON_ALWAYS },
    { "path", &string, offsetof(struct raw_rule, path), GOJSON_ALWAYS },
    { "service", &string, offsetof(struct raw_rule, service), GOJSON_ALWAYS },
    { "originRequest", &settings_type, offsetof(struct raw_rule, settings), GOJSON_ALWAYS },
    { .name = NULL },
};
static const struct gojson_type rule_type = { .name = "config.UnvalidatedIngressRule",
                                              .kind = GOJSON_STRUCT,
                                              .size = sizeof(struct raw_rule),
                                              .fields = rule_fields };
static const struct gojson_type ingress_type = { .name = "[]config.UnvalidatedIngressRule",
                                                 .kind = GOJSON_LIST,
                                                 .size = sizeof(struct gojson_list),
                                                 .of = &rule_type };
#define WARP_FIELD(key, type, member)                                                                        \
    {                                                                                                        \
        key, type, offsetof(struct raw_warp, member), offsetof(struct raw_warp, has_##member)                \
    }
static const struct gojson_field warp_fields[] = {
    WARP_FIELD("connectTimeout", &settings_seconds_type, connect_timeout),
    WARP_FIELD("tcpKeepAlive", &settings_seconds_type, tcp_keep_alive),
    WARP_FIELD("maxActiveFlows", &uint64, max_active_flows),
    { .name = NULL },
};
static const struct gojson_type warp_type = { .name = "config.WarpRoutingConfig",
                                              .kind = GOJSON_STRUCT,
                                              .size = sizeof(struct raw_warp),
                                              .fields = warp_fields };
static const struct gojson_field document_fields[] = {
    { "originRequest", &settings_type, offsetof(struct raw_document, settings),
      offsetof(struct raw_document, has_settings) },
    { "ingress", &ingress_type, offsetof(struct raw_document, ingress), GOJSON_ALWAYS },
    { "warp-routing", &warp_type, offsetof(struct raw_document, warp), GOJSON_ALWAYS },
    { .name = NULL },
};
static const struct gojson_type document_type = { .name = "ingress.RemoteConfigJSON",
                                                  .kind = GOJSON_STRUCT,
                                                  .size = sizeof(struct raw_document),
                                                  .fields = document_fields };

/* ---- rules -------------------------------------------------------------------------------------------- */

static bool is_catch_all(const struct raw_rule *raw)
{
    return (raw->hostname.n == 0 || cv_str_eq(raw->hostname, CV_STR("*"))) && raw->path.n == 0;
}

static enum cv_error check_access(const struct raw_rule *raw, struct reason *why)
{
    const struct settings_access *access = &raw->settings.access;
    if (access->required && access->team_name.n == 0 && access->aud_tag.n > 0)
        return reason_fail(why, "access.TeamName cannot be blank when access.audTags are present");
    return CV_OK;
}

static enum cv_error check_hostname(const struct raw_rule *raw, size_t i, size_t n, struct reason *why)
{
    struct cv_str host, port;
    if (url_split_host_port(raw->hostname, &host, &port))
        return reason_fail(why, "Hostname cannot contain a port");
    if (raw->hostname.n > 1 && memchr(raw->hostname.p + 1, '*', raw->hostname.n - 1))
        return reason_fail(
            why, "Hostname patterns can have at most one wildcard character (\"*\") and it can only be "
                 "used for subdomains, e.g. \"*.example.com\"");
    bool last = i == n - 1;
    if (last && !is_catch_all(raw))
        return reason_fail(
            why, "The last ingress rule must match all URLs (i.e. it should not have a hostname or path "
                 "filter)");
    if (!last && is_catch_all(raw))
        return reason_fail(why,
                           "Rule #%zu is matching the hostname '" CV_STR_FMT "', but this will match every "
                           "hostname, meaning the rules which follow it will never be triggered.",
                           i + 1, CV_STR_ARG(raw->hostname));
    return CV_OK;
}

static enum cv_error compile_path(size_t i, struct cv_rule *rule, struct reason *why)
{
    struct reason cause;
    if (rule->path.n == 0)
        return CV_OK;
    rule->pattern = pattern_new(rule->path, &cause);
    return rule->pattern ? CV_OK : reason_fail(why, "Rule #%zu has an invalid regex: %s", i + 1, cause.text);
}

/* In the order that decides which of several faults is told (§16.4). */
static enum cv_error make_rule(struct route_table *table, struct raw_rule *raw, size_t i, struct reason *why)
{
    struct cv_rule *rule = &table->rules[i];
    rule->index = (int)i;
    rule->settings = table->defaults;
    settings_apply(&table->mem, &rule->settings, &raw->settings, false);
    enum cv_error error = service_parse(&table->mem, raw->service, &raw->settings.ip_rules, rule, why);
    if (!error)
        error = check_access(raw, why);
    if (!error)
        error = check_hostname(raw, i, table->n, why);
    if (error)
        return error;
    rule->access_required = raw->settings.access.required;
    rule->hostname = raw->hostname;
    rule->path = raw->path;
    if (!is_catch_all(raw))
        rule->punycode = hostname_ascii(&table->mem, raw->hostname);
    return compile_path(i, rule, why);
}

static void add_implicit_rule(struct route_table *table)
{
    table->n = 1;
    table->rules = bump_array(&table->mem, 1, sizeof *table->rules);
    *table->rules = (struct cv_rule){
        .kind = CV_SERVICE_STATUS, .service = CV_STR("http_status:503"), .status = 503, .implicit = true
    };
}

static enum cv_error make_rules(struct route_table *table, const struct gojson_list *ingress,
                                struct reason *why)
{
    if (ingress->n == 0) {
        add_implicit_rule(table);
        return CV_OK;
    }
    table->n = ingress->n;
    table->rules = bump_array(&table->mem, table->n, sizeof *table->rules);
    for (size_t i = 0; i < table->n; i++) {
        enum cv_error error = make_rule(table, (struct raw_rule *)ingress->v + i, i, why);
        if (error)
            return error;
    }
    return CV_OK;
}

/* ---- services ----------------------------------------------------------------------------------------- */

static enum cv_error file_failed(struct reason *why, const char *doing, const char *file)
{
    const char *text = strerror(errno);
    return reason_fail(why, "unable to read the file %s for --origin-ca-pool: %s %s: %c%s", file, doing, file,
                       tolower((unsigned char)*text), text + 1);
}

static enum cv_error read_all(int fd, struct cv_buf *content, const char *file, struct reason *why)
{
    for (;;) {
        ssize_t n = read(fd, cv_buf_reserve(content, 16384), 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_failed(why, "read", file);
        if (n == 0)
            return CV_OK;
        content->n += (size_t)n;
        errno = EFBIG;
        if (content->n > CA_BYTES_MAX)
            return file_failed(why, "read", file);
    }
}

static enum cv_error load_ca_pool(struct route_table *table, struct cv_rule *rule, struct reason *why)
{
    if (!service_is_http(rule->kind) || rule->settings.ca_pool.n == 0)
        return CV_OK;
    char *file = cv_xmemdup0(rule->settings.ca_pool.p, rule->settings.ca_pool.n);
    struct cv_buf content = { 0 };
    struct reason cause;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum cv_error error = fd < 0 ? file_failed(&cause, "open", file) : read_all(fd, &content, file, &cause);
    if (fd >= 0)
        close(fd);
    rule->ca_pem = bump_str(&table->mem, (struct cv_str){ (const char *)content.p, content.n });
    cv_buf_free(&content);
    free(file);
    if (error)
        reason_fail(why, "Error loading cert pool: %s", cause.text);
    return error;
}

static enum cv_error redirect(struct route_table *table, const struct config_local *local,
                              struct cv_rule *rule, struct reason *why)
{
    for (size_t i = 0; i < local->n_rewrites; i++)
        if (cv_str_eq(local->rewrites[i].from, rule->service))
            return service_redirect(&table->mem, local->rewrites[i].to, rule, why);
    return CV_OK;
}

static enum cv_error start_rule(struct route_table *table, const struct config_local *local,
                                struct cv_rule *rule, struct reason *why)
{
    enum cv_error error = redirect(table, local, rule, why);
    if (error)
        return error;
    if (local->allow && !local->allow(local->arg, rule, why))
        return CV_E_DENIED;
    error = load_ca_pool(table, rule, why);
    service_make_pool_key(&table->mem, rule, local->generation);
    return error;
}

static enum cv_error start_rules(struct route_table *table, const struct config_local *local, bool bar,
                                 struct reason *why)
{
    for (struct cv_rule *rule = table->rules; rule < table->rules + table->n; rule++) {
        struct reason cause;
        reason_clear(&cause);
        enum cv_error error = start_rule(table, local, rule, &cause);
        if (error && bar) {
            rule->barred = bump_str(&table->mem, (struct cv_str){ cause.text, cause.n });
        } else if (error) {
            reason_fail(why, "failed to start origin: Error starting local service ");
            reason_str(why, rule->service);
            reason_add(why, ": %s", cause.text);
            return error;
        }
    }
    return CV_OK;
}

/* ---- tables ------------------------------------------------------------------------------------------- */

static struct route_table *table_new(void)
{
    struct route_table *table = cv_xcalloc(1, sizeof *table);
    atomic_init(&table->refs, 1);
    table->defaults = settings_default;
    table->warp = (struct route_warp){ .connect_timeout = 5, .tcp_keep_alive = 30 };
    return table;
}

static void set_warp(struct route_table *table, const struct raw_warp *raw, const struct config_local *local)
{
    struct route_warp *warp = &table->warp;
    if (raw->has_connect_timeout)
        warp->connect_timeout = raw->connect_timeout;
    if (raw->has_tcp_keep_alive)
        warp->tcp_keep_alive = raw->tcp_keep_alive;
    if (raw->has_max_active_flows)
        warp->max_active_flows = raw->max_active_flows;
    if (local->has_max_active_flows)
        warp->max_active_flows = local->max_active_flows;
    struct cv_rule *network = &table->network;
    *network = (struct cv_rule){ .index = -1,
                                 .kind = CV_SERVICE_TCP,
                                 .service = CV_STR("warp-routing"),
                                 .settings = settings_default,
                                 .max_active_flows = warp->max_active_flows };
    network->settings.connect_timeout = warp->connect_timeout;
    network->settings.tcp_keep_alive = warp->tcp_keep_alive;
}

struct route_table *config_none(const struct config_local *local)
{
    struct route_table *table = table_new();
    table->none = true;
    add_implicit_rule(table);
    service_make_pool_key(&table->mem, table->rules, local->generation);
    set_warp(table, &(struct raw_warp){ 0 }, local);
    return table;
}

static enum cv_error read_document(struct cv_str document, const struct config_local *local, bool bar,
                                   struct route_table **result, bool *started, struct reason *why)
{
    *started = false;
    *result = NULL;
    if (document.n > CONFIG_BYTES_MAX)
        return reason_fail(why, "a configuration of more than %d bytes", CONFIG_BYTES_MAX);
    struct route_table *table = table_new();
    struct raw_document raw = { 0 };
    enum cv_error error = gojson_read(&table->mem, document, &document_type, &raw, why);
    if (!error) {
        if (raw.has_settings)
            settings_apply(&table->mem, &table->defaults, &raw.settings, true);
        error = make_rules(table, &raw.ingress, why);
    }
    if (!error) {
        set_warp(table, &raw.warp, local);
        *started = true;
        error = start_rules(table, local, bar, why);
    }
    if (error)
        route_table_unref(table);
    else
        *result = table;
    return error;
}

enum cv_error config_read(struct cv_str document, const struct config_local *local,
                          struct route_table **result, bool *started, struct reason *why)
{
    return read_document(document, local, false, result, started, why);
}

enum cv_error config_reread(struct cv_str document, const struct config_local *local,
                            struct route_table **result, struct reason *why)
{
    bool started;
    reason_clear(why);
    return read_document(document, local, true, result, &started, why);
}

/* ---- versions ----------------------------------------------------------------------------------------- */

void config_versions_init(struct config_versions *versions, const struct config_local *local)
{
    *versions = (struct config_versions){ .applied = -1, .table = config_none(local) };
}

void config_versions_free(struct config_versions *versions)
{
    route_table_unref(versions->table);
    versions->table = NULL;
}

enum config_verdict config_update(struct config_versions *versions, int32_t version, struct cv_str document,
                                  const struct config_local *local, struct reason *why)
{
    reason_clear(why);
    if (version <= versions->applied)
        return CONFIG_IGNORED;
    struct route_table *table;
    bool started;
    if (config_read(document, local, &table, &started, why) != CV_OK)
        return started ? CONFIG_NOT_STARTED : CONFIG_BAD;
    route_table_unref(versions->table);
    versions->table = table;
    versions->applied = version;
    return CONFIG_APPLIED;
}
