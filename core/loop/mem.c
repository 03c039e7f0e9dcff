/* mem.c: allocation that cannot fail, and the growable byte buffer. */
#include "culvert/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 512 }; /* of a buffer: most hold a head or a message, which then never move */

void cv_assert_failed(const char *what, const char *file, int line, const char *func)
{
    fprintf(stderr, "culvert: broken invariant in %s (%s:%d): %s\n", func, file, line, what);
    abort();
}

static _Noreturn void out_of_memory(size_t n, size_t size)
{
    fprintf(stderr, "culvert: out of memory (%zu times %zu bytes)\n", n, size);
    abort();
}

void *cv_xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        out_of_memory(n, 1);
    return p;
}

void *cv_xcalloc(size_t n, size_t size)
{
    void *p = n && size ? calloc(n, size) : calloc(1, 1);
    if (!p)
        out_of_memory(n, size);
    return p;
}

void *cv_xrealloc(void *old, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        out_of_memory(n, size);
    void *p = realloc(old, bytes ? bytes : 1); /* realloc(p, 0) may free: never ask for that */
    if (!p)
        out_of_memory(n, size);
    return p;
}

char *cv_xstrdup(const char *s)
{
    return cv_xmemdup0(s, strlen(s));
}

char *cv_xmemdup0(const void *p, size_t n)
{
    size_t bytes;
    if (__builtin_add_overflow(n, 1, &bytes))
        out_of_memory(n, 1);
    char *copy = cv_xmalloc(bytes);
    if (n)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

uint8_t *cv_buf_reserve(struct cv_buf *b, size_t more)
{
    size_t need;
    if (__builtin_add_overflow(b->n, more, &need))
        out_of_memory(more, 1);
    if (need > b->cap || !b->p) {
        size_t cap = b->cap ? b->cap : FIRST_ROOM;
        while (cap < need)
            if (__builtin_mul_overflow(cap, (size_t)2, &cap))
                cap = need;
        b->p = cv_xrealloc(b->p, cap, 1);
        b->cap = cap;
    }
    return b->p + b->n;
}

void cv_buf_add(struct cv_buf *b, const void *p, size_t n)
{
    if (!n)
        return;
    memcpy(cv_buf_reserve(b, n), p, n);
    b->n += n;
}

void cv_buf_take_front(struct cv_buf *b, size_t n)
{
    CV_ASSERT(n <= b->n);
    if (!n)
        return;
    b->n -= n;
    memmove(b->p, b->p + n, b->n);
}

void cv_buf_free(struct cv_buf *b)
{
    free(b->p);
    *b = (struct cv_buf){ 0 };
}
