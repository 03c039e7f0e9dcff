/* flags.c: the command line and the environment as cloudflared takes them, turned into what was said of
 * options. */
#include "boot.h"

#include "tunnel/tunnel.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum phase { BEFORE_TUNNEL, BEFORE_RUN, AFTER_RUN, DOCTOR, ORDER };
static const char *const titles[] = { "culvert", "culvert tunnel", "culvert tunnel run", "culvert doctor",
                                      "culvert drain" };
static const unsigned allowed[] = { FLAG_TUNNEL, FLAG_TUNNEL, FLAG_RUN, FLAG_TUNNEL | FLAG_RUN | FLAG_DOCTOR,
                                    FLAG_ORDER };

struct parser {
    struct command *c;
    int argc, at;
    char **argv;
    enum phase phase;
    unsigned positionals;
    const char **given; /* by flag: its text, or NULL. Lists are joined with commas */
    bool over;          /* c->what and c->status are final */
};

static void done(struct parser *p, int status)
{
    p->c->what = COMMAND_DONE;
    p->c->status = status;
    p->over = true;
}

__attribute__((format(printf, 2, 3))) static void usage(struct parser *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    /* behind `run` the words are cloudflared's: scripts look for them */
    fprintf(stderr, "\nSee '%s --help'.\n",
            p->phase == AFTER_RUN ? "cloudflared tunnel run" : titles[p->phase]);
    done(p, 255);
}

__attribute__((format(printf, 2, 3))) static char *keep(struct command *c, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CV_ASSERT(n >= 0);
    char *text = block_alloc(&c->blocks, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

/* ---- values as Go's flag package takes them ------------------------------------------------------------ */

const char *flag_bool(const char *text)
{
    return flag_word("1|t|T|TRUE|true|True", text)      ? "yes"
           : flag_word("0|f|F|FALSE|false|False", text) ? "no"
                                                        : NULL;
}

static bool go_int(const char *text)
{
    char *end;
    errno = 0;
    strtoll(text, &end, 0);
    return errno == 0 && end != text && !*end && !isspace((unsigned char)*text);
}

bool flag_takes(const struct flag *f, const char *text)
{
    int64_t ms;
    return f->type == FLAG_BOOL  ? flag_bool(text) != NULL
           : f->type == FLAG_INT ? go_int(text)
           : f->type == FLAG_MS  ? duration_parse(text, &ms)
                                 : true;
}

/* ---- what was said ------------------------------------------------------------------------------------- */

static void say(struct command *c, const struct flag *f, const char *text, const char *where)
{
    if (f->type == FLAG_BOOL)
        text = flag_bool(text);
    if (f->type == FLAG_INT)
        text = keep(c, "%lld", strtoll(text, NULL, 0)); /* an ini knows neither 0x10 nor 020 */
    if (f->type == FLAG_BOOL && f->instead && strcmp(text, "no") == 0)
        return;
    if (f->words && !flag_word(f->words, text)) {
        problem(&c->warnings, "%s: \"%.60s\" is not one of %s, using \"%s\" instead", where, text, f->words,
                f->otherwise);
        text = f->otherwise;
    }
    size_t n = strlen(text);
    if (f->same && strncmp(f->same, text, n) == 0 && f->same[n] == '=') {
        problem(&c->warnings, "%s: %s is no longer there, using %s instead", where, text, f->same + n + 1);
        text = f->same + n + 1;
    }
    if (f->instead && strchr(f->instead, '*'))
        text = keep(c, "%.*s%s", (int)strcspn(f->instead, "*"), f->instead, text);
    else if (f->instead)
        text = f->instead;
    c->said[c->n++] = (struct said){ f->section, f->key, text, where, f->refusal, true };
}

/* As a document says it: durations are whole seconds there, and 0 means no limit. */
static void say_of_origin(struct command *c, const struct flag *f, const char *text)
{
    struct tunnel_setting *s = &c->origin_request[c->n_origin_request++];
    int64_t ms;
    *s = (struct tunnel_setting){ f->key, text, f->type == FLAG_STR };
    if (f->type == FLAG_BOOL)
        s->value = strcmp(flag_bool(text), "yes") == 0 ? "true" : "false";
    else if (f->type == FLAG_MS && duration_parse(text, &ms))
        s->value = keep(c, "%lld", (long long)(ms > 0 ? (ms + 999) / 1000 : ms / 1000));
    else if (f->type == FLAG_INT)
        s->value = keep(c, "%lld", strtoll(text, NULL, 0));
    if (f->instead)
        *s = (struct tunnel_setting){ f->key, strcmp(s->value, "true") == 0 ? f->instead : "", true };
}

static void take(struct command *c, const struct flag *f, const char *text, const char *where)
{
    if (f->effect == FLAG_WARNS)
        problem(&c->warnings, "%s has no effect in culvert", where);
    if (f->effect == FLAG_ORIGIN_REQUEST)
        say_of_origin(c, f, text);
    if (f->effect != FLAG_SETS || !*text)
        return;
    if (strcmp(f->name, "token") == 0)
        c->token_given = true;
    say(c, f, text, where);
}

const char *flag_environment(const struct flag *f, char *name, size_t size)
{
    for (const char *e = f->env; e && *e; e += strcspn(e, "|"), e += *e == '|') {
        snprintf(name, size, "%.*s", (int)strcspn(e, "|"), e);
        const char *value = getenv(name);
        if (value && *value)
            return value;
    }
    return NULL;
}

/* A flag hides its variable, also one that holds nonsense. */
static void take_environment(struct parser *p)
{
    static const char *const types[] = { "bool", "int", "duration", "string", "list" };
    for (size_t i = 0; i < flag_count && !p->over; i++) {
        const struct flag *f = &flag_table[i];
        char name[64];
        const char *text =
            p->given[i] || f->effect == FLAG_SILENT ? NULL : flag_environment(f, name, sizeof(name));
        if (!text)
            continue;
        if (flag_takes(f, text))
            take(p->c, f, keep(p->c, "%s", text), keep(p->c, "environment %s", name));
        else
            usage(p,
                  "Incorrect Usage: could not parse \"%s\" as %s value from environment variable \"%s\" for "
                  "flag %s: "
                  "parse error",
                  text, types[f->type], name, f->name);
    }
}

static void take_flags(struct parser *p)
{
    for (size_t i = 0; i < flag_count; i++)
        if (p->given[i])
            take(p->c, &flag_table[i], p->given[i], keep(p->c, "flag --%s", flag_table[i].name));
}

/* ---- the command line ---------------------------------------------------------------------------------- */

static void act(struct parser *p, const struct flag *f, const char *text)
{
    struct command *c = p->c;
    if (strcmp(f->name, "config") == 0 || strcmp(f->name, "check") == 0)
        c->ini = text;
    if (f->type == FLAG_BOOL && strcmp(flag_bool(text), "no") == 0)
        return;
    if (strcmp(f->name, "check") == 0)
        c->what = COMMAND_CHECK;
    else if (strcmp(f->name, "dump") == 0)
        c->what = COMMAND_DUMP;
    else if (strcmp(f->name, "modules") == 0)
        c->what = COMMAND_MODULES;
    else if (strcmp(f->name, "options") == 0 && strcmp(text, "ini") == 0)
        c->what = COMMAND_OPTIONS_INI;
    else if (strcmp(f->name, "options") == 0 && strcmp(text, "markdown") == 0)
        c->what = COMMAND_OPTIONS_MARKDOWN;
    else if (strcmp(f->name, "options") == 0 && strcmp(text, "metrics") == 0)
        c->what = COMMAND_OPTIONS_METRICS;
    else if (strcmp(f->name, "options") == 0)
        usage(p, "Incorrect Usage: --options prints ini, markdown or metrics");
    else if (strcmp(f->name, "json") == 0)
        c->json = true;
    else if (strcmp(f->name, "timeout") == 0)
        c->order[1] = text, c->argc = 2;
    else if (strcmp(f->name, "version") == 0)
        version_print(stdout), done(p, 0);
    else if (strcmp(f->name, "help") == 0)
        (p->phase == AFTER_RUN    ? help_run
         : p->phase == DOCTOR     ? help_doctor
         : p->phase == ORDER      ? help_order
         : p->phase == BEFORE_RUN ? help_tunnel
                                  : help_program)(stdout),
            done(p, 0);
}

static void give(struct parser *p, const struct flag *f, char *text)
{
    if (!flag_takes(f, text)) {
        const char *kind = f->type == FLAG_BOOL ? "boolean value" : "value";
        const char *flag = f->type == FLAG_BOOL ? "" : "flag ";
        usage(p, "Incorrect Usage: invalid %s \"%.60s\" for %s-%s: parse error", kind, text, flag, f->name);
        return;
    }
    const char **at = &p->given[f - flag_table];
    const char *copy = f->type == FLAG_LIST && *at ? keep(p->c, "%s,%s", *at, text) : keep(p->c, "%s", text);
    if (f->secret)
        memset(text, '*', strlen(text));
    if (f->effect == FLAG_ACTS)
        act(p, f, copy);
    else
        *at = copy;
}

static void misplaced(struct parser *p, const char *name)
{
    const struct flag *f = flag_find(name, FLAG_TUNNEL | FLAG_RUN);
    const char *hint = !f ? ""
                       : p->phase == AFTER_RUN
                           ? "\nThis flag stands before the word run: culvert tunnel [flags] run"
                           : "\nThis flag stands behind the words tunnel run.";
    usage(p, "Incorrect Usage: flag provided but not defined: -%.60s%s", name, hint);
}

static void take_flag(struct parser *p, char *arg)
{
    char *name = arg + 1 + (arg[1] == '-');
    if (!*name || *name == '-' || *name == '=') {
        usage(p, "Incorrect Usage: bad flag syntax: %.60s", arg);
        return;
    }
    char *value = strchr(name, '=');
    char *bare = keep(p->c, "%.*s", value ? (int)(value - name) : (int)strlen(name), name);
    const struct flag *f = flag_find(bare, allowed[p->phase]);
    static char yes[] = "true";
    if (!f)
        misplaced(p, bare);
    else if (value)
        give(p, f, value + 1);
    else if (f->type == FLAG_BOOL)
        give(p, f, yes);
    else if (p->at < p->argc)
        give(p, f, p->argv[p->at++]);
    else
        usage(p, "Incorrect Usage: flag needs an argument: -%s", bare);
}

/* The flags that follow say where the process is that the word is for. */
static void take_order(struct parser *p, const struct word *word)
{
    p->phase = ORDER;
    p->c->what = COMMAND_WORD;
    p->c->word = word;
    p->c->order[0] = word->name;
    p->c->argc = 1;
    p->c->argv = (char **)p->c->order;
}

/* All that follows is for whoever answers the word. */
static void give_away(struct parser *p, const struct word *word)
{
    p->c->what = COMMAND_WORD;
    p->c->word = word;
    p->c->argc = p->argc - p->at;
    p->c->argv = p->argv + p->at;
    p->over = true;
}

/* A word may be a secret that lost its flag: what does not look like a command is not shown. */
static void take_word(struct parser *p, const char *word)
{
    const struct word *known = p->phase == BEFORE_TUNNEL ? word_find(word) : NULL;
    bool plain = strlen(word) < 20 && !word[strspn(word, "abcdefghijklmnopqrstuvwxyz-")];
    if (p->phase == AFTER_RUN)
        p->positionals++;
    else if (p->phase == BEFORE_TUNNEL && strcmp(word, "tunnel") == 0)
        p->phase = BEFORE_RUN;
    else if (p->phase == BEFORE_RUN && strcmp(word, "run") == 0)
        p->phase = AFTER_RUN;
    else if (p->phase == BEFORE_TUNNEL && strcmp(word, "doctor") == 0)
        p->phase = DOCTOR, p->c->what = COMMAND_DOCTOR;
    else if (strcmp(word, "help") == 0 || (p->phase == BEFORE_TUNNEL && strcmp(word, "h") == 0))
        act(p, flag_find("help", FLAG_OWN), "true");
    else if (p->phase == BEFORE_TUNNEL && strcmp(word, "version") == 0)
        act(p, flag_find("version", FLAG_OWN), "true");
    else if (known && known->order)
        take_order(p, known);
    else if (known && (known->module || known->run))
        give_away(p, known);
    else
        usage(p, "%s has no command \"%s\"", titles[p->phase], plain ? word : "…");
}

static void take_arguments(struct parser *p)
{
    bool only_words = false;
    while (p->at < p->argc && !p->over) {
        char *arg = p->argv[p->at++];
        if (!only_words && strcmp(arg, "--") == 0) {
            only_words = true;
        } else if (!only_words && arg[0] == '-' && arg[1]) {
            take_flag(p, arg);
        } else {
            take_word(p, arg);
            only_words |= p->positionals > 0;
        }
    }
}

static void complete(struct parser *p)
{
    struct command *c = p->c;
    if (p->positionals > 1)
        usage(p,
              "\"cloudflared tunnel run\" accepts only one argument, the ID or name of the tunnel to run.");
    else if (c->what == COMMAND_RUN && p->phase == BEFORE_RUN && !c->ini)
        usage(p, "culvert tunnel needs the command run: culvert tunnel [flags] run [flags]");
    else if (c->what == COMMAND_RUN && p->phase == BEFORE_TUNNEL && !c->ini)
        help_program(stderr), done(p, 255);
    size_t n = c->ini ? strlen(c->ini) : 0;
    if (p->over ||
        !((n > 4 && strcmp(c->ini + n - 4, ".yml") == 0) || (n > 5 && strcmp(c->ini + n - 5, ".yaml") == 0)))
        return;
    fprintf(stderr,
            "%s: culvert reads an ini file, not the YAML of cloudflared.\n"
            "Its keys are flag names: give them as flags, as TUNNEL_… variables, or under their names in\n"
            "an ini (culvert --options ini prints one with all of them); ingress rules come from the "
            "dashboard.\n",
            c->ini);
    done(p, 1);
}

void command_parse(struct command *c, int argc, char **argv)
{
    *c = (struct command){ .what = COMMAND_RUN };
    struct parser p = { .c = c, .argc = argc, .argv = argv, .at = 1 };
    p.given = block_alloc(&c->blocks, flag_count * sizeof(*p.given));
    c->said = block_alloc(&c->blocks, 2 * flag_count * sizeof(*c->said));
    c->origin_request = block_alloc(&c->blocks, 2 * flag_count * sizeof(*c->origin_request));
    take_arguments(&p);
    if (!p.over)
        complete(&p);
    if (!p.over)
        take_environment(&p);
    if (!p.over)
        take_flags(&p);
    c->given = p.given;
    c->settings = flag_settings(p.given);
    if (!p.over)
        command_tell(c);
}

void command_free(struct command *c)
{
    problems_free(&c->warnings);
    free(c->settings);
    block_free(&c->blocks);
    *c = (struct command){ .what = COMMAND_DONE };
}
