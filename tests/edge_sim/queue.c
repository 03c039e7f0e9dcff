/* queue.c: bytes that wait to leave, in chunks that never move. */
#include "edge_sim.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 4096 - 24, POOL_MAX = 4096 };

struct chunk {
    struct chunk *next;
    size_t begin, end;
    uint8_t bytes[CHUNK_BYTES];
};

static struct {
    struct chunk *free;
    size_t n;
} pool;

static struct chunk *chunk_new(void)
{
    struct chunk *c = pool.free;
    if (c) {
        pool.free = c->next;
        pool.n--;
    } else {
        c = cv_xmalloc(sizeof(*c));
    }
    c->next = NULL;
    c->begin = c->end = 0;
    return c;
}

static void chunk_free(struct chunk *c)
{
    if (pool.n >= POOL_MAX) {
        free(c);
        return;
    }
    c->next = pool.free;
    pool.free = c;
    pool.n++;
}

void queue_add(struct queue *q, const void *p, size_t n)
{
    const uint8_t *from = p;
    q->n += n;
    while (n > 0) {
        if (!q->last || q->last->end == CHUNK_BYTES) {
            struct chunk *c = chunk_new();
            if (q->last)
                q->last->next = c;
            else
                q->first = c;
            q->last = c;
        }
        size_t fits = CHUNK_BYTES - q->last->end;
        if (fits > n)
            fits = n;
        memcpy(q->last->bytes + q->last->end, from, fits);
        q->last->end += fits;
        from += fits;
        n -= fits;
    }
}

int queue_peek(const struct queue *q, size_t skip, struct iovec *iov, int max)
{
    int n = 0;
    for (struct chunk *c = q->first; c && n < max; c = c->next) {
        size_t have = c->end - c->begin;
        if (skip >= have) {
            skip -= have;
            continue;
        }
        iov[n++] = (struct iovec){ c->bytes + c->begin + skip, have - skip };
        skip = 0;
    }
    return n;
}

size_t queue_copy(const struct queue *q, void *out, size_t n)
{
    uint8_t *to = out;
    size_t done = 0;
    for (struct chunk *c = q->first; c && done < n; c = c->next) {
        size_t have = c->end - c->begin;
        if (have > n - done)
            have = n - done;
        memcpy(to + done, c->bytes + c->begin, have);
        done += have;
    }
    return done;
}

void queue_take(struct queue *q, size_t n)
{
    CV_ASSERT(n <= q->n);
    q->n -= n;
    while (n > 0) {
        struct chunk *c = q->first;
        CV_ASSERT(c);
        size_t have = c->end - c->begin;
        if (n < have) {
            c->begin += n;
            return;
        }
        n -= have;
        q->first = c->next;
        if (!q->first)
            q->last = NULL;
        chunk_free(c);
    }
}

void queue_free(struct queue *q)
{
    queue_take(q, q->n);
}

void queue_drain_pool(void)
{
    while (pool.free) {
        struct chunk *c = pool.free;
        pool.free = c->next;
        free(c);
    }
    pool.n = 0;
}
