/* uid.c: the UID of the namespace kube-system, which is the nearest to a cluster's own: the API server tells it to a
 * service account that may get that namespace. */
#include "guard.h"

#include "culvert/wire.h"

#include <stdio.h>
#include <string.h>
#include <yyjson.h>

enum { ANSWER_MAX = 1 << 18, TOKEN_MAX = 16384, FRESH_MS = 30000 };

static void on_answer(void *arg, int status, struct cv_str body, const char *why)
{
    struct guard_uid *u = arg;
    yyjson_doc *doc = status == 200 ? yyjson_read(body.p ? body.p : "", body.n, 0) : NULL;
    const char *uid = yyjson_get_str(yyjson_doc_ptr_get(doc, "/metadata/uid"));
    u->get = NULL;
    u->answered_at = cv_now(u->self);
    u->found = (struct guard_found){ .text = "" };
    if (uid && *uid && strlen(uid) < sizeof(u->found.text))
        snprintf(u->found.text, sizeof(u->found.text), "%s", uid);
    else if (status == 401 || status == 403)
        cv_fail(&u->found.why, CV_E_DENIED,
                "the API server answers %d: the service account needs a ClusterRole to get the namespace "
                "kube-system",
                status);
    else if (status)
        cv_fail(&u->found.why, CV_E_PROTO, "the API server answers %d without a UID", status);
    else
        cv_fail(&u->found.why, CV_E_IO, "the API server cannot be asked: %s", why);
    yyjson_doc_free(doc);
    if (u->told)
        u->told(u);
}

static void write_url(const struct guard_conf *c, char *url, size_t size)
{
    static const char path[] = "/api/v1/namespaces/kube-system";
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    bool v6 = host && strchr(host, ':');
    if (*c->api)
        snprintf(url, size, "%s%s", c->api, path);
    else
        snprintf(url, size, "https://%s%s%s:%s%s", v6 ? "[" : "", host ? host : "kubernetes.default.svc",
                 v6 ? "]" : "", port ? port : "443", path);
}

void guard_uid_ask(struct guard_uid *u, const struct guard_conf *c)
{
    char url[512], token[TOKEN_MAX];
    if (u->get)
        return;
    write_url(c, url, sizeof(url));
    FILE *f = fopen(c->token_file, "re");
    size_t n = f ? fread(token, 1, sizeof(token), f) : 0;
    if (f)
        fclose(f);
    while (n > 0 && strchr(" \r\n", token[n - 1]))
        n--;
    struct cv_https order = { .url = url,
                              .ca_file = c->ca_file,
                              .bearer = { token, memchr(token, '\n', n) ? 0 : n },
                              .limit = c->api_limit,
                              .max = ANSWER_MAX };
    u->get = cv_https_get(u->self, &order, on_answer, u);
    explicit_bzero(token, sizeof(token));
}

bool guard_uid_fresh(const struct guard_uid *u)
{
    return u->answered_at && cv_now(u->self) - u->answered_at < FRESH_MS;
}

void guard_uid_stop(struct guard_uid *u)
{
    cv_https_cancel(u->get);
    u->get = NULL;
}
