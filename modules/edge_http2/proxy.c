/* proxy.c: which proxy the edge is reached through. */
#include "h2.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { HTTP_PORT = 3128, SOCKS_PORT = 1080 };

bool h2_proxy_parse(struct cv_str url, struct cv_proxy *p)
{
    if (!cv_proxy_parse(url, p))
        return false;
    if (p->port == 0)
        p->port = p->kind == CV_PROXY_SOCKS5 ? SOCKS_PORT : HTTP_PORT;
    return true;
}

bool h2_proxy_exempt(const char *list, const struct sockaddr_storage *edge)
{
    char ip[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)edge;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)edge;
    bool six = edge->ss_family == AF_INET6;
    inet_ntop(edge->ss_family, six ? (const void *)&v6->sin6_addr : &v4->sin_addr, ip, sizeof(ip));
    struct cv_no_proxy *none = cv_no_proxy_new(list);
    bool exempt = cv_no_proxy_holds(none, cv_str_of(ip), ntohs(six ? v6->sin6_port : v4->sin_port));
    cv_no_proxy_free(none);
    return exempt;
}

enum cv_error h2_proxy_choose(const struct h2_conf *conf, const struct sockaddr_storage *edge,
                              struct cv_proxy *p, struct cv_err *err)
{
    bool from_env = strcmp(conf->proxy, "env") == 0;
    const char *url = from_env ? cv_proxy_variable("HTTPS_PROXY") : conf->proxy;
    *p = (struct cv_proxy){ .kind = CV_PROXY_NONE };
    if (!url || strcmp(url, "none") == 0 ||
        (from_env && h2_proxy_exempt(cv_proxy_variable("NO_PROXY"), edge)))
        return CV_OK;
    if (!h2_proxy_parse(cv_str_of(url), p))
        return cv_fail(err, CV_E_CONF, "%s is not a proxy of the form http://host:port or socks5://host:port",
                       from_env ? "HTTPS_PROXY" : "proxy of [edge_http2]");
    struct cv_str secret = cv_reveal(conf->proxy_credentials);
    if (secret.n && !from_env && !cv_str_copy(p->credentials, sizeof(p->credentials), secret))
        return cv_fail(err, CV_E_CONF, "proxy_credentials of [edge_http2] are too long");
    return CV_OK;
}
