/* say.c: what the log says of one visitor's request: that it came, what it was answered, why it failed. */
#include "request/say.h"

#include <stdio.h>
#include <string.h>

enum { FIELDS = 9 };

struct line {
    struct cv_field f[FIELDS];
    size_t n;
};

static void add(struct line *l, struct cv_field f)
{
    CV_ASSERT(l->n < FIELDS);
    l->f[l->n++] = f;
}

static void add_whose(struct line *l, const struct request *r)
{
    const struct cv_req *req = &r->pub;
    struct cv_str ray = cv_header(req->headers, CV_STR("cf-ray"));
    add(l, CV_I("event", req->type == CV_TCP ? 2 : r->counted ? 1 : 0));
    if (req->conn)
        add(l, CV_I("connIndex", req->conn->index));
    if (ray.n)
        add(l, CV_S("cfRay", ray));
    if (req->rule && req->rule->index >= 0)
        add(l, CV_I("ingressRule", req->rule->index));
    if (req->rule)
        add(l, CV_S("originService", req->rule->service));
}

static bool is_http2(const struct request *r)
{
    const char *protocol = r->edge->instance->module->edge->protocol;
    return protocol && strcmp(protocol, "http2") == 0;
}

void say_request(const struct request *r)
{
    const struct cv_req *req = &r->pub;
    if (!cv_log_on(CV_DEBUG) || req->type == CV_TCP)
        return;
    const char *query = req->path.n ? memchr(req->path.p, '?', req->path.n) : NULL;
    struct cv_str path = { req->path.p, query ? (size_t)(query - req->path.p) : req->path.n };
    struct line l = { .n = 0 };
    add_whose(&l, r);
    add(&l, CV_I("content-length", req->body_length));
    add(&l, CV_S("host", req->authority));
    add(&l, CV_S("path", path));
    cv_log(r->edge, CV_DEBUG, &(struct cv_fields){ l.f, l.n },
           CV_STR_FMT " https://" CV_STR_FMT CV_STR_FMT " %s", CV_STR_ARG(req->method),
           CV_STR_ARG(req->authority), CV_STR_ARG(path), is_http2(r) ? "HTTP/2.0" : "HTTP/1.1");
}

static const char *phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = { { 101, "Switching Protocols" },
                    { 200, "OK" },
                    { 201, "Created" },
                    { 202, "Accepted" },
                    { 204, "No Content" },
                    { 206, "Partial Content" },
                    { 301, "Moved Permanently" },
                    { 302, "Found" },
                    { 303, "See Other" },
                    { 304, "Not Modified" },
                    { 307, "Temporary Redirect" },
                    { 308, "Permanent Redirect" },
                    { 400, "Bad Request" },
                    { 401, "Unauthorized" },
                    { 403, "Forbidden" },
                    { 404, "Not Found" },
                    { 405, "Method Not Allowed" },
                    { 408, "Request Timeout" },
                    { 409, "Conflict" },
                    { 413, "Request Entity Too Large" },
                    { 422, "Unprocessable Entity" },
                    { 429, "Too Many Requests" },
                    { 500, "Internal Server Error" },
                    { 502, "Bad Gateway" },
                    { 503, "Service Unavailable" },
                    { 504, "Gateway Timeout" } };
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "";
}

static int64_t length_of(const struct cv_headers *headers)
{
    struct cv_str text = cv_header(headers, CV_STR("content-length"));
    int64_t n = text.n > 0 && text.n < 18 ? 0 : -1;
    for (size_t i = 0; n >= 0 && i < text.n; i++)
        n = text.p[i] >= '0' && text.p[i] <= '9' ? n * 10 + (text.p[i] - '0') : -1;
    return n;
}

void say_answer(const struct request *r)
{
    const struct cv_req *req = &r->pub;
    if (!cv_log_on(CV_DEBUG) || !r->counted || req->error || req->type == CV_TCP)
        return;
    struct line l = { .n = 0 };
    add_whose(&l, r);
    add(&l, CV_I("content-length", r->replied ? (int64_t)r->down.held : length_of(req->resp_headers)));
    cv_log(r->edge, CV_DEBUG, &(struct cv_fields){ l.f, l.n }, "%d %s", req->status, phrase(req->status));
}

void say_failure(const struct request *r)
{
    const struct cv_req *req = &r->pub;
    struct line l = { .n = 0 };
    add(&l, CV_S("error", req->error_text));
    add(&l, CV_S("reason", cv_str_of(cv_error_name(req->error))));
    add_whose(&l, r);
    cv_log(r->edge, req->error == CV_E_CANCEL ? CV_DEBUG : CV_ERROR, &(struct cv_fields){ l.f, l.n }, "%s",
           is_http2(r) ? "failed to serve incoming request" : "Request failed");
}
