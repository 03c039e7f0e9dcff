/* page.c: an answer of the metrics server, as every page gives it, and what a question may hold. */
#include "culvert/mem.h"
#include "pages.h"

#include <event2/keyvalq_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char text_type[] = "text/plain; charset=utf-8";

/* libevent would send it. */
static void without_body(struct evkeyvalq *headers, struct evbuffer *body)
{
    char length[24];
    snprintf(length, sizeof(length), "%zu", evbuffer_get_length(body));
    evhttp_add_header(headers, "Content-Length", length);
    evbuffer_drain(body, evbuffer_get_length(body));
}

void page_answer(struct evhttp_request *req, int status, const char *type, struct evbuffer *body_take)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
        without_body(headers, body_take);
    evhttp_send_reply(req, status, NULL, body_take);
    evbuffer_free(body_take);
}

void page_text(struct evhttp_request *req, int status, const char *text)
{
    page_printf(req, status, "%s", text);
}

void page_printf(struct evhttp_request *req, int status, const char *fmt, ...)
{
    struct evbuffer *body = evbuffer_new();
    va_list args;
    va_start(args, fmt);
    evbuffer_add_vprintf(body, fmt, args);
    va_end(args);
    page_answer(req, status, text_type, body);
}

void page_add_json(struct evbuffer *out, struct cv_str s)
{
    struct cv_buf b = { 0 };
    cv_json_add(&b, s);
    evbuffer_add(out, b.p, b.n);
    cv_buf_free(&b);
}

void page_argument(struct evhttp_request *req, const char *name, char *value, size_t size)
{
    struct evkeyvalq query = { 0 };
    const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
    *value = '\0';
    if (!text || evhttp_parse_query_str(text, &query) != 0)
        return;
    const char *found = evhttp_find_header(&query, name);
    if (found && strlen(found) < size)
        snprintf(value, size, "%s", found);
    evhttp_clear_headers(&query);
}
