/* early.h: requests that the edge sends before it has sent any rules: they wait for them, for a while. */
#ifndef REQUEST_EARLY_H
#define REQUEST_EARLY_H
#include "request/state.h"

/* Nothing is known yet: the request stays at its first step until early_go(). */
bool early_waits(struct request *);
/* Rules have come. */
void early_go(struct cv_worker *, enum tunnel_id);
void early_teardown(struct cv_worker *);

#endif
