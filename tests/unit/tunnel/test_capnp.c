/* test_capnp.c: framing in pieces, hostile pointers, and whatever was written reads back. */
#include "suite.h"
#include "tunnel/capnp.h"
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cv_buf bytes(const char *hex)
{
    struct cv_buf b = { 0 };
    vector_unhex(&b, cv_str_of(hex));
    return b;
}

/* ---- framing ----------------------------------------------------------------------------------- */

static void a_message_in_pieces_is_complete_at_its_last_byte(void)
{
    /* three segments of 1, 0 and 2 words: a table of 16 bytes, padding included; the next message follows */
    struct cv_buf b = bytes("02000000 01000000 00000000 02000000 0000000000000000 1111111111111111"
                            "2222222222222222 00000000");
    for (size_t n = 0; n <= b.n; n++) {
        size_t need;
        CU_ASSERT_EQUAL(capnp_frame(b.p, n, 1 << 10, &need, NULL), CV_OK);
        CU_ASSERT_EQUAL(need, n < 4 ? 8 : n < 16 ? 16 : 40);
    }
    cv_buf_free(&b);
}

static void lengths_above_the_limit_are_refused_before_they_are_waited_for(void)
{
    static const struct {
        const char *hex;
        size_t max;
        enum cv_error e;
    } cases[] = {
        { "00000000 01000000", 16, CV_OK },
        { "00000000 02000000", 16, CV_E_LIMIT },
        { "00000000 ffffffff", SIZE_MAX, CV_E_LIMIT },
        { "01000000 ffffffff 02000000 00000000", SIZE_MAX,
          CV_E_LIMIT },                           /* a sum that 32 bits would not hold */
        { "00000000 ffff7f00", SIZE_MAX, CV_OK }, /* 64 MiB with the table */
        { "00000000 00008000", SIZE_MAX, CV_E_LIMIT },
        { "00020000", SIZE_MAX, CV_OK },
        { "00020000", 2048, CV_E_LIMIT }, /* the table alone is longer */
        { "01020000", SIZE_MAX, CV_E_LIMIT },
        { "ffffffff", SIZE_MAX, CV_E_LIMIT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cv_buf b = bytes(cases[i].hex);
        size_t need;
        CU_ASSERT_EQUAL(capnp_frame(b.p, b.n, cases[i].max, &need, NULL), cases[i].e);
        cv_buf_free(&b);
    }
}

static void a_message_that_is_cut_short_or_has_no_root_does_not_open(void)
{
    static const char *const cases[] = { "", "00000000", "00000000 01000000 000000000000",
                                         "00000000 00000000",
                                         "01000000 00000000 01000000 00000000 0000000000000000" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cv_buf b = bytes(cases[i]);
        struct capnp_msg m;
        CU_ASSERT_EQUAL(capnp_open(&m, b.p, b.n, NULL), CV_E_PROTO);
        cv_buf_free(&b);
    }
}

/* ---- pointers ---------------------------------------------------------------------------------- */

/* What pointer 0 of the root reads as, or the error. */
static struct cv_err seen(const char *hex)
{
    struct cv_err out = { "null" };
    struct cv_buf b = bytes(hex);
    struct capnp_msg m;
    uint32_t cap;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, b.p, b.n, NULL), CV_OK);
    struct capnp_struct root = capnp_root(&m);
    struct cv_str text = capnp_get_text(root, 0), data = capnp_get_data(root, 0);
    struct capnp_list list = capnp_get_list(root, 0);
    struct capnp_struct s = capnp_get_struct(root, 0);
    if (capnp_check(&m, &out))
        ;
    else if (text.p)
        cv_fail(&out, CV_OK, "text:%.*s", CV_STR_ARG(text));
    else if (data.p)
        cv_fail(&out, CV_OK, "data:%zu", data.n);
    else if (list.n)
        cv_fail(&out, CV_OK, "list:%u", list.n);
    else if (s.data_bytes || s.n_ptrs)
        cv_fail(&out, CV_OK, "struct:%u/%u", s.data_bytes, s.n_ptrs);
    else if (capnp_get_cap(root, 0, &cap))
        cv_fail(&out, CV_OK, "cap:%u", cap);
    else
        capnp_check(&m, &out);
    cv_buf_free(&b);
    return out;
}

#define ROOT "0000000000000100" /* struct 0/1 right behind */

static void pointers_are_followed_within_bounds_only(void)
{
    static const struct {
        const char *hex, *want;
    } cases[] = {
        { "0000000002000000" ROOT "0000000000000000", "null" },
        { "0000000003000000" ROOT "0000000001000000 0700000000000000", "struct:8/0" },
        { "0000000002000000" ROOT "0000000001000000", "pointer out of bounds" },
        { "0000000002000000" ROOT "f8ffffff01000000", "struct:8/0" }, /* back to the root pointer */
        { "0000000002000000" ROOT "f4ffffff01000000", "pointer out of bounds" },
        { "0000000002000000" ROOT "0000008001000000", "pointer out of bounds" },
        { "0000000002000000" ROOT "fcffff7f01000000", "pointer out of bounds" },
        { "0000000002000000" ROOT "fcffffff00000000", "null" }, /* a struct of no size reads as defaults */
        { "0000000003000000" ROOT "0100000022000000 6162630000000000", "text:abc" },
        { "0000000003000000" ROOT "010000001a000000 6162630000000000", "data:3" }, /* no NUL */
        { "0000000003000000" ROOT "010000004a000000 6162630000000000", "pointer out of bounds" },
        { "0000000002000000" ROOT "010000000a000000", "pointer out of bounds" },
        { "0000000003000000" ROOT "0100000021000000 6162630000000000", "null" }, /* bits: nobody reads them */
        { "0000000002000000" ROOT "0300000005000000", "cap:5" },
        { "0000000002000000" ROOT "0700000005000000", "unknown kind of pointer" },
        /* composite lists: tag, count, words */
        { "0000000003000000" ROOT "0100000007000000 fcffffff00000000",
          "message refers to its parts too often" },
        { "0000000004000000" ROOT "010000000f000000 0400000001000000 0000000000000000", "list:1" },
        { "0000000004000000" ROOT "010000000f000000 0800000001000000 0000000000000000",
          "list out of bounds" },
        { "0000000004000000" ROOT "010000000f000000 fcffffff01000000 0000000000000000",
          "list out of bounds" },
        { "0000000004000000" ROOT "010000000f000000 0500000001000000 0000000000000000",
          "list of something other than structs" },
        { "0000000003000000" ROOT "010000000f000000 0400000001000000", "pointer out of bounds" },
        /* elements of no size */
        { "0000000002000000" ROOT "0100000050000000", "list:10" },
        { "0000000002000000" ROOT "01000000f8ffffff", "message refers to its parts too often" },
        /* far pointers */
        { "0100000002000000 0200000000000000" ROOT "0200000001000000 0000000001000000 0000000000000000",
          "struct:8/0" },
        { "0100000002000000 0100000000000000" ROOT "0200000001000000 0000000000000000", "null" },
        { "0000000002000000" ROOT "0200000001000000", "far pointer to a segment that is not there" },
        { "0000000002000000" ROOT "02000000ffffffff", "far pointer to a segment that is not there" },
        { "0100000002000000 0100000000000000" ROOT "0a00000001000000 0000000000000000",
          "pointer out of bounds" },
        { "0100000002000000 0100000000000000" ROOT "faffffff01000000 0000000000000000",
          "pointer out of bounds" },
        { "0100000002000000 0100000000000000" ROOT "0200000001000000 0200000001000000",
          "far pointer to a far pointer" },
        { "0100000002000000 0300000000000000" ROOT "0600000001000000"
          "1200000001000000 0000000001000000 0000000000000000",
          "struct:8/0" }, /* pad, tag, object */
        { "0100000002000000 0300000000000000" ROOT "0600000001000000"
          "1200000001000000 0400000001000000 0000000000000000",
          "bad landing pad of a far pointer" },
        { "0100000002000000 0300000000000000" ROOT "0600000001000000"
          "1600000001000000 0000000001000000 0000000000000000",
          "bad landing pad of a far pointer" },
        { "0100000002000000 0300000000000000" ROOT "0600000001000000"
          "1200000001000000 0300000001000000 0000000000000000",
          "bad landing pad of a far pointer" },
        { "0100000002000000 0300000000000000" ROOT "0600000001000000"
          "1200000007000000 0000000001000000 0000000000000000",
          "far pointer to a segment that is not there" },
        { "0100000002000000 0100000000000000" ROOT "0600000001000000 0000000000000000",
          "pointer out of bounds" },
        /* a segment's end is a bound even though another one follows in memory */
        { "0100000002000000 0100000000000000" ROOT "0000000001000000 0000000000000000",
          "pointer out of bounds" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cv_err got = seen(cases[i].hex);
        CU_ASSERT_STRING_EQUAL(got.text, cases[i].want);
        if (strcmp(got.text, cases[i].want) != 0)
            fprintf(stderr, "    %s: %s\n", cases[i].hex, got.text);
    }
}

static void a_chain_of_pointers_ends_at_the_depth_limit(void)
{
    struct cv_buf b = { 0 };
    struct capnp_build build;
    struct capnp_new at = capnp_begin(&build, &b);
    for (int i = 0; i < CAPNP_MAX_DEPTH + 1; i++)
        at = capnp_put_struct(at, 0, 1, 1);
    capnp_end(&build);
    struct capnp_msg m;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, b.p, b.n, NULL), CV_OK);
    struct capnp_struct s = capnp_root(&m);
    for (int i = 1; i < CAPNP_MAX_DEPTH; i++)
        s = capnp_get_struct(s, 0);
    CU_ASSERT_EQUAL(s.data_bytes, 8);
    CU_ASSERT_EQUAL(capnp_check(&m, NULL), CV_OK);
    CU_ASSERT_EQUAL(capnp_get_struct(s, 0).data_bytes, 0);
    struct cv_err why;
    CU_ASSERT_EQUAL(capnp_check(&m, &why), CV_E_PROTO);
    CU_ASSERT_STRING_EQUAL(why.text, "pointers nested too deep");
    cv_buf_free(&b);
}

static void a_message_cannot_be_read_over_and_over(void)
{
    struct cv_buf b = { 0 };
    struct capnp_build build;
    char *text = cv_xcalloc(4001, 1);
    memset(text, 'a', 4000);
    capnp_put_text(capnp_put_struct(capnp_begin(&build, &b), 0, 0, 1), 0, (struct cv_str){ text, 4000 });
    capnp_end(&build);
    struct capnp_msg m;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, b.p, b.n, NULL), CV_OK);
    struct capnp_struct root = capnp_root(&m);
    int reads = 0;
    while (capnp_get_text(root, 0).n == 4000)
        reads++;
    CU_ASSERT_EQUAL(reads, CAPNP_READS);
    CU_ASSERT_EQUAL(capnp_check(&m, NULL), CV_E_PROTO);
    free(text);
    cv_buf_free(&b);
}

/* ---- what was written ---------------------------------------------------------------------------- */

static void what_was_written_reads_back(void)
{
    struct cv_buf b = { 0 };
    cv_buf_add(&b, "odd", 3); /* a message may begin anywhere in the buffer */
    struct capnp_build build;
    struct capnp_new s = capnp_put_struct(capnp_begin(&build, &b), 0, 3, 7);
    capnp_put_u8(s, 0, 0x12);
    capnp_put_u16(s, 2, 0x3456);
    capnp_put_u32(s, 4, 0x789abcde);
    capnp_put_u64(s, 8, 0xfedcba9876543210);
    capnp_put_bit(s, 8 * 16 + 9, true);
    capnp_put_bit(s, 8 * 16 + 10, true);
    capnp_put_bit(s, 8 * 16 + 10, false);
    capnp_put_text(s, 0, CV_STR("text"));
    capnp_put_data(s, 1, CV_STR(""));
    struct capnp_new e = capnp_put_structs(s, 2, 2, 1, 1);
    capnp_put_u64(e, 0, 1);
    e = capnp_next(e);
    capnp_put_u64(e, 0, 2);
    capnp_put_text(e, 0, CV_STR("second"));
    struct capnp_new texts = capnp_put_pointers(s, 3, 2);
    capnp_put_text(texts, 0, CV_STR("sevenfy")); /* fills a word with its NUL */
    capnp_put_text(texts, 1, CV_STR("eight888"));
    capnp_put_cap(s, 4, 77);
    capnp_put_text(s, 5, CV_STR(""));
    capnp_put_data(s, 6, (struct cv_str){ 0 });
    capnp_end(&build);

    struct capnp_msg m;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, b.p + 3, b.n - 3, NULL), CV_OK);
    struct capnp_struct r = capnp_root(&m);
    CU_ASSERT_EQUAL(capnp_get_u8(r, 0), 0x12);
    CU_ASSERT_EQUAL(capnp_get_u16(r, 2), 0x3456);
    CU_ASSERT_EQUAL(capnp_get_u32(r, 4), 0x789abcde);
    CU_ASSERT_EQUAL(capnp_get_u64(r, 8), 0xfedcba9876543210);
    CU_ASSERT_TRUE(capnp_get_bit(r, 8 * 16 + 9));
    CU_ASSERT_EQUAL(capnp_get_u64(r, 16), 1 << 9);
    CU_ASSERT_TRUE(cv_str_eq(capnp_get_text(r, 0), CV_STR("text")));
    CU_ASSERT_PTR_NOT_NULL(capnp_get_data(r, 1).p);
    CU_ASSERT_EQUAL(capnp_get_data(r, 1).n, 0);
    struct capnp_list l = capnp_get_list(r, 2);
    CU_ASSERT_EQUAL_FATAL(l.n, 2);
    CU_ASSERT_EQUAL(capnp_get_u64(capnp_list_at(l, 0), 0), 1);
    CU_ASSERT_EQUAL(capnp_get_text(capnp_list_at(l, 0), 0).n, 0);
    CU_ASSERT_EQUAL(capnp_get_u64(capnp_list_at(l, 1), 0), 2);
    CU_ASSERT_TRUE(cv_str_eq(capnp_get_text(capnp_list_at(l, 1), 0), CV_STR("second")));
    struct capnp_list t = capnp_get_list(r, 3);
    CU_ASSERT_EQUAL_FATAL(t.n, 2);
    CU_ASSERT_TRUE(cv_str_eq(capnp_get_text(capnp_list_at(t, 0), 0), CV_STR("sevenfy")));
    CU_ASSERT_TRUE(cv_str_eq(capnp_get_text(capnp_list_at(t, 1), 0), CV_STR("eight888")));
    uint32_t cap = 0;
    CU_ASSERT_TRUE(capnp_get_cap(r, 4, &cap));
    CU_ASSERT_EQUAL(cap, 77);
    CU_ASSERT_PTR_NULL(capnp_get_data(r, 5).p);
    CU_ASSERT_PTR_NULL(capnp_get_data(r, 6).p);
    CU_ASSERT_EQUAL(capnp_check(&m, NULL), CV_OK);
    cv_buf_free(&b);
}

static void fields_beyond_a_short_struct_are_zero(void)
{
    struct cv_buf b = bytes("0000000002000000 0000000001000000 ffffffffffffffff");
    struct capnp_msg m;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, b.p, b.n, NULL), CV_OK);
    struct capnp_struct r = capnp_root(&m);
    CU_ASSERT_EQUAL(capnp_get_u32(r, 4), 0xffffffff);
    CU_ASSERT_EQUAL(capnp_get_u32(r, 8), 0);
    CU_ASSERT_EQUAL(capnp_get_u64(r, 4), 0); /* a field lies inside wholly or not at all */
    CU_ASSERT_EQUAL(capnp_get_u8(r, SIZE_MAX), 0);
    CU_ASSERT_FALSE(capnp_get_bit(r, 64));
    CU_ASSERT_EQUAL(capnp_get_text(r, 0).n, 0);
    CU_ASSERT_EQUAL(capnp_get_list(r, 1).n, 0);
    CU_ASSERT_EQUAL(capnp_check(&m, NULL), CV_OK);
    cv_buf_free(&b);
}

SUITE(capnp, TEST(a_message_in_pieces_is_complete_at_its_last_byte),
      TEST(lengths_above_the_limit_are_refused_before_they_are_waited_for),
      TEST(a_message_that_is_cut_short_or_has_no_root_does_not_open),
      TEST(pointers_are_followed_within_bounds_only), TEST(a_chain_of_pointers_ends_at_the_depth_limit),
      TEST(a_message_cannot_be_read_over_and_over), TEST(what_was_written_reads_back),
      TEST(fields_beyond_a_short_struct_are_zero));
