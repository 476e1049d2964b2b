/* Specs: what a job and a matrix may say, and whether two say the same. */
#include "common/base/spec.h"
#include "tests/unit/suite.h"

#include <math.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct ps_job_spec    job;
static struct ps_matrix_spec matrix;

static void good_specs(void)
{
    job = ps_job_spec_default();
    strcpy(job.name, "lenet");
    matrix = (struct ps_matrix_spec){
        .name = "fc1", .dtype = PS_F32, .rows = 10, .cols = 4, .weight_decay = NAN
    };
}

/* ---- defaults ------------------------------------------------------------------ */

START_TEST(the_default_job_needs_only_a_name)
{
    job.name[0] = '\0';
    ck_assert_status(ps_job_spec_check(&job), PS_ERR_CONFIG);
    ck_assert_why("job: the name is empty, expected 1 to 127 printable ASCII");
    strcpy(job.name, "x");
    ck_assert_ok(ps_job_spec_check(&job));
    ck_assert_uint_eq(job.workers, 1);
    ck_assert_uint_eq(job.strategy, PS_BSP);
    ck_assert_uint_eq(job.aggregate, PS_MEAN);
    ck_assert_uint_eq(job.on_loss, PS_LOSS_SHRINK);
    ck_assert_uint_eq(job.nonfinite, PS_NONFINITE_REFUSE);
    ck_assert_uint_eq(job.optimiser.kind, PS_SGD);
    ck_assert_double_eq(job.optimiser.lr, 0.01);
}
END_TEST

START_TEST(every_optimiser_has_a_name_and_good_defaults)
{
    ck_assert_ptr_nonnull(ps_optimiser_name((uint32_t)_i));
    job.optimiser = ps_optimiser_spec_default((uint32_t)_i);
    ck_assert_uint_eq(job.optimiser.kind, (uint32_t)_i);
    ck_assert_ok(ps_job_spec_check(&job));
}
END_TEST

START_TEST(words_and_sizes)
{
    ck_assert_str_eq(ps_optimiser_name(PS_NESTEROV), "nesterov");
    ck_assert_str_eq(ps_strategy_name(PS_ASP), "asp");
    ck_assert_str_eq(ps_dtype_name(PS_I64), "i64");
    ck_assert_ptr_null(ps_optimiser_name(0));
    ck_assert_ptr_null(ps_optimiser_name(11));
    ck_assert_ptr_null(ps_strategy_name(UINT32_MAX));
    ck_assert_ptr_null(ps_dtype_name(0));
    ck_assert_uint_eq(ps_dtype_bytes(PS_F32), 4);
    ck_assert_uint_eq(ps_dtype_bytes(PS_F64), 8);
    ck_assert_uint_eq(ps_dtype_bytes(PS_I64), 8);
    ck_assert_uint_eq(ps_dtype_bytes(4), 0);
}
END_TEST

/* ---- names --------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *why; /* NULL: a good name */
} names[] = {
    { "fc1.weight", NULL },
    { "a", NULL },
    { "A_b-c:d[0]@~", NULL },
    { "", "thing: the name is empty" },
    { "a b", "thing: byte 2 of the name is 0x20, expected 1 to 127 printable ASCII" },
    { "a/b", "thing: byte 2 of the name is 0x2f" },
    { "a\n", "thing: byte 2 of the name is 0x0a" },
    { "\x7f", "thing: byte 1 of the name is 0x7f" },
    { "caf\xc3\xa9", "thing: byte 4 of the name is 0xc3" },
    { ".hidden", "thing: the name .hidden starts with '.'" },
    { "-v", "thing: the name -v starts with '-'" },
};

START_TEST(a_name_is_a_word)
{
    if (!names[_i].why) {
        ck_assert_ok(ps_name_check("thing", names[_i].name));
        return;
    }
    ck_assert_status(ps_name_check("thing", names[_i].name), PS_ERR_BAD_ARG);
    ck_assert_why(names[_i].why);
}
END_TEST

START_TEST(a_name_has_at_most_127_bytes)
{
    char name[PS_NAME_BYTES + 1] = { 0 };

    memset(name, 'x', PS_NAME_BYTES - 1);
    ck_assert_ok(ps_name_check("thing", name));
    name[PS_NAME_BYTES - 1] = 'x';
    ck_assert_status(ps_name_check("thing", name), PS_ERR_BAD_ARG);
    ck_assert_why("thing: the name has more than 127 bytes");
}
END_TEST

START_TEST(a_metric_may_have_blanks_and_slashes)
{
    ck_assert_ok(ps_metric_name_check("train/loss of epoch"));
    ck_assert_status(ps_metric_name_check(""), PS_ERR_BAD_ARG);
    ck_assert_status(ps_metric_name_check("a\tb"), PS_ERR_BAD_ARG);
    ck_assert_why("metric: byte 2 of the name is 0x09");
}
END_TEST

/* ---- every field in its range -------------------------------------------------- */

/* Each case spoils one field of a good job. */
static void spoil_job(int field)
{
    struct ps_optimiser_spec *o = &job.optimiser;
    struct ps_schedule_spec  *s = &o->schedule;

    switch (field) {
    case 0: job.workers = 0; break;
    case 1: job.workers = 4097; break;
    case 2: job.strategy = 0; break;
    case 3: job.aggregate = 3; break;
    case 4: job.on_loss = 4; break;
    case 5: job.nonfinite = UINT32_MAX; break;
    case 6: o->kind = PS_OPTIMISER_JOB; break;
    case 7: o->kind = 11; break;
    case 8: o->lr = 0; break;
    case 9: o->lr = NAN; break;
    case 10: o->lr = INFINITY; break;
    case 11: o->momentum = 1; break;
    case 12: o->beta1 = -0.1; break;
    case 13: o->beta2 = 1.5; break;
    case 14: o->rho = 1; break;
    case 15: o->epsilon = 0; break;
    case 16: o->weight_decay = -1; break;
    case 17: o->ftrl_beta = -1; break;
    case 18: o->ftrl_l1 = NAN; break;
    case 19: o->ftrl_l2 = INFINITY; break;
    case 20: s->kind = 0; break;
    case 21: s->factor = 0; break;
    case 22: s->factor = 1.1; break;
    case 23: s->floor = -0.1; break;
    case 24: s->every = 0; break;
    case 25: s->epochs = true; break;
    case 26: strcpy(job.name, "a b"); break;
    case 27: job.scale = 6; break;
    case 28: job.slack = 1000001; break;
    case 29:
        job.strategy = PS_BACKUP;
        job.workers = job.spares = 2;
        break;
    case 30: job.nfetch = 0; break;
    case 31: job.npush = 1000001; break;
    case 32: job.local = 4; break;
    case 33: job.average = 0; break;
    case 34:
        job.average = PS_AVERAGE_MODEL;
        job.local = PS_LOCAL_NONE;
        break;
    case 35: job.lambda = -1; break;
    case 36: job.scale = PS_SCALE_STALENESS; break;
    case 37:
        job.strategy = PS_BACKUP;
        job.workers = 2;
        job.scale = PS_SCALE_VERSIONS;
        break;
    case 38:
        job.strategy = PS_ASP;
        job.scale = PS_SCALE_DELAY;
        job.average = PS_AVERAGE_MODEL;
        break;
    case 39: job.ack = 3; break;
    case 40: job.snapshot_ms = 1000; break;
    case 41:
        job.strategy = PS_SSP;
        job.snapshot_ms = 86400001;
        break;
    case 42:
        job.strategy = PS_ASP;
        job.snapshot_every = job.max_rollback = 10;
        break;
    case 43:
        job.ack = PS_ACK_DURABLE;
        job.snapshot_every = job.max_rollback = 10;
        break;
    case 44:
        job.snapshot_every = 10;
        job.max_rollback = 9;
        break;
    case 45: job.max_rollback = 1; break;
    }
}

static const char *const job_sentences[] = {
    "job lenet: workers is 0, expected 1 to 4096",
    "job lenet: workers is 4097, expected 1 to 4096",
    "job lenet: strategy is number 0, expected one of bsp, asp, ssp, backup",
    "job lenet: aggregate is number 3, expected one of mean, sum",
    "job lenet: on_loss is number 4, expected one of shrink, wait, abort",
    "job lenet: nonfinite is number 4294967295, expected one of refuse, skip",
    "job lenet: optimiser.name is number 0, expected one of sgd, momentum, nesterov, "
    "adagrad, rmsprop, adam, adamw, ftrl, assign, add",
    "job lenet: optimiser.name is number 11",
    "job lenet: optimiser.lr is 0, expected a number above 0",
    "job lenet: optimiser.lr is nan, expected a number above 0",
    "job lenet: optimiser.lr is inf, expected a number above 0",
    "job lenet: optimiser.momentum is 1, expected 0 or more and below 1",
    "job lenet: optimiser.beta1 is -0.1",
    "job lenet: optimiser.beta2 is 1.5, expected 0 or more and below 1",
    "job lenet: optimiser.rho is 1, expected 0 or more and below 1",
    "job lenet: optimiser.epsilon is 0, expected a number above 0",
    "job lenet: optimiser.weight_decay is -1, expected 0 or a number above it",
    "job lenet: optimiser.ftrl_beta is -1, expected 0 or a number above it",
    "job lenet: optimiser.ftrl_l1 is nan",
    "job lenet: optimiser.ftrl_l2 is inf",
    "job lenet: optimiser.schedule.type is number 0, expected one of constant, step, "
    "exponential, cosine, warmup",
    "job lenet: optimiser.schedule.factor is 0, expected above 0 and at most 1",
    "job lenet: optimiser.schedule.factor is 1.1",
    "job lenet: optimiser.schedule.floor is -0.1",
    "job lenet: optimiser.schedule.every is 0, expected 1 or more",
    "job lenet: optimiser.schedule counts epochs and clocks_per_epoch is unknown",
    "job: byte 2 of the name is 0x20",
    "job lenet: scale is number 6, expected one of none, workers, staleness, versions, "
    "delay-compensated",
    "job lenet: slack is 1000001, expected 0 to 1000000",
    "job lenet: spares is 2 of 2 workers, expected fewer than workers",
    "job lenet: nfetch is 0, expected 1 to 1000000",
    "job lenet: npush is 1000001, expected 1 to 1000000",
    "job lenet: local is number 4, expected one of none, sgd, same",
    "job lenet: average is number 0, expected one of gradient, model",
    "job lenet: average is model and local none, expected local sgd or same",
    "job lenet: lambda is -1, expected 0 or a number above it",
    "job lenet: scale is staleness and the strategy bsp, expected none: only asp and "
    "ssp apply pushes one by one",
    "job lenet: scale is versions and the strategy backup, expected none",
    "job lenet: scale is delay-compensated and average model, expected average "
    "gradient",
    "job lenet: ack is number 3, expected one of applied, durable",
    "job lenet: snapshot_ms is 1000 and the strategy bsp, expected 0",
    "job lenet: snapshot_ms is 86400001, expected 0 to 86400000",
    "job lenet: max_rollback is 10 and the strategy asp, expected 0",
    "job lenet: max_rollback is 10 and ack durable, expected 0",
    "job lenet: max_rollback is 9 and snapshot_every 10, expected a snapshot at least "
    "as "
    "often",
    "job lenet: max_rollback is 1 and snapshot_every 0, expected a snapshot",
};

START_TEST(a_job_out_of_range_gets_a_sentence)
{
    ck_assert_ok(ps_job_spec_check(&job));
    spoil_job(_i);
    ck_assert_status(ps_job_spec_check(&job), PS_ERR_CONFIG);
    ck_assert_why(job_sentences[_i]);
}
END_TEST

START_TEST(a_schedule_in_epochs_needs_to_know_their_length)
{
    job.optimiser.schedule.epochs = true;
    job.clocks_per_epoch = 937;
    ck_assert_ok(ps_job_spec_check(&job));
}
END_TEST

static void spoil_matrix(int field)
{
    switch (field) {
    case 0: matrix.name[0] = '\0'; break;
    case 1: matrix.dtype = 0; break;
    case 2: matrix.rows = 0; break;
    case 3: matrix.cols = 0; break;
    case 4: matrix.sparse = true; break;
    case 5: matrix.rows = UINT64_C(1) << 39; break;
    case 6: matrix.rows = matrix.cols = UINT64_C(1) << 32; break;
    case 7:
        matrix.sparse = true;
        matrix.rows = 0;
        matrix.cols = 262145;
        break;
    case 8: matrix.init = 4; break;
    case 9: matrix.init_a = NAN; break;
    case 10:
        matrix.init = PS_INIT_UNIFORM;
        matrix.init_a = 1;
        break;
    case 11:
        matrix.init = PS_INIT_NORMAL;
        matrix.init_b = -1;
        break;
    case 12: matrix.optimiser = 11; break;
    case 13: matrix.weight_decay = -1; break;
    case 14: matrix.weight_decay = INFINITY; break;
    case 15: matrix.evict = 3; break;
    case 16: matrix.max_rows = 5; break;
    case 17: matrix.evict = PS_EVICT_LRU; break;
    }
}

static const char *const matrix_sentences[] = {
    "matrix: the name is empty",
    "matrix fc1: dtype is number 0, expected one of f32, f64, i64",
    "matrix fc1: 0 x 4 elements, expected at least one row and one column",
    "matrix fc1: 10 x 0 elements, expected at least one row and one column",
    "matrix fc1: a sparse matrix of 10 rows, expected 0",
    "matrix fc1: 549755813888 x 4 elements, expected at most 2^40",
    "matrix fc1: 4294967296 x 4294967296 elements, expected at most 2^40",
    "matrix fc1: rows of 262145 f32, expected at most 1048576 bytes",
    "matrix fc1: init is number 4, expected one of zero, constant, uniform, normal",
    "matrix fc1: init zero of nan and 0, expected finite numbers",
    "matrix fc1: init uniform from 1 to 0, expected the lower number first",
    "matrix fc1: init normal with deviation -1, expected 0 or more",
    "matrix fc1: optimiser is number 11, expected 0 to 10",
    "matrix fc1: weight_decay is -1, expected 0 or a number above it",
    "matrix fc1: weight_decay is inf",
    "matrix fc1: evict is number 3, expected one of none, lru, frequency",
    "matrix fc1: a row limit of 5 for a dense matrix, expected one of a sparse one",
    "matrix fc1: evict lru without a row limit, expected max_rows from 1",
};

START_TEST(a_matrix_out_of_range_gets_a_sentence)
{
    ck_assert_ok(ps_matrix_spec_check(&matrix));
    spoil_matrix(_i);
    ck_assert_status(ps_matrix_spec_check(&matrix), PS_ERR_BAD_ARG);
    ck_assert_why(matrix_sentences[_i]);
}
END_TEST

START_TEST(a_matrix_at_its_limits_is_fine)
{
    matrix.rows = UINT64_C(1) << 38;
    ck_assert_ok(ps_matrix_spec_check(&matrix));
    matrix.sparse = true;
    matrix.rows = 0;
    matrix.cols = 262144;
    ck_assert_ok(ps_matrix_spec_check(&matrix));
}
END_TEST

/* ---- do both say the same? ----------------------------------------------------- */

static void change_job(int field)
{
    struct ps_optimiser_spec *o = &job.optimiser;

    switch (field) {
    case 0: strcpy(job.name, "other"); break;
    case 1: job.workers = 4; break;
    case 2: job.strategy = PS_ASP; break;
    case 3: job.aggregate = PS_SUM; break;
    case 4: job.on_loss = PS_LOSS_ABORT; break;
    case 5: job.nonfinite = PS_NONFINITE_SKIP; break;
    case 6: job.seed = 1; break;
    case 7: job.clocks_per_epoch = 1; break;
    case 8: o->kind = PS_ADAM; break;
    case 9: o->lr = 0.1; break;
    case 10: o->lr = nextafter(0.01, 1); break;
    case 11: o->momentum = 0.5; break;
    case 12: o->ftrl_l2 = 1e-3; break;
    case 13: o->schedule.kind = PS_LR_STEP; break;
    case 14: o->schedule.factor = 0.95; break;
    case 15: o->schedule.every = 10; break;
    case 16: o->schedule.warmup = 5; break;
    case 17: o->schedule.epochs = true; break;
    case 18: job.max_rollback = 1; break;
    }
}

static const char *const job_differences[] = {
    "name is other here and lenet in the job",
    "job lenet: workers is 4 here and 1 in the job",
    "job lenet: strategy is asp here and bsp in the job",
    "job lenet: aggregate is sum here and mean in the job",
    "job lenet: on_loss is abort here and shrink in the job",
    "job lenet: nonfinite is skip here and refuse in the job",
    "job lenet: seed is 1 here and 0 in the job",
    "job lenet: clocks_per_epoch is 1 here and 0 in the job",
    "job lenet: optimiser.name is adam here and sgd in the job",
    "job lenet: optimiser.lr is 0.1 here and 0.01 in the job",
    "job lenet: optimiser.lr is 0.010000000000000002 here and 0.01",
    "job lenet: optimiser.momentum is 0.5 here and 0.9 in the job",
    "job lenet: optimiser.ftrl_l2 is 0.001 here and 0 in the job",
    "job lenet: optimiser.schedule.type is step here and constant in the job",
    "job lenet: optimiser.schedule.factor is 0.95 here and 1 in the job",
    "job lenet: optimiser.schedule.every is 10 here and 1 in the job",
    "job lenet: optimiser.schedule.warmup is 5 here and 0 in the job",
    "job lenet: optimiser.schedule counts epochs here and clocks in the job",
    "job lenet: max_rollback is 1 here and 0 in the job",
};

START_TEST(jobs_that_differ_are_told_apart_by_the_field)
{
    struct ps_job_spec jobs = job;

    ck_assert_ok(ps_job_spec_same(&job, &jobs));
    change_job(_i);
    ck_assert_status(ps_job_spec_same(&job, &jobs), PS_ERR_MISMATCH);
    ck_assert_why(job_differences[_i]);
}
END_TEST

static void change_matrix(int field)
{
    switch (field) {
    case 0: matrix.dtype = PS_F64; break;
    case 1: matrix.rows = 12; break;
    case 2: matrix.cols = 5; break;
    case 3: matrix.sparse = true; break;
    case 4: strcpy(matrix.name, "fc2"); break;
    case 5: matrix.init = PS_INIT_NORMAL; break;
    case 6: matrix.init_b = 0.5; break;
    case 7: matrix.optimiser = PS_ADD; break;
    case 8: matrix.weight_decay = 0.25; break;
    }
}

static const struct {
    ps_status   status;
    const char *why;
} matrix_differences[] = {
    { PS_ERR_SHAPE, "matrix fc1: dtype is f64 here and f32 in the job" },
    { PS_ERR_SHAPE, "matrix fc1: 12 x 4 here and 10 x 4 in the job" },
    { PS_ERR_SHAPE, "matrix fc1: 10 x 5 here and 10 x 4 in the job" },
    { PS_ERR_SHAPE, "matrix fc1: sparse here and dense in the job" },
    { PS_ERR_MISMATCH, "name is fc2 here and fc1 in the job" },
    { PS_ERR_MISMATCH,
      "matrix fc1: init is normal(0, 0) here and zero(0, 0) in the job" },
    { PS_ERR_MISMATCH, "init is zero(0, 0.5) here and zero(0, 0) in the job" },
    { PS_ERR_MISMATCH, "matrix fc1: optimiser is add here and the job's in the job" },
    { PS_ERR_MISMATCH, "weight_decay is 0.25 here and the job's in the job" },
};

START_TEST(matrices_that_differ_are_told_apart_by_the_field)
{
    struct ps_matrix_spec jobs = matrix;

    ck_assert_ok(ps_matrix_spec_same(&matrix, &jobs));
    change_matrix(_i);
    ck_assert_status(ps_matrix_spec_same(&matrix, &jobs),
                     matrix_differences[_i].status);
    ck_assert_why(matrix_differences[_i].why);
}
END_TEST

START_TEST(the_number_of_a_matrix_does_not_count)
{
    struct ps_matrix_spec jobs = matrix;

    jobs.number = 17;
    ck_assert_ok(ps_matrix_spec_same(&matrix, &jobs));
}
END_TEST

static Suite *spec_suite(void)
{
    Suite *s = suite_create("spec");
    TCase *words = tcase_create("words");
    TCase *range = tcase_create("range");
    TCase *same = tcase_create("same");

    tcase_add_checked_fixture(words, good_specs, NULL);
    tcase_add_test(words, the_default_job_needs_only_a_name);
    tcase_add_loop_test(words, every_optimiser_has_a_name_and_good_defaults, PS_SGD,
                        PS_ADD + 1);
    tcase_add_test(words, words_and_sizes);
    tcase_add_loop_test(words, a_name_is_a_word, 0, (int)COUNT(names));
    tcase_add_test(words, a_name_has_at_most_127_bytes);
    tcase_add_test(words, a_metric_may_have_blanks_and_slashes);
    suite_add_tcase(s, words);

    tcase_add_checked_fixture(range, good_specs, NULL);
    tcase_add_loop_test(range, a_job_out_of_range_gets_a_sentence, 0,
                        (int)COUNT(job_sentences));
    tcase_add_test(range, a_schedule_in_epochs_needs_to_know_their_length);
    tcase_add_loop_test(range, a_matrix_out_of_range_gets_a_sentence, 0,
                        (int)COUNT(matrix_sentences));
    tcase_add_test(range, a_matrix_at_its_limits_is_fine);
    suite_add_tcase(s, range);

    tcase_add_checked_fixture(same, good_specs, NULL);
    tcase_add_loop_test(same, jobs_that_differ_are_told_apart_by_the_field, 0,
                        (int)COUNT(job_differences));
    tcase_add_loop_test(same, matrices_that_differ_are_told_apart_by_the_field, 0,
                        (int)COUNT(matrix_differences));
    tcase_add_test(same, the_number_of_a_matrix_does_not_count);
    suite_add_tcase(s, same);
    return s;
}

TEST_MAIN(spec_suite)
