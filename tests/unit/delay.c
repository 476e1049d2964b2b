/* Stragglers on purpose: what the variables may say, and when a worker hesitates. */
#include "worker/delay.h"
#include "tests/unit/suite.h"

#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct psw_delay d;

static ps_status said(const char *slow, const char *hiccups)
{
    unsetenv("PSW_PACE");
    d = (struct psw_delay){ .slow = -1 };
    setenv("PSW_SLOW", slow, 1);
    setenv("PSW_HICCUPS", hiccups, 1);
    return psw_delay_read(&d);
}

START_TEST(nobody_is_slow_unless_told)
{
    unsetenv("PSW_SLOW");
    unsetenv("PSW_HICCUPS");
    ck_assert_ok(psw_delay_read(&d));
    ck_assert_double_eq(psw_delay_factor(&d, 1, 0, 0), 1);
    ck_assert_ok(said("", ""));
    ck_assert_double_eq(d.pace, 0);
    ck_assert_double_eq(psw_delay_factor(&d, 1, 0, 0), 1);
}
END_TEST

START_TEST(factors_multiply)
{
    ck_assert_ok(said("4", ""));
    ck_assert_double_eq(psw_delay_factor(&d, 1, 0, 0), 4);
    ck_assert_ok(said("4.5", "1:2"));
    ck_assert_double_eq(psw_delay_factor(&d, 1, 0, 0), 9);
    ck_assert_ok(said("1000", "0:1000"));
    ck_assert_double_eq(psw_delay_factor(&d, 1, 0, 0), 1000);
}
END_TEST

START_TEST(a_pace_is_seconds)
{
    static const char *const no[] = { "-1", "61", "20ms", "fast", "nan" };

    ck_assert_ok(said("", ""));
    setenv("PSW_PACE", "0.02", 1);
    ck_assert_ok(psw_delay_read(&d));
    ck_assert_double_eq(d.pace, 0.02);
    for (size_t i = 0; i < COUNT(no); i++) {
        setenv("PSW_PACE", no[i], 1);
        ck_assert_status(psw_delay_read(&d), PS_ERR_CONFIG);
        ck_assert_why("expected 0 to 60 seconds");
    }
    unsetenv("PSW_PACE");
}
END_TEST

static const struct {
    const char *slow, *hiccups, *names;
} wrong[] = {
    { "fast", "", "PSW_SLOW: \"fast\", expected a factor from 1 to 1000" },
    { "0.9", "", "PSW_SLOW" },
    { "1001", "", "PSW_SLOW" },
    { "4x", "", "PSW_SLOW" },
    { " 4", "", "PSW_SLOW" },
    { "nan", "", "PSW_SLOW" },
    { "0x4", "", "PSW_SLOW" },
    { "", "0.02", "PSW_HICCUPS: \"0.02\", expected RATE:FACTOR, 0 to 1 and 1 to 1000" },
    { "", "1.1:3", "PSW_HICCUPS" },
    { "", "-0.1:3", "PSW_HICCUPS" },
    { "", "0.1:0.5", "PSW_HICCUPS" },
    { "", "0.1:", "PSW_HICCUPS" },
    { "", ":3", "PSW_HICCUPS" },
    { "", "0.1:3:1", "PSW_HICCUPS" },
};

START_TEST(what_is_malformed_is_named)
{
    for (size_t i = 0; i < COUNT(wrong); i++) {
        ck_assert_status(said(wrong[i].slow, wrong[i].hiccups), PS_ERR_CONFIG);
        ck_assert_why(wrong[i].names);
        ck_assert_double_eq(d.slow, -1);
    }
}
END_TEST

START_TEST(hiccups_are_a_function_of_seed_rank_and_clock)
{
    unsigned hits = 0, other_seed = 0, other_rank = 0;

    ck_assert_ok(said("", "0.25:3"));
    for (uint64_t clock = 0; clock < 4000; clock++) {
        double factor = psw_delay_factor(&d, 7, 2, clock);

        ck_assert_double_eq(psw_delay_factor(&d, 7, 2, clock), factor);
        ck_assert(factor == 1 || factor == 3);
        hits += factor == 3;
        other_seed += psw_delay_factor(&d, 8, 2, clock) != factor;
        other_rank += psw_delay_factor(&d, 7, 3, clock) != factor;
    }
    /* binomial: 1000 expected, and 1500 that differ, 27 and 31 to a deviation */
    ck_assert_uint_ge(hits, 860);
    ck_assert_uint_le(hits, 1140);
    ck_assert_uint_ge(other_seed, 1300);
    ck_assert_uint_ge(other_rank, 1300);
}
END_TEST

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

START_TEST(what_is_missing_is_waited_for)
{
    uint64_t began = now_ns();

    d = (struct psw_delay){ 0 };
    psw_delay_wait(&d, 4, 1000000);
    ck_assert_uint_ge(now_ns() - began, 3000000);
    psw_delay_wait(&d, 1, UINT64_MAX); /* at once */
}
END_TEST

START_TEST(a_slow_worker_is_slow_from_its_pace_on)
{
    uint64_t began = now_ns();

    d = (struct psw_delay){ .pace = 0.002 };
    psw_delay_wait(&d, 3, 1000000);
    ck_assert_uint_ge(now_ns() - began, 5000000);
    psw_delay_wait(&d, 1, UINT64_MAX); /* slower than the pace by itself */
}
END_TEST

static Suite *delay_suite(void)
{
    Suite *s = suite_create("delay");
    TCase *all = tcase_create("delay");

    tcase_add_test(all, nobody_is_slow_unless_told);
    tcase_add_test(all, factors_multiply);
    tcase_add_test(all, what_is_malformed_is_named);
    tcase_add_test(all, hiccups_are_a_function_of_seed_rank_and_clock);
    tcase_add_test(all, what_is_missing_is_waited_for);
    tcase_add_test(all, a_pace_is_seconds);
    tcase_add_test(all, a_slow_worker_is_slow_from_its_pace_on);
    suite_add_tcase(s, all);
    return s;
}

TEST_MAIN(delay_suite)
