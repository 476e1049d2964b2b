/* stream.c - see stream.h. */
#include "bench/stream.h"

/* As in server/compute/cpu.c. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) &&                \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KERNEL __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define KERNEL
#endif

#define LANES 64 /* sums side by side: one alone would wait for each addition */

KERNEL void bench_stream_set(size_t n, float *restrict w, const float *restrict s)
{
    for (size_t i = 0; i < n; i++)
        w[i] = -s[i];
}

KERNEL void bench_stream_1(size_t n, float *restrict w, const float *restrict g)
{
    for (size_t i = 0; i < n; i++)
        w[i] += g[i];
}

KERNEL void bench_stream_2(size_t n, float *restrict w, float *restrict a,
                           const float *restrict g)
{
    for (size_t i = 0; i < n; i++) {
        a[i] += g[i];
        w[i] += a[i];
    }
}

KERNEL void bench_stream_3(size_t n, float *restrict w, float *restrict a,
                           float *restrict b, const float *restrict g)
{
    for (size_t i = 0; i < n; i++) {
        a[i] += g[i];
        b[i] += g[i];
        w[i] += a[i] + b[i];
    }
}

KERNEL float bench_stream_read(size_t n, const float *g)
{
    float  sums[LANES] = { 0 }, sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            sums[k] += g[i + k];
    for (; i < n; i++)
        sum += g[i];
    for (size_t k = 0; k < LANES; k++)
        sum += sums[k];
    return sum;
}
