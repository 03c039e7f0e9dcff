/* discover.h: where the edge is: addresses from a list or from DNS, looked up until there are some, and again later
 * (docs/protocol.md §5.1, §5.2). Main thread. */
#ifndef CV_TUNNEL_DISCOVER_H
#define CV_TUNNEL_DISCOVER_H

#include "tunnel/dot.h"
#include "tunnel/supervisor.h"
#include "tunnel/tunnel.h"

struct discovery;
/* Called for every list that is found, in a later turn. Borrowed for the call. */
typedef void discovered_fn(void *arg, const struct sup_region regions[EDGE_REGIONS]);

/* region: "" or as in --region. fallback: asked by DNS over TLS. Failures are logged and tried again for ever. conf and
 * fallback are borrowed. */
struct discovery *discovery_new(const struct cv_self *main, const struct tunnel_conf *conf,
                                const char *region, const struct dot_server *fallback, discovered_fn *,
                                void *arg);
void discovery_free(struct discovery *); /* NULL is fine */

/* "host:port" or "[v6]:port" → its parts, borrowed. */
bool discovery_split(struct cv_str text, struct cv_str *host, uint16_t *port);

#endif
