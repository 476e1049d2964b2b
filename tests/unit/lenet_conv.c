/*
 * The convolution layer against its formula in double, with every set of kernels that
 * this CPU can run.  Built twice: in float, and in double, where nothing hides behind
 * roundings.
 */
#include "examples/lenet/conv.h"
#include "tests/unit/suite.h"

#include <float.h>
#include <math.h>

#include <ps/worker.h>

/* The transforms of 6 x 6 tiles magnify a rounding, by up to 58 along each side. */
#ifdef LENET_DOUBLE
#define TOLERANCE (1000 * DBL_EPSILON)
#else
#define TOLERANCE (1000 * FLT_EPSILON)
#endif

enum { BATCH = 3, SEED = 5, BORDER = 7 };

static const struct {
    uint32_t in, pad, channels, filters;
} shapes[] = {
    { 28, 2, 1, 16 },  { 28, 2, 1, 6 }, /* those that train */
    { 14, 2, 16, 16 }, { 14, 0, 6, 16 },  { 14, 2, 32, 64 },
    { 6, 0, 1, 1 },    { 2, 4, 1, 2 }, /* one pixel, nothing but border */
    { 5, 1, 2, 1 },    { 7, 1, 1, 3 },    { 9, 0, 3, 5 }, /* odd sides */
    { 13, 3, 1, 17 },  { 13, 3, 17, 18 }, /* one element more than a vector */
    { 11, 4, 5, 31 },  { 12, 1, 33, 15 }, /* one less */
    { 37, 2, 2, 3 },   { 41, 1, 70, 4 },  /* large */
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static struct lenet_conv layer;
static uint32_t          f_n, p_n, y_row; /* filters, pooled side, elements of a line */
static real             *weight, *bias, *dweight, *dbias, *y, *dy, *dx;

static double normal(uint64_t stream, uint64_t i)
{
    return ps_random_normal_at(SEED, stream, i);
}

static real *draw(size_t n, uint64_t stream, double scale)
{
    real *to = calloc(n + LENET_SLACK, sizeof(*to));

    ck_assert_ptr_nonnull(to);
    for (size_t i = 0; i < n; i++)
        to[i] = (real)(scale * normal(stream, i));
    return to;
}

static void open_layer(int shape, const struct lenet_kernels *kernels, int want_dx)
{
    uint32_t channels = shapes[shape].channels, in = shapes[shape].in;
    size_t   fan_in = (size_t)LENET_WINDOW * channels;

    ck_assert_int_eq(lenet_conv_init(&layer, kernels, in, shapes[shape].pad, channels,
                                     shapes[shape].filters, BATCH, want_dx),
                     0);
    f_n = layer.filters;
    p_n = layer.pooled;
    y_row = p_n * f_n + BORDER;
    weight = draw(f_n * fan_in, 1, sqrt(2.0 / (double)fan_in));
    bias = draw(f_n, 2, 0.1);
    dweight = draw(f_n * fan_in, 3, 1);
    dbias = draw(f_n, 4, 1);
    y = draw((size_t)BATCH * p_n * y_row, 5, 1);
    dy = draw((size_t)BATCH * p_n * y_row, 6, 1);
    dx = draw((size_t)BATCH * layer.image, 7, 1);
    for (uint32_t i = 0; i < BATCH; i++)
        for (uint32_t py = 0; py < in; py++)
            for (uint32_t k = 0; k < in * channels; k++)
                lenet_conv_input(&layer, i)[py * layer.row + k] =
                    (real)normal(8 + i, py * in * channels + k);
}

static void close_layer(void)
{
    lenet_conv_free(&layer);
    free(weight);
    free(bias);
    free(dweight);
    free(dbias);
    free(y);
    free(dy);
    free(dx);
}

/* Of images 0 .. n - 1, each into its own part of y and dx. */
static void run_layer(uint32_t n)
{
    lenet_conv_take(&layer, weight, bias);
    for (uint32_t i = 0; i < n; i++)
        lenet_conv_forward(&layer, i, y + (size_t)i * p_n * y_row, y_row);
    lenet_conv_begin(&layer);
    for (uint32_t i = 0; i < n; i++) {
        const real *of_input =
            lenet_conv_back(&layer, i, dy + (size_t)i * p_n * y_row, y_row);

        ck_assert(layer.want_dx == (of_input != NULL));
        if (layer.want_dx)
            memcpy(dx + i * layer.image,
                   of_input - layer.pad * (layer.row + layer.channels),
                   layer.image * sizeof(*dx));
    }
    lenet_conv_end(&layer, dweight, dbias);
}

/* The sum of filter f at one place of the convolution's output, without bias. */
static double sum_at(const real *x, uint32_t f, uint32_t oy, uint32_t ox)
{
    const real *w = weight + (size_t)f * LENET_KERNEL * layer.run;
    double      sum = 0;

    for (uint32_t ky = 0; ky < LENET_KERNEL; ky++)
        for (uint32_t k = 0; k < layer.run; k++)
            sum += (double)*w++ *
                   x[(oy + ky) * layer.row + (size_t)ox * layer.channels + k];
    return sum;
}

struct distance {
    double off, norm; /* squared */
};

static void compare(struct distance *d, double got, double expected)
{
    d->off += (got - expected) * (got - expected);
    d->norm += expected * expected;
}

static void assert_near(const struct distance *d, const char *what)
{
    ck_assert_msg(sqrt(d->off) <= TOLERANCE * sqrt(d->norm),
                  "%s kernels, %u x %u, padding %u, %u channels, %u filters: %s off by "
                  "%g of %g",
                  layer.kernels->name, layer.in, layer.in, layer.pad, layer.channels,
                  layer.filters, what, sqrt(d->off), sqrt(d->norm));
}

/* One pooled pixel: its value, and that it comes from where `from` says. */
static void check_pixel(struct distance *d, uint32_t i, uint32_t py, uint32_t px,
                        uint32_t f)
{
    const real   *x = layer.x + i * layer.image;
    const uint8_t from = layer.from[i * layer.origins + (py * p_n + px) * f_n + f];
    double        sum[DEAD], max = -INFINITY;

    for (uint32_t k = 0; k < DEAD; k++) {
        sum[k] = sum_at(x, f, 2 * py + k / 2, 2 * px + k % 2) + bias[f];
        max = sum[k] > max ? sum[k] : max;
    }
    compare(d, y[(i * p_n + py) * y_row + px * f_n + f], max > 0 ? max : 0);
    /* two sums that differ by a rounding may change places */
    if (from == DEAD)
        ck_assert_double_le(max, 10 * TOLERANCE);
    else
        ck_assert_double_ge(sum[from], (max > 0 ? max : 0) - 10 * TOLERANCE);
}

START_TEST(forward_is_convolution_bias_pooling_and_relu)
{
    const struct lenet_kernels *kernels;

    for (unsigned k = 0; (kernels = lenet_kernels_at(k)); k++) {
        struct distance d = { 0 };

        open_layer(_i, kernels, 0);
        run_layer(BATCH);
        for (uint32_t i = 0; i < BATCH; i++)
            for (uint32_t py = 0; py < p_n; py++) {
                for (uint32_t p = 0; p < p_n * f_n; p++)
                    check_pixel(&d, i, py, p / f_n, p % f_n);
                for (uint32_t b = p_n * f_n; b < y_row; b++) /* what is not its own */
                    ck_assert(y[(i * p_n + py) * y_row + b] ==
                              (real)normal(5, (i * p_n + py) * y_row + b));
            }
        assert_near(&d, "y");
        close_layer();
    }
}
END_TEST

/* dw, db and dx of images 0 .. n - 1, by the formula, from what forward left. */
static void go_back(uint32_t n, double *dw, double *db, double *dinput)
{
    const size_t window = LENET_KERNEL * layer.run;

    for (uint32_t p = 0; p < n * p_n * p_n * f_n; p++) {
        const uint32_t f = p % f_n, px = p / f_n % p_n, py = p / f_n / p_n % p_n,
                       i = p / f_n / p_n / p_n;
        const uint8_t from = layer.from[i * layer.origins + (py * p_n + px) * f_n + f];
        const double  g = dy[(i * p_n + py) * y_row + px * f_n + f];
        const size_t  at = (2 * py + from / 2) * layer.row +
                          (size_t)(2 * px + from % 2) * layer.channels;

        if (from == DEAD)
            continue;
        db[f] += g;
        for (size_t k = 0; k < window; k++) {
            const size_t in =
                i * layer.image + at + k / layer.run * layer.row + k % layer.run;

            dw[f * window + k] += g * layer.x[in];
            dinput[in] += g * weight[f * window + k];
        }
    }
}

static void check_back(uint32_t n)
{
    const size_t    weights = (size_t)f_n * LENET_KERNEL * layer.run;
    double         *dw = calloc(weights, sizeof(*dw)), *db = calloc(f_n, sizeof(*db));
    double         *dinput = calloc(BATCH * layer.image, sizeof(*dinput));
    struct distance d = { 0 }, of_weights = { 0 }, of_bias = { 0 };

    ck_assert(dw && db && dinput);
    go_back(n, dw, db, dinput);
    for (size_t k = 0; k < weights; k++)
        compare(&of_weights, dweight[k], dw[k]);
    for (uint32_t f = 0; f < f_n; f++)
        compare(&of_bias, dbias[f], db[f]);
    for (size_t k = 0; layer.want_dx && k < n * layer.image; k++)
        compare(&d, dx[k], dinput[k]);
    assert_near(&of_weights, "dweight");
    assert_near(&of_bias, "dbias");
    assert_near(&d, "dx");
    free(dw);
    free(db);
    free(dinput);
}

START_TEST(back_is_the_derivative)
{
    const struct lenet_kernels *kernels;

    for (unsigned k = 0; (kernels = lenet_kernels_at(k)); k++)
        for (int want_dx = 0; want_dx < 2; want_dx++) {
            open_layer(_i, kernels, want_dx);
            run_layer(BATCH);
            check_back(BATCH);
            run_layer(1); /* nothing is left of the batch before */
            check_back(1);
            close_layer();
        }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("lenet_conv");
    TCase *t = tcase_create("layer");

    tcase_set_timeout(t, 120); /* under sanitizers */
    tcase_add_loop_test(t, forward_is_convolution_bias_pooling_and_relu, 0, N_SHAPES);
    tcase_add_loop_test(t, back_is_the_derivative, 0, N_SHAPES);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(suite)
