/* addresses.h: the addresses of the edge: regions, families, who uses which (docs/protocol.md §5.3, §5.4). No clock, no
 * sockets. */
#ifndef CV_TUNNEL_ADDRESSES_H
#define CV_TUNNEL_ADDRESSES_H

#include "culvert/culvert.h"

#include <netinet/in.h>

enum { EDGE_REGIONS = 2 };

struct edge_addr {
    struct edge_addr *next; /* of its region, in the order of discovery */
    struct sockaddr_storage addr;
    unsigned region;
    unsigned users; /* connections that are on it, or mean to come back to it */
    bool stale;     /* no longer in the edge's list: gone with its last user  */
};
struct edge_region {
    struct edge_addr *first;
    int primary;             /* family of the first address; 0: the region is empty    */
    int active;              /* family that is handed out                              */
    int64_t secondary_until; /* the secondary family stays active so long              */
};
struct addresses {
    struct edge_region regions[EDGE_REGIONS];
    int only_family;                               /* AF_UNSPEC: both */
    uint32_t (*random)(void *arg, uint32_t below); /* below > 0 */
    void *random_arg;
};

/* As text, without the port; "" for no address. */
void address_ip(const struct sockaddr_storage *, char ip[INET6_ADDRSTRLEN]);
/* Addresses alone, ports do not count. */
bool address_same_ip(const struct sockaddr_storage *, const struct sockaddr_storage *);

/* {0} with `random` set is an empty one. */
void addresses_set(struct addresses *, unsigned region, const struct sockaddr_storage *, size_t n);
/* Addresses that could be in use at once. */
size_t addresses_count(const struct addresses *);
/* An unused one that is not `except` (may be NULL), counted as used; NULL: none is free. */
struct edge_addr *address_take(struct addresses *, const struct edge_addr *except);
/* One more user of an address in use already. */
struct edge_addr *address_share(struct edge_addr *);
/* `failed`: it is given back because it did not work, which may switch the family. */
void address_give_back(struct addresses *, struct edge_addr *, bool failed, int64_t now_ms);
void addresses_clear(struct addresses *); /* nobody uses any */

#endif
