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

#include "common/base/copy.h"

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

#define AHEAD 64u /* rows between asking for their memory and using it */

/* These bytes will be used soon, though not so soon that they have to be in the cache
 * of the first level, of which few lines can be under way. */
static inline __attribute__((always_inline)) void expect_row(const void *row,
                                                             size_t      bytes)
{
    const char *end = (const char *)row + bytes;

    for (const char *line = (const char *)((uintptr_t)row & ~(uintptr_t)63); line < end;
         line += 64)
        __builtin_prefetch(line, 0, 2);
}

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

static bool cpu_copy(uint32_t dtype, size_t n, void *dst, const void *src)
{
    if (dtype == PS_F32)
        return copy_f32(n, dst, src);
    if (dtype == PS_F64)
        return copy_f64(n, dst, src);
    if (n > 0)
        memcpy(dst, src, n * sizeof(int64_t));
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

static void cpu_step(uint32_t kind, uint32_t dtype, const struct psd_hyper *h, size_t n,
                     void *w, void *const *s, const void *g)
{
    if (kind == PS_ASSIGN) {
        cpu_set(dtype, n, w, 1.0, g);
    } else if (dtype == PS_F32) {
        kernels_of_f32(kind)->span(kernels_of_f32(kind)->numbers(h), n, w, s, g);
    } else if (dtype == PS_F64) {
        kernels_of_f64(kind)->span(kernels_of_f64(kind)->numbers(h), n, w, s, g);
    } else {
        assert(kind == PS_ADD);
        add_i64(n, w, g);
    }
}

static void assign_rows(size_t n, size_t bytes, void *const *rows, const void *const *g)
{
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n)
            expect_row(rows[i + AHEAD], bytes);
        ps_copy_row(rows[i], g[i], bytes);
    }
}

static void add_rows_i64(size_t n, size_t cols, void *const *rows, const void *const *g)
{
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n)
            expect_row(rows[i + AHEAD], cols * sizeof(int64_t));
        add_i64(cols, rows[i], g[i]);
    }
}

static void cpu_step_rows(uint32_t kind, uint32_t dtype, const struct psd_hyper *h,
                          size_t n, size_t cols, void *const *rows,
                          const void *const *g)
{
    if (kind == PS_ASSIGN) {
        assign_rows(n, cols * ps_dtype_bytes(dtype), rows, g);
    } else if (dtype == PS_F32) {
        kernels_of_f32(kind)->rows(kernels_of_f32(kind)->numbers(h), n, cols, rows, g);
    } else if (dtype == PS_F64) {
        kernels_of_f64(kind)->rows(kernels_of_f64(kind)->numbers(h), n, cols, rows, g);
    } else {
        assert(kind == PS_ADD);
        add_rows_i64(n, cols, rows, g);
    }
}

KERNEL static void cpu_gather(size_t n, size_t bytes, void *out,
                              const void *const *rows)
{
    char *at = out;

    for (size_t i = 0; i < n; i++, at += bytes) {
        if (i + AHEAD < n)
            expect_row(rows[i + AHEAD], bytes);
        ps_copy_row(at, rows[i], bytes);
    }
}

const struct psd_backend psd_backend_cpu = {
    .name = "cpu",
    .set = cpu_set,
    .add = cpu_add,
    .finite = cpu_finite,
    .copy = cpu_copy,
    .share = cpu_share,
    .compensate = cpu_compensate,
    .step = cpu_step,
    .step_rows = cpu_step_rows,
    .gather = cpu_gather,
};
