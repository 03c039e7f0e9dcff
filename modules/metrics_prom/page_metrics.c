/* page_metrics.c: /metrics. A scrape is written whole into memory and sent from there; scrapers that take theirs slowly
 * cannot pile up more than a limit. */
#include "pages.h"

enum { PENDING_MAX = 32 << 20 }; /* bytes; a scrape of 10,000 series has about one million */

static size_t pending; /* bytes of answers that are not sent yet */

static void on_sent(const void *bytes, size_t n, void *unused)
{
    (void)unused;
    pending -= n;
    free((void *)bytes);
}

static void pack(struct cv_buf *text)
{
    struct cv_buf packed = { 0 };
    prom_gzip(text, &packed);
    cv_buf_free(text);
    *text = packed;
}

void page_metrics(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    const struct evkeyvalq *asked = evhttp_request_get_input_headers(req);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    bool open = prom_wants_open(evhttp_find_header(asked, "Accept"));
    if (pending >= PENDING_MAX) {
        evhttp_add_header(headers, "Retry-After", "1");
        page_text(req, 503, "too many scrapes have not been taken yet\n");
        return;
    }
    struct cv_buf text = { 0 };
    prom_write(&text, open);
    evhttp_add_header(headers, "Vary", "Accept, Accept-Encoding");
    if (prom_wants_gzip(evhttp_find_header(asked, "Accept-Encoding"))) {
        pack(&text);
        evhttp_add_header(headers, "Content-Encoding", "gzip");
    }
    struct evbuffer *body = evbuffer_new();
    pending += text.n;
    evbuffer_add_reference(body, text.p, text.n, on_sent, NULL);
    page_answer(req, 200,
                open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                     : "text/plain; version=0.0.4; charset=utf-8",
                body);
}
