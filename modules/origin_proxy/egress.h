/* egress.h: which proxy of the environment an http or https origin is reached through. Any thread.
 *
 * Source   docs/protocol.md §18.1; the rules are those of Go's http.ProxyFromEnvironment. */
#ifndef ORIGIN_EGRESS_H
#define ORIGIN_EGRESS_H
#include "culvert/proxy.h"
#include "culvert/route.h"

struct origin_egress;
/* As HTTP_PROXY, HTTPS_PROXY, NO_PROXY (or lower case) say now. NULL: they name no proxy. */
struct origin_egress *origin_egress_new(void);
void origin_egress_free(struct origin_egress *); /* wipes the credentials; NULL is fine */
/* The proxy for that target, with its port; NULL: the way is direct, or, when *refusal is set, barred. */
const struct cv_proxy *origin_egress_for(const struct origin_egress *, const struct cv_target *,
                                         const char **refusal);
#endif
