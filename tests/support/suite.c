/* suite.c: the test program: picks suites, runs them under CUnit and a watchdog, counts tests. */
#include "suite.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_HUNG = 3 };

static const char usage[] =
    "usage: culvert-tests [--list] [--timeout SECONDS] [NAME…]\n"
    "Runs the tests whose full name, suite/test, begins with a NAME; all of them without one.\n"
    "  --list             print the full names and run nothing\n"
    "  --timeout SECONDS  how long one test may take before the run is given up (default 120)\n";

static struct suite *suites;
static unsigned timeout_seconds = 120;
static struct timespec began;
static char skipped_text[256]; /* why the test that runs is skipped, if it is */
static unsigned skipped;
static char hung_text[256]; /* written before the watchdog is armed: its handler may only write(2) */

void suite_add(struct suite *suite)
{
    struct suite **at = &suites;
    while (*at && strcmp((*at)->name, suite->name) < 0)
        at = &(*at)->next;
    suite->next = *at;
    *at = suite;
}

void suite_skip(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(skipped_text, sizeof skipped_text, fmt, args);
    va_end(args);
}

static bool wanted(const char *suite, const char *test, char *const *prefixes)
{
    if (!*prefixes)
        return true;
    char name[256];
    snprintf(name, sizeof name, "%s/%s", suite, test);
    for (; *prefixes; prefixes++)
        if (strncmp(name, *prefixes, strlen(*prefixes)) == 0)
            return true;
    return false;
}

static void give_up(int signal)
{
    (void)signal;
    if (write(STDOUT_FILENO, hung_text, strlen(hung_text)) < 0)
        _exit(EXIT_FAILED);
    _exit(EXIT_HUNG);
}

static void before_test(const CU_pTest test, const CU_pSuite suite)
{
    printf("%s/%s ... ", suite->pName, test->pName);
    fflush(stdout);
    snprintf(hung_text, sizeof hung_text, "HUNG\n%s/%s did not end within %u s\n", suite->pName, test->pName,
             timeout_seconds);
    skipped_text[0] = '\0';
    clock_gettime(CLOCK_MONOTONIC, &began);
    alarm(timeout_seconds);
}

static void after_test(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failures)
{
    (void)test, (void)suite;
    alarm(0);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) / 1e9;
    skipped += !failures && *skipped_text;
    if (!failures && *skipped_text)
        printf("SKIPPED: %s\n", skipped_text);
    else
        printf("%s (%.3f s)\n", failures ? "FAILED" : "ok", seconds);
    for (const CU_FailureRecord *f = failures; f; f = f->pNext)
        printf("    %s:%u: %s\n", f->strFileName ? f->strFileName : "?", f->uiLineNumber,
               f->strCondition ? f->strCondition : "?");
    fflush(stdout);
}

static void list(char *const *prefixes)
{
    for (const struct suite *s = suites; s; s = s->next)
        for (size_t i = 0; i < s->n; i++)
            if (wanted(s->name, s->tests[i].name, prefixes))
                printf("%s/%s\n", s->name, s->tests[i].name);
}

static void register_suite(const struct suite *s, char *const *prefixes)
{
    CU_pSuite suite = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (!wanted(s->name, s->tests[i].name, prefixes))
            continue;
        if (!suite)
            suite = CU_add_suite(s->name, NULL, NULL);
        if (!suite || !CU_add_test(suite, s->tests[i].name, s->tests[i].run)) {
            fprintf(stderr, "%s/%s: %s\n", s->name, s->tests[i].name, CU_get_error_msg());
            exit(EXIT_FAILED);
        }
    }
}

static int run(char *const *prefixes)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return EXIT_FAILED;
    for (const struct suite *s = suites; s; s = s->next)
        register_suite(s, prefixes);
    CU_set_test_start_handler(before_test);
    CU_set_test_complete_handler(after_test);
    CU_run_all_tests();

    unsigned failed = CU_get_number_of_tests_failed();
    unsigned passed = CU_get_number_of_tests_run() - failed - skipped;
    printf("\n");
    CU_print_run_results(stdout);
    printf("\n\n%u passed, %u failed", passed, failed);
    printf(skipped ? ", %u skipped\n" : "\n", skipped);
    fflush(stdout);
    CU_cleanup_registry();
    return failed || !passed ? EXIT_FAILED : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "list", no_argument, NULL, 'l' },
        { "timeout", required_argument, NULL, 't' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    bool list_only = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'l': list_only = true; break;
        case 't': timeout_seconds = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'h': fputs(usage, stdout); return EXIT_SUCCESS;
        default: fputs(usage, stderr); return EXIT_USAGE;
        }
    }
    if (list_only) {
        list(argv + optind);
        return EXIT_SUCCESS;
    }
    signal(SIGALRM, give_up);
    signal(SIGPIPE, SIG_IGN);
    return run(argv + optind);
}
