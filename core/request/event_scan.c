/* event_scan.c: where events end in an event stream. */
#include "request/event_scan.h"

#include <string.h>

/* The first end of a line from p on, or end. */
static const uint8_t *line_end(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
    const uint8_t *stop = lf ? lf : end;
    const uint8_t *cr = memchr(p, '\r', (size_t)(stop - p));
    return cr ? cr : stop;
}

size_t event_scan(struct event_scan *s, const uint8_t *bytes, size_t n)
{
    size_t ended = 0;
    for (const uint8_t *p = bytes, *end = bytes + n; p < end;) {
        if (s->in_line) {
            p = line_end(p, end);
            s->in_line = p == end;
            if (p < end)
                s->after_cr = *p++ == '\r';
        } else if (*p == '\n' && s->after_cr) {
            s->after_cr = false;
            p++;
        } else if (*p == '\n' || *p == '\r') {
            s->after_cr = *p++ == '\r';
            ended += s->has_field;
            s->has_field = false;
        } else {
            s->has_field |= *p != ':';
            s->in_line = true;
        }
    }
    return ended;
}
