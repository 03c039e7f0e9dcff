/* socks.h: what a SOCKS5 server hears and says (RFC 1928): no authentication, CONNECT alone. */
#ifndef ORIGIN_SOCKS_H
#define ORIGIN_SOCKS_H
#include "culvert/culvert.h"
#include "culvert/mem.h"

enum { ORIGIN_SOCKS_REPLY_MAX = 22 };

struct origin_socks { /* {0} at the beginning */
    bool greeted;
    char host[256]; /* what CONNECT asks for: a name or an address, terminated */
    uint16_t port;
    uint8_t reply[ORIGIN_SOCKS_REPLY_MAX], reply_n; /* to be sent now */
};
enum origin_socks_next {
    ORIGIN_SOCKS_MORE,    /* bytes are missing; never more than 262 */
    ORIGIN_SOCKS_GO_ON,   /* call again once the reply is sent      */
    ORIGIN_SOCKS_CONNECT, /* host and port are there                */
    ORIGIN_SOCKS_END,     /* send the reply, if any, and close      */
};
/* Takes from the front of `in` what it understands. */
enum origin_socks_next origin_socks_read(struct origin_socks *, struct cv_buf *in);
/* Makes the reply to CONNECT: what came of it (with the errno, 0 if there is none), and our end of the connection if it
 * came to one (else NULL). */
void origin_socks_reply(struct origin_socks *, enum cv_error, int system_error,
                        const struct sockaddr_storage *local);

#endif
