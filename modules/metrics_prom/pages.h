/* pages.h: what the metrics server answers: a row of `pages` each (routes.c), its handler in the file of its subject.
 * All of it runs on the main thread. */
#ifndef PROM_PAGES_H
#define PROM_PAGES_H
#include "culvert/operate.h"
#include "prom.h"

#include <event2/buffer.h>
#include <event2/http.h>

enum page_who {
    ANYONE,
    OPERATOR /* whoever sits on this machine, or has the token: operator.c */
};
struct page {
    const char *path;
    unsigned methods; /* EVHTTP_REQ_…; a path may have several rows */
    enum page_who who;
    /* Answers with page_answer() or one of its kin, now or later. The conf is that of the server. */
    void (*answer)(const struct cv_self *, struct evhttp_request *);
};
extern const struct page pages[]; /* ends in a row without a path */
void pages_dispatch(struct evhttp_request *, void *self);
/* Whether an operator asks; else it has been answered. */
bool operator_asks(const struct cv_self *, struct evhttp_request *);

/* page.c */
extern const char text_type[];
/* Sends status and body; the body is freed. */
void page_answer(struct evhttp_request *, int status, const char *type, struct evbuffer *body_take);
void page_text(struct evhttp_request *, int status, const char *text);
void page_printf(struct evhttp_request *, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As a string, with its quotes. */
void page_add_json(struct evbuffer *, struct cv_str);
/* The value of ?name=, decoded, or "" when there is none or it is too long. */
void page_argument(struct evhttp_request *, const char *name, char *value, size_t size);

/* page_metrics.c, page_config.c */
void page_metrics(const struct cv_self *, struct evhttp_request *);
void page_config(const struct cv_self *, struct evhttp_request *);
void page_quicktunnel(const struct cv_self *, struct evhttp_request *);
/* page_probes.c */
void page_startup(const struct cv_self *, struct evhttp_request *);
void page_live(const struct cv_self *, struct evhttp_request *);
void page_ready(const struct cv_self *, struct evhttp_request *);
void page_healthcheck(const struct cv_self *, struct evhttp_request *);
/* Whether visitors are served through here, and if not, why; plain text without quotes. */
struct probe_reason {
    char text[200];
};
bool probe_ready(const struct prom_conf *, const struct cv_status *, struct probe_reason *);
struct history;
const struct history *prom_history(const struct cv_self *); /* metrics_prom.c */
/* page_status.c */
void page_asset(const struct cv_self *, struct evhttp_request *);
void page_status(const struct cv_self *, struct evhttp_request *);
/* page_diag.c */
void page_diag_configuration(const struct cv_self *, struct evhttp_request *);
void page_diag_tunnel(const struct cv_self *, struct evhttp_request *);
void page_diag_system(const struct cv_self *, struct evhttp_request *);
/* page_drain.c */
void page_drain(const struct cv_self *, struct evhttp_request *);
void page_drained(const struct cv_self *, struct evhttp_request *);
void drain_is_over(void); /* answers whoever waits for it */
/* page_orders.c */
void page_reload(const struct cv_self *, struct evhttp_request *);
void page_loglevel(const struct cv_self *, struct evhttp_request *);
void page_set_loglevel(const struct cv_self *, struct evhttp_request *);
#endif
