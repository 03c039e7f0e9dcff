/* test_pipe.c: bytes come out as they went in, whatever the steps; limits and credit hold. */
#include "harness.h"
#include "request/state.h"
#include "suite.h"

#include <string.h>

#include "culvert/wire.h"

static struct harness *h;
static struct cv_req *req;

static void begin(void)
{
    h = harness_new(0);
    req = harness_request(h, CV_HTTP);
}

static void end(void)
{
    cv_req_fail(req, CV_E_CANCEL, "over");
    harness_turn(h);
    harness_free(h);
}

static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 131 + (i >> 8) * 7);
}

static uint32_t seed;
static size_t any(size_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void write_some(struct cv_pipe *p, uint64_t *in)
{
    static uint8_t bytes[70000];
    size_t n = any(sizeof(bytes)), room = cv_pipe_room(p);
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(*in + i);
    size_t done = cv_pipe_write(p, bytes, n);
    CU_ASSERT_EQUAL(done, n < room ? n : room);
    *in += done;
}

static void reserve_some(struct cv_pipe *p, uint64_t *in)
{
    struct iovec iov[5];
    int n = cv_pipe_reserve(p, iov, 1 + (int)any(5));
    size_t total = 0, filled = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    CU_ASSERT(total <= cv_pipe_room(p));
    size_t want = total ? any(total + 1) : 0;
    for (int i = 0; i < n && filled < want; i++)
        for (size_t k = 0; k < iov[i].iov_len && filled < want; k++)
            ((uint8_t *)iov[i].iov_base)[k] = byte_at(*in + filled++);
    cv_pipe_commit(p, filled);
    *in += filled;
}

static void read_some(struct cv_pipe *p, uint64_t *out)
{
    struct iovec iov[8];
    size_t held = cv_pipe_held(p), skip = held ? any(held) : 0, seen = 0;
    int n = cv_pipe_peek(p, skip, iov, 8);
    bool same = true;
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < iov[i].iov_len; k++)
            same = same && ((uint8_t *)iov[i].iov_base)[k] == byte_at(*out + skip + seen++);
    CU_ASSERT(same);
    size_t gone = any(held + 1);
    cv_pipe_consume(p, gone);
    *out += gone;
}

static void keeps_order_through_random_steps(void)
{
    begin();
    uint64_t in = 0, out = 0;
    for (seed = 1; seed < 3; seed++) {
        uint32_t round = seed;
        for (int i = 0; i < 2000; i++) {
            size_t step = any(3);
            if (step == 0)
                write_some(req->up, &in);
            else if (step == 1)
                reserve_some(req->up, &in);
            else
                read_some(req->up, &out);
            CU_ASSERT_EQUAL(cv_pipe_held(req->up), in - out);
            CU_ASSERT(cv_pipe_held(req->up) <= h->limits.pipe.n);
        }
        seed = round;
    }
    CU_ASSERT(in > 10000000);
    end();
}

static void holds_no_chunk_when_empty(void)
{
    begin();
    struct iovec iov[4];
    CU_ASSERT(cv_pipe_reserve(req->up, iov, 4) > 0);
    cv_pipe_commit(req->up, 0);
    CU_ASSERT_PTR_NULL(req->up->first);
    cv_pipe_write(req->up, "abc", 3);
    cv_pipe_consume(req->up, 3);
    CU_ASSERT_PTR_NULL(req->up->first);
    end();
}

static void leaves_room_in_front_of_what_is_read(void)
{
    begin();
    static uint8_t bytes[40000];
    struct iovec iov;
    cv_pipe_write(req->up, bytes, sizeof(bytes));
    for (size_t at = 0; at < sizeof(bytes);) {
        CU_ASSERT_EQUAL(cv_pipe_peek(req->up, 0, &iov, 1), 1);
        memset((uint8_t *)iov.iov_base - CV_HEADROOM, 0xaa,
               CV_HEADROOM); /* ASan and the next line would tell */
        CU_ASSERT_EQUAL(((uint8_t *)iov.iov_base)[0], 0);
        CU_ASSERT(iov.iov_len <= CV_CHUNK);
        size_t n = iov.iov_len < 5000 ? iov.iov_len : 5000;
        cv_pipe_consume(req->up, n);
        at += n;
    }
    end();
}

static void takes_nothing_after_the_end(void)
{
    begin();
    cv_pipe_write(req->up, "x", 1);
    cv_pipe_finish(req->up);
    CU_ASSERT_EQUAL(cv_pipe_write(req->up, "y", 1), 0);
    CU_ASSERT_EQUAL(cv_pipe_room(req->up), 0);
    CU_ASSERT_FALSE(cv_pipe_ended(req->up));
    cv_pipe_consume(req->up, 1);
    CU_ASSERT_TRUE(cv_pipe_ended(req->up));
    end();
}

static void grows_to_a_larger_window(void)
{
    begin();
    static uint8_t bytes[100000];
    CU_ASSERT_EQUAL(cv_pipe_write(req->up, bytes, sizeof(bytes)), 50000);
    cv_pipe_limit(req->up, 80000);
    CU_ASSERT_EQUAL(cv_pipe_room(req->up), 30000);
    cv_pipe_limit(req->up, 10);
    CU_ASSERT_EQUAL(cv_pipe_room(req->up), 0);
    cv_pipe_consume(req->up, 50000);
    CU_ASSERT_EQUAL(cv_pipe_room(req->up), 50000); /* the limit never fell below what was held */
    end();
}

static void shrinks_to_one_chunk_when_memory_is_short(void)
{
    begin();
    h->limits.memory.n = 1;
    CU_ASSERT_FALSE(cv_memory_short(&h->selfs[0]));
    cv_pipe_write(req->up, "a", 1);
    CU_ASSERT_TRUE(cv_memory_short(&h->selfs[0]));
    CU_ASSERT_EQUAL(cv_pipe_room(req->down), CV_CHUNK); /* an empty pipe always has room */
    CU_ASSERT_EQUAL(cv_pipe_room(req->up), CV_CHUNK - 1);
    static uint8_t bytes[40000];
    CU_ASSERT_EQUAL(cv_pipe_write(req->up, bytes, sizeof(bytes)),
                    sizeof(bytes)); /* a promised window is kept */
    end();
}

SUITE(pipe, TEST(keeps_order_through_random_steps), TEST(holds_no_chunk_when_empty),
      TEST(leaves_room_in_front_of_what_is_read), TEST(takes_nothing_after_the_end),
      TEST(grows_to_a_larger_window), TEST(shrinks_to_one_chunk_when_memory_is_short));
