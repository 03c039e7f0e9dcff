/* routes.c: the pages of the metrics server, and who finds them. */
#include "pages.h"

#include <stdio.h>
#include <string.h>

enum { READ = EVHTTP_REQ_GET | EVHTTP_REQ_HEAD };

const struct page pages[] = {
    { "/metrics", READ, page_metrics },         { "/ready", READ, page_ready },
    { "/healthcheck", READ, page_healthcheck }, { "/config", READ, page_config },
    { "/quicktunnel", READ, page_quicktunnel }, { .path = NULL },
};

static void refuse_method(struct evhttp_request *req, const struct page *page)
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
        if (page->methods & methods[i].method)
            snprintf(allow + strlen(allow), sizeof(allow) - strlen(allow), "%s%s", *allow ? ", " : "",
                     methods[i].name);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", allow);
    page_text(req, 405, "Method Not Allowed\n");
}

void pages_dispatch(struct evhttp_request *req, void *self)
{
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
    const struct page *page = pages;
    while (page->path && (!path || strcmp(page->path, path) != 0))
        page++;
    if (!page->path)
        page_text(req, 404, "404 page not found\n");
    else if (!(page->methods & evhttp_request_get_command(req)))
        refuse_method(req, page);
    else
        page->answer(self, req);
}
