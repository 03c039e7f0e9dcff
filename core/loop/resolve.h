/* resolve.h: the c-ares channel of a thread, for questions other than a name's addresses (cv_resolve answers
 * those). */
#ifndef RESOLVE_H
#define RESOLVE_H
#include "loop/loop.h"

#include <ares.h>

/* NULL when the system's resolver configuration could not be read: names cannot be asked for then.
 * Only on the worker's own thread. Answers come from its loop, or within the call itself. */
ares_channel resolver_channel(struct cv_worker *);
/* After every question put to the channel directly: it may have to wait for an answer. */
void resolver_asked(struct cv_worker *);
#endif
