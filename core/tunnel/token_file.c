/* token_file.c: reads a token from a file and notices when another one is put there. */
#include "tunnel/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_MS = 1000, FILE_MAX = 64 * 1024 };

/* A mounted secret is changed by turning a symbolic link: looking at the name again sees that, a watch on the inode
 * would not. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
};
struct token_watch {
    struct cv_series *age;
    const struct cv_self *self;
    const char *name;
    token_changed_fn *changed;
    void *arg;
    struct stamp seen;
    struct cv_timer timer;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct cv_secret trimmed(const char *p, size_t n)
{
    while (n > 0 && is_space(p[n - 1]))
        n--;
    while (n > 0 && is_space(*p)) {
        p++;
        n--;
    }
    return (struct cv_secret){ p, n };
}

enum cv_error token_file_read(const char *name, struct token *token, struct cv_err *err)
{
    char text[FILE_MAX];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    enum cv_error e;
    if (n < 0)
        e = cv_fail(err, CV_E_IO, "Failed to read token file: %s: %s", name, strerror(errno));
    else
        e = token_parse(trimmed(text, (size_t)n), token, err);
    OPENSSL_cleanse(text, sizeof(text));
    if (fd >= 0)
        close(fd);
    return e;
}

bool token_same(const struct token *a, const struct token *b)
{
    return strcmp(a->account_tag, b->account_tag) == 0 && strcmp(a->endpoint, b->endpoint) == 0 &&
           memcmp(a->id, b->id, sizeof(a->id)) == 0 && a->secret.n == b->secret.n &&
           CRYPTO_memcmp(a->secret.p, b->secret.p, a->secret.n) == 0;
}

static void show_age(struct cv_series *age, const struct stamp *s)
{
    if (age && s->ino)
        cv_gauge_set(age, s->mtime.tv_sec);
    else if (age)
        cv_gauge_unset(age);
}

static struct stamp look(const char *name)
{
    struct stat st;
    if (stat(name, &st) < 0)
        return (struct stamp){ 0 };
    return (struct stamp){ st.st_dev, st.st_ino, st.st_size, st.st_mtim };
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
           a->mtime.tv_nsec == b->mtime.tv_nsec;
}

static void reread(struct token_watch *w)
{
    struct token token = { 0 };
    struct cv_err err;
    enum cv_error e = token_file_read(w->name, &token, &err);
    if (!e)
        w->changed(w->arg, &token);
    else
        log_line(
            CV_ERROR,
            CV_FIELDS(CV_S("error", e == CV_E_IO ? cv_str_of(err.text) : CV_STR("not a tunnel token"))),
            "The token file %s has changed, but holds no token that can be used; the old one stays in use",
            w->name);
}

static void on_look(struct cv_timer *timer)
{
    struct token_watch *w = CV_OWNER(timer, struct token_watch, timer);
    struct stamp now = look(w->name);
    bool changed = !same_stamp(&now, &w->seen);
    w->seen = now;
    show_age(w->age, &now);
    if (changed)
        reread(w);
    cv_timer_set(w->self, &w->timer, (struct cv_ms){ LOOK_MS });
}

struct token_watch *token_watch_new(const struct cv_self *self, const char *name, struct cv_series *age,
                                    token_changed_fn *changed, void *arg)
{
    struct token_watch *w = cv_xcalloc(1, sizeof(*w));
    w->self = self;
    w->name = name;
    w->age = age;
    w->changed = changed;
    w->arg = arg;
    w->seen = look(name);
    show_age(age, &w->seen);
    w->timer.fire = on_look;
    cv_timer_set(self, &w->timer, (struct cv_ms){ LOOK_MS });
    return w;
}

void token_watch_free(struct token_watch *w)
{
    if (!w)
        return;
    cv_timer_clear(&w->timer);
    free(w);
}
