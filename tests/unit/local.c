/* What a worker makes of its gradients between a pull and a push. */
#include "worker/local.h"
#include "tests/unit/suite.h"

#include "common/base/random.h"
#include "server/compute/backend.h"
#include "server/optim/optim.h"
#include "worker/client_private.h"

#include <math.h>

#define N 37u

static struct ps_job_spec job;
static struct ps_matrix   matrix;
static struct psw_span    span;
static struct psw_local  *local;
static float              value[N], gradient[N], start[N];
static int64_t            counter[N], counts[N];

static void draw(uint64_t stream, float *to)
{
    for (uint32_t i = 0; i < N; i++)
        to[i] = (float)ps_random_normal(3, stream, i);
}

/* An f32 matrix whose job takes these windows; the test may change both before
 * begin(). */
static void windows(uint64_t nfetch, uint64_t npush, uint32_t how, uint32_t average)
{
    job = ps_job_spec_default();
    job.nfetch = nfetch;
    job.npush = npush;
    job.local = how;
    job.average = average;
    job.optimiser.lr = 0.25;
    matrix = (struct ps_matrix){ .spec = { .name = "w",
                                           .dtype = PS_F32,
                                           .rows = 1,
                                           .cols = N,
                                           .weight_decay = NAN } };
    span = (struct psw_span){
        .matrix = &matrix, .count = N, .value = value, .gradient = gradient
    };
    draw(0, start);
    memcpy(value, start, sizeof(value));
}

/* The first pull has been made. */
static void begin(void)
{
    ck_assert_ok(psw_local_new(&local, &job, &span, 1));
    psw_local_go_on(local, true);
}

static void end(void)
{
    if (local)
        psw_local_free(&local);
}

static const float *pushed(void)
{
    return psw_local_spans(local)[0].gradient;
}

/* One batch; the gradients are those of this stream. */
static void batch(uint64_t stream, uint64_t clock)
{
    draw(stream, gradient);
    psw_local_take(local, clock);
}

START_TEST(a_push_holds_the_sum_since_the_last_one)
{
    float sum[N], g[N];

    windows(4, 4, _i ? PS_LOCAL_SGD : PS_LOCAL_NONE, PS_AVERAGE_GRADIENT);
    begin();
    for (uint64_t window = 1; window <= 2; window++) {
        for (uint64_t b = 1; b <= 3; b++) {
            batch(10 * window + b, window);
            draw(10 * window + b, g);
            for (uint32_t i = 0; i < N; i++)
                sum[i] = b == 1 ? g[i] : sum[i] + g[i];
        }
        psw_local_settle(local);
        ck_assert_mem_eq(pushed(), sum, sizeof(sum));
        psw_local_go_on(local, true);
    }
}
END_TEST

START_TEST(a_pull_within_a_push_window_leaves_the_sum_alone)
{
    float g1[N], g2[N];

    windows(1, 2, PS_LOCAL_SGD, PS_AVERAGE_GRADIENT);
    begin();
    draw(1, g1);
    draw(2, g2);
    batch(1, 1);
    psw_local_settle(local);
    psw_local_go_on(local, false);
    batch(2, 1);
    psw_local_settle(local);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_float_eq(pushed()[i], g1[i] + g2[i]);
}
END_TEST

START_TEST(windows_of_one_batch_push_the_gradients_themselves)
{
    windows(1, 1, PS_LOCAL_SGD, PS_AVERAGE_GRADIENT);
    begin();
    batch(1, 1);
    ck_assert_ptr_eq(pushed(), gradient);
    ck_assert_mem_eq(value, start, sizeof(value)); /* the pull brings the step */
}
END_TEST

START_TEST(without_local_steps_values_stay)
{
    windows(4, 4, PS_LOCAL_NONE, PS_AVERAGE_GRADIENT);
    begin();
    batch(1, 1);
    ck_assert_mem_eq(value, start, sizeof(value));
}
END_TEST

START_TEST(sgd_takes_the_rate_and_the_decay_of_the_job)
{
    windows(4, 4, PS_LOCAL_SGD, PS_AVERAGE_GRADIENT);
    job.optimiser = ps_optimiser_spec_default(PS_ADAM); /* whatever the servers do */
    job.optimiser.lr = 0.5;
    job.optimiser.weight_decay = 0.125;
    job.optimiser.schedule =
        (struct ps_schedule_spec){ .kind = PS_LR_STEP, .factor = 0.5, .every = 2 };
    begin();
    batch(1, 3); /* the third clock: once halved */
    for (uint32_t i = 0; i < N; i++)
        ck_assert_float_eq(value[i],
                           start[i] - 0.25f * (gradient[i] + 0.125f * start[i]));
}
END_TEST

static const uint32_t optimisers[] = { PS_SGD,     PS_MOMENTUM, PS_NESTEROV, PS_ADAGRAD,
                                       PS_RMSPROP, PS_ADAM,     PS_ADAMW };

/* Pulls in between change the values, not the state. */
START_TEST(same_is_the_step_of_the_server_with_state_of_its_own)
{
    float w[N], first[N] = { 0 }, second[N] = { 0 };
    void *state[] = { first, second };

    windows(3, 3, PS_LOCAL_SAME, PS_AVERAGE_GRADIENT);
    job.optimiser = ps_optimiser_spec_default(optimisers[_i]);
    begin();
    memcpy(w, start, sizeof(w));
    for (uint64_t t = 1; t <= 9; t++) {
        uint64_t         clock = (t + 2) / 3;
        struct psd_hyper hyper = psd_optim_hyper(&job, &matrix.spec, clock, t);

        batch(t, clock);
        psd_backend_cpu.step(optimisers[_i], PS_F32, &hyper, N, w, state, gradient);
        ck_assert_mem_eq(value, w, sizeof(w));
        if (t % 3 == 0) {
            psw_local_settle(local);
            draw(100 + t, value);
            memcpy(w, value, sizeof(w));
            psw_local_go_on(local, true);
        }
    }
}
END_TEST

START_TEST(a_models_difference_is_what_its_steps_led_to)
{
    float led[N];

    windows(2, 2, PS_LOCAL_SGD, PS_AVERAGE_MODEL);
    begin();
    for (uint64_t window = 1; window <= 3; window++) {
        memcpy(start, value, sizeof(start));
        batch(2 * window, window);
        batch(2 * window + 1, window);
        psw_local_settle(local);
        for (uint32_t i = 0; i < N; i++)
            led[i] = value[i] - start[i];
        ck_assert_mem_eq(pushed(), led, sizeof(led));
        if (window == 1)
            draw(99, value); /* pulled; after the second window nothing is */
        psw_local_go_on(local, true);
    }
}
END_TEST

START_TEST(a_pull_within_a_push_window_does_not_lose_the_way_before_it)
{
    float before[N];

    windows(1, 2, PS_LOCAL_SGD, PS_AVERAGE_MODEL);
    begin();
    batch(1, 1);
    for (uint32_t i = 0; i < N; i++)
        before[i] = value[i] - start[i];
    psw_local_settle(local);
    draw(99, value);
    memcpy(start, value, sizeof(start));
    psw_local_go_on(local, false);
    batch(2, 1);
    psw_local_settle(local);
    for (uint32_t i = 0; i < N; i++)
        ck_assert_float_eq(pushed()[i], before[i] + (value[i] - start[i]));
}
END_TEST

static const struct {
    uint32_t local, average;
} ways[] = { { PS_LOCAL_SGD, PS_AVERAGE_GRADIENT },
             { PS_LOCAL_SAME, PS_AVERAGE_GRADIENT },
             { PS_LOCAL_SGD, PS_AVERAGE_MODEL },
             { PS_LOCAL_SAME, PS_AVERAGE_MODEL } };

START_TEST(counters_are_counted_exactly_here_and_there)
{
    windows(8, 4, ways[_i].local, ways[_i].average);
    matrix.spec.dtype = PS_I64;
    matrix.spec.optimiser = PS_ADD;
    span.value = counter;
    span.gradient = counts;
    memset(counter, 0, sizeof(counter));
    begin();
    for (uint64_t b = 1; b <= 8; b++) {
        for (uint32_t i = 0; i < N; i++)
            counts[i] = (INT64_C(1) << 60) + (int64_t)i;
        psw_local_take(local, 1 + b / 5);
        for (uint32_t i = 0; i < N; i++)
            ck_assert_int_eq(counter[i],
                             (int64_t)(b * ((UINT64_C(1) << 60) + (uint64_t)i)));
        if (b % 4 != 0)
            continue;
        psw_local_settle(local);
        for (uint32_t i = 0; i < N; i++)
            ck_assert_int_eq(((const int64_t *)psw_local_spans(local)[0].gradient)[i],
                             (int64_t)(4 * ((UINT64_C(1) << 60) + (uint64_t)i)));
        psw_local_go_on(local, true);
    }
}
END_TEST

START_TEST(of_several_assignments_the_last_is_pushed)
{
    windows(4, 4, ways[_i].local, ways[_i].average);
    matrix.spec.optimiser = PS_ASSIGN;
    begin();
    batch(1, 1);
    batch(2, 1);
    psw_local_settle(local);
    ck_assert_mem_eq(value, gradient, sizeof(value));
    ck_assert_mem_eq(pushed(), gradient, sizeof(gradient));
}
END_TEST

START_TEST(a_gradient_that_is_not_finite_spoils_the_push_and_nothing_else)
{
    windows(4, 4, ways[_i].local, ways[_i].average);
    job.optimiser = ps_optimiser_spec_default(PS_MOMENTUM);
    begin();
    draw(1, gradient);
    gradient[5] = NAN;
    psw_local_take(local, 1);
    ck_assert_mem_eq(value, start, sizeof(value));
    psw_local_settle(local);
    ck_assert(isnan(pushed()[5]));
    psw_local_go_on(local, true);
    batch(2, 2);
    psw_local_settle(local);
    ck_assert(psd_backend_cpu.finite(PS_F32, N, value));
    ck_assert(psd_backend_cpu.finite(PS_F32, N, pushed()));
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
    windows(4, 4, PS_LOCAL_SAME, PS_AVERAGE_GRADIENT);
    matrix.spec.optimiser = PS_FTRL;
    ck_assert_status(psw_local_new(&local, &job, &span, 1), PS_ERR_BAD_ARG);
    ck_assert_why("matrix w: local is same and the optimiser ftrl");
    job.local = PS_LOCAL_SGD;
    span.gradient = NULL;
    ck_assert_status(psw_local_new(&local, &job, &span, 1), PS_ERR_BAD_ARG);
    ck_assert_why("matrix w was added to the model without gradients");
    ck_assert_ptr_null(local);
}
END_TEST

static Suite *local_suite(void)
{
    Suite *s = suite_create("local");
    TCase *t = tcase_create("windows");

    tcase_add_checked_fixture(t, NULL, end);
    tcase_add_loop_test(t, a_push_holds_the_sum_since_the_last_one, 0, 2);
    tcase_add_test(t, a_pull_within_a_push_window_leaves_the_sum_alone);
    tcase_add_test(t, windows_of_one_batch_push_the_gradients_themselves);
    tcase_add_test(t, without_local_steps_values_stay);
    tcase_add_test(t, sgd_takes_the_rate_and_the_decay_of_the_job);
    tcase_add_loop_test(t, same_is_the_step_of_the_server_with_state_of_its_own, 0,
                        (int)(sizeof(optimisers) / sizeof(optimisers[0])));
    tcase_add_test(t, a_models_difference_is_what_its_steps_led_to);
    tcase_add_test(t, a_pull_within_a_push_window_does_not_lose_the_way_before_it);
    tcase_add_loop_test(t, counters_are_counted_exactly_here_and_there, 0, 4);
    tcase_add_loop_test(t, of_several_assignments_the_last_is_pushed, 0, 4);
    tcase_add_loop_test(
        t, a_gradient_that_is_not_finite_spoils_the_push_and_nothing_else, 0, 4);
    tcase_add_test(t, what_cannot_be_is_refused);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(local_suite)
