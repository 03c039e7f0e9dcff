/* operator.c: who may change something through the metrics server. */
#include "pages.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <string.h>

/* ---- from this machine --------------------------------------------------------------------------------- */

static const void *ip_of(const struct sockaddr_storage *a, size_t *n)
{
    if (a->ss_family == AF_INET) {
        *n = 4;
        return &((const struct sockaddr_in *)a)->sin_addr;
    }
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)a)->sin6_addr;
    bool mapped = IN6_IS_ADDR_V4MAPPED(v6);
    *n = mapped ? 4 : 16;
    return v6->s6_addr + (mapped ? 12 : 0);
}

static bool is_loopback(const uint8_t *ip, size_t n)
{
    return n == 4 ? ip[0] == 127 : memcmp(ip, &in6addr_loopback, n) == 0;
}

/* From a loopback address, or from the very address that it was sent to. */
static bool comes_from_here(struct evhttp_request *req)
{
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(evhttp_request_get_connection(req)));
    struct sockaddr_storage peer = { 0 }, local = { 0 };
    socklen_t peer_size = sizeof(peer), local_size = sizeof(local);
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) != 0 ||
        getsockname(fd, (struct sockaddr *)&local, &local_size) != 0)
        return false;
    size_t n, m;
    const void *from = ip_of(&peer, &n), *to = ip_of(&local, &m);
    return is_loopback(from, n) || (n == m && memcmp(from, to, n) == 0);
}

/* A browser on this machine may be led here by a foreign page. It says so in Origin; and a name that was bent to point
 * here stands in Host, where an operator has an address or localhost. */
static bool is_a_browser_led_astray(struct evhttp_request *req)
{
    const char *host = evhttp_request_get_host(req); /* without its port */
    uint8_t ip[16];
    char bare[INET6_ADDRSTRLEN] = "";
    if (evhttp_find_header(evhttp_request_get_input_headers(req), "Origin"))
        return true;
    size_t n = host ? strlen(host) : 0;
    bool bracketed = n > 2 && host[0] == '[' && host[n - 1] == ']';
    if (bracketed)
        cv_str_copy(bare, sizeof(bare), (struct cv_str){ host + 1, n - 2 });
    return !host || (evutil_ascii_strcasecmp(host, "localhost") != 0 && inet_pton(AF_INET, host, ip) != 1 &&
                     inet_pton(AF_INET6, bracketed ? bare : host, ip) != 1);
}

/* ---- the token ----------------------------------------------------------------------------------------- */

static bool shows_token(const struct cv_self *self, struct evhttp_request *req)
{
    static const char scheme[] = "Bearer ";
    const struct prom_conf *conf = self->conf;
    const char *shown = evhttp_find_header(evhttp_request_get_input_headers(req), "Authorization");
    struct cv_str token = cv_reveal(conf->token);
    if (token.n == 0 || !shown || evutil_ascii_strncasecmp(shown, scheme, sizeof(scheme) - 1) != 0)
        return false;
    shown += sizeof(scheme) - 1;
    return strlen(shown) == token.n && CRYPTO_memcmp(shown, token.p, token.n) == 0;
}

bool operator_asks(const struct cv_self *self, struct evhttp_request *req)
{
    if (shows_token(self, req))
        return true;
    if (!comes_from_here(req)) {
        evhttp_add_header(evhttp_request_get_output_headers(req), "WWW-Authenticate", "Bearer");
        page_text(req, 401, "From elsewhere this needs the token of [metrics_prom].\n");
        return false;
    }
    if (is_a_browser_led_astray(req)) {
        page_text(req, 403, "Not with an Origin, nor with a Host other than localhost or an address.\n");
        return false;
    }
    return true;
}
