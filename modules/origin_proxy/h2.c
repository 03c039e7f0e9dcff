/* h2.c: connections over HTTP/2: which exchange gets which, who waits for a dial, and how they end. */
#include "origin.h"

#include <errno.h>
#include <string.h>

static void on_late(struct cv_late *late);
static void on_idle(struct cv_timer *timer);

/* ---- lists ------------------------------------------------------------------------------------------- */

static void enter(struct origin_exchange *x, struct origin_exchanges *list)
{
    x->h2.in = list;
    TAILQ_INSERT_TAIL(list, x, h2.among);
}

static void quit(struct origin_exchange *x)
{
    if (x->h2.in)
        TAILQ_REMOVE(x->h2.in, x, h2.among);
    x->h2.in = NULL;
}

static bool is_of(const struct origin_h2 *c, struct cv_str key)
{
    return cv_str_eq((struct cv_str){ c->key, c->key_n }, key);
}

static struct origin_exchange *first_of(struct origin_exchanges *list, struct cv_str key)
{
    struct origin_exchange *x;
    TAILQ_FOREACH(x, list, h2.among)
    {
        if (cv_str_eq(x->key, key))
            return x;
    }
    return NULL;
}

/* ---- those who wait ---------------------------------------------------------------------------------- */

/* A dial is under way, or the connection that came of one has not spoken yet. */
static bool is_about_to_be(struct origin_worker *w, struct cv_str key)
{
    struct origin_h2 *c;
    LIST_FOREACH(c, &w->h2, all)
    {
        if (!c->greeted && !c->going && is_of(c, key))
            return true;
    }
    return first_of(&w->h2_leading, key) != NULL;
}

/* Each that goes on finds the new connection, or dials for itself; as soon as one dials for others, the rest
 * wait for that. */
static void wake(struct origin_worker *w, struct cv_str key, bool http1, enum cv_error error, const char *why)
{
    struct origin_exchange *x;
    while (!is_about_to_be(w, key) && (x = first_of(&w->h2_waiting, key))) {
        quit(x);
        x->h2.alone = http1;
        if (error)
            origin_exchange_fail(x, error, why);
        else
            origin_exchange_start(x);
    }
}

void origin_h2_greeted(struct origin_h2 *c)
{
    c->greeted = true;
    wake(c->w, (struct cv_str){ c->key, c->key_n }, false, CV_OK, NULL);
}

bool origin_h2_wait(struct origin_exchange *x)
{
    if (x->h2.alone || !is_about_to_be(x->w, x->key))
        return false;
    enter(x, &x->w->h2_waiting);
    return true;
}

void origin_h2_lead(struct origin_exchange *x)
{
    if (!x->h2.alone)
        enter(x, &x->w->h2_leading);
}

void origin_h2_led(struct origin_exchange *x, enum cv_error error, const char *why)
{
    if (x->h2.in == &x->w->h2_leading)
        quit(x);
    wake(x->w, x->key, !x->h2.conn && !x->over, error, why);
}

/* ---- the end of a connection ------------------------------------------------------------------------- */

static int64_t count_idling(struct origin_worker *w, struct cv_str key)
{
    struct origin_h2 *c;
    int64_t n = 0;
    LIST_FOREACH(c, &w->h2, all)
    {
        n += c->idling && is_of(c, key);
    }
    return n;
}

/* 0: for ever. */
static struct cv_ms may_idle(struct origin_h2 *c)
{
    bool surplus = count_idling(c->w, (struct cv_str){ c->key, c->key_n }) > c->idle_most;
    bool sooner = surplus && (c->idle_after.ms == 0 || c->idle_after.ms > ORIGIN_SURPLUS_MS);
    return sooner ? (struct cv_ms){ ORIGIN_SURPLUS_MS } : c->idle_after;
}

static void set_idling(struct origin_h2 *c, bool idling)
{
    if (c->idling == idling)
        return;
    c->idling = idling;
    origin_pool_count(c->w, idling ? 1 : -1);
    struct cv_ms limit = idling ? may_idle(c) : (struct cv_ms){ 0 };
    if (limit.ms > 0)
        cv_timer_set(&c->w->self, &c->idle, limit);
    else
        cv_timer_clear(&c->idle);
}

/* Never from within a callback of nghttp2. A connection that an earlier request left open may have been closed by
 * the origin in the very moment that it was chosen: whoever has heard nothing since did not reach it. */
static void end(struct origin_h2 *c, enum cv_error error, const char *why)
{
    struct origin_exchange *x;
    bool failed = !TAILQ_EMPTY(&c->streams);
    c->going = true;
    while ((x = TAILQ_FIRST(&c->streams))) {
        x->h2.gone = true;
        origin_exchange_lost(x, x->reused && x->h2.since == c->received, error, why);
    }
    wake(c->w, (struct cv_str){ c->key, c->key_n }, false, failed ? error : CV_OK, why);
    LIST_REMOVE(c, all);
    set_idling(c, false);
    cv_late_clear(&c->w->self, &c->flush);
    cv_buf_free(&c->out);
    origin_link_free(c->link);
    nghttp2_session_del(c->session);
    free(c);
}

static void fail_system(struct origin_h2 *c, const char *doing)
{
    struct cv_err err;
    cv_fail(&err, CV_E_IO, "%s: %m", doing);
    end(c, CV_E_IO, err.text);
}

/* ---- bytes ------------------------------------------------------------------------------------------- */

/* Nothing more will happen on it: nghttp2 has said its last word, or nobody wants it any more. */
static bool is_over(const struct origin_h2 *c)
{
    return (c->n_streams == 0 && (c->going || c->idle_most == 0)) || !nghttp2_session_want_read(c->session);
}

/* Frames gather, so that many small ones leave in one write. Bytes that a write was refused stay where they are:
 * TLS wants to see the same ones again. False: for now there is nothing to say. */
static bool fill(struct origin_h2 *c)
{
    const uint8_t *frame;
    ssize_t n = 0;
    if (c->out_sent < c->out.n)
        return true;
    c->out.n = c->out_sent = 0;
    while (c->out.n < ORIGIN_H2_OUT && (n = nghttp2_session_mem_send(c->session, &frame)) > 0)
        cv_buf_add(&c->out, frame, (size_t)n);
    c->mute = c->mute || n < 0;
    if (c->out.n == 0)
        cv_buf_free(&c->out); /* an idle connection holds no buffer */
    return c->out.n > 0;
}

static void on_late(struct cv_late *late)
{
    struct origin_h2 *c = CV_OWNER(late, struct origin_h2, flush);
    while (!c->mute && fill(c)) {
        struct iovec iov = { c->out.p + c->out_sent, c->out.n - c->out_sent };
        ssize_t sent = origin_link_write(c->link, &iov, 1);
        if (sent < 0 && errno == EAGAIN)
            return;
        c->mute = sent < 0; /* it may have answered before it closed: reading tells */
        c->out_sent += sent < 0 ? 0 : (size_t)sent;
    }
    c->going = c->going || c->mute;
    if (is_over(c))
        end(c, CV_E_PROTO, "the origin broke the rules of HTTP/2");
}

void origin_h2_flush(struct origin_h2 *c)
{
    cv_late(&c->w->self, &c->flush);
}

static void receive(struct origin_h2 *c)
{
    const struct origin_conf *conf = c->w->self.conf;
    size_t budget = conf->read_budget.n;
    do {
        struct iovec iov = { c->w->scratch, ORIGIN_SCRATCH };
        ssize_t n = origin_link_read(c->link, &iov, 1);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            fail_system(c, "read");
            return;
        }
        if (n == 0) {
            end(c, CV_E_IO, "the origin closed the connection");
            return;
        }
        c->received += (uint64_t)n;
        ssize_t used = nghttp2_session_mem_recv(c->session, iov.iov_base, (size_t)n);
        if (used < 0) {
            end(c, CV_E_PROTO, nghttp2_strerror((int)used));
            return;
        }
        budget -= (size_t)n < budget ? (size_t)n : budget;
    } while (budget > 0 || origin_link_pending(c->link));
    origin_h2_flush(c);
}

static void on_ready(struct origin_link *link, short what)
{
    struct origin_h2 *c = link->user;
    if (what & EV_WRITE)
        origin_h2_flush(c);
    if (what & EV_READ)
        receive(c);
}

static void on_idle(struct cv_timer *timer)
{
    struct origin_h2 *c = CV_OWNER(timer, struct origin_h2, idle);
    c->going = true;
    nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
    origin_h2_flush(c);
}

/* ---- streams ----------------------------------------------------------------------------------------- */

/* As the option h2c has it. */
static struct cv_str name_of(struct cv_req *req, const struct cv_target *target)
{
    if (target->unix_path.n)
        return target->unix_path;
    bool v6 = memchr(target->host.p, ':', target->host.n);
    return cv_print(req, v6 ? "[" CV_STR_FMT "]:%u" : CV_STR_FMT ":%u", CV_STR_ARG(target->host),
                    target->port);
}

/* WebSocket needs HTTP/1.1. */
void origin_h2_choose(struct origin_exchange *x)
{
    const struct cv_rule *rule = x->req->rule;
    const struct origin_conf *conf = x->w->self.conf;
    if (x->req->type != CV_HTTP)
        return;
    if (rule->target.tls) {
        x->h2.wanted = rule->settings.http2_origin;
        return;
    }
    struct cv_str where = conf->h2c.n ? name_of(x->req, &rule->target) : (struct cv_str){ 0 };
    for (size_t i = 0; i < conf->h2c.n && !x->h2.certain; i++)
        x->h2.certain = cv_str_caseeq(conf->h2c.v[i], where);
    x->h2.wanted = x->h2.certain;
}

bool origin_h2_agreed(const struct origin_exchange *x, const struct origin_link *link)
{
    const unsigned char *name = NULL;
    unsigned n = 0;
    if (!x->h2.wanted || x->h2.certain)
        return x->h2.certain;
    SSL_get0_alpn_selected(link->ssl, &name, &n);
    return n == 2 && memcmp(name, "h2", 2) == 0;
}

static bool take_stream(struct origin_exchange *x, struct origin_h2 *c)
{
    x->h2.conn = c;
    x->h2.since = c->received;
    if (origin_h2_request(x) != 0) {
        x->h2.conn = NULL;
        c->going = true; /* its stream ids are used up */
        return false;
    }
    enter(x, &c->streams);
    c->n_streams++;
    set_idling(c, false);
    origin_exchange_sent(x);
    origin_h2_flush(c);
    return true;
}

/* Windows are at most what the exchange's pipe holds: a reload may have changed how much that is. */
static bool has_room(struct origin_h2 *c, const struct origin_exchange *x)
{
    uint32_t most = nghttp2_session_get_remote_settings(c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return c->greeted && !c->going && c->n_streams < most && c->window <= cv_pipe_room(x->req->down);
}

bool origin_h2_join(struct origin_exchange *x)
{
    struct origin_h2 *c;
    LIST_FOREACH(c, &x->w->h2, all)
    {
        if (!is_of(c, x->key) || !has_room(c, x) || !take_stream(x, c))
            continue;
        x->reused = true;
        cv_add(x->w->series[ORIGIN_REUSED], 1);
        return true;
    }
    return false;
}

void origin_h2_adopt(struct origin_exchange *x, struct origin_link *link)
{
    const struct cv_settings *settings = &x->req->rule->settings;
    struct origin_h2 *c = cv_xcalloc(1, sizeof(*c) + x->key.n);
    size_t window = cv_pipe_room(x->req->down);
    c->w = x->w;
    c->link = link;
    c->window = window < INT32_MAX ? (uint32_t)window : INT32_MAX;
    c->flush.run = on_late;
    c->idle.fire = on_idle;
    c->idle_after = cv_seconds(settings->keep_alive_timeout);
    c->idle_most = origin_pool_most(settings);
    c->key_n = x->key.n;
    memcpy(c->key, x->key.p, x->key.n);
    TAILQ_INIT(&c->streams);
    c->session = origin_h2_session(c);
    LIST_INSERT_HEAD(&c->w->h2, c, all);
    origin_link_own(link, on_ready, c);
    origin_link_watch(link, true);
    quit(x);
    x->reused = false;
    if (take_stream(x, c))
        return;
    origin_exchange_fail(x, CV_E_PROTO, "the new HTTP/2 connection takes no request");
    origin_h2_flush(c); /* which ends it */
}

void origin_h2_leave(struct origin_exchange *x)
{
    struct origin_h2_stream *s = &x->h2;
    struct origin_h2 *c = s->conn;
    bool led = s->in == &x->w->h2_leading;
    quit(x);
    s->conn = NULL;
    if (led)
        origin_h2_led(x, CV_OK, NULL);
    if (!c)
        return;
    nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
    if (!s->gone)
        nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
    if (--c->n_streams == 0 && !c->going && c->idle_most > 0)
        set_idling(c, true);
    origin_h2_flush(c);
}

void origin_h2_free(struct origin_worker *w)
{
    for (struct origin_h2 *c = LIST_FIRST(&w->h2), *next; c; c = next) {
        next = LIST_NEXT(c, all);
        end(c, CV_E_CANCEL, "shutdown");
    }
}
