/* api.c: which API a caller speaks, and an error in its form. */
#include "request/api.h"
#include "request/gojson.h"
#include "request/state.h"
#include "request/stock.h"

#include <stdarg.h>
#include <string.h>

/* ---- who asks ---------------------------------------------------------------------------------------- */

static struct cv_str without_query(struct cv_str path)
{
    const char *query = path.n ? memchr(path.p, '?', path.n) : NULL;
    return query ? (struct cv_str){ path.p, (size_t)(query - path.p) } : path;
}

enum api_shape api_shape_of(const struct cv_req *req)
{
    struct cv_str path = without_query(req->path), messages = CV_STR("messages");
    const char *v1 = path.n ? memmem(path.p, path.n, "/v1/", 4) : NULL;
    if (cv_header(req->headers, CV_STR("anthropic-version")).n > 0)
        return API_ANTHROPIC;
    if (!v1)
        return API_NONE;
    struct cv_str rest = { v1 + 4, (size_t)(path.p + path.n - (v1 + 4)) };
    bool anthropic = rest.n >= messages.n && memcmp(rest.p, messages.p, messages.n) == 0 &&
                     (rest.n == messages.n || rest.p[messages.n] == '/');
    return anthropic || cv_header(req->headers, CV_STR("x-api-key")).n > 0 ? API_ANTHROPIC : API_OPENAI;
}

/* ---- the error --------------------------------------------------------------------------------------- */

static const char *anthropic_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    case 504: return "timeout_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
    }
}

static const char *openai_type(int status)
{
    return status == 429 ? "rate_limit_error" : status < 500 ? "invalid_request_error" : "server_error";
}

struct cv_str cv_api_error(struct cv_req *req, int status, const char *code, struct cv_str message)
{
    struct cv_buf b = { 0 };
    struct cv_str ray = cv_header(req->headers, CV_STR("cf-ray"));
    if (api_shape_of(req) == API_ANTHROPIC) {
        gojson_write(&b,
                     "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", anthropic_type(status));
        gojson_write_str(&b, message);
        gojson_write(&b, "},\"request_id\":");
        if (ray.n > 0)
            gojson_write_str(&b, ray);
        else
            gojson_write(&b, "null");
        gojson_write(&b, "}");
    } else {
        gojson_write(&b, "{\"error\":{\"message\":");
        gojson_write_str(&b, message);
        gojson_write(&b, ",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}", openai_type(status), code);
    }
    struct cv_str body = cv_copy(req, (struct cv_str){ (char *)b.p, b.n });
    cv_buf_free(&b);
    return body;
}

/* ---- the answer -------------------------------------------------------------------------------------- */

static void add_fields(struct cv_req *req, const char *code, struct cv_ms retry_after, bool json, size_t n)
{
    const struct stock *stock = request_of(req)->worker->stock;
    struct cv_headers *h = cv_headers_new(req);
    cv_header_add(req, h, CV_STR("content-type"),
                  json ? CV_STR("application/json") : CV_STR("text/plain; charset=utf-8"));
    cv_header_add(req, h, CV_STR("content-length"), cv_print(req, "%zu", n));
    cv_header_add(req, h, CV_STR("cache-control"), CV_STR("no-store"));
    if (retry_after.ms > 0)
        cv_header_add(req, h, CV_STR("retry-after"),
                      cv_print(req, "%lld", (long long)(retry_after.ms + 999) / 1000));
    if (stock->name_errors)
        cv_header_add(req, h, CV_STR("culvert-error"), cv_str_of(code));
    req->resp_headers = h;
}

void api_refuse(struct cv_req *req, int status, const char *code, struct cv_ms retry_after,
                struct cv_str message)
{
    bool json = api_shape_of(req) != API_NONE;
    struct cv_str body =
        json ? cv_api_error(req, status, code, message) : cv_print(req, CV_STR_FMT "\n", CV_STR_ARG(message));
    if (req->error || request_of(req)->step >= STEP_HEAD)
        return;
    add_fields(req, code, retry_after, json, body.n);
    bool head = cv_str_eq(req->method, CV_STR("HEAD"));
    cv_req_reply(req, status, head ? (struct cv_str){ NULL, 0 } : body);
}

void cv_req_refuse(struct cv_req *req, int status, const char *code, struct cv_ms retry_after,
                   const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    api_refuse(req, status, code, retry_after, (struct cv_str){ text, used });
}
