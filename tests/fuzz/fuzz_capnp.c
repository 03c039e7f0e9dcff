/* fuzz_capnp.c: any bytes as a message, walked whole and read as each of the tunnel's structs. */
#include "tunnel/schema.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Reading a byte of everything shows the sanitizers what is out of bounds. */
static unsigned touch(struct cv_str v)
{
    unsigned sum = 0;
    for (size_t i = 0; i < v.n; i++)
        sum += (uint8_t)v.p[i];
    return sum;
}

static unsigned walk(struct capnp_struct s)
{
    unsigned sum = s.data_bytes ? capnp_get_u8(s, s.data_bytes - 1) : 0;
    for (size_t i = 0; i < s.n_ptrs && !s.msg->bad; i++) {
        uint32_t cap = 0;
        sum += touch(capnp_get_text(s, i)) + touch(capnp_get_data(s, i)) + capnp_get_cap(s, i, &cap) + cap;
        struct capnp_list l = capnp_get_list(s, i);
        for (size_t k = 0; k < l.n && !s.msg->bad; k++)
            sum += walk(capnp_list_at(l, k));
        sum += walk(capnp_get_struct(s, i));
    }
    return sum;
}

static void read_calls(struct capnp_struct s, struct cv_buf *scratch)
{
    struct schema_registration registration;
    struct schema_connection_response connection;
    struct schema_config_update update;
    struct schema_config_response config;
    struct schema_udp_registration udp;
    struct schema_udp_unregistration udp_end;
    schema_get_registration(s, &registration, scratch, NULL);
    schema_get_connection_response(s, &connection, NULL);
    schema_get_config_update(s, &update, NULL);
    schema_get_config_response(s, &config, NULL);
    schema_get_udp_registration(s, &udp, NULL);
    schema_get_udp_unregistration(s, &udp_end, NULL);
}

/* What decodes, and is written again, decodes to the same. */
static void rewrite(struct capnp_struct s, struct cv_buf *scratch)
{
    struct schema_connect_request r, again;
    if (schema_get_connect_request(s, &r, scratch, NULL))
        return;
    struct cv_buf out = { 0 }, scratch2 = { 0 };
    struct capnp_build b;
    struct capnp_msg m;
    schema_put_connect_request(capnp_begin(&b, &out), 0, &r);
    capnp_end(&b);
    CV_ASSERT(capnp_open(&m, out.p, out.n, NULL) == CV_OK);
    CV_ASSERT(schema_get_connect_request(capnp_root(&m), &again, &scratch2, NULL) == CV_OK);
    CV_ASSERT(again.type == r.type && cv_str_eq(again.dest, r.dest) && again.n_metadata == r.n_metadata);
    for (size_t i = 0; i < r.n_metadata; i++)
        CV_ASSERT(cv_str_eq(again.metadata[i].key, r.metadata[i].key) &&
                  cv_str_eq(again.metadata[i].val, r.metadata[i].val));
    cv_buf_free(&out);
    cv_buf_free(&scratch2);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    size_t need;
    if (capnp_frame(p, n, 1 << 20, &need, NULL) || need > n)
        return 0;
    struct cv_buf scratch = { 0 };
    struct capnp_msg *m = cv_xmalloc(sizeof *m);
    if (!capnp_open(m, p, need, NULL))
        walk(capnp_root(m));
    if (!capnp_open(m, p, need, NULL))
        read_calls(capnp_root(m), &scratch);
    if (!capnp_open(m, p, need, NULL))
        rewrite(capnp_root(m), &scratch);
    cv_buf_free(&scratch);
    free(m);
    return 0;
}
