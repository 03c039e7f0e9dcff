/* page_config.c: /config and /quicktunnel: what cloudflared's clients ask for. */
#include "pages.h"

#include <stdlib.h>

void page_config(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    char *json = cv_config_json();
    page_text(req, 200, json);
    free(json);
}

void page_quicktunnel(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    page_text(req, 200, "{\"hostname\":\"\"}");
}
