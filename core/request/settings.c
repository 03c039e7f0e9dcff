/* settings.c: originRequest: one table of keys that reads, inherits, shows and compares them. */
#include "request/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* key, kind, member of struct cv_settings, in the order of docs/protocol.md §16.6 */
#define SETTINGS(X)                                                                                          \
    X(connectTimeout, SECONDS, connect_timeout)                                                              \
    X(tlsTimeout, SECONDS, tls_timeout)                                                                      \
    X(tcpKeepAlive, SECONDS, tcp_keep_alive)                                                                 \
    X(noHappyEyeballs, BOOL, no_happy_eyeballs)                                                              \
    X(keepAliveConnections, INT, keep_alive_connections)                                                     \
    X(keepAliveTimeout, SECONDS, keep_alive_timeout)                                                         \
    X(httpHostHeader, STR, http_host_header)                                                                 \
    X(originServerName, STR, origin_server_name)                                                             \
    X(matchSNItoHost, BOOL, match_sni_to_host)                                                               \
    X(caPool, STR, ca_pool)                                                                                  \
    X(noTLSVerify, BOOL, no_tls_verify)                                                                      \
    X(disableChunkedEncoding, BOOL, disable_chunked_encoding)                                                \
    X(bastionMode, BOOL, bastion_mode)                                                                       \
    X(proxyAddress, STR, proxy_address)                                                                      \
    X(proxyPort, UINT, proxy_port)                                                                           \
    X(proxyType, STR, proxy_type)                                                                            \
    X(ipRules, IP_RULES, ip_rules)                                                                           \
    X(http2Origin, BOOL, http2_origin)                                                                       \
    X(access, ACCESS, access)

#define X_INDEX(key, kind, member) AT_##key,
enum { SETTINGS(X_INDEX) AT_END };
_Static_assert(AT_END == SETTINGS_COUNT, "settings.h counts the table");

const struct cv_settings settings_default = {
    .connect_timeout = 30,
    .tls_timeout = 10,
    .tcp_keep_alive = 30,
    .keep_alive_timeout = 90,
    .keep_alive_connections = 100,
    .proxy_address = { "127.0.0.1", 9 },
};

/* ---- reading ------------------------------------------------------------------------------------------ */

static bool read_seconds(struct cv_str text, void *value, struct reason *why)
{
    return gojson_parse_int(text, "ParseInt", value, why);
}
const struct gojson_type settings_seconds_type = {
    .name = "config.CustomDuration", .kind = GOJSON_RAW, .size = sizeof(int64_t), .read = read_seconds
};
static const struct gojson_type int_type = { .name = "int", .kind = GOJSON_INT, .size = sizeof(int64_t) };
static const struct gojson_type uint_type = { .name = "uint", .kind = GOJSON_UINT, .size = sizeof(uint64_t) };
static const struct gojson_type bool_type = { .name = "bool", .kind = GOJSON_BOOL, .size = sizeof(bool) };
static const struct gojson_type str_type = { .name = "string",
                                             .kind = GOJSON_STRING,
                                             .size = sizeof(struct cv_str) };
static const struct gojson_type strs_type = {
    .name = "[]string", .kind = GOJSON_LIST, .size = sizeof(struct gojson_list), .of = &str_type
};
static const struct gojson_field access_fields[] = {
    { "required", &bool_type, offsetof(struct settings_access, required), GOJSON_ALWAYS },
    { "teamName", &str_type, offsetof(struct settings_access, team_name), GOJSON_ALWAYS },
    { "audTag", &strs_type, offsetof(struct settings_access, aud_tag), GOJSON_ALWAYS },
    { "environment", &str_type, offsetof(struct settings_access, environment), GOJSON_ALWAYS },
    { .name = NULL },
};
static const struct gojson_type access_type = { .name = "config.AccessConfig",
                                                .kind = GOJSON_STRUCT,
                                                .size = sizeof(struct settings_access),
                                                .fields = access_fields };

#define RAW_SECONDS(key, member)                                                                             \
    {                                                                                                        \
#key, &settings_seconds_type, offsetof(struct settings_raw, v.member), SET_AT(key)                   \
    }
#define RAW_INT(key, member)                                                                                 \
    {                                                                                                        \
#key, &int_type, offsetof(struct settings_raw, v.member), SET_AT(key)                                \
    }
#define RAW_UINT(key, member)                                                                                \
    {                                                                                                        \
#key, &uint_type, offsetof(struct settings_raw, v.member), SET_AT(key)                               \
    }
#define RAW_BOOL(key, member)                                                                                \
    {                                                                                                        \
#key, &bool_type, offsetof(struct settings_raw, v.member), SET_AT(key)                               \
    }
#define RAW_STR(key, member)                                                                                 \
    {                                                                                                        \
#key, &str_type, offsetof(struct settings_raw, v.member), SET_AT(key)                                \
    }
#define RAW_IP_RULES(key, member)                                                                            \
    {                                                                                                        \
#key, &ip_rule_list_type, offsetof(struct settings_raw, member), GOJSON_ALWAYS                       \
    }
#define RAW_ACCESS(key, member)                                                                              \
    {                                                                                                        \
#key, &access_type, offsetof(struct settings_raw, member), SET_AT(key)                               \
    }
#define SET_AT(key)              offsetof(struct settings_raw, set[AT_##key])
#define X_RAW(key, kind, member) RAW_##kind(key, member),
static const struct gojson_field raw_fields[] = { SETTINGS(X_RAW){ .name = NULL } };

const struct gojson_type settings_type = { .name = "config.OriginRequestConfig",
                                           .kind = GOJSON_STRUCT,
                                           .size = sizeof(struct settings_raw),
                                           .fields = raw_fields };

/* ---- inheriting --------------------------------------------------------------------------------------- */

enum kind { SECONDS, INT, UINT, BOOL, STR, IP_RULES, ACCESS };
static const struct setting {
    const char *key;
    enum kind kind;
    size_t at, size;
} settings[SETTINGS_COUNT] = {
#define X_SETTING(key, kind, member)                                                                         \
    { #key, kind, offsetof(struct cv_settings, member), sizeof(((struct cv_settings *)0)->member) },
    SETTINGS(X_SETTING)
};

static void apply_ip_rules(struct bump *mem, struct cv_ip_rules *to, struct gojson_list *raw, bool top_level)
{
    if (raw->n == 0)
        return;
    struct cv_ip_rule *rules = bump_array(mem, raw->n, sizeof *rules);
    size_t n = 0;
    for (size_t i = 0; i < raw->n; i++) {
        struct reason why;
        if (ip_rule_parse(mem, (struct ip_rule_raw *)raw->v + i, &rules[n], &why) == CV_OK)
            n++;
        else if (!top_level)
            rules[n++] = ip_rule_none;
    }
    if (n > 0)
        *to = (struct cv_ip_rules){ rules, n };
}

void settings_apply(struct bump *mem, struct cv_settings *to, struct settings_raw *raw, bool top_level)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *s = &settings[i];
        if (raw->set[i] && s->kind != ACCESS)
            memcpy((char *)to + s->at, (const char *)&raw->v + s->at, s->size);
    }
    apply_ip_rules(mem, &to->ip_rules, &raw->ip_rules, top_level);
    const struct settings_access *access = &raw->access;
    if (raw->set[AT_access])
        to->access = (struct cv_access){ .required = access->required,
                                         .team_name = access->team_name,
                                         .aud_tag = { access->aud_tag.v, access->aud_tag.n },
                                         .environment = access->environment };
}

/* ---- showing ------------------------------------------------------------------------------------------ */

void settings_write_seconds(struct cv_buf *buf, int64_t seconds)
{
    int64_t ns = (int64_t)((uint64_t)seconds * 1000000000u);
    int64_t whole = ns / 1000000000;
    if (ns % 1000000000 == 0) {
        gojson_write(buf, "%lld", (long long)whole);
        return;
    }
    double value = (double)whole + (double)(ns % 1000000000) / 1e9;
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    gojson_write(buf, "%s", text);
}

static void write_strs(struct cv_buf *buf, struct cv_list list)
{
    gojson_write(buf, list.v ? "[" : "null");
    for (size_t i = 0; i < list.n; i++) {
        gojson_write(buf, i ? "," : "");
        gojson_write_str(buf, list.v[i]);
    }
    gojson_write(buf, list.v ? "]" : "");
}

static void write_access(struct cv_buf *buf, const struct cv_access *access)
{
    gojson_write(buf, "{%s\"teamName\":", access->required ? "\"required\":true," : "");
    gojson_write_str(buf, access->team_name);
    gojson_write(buf, ",\"audTag\":");
    write_strs(buf, access->aud_tag);
    if (access->environment.n > 0) {
        gojson_write(buf, ",\"environment\":");
        gojson_write_str(buf, access->environment);
    }
    gojson_write(buf, "}");
}

/* Go's type has no fields that JSON sees. */
static void write_ip_rules_hidden(struct cv_buf *buf, const struct cv_ip_rules *rules)
{
    gojson_write(buf, rules->n ? "[" : "null");
    for (size_t i = 0; i < rules->n; i++)
        gojson_write(buf, i ? ",{}" : "{}");
    gojson_write(buf, rules->n ? "]" : "");
}

static void write_ip_rules(struct cv_buf *buf, const struct cv_ip_rules *rules)
{
    gojson_write(buf, "[");
    for (size_t i = 0; i < rules->n; i++) {
        const struct cv_ip_rule *rule = &rules->v[i];
        gojson_write(buf, "%s{\"prefix\":", i ? "," : "");
        gojson_write_str(buf, rule->prefix);
        gojson_write(buf, ",\"ports\":%s", rule->ports ? "[" : "null");
        for (size_t k = 0; k < rule->nports; k++)
            gojson_write(buf, "%s%d", k ? "," : "", rule->ports[k]);
        gojson_write(buf, "%s,\"allow\":%s}", rule->ports ? "]" : "", rule->allow ? "true" : "false");
    }
    gojson_write(buf, "]");
}

static void write_value(struct cv_buf *buf, const struct setting *s, const struct cv_settings *in, bool all)
{
    const void *value = (const char *)in + s->at;
    switch (s->kind) {
    case SECONDS: settings_write_seconds(buf, *(const int64_t *)value); break;
    case INT: gojson_write(buf, "%lld", (long long)*(const int64_t *)value); break;
    case UINT: gojson_write(buf, "%llu", (unsigned long long)*(const uint64_t *)value); break;
    case BOOL: gojson_write(buf, "%s", *(const bool *)value ? "true" : "false"); break;
    case STR: gojson_write_str(buf, *(const struct cv_str *)value); break;
    case IP_RULES: (all ? write_ip_rules_hidden : write_ip_rules)(buf, value); break;
    case ACCESS: write_access(buf, value); break;
    }
}

void settings_write(struct cv_buf *buf, const struct cv_settings *in)
{
    static const struct {
        size_t place, index;
    } swapped[] = { { AT_keepAliveConnections, AT_keepAliveTimeout },
                    { AT_keepAliveTimeout, AT_keepAliveConnections } };
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        size_t index = i == swapped[0].place   ? swapped[0].index
                       : i == swapped[1].place ? swapped[1].index
                                               : i;
        gojson_write(buf, "%c\"%s\":", i ? ',' : '{', settings[index].key);
        write_value(buf, &settings[index], in, true);
    }
    gojson_write(buf, "}");
}

static bool differs(const struct setting *s, const struct cv_settings *a, const struct cv_settings *b)
{
    const void *x = (const char *)a + s->at, *y = (const char *)b + s->at;
    switch (s->kind) {
    case BOOL: return *(const bool *)x != *(const bool *)y;
    case STR: return !cv_str_eq(*(const struct cv_str *)x, *(const struct cv_str *)y);
    case SECONDS:
    case INT:
    case UINT: return memcmp(x, y, s->size) != 0;
    default: break;
    }
    struct cv_buf m = { 0 }, n = { 0 };
    write_value(&m, s, a, false);
    write_value(&n, s, b, false);
    bool differ = !cv_str_eq((struct cv_str){ (char *)m.p, m.n }, (struct cv_str){ (char *)n.p, n.n });
    cv_buf_free(&m);
    cv_buf_free(&n);
    return differ;
}

static bool is_changed(const struct setting *s, const struct cv_settings *in)
{
    return s->kind == ACCESS ? in->access.required : differs(s, in, &settings_default);
}

void settings_write_changed(struct cv_buf *buf, const struct cv_settings *in)
{
    const char *separator = "";
    gojson_write(buf, "{");
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if (!is_changed(&settings[i], in))
            continue;
        gojson_write(buf, "%s\"%s\":", separator, settings[i].key);
        write_value(buf, &settings[i], in, false);
        separator = ",";
    }
    gojson_write(buf, "}");
}

void settings_write_diff(struct cv_buf *buf, const struct cv_settings *from, const struct cv_settings *to)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if (!differs(&settings[i], from, to))
            continue;
        gojson_write(buf, ", originRequest.%s ", settings[i].key);
        write_value(buf, &settings[i], from, false);
        gojson_write(buf, " → ");
        write_value(buf, &settings[i], to, false);
    }
}
