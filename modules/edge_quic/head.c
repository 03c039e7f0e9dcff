/* head.c: what stands in front of a data stream's bytes: ConnectRequest to request, response to
 * ConnectResponse. */
#include "quic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t data_signature[QUIC_SIGNATURE] = { 0x0a, 0x36, 0xcd, 0x12, 0xa1, 0x3e };
static const uint8_t rpc_signature[QUIC_SIGNATURE] = { 0x52, 0xbb, 0x82, 0x5c, 0xdb, 0x65 };

#define HEADER_KEY "HttpHeader"

enum quic_kind quic_head_kind(const uint8_t *p, size_t n)
{
    size_t have = n < QUIC_SIGNATURE ? n : QUIC_SIGNATURE;
    if (!n)
        return QUIC_PARTIAL;
    bool whole = have == QUIC_SIGNATURE;
    if (memcmp(p, data_signature, have) == 0)
        return whole ? QUIC_DATA : QUIC_PARTIAL;
    if (memcmp(p, rpc_signature, have) == 0)
        return whole ? QUIC_RPC : QUIC_PARTIAL;
    return QUIC_UNKNOWN;
}

enum cv_error quic_head_type(const struct cv_connect_request *head, enum cv_req_type *type)
{
    switch (head->type) {
    case CV_CONNECT_HTTP: *type = CV_HTTP; return CV_OK;
    case CV_CONNECT_WEBSOCKET: *type = CV_WEBSOCKET; return CV_OK;
    case CV_CONNECT_TCP: *type = CV_TCP; return CV_OK;
    default: return CV_E_PROTO;
    }
}

/* ---- request ----------------------------------------------------------------------------------------- */

static const char *find(struct cv_str s, char c)
{
    return s.n ? memchr(s.p, c, s.n) : NULL;
}

static struct cv_str after(struct cv_str s, size_t n)
{
    return (struct cv_str){ s.p + n, s.n - n };
}

static bool contains(struct cv_str s, struct cv_str what)
{
    if (s.n < what.n)
        return false;
    return memcmp(s.p, what.p, what.n) == 0 || memmem(s.p, s.n, what.p, what.n); /* most begin with it */
}

static bool contains_fold(struct cv_str s, struct cv_str what)
{
    for (; s.n >= what.n; s = after(s, 1))
        if (cv_str_caseeq((struct cv_str){ s.p, what.n }, what))
            return true;
    return false;
}

/* Scheme and path of a URL, or of a bare path. Its host does not matter: HttpHost says what the visitor asked
 * for. */
static enum cv_error take_dest(struct cv_req *req, struct cv_str dest, struct cv_err *err)
{
    for (size_t i = 0; i < dest.n; i++)
        if ((uint8_t)dest.p[i] < 0x20 || dest.p[i] == 0x7f)
            return cv_fail(err, CV_E_PROTO,
                           "parse \"" CV_STR_FMT "\": net/url: invalid control character in URL",
                           CV_STR_ARG(dest));
    const char *fragment = find(dest, '#');
    if (fragment)
        dest.n = (size_t)(fragment - dest.p);

    const char *colon = find(dest, ':');
    size_t scheme = colon ? (size_t)(colon - dest.p) : 0;
    req->scheme = CV_STR("http");
    if (scheme && dest.n - scheme >= 3 && memcmp(colon, "://", 3) == 0 &&
        !find((struct cv_str){ dest.p, scheme }, '/')) {
        req->scheme = cv_copy(req, (struct cv_str){ dest.p, scheme });
        dest = after(dest, scheme + 3);
        while (dest.n && dest.p[0] != '/' && dest.p[0] != '?')
            dest = after(dest, 1);
    }
    bool slash = !dest.n || dest.p[0] != '/';
    char *path = cv_alloc(req, slash + dest.n);
    if (slash)
        *path = '/';
    if (dest.n)
        memcpy(path + slash, dest.p, dest.n);
    req->path = (struct cv_str){ path, slash + dest.n };
    return CV_OK;
}

/* The key has the form HttpHeader:<Name>; it is known by containing "HttpHeader". */
static enum cv_error take_header(struct cv_req *req, const struct cv_metadata *m, struct cv_err *err)
{
    const char *colon = find(m->key, ':');
    struct cv_str name = colon ? after(m->key, (size_t)(colon + 1 - m->key.p)) : (struct cv_str){ 0 };
    if (!colon || find(name, ':'))
        return cv_fail(err, CV_E_PROTO, "header Key: " CV_STR_FMT " malformed", CV_STR_ARG(m->key));
    if (!cv_str_caseeq(name, CV_STR("Cf-Cloudflared-Proxy-Connection-Upgrade")))
        cv_header_add(req, req->headers, name, m->val);
    return CV_OK;
}

static enum cv_error take_metadata(struct cv_req *req, const struct cv_connect_request *head,
                                   struct cv_err *err)
{
    struct cv_str method = { 0 };
    enum cv_error e = CV_OK;
    for (size_t i = 0; i < head->n_metadata && !e; i++) {
        const struct cv_metadata *m = &head->metadata[i];
        if (cv_str_eq(m->key, CV_STR("HttpMethod")))
            method = m->val;
        else if (cv_str_eq(m->key, CV_STR("HttpHost")))
            req->authority = cv_copy(req, m->val);
        else if (contains(m->key, CV_STR(HEADER_KEY)))
            e = take_header(req, m, err);
    }
    if (e)
        return e;
    if (!method.n)
        method = CV_STR("GET");
    if (!cv_is_token(method))
        return cv_fail(err, CV_E_PROTO, "net/http: invalid method \"" CV_STR_FMT "\"", CV_STR_ARG(method));
    req->method = cv_copy(req, method);
    return CV_OK;
}

static enum cv_error content_length(struct cv_str text, int64_t *out, struct cv_err *err)
{
    const char *why = NULL;
    struct cv_str digits = text.n > 1 && text.p[0] == '+' ? after(text, 1) : text;
    int64_t n = 0;
    for (size_t i = 0; i < digits.n && !why; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9')
            why = "invalid syntax";
        else if (__builtin_mul_overflow(n, (int64_t)10, &n) ||
                 __builtin_add_overflow(n, digits.p[i] - '0', &n))
            why = "value out of range";
    }
    if (why)
        return cv_fail(err, CV_E_PROTO,
                       "Error setting content-length: strconv.ParseInt: parsing \"" CV_STR_FMT "\": %s",
                       CV_STR_ARG(text), why);
    *out = n;
    return CV_OK;
}

/* docs/protocol.md §12.4: a length wins over chunked; with neither there is no body, whatever the stream
 * carries. */
static enum cv_error take_body_rule(struct cv_req *req, struct cv_err *err)
{
    if (req->type == CV_WEBSOCKET) {
        req->body_length = CV_BODY_STREAM;
        return CV_OK;
    }
    req->body_length = 0;
    struct cv_str length = cv_header(req->headers, CV_STR("content-length"));
    if (length.n) {
        enum cv_error e = content_length(length, &req->body_length, err);
        if (e || req->body_length)
            return e;
    }
    if (contains_fold(cv_header(req->headers, CV_STR("transfer-encoding")), CV_STR("chunked")))
        req->body_length = CV_BODY_STREAM;
    return CV_OK;
}

enum cv_error quic_head_request(const struct cv_connect_request *head, struct cv_req *req, struct cv_err *err)
{
    if (req->type == CV_TCP) {
        req->authority = cv_copy(req, head->dest);
        req->body_length = CV_BODY_STREAM;
        return CV_OK;
    }
    enum cv_error e = take_dest(req, head->dest, err);
    if (!e)
        e = take_metadata(req, head, err);
    if (!e)
        e = take_body_rule(req, err);
    return e;
}

/* ---- response ---------------------------------------------------------------------------------------- */

/* "HttpHeader:Content-Type" and so on, behind `first`, if that has a key. */
static uint8_t *encode(const struct cv_req *req, struct cv_str error, struct cv_metadata first, size_t *n)
{
    static const char prefix[] = HEADER_KEY ":";
    size_t headers = 0, bytes = 0, used = first.key.n > 0;
    struct cv_str name, value;
    for (; cv_header_at(req->resp_headers, headers, &name, &value); headers++)
        bytes += sizeof prefix - 1 + name.n;
    struct cv_metadata *metadata = cv_xcalloc(headers + 1, sizeof *metadata);
    char *keys = cv_xmalloc(bytes + 1), *key = keys; /* one behind the other */
    metadata[0] = first;
    for (size_t i = 0; cv_header_at(req->resp_headers, i, &name, &value); i++) {
        memcpy(key, prefix, sizeof prefix - 1);
        cv_canonical_name(name, key + sizeof prefix - 1);
        metadata[used++] = (struct cv_metadata){ { key, sizeof prefix - 1 + name.n }, value };
        key += sizeof prefix - 1 + name.n;
    }
    uint8_t *out = cv_connect_response_encode(error, used ? metadata : NULL, used, n);
    free(metadata);
    free(keys);
    return out;
}

static uint8_t *failure(const struct cv_req *req, size_t *n)
{
    struct cv_str text = req->error_text.n ? req->error_text : cv_str_of(cv_error_text(req->error));
    struct cv_metadata first = { 0 };
    if (req->type == CV_TCP && req->error == CV_E_LIMIT)
        first = (struct cv_metadata){ CV_STR("FlowConnectRateLimited"), CV_STR("true") };
    return encode(req, text, first, n);
}

static uint8_t *success(const struct cv_req *req, size_t *n)
{
    char status[16];
    int digits = snprintf(status, sizeof status, "%d", req->status);
    return encode(req, (struct cv_str){ 0 },
                  (struct cv_metadata){ CV_STR("HttpStatus"), { status, (size_t)digits } }, n);
}

/* gRPC-Web has its status in the body, and an answer without messages in its head. */
bool quic_head_needs_trailers(const struct cv_req *req)
{
    const struct cv_str grpc = CV_STR("application/grpc");
    struct cv_str type = cv_header(req->resp_headers, CV_STR("content-type"));
    return req->type == CV_HTTP && !req->error && type.n >= grpc.n &&
           cv_str_caseeq((struct cv_str){ type.p, grpc.n }, grpc) &&
           (type.n == grpc.n || type.p[grpc.n] == '+' || type.p[grpc.n] == ';') &&
           cv_header(req->resp_headers, CV_STR("grpc-status")).n == 0;
}

/* A whole response that gRPC reads as a failure: INTERNAL, as its libraries say themselves when a status is missing,
 * since nobody knows whether the call may be made again. */
static uint8_t *lost_trailers(size_t *n)
{
    static const struct cv_metadata head[] = {
        { CV_STR("HttpStatus"), CV_STR("200") },
        { CV_STR(HEADER_KEY ":Content-Type"), CV_STR("application/grpc") },
        { CV_STR(HEADER_KEY ":Grpc-Status"), CV_STR("13") },
        { CV_STR(HEADER_KEY ":Grpc-Message"), CV_STR("culvert: the status of a gRPC response is a trailer, "
                                                     "and connections over QUIC carry none: set "
                                                     "protocol = http2") },
    };
    return cv_connect_response_encode((struct cv_str){ 0 }, head, sizeof head / sizeof head[0], n);
}

uint8_t *quic_head_response(const struct cv_req *req, size_t *n)
{
    if (req->error)
        return failure(req, n);
    if (quic_head_needs_trailers(req))
        return lost_trailers(n);
    if (req->type == CV_TCP)
        return cv_connect_response_encode((struct cv_str){ 0 }, &(struct cv_metadata){ 0 }, 0, n);
    return success(req, n);
}
