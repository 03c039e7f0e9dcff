/* alive.c: whether the edge still answers: PING when it has been quiet, the end when it stays so. TCP alone would notice
 * a path that is gone after many minutes, and a peer that hangs never. */
#include "h2.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

enum { LOOK_MS = 1000 };

/* Bytes that the edge's own kernel has not acknowledged. */
static bool path_is_stuck(const struct h2_conn *c)
{
    int waiting = 0;
    return ioctl(c->fd, SIOCOUTQ, &waiting) == 0 && waiting > 0;
}

/* An edge that never answered a PING may be one that answers none: then silence means nothing as long as its TCP still
 * acknowledges what we send. */
static bool is_dead(const struct h2_conn *c)
{
    return c->answers_pings || path_is_stuck(c);
}

static void on_look(struct cv_timer *timer)
{
    struct h2_conn *c = CV_OWNER(timer, struct h2_conn, alive);
    const struct h2_conf *conf = h2_conf(c);
    int64_t quiet = cv_now(c->self) - c->heard_at;
    if (c->state != H2_OPEN)
        return;
    if (conf->idle_timeout.ms && quiet >= conf->idle_timeout.ms && is_dead(c)) {
        h2_down(c, CV_E_TIMEOUT, "timeout: no recent network activity");
        return;
    }
    if (conf->keep_alive.ms && quiet >= conf->keep_alive.ms) {
        nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
        h2_flush_soon(c);
    }
    cv_timer_set(c->self, &c->alive, (struct cv_ms){ LOOK_MS });
}

void h2_alive_start(struct h2_conn *c)
{
    if (!h2_conf(c)->keep_alive.ms)
        return;
    c->alive.fire = on_look;
    c->heard_at = cv_now(c->self);
    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL); /* does it answer at all? */
    cv_timer_set(c->self, &c->alive, (struct cv_ms){ LOOK_MS });
}
