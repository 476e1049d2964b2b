/* conv.c - see conv.h. */
#include "conv.h"

#include <stdlib.h>
#include <string.h>

/*
 * One clone per generation of CPUs, chosen when the program starts.  Not under
 * sanitizers, whose run-time is not there yet at that moment.
 */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) &&                \
    __GNUC__ >= 12 && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KERNEL                                                                         \
    __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define KERNEL
#endif
#define INLINE static inline __attribute__((always_inline))

/* Sixteen elements wherever they lie; the compiler cuts them to what the CPU has. */
enum { LANES = 16 };
typedef real lanes __attribute__((vector_size(LANES * sizeof(real)),
                                  aligned(sizeof(real)), may_alias));
#ifdef LENET_DOUBLE
typedef int64_t places __attribute__((vector_size(LANES * sizeof(int64_t))));
#else
typedef int32_t places __attribute__((vector_size(LANES * sizeof(int32_t))));
#endif
typedef uint8_t codes __attribute__((vector_size(LANES)));

/* What `from` says: which of the four was the maximum, or that relu made it zero. */
enum { TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT, DEAD };

/* Zeroed, with room for whole vectors at the end. */
static void *numbers(size_t n)
{
    size_t bytes = ((n + LANES) * sizeof(real) + 63) / 64 * 64;
    void  *p = aligned_alloc(64, bytes);

    return p ? memset(p, 0, bytes) : NULL;
}

int lenet_conv_init(struct lenet_conv *c, uint32_t in, uint32_t pad, uint32_t channels,
                    uint32_t filters, uint32_t batch)
{
    size_t pixels;

    *c = (struct lenet_conv){
        .in = in, .pad = pad, .channels = channels, .filters = filters
    };
    c->out = in + 2 * pad - LENET_KERNEL + 1;
    c->pooled = c->out / 2;
    c->run = (size_t)LENET_KERNEL * channels;
    c->run_room = (c->run + LANES - 1) / LANES * LANES;
    c->row = (size_t)(in + 2 * pad) * channels;
    c->image = c->row * (in + 2 * pad);
    pixels = (size_t)c->out * c->out;

    c->x = numbers(batch * c->image);
    c->from = calloc(batch, (size_t)c->pooled * c->pooled * filters);
    c->columns = numbers(pixels * LENET_KERNEL * c->run);
    c->sums = numbers(pixels * filters);
    c->filter = numbers(filters * LENET_KERNEL * c->run_room);
    c->dfilter = numbers(filters * LENET_KERNEL * c->run_room);
    c->dbias = numbers(filters);
    c->bias = numbers(filters);
    c->dx = numbers(c->image);
    c->left = numbers((size_t)c->pooled * c->pooled);
    c->at = calloc((size_t)c->pooled * c->pooled + 1, sizeof(*c->at));
    return c->x && c->from && c->columns && c->sums && c->filter && c->dfilter &&
                   c->dbias && c->bias && c->dx && c->left && c->at
               ? 0
               : -1;
}

void lenet_conv_free(struct lenet_conv *c)
{
    free(c->x);
    free(c->from);
    free(c->columns);
    free(c->sums);
    free(c->filter);
    free(c->dfilter);
    free(c->dbias);
    free(c->bias);
    free(c->dx);
    free(c->left);
    free(c->at);
    *c = (struct lenet_conv){ 0 };
}

real *lenet_conv_input(const struct lenet_conv *c, uint32_t i)
{
    return c->x + i * c->image + c->pad * (c->row + c->channels);
}

/*
 * Copies in whole vectors: what goes beyond a run is overwritten by the next run, and
 * there is room behind the last one.
 */
KERNEL static void make_columns(const struct lenet_conv *c, const real *x)
{
    real *to = c->columns;

    for (uint32_t py = 0; py < c->out; py++)
        for (uint32_t px = 0; px < c->out; px++) {
            const real *line = x + py * c->row + (size_t)px * c->channels;

            for (int ky = 0; ky < LENET_KERNEL; ky++, line += c->row, to += c->run)
                for (size_t j = 0; j < c->run; j += LANES)
                    *(lanes *)(to + j) = *(const lanes *)(line + j);
        }
}

/* Where `a` is larger, `there` and a; elsewhere what was. */
INLINE void keep_larger(lanes *max, places *at, const real *a, int there)
{
    const lanes  v = *(const lanes *)a;
    const places larger = v > *max;

    *at = (larger & there) | (~larger & *at);
    *max = (lanes)((larger & (places)v) | (~larger & (places)*max));
}

/* The largest of four neighbours, bias and relu, in up to LANES channels. */
INLINE void pool_lanes(size_t filters, size_t n, const real *top, const real *bottom,
                       const real *bias, real *y, uint8_t *from)
{
    lanes  max = *(const lanes *)top;
    places at = { TOP_LEFT }, alive;
    codes  code;

    keep_larger(&max, &at, top + filters, TOP_RIGHT);
    keep_larger(&max, &at, bottom, BOTTOM_LEFT);
    keep_larger(&max, &at, bottom + filters, BOTTOM_RIGHT);
    max += *(const lanes *)bias;
    alive = max > 0;
    max = (lanes)(alive & (places)max);
    code = __builtin_convertvector((alive & at) | (~alive & DEAD), codes);
    memcpy(y, &max, n * sizeof(*y));
    memcpy(from, &code, n);
}

KERNEL static void pool(const struct lenet_conv *c, real *y, size_t y_row,
                        uint8_t *from)
{
    const size_t n = c->filters, line = c->out * n, whole = n / LANES * LANES;

    for (uint32_t py = 0; py < c->pooled; py++)
        for (uint32_t px = 0; px < c->pooled; px++, from += n) {
            const real *top = c->sums + 2 * (py * line + px * n);
            real       *to = y + py * y_row + px * n;
            size_t      f = 0;

            for (; f < whole; f += LANES)
                pool_lanes(n, LANES, top + f, top + line + f, c->bias + f, to + f,
                           from + f);
            if (f < n)
                pool_lanes(n, n - f, top + f, top + line + f, c->bias + f, to + f,
                           from + f);
        }
}

void lenet_conv_forward(struct lenet_conv *c, uint32_t i, const real *weight,
                        const real *bias, real *y, size_t y_row)
{
    const int n = (int)(c->out * c->out), k = (int)(LENET_KERNEL * c->run);

    make_columns(c, c->x + i * c->image);
    lenet_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, (int)c->filters, k, 1,
               c->columns, k, weight, k, 0, c->sums, (int)c->filters);
    memcpy(c->bias, bias, c->filters * sizeof(*bias));
    pool(c, y, y_row, c->from + (size_t)i * c->pooled * c->pooled * c->filters);
}

void lenet_conv_begin(struct lenet_conv *c, const real *weight)
{
    size_t lines = (size_t)c->filters * LENET_KERNEL;

    for (size_t i = 0; i < lines; i++)
        memcpy(c->filter + i * c->run_room, weight + i * c->run,
               c->run * sizeof(*weight));
    memset(c->dfilter, 0, lines * c->run_room * sizeof(*c->dfilter));
    memset(c->dbias, 0, c->filters * sizeof(*c->dbias));
}

void lenet_conv_end(const struct lenet_conv *c, real *dweight, real *dbias)
{
    size_t lines = (size_t)c->filters * LENET_KERNEL;

    for (size_t i = 0; i < lines; i++)
        memcpy(dweight + i * c->run, c->dfilter + i * c->run_room,
               c->run * sizeof(*dweight));
    memcpy(dbias, c->dbias, c->filters * sizeof(*dbias));
}

/*
 * The gradients of filter f that are left, with the places of their windows; an even
 * number of them, the last one 0 if need be.
 */
INLINE uint32_t collect(const struct lenet_conv *c, uint32_t f, const uint8_t *from,
                        const real *dy, size_t dy_row)
{
    const size_t pixel = c->channels;
    const size_t at[DEAD + 1] = { 0, pixel, c->row, c->row + pixel, 0 };
    uint32_t     n = 0;

    for (uint32_t py = 0; py < c->pooled; py++)
        for (uint32_t px = 0; px < c->pooled; px++) {
            size_t  p = (size_t)px * c->filters + f;
            uint8_t code = from[(size_t)py * c->pooled * c->filters + p];

            c->at[n] = (uint32_t)(2 * (py * c->row + px * pixel) + at[code]);
            c->left[n] = dy[py * dy_row + p];
            n += code != DEAD; /* without a jump: nobody could foresee it */
        }
    c->at[n] = 0;
    c->left[n] = 0;
    return n + n % 2;
}

/* dfilter += g * window, for one vector's width of all five lines of a window. */
INLINE void add_windows(const struct lenet_conv *c, real *dfilter, const real *x,
                        uint32_t n)
{
    const size_t    room = c->run_room, row = c->row;
    const uint32_t *at = c->at;
    const real     *left = c->left;
    lanes           even[LENET_KERNEL] = { 0 }, odd[LENET_KERNEL] = { 0 };

    for (uint32_t i = 0; i < n; i += 2) {
        const real *a = x + at[i], *b = x + at[i + 1];

#pragma GCC unroll 5
        for (int k = 0; k < LENET_KERNEL; k++) {
            even[k] += left[i] * *(const lanes *)(a + k * row);
            odd[k] += left[i + 1] * *(const lanes *)(b + k * row);
        }
    }
#pragma GCC unroll 5
    for (int k = 0; k < LENET_KERNEL; k++)
        *(lanes *)(dfilter + k * room) += even[k] + odd[k];
}

/* dx += g * filter at every window, for the same width. */
INLINE void add_filters(const struct lenet_conv *c, const real *filter, real *dx,
                        uint32_t n)
{
    const size_t    room = c->run_room, row = c->row;
    const uint32_t *at = c->at;
    const real     *left = c->left;
    lanes           w[LENET_KERNEL];

#pragma GCC unroll 5
    for (int k = 0; k < LENET_KERNEL; k++)
        w[k] = *(const lanes *)(filter + k * room);
    for (uint32_t i = 0; i < n; i++) {
        real *to = dx + at[i];

#pragma GCC unroll 5
        for (int k = 0; k < LENET_KERNEL; k++)
            *(lanes *)(to + k * row) += left[i] * w[k];
    }
}

/*
 * Beyond the end of a run the filters are zero, so dx gets nothing there, and what
 * dfilter gets there nobody reads.
 */
KERNEL static void go_back(const struct lenet_conv *c, const uint8_t *from,
                           const real *x, const real *dy, size_t dy_row, int want_dx)
{
    const size_t room = c->run_room;

    for (uint32_t f = 0; f < c->filters; f++) {
        uint32_t n = collect(c, f, from, dy, dy_row);
        size_t   own = f * LENET_KERNEL * room;
        real     sum = 0;

        for (uint32_t i = 0; i < n; i++)
            sum += c->left[i];
        c->dbias[f] += sum;
        for (size_t j = 0; j < room; j += LANES)
            add_windows(c, c->dfilter + own + j, x + j, n);
        for (size_t j = 0; want_dx && j < room; j += LANES)
            add_filters(c, c->filter + own + j, c->dx + j, n);
    }
}

const real *lenet_conv_back(struct lenet_conv *c, uint32_t i, const real *dy,
                            size_t dy_row, int want_dx)
{
    if (want_dx)
        memset(c->dx, 0, c->image * sizeof(*c->dx));
    go_back(c, c->from + (size_t)i * c->pooled * c->pooled * c->filters,
            c->x + i * c->image, dy, dy_row, want_dx);
    return c->dx + c->pad * (c->row + c->channels);
}
