/*
 * clones.h - one function, compiled for several instruction sets.
 *
 * One clone for each, chosen by the dynamic linker.  Not under sanitizers, whose
 * run-time is not there yet when it chooses, and only where it can choose at all.  What
 * a clone calls has to be inlined to be of its kind.
 */
#ifndef PS_BASE_CLONES_H
#define PS_BASE_CLONES_H

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) &&                \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PS_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define PS_CLONES
#endif

#define PS_INLINE static inline __attribute__((always_inline))

#endif
