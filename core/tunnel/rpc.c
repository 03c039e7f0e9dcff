/* rpc.c: questions we asked, answers we owe, and the messages between them (docs/protocol.md §8). */
#include "tunnel/rpc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum which {
    UNIMPLEMENTED = 0,
    ABORT = 1,
    CALL = 2,
    RETURN = 3,
    FINISH = 4,
    RELEASE = 6,
    BOOTSTRAP = 8,
};
enum { TO_CALLER };                             /* Call.sendResultsTo            */
enum { TO_CAP, TO_PROMISED_ANSWER };            /* MessageTarget.which            */
enum { SENDER_HOSTED = 1, SENDER_PROMISE = 2 }; /* CapDescriptor.which            */
enum { RESULTS, EXCEPTION, CANCELED };          /* Return.which                   */
enum { GET_POINTER_FIELD = 1 };                 /* Op.which                       */
enum { OUR_EXPORT = 0 };                        /* the only capability we give out */
enum { RELEASE_CAPS = 32 };                     /* bit of Return and Finish; 0 is true */

struct question {
    enum { FREE, FOR_BOOTSTRAP, WAITING, GIVEN_UP } state;
    rpc_done_fn *done;
    void *arg;
    uint32_t next; /* of FREE: the one freed before */
};

struct answer {
    uint32_t id, serial;
    bool returned;
    bool bootstrap; /* what was returned is our interface */
};

struct rpc {
    const struct rpc_ops *ops;
    void *arg;
    struct rpc_limits limits;
    struct cv_buf in, out;

    struct question *questions; /* by id                      */
    uint32_t n_questions;       /* ids ever used              */
    uint32_t free;              /* last freed, NO_ID if none  */
    unsigned n_free;
    struct answer *answers; /* in no order: there are few */
    unsigned n_answers;
    uint32_t serial;

    unsigned exported; /* references to our interface that the peer holds */
    enum { UNASKED, ASKED, HELD } peer;
    uint32_t asked_by; /* the bootstrap question */
    uint32_t imported; /* the peer's interface, once HELD */

    struct capnp_build build; /* between _begin and _send */
    struct capnp_new payload;
    uint32_t question;
    size_t draft;
    bool unwanted;

    enum cv_error closed;
    struct cv_err why;
};
#define NO_ID UINT32_MAX

bool rpc_same_method(struct rpc_method a, struct rpc_method b)
{
    return a.interface == b.interface && a.number == b.number;
}

struct rpc *rpc_new(const struct rpc_ops *ops, void *arg, const struct rpc_limits *limits)
{
    struct rpc *r = cv_xcalloc(1, sizeof *r);
    r->ops = ops;
    r->arg = arg;
    if (limits)
        r->limits = *limits;
    if (!r->limits.message)
        r->limits.message = 1 << 20;
    if (!r->limits.output)
        r->limits.output = 4 << 20;
    if (!r->limits.questions)
        r->limits.questions = 64;
    if (!r->limits.answers)
        r->limits.answers = 64;
    r->questions = cv_xcalloc((size_t)r->limits.questions + 1, sizeof *r->questions); /* and bootstrap */
    r->answers = cv_xcalloc(r->limits.answers, sizeof *r->answers);
    r->free = NO_ID;
    return r;
}

void rpc_free(struct rpc *r)
{
    if (!r)
        return;
    cv_buf_free(&r->in);
    cv_buf_free(&r->out);
    free(r->questions);
    free(r->answers);
    free(r);
}

struct cv_buf *rpc_out(struct rpc *r)
{
    return &r->out;
}

bool rpc_closed(const struct rpc *r)
{
    return r->closed != CV_OK;
}

/* ---- messages that we write -------------------------------------------------------------------- */

/* Returns the body. */
static struct capnp_new begin(struct rpc *r, enum which which, uint16_t words, uint16_t ptrs)
{
    struct capnp_new message = capnp_put_struct(capnp_begin(&r->build, &r->out), 0, 1, 1);
    capnp_put_u16(message, 0, which);
    return capnp_put_struct(message, 0, words, ptrs);
}

static void put_exception(struct capnp_new s, struct cv_str reason)
{
    capnp_put_text(capnp_put_struct(s, 0, 1, 1), 0, reason);
}

static void send_bootstrap(struct rpc *r, uint32_t question)
{
    capnp_put_u32(begin(r, BOOTSTRAP, 1, 1), 0, question);
    capnp_end(&r->build);
}

static void send_finish(struct rpc *r, uint32_t question, bool release_caps)
{
    struct capnp_new finish = begin(r, FINISH, 1, 0);
    capnp_put_u32(finish, 0, question);
    capnp_put_bit(finish, RELEASE_CAPS, !release_caps);
    capnp_end(&r->build);
}

static void send_release(struct rpc *r, uint32_t id)
{
    struct capnp_new release = begin(r, RELEASE, 1, 0);
    capnp_put_u32(release, 0, id);
    capnp_put_u32(release, 4, 1);
    capnp_end(&r->build);
}

static void send_abort(struct rpc *r, struct cv_str reason)
{
    struct capnp_new exception = begin(r, ABORT, 1, 1);
    capnp_put_text(exception, 0, reason);
    capnp_end(&r->build);
}

static struct capnp_new begin_return(struct rpc *r, uint32_t answer, uint16_t which)
{
    struct capnp_new ret = begin(r, RETURN, 2, 1);
    capnp_put_u32(ret, 0, answer);
    capnp_put_bit(ret, RELEASE_CAPS, true); /* we never keep what came with the params */
    capnp_put_u16(ret, 6, which);
    return ret;
}

static void send_exception(struct rpc *r, uint32_t answer, struct cv_str reason)
{
    put_exception(begin_return(r, answer, EXCEPTION), reason);
    capnp_end(&r->build);
}

static void send_canceled(struct rpc *r, uint32_t answer)
{
    begin_return(r, answer, CANCELED);
    capnp_end(&r->build);
}

static void send_our_interface(struct rpc *r, uint32_t answer)
{
    struct capnp_new payload = capnp_put_struct(begin_return(r, answer, RESULTS), 0, 0, 2);
    capnp_put_cap(payload, 0, 0);
    struct capnp_new cap = capnp_put_structs(payload, 1, 1, 1, 1);
    capnp_put_u16(cap, 0, SENDER_HOSTED);
    capnp_put_u32(cap, 4, OUR_EXPORT);
    capnp_end(&r->build);
}

/* The message as it came, inside Unimplemented. Its segment 0 begins with the pointer to it, and near
 * pointers are relative: the whole segment can stand where that pointer belongs. Far pointers are absolute,
 * so of a message in several segments only the kind is echoed. */
static void send_unimplemented(struct rpc *r, struct capnp_msg *m)
{
    struct capnp_new message = capnp_put_struct(capnp_begin(&r->build, &r->out), 0, 1, 1);
    capnp_put_u16(message, 0, UNIMPLEMENTED);
    if (m->segments == 1) {
        r->out.n -= 8;
        cv_buf_add(&r->out, m->body, (size_t)m->start[1] * 8);
    } else {
        capnp_put_u16(capnp_put_struct(message, 0, 1, 1), 0, capnp_get_u16(capnp_root(m), 0));
    }
    capnp_end(&r->build);
}

/* ---- the end ----------------------------------------------------------------------------------- */

static struct cv_str closing_reason(const struct rpc *r)
{
    return (struct cv_str){ r->why.text, strlen(r->why.text) };
}

/* Nothing more goes in or out. Callbacks may call in here again and find it closed. */
static void shut(struct rpc *r, enum cv_error e, struct cv_str why)
{
    cv_fail(&r->why, e, "%.*s", (int)why.n, why.n ? why.p : "");
    r->closed = e;
    for (uint32_t q = 0; q < r->n_questions; q++)
        if (r->questions[q].state == WAITING) {
            r->questions[q].state = GIVEN_UP;
            r->questions[q].done(r->questions[q].arg,
                                 &(struct rpc_result){ .what = RPC_CLOSED, .reason = closing_reason(r) });
        }
    while (r->n_answers) {
        struct answer a = r->answers[--r->n_answers];
        if (!a.returned && r->ops->cancel)
            r->ops->cancel(r->arg, r, (struct rpc_token){ a.id, a.serial });
    }
}

/* The peer did what it may not. */
static void violation(struct rpc *r, enum cv_error e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void violation(struct rpc *r, enum cv_error e, const char *fmt, ...)
{
    char text[sizeof r->why.text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct cv_str why = { text, strlen(text) };
    send_abort(r, why);
    shut(r, e, why);
}

/* Asked before anything is done that fields of the message decide. */
static bool broken(struct rpc *r, const struct capnp_msg *m)
{
    struct cv_err why;
    if (!capnp_check(m, &why))
        return false;
    violation(r, CV_E_PROTO, "rpc: %s", why.text);
    return true;
}

void rpc_close(struct rpc *r)
{
    if (r->closed)
        return;
    if (r->peer == HELD)
        send_release(r, r->imported);
    send_abort(r, CV_STR("rpc: shutdown"));
    shut(r, CV_E_CANCEL, CV_STR("rpc: shutdown"));
}

/* ---- questions --------------------------------------------------------------------------------- */

static unsigned questions_open(const struct rpc *r)
{
    return r->n_questions - r->n_free;
}

/* The id freed last is used first: the original does, and ids stay small. */
static uint32_t ask(struct rpc *r, int state)
{
    uint32_t id = r->free;
    if (id == NO_ID) {
        CV_ASSERT(r->n_questions <= r->limits.questions);
        id = r->n_questions++;
    } else {
        r->free = r->questions[id].next;
        r->n_free--;
    }
    r->questions[id] = (struct question){ .state = state };
    return id;
}

static struct question answered(struct rpc *r, uint32_t id)
{
    struct question q = r->questions[id];
    r->questions[id] = (struct question){ .state = FREE, .next = r->free };
    r->free = id;
    r->n_free++;
    return q;
}

static void put_target(struct rpc *r, struct capnp_new call)
{
    struct capnp_new target = capnp_put_struct(call, 0, 1, 1);
    if (r->peer == HELD) {
        capnp_put_u32(target, 0, r->imported);
        capnp_put_u16(target, 4, TO_CAP);
    } else {
        capnp_put_u16(target, 4, TO_PROMISED_ANSWER);
        struct capnp_new promise = capnp_put_struct(target, 0, 1, 1);
        capnp_put_u32(promise, 0, r->asked_by);
        capnp_put_structs(promise, 0, 0, 1, 0);
    }
}

enum cv_error rpc_call_begin(struct rpc *r, const struct rpc_method *method, struct capnp_new *payload,
                             struct cv_err *err)
{
    if (r->closed)
        return cv_fail(err, CV_E_CANCEL, "%s", r->why.text);
    if (questions_open(r) >= r->limits.questions)
        return cv_fail(err, CV_E_LIMIT, "%u calls wait for the peer's answer already", questions_open(r));
    if (r->peer == UNASKED) {
        r->peer = ASKED;
        r->asked_by = ask(r, FOR_BOOTSTRAP);
        send_bootstrap(r, r->asked_by);
    }
    r->question = ask(r, WAITING);
    struct capnp_new call = begin(r, CALL, 3, 3);
    capnp_put_u32(call, 0, r->question);
    capnp_put_u16(call, 4, method->number);
    capnp_put_u64(call, 8, method->interface);
    put_target(r, call);
    *payload = r->payload = capnp_put_struct(call, 1, 0, 2);
    return CV_OK;
}

static void end_payload(struct rpc *r)
{
    capnp_put_structs(r->payload, 1, 0, 1, 1); /* capTable: empty */
    capnp_end(&r->build);
}

uint32_t rpc_call_send(struct rpc *r, rpc_done_fn *done, void *arg)
{
    end_payload(r);
    r->questions[r->question].done = done;
    r->questions[r->question].arg = arg;
    return r->question;
}

void rpc_cancel(struct rpc *r, uint32_t question)
{
    CV_ASSERT(question < r->n_questions);
    if (r->questions[question].state != WAITING)
        return;
    r->questions[question].state = GIVEN_UP; /* its id stays in use until the Return */
    if (!r->closed)
        send_finish(r, question, true);
}

/* ---- Return: an answer to us ------------------------------------------------------------------- */

/* True if the payload's content is a capability that the peer hosts. */
static bool hosted_by_peer(struct capnp_struct payload, uint32_t *id)
{
    uint32_t index;
    struct capnp_list caps = capnp_get_list(payload, 1);
    if (!capnp_get_cap(payload, 0, &index) || index >= caps.n)
        return false;
    struct capnp_struct cap = capnp_list_at(caps, index);
    uint16_t which = capnp_get_u16(cap, 0);
    *id = capnp_get_u32(cap, 4);
    return which == SENDER_HOSTED || which == SENDER_PROMISE;
}

/* Without an interface the calls already sent get exceptions of their own, and the next call asks anew. */
static void on_bootstrap_return(struct rpc *r, uint32_t id, uint16_t which, struct capnp_struct payload)
{
    bool held = which == RESULTS && hosted_by_peer(payload, &r->imported);
    r->peer = held ? HELD : UNASKED;
    answered(r, id);
    send_finish(r, id, !held);
}

static struct rpc_result result_of(uint16_t which, struct capnp_struct body)
{
    switch (which) {
    case RESULTS: return (struct rpc_result){ .what = RPC_RESULTS, .content = capnp_get_struct(body, 0) };
    case EXCEPTION: return (struct rpc_result){ .what = RPC_EXCEPTION, .reason = capnp_get_text(body, 0) };
    case CANCELED:
        return (struct rpc_result){ .what = RPC_EXCEPTION, .reason = CV_STR("rpc: call was canceled") };
    default:
        return (struct rpc_result){ .what = RPC_EXCEPTION, .reason = CV_STR("rpc: unknown kind of return") };
    }
}

static void on_call_return(struct rpc *r, uint32_t id, uint16_t which, struct capnp_struct body)
{
    struct rpc_result result = result_of(which, body);
    bool caps = which == RESULTS && capnp_get_list(body, 1).n; /* nobody would use them */
    struct question q = answered(r, id);
    if (q.state == GIVEN_UP)
        return;
    send_finish(r, id, which != RESULTS || caps);
    q.done(q.arg, &result);
}

static void on_return(struct rpc *r, struct capnp_struct ret)
{
    uint32_t id = capnp_get_u32(ret, 0);
    uint16_t which = capnp_get_u16(ret, 6);
    struct capnp_struct body = capnp_get_struct(ret, 0);
    if (broken(r, ret.msg))
        return;
    if (id >= r->n_questions || r->questions[id].state == FREE)
        violation(r, CV_E_PROTO, "rpc: return for question %" PRIu32 ", which was not asked", id);
    else if (r->questions[id].state == FOR_BOOTSTRAP)
        on_bootstrap_return(r, id, which, body);
    else
        on_call_return(r, id, which, body);
}

/* ---- answers ----------------------------------------------------------------------------------- */

static struct answer *find_answer(struct rpc *r, uint32_t id)
{
    for (unsigned i = 0; i < r->n_answers; i++)
        if (r->answers[i].id == id)
            return &r->answers[i];
    return NULL;
}

static struct answer *owed(struct rpc *r, struct rpc_token t)
{
    struct answer *a = find_answer(r, t.answer);
    return a && a->serial == t.serial && !a->returned ? a : NULL;
}

/* NULL: the peer was told off. */
static struct answer *new_answer(struct rpc *r, uint32_t id)
{
    if (find_answer(r, id)) {
        violation(r, CV_E_PROTO, "rpc: question %" PRIu32 " is in use already", id);
        return NULL;
    }
    if (r->n_answers == r->limits.answers) {
        violation(r, CV_E_LIMIT, "rpc: more than %u questions without a finish", r->limits.answers);
        return NULL;
    }
    struct answer *a = &r->answers[r->n_answers++];
    *a = (struct answer){ .id = id, .serial = ++r->serial };
    return a;
}

struct capnp_new rpc_return_begin(struct rpc *r, struct rpc_token t)
{
    struct answer *a = owed(r, t);
    if (a)
        a->returned = true;
    r->unwanted = !a; /* written all the same, then forgotten */
    r->draft = r->out.n;
    return r->payload = capnp_put_struct(begin_return(r, t.answer, RESULTS), 0, 0, 2);
}

void rpc_return_send(struct rpc *r)
{
    end_payload(r);
    if (r->unwanted)
        r->out.n = r->draft;
}

void rpc_return_exception(struct rpc *r, struct rpc_token t, struct cv_str reason)
{
    struct answer *a = owed(r, t);
    if (!a)
        return;
    a->returned = true;
    send_exception(r, t.answer, reason);
}

/* ---- Bootstrap, Call, Finish, Release: what the peer wants ------------------------------------- */

#define NO_BOOTSTRAP "rpc: no bootstrap interface"

static void on_bootstrap(struct rpc *r, struct capnp_struct bootstrap)
{
    struct answer *a = new_answer(r, capnp_get_u32(bootstrap, 0));
    if (!a)
        return;
    a->returned = a->bootstrap = true;
    if (!r->ops) {
        send_exception(r, a->id, CV_STR(NO_BOOTSTRAP));
        return;
    }
    r->exported++;
    send_our_interface(r, a->id);
}

static bool takes_a_field(struct capnp_list transform)
{
    for (size_t i = 0; i < transform.n; i++)
        if (capnp_get_u16(capnp_list_at(transform, i), 0) == GET_POINTER_FIELD)
            return true;
    return false;
}

/* NULL if the target is our interface, else why it is not. The results of our methods hold no
 * capabilities, so no promise but that of a Bootstrap leads anywhere. */
static const char *bad_target(struct rpc *r, struct capnp_struct target)
{
    static const char no_target[] = "rpc: target not found";
    if (capnp_get_u16(target, 4) == TO_CAP)
        return capnp_get_u32(target, 0) == OUR_EXPORT && r->exported ? NULL : no_target;
    struct capnp_struct promise = capnp_get_struct(target, 0);
    struct answer *a = find_answer(r, capnp_get_u32(promise, 0));
    if (!a)
        return no_target;
    if (!a->bootstrap || takes_a_field(capnp_get_list(promise, 0)))
        return "rpc: target is no capability";
    return r->ops ? NULL : NO_BOOTSTRAP;
}

static void no_method(struct rpc *r, struct rpc_token t, struct rpc_method method)
{
    char reason[80];
    snprintf(reason, sizeof reason, "@0x%" PRIx64 ".@%u: capnp: method not implemented", method.interface,
             method.number);
    rpc_return_exception(r, t, cv_str_of(reason));
}

static void on_call(struct rpc *r, struct capnp_struct call)
{
    struct rpc_method method = { capnp_get_u64(call, 8), capnp_get_u16(call, 4) };
    struct capnp_struct target = capnp_get_struct(call, 0);
    struct capnp_struct params = capnp_get_struct(capnp_get_struct(call, 1), 0);
    const char *bad = bad_target(r, target);
    if (broken(r, call.msg))
        return;
    if (capnp_get_u16(call, 6) != TO_CALLER || capnp_get_u16(target, 4) > TO_PROMISED_ANSWER) {
        send_unimplemented(r, call.msg);
        return;
    }
    struct answer *a = new_answer(r, capnp_get_u32(call, 0));
    if (!a)
        return;
    struct rpc_token t = { a->id, a->serial };
    if (bad)
        rpc_return_exception(r, t, cv_str_of(bad));
    else if (!r->ops->call(r->arg, r, t, method, params))
        no_method(r, t, method);
}

static void drop_exported(struct rpc *r, uint32_t n)
{
    r->exported -= n < r->exported ? n : r->exported;
}

static void on_finish(struct rpc *r, struct capnp_struct finish)
{
    struct answer *found = find_answer(r, capnp_get_u32(finish, 0));
    if (!found)
        return;
    struct answer a = *found;
    *found = r->answers[--r->n_answers];
    if (a.bootstrap && !capnp_get_bit(finish, RELEASE_CAPS))
        drop_exported(r, 1);
    if (a.returned)
        return;
    send_canceled(r, a.id);
    if (r->ops->cancel)
        r->ops->cancel(r->arg, r, (struct rpc_token){ a.id, a.serial });
}

static void on_release(struct rpc *r, struct capnp_struct release)
{
    if (capnp_get_u32(release, 0) == OUR_EXPORT)
        drop_exported(r, capnp_get_u32(release, 4));
}

static void on_abort(struct rpc *r, struct capnp_struct exception)
{
    struct cv_str reason = capnp_get_text(exception, 0);
    shut(r, CV_E_CANCEL, reason.n ? reason : CV_STR("rpc: the peer gave no reason"));
}

/* ---- input ------------------------------------------------------------------------------------- */

static void on_message(struct rpc *r, struct capnp_msg *m)
{
    struct capnp_struct message = capnp_root(m), body = capnp_get_struct(message, 0);
    if (broken(r, m))
        return;
    switch (capnp_get_u16(message, 0)) {
    case UNIMPLEMENTED: break; /* an answer to it could go back and forth for ever */
    case ABORT: on_abort(r, body); break;
    case CALL: on_call(r, body); break;
    case RETURN: on_return(r, body); break;
    case FINISH: on_finish(r, body); break;
    case RELEASE: on_release(r, body); break;
    case BOOTSTRAP: on_bootstrap(r, body); break;
    default: send_unimplemented(r, m);
    }
}

/* Handles the message at p if it is all there; returns its length, else 0. */
static size_t take_message(struct rpc *r, const uint8_t *p, size_t n)
{
    size_t need;
    struct capnp_msg m;
    struct cv_err why;
    enum cv_error e = capnp_frame(p, n, r->limits.message, &need, &why);
    if (!e && need > n)
        return 0;
    if (!e)
        e = capnp_open(&m, p, need, &why);
    if (e)
        violation(r, e, "rpc: %s", why.text);
    else if (r->out.n > r->limits.output)
        violation(r, CV_E_LIMIT, "rpc: the peer sends and does not read");
    else
        on_message(r, &m);
    return e ? 0 : need;
}

enum cv_error rpc_feed(struct rpc *r, const void *p, size_t n, struct cv_err *err)
{
    if (!r->closed)
        cv_buf_add(&r->in, p, n);
    size_t used = 0, took = 1;
    while (!r->closed && took && used < r->in.n)
        used += took = take_message(r, r->in.p + used, r->in.n - used);
    cv_buf_take_front(&r->in, used);
    if (!r->in.n || r->closed)
        cv_buf_free(&r->in); /* an idle connection holds nothing */
    return r->closed ? cv_fail(err, r->closed, "%s", r->why.text) : CV_OK;
}

void rpc_feed_end(struct rpc *r)
{
    if (r->closed)
        return;
    shut(r, CV_E_IO,
         r->in.n ? CV_STR("rpc: the peer ended the stream inside a message")
                 : CV_STR("rpc: the peer ended the stream"));
}
