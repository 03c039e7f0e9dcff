/* problems.c: a list of what is wrong, and what a mistyped word may have been meant to be. */
#include "boot.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void problem(struct problems *p, const char *fmt, ...)
{
    if (p->n == PROBLEMS_MAX) {
        p->more++;
        return;
    }
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    p->v[p->n++] = cv_xstrdup(text);
}

void problems_print(const struct problems *p, FILE *out)
{
    for (size_t i = 0; i < p->n; i++)
        fprintf(out, "%s\n", p->v[i]);
    if (p->more)
        fprintf(out, "and %zu more\n", p->more);
}

void problems_free(struct problems *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->v[i]);
    *p = (struct problems){ 0 };
}

enum { WORD_MAX = 63, SLIPS_MAX = 2 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Letters added, lost, changed, or swapped with the next one. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    unsigned na = (unsigned)strnlen(a, WORD_MAX), nb = (unsigned)strnlen(b, WORD_MAX);
    for (unsigned j = 0; j <= nb; j++)
        above[j] = before[j] = j;
    for (unsigned i = 1; i <= na; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= nb; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[nb];
}

void suggest(struct suggestion *s, const char *candidate)
{
    unsigned d = distance(s->word, candidate);
    if (d > SLIPS_MAX || d >= strlen(s->word) || (*s->best && d >= s->distance))
        return;
    snprintf(s->best, sizeof(s->best), "%s", candidate);
    s->distance = d;
}
