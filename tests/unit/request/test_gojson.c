/* test_gojson.c: JSON with Go's habits: what is read, what is refused in which words, what is written. */
#include "request/gojson.h"
#include "suite.h"

#include <string.h>

static bool read_number(struct cv_str text, void *value, struct reason *why)
{
    return gojson_parse_int(text, "ParseInt", value, why);
}

struct inner {
    bool has_n;
    int64_t n;
    struct cv_str s;
};
struct outer {
    bool has_inner, has_raw;
    struct inner inner, plain;
    struct gojson_list list, words, bytes;
    uint64_t u;
    bool b;
    int64_t raw;
};
static const struct gojson_type str = { .name = "string",
                                        .kind = GOJSON_STRING,
                                        .size = sizeof(struct cv_str) };
static const struct gojson_type i64 = { .name = "int", .kind = GOJSON_INT, .size = sizeof(int64_t) };
static const struct gojson_type u64 = { .name = "uint", .kind = GOJSON_UINT, .size = sizeof(uint64_t) };
static const struct gojson_type boolean = { .name = "bool", .kind = GOJSON_BOOL, .size = sizeof(bool) };
static const struct gojson_type raw = {
    .name = "x.Raw", .kind = GOJSON_RAW, .size = sizeof(int64_t), .read = read_number
};
static const struct gojson_type bytes = { .name = "[]uint8",
                                          .kind = GOJSON_BYTES,
                                          .size = sizeof(struct gojson_list) };
static const struct gojson_field inner_fields[] = {
    { "n", &i64, offsetof(struct inner, n), offsetof(struct inner, has_n) },
    { "s", &str, offsetof(struct inner, s), GOJSON_ALWAYS },
    { .name = NULL },
};
static const struct gojson_type inner = {
    .name = "x.Inner", .kind = GOJSON_STRUCT, .size = sizeof(struct inner), .fields = inner_fields
};
static const struct gojson_type inners = {
    .name = "[]x.Inner", .kind = GOJSON_LIST, .size = sizeof(struct gojson_list), .of = &inner
};
static const struct gojson_type strs = {
    .name = "[]string", .kind = GOJSON_LIST, .size = sizeof(struct gojson_list), .of = &str
};
static const struct gojson_field outer_fields[] = {
    { "inner", &inner, offsetof(struct outer, inner), offsetof(struct outer, has_inner) },
    { "plainTask", &inner, offsetof(struct outer, plain), GOJSON_ALWAYS },
    { "list", &inners, offsetof(struct outer, list), GOJSON_ALWAYS },
    { "words", &strs, offsetof(struct outer, words), GOJSON_ALWAYS },
    { "bytes", &bytes, offsetof(struct outer, bytes), GOJSON_ALWAYS },
    { "u", &u64, offsetof(struct outer, u), GOJSON_ALWAYS },
    { "b", &boolean, offsetof(struct outer, b), GOJSON_ALWAYS },
    { "raw", &raw, offsetof(struct outer, raw), offsetof(struct outer, has_raw) },
    { .name = NULL },
};
static const struct gojson_type outer = {
    .name = "x.Outer", .kind = GOJSON_STRUCT, .size = sizeof(struct outer), .fields = outer_fields
};

static struct bump mem;
static struct reason why;

static enum cv_error read_text(const char *text, struct outer *to)
{
    *to = (struct outer){ .u = 7 };
    reason_clear(&why);
    return gojson_read(&mem, cv_str_of(text), &outer, to, &why);
}

static bool is(struct cv_str s, const char *text)
{
    return cv_str_eq(s, cv_str_of(text));
}

static const struct {
    const char *text, *error;
} refused[] = {
    { "", "unexpected end of JSON input" },
    { "  ", "unexpected end of JSON input" },
    { "x", "invalid character 'x' looking for beginning of value" },
    { "'", "invalid character '\\'' looking for beginning of value" },
    { "\x01", "invalid character '\\x01' looking for beginning of value" },
    { "\xff", "invalid character '\\xff' looking for beginning of value" },
    { "\xC3\xA9", "invalid character '\xC3\xA9' looking for beginning of value" },
    { "nul", "unexpected end of JSON input" },
    { "nulx", "invalid character 'x' in literal null (expecting 'l')" },
    { "tRue", "invalid character 'R' in literal true (expecting 'r')" },
    { "{}{", "invalid character '{' after top-level value" },
    { "{,}", "invalid character ',' looking for beginning of object key string" },
    { "{\"a\" 1}", "invalid character '1' after object key" },
    { "{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair" },
    { "{\"a\":1,}", "invalid character '}' looking for beginning of object key string" },
    { "{\"a\":}", "invalid character '}' looking for beginning of value" },
    { "[1,]", "invalid character ']' looking for beginning of value" },
    { "[1}", "invalid character '}' after array element" },
    { "{\"a\":1]", "invalid character ']' after object key:value pair" },
    { "{\"a\"", "unexpected end of JSON input" },
    { "[1", "unexpected end of JSON input" },
    { "-", "unexpected end of JSON input" },
    { "-x", "invalid character 'x' in numeric literal" },
    { "1.", "unexpected end of JSON input" },
    { "1.e", "invalid character 'e' in numeric literal" },
    { "1e+x", "invalid character 'x' in numeric literal" },
    { "01", "invalid character '1' after top-level value" },
    { "+1", "invalid character '+' looking for beginning of value" },
    { "\"a\nb\"", "invalid character '\\n' in string" },
    { "\"\\q\"", "invalid escape sequence `\\q` in string" },
    { "\"\\u12x4\"", "invalid escape sequence `\\u12x4` in string" },
    { "\"\\u12", "unexpected end of JSON input" },
    { "\"a", "unexpected end of JSON input" },
    { "[]", "json: cannot unmarshal array into Go value of type x.Outer" },
    { "1", "json: cannot unmarshal number into Go value of type x.Outer" },
    { "{\"inner\":1}", "json: cannot unmarshal number into Go struct field Outer.inner of type x.Inner" },
    { "{\"Inner\":{\"N\":true}}",
      "json: cannot unmarshal bool into Go struct field Outer.Inner.N of type int" },
    { "{\"inner\":{\"n\":1.5}}",
      "json: cannot unmarshal number 1.5 into Go struct field Outer.inner.n of type int" },
    { "{\"inner\":{\"n\":9223372036854775808}}",
      "json: cannot unmarshal number 9223372036854775808 into Go struct field Outer.inner.n of type int" },
    { "{\"list\":[{},{\"s\":[]}]}",
      "json: cannot unmarshal array into Go struct field Outer.list.1.s of type string" },
    { "{\"list\":[{},7]}", "json: cannot unmarshal number into Outer.list.1 of type x.Inner" },
    { "{\"list\":{}}", "json: cannot unmarshal object into Go struct field Outer.list of type []x.Inner" },
    { "{\"words\":[\"a\",2]}", "json: cannot unmarshal number into Outer.words.1 of type string" },
    { "{\"u\":-1}", "json: cannot unmarshal number -1 into Go struct field Outer.u of type uint" },
    { "{\"b\":\"true\"}", "json: cannot unmarshal string into Go struct field Outer.b of type bool" },
    { "{\"bytes\":\"_\"}",
      "json: cannot unmarshal string into Go struct field Outer.bytes of type []uint8: illegal "
      "base64 data at input byte 0" },
    { "{\"raw\":\"30s\"}", "strconv.ParseInt: parsing \"\\\"30s\\\"\": invalid syntax" },
    { "{\"raw\": { \"a\" : 1 } }", "strconv.ParseInt: parsing \"{ \\\"a\\\" : 1 }\": invalid syntax" },
    { "{\"raw\":1e1}", "strconv.ParseInt: parsing \"1e1\": invalid syntax" },
    { "{\"raw\":99999999999999999999}",
      "strconv.ParseInt: parsing \"99999999999999999999\": value out of range" },
    { "{\"u\":\"x\",\"b\":1}", "json: cannot unmarshal string into Go struct field Outer.u of type uint" },
    { "{\"u\":\"x\"", "unexpected end of JSON input" }, /* form comes before meaning */
};

static void words_refusals_as_go_does(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct outer to;
        CU_ASSERT_EQUAL(read_text(refused[i].text, &to), CV_E_CONF);
        CU_ASSERT_STRING_EQUAL(why.text, refused[i].error);
    }
    bump_free(&mem);
}

static void matches_keys_in_any_case_but_exact_ones_first(void)
{
    struct outer to;
    CU_ASSERT_EQUAL(read_text("{\"U\":1,\"u\":2}", &to), CV_OK);
    CU_ASSERT_EQUAL(to.u, 2);
    CU_ASSERT_EQUAL(read_text("{\"u\":1,\"U\":2}", &to), CV_OK);
    CU_ASSERT_EQUAL(to.u, 2);
    CU_ASSERT_EQUAL(read_text("{\"PLAINTASK\":{\"N\":3}}", &to), CV_OK);
    CU_ASSERT_EQUAL(to.plain.n, 3);
    CU_ASSERT_EQUAL(read_text("{\"plainTa\xC5\xBF\xE2\x84\xAA\":{\"n\":4}}", &to),
                    CV_OK); /* ſ and the Kelvin sign */
    CU_ASSERT_EQUAL(to.plain.n, 4);
    CU_ASSERT_EQUAL(read_text("{\"\\u0075\":5}", &to), CV_OK);
    CU_ASSERT_EQUAL(to.u, 5);
    CU_ASSERT_EQUAL(read_text("{\"plain_task\":{\"n\":4},\"\":1,\"uu\":1}", &to), CV_OK);
    CU_ASSERT_EQUAL(to.plain.n, 0);
    CU_ASSERT_EQUAL(to.u, 7);
    bump_free(&mem);
}

static void reads_a_duplicate_over_the_first(void)
{
    struct outer to;
    CU_ASSERT_EQUAL(read_text("{\"inner\":{\"n\":1,\"s\":\"a\"},\"inner\":{\"n\":2}}", &to), CV_OK);
    CU_ASSERT(to.has_inner && to.inner.n == 2 && is(to.inner.s, "a"));
    CU_ASSERT_EQUAL(read_text("{\"inner\":{\"s\":\"a\"},\"inner\":null,\"inner\":{\"n\":2}}", &to), CV_OK);
    CU_ASSERT(to.has_inner && to.inner.n == 2 && to.inner.s.n == 0);
    CU_ASSERT_EQUAL(read_text("{\"list\":[{\"n\":1},{\"n\":2},{\"n\":3}],\"list\":[{\"s\":\"x\"},{}]}", &to),
                    CV_OK);
    const struct inner *element = to.list.v;
    CU_ASSERT_EQUAL_FATAL(to.list.n, 2);
    CU_ASSERT(element[0].n == 1 && is(element[0].s, "x") && element[1].n == 2);
    CU_ASSERT_EQUAL(read_text("{\"list\":[{\"n\":1}],\"list\":[],\"list\":[{}]}", &to), CV_OK);
    CU_ASSERT(to.list.n == 1 && ((const struct inner *)to.list.v)->n == 0);
    bump_free(&mem);
}

static void takes_null_for_absence(void)
{
    struct outer to;
    CU_ASSERT_EQUAL(
        read_text("{\"u\":null,\"inner\":null,\"plainTask\":null,\"list\":null,\"raw\":null}", &to), CV_OK);
    CU_ASSERT(to.u == 7 && !to.has_inner && !to.has_raw && to.list.v == NULL);
    CU_ASSERT_EQUAL(read_text("null", &to), CV_OK);
    CU_ASSERT_EQUAL(to.u, 7);
    CU_ASSERT_EQUAL(read_text("{\"list\":[],\"words\":[null,\"a\"]}", &to), CV_OK);
    CU_ASSERT(to.list.v != NULL && to.list.n == 0 && to.words.n == 2);
    bump_free(&mem);
}

static void decodes_strings(void)
{
    static const struct {
        const char *text, *value;
    } rows[] = {
        { "\"\"", "" },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
        { "\"\\u00e9\\ud83d\\ude00\"", "\xC3\xA9\xF0\x9F\x98\x80" },
        { "\"\\ud800x\\ud800\\u0041\\udc00\"", "\xEF\xBF\xBDx\xEF\xBF\xBD"
                                               "A\xEF\xBF\xBD" },
        { "\"\xff\xC3\xA9\xE2\x82\"", "\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD" },
        { "\"\xED\xA0\x80\xF4\x90\x80\x80\"",
          "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
          "\xEF\xBF\xBD" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_str value = { NULL, 0 };
        CU_ASSERT_EQUAL(gojson_read(&mem, cv_str_of(rows[i].text), &str, &value, &why), CV_OK);
        CU_ASSERT_TRUE(is(value, rows[i].value));
    }
    bump_free(&mem);
}

static void skips_what_it_does_not_know(void)
{
    struct outer to;
    CU_ASSERT_EQUAL(
        read_text("{\"x\":[{\"u\":1,\"y\":\"}]\\\"\"},[[]],-1.5e+3],\"u\" : 2 , \"z\":{\"u\":3}}", &to),
        CV_OK);
    CU_ASSERT_EQUAL(to.u, 2);
    bump_free(&mem);
}

static void bounds_depth_and_lists(void)
{
    size_t n = 3 * 20000;
    char *text = cv_xmalloc(n + 1);
    struct cv_str value;
    memset(text, '[', GOJSON_DEPTH);
    memset(text + GOJSON_DEPTH, ']', GOJSON_DEPTH);
    struct cv_str deep = { text, 2 * GOJSON_DEPTH };
    CU_ASSERT_EQUAL(gojson_read(&mem, deep, &str, &value, &why), CV_E_CONF);
    CU_ASSERT_STRING_EQUAL(why.text, "json: cannot unmarshal array into Go value of type string");
    memset(text, '[', n);
    CU_ASSERT_EQUAL(gojson_read(&mem, (struct cv_str){ text, n }, &str, &value, &why), CV_E_CONF);
    CU_ASSERT_STRING_EQUAL(why.text, "exceeded max depth");
    for (size_t i = 0; i < 20000; i++)
        memcpy(text + 3 * i, i ? ",{}" : "[{}", 3);
    text[n] = '\0';
    struct cv_buf many = { 0 };
    gojson_write(&many, "{\"list\":");
    cv_buf_add(&many, text, n);
    gojson_write(&many, "]}");
    struct outer to = { .u = 0 };
    CU_ASSERT_EQUAL(gojson_read(&mem, (struct cv_str){ (char *)many.p, many.n }, &outer, &to, &why),
                    CV_E_CONF);
    CU_ASSERT_STRING_EQUAL(why.text, "a list of more than 10000 elements");
    cv_buf_free(&many);
    free(text);
    bump_free(&mem);
}

static void writes_strings_as_go_does(void)
{
    struct cv_buf buf = { 0 };
    gojson_write_str(&buf, CV_STR("a\"\\\b\f\n\r\t\x01\x7f<>&\xC3\xA9\xE2\x80\xA8\xE2\x80\xA9\xff/"));
    static const char want[] =
        "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f\\u003c\\u003e\\u0026\xC3\xA9\\u2028\\u2029\\ufffd/\"";
    CU_ASSERT_TRUE(cv_str_eq((struct cv_str){ (char *)buf.p, buf.n }, cv_str_of(want)));
    cv_buf_free(&buf);
}

SUITE(gojson, TEST(words_refusals_as_go_does), TEST(matches_keys_in_any_case_but_exact_ones_first),
      TEST(reads_a_duplicate_over_the_first), TEST(takes_null_for_absence), TEST(decodes_strings),
      TEST(skips_what_it_does_not_know), TEST(bounds_depth_and_lists), TEST(writes_strings_as_go_does));
