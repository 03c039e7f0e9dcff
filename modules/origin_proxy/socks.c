/* socks.c: what a SOCKS5 server hears and says (RFC 1928 §3 to §6). */
#include "socks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum { VERSION = 5, NO_AUTHENTICATION = 0, NO_METHOD = 0xff, CONNECT = 1, IPV4 = 1, NAME = 3, IPV6 = 4 };
enum { SUCCEEDED, GENERAL, DENIED, NO_NETWORK, UNREACHABLE, REFUSED, BAD_COMMAND = 7, BAD_ADDRESS };

static enum origin_socks_next refuse(struct origin_socks *s, uint8_t code)
{
    static const uint8_t nowhere[] = { VERSION, 0, 0, IPV4, 0, 0, 0, 0, 0, 0 };
    memcpy(s->reply, nowhere, sizeof(nowhere));
    s->reply[1] = code;
    s->reply_n = sizeof(nowhere);
    return ORIGIN_SOCKS_END;
}

static enum origin_socks_next greet(struct origin_socks *s, struct cv_buf *in)
{
    if (in->p[0] != VERSION)
        return ORIGIN_SOCKS_END;
    size_t n = in->n < 2 ? 2 : 2 + (size_t)in->p[1];
    if (in->n < n)
        return ORIGIN_SOCKS_MORE;
    bool usable = memchr(in->p + 2, NO_AUTHENTICATION, n - 2) != NULL;
    s->reply[0] = VERSION;
    s->reply[1] = usable ? NO_AUTHENTICATION : NO_METHOD;
    s->reply_n = 2;
    s->greeted = true;
    cv_buf_take_front(in, n);
    return usable ? ORIGIN_SOCKS_GO_ON : ORIGIN_SOCKS_END;
}

/* Bytes of the address, its length byte included; 0: no such type. */
static size_t address_length(const struct cv_buf *in)
{
    switch (in->p[3]) {
    case IPV4: return 4;
    case IPV6: return 16;
    case NAME: return 1 + (size_t)in->p[4];
    default: return 0;
    }
}

static bool take_address(struct origin_socks *s, const struct cv_buf *in, size_t n)
{
    const uint8_t *address = in->p + 4;
    s->port = (uint16_t)(address[n] << 8 | address[n + 1]);
    if (in->p[3] != NAME)
        return inet_ntop(in->p[3] == IPV4 ? AF_INET : AF_INET6, address, s->host, sizeof(s->host)) != NULL;
    memcpy(s->host, address + 1, n - 1);
    s->host[n - 1] = '\0';
    return n > 1 && strlen(s->host) == n - 1;
}

enum origin_socks_next origin_socks_read(struct origin_socks *s, struct cv_buf *in)
{
    enum { FIXED = 5 }; /* with the first byte of the address */
    s->reply_n = 0;
    if (in->n == 0)
        return ORIGIN_SOCKS_MORE;
    if (!s->greeted)
        return greet(s, in);
    if (in->p[0] != VERSION)
        return refuse(s, GENERAL);
    if (in->n < FIXED)
        return ORIGIN_SOCKS_MORE;
    size_t n = address_length(in);
    if (n == 0)
        return refuse(s, BAD_ADDRESS);
    if (in->n < 4 + n + 2)
        return ORIGIN_SOCKS_MORE;
    if (in->p[1] != CONNECT)
        return refuse(s, BAD_COMMAND);
    if (!take_address(s, in, n))
        return refuse(s, DENIED);
    cv_buf_take_front(in, 4 + n + 2);
    return ORIGIN_SOCKS_CONNECT;
}

static uint8_t code_of(enum cv_error error, int system_error)
{
    if (error == CV_E_DENIED || error == CV_E_RESOLVE)
        return DENIED;
    return system_error == ECONNREFUSED ? REFUSED : system_error == ENETUNREACH ? NO_NETWORK : UNREACHABLE;
}

void origin_socks_reply(struct origin_socks *s, enum cv_error error, int system_error,
                        const struct sockaddr_storage *local)
{
    refuse(s, error ? code_of(error, system_error) : SUCCEEDED);
    if (error || !local)
        return;
    if (local->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)local;
        s->reply[3] = IPV6;
        memcpy(s->reply + 4, &in6->sin6_addr, 16);
        memcpy(s->reply + 20, &in6->sin6_port, 2);
        s->reply_n = 22;
    } else if (local->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)local;
        memcpy(s->reply + 4, &in->sin_addr, 4);
        memcpy(s->reply + 8, &in->sin_port, 2);
    }
}
