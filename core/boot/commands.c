/* commands.c: the words of the command line, and those of them that a module or the core answers. */
#include "boot/boot.h"

#include "loop/loop.h"

#include <string.h>

const struct word word_table[] = {
    { "tunnel", "tunnel [TUNNEL FLAGS] run [RUN FLAGS]", "Connect a tunnel; flags as cloudflared takes them",
      .run = NULL },
    { "doctor", "doctor [FLAGS]", "Tell whether a tunnel could come up here, and why not", .run = NULL },
    { "drain", "drain [FLAGS]", "Have a running culvert finish, and take nothing new",
      .module = "metrics_prom", .order = true },
    { "ready", "ready [FLAGS]", "Tell whether a running culvert serves visitors", .module = "metrics_prom",
      .order = true },
    { "reload", "reload [FLAGS]", "Have a running culvert read its ini again", .module = "metrics_prom",
      .order = true },
    { "guard", "guard show", "Print what [cluster_guard] can ask for here", .module = "cluster_guard",
      .arguments = "show" },
    { "hash-key", "hash-key", "A key on stdin to a line for bearer_keys", .module = "access_headers" },
    { "completion", "completion SHELL", "Print a completion script: bash, zsh or fish", .run = completion_run,
      .arguments = "bash|zsh|fish" },
    { "manual", "manual PAGE", "Print a man page: culvert or culvert.ini", .run = manual_page,
      .arguments = "culvert|culvert.ini" },
    { "version", "version", "Print the version", .run = NULL },
    { "help", "help", "This text", .run = NULL },
};
const size_t word_count = sizeof(word_table) / sizeof(word_table[0]);

const struct word *word_find(const char *name)
{
    for (size_t i = 0; i < word_count; i++)
        if (strcmp(word_table[i].name, name) == 0)
            return &word_table[i];
    return NULL;
}

static int run(const struct cv_module *m, const struct command *c)
{
    struct problems errors = { .n = 0 };
    struct conf *conf =
        c->word->order ? generation_section(c, m, &errors) : conf_new(m->name, m->options, m->conf_size);
    problems_print(&errors, stderr);
    problems_free(&errors);
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

static int run_module(const struct command *c)
{
    struct loader loader = { .n = 0 };
    const struct cv_module *m;
    struct cv_err err = { "" };
    loader_init(&loader, (struct cv_list){ NULL, 0 });
    enum cv_error e = loader_find(&loader, c->word->module, &m, &err);
    if (!e && !m->command)
        e = cv_fail(&err, CV_E_CONF, "%s: this module has no commands", m->name);
    if (e)
        fprintf(stderr, "%s\n", err.text);
    int status = e ? 1 : run(m, c);
    loader_free(&loader);
    return status;
}

int command_run(const struct command *c)
{
    return c->word->run ? c->word->run(c) : run_module(c);
}
