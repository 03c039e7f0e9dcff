/* test_manual.c: man pages and completion scripts: they say what the tables say, and other programs can use them. */
#include "boot_test.h"

#include "process.h"

static const char program[] = SUITE_BUILD "/culvert";

static char *output_of(const char *const *argv, const char *const *env, int status)
{
    struct process *p = process_start(argv, env);
    CU_ASSERT_EQUAL(process_end(p, 20000), status);
    return process_output(p);
}

static char *culvert(const char *word, const char *argument)
{
    static const char *const none[] = { NULL };
    const char *const argv[] = { program, word, argument, NULL };
    return output_of(argv, none, 0);
}

static void the_man_page_has_every_flag_that_help_has(void)
{
    char *page = culvert("manual", "culvert");
    for (size_t i = 0; i < flag_count; i++) {
        char name[100] = "\\fB\\-\\-", *to = name + strlen(name);
        for (const char *from = flag_table[i].name; *from; from++)
            to += snprintf(to, (size_t)(name + sizeof(name) - to), *from == '-' ? "\\-" : "%c", *from);
        CHECK_HOLDS(page, name);
    }
    free(page);
}

static void the_man_page_of_the_ini_has_options_of_core_and_modules(void)
{
    char *page = culvert("manual", "culvert.ini");
    CHECK_HOLDS(page, ".SH [tunnel]\n");
    CHECK_HOLDS(page, "\n\\fBtoken_file\\fR\n");
    CHECK_HOLDS(page, ".SH [access_headers]\n");
    CHECK_HOLDS(page, "\n\\fBgrace_period\\fR = 30s\n");
    free(page);
}

static void a_line_of_roff_never_begins_with_a_command_of_its_text(void)
{
    static const char *const pages[] = { "culvert", "culvert.ini" };
    static const char *const commands[] = { ".\\\"", ".TH", ".SH", ".PP", ".TP", ".br" };
    for (size_t i = 0; i < 2; i++) {
        char *page = culvert("manual", pages[i]);
        for (const char *line = page; *line; line += strcspn(line, "\n"), line += *line == '\n') {
            bool known = *line != '.' && *line != '\'';
            for (size_t c = 0; c < sizeof(commands) / sizeof(commands[0]); c++)
                known |= strncmp(line, commands[c], strlen(commands[c])) == 0;
            CU_ASSERT_TRUE(known);
        }
        free(page);
    }
}

static void an_unknown_page_or_shell_is_refused_with_the_known_ones(void)
{
    static const char *const none[] = { NULL };
    static const char *const cases[][2] = { { "manual", "culvert.conf" }, { "completion", "tcsh" } };
    for (size_t i = 0; i < 2; i++) {
        const char *const argv[] = { program, cases[i][0], cases[i][1], NULL };
        char *said = output_of(argv, none, 255);
        CHECK_HOLDS(said, i == 0 ? "culvert.ini" : "bash, zsh or fish");
        free(said);
    }
}

/* ---- metrics ---------------------------------------------------------------------------------------------- */

static char *content_of(const char *name)
{
    FILE *f = fopen(name, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    char *text = calloc(1, 1 << 20);
    CU_ASSERT_TRUE(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

/* A row "| `a`, `b` | C | label=`x`, other | meaning |" of docs/protocol.md §22 against the page: type and, where they
 * are nothing but names, labels. */
static void check_name(const char *page, const char *name, size_t n, char type, const char *labels,
                       size_t labels_n)
{
    const char *types = type == 'C' ? "counter" : type == 'G' ? "gauge" : "histogram";
    char absent[128], same[160];
    snprintf(absent, sizeof(absent), "\n| `%.*s` | ", (int)n, name);
    snprintf(same, sizeof(same), "%s%s | ", absent, types);
    const char *row = strstr(page, absent), *own = strstr(page, same);
    CU_ASSERT_PTR_NOT_NULL(row);
    if (!row)
        fprintf(stderr, "  docs/metrics.md does not say what became of %.*s\n", (int)n, name);
    const char *absentees = strstr(page, "cloudflared's that are not here");
    CU_ASSERT_TRUE(own || row > absentees);
    if (!own || memchr(labels, '=', labels_n) || memchr(labels, ';', labels_n) || type == 'H')
        return;
    char columns[200] = "";
    for (const char *p = own + strlen(same); *p != '|'; p++)
        if (*p != '`' && *p != ' ')
            snprintf(columns + strlen(columns), sizeof(columns) - strlen(columns), "%c", *p);
    char plain[200] = "";
    for (const char *p = labels; p < labels + labels_n; p++)
        if (*p != ' ')
            snprintf(plain + strlen(plain), sizeof(plain) - strlen(plain), "%c", *p);
    if (strcmp(plain, "") != 0 && strncmp(own, "\n| `build_info", 15) != 0)
        CU_ASSERT_STRING_EQUAL(columns, plain);
}

static void what_cloudflared_counts_is_here_or_said_not_to_be(void)
{
    char *page = content_of("docs/metrics.md"), *protocol = content_of("docs/protocol.md");
    const char *at = strstr(protocol, "\n## 22. "), *end = strstr(protocol, "\n## 23. ");
    unsigned names = 0;
    CU_ASSERT_TRUE_FATAL(at && end && at < end);
    while ((at = strstr(at, "\n| `")) && at < end) {
        const char *type = strstr(at, "` | ") + 4, *labels = type + 4, *stop = strchr(labels, '|') - 1;
        for (const char *p = at + 3; p < type - 3; names++) {
            const char *close = strchr(p + 1, '`');
            check_name(page, p + 1, (size_t)(close - p - 1), *type, labels,
                       stop > labels ? (size_t)(stop - labels) : 0);
            p = close + 1 + strspn(close + 1, ", ");
        }
        at++;
    }
    CU_ASSERT_TRUE(names > 50);
    free(page);
    free(protocol);
}

/* What bash offers for the last word of `line`, between blanks. */
static char *offers(const char *line)
{
    static const char script[] =
        ". <($0 completion bash); COMP_WORDS=($1); [[ $1 != *' ' ]] || COMP_WORDS+=('');"
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _culvert; echo \" ${COMPREPLY[*]} \"";
    static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
    const char *const argv[] = { "/bin/bash", "-c", script, program, line, NULL };
    return output_of(argv, env, 0);
}

static void bash_completes_words_flags_and_values_where_they_may_stand(void)
{
    static const struct {
        const char *line, *has, *has_not;
    } cases[] = {
        { "culvert tu", " tunnel ", "guard" },
        { "culvert tunnel r", " run ", "tunnel" },
        { "culvert tunnel --gr", " --grace-period ", "--token" },
        { "culvert tunnel run --to", " --token --token-file ", "--grace" },
        { "culvert tunnel --protocol q", " quic ", "http2" },
        { "culvert tunnel --loglevel ", " warn ", "--" },
        { "culvert completion ", " bash zsh fish ", "--" },
        { "culvert doctor --js", " --json ", "tunnel" },
        { "culvert doctor --token-", " --token-file ", "--grace" },
        { "culvert --opt", " --options ", "tunnel" },
        { "culvert tunnel --no-up", " ", "--no-update-check" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *said = offers(cases[i].line);
        CHECK_HOLDS(said, cases[i].has);
        CU_ASSERT_PTR_NULL(strstr(said, cases[i].has_not));
        free(said);
    }
}

SUITE(manual, TEST(the_man_page_has_every_flag_that_help_has),
      TEST(the_man_page_of_the_ini_has_options_of_core_and_modules),
      TEST(a_line_of_roff_never_begins_with_a_command_of_its_text),
      TEST(an_unknown_page_or_shell_is_refused_with_the_known_ones),
      TEST(what_cloudflared_counts_is_here_or_said_not_to_be),
      TEST(bash_completes_words_flags_and_values_where_they_may_stand));
