/* commands.c: words of the command line that a module answers: culvert guard …, culvert hash-key. */
#include "boot/boot.h"

#include "loop/loop.h"

#include <string.h>

static const struct {
    const char *word, *module;
} words[] = { { "guard", "cluster_guard" }, { "hash-key", "access_headers" } };

const char *command_module(const char *word)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].module;
    return NULL;
}

static int run(const struct cv_module *m, const struct command *c)
{
    struct conf *conf = conf_new(m->name, m->options, m->conf_size);
    const struct cv_instance instance = { .module = m, .name = m->name };
    CV_ASSERT(m->command);
    metrics_setup(1);
    struct cv_worker *main_thread = worker_new(0);
    struct cv_self self = { .conf = conf->data, .worker = main_thread, .instance = &instance };
    int status = m->command(&self, c->argc, c->argv);
    worker_free(main_thread);
    metrics_free();
    conf_free(conf);
    return status;
}

int command_run(const struct command *c)
{
    struct loader loader = { .n = 0 };
    const struct cv_module *m;
    struct cv_err err = { "" };
    loader_init(&loader, (struct cv_list){ NULL, 0 });
    enum cv_error e = loader_find(&loader, c->module, &m, &err);
    if (!e && !m->command)
        e = cv_fail(&err, CV_E_CONF, "%s: this module has no commands", c->module);
    if (e)
        fprintf(stderr, "%s\n", err.text);
    int status = e ? 1 : run(m, c);
    loader_free(&loader);
    return status;
}
