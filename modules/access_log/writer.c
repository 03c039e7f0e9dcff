/* writer.c: the thread that writes lines, and the buffer in front of it. */
#include "access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LAST_MOMENT_S = 2, LOOK_MS = 100 };

struct access_log_writer {
    char *path; /* NULL: fd is not ours */
    int fd;
    size_t limit;
    pthread_t thread;
    pthread_mutex_t lock; /* of the three below */
    pthread_cond_t news;
    struct cv_buf waiting;
    bool ends;
    _Atomic bool gives_up;
    _Atomic unsigned failures;
};

/* ---- the thread ---------------------------------------------------------------------------------------- */

/* A named pipe that nobody reads is an error here, not a wait. */
static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0640);
    if (fd >= 0)
        fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

/* Whoever rotates logs moves the file away: what is written next belongs into a new one of the old name. */
static void follow_name(struct access_log_writer *w)
{
    struct stat named, ours;
    if (!w->path || (stat(w->path, &named) == 0 && fstat(w->fd, &ours) == 0 && named.st_ino == ours.st_ino &&
                     named.st_dev == ours.st_dev))
        return;
    int fd = open_file(w->path);
    if (fd < 0)
        return; /* better into the old file than nowhere */
    close(w->fd);
    w->fd = fd;
}

/* Lines that a pipe takes as a whole, so that they do not mix with those of others: all but one too long for it. */
static size_t whole_lines(const uint8_t *p, size_t n)
{
    const uint8_t *end = n > PIPE_BUF ? memrchr(p, '\n', PIPE_BUF) : NULL;
    return end ? (size_t)(end - p) + 1 : n < PIPE_BUF ? n : PIPE_BUF;
}

/* A pipe that is writable takes so much without a wait. False: nobody reads, and the end has come. */
static bool wait_until_writable(struct access_log_writer *w)
{
    struct pollfd p = { .fd = w->fd, .events = POLLOUT };
    while (!w->gives_up)
        if (poll(&p, 1, LOOK_MS) > 0)
            return true;
    return false;
}

static void write_lines(struct access_log_writer *w, const struct cv_buf *b)
{
    follow_name(w);
    for (size_t at = 0; at < b->n && wait_until_writable(w);) {
        ssize_t n = write(w->fd, b->p + at, whole_lines(b->p + at, b->n - at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            w->failures++;
            return;
        }
        at += (size_t)n;
    }
}

static void *run(void *arg)
{
    struct access_log_writer *w = arg;
    struct cv_buf mine = { 0 };
    for (bool ends = false; !ends;) {
        pthread_mutex_lock(&w->lock);
        while (w->waiting.n == 0 && !w->ends)
            pthread_cond_wait(&w->news, &w->lock);
        struct cv_buf lines = w->waiting; /* the two buffers change places */
        w->waiting = mine;
        ends = w->ends;
        pthread_mutex_unlock(&w->lock);
        write_lines(w, &lines);
        lines.n = 0;
        mine = lines;
    }
    cv_buf_free(&mine);
    return NULL;
}

/* ---- the others ---------------------------------------------------------------------------------------- */

bool access_log_writer_take(struct access_log_writer *w, const void *lines, size_t n)
{
    pthread_mutex_lock(&w->lock);
    bool room = w->waiting.n + n <= w->limit;
    if (room)
        cv_buf_add(&w->waiting, lines, n);
    pthread_cond_signal(&w->news);
    pthread_mutex_unlock(&w->lock);
    return room;
}

unsigned access_log_writer_failures(struct access_log_writer *w)
{
    return atomic_exchange(&w->failures, 0);
}

static bool open_target(struct access_log_writer *w, const char *to, struct cv_err *err)
{
    w->fd = strcmp(to, "stdout") == 0 ? STDOUT_FILENO : STDERR_FILENO;
    if (strcmp(to, "stdout") == 0 || strcmp(to, "stderr") == 0)
        return true;
    w->fd = open_file(to);
    if (w->fd < 0) {
        cv_fail(err, CV_E_CONF, "cannot open the access log %s: %s", to, strerror(errno));
        return false;
    }
    w->path = cv_xstrdup(to);
    return true;
}

/* Signals are the main thread's. */
static void start_thread(struct access_log_writer *w)
{
    sigset_t everything, before;
    sigfillset(&everything);
    pthread_sigmask(SIG_SETMASK, &everything, &before);
    CV_ASSERT(pthread_create(&w->thread, NULL, run, w) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct access_log_writer *access_log_writer_new(const char *to, size_t limit, struct cv_err *err)
{
    struct access_log_writer *w = cv_xcalloc(1, sizeof(*w));
    w->limit = limit;
    if (!open_target(w, to, err)) {
        free(w);
        return NULL;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->news, NULL);
    start_thread(w);
    return w;
}

static bool has_ended(struct access_log_writer *w)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LAST_MOMENT_S;
    return pthread_timedjoin_np(w->thread, NULL, &until) == 0;
}

/* What holds up the thread does not hold up the end of the process: it may be left behind. */
void access_log_writer_free(struct access_log_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->ends = true;
    pthread_cond_signal(&w->news);
    pthread_mutex_unlock(&w->lock);
    bool ended = has_ended(w);
    w->gives_up = true;
    if (!ended && !has_ended(w)) {
        pthread_detach(w->thread);
        return;
    }
    if (w->path)
        close(w->fd);
    pthread_cond_destroy(&w->news);
    pthread_mutex_destroy(&w->lock);
    cv_buf_free(&w->waiting);
    free(w->path);
    free(w);
}
