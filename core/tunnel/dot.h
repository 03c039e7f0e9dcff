/* dot.h: one question by DNS over TLS (RFC 7858). Main thread. */
#ifndef CV_TUNNEL_DOT_H
#define CV_TUNNEL_DOT_H

#include "loop/loop.h"

struct dot_server {
    const char *ip; /* IPv4 */
    uint16_t port;
    const char *name;   /* in its certificate */
    const char *cacert; /* NULL: the system's roots */
    struct cv_ms timeout;
};
extern const struct dot_server dot_cloudflare;

struct dot_query;
/* The whole message, or NULL and why not. */
typedef void dot_done_fn(void *arg, const uint8_t *message, size_t n, const char *why);
/* done comes in a later turn, once, never after free. type: of the record. server and name are borrowed. */
struct dot_query *dot_query_new(const struct cv_self *, const struct dot_server *, const char *name, int type,
                                dot_done_fn *, void *arg);
void dot_query_free(struct dot_query *); /* NULL is fine */

#endif
