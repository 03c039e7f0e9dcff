/* page_drain.c: POST /drain and GET /drained: answered when nothing is under way any more, or has been cut. */
#include "culvert/mem.h"
#include "pages.h"

#include <stdlib.h>

enum { MOST_WAITING = 64 };

struct waiting {
    struct waiting *next;
    struct evhttp_request *req;
};
static struct waiting *first;
static unsigned n_waiting;

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
    if (*at) {
        *at = (*at)->next;
        n_waiting--;
    }
    free(arg);
}

static void wait_for_end(struct evhttp_request *req)
{
    n_waiting++;
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
        n_waiting--;
        evhttp_connection_set_closecb(evhttp_request_get_connection(w->req), NULL, NULL);
        answer(w->req);
        free(w);
    }
}

static void answer_at_the_end(struct evhttp_request *req)
{
    struct cv_drained unused;
    if (cv_drained(&unused))
        answer(req);
    else
        wait_for_end(req);
}

void page_drain(const struct cv_self *self, struct evhttp_request *req)
{
    char text[32];
    (void)self;
    page_argument(req, "timeout", text, sizeof(text));
    int64_t limit = *text ? duration_ms(text) : CV_GRACE_PERIOD;
    if (*text && limit < 0) {
        page_text(req, 400, "timeout: want a time such as 30s or 1m30s, at most 24h\n");
        return;
    }
    cv_drain((struct cv_ms){ limit });
    answer_at_the_end(req);
}

/* Begins nothing: for who has to outlive the visitors, such as the router's preStop hook. Anybody may ask, so not all
 * of them are let wait. */
void page_drained(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    if (n_waiting >= MOST_WAITING)
        page_text(req, 503, "Too many wait for the end of the drain already\n");
    else
        answer_at_the_end(req);
}
