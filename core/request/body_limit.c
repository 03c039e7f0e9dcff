/* body_limit.c: request bodies that are longer than the operator allows: 413, as early as it is known. */
#include "request/body_limit.h"
#include "request/stock.h"

void body_limit_set(struct request *r)
{
    const struct stock *stock = r->worker->stock;
    r->body_max = r->pub.type == CV_HTTP ? stock->limits->request_body.n : 0;
}

static bool is_over(const struct request *r)
{
    int64_t declared = r->pub.body_length;
    return r->up.total > r->body_max || (declared > 0 && (uint64_t)declared > r->body_max);
}

/* The origin has said all it wants to say, or there is none. */
static bool is_read_no_more(const struct request *r)
{
    return r->replied || r->failed || r->pub.error || r->down.finished || r->step == STEP_CLOSE;
}

bool body_limit_passed(struct request *r)
{
    struct cv_req *req = &r->pub;
    unsigned long long most = r->body_max;
    if (!most || !is_over(r))
        return false;
    r->body_max = 0; /* once */
    if (is_read_no_more(r))
        return false;
    cv_add(METRIC(M_CULVERT_REFUSED, CV_STR("body")), 1);
    if (r->step < STEP_HEAD) {
        cv_req_refuse(req, 413, "body_too_large", (struct cv_ms){ 0 },
                      "The request's body is larger than the %llu bytes that are accepted here.", most);
    } else {
        r->blamed = SIDE_VISITOR;
        cv_req_fail(req, CV_E_LIMIT, "the request's body is longer than %llu bytes: [limits] request_body",
                    most);
    }
    return true;
}
