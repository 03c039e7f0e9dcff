/* access_headers.c: the filter: what is asked of a request, in which order, and what becomes of it. */
#include "access.h"

#include "culvert/wire.h"

#include <string.h>
#include <time.h>

#define T struct access_conf
static const struct cv_option options[] = {
    CV_OPT(T, hosts, "", "Hosts that this section is about, *.example.com too. Empty: all.",
           .flags = CV_LIVE),
    CV_OPT(T, paths, "", "Path prefixes that this section is about: /v1 is /v1 and all below. Empty: all.",
           .flags = CV_LIVE),
    CV_OPT(T, assertion, "off", "Whether Cf-Access-Jwt-Assertion is verified, and whether it must be there.",
           .words = "off|if_present|required"),
    CV_OPT(T, team, "", "The Access team: NAME of https://NAME.cloudflareaccess.com. Needed for assertions."),
    CV_OPT(T, fedramp, "no", "The team is one of https://NAME.fed.cloudflareaccess.com."),
    CV_OPT(T, audience, "", "AUD tags of the Access applications; an assertion must be for one of them.",
           .flags = CV_LIVE),
    CV_OPT(T, es256, "no", "Accept ES256 beside RS256.", .flags = CV_LIVE),
    CV_OPT(T, skew, "30s", "How far clocks may differ when an assertion's times are checked.",
           .flags = CV_LIVE),
    CV_OPT(T, service_tokens, "",
           "Client ids (HEX.access) that may pass: the assertion's common_name, or CF-Access-Client-Id when "
           "assertion = off. Empty: any.",
           .flags = CV_LIVE),
    CV_OPT(T, bearer, "off", "API key: off, present (well formed) or known (its hash is in bearer_keys).",
           .words = "off|present|known"),
    CV_OPT(T, bearer_keys, "",
           "File of hashes, one sha256:HEX a line as culvert hash-key makes them; read again on change."),
    CV_OPT(T, x_api_key, "yes",
           "Under /v1/messages the key may stand in x-api-key, as Anthropic's clients send it.",
           .flags = CV_LIVE),
    CV_OPT(T, bypass, "",
           "Networks (CIDR) of visitors, by Cf-Connecting-Ip, that need no assertion and no service token.",
           .flags = CV_LIVE),
    CV_OPT(T, bypass_bearer, "no", "They need no API key either.", .flags = CV_LIVE),
    CV_OPT(T, strip_client, "yes", "CF-Access-Client-Id and CF-Access-Client-Secret never reach the origin.",
           .flags = CV_LIVE),
    CV_OPT(T, strip_assertion, "no", "Cf-Access-Jwt-Assertion never reaches the origin.", .flags = CV_LIVE),
    CV_OPT(T, rule_access, "yes",
           "Enforce the originRequest.access of rules from the dashboard, whatever hosts and paths say.",
           .flags = CV_LIVE),
    CV_OPT(T, exact, "no",
           "Answer for rules exactly as cloudflared: 403 without a body, 502 for a broken assertion.",
           .flags = CV_LIVE),
    CV_OPT(T, keys_file, "",
           "JWKS file with the team's keys (of any team if team is empty) instead of fetching them; read "
           "again on change."),
    CV_OPT(T, certs_url, "",
           "Where the keys of the team (of any team if team is empty) are fetched. Empty: Cloudflare."),
    CV_OPT(T, certs_ca, "", "PEM file of the only roots trusted for certs_url. Empty: the system's."),
    CV_OPT(T, refresh, "1h", "How often keys are fetched anew."),
    CV_OPT(T, stale, "24h", "How long keys serve on while they cannot be fetched."),
    CV_OPT(T, refetch, "1m", "At most one fetch in this time for tokens of an unknown key."),
    CV_OPT(T, fetch_limit, "5s", "Time limit of a fetch; requests that need its keys wait for it."),
    CV_OPT_END
};
#undef T

static const struct cv_metric metrics[] = {
    [ACCESS_METRIC_REQUESTS] = { "culvert_access_requests_total",
                                 "Requests by what the Access checks made of them.", CV_COUNTER, "result",
                                 NULL },
    [ACCESS_METRIC_FETCHES] = { "culvert_access_key_fetches_total", "Fetches of Access keys by their end.",
                                CV_COUNTER, "result", NULL },
    [ACCESS_METRIC_KEYS] = { "culvert_access_keys", "Keys in use, by Access team.", CV_GAUGE, "team", NULL },
    CV_METRIC_END
};

/* ---- rules between options --------------------------------------------------------------------------------- */

static enum cv_error check_assertion_options(const struct access_conf *c, struct cv_err *err)
{
    char issuer[ACCESS_ISSUER_MAX];
    if (*c->team && access_issuer(cv_str_of(c->team), c->fedramp, issuer).n == 0)
        return cv_conf_fail(err, c, "team", "is not the name before .cloudflareaccess.com");
    if (c->assertion != ACCESS_OFF && !*c->team)
        return cv_conf_fail(err, c, "assertion", "needs a team");
    if (c->assertion != ACCESS_OFF && c->audience.n == 0)
        return cv_conf_fail(err, c, "assertion",
                            "needs an audience: without one every application's assertion would do");
    if (*c->certs_url && !cv_https_url(c->certs_url))
        return cv_conf_fail(err, c, "certs_url", "is not an https:// address");
    if (c->skew.ms < 0 || c->skew.ms > 600000)
        return cv_conf_fail(err, c, "skew", "must be from 0 to 10m");
    if (c->refresh.ms < 1000 || c->refetch.ms < 0 || c->stale.ms < 0)
        return cv_conf_fail(err, c, "refresh", "must be 1s or longer, refetch and stale not negative");
    if (c->fetch_limit.ms < 100 || c->fetch_limit.ms > 60000)
        return cv_conf_fail(err, c, "fetch_limit", "must be from 100ms to 1m");
    return CV_OK;
}

static enum cv_error check(const void *conf, struct cv_err *err)
{
    const struct access_conf *c = conf;
    struct access_net net;
    if (c->bearer == ACCESS_BEARER_KNOWN && !*c->bearer_keys)
        return cv_conf_fail(err, c, "bearer", "known needs bearer_keys");
    for (size_t i = 0; i < c->bypass.n; i++)
        if (!access_net_read(c->bypass.v[i], &net))
            return cv_conf_fail(err, c, "bypass",
                                "\"" CV_STR_FMT "\" is not a network such as 10.0.0.0/8 or 2001:db8::/32",
                                CV_STR_ARG(c->bypass.v[i]));
    for (size_t i = 0; i < c->paths.n; i++)
        if (c->paths.v[i].n == 0 || c->paths.v[i].p[0] != '/')
            return cv_conf_fail(err, c, "paths", "each begins with /");
    for (size_t i = 0; i < c->hosts.n; i++)
        if (c->hosts.v[i].n == 0 || memchr(c->hosts.v[i].p, '/', c->hosts.v[i].n) ||
            memchr(c->hosts.v[i].p, ':', c->hosts.v[i].n))
            return cv_conf_fail(err, c, "hosts", "each is a name, without scheme and port");
    return check_assertion_options(c, err);
}

/* ---- what a request shows ---------------------------------------------------------------------------------- */

struct seen {
    struct cv_str assertion, client_id, ip;
    unsigned n_assertion, n_client_id, n_ip;
    bool disguised; /* a Cf-Access-… name in a spelling that some origins read as the same */
    struct access_shown shown;
};

/* Names as origins may read them: blanks around do not count, _ is -. */
static bool reads_as(struct cv_str name, struct cv_str wanted)
{
    while (name.n > wanted.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
        name.n--;
    while (name.n > wanted.n && (name.p[0] == ' ' || name.p[0] == '\t'))
        name.p++, name.n--;
    if (name.n != wanted.n)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i] == '_' ? '-' : name.p[i];
        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != wanted.p[i])
            return false;
    }
    return true;
}

static void note(struct seen *s, struct cv_str name, struct cv_str value)
{
    const struct {
        struct cv_str name, *value;
        unsigned *n;
        bool ours;
    } known[] = { { CV_STR("cf-access-jwt-assertion"), &s->assertion, &s->n_assertion, true },
                  { CV_STR("cf-access-client-id"), &s->client_id, &s->n_client_id, true },
                  { CV_STR("cf-connecting-ip"), &s->ip, &s->n_ip, true },
                  { CV_STR("authorization"), &s->shown.authorization, &s->shown.n_authorization, false },
                  { CV_STR("x-api-key"), &s->shown.api_key, &s->shown.n_api_key, false } };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (name.n < known[i].name.n || !reads_as(name, known[i].name))
            continue;
        s->disguised |= known[i].ours && !cv_str_caseeq(name, known[i].name);
        *known[i].value = value;
        ++*known[i].n;
        return;
    }
}

static struct seen look(const struct cv_req *req)
{
    struct seen s = { .n_ip = 0 };
    struct cv_str name, value;
    for (size_t i = 0; cv_header_at(req->headers, i, &name, &value); i++)
        note(&s, name, value);
    return s;
}

/* ---- the checks -------------------------------------------------------------------------------------------- */

struct slot {
    struct access_waiter waiter;
    struct access_view *view; /* that it waits for, or has waited for last */
    unsigned waited;          /* RULE, OWN: once each */
    bool by_rule;             /* the rule's access decided */
};
enum { RULE = 1, OWN = 2 };

static enum access_verdict verify(struct access_worker *w, struct cv_req *req, const struct seen *seen,
                                  unsigned who, struct cv_str team, bool fed, struct access_check *check,
                                  struct cv_str *client)
{
    struct slot *slot = cv_slot(req, w->self);
    char issuer[ACCESS_ISSUER_MAX];
    struct access_view *view = access_view_of(w, team, fed);
    if (seen->n_assertion > 1 || (seen->disguised && seen->n_assertion > 0))
        return ACCESS_MALFORMED;
    check->issuer = access_issuer(team, fed, issuer);
    if (!view || check->issuer.n == 0)
        return ACCESS_NO_KEYS;
    enum access_verdict v = access_verify(w->cache, view->keys, check, seen->assertion, time(NULL), client);
    if ((v != ACCESS_NO_KEYS && v != ACCESS_KEY) || (slot->waited & who) ||
        !access_wait(w, view, &slot->waiter, req))
        return v;
    slot->waited |= who;
    slot->view = view;
    return ACCESS_WAIT;
}

/* docs/protocol.md §19 */
static enum access_verdict check_rule(struct access_worker *w, struct cv_req *req, const struct seen *seen)
{
    const struct cv_access *a = &req->rule->settings.access;
    struct access_check check = { .audience = a->aud_tag, .nbf_leeway = 300 };
    struct cv_str client;
    return verify(w, req, seen, RULE, a->team_name, cv_str_eq(a->environment, CV_STR("fed")), &check,
                  &client);
}

static enum access_verdict check_client(const struct access_conf *c, struct cv_str client)
{
    for (size_t i = 0; i < c->service_tokens.n; i++)
        if (cv_str_eq(c->service_tokens.v[i], client))
            return ACCESS_PASS;
    return c->service_tokens.n == 0 ? ACCESS_PASS : ACCESS_CLIENT;
}

static enum access_verdict check_assertion(struct access_worker *w, struct cv_req *req,
                                           const struct seen *seen)
{
    const struct access_conf *c = w->self->conf;
    struct cv_str client = { "", 0 };
    if (c->assertion == ACCESS_OFF && seen->n_client_id == 1 && !seen->disguised)
        client = seen->client_id;
    if (c->assertion == ACCESS_REQUIRED || (c->assertion == ACCESS_IF_PRESENT && seen->n_assertion > 0)) {
        struct access_check check = { .audience = c->audience,
                                      .es256 = c->es256,
                                      .strict = true,
                                      .exp_leeway = c->skew.ms / 1000,
                                      .nbf_leeway = c->skew.ms / 1000 };
        enum access_verdict v = verify(w, req, seen, OWN, cv_str_of(c->team), c->fedramp, &check, &client);
        if (v)
            return v;
    }
    return check_client(c, client);
}

/* ACCESS_PASS and ACCESS_BYPASS let it on, ACCESS_WAIT: access_resume() will ask again. */
static enum access_verdict decide(struct access_worker *w, struct cv_req *req, const struct seen *seen)
{
    const struct access_conf *c = w->self->conf;
    struct slot *slot = cv_slot(req, w->self);
    enum access_verdict v = ACCESS_PASS;
    slot->by_rule = c->rule_access && req->rule && req->rule->access_required;
    if (slot->by_rule)
        v = check_rule(w, req, seen);
    if (v)
        return v;
    slot->by_rule = false;
    if (!cv_in_scope(req, c->hosts, c->paths))
        return ACCESS_PASS;
    bool bypass = seen->n_ip == 1 && !seen->disguised && access_nets_hold(w->bypass, w->n_bypass, seen->ip);
    v = bypass ? ACCESS_PASS : check_assertion(w, req, seen);
    if (!v && c->bearer != ACCESS_BEARER_OFF && !(bypass && c->bypass_bearer))
        v = access_bearer(&seen->shown, c->x_api_key && access_anthropic_path(req->path),
                          c->bearer == ACCESS_BEARER_KNOWN ? w->hashes : NULL);
    return v ? v : bypass ? ACCESS_BYPASS : ACCESS_PASS;
}

/* ---- what becomes of it ------------------------------------------------------------------------------------ */

static void strip_names(struct cv_req *req, struct cv_str wanted)
{
    struct cv_str name, value;
    for (size_t i = 0; cv_header_at(req->headers, i, &name, &value);)
        if (name.n >= wanted.n && reads_as(name, wanted))
            cv_header_del(req->headers, name);
        else
            i++;
}

static void strip(const struct access_conf *c, struct cv_req *req)
{
    if (c->strip_client) {
        strip_names(req, CV_STR("cf-access-client-id"));
        strip_names(req, CV_STR("cf-access-client-secret"));
    }
    if (c->strip_assertion)
        strip_names(req, CV_STR("cf-access-jwt-assertion"));
}

/* One line a second is enough to see that something is tried, and too little to fill a disk. */
static void log_refusal(struct access_worker *w, const struct cv_req *req, enum access_verdict v)
{
    int64_t now = cv_now(w->self);
    if (now < w->log_after) {
        w->log_left_out++;
        return;
    }
    cv_log(w->self, CV_WARN,
           CV_FIELDS(CV_S("reason", cv_str_of(access_verdict_name(v))),
                     CV_S("cfRay", cv_header(req->headers, CV_STR("cf-ray"))),
                     CV_I("ingressRule", req->rule ? req->rule->index : -1),
                     CV_I("leftOut", w->log_left_out)),
           "Request refused by access_headers");
    w->log_after = now + 1000;
    w->log_left_out = 0;
}

static void refuse(struct access_worker *w, struct cv_req *req, const struct seen *seen,
                   enum access_verdict v)
{
    const struct access_conf *c = w->self->conf;
    const struct slot *slot = cv_slot(req, w->self);
    bool shown = seen->shown.n_authorization + seen->shown.n_api_key > 0;
    log_refusal(w, req, v);
    if (!slot->by_rule || !c->exact)
        access_answer(req, v, shown);
    else if (v == ACCESS_MISSING || v == ACCESS_AUDIENCE)
        cv_req_reply(req, 403, (struct cv_str){ NULL, 0 });
    else
        cv_req_fail(req, CV_E_PROTO, "error while processing middleware handler AccessJWTValidator: %s",
                    access_verdict_name(v));
}

static enum cv_next finish(struct access_worker *w, struct cv_req *req)
{
    struct seen seen = look(req);
    enum access_verdict v = decide(w, req, &seen);
    if (v == ACCESS_WAIT)
        return CV_WAIT;
    cv_add(w->results[v], 1);
    if (v == ACCESS_PASS || v == ACCESS_BYPASS) {
        strip(w->self->conf, req);
        return CV_PASS;
    }
    refuse(w, req, &seen, v);
    return CV_STOP;
}

static enum cv_next request(const struct cv_self *self, struct cv_req *req)
{
    return req->type == CV_TCP ? CV_PASS
                               : finish(self->local, req); /* private-network streams have no headers */
}

void access_resume(const struct cv_self *self, struct cv_req *req)
{
    if (finish(self->local, req) == CV_PASS)
        cv_req_resume(req);
}

static void closed(const struct cv_self *self, struct cv_req *req, enum cv_error why)
{
    struct slot *slot = cv_slot(req, self);
    (void)why;
    if (slot->view)
        access_wait_over(self->local, slot->view, &slot->waiter);
}

/* ---- threads ----------------------------------------------------------------------------------------------- */

static void read_bypass(struct access_worker *w)
{
    const struct access_conf *c = w->self->conf;
    free(w->bypass);
    w->bypass = cv_xcalloc(c->bypass.n, sizeof(*w->bypass));
    for (w->n_bypass = 0; w->n_bypass < c->bypass.n; w->n_bypass++)
        CV_ASSERT(access_net_read(c->bypass.v[w->n_bypass], &w->bypass[w->n_bypass]));
}

static enum cv_error start(struct cv_self *self, struct cv_err *err)
{
    struct access_worker *w = cv_xcalloc(1, sizeof(*w));
    (void)err;
    w->self = self;
    w->cache = access_cache_new();
    for (enum access_verdict v = 0; v < ACCESS_WAIT; v++) {
        struct cv_str name = cv_str_of(access_verdict_name(v));
        w->results[v] = cv_series(self, ACCESS_METRIC_REQUESTS, &name);
    }
    self->local = w;
    read_bypass(w);
    access_views_start(w);
    return CV_OK;
}

static void reload(struct cv_self *self, const void *old_conf)
{
    (void)old_conf;
    if (self->local) /* the main thread has nothing that depends on live options */
        read_bypass(self->local);
}

static void stop(struct cv_self *self)
{
    struct access_worker *w = self->local;
    self->local = NULL;
    access_views_stop(w);
    access_cache_free(w->cache);
    free(w->bypass);
    free(w);
}

CV_MODULE(access_headers,
          .summary = "Access assertions, service tokens and API keys, checked before the origin is reached.",
          .options = options, .conf_size = sizeof(struct access_conf), .metrics = metrics,
          .slot_size = sizeof(struct slot), .check = check, .init = access_sources_init, .start = start,
          .reload = reload, .stop = stop, .fini = access_sources_fini, .command = access_hash_key,
          .filter = &(const struct cv_filter_ops){
              .request = request, .closed = closed, .enforces_access = true });
