/* test_log.c: the two forms of a log line, and that a peer's bytes cannot forge one. */
#include "culvert/operate.h"
#include "loop/loop.h"
#include "suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char line[4096];

/* What the next calls write to stderr lands in `line`. */
static int saved, pipe_fds[2];
static void catch_stderr(void)
{
    fflush(stderr);
    CU_ASSERT_EQUAL(pipe2(pipe_fds, O_NONBLOCK), 0);
    saved = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
}

static void release_stderr(void)
{
    ssize_t n = read(pipe_fds[0], line, sizeof(line) - 1);
    line[n > 0 ? n : 0] = '\0';
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Without the time, which differs: 20 bytes and a blank on the console. */
static const char *behind_time(void)
{
    return strlen(line) > 21 ? line + 21 : "";
}

static void the_console_names_fields_sorted_and_the_error_first(void)
{
    catch_stderr();
    log_line(CV_WARN,
             CV_FIELDS(CV_I("connIndex", 3), CV_S("ip", CV_STR("192.0.2.1")), CV_S("error", CV_STR("no way")),
                       CV_S("cfRay", CV_STR(""))),
             "Serve tunnel %s", "error");
    release_stderr();
    CU_ASSERT_STRING_EQUAL(behind_time(),
                           "WRN Serve tunnel error error=\"no way\" cfRay=\"\" connIndex=3 ip=192.0.2.1\n");
    CU_ASSERT_EQUAL(line[10], 'T');
    CU_ASSERT_EQUAL(line[19], 'Z');
}

static void json_is_one_object_with_sorted_keys(void)
{
    struct log_conf json = { .level = CV_INFO, .output = 1, .file = "", .directory = "" }, console = json;
    console.output = 0;
    log_setup(&json, NULL);
    catch_stderr();
    log_line(
        CV_INFO,
        CV_FIELDS(CV_I("version", -1), CV_S("a", CV_STR("x\"y\\\n\x01\xff\xe2\x86\x92\xc2\x9b\xc0\xaf"))),
        "Updated");
    release_stderr();
    log_setup(&console, NULL);
    char *time = strstr(line, "\"time\":\"");
    CU_ASSERT_PTR_NOT_NULL_FATAL(time);
    CU_ASSERT_STRING_EQUAL(time + 28, "\",\"version\":-1}\n");
    *time = '\0';
    CU_ASSERT_STRING_EQUAL(line,
                           "{\"a\":\"x\\\"y\\\\\\n\\u0001\\u00ff\xe2\x86\x92\\u00c2\\u009b\\u00c0\\u00af\","
                           "\"level\":\"info\",\"message\":\"Updated\",");
}

static void bytes_of_a_peer_cannot_forge_a_line(void)
{
    catch_stderr();
    log_line(CV_ERROR, CV_FIELDS(CV_S("error", CV_STR("x\n2026-01-01T00:00:00Z INF fine\33[31m"))), "a\nb");
    release_stderr();
    CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + strlen(line) - 1);
    CU_ASSERT_PTR_NULL(strchr(line, '\33'));
}

static void levels_keep_quiet(void)
{
    catch_stderr();
    log_line(CV_DEBUG, NULL, "not seen");
    cv_log_level_set(CV_DEBUG);
    log_line(CV_DEBUG, NULL, "seen");
    cv_log_level_set(CV_INFO);
    release_stderr();
    CU_ASSERT_STRING_EQUAL(behind_time(), "DBG seen\n");
}

static void a_very_long_value_is_bounded(void)
{
    static char huge[200000];
    memset(huge, 'x', sizeof(huge));
    int null = open("/dev/null", O_WRONLY);
    fflush(stderr);
    int keep = dup(STDERR_FILENO);
    dup2(null, STDERR_FILENO);
    log_line(CV_INFO, CV_FIELDS(CV_S("config", ((struct cv_str){ huge, sizeof(huge) }))), "bounded");
    dup2(keep, STDERR_FILENO);
    close(keep);
    close(null);
    CU_ASSERT_EQUAL(huge[sizeof(huge) - 1], 'x');
}

static void a_log_folder_rolls_its_file(void)
{
    char dir[] = "/tmp/culvert-log-XXXXXX", path[64], older[64];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    struct log_conf conf = { .level = CV_INFO, .file = "", .directory = dir };
    CU_ASSERT_EQUAL(log_setup(&conf, NULL), CV_OK);
    static char text[1500];
    memset(text, 'y', sizeof(text));
    catch_stderr();
    for (int i = 0; i < 800; i++) {
        log_line(CV_INFO, CV_FIELDS(CV_S("pad", ((struct cv_str){ text, sizeof(text) }))), "line %d", i);
        char drop[4096];
        while (read(pipe_fds[0], drop, sizeof(drop)) > 0)
            ;
    }
    release_stderr();
    log_close();
    snprintf(path, sizeof(path), "%s/cloudflared.log", dir);
    snprintf(older, sizeof(older), "%s/cloudflared.log.1", dir);
    CU_ASSERT_EQUAL(access(path, R_OK), 0);
    CU_ASSERT_EQUAL(access(older, R_OK), 0);
    unlink(path);
    unlink(older);
    rmdir(dir);
}

static void a_log_file_that_was_moved_away_is_made_anew(void)
{
    char dir[] = "/tmp/culvert-log-XXXXXX", name[64], moved[64], content[512];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(name, sizeof(name), "%s/log", dir);
    snprintf(moved, sizeof(moved), "%s/log.1", dir);
    struct log_conf conf = { .level = CV_INFO, .file = name, .directory = "" };
    struct cv_err err;
    catch_stderr();
    CU_ASSERT_EQUAL(log_setup(&conf, &err), CV_OK);
    log_line(CV_INFO, NULL, "before");
    CU_ASSERT_EQUAL(rename(name, moved), 0);
    CU_ASSERT_EQUAL(log_setup(&conf, &err), CV_OK);
    log_line(CV_INFO, NULL, "behind");
    log_close();
    release_stderr();
    FILE *f = fopen(name, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    content[fread(content, 1, sizeof(content) - 1, f)] = '\0';
    fclose(f);
    CU_ASSERT_PTR_NOT_NULL(strstr(content, "behind"));
    CU_ASSERT_PTR_NULL(strstr(content, "before"));
    unlink(name);
    unlink(moved);
    rmdir(dir);
}

/* ---- the same over and over ------------------------------------------------------------------------------ */

static unsigned lines(void)
{
    unsigned n = 0;
    for (const char *p = line; (p = strchr(p, '\n')); p++)
        n++;
    return n;
}

static void a_message_over_and_over_is_counted_and_told(void)
{
    log_limit_set(3);
    catch_stderr();
    for (int i = 0; i < 10; i++) {
        log_line(CV_ERROR, CV_FIELDS(CV_I("i", i)), "Request %d failed", i);
        log_line(CV_ERROR, NULL, "%s", i % 2 ? "odd" : "even");
        log_line(CV_WARN, NULL, "Request %d failed", i);
    }
    log_limit_tell(false); /* their time is not over */
    release_stderr();
    CU_ASSERT_EQUAL(lines(), 12);
    catch_stderr();
    log_limit_tell(true);
    release_stderr();
    CU_ASSERT_EQUAL(lines(), 4);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, " ERR 7 more of these in 10 s: Request 9 failed suppressed=7\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, " ERR 2 more of these in 10 s: odd suppressed=2\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(line, " WRN 7 more of these in 10 s: Request 9 failed suppressed=7\n"));
    log_limit_set(0);
}

static void debug_and_no_limit_write_everything(void)
{
    log_limit_set(3);
    cv_log_level_set(CV_DEBUG);
    catch_stderr();
    for (int i = 0; i < 10; i++)
        log_line(CV_DEBUG, NULL, "detail");
    log_limit_set(0);
    for (int i = 0; i < 10; i++)
        log_line(CV_INFO, NULL, "news");
    release_stderr();
    CU_ASSERT_EQUAL(lines(), 20);
    cv_log_level_set(CV_INFO);
}

static void more_messages_than_are_remembered_are_all_written(void)
{
    char text[32];
    log_limit_set(1);
    catch_stderr();
    for (int i = 0; i < 70; i++) {
        snprintf(text, sizeof(text), "x%d", i);
        log_line(CV_INFO, NULL, "%s", text);
    }
    release_stderr();
    CU_ASSERT_EQUAL(lines(), 70);
    log_limit_set(0);
    log_limit_tell(true);
}

SUITE(log, TEST(the_console_names_fields_sorted_and_the_error_first),
      TEST(json_is_one_object_with_sorted_keys), TEST(bytes_of_a_peer_cannot_forge_a_line),
      TEST(levels_keep_quiet), TEST(a_very_long_value_is_bounded), TEST(a_log_folder_rolls_its_file),
      TEST(a_log_file_that_was_moved_away_is_made_anew), TEST(a_message_over_and_over_is_counted_and_told),
      TEST(debug_and_no_limit_write_everything), TEST(more_messages_than_are_remembered_are_all_written));
