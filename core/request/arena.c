/* arena.c: memory that lives as long as a request, from small blocks that a thread keeps for the next one. */
#include "request/stock.h"

#include <string.h>

struct arena_block {
    struct arena_block *next;
    uint32_t used, size; /* of data */
    _Alignas(16) uint8_t data[];
};
enum { DATA_BYTES = ARENA_BLOCK - sizeof(struct arena_block) };

static struct arena_block *take_block(struct stock *stock)
{
    struct arena_block *b = stock->blocks;
    if (b) {
        stock->blocks = b->next;
        stock->n_free_blocks--;
    } else {
        b = cv_xmalloc(ARENA_BLOCK);
        b->size = DATA_BYTES;
    }
    b->used = 0;
    return b;
}

static void give_block(struct stock *stock, struct arena_block *b)
{
    if (b->size != DATA_BYTES || stock->n_free_blocks >= FREE_BLOCKS_MAX) {
        free(b);
        return;
    }
    b->next = stock->blocks;
    stock->blocks = b;
    stock->n_free_blocks++;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t need = (n + 15) & ~(size_t)15;
    CV_ASSERT(need >= n && need <= UINT32_MAX / 2);
    struct arena_block *b = a->blocks;
    if (!b || b->size - b->used < need) {
        if (need > DATA_BYTES) { /* a block of its own, behind the one that still has room */
            struct arena_block *own = cv_xmalloc(sizeof(*own) + need);
            *own = (struct arena_block){ .used = (uint32_t)need, .size = (uint32_t)need };
            struct arena_block **at = b ? &b->next : &a->blocks;
            own->next = *at;
            *at = own;
            return memset(own->data, 0, need);
        }
        b = take_block(a->worker->stock);
        b->next = a->blocks;
        a->blocks = b;
    }
    void *p = b->data + b->used;
    b->used += (uint32_t)need;
    return memset(p, 0, need);
}

void arena_free(struct arena *a)
{
    struct stock *stock = a->worker->stock;
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        give_block(stock, b);
    }
    a->blocks = NULL;
}

void stock_free_blocks(struct stock *stock)
{
    for (struct arena_block *b = stock->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    stock->blocks = NULL;
}
