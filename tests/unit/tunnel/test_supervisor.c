/* test_supervisor.c: decisions about connections, with the clock turned by hand: docs/protocol.md §10.3, §14, §15 in
 * their better form. */
#include "suite.h"
#include "world.h"

#include <stdio.h>

#define LAST(index) world_dial(index)

/* ---- starting -------------------------------------------------------------------------------------------- */

static void starts_the_first_connection_alone(void)
{
    world_begin(4);
    world_addresses(8);
    world_pass(2000);
    CU_ASSERT_EQUAL(world_count(DIAL), 1);
    CU_ASSERT_EQUAL(LAST(0)->protocol, SUP_QUIC);
    CU_ASSERT_EQUAL(supervisor_running(world.s), 1);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 0);
    world_end();
}

static void starts_the_others_with_spacing_once_the_first_has_registered(void)
{
    world_begin(4);
    world_addresses(8);
    world_connect(0);
    CU_ASSERT_EQUAL(world_count(ANNOUNCE), 1);
    world_pass(1000);
    CU_ASSERT_EQUAL(world_count(DIAL), 4);
    for (unsigned i = 1; i < 4; i++)
        CU_ASSERT_EQUAL(LAST(i)->at, (i - 1) * 100);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 1);
    CU_ASSERT_EQUAL(supervisor_running(world.s), 4);
    world_end();
}

static void gives_each_index_an_address_of_its_own(void)
{
    world_begin(4);
    world_addresses(4);
    world_connect_all();
    unsigned seen = 0;
    for (unsigned i = 0; i < 4; i++)
        seen |= 1u << LAST(i)->port;
    CU_ASSERT_EQUAL(seen, 0x1e);
    world_end();
}

static void asks_for_no_more_connections_than_there_are_addresses(void)
{
    world_begin(4);
    world_addresses(2);
    CU_ASSERT_PTR_NOT_NULL(world_said("You requested 4 HA connections but I can give you at most 2."));
    world_connect(0);
    world_pass(5000);
    CU_ASSERT_PTR_NULL(world_last(DIAL, 2));
    world_addresses(4); /* found later */
    world_connect(1);
    world_pass(300);
    CU_ASSERT_PTR_NOT_NULL(world_last(DIAL, 3));
    world_end();
}

static void logs_the_registration_with_its_location(void)
{
    world_begin(1);
    world_addresses(1);
    world_connect(0);
    CU_ASSERT_PTR_NOT_NULL(world_said("Registered tunnel connection"));
    CU_ASSERT_EQUAL(world_said("Registered")->level, CV_INFO);
    world_end();
}

/* ---- back-off -------------------------------------------------------------------------------------------- */

static void only_quic(void)
{
    world.conf.available[SUP_HTTP2] = false;
}

static void backs_off_exponentially_up_to_the_cap(void)
{
    static const int64_t bounds[] = { 2, 4, 8, 16, 32, 32, 32 };
    world_begin(1);
    only_quic();
    world.chance = 1;
    world_addresses(2);
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        char line[80];
        int64_t failed = world.now;
        world_down(LAST(0)->id, "timeout: no recent network activity");
        snprintf(line, sizeof(line), "Retrying connection in up to %llds", (long long)bounds[i]);
        CU_ASSERT_PTR_NOT_NULL(world_said(line));
        size_t dials = world_count(DIAL);
        world_pass(bounds[i] * 1000 - 2);
        CU_ASSERT_EQUAL(world_count(DIAL), dials);
        world_pass(2);
        CU_ASSERT_EQUAL(world_count(DIAL), dials + 1);
        CU_ASSERT(LAST(0)->at - failed <= bounds[i] * 1000);
    }
    world_end();
}

static void tells_the_edge_its_previous_attempts_up_to_the_cap(void)
{
    world_begin(1);
    only_quic();
    world.conf.retries = 2;
    world_addresses(2);
    CU_ASSERT_EQUAL(LAST(0)->attempts, 0);
    for (unsigned i = 1; i <= 3; i++) {
        world_down(LAST(0)->id, "timeout");
        world_pass(40000);
        CU_ASSERT_EQUAL(LAST(0)->attempts, i < 2 ? i : 2);
    }
    world_connect(0);
    world_pass(20000);
    world_down(LAST(0)->id, "lost");
    world_pass(2000);
    CU_ASSERT_EQUAL(LAST(0)->attempts, 1); /* the success has been the new beginning */
    world_end();
}

static void never_spins_on_one_address_that_refuses(void)
{
    world_begin(1);
    world.chance = 0; /* the shortest waits that chance allows */
    world_addresses(1);
    for (int i = 0; i < 20; i++) {
        world_down(LAST(0)->id, "connection refused"); /* both transports, one after the other */
        size_t dials = world_count(DIAL);
        if (LAST(0)->protocol == SUP_HTTP2 && i % 2)
            world_pass(99);
        CU_ASSERT(world_count(DIAL) <= dials);
        world_pass(1);
    }
    CU_ASSERT(world.now >= 900);
    world_end();
}

static void waits_less_than_a_second_after_a_good_connection_was_lost(void)
{
    world_begin(2);
    only_quic();
    world.chance = 1;
    world_addresses(4);
    world_connect_all();
    world_pass(20000);
    world_down(LAST(1)->id, "timeout: no recent network activity");
    CU_ASSERT_PTR_NOT_NULL(world_said("Connection terminated error=timeout: no recent network activity"));
    CU_ASSERT_PTR_NOT_NULL(world_said("Retrying connection in up to 1s"));
    world_pass(1000);
    CU_ASSERT(LAST(1)->at >= 20000);
    world_end();
}

static void waits_longer_when_connections_die_young(void)
{
    world_begin(2);
    only_quic();
    world.chance = 1;
    world_addresses(4);
    world_connect_all();
    for (unsigned i = 1; i < 4; i++) {
        int64_t lost = world.now;
        world_down(LAST(1)->id, "lost");
        world_pass(40000);
        CU_ASSERT_EQUAL(LAST(1)->at - lost, (1000 << i) - 1);
        world_connect(1);
    }
    world_end();
}

static void reconnects_at_once_when_all_were_lost_together(void)
{
    world_begin(4);
    world.chance = 1;
    world_addresses(8);
    world_connect_all();
    world_pass(20000);
    uint32_t ids[4];
    for (unsigned i = 0; i < 4; i++)
        ids[i] = LAST(i)->id;
    world_forget();
    for (unsigned i = 0; i < 4; i++)
        world_down(ids[i], "timeout");
    int64_t lost = world.now;
    world_pass(400);
    for (unsigned i = 0; i < 4; i++)
        CU_ASSERT(world_last(DIAL, i) && world_last(DIAL, i)->at <= lost + 300);
    world_end();
}

static void says_error_while_nothing_is_up_and_warning_otherwise(void)
{
    world_begin(2);
    only_quic();
    world_addresses(4);
    world_down(LAST(0)->id, "one");
    CU_ASSERT_EQUAL(world_said("error=one")->level, CV_ERROR);
    world_pass(2000);
    world_connect(0);
    world_down(LAST(1)->id, "two");
    CU_ASSERT_EQUAL(world_said("Failed to dial a quic connection error=two")->level, CV_WARN);
    world_end();
}

/* ---- addresses ------------------------------------------------------------------------------------------- */

static void rotates_after_a_failed_dial(void)
{
    world_begin(1);
    only_quic();
    world_addresses(3);
    unsigned before = LAST(0)->port;
    world_down(LAST(0)->id, "timeout");
    world_pass(2000);
    CU_ASSERT_NOT_EQUAL(LAST(0)->port, before);
    world_end();
}

static void comes_back_to_its_address_after_a_loss(void)
{
    world_begin(1);
    only_quic();
    world_addresses(3);
    unsigned before = LAST(0)->port;
    world_connect(0);
    world_pass(20000);
    world_down(LAST(0)->id, "lost");
    world_pass(2000);
    CU_ASSERT_EQUAL(LAST(0)->port, before);
    world_end();
}

static void a_duplicate_rotates_on_either_transport(void)
{
    for (int quic = 0; quic < 2; quic++) {
        world_begin(1);
        world.conf.available[!quic] = false;
        world.conf.available[SUP_QUIC] = quic;
        world.conf.available[SUP_HTTP2] = !quic;
        world_addresses(3);
        unsigned before = LAST(0)->port;
        world_up(LAST(0)->id);
        world_refused(LAST(0)->id, "EDUPCONN", true, 0);
        CU_ASSERT_PTR_NOT_NULL(
            world_said("Unable to establish connection. error=already connected to this server, "
                       "trying another address"));
        CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, LAST(0)->id));
        world_pass(2000);
        CU_ASSERT_NOT_EQUAL(LAST(0)->port, before);
        world_end();
    }
}

static void another_refusal_keeps_the_address_and_is_logged_in_full(void)
{
    world_begin(1);
    only_quic();
    world_addresses(3);
    unsigned before = LAST(0)->port;
    world_up(LAST(0)->id);
    world_refused(LAST(0)->id, "the edge is busy today", true, 0);
    CU_ASSERT_PTR_NOT_NULL(world_said("Register tunnel error from server side error=the edge is busy today"));
    world_pass(2000);
    CU_ASSERT_EQUAL(LAST(0)->port, before);
    CU_ASSERT_EQUAL(world_count(END), 0);
    world_end();
}

static void waits_when_no_address_is_free(void)
{
    world_begin(2);
    only_quic();
    world_addresses(2);
    world_connect(0);
    unsigned other = LAST(1)->port;
    world_down(LAST(1)->id, "timeout"); /* nothing else is free: it may come back to it, but not at once */
    size_t dials = world_count(DIAL);
    CU_ASSERT_EQUAL(dials, 2);
    world_pass(4000);
    CU_ASSERT_EQUAL(LAST(1)->port, other);
    world_end();
}

/* ---- refusals -------------------------------------------------------------------------------------------- */

static void honours_retry_after(void)
{
    world_begin(1);
    only_quic();
    world.chance = 0;
    world_addresses(2);
    world_up(LAST(0)->id);
    world_refused(LAST(0)->id, "maintenance", true, 27000);
    world_pass(26999);
    CU_ASSERT_EQUAL(world_count(DIAL), 1);
    world_pass(1001);
    CU_ASSERT_EQUAL(world_count(DIAL), 2);
    world_end();
}

static void bounds_retry_after(void)
{
    world_begin(1);
    only_quic();
    world_addresses(2);
    world_up(LAST(0)->id);
    world_refused(LAST(0)->id, "see you next year", true, INT64_C(31536000000));
    world_pass(10 * 60 * 1000 + 2000);
    CU_ASSERT_EQUAL(world_count(DIAL), 2);
    world_end();
}

static void refuse_times(const char *why, bool should_retry, int times)
{
    for (int i = 0; i < times && world_count(END) == 0; i++) {
        uint32_t id = LAST(0)->id;
        world_up(id);
        world_refused(id, why, should_retry, 0);
        world_down(id, "closed");
        world_pass(40000);
    }
}

static void ends_with_1_when_refused_for_good_before_any_success(void)
{
    static const struct {
        const char *why;
        bool should_retry;
    } cases[] = { { "Unauthorized: Invalid tunnel secret", true }, { "tunnel not found", false } };
    for (size_t i = 0; i < 2; i++) {
        world_begin(2);
        only_quic();
        world_addresses(4);
        refuse_times(cases[i].why, cases[i].should_retry, 2);
        CU_ASSERT_EQUAL(world_count(END), 0);
        refuse_times(cases[i].why, cases[i].should_retry, 1);
        CU_ASSERT_EQUAL(world_count(END), 1);
        CU_ASSERT_EQUAL(world.did[world.n - 1].amount, 1);
        CU_ASSERT_PTR_NOT_NULL(world_said("initial tunnel connection failed error="));
        CU_ASSERT_PTR_NOT_NULL(world_said("Check that the token"));
        world_end();
    }
}

static void goes_on_when_told_to(void)
{
    world_begin(1);
    only_quic();
    world.conf.exit_when_refused = false;
    world_addresses(2);
    refuse_times("Unauthorized: Invalid tunnel secret", false, 12);
    CU_ASSERT_EQUAL(world_count(END), 0);
    CU_ASSERT_EQUAL(world_count(DIAL), 13);
    world_end();
}

static void goes_on_after_refusals_that_may_pass(void)
{
    world_begin(1);
    only_quic();
    world_addresses(2);
    refuse_times("busy", true, 6);
    refuse_times("EDUPCONN", false, 6);
    CU_ASSERT_EQUAL(world_count(END), 0);
    world_end();
}

static void never_ends_once_it_has_been_accepted(void)
{
    world_begin(1);
    only_quic();
    world_addresses(2);
    world_connect(0);
    world_pass(20000);
    world_down(LAST(0)->id, "lost");
    world_pass(2000);
    refuse_times("Unauthorized: tunnel deleted", false, 6);
    CU_ASSERT_EQUAL(world_count(END), 0);
    world_end();
}

static void gives_up_on_a_silent_control_stream(void)
{
    world_begin(1);
    world.conf.available[SUP_QUIC] = false;
    world_addresses(2);
    uint32_t id = LAST(0)->id;
    world_up(id);
    world_pass(19999);
    CU_ASSERT_PTR_NULL(world_last(CLOSE, id));
    world_pass(1);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, id));
    CU_ASSERT_PTR_NOT_NULL(world_said("the edge did not open the control stream within 15000 ms"));
    world_pass(4000);
    CU_ASSERT_NOT_EQUAL(LAST(0)->id, id);
    world_end();
}

static void gives_up_on_a_dial_that_never_ends(void)
{
    world_begin(1);
    only_quic();
    world_addresses(2);
    uint32_t id = LAST(0)->id;
    world_pass(60000);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, id));
    CU_ASSERT_NOT_EQUAL(LAST(0)->id, id);
    world_end();
}

/* ---- protocols ------------------------------------------------------------------------------------------- */

static void tries_http2_at_once_when_quic_is_refused(void)
{
    world_begin(1);
    world_addresses(2);
    unsigned port = LAST(0)->port;
    world_down(LAST(0)->id, "connection refused");
    CU_ASSERT_EQUAL(LAST(0)->protocol, SUP_HTTP2);
    CU_ASSERT_EQUAL(LAST(0)->port, port);
    CU_ASSERT_EQUAL(LAST(0)->at, 0);
    world_end();
}

static void tries_http2_beside_quic_that_is_silent(void)
{
    world_begin(2);
    world_addresses(4);
    uint32_t quic = LAST(0)->id;
    world_pass(2499);
    CU_ASSERT_EQUAL(world_count(DIAL), 1);
    world_pass(1);
    CU_ASSERT_EQUAL(LAST(0)->protocol, SUP_HTTP2);
    world_connect(0);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, quic));
    CU_ASSERT_PTR_NOT_NULL(world_said("Switching to fallback protocol http2"));
    CU_ASSERT_EQUAL(LAST(1)->protocol, SUP_HTTP2); /* those that follow know it */
    world_down(quic, "closed");
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 1);
    world_end();
}

static void takes_quic_when_it_connects_first(void)
{
    world_begin(1);
    world_addresses(2);
    uint32_t quic = LAST(0)->id;
    world_pass(2600);
    uint32_t http2 = LAST(0)->id;
    world_up(quic);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, http2));
    world_registered(quic);
    world_down(http2, "closed");
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 1);
    CU_ASSERT_PTR_NULL(world_said("Switching"));
    world_end();
}

static void a_fixed_protocol_is_never_left(void)
{
    for (enum sup_protocol p = 0; p < SUP_PROTOCOLS; p++) {
        world_begin(1);
        world.conf.available[1 - p] = false;
        world_addresses(2);
        for (int i = 0; i < 12; i++) {
            CU_ASSERT_EQUAL(LAST(0)->protocol, p);
            world_down(LAST(0)->id, "timeout");
            world_pass(60000);
        }
        world_end();
    }
}

static void prefers_http2_where_quic_connects_but_does_not_work(void)
{
    world_begin(2);
    world_addresses(4);
    world_connect(0);
    for (int i = 0; i < 2; i++) { /* answers get lost on the way, the handshake does not */
        CU_ASSERT_EQUAL(LAST(1)->protocol, SUP_QUIC);
        world_up(LAST(1)->id);
        world_down(LAST(1)->id, "timeout");
        world_pass(1000 << i); /* until the next attempt */
    }
    CU_ASSERT_EQUAL(LAST(1)->protocol, SUP_HTTP2);
    world_end();
}

static void connect_over_http2(void)
{
    world_addresses(4);
    world_down(LAST(0)->id, "connection refused");
    world_connect(0);
}

static void comes_back_to_quic_make_before_break(void)
{
    world_begin(1);
    world.chance = 0;
    connect_over_http2();
    uint32_t old = LAST(0)->id;
    world_pass(599999);
    CU_ASSERT_EQUAL(LAST(0)->id, old);
    world_pass(1);
    uint32_t probe = LAST(0)->id;
    CU_ASSERT_NOT_EQUAL(probe, old);
    CU_ASSERT_EQUAL(LAST(0)->protocol, SUP_QUIC);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 1);
    world_sample(old, 1, true, 0, 0);
    world_connect(0);
    CU_ASSERT_PTR_NOT_NULL(world_said("Changing protocol to quic"));
    CU_ASSERT_PTR_NOT_NULL(world_last(UNREGISTER, old));
    world_unregistered(old);
    for (int i = 0; i < 100; i++) { /* its request takes its time */
        world_sample(old, 1, true, 0, 0);
        world_pass(1000);
    }
    CU_ASSERT_PTR_NULL(world_last(CLOSE, old));
    world_sample(old, 0, true, 0, 0);
    world_pass(500);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, old));
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 1);
    world_end();
}

static void probes_again_later_when_quic_still_fails(void)
{
    world_begin(1);
    world.chance = 0;
    connect_over_http2();
    uint32_t live = LAST(0)->id;
    int64_t from = world.now;
    world_pass(600000);
    world_forget();
    world_down(live + 1, "timeout");
    CU_ASSERT_PTR_NULL(world_said("Retrying"));
    CU_ASSERT_EQUAL(world_said("Failed to dial")->level, CV_DEBUG);
    world_pass(1199999);
    CU_ASSERT_EQUAL(world_count(DIAL), 0);
    world_pass(1);
    CU_ASSERT_EQUAL(world_count(DIAL), 1);
    CU_ASSERT_EQUAL(LAST(0)->at - from, 1800000);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 1);
    world_end();
}

/* ---- half dead ------------------------------------------------------------------------------------------- */

static void replaces_a_half_dead_connection(void)
{
    world_begin(1);
    world_addresses(2);
    world_connect(0);
    const struct action first = *LAST(0);
    world_sample(first.id, 5, true, 3, 9000);
    CU_ASSERT_EQUAL(world_count(DIAL), 1);
    world_sample(first.id, 5, false, 3, 10000);
    CU_ASSERT_EQUAL(world_count(DIAL), 2);
    CU_ASSERT_NOT_EQUAL(LAST(0)->port, first.port);
    CU_ASSERT_PTR_NOT_NULL(world_said("half dead"));
    CU_ASSERT_PTR_NULL(world_last(CLOSE, first.id));
    world_connect(0);
    CU_ASSERT_PTR_NOT_NULL(world_last(UNREGISTER, first.id));
    world_pass(30000); /* what hangs on it does not hang for ever */
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, first.id));
    world_end();
}

static void spares_the_requests_of_one_that_was_only_slow(void)
{
    world_begin(1);
    world_addresses(2);
    world_connect(0);
    uint32_t old = LAST(0)->id;
    world_sample(old, 5, false, 5, 10000);
    world_connect(0);
    world_sample(old, 5, true, 5, 0);
    for (int i = 0; i < 60; i++) {
        world_pass(1000);
        world_sample(old, 5, false, 5, 1000);
    }
    CU_ASSERT_PTR_NULL(world_last(CLOSE, old));
    world_end();
}

static void replaces_a_connection_that_the_edge_sends_away(void)
{
    world_begin(1);
    world_addresses(2);
    world_connect(0);
    uint32_t old = LAST(0)->id;
    world_leaving(old);
    world_leaving(old);
    world_pass(2000);
    CU_ASSERT_EQUAL(world_count(DIAL), 2);
    CU_ASSERT_PTR_NULL(world_last(UNREGISTER, old));
    world_connect(0);
    CU_ASSERT_PTR_NOT_NULL(world_last(UNREGISTER, old));
    world_sample(old, 1, false, 0, 0);
    world_leaving(old);
    world_pass(60000);
    CU_ASSERT_EQUAL(world_count(DIAL), 2);
    CU_ASSERT_PTR_NULL(world_last(CLOSE, old)); /* it has a request yet */
    world_end();
}

static void an_edge_that_sends_everybody_away_is_asked_ever_more_seldom(void)
{
    world_begin(1);
    world_addresses(2);
    world_connect(0);
    for (int i = 0; i < 8; i++) {
        unsigned dials = world_count(DIAL);
        world_leaving(LAST(0)->id);
        while (world_count(DIAL) == dials)
            world_pass(100);
        world_connect(0);
    }
    CU_ASSERT_PTR_NOT_NULL(world_said("Retrying connection in up to 32s"));
    world_end();
}

static void leaves_a_slow_visitor_alone(void)
{
    world_begin(1);
    world_addresses(2);
    world_connect(0);
    world_sample(LAST(0)->id, 2, false, 2, 600000);
    CU_ASSERT_EQUAL(world_count(DIAL), 1);
    world_end();
}

static void gives_up_a_half_dead_connection_that_has_no_other_place(void)
{
    world_begin(1);
    only_quic();
    world_addresses(1);
    world_connect(0);
    uint32_t old = LAST(0)->id;
    world_sample(old, 5, false, 5, 10000);
    world_up(LAST(0)->id);
    world_refused(LAST(0)->id, "EDUPCONN", true, 0);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, old));
    world_end();
}

/* ---- shutdown -------------------------------------------------------------------------------------------- */

static void shutdown_before_the_first_registration_ends_with_0(void)
{
    world_begin(4);
    world_addresses(8);
    supervisor_shutdown(world.s, world.now, "terminated");
    CU_ASSERT_PTR_NOT_NULL(world_said("Initiating graceful shutdown due to signal terminated ..."));
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, LAST(0)->id));
    world_down(LAST(0)->id, "closed");
    CU_ASSERT_EQUAL(world_count(END), 1);
    CU_ASSERT_EQUAL(world.did[world.n - 1].amount, 0);
    world_end();
}

static void shutdown_during_the_wait_ends_at_once(void)
{
    world_begin(4);
    only_quic();
    world_addresses(8);
    world_down(LAST(0)->id, "timeout");
    supervisor_shutdown(world.s, world.now, "interrupt");
    CU_ASSERT_EQUAL(world_count(END), 1);
    world_pass(100000);
    CU_ASSERT_EQUAL(world_count(DIAL), 1);
    world_end();
}

static void shutdown_without_addresses_ends_at_once(void)
{
    world_begin(4);
    world_conf();
    supervisor_shutdown(world.s, 0, "terminated");
    CU_ASSERT_EQUAL(world_count(END), 1);
    world_end();
}

static void shutdown_unregisters_and_leaves_when_it_has_been_quiet(void)
{
    world_begin(2);
    world_addresses(4);
    world_connect_all();
    uint32_t a = LAST(0)->id, b = LAST(1)->id;
    world_sample(a, 1, true, 0, 0);
    world_forget();
    supervisor_shutdown(world.s, world.now, "terminated");
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 0);
    CU_ASSERT_EQUAL(supervisor_running(world.s), 0);
    CU_ASSERT_EQUAL(world_count(UNREGISTER), 2);
    world_unregistered(a);
    world_unregistered(b);
    CU_ASSERT_PTR_NOT_NULL(world_said("Unregistered tunnel connection"));
    world_pass(499);
    CU_ASSERT_EQUAL(world_count(CLOSE), 0);
    world_pass(1);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, b));
    world_down(b, "closed");
    world_pass(5000);
    CU_ASSERT_PTR_NULL(world_last(CLOSE, a)); /* its request is under way */
    world_sample(a, 0, true, 0, 0);
    world_pass(400);
    world_sample(a, 1, true, 0, 0); /* one more came */
    world_pass(400);
    world_sample(a, 0, true, 0, 0);
    CU_ASSERT_PTR_NULL(world_last(CLOSE, a));
    world_pass(500);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, a));
    world_down(a, "closed");
    CU_ASSERT_EQUAL(world_count(END), 1);
    CU_ASSERT_EQUAL(world_count(DIAL), 0);
    world_end();
}

static void shutdown_takes_no_longer_than_the_grace_period(void)
{
    world_begin(1);
    world_addresses(2);
    world_connect(0);
    uint32_t id = LAST(0)->id;
    supervisor_shutdown(world.s, world.now, "terminated");
    world_unregistered(id);
    for (int i = 0; i < 29; i++) {
        world_sample(id, 1, true, 0, 0);
        world_pass(1000);
    }
    CU_ASSERT_PTR_NULL(world_last(CLOSE, id));
    CU_ASSERT_PTR_NOT_NULL_FATAL(world_last(GOODBYE, id));
    CU_ASSERT_EQUAL(world_last(GOODBYE, id)->at, 28000);
    world_sample(id, 1, true, 0, 0);
    world_pass(1000);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, id));
    CU_ASSERT_EQUAL(world_count(GOODBYE), 1);
    world_end();
}

static void a_grace_period_of_0_closes_at_once(void)
{
    world_begin(1);
    world.conf.grace = 0;
    world_addresses(2);
    world_connect(0);
    supervisor_shutdown(world.s, world.now, "terminated");
    CU_ASSERT_EQUAL(world_count(UNREGISTER), 0);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, LAST(0)->id));
    world_end();
}

static void an_edge_that_does_not_answer_cannot_hold_up_an_idle_process(void)
{
    world_begin(1);
    world_addresses(2);
    world_connect(0);
    supervisor_shutdown(world.s, world.now, "terminated");
    CU_ASSERT_EQUAL(world_last(UNREGISTER, LAST(0)->id)->amount, 5000);
    struct conn_report r = {
        .id = LAST(0)->id, .what = CONN_UNREGISTERED, .error = CV_E_TIMEOUT, .text = "late"
    };
    supervisor_report(world.s, world.now, &r);
    CU_ASSERT_EQUAL(world_said("error=late")->level, CV_WARN);
    world_pass(500);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, LAST(0)->id));
    world_end();
}

static void an_edge_that_closes_has_unregistered(void)
{
    world_begin(1);
    world_addresses(2);
    world_connect(0);
    supervisor_shutdown(world.s, world.now, "terminated");
    world_down(LAST(0)->id, "connection with edge closed");
    CU_ASSERT_PTR_NOT_NULL(world_said("Unregistered tunnel connection"));
    CU_ASSERT_EQUAL(world_count(END), 1);
    world_end();
}

static void drains_without_ending_and_ends_later(void)
{
    world_begin(2);
    world_addresses(4);
    world_connect_all();
    supervisor_drain(world.s, world.now, world.conf.grace);
    CU_ASSERT(supervisor_draining(world.s));
    CU_ASSERT(!supervisor_idle(world.s));
    for (unsigned i = 0; i < 2; i++)
        world_unregistered(LAST(i)->id);
    world_pass(1000);
    for (unsigned i = 0; i < 2; i++)
        world_down(LAST(i)->id, "closed");
    CU_ASSERT(supervisor_idle(world.s));
    CU_ASSERT_EQUAL(world_count(END), 0);
    world_pass(100000);
    CU_ASSERT_EQUAL(world_count(DIAL), 2);
    supervisor_shutdown(world.s, world.now, "terminated");
    CU_ASSERT_EQUAL(world_count(END), 1);
    world_end();
}

static void connects_anew_after_a_drain_beside_what_still_drains(void)
{
    world_begin(2);
    world_addresses(4);
    world_connect_all();
    uint32_t busy = LAST(0)->id;
    supervisor_drain(world.s, world.now, 3600000);
    for (unsigned i = 0; i < 2; i++)
        world_unregistered(LAST(i)->id);
    world_down(LAST(1)->id, "closed");
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 0);
    supervisor_resume(world.s, world.now);
    CU_ASSERT_FALSE(supervisor_draining(world.s));
    world_connect_all();
    CU_ASSERT_EQUAL(world_count(DIAL), 4);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 2);
    CU_ASSERT_NOT_EQUAL(LAST(0)->id, busy);
    world_down(busy, "closed"); /* the old one's end is none of the new one's */
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 2);
    world_pass(1000);
    CU_ASSERT_EQUAL(world_count(DIAL), 4);
    supervisor_drain(world.s, world.now, 1000);
    for (unsigned i = 0; i < 2; i++)
        world_down(LAST(i)->id, "closed");
    CU_ASSERT_TRUE(supervisor_idle(world.s));
    CU_ASSERT_EQUAL(world_count(DRAINED), 1);
    world_end();
}

static void down_with(uint32_t id, unsigned finished, unsigned cut)
{
    struct conn_report r = { .id = id, .what = CONN_DOWN, .finished = finished, .open = cut };
    supervisor_report(world.s, world.now, &r);
}

static void a_drain_tells_what_it_finished_and_what_it_cut(void)
{
    world_begin(2);
    world_addresses(4);
    world_connect_all();
    world_pass(1000);
    supervisor_drain(world.s, world.now, 60000);
    world_unregistered(LAST(0)->id);
    world_sample(LAST(1)->id, 3, true, 0, 0);
    world_pass(1000);
    down_with(LAST(0)->id, 7, 0);
    CU_ASSERT_EQUAL(world_count(DRAINED), 0);
    CU_ASSERT_PTR_NULL(world_last(CLOSE, LAST(1)->id));
    supervisor_drain(world.s, world.now, 90000); /* later: nothing new */
    supervisor_drain(world.s, world.now, 2000);
    world_pass(1999);
    CU_ASSERT_PTR_NULL(world_last(CLOSE, LAST(1)->id));
    world_pass(1);
    CU_ASSERT_PTR_NOT_NULL(world_last(CLOSE, LAST(1)->id));
    down_with(LAST(1)->id, 1, 2);
    CU_ASSERT_EQUAL(world_count(DRAINED), 1);
    world_pass(5000);
    struct cv_drained d = supervisor_drained(world.s, world.now);
    CU_ASSERT_EQUAL(d.finished, 8);
    CU_ASSERT_EQUAL(d.cut, 2);
    CU_ASSERT_EQUAL(d.ms, 3000);
    CU_ASSERT_EQUAL(world_count(END), 0);
    world_end();
}

static void count_links(void *arg, const struct cv_link *link)
{
    unsigned *n = arg;
    n[link->state]++;
    if (link->state == CV_LINK_REGISTERED) {
        CU_ASSERT_EQUAL(link->registered_ms, 1500);
        CU_ASSERT_EQUAL(link->rtt_us, 2300);
        CU_ASSERT_STRING_EQUAL(link->protocol, "quic");
    }
}

static void tells_its_connections(void)
{
    unsigned n[3] = { 0 };
    world_begin(2);
    world_addresses(4);
    world_connect(0);
    struct conn_report r = { .id = LAST(0)->id, .what = CONN_SAMPLE, .rtt_us = 2300 };
    supervisor_report(world.s, world.now, &r);
    world_pass(1500);
    supervisor_each(world.s, world.now, count_links, n);
    CU_ASSERT_EQUAL(n[CV_LINK_REGISTERED], 1);
    CU_ASSERT_EQUAL(n[CV_LINK_CONNECTING], 1);
    supervisor_drain(world.s, world.now, 60000);
    memset(n, 0, sizeof(n));
    supervisor_each(world.s, world.now, count_links, n);
    CU_ASSERT_EQUAL(n[CV_LINK_LEAVING], 1);
    world_end();
}

/* ---- tokens and networks --------------------------------------------------------------------------------- */

static void a_new_token_proves_itself_before_the_others_follow(void)
{
    world_begin(3);
    world_addresses(8);
    world_connect_all();
    uint32_t old[3];
    for (unsigned i = 0; i < 3; i++)
        old[i] = LAST(i)->id;
    supervisor_token_changed(world.s, world.now);
    CU_ASSERT(supervisor_trial(world.s));
    CU_ASSERT_NOT_EQUAL(LAST(0)->id, old[0]);
    world_pass(1000);
    CU_ASSERT_EQUAL(LAST(1)->id, old[1]);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 3);
    world_connect(0);
    CU_ASSERT(!supervisor_trial(world.s));
    CU_ASSERT_PTR_NOT_NULL(world_last(UNREGISTER, old[0]));
    world_pass(150);
    CU_ASSERT_NOT_EQUAL(LAST(1)->id, old[1]);
    CU_ASSERT_NOT_EQUAL(LAST(2)->id, old[2]);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 3);
    world_connect(1);
    world_connect(2);
    CU_ASSERT_EQUAL(world_count(UNREGISTER), 3);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 3);
    world_end();
}

static void a_new_token_that_is_refused_is_dropped(void)
{
    world_begin(2);
    world_addresses(4);
    world_connect_all();
    supervisor_token_changed(world.s, world.now);
    uint32_t trial = LAST(0)->id;
    world_up(trial);
    world_refused(trial, "Unauthorized: Invalid tunnel secret", false, 0);
    CU_ASSERT_EQUAL(world_count(KEEP_OLD), 1);
    CU_ASSERT_PTR_NOT_NULL(world_said("the old one stays in use"));
    world_down(trial, "closed");
    world_forget();
    world_pass(100000);
    CU_ASSERT_EQUAL(world_count(DIAL), 0);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 2);
    world_end();
}

static void a_new_token_that_meets_trouble_is_tried_again(void)
{
    world_begin(1);
    only_quic();
    world_addresses(4);
    world_connect(0);
    supervisor_token_changed(world.s, world.now);
    uint32_t trial = LAST(0)->id;
    world_down(trial, "timeout");
    world_pass(2000);
    CU_ASSERT_NOT_EQUAL(LAST(0)->id, trial);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 1);
    world_end();
}

static void replaces_connections_whose_path_is_gone(void)
{
    world_begin(2);
    world_addresses(4);
    world_connect_all();
    world_forget();
    supervisor_network_changed(world.s, world.now);
    CU_ASSERT_EQUAL(world_count(DIAL), 0);
    world.path_gone = true;
    supervisor_network_changed(world.s, world.now);
    world_pass(100);
    CU_ASSERT_EQUAL(world_count(DIAL), 2);
    CU_ASSERT_EQUAL(world_count(CLOSE), 0);
    world_end();
}

static void tries_at_once_when_the_network_comes_back(void)
{
    world_begin(1);
    only_quic();
    world_addresses(2);
    for (int i = 0; i < 5; i++) {
        world_down(LAST(0)->id, "network is unreachable");
        world_pass(i < 4 ? 40000 : 0);
    }
    size_t dials = world_count(DIAL);
    supervisor_network_changed(world.s, world.now);
    CU_ASSERT_EQUAL(world_count(DIAL), dials + 1);
    world_end();
}

static void replaces_everything_after_a_sleep(void)
{
    world_begin(2);
    world_addresses(4);
    world_connect_all();
    world_forget();
    supervisor_resumed(world.s, world.now);
    world_pass(100);
    CU_ASSERT_EQUAL(world_count(DIAL), 2);
    CU_ASSERT_EQUAL(supervisor_ready(world.s), 2);
    world_end();
}

SUITE(supervisor, TEST(starts_the_first_connection_alone),
      TEST(starts_the_others_with_spacing_once_the_first_has_registered),
      TEST(gives_each_index_an_address_of_its_own),
      TEST(asks_for_no_more_connections_than_there_are_addresses),
      TEST(logs_the_registration_with_its_location), TEST(backs_off_exponentially_up_to_the_cap),
      TEST(tells_the_edge_its_previous_attempts_up_to_the_cap), TEST(never_spins_on_one_address_that_refuses),
      TEST(waits_less_than_a_second_after_a_good_connection_was_lost),
      TEST(waits_longer_when_connections_die_young), TEST(reconnects_at_once_when_all_were_lost_together),
      TEST(says_error_while_nothing_is_up_and_warning_otherwise), TEST(rotates_after_a_failed_dial),
      TEST(comes_back_to_its_address_after_a_loss), TEST(a_duplicate_rotates_on_either_transport),
      TEST(another_refusal_keeps_the_address_and_is_logged_in_full), TEST(waits_when_no_address_is_free),
      TEST(honours_retry_after), TEST(bounds_retry_after),
      TEST(ends_with_1_when_refused_for_good_before_any_success), TEST(goes_on_when_told_to),
      TEST(goes_on_after_refusals_that_may_pass), TEST(never_ends_once_it_has_been_accepted),
      TEST(gives_up_on_a_silent_control_stream), TEST(gives_up_on_a_dial_that_never_ends),
      TEST(tries_http2_at_once_when_quic_is_refused), TEST(tries_http2_beside_quic_that_is_silent),
      TEST(takes_quic_when_it_connects_first), TEST(a_fixed_protocol_is_never_left),
      TEST(prefers_http2_where_quic_connects_but_does_not_work), TEST(comes_back_to_quic_make_before_break),
      TEST(probes_again_later_when_quic_still_fails), TEST(replaces_a_half_dead_connection),
      TEST(spares_the_requests_of_one_that_was_only_slow),
      TEST(replaces_a_connection_that_the_edge_sends_away),
      TEST(an_edge_that_sends_everybody_away_is_asked_ever_more_seldom), TEST(leaves_a_slow_visitor_alone),
      TEST(gives_up_a_half_dead_connection_that_has_no_other_place),
      TEST(shutdown_before_the_first_registration_ends_with_0), TEST(shutdown_during_the_wait_ends_at_once),
      TEST(shutdown_without_addresses_ends_at_once),
      TEST(shutdown_unregisters_and_leaves_when_it_has_been_quiet),
      TEST(shutdown_takes_no_longer_than_the_grace_period), TEST(a_grace_period_of_0_closes_at_once),
      TEST(an_edge_that_does_not_answer_cannot_hold_up_an_idle_process),
      TEST(an_edge_that_closes_has_unregistered), TEST(drains_without_ending_and_ends_later),
      TEST(connects_anew_after_a_drain_beside_what_still_drains),
      TEST(a_drain_tells_what_it_finished_and_what_it_cut), TEST(tells_its_connections),
      TEST(a_new_token_proves_itself_before_the_others_follow), TEST(a_new_token_that_is_refused_is_dropped),
      TEST(a_new_token_that_meets_trouble_is_tried_again), TEST(replaces_connections_whose_path_is_gone),
      TEST(tries_at_once_when_the_network_comes_back), TEST(replaces_everything_after_a_sleep));
