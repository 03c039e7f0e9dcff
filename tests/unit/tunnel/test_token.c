/* test_token.c: tokens: the vectors, and what a parser made by hand is likely to get wrong. */
#include "culvert/mem.h"
#include "suite.h"
#include "tunnel/token.h"

#include <string.h>
#include <yyjson.h>

static struct cv_secret secret(const char *text)
{
    return (struct cv_secret){ text, strlen(text) };
}

static void hex(const void *bytes, size_t n, char *to)
{
    for (size_t i = 0; i < n; i++)
        snprintf(to + 2 * i, 3, "%02x", ((const uint8_t *)bytes)[i]);
    to[2 * n] = '\0';
}

static const char *member(yyjson_val *row, const char *key)
{
    const char *text = yyjson_get_str(yyjson_obj_get(row, key));
    return text ? text : "";
}

static bool same_id(const uint8_t id[16], const char *text)
{
    char digits[33], want[33] = "";
    hex(id, 16, digits);
    for (size_t n = 0; *text && n < 32; text++)
        if (*text != '-')
            want[n++] = *text;
    return strncmp(digits, want, 32) == 0;
}

static void gives_the_verdict_of_every_vector(void)
{
    yyjson_doc *doc = yyjson_read_file("tests/vectors/token/tokens.json", 0, NULL, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
    yyjson_val *row;
    size_t i, max;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "cases"), i, max, row)
    {
        struct token token;
        struct cv_err err = { "" };
        enum cv_error error = token_parse(secret(member(row, "token")), &token, &err);
        CU_ASSERT_EQUAL(error == CV_OK, yyjson_get_bool(yyjson_obj_get(row, "ok")));
        if (error) {
            CU_ASSERT_STRING_EQUAL(err.text, member(row, "error"));
            CU_ASSERT_PTR_NULL(token.account_tag);
        } else {
            char digits[256];
            hex(cv_reveal(token.secret).p, token.secret.n, digits);
            CU_ASSERT_STRING_EQUAL(digits, member(row, "tunnelSecret_hex"));
            CU_ASSERT_STRING_EQUAL(token.account_tag, member(row, "accountTag"));
            CU_ASSERT_STRING_EQUAL(token.endpoint, member(row, "endpoint"));
            CU_ASSERT_TRUE(same_id(token.id, member(row, "tunnelID")));
        }
        token_free(&token);
    }
    CU_ASSERT(i > 20);
    yyjson_doc_free(doc);
}

static char *base64(const char *text)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(text);
    char *out = cv_xmalloc(n / 3 * 4 + 5), *o = out;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (i + k < n ? (uint8_t)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            *o++ = k <= n - i ? alphabet[group >> (18 - 6 * k) & 63] : '=';
    }
    *o = '\0';
    return out;
}

/* The inner document, and the secret in hex, or NULL for one that is refused. */
static const struct {
    const char *json, *secret;
} documents[] = {
    { "{}", "" },
    { " null ", "" },
    { "{\"s\":\"AAEC\"}", "000102" },
    { "{\"s\":\"AA==\"}", "00" },
    { "{\"s\":\"AB==\"}", "00" }, /* bits that belong to no byte are let through */
    { "{\"s\":\"AA\\nA=\"}", "0000" },
    { "{\"s\":\"\\u0041AEC\"}", "000102" },
    { "{\"s\":null,\"S\":\"AAEC\"}", "000102" },
    { "{\"s\":\"AAEC\",\"s\":null}", "" },
    { "{\"S\":\"AAEC\",\"s\":\"AA==\"}", "00" },
    { "{\"\xC5\xBF\":\"AAEC\"}", "000102" }, /* a long s is an s */
    { "{\"s\":[0,255]}", "00ff" },
    { "{\"s\":[256]}", NULL },
    { "{\"s\":[-1]}", NULL },
    { "{\"s\":\"AAE\"}", NULL },
    { "{\"s\":\"AAEC=\"}", NULL },
    { "{\"s\":\"A===\"}", NULL },
    { "{\"s\":1}", NULL },
    { "{\"a\":1}", NULL },
    { "{\"e\":[]}", NULL },
    { "{\"t\":1}", NULL },
    { "{\"t\":\"f47ac10b58cc4372a5670e02b2c3d479\"}", "" },
    { "{\"t\":\"URN:UUID:f47ac10b-58cc-4372-a567-0e02b2c3d479\"}", "" },
    { "{\"t\":\"urn:uuix:f47ac10b-58cc-4372-a567-0e02b2c3d479\"}", NULL },
    { "{\"t\":\"f47ac10b_58cc-4372-a567-0e02b2c3d479\"}", NULL },
    { "{\"t\":\"g47ac10b-58cc-4372-a567-0e02b2c3d479\"}", NULL },
    { "{\"x\":{\"s\":1}}", "" },
    { "{\"s\":\"AAEC\"}x", NULL },
    { "{\"s\":\"AAEC\"", NULL },
    { "{'s':\"AAEC\"}", NULL },
    { "\"text\"", NULL },
    { "", NULL },
};

static void reads_the_document_as_go_does(void)
{
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        char *text = base64(documents[i].json), digits[256] = "";
        struct token token;
        struct cv_err err = { "" };
        enum cv_error error = token_parse(secret(text), &token, &err);
        CU_ASSERT_EQUAL(error == CV_OK, documents[i].secret != NULL);
        if (!error && documents[i].secret) {
            hex(cv_reveal(token.secret).p, token.secret.n, digits);
            CU_ASSERT_STRING_EQUAL(digits, documents[i].secret);
        }
        CU_ASSERT(!error || err.text[0]);
        token_free(&token);
        free(text);
    }
}

static void does_not_trim(void)
{
    static const char *const bad[] = {
        " e30=", "e30= ", "e30=\t", "\"e30=\"", "e30", "e30==", "=e30", "e3-_"
    };
    struct token token;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CU_ASSERT_EQUAL(token_parse(secret(bad[i]), &token, NULL), CV_E_CONF);
    static const char *const good[] = { "e30=", "e3\n0=", "e30\r\n=\n", "\ne30=" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CU_ASSERT_EQUAL(token_parse(secret(good[i]), &token, NULL), CV_OK);
        token_free(&token);
    }
}

static void refuses_a_token_that_is_far_too_long(void)
{
    size_t n = 1024 * 1024;
    char *text = cv_xmalloc(n + 1);
    memset(text, 'A', n);
    text[n] = '\0';
    struct token token;
    struct cv_err err;
    CU_ASSERT_EQUAL(token_parse(secret(text), &token, &err), CV_E_CONF);
    free(text);
}

SUITE(token, TEST(gives_the_verdict_of_every_vector), TEST(reads_the_document_as_go_does),
      TEST(does_not_trim), TEST(refuses_a_token_that_is_far_too_long));
