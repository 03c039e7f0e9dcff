/* cluster_guard.c: the gate: no connection is made unless this is the cluster, and the tunnel, that the ini names. */
#include "guard.h"

#include "culvert/wire.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"

#define T struct guard_conf
static const struct cv_option options[] = {
    CV_OPT(T, ca_sha256, "", "What SHA-256 of ca_file must be, in hex, as sha256sum prints it."),
    CV_OPT(T, ca_file, SERVICE_ACCOUNT "ca.crt", "The cluster's CA, as it is mounted into every pod."),
    CV_OPT(
        T, cluster_uid, "",
        "What the UID of the namespace kube-system must be; the service account must be allowed to get it."),
    CV_OPT(T, api, "", "The API server, https://host:port. Empty: KUBERNETES_SERVICE_HOST and _PORT."),
    CV_OPT(T, api_limit, "5s", "Time limit of a question to the API server."),
    CV_OPT(T, issuer, "", "What the issuer (iss) of the service account's token must be."),
    CV_OPT(T, namespace, "", "What the namespace of the service account's token must be."),
    CV_OPT(T, token_file, SERVICE_ACCOUNT "token", "The service account's token."),
    CV_OPT(T, variable, "", "NAME=VALUE that the environment must hold."),
    CV_OPT(T, file, "", "A file that must hold file_value, blanks at its end left out."),
    CV_OPT(T, file_value, "", "What file must hold."),
    CV_OPT(T, tunnel_id, "", "The UUID of the only tunnel whose token is accepted."),
    CV_OPT(T, need, "all",
           "Whether all facts named here must agree, or any one of them. tunnel_id must in any case.",
           .words = "all|any"),
    CV_OPT(T, on_mismatch, "exit", "In the wrong cluster: exit with status 1, or wait unconnected.",
           .words = "exit|wait"),
    CV_OPT_END
};
#undef T

enum { METRIC_CHECKS };
static const struct cv_metric metrics[] = {
    [METRIC_CHECKS] = { "culvert_guard_checks_total",
                        "Dials by what the cluster guard said of them: admitted, mismatch, unknown.",
                        CV_COUNTER, "result", NULL },
    CV_METRIC_END
};

struct guard {
    struct guard_uid uid;
    char said[512]; /* the message given last: once is loud enough */
};

static enum cv_error check(const void *conf, struct cv_err *err)
{
    const struct guard_conf *c = conf;
    bool any = *c->tunnel_id != '\0';
    for (enum guard_fact f = 0; f < GUARD_FACTS; f++)
        any |= *guard_wanted(c, f) != '\0';
    if (!any)
        return cv_fail(err, CV_E_CONF,
                       "[cluster_guard] asks for nothing: culvert guard show prints what it can ask for");
    if (*c->ca_sha256 &&
        (strlen(c->ca_sha256) != 64 || c->ca_sha256[strspn(c->ca_sha256, "0123456789abcdefABCDEF")]))
        return cv_conf_fail(err, c, "ca_sha256", "is not 64 hexadecimal digits");
    if (*c->variable && (*c->variable == '=' || !strchr(c->variable, '=')))
        return cv_conf_fail(err, c, "variable", "is not NAME=VALUE");
    if (*c->file ? !*c->file_value : *c->file_value)
        return cv_conf_fail(err, c, "file", "file and file_value go together");
    char url[256];
    snprintf(url, sizeof(url), "%s/", c->api);
    if (*c->api && !cv_https_url(url))
        return cv_conf_fail(err, c, "api", "is not https://host:port");
    if (c->api_limit.ms < 100 || c->api_limit.ms > 60000)
        return cv_conf_fail(err, c, "api_limit", "must be from 100ms to 1m");
    return CV_OK;
}

/* ---- one look ---------------------------------------------------------------------------------------------- */

enum verdict { ADMITTED, MISMATCH, UNKNOWN };

static enum verdict look(const struct guard *g, const struct guard_conf *c, enum guard_fact fact,
                         struct cv_err *err)
{
    struct guard_found found;
    if (fact != GUARD_UID)
        guard_find(c, fact, &found);
    else if (guard_uid_fresh(&g->uid))
        found = g->uid.found;
    else
        cv_fail(&found.why, CV_E_IO, "the API server has not answered yet"), found.text[0] = '\0';
    if (guard_agrees(fact, guard_wanted(c, fact), found.text))
        return ADMITTED;
    if (*found.text)
        cv_fail(err, CV_E_DENIED, "%s is %.160s, and must be %.160s", guard_option(fact), found.text,
                guard_wanted(c, fact));
    else
        cv_fail(err, CV_E_DENIED, "%s cannot be told: %.300s", guard_option(fact), found.why.text);
    return *found.text ? MISMATCH : UNKNOWN;
}

/* With need = any, one that agrees is enough; otherwise the worst counts, and a mismatch is worse than not knowing. */
static enum verdict look_at_cluster(const struct guard *g, const struct guard_conf *c, struct cv_err *err)
{
    enum verdict worst = ADMITTED;
    bool agrees = false;
    for (enum guard_fact f = 0; f < GUARD_FACTS; f++) {
        struct cv_err why;
        if (!*guard_wanted(c, f))
            continue;
        enum verdict v = look(g, c, f, &why);
        agrees |= v == ADMITTED;
        if (v != ADMITTED && worst != MISMATCH) {
            worst = v;
            *err = why;
        }
    }
    return c->need == GUARD_ANY && agrees ? ADMITTED : worst;
}

static enum verdict look_at_all(const struct guard *g, const struct guard_conf *c, struct cv_err *err)
{
    struct cv_status status;
    cv_status(&status);
    if (*c->tunnel_id && strcasecmp(c->tunnel_id, status.tunnel_id) != 0) {
        cv_fail(err, CV_E_DENIED, "the token is of tunnel %s, and must be of %s", status.tunnel_id,
                c->tunnel_id);
        return MISMATCH;
    }
    return look_at_cluster(g, c, err);
}

/* ---- the gate ---------------------------------------------------------------------------------------------- */

static void say(const struct cv_self *self, enum verdict v, const char *text)
{
    static const char *const titles[] = { [MISMATCH] = "WRONG CLUSTER OR TUNNEL: no connection is made",
                                          [UNKNOWN] =
                                              "The cluster cannot be told yet: no connection is made" };
    struct guard *g = self->shared;
    cv_not_ready(self, v == ADMITTED ? NULL : text);
    if (v == ADMITTED || strcmp(g->said, text) == 0) {
        if (v == ADMITTED)
            g->said[0] = '\0';
        return;
    }
    snprintf(g->said, sizeof(g->said), "%s", text);
    cv_log(self, v == MISMATCH ? CV_ERROR : CV_WARN, CV_FIELDS(CV_S("error", cv_str_of(text))), "%s",
           titles[v]);
}

static enum cv_error admit(const struct cv_self *self, struct cv_err *err)
{
    static const char *const names[] = {
        [ADMITTED] = "admitted", [MISMATCH] = "mismatch", [UNKNOWN] = "unknown"
    };
    const struct guard_conf *c = self->conf;
    struct guard *g = self->shared;
    struct cv_err why = { "" };
    enum verdict v = look_at_all(g, c, &why);
    struct cv_str name = cv_str_of(names[v]);
    cv_add(cv_series(self, METRIC_CHECKS, &name), 1);
    say(self, v, why.text);
    if (*c->cluster_uid &&
        (!guard_uid_fresh(&g->uid) || !*g->uid.found.text)) /* by the next dial there is an answer */
        guard_uid_ask(&g->uid, c);
    if (v == ADMITTED)
        return CV_OK;
    return cv_fail(err, v == MISMATCH && c->on_mismatch == GUARD_EXIT ? CV_E_CONF : CV_E_DENIED,
                   "cluster_guard: %.400s", why.text);
}

/* What can be told without asking anybody is told before anything starts. */
static enum cv_error init(struct cv_self *self, struct cv_err *err)
{
    const struct guard_conf *c = self->conf;
    struct guard *g = cv_xcalloc(1, sizeof(*g));
    struct cv_err why;
    self->shared = g;
    g->uid.self = self;
    if (*c->cluster_uid)
        guard_uid_ask(&g->uid, c);
    enum verdict v = look_at_all(g, c, &why);
    if (v != MISMATCH || c->on_mismatch != GUARD_EXIT)
        return CV_OK;
    say(self, v, why.text);
    cv_not_ready(self, NULL);
    guard_uid_stop(&g->uid);
    free(g);
    self->shared = NULL;
    return cv_fail(err, CV_E_CONF, "cluster_guard: %.400s", why.text);
}

static void fini(struct cv_self *self)
{
    struct guard *g = self->shared;
    guard_uid_stop(&g->uid);
    cv_not_ready(self, NULL);
    free(g);
    self->shared = NULL;
}

CV_MODULE(cluster_guard,
          .summary = "No connection from the wrong cluster, or with the token of another tunnel.",
          .options = options, .conf_size = sizeof(struct guard_conf), .metrics = metrics, .check = check,
          .init = init, .fini = fini, .command = guard_command,
          .gate = &(const struct cv_gate_ops){ .admit = admit });
