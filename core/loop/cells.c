/* cells.c: memory that modules count in from all threads: found by key once, then used without a lock. */
#include "loop/loop.h"

#include <string.h>

enum { BUCKETS = 256, CELLS_PER_INSTANCE = 1000 };

struct cell {
    struct cell *next;
    const struct cv_module *module;
    char *instance, *key;
    size_t key_n, size;
    uint8_t bytes[] __attribute__((aligned(16)));
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cell *buckets[BUCKETS];

static uint32_t hash_of(struct cv_str key)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < key.n; i++)
        hash = (hash ^ (uint8_t)key.p[i]) * 16777619u;
    return hash;
}

static struct cell **bucket_of(struct cv_str key)
{
    return &buckets[hash_of(key) % BUCKETS];
}

/* By the name of the section: an instance that a reload brings back finds its cells again. */
static bool is_of(const struct cell *c, const struct cv_instance *i)
{
    return c->module == i->module && strcmp(c->instance, i->name) == 0;
}

static struct cell *find(const struct cv_instance *i, struct cv_str key)
{
    for (struct cell *c = *bucket_of(key); c; c = c->next)
        if (is_of(c, i) && cv_str_eq((struct cv_str){ c->key, c->key_n }, key))
            return c;
    return NULL;
}

static size_t count(const struct cv_instance *i)
{
    size_t n = 0;
    for (size_t b = 0; b < BUCKETS; b++)
        for (const struct cell *c = buckets[b]; c; c = c->next)
            n += is_of(c, i);
    return n;
}

static struct cell *make(const struct cv_instance *i, struct cv_str key, size_t size)
{
    struct cell *c = cv_xcalloc(1, sizeof(*c) + size), **bucket = bucket_of(key);
    c->next = *bucket;
    c->module = i->module;
    c->instance = cv_xstrdup(i->name);
    c->key = cv_xmemdup0(key.p, key.n);
    c->key_n = key.n;
    c->size = size;
    *bucket = c;
    return c;
}

static struct cell *intern(const struct cv_instance *i, struct cv_str key, size_t size)
{
    pthread_mutex_lock(&lock);
    struct cell *c = find(i, key);
    if (!c && count(i) >= CELLS_PER_INSTANCE) {
        key = CV_STR("other");
        c = find(i, key);
    }
    if (!c)
        c = make(i, key, size);
    pthread_mutex_unlock(&lock);
    CV_ASSERT(c->size == size);
    return c;
}

/* A thread's own table of what it found last, so that finding it again takes no lock. */
void *cv_cell(const struct cv_self *self, struct cv_str key, size_t size)
{
    const struct cv_instance *i = self->instance;
    struct cv_worker *w = worker_current();
    if (!w)
        return intern(i, key, size)->bytes;
    if (!w->cell_cache)
        w->cell_cache = cv_xcalloc(BUCKETS, sizeof(struct cell *));
    struct cell **c = w->cell_cache + (hash_of(key) + i->id) % BUCKETS;
    if (!*c || !is_of(*c, i) || !cv_str_eq((struct cv_str){ (*c)->key, (*c)->key_n }, key))
        *c = intern(i, key, size);
    return (*c)->bytes;
}

void cells_thread_free(struct cv_worker *w)
{
    free(w->cell_cache);
    w->cell_cache = NULL;
}

void cells_free(void)
{
    for (size_t b = 0; b < BUCKETS; b++) {
        while (buckets[b]) {
            struct cell *c = buckets[b];
            buckets[b] = c->next;
            free(c->instance);
            free(c->key);
            free(c);
        }
    }
}
