/* generation.c: from ini, environment and flags to the checked options of every section. */
#include "boot.h"

#include "request/local.h"
#include "request/request.h"
#include "tunnel/failover.h"
#include "tunnel/tunnel.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

const struct cv_option culvert_options[] = {
    CV_OPT(struct culvert_conf, workers, "1",
           "Threads that carry connections; more than ha_connections stay idle.", .min = 1,
           .max = THREADS_MAX - 1),
    CV_OPT(struct culvert_conf, module_path, "",
           "Folders that modules are loaded from. Empty: the folder modules beside the program, or the "
           "installed one."),
    CV_OPT(struct culvert_conf, error_header, "yes",
           "Whether a failed request is answered with the header culvert-error, which names what failed: "
           "origin_refused, origin_timeout, filter_denied, connector_limit …",
           .flags = CV_LIVE),
    CV_OPT(
        struct culvert_conf, stuck_after, "10s",
        "A worker thread whose loop has not turned for so long is stuck: it is logged, and /live fails. 0: "
        "never."),
    CV_OPT(
        struct culvert_conf, api_errors, "no",
        "Whether requests of OpenAI's and Anthropic's APIs that fail before they are answered get the error "
        "as JSON of that API, with its status. The edge passes that on as an answer, instead of its own "
        "page for a connector that failed.",
        .flags = CV_LIVE),
    CV_OPT_END
};

const struct core_section core_sections[CORE_SECTIONS] = {
    [CORE_CULVERT] = { "culvert", "The program as a whole.", culvert_options, sizeof(struct culvert_conf),
                       NULL },
    [CORE_LOG] = { "log", "What is logged, and where to.", log_options, sizeof(struct log_conf), NULL },
    [CORE_LIMITS] = { "limits", "What one worker thread may hold, and one request bring.", limits_options,
                      sizeof(struct limits_conf), NULL },
    [CORE_TUNNEL] = { "tunnel", "The tunnel and its connections to the edge.", tunnel_options,
                      sizeof(struct tunnel_conf), tunnel_check },
    [CORE_FAILOVER] = { "failover", "A second tunnel, for when the first is down.", failover_options,
                        sizeof(struct failover_conf), failover_check },
    [CORE_ORIGINS] = { "origins", "What requests may be sent to.", origins_options,
                       sizeof(struct origins_conf), origins_check },
    [CORE_REWRITE] = { "rewrite", "Services that are to be found elsewhere than the rules say.",
                       rewrite_options, sizeof(struct rewrite_conf), rewrite_check },
    [CORE_SSE] = { "sse", "Event streams.", sse_options, sizeof(struct sse_conf), sse_check },
};

const char *const default_modules[] = { "edge_quic", "edge_http2", "access_headers", "origin_proxy",
                                        "metrics_prom" };
const size_t n_default_modules = sizeof(default_modules) / sizeof(default_modules[0]);

struct module_switch {
    bool enabled;
};
const struct cv_option enabled_option =
    CV_OPT(struct module_switch, enabled, "yes", "Whether the module is loaded at all.");

struct building {
    const struct command *command;
    struct generation *g;
    struct ini ini;
    struct loader loader;
    struct problems *errors, *warnings;
};

static bool is_core(const char *name)
{
    for (size_t i = 0; i < CORE_SECTIONS; i++)
        if (strcmp(core_sections[i].name, name) == 0)
            return true;
    return false;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static void apply_ini(struct building *b, struct conf *c, const struct ini_section *s)
{
    for (size_t i = 0; s && i < s->n; i++) {
        char where[PATH_MAX + 16];
        snprintf(where, sizeof(where), "%s:%u", b->ini.file, s->v[i].line);
        if (is_core(s->name) || strcmp(s->v[i].key, enabled_option.name) != 0)
            conf_set(c, &(struct said){ s->name, s->v[i].key, s->v[i].value, where, NULL, false }, b->errors,
                     b->warnings);
    }
}

/* A line of [rewrite] is an element of its one option. */
static void apply_rewrites(struct building *b, struct conf *c, const struct ini_section *s)
{
    struct cv_buf map = { 0 };
    char where[PATH_MAX + 16];
    for (size_t i = 0; i < s->n; i++) {
        char line[INI_LINE + 8];
        int n = snprintf(line, sizeof(line), "%s%s = %s", i ? ", " : "", s->v[i].key, s->v[i].value);
        cv_buf_add(&map, line, (size_t)n);
        if (strchr(s->v[i].key, ',') || strchr(s->v[i].value, ','))
            problem(b->errors, "%s:%u: a service and its target hold no comma", b->ini.file, s->v[i].line);
    }
    cv_buf_add(&map, "", 1);
    snprintf(where, sizeof(where), "%s:%u", b->ini.file, s->line);
    conf_set(c, &(struct said){ s->name, c->options[0].name, (char *)map.p, where, NULL, false }, b->errors,
             b->warnings);
    cv_buf_free(&map);
}

static bool has_option(const struct conf *c, const char *key)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->options[i].name, key) == 0)
            return true;
    return false;
}

/* A flag whose option a module does not have is no reason to stay away: the module may be one of the
 * operator's own. */
static void apply_said(struct building *b, struct conf *c)
{
    for (size_t i = 0; i < b->command->n; i++) {
        const struct said *s = &b->command->said[i];
        if (strcmp(s->section, c->section) != 0)
            continue;
        if (has_option(c, s->key))
            conf_set(c, s, b->errors, b->warnings);
        else
            problem(b->warnings, "%s has no effect: [%s] has no option %s", s->where, c->section, s->key);
    }
}

static struct conf *build(struct building *b, const struct ini_section *s, const char *name,
                          const struct core_section *from)
{
    size_t before = b->errors->n + b->errors->more;
    struct conf *c = conf_new(name, from->options, from->size);
    if (s && from == &core_sections[CORE_REWRITE] && s->n > 0)
        apply_rewrites(b, c, s);
    else
        apply_ini(b, c, s);
    apply_said(b, c);
    conf_required(c, b->errors);
    struct cv_err err = { "" };
    if (b->errors->n + b->errors->more == before && from->check && from->check(c->data, &err) != CV_OK)
        problem(b->errors, "%s", err.text);
    return c;
}

/* ---- sections ------------------------------------------------------------------------------------------ */

static const struct ini_section *section_named(const struct ini *ini, const char *name)
{
    for (size_t i = 0; i < ini->n; i++)
        if (strcmp(ini->v[i].name, name) == 0)
            return &ini->v[i];
    return NULL;
}

static bool is_enabled(struct building *b, const struct ini_section *s)
{
    struct module_switch is = { true };
    for (size_t i = 0; i < s->n; i++) {
        struct remark why;
        if (strcmp(s->v[i].key, enabled_option.name) == 0 &&
            !value_parse(&enabled_option, s->v[i].value, false, NULL, &is.enabled, &why, NULL))
            problem(b->errors, "%s:%u: enabled: %s", b->ini.file, s->v[i].line, why.text);
    }
    return is.enabled;
}

/* The module is the first word of the section's name. */
static void add_module(struct building *b, const char *name, const struct ini_section *s)
{
    char module[INI_SECTION + 1];
    snprintf(module, sizeof(module), "%.*s", (int)strcspn(name, " "), name);
    const struct cv_module *m;
    struct cv_err err;
    if (loader_find(&b->loader, module, &m, &err) != CV_OK) {
        if (s)
            problem(b->errors, "%s:%u: [%s]: %s", b->ini.file, s->line, name, err.text);
        else
            problem(b->errors, "%s; it is on by default: [%s] enabled = no does without it", err.text, name);
        return;
    }
    if (b->g->n == MODULES_MAX) {
        problem(b->errors, "[%s]: there are more than %d modules", name, MODULES_MAX);
        return;
    }
    struct core_section from = { name, m->summary, m->options, m->conf_size, m->check };
    b->g->modules[b->g->n++] = (struct module_conf){ m, build(b, s, name, &from) };
}

static void build_modules(struct building *b)
{
    for (size_t i = 0; i < b->ini.n; i++)
        if (!is_core(b->ini.v[i].name) && is_enabled(b, &b->ini.v[i]))
            add_module(b, b->ini.v[i].name, &b->ini.v[i]);
    for (size_t i = 0; i < n_default_modules; i++)
        if (!section_named(&b->ini, default_modules[i]))
            add_module(b, default_modules[i], NULL);
}

static void needs_an_edge(struct building *b)
{
    const struct tunnel_conf *t = generation_core(b->g, CORE_TUNNEL);
    for (size_t i = 0; i < b->g->n; i++)
        if (b->g->modules[i].module->edge && b->g->modules[i].module->edge->protocol)
            return;
    if (t->enabled && b->errors->n == 0)
        problem(b->errors, "no module connects to the edge: switch edge_quic or edge_http2 on, or say "
                           "[tunnel] enabled = no");
}

static struct generation *generation_drop_bad(struct building *b)
{
    ini_free(&b->ini);
    loader_free(&b->loader);
    if (b->errors->n == 0)
        return b->g;
    generation_free(b->g);
    return NULL;
}

struct generation *generation_new(const struct command *command, struct problems *errors,
                                  struct problems *warnings)
{
    struct building b = { .command = command,
                          .g = cv_xcalloc(1, sizeof(struct generation)),
                          .errors = errors,
                          .warnings = warnings };
    if (command->ini)
        ini_read(&b.ini, command->ini, errors);
    for (size_t i = 0; i < CORE_SECTIONS; i++)
        b.g->core[i] =
            build(&b, section_named(&b.ini, core_sections[i].name), core_sections[i].name, &core_sections[i]);
    const struct culvert_conf *c = generation_core(b.g, CORE_CULVERT);
    loader_init(&b.loader, c->module_path);
    build_modules(&b);
    needs_an_edge(&b);
    return generation_drop_bad(&b);
}

struct conf *generation_section(const struct command *command, const struct cv_module *m,
                                struct problems *errors)
{
    struct problems warnings = { .n = 0 };
    struct building b = { .command = command, .errors = errors, .warnings = &warnings };
    struct core_section from = { m->name, m->summary, m->options, m->conf_size, m->check };
    if (command->ini)
        ini_read(&b.ini, command->ini, errors);
    struct conf *conf = build(&b, section_named(&b.ini, m->name), m->name, &from);
    ini_free(&b.ini);
    problems_free(&warnings);
    return conf;
}

bool generation_has(const struct generation *g, const char *section)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->modules[i].conf->section, section) == 0)
            return true;
    return false;
}

void generation_free(struct generation *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++)
        conf_free(g->modules[i].conf);
    for (size_t i = 0; i < CORE_SECTIONS; i++)
        conf_free(g->core[i]);
    free(g);
}

void generation_dump(const struct generation *g, FILE *out)
{
    for (size_t i = 0; i < CORE_SECTIONS; i++)
        conf_dump(g->core[i], out);
    for (size_t i = 0; i < g->n; i++) {
        fprintf(out, "%s.enabled = yes\n", g->modules[i].conf->section);
        conf_dump(g->modules[i].conf, out);
    }
}
