/* test_endpoint.c: the UDP socket alone: batches, refusals by the kernel, budgets. */
#include "bench.h"
#include "suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

struct pair {
    struct bench *b;
    struct quic_endpoint e;
    int other; /* what it is connected to */
};

static struct pair pair_new(void)
{
    struct pair p = { .b = bench_new() };
    struct sockaddr_storage to = { 0 }, local = { 0 };
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof to;
    uint16_t port = 0;
    p.other = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CU_ASSERT_EQUAL_FATAL(bind(p.other, (struct sockaddr *)&any, sizeof any), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(p.other, (struct sockaddr *)&to, &len), 0);
    CU_ASSERT_EQUAL_FATAL(quic_endpoint_open(&p.e, &p.b->selfs[0], &to, &local, &port, NULL), CV_OK);
    CU_ASSERT_EQUAL_FATAL(connect(p.other, (struct sockaddr *)&local, sizeof(struct sockaddr_in)), 0);
    return p;
}

static void pair_free(struct pair *p)
{
    quic_endpoint_close(&p->e);
    close(p->other);
    p->b->down = true; /* it never dialled */
    bench_free(p->b);
}

static void batches_leave_as_single_packets(void)
{
    for (int refused = 0; refused < 2; refused++) {
        struct pair p = pair_new();
        if (refused) /* the kernel segments only what it also sums */
            setsockopt(p.e.fd, SOL_SOCKET, SO_NO_CHECK, &(int){ 1 }, sizeof(int));
        uint8_t batch[2500], packet[2000];
        for (size_t i = 0; i < sizeof batch; i++)
            batch[i] = (uint8_t)(i / 1000);
        CU_ASSERT_EQUAL(quic_endpoint_send(&p.e, batch, sizeof batch, 1000), 0);
        CU_ASSERT_EQUAL(p.e.gso, !refused);
        for (int i = 0; i < 3; i++) {
            CU_ASSERT_EQUAL(recv(p.other, packet, sizeof packet, 0), i < 2 ? 1000 : 500);
            CU_ASSERT_EQUAL(packet[0], i);
        }
        CU_ASSERT_EQUAL(recv(p.other, packet, sizeof packet, 0), -1);
        pair_free(&p);
    }
}

struct got {
    unsigned n, empty, stop_at;
    size_t bytes, largest;
};

static bool count(void *arg, const uint8_t *p, size_t n)
{
    struct got *g = arg;
    (void)p;
    g->n++;
    g->empty += n == 0;
    g->bytes += n;
    if (n > g->largest)
        g->largest = n;
    return g->n != g->stop_at;
}

static void joined_packets_are_taken_apart(void)
{
    struct pair p = pair_new();
    struct quic_worker *worker = p.b->selfs[0].local;
    struct quic_endpoint other = { .fd = p.other, .gso = true };
    uint8_t batch[10 * 1200 + 7] = { 0 };
    CU_ASSERT_EQUAL(quic_endpoint_send(&other, batch, sizeof batch, 1200), 0);
    CU_ASSERT_EQUAL(quic_endpoint_send(&other, batch, 33, 33), 0);
    struct got got = { 0 };
    CU_ASSERT_EQUAL(quic_endpoint_read(&p.e, &worker->io, count, &got), 0);
    CU_ASSERT_EQUAL(got.n, 12);
    CU_ASSERT_EQUAL(got.largest, 1200);
    CU_ASSERT_EQUAL(got.bytes, sizeof batch + 33);
    pair_free(&p);
}

static void empty_datagrams_count_against_the_budget(void)
{
    struct pair p = pair_new();
    struct quic_worker *worker = p.b->selfs[0].local;
    unsigned sent = 0;
    while (sent < QUIC_READ_BUDGET + 100 && send(p.other, "", 0, 0) == 0)
        sent++;
    CU_ASSERT_EQUAL_FATAL(sent, QUIC_READ_BUDGET + 100);
    struct got first = { 0 }, rest = { 0 };
    CU_ASSERT_EQUAL(quic_endpoint_read(&p.e, &worker->io, count, &first), 0);
    CU_ASSERT_TRUE(first.empty >= QUIC_READ_BUDGET && first.empty < QUIC_READ_BUDGET + QUIC_BATCH);
    CU_ASSERT_EQUAL(quic_endpoint_read(&p.e, &worker->io, count, &rest), 0);
    CU_ASSERT_EQUAL(first.empty + rest.empty, sent);
    pair_free(&p);
}

static void a_receiver_that_has_had_enough_is_not_called_again(void)
{
    struct pair p = pair_new();
    struct quic_worker *worker = p.b->selfs[0].local;
    for (int i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(send(p.other, "x", 1, 0), 1);
    struct got got = { .stop_at = 2 };
    CU_ASSERT_EQUAL(quic_endpoint_read(&p.e, &worker->io, count, &got), 0);
    CU_ASSERT_EQUAL(got.n, 2);
    pair_free(&p);
}

static void a_peer_that_is_gone_is_reported(void)
{
    struct pair p = pair_new();
    struct quic_worker *worker = p.b->selfs[0].local;
    struct got got = { 0 };
    close(p.other);
    p.other = -1;
    CU_ASSERT_EQUAL(quic_endpoint_send(&p.e, (const uint8_t *)"x", 1, 1), 0);
    CU_ASSERT_EQUAL(quic_endpoint_read(&p.e, &worker->io, count, &got), ECONNREFUSED);
    CU_ASSERT_EQUAL(got.n, 0);
    pair_free(&p);
}

static void a_packet_too_large_for_the_path_is_lost_not_an_error(void)
{
    struct pair p = pair_new();
    static const uint8_t huge[65535];
    CU_ASSERT_EQUAL(quic_endpoint_send(&p.e, huge, sizeof huge, sizeof huge), 0);
    CU_ASSERT_PTR_NULL(p.e.held);
    pair_free(&p);
}

SUITE(quic_endpoint, TEST(batches_leave_as_single_packets), TEST(joined_packets_are_taken_apart),
      TEST(empty_datagrams_count_against_the_budget),
      TEST(a_receiver_that_has_had_enough_is_not_called_again), TEST(a_peer_that_is_gone_is_reported),
      TEST(a_packet_too_large_for_the_path_is_lost_not_an_error));
