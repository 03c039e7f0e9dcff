/* test_gate.c: places and tickets: never more than the limit, first come first served, no wake-up lost. */
#include "concurrency/gate.h"
#include "suite.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

static struct cv_self selfs[2];
static struct waiter *admitted[8];
static unsigned n_admitted, n_called;

static void admit(struct lane *l, struct waiter *w)
{
    (void)l;
    admitted[n_admitted++ % 8] = w;
}

static void call(const struct cv_self *self, struct gate *g)
{
    (void)g;
    CU_ASSERT_PTR_EQUAL(self, &selfs[1]);
    n_called++;
}

static void open_lane(struct lane *l, struct gate *g, unsigned i)
{
    CU_ASSERT_TRUE_FATAL(lane_open(l, g, &selfs[i]));
    l->admit = admit;
    l->call = call;
    n_admitted = n_called = 0;
}

static void places_go_to_those_who_came_first(void)
{
    static struct gate g;
    struct lane l;
    struct waiter w[3] = { { .ticket = 0 } };
    open_lane(&l, &g, 0);
    CU_ASSERT_TRUE(lane_take(&l, 1));
    CU_ASSERT_FALSE(lane_take(&l, 1));
    CU_ASSERT_TRUE(lane_wait(&l, &w[0], 1, 2));
    CU_ASSERT_TRUE(lane_wait(&l, &w[1], 1, 2));
    CU_ASSERT_FALSE(lane_wait(&l, &w[2], 1, 2));
    CU_ASSERT_EQUAL(n_admitted, 0);
    lane_give(&l, 1);
    CU_ASSERT_EQUAL(n_admitted, 1);
    CU_ASSERT_PTR_EQUAL(admitted[0], &w[0]);
    CU_ASSERT_FALSE(lane_take(&l, 2)); /* w[1] is before */
    lane_leave(&l, &w[1], 1);
    lane_give(&l, 1);
    CU_ASSERT_TRUE(lane_take(&l, 1));
    lane_give(&l, 1);
    lane_close(&l);
}

static void a_higher_limit_lets_more_in(void)
{
    static struct gate g;
    struct lane l;
    struct waiter w[3] = { { .ticket = 0 } };
    open_lane(&l, &g, 0);
    CU_ASSERT_TRUE(lane_take(&l, 1));
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(lane_wait(&l, &w[i], 1, 3));
    lane_serve(&l, 3);
    CU_ASSERT_EQUAL(n_admitted, 2);
    lane_leave(&l, &w[2], 3);
    CU_ASSERT_EQUAL(atomic_load(&g.waiting), 0);
    lane_close(&l);
}

static void a_worker_calls_the_one_whose_turn_it_is(void)
{
    static struct gate g;
    struct lane a, b;
    struct waiter at_a = { .ticket = 0 }, at_b = { .ticket = 0 };
    open_lane(&a, &g, 0);
    open_lane(&b, &g, 1);
    CU_ASSERT_TRUE(lane_take(&a, 1));
    CU_ASSERT_TRUE(lane_wait(&b, &at_b, 1, 9));
    CU_ASSERT_TRUE(lane_wait(&a, &at_a, 1, 9));
    lane_give(&a, 1);
    CU_ASSERT_EQUAL(n_called, 1);
    CU_ASSERT_EQUAL(n_admitted, 0);
    lane_serve(&b, 1);
    CU_ASSERT_PTR_EQUAL(admitted[0], &at_b);
    lane_leave(&a, &at_a, 1);
    lane_close(&a);
    lane_close(&b);
}

/* ---- threads ------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 20000, LIMIT = 1 };

struct crowd { /* one thread, playing a worker: its calls come by semaphore */
    struct cv_self self;
    struct lane lane;
    sem_t calls;
    bool in;
};
static struct gate shared;
static atomic_uint inside, most, served;

static void crowd_admit(struct lane *l, struct waiter *w)
{
    (void)w;
    CV_OWNER(l, struct crowd, lane)->in = true;
}

static void crowd_call(const struct cv_self *self, struct gate *g)
{
    (void)g;
    sem_post(&CV_OWNER(self, struct crowd, self)->calls);
}

static void use_the_place(struct crowd *c)
{
    unsigned n = atomic_fetch_add(&inside, 1) + 1, before = atomic_load(&most);
    while (n > before && !atomic_compare_exchange_weak(&most, &before, n))
        ;
    atomic_fetch_add(&served, 1);
    atomic_fetch_sub(&inside, 1);
    lane_give(&c->lane, LIMIT);
}

static void *crowd(void *arg)
{
    struct crowd *c = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct waiter w = { .ticket = 0 };
        c->in = lane_take(&c->lane, LIMIT);
        if (!c->in && !lane_wait(&c->lane, &w, LIMIT, THREADS))
            abort();     /* there is room for all */
        while (!c->in) { /* a lost wake-up hangs here */
            sem_wait(&c->calls);
            lane_serve(&c->lane, LIMIT);
        }
        use_the_place(c);
    }
    return NULL;
}

static void threads_never_exceed_the_limit_and_never_starve(void)
{
    static struct crowd crowds[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        sem_init(&crowds[i].calls, 0, 0);
        CU_ASSERT_TRUE_FATAL(lane_open(&crowds[i].lane, &shared, &crowds[i].self));
        crowds[i].lane.admit = crowd_admit;
        crowds[i].lane.call = crowd_call;
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, crowd, &crowds[i]);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(atomic_load(&served), THREADS * ROUNDS);
    CU_ASSERT_TRUE(atomic_load(&most) <= LIMIT);
    CU_ASSERT_EQUAL(atomic_load(&shared.running), 0);
    CU_ASSERT_EQUAL(atomic_load(&shared.waiting), 0);
    for (unsigned i = 0; i < THREADS; i++)
        sem_destroy(&crowds[i].calls);
}

SUITE(concurrency_gate, TEST(places_go_to_those_who_came_first), TEST(a_higher_limit_lets_more_in),
      TEST(a_worker_calls_the_one_whose_turn_it_is), TEST(threads_never_exceed_the_limit_and_never_starve));
