/* manpage.c: the man pages culvert(8) and culvert.ini(5), from the tables that parse what they describe. */
#include "boot/manual.h"

#include <string.h>

/* ---- roff ---------------------------------------------------------------------------------------------- */

static void put(FILE *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        switch (text[i]) {
        case '-': fputs("\\-", out); break;
        case '\\': fputs("\\e", out); break;
        case '.':
        case '\'': fprintf(out, i == 0 ? "\\&%c" : "%c", text[i]); break;
        default: fputc(text[i], out);
        }
}

/* A paragraph on a line of its own: `so` is bold, <this> stands for a value. */
static void say(FILE *out, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "`<");
        put(out, text, n);
        text += n;
        const char *end = *text ? strchr(text + 1, *text == '`' ? '`' : '>') : NULL;
        if (!end)
            break;
        fputs(*text == '`' ? "\\fB" : "\\fI", out);
        put(out, text + 1, (size_t)(end - text - 1));
        fputs("\\fR", out);
        text = end + 1;
    }
    put(out, text, strlen(text));
    fputc('\n', out);
}

static void paragraph(FILE *out, const char *text)
{
    fputs(".PP\n", out);
    say(out, text);
}

static void entry(FILE *out, const char *what, const char *text)
{
    fputs(".TP\n", out);
    say(out, what);
    say(out, text);
}

static void title(FILE *out, const char *name, int section)
{
    fprintf(out,
            ".\\\" Made by culvert manual, from the tables of the program.\n.TH %s %d \"\" \"culvert %s\"\n",
            name, section, CV_VERSION);
}

/* ---- culvert(8) ---------------------------------------------------------------------------------------- */

static const struct {
    const char *what, *text;
} statuses[] = {
    { "`0`", "The tunnel was ended by a signal and every request had its time; or a command did what it was asked." },
    { "`1`", "The configuration is wrong, or the tunnel failed for good; the last lines of the log say why." },
    { "`255`", "The command line or the token is wrong." },
}, signals[] = {
    { "`SIGTERM`, `SIGINT`", "Unregister, finish the requests under way within the grace period, end. A second one ends "
                             "at once." },
    { "`SIGHUP`", "Read the ini again. A file that is wrong changes nothing." },
    { "`SIGUSR1`", "Drain: unregister and finish, but stay." },
    { "`SIGUSR2`", "Log at level debug; again: back to what is configured." },
}, examples[] = {
    { "`culvert tunnel --metrics 0.0.0.0:2000 run --token-file /run/secrets/token`", "As cloudflared is run." },
    { "`culvert --check /etc/culvert/culvert.ini`", "Tell what is wrong with an ini, without starting." },
    { "`culvert --config /etc/culvert/culvert.ini`", "Run with all settings from an ini." },
};

#define ENTRIES(out, table)                                                                                  \
    do {                                                                                                     \
        for (size_t i_ = 0; i_ < sizeof(table) / sizeof((table)[0]); i_++)                                   \
            entry((out), (table)[i_].what, (table)[i_].text);                                                \
    } while (0)

/* "`--post-quantum`, `--pq`", or "`--protocol` <value>, `-p` <value>" */
static void flag_names(FILE *out, const struct flag *f)
{
    const char *value = f->type == FLAG_BOOL ? "" : " \\fIvalue\\fR";
    fprintf(out, "\\fB\\-\\-");
    put(out, f->name, strlen(f->name));
    fprintf(out, "\\fR%s", value);
    for (const char *a = f->alias; a && *a; a += strcspn(a, "|"), a += *a == '|') {
        size_t n = strcspn(a, "|");
        fputs(n == 1 ? ", \\fB\\-" : ", \\fB\\-\\-", out);
        put(out, a, n);
        fprintf(out, "\\fR%s", value);
    }
    fputc('\n', out);
}

static void flags(FILE *out, unsigned where)
{
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        if (!(f->where & where) || !f->help)
            continue;
        fputs(".TP\n", out);
        flag_names(out, f);
        say(out, f->help);
    }
}

static void flags_with(FILE *out, enum flag_effect effect)
{
    const char *between = ".PP\n";
    for (size_t i = 0; i < flag_count; i++)
        if (flag_table[i].effect == effect) {
            fprintf(out, "%s\\fB\\-\\-", between);
            put(out, flag_table[i].name, strlen(flag_table[i].name));
            fputs("\\fR", out);
            between = ",\n";
        }
    fputc('\n', out);
}

static void variables(FILE *out)
{
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        for (const char *e = f->env; e && *e && f->effect == FLAG_SETS;
             e += strcspn(e, "|"), e += *e == '|') {
            fprintf(out, ".TP\n\\fB%.*s\\fR\nThe same as \\fB\\-\\-", (int)strcspn(e, "|"), e);
            put(out, f->name, strlen(f->name));
            fputs("\\fR\n", out);
        }
    }
}

static void introduction(FILE *out)
{
    fputs(".SH NAME\nculvert \\- the connector of a Cloudflare Tunnel\n.SH SYNOPSIS\n", out);
    say(out, "`culvert tunnel` [<flags of tunnel>] `run` [<flags of run>]");
    fputs(".br\n", out);
    say(out, "`culvert --config` <file>");
    fputs(".br\n", out);
    say(out, "`culvert` <command>");
    fputs(".SH DESCRIPTION\n", out);
    say(out,
        "culvert connects out to Cloudflare's edge, over QUIC or HTTP/2, and carries the requests that come "
        "in over these connections to services nearby. Which hostname goes to which service is said in the "
        "dashboard, and arrives while it runs. It takes the flags, variables and place of cloudflared in "
        "token mode.");
    paragraph(out,
              "A flag wins over its variable, that over the ini, that over the default. What the ini may "
              "say is in `culvert.ini`(5).");
}

static void commands(FILE *out)
{
    fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < word_count; i++) {
        fprintf(out, ".TP\n\\fBculvert ");
        put(out, word_table[i].usage, strlen(word_table[i].usage));
        fputs("\\fR\n", out);
        say(out, word_table[i].help);
    }
}

static void all_flags(FILE *out)
{
    fputs(".SH FLAGS THAT MAY STAND ANYWHERE\n", out);
    flags(out, FLAG_OWN);
    fputs(".SH FLAGS OF TUNNEL\n", out);
    flags(out, FLAG_TUNNEL);
    fputs(".SH FLAGS OF RUN\n", out);
    flags(out, FLAG_RUN);
    fputs(".SH FLAGS OF DOCTOR\nThose of tunnel and of run, and:\n", out);
    flags(out, FLAG_DOCTOR);
    fputs(".SH FLAGS OF DRAIN, READY AND RELOAD\n", out);
    flags(out, FLAG_ORDER);
    fputs(".SH FLAGS WITHOUT EFFECT\nAccepted, so that command lines of cloudflared stay as they are:\n",
          out);
    flags_with(out, FLAG_SILENT);
    paragraph(out, "For the service of --url alone; the rules of the dashboard say it themselves:");
    flags_with(out, FLAG_ORIGIN_REQUEST);
    paragraph(out, "Accepted with a warning, because whoever sets them may expect something:");
    flags_with(out, FLAG_WARNS);
}

static void print_program(FILE *out)
{
    title(out, "CULVERT", 8);
    introduction(out);
    commands(out);
    all_flags(out);
    fputs(".SH ENVIRONMENT\n", out);
    variables(out);
    fputs(".SH EXIT STATUS\n", out);
    ENTRIES(out, statuses);
    fputs(".SH SIGNALS\n", out);
    ENTRIES(out, signals);
    fputs(".SH EXAMPLES\n", out);
    ENTRIES(out, examples);
    fputs(".SH SEE ALSO\n", out);
    say(out, "`culvert.ini`(5)");
}

/* ---- culvert.ini(5) ------------------------------------------------------------------------------------ */

static void option(FILE *out, const struct cv_option *o)
{
    struct remark kind;
    value_describe(o, &kind);
    const char *def = manual_default(o);
    fputs(".TP\n\\fB", out);
    put(out, o->name, strlen(o->name));
    fputs(*def ? "\\fR = " : "\\fR", out);
    put(out, def, strlen(def));
    fputc('\n', out);
    say(out, o->help);
    fputs(".br\n", out);
    put(out, kind.text, strlen(kind.text));
    fprintf(out, "%s%s\n", o->flags & CV_REQUIRED ? "; required" : "",
            o->flags & CV_LIVE ? "; a reload may change it" : "");
}

static void section(FILE *out, const struct core_section *s, const struct cv_module *m)
{
    fputs(".SH [", out);
    put(out, s->name, strlen(s->name));
    fputs("]\n", out);
    say(out, s->summary);
    if (m)
        fprintf(out, "A module (%s), %s.\n", module_kind(m),
                manual_is_default(s->name) ? "on unless it says \\fBenabled = no\\fR"
                                           : "on when it has a section");
    for (const struct cv_option *o = s->options; o && o->name; o++)
        option(out, o);
}

static int print_ini(const struct command *command, FILE *out)
{
    struct manual manual = { .out = out, .section = section };
    title(out, "CULVERT.INI", 5);
    return manual_print(
        &manual, command,
        ".SH NAME\nculvert.ini \\- configuration of culvert\n"
        ".SH DESCRIPTION\n"
        "Sections in brackets hold lines \\fIoption\\fR = \\fIvalue\\fR. A comment begins with ; or # at the "
        "beginning\n"
        "of a line, or with a blank and ; behind a value. Lines hold at most 199 bytes. Lists have commas "
        "between;\n"
        "durations look like 500ms or 1m30s, sizes like 64k or 16M. A secret never stands in the file:\n"
        "\\fBenv:\\fR\\fINAME\\fR or \\fBfile:\\fR\\fI/path\\fR says where it is.\n"
        ".PP\n"
        "A section adds its module; a second word makes a second instance, as in [access_headers api]. "
        "Filters,\n"
        "origins and edges work in the order of their sections. Each module's section also takes "
        "\\fBenabled\\fR.\n"
        ".PP\n"
        "\\fBculvert \\-\\-check\\fR \\fIfile\\fR tells what is wrong, with line numbers; \\fBculvert "
        "\\-\\-dump\\fR prints\n"
        "the values in force and where each was set. SIGHUP reads the file again.\n");
}

/* ---- culvert manual … ---------------------------------------------------------------------------------- */

int manual_page(const struct command *command)
{
    const char *page = command->argc == 1 ? command->argv[0] : "";
    if (strcmp(page, "culvert") == 0) {
        print_program(stdout);
        return 0;
    }
    if (strcmp(page, "culvert.ini") == 0)
        return print_ini(command, stdout);
    fputs("culvert manual prints a man page: culvert manual culvert, culvert manual culvert.ini.\n", stderr);
    return 255;
}
