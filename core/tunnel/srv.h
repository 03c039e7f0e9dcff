/* srv.h: SRV records: asked for by DNS, and over TLS where that fails (docs/protocol.md §5.1). Main thread. */
#ifndef CV_TUNNEL_SRV_H
#define CV_TUNNEL_SRV_H

#include "tunnel/dot.h"

enum { SRV_TARGETS_MAX = 16, SRV_NAME_MAX = 256 };

struct srv_target {
    char host[SRV_NAME_MAX];
    uint16_t port, priority, weight;
};
struct srv_answer {
    struct srv_target targets[SRV_TARGETS_MAX]; /* in the order to be used in (RFC 2782) */
    size_t n;
};

struct srv_query;
/* answer is NULL when neither way led to one; why says how each failed. */
typedef void srv_done_fn(void *arg, const struct srv_answer *, const char *why);
/* done comes in a later turn, once. fallback: who is asked over TLS. name and fallback are borrowed. */
struct srv_query *srv_query_new(const struct cv_self *, const char *name, const struct dot_server *fallback,
                                srv_done_fn *, void *arg);
void srv_query_free(struct srv_query *); /* also before done; NULL is fine */

/* A DNS message. False: no SRV record in it, or broken. */
bool srv_parse(const uint8_t *message, size_t n, struct srv_answer *);
/* By priority; by weight at random within one. */
void srv_order(struct srv_answer *, uint32_t (*random)(void *arg, uint32_t below), void *arg);

#endif
