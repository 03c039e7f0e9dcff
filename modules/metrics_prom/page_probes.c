/* page_probes.c: what a kubelet or a load balancer asks.
 *
 *            asks whether                                             fails when
 *   startup  the process is up                                        there is nobody to answer
 *   live     a restart would help                                     a worker's loop does not turn
 *   ready    visitors are served through here                         what the ini says counts is missing
 *
 * The main thread answers. One that does not turn answers nothing: for a probe that is a failure as well. */
#include "pages.h"

#include <stdio.h>

/* The loop that answers begins when all modules have started. */
void page_startup(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    page_text(req, 200, "{\"status\":200}");
}

static bool is_stuck(const struct cv_status *status, struct probe_reason *why)
{
    if (status->stuck)
        snprintf(why->text, sizeof(why->text), "worker %u has not turned its loop for %lld ms", status->stuck,
                 (long long)status->stuck_ms);
    return status->stuck;
}

/* Nothing of the edge: an outage there is not mended by a restart here. */
void page_live(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    struct cv_status status;
    struct probe_reason why;
    cv_status(&status);
    if (is_stuck(&status, &why))
        page_printf(req, 503, "{\"status\":503,\"reason\":\"%s\"}", why.text);
    else
        page_text(req, 200, "{\"status\":200}");
}

bool probe_ready(const struct prom_conf *conf, const struct cv_status *status, struct probe_reason *why)
{
    unsigned wanted = (unsigned)conf->ready_connections;
    if (is_stuck(status, why))
        return false;
    *why->text = '\0';
    if (status->draining)
        snprintf(why->text, sizeof(why->text), "draining");
    else if (conf->ready_modules && status->not_ready) /* why there may be no connection, too */
        snprintf(why->text, sizeof(why->text), "%s", status->not_ready);
    else if (status->ready < wanted)
        snprintf(why->text, sizeof(why->text), "%u of %u connections registered", status->ready, wanted);
    else if (conf->ready_rules && !status->has_rules)
        snprintf(why->text, sizeof(why->text), "no configuration has come from the edge yet");
    return !*why->text;
}

void page_ready(const struct cv_self *self, struct evhttp_request *req)
{
    struct cv_status status;
    struct probe_reason why;
    cv_status(&status);
    bool unready = !probe_ready(self->conf, &status, &why);
    int code = unready ? 503 : 200;
    page_printf(req, code, "{\"status\":%d,\"readyConnections\":%u,\"connectorId\":\"%s\"%s%s%s}", code,
                status.ready, status.connector_id, unready ? ",\"reason\":\"" : "", unready ? why.text : "",
                unready ? "\"" : "");
}

void page_healthcheck(const struct cv_self *self, struct evhttp_request *req)
{
    (void)self;
    page_text(req, 200, "OK\n");
}
