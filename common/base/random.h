/*
 * random.h - random numbers as a function of (seed, stream, index): no state, so
 * the same element gets the same number on any shard, in any order, after any
 * crash.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011: Philox4x32 with 10 rounds.
 */
#ifndef PS_BASE_RANDOM_H
#define PS_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* The four 32-bit words of block (stream, index) under the key `seed`. */
void ps_random_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);

uint64_t ps_random_u64(uint64_t seed, uint64_t stream, uint64_t index);

/* In [0, 1), a multiple of 2^-53. */
double ps_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Standard normal, by Box and Muller. */
double ps_random_normal(uint64_t seed, uint64_t stream, uint64_t index);

/* A uniform number below `bound` (>= 1); its bias is below bound / 2^64. */
uint64_t ps_random_below(uint64_t seed, uint64_t stream, uint64_t index,
                         uint64_t bound);

/* A stream number for a name ("fc1.weight"); FNV-1a, 64 bit. */
uint64_t ps_random_stream(const char *name);

/* A permutation of 0 .. n-1 (Fisher and Yates). */
void ps_random_permutation(uint64_t seed, uint64_t stream, uint64_t n, uint32_t *out);

/* n bytes from the kernel, for secrets and incarnations.  0, or -1 with errno. */
int ps_random_secret(void *out, size_t bytes);

#endif
