/* hello.h: the service hello_world: a page that shows the request, /uptime, /_health, /ws (echo) and /sse.
 *
 * Source   docs/protocol.md §20. */
#ifndef ORIGIN_HELLO_H
#define ORIGIN_HELLO_H
#include "origin.h"
#include "websocket.h"

struct origin_hello { /* in the request's slot */
    struct origin_worker *w;
    struct cv_req *req;
    struct cv_buf body; /* of the request, as far as it is shown */
    struct cv_buf out;  /* the answer's bytes for which the pipe had no room yet */
    struct cv_timer tick;
    struct cv_ms every;
    unsigned long long ticks;
    struct origin_ws ws;
    bool waits; /* for the end of the request's body */
    bool echoes;
    bool over;
};
bool origin_is_hello(const struct cv_req *);
void origin_hello_open(const struct cv_self *, struct cv_req *);
extern const struct cv_end origin_hello_end;

/* hello_page.c. The page, escaped; "1m3.25s"; "1m30s" to milliseconds, 0: not a duration of at least one. */
void origin_hello_page(struct cv_buf *out, const struct cv_req *, struct cv_str body);
void origin_hello_uptime(struct cv_buf *out, int64_t started_unix_ms, int64_t now_unix_ms);
int64_t origin_hello_duration(struct cv_str text);
#endif
