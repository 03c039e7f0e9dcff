/* test_ini.c: what an ini may hold, and what is said of the rest. */
#include "boot_test.h"

static struct ini read_text(const char *text, size_t n, struct problems *p)
{
    struct ini ini;
    FILE *f = fmemopen((char *)text, n, "r");
    ini_read_stream(&ini, "x.ini", f, p);
    fclose(f);
    return ini;
}

static void keeps_sections_keys_and_lines_in_order(void)
{
    struct problems p = { .n = 0 };
    static const char text[] = "\xEF\xBB\xBF; first\n"
                               "[b]\n"
                               "\n"
                               "  key = value ; a comment\n"
                               "# another\n"
                               "\tindented = 1\n"
                               "semi = a;b\n"
                               "[ access_headers   api ] ; empty\n"
                               "[a]\n"
                               "empty =\n"
                               "colon: 127.0.0.1:80\n"
                               "[b]\r\n"
                               "more = x = y\r\n";
    struct ini ini = read_text(text, sizeof(text) - 1, &p);
    CHECK_TEXT(taken(&p), "");
    CU_ASSERT_EQUAL_FATAL(ini.n, 3);
    CU_ASSERT_STRING_EQUAL(ini.v[0].name, "b");
    CU_ASSERT_STRING_EQUAL(ini.v[1].name, "access_headers api");
    CU_ASSERT_STRING_EQUAL(ini.v[2].name, "a");
    CU_ASSERT_EQUAL(ini.v[1].n, 0);
    CU_ASSERT_EQUAL(ini.v[1].line, 8);
    CU_ASSERT_EQUAL_FATAL(ini.v[0].n, 4);
    static const struct ini_entry wanted[] = { { (char *)"key", (char *)"value", 4 },
                                               { (char *)"indented", (char *)"1", 6 },
                                               { (char *)"semi", (char *)"a;b", 7 },
                                               { (char *)"more", (char *)"x = y", 13 } };
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_STRING_EQUAL(ini.v[0].v[i].key, wanted[i].key);
        CU_ASSERT_STRING_EQUAL(ini.v[0].v[i].value, wanted[i].value);
        CU_ASSERT_EQUAL(ini.v[0].v[i].line, wanted[i].line);
    }
    CU_ASSERT_EQUAL_FATAL(ini.v[2].n, 2);
    CU_ASSERT_STRING_EQUAL(ini.v[2].v[0].value, "");
    CU_ASSERT_STRING_EQUAL(ini.v[2].v[1].value, "127.0.0.1:80");
    ini_free(&ini);
}

static void takes_urls_as_keys_of_rewrite(void)
{
    static const char text[] = "[rewrite]\n"
                               "http://a:80 = http://127.0.0.1:8080 ; near\n"
                               "http://b:80=unix:/run/b\n"
                               "hello_world = http://c\n"
                               "http://a:80 = http://d\n"
                               "http://e\n";
    static const char *const wanted[][2] = { { "http://a:80", "http://127.0.0.1:8080" },
                                             { "http://b:80", "unix:/run/b" },
                                             { "hello_world", "http://c" } };
    struct problems p = { .n = 0 };
    struct ini ini = read_text(text, sizeof(text) - 1, &p);
    CHECK_TEXT(taken(&p), "x.ini:5: http://a:80 is already set on line 2\n"
                          "x.ini:6: this is not service = target\n");
    CU_ASSERT_EQUAL_FATAL(ini.v[0].n, 3);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_STRING_EQUAL(ini.v[0].v[i].key, wanted[i][0]);
        CU_ASSERT_STRING_EQUAL(ini.v[0].v[i].value, wanted[i][1]);
    }
    ini_free(&ini);
}

static void names_file_line_and_reason(void)
{
    static const struct {
        const char *text;
        size_t n;
        const char *problems;
    } cases[] = {
#define CASE(text, problems) { text, sizeof(text) - 1, problems }
        CASE("a = 1\n", "x.ini:1: a stands before the first [section]\n"),
        CASE("[s]\nword\n", "x.ini:2: this is neither [section] nor key = value\n"),
        CASE("[s]\nword", "x.ini:2: this is neither [section] nor key = value\n"),
        CASE("[s]\n= 1\n", "x.ini:2: a key is missing before =\n"),
        CASE("[s]\na = 1\n\na = 2\n", "x.ini:4: a is already set on line 2\n"),
        CASE("[s]\na = 1\n[t]\n[s]\na = 2\n", "x.ini:5: a is already set on line 2\n"),
        CASE("[s\na = 1\n[t]\nb = 1\n", "x.ini:1: the section name does not end in ]\n"),
        CASE("[]\n", "x.ini:1: the section has no name\n"),
        CASE("[ ; ]\n", "x.ini:1: a section name holds no ;\n"),
        CASE("[s] a = 1\n", "x.ini:1: nothing but a comment may stand behind ]\n"),
        CASE("[s]\na = 1\0002\n", "x.ini:2: byte 0x00 is not text\n"),
        CASE("[s]\na = \033[1m\n", "x.ini:2: byte 0x1b is not text\n"),
        CASE("[s]\nx\ny\n[t\nz\n[u]\nw\n", "x.ini:2: this is neither [section] nor key = value\n"
                                           "x.ini:3: this is neither [section] nor key = value\n"
                                           "x.ini:4: the section name does not end in ]\n"
                                           "x.ini:5: this is neither [section] nor key = value\n"
                                           "x.ini:7: this is neither [section] nor key = value\n"),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct problems p = { .n = 0 };
        struct ini ini = read_text(cases[i].text, cases[i].n, &p);
        CHECK_TEXT(taken(&p), cases[i].problems);
        ini_free(&ini);
    }
}

static void takes_a_line_of_199_bytes_and_no_longer_one(void)
{
    for (int length = 197; length <= 201; length++) {
        char text[512];
        snprintf(text, sizeof(text), "[s]\nk = %0*d   \nnext = 2\n", length - 4, 7);
        struct problems p = { .n = 0 };
        struct ini ini = read_text(text, strlen(text), &p);
        CHECK_TEXT(taken(&p), length > INI_LINE ? "x.ini:2: the line is longer than 199 bytes\n" : "");
        CU_ASSERT_EQUAL_FATAL(ini.n, 1);
        CU_ASSERT_EQUAL_FATAL(ini.v[0].n, length > INI_LINE ? 1 : 2);
        if (length <= INI_LINE)
            CU_ASSERT_EQUAL(strlen(ini.v[0].v[0].value), (size_t)length - 4);
        CU_ASSERT_STRING_EQUAL(ini.v[0].v[ini.v[0].n - 1].key, "next");
        ini_free(&ini);
    }
}

static void takes_a_section_name_of_49_bytes_and_no_longer_one(void)
{
    for (int length = 48; length <= 50; length++) {
        char text[128];
        snprintf(text, sizeof(text), "[%0*d]\nk = 1\n", length, 7);
        struct problems p = { .n = 0 };
        struct ini ini = read_text(text, strlen(text), &p);
        CHECK_TEXT(taken(&p),
                   length > INI_SECTION ? "x.ini:1: the section name is longer than 49 bytes\n" : "");
        CU_ASSERT_EQUAL(ini.n, length > INI_SECTION ? 0 : 1);
        ini_free(&ini);
    }
}

static void keeps_fifty_problems_and_counts_the_rest(void)
{
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof(text), "[s]\n");
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "nonsense\n");
    struct problems p = { .n = 0 };
    struct ini ini = read_text(text, n, &p);
    CU_ASSERT_EQUAL(p.n, PROBLEMS_MAX);
    CHECK_HOLDS(taken(&p), "x.ini:51: this is neither [section] nor key = value\nand 10 more\n");
    ini_free(&ini);
}

static void says_why_a_file_cannot_be_read(void)
{
    struct problems p = { .n = 0 };
    struct ini ini;
    ini_read(&ini, "/nonexistent/a.ini", &p);
    CHECK_TEXT(taken(&p), "/nonexistent/a.ini: cannot be opened: No such file or directory\n");
    ini_free(&ini);
    ini_read(&ini, "/tmp", &p);
    CHECK_TEXT(taken(&p), "/tmp: cannot be opened: Is a directory\n");
    ini_free(&ini);
}

SUITE(ini, TEST(keeps_sections_keys_and_lines_in_order), TEST(takes_urls_as_keys_of_rewrite),
      TEST(names_file_line_and_reason), TEST(takes_a_line_of_199_bytes_and_no_longer_one),
      TEST(takes_a_section_name_of_49_bytes_and_no_longer_one),
      TEST(keeps_fifty_problems_and_counts_the_rest), TEST(says_why_a_file_cannot_be_read));
