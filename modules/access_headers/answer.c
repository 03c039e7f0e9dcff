/* answer.c: verdicts and what the refused hear of them: the same text for every visitor. */
#include "access.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
    const char *text;
} verdicts[] = {
#define X(id, name, status, text) [ACCESS_##id] = { name, status, text },
    ACCESS_VERDICTS(X)
#undef X
};

const char *access_verdict_name(enum access_verdict v)
{
    return verdicts[v].name;
}

bool access_anthropic_path(struct cv_str path)
{
    static const char messages[] = "/v1/messages";
    size_t n = strlen(messages);
    return path.n >= n && memcmp(path.p, messages, n) == 0 && (path.n == n || strchr("/?", path.p[n]));
}

static bool is_about_key(enum access_verdict v)
{
    return v == ACCESS_NO_BEARER || v == ACCESS_BAD_BEARER || v == ACCESS_UNKNOWN_BEARER;
}

/* RFC 6750 §3: an error only where a credential was presented. */
static struct cv_str challenge(enum access_verdict v, bool shown)
{
    if (!is_about_key(v))
        return CV_STR("Bearer realm=\"access\", error=\"invalid_token\"");
    if (!shown)
        return CV_STR("Bearer realm=\"culvert\"");
    return CV_STR("Bearer realm=\"culvert\", error=\"invalid_token\"");
}

void access_answer(struct cv_req *req, enum access_verdict v, bool shown)
{
    int status = verdicts[v].status;
    const char *code = status == 503 ? "unavailable" : is_about_key(v) ? "invalid_api_key" : "access_denied";
    struct cv_headers *h = cv_headers_new(req);
    struct cv_str body = cv_api_error(req, status, code, cv_str_of(verdicts[v].text));
    cv_header_add(req, h, CV_STR("content-type"), CV_STR("application/json"));
    cv_header_add(req, h, CV_STR("cache-control"), CV_STR("no-store"));
    cv_header_add(req, h, CV_STR("content-length"), cv_print(req, "%zu", body.n));
    if (status == 401)
        cv_header_add(req, h, CV_STR("www-authenticate"), challenge(v, shown));
    if (status == 503)
        cv_header_add(req, h, CV_STR("retry-after"), CV_STR("5"));
    req->resp_headers = h;
    bool head = cv_str_eq(req->method, CV_STR("HEAD"));
    cv_req_reply(req, status, head ? (struct cv_str){ NULL, 0 } : body);
}
