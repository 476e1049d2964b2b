/*
 * When a worker that has waited lets others have the core, and when it leaves that:
 * time is told.
 */
#include "worker/yield.h"
#include "tests/unit/suite.h"

#define SHORT PSW_YIELD_AWAY_NS
#define LONG (PSW_YIELD_AWAY_NS + 1)

static struct psw_yield y;
static uint64_t         now;

static void start(void)
{
    y = (struct psw_yield){ 0 };
    now = UINT64_C(1000000000);
}

/* It yields, if it may. */
static bool yields_for(uint64_t ns)
{
    const uint64_t then = now;

    if (!psw_yield_may(&y, now))
        return false;
    now += ns;
    psw_yield_took(&y, then, now);
    return true;
}

START_TEST(who_comes_back_soon_yields_each_time)
{
    start();
    for (int i = 0; i < 100; i++)
        ck_assert(yields_for(SHORT));
}
END_TEST

START_TEST(who_was_away_for_long_rests_for_twice_as_long_each_time)
{
    start();
    for (uint64_t rest = PS_REST_NS; rest <= PS_REST_MAX_NS; rest *= 2) {
        ck_assert(yields_for(LONG));
        now += rest - 1;
        ck_assert(!yields_for(SHORT));
        now++;
    }
    ck_assert(yields_for(LONG));
    now += PS_REST_MAX_NS; /* and not for longer */
    ck_assert(yields_for(SHORT));
}
END_TEST

START_TEST(one_short_yield_between_long_ones_makes_no_rest_shorter)
{
    start();
    yields_for(LONG);
    now += PS_REST_NS;
    ck_assert(yields_for(SHORT));
    ck_assert(yields_for(LONG));
    now += PS_REST_NS;
    ck_assert(!yields_for(SHORT));
}
END_TEST

START_TEST(who_comes_back_soon_for_as_long_as_it_rested_rests_but_shortly_the_next_time)
{
    start();
    yields_for(LONG);
    now += PS_REST_NS;
    yields_for(LONG);
    now += 2 * PS_REST_NS + 2 * PS_REST_NS;
    ck_assert(yields_for(SHORT));
    ck_assert(yields_for(LONG));
    now += PS_REST_NS;
    ck_assert(yields_for(SHORT));
}
END_TEST

static Suite *yield_suite(void)
{
    Suite *s = suite_create("yield");
    TCase *c = tcase_create("yield");

    tcase_add_test(c, who_comes_back_soon_yields_each_time);
    tcase_add_test(c, who_was_away_for_long_rests_for_twice_as_long_each_time);
    tcase_add_test(c, one_short_yield_between_long_ones_makes_no_rest_shorter);
    tcase_add_test(
        c,
        who_comes_back_soon_for_as_long_as_it_rested_rests_but_shortly_the_next_time);
    suite_add_tcase(s, c);
    return s;
}

TEST_MAIN(yield_suite)
