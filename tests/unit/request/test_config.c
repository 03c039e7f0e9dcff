/* test_config.c: configurations: every vector, versions, and what operators add to what is pushed. */
#include "request/config.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

static const struct config_local nothing = { .rewrites = NULL };
static struct reason why;

static yyjson_doc *load(const char *file)
{
    char path[256];
    snprintf(path, sizeof path, "tests/vectors/config/%s", file);
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
    return doc;
}

static char *load_text(const char *file, size_t *n)
{
    char path[256];
    snprintf(path, sizeof path, "tests/vectors/config/%s", file);
    FILE *f = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    char *text = cv_xmalloc(65536);
    *n = fread(text, 1, 65536, f);
    fclose(f);
    return text;
}

/* Same keys in the same order with the same values; how characters are escaped is gojson's matter. */
static bool is_json(const struct cv_buf *buf, yyjson_val *want)
{
    yyjson_doc *doc = yyjson_read((const char *)buf->p, buf->n, 0);
    char *ours = doc ? yyjson_val_write(yyjson_doc_get_root(doc), 0, NULL) : NULL;
    char *theirs = yyjson_val_write(want, 0, NULL);
    bool same = ours && theirs && strcmp(ours, theirs) == 0;
    if (!same)
        fprintf(stderr, "ours:   %.*s\ntheirs: %s\n", (int)buf->n, (const char *)buf->p, theirs);
    free(ours);
    free(theirs);
    yyjson_doc_free(doc);
    return same;
}

static enum config_verdict update(struct config_versions *versions, int32_t version, const char *text)
{
    return config_update(versions, version, cv_str_of(text), &nothing, &why);
}

/* A table of a document that is good, or NULL. */
static struct route_table *table_of(const char *text, const struct config_local *local)
{
    struct route_table *table;
    bool started;
    config_read(cv_str_of(text), local, &table, &started, &why);
    return table;
}

static bool is_text(const struct cv_buf *buf, const char *text)
{
    bool same = cv_str_eq((struct cv_str){ (const char *)buf->p, buf->n }, cv_str_of(text));
    if (!same)
        fprintf(stderr, "ours:   %.*s\ntheirs: %s\n", (int)buf->n, (const char *)buf->p, text);
    return same;
}

/* ---- vectors ------------------------------------------------------------------------------------------ */

static void check_vector(yyjson_val *row)
{
    size_t n;
    char *text = load_text(yyjson_get_str(yyjson_obj_get(row, "file")), &n);
    struct config_versions versions;
    struct cv_buf buf = { 0 };
    config_versions_init(&versions, &nothing);
    enum config_verdict verdict = config_update(&versions, 5, (struct cv_str){ text, n }, &nothing, &why);
    CU_ASSERT_EQUAL(versions.applied, yyjson_get_sint(yyjson_obj_get(row, "last_applied_version")));
    if (yyjson_get_bool(yyjson_obj_get(row, "applied"))) {
        CU_ASSERT_EQUAL(verdict, CONFIG_APPLIED);
        config_write_local(&buf, versions.table, NULL, 0);
        CU_ASSERT_TRUE(is_json(&buf, yyjson_obj_get(row, "get_config_json")));
        buf.n = 0;
        config_write(&buf, versions.table, versions.applied);
        CU_ASSERT_TRUE(is_json(&buf, yyjson_obj_get(row, "config_endpoint_json")));
    } else {
        CU_ASSERT_EQUAL(verdict, CONFIG_BAD);
        CU_ASSERT_STRING_EQUAL(why.text, yyjson_get_str(yyjson_obj_get(row, "error")));
    }
    cv_buf_free(&buf);
    config_versions_free(&versions);
    free(text);
}

static void gives_the_verdict_of_every_vector(void)
{
    yyjson_doc *doc = load("expected.json");
    yyjson_val *row;
    size_t i, max;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "cases"), i, max, row)
    {
        check_vector(row);
    }
    CU_ASSERT(i > 50);
    yyjson_doc_free(doc);
}

static void follows_the_version_sequence(void)
{
    yyjson_doc *doc = load("version-sequence.json");
    yyjson_val *row;
    size_t i, max;
    struct config_versions versions;
    config_versions_init(&versions, &nothing);
    CU_ASSERT_EQUAL(versions.applied, -1);
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "steps"), i, max, row)
    {
        int32_t version = (int32_t)yyjson_get_sint(yyjson_obj_get(row, "version"));
        const char *error = yyjson_get_str(yyjson_obj_get(row, "error"));
        update(&versions, version, yyjson_get_str(yyjson_obj_get(row, "config")));
        CU_ASSERT_EQUAL(versions.applied, yyjson_get_sint(yyjson_obj_get(row, "last_applied_version")));
        CU_ASSERT_STRING_EQUAL(why.text, error ? error : "");
        struct cv_buf buf = { 0 };
        config_write_local(&buf, versions.table, NULL, 0);
        CU_ASSERT_TRUE(is_json(&buf, yyjson_obj_get(row, "config_after")));
        cv_buf_free(&buf);
    }
    CU_ASSERT_EQUAL(i, 9);
    config_versions_free(&versions);
    yyjson_doc_free(doc);
}

/* ---- what the vectors leave out ----------------------------------------------------------------------- */

#define ONE_RULE(rule)  "{\"ingress\":[" rule "]}"
#define TWO_RULES(rule) "{\"ingress\":[" rule ",{\"service\":\"http_status:404\"}]}"

static const struct {
    const char *document, *error; /* error NULL: accepted */
} documents[] = {
    { "", "unexpected end of JSON input" },
    { "{}", NULL },
    { " null\n", NULL },
    { "{} x", "invalid character 'x' after top-level value" },
    { ONE_RULE("{}"), " is an invalid address, please make sure it has a scheme and a hostname" },
    { ONE_RULE("null"), " is an invalid address, please make sure it has a scheme and a hostname" },
    { "{\"INGRESS\":[{\"SERVICE\":\"http_status:200\"}]}", NULL },
    { TWO_RULES("{\"service\":\"http://a\"}"), "Rule #1 is matching the hostname '', but this will match "
                                               "every hostname, meaning the rules which follow it will "
                                               "never be triggered." },
    { ONE_RULE("{\"hostname\":\"*\",\"path\":\"x\",\"service\":\"http://a\"}"),
      "The last ingress rule must match all URLs (i.e. it should not have a hostname or path filter)" },
    { TWO_RULES("{\"hostname\":\"[::1]:80\",\"service\":\"http://a\"}"), "Hostname cannot contain a port" },
    { TWO_RULES("{\"hostname\":\"a.com:\",\"service\":\"http://a\"}"), "Hostname cannot contain a port" },
    { TWO_RULES("{\"hostname\":\"[::1]\",\"service\":\"http://a\"}"), NULL },
    { TWO_RULES("{\"hostname\":\"*a.com\",\"service\":\"http://a\"}"), NULL },
    { TWO_RULES("{\"hostname\":\"a*\",\"service\":\"http://a\"}"),
      "Hostname patterns can have at most one wildcard character (\"*\") and it can only be used for "
      "subdomains, e.g. "
      "\"*.example.com\"" },
    { TWO_RULES("{\"hostname\":\"_bad_ name!\",\"service\":\"http://a\"}"), NULL },
    { TWO_RULES("{\"hostname\":\"a\",\"path\":\"(\",\"service\":\"http://a\"}"),
      "Rule #1 has an invalid regex: error parsing regexp: missing closing ): `(`" },
    /* service before access before hostname before path */
    { TWO_RULES("{\"hostname\":\"a:1\",\"path\":\"(\",\"service\":\"x\",\"originRequest\":{\"access\":{"
                "\"required\":true,"
                "\"audTag\":[\"x\"]}}}"),
      "x is an invalid address, please make sure it has a scheme and a hostname" },
    { TWO_RULES("{\"hostname\":\"a:1\",\"path\":\"(\",\"service\":\"http://"
                "x\",\"originRequest\":{\"access\":{\"required\":"
                "true,\"audTag\":[\"x\"]}}}"),
      "access.TeamName cannot be blank when access.audTags are present" },
    { TWO_RULES("{\"hostname\":\"a:1\",\"path\":\"(\",\"service\":\"http://x\"}"),
      "Hostname cannot contain a port" },
    /* the first bad rule, not the first kind of fault */
    { "{\"ingress\":[{\"hostname\":\"a\",\"path\":\"[\",\"service\":\"http://x\"},{\"service\":\"\"}]}",
      "Rule #1 has an invalid regex: error parsing regexp: missing closing ]: `[`" },
    { ONE_RULE("{\"service\":\"http_status:1000\"}"), "invalid HTTP status code: 1000" },
    { ONE_RULE("{\"service\":\"http_status:-5\"}"), "invalid HTTP status code: -5" },
    { ONE_RULE("{\"service\":\"http_status:+200\"}"), NULL },
    { ONE_RULE("{\"service\":\"http_status:1e2\"}"),
      "invalid HTTP status code: strconv.Atoi: parsing \"1e2\": invalid syntax" },
    { ONE_RULE("{\"service\":\"http_status:99999999999999999999\"}"),
      "invalid HTTP status code: strconv.Atoi: parsing \"99999999999999999999\": value out of range" },
    { ONE_RULE("{\"service\":\"unix:\"}"), NULL },
    { ONE_RULE("{\"service\":\"http://a:99999\"}"), NULL },
    { ONE_RULE("{\"service\":\"mailto:x\"}"),
      "mailto:x is an invalid address, please make sure it has a scheme and a "
      "hostname" },
    { ONE_RULE("{\"service\":\"://x\"}"), "parse \"://x\": missing protocol scheme" },
    { ONE_RULE("{\"service\":\"http://a b\"}"),
      "parse \"http://a b\": invalid character \" \" in host name" },
    { ONE_RULE("{\"service\":\"http://a%41\"}"), "parse \"http://a%41\": invalid URL escape \"%41\"" },
    { ONE_RULE("{\"service\":\"http://[::1\"}"), "parse \"http://[::1\": missing ']' in host" },
    { ONE_RULE("{\"service\":\"socks-proxy\",\"originRequest\":{\"ipRules\":[{\"prefix\":\"10.0.0.0/"
               "8\",\"ports\":[0]}]}}"),
      "unable to create ip rule for socks-proxy: invalid port 0, needs to be between 1 and 65535" },
    { ONE_RULE(
          "{\"service\":\"socks-proxy\",\"originRequest\":{\"ipRules\":[{\"prefix\":\"10.0.0.0/33\"}]}}"),
      "unable to create ip rule for socks-proxy: unable to parse cidr: 10.0.0.0/33" },
    { ONE_RULE("{\"service\":\"http://a\",\"originRequest\":{\"connectTimeout\":1.5}}"),
      "strconv.ParseInt: parsing \"1.5\": invalid syntax" },
    { ONE_RULE("{\"service\":\"http://a\",\"originRequest\":{\"access\":[]}}"),
      "json: cannot unmarshal array into Go struct field RemoteConfigJSON.ingress.0.originRequest.access of "
      "type "
      "config.AccessConfig" },
    { "{\"warp-routing\":{\"maxActiveFlows\":-1}}",
      "json: cannot unmarshal number -1 into Go struct field RemoteConfigJSON.warp-routing.maxActiveFlows of "
      "type uint64" },
    { "{\"originRequest\":7}",
      "json: cannot unmarshal number into Go struct field RemoteConfigJSON.originRequest of type "
      "config.OriginRequestConfig" },
};

static void words_refusals_in_the_order_of_go(void)
{
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        reason_clear(&why);
        struct route_table *table = table_of(documents[i].document, &nothing);
        CU_ASSERT_EQUAL(table == NULL, documents[i].error != NULL);
        CU_ASSERT_STRING_EQUAL(why.text, documents[i].error ? documents[i].error : "");
        route_table_unref(table);
    }
}

static void resolves_settings_and_targets(void)
{
    struct route_table *table =
        table_of("{\"originRequest\":{\"connectTimeout\":7,\"tlsTimeout\":8,\"access\":{\"required\":true,"
                 "\"teamName\":\"t\"}},"
                 "\"ingress\":["
                 "{\"hostname\":\"a\",\"service\":\"https://"
                 "h\",\"originRequest\":{\"tlsTimeout\":0,\"keepAliveConnections\":-1}},"
                 "{\"hostname\":\"b\",\"service\":\"WSS://"
                 "[::1]:8443\",\"originRequest\":{\"access\":{\"required\":true}}},"
                 "{\"hostname\":\"c\",\"service\":\"ssh://[fe80::1%25eth0]\"},"
                 "{\"hostname\":\"d\",\"service\":\"unix+tls:/run/a b\"},"
                 "{\"hostname\":\"e\",\"service\":\"x://h\"},"
                 "{\"hostname\":\"f\",\"service\":\"http://h:99999\"},"
                 "{\"service\":\"http_status:204\"}]}",
                 &nothing);
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    const struct cv_rule *r = table->rules;
    CU_ASSERT(r[0].settings.connect_timeout == 7 && r[0].settings.tls_timeout == 0);
    CU_ASSERT(r[0].settings.keep_alive_connections == -1 && r[0].settings.tcp_keep_alive == 30);
    CU_ASSERT(r[0].settings.access.required && !r[0].access_required && r[1].access_required);
    CU_ASSERT(r[0].kind == CV_SERVICE_HTTP && r[0].target.tls && r[0].target.port == 443);
    CU_ASSERT(cv_str_eq(r[0].target.authority, CV_STR("h")));
    CU_ASSERT(r[1].target.tls && r[1].target.port == 8443 && cv_str_eq(r[1].target.host, CV_STR("::1")));
    CU_ASSERT(cv_str_eq(r[1].target.scheme, CV_STR("wss")) &&
              cv_str_eq(r[1].service, CV_STR("wss://[::1]:8443")));
    CU_ASSERT(r[2].kind == CV_SERVICE_TCP && r[2].target.port == 22);
    CU_ASSERT(cv_str_eq(r[2].target.host, CV_STR("fe80::1%eth0")));
    CU_ASSERT(cv_str_eq(r[2].target.authority, CV_STR("[fe80::1%eth0]:22")));
    CU_ASSERT(r[3].kind == CV_SERVICE_UNIX && r[3].target.tls &&
              cv_str_eq(r[3].target.unix_path, CV_STR("/run/a b")));
    CU_ASSERT(r[4].kind == CV_SERVICE_TCP && r[4].target.port == 0 && r[5].target.port == 0);
    CU_ASSERT(r[6].kind == CV_SERVICE_STATUS && r[6].status == 204 && r[6].index == 6 && !r[6].implicit);
    route_table_unref(table);
}

static void guards_a_socks_service_by_its_own_lines_alone(void)
{
    struct route_table *table = table_of(
        "{\"originRequest\":{\"ipRules\":[{\"prefix\":\"0.0.0.0/0\",\"allow\":true},{\"prefix\":\"bad\"}]},"
        "\"ingress\":[{\"hostname\":\"a\",\"service\":\"socks-proxy\"},{\"service\":\"socks-proxy\","
        "\"originRequest\":{\"ipRules\":[{\"prefix\":\"::ffff:10.1.2.3/"
        "104\",\"ports\":[443,80],\"allow\":true}]}}]}",
        &nothing);
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    CU_ASSERT(table->rules[0].policy.n == 0 && table->rules[0].settings.ip_rules.n == 1);
    CU_ASSERT_EQUAL_FATAL(table->rules[1].policy.n, 1);
    const struct cv_ip_rule *line = table->rules[1].policy.v;
    CU_ASSERT(line->family == AF_INET && line->bits == 8 && line->net[0] == 10 && line->net[1] == 0 &&
              line->allow);
    CU_ASSERT(line->nports == 2 && line->ports[0] == 80 && line->ports[1] == 443);
    CU_ASSERT_TRUE(cv_str_eq(line->prefix, CV_STR("10.0.0.0/8")));
    route_table_unref(table);
}

static void shows_durations_that_overflow_as_go_does(void)
{
    struct route_table *table =
        table_of("{\"warp-routing\":{\"connectTimeout\":9223372037,\"tcpKeepAlive\":-1}}", &nothing);
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    struct cv_buf buf = { 0 };
    config_write_local(&buf, table, NULL, 0);
    static const char want[] = "{\"connectTimeout\":-9223372036.70955,\"tcpKeepAlive\":-1}";
    CU_ASSERT_PTR_NOT_NULL(memmem(buf.p, buf.n, want, sizeof want - 1));
    CU_ASSERT_EQUAL(cv_seconds(table->warp.connect_timeout).ms, CV_SECONDS_MAX * 1000);
    cv_buf_free(&buf);
    route_table_unref(table);
}

static void tells_the_edge_about_flags(void)
{
    static const struct config_flag flags[] = { { { "loglevel", 8 }, { "debug", 5 } },
                                                { { "protocol", 8 }, { "<q>", 3 } } };
    const struct config_local local = { .has_max_active_flows = true, .max_active_flows = 9 };
    struct route_table *table = config_none(&local);
    struct cv_buf buf = { 0 };
    config_write_local(&buf, table, flags, 2);
    CU_ASSERT_TRUE(
        is_text(&buf, "{\"__configuration_flags\":{\"loglevel\":\"debug\",\"protocol\":\"\\u003cq\\u003e\"},"
                      "\"ingress\":[{\"service\":\"http_status:503\",\"originRequest\":{\"connectTimeout\":0,"
                      "\"tlsTimeout\":0,\"tcpKeepAlive\":0,\"keepAliveConnections\":0,\"keepAliveTimeout\":0,"
                      "\"proxyAddress\":\"\"}}],\"warp-routing\":{\"maxActiveFlows\":9}}"));
    CU_ASSERT(table->rules[0].implicit && table->rules[0].status == 503);
    route_table_unref(table);
    table = table_of("{\"warp-routing\":{\"maxActiveFlows\":3}}", &local);
    CU_ASSERT_EQUAL(table->warp.max_active_flows, 9);
    route_table_unref(table);
    cv_buf_free(&buf);
}

/* ---- starting services -------------------------------------------------------------------------------- */

static void reads_ca_files_when_a_configuration_comes(void)
{
    struct config_versions versions;
    config_versions_init(&versions, &nothing);
    static const char missing[] =
        ONE_RULE("{\"service\":\"https://a\",\"originRequest\":{\"caPool\":\"/no/such\"}}");
    CU_ASSERT_EQUAL(update(&versions, 1, missing), CONFIG_NOT_STARTED);
    CU_ASSERT_STRING_EQUAL(
        why.text,
        "failed to start origin: Error starting local service https://a: Error loading cert pool: unable "
        "to read the file /no/such for --origin-ca-pool: open /no/such: no such file or directory");
    CU_ASSERT_EQUAL(
        update(&versions, 1, ONE_RULE("{\"service\":\"unix:/s\",\"originRequest\":{\"caPool\":\"/\"}}")),
        CONFIG_NOT_STARTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "read /: is a directory"));
    CU_ASSERT_EQUAL(versions.applied, -1);
    CU_ASSERT_EQUAL(update(&versions, 1,
                           ONE_RULE("{\"service\":\"tcp://a\",\"originRequest\":{\"caPool\":\"/no/such\"}}")),
                    CONFIG_APPLIED);
    static const char own[] = ONE_RULE(
        "{\"service\":\"https://a\",\"originRequest\":{\"caPool\":\"tests/vectors/token/good.txt\"}}");
    CU_ASSERT_EQUAL(update(&versions, 2, own), CONFIG_APPLIED);
    CU_ASSERT(versions.table->rules[0].ca_pem.n > 100);
    config_versions_free(&versions);
}

static void keys_pools_by_all_that_makes_a_connection(void)
{
    struct route_table *table = table_of(
        "{\"ingress\":[{\"hostname\":\"0\",\"service\":\"https://"
        "a\"},{\"hostname\":\"1\",\"service\":\"https://a:443?x\"},"
        "{\"hostname\":\"2\",\"service\":\"https://b\"},{\"hostname\":\"3\",\"service\":\"http://a:443\"},"
        "{\"hostname\":\"4\",\"service\":\"https://a\",\"originRequest\":{\"noTLSVerify\":true}},"
        "{\"hostname\":\"5\",\"service\":\"https://a\",\"originRequest\":{\"originServerName\":\"x\"}},"
        "{\"hostname\":\"6\",\"service\":\"https://a\",\"originRequest\":{\"http2Origin\":true}},"
        "{\"hostname\":\"7\",\"service\":\"https://a\",\"originRequest\":{\"caPool\":\"Makefile\"}},"
        "{\"hostname\":\"8\",\"service\":\"https://a\",\"originRequest\":{\"httpHostHeader\":\"x\"}},"
        "{\"service\":\"unix+tls:/a\"}]}",
        &nothing);
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    static const int same_as[] = { 0, 0, 2, 3, 4, 5, 6, 7, 0, 9 };
    for (size_t i = 0; i < table->n; i++)
        for (size_t k = 0; k < table->n; k++)
            CU_ASSERT_EQUAL(cv_str_eq(table->rules[i].pool_key, table->rules[k].pool_key),
                            same_as[i] == same_as[k]);
    route_table_unref(table);
}

static bool no_metadata(void *arg, const struct cv_rule *rule, struct reason *r)
{
    *(int *)arg += 1;
    if (!cv_str_eq(rule->target.host, CV_STR("169.254.169.254")))
        return true;
    reason_fail(r, "169.254.169.254 may not be reached");
    return false;
}

static void sends_services_elsewhere_and_asks_whether_it_may(void)
{
    static const struct config_rewrite rewrites[] = {
        { { "http://router:8080", 18 }, { "unix:/run/router.sock", 21 } },
        { { "http://evil", 11 }, { "http://169.254.169.254", 22 } },
    };
    int asked = 0;
    const struct config_local local = {
        .rewrites = rewrites, .n_rewrites = 2, .allow = no_metadata, .arg = &asked
    };
    struct route_table *table =
        table_of(TWO_RULES("{\"hostname\":\"a\",\"service\":\"HTTP://router:8080\"}"), &local);
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    CU_ASSERT_EQUAL(asked, 2);
    CU_ASSERT(table->rules[0].kind == CV_SERVICE_UNIX);
    CU_ASSERT_TRUE(cv_str_eq(table->rules[0].target.unix_path, CV_STR("/run/router.sock")));
    CU_ASSERT_TRUE(cv_str_eq(table->rules[0].service, CV_STR("http://router:8080")));
    route_table_unref(table);
    CU_ASSERT_PTR_NULL(table_of(ONE_RULE("{\"service\":\"http://evil\"}"), &local));
    CU_ASSERT_STRING_EQUAL(
        why.text, "failed to start origin: Error starting local service http://evil: 169.254.169.254 may "
                  "not be reached");
}

/* ---- the rest ----------------------------------------------------------------------------------------- */

static void tells_what_changed(void)
{
    struct route_table *a = table_of("{\"ingress\":[{\"hostname\":\"a\",\"service\":\"http://"
                                     "a:1\"},{\"hostname\":\"b\",\"service\":\"http://b:1\"},"
                                     "{\"service\":\"http_status:404\"}]}",
                                     &nothing);
    struct route_table *b = table_of("{\"ingress\":[{\"hostname\":\"a\",\"service\":\"http://"
                                     "b:2\",\"originRequest\":{\"connectTimeout\":5,"
                                     "\"http2Origin\":true}},{\"service\":\"http_status:404\"}]}",
                                     &nothing);
    struct cv_buf buf = { 0 };
    config_write_diff(&buf, a, b, 1000);
    CU_ASSERT_TRUE(
        is_text(&buf, "rule 0 changed: service http://a:1 → http://b:2, originRequest.connectTimeout 30 → 5, "
                      "originRequest.http2Origin false → true; rule 1 changed: hostname b → (none), service "
                      "http://b:1 → http_status:404; rule 2 removed: * → http_status:404"));
    buf.n = 0;
    config_write_diff(&buf, a, a, 1000);
    CU_ASSERT_EQUAL(buf.n, 0);
    config_write_diff(&buf, b, a, 35); /* would cut an arrow in two */
    CU_ASSERT_TRUE(is_text(&buf, "rule 0 changed: service http://b:2 …"));
    cv_buf_free(&buf);
    route_table_unref(a);
    route_table_unref(b);
}

static void keeps_a_table_as_long_as_somebody_holds_it(void)
{
    struct config_versions versions;
    config_versions_init(&versions, &nothing);
    CU_ASSERT_EQUAL(
        update(&versions, 1, TWO_RULES("{\"hostname\":\"a\",\"path\":\"x\",\"service\":\"http://a\"}")),
        CONFIG_APPLIED);
    struct route_table *held = route_table_ref(versions.table);
    CU_ASSERT_EQUAL(update(&versions, 2, "{}"), CONFIG_APPLIED);
    CU_ASSERT_TRUE(cv_str_eq(held->rules[0].hostname, CV_STR("a"))); /* the sanitizers would object */
    route_table_unref(held);
    config_versions_free(&versions);
}

static void refuses_a_document_that_is_far_too_long(void)
{
    char *text = cv_xmalloc(CONFIG_BYTES_MAX + 1);
    memset(text, ' ', CONFIG_BYTES_MAX + 1);
    struct route_table *table;
    bool started;
    CU_ASSERT_EQUAL(
        config_read((struct cv_str){ text, CONFIG_BYTES_MAX + 1 }, &nothing, &table, &started, &why),
        CV_E_CONF);
    CU_ASSERT_STRING_EQUAL(why.text, "a configuration of more than 4194304 bytes");
    free(text);
}

SUITE(config, TEST(gives_the_verdict_of_every_vector), TEST(follows_the_version_sequence),
      TEST(words_refusals_in_the_order_of_go), TEST(resolves_settings_and_targets),
      TEST(guards_a_socks_service_by_its_own_lines_alone), TEST(shows_durations_that_overflow_as_go_does),
      TEST(tells_the_edge_about_flags), TEST(reads_ca_files_when_a_configuration_comes),
      TEST(keys_pools_by_all_that_makes_a_connection), TEST(sends_services_elsewhere_and_asks_whether_it_may),
      TEST(tells_what_changed), TEST(keeps_a_table_as_long_as_somebody_holds_it),
      TEST(refuses_a_document_that_is_far_too_long));
