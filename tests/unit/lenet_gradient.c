/*
 * LeNet's gradients against the loss they belong to.  Built twice: in double, where the
 * two must agree closely, and in float, which is what trains.
 */
#include "examples/lenet/task.h"
#include "tests/unit/suite.h"

#include <math.h>
#include <stdbool.h>

#ifdef LENET_DOUBLE
#define STEP 1e-6
#define NUMERIC_TOLERANCE 1e-5
#define SPLIT_TOLERANCE 1e-12
#else
/* A loss near 2 is right to 1e-7 and a step moves it by 1e-3 of a gradient; wherever a
 * relu or a maximum turns within the step it is off by more. */
#define STEP 5e-4
#define NUMERIC_TOLERANCE 3e-2
#define SPLIT_TOLERANCE 1e-5
#endif

enum { BATCH_MAX = 64, SEED = 11 };

/* Every shape has a last hidden layer wide enough for dropout to mean something. */
static const struct lenet_shape shapes[] = {
    /* small, filters that fill no vector, other padding, two hidden layers */
    { .side = 21,
      .filters = { 3, 5 },
      .pad = { 1, 0 },
      .n_hidden = 2,
      .hidden = { 9, 12 },
      .classes = 4,
      .dropout = 0.5 },
    /* more than one vector of filters, three hidden layers */
    { .side = 12,
      .filters = { 18, 33 },
      .pad = { 2, 2 },
      .n_hidden = 3,
      .hidden = { 7, 11, 10 },
      .classes = 3,
      .dropout = 0.3 },
    /* the one that trains */
    { .side = 28,
      .filters = { 16, 16 },
      .pad = { 2, 2 },
      .n_hidden = 1,
      .hidden = { 128 },
      .classes = 10,
      .dropout = 0.5 },
    /* LeNet-5 */
    { .side = 28,
      .filters = { 6, 16 },
      .pad = { 2, 0 },
      .n_hidden = 2,
      .hidden = { 120, 84 },
      .classes = 10,
      .dropout = 0 },
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static struct lenet *net;
static real         *keep;

/* The last argument of loops over shapes and the sets of kernels of this CPU. */
static int n_cases(void)
{
    int n = 0;

    while (lenet_kernels_at((unsigned)n))
        n++;
    return n * N_SHAPES;
}

static double uniform(uint64_t stream, uint64_t index)
{
    return ps_random_at(SEED, stream, index);
}

/* Biases as well, so that no pre-activation sits on the relu's edge. */
static void draw_values(void)
{
    for (uint32_t k = 0; k < lenet_n_tensors(net); k++) {
        const struct lenet_tensor *t = lenet_tensor(net, k);
        double                     scale = t->deviation > 0 ? t->deviation : 0.1;

        for (uint64_t i = 0; i < t->rows * t->cols; i++)
            t->value[i] = (real)(scale * ps_random_normal_at(SEED, 100 + k, i));
    }
}

static void show(const struct lenet_shape *s, uint32_t i, uint32_t sample)
{
    uint8_t pixel[28 * 28];

    for (uint32_t k = 0; k < s->side * s->side; k++)
        pixel[k] = (uint8_t)(256 * uniform(1000 + sample, k));
    lenet_set_image(net, i, pixel, 128, 74);
    lenet_set_label(net, i, (uint32_t)(s->classes * uniform(1, sample)));
}

static void open_net_with(const struct lenet_shape *s, unsigned kernels)
{
    char why[256];

    net = lenet_new(s, BATCH_MAX, lenet_kernels_at(kernels), why, sizeof(why));
    ck_assert_msg(net != NULL, "%s", why);
    keep = calloc((size_t)BATCH_MAX * lenet_last_hidden(net), sizeof(*keep));
    ck_assert_ptr_nonnull(keep);
    draw_values();
}

static void open_net(const struct lenet_shape *s)
{
    open_net_with(s, 0);
}

static void close_net(void)
{
    lenet_free(&net);
    ck_assert_ptr_null(net);
    free(keep);
    keep = NULL;
}

/* Samples first .. first + n - 1, and the units that dropout keeps of them. */
static const real *take_batch(const struct lenet_shape *s, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        show(s, i, first + i);
    if (s->dropout == 0)
        return NULL;
    lenet_dropout(SEED, first, n, lenet_last_hidden(net), s->dropout, keep);
    return keep;
}

enum { SOME = 60 };

/* All elements of a small tensor, some of a large one. */
static uint64_t pick(uint64_t all, uint64_t k)
{
    return all <= SOME ? k : (uint64_t)((double)all * uniform(2, k));
}

/* Of some elements: |numeric - exact| / |numeric|, in the Euclidean norm. */
static double error_of(const struct lenet_tensor *t, uint32_t n, const real *kept)
{
    const uint64_t all = t->rows * t->cols, some = all < SOME ? all : SOME;
    double         numeric[SOME], exact[SOME], error = 0, norm = 0;

    for (uint64_t k = 0; k < some; k++)
        exact[k] = t->grad[pick(all, k)];
    for (uint64_t k = 0; k < some; k++) {
        real  *w = &t->value[pick(all, k)];
        real   was = *w, above = was + (real)STEP, below = was - (real)STEP;
        double up, down;

        *w = above;
        up = lenet_gradient(net, n, kept);
        *w = below;
        down = lenet_gradient(net, n, kept);
        *w = was;
        numeric[k] = (up - down) / ((double)above - (double)below);
    }
    for (uint64_t k = 0; k < some; k++) {
        error += (numeric[k] - exact[k]) * (numeric[k] - exact[k]);
        norm += numeric[k] * numeric[k];
    }
    ck_assert_msg(norm > 0, "%s: its gradient is zero", t->name);
    return sqrt(error / norm);
}

START_TEST(every_tensors_gradient_is_that_of_the_loss)
{
    const struct lenet_shape *s = &shapes[_i % N_SHAPES];
    const uint32_t            n = 6;
    const real               *kept;

    open_net_with(s, (unsigned)_i / N_SHAPES);
    kept = take_batch(s, 0, n);
    for (uint32_t k = 0; k < lenet_n_tensors(net); k++) {
        double error;

        lenet_gradient(net, n, kept);
        error = error_of(lenet_tensor(net, k), n, kept);
        ck_assert_msg(error <= NUMERIC_TOLERANCE, "%s: off by %g, expected at most %g",
                      lenet_tensor(net, k)->name, error, NUMERIC_TOLERANCE);
    }
    close_net();
}
END_TEST

/* All gradients in a row, in `sum` times `share`. */
static void add_gradients(double *sum, double share)
{
    for (uint32_t k = 0; k < lenet_n_tensors(net); k++) {
        const struct lenet_tensor *t = lenet_tensor(net, k);

        for (uint64_t i = 0; i < t->rows * t->cols; i++)
            *sum++ += share * t->grad[i];
    }
}

/* The gradient of samples first .. first + n - 1 as its share of 64, added to `sum`. */
static double add_part(const struct lenet_shape *s, uint32_t first, uint32_t n,
                       double *sum)
{
    double loss = lenet_gradient(net, n, take_batch(s, first, n));

    add_gradients(sum, n / 64.0);
    return n / 64.0 * loss;
}

START_TEST(parts_of_a_batch_give_the_gradient_of_the_whole)
{
    const struct lenet_shape *s = &shapes[_i % N_SHAPES];
    double                   *whole, *parts, loss, sum;
    uint64_t                  n = 0, at = 0;

    open_net_with(s, (unsigned)_i / N_SHAPES);
    for (uint32_t k = 0; k < lenet_n_tensors(net); k++)
        n += lenet_tensor(net, k)->rows * lenet_tensor(net, k)->cols;
    whole = calloc(n, sizeof(*whole));
    parts = calloc(n, sizeof(*parts));
    ck_assert(whole && parts);

    loss = lenet_gradient(net, 64, take_batch(s, 0, 64));
    add_gradients(whole, 1);
    sum = add_part(s, 0, 40, parts) + add_part(s, 40, 23, parts) +
          add_part(s, 63, 1, parts);
    ck_assert_double_eq_tol(loss, sum, SPLIT_TOLERANCE * loss);
    for (uint32_t k = 0; k < lenet_n_tensors(net); k++) {
        const struct lenet_tensor *t = lenet_tensor(net, k);
        double                     off = 0, norm = 0;

        for (uint64_t i = 0; i < t->rows * t->cols; i++, at++) {
            off += (whole[at] - parts[at]) * (whole[at] - parts[at]);
            norm += whole[at] * whole[at];
        }
        ck_assert_msg(sqrt(off) <= SPLIT_TOLERANCE * sqrt(norm), "%s: off by %g of %g",
                      t->name, sqrt(off), sqrt(norm));
    }
    free(whole);
    free(parts);
    close_net();
}
END_TEST

START_TEST(the_same_batch_gives_the_same_bits)
{
    const struct lenet_shape  *s = &shapes[_i % N_SHAPES];
    const struct lenet_tensor *t;
    real                      *first;
    double                     loss;

    open_net_with(s, (unsigned)_i / N_SHAPES);
    t = lenet_tensor(net, 2);
    first = calloc(t->rows * t->cols, sizeof(*first));
    ck_assert_ptr_nonnull(first);
    loss = lenet_gradient(net, 20, take_batch(s, 0, 20));
    memcpy(first, t->grad, t->rows * t->cols * sizeof(*first));
    lenet_gradient(net, 64, take_batch(s, 300, 64)); /* others in between */
    lenet_correct(net, 64);
    ck_assert(lenet_gradient(net, 20, take_batch(s, 0, 20)) == loss);
    ck_assert_mem_eq(first, t->grad, t->rows * t->cols * sizeof(*first));
    free(first);
    close_net();
}
END_TEST

START_TEST(a_net_learns_one_batch_by_heart)
{
    const struct lenet_shape *s = &shapes[0];
    double                    first, last = 0;

    open_net(s);
    first = lenet_gradient(net, 16, take_batch(s, 0, 16));
    for (int step = 0; step < 300; step++) {
        last = lenet_gradient(net, 16, NULL);
        for (uint32_t k = 0; k < lenet_n_tensors(net); k++) {
            const struct lenet_tensor *t = lenet_tensor(net, k);

            for (uint64_t i = 0; i < t->rows * t->cols; i++)
                t->value[i] -= (real)0.1 * t->grad[i];
        }
    }
    ck_assert_double_lt(last, 0.1 * first);
    ck_assert_uint_eq(lenet_correct(net, 16), 16);
    close_net();
}
END_TEST

START_TEST(dropout_drops_its_share_and_keeps_the_mean)
{
    enum { N = 400, UNITS = 101 };
    static real mask[N * UNITS];
    double      dropped = 0, sum = 0;

    lenet_dropout(SEED, 1000, N, UNITS, 0.3, mask);
    for (int i = 0; i < N * UNITS; i++) {
        dropped += mask[i] == 0;
        sum += mask[i];
    }
    /* binomial: five deviations are 5 sqrt(0.3 * 0.7 / 40400) = 0.0114 */
    ck_assert_double_eq_tol(dropped / (N * UNITS), 0.3, 0.0114);
    ck_assert_double_eq_tol(sum / (N * UNITS), 1, 0.0114 / 0.7);
}
END_TEST

START_TEST(dropout_depends_on_the_position_of_the_sample_alone)
{
    real whole[8 * 13], part[3 * 13];

    lenet_dropout(SEED, 40, 8, 13, 0.5, whole);
    lenet_dropout(SEED, 45, 3, 13, 0.5, part);
    ck_assert_mem_eq(whole + 5 * 13, part, sizeof(part));
    lenet_dropout(SEED + 1, 45, 3, 13, 0.5, part);
    ck_assert_mem_ne(whole + 5 * 13, part, sizeof(part));
}
END_TEST

/* The parameters as algorithms are described by: 32/64/512 has 1 663 370. */
static const struct {
    uint32_t filters[2], pad, n_hidden, hidden[2];
    uint64_t parameters;
} known[] = {
    { { 16, 16 }, 2, 1, { 128 }, 108602 },
    { { 32, 64 }, 2, 1, { 512 }, 1663370 },
    { { 6, 16 }, 0, 2, { 120, 84 }, 61706 },
};

START_TEST(known_nets_have_their_known_size)
{
    struct lenet_shape s = { .side = 28, .classes = 10, .dropout = 0.5 };
    uint64_t           n = 0;

    memcpy(s.filters, known[_i].filters, sizeof(s.filters));
    memcpy(s.hidden, known[_i].hidden, sizeof(known[_i].hidden));
    s.n_hidden = known[_i].n_hidden;
    s.pad[0] = 2;
    s.pad[1] = known[_i].pad;
    open_net(&s);
    for (uint32_t k = 0; k < lenet_n_tensors(net); k++)
        n += lenet_tensor(net, k)->rows * lenet_tensor(net, k)->cols;
    ck_assert_uint_eq(n, known[_i].parameters);
    ck_assert_str_eq(lenet_tensor(net, 0)->name, "conv1.weight");
    ck_assert_str_eq(lenet_tensor(net, 3)->name, "conv2.bias");
    ck_assert_str_eq(lenet_tensor(net, 4)->name, "fc3.weight");
    ck_assert_str_eq(lenet_tensor(net, 7)->name, "fc4.bias");
    close_net();
}
END_TEST

START_TEST(shapes_that_make_no_net_are_refused)
{
    struct lenet_shape s = shapes[0];
    char               why[256];

    s.side = 7; /* pooled to 2 x 2: too small for another 5 x 5 */
    ck_assert_ptr_null(lenet_new(&s, 1, NULL, why, sizeof(why)));
    ck_assert_str_eq(why, "images of 7 x 7 are too small for two convolutions");
    s = shapes[0];
    s.filters[1] = 0;
    ck_assert_ptr_null(lenet_new(&s, 1, NULL, why, sizeof(why)));
    ck_assert_str_eq(why, "filters: 0, expected 1 to 4096");
    s = shapes[0];
    s.pad[0] = 5;
    ck_assert_ptr_null(lenet_new(&s, 1, NULL, why, sizeof(why)));
    ck_assert_str_eq(why, "padding: 5, expected 0 to 4");
    s = shapes[0];
    s.dropout = 1;
    ck_assert_ptr_null(lenet_new(&s, 1, NULL, why, sizeof(why)));
    ck_assert_str_eq(why, "dropout: 1, expected at least 0 and below 1");
}
END_TEST

static Suite *lenet_suite(void)
{
    Suite *s = suite_create("lenet");
    TCase *gradient = tcase_create("gradient");
    TCase *shape = tcase_create("shape");

    openblas_set_num_threads(1);
    tcase_set_timeout(gradient, 120); /* under sanitizers */
    tcase_add_loop_test(gradient, every_tensors_gradient_is_that_of_the_loss, 0,
                        n_cases());
    tcase_add_loop_test(gradient, parts_of_a_batch_give_the_gradient_of_the_whole, 0,
                        n_cases());
    tcase_add_loop_test(gradient, the_same_batch_gives_the_same_bits, 0, n_cases());
    tcase_add_test(gradient, a_net_learns_one_batch_by_heart);
    tcase_add_test(gradient, dropout_drops_its_share_and_keeps_the_mean);
    tcase_add_test(gradient, dropout_depends_on_the_position_of_the_sample_alone);
    suite_add_tcase(s, gradient);

    tcase_add_loop_test(shape, known_nets_have_their_known_size, 0,
                        sizeof(known) / sizeof(known[0]));
    tcase_add_test(shape, shapes_that_make_no_net_are_refused);
    suite_add_tcase(s, shape);
    return s;
}

TEST_MAIN(lenet_suite)
