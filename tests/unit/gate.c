/* The gate, without a network: workers are numbers, time is a counter. */
#include "server/gate/gate.h"
#include "tests/unit/suite.h"

static struct psd_gate *gate;

static void open_gate(uint32_t strategy, uint32_t workers)
{
    struct ps_job_spec job = ps_job_spec_default();

    job.strategy = strategy;
    job.workers = workers;
    job.slack = 2;
    job.spares = 1;
    ck_assert_ok(psd_gate_new(&gate, &job));
}

static void bsp_with_two_workers(void)
{
    open_gate(PS_BSP, 2);
}

static void asp_with_two_workers(void)
{
    open_gate(PS_ASP, 2);
}

static void ssp_with_two_workers_and_slack_2(void)
{
    open_gate(PS_SSP, 2);
}

static void backup_with_one_spare_of_three(void)
{
    open_gate(PS_BACKUP, 3);
}

static void free_gate(void)
{
    psd_gate_free(&gate);
    ck_assert_ptr_null(gate);
}

static void close_iteration(void)
{
    ck_assert(psd_gate_may_close(gate));
    psd_gate_close(gate);
}

START_TEST(first_pull_needs_no_wait)
{
    ck_assert_int_eq(psd_gate_pull(gate, 0, 0), PSD_NOW);
}
END_TEST

START_TEST(pull_waits_for_the_close_of_its_clock)
{
    psd_gate_finish(gate, 0, 1);
    ck_assert_int_eq(psd_gate_pull(gate, 0, 1), PSD_LATER);
    ck_assert(!psd_gate_may_close(gate));
    psd_gate_finish(gate, 1, 1);
    close_iteration();
    ck_assert_int_eq(psd_gate_pull(gate, 0, 1), PSD_NOW);
    ck_assert_int_eq(psd_gate_pull(gate, 0, 2), PSD_LATER);
}
END_TEST

START_TEST(push_into_the_open_iteration_is_held)
{
    ck_assert_int_eq(psd_gate_push(gate, 0, 1), PSD_HOLD);
    psd_gate_finish(gate, 0, 1);
    ck_assert_int_eq(psd_gate_push(gate, 1, 1), PSD_HOLD);
}
END_TEST

START_TEST(push_ahead_of_the_open_iteration_waits)
{
    psd_gate_finish(gate, 0, 1);
    ck_assert_int_eq(psd_gate_push(gate, 0, 2), PSD_LATER);
    psd_gate_finish(gate, 1, 1);
    close_iteration();
    ck_assert_int_eq(psd_gate_push(gate, 0, 2), PSD_HOLD);
}
END_TEST

START_TEST(push_for_a_finished_iteration_is_stale)
{
    psd_gate_finish(gate, 0, 1);
    ck_assert_int_eq(psd_gate_push(gate, 0, 1), PSD_STALE);
}
END_TEST

START_TEST(push_that_overtook_its_iteration_waits_for_it)
{
    ck_assert_int_eq(psd_gate_push(gate, 0, 2), PSD_LATER);
    psd_gate_finish(gate, 0, 1);
    ck_assert_int_eq(psd_gate_push(gate, 0, 2), PSD_NOW);
}
END_TEST

START_TEST(strange_rank_never_passes)
{
    ck_assert_int_eq(psd_gate_push(gate, 2, 1), PSD_NEVER);
}
END_TEST

START_TEST(iteration_closes_without_the_one_that_left)
{
    psd_gate_finish(gate, 0, 1);
    psd_gate_leave(gate, 1);
    close_iteration();
    ck_assert_int_eq(psd_gate_push(gate, 1, 1), PSD_NEVER);
    psd_gate_finish(gate, 0, 2);
    close_iteration();
    ck_assert_uint_eq(psd_gate_clock(gate), 2);
}
END_TEST

START_TEST(what_a_leaver_had_finished_still_counts)
{
    psd_gate_finish(gate, 0, 1);
    psd_gate_leave(gate, 0);
    ck_assert(!psd_gate_may_close(gate));
    psd_gate_finish(gate, 1, 1);
    close_iteration();
    ck_assert(!psd_gate_may_close(gate));
}
END_TEST

START_TEST(nothing_closes_when_all_left_without_finishing)
{
    psd_gate_leave(gate, 0);
    psd_gate_leave(gate, 1);
    psd_gate_leave(gate, 1);
    ck_assert(!psd_gate_may_close(gate));
}
END_TEST

START_TEST(missing_names_who_is_waited_for)
{
    uint32_t ranks[2];

    ck_assert_uint_eq(psd_gate_missing(gate, ranks, 2), 2);
    psd_gate_finish(gate, 0, 1);
    ck_assert_uint_eq(psd_gate_missing(gate, ranks, 2), 1);
    ck_assert_uint_eq(ranks[0], 1);
}
END_TEST

START_TEST(asp_lets_everyone_through)
{
    psd_gate_finish(gate, 0, 1);
    psd_gate_finish(gate, 0, 2);
    ck_assert_int_eq(psd_gate_pull(gate, 0, 2), PSD_NOW);
    ck_assert_int_eq(psd_gate_push(gate, 0, 3), PSD_NOW);
    ck_assert_int_eq(psd_gate_push(gate, 1, 1), PSD_NOW);
    ck_assert(!psd_gate_may_close(gate));
    ck_assert_uint_eq(psd_gate_clock(gate), 0);
    psd_gate_leave(gate, 1);
    ck_assert_uint_eq(psd_gate_clock(gate), 2);
}
END_TEST

START_TEST(observers_read_the_newest_at_once)
{
    ck_assert_int_eq(psd_gate_pull(gate, UINT32_MAX, PSD_GATE_NEWEST), PSD_NOW);
}
END_TEST

START_TEST(fast_worker_waits_past_the_slack)
{
    for (uint64_t t = 1; t <= 3; t++) {
        ck_assert_int_eq(psd_gate_pull(gate, 0, t - 1), PSD_NOW);
        ck_assert_int_eq(psd_gate_push(gate, 0, t), PSD_NOW);
        psd_gate_finish(gate, 0, t);
    }
    ck_assert_int_eq(psd_gate_pull(gate, 0, 2), PSD_NOW);
    ck_assert_int_eq(psd_gate_pull(gate, 0, 3), PSD_LATER);
    psd_gate_finish(gate, 1, 1);
    ck_assert_int_eq(psd_gate_pull(gate, 0, 3), PSD_NOW);
    ck_assert_uint_eq(psd_gate_clock(gate), 1);
}
END_TEST

START_TEST(slow_worker_that_leaves_lets_the_fast_one_go)
{
    uint32_t missing;

    for (uint64_t t = 1; t <= 5; t++)
        psd_gate_finish(gate, 0, t);
    ck_assert_int_eq(psd_gate_pull(gate, 0, 5), PSD_LATER);
    ck_assert_uint_eq(psd_gate_missing(gate, &missing, 1), 1);
    ck_assert_uint_eq(missing, 1);
    psd_gate_leave(gate, 1);
    ck_assert_int_eq(psd_gate_pull(gate, 0, 5), PSD_NOW);
}
END_TEST

START_TEST(worker_sees_its_own_pushes)
{
    ck_assert_int_eq(psd_gate_pull(gate, 0, 1), PSD_LATER); /* the push is on its way */
    psd_gate_finish(gate, 0, 1);
    ck_assert_int_eq(psd_gate_pull(gate, 0, 1), PSD_NOW);
}
END_TEST

START_TEST(iteration_closes_without_the_spare)
{
    psd_gate_finish(gate, 2, 1);
    ck_assert(!psd_gate_may_close(gate));
    psd_gate_finish(gate, 0, 1);
    close_iteration();
    ck_assert_int_eq(psd_gate_push(gate, 1, 1), PSD_STALE);
    ck_assert_int_eq(psd_gate_push(gate, 1, 2), PSD_HOLD); /* it goes on from there */
    psd_gate_finish(gate, 1, 2);
    psd_gate_finish(gate, 2, 2);
    close_iteration();
    ck_assert_uint_eq(psd_gate_clock(gate), 2);
}
END_TEST

START_TEST(lost_worker_leaves_the_spare_to_the_others)
{
    psd_gate_leave(gate, 1);
    psd_gate_finish(gate, 0, 1);
    close_iteration(); /* one of two */
    psd_gate_leave(gate, 2);
    psd_gate_finish(gate, 0, 2);
    close_iteration();
    ck_assert(!psd_gate_may_close(gate));
}
END_TEST

START_TEST(unknown_strategy_is_refused)
{
    struct ps_job_spec job = ps_job_spec_default();
    struct psd_gate   *none = NULL;

    job.strategy = 99;
    ck_assert_status(psd_gate_new(&none, &job), PS_ERR_BAD_ARG);
    job = ps_job_spec_default();
    job.workers = 0;
    ck_assert_status(psd_gate_new(&none, &job), PS_ERR_BAD_ARG);
    ck_assert_ptr_null(none);
}
END_TEST

static Suite *gate_suite(void)
{
    Suite *s = suite_create("gate");
    TCase *bsp = tcase_create("bsp");
    TCase *asp = tcase_create("asp");
    TCase *ssp = tcase_create("ssp");
    TCase *backup = tcase_create("backup");
    TCase *life = tcase_create("life");

    tcase_add_checked_fixture(bsp, bsp_with_two_workers, free_gate);
    tcase_add_test(bsp, first_pull_needs_no_wait);
    tcase_add_test(bsp, pull_waits_for_the_close_of_its_clock);
    tcase_add_test(bsp, push_into_the_open_iteration_is_held);
    tcase_add_test(bsp, push_ahead_of_the_open_iteration_waits);
    tcase_add_test(bsp, push_for_a_finished_iteration_is_stale);
    tcase_add_test(bsp, strange_rank_never_passes);
    tcase_add_test(bsp, iteration_closes_without_the_one_that_left);
    tcase_add_test(bsp, what_a_leaver_had_finished_still_counts);
    tcase_add_test(bsp, nothing_closes_when_all_left_without_finishing);
    tcase_add_test(bsp, missing_names_who_is_waited_for);
    tcase_add_test(bsp, observers_read_the_newest_at_once);
    suite_add_tcase(s, bsp);

    tcase_add_checked_fixture(asp, asp_with_two_workers, free_gate);
    tcase_add_test(asp, asp_lets_everyone_through);
    tcase_add_test(asp, push_that_overtook_its_iteration_waits_for_it);
    suite_add_tcase(s, asp);

    tcase_add_checked_fixture(ssp, ssp_with_two_workers_and_slack_2, free_gate);
    tcase_add_test(ssp, fast_worker_waits_past_the_slack);
    tcase_add_test(ssp, slow_worker_that_leaves_lets_the_fast_one_go);
    tcase_add_test(ssp, worker_sees_its_own_pushes);
    suite_add_tcase(s, ssp);

    tcase_add_checked_fixture(backup, backup_with_one_spare_of_three, free_gate);
    tcase_add_test(backup, iteration_closes_without_the_spare);
    tcase_add_test(backup, lost_worker_leaves_the_spare_to_the_others);
    suite_add_tcase(s, backup);

    tcase_add_test(life, unknown_strategy_is_refused);
    suite_add_tcase(s, life);
    return s;
}

TEST_MAIN(gate_suite)
