/* egress.c: which proxy of the environment an http or https origin is reached through: HTTP_PROXY, HTTPS_PROXY and
 * NO_PROXY (or lower case) as Go's HTTP client reads them. */
#include "egress.h"
#include "origin.h"

#include <openssl/crypto.h>
#include <stdlib.h>

enum { HTTP_PORT = 80, SOCKS_PORT = 1080 };

struct way { /* of one scheme */
    struct cv_proxy proxy;
    const char *refusal; /* why nothing may go this way; NULL: it may */
};

struct origin_egress {
    struct way http, https;
    struct cv_no_proxy *none;
};

/* What somebody meant to be a proxy is not passed by because we cannot use it. */
static void read_way(struct way *way, const char *url, const char *refusal)
{
    if (!url)
        return;
    if (!cv_proxy_parse(cv_str_of(url), &way->proxy))
        way->refusal = refusal;
    else if (way->proxy.port == 0)
        way->proxy.port = way->proxy.kind == CV_PROXY_SOCKS5 ? SOCKS_PORT : HTTP_PORT;
}

struct origin_egress *origin_egress_new(void)
{
    const char *http = cv_proxy_variable("HTTP_PROXY"), *https = cv_proxy_variable("HTTPS_PROXY");
    const char *cgi = getenv("REQUEST_METHOD");
    if (!http && !https)
        return NULL;
    struct origin_egress *e = cv_xcalloc(1, sizeof(*e));
    read_way(&e->http, http, "HTTP_PROXY is not of the form http://host:port or socks5://host:port");
    read_way(&e->https, https, "HTTPS_PROXY is not of the form http://host:port or socks5://host:port");
    if (http && cgi && *cgi) /* a visitor's header Proxy sets it there */
        e->http.refusal = "HTTP_PROXY is not used in a CGI environment (REQUEST_METHOD is set)";
    e->none = cv_no_proxy_new(cv_proxy_variable("NO_PROXY"));
    return e;
}

void origin_egress_free(struct origin_egress *e)
{
    if (!e)
        return;
    cv_no_proxy_free(e->none);
    OPENSSL_cleanse(e, sizeof(*e));
    free(e);
}

const struct cv_proxy *origin_egress_for(const struct origin_egress *e, const struct cv_target *target,
                                         const char **refusal)
{
    *refusal = NULL;
    if (!e)
        return NULL;
    const struct way *way = target->tls ? &e->https : &e->http;
    bool used = way->refusal || way->proxy.kind != CV_PROXY_NONE;
    if (!used || cv_no_proxy_holds(e->none, target->host, target->port))
        return NULL;
    *refusal = way->refusal;
    return way->refusal ? NULL : &way->proxy;
}

const struct cv_proxy *origin_via(const struct origin_worker *w, const struct cv_rule *rule,
                                  const char **refusal)
{
    const struct origin_conf *conf = w->self.conf;
    *refusal = NULL;
    if (rule->kind != CV_SERVICE_HTTP || conf->proxy == ORIGIN_PROXY_NONE)
        return NULL;
    return origin_egress_for(w->egress, &rule->target, refusal);
}
