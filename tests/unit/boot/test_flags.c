/* test_flags.c: the command line and the environment as cloudflared's users know them. */
#include "boot_test.h"

#include "tunnel/tunnel.h"

#include <sys/mman.h>

static const char token[] = "eyJhIjoidG9rZW4ifQ==";

struct parsed {
    struct command c;
    char words[24][80];
    char *argv[25];
    int argc;
    char err[8192]; /* stdout and stderr */
};

/* Words are parted by blanks. Every TUNNEL_ variable is cleared first, but for those in `environment`. */
static void parse(struct parsed *p, const char *line, const char *const *environment)
{
    for (size_t i = 0; i < flag_count; i++)
        for (const char *e = flag_table[i].env; e && *e; e += strcspn(e, "|"), e += *e == '|') {
            char name[64];
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(e, "|"), e);
            unsetenv(name);
        }
    for (; environment && *environment; environment += 2)
        setenv(environment[0], environment[1], 1);
    *p = (struct parsed){ .argc = 0 };
    for (const char *w = line; *w; w += strcspn(w, " "), w += strspn(w, " ")) {
        snprintf(p->words[p->argc], sizeof(p->words[0]), "%.*s", (int)strcspn(w, " "), w);
        p->argv[p->argc] = p->words[p->argc];
        p->argc++;
    }
    fflush(stdout);
    fflush(stderr);
    int out = dup(1), err = dup(2), fd = memfd_create("err", 0);
    dup2(fd, 1);
    dup2(fd, 2);
    command_parse(&p->c, p->argc, p->argv);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    CU_ASSERT_TRUE(pread(fd, p->err, sizeof(p->err) - 1, 0) >= 0);
    close(fd);
}

/* What was said last of an option, or NULL. */
static const struct said *said(const struct parsed *p, const char *section, const char *key)
{
    const struct said *last = NULL;
    for (size_t i = 0; i < p->c.n; i++)
        if (strcmp(p->c.said[i].section, section) == 0 && strcmp(p->c.said[i].key, key) == 0)
            last = &p->c.said[i];
    return last;
}

static void flags_set_options(void)
{
    static const struct {
        const char *line, *section, *key, *text, *where;
    } cases[] = {
        { "culvert tunnel --edge a:1 --edge=b:2,c:3 run", "tunnel", "edge", "a:1,b:2,c:3", "flag --edge" },
        { "culvert --edge a:1 tunnel run", "tunnel", "edge", "a:1", "flag --edge" },
        { "cloudflared tunnel -edge a:1 run", "tunnel", "edge", "a:1", "flag --edge" },
        { "culvert tunnel -p http2 run", "tunnel", "protocol", "http2", "flag --protocol" },
        { "culvert tunnel -p quic run --protocol=http2 name", "tunnel", "protocol", "http2",
          "flag --protocol" },
        { "culvert tunnel --protocol h2mux run", "tunnel", "protocol", "http2", "flag --protocol" },
        { "culvert tunnel run --pq", "tunnel", "post_quantum", "yes", "flag --post-quantum" },
        { "culvert tunnel --post-quantum=F run", "tunnel", "post_quantum", "no", "flag --post-quantum" },
        { "culvert tunnel --grace-period 1m30s run", "tunnel", "grace_period", "1m30s",
          "flag --grace-period" },
        { "culvert tunnel --loglevel verbose run", "log", "level", "info", "flag --loglevel" },
        { "culvert tunnel --metrics 0.0.0.0:2000 run", "metrics_prom", "listen", "0.0.0.0:2000",
          "flag --metrics" },
        { "culvert tunnel --unix-socket /s run", "tunnel", "url", "unix:/s", "flag --unix-socket" },
        { "culvert tunnel --hello-world run", "tunnel", "url", "hello_world", "flag --hello-world" },
        { "culvert tunnel run --token-file=/t", "tunnel", "token_file", "/t", "flag --token-file" },
        { "culvert tunnel --no-autoupdate --no-prechecks --retries 3 run --features a -F b", "tunnel",
          "features", "a,b", "flag --features" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed p;
        parse(&p, cases[i].line, NULL);
        CHECK_TEXT(p.err, "");
        CU_ASSERT_EQUAL(p.c.what, COMMAND_RUN);
        const struct said *s = said(&p, cases[i].section, cases[i].key);
        CU_ASSERT_PTR_NOT_NULL(s);
        if (s) {
            CHECK_TEXT(s->text, cases[i].text);
            CHECK_TEXT(s->where, cases[i].where);
        }
        command_free(&p.c);
    }
}

static void a_flag_wins_over_its_variable_and_empty_is_absent(void)
{
    static const struct {
        const char *line, *variable, *value, *key, *text, *where;
    } cases[] = {
        { "culvert tunnel run", "TUNNEL_EDGE", "a:1,b:2", "edge", "a:1,b:2", "environment TUNNEL_EDGE" },
        { "culvert tunnel --edge c:3 run", "TUNNEL_EDGE", "a:1", "edge", "c:3", "flag --edge" },
        { "culvert tunnel --edge= run", "TUNNEL_EDGE", "a:1", "edge", NULL, NULL },
        { "culvert tunnel run", "TUNNEL_EDGE", "", "edge", NULL, NULL },
        { "culvert tunnel run", "TUNNEL_POST_QUANTUM", "1", "post_quantum", "yes",
          "environment TUNNEL_POST_QUANTUM" },
        { "culvert tunnel --retries 2 run", "TUNNEL_RETRIES", "x", "retries", "2", "flag --retries" },
        { "culvert tunnel run", "TUNNEL_TOKEN", "", "token", NULL, NULL },
        { "culvert tunnel run", "TUNNEL_TOKEN", " t ", "token", " t ", "environment TUNNEL_TOKEN" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed p;
        parse(&p, cases[i].line, (const char *const[]){ cases[i].variable, cases[i].value, NULL });
        const struct said *s = said(&p, "tunnel", cases[i].key);
        CU_ASSERT_EQUAL(s != NULL, cases[i].text != NULL);
        if (s && cases[i].text) {
            CHECK_TEXT(s->text, cases[i].text);
            CHECK_TEXT(s->where, cases[i].where);
        }
        command_free(&p.c);
    }
}

static void wrong_usage_ends_with_255_and_says_what(void)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        { "culvert tunnel --token x run", "Incorrect Usage: flag provided but not defined: -token\n" },
        { "culvert tunnel run --edge x", "Incorrect Usage: flag provided but not defined: -edge\n" },
        { "culvert tunnel --nope run", "Incorrect Usage: flag provided but not defined: -nope\n" },
        { "culvert tunnel ---x run", "Incorrect Usage: bad flag syntax: ---x\n" },
        { "culvert tunnel run --token", "Incorrect Usage: flag needs an argument: -token\n" },
        { "culvert tunnel --ha-connections x run",
          "Incorrect Usage: invalid value \"x\" for flag -ha-connections: parse error\n" },
        { "culvert tunnel --grace-period 4 run",
          "Incorrect Usage: invalid value \"4\" for flag -grace-period: parse error\n" },
        { "culvert tunnel --no-autoupdate=maybe run",
          "Incorrect Usage: invalid boolean value \"maybe\" for -no-autoupdate: parse error\n" },
        { "culvert tunnel run a b",
          "\"cloudflared tunnel run\" accepts only one argument, the ID or name of the tunnel to run.\n"
          "See 'cloudflared tunnel run --help'.\n" },
        { "culvert tunnel run a --token b", "accepts only one argument" },
        { "culvert tunnel run -- a b", "accepts only one argument" },
        { "culvert tunnel", "culvert tunnel needs the command run" },
        { "culvert tunnel login", "culvert tunnel has no command \"login\"\n" },
        { "culvert eyJhIjoiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYi", "culvert has no command \"…\"\n" },
        { "culvert --options xml", "Incorrect Usage: --options prints ini, markdown or metrics\n" },
        { "culvert", "culvert tunnel [TUNNEL FLAGS] run [RUN FLAGS]\n" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed p;
        parse(&p, cases[i].line, NULL);
        CHECK_HOLDS(p.err, cases[i].text);
        CU_ASSERT_EQUAL(p.c.what, COMMAND_DONE);
        CU_ASSERT_EQUAL(p.c.status, 255);
        command_free(&p.c);
    }
}

static void a_variable_that_does_not_parse_is_wrong_usage(void)
{
    struct parsed p;
    parse(&p, "culvert tunnel run", (const char *const[]){ "TUNNEL_RETRIES", "x", NULL });
    CHECK_HOLDS(
        p.err,
        "could not parse \"x\" as int value from environment variable \"TUNNEL_RETRIES\" for flag retries");
    CU_ASSERT_EQUAL(p.c.status, 255);
    command_free(&p.c);
}

static void commands_of_our_own(void)
{
    static const struct {
        const char *line;
        enum command_what what;
        const char *ini, *out;
        int status;
    } cases[] = {
        { "culvert --check a.ini", COMMAND_CHECK, "a.ini", "", 0 },
        { "culvert --config a.ini", COMMAND_RUN, "a.ini", "", 0 },
        { "culvert --config a.ini tunnel run", COMMAND_RUN, "a.ini", "", 0 },
        { "culvert tunnel --config=a.ini --edge a:1 run --token x --dump", COMMAND_DUMP, "a.ini", "", 0 },
        { "culvert --modules", COMMAND_MODULES, NULL, "", 0 },
        { "culvert --options ini", COMMAND_OPTIONS_INI, NULL, "", 0 },
        { "culvert --options=markdown", COMMAND_OPTIONS_MARKDOWN, NULL, "", 0 },
        { "culvert --options=metrics", COMMAND_OPTIONS_METRICS, NULL, "", 0 },
        { "culvert --version", COMMAND_DONE, NULL, "culvert version ", 0 },
        { "culvert version", COMMAND_DONE, NULL, "culvert version ", 0 },
        { "culvert -V", COMMAND_DONE, NULL, "culvert version ", 0 },
        { "culvert --help", COMMAND_DONE, NULL, "culvert --check", 0 },
        { "culvert help", COMMAND_DONE, NULL, "culvert --check", 0 },
        { "culvert tunnel --help", COMMAND_DONE, NULL, "--grace-period VALUE", 0 },
        { "culvert tunnel run -h", COMMAND_DONE, NULL, "--token-file VALUE", 0 },
        { "culvert tunnel --config config.yml run", COMMAND_DONE, "config.yml",
          "reads an ini file, not the YAML", 1 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed p;
        parse(&p, cases[i].line, NULL);
        CU_ASSERT_EQUAL(p.c.what, cases[i].what);
        CU_ASSERT_EQUAL(p.c.status, cases[i].status);
        CHECK_HOLDS(p.err, cases[i].out);
        if (cases[i].ini && p.c.ini)
            CHECK_TEXT(p.c.ini, cases[i].ini);
        CU_ASSERT_EQUAL(p.c.ini != NULL, cases[i].ini != NULL);
        command_free(&p.c);
    }
}

static void the_token_leaves_the_command_line(void)
{
    for (size_t i = 0; i < 2; i++) {
        char line[160];
        snprintf(line, sizeof(line), i ? "culvert tunnel run --token=%s" : "culvert tunnel run --token %s",
                 token);
        struct parsed p;
        parse(&p, line, NULL);
        for (int a = 0; a < p.argc; a++)
            CU_ASSERT_PTR_NULL(strstr(p.argv[a], token));
        CU_ASSERT_EQUAL(strspn(strchr(p.argv[3], '=') ? strchr(p.argv[3], '=') + 1 : p.argv[4], "*"),
                        strlen(token));
        CU_ASSERT_TRUE(p.c.token_given);
        const struct said *s = said(&p, "tunnel", "token");
        CHECK_TEXT(s ? s->text : "", token);
        CHECK_TEXT(p.c.settings, "token:*****");
        command_free(&p.c);
    }
}

static void settings_are_sorted_with_aliases_and_masked(void)
{
    struct parsed p;
    parse(&p,
          "culvert tunnel --edge a:1 --no-autoupdate --retries 1 --edge b:2 run --protocol http2 --token x",
          NULL);
    CHECK_TEXT(p.c.settings,
               "edge:[a:1 b:2] no-autoupdate:true p:http2 protocol:http2 retries:1 token:*****");
    command_free(&p.c);
    parse(&p, "culvert tunnel run",
          (const char *const[]){ "TUNNEL_TOKEN", token, "TUNNEL_LOGLEVEL", "debug", NULL });
    CU_ASSERT_PTR_NULL(p.c.settings);
    char *environment = environment_settings();
    CHECK_TEXT(environment, "TUNNEL_LOGLEVEL:debug TUNNEL_TOKEN:*****");
    free(environment);
    command_free(&p.c);
}

static void origin_flags_describe_the_one_service_of_url(void)
{
    static const char *const wanted[][3] = {
        { "httpHostHeader", "a\"b", "text" }, { "connectTimeout", "2", "" },
        { "tcpKeepAlive", "-1", "" },         { "proxyType", "socks", "text" },
        { "noTLSVerify", "true", "" },        { "httpHostHeader", "c", "text" },
        { "keepAliveConnections", "16", "" }
    };
    enum { WANTED = sizeof(wanted) / sizeof(wanted[0]) };
    struct parsed p;
    parse(&p,
          "culvert tunnel --url http://a:1 --proxy-connect-timeout 1500ms --proxy-tcp-keepalive -1s "
          "--no-tls-verify "
          "--http-host-header c run --socks5 --proxy-keepalive-connections 0x10",
          (const char *const[]){ "TUNNEL_HTTP_HOST_HEADER", "a\"b", NULL });
    CHECK_TEXT(p.err, "");
    CHECK_TEXT(taken(&p.c.warnings), "");
    size_t found = 0;
    for (size_t i = 0; i < p.c.n_origin_request; i++)
        for (size_t w = 0; w < WANTED; w++) {
            const struct tunnel_setting *s = &p.c.origin_request[i];
            found += strcmp(s->key, wanted[w][0]) == 0 && strcmp(s->value, wanted[w][1]) == 0 &&
                     s->text == (*wanted[w][2] != 0);
        }
    CU_ASSERT_EQUAL(found, WANTED - 1); /* the flag hides the variable */
    CU_ASSERT_EQUAL(p.c.n_origin_request, WANTED - 1);
    command_free(&p.c);
}

static void what_has_no_effect_is_accepted_and_some_of_it_warned_of(void)
{
    struct parsed p;
    parse(&p,
          "culvert tunnel --heartbeat-count 3 --label x --protocol h2mux --loglevel loud run "
          "--max-active-flows 3",
          NULL);
    CHECK_TEXT(p.err, "");
    CHECK_TEXT(taken(&p.c.warnings),
               "flag --protocol: h2mux is no longer there, using http2 instead\n"
               "flag --loglevel: \"loud\" is not one of debug|info|warn|error|fatal, using \"info\" instead\n"
               "flag --label has no effect in culvert\n");
    command_free(&p.c);
}

static void the_table_is_whole(void)
{
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        CU_ASSERT_TRUE(f->where != 0);
        CU_ASSERT_EQUAL(f->effect == FLAG_SETS, f->section != NULL && f->key != NULL);
        CU_ASSERT_TRUE(f->hidden || f->help);
        CU_ASSERT_EQUAL(f->words != NULL, f->otherwise != NULL);
        for (size_t j = 0; j < i; j++)
            CU_ASSERT_STRING_NOT_EQUAL(f->name, flag_table[j].name);
    }
}

static void help_fits_on_eighty_columns(void)
{
    static void (*const helps[])(FILE *) = { help_program, help_tunnel, help_run, help_doctor, help_order };
    for (size_t i = 0; i < 5; i++) {
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);
        helps[i](f);
        fclose(f);
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
            CU_ASSERT_TRUE(strcspn(line, "\n") <= 80);
        free(text);
    }
}

/* As the original prints them: durations and numbers in Go's words, nothing of what the edge need not know. */
static void the_edge_is_told_of_flags_that_were_given(void)
{
    static const struct {
        const char *line, *told;
    } cases[] = {
        { "culvert tunnel run", "loglevel=warn retries=7 " },
        { "culvert tunnel --loglevel debug -p http2 --no-autoupdate run --token secret --max-active-flows "
          "010",
          "loglevel=debug max-active-flows=8 no-autoupdate=true protocol=http2 retries=7 " },
        { "culvert tunnel --retries 3 --no-autoupdate=F --autoupdate-freq 90m --proto-loglevel error --edge "
          "a:1 "
          "--metrics-update-freq 1500ms --origincert /a/b --metrics :0 --edge-ip-version 4 "
          "--edge-bind-address ::1 run",
          "autoupdate-freq=1h30m0s edge-bind-address=::1 edge-ip-version=4 loglevel=warn metrics=:0 "
          "metrics-update-freq=1.5s no-autoupdate=false origincert=/a/b retries=3 "
          "transport-loglevel=error " },
        { "culvert tunnel --autoupdate-freq 250ms --metrics-update-freq 61s run",
          "autoupdate-freq=250ms loglevel=warn metrics-update-freq=1m1s retries=7 " },
        { "culvert tunnel --autoupdate-freq 0 --metrics-update-freq=-5s run",
          "autoupdate-freq=0s loglevel=warn metrics-update-freq=-5s retries=7 " },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed p;
        char told[512] = "";
        parse(&p, cases[i].line,
              (const char *const[]){ "TUNNEL_LOGLEVEL", "warn", "TUNNEL_RETRIES", "0x7", "NO_AUTOUPDATE", "",
                                     "TUNNEL_EDGE", "b:1", NULL });
        for (size_t k = 0; k < p.c.n_told; k++) {
            size_t n = strlen(told);
            snprintf(told + n, sizeof(told) - n, "%s=%s ", p.c.told[k].key, p.c.told[k].value);
        }
        CU_ASSERT_STRING_EQUAL(told, cases[i].told);
        if (i == 0)
            CU_ASSERT_STRING_EQUAL(said(&p, "tunnel", "retries")->text, "7");
        command_free(&p.c);
    }
}

SUITE(flags, TEST(the_edge_is_told_of_flags_that_were_given), TEST(flags_set_options),
      TEST(a_flag_wins_over_its_variable_and_empty_is_absent), TEST(wrong_usage_ends_with_255_and_says_what),
      TEST(a_variable_that_does_not_parse_is_wrong_usage), TEST(commands_of_our_own),
      TEST(the_token_leaves_the_command_line), TEST(settings_are_sorted_with_aliases_and_masked),
      TEST(origin_flags_describe_the_one_service_of_url),
      TEST(what_has_no_effect_is_accepted_and_some_of_it_warned_of), TEST(the_table_is_whole),
      TEST(help_fits_on_eighty_columns));
