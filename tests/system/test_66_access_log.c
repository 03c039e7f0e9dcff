/* test_66_access_log.c: a line for each request, and nobody waits for it. */
#include "scene.h"

#include "culvert/culvert.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

#define QUERY_SECRET "query-5e0d9c2b61" /* test_90_secrets.c looks for it */

static char dir[] = "/tmp/culvert-access-XXXXXX", path[64], ini[256];

static void begin(const char *more)
{
    snprintf(dir, sizeof(dir), "/tmp/culvert-access-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    snprintf(ini, sizeof(ini), "[access_log]\nto = %s\n%s", path, more);
}

static void end(void)
{
    unlink(path);
    rmdir(dir);
}

static size_t n_lines(const char *file, char *text, size_t size)
{
    size_t n = 0;
    FILE *f = fopen(file, "re");
    text[f ? fread(text, 1, size - 1, f) : 0] = '\0';
    if (f)
        fclose(f);
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        n++;
    return n;
}

/* The lines of the file, once there are so many. */
static bool has_lines(const char *file, size_t wanted, char *text, size_t size)
{
    long long until = now_in_ms() + PATIENCE_MS;
    while (n_lines(file, text, size) < wanted && now_in_ms() < until)
        sleep_ms(5);
    return n_lines(file, text, size) == wanted;
}

static void visit(struct scene *t, const char *host, const char *target, int status)
{
    char fields[128];
    snprintf(fields, sizeof(fields), "Host: %s\r\nAuthorization: Bearer sk-culvert-test-7f3a9c51\r\n", host);
    struct answer a = scene_visit(t, "POST", target, fields, "hello", 5);
    CHECK_STATUS(a, status);
    answer_free(&a);
}

static const char rules[] = "{\"ingress\":[{\"hostname\":\"a.example\",\"service\":\"$ORIGIN\"},"
                            "{\"hostname\":\"dead.example\",\"service\":\"http://127.0.0.1:1\"},"
                            "{\"service\":\"http_status:404\"}]}";

static void check_line(const char *line, const char *host, int64_t rule, int64_t status, int64_t in,
                       const char *reason)
{
    yyjson_doc *doc = yyjson_read(line, strcspn(line, "\n"), 0);
    yyjson_val *o = yyjson_doc_get_root(doc);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o);
    CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(o, "host")), host);
    CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(o, "method")), "POST");
    CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(o, "type")), "http");
    CU_ASSERT_STRING_EQUAL(yyjson_get_str(yyjson_obj_get(o, "path")), "/v1/a%20b");
    CU_ASSERT_EQUAL(yyjson_get_sint(yyjson_obj_get(o, "rule")), rule);
    CU_ASSERT_EQUAL(yyjson_get_sint(yyjson_obj_get(o, "status")), status);
    CU_ASSERT_TRUE(yyjson_get_sint(yyjson_obj_get(o, "bytesIn")) <= in);
    CU_ASSERT_TRUE(*reason || yyjson_get_sint(yyjson_obj_get(o, "bytesIn")) == in);
    CU_ASSERT_EQUAL(yyjson_get_sint(yyjson_obj_get(o, "connIndex")), 0);
    CU_ASSERT_TRUE(yyjson_get_real(yyjson_obj_get(o, "total")) >= yyjson_get_real(yyjson_obj_get(o, "ttfb")));
    CU_ASSERT_TRUE(yyjson_get_real(yyjson_obj_get(o, "ttfb")) > 0);
    CU_ASSERT_PTR_NOT_NULL(yyjson_obj_get(o, "cfRay"));
    CU_ASSERT_EQUAL(strlen(yyjson_get_str(yyjson_obj_get(o, "time"))), 24);
    const char *said = yyjson_get_str(yyjson_obj_get(o, "reason"));
    CU_ASSERT_STRING_EQUAL(said ? said : "", reason);
    said = yyjson_get_str(yyjson_obj_get(o, "closedBy"));
    CU_ASSERT_STRING_EQUAL(said ? said : "", *reason ? "origin" : "");
    yyjson_doc_free(doc);
}

static void a_request_is_a_line_that_tells_no_secret(void)
{
    static char text[16384];
    for (each_transport(transport)) {
        begin("");
        struct scene *t = scene_start(&(struct setup){ .transport = transport, .rules = rules, .ini = ini });
        visit(t, "a.example", "/v1/a%20b?key=" QUERY_SECRET, 200);
        CU_ASSERT_TRUE(has_lines(path, 1, text, sizeof(text)));
        check_line(text, "a.example", 0, 200, 5, "");
        visit(t, "dead.example", "/v1/a%20b", 502);
        CU_ASSERT_TRUE(has_lines(path, 2, text, sizeof(text)));
        check_line(strchr(text, '\n') + 1, "dead.example", 1, 502, 5, "refused");
        visit(t, "b.example", "/v1/a%20b", 404);
        CU_ASSERT_TRUE(has_lines(path, 3, text, sizeof(text)));
        CU_ASSERT_PTR_NULL(strstr(text, QUERY_SECRET));
        CU_ASSERT_PTR_NULL(strstr(text, "sk-culvert"));
        CU_ASSERT_TRUE(scene_counts(t, "culvert_access_log_lines_total", 3));
        scene_stop(t);
        end();
    }
}

static void a_sample_leaves_out_what_went_well(void)
{
    static char text[16384];
    begin("sample = 10\n");
    struct scene *t = scene_start(&(struct setup){ .transport = "http2", .rules = rules, .ini = ini });
    for (int i = 0; i < 9; i++)
        visit(t, "a.example", "/", 200);
    CU_ASSERT_EQUAL(n_lines(path, text, sizeof(text)), 0);
    visit(t, "a.example", "/", 200);
    CU_ASSERT_TRUE(has_lines(path, 1, text, sizeof(text)));
    for (int i = 0; i < 3; i++)
        visit(t, "dead.example", "/", 502);
    CU_ASSERT_TRUE(has_lines(path, 4, text, sizeof(text)));
    scene_stop(t);
    end();
}

static void a_file_that_was_moved_away_is_made_anew(void)
{
    static char text[16384];
    char moved[96];
    begin("");
    snprintf(moved, sizeof(moved), "%s.1", path);
    struct scene *t = scene_start(&(struct setup){ .transport = "quic", .ini = ini });
    visit(t, "a.example", "/before", 200);
    CU_ASSERT_TRUE(has_lines(path, 1, text, sizeof(text)));
    CU_ASSERT_EQUAL(rename(path, moved), 0);
    process_signal(t->culvert, SIGHUP);
    CU_ASSERT_TRUE(process_says(t->culvert, "Configuration reloaded", PATIENCE_MS));
    visit(t, "a.example", "/behind", 200);
    CU_ASSERT_TRUE(has_lines(path, 1, text, sizeof(text)));
    CHECK_HOLDS(text, "\"path\":\"/behind\"");
    CU_ASSERT_EQUAL(n_lines(moved, text, sizeof(text)), 1);
    scene_stop(t);
    unlink(moved);
    end();
}

/* A named pipe whose reader does not read. */
static void nobody_waits_for_a_reader_that_is_slow(void)
{
    begin("buffer = 16k\n");
    CU_ASSERT_EQUAL_FATAL(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(reader >= 0);
    struct scene *t = scene_start(&(struct setup){ .transport = "http2", .ini = ini });
    static const char full[] = "culvert_access_log_dropped_total{reason=\"full\"}";
    for (int i = 0; i < 2000 && scene_metric(t, full) <= 0; i++)
        for (int k = 0; k < 50; k++)
            visit(t, "a.example", "/a-path-that-makes-the-line-longer-so-that-the-pipe-is-full-earlier", 200);
    CU_ASSERT_TRUE(scene_metric(t, full) > 0);
    scene_stop(t);
    close(reader);
    end();
}

SUITE(system_66_access_log, TEST(a_request_is_a_line_that_tells_no_secret),
      TEST(a_sample_leaves_out_what_went_well), TEST(a_file_that_was_moved_away_is_made_anew),
      TEST(nobody_waits_for_a_reader_that_is_slow));
