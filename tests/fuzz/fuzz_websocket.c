/* fuzz_websocket.c: a client's frames: what is read must not depend on how the bytes come. */
#include "culvert/mem.h"
#include "origin_proxy/websocket.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* All the data and one byte for each control frame; false: a fault. */
static bool read_by(const uint8_t *bytes, size_t n, size_t step, bool echo, struct cv_buf *out)
{
    struct origin_ws ws = { .echo = echo };
    for (size_t at = 0, used, got; at < n; at += used) {
        size_t part = n - at < step ? n - at : step;
        enum origin_ws_found found = origin_ws_read(&ws, bytes + at, part, &used,
                                                    cv_buf_reserve(out, part + ORIGIN_WS_HEAD_MAX), &got);
        CV_ASSERT(used > 0 && used <= part && got <= used + (echo ? ORIGIN_WS_HEAD_MAX : 0) &&
                  ws.control_n <= ORIGIN_WS_CONTROL_MAX);
        out->n += got;
        if (found == ORIGIN_WS_FOUND_FAULT)
            return false;
        uint8_t mark = (uint8_t)found;
        cv_buf_add(out, &mark, found ? 1 : 0);
    }
    return true;
}

static void read_both_ways(const uint8_t *bytes, size_t n, bool echo)
{
    struct cv_buf whole = { 0 }, pieces = { 0 };
    bool good = read_by(bytes, n, n, echo, &whole);
    CV_ASSERT(read_by(bytes, n, 3, echo, &pieces) == good);
    CV_ASSERT(whole.n == pieces.n && (whole.n == 0 || memcmp(whole.p, pieces.p, whole.n) == 0));
    cv_buf_free(&whole);
    cv_buf_free(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    read_both_ways(bytes, n, false);
    read_both_ways(bytes, n, true);
    return 0;
}
