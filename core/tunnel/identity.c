/* identity.c: who the tunnels are: their tokens, where these come from, and what becomes of a new one. */
#include <string.h>

#include "tunnel/token_file.h"
#include "tunnel/tunnel_state.h"

static enum cv_error token_invalid(struct cv_err *err)
{
    return cv_fail(err, CV_E_DENIED,
                   "Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'.");
}

static struct cv_secret token_of(const struct twin *t)
{
    return t == first ? conf()->token : tunnel.setup.failover->token;
}

static bool token_is_in_file(const struct twin *t)
{
    return token_of(t).n == 0;
}

static enum cv_error load_token(const struct twin *t, struct token *token, struct cv_err *err)
{
    enum cv_error e = token_is_in_file(t) ? token_file_read(t->token_file, token, err)
                                          : token_parse(token_of(t), token, err);
    if (e == CV_E_IO)
        return CV_E_DENIED;
    return e ? token_invalid(err) : CV_OK;
}

static struct credentials *new_credentials(struct token *token_take, unsigned generation)
{
    struct credentials_source from = { tunnel.client_id, &conf()->features, conf()->post_quantum,
                                       tunnel.local_json };
    return credentials_new(token_take, generation, &from);
}

enum cv_error identity_load(struct cv_err *err)
{
    struct token token = { 0 };
    enum cv_error e = load_token(first, &token, err);
    if (e)
        return e;
    first->credentials = new_credentials(&token, 0);
    if (conf()->region && *conf()->region && *first->credentials->token.endpoint)
        return cv_fail(err, CV_E_CONF, "region provided with a token that has an endpoint");
    return CV_OK;
}

void identity_load_second(void)
{
    struct token token = { 0 };
    tunnel.no_second = load_token(second, &token, &tunnel.second_error);
    if (!tunnel.no_second)
        second->credentials = new_credentials(&token, 0);
}

/* ---- a new one ------------------------------------------------------------------------------------------- */

/* What has proved itself is kept until the new one has; where several come in between, they never count. */
static void on_token(void *arg, struct token *take)
{
    struct twin *t = arg;
    struct credentials *before = t->credentials;
    if (before && token_same(take, &before->token)) {
        token_free(take);
        return;
    }
    log_tunnel(t->id, CV_INFO, NULL, "The token has changed, registering the connections with the new one");
    t->credentials = new_credentials(take, before ? before->generation + 1 : 0);
    if (supervisor_trial(t->supervisor)) {
        credentials_unref(before);
    } else {
        credentials_unref(t->old_credentials);
        t->old_credentials = before;
    }
    supervisor_token_changed(t->supervisor, clock_ms());
    tunnel_look();
}

enum cv_error tunnel_token_check(struct cv_secret text, struct cv_err *err)
{
    struct token token = { 0 };
    enum cv_error e = token_parse(text, &token, err);
    token_free(&token);
    return e;
}

/* A file is watched; what the ini points to is read again by a reload. */
void identity_follow(struct twin *t)
{
    struct token token = { 0 };
    struct cv_err err;
    if (!token_is_in_file(t) && token_parse(token_of(t), &token, &err) == CV_OK)
        on_token(t, &token);
}

/* There is one series. */
static struct cv_series *age_of(const struct twin *t)
{
    return t == first ? metric(M_CULVERT_TOKEN_TIME, NULL) : NULL;
}

void identity_watch(void)
{
    for (each_twin(t))
        if (token_is_in_file(t))
            t->token_watch = token_watch_new(tunnel.self, t->token_file, age_of(t), on_token, t);
}

/* ---- the log --------------------------------------------------------------------------------------------- */

static void log_second(void)
{
    char id[UUID_TEXT] = "";
    if (second->credentials)
        uuid_text(second->credentials->token.id, id);
    if (tunnel.no_second)
        log_line(CV_ERROR, NULL, "[failover]: the second tunnel cannot be used: %s",
                 tunnel.second_error.text);
    else if (memcmp(second->credentials->token.id, first->credentials->token.id, 16) == 0)
        log_line(CV_WARN, NULL, "[failover]: the second token is of the same tunnel as the first");
    else
        log_tunnel(TUNNEL_SECOND, CV_INFO, CV_FIELDS(CV_S("tunnelID", cv_str_of(id))),
                   tunnel.setup.failover->mode == FAILOVER_HOT
                       ? "Starting tunnel"
                       : "Standing by, in case the first tunnel is down");
}

void identity_log(void)
{
    char id[UUID_TEXT];
    uuid_text(first->credentials->token.id, id);
    log_line(CV_INFO, CV_FIELDS(CV_S("tunnelID", cv_str_of(id))), "Starting tunnel");
    if (tunnel.setup.settings)
        log_line(CV_INFO, NULL, "Settings: map[%s]", tunnel.setup.settings);
    log_line(CV_INFO, NULL, "Generated Connector ID: %s", tunnel.connector_id);
    log_line(CV_INFO, NULL, "Initial protocol %s", tunnel.edges[SUP_QUIC] ? "quic" : "http2");
    if (tunnel.has_second)
        log_second();
}
