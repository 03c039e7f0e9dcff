/* access_log.h: one line of JSON for each request: made on the worker, written by a thread of its own. */
#ifndef ACCESS_LOG_H
#define ACCESS_LOG_H
#include "culvert/culvert.h"
#include "culvert/mem.h"
#include "culvert/route.h"

struct access_log_conf {
    const char *to;
    int sample;
    bool errors;
    struct cv_bytes buffer;
};

/* line.c */
void access_log_line(struct cv_buf *, const struct cv_event *);

/* writer.c: a thread that writes what it is given, and may be held up by a disk or a pipe as long as those like.
 *
 * Workers hand their lines over under a lock that is held for a copy in memory, never for a write: the one place of
 * culvert where threads share memory that changes, because a module has no loop of its own to post to. */
struct access_log_writer;
struct access_log_writer *access_log_writer_new(const char *to, size_t limit,
                                                struct cv_err *); /* NULL: cannot */
/* False: the buffer is full, nothing was taken. Any thread. */
bool access_log_writer_take(struct access_log_writer *, const void *lines, size_t n);
/* Writes that have failed since the last call. Any thread. */
unsigned access_log_writer_failures(struct access_log_writer *);
/* Gives it a moment to write what it has. */
void access_log_writer_free(struct access_log_writer *);
#endif
