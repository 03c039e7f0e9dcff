/* settings.c: what was set, as the log and /diag show it: sorted, secrets masked. */
#include "boot.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

enum { ENTRIES_MAX = 256 };

struct entries {
    char *v[ENTRIES_MAX];
    size_t n;
};

static void add_text(struct cv_buf *b, const char *text)
{
    cv_buf_add(b, text, strlen(text));
}

char *settings_list(const char *commas)
{
    char *list;
    CV_ASSERT(asprintf(&list, "[%s]", commas) > 0);
    for (char *p = list; (p = strchr(p, ',')); p++)
        *p = ' ';
    return list;
}

/* name:value, or name:[a b] for a list with commas. */
static void entry(struct entries *e, struct cv_str name, const char *value, bool list)
{
    if (e->n == ENTRIES_MAX)
        return;
    char *shown = list ? settings_list(value) : NULL;
    CV_ASSERT(asprintf(&e->v[e->n++], CV_STR_FMT ":%s", CV_STR_ARG(name), list ? shown : value) > 0);
    free(shown);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *joined(struct entries *e)
{
    if (e->n == 0)
        return NULL;
    qsort(e->v, e->n, sizeof(e->v[0]), by_text);
    struct cv_buf b = { 0 };
    for (size_t i = 0; i < e->n; i++) {
        add_text(&b, i ? " " : "");
        add_text(&b, e->v[i]);
        free(e->v[i]);
    }
    cv_buf_add(&b, "", 1);
    return (char *)b.p;
}

char *flag_settings(const char *const *given)
{
    struct entries e = { .n = 0 };
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *f = &flag_table[i];
        if (!given[i])
            continue;
        const char *value = f->secret ? "*****" : given[i];
        entry(&e, cv_str_of(f->name), value, f->type == FLAG_LIST);
        for (const char *a = f->alias; a && *a; a += strcspn(a, "|"), a += *a == '|')
            entry(&e, (struct cv_str){ a, strcspn(a, "|") }, value, f->type == FLAG_LIST);
    }
    return joined(&e);
}

static bool is_secret(const char *name)
{
    static const char *const parts[] = { "TOKEN", "KEY", "SECRET", "PASS", "CRED_CONTENTS" };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strstr(name, parts[i]))
            return strcmp(name, "TUNNEL_TOKEN_FILE") != 0;
    return false;
}

char *environment_settings(void)
{
    struct entries e = { .n = 0 };
    for (char **v = environ; v && *v; v++) {
        char name[128];
        size_t n = strcspn(*v, "=");
        if ((*v)[n] != '=' || n >= sizeof(name))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)n, *v);
        if (strstr(name, "TUNNEL_"))
            entry(&e, cv_str_of(name), is_secret(name) ? "*****" : *v + n + 1, false);
    }
    return joined(&e);
}
