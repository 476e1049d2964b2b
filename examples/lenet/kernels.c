/*
 * kernels.c - see kernels.h.
 *
 * kernels.inc is compiled once for each instruction set, with blocks as large as the
 * registers hold.  The choice is made when a layer is made and not by the dynamic
 * linker, so that a test can take every set.
 */
#include "kernels.h"
#include "conv.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * The compiler forgets what it knows of p and has read through it.  Otherwise it keeps
 * operands that it could read where they are used, and addresses that it could add up,
 * for want of registers in memory.
 */
#define FRESH(p) __asm__("" : "+r"(p))
#define INLINE static inline __attribute__((always_inline)) TARGET

#if defined(__x86_64__)
/* 32 registers of 64 bytes */
#define K(name) name##_avx512
#define KERNELS_NAME "avx512"
#define TARGET __attribute__((target("avx512f")))
#define VECTOR_BYTES 64
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* blocks are unrolled, and with checks in between take minutes to compile */
#define BLOCK_PIXELS 2
#define BLOCK_TILES 2
#define BLOCK_VECTORS 2
#define BLOCK_LINES 2
#else
#define BLOCK_PIXELS 7
#define BLOCK_TILES 7
#define BLOCK_VECTORS 5
#define BLOCK_LINES 5
#endif
#ifdef LENET_DOUBLE
#define WIDEN(from) _mm512_cvtepu8_epi64(_mm_loadl_epi64((const void *)(from)))
#else
#define WIDEN(from) _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(from)))
#endif
#include "kernels.inc"

/* 16 registers of 32 bytes, one of them for an operand that is the same for all */
#define K(name) name##_avx2
#define KERNELS_NAME "avx2"
#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#define BLOCK_PIXELS 3
#define BLOCK_TILES 4
#define BLOCK_VECTORS 2
#define BLOCK_LINES 2
#ifdef LENET_DOUBLE
#define WIDEN(from) _mm256_cvtepu8_epi64(_mm_loadl_epi64((const void *)(from)))
#else
#define WIDEN(from) _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(from)))
#endif
#include "kernels.inc"
#endif

/* 16 registers of 16 bytes, as every x86-64 and aarch64 has; one for a product */
#define K(name) name##_plain
#define KERNELS_NAME "plain"
#define TARGET
#define VECTOR_BYTES 16
#define BLOCK_PIXELS 3
#define BLOCK_TILES 3
#define BLOCK_VECTORS 2
#define BLOCK_LINES 1
#define WIDEN(from) __builtin_convertvector(*(const codes *)(from), places)
#include "kernels.inc"

#if defined(__x86_64__)
enum { N_KERNELS = 3 };

static const struct lenet_kernels *kernels_of(unsigned which)
{
    switch (which) {
    case 0: return __builtin_cpu_supports("avx512f") ? &kernels_avx512 : NULL;
    case 1:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
                   ? &kernels_avx2
                   : NULL;
    default: return &kernels_plain;
    }
}
#else
enum { N_KERNELS = 1 };

static const struct lenet_kernels *kernels_of(unsigned which)
{
    (void)which;
    return &kernels_plain;
}
#endif

const struct lenet_kernels *lenet_kernels_at(unsigned i)
{
    for (unsigned which = 0; which < N_KERNELS; which++) {
        const struct lenet_kernels *k = kernels_of(which);

        if (k && i-- == 0)
            return k;
    }
    return NULL;
}
