/* metrics.c: series interned once, a cell for each thread, summed by whoever exports.
 *
 * A thread writes its own row of cells alone, so a count is a relaxed load and store; a reader adds the rows up
 * and may see a count a moment late, never torn. Series are only ever added: a reader follows the lists without the
 * lock, which is held by whoever makes a series, for as long as that takes. So no scrape holds up a thread. */
#include "loop/loop.h"

#include <string.h>

enum {
    LABELS_MAX = 4,
    VALUE_MAX = 120,
    SERIES_PER_METRIC = 4000,
    CACHE_SLOTS = 1024,
    HASH_SLOTS = 1024,
    CELLS_A_LINE = 8
};

struct cv_series {
    struct family *family;
    struct cv_series *_Atomic next;
    struct cv_series *same_slot; /* of by_hash */
    uint64_t hash;
    struct cv_str values[LABELS_MAX];
    atomic_bool unset;        /* a gauge of something that is not there */
    _Atomic uint64_t cells[]; /* a row for each thread; the sum of a histogram is the bits of a double */
};
struct family {
    const struct cv_metric *metric;
    struct family *_Atomic next;
    struct cv_series *_Atomic first, *_Atomic *last;
    size_t n_series, n_labels, n_bounds, n_cells, stride;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *_Atomic families, *_Atomic *families_last = &families;
static struct cv_series *by_hash[HASH_SLOTS];
static unsigned n_rows = 1;

void metrics_setup(unsigned n_threads)
{
    CV_ASSERT(!families && n_threads <= THREADS_MAX);
    n_rows = n_threads;
}

/* ---- families and series; the lock is held ----------------------------------------------------------- */

static size_t count_labels(const char *labels)
{
    size_t n = labels ? 1 : 0;
    for (const char *p = labels; p && *p; p++)
        n += *p == '|';
    CV_ASSERT(n <= LABELS_MAX);
    return n;
}

static struct family *family_new(const struct cv_metric *m)
{
    struct family *f = cv_xcalloc(1, sizeof(*f));
    f->metric = m;
    f->last = &f->first;
    f->n_labels = count_labels(m->labels);
    while (m->bounds && m->bounds[f->n_bounds] != 0)
        f->n_bounds++;
    f->n_cells = m->type == CV_HISTOGRAM ? f->n_bounds + 2 : 1;
    CV_ASSERT(f->n_cells <= METRIC_CELLS_MAX);
    f->stride = (f->n_cells + CELLS_A_LINE - 1) / CELLS_A_LINE * CELLS_A_LINE; /* rows share no cache line */
    atomic_store_explicit(families_last, f, memory_order_release);
    families_last = &f->next;
    return f;
}

static struct family *family_of(const struct cv_metric *m)
{
    for (struct family *f = families; f; f = f->next)
        if (f->metric == m)
            return f;
    return family_new(m);
}

static struct cv_series *series_new(struct family *f, const struct cv_str *values, uint64_t hash)
{
    struct cv_series *s = cv_xcalloc(1, sizeof(*s) + n_rows * f->stride * sizeof(s->cells[0]));
    s->family = f;
    s->hash = hash;
    for (size_t i = 0; i < f->n_labels; i++)
        s->values[i] = (struct cv_str){ cv_xmemdup0(values[i].p, values[i].n), values[i].n };
    s->same_slot = by_hash[hash % HASH_SLOTS];
    by_hash[hash % HASH_SLOTS] = s;
    atomic_store_explicit(f->last, s, memory_order_release);
    f->last = &s->next;
    f->n_series++;
    return s;
}

static bool is_series(const struct cv_series *s, const struct cv_metric *m, uint64_t hash,
                      const struct cv_str *values)
{
    if (s->hash != hash || s->family->metric != m)
        return false;
    for (size_t i = 0; i < s->family->n_labels; i++)
        if (!cv_str_eq(s->values[i], values[i]))
            return false;
    return true;
}

static struct cv_series *series_find(const struct cv_metric *m, uint64_t hash, const struct cv_str *values)
{
    struct cv_series *s = by_hash[hash % HASH_SLOTS];
    while (s && !is_series(s, m, hash, values))
        s = s->same_slot;
    return s;
}

static uint64_t hash_of(const struct cv_metric *m, const struct cv_str *values, size_t n)
{
    uint64_t h = (uintptr_t)m * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < values[i].n; k++)
            h = (h ^ (unsigned char)values[i].p[k]) * UINT64_C(0x100000001b3);
        h = (h ^ 0x1ff) * UINT64_C(0x100000001b3);
    }
    return h ^ h >> 29;
}

static struct cv_series *intern(const struct cv_metric *m, uint64_t hash, const struct cv_str *values)
{
    static const struct cv_str others[LABELS_MAX] = { CV_STR("other"), CV_STR("other"), CV_STR("other"),
                                                      CV_STR("other") };
    pthread_mutex_lock(&lock);
    struct cv_series *s = series_find(m, hash, values);
    struct family *f = s ? s->family : family_of(m);
    if (!s && f->n_series >= SERIES_PER_METRIC) {
        values = others;
        hash = hash_of(m, values, f->n_labels);
        s = series_find(m, hash, values);
    }
    if (!s)
        s = series_new(f, values, hash);
    pthread_mutex_unlock(&lock);
    return s;
}

/* ---- a thread's own table of series, so that looking one up takes no lock ----------------------------- */

static struct cv_series *lookup(const struct cv_metric *m, const struct cv_str *given)
{
    struct cv_worker *w = worker_current();
    size_t n = count_labels(m->labels);
    struct cv_str values[LABELS_MAX] = { 0 };
    for (size_t i = 0; i < n; i++)
        values[i] = (struct cv_str){ given[i].p, given[i].n < VALUE_MAX ? given[i].n : VALUE_MAX };
    uint64_t hash = hash_of(m, values, n);
    if (!w)
        return intern(m, hash, values);
    if (!w->series_cache)
        w->series_cache = cv_xcalloc(CACHE_SLOTS, sizeof(*w->series_cache));
    struct cv_series **cached = &w->series_cache[hash % CACHE_SLOTS];
    if (!*cached || !is_series(*cached, m, hash, values))
        *cached = intern(m, hash, values);
    return *cached;
}

void metrics_thread_free(struct cv_worker *w)
{
    free(w->series_cache);
    w->series_cache = NULL;
}

struct cv_series *cv_series(const struct cv_self *self, unsigned id, const struct cv_str *values)
{
    return lookup(&self->instance->module->metrics[id], values);
}

struct cv_series *metric(enum core_metric id, const struct cv_str *values)
{
    return lookup(&core_metrics[id], values);
}

void metrics_declare(const struct cv_metric *table)
{
    for (const struct cv_metric *m = table; m && m->name; m++)
        if (!m->labels)
            lookup(m, NULL);
}

/* ---- counting ---------------------------------------------------------------------------------------- */

static _Atomic uint64_t *row_of(struct cv_series *s)
{
    struct cv_worker *w = worker_current();
    unsigned row = w && w->index < n_rows ? w->index : 0;
    return s->cells + row * s->family->stride;
}

static void bump(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

void cv_add(struct cv_series *s, int64_t n)
{
    bump(row_of(s), (uint64_t)n);
}

void cv_gauge_set(struct cv_series *s, int64_t n)
{
    atomic_store_explicit(row_of(s), (uint64_t)n, memory_order_relaxed);
    atomic_store_explicit(&s->unset, false, memory_order_relaxed);
}

void cv_gauge_unset(struct cv_series *s)
{
    atomic_store_explicit(row_of(s), 0, memory_order_relaxed);
    atomic_store_explicit(&s->unset, true, memory_order_relaxed);
}

static double to_double(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

static uint64_t to_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

void cv_observe(struct cv_series *s, double value)
{
    const struct family *f = s->family;
    _Atomic uint64_t *row = row_of(s);
    size_t bucket = 0;
    while (bucket < f->n_bounds && value > f->metric->bounds[bucket])
        bucket++;
    bump(&row[bucket], 1);
    _Atomic uint64_t *sum = &row[f->n_bounds + 1];
    double before = to_double(atomic_load_explicit(sum, memory_order_relaxed));
    atomic_store_explicit(sum, to_bits(before + value), memory_order_relaxed);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

size_t metric_read(const struct cv_series *s, double *sums)
{
    const struct family *f = s->family;
    double per = f->metric->per != 0 ? f->metric->per : 1;
    for (size_t i = 0; i < f->n_cells; i++) {
        bool is_sum = f->metric->type == CV_HISTOGRAM && i == f->n_cells - 1;
        sums[i] = 0;
        for (unsigned row = 0; row < n_rows; row++) {
            uint64_t v = atomic_load_explicit(&s->cells[row * f->stride + i], memory_order_relaxed);
            sums[i] += is_sum ? to_double(v) : (double)(int64_t)v;
        }
        if (f->metric->type != CV_HISTOGRAM)
            sums[i] /= per;
    }
    return f->n_cells;
}

void cv_metrics_each(cv_metric_fn *fn, void *arg)
{
    double sums[METRIC_CELLS_MAX];
    for (struct family *f = atomic_load_explicit(&families, memory_order_acquire); f;
         f = atomic_load_explicit(&f->next, memory_order_acquire))
        for (struct cv_series *s = atomic_load_explicit(&f->first, memory_order_acquire); s;
             s = atomic_load_explicit(&s->next, memory_order_acquire)) {
            if (atomic_load_explicit(&s->unset, memory_order_relaxed))
                continue;
            size_t n = metric_read(s, sums);
            fn(arg, f->metric, s->values, sums, n);
        }
}

void metrics_free(void)
{
    for (struct family *f = families, *next; f; f = next) {
        next = f->next;
        for (struct cv_series *s = f->first, *after; s; s = after) {
            after = s->next;
            for (size_t i = 0; i < f->n_labels; i++)
                free((void *)s->values[i].p);
            free(s);
        }
        free(f);
    }
    families = NULL;
    families_last = &families;
    memset(by_hash, 0, sizeof(by_hash));
}
