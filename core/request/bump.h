/* bump.h: memory for what is made at once and dies at once: a routing table, a decoded document. */
#ifndef REQUEST_BUMP_H
#define REQUEST_BUMP_H
#include "culvert/culvert.h"

/* {0} is an empty one. Not for sharing between threads while it grows. */
struct bump {
    struct bump_block *blocks; /* newest first */
};
/* Zeroed, aligned to 16. */
void *bump_alloc(struct bump *, size_t n);
/* n things of that size, zeroed; a product that does not fit aborts. */
void *bump_array(struct bump *, size_t n, size_t size);
/* A copy with a NUL behind it. An empty string gives {NULL, 0}. */
struct cv_str bump_str(struct bump *, struct cv_str);
struct cv_str bump_print(struct bump *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Overwrites and frees everything: what was decoded may be secret. It is empty and usable again. */
void bump_free(struct bump *);
#endif
