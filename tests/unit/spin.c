/*
 * How long a thread looks before it sleeps, and when it leaves that: time is told.  And
 * a poll that spins, with a real signal.
 */
#include "common/base/limits.h"
#include "common/net/net.h"
#include "tests/unit/suite.h"

#define US UINT64_C(1000)

static struct ps_spin spin;
static uint64_t       now;

static void start(uint64_t most_ns)
{
    spin = (struct ps_spin){ .most_ns = most_ns };
    now = 1000000 * US;
}

/* Looks every so often, until it is to sleep; for how long that was. */
static uint64_t spun_ns(uint64_t every_ns)
{
    const uint64_t begun = now;

    if (!ps_spin_begin(&spin, now))
        return 0;
    do
        now += every_ns;
    while (ps_spin_goes_on(&spin, now));
    return now - begun;
}

START_TEST(zeroed_it_sleeps_at_once)
{
    start(0);
    ck_assert_uint_eq(spun_ns(US), 0);
}
END_TEST

START_TEST(it_looks_as_long_as_it_may_each_time)
{
    start(50 * US);
    ck_assert_uint_eq(spun_ns(US), 50 * US);
    ck_assert_uint_eq(spun_ns(US), 50 * US);
}
END_TEST

START_TEST(who_was_away_rests_for_twice_as_long_each_time)
{
    start(200 * US);
    for (uint64_t rest = PS_REST_NS; rest <= PS_REST_MAX_NS; rest *= 2) {
        ck_assert_uint_eq(spun_ns(PS_SPIN_AWAY_NS + 1), PS_SPIN_AWAY_NS + 1);
        now += rest - 1;
        ck_assert_uint_eq(spun_ns(US), 0);
        now++;
    }
    spun_ns(PS_SPIN_AWAY_NS + 1);
    now += PS_REST_MAX_NS; /* and not for longer */
    ck_assert_uint_eq(spun_ns(US), 200 * US);
}
END_TEST

START_TEST(where_nobody_was_in_its_way_the_next_rest_is_short_again)
{
    start(200 * US);
    spun_ns(PS_SPIN_AWAY_NS + 1);
    now += PS_REST_NS;
    spun_ns(PS_SPIN_AWAY_NS + 1);
    now += 2 * PS_REST_NS + 2 * PS_REST_NS;
    ck_assert_uint_eq(spun_ns(US), 200 * US);
    spun_ns(PS_SPIN_AWAY_NS + 1);
    now += PS_REST_NS;
    ck_assert_uint_eq(spun_ns(US), 200 * US);
}
END_TEST

/* With a spin that outlasts the test nothing could end it but what it looks for. */
START_TEST(a_poll_that_spins_sees_what_it_waits_for_and_its_time)
{
    struct ps_signal *signal;
    struct ps_poll    polls[1];

    ck_assert_ok(ps_signal_new(&signal));
    polls[0] = (struct ps_poll){ .signal = signal };
    start(PS_SPIN_US_MAX * US);
    ck_assert_ok(ps_net_poll_spinning(polls, 1, 0, &spin));
    ck_assert(!polls[0].ready);
    ck_assert_ok(ps_net_poll_spinning(polls, 1, 3, &spin));
    ck_assert(!polls[0].ready);
    ck_assert_uint_ne(spin.begun_ns, 0); /* it did spin, and slept then */
    ps_signal_raise(signal);
    ck_assert_ok(ps_net_poll_spinning(polls, 1, -1, &spin));
    ck_assert(polls[0].ready);
    ps_signal_free(&signal);
}
END_TEST

static Suite *spin_suite(void)
{
    Suite *s = suite_create("spin");
    TCase *c = tcase_create("spin");

    tcase_add_test(c, zeroed_it_sleeps_at_once);
    tcase_add_test(c, it_looks_as_long_as_it_may_each_time);
    tcase_add_test(c, who_was_away_rests_for_twice_as_long_each_time);
    tcase_add_test(c, where_nobody_was_in_its_way_the_next_rest_is_short_again);
    tcase_add_test(c, a_poll_that_spins_sees_what_it_waits_for_and_its_time);
    suite_add_tcase(s, c);
    return s;
}

TEST_MAIN(spin_suite)
