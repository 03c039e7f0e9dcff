/* service.c: what a rule's `service` says: kind and target (docs/protocol.md §16.3). */
#include "request/service.h"
#include "request/url.h"

#include <string.h>

static const struct {
    const char *scheme;
    uint16_t port;
    bool http, tls;
} schemes[] = {
    { "http", 80, true, false },  { "https", 443, true, true },  { "ws", 80, true, false },
    { "wss", 443, true, true },   { "ssh", 22, false, false },   { "rdp", 3389, false, false },
    { "smb", 445, false, false }, { "tcp", 7864, false, false },
};

bool service_is_http(enum cv_service kind)
{
    return kind == CV_SERVICE_HTTP || kind == CV_SERVICE_UNIX || kind == CV_SERVICE_HELLO;
}

static bool cut_prefix(struct cv_str s, const char *prefix, struct cv_str *rest)
{
    size_t n = strlen(prefix);
    if (s.n < n || memcmp(s.p, prefix, n) != 0)
        return false;
    *rest = (struct cv_str){ s.p + n, s.n - n };
    return true;
}

static enum cv_error parse_status(struct bump *mem, struct cv_str text, struct cv_rule *rule,
                                  struct reason *why)
{
    struct reason cause;
    int64_t status;
    if (!gojson_parse_int(text, "Atoi", &status, &cause))
        return reason_fail(why, "invalid HTTP status code: %s", cause.text);
    if (status < 100 || status > 999)
        return reason_fail(why, "invalid HTTP status code: %lld", (long long)status);
    rule->kind = CV_SERVICE_STATUS;
    rule->status = (int)status;
    rule->service = bump_print(mem, "http_status:%d", rule->status);
    return CV_OK;
}

static enum cv_error parse_socks(struct bump *mem, const struct gojson_list *own, struct cv_rule *rule,
                                 struct reason *why)
{
    struct cv_ip_rule *lines = bump_array(mem, own->n, sizeof *lines);
    for (size_t i = 0; i < own->n; i++) {
        struct reason cause;
        if (ip_rule_parse(mem, (struct ip_rule_raw *)own->v + i, &lines[i], &cause) != CV_OK)
            return reason_fail(why, "unable to create ip rule for socks-proxy: %s", cause.text);
    }
    rule->kind = CV_SERVICE_SOCKS;
    rule->service = CV_STR("socks-proxy");
    rule->policy = (struct cv_ip_rules){ lines, own->n };
    return CV_OK;
}

/* A port beyond 65535 is no error here; nothing can be reached at 0. */
static uint16_t port_number(struct cv_str digits)
{
    unsigned port = 0;
    for (size_t i = 0; i < digits.n; i++) {
        port = port * 10 + (unsigned)(digits.p[i] - '0');
        if (port > UINT16_MAX)
            return 0;
    }
    return (uint16_t)port;
}

static void set_target(struct bump *mem, const struct url *url, struct cv_rule *rule)
{
    struct cv_target *target = &rule->target;
    *target = (struct cv_target){ .scheme = url->scheme, .host = url->name, .authority = url->host };
    target->port = port_number(url->port);
    rule->kind = CV_SERVICE_TCP;
    uint16_t usual = 0;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (!cv_str_eq(url->scheme, cv_str_of(schemes[i].scheme)))
            continue;
        usual = schemes[i].port;
        target->tls = schemes[i].tls;
        if (schemes[i].http)
            rule->kind = CV_SERVICE_HTTP;
    }
    if (url->port.n == 0)
        target->port = usual;
    if (rule->kind == CV_SERVICE_TCP && url->port.n == 0 && usual > 0) {
        bool brackets = memchr(url->name.p, ':', url->name.n);
        target->authority = bump_print(mem, brackets ? "[%.*s]:%u" : "%.*s:%u", CV_STR_ARG(url->name), usual);
    }
}

static enum cv_error parse_url(struct bump *mem, struct cv_str text, struct cv_rule *rule, struct reason *why)
{
    struct url url;
    enum cv_error error = url_parse(mem, text, &url, why);
    if (error)
        return error;
    reason_clear(why);
    reason_str(why, text);
    if (url.scheme.n == 0 || url.name.n == 0)
        reason_add(why, " is an invalid address, please make sure it has a scheme and a hostname");
    else if (url.path.n > 0)
        reason_add(why,
                   " is an invalid address, ingress rules don't support proxying to a different path on the "
                   "origin service. The path will be the same as the eyeball request's path");
    else
        reason_clear(why);
    if (why->n > 0)
        return CV_E_CONF;
    set_target(mem, &url, rule);
    rule->service = rule->kind == CV_SERVICE_HTTP
                        ? url.text
                        : bump_print(mem, CV_STR_FMT "://" CV_STR_FMT, CV_STR_ARG(url.scheme),
                                     CV_STR_ARG(rule->target.authority));
    return CV_OK;
}

static bool parse_unix(struct cv_str text, struct cv_rule *rule)
{
    struct cv_str path;
    bool tls = cut_prefix(text, "unix+tls:", &path);
    if (!tls && !cut_prefix(text, "unix:", &path))
        return false;
    rule->kind = CV_SERVICE_UNIX;
    rule->service = text;
    rule->target = (struct cv_target){ .scheme = tls ? CV_STR("unix+tls") : CV_STR("unix"),
                                       .unix_path = path,
                                       .tls = tls };
    return true;
}

enum cv_error service_parse(struct bump *mem, struct cv_str text, const struct gojson_list *own,
                            struct cv_rule *rule, struct reason *why)
{
    struct cv_str rest;
    if (text.n == 0)
        text = (struct cv_str){ "", 0 };
    if (parse_unix(text, rule))
        return CV_OK;
    if (cut_prefix(text, "http_status:", &rest))
        return parse_status(mem, rest, rule, why);
    if (cv_str_eq(text, CV_STR("hello_world")) || cv_str_eq(text, CV_STR("hello-world"))) {
        rule->kind = CV_SERVICE_HELLO;
        rule->service = CV_STR("hello_world");
        return CV_OK;
    }
    if (cv_str_eq(text, CV_STR("socks-proxy")))
        return parse_socks(mem, own, rule, why);
    if (cv_str_eq(text, CV_STR("bastion")) || rule->settings.bastion_mode) {
        rule->kind = CV_SERVICE_BASTION;
        rule->service = CV_STR("bastion");
        rule->settings.bastion_mode = true;
        return CV_OK;
    }
    return parse_url(mem, text, rule, why);
}

enum cv_error service_redirect(struct bump *mem, struct cv_str to, struct cv_rule *rule, struct reason *why)
{
    struct cv_rule other = { .index = rule->index };
    to = bump_str(mem, to);
    enum cv_error error = parse_unix(to, &other) ? CV_OK : parse_url(mem, to, &other, why);
    if (error)
        return error;
    rule->kind = other.kind;
    rule->target = other.target;
    return CV_OK;
}

/* FNV-1a: a file whose content changed makes another key. */
static uint64_t digest(struct cv_str s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (uint8_t)s.p[i]) * 0x100000001b3u;
    return h;
}

/* A JSON list, so that no two sets of values read the same. */
void service_make_pool_key(struct bump *mem, struct cv_rule *rule, unsigned generation)
{
    const struct cv_target *target = &rule->target;
    const struct cv_settings *set = &rule->settings;
    const struct cv_str texts[] = { target->scheme, target->host, target->unix_path, set->origin_server_name,
                                    set->ca_pool };
    struct cv_buf key = { 0 };
    gojson_write(&key, "[%u,%d,%u,%d,%d,%d,%d,%llu", generation, rule->kind, target->port, target->tls,
                 set->match_sni_to_host, set->no_tls_verify, set->http2_origin,
                 (unsigned long long)digest(rule->ca_pem));
    gojson_write(&key, ",%lld,%lld,%lld", (long long)set->tcp_keep_alive, (long long)set->keep_alive_timeout,
                 (long long)set->keep_alive_connections);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        gojson_write(&key, ",");
        gojson_write_str(&key, texts[i]);
    }
    gojson_write(&key, "]");
    rule->pool_key = bump_str(mem, (struct cv_str){ (const char *)key.p, key.n });
    cv_buf_free(&key);
}
