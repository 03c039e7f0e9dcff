/* test_value.c: option values as text and typed. */
#include "boot_test.h"

#include <sys/stat.h>

struct all {
    bool b;
    int i, w;
    const char *s;
    struct cv_list l;
    struct cv_ms ms;
    struct cv_bytes n;
    struct cv_secret k;
};

static const struct cv_option options[] = {
    CV_OPT(struct all, b, "no", "b"),
    CV_OPT(struct all, i, "1", "i", .min = -1, .max = 16),
    CV_OPT(struct all, w, "auto", "w", .words = "auto|quic|http2"),
    CV_OPT(struct all, s, "", "s"),
    CV_OPT(struct all, l, "", "l"),
    CV_OPT(struct all, ms, "0", "ms"),
    CV_OPT(struct all, n, "0", "n"),
    CV_OPT(struct all, k, "", "k"),
    CV_OPT_END,
};

static const struct cv_option *named(const char *name)
{
    const struct cv_option *o = options;
    while (strcmp(o->name, name) != 0)
        o++;
    return o;
}

/* The value as text again, or why it is none. */
static const char *round_trip(const char *option, const char *text)
{
    static struct remark why;
    const struct cv_option *o = named(option);
    struct block *blocks = NULL;
    struct all all = { .s = "" };
    struct remark warning = { "" };
    if (value_parse(o, text, false, &blocks, (char *)&all + o->at, &why, &warning)) {
        char *again = value_format(o, (char *)&all + o->at);
        snprintf(why.text, sizeof(why.text), "%s", again);
        free(again);
    }
    block_free(&blocks);
    return why.text;
}

static void says_values_again_or_why_not(void)
{
    static const struct {
        const char *option, *text, *wanted;
    } cases[] = {
        { "b", "yes", "yes" },
        { "b", "TRUE", "yes" },
        { "b", "on", "yes" },
        { "b", "off", "no" },
        { "b", "false", "no" },
        { "b", "1", "\"1\" is not yes or no" },
        { "b", "", "\"\" is not yes or no" },
        { "i", "-1", "-1" },
        { "i", "16", "16" },
        { "i", "+3", "3" },
        { "i", "17", "\"17\" is not -1 to 16" },
        { "i", "1x", "\"1x\" is not -1 to 16" },
        { "i", " 1", "\" 1\" is not -1 to 16" },
        { "i", "-", "\"-\" is not -1 to 16" },
        { "i", "99999999999999999999", "\"99999999999999999999\" is not -1 to 16" },
        { "w", "http2", "http2" },
        { "w", "htp2", "\"htp2\" is not one of auto, quic or http2; did you mean http2?" },
        { "w", "QUIC", "\"QUIC\" is not one of auto, quic or http2" },
        { "w", "auto|quic", "\"auto|quic\" is not one of auto, quic or http2" },
        { "s", "a b", "a b" },
        { "l", "", "" },
        { "l", " a,b ,, c d,", "a, b, c d" },
        { "ms", "0", "0s" },
        { "ms", "500ms", "500ms" },
        { "ms", "90s", "1m30s" },
        { "ms", "1h0.5s", "1h500ms" },
        { "ms", "1.5s", "1500ms" },
        { "ms", "10us", "1ms" },
        { "ms", "10", "\"10\" is not a duration, such as 500ms, 30s or 1m30s" },
        { "ms", "-5s", "\"-5s\" is not a duration, such as 500ms, 30s or 1m30s" },
        { "ms", "s", "\"s\" is not a duration, such as 500ms, 30s or 1m30s" },
        { "ms", "1 s", "\"1 s\" is not a duration, such as 500ms, 30s or 1m30s" },
        { "ms", "9999999999h", "\"9999999999h\" is not a duration, such as 500ms, 30s or 1m30s" },
        { "ms", "99999999999999999999999s",
          "\"99999999999999999999999s\" is not a duration, such as 500ms, 30s or 1m30s" },
        { "n", "4096", "4k" },
        { "n", "4097", "4097" },
        { "n", "64k", "64k" },
        { "n", "16M", "16M" },
        { "n", "2048m", "2G" },
        { "n", "16T", "\"16T\" is not a size, such as 4096, 64k or 16M" },
        { "n", "1kB", "\"1kB\" is not a size, such as 4096, 64k or 16M" },
        { "n", "99999999999G", "\"99999999999G\" is not a size, such as 4096, 64k or 16M" },
        { "n", "-1", "\"-1\" is not a size, such as 4096, 64k or 16M" },
        { "k", "", "" },
        { "k", "env:CULVERT_TEST_SECRET", "***" },
        { "k", "env:CULVERT_TEST_NO_SECRET", "the environment variable CULVERT_TEST_NO_SECRET is not set" },
        { "k", "file:/nonexistent", "/nonexistent cannot be used: No such file or directory" },
        { "k", "hush", "a secret does not stand here itself; say env:NAME or file:/path" },
    };
    setenv("CULVERT_TEST_SECRET", "hush", 1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_TEXT(round_trip(cases[i].option, cases[i].text), cases[i].wanted);
}

static void durations_are_read_as_go_writes_them(void)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = { { "300ms", 300 },
                 { "-1.5h", -5400000 },
                 { "2h45m", 9900000 },
                 { "+5s", 5000 },
                 { ".5s", 500 },
                 { "1.s", 1000 },
                 { "3\xC2\xB5s", 1 },
                 { "1h15m30.918s", 4530918 },
                 { "24h0m0s", 86400000 },
                 { "0", 0 },
                 { "-0", 0 },
                 { "0s", 0 } };
    static const char *const bad[] = { "", "3", "-", ".s", "1d", "ms", "1s2", "s1", "1.1.1s", "1S" };
    int64_t ms;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CU_ASSERT_TRUE(duration_parse(good[i].text, &ms));
        CU_ASSERT_EQUAL(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CU_ASSERT_FALSE(duration_parse(bad[i], &ms));
}

static void a_secret_file_loses_its_last_line_end_and_should_be_private(void)
{
    static const struct {
        const char *content, *secret;
        mode_t mode;
        bool warns;
    } cases[] = { { "hush\n", "hush", 0600, false },
                  { "hush\r\n\n", "hush", 0640, false },
                  { " hush ", " hush ", 0644, true },
                  { "\n", NULL, 0600, false } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *file = temporary(cases[i].content), text[80];
        chmod(file, cases[i].mode);
        snprintf(text, sizeof(text), "file:%s", file);
        struct block *blocks = NULL;
        struct cv_secret secret = { NULL, 0 };
        struct remark why = { "" }, warning = { "" };
        CU_ASSERT_EQUAL(value_parse(named("k"), text, false, &blocks, &secret, &why, &warning),
                        cases[i].secret != NULL);
        if (cases[i].secret) {
            CU_ASSERT_TRUE(cv_str_eq(cv_reveal(secret), cv_str_of(cases[i].secret)));
        } else {
            CHECK_HOLDS(why.text, "it is empty");
        }
        CU_ASSERT_EQUAL(*warning.text != '\0', cases[i].warns);
        CU_ASSERT_PTR_NULL(strstr(warning.text, "hush"));
        block_free(&blocks);
        unlink(file);
    }
}

static void secrets_are_the_same_when_their_bytes_are(void)
{
    struct cv_secret a = { "one", 3 }, b = { "two", 3 }, c = { "one", 3 };
    CU_ASSERT_FALSE(value_same(named("k"), &a, &b));
    CU_ASSERT_TRUE(value_same(named("k"), &a, &c));
}

SUITE(value, TEST(says_values_again_or_why_not), TEST(durations_are_read_as_go_writes_them),
      TEST(a_secret_file_loses_its_last_line_end_and_should_be_private),
      TEST(secrets_are_the_same_when_their_bytes_are));
