/* fuzz_rpc.c: any bytes as what the peer says, to a client that waits and to a server that answers late. */
#include "tunnel/rpc.h"
#include "tunnel/schema.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct owner {
    struct rpc_token calls[4];
    unsigned n_calls, n_done;
};

static bool keep(void *arg, struct rpc *r, struct rpc_token t, struct rpc_method m,
                 struct capnp_struct params)
{
    struct owner *o = arg;
    struct schema_udp_unregistration u;
    if (m.number > 7)
        return false;
    if (schema_get_udp_unregistration(params, &u, NULL))
        rpc_return_exception(r, t, CV_STR("bad params"));
    o->calls[o->n_calls++ % 4] = t;
    return true;
}

static void canceled(void *arg, struct rpc *r, struct rpc_token t)
{
    (void)arg;
    rpc_return_exception(r, t, CV_STR("too late: must not be heard"));
}

static void done(void *arg, const struct rpc_result *result)
{
    (void)result;
    ((struct owner *)arg)->n_done++;
}

/* Fed in pieces of `step` bytes; what it said is left in *said. */
static void run(const uint8_t *p, size_t n, size_t step, struct cv_buf *said)
{
    static const struct rpc_ops ops = { keep, canceled };
    struct owner o = { .n_calls = 0 };
    struct rpc *r =
        rpc_new(&ops, &o, &(struct rpc_limits){ .message = 64 << 10, .answers = 8, .questions = 8 });
    struct capnp_new payload;
    CV_ASSERT(rpc_call_begin(r, &schema_unregister_connection, &payload, NULL) == CV_OK);
    schema_put_empty(payload, 0);
    rpc_call_send(r, done, &o);
    for (size_t at = 0; at < n; at += step)
        if (rpc_feed(r, p + at, n - at < step ? n - at : step, NULL))
            break;
    for (unsigned i = 0; i < 4; i++) {
        schema_put_empty(rpc_return_begin(r, o.calls[i]), 0);
        rpc_return_send(r);
    }
    rpc_close(r);
    CV_ASSERT(o.n_done == 1);
    cv_buf_add(said, rpc_out(r)->p, rpc_out(r)->n);
    rpc_free(r);
}

/* How the bytes are cut must not matter. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct cv_buf whole = { 0 }, pieces = { 0 };
    run(p, n, n + 1, &whole);
    run(p, n, 5, &pieces);
    CV_ASSERT(whole.n == pieces.n && !memcmp(whole.p, pieces.p, whole.n));
    cv_buf_free(&whole);
    cv_buf_free(&pieces);
    return 0;
}
