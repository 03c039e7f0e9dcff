/* page.c: an answer of the metrics server, as every page gives it. */
#include "pages.h"

#include <string.h>

const char text_type[] = "text/plain; charset=utf-8";

void page_answer(struct evhttp_request *req, int status, const char *type, struct evbuffer *body_take)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    evhttp_send_reply(req, status, NULL, body_take);
    evbuffer_free(body_take);
}

void page_text(struct evhttp_request *req, int status, const char *text)
{
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, text, strlen(text));
    page_answer(req, status, text_type, body);
}
