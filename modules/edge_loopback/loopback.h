/* loopback.h: an edge without Cloudflare: requests of a plain HTTP/1.1 listener enter the same chain. */
#ifndef LOOPBACK_H
#define LOOPBACK_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

struct loopback_worker { /* self->local */
    const struct cv_self *self;
    struct evconnlistener *listener;
    struct loopback_conn *conns;
};
struct loopback_slot {          /* in the request */
    struct loopback_conn *conn; /* NULL: the client has left */
};

/* http.c: one client's connection; it frees itself. */
void loopback_accept(struct loopback_worker *, int fd);
void loopback_free_all(struct loopback_worker *);
void loopback_head(const struct cv_self *, struct cv_req *);
void loopback_readable(const struct cv_self *, struct cv_req *);
void loopback_credit(const struct cv_self *, struct cv_req *, size_t n);
void loopback_closed(const struct cv_self *, struct cv_req *, enum cv_error);
#endif
