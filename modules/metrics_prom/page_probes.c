/* page_probes.c: what a kubelet or a load balancer asks. */
#include "pages.h"

void page_ready(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    struct cv_status status;
    cv_status(&status);
    int code = status.ready && !status.not_ready ? 200 : 503;
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "{\"status\":%d,\"readyConnections\":%u,\"connectorId\":\"%s\"", code,
                        status.ready, status.connector_id);
    if (status.not_ready)
        evbuffer_add_printf(body, ",\"reason\":\"%s\"", status.not_ready);
    evbuffer_add_printf(body, "}");
    page_answer(req, code, text_type, body);
}

void page_healthcheck(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    page_text(req, 200, "OK\n");
}
