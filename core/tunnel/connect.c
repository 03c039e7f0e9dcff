/* connect.c: the heads of QUIC data streams for the edge module that speaks QUIC. */
#include "culvert/wire.h"
#include "schema.h"

#include <stdlib.h>

static const uint8_t preamble[] = { 0x0a, 0x36, 0xcd, 0x12, 0xa1, 0x3e, '0', '1' };

static enum cv_error take_metadata(struct cv_connect_request *out, const struct schema_connect_request *in,
                                   struct cv_err *err)
{
    if (in->n_metadata > out->n_metadata)
        return cv_fail(err, CV_E_LIMIT, "more than %zu metadata entries in a ConnectRequest",
                       out->n_metadata);
    for (size_t i = 0; i < in->n_metadata; i++)
        out->metadata[i] = (struct cv_metadata){ in->metadata[i].key, in->metadata[i].val };
    out->n_metadata = in->n_metadata;
    out->type = in->type;
    out->dest = in->dest;
    return CV_OK;
}

enum cv_error cv_connect_request_decode(const uint8_t *p, size_t n, size_t max, size_t *need,
                                        struct cv_connect_request *out, struct cv_err *err)
{
    enum cv_error e = capnp_frame(p, n, max, need, err);
    if (e || *need > n)
        return e;

    struct capnp_msg msg;
    e = capnp_open(&msg, p, *need, err);
    if (e)
        return e;
    struct schema_connect_request in;
    struct cv_buf scratch = { 0 };
    e = schema_get_connect_request(capnp_root(&msg), &in, &scratch, err);
    if (!e)
        e = take_metadata(out, &in, err);
    cv_buf_free(&scratch);
    return e;
}

uint8_t *cv_connect_response_encode(struct cv_str error, const struct cv_metadata *v, size_t n, size_t *bytes)
{
    struct schema_metadata *metadata = cv_xcalloc(n, sizeof *metadata);
    for (size_t i = 0; i < n; i++)
        metadata[i] = (struct schema_metadata){ v[i].key, v[i].val };
    struct schema_connect_response response = { .error = error,
                                                .metadata = v ? metadata : NULL,
                                                .n_metadata = n };

    struct cv_buf out = { 0 };
    cv_buf_add(&out, preamble, sizeof preamble);
    struct capnp_build b;
    struct capnp_new root = capnp_begin(&b, &out);
    schema_put_connect_response(root, 0, &response);
    capnp_end(&b);
    free(metadata);
    *bytes = out.n;
    return out.p;
}
