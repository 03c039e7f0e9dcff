/* values.c: strings that are borrowed, errors and their names, secrets. */
#include "loop/loop.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool cv_str_eq(struct cv_str a, struct cv_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool cv_str_caseeq(struct cv_str a, struct cv_str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

struct cv_str cv_str_of(const char *s)
{
    return s ? (struct cv_str){ s, strlen(s) } : (struct cv_str){ NULL, 0 };
}

bool cv_str_copy(char *to, size_t size, struct cv_str s)
{
    bool fits = s.n < size && (s.n == 0 || !memchr(s.p, '\0', s.n));
    if (fits && s.n)
        memcpy(to, s.p, s.n);
    to[fits ? s.n : 0] = '\0';
    return fits;
}

struct cv_str cv_reveal(struct cv_secret secret)
{
    return (struct cv_str){ secret.p, secret.n };
}

static const struct {
    const char *name, *text;
    int status;
} errors[CV_E_MAX] = { [CV_OK] = { "ok", "success", 200 },
#define CV_X(id, label, http, what) [CV_E_##id] = { label, what, http },
                       CV_ERRORS(CV_X)
#undef CV_X
};

const char *cv_error_name(enum cv_error e)
{
    return e < CV_E_MAX ? errors[e].name : "unknown";
}

const char *cv_error_text(enum cv_error e)
{
    return e < CV_E_MAX ? errors[e].text : "unknown error";
}

int cv_error_status(enum cv_error e)
{
    return e < CV_E_MAX ? errors[e].status : 502;
}

enum cv_error cv_fail(struct cv_err *err, enum cv_error e, const char *fmt, ...)
{
    if (!err)
        return e;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    if (n >= (int)sizeof(err->text))
        memcpy(err->text + sizeof(err->text) - 4, "...", 4);
    return e;
}
