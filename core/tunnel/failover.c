/* failover.c: when the second tunnel takes over, and when it goes back. */
#include "tunnel/failover.h"

#include <string.h>

enum { FIELDS = 8 }; /* of a line, at most */

const char *const tunnel_names[TUNNELS] = { "first", "second" };

bool failover_given(const struct failover_conf *conf)
{
    return conf->token.n > 0 || (conf->token_file && *conf->token_file);
}

void failover_begin(struct failover *f, int64_t now)
{
    *f = (struct failover){ .since = now };
}

/* A second that is connected already may serve at once, but not while the first only begins. */
static int64_t due(const struct failover *f, const struct failover_conf *conf)
{
    if (f->taken)
        return f->since + conf->back.ms;
    return f->since + (conf->mode == FAILOVER_HOT && f->ever_up ? 0 : conf->after.ms);
}

bool failover_look(struct failover *f, const struct failover_conf *conf, bool up, int64_t now)
{
    if (up != f->up)
        f->since = now;
    f->up = up;
    f->ever_up |= up;
    if (up != f->taken || now < due(f, conf))
        return false;
    f->taken = !f->taken;
    return true;
}

int64_t failover_next(const struct failover *f, const struct failover_conf *conf)
{
    return f->up == f->taken ? due(f, conf) : INT64_MAX;
}

bool failover_wants_second(const struct failover *f, const struct failover_conf *conf)
{
    return f->taken || conf->mode == FAILOVER_HOT;
}

bool failover_yields(const struct failover *f, const struct failover_conf *conf)
{
    return conf->mode == FAILOVER_HOT && !conf->overlap && !f->taken && f->up;
}

void log_tunnel(enum tunnel_id tunnel, enum cv_level level, const struct cv_fields *fields, const char *text)
{
    struct cv_field with[FIELDS];
    size_t n = fields ? fields->n : 0;
    if (tunnel == TUNNEL_FIRST || n >= FIELDS) {
        log_line(level, fields, "%s", text);
        return;
    }
    if (n)
        memcpy(with, fields->v, n * sizeof(*with));
    with[n++] = CV_S("tunnel", cv_str_of(tunnel_names[tunnel]));
    log_line(level, &(struct cv_fields){ with, n }, "%s", text);
}
