/*
 * Scales, without messages: the test is every worker, and the optimiser, which takes
 * w - lr g with lr 1.  Versions and ranks are numbers; sums are checked in double.
 */
#include "server/shard/scale.h"
#include "common/base/random.h"
#include "server/shard/keymap.h"
#include "server/shard/runs.h"
#include "tests/unit/suite.h"

#include <float.h>
#include <math.h>

#define N 1000u  /* elements of the dense matrix */
#define COLS 3u  /* of the sparse one */
#define KEYS 40u /* of it that tests use */
#define WORKERS 4u

static struct ps_job_spec job;
static struct psd_scale  *scale;
static struct psd_store  *store;
static struct psd_matrix *dense, *sparse;
static uint64_t           version; /* of the job */
static uint64_t           base[WORKERS];
static double             rows[KEYS][COLS]; /* what the sparse matrix's rows are */

static struct psd_matrix *add_matrix(uint32_t number, bool is_sparse)
{
    struct ps_matrix_spec spec = { .name = "w",
                                   .number = number,
                                   .dtype = PS_F64,
                                   .sparse = is_sparse,
                                   .rows = !is_sparse,
                                   .cols = is_sparse ? COLS : N,
                                   .init = PS_INIT_NORMAL,
                                   .init_b = 1,
                                   .weight_decay = NAN };
    struct ps_place       place;
    uint64_t              load[1] = { 0 };

    ps_place_cut(&place, &spec);
    ps_place_assign(&place, load, 1);
    ck_assert_ok(psd_store_add(store, &spec, &place, 0));
    return psd_store_find(store, number);
}

static void start(uint32_t kind)
{
    job = ps_job_spec_default();
    job.workers = WORKERS;
    job.strategy = PS_ASP;
    job.scale = kind;
    job.lambda = 0.5;
    version = 0;
    memset(base, 0, sizeof(base));
    memset(rows, 0, sizeof(rows));
    ck_assert_ok(psd_store_new(&store, 0, 1));
    dense = add_matrix(1, false);
    sparse = add_matrix(2, true);
    ck_assert_ok(psd_scale_new(&scale, &job));
}

static void versions(void)
{
    start(PS_SCALE_VERSIONS);
}

static void delay(void)
{
    start(PS_SCALE_DELAY);
}

static void end(void)
{
    psd_scale_free(&scale);
    psd_store_free(&store);
}

static double *w(void)
{
    return (double *)(void *)dense->chunks[0].value->data;
}

/* ---- the workers ---------------------------------------------------------------- */

static uint64_t pull_part(uint32_t rank, uint64_t from, uint64_t to)
{
    struct ps_range  range = { .matrix = 1, .first = from, .count = to - from };
    struct psd_given given = { .rank = rank, .version = version, .range = &range };

    ck_assert_ok(psd_scale_gave(scale, &given, dense));
    return version;
}

/* Pulls all of the dense matrix, and uses it. */
static void pull(uint32_t rank)
{
    base[rank] = pull_part(rank, 0, N);
}

static uint64_t pull_row(uint32_t rank, uint64_t key)
{
    struct ps_range  range = { .matrix = 2, .count = 1 };
    struct psd_given given = { .rank = rank,
                               .version = version,
                               .range = &range,
                               .keys = &key,
                               .rows = rows[key] };

    ck_assert_ok(psd_scale_gave(scale, &given, sparse));
    return version;
}

static struct psd_update update_of(uint32_t rank, bool whole)
{
    struct psd_update u = { .backend = &psd_backend_cpu,
                            .rank = rank,
                            .workers = WORKERS,
                            .base = base[rank],
                            .staleness = version - base[rank],
                            .whole = whole };

    psd_scale_begin(scale, &u);
    return u;
}

static void finish(uint32_t rank)
{
    psd_scale_end(scale, rank, base[rank]);
    version++;
}

static void push_part(uint32_t rank, uint64_t from, uint64_t to, double gradient,
                      bool whole)
{
    struct psd_update u = update_of(rank, whole);
    double            g[N];

    for (uint64_t i = from; i < to; i++)
        g[i - from] = gradient * (1 + (double)i / N);
    ck_assert_ok(psd_scale_room(scale, &u, dense, dense->chunks, 1));
    ck_assert_ok(psd_store_write(dense, dense->chunks));
    psd_scale_chunk(scale, &u, dense, dense->chunks, from, to, g);
    for (uint64_t i = from; i < to; i++)
        w()[i] -= g[i - from];
}

/* An iteration in one push; element i of its gradient is `gradient` (1 + i / N). */
static void push(uint32_t rank, double gradient)
{
    push_part(rank, 0, N, gradient, true);
    finish(rank);
}

static void push_row_part(uint32_t rank, uint64_t key, double gradient, bool whole)
{
    struct psd_update u = update_of(rank, whole);
    double            g[COLS], scaled[COLS];
    const double     *got;

    for (uint64_t i = 0; i < COLS; i++)
        g[i] = gradient + (double)i;
    ck_assert_ok(psd_scale_room(scale, &u, sparse, NULL, 1));
    got = psd_scale_row(scale, &u, sparse, key, rows[key], g, scaled);
    for (uint64_t i = 0; i < COLS; i++)
        rows[key][i] -= got[i];
}

static void push_row(uint32_t rank, uint64_t key, double gradient)
{
    push_row_part(rank, key, gradient, true);
    finish(rank);
}

/* Sums of a few numbers around 10, each rounded a few times. */
#define NEAR (100 * 10 * DBL_EPSILON)

/* The elements have moved from `was` by -`gradient` (1 + i / N). */
static void expect_moved(const double *was, uint64_t from, uint64_t to, double gradient)
{
    for (uint64_t i = from; i < to; i++)
        ck_assert_double_eq_tol(w()[i], was[i] - gradient * (1 + (double)i / N), NEAR);
}

static double was[N];

static void remember(void)
{
    memcpy(was, w(), sizeof(was));
}

static void everyone_pulls(void)
{
    for (uint32_t r = 0; r < WORKERS; r++)
        pull(r);
    remember();
}

/* ---- versions -------------------------------------------------------------------- */

static const uint32_t orders[][WORKERS] = {
    { 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 2, 0, 3, 1 }, { 1, 3, 0, 2 }
};

START_TEST(updates_of_a_version_move_by_their_mean_in_any_order)
{
    static const double u[WORKERS] = { 1, -7, 4.5, 10 };

    everyone_pulls();
    for (uint32_t i = 0; i < WORKERS; i++)
        push(orders[_i][i], u[orders[_i][i]]);
    expect_moved(was, 0, N, (1 - 7 + 4.5 + 10) / 4);
}
END_TEST

START_TEST(rows_have_means_of_their_own)
{
    everyone_pulls();
    push_row(orders[_i][0], 5, 6);
    push_row(orders[_i][1], 5, 2);
    push_row(orders[_i][2], 7, 3);
    for (uint32_t i = 0; i < COLS; i++) {
        ck_assert_double_eq_tol(rows[5][i], -(4 + (double)i), NEAR);
        ck_assert_double_eq_tol(rows[7][i], -(3 + (double)i), NEAR);
    }
}
END_TEST

START_TEST(elements_that_are_pushed_apart_count_apart)
{
    everyone_pulls();
    push_part(0, 0, 600, 2, true);
    finish(0);
    push_part(1, 400, N, 6, true);
    finish(1);
    push_part(2, 500, 550, 10, true);
    finish(2);
    expect_moved(was, 0, 400, 2);
    expect_moved(was, 400, 500, 4);
    expect_moved(was, 500, 550, 6);
    expect_moved(was, 550, 600, 4);
    expect_moved(was, 600, N, 6);
}
END_TEST

/* The parts overlap, and another worker's update comes between them. */
START_TEST(parts_of_an_iteration_count_once)
{
    everyone_pulls();
    push_part(0, 0, 600, 3, false);
    push(1, 1);
    push_part(0, 400, N, 5, false);
    finish(0);
    push(2, 4);
    expect_moved(was, 0, 400, (3.0 + 1 + 4) / 3);
    expect_moved(was, 400, 600, (3.0 + 5 + 1 + 4) / 3);
    expect_moved(was, 600, N, (5.0 + 1 + 4) / 3);
}
END_TEST

START_TEST(parts_that_touch_a_row_twice_count_once)
{
    everyone_pulls();
    push_row_part(0, 1, 2, false);
    push_row(1, 1, 6);
    push_row_part(0, 1, 4, false);
    finish(0);
    for (uint32_t i = 0; i < COLS; i++) /* (2 + i) + (4 + i) of one, 6 + i of another */
        ck_assert_double_eq_tol(rows[1][i], -(12 + 3 * (double)i) / 2, NEAR);
}
END_TEST

START_TEST(new_pull_begins_a_new_version)
{
    everyone_pulls();
    push(0, 2);
    push(1, 4);
    pull(0);
    remember();
    push(0, 8); /* alone: all of it */
    expect_moved(was, 0, N, 8);
    remember();
    push(2, 9); /* the third of the first version */
    expect_moved(was, 0, N, (9.0 - 3) / 3);
}
END_TEST

START_TEST(push_without_a_pull_is_one_version_further)
{
    everyone_pulls();
    push(0, 2);
    remember();
    push(0, 5);
    expect_moved(was, 0, N, 5);
    remember();
    push(1, 6); /* of the version that 0 has left */
    expect_moved(was, 0, N, (6.0 - 2) / 2);
}
END_TEST

/* Asked for before the push of the iteration before: the pull says nothing new, yet the
 * two updates are not of one version. */
START_TEST(prefetched_pull_counts_when_it_is_used)
{
    uint64_t ahead;

    everyone_pulls();
    ahead = pull_part(0, 0, N);
    push(0, 2);
    push(1, 4);
    base[0] = ahead;
    remember();
    push(0, 5);
    expect_moved(was, 0, N, 5);
    remember();
    push(2, 6); /* of the first version still */
    expect_moved(was, 0, N, (6.0 - 3) / 3);
}
END_TEST

/* Worker 3 pulls once and stays away; the others go on for long. */
START_TEST(sleeper_finds_its_version)
{
    everyone_pulls();
    for (int i = 0; i < 50; i++)
        for (uint32_t r = 0; r < 3; r++) {
            push(r, i == 0 ? 4 : 1);
            pull(r);
        }
    remember();
    push(3, 8); /* the fourth of the first version */
    expect_moved(was, 0, N, (8.0 - 4) / 4);
}
END_TEST

START_TEST(versions_are_forgotten)
{
    uint64_t most = 0;

    for (uint64_t t = 0; t < 2000; t++) {
        uint32_t r = (uint32_t)ps_random_below(1, 1, t, WORKERS);
        uint64_t key = ps_random_below(1, 2, t, KEYS);

        if (ps_random_below(1, 3, t, 3) > 0)
            pull(r);
        push_row_part(r, key, 1, false);
        push_part(r, 0, N, 1, false);
        finish(r);
        if (psd_scale_bytes(scale) > most)
            most = psd_scale_bytes(scale);
    }
    /* One where it stands and one where its last pull puts it, for each. */
    ck_assert_uint_le(most, 2 * WORKERS * (N + KEYS * (COLS + 1)) * sizeof(double));
    for (uint32_t r = 1; r < WORKERS; r++)
        psd_scale_leave(scale, r);
    pull(0);
    push(0, 1);
    ck_assert_uint_eq(psd_scale_bytes(scale), 0); /* nobody else could share it */
}
END_TEST

START_TEST(version_of_one_who_left_is_forgotten)
{
    everyone_pulls();
    for (uint32_t r = 0; r < 3; r++) {
        push(r, 1);
        pull(r);
    }
    ck_assert_uint_eq(psd_scale_bytes(scale), N * sizeof(double));
    push_part(3, 0, 10, 1, false); /* it has begun */
    psd_scale_leave(scale, 3);
    ck_assert_uint_eq(psd_scale_bytes(scale), 0);
    psd_scale_leave(scale, 3);
}
END_TEST

START_TEST(one_who_comes_back_shares_the_newest_version)
{
    everyone_pulls();
    push(0, 1);
    psd_scale_leave(scale, 3);
    pull(0);
    pull(3);
    remember();
    push(0, 4);
    push(3, 2);
    expect_moved(was, 0, N, 3);
}
END_TEST

/* ---- delay compensation ---------------------------------------------------------- */

/* What a push of `gradient` moves, where w has changed by `change` since its pull. */
static double compensated(double gradient, double change)
{
    return gradient + job.lambda * gradient * gradient * change;
}

static void expect_compensated(const double *before, const double *pulled,
                               uint64_t from, uint64_t to, double gradient)
{
    for (uint64_t i = from; i < to; i++) {
        double g = gradient * (1 + (double)i / N);

        ck_assert_double_eq_tol(
            w()[i], before[i] - compensated(g, before[i] - pulled[i]), NEAR);
    }
}

static double before[N];

START_TEST(gradient_is_compensated_for_what_came_between)
{
    everyone_pulls();
    push(1, 0.5);
    push(2, -0.75);
    memcpy(before, w(), sizeof(before));
    push(0, 1.25);
    expect_compensated(before, was, 0, N, 1.25);
}
END_TEST

START_TEST(fresh_gradient_is_left_alone)
{
    everyone_pulls();
    push(0, 2);
    expect_moved(was, 0, N, 2);
}
END_TEST

START_TEST(what_was_never_pulled_is_left_alone)
{
    remember();
    base[0] = pull_part(0, 100, 300);
    push(1, 0.5);
    memcpy(before, w(), sizeof(before));
    push(0, 1);
    expect_moved(before, 0, 100, 1);
    expect_compensated(before, was, 100, 300, 1);
    expect_moved(before, 300, N, 1);
}
END_TEST

/* Parts of a chunk pulled at different versions, and one asked for ahead. */
START_TEST(each_element_meets_the_values_that_were_used)
{
    static double first[N], second[N];

    memcpy(first, w(), sizeof(first));
    base[0] = pull_part(0, 0, 500);
    push(1, 0.5);
    memcpy(second, w(), sizeof(second));
    pull_part(0, 500, N);
    push(2, 0.25);
    pull_part(0, 0, N); /* for the next iteration */
    memcpy(was, w(), sizeof(was));
    push_part(0, 0, N, 1, true);
    expect_compensated(was, first, 0, 500, 1);
    expect_compensated(was, second, 500, N, 1);
    finish(0);
    base[0] = version - 1; /* what was asked for ahead */
    memcpy(before, w(), sizeof(before));
    push(0, 1);
    expect_compensated(before, was, 0, N, 1);
}
END_TEST

START_TEST(pushing_again_meets_the_same_values_again)
{
    everyone_pulls();
    push(0, 1);
    memcpy(before, w(), sizeof(before));
    push(0, 0.5);
    expect_compensated(before, was, 0, N, 0.5);
}
END_TEST

START_TEST(rows_are_compensated_too)
{
    double pulled[COLS], now[COLS];

    base[0] = pull_row(0, 3);
    memcpy(pulled, rows[3], sizeof(pulled));
    push_row(1, 3, 0.25);
    pull_row(0, 3); /* for the next iteration */
    memcpy(now, rows[3], sizeof(now));
    push_row(0, 3, 1);
    for (uint32_t i = 0; i < COLS; i++)
        ck_assert_double_eq_tol(
            rows[3][i], now[i] - compensated(1 + (double)i, now[i] - pulled[i]), NEAR);
    memcpy(now, rows[4], sizeof(now));
    push_row(0, 4, 1); /* never pulled */
    for (uint32_t i = 0; i < COLS; i++)
        ck_assert_double_eq_tol(rows[4][i], now[i] - (1 + (double)i), NEAR);
}
END_TEST

/* Others change other things meanwhile, so each part is of another version. */
START_TEST(chunk_that_has_not_changed_is_remembered_once)
{
    remember();
    base[0] = version;
    for (uint64_t from = 0; from < N; from += 100) {
        pull_part(0, from, from + 100);
        push_row(1, 1, 1);
    }
    push(1, 0.5);
    memcpy(before, w(), sizeof(before));
    push(0, 1);
    expect_compensated(before, was, 0, N, 1);
}
END_TEST

START_TEST(what_no_push_can_name_is_forgotten)
{
    for (uint64_t key = 0; key < KEYS; key++)
        pull_row(0, key);
    pull(0);
    push(1, 1);
    ck_assert_uint_gt(psd_scale_bytes(scale), (N + KEYS * COLS) * sizeof(double));
    pull(0);
    push(0, 1); /* of the second pull: what it was given before goes */
    ck_assert_uint_eq(psd_scale_bytes(scale), N * sizeof(double));
    pull(1);
    ck_assert_uint_eq(psd_scale_bytes(scale), N * sizeof(double)); /* no copy yet */
    psd_scale_leave(scale, 0);
    ck_assert_uint_eq(psd_scale_bytes(scale), 0);
}
END_TEST

START_TEST(one_who_only_pulls_does_not_fill_the_memory)
{
    for (int i = 0; i < 100; i++) {
        pull_part(0, 0, N);
        pull_row(0, 1);
        push_row_part(1, 1, 1, true);
        push(1, 1);
    }
    ck_assert_uint_le(psd_scale_bytes(scale), 4 * N * sizeof(double));
}
END_TEST

/* ---- the others ------------------------------------------------------------------ */

static const struct {
    uint32_t kind;
    double   factor;
} factors[] = { { PS_SCALE_NONE, 1 },
                { PS_SCALE_WORKERS, 1.0 / 8 },
                { PS_SCALE_STALENESS, 1.0 / 6 },
                { PS_SCALE_VERSIONS, 1 },
                { PS_SCALE_DELAY, 1 } };

START_TEST(factors_are_what_they_are_called)
{
    struct psd_update u = { .workers = 8, .staleness = 5 };

    start(factors[_i].kind);
    ck_assert_double_eq(psd_scale_factor(scale, &u), factors[_i].factor);
    end();
}
END_TEST

START_TEST(exact_matrices_are_left_alone)
{
    start(factors[_i].kind);
    dense->spec.optimiser = PS_ADD;
    everyone_pulls();
    push(1, 1);
    push(0, 2);
    expect_moved(was, 0, N, 3);
    ck_assert_uint_eq(psd_scale_bytes(scale), 0);
    end();
}
END_TEST

/* ---- what they are made of --------------------------------------------------------
 */

START_TEST(runs_say_what_was_set_last)
{
    enum { LENGTH = 50 };
    struct psd_runs r = { 0 };
    uint64_t        plain[LENGTH] = { 0 };

    for (uint64_t t = 0; t < 500; t++) {
        uint64_t from = ps_random_below(_i, 1, t, LENGTH);
        uint64_t to = from + 1 + ps_random_below(_i, 2, t, LENGTH - from);
        uint64_t number = ps_random_below(_i, 3, t, 3);

        ck_assert_ok(psd_runs_reserve(&r, 1));
        psd_runs_set(&r, from, to, number);
        for (uint64_t i = from; i < to; i++)
            plain[i] = number;
        for (uint64_t at = 0, stop; at < LENGTH; at = stop) {
            uint64_t got;

            stop = LENGTH;
            got = psd_runs_at(&r, at, &stop);
            ck_assert_uint_gt(stop, at);
            for (uint64_t i = at; i < stop; i++)
                ck_assert_uint_eq(plain[i], got);
            if (stop < LENGTH) /* neighbours differ */
                ck_assert_uint_ne(plain[stop], got);
        }
    }
    psd_runs_free(&r);
}
END_TEST

static bool is_odd(void *place, const void *ctx)
{
    (void)ctx;
    return *(const uint64_t *)place % 2 == 1;
}

START_TEST(keymap_finds_what_it_keeps)
{
    struct psd_keymap m = { .bytes = 8 };

    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t *place;

        ck_assert_ok(psd_keymap_reserve(&m, 1));
        place = psd_keymap_add(&m, i << 40);
        ck_assert_uint_eq(*place, 0);
        *place = i;
    }
    psd_keymap_keep(&m, is_odd, NULL);
    ck_assert_uint_eq(m.n, 1500);
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t *place = psd_keymap_find(&m, i << 40);

        ck_assert(psd_keymap_has(&m, i << 40) == (i % 2 == 1));
        ck_assert(i % 2 == 0 ? place == NULL : *place == i);
    }
    psd_keymap_free(&m);
}
END_TEST

static Suite *scale_suite(void)
{
    Suite *s = suite_create("scale");
    TCase *v = tcase_create("versions"), *d = tcase_create("delay-compensated"),
          *o = tcase_create("others");

    tcase_add_checked_fixture(v, versions, end);
    tcase_add_loop_test(v, updates_of_a_version_move_by_their_mean_in_any_order, 0, 4);
    tcase_add_loop_test(v, rows_have_means_of_their_own, 0, 4);
    tcase_add_test(v, elements_that_are_pushed_apart_count_apart);
    tcase_add_test(v, parts_of_an_iteration_count_once);
    tcase_add_test(v, parts_that_touch_a_row_twice_count_once);
    tcase_add_test(v, new_pull_begins_a_new_version);
    tcase_add_test(v, push_without_a_pull_is_one_version_further);
    tcase_add_test(v, prefetched_pull_counts_when_it_is_used);
    tcase_add_test(v, sleeper_finds_its_version);
    tcase_add_test(v, versions_are_forgotten);
    tcase_add_test(v, version_of_one_who_left_is_forgotten);
    tcase_add_test(v, one_who_comes_back_shares_the_newest_version);
    suite_add_tcase(s, v);

    tcase_add_checked_fixture(d, delay, end);
    tcase_add_test(d, gradient_is_compensated_for_what_came_between);
    tcase_add_test(d, fresh_gradient_is_left_alone);
    tcase_add_test(d, what_was_never_pulled_is_left_alone);
    tcase_add_test(d, each_element_meets_the_values_that_were_used);
    tcase_add_test(d, pushing_again_meets_the_same_values_again);
    tcase_add_test(d, rows_are_compensated_too);
    tcase_add_test(d, chunk_that_has_not_changed_is_remembered_once);
    tcase_add_test(d, what_no_push_can_name_is_forgotten);
    tcase_add_test(d, one_who_only_pulls_does_not_fill_the_memory);
    suite_add_tcase(s, d);

    tcase_add_loop_test(o, factors_are_what_they_are_called, 0, 5);
    tcase_add_loop_test(o, exact_matrices_are_left_alone, 0, 5);
    tcase_add_loop_test(o, runs_say_what_was_set_last, 1, 5);
    tcase_add_test(o, keymap_finds_what_it_keeps);
    suite_add_tcase(s, o);
    return s;
}

TEST_MAIN(scale_suite)
