/* Which optimiser, at which learning rate, with which numbers. */
#include "server/optim/optim.h"
#include "tests/unit/suite.h"

#include <float.h>
#include <math.h>

static struct ps_job_spec job;

static void job_with_lr_half(void)
{
    job = ps_job_spec_default();
    job.optimiser.lr = 0.5;
    job.clocks_per_epoch = 100;
}

static struct ps_matrix_spec matrix_of(uint32_t dtype, uint32_t optimiser)
{
    return (struct ps_matrix_spec){ .name = "m",
                                    .dtype = dtype,
                                    .rows = 1,
                                    .cols = 1,
                                    .optimiser = optimiser,
                                    .weight_decay = NAN };
}

/* Each row: the schedule, a clock, and what lr = 0.5 has become there. */
static const struct {
    const char             *what;
    struct ps_schedule_spec schedule;
    uint64_t                t;
    double                  lr;
} rates[] = {
    { "constant", { .kind = PS_LR_CONSTANT, .every = 1 }, 12345, 0.5 },

    { "step", { .kind = PS_LR_STEP, .factor = 0.1, .every = 10 }, 0, 0.5 },
    { "step", { .kind = PS_LR_STEP, .factor = 0.1, .every = 10 }, 9, 0.5 },
    { "step", { .kind = PS_LR_STEP, .factor = 0.1, .every = 10 }, 10, 0.05 },
    { "step", { .kind = PS_LR_STEP, .factor = 0.1, .every = 10 }, 39, 0.0005 },
    { "step by epochs",
      { .kind = PS_LR_STEP, .factor = 0.5, .every = 2, .epochs = true },
      199,
      0.5 },
    { "step by epochs",
      { .kind = PS_LR_STEP, .factor = 0.5, .every = 2, .epochs = true },
      200,
      0.25 },

    { "exponential",
      { .kind = PS_LR_EXPONENTIAL, .factor = 0.25, .every = 2 },
      0,
      0.5 },
    { "exponential",
      { .kind = PS_LR_EXPONENTIAL, .factor = 0.25, .every = 2 },
      1,
      0.25 },
    { "exponential",
      { .kind = PS_LR_EXPONENTIAL, .factor = 0.25, .every = 2 },
      3,
      0.0625 },
    { "exponential by epochs",
      { .kind = PS_LR_EXPONENTIAL, .factor = 0.25, .every = 1, .epochs = true },
      50,
      0.25 },

    { "cosine", { .kind = PS_LR_COSINE, .floor = 0.1, .every = 30 }, 0, 0.5 },
    { "cosine", { .kind = PS_LR_COSINE, .floor = 0.1, .every = 30 }, 10, 0.3875 },
    { "cosine", { .kind = PS_LR_COSINE, .floor = 0.1, .every = 30 }, 15, 0.275 },
    { "cosine", { .kind = PS_LR_COSINE, .floor = 0.1, .every = 30 }, 30, 0.05 },
    { "cosine stays", { .kind = PS_LR_COSINE, .floor = 0.1, .every = 30 }, 999, 0.05 },

    { "warm-up", { .kind = PS_LR_WARMUP, .every = 1, .warmup = 5 }, 0, 0.1 },
    { "warm-up", { .kind = PS_LR_WARMUP, .every = 1, .warmup = 5 }, 3, 0.4 },
    { "warm-up", { .kind = PS_LR_WARMUP, .every = 1, .warmup = 5 }, 4, 0.5 },
    { "warm-up is over", { .kind = PS_LR_WARMUP, .every = 1, .warmup = 5 }, 5, 0.5 },
    { "warm-up by epochs",
      { .kind = PS_LR_WARMUP, .every = 1, .warmup = 2, .epochs = true },
      49,
      0.125 },
    { "warm-up before a step",
      { .kind = PS_LR_STEP, .factor = 0.1, .every = 10, .warmup = 4 },
      1,
      0.25 },
    { "warm-up before a step",
      { .kind = PS_LR_STEP, .factor = 0.1, .every = 10, .warmup = 4 },
      10,
      0.05 },

    { "epochs beyond counting",
      { .kind = PS_LR_STEP, .factor = 0.1, .every = UINT64_MAX, .epochs = true },
      UINT64_MAX - 1,
      0.5 },
};

START_TEST(learning_rate_follows_the_clock)
{
    job.optimiser.schedule = rates[_i].schedule;
    /* One power or cosine and three products: 8 roundings are plenty. */
    ck_assert_msg(fabs(psd_optim_lr(&job, rates[_i].t) - rates[_i].lr) <=
                      8 * DBL_EPSILON * rates[_i].lr,
                  "%s at clock %ju: %.17g, expected %.17g", rates[_i].what,
                  (uintmax_t)rates[_i].t, psd_optim_lr(&job, rates[_i].t),
                  rates[_i].lr);
}
END_TEST

START_TEST(every_optimiser_says_how_much_state_it_keeps)
{
    static const uint32_t n_state[] = {
        [PS_SGD] = 0,     [PS_MOMENTUM] = 1, [PS_NESTEROV] = 1, [PS_ADAGRAD] = 1,
        [PS_RMSPROP] = 1, [PS_ADAM] = 2,     [PS_ADAMW] = 2,    [PS_FTRL] = 2,
        [PS_ASSIGN] = 0,  [PS_ADD] = 0,
    };

    for (uint32_t kind = PS_SGD; kind <= PS_ADD; kind++) {
        ck_assert_uint_eq(psd_optim_n_state(kind), n_state[kind]);
        ck_assert_uint_le(psd_optim_n_state(kind), PSD_STATE_MAX);
        ck_assert(psd_optim_is_exact(kind) == (kind == PS_ASSIGN || kind == PS_ADD));
    }
}
END_TEST

START_TEST(a_matrix_may_have_an_optimiser_of_its_own)
{
    struct ps_matrix_spec m = matrix_of(PS_F32, PS_OPTIMISER_JOB);

    job.optimiser.kind = PS_ADAM;
    ck_assert_uint_eq(psd_optim_kind(&job, &m), PS_ADAM);
    m.optimiser = PS_ADD;
    ck_assert_uint_eq(psd_optim_kind(&job, &m), PS_ADD);
}
END_TEST

START_TEST(counters_ask_for_an_exact_optimiser)
{
    struct ps_matrix_spec m = matrix_of(PS_I64, PS_OPTIMISER_JOB);

    ck_assert_status(psd_optim_check(&job, &m), PS_ERR_BAD_ARG);
    ck_assert_why("matrix m: i64 with the optimiser sgd, expected add or assign");
    m.optimiser = PS_ADD;
    ck_assert_ok(psd_optim_check(&job, &m));
    m.optimiser = PS_ASSIGN;
    ck_assert_ok(psd_optim_check(&job, &m));
    m.optimiser = PS_OPTIMISER_JOB;
    job.optimiser.kind = PS_ADD;
    ck_assert_ok(psd_optim_check(&job, &m));
}
END_TEST

/* 0 / (sqrt(0) + 0) is what a gradient of 0 would make of the parameter. */
START_TEST(an_epsilon_that_vanishes_in_the_type_is_refused)
{
    struct ps_matrix_spec single = matrix_of(PS_F32, PS_ADAM);
    struct ps_matrix_spec twice = matrix_of(PS_F64, PS_ADAM);

    ck_assert_ok(psd_optim_check(&job, &single));
    job.optimiser.epsilon = 1e-60;
    ck_assert_status(psd_optim_check(&job, &single), PS_ERR_BAD_ARG);
    ck_assert_why("epsilon 1e-60 vanishes in f32, expected at least 1.2e-38");
    ck_assert_ok(psd_optim_check(&job, &twice));
    single.optimiser = PS_SGD;
    ck_assert_ok(psd_optim_check(&job, &single));
}
END_TEST

START_TEST(numbers_of_a_step_come_from_job_matrix_and_clock)
{
    struct ps_matrix_spec m = matrix_of(PS_F32, PS_OPTIMISER_JOB);
    struct psd_hyper      h;

    job.optimiser.kind = PS_ADAM;
    job.optimiser.weight_decay = 0.125;
    job.optimiser.beta2 = 0.75;
    job.optimiser.schedule =
        (struct ps_schedule_spec){ .kind = PS_LR_STEP, .factor = 0.5, .every = 10 };
    h = psd_optim_hyper(&job, &m, 10, 7); /* clock 10 is the iteration t = 9 */
    ck_assert_double_eq(h.lr, 0.5);
    ck_assert_double_eq(h.beta2, 0.75);
    ck_assert_double_eq(h.weight_decay, 0.125);
    ck_assert_uint_eq(h.step, 7);
    m.weight_decay = 0;
    h = psd_optim_hyper(&job, &m, 11, 8);
    ck_assert_double_eq(h.lr, 0.25);
    ck_assert_double_eq(h.weight_decay, 0.0);
}
END_TEST

static Suite *optim_suite(void)
{
    Suite *s = suite_create("optim");
    TCase *rate = tcase_create("rate");
    TCase *kind = tcase_create("kind");

    tcase_add_checked_fixture(rate, job_with_lr_half, NULL);
    tcase_add_loop_test(rate, learning_rate_follows_the_clock, 0,
                        sizeof(rates) / sizeof(rates[0]));
    tcase_add_test(rate, numbers_of_a_step_come_from_job_matrix_and_clock);
    suite_add_tcase(s, rate);

    tcase_add_checked_fixture(kind, job_with_lr_half, NULL);
    tcase_add_test(kind, every_optimiser_says_how_much_state_it_keeps);
    tcase_add_test(kind, a_matrix_may_have_an_optimiser_of_its_own);
    tcase_add_test(kind, counters_ask_for_an_exact_optimiser);
    tcase_add_test(kind, an_epsilon_that_vanishes_in_the_type_is_refused);
    suite_add_tcase(s, kind);
    return s;
}

TEST_MAIN(optim_suite)
