/* pool.c: connections that wait for the next request, by the rules' pool keys; the last one used goes first,
 * so that the rest can age and close. */
#include "origin.h"

#include <string.h>

struct origin_pool { /* exists while it holds a connection */
    struct origin_pool *next;
    struct origin_worker *w;
    struct origin_link *newest, *oldest;
    size_t n;
    size_t most;           /* what the rule lets wait for longer than ORIGIN_SURPLUS_MS */
    struct cv_timer timer; /* for the oldest */
    size_t key_n;
    char key[];
};

static const int64_t NEVER = INT64_MAX;

static struct origin_pool **find(struct origin_worker *w, struct cv_str key)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < key.n; i++)
        hash = (hash ^ (uint8_t)key.p[i]) * 16777619u;
    struct origin_pool **at = &w->pools[hash % ORIGIN_POOL_BUCKETS];
    while (*at && !cv_str_eq((struct cv_str){ (*at)->key, (*at)->key_n }, key))
        at = &(*at)->next;
    return at;
}

void origin_pool_count(struct origin_worker *w, int64_t change)
{
    w->idle += change;
    cv_add(w->series[ORIGIN_IDLE], change); /* one that a reload brought may count beside it */
}

static int64_t end_of_oldest(const struct origin_pool *pool)
{
    const struct origin_link *l = pool->oldest;
    int64_t surplus = pool->n > pool->most ? l->idle_since + ORIGIN_SURPLUS_MS : NEVER;
    return surplus < l->close_at ? surplus : l->close_at;
}

static void arm(struct origin_pool *pool)
{
    int64_t end = end_of_oldest(pool);
    if (end == NEVER)
        cv_timer_clear(&pool->timer);
    else
        cv_timer_set(&pool->w->self, &pool->timer, (struct cv_ms){ end - cv_now(&pool->w->self) });
}

/* Takes the link out; the pool goes with its last one. */
static void leave(struct origin_link *l)
{
    struct origin_pool *pool = l->pool;
    *(l->newer ? &l->newer->older : &pool->newest) = l->older;
    *(l->older ? &l->older->newer : &pool->oldest) = l->newer;
    l->pool = NULL;
    l->newer = l->older = NULL;
    pool->n--;
    origin_pool_count(pool->w, -1);
    if (pool->n > 0)
        return;
    cv_timer_clear(&pool->timer);
    *find(pool->w, (struct cv_str){ pool->key, pool->key_n }) = pool->next;
    free(pool);
}

static void drop(struct origin_link *l)
{
    leave(l);
    origin_link_free(l);
}

static void on_idle_ready(struct origin_link *l, short what)
{
    (void)what;
    if (!origin_link_quiet(l)) /* closed, or bytes that nobody asked for */
        drop(l);
}

static void on_timer(struct cv_timer *timer)
{
    struct origin_pool *pool = CV_OWNER(timer, struct origin_pool, timer);
    int64_t now = cv_now(&pool->w->self);
    size_t n = pool->n;
    for (; n > 0 && end_of_oldest(pool) <= now; n--)
        drop(pool->oldest);
    if (n > 0) /* else the pool is gone */
        arm(pool);
}

/* A connection opened under one name must not carry a request for another, though their rule be the same; nor one that
 * leads to a proxy a request that goes there directly. */
struct cv_str origin_pool_key(struct cv_req *req, const struct cv_proxy *via)
{
    const struct cv_rule *rule = req->rule;
    bool named = rule->target.tls && rule->settings.match_sni_to_host;
    if (!named && !via)
        return rule->pool_key;
    struct cv_str name = named ? origin_tls_name(req) : CV_STR("");
    return cv_print(req, CV_STR_FMT "\n%s\n" CV_STR_FMT, CV_STR_ARG(rule->pool_key), via ? via->host : "",
                    CV_STR_ARG(name));
}

struct origin_link *origin_pool_take(struct origin_worker *w, struct cv_str key)
{
    struct origin_pool *pool;
    while ((pool = *find(w, key))) {
        struct origin_link *l = pool->newest;
        leave(l);
        if (origin_link_quiet(l))
            return l;
        origin_link_free(l);
    }
    return NULL;
}

static struct origin_pool *pool_of(struct origin_worker *w, struct cv_str key)
{
    struct origin_pool **at = find(w, key);
    struct origin_pool *pool = *at;
    if (pool)
        return pool;
    pool = cv_xcalloc(1, sizeof(*pool) + key.n);
    pool->w = w;
    pool->timer.fire = on_timer;
    pool->key_n = key.n;
    memcpy(pool->key, key.p, key.n);
    *at = pool;
    return pool;
}

int64_t origin_pool_most(const struct cv_settings *settings)
{
    int64_t most = settings->keep_alive_connections ? settings->keep_alive_connections : 2;
    return most < 0 || settings->keep_alive_timeout < 0 ? 0 : most;
}

void origin_pool_give(struct origin_link *l, struct cv_str key, const struct cv_settings *settings)
{
    int64_t most = origin_pool_most(settings);
    if (most == 0) {
        origin_link_free(l);
        return;
    }
    struct origin_worker *w = l->w;
    int64_t after = cv_seconds(settings->keep_alive_timeout).ms;
    l->idle_since = cv_now(&w->self);
    l->close_at = after ? l->idle_since + after : NEVER;
    struct origin_pool *pool = pool_of(w, key);
    l->pool = pool;
    l->older = pool->newest;
    *(l->older ? &l->older->newer : &pool->oldest) = l;
    pool->newest = l;
    pool->n++;
    origin_pool_count(w, 1);
    origin_link_own(l, on_idle_ready, NULL);
    origin_link_watch(l, true);
    pool->most = (size_t)most;
    if (!pool->timer.set || pool->n == pool->most + 1)
        arm(pool);
}

void origin_pool_free(struct origin_worker *w)
{
    for (size_t i = 0; i < ORIGIN_POOL_BUCKETS; i++) {
        while (w->pools[i]) {
            struct origin_pool *pool = w->pools[i];
            for (size_t n = pool->n; n > 0; n--)
                drop(pool->oldest);
        }
    }
}
