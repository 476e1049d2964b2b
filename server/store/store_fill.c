/* store_fill.c - see store_private.h. */
#include "server/store/store_private.h"

#include "common/base/random.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Element `index`, before it is rounded to the matrix's type. */
static double initial(const struct ps_matrix_spec *spec, uint64_t seed, uint64_t stream,
                      uint64_t index)
{
    double a = spec->init_a, b = spec->init_b;

    switch (spec->init) {
    case PS_INIT_CONSTANT: return a;
    case PS_INIT_UNIFORM: return a + (b - a) * ps_random_uniform(seed, stream, index);
    case PS_INIT_NORMAL: return a + b * ps_random_normal(seed, stream, index);
    default: return 0.0;
    }
}

static void fill_f32(const struct ps_matrix_spec *spec, uint64_t seed, uint64_t stream,
                     uint64_t first, uint64_t n, float *out)
{
    /* The end of a uniform range is not part of it, also after rounding. */
    double end = spec->init == PS_INIT_UNIFORM ? spec->init_b : INFINITY;

    for (uint64_t i = 0; i < n; i++) {
        out[i] = (float)initial(spec, seed, stream, first + i);
        if (out[i] >= end)
            out[i] = nextafterf(out[i], -INFINITY);
    }
}

static void fill_f64(const struct ps_matrix_spec *spec, uint64_t seed, uint64_t stream,
                     uint64_t first, uint64_t n, double *out)
{
    double end = spec->init == PS_INIT_UNIFORM ? spec->init_b : INFINITY;

    for (uint64_t i = 0; i < n; i++) {
        out[i] = initial(spec, seed, stream, first + i);
        if (out[i] >= end)
            out[i] = nextafter(out[i], -INFINITY);
    }
}

static void fill_i64(const struct ps_matrix_spec *spec, uint64_t seed, uint64_t stream,
                     uint64_t first, uint64_t n, int64_t *out)
{
    for (uint64_t i = 0; i < n; i++)
        out[i] = llround(initial(spec, seed, stream, first + i));
}

void psd_store_fill(const struct ps_matrix_spec *spec, uint64_t seed, uint64_t first,
                    uint64_t n, void *out)
{
    uint64_t stream = ps_random_stream(spec->name);

    if (spec->init == PS_INIT_ZERO) {
        memset(out, 0, n * ps_dtype_bytes(spec->dtype));
    } else if (spec->dtype == PS_F32) {
        fill_f32(spec, seed, stream, first, n, out);
    } else if (spec->dtype == PS_F64) {
        fill_f64(spec, seed, stream, first, n, out);
    } else {
        assert(spec->dtype == PS_I64);
        fill_i64(spec, seed, stream, first, n, out);
    }
}
