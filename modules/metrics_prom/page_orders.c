/* page_orders.c: POST /reload, and /loglevel: what an operator changes in a running process. */
#include "culvert/mem.h"
#include "pages.h"

#include <stdlib.h>
#include <string.h>

/* ---- reload -------------------------------------------------------------------------------------------- */

struct asked {
    struct evhttp_request *req; /* NULL: whoever asked has hung up, or the reload has ended this server */
};

static void on_close(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    struct asked *asked = arg;
    asked->req = NULL;
}

static void on_reloaded(void *arg, bool in_force, const char *text)
{
    struct asked *asked = arg;
    struct evhttp_request *req = asked->req;
    free(asked);
    if (!req)
        return;
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "{\"reloaded\":%s,\"problems\":", in_force ? "true" : "false");
    page_add_json(body, cv_str_of(text));
    evbuffer_add_printf(body, "}\n");
    page_answer(req, in_force ? 200 : 409, text_type, body);
}

void page_reload(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    struct asked *asked = cv_xmalloc(sizeof(*asked));
    asked->req = req;
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, asked);
    cv_reload(on_reloaded, asked);
}

/* ---- the level of the log -------------------------------------------------------------------------------- */

static const char *const levels[] = { "fatal", "error", "warn", "info", "debug" };

void page_loglevel(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    page_printf(req, 200, "{\"level\":\"%s\"}\n", levels[cv_log_level()]);
}

/* ?level=, or the body. */
static void wanted_level(struct evhttp_request *req, char *level, size_t size)
{
    page_argument(req, "level", level, size);
    if (*level)
        return;
    struct evbuffer *body = evhttp_request_get_input_buffer(req);
    ev_ssize_t n = evbuffer_copyout(body, level, size - 1);
    level[n > 0 ? n : 0] = '\0';
    level[strcspn(level, "\r\n")] = '\0';
}

void page_set_loglevel(const struct cv_self *self, struct evhttp_request *req)
{
    char level[16];
    wanted_level(req, level, sizeof(level));
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (strcmp(level, levels[i]) == 0) {
            cv_log(self, CV_INFO, NULL, "Log level is %s now", level);
            cv_log_level_set((enum cv_level)i);
            page_loglevel(self, req);
            return;
        }
    page_text(req, 400, "level: want fatal, error, warn, info or debug\n");
}
