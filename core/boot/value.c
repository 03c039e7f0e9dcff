/* value.c: option values from text and back to text. */
#include "boot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- memory -------------------------------------------------------------------------------------------- */

struct block {
    struct block *next;
    size_t n;
    _Alignas(max_align_t) unsigned char bytes[];
};

void *block_alloc(struct block **blocks, size_t n)
{
    struct block *b = cv_xcalloc(1, sizeof(*b) + n);
    b->next = *blocks;
    b->n = n;
    *blocks = b;
    return b->bytes;
}

void block_free(struct block **blocks)
{
    while (*blocks) {
        struct block *b = *blocks;
        *blocks = b->next;
        explicit_bzero(b->bytes, b->n);
        free(b);
    }
}

static char *keep(struct block **blocks, const char *p, size_t n)
{
    char *copy = block_alloc(blocks, n + 1);
    memcpy(copy, p, n);
    return copy;
}

__attribute__((format(printf, 2, 3))) static bool refuse(struct remark *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, args);
    va_end(args);
    return false;
}

/* ---- words --------------------------------------------------------------------------------------------- */

/* The word at *words, which moves behind it; false at the end. */
static bool next_word(const char **words, struct cv_str *word)
{
    if (!**words)
        return false;
    *word = (struct cv_str){ *words, strcspn(*words, "|") };
    *words += word->n;
    *words += **words == '|';
    return true;
}

static bool parse_word(const char *words, const char *text, int *value)
{
    struct cv_str word;
    for (int i = 0; next_word(&words, &word); i++)
        if (cv_str_eq(word, cv_str_of(text))) {
            *value = i;
            return true;
        }
    return false;
}

static const struct {
    const char *word;
    bool value;
} bools[] = { { "yes", true }, { "no", false },    { "true", true },
              { "on", true },  { "false", false }, { "off", false } };

static bool parse_bool(const char *text, bool *value)
{
    for (size_t i = 0; i < sizeof(bools) / sizeof(bools[0]); i++)
        if (strcasecmp(bools[i].word, text) == 0) {
            *value = bools[i].value;
            return true;
        }
    return false;
}

static bool parse_list(const char *text, struct block **blocks, struct cv_list *list)
{
    size_t n = 0;
    for (const char *p = text; *p; p++)
        n += *p == ',';
    struct cv_str *v = block_alloc(blocks, (n + 1) * sizeof(*v));
    n = 0;
    for (const char *p = text; *p; p += *p == ',') {
        p += strspn(p, " \t");
        size_t len = strcspn(p, ",");
        size_t used = len;
        while (used > 0 && isblank((unsigned char)p[used - 1]))
            used--;
        if (used > 0)
            v[n++] = (struct cv_str){ keep(blocks, p, used), used };
        p += len;
    }
    *list = (struct cv_list){ v, n };
    return true;
}

/* ---- secrets ------------------------------------------------------------------------------------------- */

enum { SECRET_MAX = 16 * 1024 };

/* Reads at most n bytes; -1 with errno. */
static ssize_t read_whole(const char *path, char *to, size_t n, mode_t *mode)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct stat st;
    ssize_t got = fstat(fd, &st) == 0 ? 0 : -1;
    *mode = got == 0 ? st.st_mode : 0;
    for (ssize_t part = 1; got >= 0 && part != 0 && (size_t)got < n;) {
        part = read(fd, to + got, n - (size_t)got);
        got = part < 0 ? -1 : got + part;
    }
    int error = errno;
    close(fd);
    errno = error;
    return got;
}

/* What is wrong with n bytes of `path`, without the final line end; NULL if nothing. */
static const char *unfit(const char *text, ssize_t n)
{
    return n < 0                           ? strerror(errno)
           : n == 0                        ? "it is empty"
           : n > SECRET_MAX                ? "it is too large"
           : memchr(text, '\0', (size_t)n) ? "it holds a NUL byte"
                                           : NULL;
}

static bool secret_from_file(const char *path, struct block **blocks, struct cv_secret *secret,
                             struct remark *why, struct remark *warning)
{
    char text[SECRET_MAX + 1];
    mode_t mode = 0;
    ssize_t n = read_whole(path, text, sizeof(text), &mode);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    const char *wrong = unfit(text, n);
    if (wrong)
        refuse(why, "%s cannot be used: %s", path, wrong);
    else
        *secret = (struct cv_secret){ keep(blocks, text, (size_t)n), (size_t)n };
    if (!wrong && (mode & S_IROTH))
        refuse(warning, "every user of this machine can read %s; chmod o-r mends that", path);
    explicit_bzero(text, sizeof(text));
    return !wrong;
}

static bool parse_secret(const char *text, bool literal, struct block **blocks, struct cv_secret *secret,
                         struct remark *why, struct remark *warning)
{
    if (literal || !*text) {
        *secret = (struct cv_secret){ keep(blocks, text, strlen(text)), strlen(text) };
        return true;
    }
    if (strncmp(text, "file:", 5) == 0)
        return secret_from_file(text + 5, blocks, secret, why, warning);
    if (strncmp(text, "env:", 4) != 0)
        return refuse(why, "a secret does not stand here itself; say env:NAME or file:/path");
    const char *value = getenv(text + 4);
    if (!value || !*value)
        return refuse(why, "the environment variable %s is not set", text + 4);
    *secret = (struct cv_secret){ keep(blocks, value, strlen(value)), strlen(value) };
    return true;
}

/* ---- by type ------------------------------------------------------------------------------------------- */

static void add(struct remark *r, const char *text)
{
    size_t n = strlen(r->text);
    snprintf(r->text + n, sizeof(r->text) - n, "%s", text);
}

static void describe_words(const char *words, struct remark *r)
{
    struct cv_str word;
    for (int i = 0; next_word(&words, &word); i++) {
        add(r, i == 0 ? "" : *words ? ", " : " or ");
        char text[64];
        snprintf(text, sizeof(text), CV_STR_FMT, CV_STR_ARG(word));
        add(r, text);
    }
}

void value_describe(const struct cv_option *o, struct remark *r)
{
    r->text[0] = '\0';
    switch (o->type) {
    case CV_T_BOOL: add(r, "yes or no"); break;
    case CV_T_INT:
        if (o->words)
            describe_words(o->words, r);
        else if (o->max != 0)
            snprintf(r->text, sizeof(r->text), "%ld to %ld", o->min, o->max);
        else
            add(r, "a number");
        break;
    case CV_T_STR: add(r, "text"); break;
    case CV_T_LIST: add(r, "a list with commas between"); break;
    case CV_T_MS: add(r, "a duration, such as 500ms, 30s or 1m30s"); break;
    case CV_T_BYTES: add(r, "a size, such as 4096, 64k or 16M"); break;
    case CV_T_SECRET: add(r, "env:NAME or file:/path"); break;
    }
}

static bool wrong(const struct cv_option *o, const char *text, struct remark *why)
{
    struct remark wanted;
    value_describe(o, &wanted);
    struct suggestion s = { .word = text };
    const char *rest = o->type == CV_T_INT && o->words ? o->words : "";
    struct cv_str word;
    while (next_word(&rest, &word)) {
        char candidate[64];
        snprintf(candidate, sizeof(candidate), CV_STR_FMT, CV_STR_ARG(word));
        suggest(&s, candidate);
    }
    refuse(why, "\"%.100s\" is not %s%s", text, o->words ? "one of " : "", wanted.text);
    if (*s.best) {
        add(why, "; did you mean ");
        add(why, s.best);
        add(why, "?");
    }
    return false;
}

static bool parse_int(const struct cv_option *o, const char *text, int *value)
{
    if (o->words)
        return parse_word(o->words, text, value);
    long v;
    if (!integer_parse(text, o->max ? o->min : INT_MIN, o->max ? o->max : INT_MAX, &v) || v < INT_MIN ||
        v > INT_MAX)
        return false;
    *value = (int)v;
    return true;
}

bool value_parse(const struct cv_option *o, const char *text, bool literal, struct block **blocks,
                 void *field, struct remark *why, struct remark *warning)
{
    int64_t ms;
    switch (o->type) {
    case CV_T_BOOL: return parse_bool(text, field) || wrong(o, text, why);
    case CV_T_INT: return parse_int(o, text, field) || wrong(o, text, why);
    case CV_T_STR: *(const char **)field = keep(blocks, text, strlen(text)); return true;
    case CV_T_LIST: return parse_list(text, blocks, field);
    case CV_T_MS:
        if (!duration_parse(text, &ms) || ms < 0)
            return wrong(o, text, why);
        ((struct cv_ms *)field)->ms = ms;
        return true;
    case CV_T_BYTES: return size_parse(text, &((struct cv_bytes *)field)->n) || wrong(o, text, why);
    case CV_T_SECRET: return parse_secret(text, literal, blocks, field, why, warning);
    }
    return refuse(why, "has a type that does not exist");
}

static char *format_int(const struct cv_option *o, int value)
{
    struct cv_str word;
    const char *words = o->words ? o->words : "";
    for (int i = 0; next_word(&words, &word); i++)
        if (i == value)
            return cv_xmemdup0(word.p, word.n);
    char text[16];
    snprintf(text, sizeof(text), "%d", value);
    return cv_xstrdup(text);
}

static char *format_list(const struct cv_list *list)
{
    struct cv_buf b = { 0 };
    for (size_t i = 0; i < list->n; i++) {
        cv_buf_add(&b, ", ", i ? 2 : 0);
        cv_buf_add(&b, list->v[i].p, list->v[i].n);
    }
    cv_buf_add(&b, "", 1);
    return (char *)b.p;
}

char *value_format(const struct cv_option *o, const void *field)
{
    switch (o->type) {
    case CV_T_BOOL: return cv_xstrdup(*(const bool *)field ? "yes" : "no");
    case CV_T_INT: return format_int(o, *(const int *)field);
    case CV_T_STR: return cv_xstrdup(*(const char *const *)field);
    case CV_T_LIST: return format_list(field);
    case CV_T_MS: return duration_format(((const struct cv_ms *)field)->ms);
    case CV_T_BYTES: return size_format(((const struct cv_bytes *)field)->n);
    case CV_T_SECRET: return cv_xstrdup(((const struct cv_secret *)field)->n ? "***" : "");
    }
    return cv_xstrdup("");
}

bool value_same(const struct cv_option *o, const void *a, const void *b)
{
    if (o->type == CV_T_SECRET) {
        struct cv_str x = cv_reveal(*(const struct cv_secret *)a),
                      y = cv_reveal(*(const struct cv_secret *)b);
        return cv_str_eq(x, y);
    }
    char *x = value_format(o, a), *y = value_format(o, b);
    bool same = strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}
