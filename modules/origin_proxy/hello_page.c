/* hello_page.c: what the test page shows, and the durations of its neighbours. */
#include "hello.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void put(struct cv_buf *out, const char *text)
{
    cv_buf_add(out, text, strlen(text));
}

/* ---- the page ------------------------------------------------------------------------------------------- */

/* What a visitor sent is text, never markup. */
static void put_text(struct cv_buf *out, struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '<': put(out, "&lt;"); break;
        case '>': put(out, "&gt;"); break;
        case '&': put(out, "&amp;"); break;
        case '"': put(out, "&#34;"); break;
        case '\'': put(out, "&#39;"); break;
        case '\0': put(out, "\xef\xbf\xbd"); break;
        default: cv_buf_add(out, s.p + i, 1);
        }
    }
}

static void put_row(struct cv_buf *out, struct cv_str name, struct cv_str value)
{
    put(out, "<dt>");
    put_text(out, name);
    put(out, "</dt><dd>");
    put_text(out, value);
    put(out, "</dd>\n");
}

void origin_hello_page(struct cv_buf *out, const struct cv_req *req, struct cv_str body)
{
    static const char head[] =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>The tunnel works</title>\n<style>\n:root { color-scheme: light dark }\n"
        "body { font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 3rem auto; padding: 0 1rem "
        "}\n"
        "dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem;"
        " font: .875rem/1.5 monospace }\ndd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap }\n"
        "</style>\n</head>\n<body>\n<h1>The tunnel works</h1>\n"
        "<p>This page is answered by the connector itself: its rule says <code>hello_world</code>."
        " What reached it:</p>\n<dl>\n";
    struct cv_str name, value;
    put(out, head);
    put_row(out, CV_STR("Method"), req->method);
    put_row(out, CV_STR("Host"), req->authority);
    put_row(out, CV_STR("Request URI"), req->path);
    for (size_t i = 0; req->headers && cv_header_at(req->headers, i, &name, &value); i++)
        put_row(out, name, value);
    put_row(out, CV_STR("Body"), body);
    put(out, "</dl>\n</body>\n</html>\n");
}

/* ---- durations, as Go writes them ------------------------------------------------------------------------ */

static void put_duration(struct cv_buf *out, int64_t ms)
{
    char text[64];
    long long s = ms / 1000, rest = ms % 1000;
    if (s == 0 && rest) {
        snprintf(text, sizeof(text), "%lldms", rest);
        put(out, text);
        return;
    }
    snprintf(text, sizeof(text), "%lldh", s / 3600);
    put(out, s >= 3600 ? text : "");
    snprintf(text, sizeof(text), "%lldm", s / 60 % 60);
    put(out, s >= 60 ? text : "");
    int n = snprintf(text, sizeof(text), "%lld.%03lld", s % 60, rest);
    while (text[n - 1] == '0')
        n--;
    text[text[n - 1] == '.' ? n - 1 : n] = '\0';
    put(out, text);
    put(out, "s");
}

void origin_hello_uptime(struct cv_buf *out, int64_t started, int64_t now)
{
    char stamp[64];
    struct tm tm;
    time_t seconds = (time_t)(started / 1000);
    size_t n = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    snprintf(stamp + n, sizeof(stamp) - n, ".%03dZ", (int)(started % 1000));
    put(out, "{\"startTime\":\"");
    put(out, stamp);
    put(out, "\",\"uptime\":\"");
    put_duration(out, now > started ? now - started : 0);
    put(out, "\"}");
}

static int64_t unit_ms(struct cv_str *s)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t n = strlen(units[i].name);
        if (s->n < n || memcmp(s->p, units[i].name, n) != 0)
            continue;
        s->p += n;
        s->n -= n;
        return units[i].ms;
    }
    return 0;
}

int64_t origin_hello_duration(struct cv_str s)
{
    int64_t total = 0;
    while (s.n) {
        int64_t n = 0;
        size_t digits = 0;
        for (; digits < s.n && digits < 6 && s.p[digits] >= '0' && s.p[digits] <= '9'; digits++)
            n = n * 10 + (s.p[digits] - '0');
        s.p += digits;
        s.n -= digits;
        int64_t unit = unit_ms(&s);
        if (!digits || !unit)
            return 0;
        total += n * unit;
    }
    return total;
}
