/*
 * blocks.h - which block of the text is a worker's next: data.partition for blocks
 * instead of samples.
 *
 * Without a partition each epoch is one order of all blocks, dealt out in turn; with
 * one a worker goes through its own in another order each epoch.  A function of (seed,
 * rank, clock).
 */
#ifndef SPARSE_BLOCKS_H
#define SPARSE_BLOCKS_H

#include <ps/worker.h>

#include <stdbool.h>

struct blocks {
    ps_partition scheme;
    uint64_t     seed;
    uint32_t     rank, workers;
    uint64_t     iterations; /* of an epoch, the same for all workers */

    uint64_t  n;     /* this worker's, or all */
    uint32_t *mine;  /* [n] */
    uint32_t *order; /* [n] of `mine`, in `epoch` */
    uint64_t  epoch; /* UINT64_MAX: none yet */
};

/* Iterations of an epoch: the smallest part decides. */
uint64_t blocks_iterations(ps_partition scheme, uint64_t n_blocks, uint32_t workers);

ps_status blocks_init(struct blocks *b, ps_partition scheme, uint64_t n_blocks,
                      uint64_t seed, uint32_t rank, uint32_t workers) PS_CHECKED;
void      blocks_free(struct blocks *b);

/* The block of the iteration after `clock`. */
uint32_t blocks_at(struct blocks *b, uint64_t clock);

#endif
