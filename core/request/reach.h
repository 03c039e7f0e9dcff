/* reach.h: which targets this process lets itself be sent to: section [origins]. What a rule, a header or a SOCKS client
 * names is checked, and again every address that a name stands for: cv_may_reach() of culvert/route.h.
 *
 * Set by the main thread; read from any thread, for the length of a call. */
#ifndef REQUEST_REACH_H
#define REQUEST_REACH_H
#include "culvert/route.h"
#include "request/local.h"
#include "request/reason.h"

/* In force when it returns. NULL: anything but metadata services, as before the first call. The conf must outlive its use. */
void reach_setup(const struct origins_conf *);
/* Every thread has ended the call that it was in since: what was in force before goes. */
void reach_settle(void);
void reach_free(void);
/* For struct config_local. A name that no line names passes if addresses are allowed: it is decided by what it stands
 * for. Bastion and SOCKS have no target yet. */
bool reach_rule(void *unused, const struct cv_rule *, struct reason *);
#endif
