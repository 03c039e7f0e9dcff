/* last_config.c: keeps the configuration that was applied last, for the next start. */
#include "tunnel/last_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "request/gojson.h"

enum { ENVELOPE = 256, PATH_SIZE = 4096 };

/* ---- reading ------------------------------------------------------------------------------------------- */

struct envelope {
    struct cv_str tunnel;
    int64_t version;
    struct cv_str config; /* JSON text, within the file's */
    bool has_config, has_version;
};

static bool take_text(struct cv_str text, void *value, struct reason *why)
{
    (void)why;
    *(struct cv_str *)value = text;
    return true;
}

static const struct gojson_type string_type = { .name = "string",
                                                .kind = GOJSON_STRING,
                                                .size = sizeof(struct cv_str) };
static const struct gojson_type version_type = { .name = "int32",
                                                 .kind = GOJSON_INT,
                                                 .size = sizeof(int64_t) };
static const struct gojson_type config_type = {
    .name = "configuration", .kind = GOJSON_RAW, .size = sizeof(struct cv_str), .read = take_text
};
static const struct gojson_field fields[] = {
    { "tunnel", &string_type, offsetof(struct envelope, tunnel), GOJSON_ALWAYS },
    { "version", &version_type, offsetof(struct envelope, version), offsetof(struct envelope, has_version) },
    { "config", &config_type, offsetof(struct envelope, config), offsetof(struct envelope, has_config) },
    { .name = NULL },
};
static const struct gojson_type envelope_type = {
    .name = "last configuration", .kind = GOJSON_STRUCT, .size = sizeof(struct envelope), .fields = fields
};

static enum cv_error use(const char *file, const char *tunnel, struct cv_str text, int32_t *version,
                         struct cv_buf *config, struct cv_err *err)
{
    struct bump mem = { NULL };
    struct envelope e = { .version = -1 };
    struct reason why;
    reason_clear(&why);
    enum cv_error error = gojson_read(&mem, text, &envelope_type, &e, &why);
    if (error)
        cv_fail(err, error, "%s is broken: %s", file, why.text);
    else if (!e.has_config || !e.has_version || e.version < 0 || e.version > INT32_MAX)
        error = cv_fail(err, CV_E_CONF, "%s does not hold a configuration and its version", file);
    else if (!cv_str_eq(e.tunnel, cv_str_of(tunnel)))
        error = cv_fail(err, CV_E_CONF, "%s belongs to another tunnel, %.*s", file,
                        e.tunnel.n < 60 ? (int)e.tunnel.n : 60, e.tunnel.n ? e.tunnel.p : "");
    if (!error) {
        *version = (int32_t)e.version;
        cv_buf_add(config, e.config.p, e.config.n);
    }
    bump_free(&mem);
    return error;
}

/* Rules decide where visitors get to: a file that anybody may change is none to follow. */
static enum cv_error check_file(const char *file, int fd, struct cv_err *err)
{
    struct stat is;
    if (fstat(fd, &is) != 0)
        return cv_fail(err, CV_E_IO, "unable to read %s: %m", file);
    if (!S_ISREG(is.st_mode))
        return cv_fail(err, CV_E_CONF, "%s is not a regular file", file);
    if (is.st_mode & S_IWOTH)
        return cv_fail(err, CV_E_CONF, "%s may be changed by everybody (mode %04o)", file,
                       (unsigned)is.st_mode & 07777);
    if (is.st_size > CONFIG_BYTES_MAX + ENVELOPE)
        return cv_fail(err, CV_E_LIMIT, "%s is larger than any configuration", file);
    return CV_OK;
}

static enum cv_error read_file(const char *file, int fd, struct cv_buf *text, struct cv_err *err)
{
    for (;;) {
        ssize_t n = read(fd, cv_buf_reserve(text, 16384), 16384);
        if (n < 0 && errno != EINTR)
            return cv_fail(err, CV_E_IO, "unable to read %s: %m", file);
        if (n == 0)
            return CV_OK;
        text->n += n > 0 ? (size_t)n : 0;
        if (text->n > CONFIG_BYTES_MAX + ENVELOPE)
            return cv_fail(err, CV_E_LIMIT, "%s is larger than any configuration", file);
    }
}

enum cv_error last_config_read(const char *file, const char *tunnel, int32_t *version, struct cv_buf *config,
                               struct cv_err *err)
{
    *version = -1;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? CV_OK : cv_fail(err, CV_E_IO, "unable to read %s: %m", file);
    struct cv_buf text = { 0 };
    enum cv_error error = check_file(file, fd, err);
    if (!error)
        error = read_file(file, fd, &text, err);
    close(fd);
    if (!error)
        error = use(file, tunnel, (struct cv_str){ (const char *)text.p, text.n }, version, config, err);
    cv_buf_free(&text);
    return error;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static bool write_all(int fd, const struct cv_buf *text)
{
    for (size_t at = 0; at < text->n;) {
        ssize_t n = write(fd, text->p + at, text->n - at);
        if (n < 0 && errno != EINTR)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0;
}

/* Without it a new name might not outlast a crash of the machine: the old file would be back, whole. */
static void sync_folder(const char *file)
{
    char folder[PATH_SIZE];
    const char *slash = strrchr(file, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - file) + 1 : 1, slash ? file : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/* Written beside it, then put in its place. What a crash has left there is begun anew. */
static bool replace(const char *file, const struct cv_buf *text)
{
    char beside[PATH_SIZE];
    if (snprintf(beside, sizeof(beside), "%s.new", file) >= (int)sizeof(beside)) {
        errno = ENAMETOOLONG;
        return false;
    }
    unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write_all(fd, text);
    int why = errno;
    close(fd);
    if (good && rename(beside, file) == 0) {
        sync_folder(file);
        return true;
    }
    why = good ? errno : why;
    unlink(beside);
    errno = why;
    return false;
}

enum cv_error last_config_write(const char *file, const char *tunnel, int32_t version, struct cv_str config,
                                struct cv_err *err)
{
    struct cv_buf text = { 0 };
    gojson_write(&text, "{\"tunnel\":");
    gojson_write_str(&text, cv_str_of(tunnel));
    gojson_write(&text, ",\"version\":%d,\"config\":", (int)version);
    cv_buf_add(&text, config.p, config.n);
    gojson_write(&text, "}\n");
    enum cv_error error =
        replace(file, &text) ? CV_OK : cv_fail(err, CV_E_IO, "unable to write %s: %m", file);
    cv_buf_free(&text);
    return error;
}
