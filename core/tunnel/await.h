/* await.h: whether the services beside us answer yet: a sidecar is started before its application, and whoever registers
 * then gets visitors that nobody can serve. Main thread. */
#ifndef CV_TUNNEL_AWAIT_H
#define CV_TUNNEL_AWAIT_H

#include "culvert/culvert.h"

/* "host:port" or "unix:PATH": a connection is enough; "http://host[:port]/path": the answer is a 2xx or 3xx. */
enum cv_error await_check(struct cv_str target, struct cv_err *);

struct await;
/* answered: once, in a later turn, when each target has answered once. Targets have been checked. */
struct await *await_new(const struct cv_self *main, const struct cv_list *targets,
                        void (*answered)(void *arg), void *arg);
void await_free(struct await *); /* NULL is fine */
/* The first target that has not answered; NULL: all have. */
const char *await_missing(const struct await *);

#endif
