/*
 * cpu.c - the reference backend: plain loops that the compiler turns into vectors.
 *
 * Compile with -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off.  -O3 makes
 * vectors; without errno a square root is one instruction; without traps both sides of
 * a choice may be worked out; and -ffp-contract=off keeps a * b + c two roundings: a
 * fused one on newer CPUs would give other bits than on older ones, and others in a
 * loop's vectors than in its tail.  Nothing else is relaxed: division and square root
 * are rounded correctly everywhere, so every clone gives the same bits.
 */
#include "server/compute/backend.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

/*
 * One clone per instruction set, chosen by the dynamic linker.  Not under sanitizers,
 * whose run-time is not there yet when it chooses, and only where it can choose at all.
 */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) &&                \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KERNEL __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define KERNEL
#endif

/* No element depends on another one.  `restrict` would say too much: two spans may be
 * the same one. */
#if defined(__clang__)
#define ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define ELEMENTWISE _Pragma("GCC ivdep")
#endif

#define T float
#define K(name) name##_f32
#define SQRT sqrtf
#define FABS fabsf
#define COPYSIGN copysignf
#define LARGEST FLT_MAX
#include "server/compute/cpu_kernels.inc"
#undef T
#undef K
#undef SQRT
#undef FABS
#undef COPYSIGN
#undef LARGEST

#define T double
#define K(name) name##_f64
#define SQRT sqrt
#define FABS fabs
#define COPYSIGN copysign
#define LARGEST DBL_MAX
#include "server/compute/cpu_kernels.inc"
#undef T
#undef K
#undef SQRT
#undef FABS
#undef COPYSIGN
#undef LARGEST

/* Counters wrap around, as unsigned numbers do and signed ones may not. */
KERNEL static void add_i64(size_t n, void *dst, const void *src)
{
    uint64_t       *d = dst;
    const uint64_t *s = src;

    ELEMENTWISE
    for (size_t i = 0; i < n; i++)
        d[i] += s[i];
}

static void cpu_set(uint32_t dtype, size_t n, void *dst, double c, const void *src)
{
    if (dtype == PS_F32)
        set_f32(n, dst, c, src);
    else if (dtype == PS_F64)
        set_f64(n, dst, c, src);
    else if (n > 0)
        memmove(dst, src, n * sizeof(int64_t));
}

static void cpu_add(uint32_t dtype, size_t n, void *dst, double c, const void *src)
{
    if (dtype == PS_F32)
        add_f32(n, dst, c, src);
    else if (dtype == PS_F64)
        add_f64(n, dst, c, src);
    else
        add_i64(n, dst, src);
}

static bool cpu_finite(uint32_t dtype, size_t n, const void *src)
{
    if (dtype == PS_F32)
        return finite_f32(n, src);
    if (dtype == PS_F64)
        return finite_f64(n, src);
    return true;
}

static void cpu_share(uint32_t dtype, size_t n, double count, void *mean, void *g)
{
    assert(dtype == PS_F32 || dtype == PS_F64);
    (dtype == PS_F32 ? share_f32 : share_f64)(n, count, mean, g);
}

static void cpu_compensate(uint32_t dtype, size_t n, double lambda, void *g,
                           const void *w, const void *was)
{
    assert(dtype == PS_F32 || dtype == PS_F64);
    (dtype == PS_F32 ? compensate_f32 : compensate_f64)(n, lambda, g, w, was);
}

typedef void step_fn(const struct psd_hyper *h, size_t n, void *params,
                     void *const *state, const void *gradient);

static const struct {
    step_fn *f32, *f64;
} steps[] = {
    [PS_SGD] = { sgd_f32, sgd_f64 },
    [PS_MOMENTUM] = { momentum_f32, momentum_f64 },
    [PS_NESTEROV] = { nesterov_f32, nesterov_f64 },
    [PS_ADAGRAD] = { adagrad_f32, adagrad_f64 },
    [PS_RMSPROP] = { rmsprop_f32, rmsprop_f64 },
    [PS_ADAM] = { adam_f32, adam_f64 },
    [PS_ADAMW] = { adamw_f32, adamw_f64 },
    [PS_FTRL] = { ftrl_f32, ftrl_f64 },
};

static void cpu_step(uint32_t kind, uint32_t dtype, const struct psd_hyper *h, size_t n,
                     void *w, void *const *s, const void *g)
{
    if (kind == PS_ASSIGN) {
        cpu_set(dtype, n, w, 1.0, g);
    } else if (kind == PS_ADD) {
        cpu_add(dtype, n, w, 1.0, g);
    } else {
        assert(kind < sizeof(steps) / sizeof(steps[0]) && steps[kind].f32);
        assert(dtype == PS_F32 || dtype == PS_F64);
        (dtype == PS_F32 ? steps[kind].f32 : steps[kind].f64)(h, n, w, s, g);
    }
}

const struct psd_backend psd_backend_cpu = {
    .name = "cpu",
    .set = cpu_set,
    .add = cpu_add,
    .finite = cpu_finite,
    .share = cpu_share,
    .compensate = cpu_compensate,
    .step = cpu_step,
};
