/* request.c: a request's head as HTTP/1.1 bytes, framing rebuilt, nothing in it that could be read as two
 * requests. */
#include "culvert/wire.h"
#include "origin.h"

#include <stdio.h>
#include <string.h>

static void put(struct cv_buf *out, struct cv_str s)
{
    cv_buf_add(out, s.p, s.n);
}

static void put_line(struct cv_buf *out, struct cv_str name, struct cv_str value)
{
    if (name.n > 0)
        cv_canonical_name(name, (char *)cv_buf_reserve(out, name.n));
    out->n += name.n;
    put(out, CV_STR(": "));
    put(out, value);
    put(out, CV_STR("\r\n"));
}

/* ---- what may be written at all ---------------------------------------------------------------------- */

/* Bytes above 0x7f pass: visitors send them, origins are used to them. */
static bool is_visible(struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool is_host(struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '/' || c == '\\' || c == '?' || c == '#' || c == '@' || c == ',')
            return false;
    }
    return is_visible(s);
}

static bool is_path(struct cv_str s)
{
    return is_visible(s) && (s.n == 0 || s.p[0] == '/' || cv_str_eq(s, CV_STR("*")));
}

static bool is_value(struct cv_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((uint8_t)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static struct cv_str trim(struct cv_str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* ---- what is written --------------------------------------------------------------------------------- */

/* Hop-by-hop, or made anew below. A field that Connection names passes on, as it always has: a visitor must
 * not be able to have Cf-Connecting-Ip and the like removed. */
static bool is_ours(struct cv_str name)
{
    static const struct cv_str names[] = {
        CV_STR("te"),
        CV_STR("host"),
        CV_STR("upgrade"),
        CV_STR("trailer"),
        CV_STR("connection"),
        CV_STR("keep-alive"),
        CV_STR("cf-trace-id"),
        CV_STR("content-length"),
        CV_STR("proxy-connection"),
        CV_STR("transfer-encoding"),
        CV_STR("cf-cloudflared-proxy-connection-upgrade"),
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (cv_str_caseeq(name, names[i]))
            return true;
    return false;
}

static bool passes(const struct cv_req *req, struct cv_str name, struct cv_str value)
{
    if (cv_str_caseeq(name, CV_STR("te")))
        return cv_str_caseeq(value,
                             CV_STR("trailers")); /* what gRPC asks for; it binds the end, not the hop */
    if (cv_str_caseeq(name, CV_STR("x-forwarded-host")))
        return req->rule->settings.http_host_header.n == 0;
    if (cv_str_caseeq(name, CV_STR("sec-websocket-version")))
        return req->type != CV_WEBSOCKET;
    return !is_ours(name);
}

/* Accept-Encoding passes as it is. To add gzip where the visitor did not ask for it, and unpack again, would
 * cost both ends time, and hold back an event stream until the packer fills a block. */
static enum cv_error put_fields(struct cv_buf *out, const struct cv_req *req, const char **why)
{
    struct cv_str name, value;
    for (size_t i = 0; req->headers && cv_header_at(req->headers, i, &name, &value); i++) {
        value = trim(value);
        *why = !cv_is_token(name) ? "a request header's name is not a token"
               : !is_value(value) ? "a request header's value has control characters"
                                  : NULL;
        if (*why)
            return CV_E_PROTO;
        if (passes(req, name, value))
            put_line(out, name, value);
    }
    return CV_OK;
}

static void put_target(struct cv_buf *out, const struct cv_proxy *via, const struct cv_req *req)
{
    if (via) {
        put(out, CV_STR("http://"));
        put(out, req->rule->target.authority);
    }
    if (!via || !cv_str_eq(req->path, CV_STR("*"))) /* all of the server: the URL ends there */
        put(out, req->path.n ? req->path : CV_STR("/"));
}

static enum cv_error put_start(struct cv_buf *out, const struct cv_proxy *via, const struct cv_req *req,
                               const char **why)
{
    bool replaced = req->rule->settings.http_host_header.n > 0;
    struct cv_str host = replaced ? req->rule->settings.http_host_header : req->authority;
    if (host.n == 0)
        host = req->rule->target.authority;
    *why = !cv_is_token(req->method) || cv_str_eq(req->method, CV_STR("CONNECT"))
               ? "the request's method is not usable"
           : !is_path(req->path)                        ? "the request's path is not usable"
           : !is_host(host) || !is_host(req->authority) ? "the request's host is not usable"
                                                        : NULL;
    if (*why)
        return CV_E_PROTO;
    put(out, req->method);
    put(out, CV_STR(" "));
    put_target(out, via, req);
    put(out, CV_STR(" HTTP/1.1\r\n"));
    put_line(out, CV_STR("Host"), host);
    if (replaced)
        put_line(out, CV_STR("X-Forwarded-Host"), req->authority);
    return CV_OK;
}

static bool expects_body(struct cv_str method)
{
    return cv_str_eq(method, CV_STR("POST")) || cv_str_eq(method, CV_STR("PUT")) ||
           cv_str_eq(method, CV_STR("PATCH"));
}

static void put_framing(struct cv_buf *out, const struct cv_req *req, int64_t body_length)
{
    if (req->type == CV_WEBSOCKET) {
        put(out, CV_STR("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Version: 13\r\n"));
        return;
    }
    put(out, CV_STR("Connection: keep-alive\r\n"));
    if (body_length == CV_BODY_STREAM) {
        put(out, CV_STR("Transfer-Encoding: chunked\r\n"));
    } else if (body_length > 0 || expects_body(req->method)) {
        char digits[24];
        int n = snprintf(digits, sizeof(digits), "%lld", (long long)body_length);
        put_line(out, CV_STR("Content-Length"), (struct cv_str){ digits, (size_t)n });
    }
}

static void put_login(struct cv_buf *out, const struct cv_proxy *via)
{
    if (!via || !via->credentials[0])
        return;
    put(out, CV_STR("Proxy-Authorization: "));
    cv_proxy_login(via, out);
    put(out, CV_STR("\r\n"));
}

enum cv_error origin_request_head_via(struct cv_buf *out, const struct cv_proxy *via,
                                      const struct cv_req *req, int64_t body_length,
                                      const struct cv_buf *tags, const char **why)
{
    enum cv_error error = put_start(out, via, req, why);
    if (!error)
        error = put_fields(out, req, why);
    if (error)
        return error;
    put_framing(out, req, body_length);
    put_login(out, via);
    cv_buf_add(out, tags->p, tags->n);
    put(out, CV_STR("\r\n"));
    return CV_OK;
}

enum cv_error origin_request_head(struct cv_buf *out, const struct cv_req *req, int64_t body_length,
                                  const struct cv_buf *tags, const char **why)
{
    return origin_request_head_via(out, NULL, req, body_length, tags, why);
}

bool origin_tag_line(struct cv_buf *out, struct cv_str name, struct cv_str value)
{
    if (!cv_is_token(name) || !is_value(value))
        return false;
    struct cv_buf full = { 0 };
    put(&full, CV_STR("Cf-Warp-Tag-"));
    put(&full, name);
    put_line(out, (struct cv_str){ (const char *)full.p, full.n }, trim(value));
    cv_buf_free(&full);
    return true;
}
