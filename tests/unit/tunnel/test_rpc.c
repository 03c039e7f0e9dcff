/* test_rpc.c: both sides of every recorded exchange, and what happens off the path. */
#include "schema_json.h"
#include "suite.h"
#include "tunnel/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- recorded exchanges, byte for byte --------------------------------------------------------------- */

static const char *const recorded[] = {
    "reg-ok-remote", "reg-ok-local",       "reg-ok-noip",   "reg-err-fatal",   "reg-err-retry",
    "reg-err-dup",   "reg-local-exc",      "cfd-update-ok", "cfd-update-old",  "cfd-update-bad",
    "cfd-udpreg-ok", "cfd-udpreg-v6trace", "cfd-udpreg-v3", "cfd-udpunreg-ok", "cfd-udpunreg-v3",
};

static struct cv_str all(const struct cv_buf *b)
{
    return (struct cv_str){ (const char *)b->p, b->n };
}

static void name_of(char out[80], const char *message)
{
    snprintf(out, 80, "rpc/%s", message);
}

/* True if the next thing that the rpc says is this message; takes it. */
static bool says(struct rpc *r, const char *message)
{
    char name[80];
    name_of(name, message);
    struct cv_buf want = vector_bytes(name), *out = rpc_out(r);
    size_t n = out->n < want.n ? out->n : want.n;
    bool same = vector_same((struct cv_str){ (const char *)out->p, n }, all(&want));
    if (!same)
        fprintf(stderr, "    %s\n", name);
    cv_buf_take_front(out, n);
    cv_buf_free(&want);
    return same;
}

static bool says_nothing(struct rpc *r)
{
    return rpc_out(r)->n == 0;
}

static enum cv_error feed_vector(struct rpc *r, const char *message)
{
    char name[80];
    name_of(name, message);
    struct cv_buf in = vector_bytes(name);
    enum cv_error e = rpc_feed(r, in.p, in.n, NULL);
    cv_buf_free(&in);
    return e;
}

static yyjson_doc *json_of(const char *message)
{
    char name[80];
    name_of(name, message);
    return vector_json(name);
}

static struct rpc_method method_of(yyjson_val *call)
{
    return (struct rpc_method){ strtoull(yyjson_get_str(yyjson_obj_get(call, "interfaceId")), NULL, 16),
                                (uint16_t)yyjson_get_uint(yyjson_obj_get(call, "methodId")) };
}

static void put_params(struct capnp_new payload, struct rpc_method m, yyjson_val *params,
                       struct schema_json *j)
{
    if (rpc_same_method(m, schema_register_connection)) {
        struct schema_registration r = json_registration(params, j);
        schema_put_registration(payload, 0, &r);
    } else if (rpc_same_method(m, schema_update_local_configuration)) {
        schema_put_local_config(payload, 0, vector_str(params, "config_utf8"));
    } else if (rpc_same_method(m, schema_update_configuration)) {
        struct schema_config_update u = json_config_update(params);
        schema_put_config_update(payload, 0, &u);
    } else if (rpc_same_method(m, schema_register_udp_session)) {
        struct schema_udp_registration u = json_udp_registration(params, j);
        schema_put_udp_registration(payload, 0, &u);
    } else if (rpc_same_method(m, schema_unregister_udp_session)) {
        struct schema_udp_unregistration u = json_udp_unregistration(params, j);
        schema_put_udp_unregistration(payload, 0, &u);
    } else {
        CU_ASSERT_TRUE(rpc_same_method(m, schema_unregister_connection));
        schema_put_empty(payload, 0);
    }
}

static void put_results(struct capnp_new payload, struct rpc_method m, yyjson_val *outcome,
                        struct schema_json *j)
{
    if (rpc_same_method(m, schema_register_connection)) {
        struct schema_connection_response r = json_connection_response(outcome, j);
        schema_put_connection_response(payload, 0, &r);
    } else if (rpc_same_method(m, schema_update_configuration)) {
        struct schema_config_response r = json_config_response(outcome);
        schema_put_config_response(payload, 0, &r);
    } else if (rpc_same_method(m, schema_register_udp_session)) {
        struct schema_udp_response r = json_udp_response(outcome, j);
        schema_put_udp_response(payload, 0, &r);
    } else {
        schema_put_empty(payload, 0);
    }
}

static void keep_what(void *arg, const struct rpc_result *result)
{
    *(int *)arg = (int)result->what;
}

static void call_like(struct rpc *r, yyjson_val *call, int *outcome)
{
    struct schema_json *j = schema_json_new();
    struct capnp_new payload;
    struct rpc_method m = method_of(call);
    CU_ASSERT_EQUAL_FATAL(rpc_call_begin(r, &m, &payload, NULL), CV_OK);
    put_params(payload, m, yyjson_obj_get(call, "params"), j);
    rpc_call_send(r, keep_what, outcome);
    schema_json_free(j);
}

static const char *nth(yyjson_val *messages, size_t i)
{
    return yyjson_get_str(yyjson_arr_get(messages, i));
}

static bool is(yyjson_doc *message, const char *which)
{
    return yyjson_equals_str(yyjson_obj_get(yyjson_doc_get_root(message), "which"), which);
}

/* We are the client: does it say what the recorded one said, given the recorded answers? */
static void replay_client(yyjson_val *ours, yyjson_val *theirs)
{
    struct rpc *r = rpc_new(NULL, NULL, NULL);
    size_t answer = 0;
    int outcome = -1;
    for (size_t i = 1; i < yyjson_arr_size(ours); i++) {
        yyjson_doc *message = json_of(nth(ours, i));
        if (is(message, "call")) {
            call_like(r, yyjson_doc_get_root(message), &outcome);
        } else if (is(message, "finish")) {
            CU_ASSERT_EQUAL(feed_vector(r, nth(theirs, answer++)), CV_OK);
        } else if (is(message, "release")) {
            rpc_close(r);
        }
        if (i == 1)
            CU_ASSERT_TRUE(says(r, nth(ours, 0))); /* Bootstrap: before the call, without waiting */
        CU_ASSERT_TRUE(says(r, nth(ours, i)));
        yyjson_doc_free(message);
    }
    CU_ASSERT_TRUE(says_nothing(r));
    CU_ASSERT_EQUAL(answer, yyjson_arr_size(theirs));
    CU_ASSERT_TRUE(outcome == RPC_RESULTS || outcome == RPC_EXCEPTION);
    rpc_free(r);
}

static void the_client_says_what_was_recorded(void)
{
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        yyjson_doc *doc = json_of(recorded[i]);
        yyjson_val *root = yyjson_doc_get_root(doc);
        replay_client(yyjson_obj_get(root, "client_to_server"), yyjson_obj_get(root, "server_to_client"));
        yyjson_doc_free(doc);
    }
}

struct scripted {
    yyjson_val *answers;
    size_t next;
};

static bool answer_like(void *arg, struct rpc *r, struct rpc_token t, struct rpc_method m,
                        struct capnp_struct params)
{
    (void)params;
    struct scripted *s = arg;
    struct schema_json *j = schema_json_new();
    yyjson_doc *doc = json_of(nth(s->answers, s->next));
    yyjson_val *ret = yyjson_doc_get_root(doc), *exception = yyjson_obj_get(ret, "exception");
    if (exception) {
        rpc_return_exception(r, t, vector_str(exception, "reason"));
    } else {
        put_results(rpc_return_begin(r, t), m, yyjson_obj_get(ret, "decoded_outcome"), j);
        rpc_return_send(r);
    }
    yyjson_doc_free(doc);
    schema_json_free(j);
    return true;
}

/* We are the server: one byte at a time, since a stream may cut anywhere. */
static void replay_server(yyjson_val *ours, yyjson_val *theirs)
{
    struct scripted script = { ours, 0 };
    struct rpc *r = rpc_new(&(struct rpc_ops){ .call = answer_like }, &script, NULL);
    for (size_t i = 0; i < yyjson_arr_size(theirs); i++) {
        yyjson_doc *message = json_of(nth(theirs, i));
        char name[80];
        name_of(name, nth(theirs, i));
        struct cv_buf in = vector_bytes(name);
        for (size_t k = 0; k < in.n; k++) {
            CU_ASSERT_TRUE(says_nothing(r));
            enum cv_error want = is(message, "abort") && k + 1 == in.n ? CV_E_CANCEL : CV_OK;
            CU_ASSERT_EQUAL(rpc_feed(r, in.p + k, 1, NULL), want);
        }
        if (is(message, "bootstrap") || is(message, "call"))
            CU_ASSERT_TRUE(says(r, nth(ours, script.next++)));
        CU_ASSERT_TRUE(says_nothing(r));
        cv_buf_free(&in);
        yyjson_doc_free(message);
    }
    CU_ASSERT_EQUAL(script.next, yyjson_arr_size(ours));
    CU_ASSERT_TRUE(rpc_closed(r));
    rpc_free(r);
}

static void the_server_says_what_was_recorded(void)
{
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        yyjson_doc *doc = json_of(recorded[i]);
        yyjson_val *root = yyjson_doc_get_root(doc);
        replay_server(yyjson_obj_get(root, "server_to_client"), yyjson_obj_get(root, "client_to_server"));
        yyjson_doc_free(doc);
    }
}

/* Everything that the edge wrote on a stream of its own, signature first, in one piece. */
static void a_whole_recorded_stream_may_come_at_once(void)
{
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        if (strncmp(recorded[i], "cfd-", 4) != 0)
            continue;
        yyjson_doc *doc = json_of(recorded[i]);
        struct scripted script = { yyjson_obj_get(yyjson_doc_get_root(doc), "server_to_client"), 1 };
        char name[80];
        snprintf(name, sizeof name, "rpc/%s-stream-c", recorded[i]);
        struct cv_buf in = vector_bytes(name);
        struct rpc *r = rpc_new(&(struct rpc_ops){ .call = answer_like }, &script, NULL);
        CU_ASSERT_EQUAL_FATAL(memcmp(in.p, "\x52\xbb\x82\x5c\xdb\x65", 6), 0);
        CU_ASSERT_EQUAL(rpc_feed(r, in.p + 6, in.n - 6, NULL), CV_E_CANCEL);
        CU_ASSERT_TRUE(says(r, nth(script.answers, 0)));
        CU_ASSERT_TRUE(says(r, nth(script.answers, 1)));
        CU_ASSERT_TRUE(says_nothing(r));
        rpc_free(r);
        cv_buf_free(&in);
        yyjson_doc_free(doc);
    }
}

/* ---- off the path ------------------------------------------------------------------------------------ */

/* Two of us, wired to each other. The server keeps its calls for the test to answer. */
struct pair {
    struct rpc *client, *server;
    struct rpc_token calls[8];
    struct rpc_method methods[8];
    unsigned n_calls, n_canceled;
    bool no_such_method;
    struct {
        int what;
        char reason[128];
        uint32_t value;
    } done[8];
    unsigned n_done;
};

static bool keep_call(void *arg, struct rpc *r, struct rpc_token t, struct rpc_method m,
                      struct capnp_struct params)
{
    (void)r, (void)params;
    struct pair *p = arg;
    if (p->no_such_method)
        return false;
    p->methods[p->n_calls] = m;
    p->calls[p->n_calls++] = t;
    return true;
}

static void count_cancel(void *arg, struct rpc *r, struct rpc_token t)
{
    (void)r, (void)t;
    ((struct pair *)arg)->n_canceled++;
}

static const struct rpc_ops keeping = { keep_call, count_cancel };

static void pair_start(struct pair *p, const struct rpc_ops *ops, const struct rpc_limits *limits)
{
    *p = (struct pair){ .client = rpc_new(NULL, NULL, limits), .server = rpc_new(ops, p, limits) };
}

static void pair_free(struct pair *p)
{
    rpc_free(p->client);
    rpc_free(p->server);
}

static void carry(struct rpc *from, struct rpc *to)
{
    struct cv_buf *out = rpc_out(from);
    rpc_feed(to, out->p, out->n, NULL);
    cv_buf_take_front(out, out->n);
}

static void talk(struct pair *p)
{
    while (rpc_out(p->client)->n || rpc_out(p->server)->n) {
        carry(p->client, p->server);
        carry(p->server, p->client);
    }
}

static void keep_done(void *arg, const struct rpc_result *result)
{
    struct pair *p = arg;
    p->done[p->n_done].what = (int)result->what;
    p->done[p->n_done].value = result->what == RPC_RESULTS ? capnp_get_u32(result->content, 0) : 0;
    snprintf(p->done[p->n_done++].reason, 128, "%.*s", CV_STR_ARG(result->reason));
}

static uint32_t call(struct pair *p)
{
    struct capnp_new payload;
    CU_ASSERT_EQUAL_FATAL(rpc_call_begin(p->client, &schema_unregister_connection, &payload, NULL), CV_OK);
    schema_put_empty(payload, 0);
    return rpc_call_send(p->client, keep_done, p);
}

static void answer(struct pair *p, unsigned i, uint32_t value)
{
    capnp_put_u32(capnp_put_struct(rpc_return_begin(p->server, p->calls[i]), 0, 1, 0), 0, value);
    rpc_return_send(p->server);
}

static void answers_may_come_late_and_in_any_order(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    for (int i = 0; i < 3; i++)
        call(&p);
    talk(&p);
    CU_ASSERT_EQUAL_FATAL(p.n_calls, 3);
    CU_ASSERT_TRUE(rpc_same_method(p.methods[0], schema_unregister_connection));
    answer(&p, 2, 32);
    talk(&p);
    answer(&p, 0, 30);
    rpc_return_exception(p.server, p.calls[1], CV_STR("no"));
    talk(&p);
    CU_ASSERT_EQUAL_FATAL(p.n_done, 3);
    CU_ASSERT_EQUAL(p.done[0].value, 32);
    CU_ASSERT_EQUAL(p.done[1].value, 30);
    CU_ASSERT_EQUAL(p.done[2].what, RPC_EXCEPTION);
    CU_ASSERT_STRING_EQUAL(p.done[2].reason, "no");
    CU_ASSERT_EQUAL(call(&p), 2); /* freed last */
    CU_ASSERT_EQUAL(call(&p), 1);
    pair_free(&p);
}

static void a_canceled_call_is_finished_once_and_its_id_waits_for_the_return(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    uint32_t q = call(&p);
    talk(&p);
    rpc_cancel(p.client, q);
    CU_ASSERT_NOT_EQUAL(call(&p), q);
    carry(p.client, p.server);
    CU_ASSERT_EQUAL(p.n_canceled, 1);
    answer(&p, 0, 7); /* too late: nobody hears of it */
    answer(&p, 1, 8);
    talk(&p);
    CU_ASSERT_EQUAL_FATAL(p.n_done, 1);
    CU_ASSERT_EQUAL(p.done[0].value, 8);
    CU_ASSERT_FALSE(rpc_closed(p.client));
    CU_ASSERT_FALSE(rpc_closed(p.server));
    pair_free(&p);
}

static void a_late_answer_does_not_reach_a_new_call_of_the_same_id(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    uint32_t q = call(&p);
    talk(&p);
    rpc_cancel(p.client, q);
    talk(&p); /* the server says canceled, so the id is free */
    CU_ASSERT_EQUAL(call(&p), q);
    talk(&p);
    answer(&p, 0, 1);
    talk(&p);
    CU_ASSERT_EQUAL(p.n_done, 0);
    answer(&p, 1, 2);
    talk(&p);
    CU_ASSERT_EQUAL_FATAL(p.n_done, 1);
    CU_ASSERT_EQUAL(p.done[0].value, 2);
    pair_free(&p);
}

static void an_unknown_method_is_an_exception(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    p.no_such_method = true;
    struct capnp_new payload;
    CU_ASSERT_EQUAL_FATAL(rpc_call_begin(p.client, &schema_update_configuration, &payload, NULL), CV_OK);
    schema_put_empty(payload, 0);
    rpc_call_send(p.client, keep_done, &p);
    carry(p.client, p.server);
    CU_ASSERT_TRUE(says(p.server, "reg-ok-remote-s0-return"));
    CU_ASSERT_TRUE(says(p.server, "misc-unknown-method-return"));
    pair_free(&p);
}

static void who_exports_nothing_says_so_to_the_bootstrap_and_to_the_call(void)
{
    struct pair p;
    pair_start(&p, NULL, NULL);
    call(&p);
    carry(p.client, p.server);
    CU_ASSERT_TRUE(says(p.server, "misc-nobootstrap-return"));
    rpc_free(p.client);
    rpc_free(p.server);

    pair_start(&p, NULL, NULL);
    call(&p);
    talk(&p);
    CU_ASSERT_EQUAL_FATAL(p.n_done, 1);
    CU_ASSERT_EQUAL(p.done[0].what, RPC_EXCEPTION);
    CU_ASSERT_STRING_EQUAL(p.done[0].reason, "rpc: no bootstrap interface");
    call(&p); /* asks again, and gets the same */
    talk(&p);
    CU_ASSERT_EQUAL(p.n_done, 2);
    pair_free(&p);
}

static void a_released_interface_is_gone(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    call(&p);
    talk(&p);
    struct cv_buf release = vector_bytes("rpc/reg-ok-remote-c6-release");
    CU_ASSERT_EQUAL(rpc_feed(p.server, release.p, release.n, NULL), CV_OK);
    cv_buf_free(&release);
    call(&p);
    talk(&p);
    CU_ASSERT_EQUAL_FATAL(p.n_done, 1);
    CU_ASSERT_STRING_EQUAL(p.done[0].reason, "rpc: target not found");
    pair_free(&p);
}

/* What goes in, and what a peer that exports our interface says to it. */
static void single_messages_get_the_recorded_answers(void)
{
    static const struct {
        const char *in, *out;
        enum cv_error e;
    } cases[] = {
        { "misc-badtarget-in", "misc-badtarget-out", CV_OK },
        { "misc-resolve-in", "misc-resolve-out", CV_OK },
        { "misc-provide-in", "misc-provide-out", CV_OK },
        { "misc-unimplemented-in", NULL, CV_OK },
        { "misc-abort-in", NULL, CV_E_CANCEL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc *r = rpc_new(&keeping, NULL, NULL);
        CU_ASSERT_EQUAL(feed_vector(r, cases[i].in), cases[i].e);
        CU_ASSERT_TRUE(cases[i].out ? says(r, cases[i].out) : says_nothing(r));
        rpc_free(r);
    }
}

/* A Call of unregisterConnection as a peer might put it. */
struct odd_call {
    uint32_t question;
    uint16_t results_to, target_which;
    uint32_t target_id; /* capability or question */
    bool takes_a_field;
};

static void feed_call(struct rpc *r, struct odd_call c)
{
    struct cv_buf b = { 0 };
    struct capnp_build build;
    struct capnp_new message = capnp_put_struct(capnp_begin(&build, &b), 0, 1, 1);
    capnp_put_u16(message, 0, 2);
    struct capnp_new call = capnp_put_struct(message, 0, 3, 3);
    capnp_put_u32(call, 0, c.question);
    capnp_put_u16(call, 4, schema_unregister_connection.number);
    capnp_put_u16(call, 6, c.results_to);
    capnp_put_u64(call, 8, schema_unregister_connection.interface);
    struct capnp_new target = capnp_put_struct(call, 0, 1, 1);
    capnp_put_u16(target, 4, c.target_which);
    if (c.target_which == 0)
        capnp_put_u32(target, 0, c.target_id);
    struct capnp_new promise = capnp_put_struct(target, 0, 1, 1);
    capnp_put_u32(promise, 0, c.target_id);
    capnp_put_u16(capnp_put_structs(promise, 0, 1, 1, 0), 0, c.takes_a_field);
    capnp_end(&build);
    CU_ASSERT_EQUAL(rpc_feed(r, b.p, b.n, NULL), CV_OK);
    cv_buf_free(&b);
}

/* What the last message in the output is: "call", "unimplemented", or the reason of an exception. */
static void reaction(struct pair *p, char out[64])
{
    struct cv_buf *said = rpc_out(p->server);
    snprintf(out, 64, p->n_calls ? "call" : "nothing");
    for (size_t need; said->n; cv_buf_take_front(said, need)) {
        struct capnp_msg m;
        CU_ASSERT_EQUAL_FATAL(capnp_frame(said->p, said->n, 4096, &need, NULL), CV_OK);
        CU_ASSERT_EQUAL_FATAL(capnp_open(&m, said->p, need, NULL), CV_OK);
        struct capnp_struct message = capnp_root(&m), body = capnp_get_struct(message, 0);
        if (capnp_get_u16(message, 0) == 0)
            snprintf(out, 64, "unimplemented");
        else if (capnp_get_u16(body, 6) == 1)
            snprintf(out, 64, "%.*s", CV_STR_ARG(capnp_get_text(capnp_get_struct(body, 0), 0)));
        CU_ASSERT_EQUAL(capnp_check(&m, NULL), CV_OK);
    }
}

static void a_call_reaches_our_interface_or_nothing(void)
{
    static const struct {
        struct odd_call call;
        const char *want;
    } cases[] = {
        { { 9, 0, 0, 0, false }, "call" },
        { { 9, 0, 1, 0, false }, "call" }, /* a noop in the transform */
        { { 9, 0, 0, 1, false }, "rpc: target not found" },
        { { 9, 0, 1, 0, true }, "rpc: target is not a capability" },
        { { 9, 0, 1, 5, false }, "rpc: target is not a capability" }, /* the answer to a call */
        { { 9, 0, 1, 9, false }, "rpc: target not found" },           /* its own answer */
        { { 9, 0, 2, 0, false }, "unimplemented" },
        { { 9, 1, 0, 0, false }, "unimplemented" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p;
        char got[64];
        pair_start(&p, &keeping, NULL);
        CU_ASSERT_EQUAL(feed_vector(p.server, "reg-ok-remote-c0-bootstrap"), CV_OK);
        feed_call(p.server, (struct odd_call){ .question = 5 });
        p.n_calls = 0;
        feed_call(p.server, cases[i].call);
        reaction(&p, got);
        CU_ASSERT_STRING_EQUAL(got, cases[i].want);
        pair_free(&p);
    }
}

static void of_a_message_in_segments_only_the_kind_is_echoed(void)
{
    struct cv_buf in = { 0 };
    vector_unhex(&in, CV_STR("0100000001000000 0300000000000000" /* 1 and 3 words */
                             "0200000001000000"                  /* far: word 0 of segment 1 */
                             "0000000001000100 0a00000000000000 0000000000000000"));
    struct rpc *r = rpc_new(NULL, NULL, NULL);
    CU_ASSERT_EQUAL(rpc_feed(r, in.p, in.n, NULL), CV_OK);
    in.n = 0;
    vector_unhex(&in, CV_STR("0000000005000000 0000000001000100 0000000000000000 0000000001000100"
                             "0a00000000000000 0000000000000000"));
    CU_ASSERT_TRUE(vector_same(all(rpc_out(r)), all(&in)));
    rpc_free(r);
    cv_buf_free(&in);
}

static void returns_without_results_say_why(void)
{
    static const struct {
        uint8_t which;
        const char *want;
    } cases[] = { { 2, "rpc: the peer canceled the call" }, { 3, "rpc: unknown kind of return" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p;
        pair_start(&p, &keeping, NULL);
        call(&p);
        struct cv_buf ret = vector_bytes("rpc/reg-ok-remote-s2-return");
        ret.p[8 * 4 + 6] = cases[i].which;
        CU_ASSERT_EQUAL(rpc_feed(p.client, ret.p, ret.n, NULL), CV_OK);
        CU_ASSERT_EQUAL_FATAL(p.n_done, 1);
        CU_ASSERT_EQUAL(p.done[0].what, RPC_EXCEPTION);
        CU_ASSERT_STRING_EQUAL(p.done[0].reason, cases[i].want);
        cv_buf_free(&ret);
        pair_free(&p);
    }
}

static void an_abort_ends_every_waiting_call_with_its_reason(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    call(&p);
    call(&p);
    talk(&p);
    CU_ASSERT_EQUAL(feed_vector(p.client, "misc-abort-in"), CV_E_CANCEL);
    CU_ASSERT_TRUE(says_nothing(p.client));
    CU_ASSERT_EQUAL_FATAL(p.n_done, 2);
    CU_ASSERT_EQUAL(p.done[1].what, RPC_CLOSED);
    CU_ASSERT_STRING_EQUAL(p.done[1].reason, "test");
    struct cv_err why;
    struct capnp_new payload;
    CU_ASSERT_EQUAL(rpc_call_begin(p.client, &schema_unregister_connection, &payload, &why), CV_E_CANCEL);
    CU_ASSERT_STRING_EQUAL(why.text, "test");
    CU_ASSERT_EQUAL(rpc_feed(p.client, "x", 1, &why), CV_E_CANCEL);
    pair_free(&p);
}

static void the_end_of_the_stream_ends_calls_and_cancels_answers(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    call(&p);
    talk(&p);
    rpc_feed_end(p.server);
    CU_ASSERT_EQUAL(p.n_canceled, 1);
    CU_ASSERT_TRUE(says_nothing(p.server));
    answer(&p, 0, 1);
    CU_ASSERT_TRUE(says_nothing(p.server));
    rpc_feed(p.client, "\0", 1, NULL);
    rpc_feed_end(p.client);
    CU_ASSERT_EQUAL_FATAL(p.n_done, 1);
    CU_ASSERT_EQUAL(p.done[0].what, RPC_CLOSED);
    CU_ASSERT_STRING_EQUAL(p.done[0].reason, "rpc: the peer ended the stream inside a message");
    pair_free(&p);
}

/* An Abort that gives this reason is the last thing in the output. */
static bool aborts_with(struct rpc *r, const char *reason)
{
    struct rpc *peer = rpc_new(NULL, NULL, NULL);
    struct cv_err why = { "" };
    enum cv_error e = rpc_feed(peer, rpc_out(r)->p, rpc_out(r)->n, &why);
    rpc_free(peer);
    if (e == CV_E_CANCEL && !strcmp(why.text, reason))
        return true;
    fprintf(stderr, "    says: %s\n", why.text);
    return false;
}

static void a_question_id_in_use_is_a_protocol_error(void)
{
    struct rpc *r = rpc_new(&keeping, NULL, NULL);
    CU_ASSERT_EQUAL(feed_vector(r, "reg-ok-remote-c0-bootstrap"), CV_OK);
    cv_buf_take_front(rpc_out(r), rpc_out(r)->n);
    CU_ASSERT_EQUAL(feed_vector(r, "reg-ok-remote-c0-bootstrap"), CV_E_PROTO);
    CU_ASSERT_TRUE(aborts_with(r, "rpc: question 0 is in use already"));
    rpc_free(r);
}

static void a_return_for_nothing_is_a_protocol_error(void)
{
    struct rpc *r = rpc_new(NULL, NULL, NULL);
    CU_ASSERT_EQUAL(feed_vector(r, "reg-ok-remote-s1-return"), CV_E_PROTO);
    CU_ASSERT_TRUE(aborts_with(r, "rpc: return for question 1, which was not asked"));
    rpc_free(r);
}

static void damaged_messages_end_the_connection(void)
{
    static const struct {
        const char *hex, *reason;
        enum cv_error e;
    } cases[] = {
        { "00020000", "rpc: message of 513 segments, at most 513 are read", CV_OK },
        { "01020000", "rpc: message of 514 segments, at most 513 are read", CV_E_LIMIT },
        { "0000000000000000", "rpc: message without a root pointer", CV_E_PROTO },
        { "0000000001000000 0000000002000000", "rpc: pointer out of bounds", CV_E_PROTO },
        { "0000000000000200", "rpc: message of 1048584 bytes, at most 1048576 are read", CV_E_LIMIT },
        /* a call whose target leads nowhere must not become a call of capability 0 */
        { "0000000008000000 0000000001000100 0200000000000000 0000000003000300 0000000000000000"
          "0000000000000000 0000000000000000 ffff000001000100 0000000000000000 0000000000000000",
          "rpc: pointer out of bounds", CV_E_PROTO },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cv_buf in = { 0 };
        vector_unhex(&in, cv_str_of(cases[i].hex));
        struct rpc *r = rpc_new(&keeping, NULL, NULL);
        CU_ASSERT_EQUAL(rpc_feed(r, in.p, in.n, NULL), cases[i].e);
        CU_ASSERT_TRUE(cases[i].e ? aborts_with(r, cases[i].reason) : says_nothing(r));
        rpc_free(r);
        cv_buf_free(&in);
    }
}

static void limits_hold_on_both_sides(void)
{
    struct pair p;
    struct rpc_limits few = { .questions = 2, .answers = 2 };
    pair_start(&p, &keeping, &few);
    call(&p); /* the bootstrap is the other question */
    struct capnp_new payload;
    struct cv_err why;
    CU_ASSERT_EQUAL(rpc_call_begin(p.client, &schema_unregister_connection, &payload, &why), CV_E_LIMIT);
    CU_ASSERT_STRING_EQUAL(why.text, "2 calls wait for the peer's answer already");
    carry(p.client, p.server);
    struct cv_buf other = vector_bytes("rpc/misc-badtarget-in");
    CU_ASSERT_EQUAL(rpc_feed(p.server, other.p, other.n, &why), CV_E_LIMIT);
    CU_ASSERT_STRING_EQUAL(why.text, "rpc: more than 2 questions without a finish");
    CU_ASSERT_EQUAL(p.n_canceled, 1);
    cv_buf_free(&other);
    pair_free(&p);
}

static void a_peer_that_never_reads_is_cut_off(void)
{
    struct rpc *r = rpc_new(NULL, NULL, &(struct rpc_limits){ .output = 4096 });
    enum cv_error e = CV_OK;
    unsigned fed = 0;
    while (!e && fed++ < 1000)
        e = feed_vector(r, "misc-provide-in");
    CU_ASSERT_EQUAL(e, CV_E_LIMIT);
    CU_ASSERT_TRUE(rpc_out(r)->n < 4096 + 256);
    CU_ASSERT_TRUE(aborts_with(r, "rpc: the peer sends and does not read"));
    rpc_free(r);
}

static void call_again(void *arg, const struct rpc_result *result)
{
    keep_done(arg, result);
    struct pair *p = arg;
    if (p->n_done == 1) {
        CU_ASSERT_EQUAL(call(p), 1); /* the very id that has just been answered */
        rpc_close(p->client);
    }
}

static void callbacks_may_call_and_close(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    struct capnp_new payload;
    CU_ASSERT_EQUAL_FATAL(rpc_call_begin(p.client, &schema_unregister_connection, &payload, NULL), CV_OK);
    schema_put_empty(payload, 0);
    rpc_call_send(p.client, call_again, &p);
    talk(&p);
    answer(&p, 0, 5);
    talk(&p);
    CU_ASSERT_EQUAL_FATAL(p.n_done, 2);
    CU_ASSERT_EQUAL(p.done[1].what, RPC_CLOSED);
    CU_ASSERT_TRUE(rpc_closed(p.server));
    CU_ASSERT_EQUAL(p.n_canceled, 1);
    pair_free(&p);
}

/* Return{results} with a capability that nobody asked for: it is given back with the Finish. */
static void capabilities_in_results_are_given_back(void)
{
    struct pair p;
    pair_start(&p, &keeping, NULL);
    call(&p);
    cv_buf_take_front(rpc_out(p.client), rpc_out(p.client)->n);
    struct cv_buf ret = vector_bytes("rpc/reg-ok-remote-s0-return");
    CU_ASSERT_EQUAL(rpc_feed(p.client, ret.p, ret.n, NULL), CV_OK); /* keeps the interface */
    CU_ASSERT_TRUE(says(p.client, "reg-ok-remote-c2-finish"));
    ret.p[8 * 4] = 1; /* answerId: now it is the call's */
    CU_ASSERT_EQUAL(rpc_feed(p.client, ret.p, ret.n, NULL), CV_OK);
    CU_ASSERT_TRUE(says(p.client, "reg-local-exc-c5-finish")); /* question 1, release true */
    CU_ASSERT_EQUAL(p.n_done, 1);
    cv_buf_free(&ret);
    pair_free(&p);
}

SUITE(rpc, TEST(the_client_says_what_was_recorded), TEST(the_server_says_what_was_recorded),
      TEST(a_whole_recorded_stream_may_come_at_once), TEST(answers_may_come_late_and_in_any_order),
      TEST(a_canceled_call_is_finished_once_and_its_id_waits_for_the_return),
      TEST(a_late_answer_does_not_reach_a_new_call_of_the_same_id), TEST(an_unknown_method_is_an_exception),
      TEST(who_exports_nothing_says_so_to_the_bootstrap_and_to_the_call), TEST(a_released_interface_is_gone),
      TEST(single_messages_get_the_recorded_answers), TEST(a_call_reaches_our_interface_or_nothing),
      TEST(of_a_message_in_segments_only_the_kind_is_echoed), TEST(returns_without_results_say_why),
      TEST(an_abort_ends_every_waiting_call_with_its_reason),
      TEST(the_end_of_the_stream_ends_calls_and_cancels_answers),
      TEST(a_question_id_in_use_is_a_protocol_error), TEST(a_return_for_nothing_is_a_protocol_error),
      TEST(damaged_messages_end_the_connection), TEST(limits_hold_on_both_sides),
      TEST(a_peer_that_never_reads_is_cut_off), TEST(callbacks_may_call_and_close),
      TEST(capabilities_in_results_are_given_back));
