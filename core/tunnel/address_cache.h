/* address_cache.h: the last known addresses of the edge, in a file: a line each, `REGION ADDRESS:PORT`. */
#ifndef CV_TUNNEL_ADDRESS_CACHE_H
#define CV_TUNNEL_ADDRESS_CACHE_H

#include "tunnel/supervisor.h"

enum { CACHE_ADDRS_MAX = 32 }; /* of a region */

/* Replaced as a whole; what goes wrong is logged. */
void address_cache_write(const char *file, const struct sup_region regions[EDGE_REGIONS]);
/* Lines that are no address are passed over. Returns how many were found, in either region. */
size_t address_cache_read(const char *file, struct sockaddr_storage addrs[EDGE_REGIONS][CACHE_ADDRS_MAX],
                          size_t n[EDGE_REGIONS]);

#endif
