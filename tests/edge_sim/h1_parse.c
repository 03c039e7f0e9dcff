/* h1_parse.c: requests of visitors and tests, as llhttp reads them. */
#include "h1.h"

#include <string.h>

enum {
    TARGET_MAX = 32 * 1024,
    AHEAD_MAX = 64 * 1024, /* of the next request, while this one is answered */
};

static bool add_bounded(struct cv_buf *b, const char *p, size_t n, size_t max)
{
    if (n > max - b->n)
        return false;
    cv_buf_add(b, p, n);
    return true;
}

static int on_begin(llhttp_t *parser)
{
    struct h1 *h = parser->data;
    struct fields kept = h->req.fields;
    kept.n = kept.text.n = 0;
    h->req = (struct h1_request){ .fields = kept };
    h->url.n = h->name.n = h->value.n = 0;
    return HPE_OK;
}

static int on_url(llhttp_t *parser, const char *p, size_t n)
{
    struct h1 *h = parser->data;
    return add_bounded(&h->url, p, n, TARGET_MAX) ? HPE_OK : HPE_USER;
}

static int on_name(llhttp_t *parser, const char *p, size_t n)
{
    struct h1 *h = parser->data;
    return add_bounded(&h->name, p, n, FIELDS_BYTES_MAX) ? HPE_OK : HPE_USER;
}

static int on_value(llhttp_t *parser, const char *p, size_t n)
{
    struct h1 *h = parser->data;
    return add_bounded(&h->value, p, n, FIELDS_BYTES_MAX) ? HPE_OK : HPE_USER;
}

static struct cv_str text_of(const struct cv_buf *b)
{
    return (struct cv_str){ (const char *)b->p, b->n };
}

static int on_field(llhttp_t *parser)
{
    struct h1 *h = parser->data;
    bool fits = fields_add(&h->req.fields, text_of(&h->name), text_of(&h->value));
    h->name.n = h->value.n = 0;
    return fits ? HPE_OK : HPE_USER;
}

static int on_head(llhttp_t *parser)
{
    struct h1 *h = parser->data;
    struct h1_request *req = &h->req;
    struct cv_str upgrade = fields_get(&req->fields, "upgrade");
    req->method = cv_str_of(llhttp_method_name(llhttp_get_method(parser)));
    req->target = text_of(&h->url);
    req->connect = llhttp_get_method(parser) == HTTP_CONNECT;
    req->websocket = llhttp_get_upgrade(parser) && cv_str_caseeq(upgrade, CV_STR("websocket"));
    if (!req->websocket && !req->connect)
        parser->upgrade = 0;
    req->chunked = parser->flags & F_CHUNKED;
    req->has_body = req->websocket || req->connect || req->chunked ||
                    ((parser->flags & F_CONTENT_LENGTH) && parser->content_length > 0);
    h->keep_alive = llhttp_should_keep_alive(parser);
    h->busy = true;
    h->chunked = h->bodiless = false;
    h->received = !req->has_body;
    if (cv_str_caseeq(fields_get(&req->fields, "expect"), CV_STR("100-continue")) && req->has_body) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        queue_add(&h->out, go_on, sizeof(go_on) - 1);
        h1_send_soon(h);
    }
    h->ops->head(h);
    return h->dead ? HPE_USER : HPE_OK;
}

static int on_body(llhttp_t *parser, const char *p, size_t n)
{
    struct h1 *h = parser->data;
    if (h->busy)
        h->ops->body(h, (const uint8_t *)p, n);
    return h->dead ? HPE_USER : HPE_OK;
}

static int on_complete(llhttp_t *parser)
{
    struct h1 *h = parser->data;
    if (parser->upgrade) /* the bytes of a tunnel follow */
        return HPE_OK;
    h->received = true;
    if (h->busy)
        h->ops->end(h);
    else
        h1_over(h);
    return HPE_PAUSED;
}

const llhttp_settings_t h1_settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_field,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void keep_ahead(struct h1 *h, const char *p, size_t n)
{
    cv_buf_add(&h->ahead, p, n);
    if (h->ahead.n > AHEAD_MAX)
        h1_reading(h, false);
}

static void refuse(struct h1 *h)
{
    struct cv_str why = cv_str_of(llhttp_get_error_reason(&h->parser));
    if (h->busy) {
        h->reset = true;
        h1_left(h);
        return;
    }
    h->busy = true;
    h->keep_alive = false;
    h1_simple(h, 400, "text/plain", why.n ? why : CV_STR("the request is too large"));
}

void h1_parse(struct h1 *h, const char *p, size_t n)
{
    if (h->tunnel) {
        if (h->busy)
            h->ops->body(h, (const uint8_t *)p, n);
        return;
    }
    if (h->received) {
        keep_ahead(h, p, n);
        return;
    }
    enum llhttp_errno e = llhttp_execute(&h->parser, p, n);
    if (h->dead || e == HPE_OK)
        return;
    const char *stop = llhttp_get_error_pos(&h->parser);
    size_t rest = stop ? n - (size_t)(stop - p) : 0;
    if (e == HPE_PAUSED_UPGRADE) {
        h->tunnel = true;
        if (rest > 0 && h->busy)
            h->ops->body(h, (const uint8_t *)stop, rest);
    } else if (e == HPE_PAUSED) {
        llhttp_resume(&h->parser);
        if (rest > 0)
            keep_ahead(h, stop, rest);
    } else {
        refuse(h);
    }
}
