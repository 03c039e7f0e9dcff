/* test_manual.c: what docs/deploy.md says of logs, metrics and inis is what the program has. */
#include "culvert/mem.h"
#include "process.h"
#include "suite.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *whole(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = fopen(path, "re");
    CU_ASSERT_TRUE_FATAL(f && getdelim(&text, &n, '\0', f) > 0);
    fclose(f);
    return text;
}

/* All sources of the program and its modules; free() it. */
static char *sources(void)
{
    glob_t files;
    struct cv_buf all = { 0 };
    glob("core/*/*.c", 0, NULL, &files);
    glob("modules/*/*.c", GLOB_APPEND, NULL, &files);
    CU_ASSERT_TRUE_FATAL(files.gl_pathc > 50);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        char *text = whole(files.gl_pathv[i]);
        cv_buf_add(&all, text, strlen(text));
        free(text);
    }
    globfree(&files);
    cv_buf_add(&all, "", 1);
    return (char *)all.p;
}

static void holds(const char *what, const char *text, const char *part)
{
    CU_ASSERT_PTR_NOT_NULL(strstr(text, part));
    if (!strstr(text, part))
        fprintf(stderr, "  %s without %s\n", what, part);
}

static void metrics_of_the_manual_are_there(void)
{
    static const char *const prefixes[] = { "`culvert_", "`cloudflared_" };
    char *manual = whole("docs/deploy.md"), *code = sources();
    unsigned found = 0;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        for (char *at = manual; (at = strstr(at, prefixes[i]));) {
            char name[96];
            size_t n = 1;
            while (isalpha((unsigned char)at[n]) || at[n] == '_')
                n++;
            snprintf(name, sizeof(name), "\"%.*s\"", (int)n - 1, at + 1);
            holds("the code is", code, name);
            at += n;
            found++;
        }
    CU_ASSERT_TRUE(found > 5);
    free(manual);
    free(code);
}

static void messages_of_the_manual_are_the_programs(void)
{
    static const char *const messages[] = {
        "Access keys are not available; what must be checked with them is answered 503",
        "Cloudflare refuses this tunnel. Check that the token is the newest",
        "Connection terminated",
        "Failed to dial a quic connection",
        "Failed to update ingress",
        "is not among the targets that this connector may reach",
        "no such host",
        "Not connecting yet: a service beside this connector does not answer ([tunnel] wait_for)",
        "Register tunnel error from server side",
        "Registered tunnel connection",
        "Request failed",
        "Retrying connection in up to ",
        "Rules changed",
        "Switching to fallback protocol ",
        "The token has changed, registering the connections with the new one",
        "Unable to establish connection with Cloudflare edge",
        "Unable to reach the origin service. ",
        "Updated to new configuration",
        "WRONG CLUSTER OR TUNNEL: no connection is made",
    };
    char *manual = whole("docs/deploy.md"), *code = sources();
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        holds("the manual is", manual, messages[i]);
        holds("the code is", code, messages[i]);
    }
    free(manual);
    free(code);
}

/* Everything between ```ini and ```, as one file: an indented block of a list loses its indent. */
static void inis_of_the_manual_are_good(void)
{
    static const char path[] = SUITE_BUILD "/tests/manual.ini";
    char *manual = whole("docs/deploy.md"), *rest, *line = strtok_r(manual, "\n", &rest);
    FILE *f = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    for (bool inside = false; line; line = strtok_r(NULL, "\n", &rest)) {
        line += strspn(line, " ");
        if (strncmp(line, "```", 3) == 0)
            inside = strcmp(line, "```ini") == 0;
        else if (inside)
            fprintf(f, "%s\n", line);
    }
    CU_ASSERT_TRUE(ftell(f) > 100);
    fclose(f);
    free(manual);
    struct process *p = process_start((const char *const[]){ SUITE_BUILD "/culvert", "--check", path, NULL },
                                      (const char *const[]){ NULL });
    CU_ASSERT_EQUAL(process_end(p, 20000), 0);
}

SUITE(deploy_manual, TEST(metrics_of_the_manual_are_there), TEST(messages_of_the_manual_are_the_programs),
      TEST(inis_of_the_manual_are_good));
