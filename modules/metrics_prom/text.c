/* text.c: series as text: Prometheus' format 0.0.4, and OpenMetrics 1.0.
 *
 * OpenMetrics asks counters to end in _total and would rename those that cloudflared named otherwise; they are of type
 * unknown there, so that a series has one name whatever the scraper asks for. The times at which counters began
 * (_created) are left out: Prometheus would store each of them as a series of its own. */
#include "prom.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put(struct cv_buf *out, const char *text)
{
    cv_buf_add(out, text, strlen(text));
}

static void put_whole(struct cv_buf *out, double v)
{
    char digits[24], *p = digits + sizeof(digits);
    uint64_t n = (uint64_t)fabs(v);
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    if (v < 0)
        *--p = '-';
    cv_buf_add(out, p, (size_t)(digits + sizeof(digits) - p));
}

/* The shortest text that reads as the same number. */
static void print_number(char *text, size_t size, double v)
{
    int digits = 15;
    do
        snprintf(text, size, "%.*g", digits, v);
    while (strtod(text, NULL) != v && digits++ < 17);
}

static void put_number(struct cv_buf *out, double v)
{
    char text[32];
    if (v == floor(v) && fabs(v) < 1e15) {
        put_whole(out, v);
        return;
    }
    print_number(text, sizeof(text), v);
    put(out, text);
}

/* quotes: as the value of a label; without: as HELP, where OpenMetrics alone escapes them. */
static void put_escaped(struct cv_buf *out, struct cv_str s, bool quotes)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n')
            put(out, "\\n");
        else if (s.p[i] == '\\' || (s.p[i] == '"' && quotes))
            cv_buf_add(out, (const char[]){ '\\', s.p[i] }, 2);
        else
            cv_buf_add(out, s.p + i, 1);
    }
}

/* ---- one series ------------------------------------------------------------------------------------------ */

static void put_label(struct cv_buf *out, char before, const char *name, size_t n, struct cv_str value)
{
    cv_buf_add(out, &before, 1);
    cv_buf_add(out, name, n);
    put(out, "=\"");
    put_escaped(out, value, true);
    put(out, "\"");
}

/* {a="x",b="y",le="1"}; le may be NULL. Nothing at all without labels. */
static void put_labels(struct cv_buf *out, const struct cv_metric *m, const struct cv_str *values,
                       const char *le)
{
    const char *name = m->labels ? m->labels : "";
    char before = '{';
    for (size_t i = 0; *name; i++) {
        size_t n = strcspn(name, "|");
        put_label(out, before, name, n, values[i]);
        before = ',';
        name += n + (name[n] == '|');
    }
    if (le)
        put_label(out, before, "le", 2, cv_str_of(le));
    if (le || before == ',')
        put(out, "}");
}

static void put_sample(struct cv_buf *out, const struct cv_metric *m, const char *suffix,
                       const struct cv_str *values, const char *le, double v)
{
    put(out, m->name);
    put(out, suffix);
    put_labels(out, m, values, le);
    put(out, " ");
    put_number(out, v);
    put(out, "\n");
}

static void put_histogram(const struct prom_text *t, const struct cv_metric *m, const struct cv_str *values,
                          const double *sums, size_t n)
{
    double count = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        char le[32] = "+Inf";
        if (i + 2 < n)
            print_number(le, sizeof(le) - 2, m->bounds[i]);
        if (i + 2 < n && t->open && m->bounds[i] == floor(m->bounds[i]))
            memcpy(le + strlen(le), ".0", 3);
        count += sums[i];
        put_sample(t->out, m, "_bucket", values, le, count);
    }
    put_sample(t->out, m, "_sum", values, NULL, sums[n - 1]);
    put_sample(t->out, m, "_count", values, NULL, count);
}

/* ---- HELP, TYPE, UNIT ------------------------------------------------------------------------------------ */

static bool ends_in(const char *name, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n > m && memcmp(name + n - m, end, m) == 0;
}

static void put_meta(const struct prom_text *t, const char *what, const char *name, size_t n,
                     const char *text)
{
    put(t->out, what);
    cv_buf_add(t->out, name, n);
    put(t->out, " ");
    put_escaped(t->out, cv_str_of(text), t->open);
    put(t->out, "\n");
}

static void put_head(const struct prom_text *t, const struct cv_metric *m)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    const char *type = types[m->type], *unit = NULL;
    size_t n = strlen(m->name);
    if (t->open && m->type == CV_COUNTER) {
        if (ends_in(m->name, n, "_total"))
            n -= strlen("_total");
        else
            type = "unknown";
    }
    if (t->open)
        unit = ends_in(m->name, n, "_seconds") ? "seconds" : ends_in(m->name, n, "_bytes") ? "bytes" : NULL;
    put_meta(t, "# HELP ", m->name, n, m->help);
    put_meta(t, "# TYPE ", m->name, n, type);
    if (unit)
        put_meta(t, "# UNIT ", m->name, n, unit);
}

void prom_add(struct prom_text *t, const struct cv_metric *m, const struct cv_str *values, const double *sums,
              size_t n)
{
    if (t->last != m)
        put_head(t, m);
    t->last = m;
    if (m->type == CV_HISTOGRAM)
        put_histogram(t, m, values, sums, n);
    else
        put_sample(t->out, m, "", values, NULL, sums[0]);
}

static void add_series(void *arg, const struct cv_metric *m, const struct cv_str *values, const double *sums,
                       size_t n)
{
    prom_add(arg, m, values, sums, n);
}

void prom_write(struct cv_buf *out, bool open)
{
    struct prom_text t = { .out = out, .open = open };
    cv_metrics_each(add_series, &t);
    prom_add_process(&t);
    if (open)
        put(out, "# EOF\n");
}
