/* main.c: the program: what the command line asks for, and how the process is set up for a long life. */
#include "boot/boot.h"
#include "doctor/doctor.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

/* Few arenas keep a small process small: threads share nothing, so they seldom meet in malloc. */
static void set_up_process(void)
{
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    hangups_block(true); /* until there is something to reload */
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
}

static int check(const struct command *c)
{
    struct problems errors = { .n = 0 }, warnings = { .n = 0 };
    struct generation *g = generation_new(c, &errors, &warnings);
    problems_print(&c->warnings, stderr);
    problems_print(&warnings, stderr);
    problems_print(&errors, stderr);
    if (g && c->what == COMMAND_DUMP)
        generation_dump(g, stdout);
    else if (g)
        printf("%s: good\n", c->ini);
    int status = g ? 0 : 1;
    generation_free(g);
    problems_free(&errors);
    problems_free(&warnings);
    return status;
}

static int obey(const struct command *c)
{
    switch (c->what) {
    case COMMAND_RUN: return lifecycle_run(c);
    case COMMAND_CHECK:
    case COMMAND_DUMP: return check(c);
    case COMMAND_MODULES: return manual_modules(c, stdout);
    case COMMAND_OPTIONS_INI: return manual_ini(c, stdout);
    case COMMAND_OPTIONS_MARKDOWN: return manual_markdown(c, stdout);
    case COMMAND_OPTIONS_METRICS: return manual_metrics(c, stdout);
    case COMMAND_DOCTOR: return doctor_run(c);
    case COMMAND_WORD: return command_run(c);
    case COMMAND_DONE: break;
    }
    return c->status;
}

int main(int argc, char **argv)
{
    set_up_process();
    struct command command;
    command_parse(&command, argc, argv);
    int status = obey(&command);
    command_free(&command);
    return status;
}
