/* manual.c: every option there is, as an ini and as a page of documentation, and the list of modules. */
#include "boot/manual.h"

#include <stdlib.h>
#include <string.h>

bool manual_is_default(const char *module)
{
    for (size_t i = 0; i < n_default_modules; i++)
        if (strcmp(default_modules[i], module) == 0)
            return true;
    return false;
}

const char *manual_default(const struct cv_option *o)
{
    return o->def ? o->def : o->type == CV_T_BOOL ? "no" : o->type == CV_T_INT ? "0" : "";
}

/* ---- as an ini: what is commented out is the default --------------------------------------------------- */

/* Comment lines of at most 100 columns. */
static void comment(FILE *out, const char *text)
{
    size_t at = 0;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (at && at + 1 + n > 98) {
            fputc('\n', out);
            at = 0;
        }
        at += (size_t)fprintf(out, "%s%.*s", at ? " " : "; ", (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void ini_option(FILE *out, const struct cv_option *o)
{
    struct remark kind;
    value_describe(o, &kind);
    comment(out, o->help);
    fprintf(out, "; %s%s%s\n", kind.text, o->flags & CV_REQUIRED ? "; required" : "",
            o->flags & CV_LIVE ? "; a reload may change it" : "");
    const char *def = manual_default(o);
    fprintf(out, ";%s =%s%s\n\n", o->name, *def ? " " : "", def);
}

static void ini_section(FILE *out, const struct core_section *s, const struct cv_module *m)
{
    bool on = !m || manual_is_default(s->name);
    fputs("; ----------------------------------------------------------------------\n", out);
    comment(out, s->summary);
    fprintf(out, "%s[%s]\n\n", on ? "" : ";", s->name);
    if (m) {
        comment(out, enabled_option.help);
        fprintf(out, "; yes or no\n;enabled = yes\n\n");
    }
    for (const struct cv_option *o = s->options; o && o->name; o++)
        ini_option(out, o);
}

/* ---- as markdown --------------------------------------------------------------------------------------- */

static void cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\|" : *text == '<' ? "&lt;" : "%c", *text);
}

static void markdown_section(FILE *out, const struct core_section *s, const struct cv_module *m)
{
    fprintf(out, "\n## [%s]\n\n%s", s->name, s->summary);
    if (m)
        fprintf(out, " (%s module)", module_kind(m));
    fputs("\n\n| option | default | value | meaning |\n|---|---|---|---|\n", out);
    for (const struct cv_option *o = s->options; o && o->name; o++) {
        struct remark kind;
        value_describe(o, &kind);
        fprintf(out, "| `%s` | ", o->name);
        fprintf(out, o->def && *o->def ? "`%s`" : "%s", o->def ? o->def : "");
        fputs(" | ", out);
        cell(out, kind.text);
        fputs(" | ", out);
        cell(out, o->help);
        fprintf(out, "%s%s |\n", o->flags & CV_REQUIRED ? " Required." : "",
                o->flags & CV_LIVE ? " Live." : "");
    }
}

static void markdown_flags(FILE *out)
{
    fputs("\n## Flags and environment\n\n"
          "`culvert tunnel [flags of tunnel] run [flags of run]`. A flag wins over its variable, that over "
          "the ini, that over\n"
          "the default.\n\n| flag | stands behind | variable | sets |\n|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        if (f->effect == FLAG_ACTS)
            continue;
        fprintf(out, "| `--%s` | %s | ", f->name,
                f->where == FLAG_TUNNEL ? "tunnel"
                : f->where == FLAG_RUN  ? "run"
                                        : "either");
        for (const char *e = f->env; e && *e; e += strcspn(e, "|"), e += *e == '|')
            fprintf(out, "%s`%.*s`", e == f->env ? "" : " or ", (int)strcspn(e, "|"), e);
        if (f->effect == FLAG_SETS)
            fprintf(out, " | `[%s] %s` |\n", f->section, f->key);
        else if (f->effect == FLAG_ORIGIN_REQUEST)
            fprintf(out, " | `%s` of the rule that `--url` makes |\n", f->key);
        else
            fprintf(out, " | nothing: accepted%s |\n", f->effect == FLAG_WARNS ? ", with a warning" : "");
    }
}

/* ---- all sections -------------------------------------------------------------------------------------- */

static void print_module(struct manual *manual, const char *name)
{
    const struct cv_module *m;
    struct cv_err err;
    if (loader_find(&manual->loader, name, &m, &err) != CV_OK) {
        fprintf(stderr, "%s\n", err.text);
        manual->status = 1;
        return;
    }
    struct core_section s = { m->name, m->summary ? m->summary : "", m->options, m->conf_size, NULL };
    manual->section(manual->out, &s, m);
}

static void print_other_module(void *arg, const char *name)
{
    if (!manual_is_default(name))
        print_module(arg, name);
}

/* The folders of modules are the only option that matters here. */
static bool open_manual(struct manual *manual, const struct command *command)
{
    struct problems errors = { .n = 0 };
    struct ini ini = { .n = 0 };
    struct conf *c = conf_new("culvert", culvert_options, sizeof(struct culvert_conf));
    if (command->ini)
        ini_read(&ini, command->ini, &errors);
    for (size_t i = 0; i < ini.n; i++)
        for (size_t j = 0; strcmp(ini.v[i].name, "culvert") == 0 && j < ini.v[i].n; j++)
            conf_set(
                c, &(struct said){ .key = ini.v[i].v[j].key, .text = ini.v[i].v[j].value, .where = ini.file },
                &errors, &errors);
    loader_init(&manual->loader, ((const struct culvert_conf *)c->data)->module_path);
    problems_print(&errors, stderr);
    bool ok = errors.n == 0;
    problems_free(&errors);
    ini_free(&ini);
    conf_free(c);
    return ok;
}

int manual_print(struct manual *manual, const struct command *command, const char *head)
{
    if (!open_manual(manual, command)) {
        loader_free(&manual->loader);
        return 1;
    }
    fputs(head, manual->out);
    for (size_t i = 0; *head && i < CORE_SECTIONS; i++)
        manual->section(manual->out, &core_sections[i], NULL);
    for (size_t i = 0; i < n_default_modules; i++)
        print_module(manual, default_modules[i]);
    loader_each(&manual->loader, print_other_module, manual);
    loader_free(&manual->loader);
    return manual->status;
}

int manual_ini(const struct command *command, FILE *out)
{
    struct manual manual = { .out = out, .section = ini_section };
    return manual_print(
        &manual, command,
        "; Every option of culvert with its default, made by `culvert --options ini`. Take what you change.\n"
        ";\n"
        "; A comment begins with ; or # at the beginning of a line, or with a blank and ; behind a value.\n"
        "; Lines hold at most 199 bytes, lists have commas between, durations look like 500ms or 1m30s, "
        "sizes\n"
        "; like 64k or 16M. A secret never stands here: env:NAME or file:/path says where it is.\n"
        "; A section adds its module; [access_headers api] is a second instance of access_headers. Filters,\n"
        "; origins and edges work in the order of their sections.\n\n");
}

int manual_markdown(const struct command *command, FILE *out)
{
    struct manual manual = { .out = out, .section = markdown_section };
    int status = manual_print(
        &manual, command,
        "# Options\n\n"
        "Made by `culvert --options markdown` from the tables that parse them. `culvert --dump` prints the "
        "values\n"
        "in force and where each was set. \"Live\" options change on reload (SIGHUP); others need a "
        "restart.\n"
        "Every module section also takes `enabled = yes` or `no`; edge_quic, edge_http2, origin_proxy and\n"
        "metrics_prom are on without a section.\n");
    markdown_flags(out);
    return status;
}

static void module_line(FILE *out, const struct core_section *s, const struct cv_module *m)
{
    fprintf(out, "%-16s %-9s %s\n", s->name, module_kind(m), s->summary);
}

int manual_modules(const struct command *command, FILE *out)
{
    struct manual manual = { .out = out, .section = module_line };
    return manual_print(&manual, command, "");
}
