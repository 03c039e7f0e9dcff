/* routes.c: the pages of the metrics server, and who finds them. */
#include "pages.h"

#include <stdio.h>
#include <string.h>

enum { READ = EVHTTP_REQ_GET | EVHTTP_REQ_HEAD, POST = EVHTTP_REQ_POST, PUT = EVHTTP_REQ_PUT };

const struct page pages[] = {
    { "/", READ, ANYONE, page_asset },
    { "/status.css", READ, ANYONE, page_asset },
    { "/status.js", READ, ANYONE, page_asset },
    { "/status.json", READ, ANYONE, page_status },
    { "/metrics", READ, ANYONE, page_metrics },
    { "/startup", READ, ANYONE, page_startup },
    { "/live", READ, ANYONE, page_live },
    { "/ready", READ, ANYONE, page_ready },
    { "/healthcheck", READ, ANYONE, page_healthcheck },
    { "/config", READ, ANYONE, page_config },
    { "/quicktunnel", READ, ANYONE, page_quicktunnel },
    { "/diag/configuration", READ, ANYONE, page_diag_configuration },
    { "/diag/tunnel", READ, ANYONE, page_diag_tunnel },
    { "/diag/system", READ, ANYONE, page_diag_system },
    { "/drain", POST, OPERATOR, page_drain },
    { "/drained", READ, ANYONE, page_drained },
    { "/reload", POST, OPERATOR, page_reload },
    { "/loglevel", READ, ANYONE, page_loglevel },
    { "/loglevel", PUT, OPERATOR, page_set_loglevel },
    { .path = NULL },
};

static void refuse_method(struct evhttp_request *req, unsigned allowed)
{
    static const struct {
        unsigned method;
        const char *name;
    } methods[] = { { EVHTTP_REQ_GET, "GET" },
                    { EVHTTP_REQ_HEAD, "HEAD" },
                    { EVHTTP_REQ_POST, "POST" },
                    { EVHTTP_REQ_PUT, "PUT" } };
    char allow[64] = "";
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (allowed & methods[i].method)
            snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s", *allow ? ", " : "",
                     methods[i].name);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", allow);
    page_text(req, 405, "Method Not Allowed\n");
}

void pages_dispatch(struct evhttp_request *req, void *self)
{
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
    unsigned method = evhttp_request_get_command(req), allowed = 0;
    for (const struct page *page = pages; path && page->path; page++) {
        if (strcmp(page->path, path) != 0)
            continue;
        allowed |= page->methods;
        if (!(page->methods & method))
            continue;
        if (page->who == ANYONE || operator_asks(self, req))
            page->answer(self, req);
        return;
    }
    if (allowed)
        refuse_method(req, allowed);
    else
        page_text(req, 404, "404 page not found\n");
}
