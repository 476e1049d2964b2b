/* The gate, without a network: workers are numbers, time is a counter. */
#include "server/gate/gate.h"
#include "common/base/random.h"
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

/* ---- joining ------------------------------------------------------------------- */

START_TEST(one_that_joins_is_waited_for_from_the_gate_s_clock)
{
    psd_gate_leave(gate, 1);
    for (uint64_t t = 1; t <= 3; t++) {
        psd_gate_finish(gate, 0, t);
        close_iteration();
    }
    psd_gate_finish(gate, 0, 4);
    psd_gate_join(gate, 1, 0);
    psd_gate_join(gate, 1, 0);
    ck_assert(!psd_gate_may_close(gate));
    ck_assert_int_eq(psd_gate_push(gate, 1, 3), PSD_STALE);
    ck_assert_int_eq(psd_gate_push(gate, 1, 4), PSD_HOLD);
    psd_gate_finish(gate, 1, 4);
    close_iteration();
    ck_assert_uint_eq(psd_gate_n_active(gate), 2);
}
END_TEST

START_TEST(one_that_joins_at_a_later_clock_is_not_waited_for_before)
{
    psd_gate_leave(gate, 1);
    psd_gate_join(gate, 1, 0);
    ck_assert(psd_gate_raise(gate, 1, 2));
    ck_assert(!psd_gate_raise(gate, 1, 1));
    psd_gate_finish(gate, 0, 1);
    close_iteration();
    psd_gate_finish(gate, 0, 2);
    close_iteration();
    psd_gate_finish(gate, 0, 3);
    ck_assert(!psd_gate_may_close(gate));
    ck_assert_int_eq(psd_gate_push(gate, 1, 3), PSD_HOLD);
}
END_TEST

START_TEST(iterations_that_nobody_will_push_for_are_closed)
{
    psd_gate_leave(gate, 0);
    psd_gate_leave(gate, 1);
    psd_gate_join(gate, 1, 5);
    close_iteration();
    ck_assert_uint_eq(psd_gate_clock(gate), 5);
    ck_assert(!psd_gate_may_close(gate));
}
END_TEST

START_TEST(gradient_from_before_it_left_is_not_asked_for_again)
{
    psd_gate_finish(gate, 1, 1);
    psd_gate_leave(gate, 1);
    psd_gate_join(gate, 1, 0);
    ck_assert_int_eq(psd_gate_push(gate, 1, 1), PSD_STALE);
    ck_assert_uint_eq(psd_gate_resume(gate, 1), 0);
    psd_gate_finish(gate, 0, 1);
    close_iteration();
    ck_assert_int_eq(psd_gate_push(gate, 1, 2), PSD_HOLD);
    ck_assert(!psd_gate_may_close(gate));
}
END_TEST

START_TEST(one_that_joins_starts_at_the_slowest_clock)
{
    for (uint64_t t = 1; t <= 6; t++)
        psd_gate_finish(gate, 1, t);
    for (uint64_t t = 1; t <= 4; t++)
        psd_gate_finish(gate, 0, t);
    psd_gate_leave(gate, 1);
    psd_gate_join(gate, 1, 0);
    ck_assert_uint_eq(psd_gate_clock(gate), 4);
    ck_assert_int_eq(psd_gate_push(gate, 1, 4), PSD_STALE);
    ck_assert_uint_eq(psd_gate_resume(gate, 1), 4);
    ck_assert_int_eq(psd_gate_push(gate, 1, 5), PSD_NOW);
}
END_TEST

START_TEST(one_that_skips_an_iteration_is_a_spare_of_it)
{
    psd_gate_leave(gate, 2);
    psd_gate_join(gate, 2, 1);
    psd_gate_finish(gate, 0, 1);
    ck_assert(!psd_gate_may_close(gate)); /* else it would hold one of three */
    psd_gate_finish(gate, 1, 1);
    close_iteration();
}
END_TEST

START_TEST(one_that_skips_an_iteration_and_rests_is_a_spare_of_it)
{
    psd_gate_rest(gate, 2, 1); /* another shard told it that the first is closed */
    psd_gate_finish(gate, 0, 1);
    ck_assert(!psd_gate_may_close(gate)); /* else it would hold one of three */
    psd_gate_finish(gate, 1, 1);
    close_iteration();
}
END_TEST

/* ---- the end of an epoch ------------------------------------------------------- */

START_TEST(barrier_does_not_wait_for_one_that_rests)
{
    uint32_t ranks[2];

    psd_gate_rest(gate, 1, 0);
    psd_gate_finish(gate, 0, 1);
    close_iteration();
    psd_gate_finish(gate, 0, 2);
    close_iteration();
    ck_assert(!psd_gate_may_wake(gate));
    ck_assert_uint_eq(psd_gate_restless(gate, ranks, 2), 1);
    ck_assert_uint_eq(ranks[0], 0);
    ck_assert_uint_eq(psd_gate_missing(gate, ranks, 2), 1);
    psd_gate_rest(gate, 0, 2);
    ck_assert(psd_gate_may_wake(gate));
    ck_assert_uint_eq(psd_gate_wake(gate), 2);
    ck_assert_int_eq(psd_gate_push(gate, 1, 2), PSD_STALE);
    ck_assert_int_eq(psd_gate_push(gate, 1, 3), PSD_HOLD);
    ck_assert(!psd_gate_may_close(gate));
    ck_assert(!psd_gate_may_wake(gate));
}
END_TEST

START_TEST(what_was_pushed_is_closed_before_all_wake)
{
    psd_gate_finish(gate, 0, 1);
    psd_gate_rest(gate, 1, 0);
    psd_gate_leave(gate, 0);
    ck_assert(!psd_gate_may_wake(gate));
    close_iteration();
    ck_assert(psd_gate_may_wake(gate));
    ck_assert_uint_eq(psd_gate_wake(gate), 1);
}
END_TEST

START_TEST(slack_does_not_wait_for_one_that_rests)
{
    psd_gate_rest(gate, 1, 0);
    for (uint64_t t = 1; t <= 5; t++) {
        ck_assert_int_eq(psd_gate_pull(gate, 0, t - 1), PSD_NOW);
        psd_gate_finish(gate, 0, t);
    }
    psd_gate_rest(gate, 0, 5);
    ck_assert_uint_eq(psd_gate_wake(gate), 5);
    ck_assert_int_eq(psd_gate_pull(gate, 1, 5), PSD_NOW);
    ck_assert_int_eq(psd_gate_push(gate, 1, 6), PSD_NOW);
}
END_TEST

START_TEST(one_that_is_roused_is_waited_for_again)
{
    psd_gate_rest(gate, 1, 0);
    psd_gate_rouse(gate, 1);
    psd_gate_finish(gate, 0, 1);
    ck_assert(!psd_gate_may_close(gate));
    psd_gate_rest(gate, 0, 1);
    ck_assert(!psd_gate_may_wake(gate));
}
END_TEST

START_TEST(nobody_wakes_an_empty_job)
{
    psd_gate_rest(gate, 0, 0);
    psd_gate_leave(gate, 0);
    psd_gate_leave(gate, 1);
    ck_assert(!psd_gate_may_wake(gate));
    psd_gate_join(gate, 0, 0);
    ck_assert(!psd_gate_may_wake(gate)); /* it does not rest any more */
}
END_TEST

START_TEST(one_that_joined_for_the_next_epoch_waits_for_the_end_of_this_one)
{
    psd_gate_rest(gate, 0, 0);
    psd_gate_leave(gate, 1);
    psd_gate_wake(gate);
    ck_assert_uint_eq(psd_gate_epochs(gate), 1);

    psd_gate_join(gate, 1, 0);
    psd_gate_defer(gate, 1, 1); /* elsewhere no epoch more has ended than here */
    ck_assert(!psd_gate_is_early(gate, 1));
    psd_gate_defer(gate, 1, 2);
    ck_assert(psd_gate_is_early(gate, 1));
    ck_assert_int_eq(psd_gate_push(gate, 1, 1), PSD_LATER);
    ck_assert(!psd_gate_may_wake(gate)); /* the other does not rest yet */
    psd_gate_rest(gate, 0, 0);
    ck_assert(psd_gate_may_wake(gate));
    psd_gate_wake(gate);
    ck_assert(!psd_gate_is_early(gate, 1));
    ck_assert_int_eq(psd_gate_push(gate, 1, 1), PSD_HOLD);
    ck_assert(!psd_gate_may_wake(gate));
}
END_TEST

/* ---- anything, in any order ----------------------------------------------------- */

#define SEATS 5u

/* What there is to know of a worker, kept the plain way. */
static struct {
    uint64_t finished;
    bool     active, resting, here;
} model[SEATS];
static uint64_t model_closed;

static const struct {
    uint32_t strategy;
    bool     holds;
} kinds[] = {
    { PS_BSP, true }, { PS_BACKUP, true }, { PS_SSP, false }, { PS_ASP, false }
};

static uint64_t model_slowest(void)
{
    uint64_t waited = UINT64_MAX, active = 0, any = 0;
    bool     is_active = false;

    for (uint32_t r = 0; r < SEATS; r++) {
        if (model[r].active && !model[r].resting && model[r].finished < waited)
            waited = model[r].finished;
        if (model[r].active && model[r].finished > active)
            active = model[r].finished;
        if (model[r].finished > any)
            any = model[r].finished;
        is_active = is_active || model[r].active;
    }
    return waited != UINT64_MAX ? waited : is_active ? active : any;
}

/* What may be said of the gate whatever has happened. */
static void check_gate(uint32_t strategy, bool holds)
{
    uint32_t n_active = 0, n_waited = 0, behind = 0, absent = 0, here = 0;
    uint64_t clock = holds ? model_closed : model_slowest();

    for (uint32_t r = 0; r < SEATS; r++) {
        bool waited = model[r].active && !model[r].resting;

        n_active += model[r].active;
        n_waited += waited;
        here += model[r].here;
        behind += waited && model[r].finished <= model_closed;
        absent += waited && model[r].finished > model_closed && !model[r].here;
    }
    ck_assert_uint_eq(psd_gate_clock(gate), clock);
    ck_assert_uint_eq(psd_gate_n_active(gate), n_active);
    if (holds && psd_gate_may_close(gate)) {
        uint32_t spares = strategy == PS_BACKUP ? 1 : 0;

        ck_assert(here > 0 || (behind == 0 && n_waited > 0));
        ck_assert_uint_le(behind, spares);
        ck_assert(behind == 0 || absent == 0);
    } else if (holds) {
        ck_assert(behind > 0 || n_waited == 0); /* else it would wait for nobody */
    }
    for (uint32_t r = 0; r < SEATS; r++) {
        uint64_t t = model[r].finished;

        if (!holds)
            ck_assert_int_eq(psd_gate_pull(gate, r, t),
                             strategy == PS_ASP || t <= clock + 2 ? PSD_NOW
                                                                  : PSD_LATER);
        else
            ck_assert_int_eq(psd_gate_pull(gate, r, t),
                             t <= model_closed ? PSD_NOW : PSD_LATER);
    }
}

static void act(uint32_t r, uint64_t what, uint64_t n, bool holds)
{
    uint64_t clock = psd_gate_clock(gate);
    uint64_t next = holds ? model_closed + 1 : model[r].finished + 1;

    if (what < 6) { /* a push, if it is allowed */
        if (!model[r].active || model[r].resting || model[r].finished >= next)
            return;
        ck_assert_int_eq(psd_gate_push(gate, r, next), holds ? PSD_HOLD : PSD_NOW);
        psd_gate_finish(gate, r, next);
        model[r].finished = next;
        model[r].here = holds;
    } else if (what == 6) {
        psd_gate_leave(gate, r);
        model[r].active = model[r].resting = false;
        ck_assert_int_eq(psd_gate_push(gate, r, next), PSD_NEVER);
    } else if (what == 7) {
        psd_gate_join(gate, r, n);
        model[r].finished = clock + model[r].here > n ? clock + model[r].here : n;
        model[r].active = true;
        model[r].resting = false;
        ck_assert_uint_ge(psd_gate_clock(gate), clock);
    } else if (what == 8) {
        ck_assert(psd_gate_raise(gate, r, n) == (n > model[r].finished));
        if (n > model[r].finished)
            model[r].finished = n;
    } else if (what == 9 && model[r].active) {
        psd_gate_rest(gate, r, n);
        model[r].resting = true;
        if (n > model[r].finished)
            model[r].finished = n;
    } else if (what == 10 && model[r].active) {
        psd_gate_rouse(gate, r);
        model[r].resting = false;
    }
}

static void close_all(void)
{
    while (psd_gate_may_close(gate)) {
        uint64_t closed = model_closed + 1, slowest = model_slowest();
        bool     skipped = true;

        for (uint32_t r = 0; r < SEATS; r++) {
            skipped = skipped && !model[r].here;
            model[r].here = false;
        }
        model_closed = skipped ? slowest : closed;
        psd_gate_close(gate);
        ck_assert_uint_eq(psd_gate_clock(gate), model_closed);
    }
}

static void wake_all(void)
{
    uint64_t latest = model_closed;

    if (!psd_gate_may_wake(gate))
        return;
    for (uint32_t r = 0; r < SEATS; r++)
        if (model[r].active && model[r].finished > latest)
            latest = model[r].finished;
    ck_assert_uint_eq(psd_gate_wake(gate), latest);
    for (uint32_t r = 0; r < SEATS; r++) {
        ck_assert(!model[r].here);
        if (!model[r].active)
            continue;
        ck_assert(model[r].resting);
        model[r].resting = false;
        model[r].finished = latest;
    }
    model_closed = latest;
}

START_TEST(gate_agrees_with_a_plain_account)
{
    uint64_t draws = 0;

    for (uint32_t k = 0; k < 4; k++) {
        open_gate(kinds[k].strategy, SEATS);
        memset(model, 0, sizeof(model));
        model_closed = 0;
        for (uint32_t r = 0; r < SEATS; r++)
            model[r].active = true;
        for (unsigned step = 0; step < 2000; step++) {
            uint64_t seed = (uint64_t)_i;
            uint32_t r = (uint32_t)ps_random_below(seed, 1, draws++, SEATS);
            uint64_t what = ps_random_below(seed, 1, draws++, 14);
            uint64_t ahead = ps_random_below(seed, 1, draws++, 3);

            act(r, what, psd_gate_clock(gate) + ahead, kinds[k].holds);
            check_gate(kinds[k].strategy, kinds[k].holds);
            if (what > 10 && kinds[k].holds)
                close_all();
            if (what == 13)
                wake_all();
            if (!kinds[k].holds)
                model_closed = 0;
            check_gate(kinds[k].strategy, kinds[k].holds);
        }
        psd_gate_free(&gate);
    }
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
    tcase_add_test(bsp, one_that_joins_is_waited_for_from_the_gate_s_clock);
    tcase_add_test(bsp, one_that_joins_at_a_later_clock_is_not_waited_for_before);
    tcase_add_test(bsp, iterations_that_nobody_will_push_for_are_closed);
    tcase_add_test(bsp, gradient_from_before_it_left_is_not_asked_for_again);
    tcase_add_test(bsp, barrier_does_not_wait_for_one_that_rests);
    tcase_add_test(bsp,
                   one_that_joined_for_the_next_epoch_waits_for_the_end_of_this_one);
    tcase_add_test(bsp, what_was_pushed_is_closed_before_all_wake);
    tcase_add_test(bsp, one_that_is_roused_is_waited_for_again);
    tcase_add_test(bsp, nobody_wakes_an_empty_job);
    suite_add_tcase(s, bsp);

    tcase_add_checked_fixture(asp, asp_with_two_workers, free_gate);
    tcase_add_test(asp, asp_lets_everyone_through);
    tcase_add_test(asp, push_that_overtook_its_iteration_waits_for_it);
    suite_add_tcase(s, asp);

    tcase_add_checked_fixture(ssp, ssp_with_two_workers_and_slack_2, free_gate);
    tcase_add_test(ssp, fast_worker_waits_past_the_slack);
    tcase_add_test(ssp, slow_worker_that_leaves_lets_the_fast_one_go);
    tcase_add_test(ssp, worker_sees_its_own_pushes);
    tcase_add_test(ssp, one_that_joins_starts_at_the_slowest_clock);
    tcase_add_test(ssp, slack_does_not_wait_for_one_that_rests);
    suite_add_tcase(s, ssp);

    tcase_add_checked_fixture(backup, backup_with_one_spare_of_three, free_gate);
    tcase_add_test(backup, iteration_closes_without_the_spare);
    tcase_add_test(backup, lost_worker_leaves_the_spare_to_the_others);
    tcase_add_test(backup, one_that_skips_an_iteration_is_a_spare_of_it);
    tcase_add_test(backup, one_that_skips_an_iteration_and_rests_is_a_spare_of_it);
    suite_add_tcase(s, backup);

    tcase_add_test(life, unknown_strategy_is_refused);
    tcase_add_loop_test(life, gate_agrees_with_a_plain_account, 0, 20);
    suite_add_tcase(s, life);
    return s;
}

TEST_MAIN(gate_suite)
