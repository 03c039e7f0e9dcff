/* test_credentials.c: features, connector ids, tokens in files and their changes. */
#include "suite.h"
#include "tunnel/credentials.h"
#include "tunnel/token_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool has(const struct credentials *c, const char *name, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < c->features.n; i++)
        *count += cv_str_eq(c->features.v[i], cv_str_of(name));
    return *count > 0;
}

static void announces_each_feature_once_and_none_that_is_retired(void)
{
    const struct cv_str more[] = { CV_STR("support_datagram_v3_2"),
                                   CV_STR("management_logs"),
                                   CV_STR("mine"),
                                   CV_STR("support_datagram_v3"),
                                   CV_STR("mine"),
                                   CV_STR("") };
    const struct cv_list extra = { more, 6 };
    const uint8_t id[16] = { 0 };
    struct token token = { 0 };
    size_t count;
    struct credentials *c =
        credentials_new(&token, 0, &(struct credentials_source){ id, &extra, true, "{}" });
    CU_ASSERT_EQUAL(c->features.n, 8);
    CU_ASSERT(has(c, "postquantum", &count));
    CU_ASSERT(has(c, "support_datagram_v3_2", &count));
    CU_ASSERT(has(c, "mine", &count));
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT(!has(c, "support_datagram_v3", &count));
    CU_ASSERT(strncmp(c->arch, "linux_", 6) == 0);
    credentials_unref(credentials_ref(c));
    credentials_unref(c);
}

static void ids_are_random_uuids(void)
{
    uint8_t a[16], b[16];
    char text[UUID_TEXT];
    uuid_random(a);
    uuid_random(b);
    CU_ASSERT(memcmp(a, b, 16) != 0);
    uuid_text(a, text);
    CU_ASSERT_EQUAL(strlen(text), 36);
    CU_ASSERT_EQUAL(text[14], '4');
    CU_ASSERT_PTR_NOT_NULL(strchr("89ab", text[19]));
    const uint8_t known[16] = { 0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
                                0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8 };
    uuid_text(known, text);
    CU_ASSERT_STRING_EQUAL(text, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
}

/* ---- files ------------------------------------------------------------------------------------------------ */

/* {"a":"acc","s":"AAEC","t":"00000000-0000-0000-0000-000000000001"} and the same with the secret AAED */
static const char one[] =
    "eyJhIjoiYWNjIiwicyI6IkFBRUMiLCJ0IjoiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAxIn0=";
static const char two[] =
    "eyJhIjoiYWNjIiwicyI6IkFBRUQiLCJ0IjoiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAxIn0=";
static char file[] = "/tmp/culvert-token-XXXXXX";

static void put(const char *before, const char *text, const char *after)
{
    char next[64];
    snprintf(next, sizeof(next), "%s.new", file);
    FILE *f = fopen(next, "w");
    fprintf(f, "%s%s%s", before, text, after);
    fclose(f);
    rename(next, file);
}

static void make_file(void)
{
    memcpy(file + sizeof(file) - 7, "XXXXXX", 6);
    close(mkstemp(file));
}

static void reads_a_token_from_a_file(void)
{
    struct token a = { 0 }, b = { 0 };
    struct cv_err err;
    make_file();
    put("", one, "");
    CU_ASSERT_EQUAL(token_file_read(file, &a, &err), CV_OK);
    put(" \r\n\t", one, "\n \n");
    CU_ASSERT_EQUAL(token_file_read(file, &b, &err), CV_OK);
    CU_ASSERT(token_same(&a, &b));
    token_free(&b);
    put("", two, "");
    CU_ASSERT_EQUAL(token_file_read(file, &b, &err), CV_OK);
    CU_ASSERT(!token_same(&a, &b));
    token_free(&a);
    token_free(&b);
    put("", "rubbish", "");
    CU_ASSERT_EQUAL(token_file_read(file, &a, &err), CV_E_CONF);
    unlink(file);
    CU_ASSERT_EQUAL(token_file_read(file, &a, &err), CV_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "Failed to read token file: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "No such file or directory"));
}

static unsigned changes;

static void on_change(void *arg, struct token *take)
{
    (void)arg;
    CU_ASSERT_EQUAL(take->secret.n, 3);
    token_free(take);
    changes++;
}

static void turn_until_change(struct cv_worker *w, unsigned n, int64_t ms)
{
    int64_t limit = clock_ms() + ms;
    while (changes < n && clock_ms() < limit)
        event_base_loop(w->base, EVLOOP_ONCE);
}

static void notices_another_token_in_the_file(void)
{
    struct cv_worker *w = worker_new(0);
    make_file();
    put("", one, "");
    changes = 0;
    struct token_watch *watch = token_watch_new(worker_core_self(w), file, NULL, on_change, NULL);
    put("", "rubbish", "");
    turn_until_change(w, 1, 1200);
    CU_ASSERT_EQUAL(changes, 0); /* told to the log alone */
    put("", two, "\n");
    turn_until_change(w, 1, 10000);
    CU_ASSERT_EQUAL(changes, 1);
    token_watch_free(watch);
    worker_free(w);
    unlink(file);
}

SUITE(credentials, TEST(announces_each_feature_once_and_none_that_is_retired), TEST(ids_are_random_uuids),
      TEST(reads_a_token_from_a_file), TEST(notices_another_token_in_the_file));
