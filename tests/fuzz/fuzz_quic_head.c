/* fuzz_quic_head.c: any bytes as the beginning of a QUIC stream, whole and cut in two, up to the request they make. */
#include "edge_quic/quic.h"
#include "harness.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct cv_metadata metadata[QUIC_METADATA];

/* What stream.c does with a head before there is a request; its length, or 0. */
static size_t decode(const uint8_t *p, size_t n, struct cv_connect_request *head)
{
    enum { PREAMBLE = QUIC_SIGNATURE + QUIC_VERSION };
    size_t need;
    struct cv_err err;
    *head = (struct cv_connect_request){ .metadata = metadata, .n_metadata = QUIC_METADATA };
    if (quic_head_kind(p, n) != QUIC_DATA || n < PREAMBLE)
        return 0;
    if (cv_connect_request_decode(p + PREAMBLE, n - PREAMBLE, 65536, &need, head, &err))
        return 0;
    if (need > n - PREAMBLE)
        return 0;
    return need;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct cv_connect_request head;
    size_t whole = decode(p, n, &head), sum = 0;
    enum cv_req_type type = CV_HTTP;
    if (!whole)
        return 0;
    for (size_t i = 0; i < head.n_metadata; i++)
        sum += head.metadata[i].key.n + head.metadata[i].val.n;
    CV_ASSERT(sum <= 8 * n && head.dest.n <= n);
    CV_ASSERT(quic_head_type(&head, &type) == CV_OK || head.type > CV_CONNECT_TCP);

    struct harness *h = harness_new(0);
    struct cv_req *req = harness_request(h, type);
    struct cv_err err;
    if (quic_head_request(&head, req, &err) == CV_OK)
        CV_ASSERT(req->body_length >= CV_BODY_STREAM);
    cv_req_done(req);
    harness_turn(h);
    harness_free(h);

    size_t bytes;
    free(cv_connect_response_encode(head.dest, head.metadata, head.n_metadata, &bytes));
    CV_ASSERT(decode(p, QUIC_SIGNATURE + QUIC_VERSION + whole / 2, &head) == 0);
    return 0;
}
