/* page_status.c: a page to look at, and the figures on it (status.json). Nothing of it comes from elsewhere, and nothing
 * on it is secret. */
#include "assets.h"
#include "culvert/wire.h"
#include "history.h"
#include "pages.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_on(const struct cv_self *self)
{
    return ((const struct prom_conf *)self->conf)->status_page;
}

static void not_here(struct evhttp_request *req)
{
    page_text(req, 404, "404 page not found\n");
}

void page_asset(const struct cv_self *self, struct evhttp_request *req)
{
    static const char policy[] =
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
    const struct asset *a = assets;
    while (a->path && strcmp(a->path, path) != 0)
        a++;
    if (!is_on(self) || !a->path) {
        not_here(req);
        return;
    }
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    evhttp_add_header(headers, "Content-Security-Policy", policy);
    evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
    evhttp_add_header(headers, "Cache-Control", "no-cache");
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_reference(body, a->begin, (size_t)(a->end - a->begin), NULL, NULL);
    page_answer(req, 200, a->type, body);
}

/* ---- status.json: pieces --------------------------------------------------------------------------------- */

/* An object or a list under way. */
struct writer {
    struct evbuffer *out;
    const char *comma;
    const struct history *history;
};

static void key(struct writer *w, const char *name)
{
    evbuffer_add_printf(w->out, "%s\"%s\":", w->comma, name);
    w->comma = ",";
}

static void text(struct writer *w, const char *name, struct cv_str value)
{
    key(w, name);
    page_add_json(w->out, value);
}

static void number(struct writer *w, const char *name, double value)
{
    key(w, name);
    if (isnan(value))
        evbuffer_add(w->out, "null", 4);
    else
        evbuffer_add_printf(w->out, "%.10g", value);
}

static void truth(struct writer *w, const char *name, bool value)
{
    key(w, name);
    evbuffer_add_printf(w->out, "%s", value ? "true" : "false");
}

static struct writer begin(struct writer *list, const char *comma)
{
    evbuffer_add_printf(list->out, "%s{", list->comma);
    list->comma = comma;
    return (struct writer){ list->out, "", list->history };
}

static void end(const struct writer *w)
{
    evbuffer_add(w->out, "}", 1);
}

/* ---- connections, rules, events, modules ------------------------------------------------------------------ */

static void add_link(void *arg, const struct cv_link *link)
{
    static const char *const states[] = { "connecting", "registered", "leaving" };
    int64_t registered_s = link->registered_ms / 1000;
    struct writer w = begin(arg, ",");
    text(&w, "tunnel", cv_str_of(link->tunnel));
    number(&w, "index", link->index);
    text(&w, "state", cv_str_of(states[link->state]));
    text(&w, "protocol", cv_str_of(link->protocol));
    text(&w, "ip", cv_str_of(link->ip));
    text(&w, "location", cv_str_of(link->location));
    number(&w, "registered_s", (double)registered_s);
    number(&w, "rtt_ms", link->rtt_us < 0 ? NAN : (double)link->rtt_us / 1000);
    number(&w, "open", link->open);
    end(&w);
}

/* A service may be written with a password. */
static void add_service(struct writer *w, struct cv_str service)
{
    struct cv_buf masked = { 0 };
    text(w, "service", cv_mask_urls(service, &masked));
    cv_buf_free(&masked);
}

static void add_figures(struct writer *w, const struct figures *h)
{
    number(w, "requests", h->requests);
    number(w, "errors", h->errors);
    number(w, "errors_lately", h->errors_lately);
    number(w, "rate", h->rate);
    number(w, "latency_now_ms", h->latency_now_ms);
}

static void add_latency(struct writer *w, const struct figures *h)
{
    key(w, "latency_ms");
    for (size_t i = 0; i < h->n; i++)
        if (isnan(h->latency_ms[i]))
            evbuffer_add_printf(w->out, "%snull", i ? "," : "[");
        else
            evbuffer_add_printf(w->out, "%s%.4g", i ? "," : "[", h->latency_ms[i]);
    evbuffer_add_printf(w->out, "%s]", h->n ? "" : "[");
}

static void add_rule(void *arg, const struct cv_rule *rule)
{
    struct figures h;
    struct writer w = begin(arg, ",");
    number(&w, "index", rule->index);
    text(&w, "hostname", rule->hostname);
    text(&w, "path", rule->path);
    add_service(&w, rule->service);
    history_of_rule(w.history, rule, &h);
    add_figures(&w, &h);
    add_latency(&w, &h);
    end(&w);
}

static void add_note(void *arg, const struct cv_note *note)
{
    static const char *const levels[] = { "fatal", "error", "warn", "info", "debug" };
    struct writer w = begin(arg, ",");
    number(&w, "time", (double)note->unix_s);
    text(&w, "level", cv_str_of(levels[note->level]));
    text(&w, "text", note->text);
    end(&w);
}

static void add_module(void *arg, const char *section, const struct cv_module *m)
{
    const char *kind = m->edge       ? "edge"
                       : m->origin   ? "origin"
                       : m->filter   ? "filter"
                       : m->gate     ? "gate"
                       : m->observer ? "observer"
                                     : "";
    struct writer w = begin(arg, ",");
    text(&w, "name", cv_str_of(section));
    text(&w, "kind", cv_str_of(kind));
    text(&w, "summary", cv_str_of(m->summary));
    end(&w);
}

static struct writer list(struct writer *w, const char *name)
{
    key(w, name);
    evbuffer_add(w->out, "[", 1);
    return (struct writer){ w->out, "", w->history };
}

static void add_process(struct writer *w, const struct cv_self *self)
{
    struct cv_status status;
    struct probe_reason why;
    cv_status(&status);
    bool ready = probe_ready(self->conf, &status, &why);
    text(w, "version", cv_str_of(CV_VERSION));
    text(w, "tunnel", cv_str_of(status.tunnel_id));
    text(w, "connector", cv_str_of(status.connector_id));
    truth(w, "ready", ready);
    text(w, "reason", cv_str_of(ready ? "" : why.text));
    truth(w, "draining", status.draining);
    number(w, "registered", status.ready);
    number(w, "config_version", status.config_version);
    number(w, "uptime_s", (double)history_age_s(w->history));
}

void page_status(const struct cv_self *self, struct evhttp_request *req)
{
    if (!is_on(self)) {
        not_here(req);
        return;
    }
    struct figures all;
    struct writer outside = { evbuffer_new(), "", prom_history(self) }, w = begin(&outside, ""), l;
    add_process(&w, self);
    history_of_all(w.history, &all);
    add_figures(&w, &all);
    number(&w, "open", all.open);
    l = list(&w, "connections");
    cv_links_each(add_link, &l);
    evbuffer_add(w.out, "]", 1);
    l = list(&w, "rules");
    cv_rules_each(add_rule, &l);
    evbuffer_add(w.out, "]", 1);
    l = list(&w, "events");
    cv_notes_each(add_note, &l);
    evbuffer_add(w.out, "]", 1);
    l = list(&w, "modules");
    cv_modules_each(add_module, &l);
    evbuffer_add(w.out, "]", 1);
    end(&w);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Cache-Control", "no-store");
    page_answer(req, 200, "application/json", outside.out);
}
