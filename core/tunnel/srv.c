/* srv.c: SRV records by the system's resolver, and by DNS over TLS when that has none. */
#include "tunnel/srv.h"

#define CARES_NO_DEPRECATED
#include <ares_nameser.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "loop/resolve.h"

/* c-ares calls back when it likes, at the latest when its channel goes: this outlives the query. */
struct ticket {
    struct srv_query *query; /* NULL: nobody waits any more */
};
struct srv_query {
    const struct cv_self *self;
    const char *name;
    const struct dot_server *fallback;
    srv_done_fn *done;
    void *arg;
    struct ticket *ticket; /* NULL: not being asked for */
    struct dot_query *dot;
    struct srv_answer answer;
    char why[256];
    struct cv_timer soon;
};

/* ---- records ------------------------------------------------------------------------------------------- */

bool srv_parse(const uint8_t *message, size_t n, struct srv_answer *answer)
{
    struct ares_srv_reply *list = NULL;
    answer->n = 0;
    if (n > INT32_MAX || ares_parse_srv_reply(message, (int)n, &list) != ARES_SUCCESS)
        return false;
    for (struct ares_srv_reply *r = list; r && answer->n < SRV_TARGETS_MAX; r = r->next) {
        struct srv_target *t = &answer->targets[answer->n++];
        *t = (struct srv_target){ .port = r->port, .priority = r->priority, .weight = r->weight };
        snprintf(t->host, sizeof(t->host), "%s", r->host);
    }
    ares_free_data(list);
    return answer->n > 0;
}

static int by_priority(const void *a, const void *b)
{
    return ((const struct srv_target *)a)->priority - ((const struct srv_target *)b)->priority;
}

/* One by one, each with a chance as large as its share of the weight that is left. */
static void order_by_weight(struct srv_target *v, size_t n, uint32_t (*random)(void *, uint32_t), void *arg)
{
    uint32_t left = 0;
    for (size_t i = 0; i < n; i++)
        left += v[i].weight;
    for (size_t i = 0; i + 1 < n; i++) {
        uint32_t pick = random(arg, left + 1), sum = 0;
        size_t chosen = i;
        while (chosen + 1 < n && (sum += v[chosen].weight) < pick)
            chosen++;
        struct srv_target t = v[chosen];
        v[chosen] = v[i];
        v[i] = t;
        left -= t.weight;
    }
}

void srv_order(struct srv_answer *answer, uint32_t (*random)(void *arg, uint32_t below), void *arg)
{
    qsort(answer->targets, answer->n, sizeof(answer->targets[0]), by_priority);
    for (size_t from = 0, to; from < answer->n; from = to) {
        for (to = from; to < answer->n && answer->targets[to].priority == answer->targets[from].priority;)
            to++;
        order_by_weight(answer->targets + from, to - from, random, arg);
    }
}

static uint32_t any(void *arg, uint32_t below)
{
    (void)arg;
    uint32_t n;
    CV_ASSERT(RAND_bytes((unsigned char *)&n, sizeof(n)) == 1);
    return (uint32_t)((uint64_t)n * below >> 32);
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static void on_soon(struct cv_timer *timer)
{
    struct srv_query *q = CV_OWNER(timer, struct srv_query, soon);
    q->done(q->arg, q->answer.n ? &q->answer : NULL, q->why);
}

static void tell(struct srv_query *q)
{
    srv_order(&q->answer, any, NULL);
    cv_timer_set(q->self, &q->soon, (struct cv_ms){ 0 });
}

static void add_why(struct srv_query *q, const char *how, const char *why)
{
    size_t n = strlen(q->why);
    snprintf(q->why + n, sizeof(q->why) - n, "%s%s: %s", n ? "; " : "", how, why);
}

static void on_dot(void *arg, const uint8_t *message, size_t n, const char *why)
{
    struct srv_query *q = arg;
    if (!message)
        add_why(q, "DNS over TLS", why);
    else if (!srv_parse(message, n, &q->answer))
        add_why(q, "DNS over TLS", "no SRV record");
    tell(q);
}

static void ask_over_tls(struct srv_query *q)
{
    q->dot = dot_query_new(q->self, q->fallback, q->name, ns_t_srv, on_dot, q);
}

static void on_ares(void *arg, int status, int timeouts, unsigned char *message, int n)
{
    struct ticket *ticket = arg;
    struct srv_query *q = ticket->query;
    (void)timeouts;
    free(ticket);
    if (!q)
        return;
    q->ticket = NULL;
    if (status == ARES_SUCCESS && srv_parse(message, (size_t)n, &q->answer)) {
        tell(q);
        return;
    }
    add_why(q, "DNS", status == ARES_SUCCESS ? "no SRV record" : ares_strerror(status));
    ask_over_tls(q);
}

struct srv_query *srv_query_new(const struct cv_self *self, const char *name,
                                const struct dot_server *fallback, srv_done_fn *done, void *arg)
{
    struct srv_query *q = cv_xcalloc(1, sizeof(*q));
    q->self = self;
    q->name = name;
    q->fallback = fallback;
    q->done = done;
    q->arg = arg;
    q->soon.fire = on_soon;
    ares_channel channel = resolver_channel(self->worker);
    if (!channel) {
        add_why(q, "DNS", "no resolver is configured");
        ask_over_tls(q);
        return q;
    }
    struct ticket *ticket = cv_xmalloc(sizeof(*ticket));
    *ticket = (struct ticket){ q };
    q->ticket = ticket;
    ares_query(channel, name, ns_c_in, ns_t_srv, on_ares, ticket);
    resolver_asked(self->worker);
    return q;
}

void srv_query_free(struct srv_query *q)
{
    if (!q)
        return;
    if (q->ticket)
        q->ticket->query = NULL;
    dot_query_free(q->dot);
    cv_timer_clear(&q->soon);
    free(q);
}
