/* quic.c: connections over QUIC; so far their port is not served. */
#include "edge_sim.h"

#include <unistd.h>

void quic_listen(int fd, const struct sockaddr_storage *local, socklen_t n, SSL_CTX *ctx)
{
    (void)local, (void)n, (void)ctx;
    close(fd);
}

void quic_unlisten(void)
{
}
