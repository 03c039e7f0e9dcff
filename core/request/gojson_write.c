/* gojson_write.c: JSON as Go's encoding/json writes it. */
#include "request/gojson.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void gojson_write(struct cv_buf *buf, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    CV_ASSERT(n >= 0 && (size_t)n < sizeof text);
    cv_buf_add(buf, text, (size_t)n);
}

static void write_char(struct cv_buf *buf, const char *p, size_t len, uint32_t c)
{
    static const char plain[] = "\"\\\b\f\n\r\t", escaped[] = "\"\\bfnrt";
    const char *known = c && c < 0x80 ? strchr(plain, (int)c) : NULL;
    if (known)
        gojson_write(buf, "\\%c", escaped[known - plain]);
    else if (c < ' ' || c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029 ||
             (c == UTF8_BAD && len == 1))
        gojson_write(buf, "\\u%04x", c);
    else
        cv_buf_add(buf, p, len);
}

void gojson_write_str(struct cv_buf *buf, struct cv_str s)
{
    cv_buf_add(buf, "\"", 1);
    for (size_t i = 0; i < s.n;) {
        size_t len;
        uint32_t c = utf8_first(s.p + i, s.n - i, &len);
        write_char(buf, s.p + i, len, c);
        i += len;
    }
    cv_buf_add(buf, "\"", 1);
}
