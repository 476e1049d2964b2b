/*
 * toy.h - a model small enough for tests and odd enough to matter: three matrices, one
 * of them cut over shards, one in f64, gradients that depend on the parameters, the
 * rank and the clock.
 *
 * The pure cluster (one thread, no socket) and real workers train it the same way, so
 * both must end with the same model hash.
 */
#ifndef TESTS_SIM_TOY_H
#define TESTS_SIM_TOY_H

#include <ps/worker.h>

#define TOY_MATRICES 3u
#define TOY_ITERATIONS 6u
#define TOY_SEED 42u

struct toy_shape {
    const char *name;
    uint64_t    rows, cols;
    ps_dtype    dtype;
};

/* Not in the order of their names, which is the order of the hash. */
static const struct toy_shape toy_shapes[TOY_MATRICES] = {
    { "layer.weight", 300, 100, PS_F32 },
    { "bias", 1, 7, PS_F32 },
    { "wide", 40, 1000, PS_F64 },
};

static inline uint64_t toy_elements(unsigned m)
{
    return toy_shapes[m].rows * toy_shapes[m].cols;
}

static inline size_t toy_bytes(unsigned m)
{
    return toy_elements(m) * (toy_shapes[m].dtype == PS_F64 ? 8 : 4);
}

typedef double toy_normal_fn(uint64_t seed, uint64_t stream, uint64_t index);

/* The gradient of matrix m for iteration t (from 1) by worker `rank`. */
static inline void toy_gradient(unsigned m, uint32_t rank, uint64_t t,
                                toy_normal_fn *normal, const void *value, void *grad)
{
    for (uint64_t i = 0; i < toy_elements(m); i++) {
        double noise = normal(TOY_SEED + rank, t * TOY_MATRICES + m, i);

        if (toy_shapes[m].dtype == PS_F64)
            ((double *)grad)[i] = 0.1 * ((const double *)value)[i] + noise;
        else
            ((float *)grad)[i] = 0.1f * ((const float *)value)[i] + (float)noise;
    }
}

/* The samples behind a worker's gradient. */
static inline double toy_weight(uint32_t rank)
{
    return 1.0 + rank;
}

#endif
