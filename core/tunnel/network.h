/* network.h: notices that the machine's network changed, or that it slept. Main thread. */
#ifndef CV_TUNNEL_NETWORK_H
#define CV_TUNNEL_NETWORK_H

#include "loop/loop.h"

enum network_news {
    NETWORK_CHANGED, /* addresses or routes; told once for a flurry of changes    */
    NETWORK_RESUMED  /* the machine slept: peers may have given us up long ago     */
};
struct network_watch;
typedef void network_fn(void *arg, enum network_news);
/* Where the kernel tells nothing of routes, only sleep is noticed. */
struct network_watch *network_watch_new(const struct cv_self *, network_fn *, void *arg);
void network_watch_free(struct network_watch *); /* NULL is fine */

/* Which of our addresses the kernel would use towards `to`; false: there is no way to it. */
bool network_source(const struct sockaddr_storage *to, struct sockaddr_storage *source);

#endif
