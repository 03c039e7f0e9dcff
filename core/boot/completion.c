/* completion.c: scripts that complete culvert's command line in bash, zsh and fish, from the tables that parse it. */
#include "boot/boot.h"

#include <string.h>

/* The word that led to where the cursor is decides which flags, and which word, may follow. */
static const struct {
    const char *name, *from; /* from: the place in which the word `name` leads here */
    unsigned where;
    const char *word;
} places[] = { { "own", "", FLAG_OWN, NULL },
               { "tunnel", "own", FLAG_OWN | FLAG_TUNNEL, "run" },
               { "run", "tunnel", FLAG_OWN | FLAG_RUN, NULL },
               { "doctor", "own", FLAG_OWN | FLAG_TUNNEL | FLAG_RUN | FLAG_DOCTOR, NULL },
               { "drain", "own", FLAG_OWN | FLAG_ORDER, NULL },
               { "ready", "own", FLAG_OWN | FLAG_ORDER, NULL },
               { "reload", "own", FLAG_OWN | FLAG_ORDER, NULL } };
enum { PLACES = sizeof(places) / sizeof(places[0]) };

static bool offered(const struct flag *f, unsigned where)
{
    return (f->where & where) && f->help && !f->hidden;
}

/* The values of a flag as "a|b"; NULL: anything. */
static const char *values(const struct flag *f)
{
    if (f->words)
        return f->words;
    for (size_t s = 0; f->effect == FLAG_SETS && s < CORE_SECTIONS; s++)
        if (strcmp(core_sections[s].name, f->section) == 0)
            for (const struct cv_option *o = core_sections[s].options; o->name; o++)
                if (strcmp(o->name, f->key) == 0)
                    return o->words;
    return strcmp(f->name, "options") == 0 ? "ini|markdown|metrics" : NULL;
}

/* "a|b" with blanks between. */
static void spaced(FILE *out, const char *list)
{
    for (; list && *list; list++)
        fputc(*list == '|' ? ' ' : *list, out);
}

/* In single quotes of a shell: our texts hold apostrophes. */
static void quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text; text++)
        fputs(*text == '\'' ? "'\\''" : (const char[]){ *text, '\0' }, out);
    fputc('\'', out);
}

static void flag_list(FILE *out, unsigned where, const char *between)
{
    const char *before = "";
    for (size_t i = 0; i < flag_count; i++)
        if (offered(&flag_table[i], where)) {
            fprintf(out, "%s--%s", before, flag_table[i].name);
            before = between;
        }
}

static void word_list(FILE *out)
{
    for (size_t i = 0; i < word_count; i++)
        fprintf(out, "%s%s", i ? " " : "", word_table[i].name);
}

/* ---- bash ---------------------------------------------------------------------------------------------- */

static void print_bash(FILE *out)
{
    fputs("# Completion of culvert for bash: source <(culvert completion bash)\n"
          "_culvert() {\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} place=own first= "
          "word\n"
          "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
          "        case $place:$word in\n",
          out);
    for (size_t p = 1; p < PLACES; p++)
        fprintf(out, "        %s:%s) place=%s ;;\n", places[p].from, places[p].name, places[p].name);
    fputs("        own:[!-]*) first=$word ;;\n"
          "        esac\n"
          "    done\n"
          "    case $previous in\n",
          out);
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        if (!offered(f, ~0u) || f->type == FLAG_BOOL)
            continue;
        fprintf(out, "    --%s) ", f->name);
        fputs(values(f) ? "COMPREPLY=($(compgen -W '" : "return ;;\n", out);
        spaced(out, values(f));
        fputs(values(f) ? "' -- \"$current\")); return ;;\n" : "", out);
    }
    fputs("    esac\n    local words\n    case $place:$first in\n", out);
    for (size_t i = 0; i < word_count; i++)
        if (word_table[i].arguments) {
            fprintf(out, "    own:%s) words='", word_table[i].name);
            spaced(out, word_table[i].arguments);
            fputs("' ;;\n", out);
        }
    for (size_t p = 0; p < PLACES; p++) {
        fprintf(out, "    %s:%s) words='", places[p].name, places[p].where == FLAG_OWN ? "" : "*");
        flag_list(out, places[p].where, " ");
        fprintf(out, " %s", places[p].word ? places[p].word : "");
        if (places[p].where == FLAG_OWN)
            word_list(out);
        fputs("' ;;\n", out);
    }
    fputs("    *) return ;;\n"
          "    esac\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
          "}\n"
          "complete -o default -F _culvert culvert cloudflared\n",
          out);
}

/* ---- zsh ----------------------------------------------------------------------------------------------- */

/* '--name[help]:value:(a b)'; brackets and colons of the help would end it. */
static void zsh_flag(FILE *out, const struct flag *f)
{
    fprintf(out, "        '%s--%s[", f->type == FLAG_LIST ? "*" : "", f->name);
    for (const char *t = f->help; *t; t++)
        fputs(*t == '\''                            ? "'\\''"
              : *t == '[' || *t == ']' || *t == ':' ? (const char[]){ '\\', *t, '\0' }
                                                    : (const char[]){ *t, '\0' },
              out);
    fputs(f->type == FLAG_BOOL ? "]'\n" : values(f) ? "]:value:(" : "]:value:_files'\n", out);
    spaced(out, f->type == FLAG_BOOL ? NULL : values(f));
    fputs(f->type != FLAG_BOOL && values(f) ? ")'\n" : "", out);
}

static void zsh_place(FILE *out, unsigned where)
{
    for (size_t i = 0; i < flag_count; i++)
        if (offered(&flag_table[i], where))
            zsh_flag(out, &flag_table[i]);
}

static void print_zsh(FILE *out)
{
    fputs("#compdef culvert cloudflared\n"
          "# Completion of culvert for zsh: culvert completion zsh > \"${fpath[1]}/_culvert\"\n"
          "_culvert() {\n"
          "    local context state state_descr line\n"
          "    typeset -A opt_args\n"
          "    local place=own i at=1\n"
          "    for (( i = 2; i < CURRENT; i++ )); do\n"
          "        case $place:$words[i] in\n",
          out);
    for (size_t p = 1; p < PLACES; p++)
        fprintf(out, "        %s:%s) place=%s at=$i ;;\n", places[p].from, places[p].name, places[p].name);
    for (size_t i = 0; i < word_count; i++)
        if (word_table[i].arguments)
            fprintf(out, "        own:%s) place=%s ;;\n", word_table[i].name, word_table[i].name);
    fputs("        esac\n"
          "    done\n"
          "    local -a flags\n"
          "    case $place in\n",
          out);
    for (size_t i = 0; i < word_count; i++)
        if (word_table[i].arguments) {
            fprintf(out, "    %s) compadd -- ", word_table[i].name);
            spaced(out, word_table[i].arguments);
            fputs("; return ;;\n", out);
        }
    for (size_t p = 0; p < PLACES; p++) {
        fprintf(out, "    %s) flags=(\n", places[p].name);
        zsh_place(out, places[p].where);
        fputs("    ) ;;\n", out);
    }
    fputs("    esac\n"
          "    [[ $PREFIX == -* ]] || case $place in\n"
          "    own) compadd -- ",
          out);
    word_list(out);
    fputs(" ;;\n"
          "    tunnel) compadd -- run ;;\n"
          "    esac\n"
          "    words=($words[1] \"${(@)words[at+1,-1]}\")\n"
          "    (( CURRENT -= at - 1 ))\n"
          "    _arguments $flags\n"
          "}\n"
          "compdef _culvert culvert cloudflared\n",
          out);
}

/* ---- fish ---------------------------------------------------------------------------------------------- */

static void fish_flag(FILE *out, const struct flag *f, const char *when)
{
    fprintf(out, "complete -c culvert -n %s -l %s", when, f->name);
    fputs(f->type == FLAG_BOOL ? "" : values(f) ? " -x -a '" : " -r -F", out);
    spaced(out, f->type == FLAG_BOOL ? NULL : values(f));
    fputs(f->type != FLAG_BOOL && values(f) ? "'" : "", out);
    fputs(" -d ", out);
    quoted(out, f->help);
    fputc('\n', out);
}

static void print_fish(FILE *out)
{
    static const char after_tunnel[] = "'__fish_seen_subcommand_from tunnel doctor'";
    static const char between[] =
        "'__fish_seen_subcommand_from tunnel doctor; and not __fish_seen_subcommand_from run'";
    fputs("# Completion of culvert for fish: culvert completion fish | source\n"
          "complete -c cloudflared -w culvert\n"
          "complete -c culvert -f\n",
          out);
    for (size_t i = 0; i < word_count; i++) {
        fprintf(out, "complete -c culvert -n __fish_use_subcommand -a %s -d ", word_table[i].name);
        quoted(out, word_table[i].help);
        fputc('\n', out);
        if (word_table[i].arguments) {
            fprintf(out, "complete -c culvert -n '__fish_seen_subcommand_from %s' -a '", word_table[i].name);
            spaced(out, word_table[i].arguments);
            fputs("'\n", out);
        }
    }
    fputs("complete -c culvert -n '__fish_seen_subcommand_from tunnel; and not __fish_seen_subcommand_from "
          "run' -a run\n",
          out);
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        if (offered(f, FLAG_OWN))
            fish_flag(out, f, "true");
        else if (offered(f, FLAG_TUNNEL) && offered(f, FLAG_ORDER))
            fish_flag(out, f, "'__fish_seen_subcommand_from tunnel doctor drain ready reload'");
        else if (offered(f, FLAG_ORDER))
            fish_flag(out, f, "'__fish_seen_subcommand_from drain ready reload'");
        else if (offered(f, FLAG_TUNNEL))
            fish_flag(out, f, offered(f, FLAG_RUN) ? after_tunnel : between);
        else if (offered(f, FLAG_RUN))
            fish_flag(out, f, "'__fish_seen_subcommand_from run doctor'");
        else if (offered(f, FLAG_DOCTOR))
            fish_flag(out, f, "'__fish_seen_subcommand_from doctor'");
    }
}

int completion_run(const struct command *c)
{
    static const struct {
        const char *shell;
        void (*print)(FILE *);
    } shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };
    for (size_t i = 0; c->argc == 1 && i < sizeof(shells) / sizeof(shells[0]); i++)
        if (strcmp(c->argv[0], shells[i].shell) == 0) {
            shells[i].print(stdout);
            return 0;
        }
    fputs("culvert completion prints a script for a shell: bash, zsh or fish.\n", stderr);
    return 255;
}
