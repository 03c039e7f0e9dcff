/* mask.c: URLs in texts without who and with which password: services of rules and proxies may be written so. */
#include "culvert/wire.h"
#include "loop/loop.h"

#include <string.h>

/* Bytes of `user:password` in front of an @, at the beginning of what follows ://; 0: there is none. */
static size_t userinfo_size(const char *p, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n && !strchr("/?#\"\\<> ", p[i]) && (unsigned char)p[i] > ' '; i++)
        if (p[i] == '@')
            size = i;
    return size;
}

struct cv_str cv_mask_urls(struct cv_str text, struct cv_buf *scratch)
{
    static const char mark[] = "://";
    size_t done = 0, from = scratch->n;
    const char *at = text.p;
    while (text.n && (at = memmem(at, (size_t)(text.p + text.n - at), mark, strlen(mark)))) {
        at += strlen(mark);
        size_t size = userinfo_size(at, (size_t)(text.p + text.n - at));
        if (size == 0)
            continue;
        cv_buf_add(scratch, text.p + done, (size_t)(at - text.p) - done);
        cv_buf_add(scratch, "***", 3);
        at += size;
        done = (size_t)(at - text.p);
    }
    if (done == 0)
        return text;
    cv_buf_add(scratch, text.p + done, text.n - done);
    return (struct cv_str){ (const char *)scratch->p + from, scratch->n - from };
}
