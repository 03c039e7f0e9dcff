/* test_loader.c: modules that load, and all those that must not. */
#include "boot_test.h"

static struct loader test_modules(void)
{
    struct loader l;
    struct cv_str dir = CV_STR(SUITE_BUILD "/tests/modules");
    loader_init(&l, (struct cv_list){ &dir, 1 });
    return l;
}

static void every_unfit_module_is_refused_with_file_reason_and_remedy(void)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        { "wrong_magic",
          "wrong_magic.so: cv_module_wrong_magic is not made by CV_MODULE(): wrong magic; rebuild it" },
        { "wrong_abi", "wrong_abi.so: made for module ABI 2, this culvert has 1; rebuild it" },
        { "wrong_size", "wrong_size.so: its struct cv_module has " },
        { "wrong_name",
          "wrong_name.so: the module inside is called other_name; name the file and the section like it" },
        { "no_symbol", "no_symbol.so: has no symbol cv_module_no_symbol; is it a culvert module" },
        { "no_kind", "no_kind.so: none of .edge, .origin, .filter, .gate and .observer is set; exactly one "
                     "makes a module" },
        { "two_kinds", "two_kinds.so: more than one of .edge, .origin, .filter, .gate and .observer are set; "
                       "exactly one makes a module" },
        { "no_callback", "no_callback.so: .origin has no callback open, which that kind needs" },
        { "option_twice", "option_twice.so: its table of options is wrong: \"count\" stands there twice" },
        { "option_default",
          "option_default.so: its table of options is wrong: \"count\" has a default that does not parse" },
        { "option_outside", "option_outside.so: its table of options is wrong: \"count\" lies outside" },
        { "option_enabled",
          "option_enabled.so: its table of options is wrong: \"enabled\" belongs to the core" },
        { "unresolved", "undefined symbol: cv_of_the_future; build it together with this culvert" },
        { "acceptd",
          "there is no module acceptd.so in " SUITE_BUILD "/tests/modules; did you mean [accepted]?" },
        { "tunel", "there is no module tunel.so in " SUITE_BUILD "/tests/modules; did you mean [tunnel]?" },
        { "nothing_like_it", "there is no module nothing_like_it.so in " SUITE_BUILD "/tests/modules" },
        { "../modules/accepted",
          "\"../modules/accepted\" cannot be a module: names are made of a-z, 0-9 and _" },
        { "", "\"\" cannot be a module" },
    };
    struct loader l = test_modules();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct cv_module *m;
        struct cv_err err = { "" };
        CU_ASSERT_EQUAL(loader_find(&l, cases[i].name, &m, &err), CV_E_CONF);
        CHECK_HOLDS(err.text, cases[i].text);
    }
    loader_free(&l);
}

static void a_whole_module_is_loaded(void)
{
    struct loader l = test_modules();
    const struct cv_module *m;
    struct cv_err err = { "" };
    CU_ASSERT_EQUAL_FATAL(loader_find(&l, "accepted", &m, &err), CV_OK);
    CU_ASSERT_STRING_EQUAL(m->name, "accepted");
    CU_ASSERT_STRING_EQUAL(module_kind(m), "filter");
    loader_free(&l);
}

static void a_file_that_is_no_library_is_refused(void)
{
    char dir[] = "/tmp/culvert-test-XXXXXX", file[64];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/text.so", dir);
    FILE *f = fopen(file, "w");
    fputs("no library", f);
    fclose(f);
    struct loader l;
    struct cv_str path = cv_str_of(dir);
    loader_init(&l, (struct cv_list){ &path, 1 });
    const struct cv_module *m;
    struct cv_err err = { "" };
    CU_ASSERT_EQUAL(loader_find(&l, "text", &m, &err), CV_E_CONF);
    CHECK_HOLDS(err.text, "text.so: cannot be loaded: ");
    loader_free(&l);
    unlink(file);
    rmdir(dir);
}

static void note(void *arg, const char *name)
{
    fprintf(arg, "%s ", name);
}

static void modules_are_listed_by_name_once(void)
{
    struct cv_str dirs[] = { CV_STR(SUITE_BUILD "/tests/modules"), CV_STR("/nonexistent"),
                             CV_STR(SUITE_BUILD "/tests/modules") };
    struct loader l;
    loader_init(&l, (struct cv_list){ dirs, 3 });
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    loader_each(&l, note, f);
    fclose(f);
    CHECK_HOLDS(text, "no_callback no_kind no_symbol ");
    CU_ASSERT_PTR_EQUAL(strstr(text, "accepted"), text);
    CU_ASSERT_PTR_NULL(strstr(text + 1, "accepted"));
    free(text);
    loader_free(&l);
}

SUITE(loader, TEST(every_unfit_module_is_refused_with_file_reason_and_remedy), TEST(a_whole_module_is_loaded),
      TEST(a_file_that_is_no_library_is_refused), TEST(modules_are_listed_by_name_once));
