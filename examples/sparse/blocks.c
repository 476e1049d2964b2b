/* blocks.c - see blocks.h. */
#include "blocks.h"

#include <stdlib.h>

/* "block order", mixed with the epoch, and "block", which makes a worker's own seed. */
#define ORDER_STREAM 0x626c6f636b6f7264u
#define PART_STREAM 0x626c6f636b000000u

uint64_t blocks_iterations(ps_partition scheme, uint64_t n_blocks, uint32_t workers)
{
    return scheme == PS_PARTITION_OVERLAP_RESHUFFLE ? n_blocks : n_blocks / workers;
}

ps_status blocks_init(struct blocks *b, ps_partition scheme, uint64_t n_blocks,
                      uint64_t seed, uint32_t rank, uint32_t workers)
{
    *b = (struct blocks){ .scheme = scheme,
                          .seed = seed,
                          .rank = rank,
                          .workers = workers,
                          .iterations = blocks_iterations(scheme, n_blocks, workers),
                          .n = n_blocks,
                          .epoch = UINT64_MAX };
    b->mine = calloc(n_blocks + 1, sizeof(*b->mine));
    b->order = calloc(n_blocks + 1, sizeof(*b->order));
    if (!b->mine || !b->order)
        return PS_ERR_NO_MEMORY;
    if (scheme != PS_PARTITION_NONE)
        return ps_partition_samples(scheme, n_blocks, workers, rank, seed, b->mine,
                                    &b->n);
    for (uint64_t i = 0; i < n_blocks; i++)
        b->mine[i] = (uint32_t)i;
    return PS_OK;
}

void blocks_free(struct blocks *b)
{
    free(b->mine);
    free(b->order);
    *b = (struct blocks){ 0 };
}

/* Fisher and Yates. */
static void shuffle(struct blocks *b, uint64_t epoch)
{
    uint64_t seed = b->seed;

    if (b->scheme != PS_PARTITION_NONE) {
        uint32_t own[2];

        ps_random_words(b->seed, PART_STREAM, b->rank, own, 2);
        seed = (uint64_t)own[1] << 32 | own[0];
    }
    for (uint64_t i = 0; i < b->n; i++)
        b->order[i] = b->mine[i];
    for (uint64_t i = b->n; i > 1; i--) {
        uint64_t j =
            (uint64_t)(ps_random_at(seed, ORDER_STREAM ^ epoch, i) * (double)i);
        uint32_t other = b->order[j];

        b->order[j] = b->order[i - 1];
        b->order[i - 1] = other;
    }
    b->epoch = epoch;
}

uint32_t blocks_at(struct blocks *b, uint64_t clock)
{
    uint64_t iteration = clock % b->iterations;

    if (b->epoch != clock / b->iterations)
        shuffle(b, clock / b->iterations);
    return b->order[b->scheme == PS_PARTITION_NONE ? iteration * b->workers + b->rank
                                                   : iteration];
}
