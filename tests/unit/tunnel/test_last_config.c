/* test_last_config.c: the configuration kept for the next start: whole, of this tunnel, or not used. */
#include "suite.h"
#include "tunnel/last_config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TUNNEL "11111111-2222-4333-8444-555555555555"

static char dir[32], file[64];
static struct cv_buf config;
static int32_t version;
static struct cv_err err;

static void begin(void)
{
    snprintf(dir, sizeof(dir), "/tmp/culvert-last-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/config.json", dir);
}

static void end(void)
{
    unlink(file);
    CU_ASSERT_EQUAL(rmdir(dir), 0); /* nothing else was left in it */
    cv_buf_free(&config);
}

static void put(const char *text, size_t n, mode_t mode)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CU_ASSERT_EQUAL(write(fd, text, n), (ssize_t)n);
    fchmod(fd, mode);
    close(fd);
}

static enum cv_error get(void)
{
    config.n = 0;
    err.text[0] = '\0';
    return last_config_read(file, TUNNEL, &version, &config, &err);
}

static void comes_back_as_it_was_kept(void)
{
    const struct cv_str document =
        CV_STR(" {\"ingress\" : [{\"service\":\"http_status:404\"}], \"x\": \"\xff<\"}\n");
    struct stat is;
    begin();
    for (int32_t v = 0; v >= 0; v = v == 0 ? INT32_MAX : -1) {
        CU_ASSERT_EQUAL(last_config_write(file, TUNNEL, v, document, &err), CV_OK);
        CU_ASSERT_EQUAL(get(), CV_OK);
        CU_ASSERT_EQUAL(version, v);
        config.p[config.n] = '\0';
        CU_ASSERT_PTR_NOT_NULL(
            strstr((char *)config.p, "{\"ingress\" : [{\"service\":\"http_status:404\"}]"));
    }
    CU_ASSERT_EQUAL(stat(file, &is), 0);
    CU_ASSERT_EQUAL(is.st_mode & 07777, 0600);
    end();
}

static void what_a_crash_left_half_written_is_begun_anew(void)
{
    char beside[80];
    begin();
    put("{\"tunnel\":", 10, 0600);
    snprintf(beside, sizeof(beside), "%s.new", file);
    CU_ASSERT_EQUAL(rename(file, beside), 0);
    CU_ASSERT_EQUAL(get(), CV_OK);
    CU_ASSERT_EQUAL(version, -1);
    CU_ASSERT_EQUAL(last_config_write(file, TUNNEL, 3, CV_STR("{}"), &err), CV_OK);
    CU_ASSERT_EQUAL(get(), CV_OK);
    CU_ASSERT_EQUAL(version, 3);
    end();
}

static void no_file_is_no_error(void)
{
    begin();
    CU_ASSERT_EQUAL(get(), CV_OK);
    CU_ASSERT_EQUAL(version, -1);
    end();
}

static const struct {
    const char *text, *why;
} broken[] = {
    { "", "is broken" },
    { "{\"tunnel\":\"" TUNNEL "\",\"version\":1,\"config\":{\"ingress\":[", "is broken" },
    { "{\"tunnel\":\"" TUNNEL "\",\"version\":1,\"config\":{}}x", "is broken" },
    { "[]", "is broken" },
    { "{\"tunnel\":\"" TUNNEL "\",\"version\":1.5,\"config\":{}}", "is broken" },
    { "{\"tunnel\":\"" TUNNEL "\",\"version\":1}", "does not hold a configuration" },
    { "{\"tunnel\":\"" TUNNEL "\",\"config\":{}}", "does not hold a configuration" },
    { "{\"tunnel\":\"" TUNNEL "\",\"version\":-2,\"config\":{}}", "does not hold a configuration" },
    { "{\"tunnel\":\"" TUNNEL "\",\"version\":2147483648,\"config\":{}}", "does not hold a configuration" },
    { "{\"tunnel\":\"99999999-2222-4333-8444-555555555555\",\"version\":1,\"config\":{}}",
      "belongs to another tunnel, 99999999-2222" },
    { "{\"version\":1,\"config\":{}}", "belongs to another tunnel" },
};

static void what_is_not_whole_and_of_this_tunnel_is_refused_by_name(void)
{
    begin();
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        put(broken[i].text, strlen(broken[i].text), 0600);
        CU_ASSERT_NOT_EQUAL(get(), CV_OK);
        CU_ASSERT_EQUAL(version, -1);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, file));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, broken[i].why));
        if (!strstr(err.text, broken[i].why))
            fprintf(stderr, "  %zu: %s\n", i, err.text);
    }
    end();
}

static void what_is_no_file_of_ours_is_refused(void)
{
    static const char whole[] = "{\"tunnel\":\"" TUNNEL "\",\"version\":1,\"config\":{}}";
    begin();
    put(whole, sizeof(whole) - 1, 0606);
    CU_ASSERT_EQUAL(get(), CV_E_CONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "may be changed by everybody (mode 0606)"));
    CU_ASSERT_EQUAL(truncate(file, CONFIG_BYTES_MAX + 1000), 0);
    chmod(file, 0660);
    CU_ASSERT_EQUAL(get(), CV_E_LIMIT);
    unlink(file);
    CU_ASSERT_EQUAL(mkfifo(file, 0600), 0); /* nobody writes to it: reading it must not wait */
    CU_ASSERT_EQUAL(get(), CV_E_CONF);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is not a regular file"));
    end();
}

static unsigned entries(void)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* And nothing half written beside it. */
static void a_failure_to_write_leaves_the_old_file_alone(void)
{
    char into[96];
    begin();
    CU_ASSERT_EQUAL(mkdir(file, 0700), 0); /* rename() cannot replace a folder by a file */
    CU_ASSERT_EQUAL(last_config_write(file, TUNNEL, 1, CV_STR("{}"), &err), CV_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, file));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "Is a directory"));
    CU_ASSERT_EQUAL(entries(), 3);
    rmdir(file);
    snprintf(into, sizeof(into), "%s/none/config.json", dir);
    CU_ASSERT_EQUAL(last_config_write(into, TUNNEL, 1, CV_STR("{}"), &err), CV_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "No such file or directory"));
    end();
}

SUITE(last_config, TEST(comes_back_as_it_was_kept), TEST(what_a_crash_left_half_written_is_begun_anew),
      TEST(no_file_is_no_error), TEST(what_is_not_whole_and_of_this_tunnel_is_refused_by_name),
      TEST(what_is_no_file_of_ours_is_refused), TEST(a_failure_to_write_leaves_the_old_file_alone));
