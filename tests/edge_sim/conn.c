/* conn.c: what is known of every connection, whatever its transport, and the streams on it. */
#include "edge_sim.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT_ENDED = 1024 };

struct conn_list conns = TAILQ_HEAD_INITIALIZER(conns);
static unsigned last_id, ended;

static void conn_free(struct conn *conn)
{
    TAILQ_REMOVE(&conns, conn, entry);
    struct registration *reg = &conn->reg;
    for (size_t i = 0; i < reg->nfeatures; i++)
        free(reg->features[i]);
    free(reg->features);
    free(reg->account);
    free(reg->version);
    free(reg->arch);
    free(conn);
}

struct conn *conn_new(const struct transport *transport, void *link, const struct sockaddr *peer)
{
    struct conn *conn = cv_xcalloc(1, sizeof(*conn));
    conn->transport = transport;
    conn->link = link;
    conn->id = ++last_id;
    print_addr(peer, conn->peer);
    TAILQ_INSERT_TAIL(&conns, conn, entry);
    log_event(conn, "connected",
              CV_FIELDS(CV_S("protocol", cv_str_of(transport->name)), CV_S("peer", cv_str_of(conn->peer))));
    return conn;
}

static void forget_oldest(void)
{
    struct conn *conn, *next;
    for (conn = TAILQ_FIRST(&conns); conn && ended > KEPT_ENDED; conn = next) {
        next = TAILQ_NEXT(conn, entry);
        if (conn->link)
            continue;
        conn_free(conn);
        ended--;
    }
}

void conn_ended(struct conn *conn, const char *how)
{
    conn->link = NULL;
    conn->ended_how = how;
    control_free(conn);
    log_event(conn, "ended",
              CV_FIELDS(CV_S("how", cv_str_of(how)), CV_I("unregistered", conn->unregistered)));
    ended++;
    forget_oldest();
}

/* Its connector has registered the same index anew: it may be dead without having said so. */
static bool superseded(const struct conn *conn)
{
    for (const struct conn *c = TAILQ_NEXT(conn, entry); c; c = TAILQ_NEXT(c, entry))
        if (c->link && c->registered && c->reg.index == conn->reg.index &&
            memcmp(c->reg.client, conn->reg.client, sizeof(c->reg.client)) == 0)
            return true;
    return false;
}

static bool takes_requests(const struct conn *conn)
{
    return conn->link && conn->registered && !conn->unregistered && !conn->draining && !superseded(conn);
}

struct conn *conn_pick(int index)
{
    static unsigned last; /* id of the connection that had the previous turn */
    struct conn *conn, *first = NULL, *next = NULL;
    TAILQ_FOREACH(conn, &conns, entry)
    {
        if (!takes_requests(conn) || (index >= 0 && conn->reg.index != index))
            continue;
        if (!first)
            first = conn;
        if (!next && conn->id > last)
            next = conn;
    }
    if (!next)
        next = first;
    if (next)
        last = next->id;
    return next;
}

struct conn *conn_by_index(unsigned index)
{
    struct conn *conn;
    TAILQ_FOREACH_REVERSE(conn, &conns, conn_list, entry)
    if (conn->link && conn->called && conn->reg.index == index)
        return conn;
    return NULL;
}

unsigned conns_registered(void)
{
    unsigned n = 0;
    struct conn *conn;
    TAILQ_FOREACH(conn, &conns, entry)
    n += conn->link && conn->registered && !conn->unregistered;
    return n;
}

void conns_close(void)
{
    struct conn *conn;
    TAILQ_FOREACH(conn, &conns, entry)
    if (conn->link)
        conn->transport->close(conn, CLOSE_FIN);
}

void conns_free(void)
{
    struct conn *conn, *next;
    for (conn = TAILQ_FIRST(&conns); conn; conn = next) {
        next = TAILQ_NEXT(conn, entry);
        conn_free(conn);
    }
}

void conn_idle_check(struct conn *conn)
{
    if (!conn->link || !conn->control_ended || conn->open > 0)
        return;
    if ((conn->refused && !opt.keep_refused) || (conn->unregistered && !opt.keep_unregistered))
        conn->transport->close(conn, CLOSE_FIN);
}

struct stream *stream_open(struct conn *conn, const struct head *head, const struct stream_ops *ops,
                           void *owner)
{
    struct stream *s = conn->link ? conn->transport->open(conn, head) : NULL;
    if (!s)
        return NULL;
    s->ops = ops;
    s->owner = owner;
    if (s->kind <= KIND_TCP) {
        conn->requests++;
        conn->open++;
    }
    return s;
}

void stream_gone(struct stream *s, enum ending ending, uint64_t code)
{
    const struct stream_ops *ops = s->ops;
    s->ops = NULL;
    if (s->kind <= KIND_TCP)
        s->conn->open--;
    if (ops)
        ops->closed(s, ending, code);
    queue_free(&s->up);
    conn_idle_check(s->conn);
}

void stream_was_reset(struct stream *s, uint64_t code)
{
    s->conn->resets++;
    log_event(s->conn, "reset", CV_FIELDS(CV_I("stream", s->id), CV_I("code", (int64_t)code)));
}

size_t stream_room(const struct stream *s)
{
    return s->up.n < STREAM_UP_MAX ? STREAM_UP_MAX - s->up.n : 0;
}

void stream_write(struct stream *s, const void *p, size_t n)
{
    CV_ASSERT(!s->up_ended);
    queue_add(&s->up, p, n);
    s->conn->transport->written(s);
}

void stream_finish(struct stream *s)
{
    if (s->up_ended)
        return;
    s->up_ended = true;
    s->conn->transport->written(s);
}

void stream_credit(struct stream *s, size_t n)
{
    if (n > 0 && !s->conn->stalled)
        s->conn->transport->credit(s, n);
}

void stream_cancel(struct stream *s)
{
    s->ops = NULL;
    s->conn->transport->reset(s, s->down_ended);
}
