/* page_metrics.c: /metrics. */
#include "pages.h"

void page_metrics(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    struct evbuffer *body = evbuffer_new();
    prom_write_series(body);
    prom_write_process(body);
    page_answer(req, 200, "text/plain; version=0.0.4; charset=utf-8", body);
}
