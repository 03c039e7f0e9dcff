/* mem.h: memory that is there or the process ends, a growable byte buffer, and our own invariants. */
#ifndef CV_LOOP_MEM_H
#define CV_LOOP_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Stays on in release. For what only a mistake of ours can break, never for what a peer, a file or an
 * operator can cause. Side effects inside are allowed: it is always evaluated. */
#define CV_ASSERT(cond) ((cond) ? (void)0 : cv_assert_failed(#cond, __FILE__, __LINE__, __func__))
_Noreturn void cv_assert_failed(const char *what, const char *file, int line, const char *func);

/* Never NULL, also for zero bytes. Too little memory, or n * size that does not fit: abort.
 * Everything here is freed with free(). Any thread. */
void *cv_xmalloc(size_t n) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *cv_xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1, 2)));
void *cv_xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull, alloc_size(2, 3)));
char *cv_xstrdup(const char *) __attribute__((malloc, returns_nonnull));
/* A copy of n bytes with a NUL behind them. p may be NULL when n is 0. */
char *cv_xmemdup0(const void *p, size_t n) __attribute__((malloc, returns_nonnull));

/* Bytes that grow at the back and leave at the front. {0} is an empty one. p moves whenever it grows. */
struct cv_buf {
    uint8_t *p;
    size_t n;   /* bytes in use                */
    size_t cap; /* bytes allocated, at least n */
};
/* Room for `more` bytes behind the n in use; returns where they begin. Write there, then add to n. */
uint8_t *cv_buf_reserve(struct cv_buf *, size_t more) __attribute__((returns_nonnull));
void cv_buf_add(struct cv_buf *, const void *p, size_t n);
/* Drops the first n bytes (n is at most buf->n). */
void cv_buf_take_front(struct cv_buf *, size_t n);
/* Frees the memory; the buffer is empty and usable again. */
void cv_buf_free(struct cv_buf *);

#endif
