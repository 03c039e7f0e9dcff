/* line.c: a request as one line of JSON. No query and no header but cf-ray: both may hold secrets. */
#include "access_log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void add_raw(struct cv_buf *b, const char *text)
{
    cv_buf_add(b, text, strlen(text));
}

static void add_text(struct cv_buf *b, const char *name, struct cv_str value)
{
    add_raw(b, ",\"");
    add_raw(b, name);
    add_raw(b, "\":");
    cv_json_add(b, value);
}

static void add_number(struct cv_buf *b, const char *name, int64_t n)
{
    char text[64];
    snprintf(text, sizeof(text), ",\"%s\":%lld", name, (long long)n);
    add_raw(b, text);
}

static void add_seconds(struct cv_buf *b, const char *name, int64_t us)
{
    char text[64];
    if (us < 0)
        return;
    snprintf(text, sizeof(text), ",\"%s\":%lld.%06lld", name, (long long)(us / 1000000),
             (long long)(us % 1000000));
    add_raw(b, text);
}

static void add_time(struct cv_buf *b)
{
    char text[64], date[24];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", gmtime_r(&t.tv_sec, &tm));
    snprintf(text, sizeof(text), "{\"time\":\"%s.%03ldZ\"", date, t.tv_nsec / 1000000);
    add_raw(b, text);
}

static struct cv_str without_query(struct cv_str path)
{
    const char *query = path.n ? memchr(path.p, '?', path.n) : NULL;
    return (struct cv_str){ path.p, query ? (size_t)(query - path.p) : path.n };
}

static void add_asked(struct cv_buf *b, const struct cv_req *req)
{
    static const char *const types[] = { [CV_HTTP] = "http", [CV_WEBSOCKET] = "websocket", [CV_TCP] = "tcp" };
    struct cv_str ray = cv_header(req->headers, CV_STR("cf-ray"));
    if (ray.n)
        add_text(b, "cfRay", ray);
    if (req->conn)
        add_number(b, "connIndex", req->conn->index);
    if (req->rule && req->rule->index >= 0)
        add_number(b, "rule", req->rule->index);
    add_text(b, "type", cv_str_of(types[req->type]));
    add_text(b, "host", req->authority);
    if (req->type == CV_TCP)
        return;
    add_text(b, "method", req->method);
    add_text(b, "path", without_query(req->path));
}

void access_log_line(struct cv_buf *b, const struct cv_event *event)
{
    const struct cv_req *req = event->req;
    struct cv_req_sum sum;
    cv_req_sum(req, &sum);
    add_time(b);
    add_asked(b, req);
    add_number(b, "status", req->status);
    add_number(b, "bytesIn", (int64_t)sum.up);
    add_number(b, "bytesOut", (int64_t)sum.down);
    add_seconds(b, "ttfb", sum.first_us);
    add_seconds(b, "total", sum.total_us);
    if (event->why) {
        add_text(b, "closedBy", cv_str_of(sum.ended_by));
        add_text(b, "reason", cv_str_of(cv_error_name(event->why)));
    }
    add_raw(b, "}\n");
}
