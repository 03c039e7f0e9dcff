/* log.c: one line an event on stderr, console or JSON, and JSON to a file too (docs/protocol.md §23). */
#include "loop/loop.h"

#include "culvert/operate.h"
#include "culvert/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FIELDS_MAX = 24, LINE_MAX_BYTES = 64 * 1024, ROLL_BYTES = 1 << 20, ROLL_BACKUPS = 5 };

const struct cv_option log_options[] = {
    CV_OPT(struct log_conf, level, "info", "How much is logged.", .flags = CV_LIVE,
           .words = "fatal|error|warn|info|debug"),
    CV_OPT(struct log_conf, output, "default",
           "Form of the lines on stderr: for people, or one JSON object a line.", .flags = CV_LIVE,
           .words = "default|json"),
    CV_OPT(struct log_conf, repeats, "100",
           "So many lines of the same message are written in 10 seconds; more are counted, and told as one "
           "line. 0: all. Level debug writes everything.",
           .flags = CV_LIVE, .min = 0, .max = 1000000),
    CV_OPT(struct log_conf, file, "", "Also append JSON lines to this file."),
    CV_OPT(struct log_conf, directory, "",
           "Also write JSON lines to cloudflared.log in this folder: 1 MiB, then it is renamed, 5 are kept."),
    CV_OPT_END
};

static _Atomic int level = CV_INFO;
static _Atomic int output;
static struct {
    pthread_mutex_t lock;
    int fd;
    char *path;
    bool rolls;
    off_t size;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

void cv_log_level_set(enum cv_level l)
{
    level = l;
}

enum cv_level cv_log_level(void)
{
    return (enum cv_level)level;
}

bool cv_log_on(enum cv_level l)
{
    return (int)l <= level;
}

/* ---- text -------------------------------------------------------------------------------------------- */

static void add(struct cv_buf *b, struct cv_str s)
{
    if (b->n + s.n <= LINE_MAX_BYTES)
        cv_buf_add(b, s.p, s.n);
}

static void add_escaped(struct cv_buf *b, struct cv_str s, bool quotes)
{
    escape_add(b, s, quotes, LINE_MAX_BYTES);
}

static void add_json_string(struct cv_buf *b, struct cv_str s)
{
    add(b, CV_STR("\""));
    add_escaped(b, s, true);
    add(b, CV_STR("\""));
}

static void add_int(struct cv_buf *b, int64_t i)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)i);
    add(b, cv_str_of(text));
}

static int compare_fields(const void *a, const void *b)
{
    return strcmp(((const struct cv_field *)a)->name, ((const struct cv_field *)b)->name);
}

static void add_json(struct cv_buf *b, const struct cv_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add(b, i ? CV_STR(",") : CV_STR("{"));
        add_json_string(b, cv_str_of(fields[i].name));
        add(b, CV_STR(":"));
        if (fields[i].is_int)
            add_int(b, fields[i].i);
        else
            add_json_string(b, fields[i].s);
    }
    add(b, CV_STR("}\n"));
}

static bool is_plain(struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.n > 0;
}

static void add_console_field(struct cv_buf *b, const struct cv_field *f, const char *paint,
                              const char *plain)
{
    add(b, CV_STR(" "));
    add(b, cv_str_of(paint));
    add(b, cv_str_of(f->name));
    add(b, CV_STR("="));
    add(b, cv_str_of(plain));
    if (f->is_int)
        add_int(b, f->i);
    else if (is_plain(f->s))
        add(b, f->s);
    else
        add_json_string(b, f->s);
}

/* The message, then the fields; what went wrong comes first. */
static void add_text(struct cv_buf *b, struct cv_str message, const struct cv_field *fields, size_t n,
                     const char *paint, const char *plain)
{
    add_escaped(b, message, false);
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].name, "error") == 0)
            add_console_field(b, &fields[i], paint, plain);
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].name, "error") != 0)
            add_console_field(b, &fields[i], paint, plain);
}

static void add_console(struct cv_buf *b, enum cv_level l, struct cv_str time, struct cv_str message,
                        const struct cv_field *fields, size_t n)
{
    static const char *const names[] = { "FTL", "ERR", "WRN", "INF", "DBG" };
    static const char *const paints[] = { "\33[31m", "\33[31m", "\33[33m", "\33[32m", "\33[35m" };
    static _Atomic int terminal = -1;
    if (terminal < 0)
        terminal = isatty(STDERR_FILENO);
    const char *plain = terminal ? "\33[0m" : "";

    add(b, time);
    add(b, CV_STR(" "));
    add(b, cv_str_of(terminal ? paints[l] : ""));
    add(b, cv_str_of(names[l]));
    add(b, cv_str_of(plain));
    if (message.n)
        add(b, CV_STR(" "));
    add_text(b, message, fields, n, terminal ? "\33[36m" : "", plain);
    add(b, CV_STR("\n"));
}

/* ---- where lines go ---------------------------------------------------------------------------------- */

static void write_all(int fd, struct cv_buf *b)
{
    for (size_t at = 0; at < b->n;) {
        ssize_t n = write(fd, b->p + at, b->n - at);
        if (n < 0 && errno != EINTR)
            return; /* nobody is left to tell */
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Opens the file by its name, in place of what was open. Under the lock. */
static enum cv_error open_sink(struct cv_err *err)
{
    int fd = open(sink.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return cv_fail(err, CV_E_CONF, "cannot open the log file %s: %s", sink.path, strerror(errno));
    if (sink.fd >= 0)
        close(sink.fd);
    sink.fd = fd;
    sink.size = st.st_size;
    return CV_OK;
}

static void roll_sink(void)
{
    char from[4096], to[4096];
    for (int i = ROLL_BACKUPS - 1; i >= 0; i--) {
        if (i == 0)
            snprintf(from, sizeof(from), "%s", sink.path);
        else
            snprintf(from, sizeof(from), "%s.%d", sink.path, i);
        snprintf(to, sizeof(to), "%s.%d", sink.path, i + 1);
        rename(from, to); /* there may be fewer yet */
    }
    open_sink(NULL);
}

static void write_sink(struct cv_buf *b)
{
    pthread_mutex_lock(&sink.lock);
    if (sink.rolls && sink.fd >= 0 && sink.size + (off_t)b->n > ROLL_BYTES)
        roll_sink();
    if (sink.fd >= 0) {
        write_all(sink.fd, b);
        sink.size += (off_t)b->n;
    }
    pthread_mutex_unlock(&sink.lock);
}

static enum cv_error reopen_sink(struct cv_err *err)
{
    pthread_mutex_lock(&sink.lock);
    enum cv_error e = open_sink(err);
    pthread_mutex_unlock(&sink.lock);
    return e;
}

enum cv_error log_setup(const struct log_conf *conf, struct cv_err *err)
{
    level = conf->level;
    output = conf->output;
    log_limit_set(conf->repeats);
    if (sink.path) /* a reload: somebody may have moved the file away */
        return reopen_sink(err);
    if (!*conf->file && !*conf->directory)
        return CV_OK;
    struct cv_buf path = { 0 };
    sink.rolls = !*conf->file;
    add(&path, cv_str_of(sink.rolls ? conf->directory : conf->file));
    if (sink.rolls)
        add(&path, CV_STR("/cloudflared.log"));
    sink.path = cv_xmemdup0(path.p, path.n);
    cv_buf_free(&path);
    if (sink.rolls && *conf->file)
        log_line(CV_ERROR, NULL, "Both a log file and a log directory are set: the file is used");
    return reopen_sink(err);
}

void log_close(void)
{
    log_limit_tell(true);
    pthread_mutex_lock(&sink.lock);
    if (sink.fd >= 0)
        close(sink.fd);
    sink.fd = -1;
    free(sink.path);
    sink.path = NULL;
    pthread_mutex_unlock(&sink.lock);
}

/* ---- one event --------------------------------------------------------------------------------------- */

static void keep_note(time_t now, enum cv_level l, struct cv_str message, const struct cv_field *fields,
                      size_t n)
{
    struct cv_buf text = { 0 };
    add_text(&text, message, fields, n, "", "");
    notes_keep(now, l, (struct cv_str){ (const char *)text.p, text.n });
    cv_buf_free(&text);
}

static void write_event(enum cv_level l, const struct cv_fields *given, struct cv_str message)
{
    static const char *const names[] = { "fatal", "error", "warn", "info", "debug" };
    struct cv_field fields[FIELDS_MAX + 3];
    size_t n = given->n;
    for (size_t i = 0; i < n; i++)
        fields[i] = given->v[i];
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));

    struct cv_buf json = { 0 }, console = { 0 };
    qsort(fields, n, sizeof(fields[0]), compare_fields);
    if (l <= CV_INFO && worker_current() && worker_current()->index == 0)
        keep_note(now, l, message, fields, n);
    if (output == 0)
        add_console(&console, l, cv_str_of(stamp), message, fields, n);
    if (output == 1 || sink.path) {
        fields[n++] = CV_S("level", cv_str_of(names[l]));
        fields[n++] = CV_S("message", message);
        fields[n++] = CV_S("time", cv_str_of(stamp));
        qsort(fields, n, sizeof(fields[0]), compare_fields);
        add_json(&json, fields, n);
    }
    write_all(STDERR_FILENO, output == 0 ? &console : &json);
    if (sink.path)
        write_sink(&json);
    cv_buf_free(&json);
    cv_buf_free(&console);
}

/* A buffer each: one that grows moves what lies in it. */
static void emit(enum cv_level l, const struct cv_fields *given, struct cv_str message)
{
    struct cv_buf scratch[FIELDS_MAX + 1] = { { 0 } };
    struct cv_field fields[FIELDS_MAX];
    size_t n = given ? given->n : 0;
    CV_ASSERT(n <= FIELDS_MAX);
    for (size_t i = 0; i < n; i++) {
        fields[i] = given->v[i];
        if (!fields[i].is_int)
            fields[i].s = cv_mask_urls(fields[i].s, &scratch[i]);
    }
    write_event(l, &(const struct cv_fields){ fields, n }, cv_mask_urls(message, &scratch[FIELDS_MAX]));
    for (size_t i = 0; i <= FIELDS_MAX; i++)
        cv_buf_free(&scratch[i]);
}

__attribute__((format(printf, 4, 0))) static void log_va(enum cv_level l, const struct cv_fields *fields,
                                                         bool limited, const char *fmt, va_list args)
{
    if (!cv_log_on(l))
        return;
    char text[2048];
    int n = vsnprintf(text, sizeof(text), fmt, args);
    struct cv_str message = { text, n < 0 ? 0 : n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1 };
    if (!limited || l == CV_DEBUG || log_limit_pass(l, fmt, message))
        emit(l, fields, message);
}

void log_line(enum cv_level l, const struct cv_fields *fields, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(l, fields, true, fmt, args);
    va_end(args);
}

void log_always(enum cv_level l, const struct cv_fields *fields, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(l, fields, false, fmt, args);
    va_end(args);
}

void cv_log(const struct cv_self *self, enum cv_level l, const struct cv_fields *fields, const char *fmt, ...)
{
    (void)self;
    va_list args;
    va_start(args, fmt);
    log_va(l, fields, true, fmt, args);
    va_end(args);
}
