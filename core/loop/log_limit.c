/* log_limit.c: a message that comes over and over is written so often in a while, then only counted, and the count told. */
#include "loop/loop.h"

#include <stdio.h>
#include <string.h>

enum { MESSAGES = 64, TEXT = 120 };
static const int64_t while_ms = 10000;

static struct {
    pthread_mutex_t lock;
    int limit; /* lines in a while; 0: all */
    struct message {
        const char *fmt; /* NULL: the entry is free */
        uint64_t hash;   /* of the text, where the format tells nothing */
        enum cv_level level;
        int64_t begin;
        unsigned written, counted;
        char text[TEXT]; /* the last that was counted */
    } v[MESSAGES];
} self = { .lock = PTHREAD_MUTEX_INITIALIZER };

void log_limit_set(int limit)
{
    pthread_mutex_lock(&self.lock);
    self.limit = limit;
    pthread_mutex_unlock(&self.lock);
}

static uint64_t hash_of(const char *fmt, struct cv_str text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; strcmp(fmt, "%s") == 0 && i < text.n; i++)
        h = (h ^ (unsigned char)text.p[i]) * 0x100000001b3u;
    return h;
}

/* Its entry, or a free one, or NULL. */
static struct message *entry_of(enum cv_level level, const char *fmt, uint64_t hash)
{
    struct message *unused = NULL;
    for (size_t i = 0; i < MESSAGES; i++) {
        struct message *m = &self.v[i];
        if (m->fmt == fmt && m->hash == hash && m->level == level)
            return m;
        unused = !unused && !m->fmt ? m : unused;
    }
    return unused;
}

/* Under the lock: takes what has been counted, if its time is over. */
static bool take_over(struct message *m, int64_t now, struct message *over)
{
    if (!m->fmt || now - m->begin < while_ms)
        return false;
    *over = *m;
    m->fmt = NULL;
    return over->counted > 0;
}

static void tell(const struct message *m)
{
    log_always(m->level, CV_FIELDS(CV_I("suppressed", m->counted)), "%u more of these in %d s: %s",
               m->counted, (int)(while_ms / 1000), m->text);
}

bool log_limit_pass(enum cv_level level, const char *fmt, struct cv_str text)
{
    uint64_t hash = hash_of(fmt, text);
    int64_t now = clock_ms();
    struct message over = { .fmt = NULL };
    bool pass = true, told = false;
    pthread_mutex_lock(&self.lock);
    struct message *m = self.limit > 0 ? entry_of(level, fmt, hash) : NULL;
    told = m && take_over(m, now, &over);
    if (m && !m->fmt)
        *m = (struct message){ .fmt = fmt, .hash = hash, .level = level, .begin = now };
    if (m && m->written == (unsigned)self.limit) {
        m->counted++;
        snprintf(m->text, sizeof(m->text), CV_STR_FMT, CV_STR_ARG(text));
        pass = false;
    } else if (m) {
        m->written++;
    }
    pthread_mutex_unlock(&self.lock);
    if (told)
        tell(&over);
    return pass;
}

void log_limit_tell(bool all)
{
    int64_t now = clock_ms() + (all ? while_ms : 0);
    for (size_t i = 0; i < MESSAGES; i++) {
        struct message over;
        pthread_mutex_lock(&self.lock);
        bool told = take_over(&self.v[i], now, &over);
        pthread_mutex_unlock(&self.lock);
        if (told)
            tell(&over);
    }
}
