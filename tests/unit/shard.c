/*
 * The shard: what a push does under every strategy, what is refused, and what the
 * coordinator orders.
 */
#include "tests/unit/plain_shards.h"

#include "common/base/random.h"
#include "common/base/sheet.h"

#include <stdio.h>

/* ---- steps ----------------------------------------------------------------------- */

START_TEST(bsp_step_is_the_weighted_mean)
{
    const float one[N] = { 1, 1 };
    const float three[N] = { 3, 5 };

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push_part(0, 1, 0, N, one, 1);
    push_part(1, 1, 0, N, three, 3);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * (0.25f * 1 + 0.75f * 3));
    ck_assert_float_eq(value[1], start[1] - 0.5f * (0.25f * 1 + 0.75f * 5));
    ck_assert_float_eq(value[2], start[2]);
}
END_TEST

/* Nothing is divided, so each gradient counts as it was pushed; of the elements that
 * one worker alone has pushed, too. */
START_TEST(sums_are_of_all_workers)
{
    static float ones[N];

    for (uint32_t i = 0; i < N; i++)
        ones[i] = 1;
    cluster(2, 3, PS_BSP, PS_ADD);
    dense_matrix();
    push_part(0, 1, 0, N, ones, 1);
    push_part(1, 1, 0, N - 7, ones, 1);
    push_part(2, 1, 0, 5, ones, 1);
    ck_assert(pull(0, 1, value));
    for (uint32_t i = 0; i < N; i++)
        ck_assert_float_eq(value[i], start[i] + (float)(1 + (i < N - 7) + (i < 5)));
}
END_TEST

START_TEST(part_that_is_alone_goes_where_it_belongs)
{
    static float pushed[N];

    for (uint32_t i = 0; i < N; i++)
        pushed[i] = (float)i;
    cluster(2, 2, PS_BSP, PS_ADD);
    dense_matrix();
    push_part(0, 1, 100, N - 100, pushed, 1);
    push_part(1, 1, 0, 0, pushed, 1);
    ck_assert(pull(0, 1, value));
    for (uint32_t i = 0; i < N; i++)
        ck_assert_float_eq(value[i],
                           i >= 100 && i < N - 100 ? start[i] + (float)i : start[i]);
}
END_TEST

/* An empty one, or one of all elements, that says how many batches are behind it. */
static void push_batches(uint32_t rank, uint64_t t, const float *grad, double weight,
                         uint32_t batches)
{
    struct ps_range  all = { .matrix = 1, .count = N };
    struct ps_header h = finishing_push(rank, t, ++seq[rank][0], &all);

    h.weight = weight;
    h.batches = batches;
    hand(0, rank, &h, grad, N * sizeof(float), NULL, 0);
}

/* Batches of 2 samples each: a sum of three gradients, and one of two in a window that
 * was cut short.  What is missing in the second sum is not discounted again. */
START_TEST(sums_of_batches_are_weighed_by_the_samples_of_one)
{
    const float three[N] = { 1 + 2 + 3 };
    const float two[N] = { 4 + 5 };

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push_batches(0, 1, three, 6, 3);
    push_batches(1, 1, two, 4, 2);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * (0.5f * 6 + 0.5f * 9));
}
END_TEST

START_TEST(batches_of_finished_pushes_are_counted)
{
    gradient(0, 1, g[0]);
    cluster(1, 2, PS_BACKUP, PS_SGD);
    dense_matrix();
    push_batches(0, 1, g[0], 6, 3);
    ck_assert_uint_eq(account(0).batches, 3);
    push_batches(1, 1, g[0], 4, 2); /* too late: one of two is enough */
    ck_assert_uint_eq(account(0).late, 1);
    ck_assert_uint_eq(account(0).batches, 3);
    push_batches(0, 2, g[0], 1, 0); /* whoever says nothing means one */
    ck_assert_uint_eq(account(0).batches, 4);
}
END_TEST

static struct ps_job_spec averaging(uint32_t strategy)
{
    struct ps_job_spec spec = spec_of(2, strategy, PS_ADAM);

    spec.average = PS_AVERAGE_MODEL;
    return spec;
}

START_TEST(differences_of_models_are_averaged_and_added)
{
    const float one[N] = { 1 };
    const float three[N] = { 3 };

    cluster_for(1, averaging(PS_BSP));
    dense_matrix();
    push_part(0, 1, 0, N, one, 1);
    push_part(1, 1, 0, N, three, 3);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] + (0.25f * 1 + 0.75f * 3));
    ck_assert_uint_eq(account(0).state_bytes, 0); /* the optimiser is the workers' */
}
END_TEST

START_TEST(differences_of_models_are_scaled_and_added_at_once)
{
    const float        three[N] = { 3 };
    struct ps_job_spec spec = averaging(PS_ASP);

    spec.scale = PS_SCALE_WORKERS;
    cluster_for(1, spec);
    dense_matrix();
    push(0, 1, three);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] + 0.5f * 3);
}
END_TEST

/* Runs 3 iterations of 3 workers in this order of arrival; leaves the result in `to`.
 */
static void bsp_run(uint32_t n, const uint32_t order[3], float *to)
{
    cluster(n, 3, PS_BSP, PS_NESTEROV);
    dense_matrix();
    for (uint64_t t = 1; t <= 3; t++)
        for (int i = 0; i < 3; i++) {
            gradient(order[i], t, g[0]);
            push(order[i], t, g[0]);
        }
    ck_assert(pull(0, 3, to));
    end_cluster();
}

START_TEST(order_of_arrival_and_number_of_shards_change_no_bit)
{
    static const uint32_t orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 } };
    static float          other[N];

    bsp_run(1, orders[0], value);
    for (uint32_t n = 1; n <= SHARDS_MAX; n++)
        for (int o = 0; o < 3; o++) {
            bsp_run(n, orders[o], other);
            ck_assert_mem_eq(value, other, sizeof(value));
        }
}
END_TEST

/* Parts that overlap, and minus zeros in them: where the matrix is cut must not show.
 */
START_TEST(overlapping_parts_change_no_bit_either)
{
    static float first[N], minus_zero[N];

    for (uint32_t i = 0; i < N; i++)
        minus_zero[i] = -0.0f;
    for (uint32_t n = 1; n <= SHARDS_MAX; n++) {
        cluster(n, 2, PS_BSP, PS_MOMENTUM);
        dense_matrix();
        for (uint64_t t = 1; t <= 2; t++) {
            gradient(1, t, g[1]);
            push_part(0, t, 100, 15001, minus_zero, 1);
            push_part(1, t, 7777, N, g[1], 1);
        }
        ck_assert(pull(0, 2, n == 1 ? first : value));
        if (n > 1)
            ck_assert_mem_eq(first, value, sizeof(value));
        ck_assert_mem_eq(start, first, 100 * sizeof(float)); /* nobody pushed these */
        end_cluster();
    }
}
END_TEST

START_TEST(pull_is_answered_when_its_iteration_closes)
{
    cluster(2, 2, PS_BSP, PS_SGD);
    dense_matrix();
    gradient(0, 1, g[0]);
    push(0, 1, g[0]);
    forget_answers();
    ck_assert(!pull(0, 1, value));
    ck_assert_uint_eq(out.n, 0);
    push(1, 1, g[0]);
    ck_assert_uint_eq(out.n, 2 + 2); /* two acknowledgements and the two that waited */
}
END_TEST

/* What the shard has of the dense matrix, as one range. */
static struct ps_range run_of(uint32_t shard)
{
    struct ps_range run = { .matrix = 1 };
    struct ps_piece piece;

    for (uint64_t at = 0; ps_place_next(&place, &at, N, &piece);) {
        if (piece.shard != shard)
            continue;
        if (run.count == 0)
            run.first = piece.first;
        run.count += piece.count;
    }
    return run;
}

static uint64_t ask_for_view(uint32_t rank, uint32_t shard, uint64_t clock,
                             const struct ps_range *ranges, uint32_t n)
{
    struct ps_header h = worker_header(PS_MSG_PULL, rank, clock);

    h.flags = PS_FLAG_VIEW;
    h.ranges = ranges;
    h.n_ranges = n;
    hand(shard, rank, &h, NULL, 0, NULL, 0);
    return h.request;
}

/* Does the answer show what pulls bring, `value`? */
static void shows_the_run(const struct ps_parcel *p, struct ps_range run)
{
    const struct ps_sheet *sheet;
    const float           *at = value + run.first;

    ck_assert_uint_eq(p->n_frames, 1);
    sheet = p->frames[0]->sheet;
    ck_assert_ptr_nonnull(sheet);
    ck_assert_uint_eq(sheet->bytes, run.count * sizeof(float));
    for (size_t i = 0; i < sheet->n; i++) {
        ck_assert(memcmp(at, sheet->pieces[i].data, sheet->pieces[i].bytes) == 0);
        at += sheet->pieces[i].bytes / sizeof(float);
    }
}

START_TEST(view_waits_as_a_pull_does_and_stays_as_it_was)
{
    struct ps_parcel *answered, kept;
    struct ps_range   run;
    uint64_t          request;

    cluster(2, 2, PS_BSP, PS_SGD);
    dense_matrix();
    run = run_of(1);
    gradient(0, 1, g[0]);
    push(0, 1, g[0]);
    request = ask_for_view(0, 1, 1, &run, 1);
    ck_assert_uint_eq(answer_to(request, NULL).kind, 0);
    push(1, 1, g[0]);
    ck_assert_uint_eq(answer_to(request, &answered).kind, PS_MSG_PULL_OK);
    ps_parcel_share(&kept, answered);
    forget_answers();
    ck_assert(pull(0, 1, value));
    shows_the_run(&kept, run);
    push(0, 2, g[0]);
    push(1, 2, g[0]);
    shows_the_run(&kept, run); /* still what it was at clock 1 */
    request = ask_for_view(1, 1, 2, &run, 1);
    ck_assert(pull(0, 2, value));
    answer_to(request, &answered);
    shows_the_run(answered, run);
    ps_parcel_drop(&kept);
}
END_TEST

START_TEST(view_of_something_else_than_whole_chunks_is_refused)
{
    struct ps_matrix_spec rows = matrix_spec(2, "rows");
    struct ps_range       run, bad;

    cluster(2, 1, PS_ASP, PS_SGD);
    dense_matrix();
    run = run_of(0);
    rows.sparse = true;
    rows.rows = 0;
    add_matrix(&rows, PS_OK);
    bad = (struct ps_range){ 1, run.first, run.count - 1 };
    expect_error(ask_for_view(0, 0, 0, &bad, 1), PS_ERR_BAD_ARG);
    bad = (struct ps_range){ 1, run.first, run.count + 1 };
    expect_error(ask_for_view(0, 0, 0, &bad, 1), PS_ERR_BAD_ARG);
    bad = (struct ps_range){ 1, 0, N };
    expect_error(ask_for_view(0, 1, 0, &bad, 1), PS_ERR_BAD_ARG);
    bad = (struct ps_range){ 2, 0, 1 };
    expect_error(ask_for_view(0, 0, 0, &bad, 1), PS_ERR_SHAPE);
    bad = (struct ps_range){ 3, 0, 1 };
    expect_error(ask_for_view(0, 0, 0, &bad, 1), PS_ERR_UNKNOWN);
    expect_error(ask_for_view(0, 0, 0, (struct ps_range[]){ run, run }, 2),
                 PS_ERR_BAD_MESSAGE);
    expect_error(ask_for_view(0, 0, 0, NULL, 0), PS_ERR_BAD_MESSAGE);
}
END_TEST

START_TEST(pull_that_waits_too_long_is_told_for_whom)
{
    static const uint32_t half[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_EXPECTED };
    struct ps_range       range = { .matrix = 1, 0, 16 };
    struct ps_header      h;

    cluster_of(1, 2, half);
    dense_matrix();
    h = worker_header(PS_MSG_PULL, 0, 1);
    h.ranges = &range;
    h.n_ranges = 1;
    h.wait_ms = 1000;
    push_part(0, 1, 0, 0, value, 1);
    hand(0, 0, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), 1000000000);
    psd_shard_tick(shards[0], 999999999, &out);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, 0);
    psd_shard_tick(shards[0], 1000000000, &out);
    expect_error(h.request, PS_ERR_TIMEOUT);
    ck_assert_str_eq(answer_to(h.request, NULL).text,
                     "job test: iteration 1 waits for worker 1 (not joined yet)");
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), UINT64_MAX);
}
END_TEST

START_TEST(push_pull_is_one_round_trip)
{
    struct ps_header  h;
    struct ps_range   range = { .matrix = 1, 0, 16 };
    float             one[16] = { 1 };
    struct ps_parcel *p = NULL;
    uint64_t          request;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = ++seq[0][0];
    h.flags = PS_FLAG_FINISH | PS_FLAG_PULL;
    h.parts = 1;
    h.ranges = &range;
    h.n_ranges = 1;
    request = h.request;
    hand(0, 0, &h, one, sizeof(one), NULL, 0);
    ck_assert_uint_eq(out.n, 0);
    hand(0, 0, &h, one, sizeof(one), NULL, 0); /* sent again while it waits */
    ck_assert_uint_eq(out.n, 0);
    push_part(1, 1, 0, 0, one, 1);
    ck_assert_uint_eq(answer_to(request, &p).kind, PS_MSG_PULL_OK);
    ck_assert_uint_eq(out.n, 2); /* it waited once, though it came twice */
    ck_assert_float_eq(((float *)(void *)p->frames[0]->data)[0], start[0] - 0.25f);
}
END_TEST

START_TEST(repeated_push_is_acknowledged_and_not_applied)
{
    struct ps_range  range = { .matrix = 1, 0, 1 };
    float            one = 1;
    struct ps_header h;
    uint64_t         version;

    cluster(1, 1, PS_ASP, PS_SGD);
    dense_matrix();
    h = finishing_push(0, 1, 1, &range);
    hand(0, 0, &h, &one, sizeof(one), NULL, 0);
    version = answer_to(h.request, NULL).version;
    for (uint64_t t = 2; t < 5; t++) {
        seq[0][0] = t - 1;
        push_part(0, t, 0, 0, &one, 1);
    }
    forget_answers();
    hand(0, 0, &h, &one, sizeof(one), NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(answer_to(h.request, NULL).version, version);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
}
END_TEST

START_TEST(asp_applies_at_once)
{
    const float one[N] = { 1 };

    cluster(2, 2, PS_ASP, PS_SGD);
    dense_matrix();
    push(1, 1, one);
    push(1, 2, one);
    ck_assert(pull(0, 0, value));
    ck_assert_float_eq(value[0], start[0] - 1.0f);
}
END_TEST

START_TEST(backup_divides_by_what_was_accepted)
{
    const float two[N] = { 2 }, four[N] = { 4 };
    uint64_t    late;

    cluster(2, 3, PS_BACKUP, PS_SGD);
    dense_matrix();
    push(2, 1, four);
    ck_assert(!pull(2, 1, value));
    push(0, 1, two);
    ck_assert(pull(2, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 3);

    late = push(1, 1, four);
    expect_error(late, PS_ERR_STALE);
    ck_assert_uint_eq(answer_to(late, NULL).clock, 1);
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 3);

    push(1, 2, two); /* it goes on from there */
    push(0, 2, two);
    ck_assert(pull(2, 2, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 5);
}
END_TEST

START_TEST(late_push_that_comes_twice_is_late_twice)
{
    const float      one[N] = { 1 };
    uint64_t         late, again;
    struct ps_header h;

    cluster(1, 2, PS_BACKUP, PS_SGD);
    dense_matrix();
    push(0, 1, one);
    late = push(1, 1, one);
    h = worker_header(PS_MSG_PUSH, 1, 1);
    h.seq = seq[1][0];
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    again = h.request;
    hand(0, 1, &h, NULL, 0, NULL, 0);
    expect_error(late, PS_ERR_STALE);
    expect_error(again, PS_ERR_STALE);
}
END_TEST

/* The iteration closes between the two pushes of a worker for it. */
START_TEST(half_of_a_late_iteration_is_dropped)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    const float      one[N] = { 1 };
    struct ps_header h;

    cluster(1, 2, PS_BACKUP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 1, 1);
    h.seq = ++seq[1][0];
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 1, &h, one, 16 * sizeof(float), NULL, 0);
    push(0, 1, one);
    expect_error(push(1, 1, one), PS_ERR_STALE);
    push(1, 2, one);
    ck_assert(pull(1, 2, value));
    ck_assert_float_eq(value[0], start[0] - 1.0f);
}
END_TEST

START_TEST(ssp_waits_for_the_slowest_and_sees_its_own)
{
    struct ps_job_spec spec = spec_of(2, PS_SSP, PS_SGD);
    const float        one[N] = { 1 };

    spec.slack = 1;
    cluster_for(2, spec);
    dense_matrix();
    push(0, 1, one);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
    push(0, 2, one);
    forget_answers();
    ck_assert(!pull(0, 2, value));
    push(1, 1, one);
    ck_assert_uint_eq(out.n, 2 + 2); /* two acknowledgements and the two that waited */
    ck_assert(pull(0, 2, value));
    ck_assert_float_eq(value[0], start[0] - 1.5f);
}
END_TEST

/* ---- refused pushes -------------------------------------------------------------- */

/* What is wrong with a push, and the answer it gets. */
enum fault {
    SHORT_PAYLOAD,
    EXTRA_FRAME,
    UNKNOWN_MATRIX,
    BEYOND_THE_END,
    NOT_A_NUMBER,
    WRONG_SESSION,
    OLD_EPOCH,
    OLD_INCARNATION,
    STRANGE_RANK,
    OBSERVER,
    FAR_AHEAD,
    OF_THE_FUTURE,
    N_FAULTS
};

static const ps_status answers[N_FAULTS] = {
    PS_ERR_BAD_MESSAGE, PS_ERR_BAD_MESSAGE, PS_ERR_UNKNOWN,  PS_ERR_SHAPE,
    PS_ERR_NONFINITE,   PS_ERR_DENIED,      PS_ERR_ROLLBACK, PS_ERR_STALE,
    PS_ERR_DENIED,      PS_ERR_DENIED,      PS_ERR_BAD_ARG,  PS_ERR_BAD_MESSAGE,
};

START_TEST(refused_push_leaves_no_trace)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    float            one[16] = { 1 };
    size_t           bytes = sizeof(one);
    struct ps_header h;

    cluster(1, 1, PS_ASP, PS_SGD);
    dense_matrix();
    h = finishing_push(0, 1, 1, &range);
    switch ((enum fault)_i) {
    case SHORT_PAYLOAD: bytes -= 8; break;
    case EXTRA_FRAME: break;
    case UNKNOWN_MATRIX: range.matrix = 2; break;
    case BEYOND_THE_END: range.first = N - 8; break;
    case NOT_A_NUMBER: one[15] = NAN; break;
    case WRONG_SESSION: h.session++; break;
    case OLD_EPOCH: h.server_epoch--; break;
    case OLD_INCARNATION: h.incarnation = 0; break;
    case STRANGE_RANK: h.rank = 1; break;
    case OBSERVER:
        h.rank = UINT32_MAX;
        h.session = OBSERVER_SESSION;
        break;
    case FAR_AHEAD: h.seq = 2000; break;
    case OF_THE_FUTURE: h.version = 1; break;
    case N_FAULTS: break;
    }
    hand(0, 0, &h, one, bytes, _i == EXTRA_FRAME ? one : NULL, sizeof(one));
    expect_error(h.request, answers[_i]);
    ck_assert(pull(0, 0, value));
    ck_assert_mem_eq(value, start, sizeof(value));

    one[15] = 0;
    push_part(0, 1, 0, 16, one, 1); /* the same clock and number are still welcome */
    ck_assert(pull(0, 0, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
}
END_TEST

START_TEST(nonfinite_push_can_be_skipped)
{
    const float        nan_first[N] = { NAN, 1 };
    const float        one[N] = { 1, 1 };
    struct ps_job_spec spec = spec_of(2, PS_BSP, PS_SGD);

    spec.nonfinite = PS_NONFINITE_SKIP;
    cluster_for(1, spec);
    dense_matrix();
    push(0, 1, nan_first);
    push(1, 1, one);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[1], start[1] - 0.25f);
}
END_TEST

START_TEST(who_has_looked_for_nan_is_believed)
{
    struct ps_range  range = { .matrix = 1, .count = 16 };
    struct ps_header h;
    float            nan_first[16] = { NAN, 1 };

    cluster(1, 1, PS_ASP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = 1;
    h.flags = PS_FLAG_FINITE;
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, nan_first, sizeof(nan_first), NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PUSH_OK);
}
END_TEST

/* ---- orders ---------------------------------------------------------------------- */

START_TEST(observer_reads_the_newest_without_waiting)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PULL, UINT32_MAX, UINT64_MAX);
    h.session = OBSERVER_SESSION;
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 5, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PULL_OK);
}
END_TEST

START_TEST(only_the_coordinator_gives_orders)
{
    struct ps_header h = header(PS_MSG_JOB_END);

    cluster(1, 1, PS_BSP, PS_SGD);
    h.session = CONTROL + 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    expect_error(h.request, PS_ERR_DENIED);
    ck_assert_uint_eq(psd_shard_count(shards[0]).denied, 1);
}
END_TEST

START_TEST(account_counts_what_the_driver_dropped)
{
    struct ps_header ask = header(PS_MSG_STATS);
    struct ps_header h;

    cluster(1, 1, PS_BSP, PS_SGD);
    psd_shard_dropped(shards[0], 3);
    ask.session = CONTROL;
    hand(0, 99, &ask, NULL, 0, NULL, 0);
    h = answer_to(ask.request, NULL);
    ck_assert_uint_eq(h.kind, PS_MSG_STATS_OK);
    ck_assert_uint_eq(h.job_stats[0].job, 0);
    ck_assert_uint_eq(h.job_stats[0].skipped, 3);
}
END_TEST

START_TEST(orders_may_come_twice)
{
    struct ps_header      h = header(PS_MSG_JOB);
    struct ps_matrix_spec m = matrix_spec(1, "w");

    cluster(1, 1, PS_BSP, PS_SGD);
    dense_matrix();
    h.session = CONTROL;
    h.n_shards = 1;
    h.job_spec = &job;
    hand(0, 99, &h, NULL, 0, NULL, 0);
    expect_ok(h.request);
    add_matrix(&m, PS_OK);
    m.cols++;
    add_matrix(&m, PS_ERR_SHAPE);
}
END_TEST

START_TEST(impossible_matrix_is_refused)
{
    struct ps_matrix_spec m = matrix_spec(3, "counts");

    cluster(1, 1, PS_BSP, PS_SGD);
    m.dtype = PS_I64; /* with sgd */
    add_matrix(&m, PS_ERR_BAD_ARG);
}
END_TEST

START_TEST(end_of_the_job_answers_those_who_wait)
{
    struct ps_header end = header(PS_MSG_JOB_END);
    struct ps_range  range = { .matrix = 1, 0, 16 };
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PULL, 0, 1);
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    end.session = CONTROL;
    hand(0, 99, &end, NULL, 0, NULL, 0);
    expect_ok(end.request);
    expect_error(h.request, PS_ERR_UNKNOWN);
    ck_assert_str_eq(answer_to(h.request, NULL).text, "job test has ended");
}
END_TEST

START_TEST(end_of_a_job_that_nobody_waits_on_is_no_failure)
{
    struct ps_header end = header(PS_MSG_JOB_END);

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    ps_log(PS_LOG_ERR, "the last one");
    end.session = CONTROL;
    hand(0, 99, &end, NULL, 0, NULL, 0);
    expect_ok(end.request);
    ck_assert_str_eq(ps_log_last_error(), "the last one");
}
END_TEST

START_TEST(closing_shard_tells_everyone_why)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PULL, 1, 1);
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 1, &h, NULL, 0, NULL, 0);
    psd_shard_close(shards[0], "psd received SIGTERM", &out);
    expect_error(h.request, PS_ERR_CLOSING);
    ck_assert_str_eq(answer_to(0, NULL).text, "psd received SIGTERM");
    ck_assert_uint_eq(answer_to(0, NULL).kind, PS_MSG_NOTICE);
    ck_assert_uint_eq(out.n, 3); /* the one that waits, and a notice to each */
}
END_TEST

START_TEST(damaged_messages_are_counted_and_do_no_harm)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    float            one[16] = { 1 };
    struct ps_header h;
    struct ps_buf   *head;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = 1;
    h.ranges = &range;
    h.n_ranges = 1;
    ck_assert_ok(ps_wire_encode(&h, &head));
    for (uint64_t i = 0; i < 20000; i++) {
        struct ps_parcel p = { .route = route_of(0), .n_frames = 1 };

        ck_assert_ok(ps_buf_copy(&p.head, head->data, head->len));
        ck_assert_ok(ps_buf_copy(&p.frames[0], one, sizeof(one)));
        p.head->data[ps_random_below(1, 1, i, head->len)] ^=
            (uint8_t)(1 + ps_random_below(1, 2, i, 255));
        if (i % 3 == 0)
            p.head->len = ps_random_below(1, 3, i, head->len);
        psd_shard_handle(shards[0], 0, &p, &out);
        forget_answers();
    }
    ps_buf_drop(&head);
    ck_assert_uint_gt(psd_shard_count(shards[0]).bad_messages, 0);
    ck_assert(pull(1, 0, value));
    ck_assert_mem_eq(value, start, sizeof(value));
}
END_TEST

static Suite *shard_suite(void)
{
    Suite *s = suite_create("shard");
    TCase *t = tcase(s, "steps");

    tcase_add_test(t, bsp_step_is_the_weighted_mean);
    tcase_add_test(t, sums_are_of_all_workers);
    tcase_add_test(t, part_that_is_alone_goes_where_it_belongs);
    tcase_add_test(t, sums_of_batches_are_weighed_by_the_samples_of_one);
    tcase_add_test(t, batches_of_finished_pushes_are_counted);
    tcase_add_test(t, differences_of_models_are_averaged_and_added);
    tcase_add_test(t, differences_of_models_are_scaled_and_added_at_once);
    tcase_add_test(t, order_of_arrival_and_number_of_shards_change_no_bit);
    tcase_add_test(t, overlapping_parts_change_no_bit_either);
    tcase_add_test(t, pull_is_answered_when_its_iteration_closes);
    tcase_add_test(t, view_waits_as_a_pull_does_and_stays_as_it_was);
    tcase_add_test(t, view_of_something_else_than_whole_chunks_is_refused);
    tcase_add_test(t, pull_that_waits_too_long_is_told_for_whom);
    tcase_add_test(t, push_pull_is_one_round_trip);
    tcase_add_test(t, repeated_push_is_acknowledged_and_not_applied);
    tcase_add_test(t, asp_applies_at_once);
    tcase_add_test(t, backup_divides_by_what_was_accepted);
    tcase_add_test(t, late_push_that_comes_twice_is_late_twice);
    tcase_add_test(t, half_of_a_late_iteration_is_dropped);
    tcase_add_test(t, ssp_waits_for_the_slowest_and_sees_its_own);

    t = tcase(s, "refused pushes");
    tcase_add_loop_test(t, refused_push_leaves_no_trace, 0, N_FAULTS);
    tcase_add_test(t, nonfinite_push_can_be_skipped);
    tcase_add_test(t, who_has_looked_for_nan_is_believed);

    t = tcase(s, "orders");
    tcase_add_test(t, observer_reads_the_newest_without_waiting);
    tcase_add_test(t, only_the_coordinator_gives_orders);
    tcase_add_test(t, account_counts_what_the_driver_dropped);
    tcase_add_test(t, orders_may_come_twice);
    tcase_add_test(t, impossible_matrix_is_refused);
    tcase_add_test(t, end_of_the_job_answers_those_who_wait);
    tcase_add_test(t, end_of_a_job_that_nobody_waits_on_is_no_failure);
    tcase_add_test(t, closing_shard_tells_everyone_why);
    tcase_add_test(t, damaged_messages_are_counted_and_do_no_harm);
    return s;
}

TEST_MAIN(shard_suite)
