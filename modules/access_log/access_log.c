/* access_log.c: an observer that writes a line for each request that has ended; off unless the ini has its section. */
#include "access_log.h"

#include <string.h>

static const struct cv_option options[] = {
    CV_OPT(struct access_log_conf, to, "stderr",
           "Where the lines go: stderr, stdout, or a file. A file that was moved away is made anew."),
    CV_OPT(struct access_log_conf, sample, "1", "One of so many requests gets a line.", .flags = CV_LIVE,
           .min = 1, .max = 1000000),
    CV_OPT(struct access_log_conf, errors, "yes",
           "Every request that failed, or was answered with a status from 500 on, gets a line.",
           .flags = CV_LIVE),
    CV_OPT(struct access_log_conf, buffer, "1M",
           "Lines that wait for a slow disk or reader; further ones are dropped and counted."),
    CV_OPT_END
};

enum { LINES, DROPPED };
static const struct cv_metric metrics[] = {
    [LINES] = { "culvert_access_log_lines_total", "Lines of the access log.", CV_COUNTER, NULL, NULL },
    [DROPPED] = { "culvert_access_log_dropped_total",
                  "Lines of the access log that were lost: the buffer was full (full), or they could not be "
                  "written (write: times, not lines).",
                  CV_COUNTER, "reason", NULL },
    CV_METRIC_END
};

static enum cv_error check(const void *conf, struct cv_err *err)
{
    const struct access_log_conf *c = conf;
    if (c->buffer.n < 16 * 1024 || c->buffer.n > 1 << 30)
        return cv_conf_fail(err, conf, "buffer", "must be between 16k and 1G");
    if (*c->to != '/' && strcmp(c->to, "stderr") != 0 && strcmp(c->to, "stdout") != 0)
        return cv_conf_fail(err, conf, "to", "want stderr, stdout or a path that begins with /");
    return CV_OK;
}

/* ---- one worker ---------------------------------------------------------------------------------------- */

/* What one turn of the loop produced goes to the writer as a whole. */
struct turn {
    const struct cv_self *self;
    struct cv_late late;
    struct cv_buf lines;
    int n;
    int since; /* requests since the last that was taken as the sample */
    struct cv_series *written, *full, *failed;
};

static void hand_over(struct turn *t)
{
    struct access_log_writer *writer = t->self->shared;
    if (t->n == 0)
        return;
    cv_add(access_log_writer_take(writer, t->lines.p, t->lines.n) ? t->written : t->full, t->n);
    cv_add(t->failed, access_log_writer_failures(writer));
    t->lines.n = 0;
    t->n = 0;
}

static void on_late(struct cv_late *late)
{
    hand_over(CV_OWNER(late, struct turn, late));
}

static bool wanted(struct turn *t, const struct access_log_conf *c, const struct cv_event *event)
{
    bool bad = event->why || event->req->status >= 500;
    bool sampled = ++t->since >= c->sample;
    if (sampled)
        t->since = 0;
    return sampled || (c->errors && bad);
}

static void event(const struct cv_self *self, const struct cv_event *event)
{
    struct turn *t = self->local;
    if (event->what != CV_EV_REQ_END || !wanted(t, self->conf, event))
        return;
    access_log_line(&t->lines, event);
    t->n++;
    cv_late(self, &t->late);
}

static enum cv_error start(struct cv_self *self, struct cv_err *err)
{
    (void)err;
    struct turn *t = cv_xcalloc(1, sizeof(*t));
    t->self = self;
    t->late.run = on_late;
    t->written = cv_series(self, LINES, NULL);
    t->full = cv_series(self, DROPPED, (const struct cv_str[]){ CV_STR("full") });
    t->failed = cv_series(self, DROPPED, (const struct cv_str[]){ CV_STR("write") });
    self->local = t;
    return CV_OK;
}

static void stop(struct cv_self *self)
{
    struct turn *t = self->local;
    cv_late_clear(self, &t->late);
    hand_over(t);
    cv_buf_free(&t->lines);
    free(t);
    self->local = NULL;
}

/* ---- the process --------------------------------------------------------------------------------------- */

static enum cv_error init(struct cv_self *self, struct cv_err *err)
{
    const struct access_log_conf *c = self->conf;
    self->shared = access_log_writer_new(c->to, (size_t)c->buffer.n, err);
    return self->shared ? CV_OK : CV_E_CONF;
}

static void fini(struct cv_self *self)
{
    access_log_writer_free(self->shared);
    self->shared = NULL;
}

CV_MODULE(access_log, .summary = "Writes a line of JSON for each request.", .options = options,
          .conf_size = sizeof(struct access_log_conf), .metrics = metrics, .check = check, .init = init,
          .start = start, .stop = stop, .fini = fini,
          .observer = &(const struct cv_observer_ops){ .event = event });
