/* path.c: what the kernel knows of the way to the edge. */
#include "h2.h"

#include <linux/tcp.h>

/* Through a proxy, all but the bytes tell of the way to the proxy. */
bool h2_path(const struct cv_self *self, const struct cv_conn *conn, struct cv_path *path)
{
    (void)self;
    const struct h2_conn *c = conn->edge;
    struct tcp_info info = { 0 };
    socklen_t size = sizeof(info);
    if (!c || getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return false;
    *path = (struct cv_path){ .rtt_us = c->proxy ? -1 : (int64_t)info.tcpi_rtt,
                              .min_rtt_us = info.tcpi_min_rtt,
                              .sent = info.tcpi_bytes_sent,
                              .received = info.tcpi_bytes_received,
                              .lost = info.tcpi_total_retrans,
                              .resent = info.tcpi_bytes_retrans,
                              .resets_sent = c->resets_sent,
                              .resets_received = c->resets_received };
    return true;
}
