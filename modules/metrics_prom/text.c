/* text.c: series as Prometheus text, exposition format 0.0.4. */
#include "prom.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct writer {
    struct evbuffer *out;
    const struct cv_metric *last; /* HELP and TYPE stand once, before the first series of a metric */
};

static void add_number(struct evbuffer *out, double v)
{
    if (v == floor(v) && fabs(v) < 1e15)
        evbuffer_add_printf(out, "%.0f", v);
    else
        evbuffer_add_printf(out, "%.17g", v);
}

static void add_escaped(struct evbuffer *out, struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n')
            evbuffer_add(out, "\\n", 2);
        else if (s.p[i] == '"' || s.p[i] == '\\')
            evbuffer_add_printf(out, "\\%c", s.p[i]);
        else
            evbuffer_add(out, s.p + i, 1);
    }
}

/* {a="x",b="y",le="1"}; le may be NULL. Nothing at all without labels. */
static void add_labels(struct evbuffer *out, const struct cv_metric *m, const struct cv_str *values,
                       const char *le)
{
    const char *name = m->labels ? m->labels : "";
    const char *before = "{";
    for (size_t i = 0; *name; i++) {
        size_t n = strcspn(name, "|");
        evbuffer_add_printf(out, "%s%.*s=\"", before, (int)n, name);
        add_escaped(out, values[i]);
        evbuffer_add(out, "\"", 1);
        before = ",";
        name += n + (name[n] == '|');
    }
    if (le)
        evbuffer_add_printf(out, "%sle=\"%s\"", before, le);
    if (le || *before == ',')
        evbuffer_add(out, "}", 1);
}

static void add_sample(struct evbuffer *out, const struct cv_metric *m, const char *suffix,
                       const struct cv_str *values, const char *le, double v)
{
    evbuffer_add_printf(out, "%s%s", m->name, suffix);
    add_labels(out, m, values, le);
    evbuffer_add(out, " ", 1);
    add_number(out, v);
    evbuffer_add(out, "\n", 1);
}

static void add_histogram(struct evbuffer *out, const struct cv_metric *m, const struct cv_str *values,
                          const double *sums, size_t n)
{
    double count = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        char le[32] = "+Inf";
        if (i + 2 < n)
            snprintf(le, sizeof(le), "%g", m->bounds[i]);
        count += sums[i];
        add_sample(out, m, "_bucket", values, le, count);
    }
    add_sample(out, m, "_sum", values, NULL, sums[n - 1]);
    add_sample(out, m, "_count", values, NULL, count);
}

static void add_series(void *arg, const struct cv_metric *m, const struct cv_str *values, const double *sums,
                       size_t n)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    struct writer *w = arg;
    if (w->last != m) {
        evbuffer_add_printf(w->out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                            types[m->type]);
        w->last = m;
    }
    if (m->type == CV_HISTOGRAM)
        add_histogram(w->out, m, values, sums, n);
    else
        add_sample(w->out, m, "", values, NULL, sums[0]);
}

void prom_write_series(struct evbuffer *out)
{
    struct writer w = { .out = out };
    cv_metrics_each(add_series, &w);
}
