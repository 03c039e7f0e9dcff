/* operate.c: what modules may ask of the configuration that runs, and a reload on their behalf. */
#include "boot/runtime.h"

#include "culvert/operate.h"

#include <stdlib.h>
#include <string.h>

static struct runtime *runtime;

void operate_begin(struct runtime *r)
{
    runtime = r;
}

void cv_modules_each(void (*fn)(void *arg, const char *section, const struct cv_module *), void *arg)
{
    for (size_t i = 0; runtime && i < runtime->g->n; i++)
        fn(arg, runtime->g->modules[i].conf->section, runtime->g->modules[i].module);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(flag_table[*(const size_t *)a].name, flag_table[*(const size_t *)b].name);
}

static size_t flags_shown(const char *const *given, size_t *shown)
{
    size_t n = 0;
    for (size_t i = 0; i < flag_count; i++)
        if ((given[i] || strcmp(flag_table[i].name, "config") == 0) && !flag_table[i].secret)
            shown[n++] = i;
    qsort(shown, n, sizeof(*shown), by_name);
    return n;
}

void cv_settings_each(void (*fn)(void *arg, const char *flag, const char *value), void *arg)
{
    const struct command *c = runtime->command;
    size_t *shown = cv_xcalloc(flag_count, sizeof(*shown));
    size_t n = flags_shown(c->given, shown);
    for (size_t i = 0; i < n; i++) {
        const struct flag *f = &flag_table[shown[i]];
        char *list = f->type == FLAG_LIST ? settings_list(c->given[shown[i]]) : NULL;
        const char *value = f->effect == FLAG_ACTS ? c->ini : list ? list : c->given[shown[i]];
        if (value)
            fn(arg, f->name, value);
        free(list);
    }
    free(shown);
}

struct request {
    void (*done)(void *arg, bool in_force, const char *text);
    void *arg;
};

static void run_reload(void *arg)
{
    struct request *request = arg;
    struct cv_buf told = { 0 };
    bool in_force = runtime && reload(runtime, &told);
    cv_buf_add(&told, "", 1);
    request->done(request->arg, in_force, (const char *)told.p);
    cv_buf_free(&told);
    free(request);
}

void cv_reload(void (*done)(void *arg, bool in_force, const char *text), void *arg)
{
    struct request *request = cv_xmalloc(sizeof(*request));
    *request = (struct request){ done, arg };
    cv_post(runtime->main, run_reload, request);
}
