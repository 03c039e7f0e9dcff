/* test_websocket.c: frames in whole and in pieces, what is refused, the answer to a handshake. */
#include "origin_proxy/websocket.h"
#include "suite.h"

#include <string.h>

#define MASK "\x01\x02\x03\x04"

/* What a reader made of bytes that came `step` at a time. */
struct result {
    char data[512];
    size_t n;
    unsigned pings, closes;
    const char *why;
};

static struct result read_all(const char *bytes, size_t n, size_t step)
{
    struct origin_ws ws = { .head_n = 0 };
    struct result r = { .n = 0 };
    for (size_t at = 0, used, out; at < n && !r.why; at += used) {
        size_t part = n - at < step ? n - at : step;
        enum origin_ws_found found =
            origin_ws_read(&ws, (const uint8_t *)bytes + at, part, &used, (uint8_t *)r.data + r.n, &out);
        r.n += out;
        r.pings += found == ORIGIN_WS_FOUND_PING;
        r.closes += found == ORIGIN_WS_FOUND_CLOSE;
        r.why = found == ORIGIN_WS_FOUND_FAULT ? ws.why : NULL;
    }
    return r;
}
#define READ(text, step) read_all(text, sizeof(text) - 1, step)

static bool holds(const struct result *r, const char *text)
{
    return !r->why && r->n == strlen(text) && memcmp(r->data, text, r->n) == 0;
}

/* "abcdefghi" under MASK */
#define LETTERS "\x60\x60\x60\x60\x64\x64\x64\x6c\x68"

static void unmasks_however_the_bytes_come(void)
{
    for (size_t step = 1; step < 20; step++) {
        struct result r = READ("\x82\x89" MASK LETTERS, step);
        CU_ASSERT(holds(&r, "abcdefghi"));
    }
}

static void joins_fragments_around_a_ping(void)
{
    for (size_t step = 1; step < 20; step++) {
        struct result r = READ("\x02\x82" MASK "\x60\x60"
                               "\x89\x81" MASK "\x60"
                               "\x00\x80" MASK "\x80\x81" MASK "\x62",
                               step);
        CU_ASSERT(holds(&r, "abc"));
        CU_ASSERT_EQUAL(r.pings, 1);
    }
}

static void discards_text_also_in_fragments(void)
{
    struct result r = READ("\x01\x81" MASK "\x60"
                           "\x80\x81" MASK "\x60"
                           "\x82\x81" MASK "\x60",
                           4);
    CU_ASSERT(holds(&r, "a"));
}

static void stops_behind_a_close(void)
{
    struct origin_ws ws = { .head_n = 0 };
    static const char bytes[] = "\x88\x82" MASK "\x02\xea"
                                "junk";
    uint8_t out[32];
    size_t used, n;
    CU_ASSERT_EQUAL(origin_ws_read(&ws, (const uint8_t *)bytes, sizeof(bytes) - 1, &used, out, &n),
                    ORIGIN_WS_FOUND_CLOSE);
    CU_ASSERT_EQUAL(used, 8);
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_EQUAL(ws.control_n, 2);
    CU_ASSERT(memcmp(ws.control, "\x03\xe8", 2) == 0); /* 1000 */
}

static void reads_the_three_forms_of_length(void)
{
    static const struct {
        const char *head;
        size_t head_n, n;
    } cases[] = { { "\x82\xfd" MASK, 6, 125 },
                  { "\x82\xfe\x00\x7e" MASK, 8, 126 },
                  { "\x82\xff\x00\x00\x00\x00\x00\x00\x01\x00" MASK, 14, 256 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char bytes[512] = { 0 };
        memcpy(bytes, cases[i].head, cases[i].head_n);
        struct result r = read_all(bytes, cases[i].head_n + cases[i].n, 50);
        CU_ASSERT_PTR_NULL(r.why);
        CU_ASSERT_EQUAL(r.n, cases[i].n);
        CU_ASSERT_EQUAL(r.data[cases[i].n - 1], (char)(1 + (cases[i].n - 1) % 4));
    }
}

static void refuses_what_breaks_the_rules(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *why;
    } cases[] = {
        { "\x82\x01", 2, "masked" },
        { "\xc2\x81", 2, "extension" },
        { "\x83\x81", 2, "opcode" },
        { "\x8b\x81", 2, "opcode" },
        { "\x80\x81", 2, "continues no message" },
        { "\x02\x80" MASK "\x82\x80", 8, "within another" },
        { "\x09\x80", 2, "in parts" },
        { "\x89\xfe", 2, "longer than 125" },
        { "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" MASK, 14, "numbers" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct result r = read_all(cases[i].bytes, cases[i].n, 3);
        CU_ASSERT_PTR_NOT_NULL_FATAL(r.why);
        CU_ASSERT_PTR_NOT_NULL(strstr(r.why, cases[i].why));
    }
}

static void writes_heads(void)
{
    static const struct {
        size_t n;
        const char *head;
        size_t head_n;
    } cases[] = { { 0, "\x82\x00", 2 },
                  { 125, "\x82\x7d", 2 },
                  { 126, "\x82\x7e\x00\x7e", 4 },
                  { 65535, "\x82\x7e\xff\xff", 4 },
                  { 65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[ORIGIN_WS_HEAD_MAX];
        CU_ASSERT_EQUAL_FATAL(origin_ws_head(out, ORIGIN_WS_BINARY, cases[i].n), cases[i].head_n);
        CU_ASSERT(memcmp(out, cases[i].head, cases[i].head_n) == 0);
    }
}

static void answers_the_key_of_the_rfc(void) /* RFC 6455 §1.3 */
{
    char accept[ORIGIN_WS_ACCEPT_SIZE];
    origin_ws_accept(CV_STR("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    CU_ASSERT_STRING_EQUAL(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

SUITE(origin_websocket, TEST(unmasks_however_the_bytes_come), TEST(joins_fragments_around_a_ping),
      TEST(discards_text_also_in_fragments), TEST(stops_behind_a_close),
      TEST(reads_the_three_forms_of_length), TEST(refuses_what_breaks_the_rules), TEST(writes_heads),
      TEST(answers_the_key_of_the_rfc));
