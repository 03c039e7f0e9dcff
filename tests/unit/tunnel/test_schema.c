/* test_schema.c: the golden vectors, decoded and compared with their values, encoded and compared with their
 * bytes. */
#include "schema_json.h"
#include "suite.h"
#include "tunnel/schema.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static bool same(struct cv_str a, struct cv_str b)
{
    return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n));
}

#define SAME(a, b)      CU_ASSERT_TRUE(same(a, b))
#define SAME_UUID(a, b) CU_ASSERT_EQUAL(memcmp(a, b, SCHEMA_UUID), 0)

/* ---- params and results of the recorded calls -------------------------------------------------------- */

static void compare_registration(struct capnp_struct s, yyjson_val *v, struct schema_json *j)
{
    struct schema_registration got, want = json_registration(v, j);
    struct cv_buf scratch = { 0 };
    CU_ASSERT_EQUAL_FATAL(schema_get_registration(s, &got, &scratch, NULL), CV_OK);
    CU_ASSERT_EQUAL(got.conn_index, want.conn_index);
    SAME(got.account_tag, want.account_tag);
    SAME(cv_reveal(got.tunnel_secret), cv_reveal(want.tunnel_secret));
    SAME_UUID(got.tunnel_id, want.tunnel_id);
    CU_ASSERT_EQUAL(got.replace_existing, want.replace_existing);
    CU_ASSERT_EQUAL(got.compression_quality, want.compression_quality);
    CU_ASSERT_EQUAL(got.previous_attempts, want.previous_attempts);
    SAME(got.client_id, want.client_id);
    SAME(got.version, want.version);
    SAME(got.arch, want.arch);
    SAME(got.origin_local_ip, want.origin_local_ip);
    CU_ASSERT_EQUAL_FATAL(got.features.n, want.features.n);
    for (size_t i = 0; i < got.features.n; i++)
        SAME(got.features.v[i], want.features.v[i]);
    cv_buf_free(&scratch);
}

static void compare_params(struct capnp_struct s, yyjson_val *call, struct schema_json *j)
{
    yyjson_val *v = yyjson_obj_get(call, "params");
    if (yyjson_obj_get(v, "auth")) {
        compare_registration(s, v, j);
    } else if (yyjson_obj_get(v, "version")) {
        struct schema_config_update got, want = json_config_update(v);
        CU_ASSERT_EQUAL(schema_get_config_update(s, &got, NULL), CV_OK);
        CU_ASSERT_EQUAL(got.version, want.version);
        SAME(got.config, want.config);
    } else if (yyjson_obj_get(v, "config_utf8")) {
        struct cv_str config;
        CU_ASSERT_EQUAL(schema_get_local_config(s, &config, NULL), CV_OK);
        SAME(config, vector_str(v, "config_utf8"));
    } else if (yyjson_obj_get(v, "dstPort")) {
        struct schema_udp_registration got, want = json_udp_registration(v, j);
        CU_ASSERT_EQUAL(schema_get_udp_registration(s, &got, NULL), CV_OK);
        SAME_UUID(got.session_id, want.session_id);
        SAME(got.dst_ip, want.dst_ip);
        SAME(got.trace_context, want.trace_context);
        CU_ASSERT_EQUAL(got.dst_port, want.dst_port);
        CU_ASSERT_EQUAL(got.close_after_idle, want.close_after_idle);
    } else if (yyjson_obj_get(v, "message")) {
        struct schema_udp_unregistration got, want = json_udp_unregistration(v, j);
        CU_ASSERT_EQUAL(schema_get_udp_unregistration(s, &got, NULL), CV_OK);
        SAME_UUID(got.session_id, want.session_id);
        SAME(got.message, want.message);
    } else { /* unregisterConnection */
        CU_ASSERT_EQUAL(s.data_bytes, 0);
        CU_ASSERT_EQUAL(s.n_ptrs, 0);
    }
}

static void compare_connection_response(struct capnp_struct s, yyjson_val *v, struct schema_json *j)
{
    struct schema_connection_response got, want = json_connection_response(v, j);
    CU_ASSERT_EQUAL(schema_get_connection_response(s, &got, NULL), CV_OK);
    CU_ASSERT_EQUAL(got.accepted, want.accepted);
    SAME(got.cause, want.cause);
    CU_ASSERT_EQUAL(got.retry_after, want.retry_after);
    CU_ASSERT_EQUAL(got.should_retry, want.should_retry);
    SAME_UUID(got.uuid, want.uuid);
    SAME(got.location, want.location);
    CU_ASSERT_EQUAL(got.remotely_managed, want.remotely_managed);
}

static void compare_results(struct capnp_struct s, yyjson_val *ret, struct schema_json *j)
{
    yyjson_val *v = yyjson_obj_get(ret, "decoded_outcome");
    if (yyjson_obj_get(v, "uuid") || yyjson_obj_get(v, "client_error")) {
        compare_connection_response(s, v, j);
    } else if (yyjson_obj_get(v, "latestAppliedVersion")) {
        struct schema_config_response got, want = json_config_response(v);
        CU_ASSERT_EQUAL(schema_get_config_response(s, &got, NULL), CV_OK);
        CU_ASSERT_EQUAL(got.latest_applied_version, want.latest_applied_version);
        SAME(got.error, want.error);
    } else if (yyjson_obj_get(v, "spans_hex")) {
        struct schema_udp_response got, want = json_udp_response(v, j);
        CU_ASSERT_EQUAL(schema_get_udp_response(s, &got, NULL), CV_OK);
        SAME(got.error, want.error);
        SAME(got.spans, want.spans);
    } else {
        CU_ASSERT_EQUAL(s.n_ptrs, 0);
    }
}

/* Payload content of a recorded Call or Return: which part of the body holds the payload depends on that. */
static void compare_recorded(const char *name, bool call)
{
    struct schema_json *j = schema_json_new();
    yyjson_doc *doc = vector_json(name);
    yyjson_val *v = yyjson_doc_get_root(doc);
    struct cv_buf bytes = vector_bytes(name);
    struct capnp_msg m;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, bytes.p, bytes.n, NULL), CV_OK);
    struct capnp_struct payload = capnp_get_struct(capnp_get_struct(capnp_root(&m), 0), call ? 1 : 0);
    if (call)
        compare_params(capnp_get_struct(payload, 0), v, j);
    else if (yyjson_equals_str(yyjson_obj_get(v, "return_which"), "results"))
        compare_results(capnp_get_struct(payload, 0), v, j);
    CU_ASSERT_EQUAL(capnp_check(&m, NULL), CV_OK);
    cv_buf_free(&bytes);
    yyjson_doc_free(doc);
    schema_json_free(j);
}

/* How many files of this folder end so; each() gets the name without .json. */
static unsigned each_vector(const char *folder, const char *ending, void (*each)(const char *name))
{
    char path[80];
    snprintf(path, sizeof path, "tests/vectors/%s", folder);
    DIR *dir = opendir(path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    unsigned n = 0;
    for (struct dirent *d; (d = readdir(dir));) {
        size_t len = strlen(d->d_name), end = strlen(ending);
        if (len < end || strcmp(d->d_name + len - end, ending) != 0)
            continue;
        char name[400];
        snprintf(name, sizeof name, "%s/%.*s", folder, (int)(len - strlen(".json")), d->d_name);
        each(name);
        n++;
    }
    closedir(dir);
    return n;
}

static void compare_call(const char *name)
{
    compare_recorded(name, true);
}

static void compare_return(const char *name)
{
    compare_recorded(name, false);
}

static void recorded_calls_and_returns_decode_to_their_values(void)
{
    CU_ASSERT_EQUAL(each_vector("rpc", "-call.json", compare_call), 19);
    CU_ASSERT_EQUAL(each_vector("rpc", "-return.json", compare_return), 36);
}

/* ---- heads of data streams --------------------------------------------------------------------------- */

enum { PREAMBLE = 8 }; /* signature and version */

/* How long the message is that begins behind the preamble; bodies may follow it. */
static size_t head_length(const struct cv_buf *stream)
{
    size_t need;
    CU_ASSERT_EQUAL_FATAL(capnp_frame(stream->p + PREAMBLE, stream->n - PREAMBLE, 1 << 16, &need, NULL),
                          CV_OK);
    CU_ASSERT_TRUE_FATAL(need <= stream->n - PREAMBLE);
    return need;
}

static void same_metadata(const struct schema_metadata *got, size_t n, const struct schema_metadata *want,
                          size_t n_want)
{
    CU_ASSERT_EQUAL_FATAL(n, n_want);
    for (size_t i = 0; i < n; i++) {
        SAME(got[i].key, want[i].key);
        SAME(got[i].val, want[i].val);
    }
}

static void same_bytes(struct capnp_build *b, const uint8_t *want, size_t n)
{
    capnp_end(b);
    CU_ASSERT_TRUE(vector_same((struct cv_str){ (const char *)b->out->p, b->out->n },
                               (struct cv_str){ (const char *)want, n }));
}

static void compare_request(const char *name)
{
    struct schema_json *j = schema_json_new();
    yyjson_doc *doc = vector_json(name);
    yyjson_val *v = yyjson_doc_get_root(doc);
    struct cv_buf stream = vector_bytes(name), scratch = { 0 }, out = { 0 };
    size_t n = head_length(&stream);
    struct capnp_msg m;
    struct schema_connect_request got, want = json_connect_request(v, j);
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, stream.p + PREAMBLE, n, NULL), CV_OK);
    CU_ASSERT_EQUAL_FATAL(schema_get_connect_request(capnp_root(&m), &got, &scratch, NULL), CV_OK);
    CU_ASSERT_EQUAL(got.type, want.type);
    SAME(got.dest, want.dest);
    same_metadata(got.metadata, got.n_metadata, want.metadata, want.n_metadata);
    if (m.segments == 1) {
        struct capnp_build b;
        if (strstr(name, "nullmeta"))
            want.metadata = NULL;
        schema_put_connect_request(capnp_begin(&b, &out), 0, &want);
        same_bytes(&b, stream.p + PREAMBLE, n);
    }
    cv_buf_free(&out);
    cv_buf_free(&scratch);
    cv_buf_free(&stream);
    yyjson_doc_free(doc);
    schema_json_free(j);
}

static void compare_response(const char *name)
{
    struct schema_json *j = schema_json_new();
    yyjson_doc *doc = vector_json(name);
    struct cv_buf stream = vector_bytes(name), scratch = { 0 }, out = { 0 };
    size_t n = head_length(&stream);
    struct capnp_msg m;
    struct schema_connect_response got, want = json_connect_response(yyjson_doc_get_root(doc), j);
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, stream.p + PREAMBLE, n, NULL), CV_OK);
    CU_ASSERT_EQUAL_FATAL(schema_get_connect_response(capnp_root(&m), &got, &scratch, NULL), CV_OK);
    SAME(got.error, want.error);
    same_metadata(got.metadata, got.n_metadata, want.metadata, want.n_metadata);
    struct capnp_build b;
    if (strstr(name, "err-origin"))
        want.metadata = NULL;
    schema_put_connect_response(capnp_begin(&b, &out), 0, &want);
    same_bytes(&b, stream.p + PREAMBLE, n);
    cv_buf_free(&out);
    cv_buf_free(&scratch);
    cv_buf_free(&stream);
    yyjson_doc_free(doc);
    schema_json_free(j);
}

static void compare_head(const char *name)
{
    if (!strncmp(name, "quic/req-", 9))
        compare_request(name);
    if (!strncmp(name, "quic/resp-", 10))
        compare_response(name);
}

static void stream_heads_decode_to_their_values_and_encode_to_their_bytes(void)
{
    CU_ASSERT_EQUAL(each_vector("quic", ".json", compare_head), 19);
}

/* What a stream reader would say: how it went, in the words of the vectors. */
static void verdict_of(const struct cv_buf *in, char verdict[80])
{
    size_t need;
    struct capnp_msg m;
    struct schema_connect_request r;
    struct cv_buf scratch = { 0 };
    snprintf(verdict, 80, "refused");
    if (in->n < 2)
        snprintf(verdict, 80, "EOF");
    else if (capnp_frame(in->p + 2, in->n - 2, CAPNP_MAX_BYTES, &need, NULL))
        ;
    else if (need > in->n - 2)
        snprintf(verdict, 80, "EOF");
    else if (!capnp_open(&m, in->p + 2, need, NULL) &&
             !schema_get_connect_request(capnp_root(&m), &r, &scratch, NULL))
        snprintf(verdict, 80, "accepted: dest=\"%.*s\" type=%u metadata=%zu", (int)r.dest.n,
                 r.dest.n ? r.dest.p : "", r.type, r.n_metadata);
    cv_buf_free(&scratch);
}

static void damaged_requests_get_the_recorded_verdict(void)
{
    yyjson_doc *doc = vector_json("quic/malformed-connect-requests");
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "cases"), i, n, v)
    {
        struct cv_buf in = { 0 };
        vector_unhex(&in, vector_str(v, "hex_after_signature"));
        const char *want = yyjson_get_str(yyjson_obj_get(v, "reader_error"));
        if (strncmp(want, "accepted", 8) != 0 && strcmp(want, "EOF") != 0)
            want = "refused"; /* in whatever words */
        char got[80];
        verdict_of(&in, got);
        CU_ASSERT_STRING_EQUAL(got, want);
        if (strcmp(got, want) != 0)
            fprintf(stderr, "    %s: %s\n", yyjson_get_str(yyjson_obj_get(v, "name")), got);
        cv_buf_free(&in);
    }
    CU_ASSERT_EQUAL(n, 23);
    yyjson_doc_free(doc);
}

/* ---- what the vectors do not hold -------------------------------------------------------------------- */

static void an_id_of_another_length_is_refused(void)
{
    struct cv_buf out = { 0 }, scratch = { 0 };
    struct capnp_build b;
    struct capnp_new params = capnp_put_struct(capnp_begin(&b, &out), 0, 1, 3);
    capnp_put_data(params, 1, CV_STR("fifteen bytes.."));
    capnp_end(&b);
    struct capnp_msg m;
    struct schema_registration r;
    struct cv_err why;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, out.p, out.n, NULL), CV_OK);
    CU_ASSERT_EQUAL(schema_get_registration(capnp_root(&m), &r, &scratch, &why), CV_E_PROTO);
    CU_ASSERT_STRING_EQUAL(why.text, "tunnel id has 15 bytes instead of 16");
    cv_buf_free(&out);
    cv_buf_free(&scratch);
}

static void a_connection_response_of_an_unknown_kind_is_refused(void)
{
    struct cv_buf out = { 0 };
    struct capnp_build b;
    struct capnp_new results = capnp_put_struct(capnp_begin(&b, &out), 0, 0, 1);
    capnp_put_u16(capnp_put_struct(results, 0, 1, 1), 0, 2);
    capnp_end(&b);
    struct capnp_msg m;
    struct schema_connection_response r;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, out.p, out.n, NULL), CV_OK);
    CU_ASSERT_EQUAL(schema_get_connection_response(capnp_root(&m), &r, NULL), CV_E_PROTO);
    cv_buf_free(&out);
}

static void an_empty_registration_reads_back_empty(void)
{
    struct cv_buf out = { 0 }, scratch = { 0 };
    struct capnp_build b;
    schema_put_registration(capnp_begin(&b, &out), 0,
                            &(struct schema_registration){ .replace_existing = true });
    capnp_end(&b);
    struct capnp_msg m;
    struct schema_registration r;
    CU_ASSERT_EQUAL_FATAL(capnp_open(&m, out.p, out.n, NULL), CV_OK);
    CU_ASSERT_EQUAL_FATAL(schema_get_registration(capnp_root(&m), &r, &scratch, NULL), CV_OK);
    CU_ASSERT_TRUE(r.replace_existing);
    CU_ASSERT_PTR_NULL(r.origin_local_ip.p);
    CU_ASSERT_EQUAL(r.features.n, 0);
    cv_buf_free(&out);
    cv_buf_free(&scratch);
}

SUITE(schema, TEST(recorded_calls_and_returns_decode_to_their_values),
      TEST(stream_heads_decode_to_their_values_and_encode_to_their_bytes),
      TEST(damaged_requests_get_the_recorded_verdict), TEST(an_id_of_another_length_is_refused),
      TEST(a_connection_response_of_an_unknown_kind_is_refused),
      TEST(an_empty_registration_reads_back_empty));
