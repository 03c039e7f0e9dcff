/* test_route.c: which rule a request meets. */
#include "request/config.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

static struct route_scratch *scratch;
static const struct config_local nothing = { .rewrites = NULL };

static struct route_table *table_of(struct cv_str document)
{
    struct route_table *table;
    struct reason why;
    bool started;
    if (config_read(document, &nothing, &table, &started, &why) != CV_OK)
        fprintf(stderr, "%s\n", why.text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    return table;
}

static int index_of(const struct route_table *table, const char *host, const char *path)
{
    const struct cv_rule *rule = route_match(table, cv_str_of(host), cv_str_of(path), scratch);
    return rule ? rule->index : -99;
}

/* A document of the rules, each with a service. */
static struct route_table *table_of_vector(yyjson_val *rules)
{
    struct cv_buf doc = { 0 };
    yyjson_val *rule;
    size_t i, max;
    yyjson_arr_foreach(rules, i, max, rule)
    {
        char *text = yyjson_val_write(rule, 0, NULL);
        cv_buf_add(&doc, i ? "," : "{\"ingress\":[", i ? 1 : 12);
        cv_buf_add(&doc, "{\"service\":\"http_status:200\",", 29);
        cv_buf_add(&doc, text + 1, strlen(text) - 1);
        free(text);
    }
    cv_buf_add(&doc, "]}", 2);
    struct route_table *table = table_of((struct cv_str){ (char *)doc.p, doc.n });
    cv_buf_free(&doc);
    return table;
}

/* The vectors' paths are decoded; a question mark in one has to be encoded to get there. */
static void encode(const char *path, char *to, size_t size)
{
    size_t n = 0;
    for (; *path && n + 4 < size; path++)
        n += (size_t)snprintf(to + n, size - n, *path == '?' || *path == '%' ? "%%%02X" : "%c", *path);
    to[n] = '\0';
}

static const char *member(yyjson_val *row, const char *key)
{
    const char *text = yyjson_get_str(yyjson_obj_get(row, key));
    return text ? text : "";
}

static void chooses_as_every_vector_says(void)
{
    yyjson_doc *doc = yyjson_read_file("tests/vectors/rules/matching.json", 0, NULL, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
    scratch = route_scratch_new();
    yyjson_val *set, *row;
    size_t i, k, n, m, rows = 0;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "sets"), i, n, set)
    {
        struct route_table *table = table_of_vector(yyjson_obj_get(set, "rules"));
        yyjson_arr_foreach(yyjson_obj_get(set, "cases"), k, m, row)
        {
            char path[256];
            encode(member(row, "path"), path, sizeof path);
            int index = index_of(table, member(row, "host"), path);
            CU_ASSERT_EQUAL(index, yyjson_get_int(yyjson_obj_get(row, "index")));
            rows++;
        }
        route_table_unref(table);
    }
    CU_ASSERT_EQUAL(rows, yyjson_get_uint(yyjson_obj_get(yyjson_doc_get_root(doc), "total")));
    route_scratch_free(scratch);
    yyjson_doc_free(doc);
}

static void takes_the_port_off_a_host(void)
{
    static const char *const rows[][2] = {
        { "a.com", "a.com" },
        { "a.com:80", "a.com" },
        { "a.com:", "a.com" },
        { "a.com:x", "a.com" },
        { "a:1:2", "a:1:2" },
        { "[::1]:80", "::1" },
        { "[::1]", "[::1]" },
        { "::1", "::1" },
        { "[]:1", "" },
        { ":80", "" },
        { "", "" },
        { "[a", "[a" },
        { "a]:1", "a]:1" },
        { "[a]b:1", "[a]b:1" },
        { "[[a]:1", "[[a]:1" },
        { "a:1]", "a:1]" },
        { "[a]:[1", "[a]:[1" },
        { "[a]:1:2", "[a]:1:2" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CU_ASSERT_TRUE(cv_str_eq(route_host(cv_str_of(rows[i][0])), cv_str_of(rows[i][1])));
}

static void decodes_the_path_and_drops_the_query(void)
{
    struct route_table *table =
        table_of(CV_STR("{\"ingress\":["
                        "{\"path\":\"^/A$\",\"service\":\"http_status:200\"},"
                        "{\"path\":\"^/é$\",\"service\":\"http_status:200\"},"
                        "{\"path\":\"^/\\\\x{fffd}{2}$\",\"service\":\"http_status:200\"},"
                        "{\"path\":\"^/%zz%4$\",\"service\":\"http_status:200\"},"
                        "{\"path\":\"^/\\\\x00/[?]$\",\"service\":\"http_status:200\"},"
                        "{\"path\":\"^$\",\"service\":\"http_status:200\"},"
                        "{\"service\":\"http_status:404\"}]}"));
    scratch = route_scratch_new();
    CU_ASSERT_EQUAL(index_of(table, "h", "/%41"), 0);
    CU_ASSERT_EQUAL(index_of(table, "h", "/A?x=/B"), 0);
    CU_ASSERT_EQUAL(index_of(table, "h", "/%C3%a9"), 1);
    CU_ASSERT_EQUAL(index_of(table, "h", "/%ff\xc3"), 2);
    CU_ASSERT_EQUAL(index_of(table, "h", "/%zz%4"), 3);
    CU_ASSERT_EQUAL(index_of(table, "h", "/%00/%3f"), 4);
    CU_ASSERT_EQUAL(index_of(table, "h", ""), 5);
    CU_ASSERT_EQUAL(index_of(table, "h", "?/A"), 5);
    CU_ASSERT_EQUAL(index_of(table, "h", "/%2541"), 6);
    route_scratch_free(scratch);
    route_table_unref(table);
}

static void refuses_what_it_cannot_decide(void)
{
    struct route_table *table =
        table_of(CV_STR("{\"ingress\":["
                        "{\"hostname\":\"plain\",\"service\":\"http_status:200\"},"
                        "{\"hostname\":\"re\",\"path\":\"x$\",\"service\":\"http_status:200\"},"
                        "{\"service\":\"http_status:404\"}]}"));
    scratch = route_scratch_new();
    size_t n = 100 * 1024;
    char *path = cv_xmalloc(n + 1);
    memset(path, 'x', n);
    path[n] = '\0';
    CU_ASSERT_EQUAL(index_of(table, "plain", path), 0);
    CU_ASSERT_EQUAL(index_of(table, "other", path), 2);
    CU_ASSERT_EQUAL(index_of(table, "re", path), -99);
    path[32 * 1024] = '\0';
    CU_ASSERT_EQUAL(index_of(table, "re", path), 1);
    memset(path, '\xff', 32 * 1024); /* each becomes a character of three bytes */
    CU_ASSERT_EQUAL(index_of(table, "re", path), 2);
    path[32 * 1024 - 1] = 'x';
    CU_ASSERT_EQUAL(index_of(table, "re", path), 1);
    free(path);
    route_scratch_free(scratch);
    route_table_unref(table);
}

static void finds_the_ascii_form_of_names(void)
{
    static const struct {
        const char *hostname, *host;
        int index;
    } rows[] = {
        { "Upper.Example", "upper.example", 0 },
        { "upper.example", "Upper.example", 1 },
        { "a_B.example", "a_b.example", 1 },
        { "-A.example", "-a.example", 1 },
        { "A--b.example", "a--b.example", 0 },
        { "aB--c.example", "ab--c.example", 1 },
        { "faß.example", "xn--fa-hia.example", 0 },
        { "faß.example", "fass.example", 1 },
        { "日本.example", "xn--wgv71a.example", 0 },
        { "日本。Example", "xn--wgv71a.example", 0 },
        { "A..b", "a..b", 0 },
        { "XN--MNCHEN-3YA.de", "xn--mnchen-3ya.de", 0 },
        { "*.Upper.example", "x.upper.example", 1 },
        { "*.日本", "x.xn--wgv71a", 1 },
    };
    scratch = route_scratch_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char doc[256];
        snprintf(doc, sizeof doc,
                 "{\"ingress\":[{\"hostname\":\"%s\",\"service\":\"http_status:200\"},"
                 "{\"service\":\"http_status:404\"}]}",
                 rows[i].hostname);
        struct route_table *table = table_of(cv_str_of(doc));
        CU_ASSERT_EQUAL(index_of(table, rows[i].host, "/"), rows[i].index);
        route_table_unref(table);
    }
    route_scratch_free(scratch);
}

static void tells_which_hosts_its_rules_name(void)
{
    static const struct {
        const char *host;
        bool named;
    } cases[] = { { "a.example.com", true },
                  { "a.example.com:443", true },
                  { "x.example.org", true },
                  { "b.example.com", false },
                  { "example.org", false },
                  { "xn--mnchen-3ya.example.com", true },
                  { "", false } };
    struct route_table *table =
        table_of(CV_STR("{\"ingress\":[{\"hostname\":\"a.example.com\",\"path\":\"^/v1/\","
                        "\"service\":\"http_status:200\"},"
                        "{\"hostname\":\"*.example.org\",\"service\":\"http_status:200\"},"
                        "{\"hostname\":\"münchen.example.com\",\"service\":\"http_status:200\"},"
                        "{\"service\":\"http_status:404\"}]}"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CU_ASSERT_EQUAL(route_names(table, cv_str_of(cases[i].host)), cases[i].named);
    route_table_unref(table);
}

SUITE(route, TEST(chooses_as_every_vector_says), TEST(takes_the_port_off_a_host),
      TEST(decodes_the_path_and_drops_the_query), TEST(refuses_what_it_cannot_decide),
      TEST(finds_the_ascii_form_of_names), TEST(tells_which_hosts_its_rules_name));
