/* test_generation.c: from ini, environment and flags to the options of every section. */
#include "boot_test.h"

#include "tunnel/tunnel.h"

extern const struct cv_module cv_module_access_headers, cv_module_edge_http2, cv_module_edge_loopback,
    cv_module_edge_quic, cv_module_metrics_prom, cv_module_origin_proxy;

static const struct cv_module *const linked[] = { &cv_module_access_headers, &cv_module_edge_http2,
                                                  &cv_module_edge_loopback,  &cv_module_edge_quic,
                                                  &cv_module_metrics_prom,   &cv_module_origin_proxy };

static struct problems errors, warnings;

/* From an ini of this text (unless NULL) and what flags and environment said. */
static struct generation *made(const char *text, struct said *said, size_t n)
{
    static bool before;
    for (size_t i = 0; !before && i < sizeof(linked) / sizeof(linked[0]); i++)
        loader_add_static(linked[i]);
    before = true;
    struct command c = { .ini = text ? temporary(text) : NULL, .said = said, .n = n };
    struct generation *g = generation_new(&c, &errors, &warnings);
    if (c.ini)
        unlink(c.ini);
    return g;
}

/* The errors, without the name of the file. */
static const char *errors_of(const char *text)
{
    static char clean[16384];
    generation_free(made(text, NULL, 0));
    const char *from = taken(&errors);
    char *to = clean;
    while (*from) {
        if (strncmp(from, "/tmp/culvert-test-", 18) == 0)
            from += 24;
        *to++ = *from++;
    }
    *to = '\0';
    taken(&warnings);
    return clean;
}

static void the_default_modules_need_no_ini(void)
{
    struct generation *g = made(NULL, NULL, 0);
    CHECK_TEXT(taken(&errors), "");
    CU_ASSERT_PTR_NOT_NULL(g);
    if (!g)
        return;
    CU_ASSERT_EQUAL_FATAL(g->n, n_default_modules);
    for (size_t i = 0; i < g->n; i++)
        CU_ASSERT_STRING_EQUAL(g->modules[i].conf->section, default_modules[i]);
    generation_free(g);
}

static void modules_stand_in_the_order_of_their_sections(void)
{
    struct generation *g =
        made("[culvert]\nmodule_path = " SUITE_BUILD "/tests/modules\n"
             "[accepted b]\ncount = 2\n[edge_http2]\n[accepted]\n[edge_quic]\nenabled = no\nnonsense = 1\n"
             "[accepted a]\nenabled = yes\n",
             NULL, 0);
    CHECK_TEXT(taken(&errors), "");
    CU_ASSERT_PTR_NOT_NULL(g);
    if (!g)
        return;
    static const char *const wanted[] = { "accepted b",     "edge_http2",   "accepted",    "accepted a",
                                          "access_headers", "origin_proxy", "metrics_prom" };
    CU_ASSERT_EQUAL_FATAL(g->n, 7);
    for (size_t i = 0; i < 7; i++)
        CU_ASSERT_STRING_EQUAL(g->modules[i].conf->section, wanted[i]);
    CU_ASSERT_EQUAL(*(const int *)g->modules[0].conf->data, 2);
    CU_ASSERT_EQUAL(*(const int *)g->modules[2].conf->data, 1);
    generation_free(g);
}

static void every_error_is_told_at_once(void)
{
    CHECK_TEXT(errors_of("[culvert]\n"
                         "module_path = " SUITE_BUILD "/tests/modules\n"
                         "[tunnle]\n"
                         "x = 1\n"
                         "[tunnel]\n"
                         "token = eyJ0b2tlbg==\n"
                         "ha_conections = 2\n"
                         "ha_connections = 200\n"
                         "[log]\n"
                         "level = debugg\n"
                         "enabled = no\n"
                         "[edge_http2]\n"
                         "enabled = maybe\n"
                         "[origin_proxy]\n"
                         "tags = a=b, c\n"),
               ":10: level: \"debugg\" is not one of fatal, error, warn, info or debug; did you mean debug?\n"
               ":11: [log] has no option \"enabled\"\n"
               ":6: token: a secret does not stand here itself; say env:NAME or file:/path\n"
               ":7: [tunnel] has no option \"ha_conections\"; did you mean ha_connections?\n"
               ":8: ha_connections: \"200\" is not 1 to 64\n"
               ":3: [tunnle]: there is no module tunnle.so in " SUITE_BUILD
               "/tests/modules; did you mean [tunnel]?\n"
               ":13: enabled: \"maybe\" is not yes or no\n"
               ":15: tags: \"c\" is not NAME=VALUE\n");
}

static void rules_between_options_are_checked(void)
{
    CHECK_TEXT(errors_of("[tunnel]\ngrace_period = 4m\n"),
               ":2: grace_period: grace-period must be equal or less than 3m0s\n");
    CHECK_TEXT(errors_of("[edge_quic]\nidle_timeout = 1s\nkeep_alive = 2s\n"),
               ":2: idle_timeout: must be more than keep_alive, or a silent connection is always lost\n");
}

static void a_tunnel_without_transport_is_refused(void)
{
    static const char none[] = "[edge_quic]\nenabled = no\n[edge_http2]\nenabled = no\n[edge_loopback]\n";
    CHECK_TEXT(
        errors_of(none),
        "no module connects to the edge: switch edge_quic or edge_http2 on, or say [tunnel] enabled = no\n");
    char text[256];
    snprintf(text, sizeof(text), "%s[tunnel]\nenabled = no\n", none);
    CHECK_TEXT(errors_of(text), "");
}

static void flags_win_over_environment_over_ini_over_defaults(void)
{
    struct said said[] = {
        { "tunnel", "region", "env", "environment TUNNEL_REGION", NULL, true },
        { "tunnel", "protocol", "quic", "environment TUNNEL_TRANSPORT_PROTOCOL", NULL, true },
        { "tunnel", "token", "hush", "flag --token", NULL, true },
        { "tunnel", "protocol", "http2", "flag --protocol", NULL, true },
        { "edge_loopback", "listen", "x:1", "flag --loopback", NULL, true },
    };
    struct generation *g = made("[tunnel]\nregion = ini\nprotocol = auto\nha_connections = 2\n", said, 5);
    CHECK_TEXT(taken(&errors), "");
    CU_ASSERT_PTR_NOT_NULL(g);
    if (!g)
        return;
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    generation_dump(g, f);
    fclose(f);
    CHECK_HOLDS(text, "tunnel.region = env  ; environment TUNNEL_REGION\n");
    CHECK_HOLDS(text, "tunnel.protocol = http2  ; flag --protocol\n");
    CHECK_HOLDS(text, ":4\ntunnel.spacing = 100ms  ; default\n");
    CHECK_HOLDS(text, "tunnel.token = ***  ; flag --token\n");
    CU_ASSERT_PTR_NULL(strstr(text, "hush"));
    free(text);
    generation_free(g);
}

static bool table_has(const struct cv_option *o, const char *key)
{
    for (; o && o->name; o++)
        if (strcmp(o->name, key) == 0)
            return true;
    return false;
}

static void every_flag_sets_an_option_that_exists(void)
{
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        bool found = f->effect != FLAG_SETS;
        for (size_t j = 0; !found && j < CORE_SECTIONS; j++)
            found =
                strcmp(core_sections[j].name, f->section) == 0 && table_has(core_sections[j].options, f->key);
        for (size_t j = 0; !found && j < sizeof(linked) / sizeof(linked[0]); j++)
            found = strcmp(linked[j]->name, f->section) == 0 && table_has(linked[j]->options, f->key);
        CU_ASSERT_TRUE(found);
        if (!found)
            fprintf(stderr, "  --%s sets [%s] %s\n", f->name, f->section, f->key);
    }
}

static void every_table_of_the_program_is_sound(void)
{
    struct remark why = { "" };
    for (size_t i = 0; i < CORE_SECTIONS; i++)
        CU_ASSERT_TRUE(options_sound(core_sections[i].options, core_sections[i].size, &why));
    for (size_t i = 0; i < sizeof(linked) / sizeof(linked[0]); i++)
        CU_ASSERT_TRUE(options_sound(linked[i]->options, linked[i]->conf_size, &why));
    CHECK_TEXT(why.text, "");
}

SUITE(generation, TEST(the_default_modules_need_no_ini), TEST(modules_stand_in_the_order_of_their_sections),
      TEST(every_error_is_told_at_once), TEST(rules_between_options_are_checked),
      TEST(a_tunnel_without_transport_is_refused), TEST(flags_win_over_environment_over_ini_over_defaults),
      TEST(every_flag_sets_an_option_that_exists), TEST(every_table_of_the_program_is_sound));
