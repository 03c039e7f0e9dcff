/* page_drain.c: POST /drain: answered when nothing is under way any more, or has been cut. */
#include "culvert/mem.h"
#include "pages.h"

#include <stdlib.h>

struct waiting {
    struct waiting *next;
    struct evhttp_request *req;
};
static struct waiting *first;

static void answer(struct evhttp_request *req)
{
    struct cv_drained d;
    cv_drained(&d);
    page_printf(req, 200, "{\"drained\":true,\"finished\":%u,\"cut\":%u,\"ms\":%lld}\n", d.finished, d.cut,
                (long long)d.ms);
}

/* Whoever waited has hung up, or the server ends. */
static void on_close(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    struct waiting **at = &first;
    while (*at && *at != arg)
        at = &(*at)->next;
    if (*at)
        *at = (*at)->next;
    free(arg);
}

static void wait_for_end(struct evhttp_request *req)
{
    struct waiting *w = cv_xmalloc(sizeof(*w));
    *w = (struct waiting){ first, req };
    first = w;
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, w);
}

void drain_is_over(void)
{
    while (first) {
        struct waiting *w = first;
        first = w->next;
        evhttp_connection_set_closecb(evhttp_request_get_connection(w->req), NULL, NULL);
        answer(w->req);
        free(w);
    }
}

void page_drain(const struct cv_self *self, struct evhttp_request *req)
{
    char text[32];
    struct cv_drained unused;
    (void)self;
    page_argument(req, "timeout", text, sizeof(text));
    int64_t limit = *text ? duration_ms(text) : CV_GRACE_PERIOD;
    if (*text && limit < 0) {
        page_text(req, 400, "timeout: want a time such as 30s or 1m30s, at most 24h\n");
        return;
    }
    cv_drain((struct cv_ms){ limit });
    if (cv_drained(&unused))
        answer(req);
    else
        wait_for_end(req);
}
