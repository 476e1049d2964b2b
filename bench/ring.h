/*
 * ring.h - the limit that shared memory sets: a ring of slots between two processes,
 * with nothing else.
 *
 * The slots lie in memory that both have mapped.  One copies parts of a value
 * into them, the other adds what is there to an array of its own, or copies it out;
 * each looks again and again whether it is its turn, which needs a core for each of
 * them. Nobody is told of anything, nothing is looked up, counted or kept to be sent
 * again.
 *
 * Thread: one.
 */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include "common/base/status.h"

#include <stddef.h>
#include <stdint.h>

#define BENCH_RING_SLOTS 8u
#define BENCH_RING_SLOT_BYTES (UINT64_C(1) << 20)

struct bench_ring;

/* Starts the other process, which has an array of `bytes` of zeros, and stops it until
 * it is let go, so that it takes nobody's time meanwhile. */
ps_status bench_ring_open(struct bench_ring **out, uint64_t bytes) PS_CHECKED;

/* NULL is fine. */
void bench_ring_close(struct bench_ring **ring);

void bench_ring_let_go(struct bench_ring *ring);
void bench_ring_stop(struct bench_ring *ring);

/* The other process adds these bytes to its array from `at` on.  At most a slot's, as
 * below. */
void bench_ring_push(struct bench_ring *ring, const void *from, uint64_t at,
                     uint64_t bytes);

/* When all that was pushed has been added. */
void bench_ring_settle(struct bench_ring *ring);

/* Asks for bytes of the array, at most as many times as there are slots; and takes
 * them, in the order in which they were asked for.  Nothing is pushed in between. */
void bench_ring_ask(struct bench_ring *ring, uint64_t at, uint64_t bytes);
void bench_ring_take(struct bench_ring *ring, void *to);

#endif
