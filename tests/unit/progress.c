/* How far a run is: what the line says, without a terminal. */
#include "tools/progress.h"
#include "tests/unit/suite.h"

static struct progress p;

static double rate_at(double seconds, uint64_t samples)
{
    struct record r = { .traffic = { .samples = samples } };

    progress_show(&p, &r, 1, 100, seconds);
    return p.rate;
}

START_TEST(rate_is_of_the_last_second)
{
    progress_start(&p, true);
    ck_assert_double_eq(rate_at(1, 500), 500);
    ck_assert_double_eq(rate_at(1.5, 900), 500); /* not a second later yet */
    ck_assert_double_eq(rate_at(2, 1500), 1000);
    ck_assert_double_eq(rate_at(4, 1500), 0);
}
END_TEST

START_TEST(samples_that_a_coordinator_hears_of_again_are_no_rate)
{
    progress_start(&p, true);
    ck_assert_double_eq(rate_at(1, 1000), 1000);
    ck_assert_double_eq(rate_at(2, 300), 0); /* it was started again */
    ck_assert_double_eq(rate_at(3, 700), 0);
    ck_assert_double_eq(rate_at(4, 1200), 200);
}
END_TEST

static Suite *progress_suite(void)
{
    Suite *s = suite_create("progress");
    TCase *t = tcase_create("rate");

    tcase_add_test(t, rate_is_of_the_last_second);
    tcase_add_test(t, samples_that_a_coordinator_hears_of_again_are_no_rate);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(progress_suite)
