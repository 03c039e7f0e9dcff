/* pipe.c: bytes under way in one direction: a queue of chunks that never move, with a limit.
 *
 * The chunks of a thread are capped (limits.memory). A peer that was given a window may always fill it; an origin's
 * answer, which nobody promised room to, shrinks to one chunk a pipe while the thread is over the cap. So memory stays
 * bounded, and since an empty pipe always has room, no writer waits for a credit that never comes. */
#include "request/state.h"
#include "request/stock.h"
#include "request/tally.h"

#include "culvert/wire.h"

#include <string.h>

/* ---- chunks of a thread ------------------------------------------------------------------------------ */

static struct stock *stock_of(const struct cv_pipe *p)
{
    return p->req->worker->stock;
}

size_t cv_memory_held(const struct cv_self *self)
{
    const struct stock *stock = self->worker->stock;
    return stock->n_chunks * sizeof(struct chunk);
}

bool stock_over_memory(const struct stock *stock)
{
    return stock->n_chunks * sizeof(struct chunk) >= stock->limits->memory.n;
}

bool cv_memory_short(const struct cv_self *self)
{
    return stock_over_memory(self->worker->stock);
}

static struct chunk *take_chunk(struct stock *stock)
{
    struct chunk *c = stock->chunks;
    if (c) {
        stock->chunks = c->next;
        stock->n_free_chunks--;
    } else {
        c = cv_xmalloc(sizeof(*c));
    }
    c->next = NULL;
    c->from = c->to = 0;
    stock->n_chunks++;
    cv_add(stock->pipe_memory, sizeof(*c));
    return c;
}

static void give_chunk(struct stock *stock, struct chunk *c)
{
    stock->n_chunks--;
    cv_add(stock->pipe_memory, -(int64_t)sizeof(*c));
    if (stock->n_free_chunks >= FREE_CHUNKS_MAX) {
        free(c);
        return;
    }
    c->next = stock->chunks;
    stock->chunks = c;
    stock->n_free_chunks++;
}

void stock_free_chunks(struct stock *stock)
{
    for (struct chunk *c = stock->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    stock->chunks = NULL;
}

/* ---- the pipe itself --------------------------------------------------------------------------------- */

void pipe_init(struct cv_pipe *p, struct request *req, size_t limit)
{
    *p = (struct cv_pipe){ .req = req, .limit = limit, .offered = SIZE_MAX / 2 };
}

static void append_chunk(struct cv_pipe *p)
{
    struct chunk *c = take_chunk(stock_of(p));
    if (p->last)
        p->last->next = c;
    else
        p->first = c;
    p->last = c;
}

static void drop_first(struct cv_pipe *p)
{
    struct chunk *c = p->first;
    p->first = c->next;
    if (!p->first)
        p->last = NULL;
    if (p->mark == c)
        p->mark = NULL;
    give_chunk(stock_of(p), c);
}

void pipe_kill(struct cv_pipe *p)
{
    while (p->first)
        drop_first(p);
    p->held = p->news = 0;
    p->readable = false;
    p->dead = true;
}

static size_t window(const struct cv_pipe *p)
{
    return p->dead || p->finished || p->held >= p->limit ? 0 : p->limit - p->held;
}

size_t cv_pipe_room(const struct cv_pipe *p)
{
    size_t room = window(p), upto = p->offered + p->inserted, offered = upto > p->held ? upto - p->held : 0;
    if (offered < room)
        room = offered;
    if (stock_over_memory(stock_of(p))) {
        size_t least = p->held < CV_CHUNK ? CV_CHUNK - p->held : 0;
        return room < least ? room : least;
    }
    return room;
}

size_t cv_pipe_held(const struct cv_pipe *p)
{
    return p->held;
}

void cv_pipe_limit(struct cv_pipe *p, size_t limit)
{
    p->limit = limit > p->held ? limit : p->held;
}

void cv_pipe_offer(struct cv_pipe *p, size_t bytes)
{
    p->offered = bytes;
}

static void wrote(struct cv_pipe *p, size_t n)
{
    p->held += n;
    p->total += n;
    p->readable = true;
    tally_bytes(p, n);
    request_wake(p->req);
}

static void append(struct cv_pipe *p, const uint8_t *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        if (!p->last || p->last->to == CV_CHUNK)
            append_chunk(p);
        struct chunk *c = p->last;
        size_t part = CV_CHUNK - c->to < n - done ? CV_CHUNK - c->to : n - done;
        memcpy(c->data + c->to, bytes + done, part);
        c->to += (uint32_t)part;
        done += part;
    }
    if (n && p->eye)
        p->eye->saw(p->eye, bytes, n);
    if (n)
        wrote(p, n);
}

static void trapped(struct cv_pipe *p, const uint8_t *bytes, size_t n)
{
    p->trap->took(p->trap, bytes, n);
    p->news += n;
    request_wake(p->req);
}

size_t cv_pipe_write(struct cv_pipe *p, const void *bytes, size_t n)
{
    size_t room = window(p);
    if (n > room)
        n = room;
    if (p->trap && n)
        trapped(p, bytes, n);
    else
        append(p, bytes, n);
    return n;
}

void pipe_insert(struct cv_pipe *p, struct cv_str bytes)
{
    CV_ASSERT(p->held == 0 && p->inserted == 0);
    if (p->finished || p->dead)
        return;
    p->inserted = bytes.n;
    p->limit += bytes.n;
    append(p, (const uint8_t *)bytes.p, bytes.n);
}

int cv_pipe_reserve(struct cv_pipe *p, struct iovec *iov, int max)
{
    size_t room = cv_pipe_room(p);
    int n = 0;
    if (room && max > 0 && p->last && p->last->to < CV_CHUNK) {
        size_t part = CV_CHUNK - p->last->to < room ? CV_CHUNK - p->last->to : room;
        iov[n++] = (struct iovec){ p->last->data + p->last->to, part };
        room -= part;
    }
    while (room && n < max) {
        append_chunk(p);
        size_t part = room < CV_CHUNK ? room : CV_CHUNK;
        iov[n++] = (struct iovec){ p->last->data, part };
        room -= part;
    }
    return n;
}

static void trap_reserved(struct cv_pipe *p, const struct chunk *c, size_t n)
{
    for (; n > 0; c = c->next) {
        CV_ASSERT(c); /* no more was committed than was reserved */
        size_t part = CV_CHUNK - c->to < n ? CV_CHUNK - c->to : n;
        trapped(p, c->data + c->to, part);
        n -= part;
    }
}

/* Reserved chunks lie behind the one that was being filled; what stays empty goes back. */
void cv_pipe_commit(struct cv_pipe *p, size_t n)
{
    struct chunk *c = p->first, *filled = NULL;
    while (c && c->to == CV_CHUNK)
        filled = c, c = c->next;
    if (p->trap) {
        trap_reserved(p, c, n);
        n = 0;
    }
    size_t left = n;
    while (c && (left || c->to > c->from)) {
        size_t part = CV_CHUNK - c->to < left ? CV_CHUNK - c->to : left;
        if (p->eye)
            p->eye->saw(p->eye, c->data + c->to, part);
        c->to += (uint32_t)part;
        left -= part;
        filled = c;
        c = c->next;
    }
    CV_ASSERT(left == 0 || p->dead);
    while (c) {
        struct chunk *next = c->next;
        give_chunk(stock_of(p), c);
        c = next;
    }
    p->last = filled;
    if (filled)
        filled->next = NULL;
    else
        p->first = NULL;
    if (n && !p->dead)
        wrote(p, n);
}

void cv_pipe_finish(struct cv_pipe *p)
{
    if (p->finished || p->dead)
        return;
    if (p->trap) {
        p->trap->finished(p->trap);
        return;
    }
    p->finished = true;
    p->readable = true;
    request_wake(p->req);
}

/* A QUIC edge reads far ahead of what is acknowledged, a packet at a time: it goes on where it was. */
int cv_pipe_peek(struct cv_pipe *p, size_t skip, struct iovec *iov, int max)
{
    uint64_t gone = p->total - p->held, want = gone + skip;
    struct chunk *c = p->first;
    uint64_t at = c ? gone - c->from : 0; /* of c->data[0] */
    if (p->mark && want >= p->mark_at) {
        c = p->mark;
        at = p->mark_at;
    }
    for (; c && want >= at + c->to; c = c->next)
        at += c->to;
    if (!c || max < 1)
        return 0;
    p->mark = c;
    p->mark_at = at;
    size_t from = (size_t)(want - at);
    int n = 0;
    for (; c && c->to > from && n < max; c = c->next) {
        iov[n++] = (struct iovec){ c->data + from, c->to - from };
        from = 0;
    }
    return n;
}

void cv_pipe_consume(struct cv_pipe *p, size_t n)
{
    if (p->dead || n == 0)
        return;
    CV_ASSERT(n <= p->held);
    size_t ours = n < p->inserted ? n : p->inserted;
    p->inserted -= ours;
    p->limit -= ours;
    p->held -= n;
    p->news += n - ours;
    for (size_t left = n; left;) {
        struct chunk *c = p->first;
        size_t in = c->to - c->from, part = in < left ? in : left;
        c->from += (uint32_t)part;
        left -= part;
        if (c->from == c->to)
            drop_first(p);
    }
    request_wake(p->req);
}

bool cv_pipe_finished(const struct cv_pipe *p)
{
    return p->finished;
}

bool cv_pipe_ended(const struct cv_pipe *p)
{
    return p->finished && p->held == 0;
}
