/* The shard: sparse matrices and counters, and how pushes are scaled. */
#include "tests/unit/plain_shards.h"

#include <math.h>
#include <stdio.h>

/* ---- rows ------------------------------------------------------------------------ */

static uint64_t push_rows(uint32_t rank, uint64_t t, const uint64_t *keys, uint64_t n,
                          const float *rows, uint64_t cols)
{
    struct ps_header h = worker_header(PS_MSG_PUSH, rank, t);
    struct ps_range  range = { .matrix = 2, 0, n };

    h.seq = ++seq[rank][0];
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, rank, &h, keys, n * sizeof(*keys), rows, n * cols * sizeof(*rows));
    return h.request;
}

static const float *pull_rows(uint32_t rank, uint64_t clock, const uint64_t *keys,
                              uint64_t n)
{
    struct ps_header  h = worker_header(PS_MSG_PULL, rank, clock);
    struct ps_range   range = { .matrix = 2, 0, n };
    struct ps_parcel *p = NULL;

    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, rank, &h, keys, n * sizeof(*keys), NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, &p).kind, PS_MSG_PULL_OK);
    ck_assert_uint_eq(p->n_frames, 1);
    return (const float *)(const void *)p->frames[0]->data;
}

static void sparse_matrix_of(uint64_t max_rows, uint32_t evict)
{
    struct ps_matrix_spec m = matrix_spec(2, "rows");

    m.sparse = true;
    m.rows = 0;
    m.cols = 2;
    m.init = PS_INIT_ZERO;
    m.max_rows = max_rows;
    m.evict = evict;
    add_matrix(&m, PS_OK);
}

static void sparse_matrix(void)
{
    sparse_matrix_of(0, PS_EVICT_NONE);
}

START_TEST(repeated_keys_of_a_push_are_summed_before_the_step)
{
    const uint64_t keys[] = { 7, UINT64_MAX, 7 };
    const float    rows[] = { 1, 2, 10, 20, 2, 3 };
    const float   *got;

    cluster(1, 1, PS_ASP, PS_ADAGRAD);
    sparse_matrix();
    push_rows(0, 1, keys, 3, rows, 2);
    got = pull_rows(0, 1, keys, 3);
    /* Adagrad's first step is lr * g / |g|: two steps would be longer than one. */
    for (int i = 0; i < 6; i++)
        ck_assert_float_eq_tol(got[i], -0.5f, 1e-5f);
}
END_TEST

START_TEST(bsp_rows_are_summed_over_workers_in_rank_order)
{
    const uint64_t a[] = { 1, 2 }, b[] = { 2, 3 };
    const uint64_t all[] = { 3, 2, 1 };
    const float    rows[] = { 4, 8, 4, 8 };
    const float   *got;

    cluster(1, 2, PS_BSP, PS_SGD);
    sparse_matrix();
    push_rows(1, 1, b, 2, rows, 2);
    push_rows(0, 1, a, 2, rows, 2);
    got = pull_rows(0, 1, all, 3);
    ck_assert_float_eq(got[0], -1.0f);
    ck_assert_float_eq(got[2], -2.0f);
    ck_assert_float_eq(got[4], -1.0f);
}
END_TEST

START_TEST(a_large_pull_brings_the_rows_that_are_there_and_makes_the_others)
{
    enum { MANY = 600 };
    uint64_t keys[MANY];
    float    rows[2 * MANY];

    cluster(1, 1, PS_ASP, PS_ADD);
    sparse_matrix();
    for (uint64_t i = 0; i < MANY; i++) {
        keys[i] = (MANY - i) * 3;
        rows[2 * i] = (float)keys[i];
        rows[2 * i + 1] = 1;
    }
    push_rows(0, 1, keys, MANY, rows, 2);
    for (int round = 0; round < 2; round++) { /* all are there; and one is not */
        const float *got = pull_rows(0, 1, keys, MANY);

        for (uint64_t i = 0; i < MANY; i++) {
            ck_assert_float_eq(got[2 * i], keys[i] ? (float)keys[i] : 0);
            ck_assert_float_eq(got[2 * i + 1], keys[i] ? 1 : 0);
        }
        keys[MANY / 2] = 0;
    }
}
END_TEST

/* Asks for up to 16 of the rows that there are; gives the request. */
static uint64_t list_rows(uint32_t rank, uint64_t clock, uint32_t wait_ms)
{
    struct ps_header h = worker_header(PS_MSG_ROWS, rank, clock);
    struct ps_range  range = { .matrix = 2, .first = 0, .count = 16 };

    h.ranges = &range;
    h.n_ranges = 1;
    h.wait_ms = wait_ms;
    hand(0, rank, &h, NULL, 0, NULL, 0);
    return h.request;
}

/* Are these the rows, in some order? */
static bool lists(uint64_t request, const uint64_t *keys, size_t n)
{
    struct ps_parcel *p = NULL;
    size_t            found = 0;

    ck_assert_uint_eq(answer_to(request, &p).kind, PS_MSG_ROWS_OK);
    if (p->n_frames == 0)
        return n == 0;
    for (size_t i = 0; i < n * n; i++)
        if (i / n < p->frames[0]->len / sizeof(*keys))
            found += ((const uint64_t *)(const void *)p->frames[0]->data)[i / n] ==
                     keys[i % n];
    return found == n && p->frames[0]->len == n * sizeof(*keys) &&
           p->frames[1]->len == n * 2 * sizeof(float);
}

/* Under bsp a push is refused when it comes, not when its iteration closes. */
START_TEST(a_row_too_many_is_refused_at_once_and_what_is_held_stays)
{
    const uint64_t   a[] = { 1, 2 }, b[] = { 3, 4 };
    const float      rows[] = { 4, 8, 4, 8 };
    const float     *got;
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    sparse_matrix_of(3, _i ? PS_EVICT_LRU : PS_EVICT_NONE);
    push_rows(0, 1, a, 2, rows, 2);
    expect_error(push_rows(1, 1, b, 2, rows, 2), PS_ERR_LIMIT);

    h = worker_header(PS_MSG_PUSH, 1, 1); /* it is withdrawn */
    h.seq = seq[1][0];
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    hand(0, 1, &h, NULL, 0, NULL, 0);
    got = pull_rows(0, 1, a, 2);
    ck_assert_float_eq(got[0], -1.0f); /* the mean over both */
    ck_assert_float_eq(got[3], -2.0f);
    ck_assert(lists(list_rows(0, 1, 0), a, 2));
}
END_TEST

START_TEST(rows_of_one_that_leaves_are_not_held_any_more)
{
    static const uint32_t gone[2][2] = { { PS_MEMBER_ACTIVE, PS_MEMBER_LEFT },
                                         { PS_MEMBER_ACTIVE, PS_MEMBER_LOST } };
    const uint64_t        a[] = { 1, 2 }, b[] = { 3, 4 };
    const float           rows[] = { 4, 8, 4, 8 };
    struct ps_range       range = { .matrix = 2, 0, 2 };
    struct ps_header      h;

    cluster(1, 2, PS_BSP, PS_SGD);
    sparse_matrix_of(2, PS_EVICT_LRU);
    h = worker_header(PS_MSG_PUSH, 1, 1); /* its iteration has not ended */
    h.seq = ++seq[1][0];
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 1, &h, a, sizeof(a), rows, sizeof(rows));
    expect_error(push_rows(0, 1, b, 2, rows, 2), PS_ERR_LIMIT);
    seq[0][0]--;
    send_members(2, gone[_i]);
    push_rows(0, 1, b, 2, rows, 2);
    ck_assert(lists(list_rows(0, 1, 0), b, 2));
    ck_assert_float_eq(pull_rows(0, 1, b, 2)[0], -2.0f);
}
END_TEST

START_TEST(list_of_rows_waits_for_its_iteration)
{
    const uint64_t    a[] = { 1, 2 }, b[] = { 3 }, all[] = { 1, 2, 3 };
    const float       rows[] = { 4, 8, 4, 8 };
    struct ps_parcel *p = NULL;
    uint64_t          patient, hasty;

    cluster(1, 2, PS_BSP, PS_SGD);
    sparse_matrix();
    push_rows(0, 1, a, 2, rows, 2);
    patient = list_rows(0, 1, 0);
    hasty = list_rows(0, 1, 1000);
    ck_assert_uint_eq(answer_to(patient, NULL).kind, 0);
    psd_shard_tick(shards[0], 1000000000, &out);
    expect_error(hasty, PS_ERR_TIMEOUT);
    ck_assert_str_eq(answer_to(hasty, NULL).text,
                     "job test: iteration 1 waits for worker 1");
    push_rows(1, 1, b, 1, rows, 2);
    ck_assert(lists(patient, all, 3));
    ck_assert_uint_eq(answer_to(patient, &p).clock, 1);
    for (int i = 0; i < 3; i++) /* what the close has made of them */
        ck_assert_float_eq(((const float *)(const void *)p->frames[1]->data)[2 * i],
                           -1.0f);
}
END_TEST

START_TEST(key_frame_of_the_wrong_size_is_refused)
{
    const uint64_t keys[] = { 1 };
    const float    rows[] = { 1, 1, 1, 1 };
    uint64_t       request;

    cluster(1, 1, PS_ASP, PS_SGD);
    sparse_matrix();
    {
        struct ps_header h = worker_header(PS_MSG_PUSH, 0, 1);
        struct ps_range  range = { .matrix = 2, 0, 2 };

        h.seq = 1;
        h.ranges = &range;
        h.n_ranges = 1;
        request = h.request;
        hand(0, 0, &h, keys, sizeof(keys), rows, sizeof(rows));
    }
    expect_error(request, PS_ERR_BAD_MESSAGE);
}
END_TEST

/* The last range needs no padding, but all of its values. */
START_TEST(values_that_end_early_are_refused)
{
    const float     values[] = { 1, 1 };
    struct ps_range range = { .matrix = 1, .first = 0, .count = 1 };

    cluster(1, 1, PS_ASP, PS_SGD);
    dense_matrix();
    for (size_t bytes = 0; bytes < 4; bytes++) {
        struct ps_header h = finishing_push(0, 1, 1, &range);

        hand(0, 0, &h, values, bytes, NULL, 0);
        expect_error(h.request, PS_ERR_BAD_MESSAGE);
    }
    for (size_t bytes = 4; bytes <= 8; bytes += 4) {
        struct ps_header h = finishing_push(0, bytes / 4, bytes / 4, &range);

        hand(0, 0, &h, values, bytes, NULL, 0);
        ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PUSH_OK);
    }
}
END_TEST

START_TEST(counters_are_exact)
{
    struct ps_matrix_spec m = matrix_spec(1, "tally");
    int64_t               add[2] = { 1, (int64_t)1 << 60 };
    struct ps_range       range = { .matrix = 1, 0, 2 };
    struct ps_parcel     *p = NULL;
    struct ps_header      h;

    cluster(1, 2, PS_BSP, PS_SGD);
    m.dtype = PS_I64;
    m.cols = 2;
    m.init = PS_INIT_ZERO;
    m.optimiser = PS_ADD;
    add_matrix(&m, PS_OK);
    for (uint64_t t = 1; t <= 3; t++)
        for (uint32_t r = 0; r < 2; r++) {
            h = finishing_push(r, t, t, &range);
            hand(0, r, &h, add, sizeof(add), NULL, 0);
        }
    h = worker_header(PS_MSG_PULL, 0, 3);
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, &p).kind, PS_MSG_PULL_OK);
    memcpy(add, p->frames[0]->data, sizeof(add));
    ck_assert_int_eq(add[0], 6); /* summed, though the job takes means */
    ck_assert_int_eq(add[1], (int64_t)(6 * ((uint64_t)1 << 60)));
}
END_TEST

START_TEST(a_shard_tells_what_each_matrix_takes_as_far_as_there_is_room)
{
    struct ps_header h = header(PS_MSG_STATS);
    uint64_t         bytes = 0;

    cluster(1, 2, PS_BSP, PS_ADAM);
    for (uint32_t i = 1; i <= 300; i++) {
        struct ps_matrix_spec m = matrix_spec(i, "w");

        snprintf(m.name, sizeof(m.name), "w%u", i);
        add_matrix(&m, PS_OK);
    }
    h.session = CONTROL;
    hand(0, 99, &h, NULL, 0, NULL, 0);
    h = answer_to(h.request, NULL);
    ck_assert_uint_gt(h.n_job_stats, 200);
    ck_assert_uint_eq(h.job_stats[1].matrix, 0);
    ck_assert_uint_eq(h.job_stats[1].bytes, 300 * sizeof(value));
    for (uint32_t i = 2; i < h.n_job_stats; i++) {
        ck_assert_uint_eq(h.job_stats[i].job, 1);
        ck_assert_uint_eq(h.job_stats[i].matrix, i - 1);
        ck_assert_uint_eq(h.job_stats[i].state_bytes, 2 * h.job_stats[i].bytes);
        bytes += h.job_stats[i].bytes;
    }
    ck_assert_uint_eq(bytes, (h.n_job_stats - 2) * sizeof(value));
}
END_TEST

/* ---- scales ---------------------------------------------------------------------- */

START_TEST(scale_divides_by_workers)
{
    struct ps_job_spec spec = spec_of(4, PS_ASP, PS_SGD);
    const float        one[N] = { 1 };

    spec.scale = PS_SCALE_WORKERS;
    cluster_for(1, spec);
    dense_matrix();
    push(3, 1, one);
    ck_assert(pull(0, 0, value));
    ck_assert_float_eq(value[0], start[0] - 0.125f);
}
END_TEST

START_TEST(scale_divides_by_staleness)
{
    struct ps_job_spec spec = spec_of(2, PS_ASP, PS_SGD);
    const float        one[N] = { 1 };

    spec.scale = PS_SCALE_STALENESS;
    cluster_for(1, spec);
    dense_matrix();
    push(0, 1, one); /* has seen everything */
    push(1, 1, one); /* has not seen that one: half */
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.75f);
    push(1, 2, one); /* has seen both */
    ck_assert(pull(1, 2, value));
    ck_assert_float_eq(value[0], start[0] - 1.25f);
}
END_TEST

/* Worker 0 asks for its next values before it pushes, as training with prefetch does:
 * what they lack is counted when they are used. */
START_TEST(staleness_is_counted_from_the_values_that_were_used)
{
    const float one[N] = { 1 };
    uint64_t    used;

    cluster(1, 2, PS_ASP, PS_SGD);
    dense_matrix();
    push(1, 1, one);
    push(1, 2, one);
    ck_assert(pull(0, 0, value));
    ck_assert_uint_eq(base[0][0], 2);
    base[0][0] = 0; /* that was for the next iteration */
    push(0, 1, one);
    ck_assert_uint_eq(account(0).staleness_max, 2);
    ck_assert_uint_eq(account(0).staleness_sum, 0 + 1 + 2);
    base[0][0] = used = 2;
    push(0, 2, one); /* lacks its own push before */
    ck_assert_uint_eq(account(0).staleness_sum, 0 + 1 + 2 + 1);
    ck_assert_uint_eq(account(0).staleness_max, used);
}
END_TEST

START_TEST(iteration_in_parts_is_as_old_as_its_oldest)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    const float      one[N] = { 1 };
    struct ps_header h;

    cluster(1, 2, PS_ASP, PS_SGD);
    dense_matrix();
    push(1, 1, one);
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = ++seq[0][0];
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, one, 16 * sizeof(float), NULL, 0);
    h = finishing_push(0, 1, ++seq[0][0], &range);
    h.parts = 2;
    h.version = 1;
    hand(0, 0, &h, one, 16 * sizeof(float), NULL, 0);
    ck_assert_uint_eq(account(0).version, 2);
    ck_assert_uint_eq(account(0).staleness_max, 1);
}
END_TEST

static void everyone_pulls(void)
{
    for (uint32_t r = 0; r < job.workers; r++)
        ck_assert(pull(r, 0, value));
    forget_answers();
}

START_TEST(scale_gives_a_version_one_unit_of_weight)
{
    struct ps_job_spec spec = spec_of(3, PS_ASP, PS_SGD);
    const float        one[N] = { 1 }, three[N] = { 3 }, five[N] = { 5 };

    spec.scale = PS_SCALE_VERSIONS;
    cluster_for(2, spec);
    dense_matrix();
    everyone_pulls();
    push(2, 1, five);
    push(0, 1, one);
    ck_assert_uint_eq(account(0).state_bytes + account(1).state_bytes, sizeof(value));
    push(1, 1, three);
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq_tol(value[0], start[0] - 0.5f * 3, 1e-6);
    ck_assert_uint_eq(account(0).state_bytes, 0); /* nobody can share it any more */
    push(1, 2, five);
    ck_assert(pull(1, 2, value));
    ck_assert_float_eq_tol(value[0], start[0] - 0.5f * (3 + 5), 1e-6);
}
END_TEST

START_TEST(scale_counts_an_iteration_in_parts_once)
{
    struct ps_job_spec spec = spec_of(2, PS_ASP, PS_SGD);
    struct ps_range    range = { .matrix = 1, 0, 16 };
    const float        one[N] = { 1 }, two[N] = { 2 }, five[N] = { 5 };
    struct ps_header   h;

    spec.scale = PS_SCALE_VERSIONS;
    cluster_for(1, spec);
    dense_matrix();
    everyone_pulls();
    h = finishing_push(0, 1, ++seq[0][0], &range); /* overtakes the first part */
    h.parts = 2;
    hand(0, 0, &h, one, 16 * sizeof(float), NULL, 0);
    push(1, 1, five);
    h = finishing_push(0, 1, ++seq[0][0], &range);
    h.flags = h.parts = 0;
    hand(0, 0, &h, two, 16 * sizeof(float), NULL, 0);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq_tol(value[0], start[0] - 0.5f * (1 + 2 + 5) / 2, 1e-6);
}
END_TEST

START_TEST(scale_forgets_what_a_leaver_had)
{
    static const uint32_t gone[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_LEFT };
    struct ps_job_spec    spec = spec_of(2, PS_ASP, PS_SGD);
    const float           one[N] = { 1 };

    spec.scale = _i ? PS_SCALE_VERSIONS : PS_SCALE_DELAY;
    cluster_for(1, spec);
    dense_matrix();
    everyone_pulls();
    push(0, 1, one);
    ck_assert(pull(0, 1, value));
    push(0, 2, one);
    ck_assert(pull(0, 2, value));
    ck_assert_uint_ge(account(0).state_bytes, sizeof(value));
    send_members(2, gone);
    push(0, 3, one);
    ck_assert(pull(0, 3, value));
    push(0, 4, one);
    forget_answers();
    ck_assert_uint_le(account(0).state_bytes, _i ? 0 : sizeof(value));
}
END_TEST

START_TEST(scale_shares_among_rows_and_not_among_counters)
{
    struct ps_job_spec    spec = spec_of(2, PS_ASP, PS_SGD);
    struct ps_matrix_spec tally = matrix_spec(1, "tally");
    const uint64_t        keys[] = { 9, 4, 9 };
    const float           first[] = { 1, 2, 10, 20, 2, 3 }, second[] = { 5, 9, 4, 8 };
    const float          *got;
    struct ps_range       range = { .matrix = 1, 0, 1 };
    struct ps_header      h;
    struct ps_parcel     *p = NULL;
    int64_t               one = 1, counted;

    spec.scale = PS_SCALE_VERSIONS;
    cluster_for(1, spec);
    tally.dtype = PS_I64;
    tally.cols = 1;
    tally.init = PS_INIT_ZERO;
    tally.optimiser = PS_ADD;
    add_matrix(&tally, PS_OK);
    sparse_matrix();
    pull_rows(1, 0, keys, 2);
    push_rows(0, 1, keys, 3, first, 2); /* row 9 twice: 1 + 2, 2 + 3 */
    push_rows(1, 1, keys, 2, second, 2);
    got = pull_rows(1, 1, keys, 2);
    ck_assert_float_eq_tol(got[0], -0.5f * (3 + 5) / 2, 1e-6);
    ck_assert_float_eq_tol(got[1], -0.5f * (5 + 9) / 2, 1e-6);
    ck_assert_float_eq_tol(got[2], -0.5f * (10 + 4) / 2, 1e-6);
    ck_assert_float_eq_tol(got[3], -0.5f * (20 + 8) / 2, 1e-6);
    for (uint32_t r = 0; r < 2; r++) {
        h = finishing_push(r, 2, ++seq[r][0], &range);
        hand(0, r, &h, &one, sizeof(one), NULL, 0);
    }
    h = worker_header(PS_MSG_PULL, 0, 2);
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, &p).kind, PS_MSG_PULL_OK);
    memcpy(&counted, p->frames[0]->data, sizeof(counted));
    ck_assert_int_eq(counted, 2);
}
END_TEST

/* Worker 0's values rode on its push; meanwhile worker 1 has moved the model. */
START_TEST(scale_compensates_for_values_that_rode_on_a_push)
{
    struct ps_job_spec spec = spec_of(2, PS_ASP, PS_SGD);
    struct ps_range    range = { .matrix = 1, 0, 16 };
    const float        one[N] = { 1 }, two[N] = { 2 };
    struct ps_header   h;

    spec.scale = PS_SCALE_DELAY;
    spec.lambda = 0.25;
    cluster_for(1, spec);
    dense_matrix();
    h = finishing_push(0, 1, ++seq[0][0], &range);
    h.flags |= PS_FLAG_PULL;
    hand(0, 0, &h, one, 16 * sizeof(float), NULL, 0);
    base[0][0] = answer_to(h.request, NULL).version;
    ck_assert_uint_eq(base[0][0], 1);
    push(1, 1, two); /* never pulled: as it is */
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq_tol(value[0], start[0] - 0.5f - 1, 1e-6);
    push(0, 2, two);
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq_tol(value[0], start[0] - 1.5f - 0.5f * (2 + 0.25f * 4 * -1),
                           1e-6);
}
END_TEST

static Suite *shard_rows_suite(void)
{
    Suite *s = suite_create("shard_rows");
    TCase *t = tcase(s, "rows");

    tcase_add_test(t, repeated_keys_of_a_push_are_summed_before_the_step);
    tcase_add_test(t, bsp_rows_are_summed_over_workers_in_rank_order);
    tcase_add_test(t, a_large_pull_brings_the_rows_that_are_there_and_makes_the_others);
    tcase_add_loop_test(t, a_row_too_many_is_refused_at_once_and_what_is_held_stays, 0,
                        2);
    tcase_add_loop_test(t, rows_of_one_that_leaves_are_not_held_any_more, 0, 2);
    tcase_add_test(t, list_of_rows_waits_for_its_iteration);
    tcase_add_test(t, key_frame_of_the_wrong_size_is_refused);
    tcase_add_test(t, values_that_end_early_are_refused);
    tcase_add_test(t, counters_are_exact);
    tcase_add_test(t, a_shard_tells_what_each_matrix_takes_as_far_as_there_is_room);

    t = tcase(s, "scales");
    tcase_add_test(t, scale_divides_by_workers);
    tcase_add_test(t, scale_divides_by_staleness);
    tcase_add_test(t, staleness_is_counted_from_the_values_that_were_used);
    tcase_add_test(t, iteration_in_parts_is_as_old_as_its_oldest);
    tcase_add_test(t, scale_gives_a_version_one_unit_of_weight);
    tcase_add_test(t, scale_counts_an_iteration_in_parts_once);
    tcase_add_loop_test(t, scale_forgets_what_a_leaver_had, 0, 2);
    tcase_add_test(t, scale_shares_among_rows_and_not_among_counters);
    tcase_add_test(t, scale_compensates_for_values_that_rode_on_a_push);
    return s;
}

TEST_MAIN(shard_rows_suite)
