/* pages.h: what the metrics server answers: a row of `pages` each (routes.c), its handler in the file of its subject.
 * All of it runs on the main thread. */
#ifndef PROM_PAGES_H
#define PROM_PAGES_H
#include "prom.h"

#include <event2/http.h>

struct page {
    const char *path;
    unsigned methods; /* EVHTTP_REQ_… */
    /* Answers with page_answer() or one of its kin, now or later. The conf is that of the server. */
    void (*answer)(const struct cv_self *, struct evhttp_request *);
};
extern const struct page pages[]; /* ends in a row without a path */
void pages_dispatch(struct evhttp_request *, void *self);

/* page.c */
extern const char text_type[];
/* Sends status and body; the body is freed. */
void page_answer(struct evhttp_request *, int status, const char *type, struct evbuffer *body_take);
void page_text(struct evhttp_request *, int status, const char *text);

/* page_metrics.c, page_probes.c, page_config.c */
void page_metrics(const struct cv_self *, struct evhttp_request *);
void page_ready(const struct cv_self *, struct evhttp_request *);
void page_healthcheck(const struct cv_self *, struct evhttp_request *);
void page_config(const struct cv_self *, struct evhttp_request *);
void page_quicktunnel(const struct cv_self *, struct evhttp_request *);
#endif
