/* operate.c: what modules may ask of the configuration that runs, and a reload on their behalf. */
#include "boot/runtime.h"

#include "culvert/operate.h"

#include <stdlib.h>

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

void cv_settings_each(void (*fn)(void *arg, const char *flag, const char *value), void *arg)
{
    const struct command *c = runtime ? runtime->command : NULL;
    for (size_t i = 0; c && c->given && i < flag_count; i++)
        if (c->given[i])
            fn(arg, flag_table[i].name, flag_table[i].secret ? "*****" : c->given[i]);
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
