/* bump.c: memory for what is made at once and dies at once. */
#include "request/bump.h"
#include "culvert/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 4000
#define ALIGN 16

struct bump_block {
    struct bump_block *next;
    size_t used, size;
    _Alignas(ALIGN) uint8_t data[];
};

static void block_add(struct bump *mem, size_t least)
{
    size_t size = least > BLOCK ? least : BLOCK;
    CV_ASSERT(size <= SIZE_MAX - sizeof(struct bump_block));
    struct bump_block *block = cv_xcalloc(1, sizeof *block + size);
    block->size = size;
    block->next = mem->blocks;
    mem->blocks = block;
}

void *bump_alloc(struct bump *mem, size_t n)
{
    CV_ASSERT(n <= SIZE_MAX - ALIGN);
    size_t need = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (!mem->blocks || mem->blocks->size - mem->blocks->used < need)
        block_add(mem, need);
    void *p = mem->blocks->data + mem->blocks->used;
    mem->blocks->used += need;
    return p;
}

void *bump_array(struct bump *mem, size_t n, size_t size)
{
    CV_ASSERT(size == 0 || n <= SIZE_MAX / size);
    return bump_alloc(mem, n * size);
}

struct cv_str bump_str(struct bump *mem, struct cv_str s)
{
    if (s.n == 0)
        return (struct cv_str){ NULL, 0 };
    char *copy = bump_alloc(mem, s.n + 1);
    memcpy(copy, s.p, s.n);
    return (struct cv_str){ copy, s.n };
}

struct cv_str bump_print(struct bump *mem, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    CV_ASSERT(n >= 0);
    char *text = bump_alloc(mem, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return (struct cv_str){ text, (size_t)n };
}

void bump_free(struct bump *mem)
{
    while (mem->blocks) {
        struct bump_block *block = mem->blocks;
        mem->blocks = block->next;
        explicit_bzero(block->data, block->used);
        free(block);
    }
}
