/* boot.h: the room before traffic: from a command line and an ini to instances that run.
 *
 *     command line, environment ─▶ flags ─┐
 *                            ini ─▶ ini ──┴▶ generation (conf per section) ─▶ loader ─▶ lifecycle
 *
 * Thread   Main alone, but for what lifecycle.c and reload.c post to workers. */
#ifndef BOOT_H
#define BOOT_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

#include <stdio.h>

/* ---- problems.c: all that is wrong, not only the first ------------------------------------------------- */

#define PROBLEMS_MAX 50 /* what comes after is counted, not kept */
struct problems {
    char *v[PROBLEMS_MAX];
    size_t n;
    size_t more;
};
void problem(struct problems *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void problems_print(const struct problems *, FILE *); /* one a line, then how many more */
void problems_free(struct problems *);

/* The candidate nearest to `word`, at most two slips away; empty if there is none. Names are cut at 63 bytes.
 */
struct suggestion {
    const char *word;
    char best[64];
    unsigned distance;
};
void suggest(struct suggestion *, const char *candidate);

/* ---- ini.c --------------------------------------------------------------------------------------------- */

/* What libinih reads: `[section]`, `key = value`, comments from `;` or `#` at the beginning of a line or ` ;`
 * behind a value. Ours on top: lines of at most INI_LINE bytes without the blanks around them, section names
 * of at most INI_SECTION, no control bytes, no key before the first section, no key twice. A section may come
 * in parts. */
#define INI_LINE    199
#define INI_SECTION 49
#define INI_SIZE    (1 << 20)

struct ini_entry {
    char *key, *value;
    unsigned line;
};
struct ini_section {
    char *name; /* words with one blank between them: "edge_http2", "access_headers api" */
    unsigned line;
    struct ini_entry *v;
    size_t n;
};
struct ini {
    char *file; /* as messages name it */
    struct ini_section *v;
    size_t n;
};
/* Each problem begins with "file:line: ". What could be read is in *ini also when there are some. Free with
 * ini_free(). */
void ini_read(struct ini *, const char *file, struct problems *);
void ini_read_stream(struct ini *, const char *name, FILE *, struct problems *);
void ini_free(struct ini *);

/* ---- value.c: option values as text and typed ---------------------------------------------------------- */

/* Memory of one conf: freed, and wiped, as a whole. */
struct block;
void *block_alloc(struct block **, size_t n); /* zeroed */
void block_free(struct block **);

struct remark {
    char text[256]; /* never holds a secret */
};
/* A literal secret is taken only if `literal`. False: *why says what the text should have been; *field is
 * unchanged. `warning` gets a text where the value is taken but is unwise. Both are quoted behind "where:
 * key: ". */
bool value_parse(const struct cv_option *, const char *text, bool literal, struct block **, void *field,
                 struct remark *why, struct remark *warning);
/* The shortest text that parses to this value again; a secret is ***. free() it. */
char *value_format(const struct cv_option *, const void *field);
bool value_same(const struct cv_option *, const void *a, const void *b);
/* "yes or no", "1 to 64", "auto, quic or http2", "a duration: 500ms, 1m30s" */
void value_describe(const struct cv_option *, struct remark *);

/* number.c. As Go writes durations: "300ms", "1h15m30.918s", "-1.5h", "0". More than nothing is 1 ms at least. */
bool duration_parse(const char *text, int64_t *ms);
bool size_parse(const char *text, uint64_t *bytes); /* "4096", "64k", "16M", "1G" */
bool integer_parse(const char *text, long min, long max, long *value);
char *duration_format(int64_t ms); /* free() both */
char *size_format(uint64_t bytes);

/* ---- options.c: one section's options, typed ----------------------------------------------------------- */

/* A value as somebody said it, not parsed yet. Borrowed strings. */
struct said {
    const char *section, *key, *text;
    const char *where;   /* "culvert.ini:12", "flag --metrics", "environment TUNNEL_METRICS" */
    const char *refusal; /* how a wrong value is reported: this, then the value. NULL: in our own way */
    bool literal;        /* a secret may stand here as it is */
};

/* Data and where it came from; immutable once a generation has been checked. */
struct conf {
    const char *section;
    const struct cv_option *options;
    size_t n;
    const char **where; /* by option; "default" where nobody said anything */
    void *data;         /* the struct that the options describe             */
    struct block *blocks;
    struct conf *next; /* all that exist, for cv_conf_fail()               */
};
#define OPTIONS_MAX 200
size_t options_count(const struct cv_option *);
/* Is the table usable at all? The module is to blame if not. `size` is that of the conf struct. */
bool options_sound(const struct cv_option *, size_t size, struct remark *why);

struct conf *conf_new(const char *section, const struct cv_option *, size_t size); /* defaults are in */
void conf_free(struct conf *);
/* Later calls override earlier ones. An unknown key is a problem with a suggestion. */
void conf_set(struct conf *, const struct said *, struct problems *errors, struct problems *warnings);
void conf_required(const struct conf *, struct problems *);
void conf_dump(const struct conf *, FILE *); /* section.key = value ; where */
/* Live options of `is`, numbers and secrets alone, become those of `was`; pointers into it stay good. */
void conf_adopt(struct conf *was, const struct conf *is);
/* Options whose values differ; each is called with both values as text. Returns how many. */
typedef void conf_diff_fn(void *arg, const struct conf *new_conf, const struct cv_option *, const char *was,
                          const char *is);
size_t conf_diff(const struct conf *was, const struct conf *is, conf_diff_fn *, void *arg);

/* ---- loader.c: modules --------------------------------------------------------------------------------- */

#define MODULE_NAME_MAX 40

struct loader {  /* zeroed: empty */
    char **dirs; /* searched in this order */
    size_t n;
};
/* The folders of `path`; when that is empty, `modules` beside the program if it exists, else where they are
 * installed. */
void loader_init(struct loader *, struct cv_list path);
void loader_free(
    struct loader *); /* modules stay loaded until the process ends: their code may still be on a stack */
/* CV_E_CONF, naming file, reason and remedy, for everything that is not a whole module of that name. */
enum cv_error loader_find(const struct loader *, const char *name, const struct cv_module **,
                          struct cv_err *);
/* A module that is linked into the program; found before any file. */
void loader_add_static(const struct cv_module *);
/* Names of all modules that could be found, sorted, each once; not opened. */
void loader_each(const struct loader *, void (*)(void *arg, const char *name), void *arg);
const char *module_kind(const struct cv_module *); /* "edge" … "observer"; NULL unless it is exactly one */

/* ---- flags.c, flag_table.c, settings.c, help.c: the command line and the environment ------------------- */

enum command_what {
    COMMAND_RUN,
    COMMAND_CHECK,
    COMMAND_DUMP,
    COMMAND_MODULES,
    COMMAND_OPTIONS_INI,
    COMMAND_OPTIONS_MARKDOWN,
    COMMAND_OPTIONS_METRICS,
    COMMAND_DOCTOR,
    COMMAND_WORD, /* `word` is answered: its arguments are argc, argv */
    COMMAND_DONE, /* help or version was printed, or usage was wrong: exit with `status` */
};
struct tunnel_setting; /* tunnel/tunnel.h */
struct command {
    enum command_what what;
    int status;
    const char *ini;         /* --config, --check; NULL for none */
    const struct word *word; /* COMMAND_WORD */
    bool json;               /* COMMAND_DOCTOR */
    const char *order[2];    /* argv of a word for a running process */
    int argc;
    char **argv;
    struct said *said; /* environment, then flags: later ones win. Lives as long as the process */
    size_t n;
    const char **given;                    /* by flag: what the command line says; NULL: nothing */
    struct tunnel_setting *origin_request; /* of the one service of --url */
    size_t n_origin_request;
    struct tunnel_setting *told; /* flags that the edge may know of, by name */
    size_t n_told;
    char *settings;   /* "edge:[a b] token:*****": the flags given, by name; NULL for none */
    bool token_given; /* --token or TUNNEL_TOKEN with something in it */
    struct problems warnings;
    struct block *blocks;
};
/* Secrets in argv are overwritten with '*' once copied, so that /proc/PID/cmdline no longer shows them. */
void command_parse(struct command *, int argc, char **argv);
void command_free(struct command *);
/* told.c: fills c->told, once all else is parsed. */
void command_tell(struct command *);
/* settings.c. "edge:[a b] token:*****" of values by flag, "TUNNEL_LOGLEVEL:debug TUNNEL_TOKEN:*****" of the
 * environment; NULL when there is nothing. free() them. */
char *flag_settings(const char *const *given);
char *environment_settings(void);
char *settings_list(const char *commas); /* "a,b" as "[a b]"; free() it */

enum {                                          /* where a flag may stand */
       FLAG_TUNNEL = 1,                         /* before the word run                               */
       FLAG_RUN = 2,                            /* behind it                                         */
       FLAG_OWN = 4,                            /* anywhere: ours                                    */
       FLAG_DOCTOR = 16,                        /* behind the word doctor                            */
       FLAG_ORDER = 32,                         /* behind a word for a running process               */
       FLAG_ORIGIN = FLAG_TUNNEL | FLAG_RUN | 8 /* either; says how the one service of --url is used */
};
enum flag_type { FLAG_BOOL, FLAG_INT, FLAG_MS, FLAG_STR, FLAG_LIST };
enum flag_effect {
    FLAG_SETS,           /* sets section.key                                     */
    FLAG_SILENT,         /* accepted; there is nothing here that it could change */
    FLAG_WARNS,          /* accepted; but whoever sets it may expect something   */
    FLAG_ORIGIN_REQUEST, /* `key` of the originRequest of --url's rule */
    FLAG_ACTS,           /* ours: handled by name                                */
};
struct flag {
    const char *name;
    const char *alias; /* "p|P": other names; NULL */
    const char *env;   /* "A|B": the first that is set and not empty; NULL */
    unsigned where;
    enum flag_type type;
    enum flag_effect effect;
    bool hidden, secret;
    const char *section, *key;
    const char *instead; /* FLAG_SETS: text to set: "*" stands for the value; NULL: the value */
    const char *refusal; /* see struct said */
    const char *same;    /* "h2mux=http2": another word for a value */
    const char *words;   /* "a|b": only these; else `otherwise`, with a warning */
    const char *otherwise;
    const char *help; /* NULL for hidden ones */
};
extern const struct flag flag_table[];
extern const size_t flag_count;
const char *flag_bool(const char *text); /* "yes", "no"; NULL: neither, to Go */
bool flag_takes(const struct flag *, const char *text);
/* What its variable says, and which that is; NULL: nothing. */
const char *flag_environment(const struct flag *, char *name, size_t size);
const struct flag *flag_find(const char *name, unsigned where);
bool flag_word(const char *words, const char *word); /* is it one of "a|b"? words may be NULL */
void help_program(FILE *);
void help_tunnel(FILE *);
void help_run(FILE *);
void help_doctor(FILE *);
void help_order(FILE *);
void version_print(FILE *);

/* ---- generation.c: everything that is configured, checked as a whole ----------------------------------- */

struct culvert_conf { /* section [culvert] */
    int workers;
    struct cv_list module_path;
    bool error_header, api_errors;
    struct cv_ms stuck_after;
};
extern const struct cv_option culvert_options[];

enum {
    CORE_CULVERT,
    CORE_LOG,
    CORE_LIMITS,
    CORE_TUNNEL,
    CORE_FAILOVER,
    CORE_ORIGINS,
    CORE_REWRITE,
    CORE_SSE,
    CORE_SECTIONS
};
struct core_section {
    const char *name, *summary;
    const struct cv_option *options;
    size_t size;
    enum cv_error (*check)(const void *conf, struct cv_err *);
};
extern const struct core_section core_sections[CORE_SECTIONS];
/* On unless a section says `enabled = no`, in this order. */
extern const char *const default_modules[];
extern const size_t n_default_modules;
extern const struct cv_option enabled_option; /* of every module section */

struct module_conf {
    const struct cv_module *module;
    struct conf *conf;
};
#define MODULES_MAX 64
struct generation {
    struct conf *core[CORE_SECTIONS];
    struct module_conf modules[MODULES_MAX]; /* ini order, then the default ones that the ini does not name */
    size_t n;
};
/* Reads the ini of the command, adds environment and flags, loads modules, checks all. NULL if there are
 * errors. */
struct generation *generation_new(const struct command *, struct problems *errors, struct problems *warnings);
void generation_free(struct generation *);
bool generation_has(const struct generation *, const char *section); /* of modules */
/* The options of one section alone, whatever the others say: as ini, environment and flags have it. */
struct conf *generation_section(const struct command *, const struct cv_module *, struct problems *errors);
void generation_dump(const struct generation *, FILE *);
static inline const void *generation_core(const struct generation *g, unsigned section)
{
    return g->core[section]->data;
}

/* ---- manual.c: what can be configured, from the same tables -------------------------------------------- */

/* Every option of the core and of every module that is found, with its default: an ini, or a page of
 * documentation; or one line a module. Returns the exit status: 1 if a module cannot be loaded (said on
 * stderr). */
int manual_ini(const struct command *, FILE *);
int manual_markdown(const struct command *, FILE *);
int manual_metrics(const struct command *, FILE *);
int manual_modules(const struct command *, FILE *);
/* manpage.c, completion.c: the words manual and completion: arguments name the page or the shell. */
int manual_page(const struct command *);
int completion_run(const struct command *);

/* ---- commands.c: the words of the command line ------------------------------------------------------------ */

/* Behind `culvert`. One that neither run nor a module answers is a part of the command line that flags.c knows. */
struct word {
    const char *name, *usage, *help;
    const char *module;                 /* its command() answers                 */
    int (*run)(const struct command *); /* the core answers; the exit status     */
    const char *arguments;              /* "bash|zsh": what may follow; for completion */
    bool order; /* flags may follow, and make the module's options; its arguments are the word, --timeout */
};
extern const struct word word_table[];
extern const size_t word_count;
const struct word *word_find(const char *name); /* NULL: no such word */
int command_run(const struct command *);        /* COMMAND_WORD; returns the exit status */

/* ---- lifecycle.c, reload.c ----------------------------------------------------------------------------- */

/* A SIGHUP that comes while they are blocked has its turn afterwards. Threads made meanwhile never see one. */
void hangups_block(bool);
/* Runs until the tunnel is over; returns the exit status (docs/protocol.md §3.2). */
int lifecycle_run(const struct command *);
#endif
