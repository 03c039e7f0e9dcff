/* test_options.c: tables of options, and what is said of their values. */
#include "boot_test.h"

struct some {
    int count;
    const char *name, *must;
    struct cv_secret key;
};
static const struct cv_option options[] = {
    CV_OPT(struct some, count, "3", "How many.", .min = 1, .max = 9, .flags = CV_LIVE),
    CV_OPT(struct some, name, NULL, "What it is called."),
    CV_OPT(struct some, must, NULL, "Has to be there.", .flags = CV_REQUIRED),
    CV_OPT(struct some, key, "", "Opens it.", .flags = CV_LIVE),
    CV_OPT_END,
};

static struct problems errors, warnings;

static void say(struct conf *c, const char *key, const char *text, const char *where, bool literal)
{
    conf_set(c, &(struct said){ c->section, key, text, where, NULL, literal }, &errors, &warnings);
}

static void defaults_are_in_and_later_words_win(void)
{
    struct conf *c = conf_new("box", options, sizeof(struct some));
    const struct some *s = c->data;
    CU_ASSERT_EQUAL(s->count, 3);
    CU_ASSERT_STRING_EQUAL(s->name, "");
    say(c, "count", "4", "x.ini:1", false);
    say(c, "count", "5", "flag --count", false);
    CU_ASSERT_EQUAL(s->count, 5);
    CHECK_TEXT(taken(&errors), "");
    conf_free(c);
}

static void wrong_words_are_named_with_their_place_and_change_nothing(void)
{
    struct conf *c = conf_new("box", options, sizeof(struct some));
    const struct some *s = c->data;
    say(c, "count", "12", "x.ini:1", false);
    say(c, "cuont", "2", "x.ini:2", false);
    say(c, "zebra", "2", "x.ini:3", false);
    say(c, "key", "hush", "x.ini:4", false);
    conf_set(c, &(struct said){ "box", "count", "0", "flag --count", "invalid value for count: ", true },
             &errors, &warnings);
    conf_required(c, &errors);
    CU_ASSERT_EQUAL(s->count, 3);
    CHECK_TEXT(taken(&errors),
               "x.ini:1: count: \"12\" is not 1 to 9\n"
               "x.ini:2: [box] has no option \"cuont\"; did you mean count?\n"
               "x.ini:3: [box] has no option \"zebra\"\n"
               "x.ini:4: key: a secret does not stand here itself; say env:NAME or file:/path\n"
               "invalid value for count: 0 (flag --count: \"0\" is not 1 to 9)\n"
               "[box] needs must: Has to be there.\n");
    conf_free(c);
}

static void a_dump_shows_values_and_places_but_no_secret(void)
{
    char text[1024] = "";
    struct conf *c = conf_new("box", options, sizeof(struct some));
    say(c, "key", "hush", "environment KEY", true);
    say(c, "name", "n", "x.ini:2", false);
    FILE *f = fmemopen(text, sizeof(text), "w");
    conf_dump(c, f);
    fclose(f);
    CHECK_TEXT(text, "box.count = 3  ; default\n"
                     "box.name = n  ; x.ini:2\n"
                     "box.must =  ; default\n"
                     "box.key = ***  ; environment KEY\n");
    conf_free(c);
}

static void a_check_that_fails_names_who_set_the_option(void)
{
    struct conf *c = conf_new("box", options, sizeof(struct some));
    struct cv_err err;
    struct some stranger;
    say(c, "count", "4", "x.ini:7", false);
    CU_ASSERT_EQUAL(cv_conf_fail(&err, c->data, "count", "is %s", "too much"), CV_E_CONF);
    CHECK_TEXT(err.text, "x.ini:7: count: is too much");
    cv_conf_fail(&err, c->data, "name", "is missing");
    CHECK_TEXT(err.text, "[box] name: is missing");
    cv_conf_fail(&err, &stranger, "name", "is missing");
    CHECK_TEXT(err.text, "name: is missing");
    conf_free(c);
}

static void note(void *arg, const struct conf *c, const struct cv_option *o, const char *was, const char *is)
{
    fprintf(arg, "%s.%s %s>%s,", c->section, o->name, was, is);
}

static void a_difference_is_one_of_values_not_of_words(void)
{
    char text[256] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");
    struct conf *a = conf_new("box", options, sizeof(struct some)),
                *b = conf_new("box", options, sizeof(struct some));
    say(a, "count", "+3", "x.ini:1", false);
    say(a, "key", "hush", "flag", true);
    say(b, "key", "hush!", "flag", true);
    say(b, "name", "n", "x.ini:1", false);
    CU_ASSERT_EQUAL(conf_diff(a, b, note, f), 2);
    fclose(f);
    CHECK_TEXT(text, "box.name >n,box.key ***>***,");
    conf_free(a);
    conf_free(b);
}

static void a_table_that_cannot_work_is_refused(void)
{
    static const struct {
        struct cv_option options[3];
        const char *why;
    } cases[] = {
        { { CV_OPT(struct some, count, "3", "c"), CV_OPT(struct some, count, "3", "c"), CV_OPT_END },
          "\"count\" stands there twice" },
        { { CV_OPT(struct some, count, "many", "c"), CV_OPT_END },
          "\"count\" has a default that does not parse" },
        { { CV_OPT(struct some, count, "3", ""), CV_OPT_END }, "\"count\" has no help text" },
        { { CV_OPT(struct some, count, "3", "c", .flags = CV_REQUIRED), CV_OPT_END },
          "\"count\" is required and has a default" },
        { { { .name = "Count", .help = "c" }, CV_OPT_END },
          "\"Count\" has a name that is not made of a-z, 0-9 and _" },
        { { { .name = "count", .help = "c", .at = sizeof(struct some) - 1, .type = CV_T_INT }, CV_OPT_END },
          "\"count\" lies outside of the configuration struct" },
        { { { .name = "count", .help = "c", .type = (enum cv_type)77 }, CV_OPT_END },
          "\"count\" has a type that does not exist" },
        { { CV_OPT(struct some, key, "hush", "c"), CV_OPT_END },
          "\"key\" has a default that does not parse" },
    };
    struct remark why;
    CU_ASSERT_TRUE(options_sound(options, sizeof(struct some), &why));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CU_ASSERT_FALSE(options_sound(cases[i].options, sizeof(struct some), &why));
        CHECK_TEXT(why.text, cases[i].why);
    }
    static struct cv_option endless[OPTIONS_MAX + 1];
    for (size_t i = 0; i <= OPTIONS_MAX; i++)
        endless[i] = (struct cv_option){ .name = "x", .help = "x" };
    CU_ASSERT_FALSE(options_sound(endless, sizeof(struct some), &why));
    CHECK_TEXT(why.text, "has no CV_OPT_END within 200 options");
}

static void a_mistyped_word_has_its_neighbour_within_two_slips(void)
{
    static const struct {
        const char *word, *best;
    } cases[] = { { "ha_conections", "ha_connections" },
                  { "conut", "count" },
                  { "cnt", "count" },
                  { "c", "" },
                  { "metrics", "" },
                  { "count", "count" } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct suggestion s = { .word = cases[i].word };
        suggest(&s, "ha_connections");
        suggest(&s, "count");
        suggest(&s, "token_file");
        CHECK_TEXT(s.best, cases[i].best);
    }
}

static void live_numbers_and_secrets_are_adopted_and_the_rest_stays(void)
{
    struct conf *was = conf_new("box", options, sizeof(struct some));
    struct conf *is = conf_new("box", options, sizeof(struct some));
    const struct some *s = was->data;
    say(was, "name", "old", "x.ini:1", false);
    say(was, "key", "opened", "flag --key", true);
    const char *name = s->name;
    say(is, "count", "7", "x.ini:1", false);
    say(is, "name", "new", "x.ini:2", false);
    say(is, "key", "opened otherwise", "flag --key", true);
    conf_adopt(was, is);
    conf_free(is);
    CU_ASSERT_EQUAL(s->count, 7);
    CU_ASSERT_PTR_EQUAL(s->name, name);
    CU_ASSERT(cv_str_eq(cv_reveal(s->key), CV_STR("opened otherwise")));
    const char *key = cv_reveal(s->key).p;
    is = conf_new("box", options, sizeof(struct some));
    say(is, "count", "8", "x.ini:1", false);
    say(is, "key", "opened otherwise", "flag --key", true);
    conf_adopt(was, is);
    conf_free(is);
    CU_ASSERT_EQUAL(s->count, 8);
    CU_ASSERT_PTR_EQUAL(cv_reveal(s->key).p, key); /* the same one stays where it is */
    conf_free(was);
    CHECK_TEXT(taken(&errors), "");
}

SUITE(options, TEST(live_numbers_and_secrets_are_adopted_and_the_rest_stays),
      TEST(defaults_are_in_and_later_words_win),
      TEST(wrong_words_are_named_with_their_place_and_change_nothing),
      TEST(a_dump_shows_values_and_places_but_no_secret), TEST(a_check_that_fails_names_who_set_the_option),
      TEST(a_difference_is_one_of_values_not_of_words), TEST(a_table_that_cannot_work_is_refused),
      TEST(a_mistyped_word_has_its_neighbour_within_two_slips));
