/*
 * partition.c - which samples of a data set belong to which worker.
 *
 * Every disjoint scheme gives n / W samples to each worker and one more to the first
 * n mod W of them: with parts of ceil(n / W) the last workers would go short, and some
 * would get nothing at all.
 *
 * Source: the schemes of the parameter server of Apache SystemDS.
 */
#include <ps/worker.h>

#include "common/base/random.h"
#include "common/base/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* "disjoint" and "overlap ". */
#define DISJOINT_STREAM 0x6469736a6f696e74u
#define OVERLAP_STREAM 0x6f7665726c617020u

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Of the samples in some order, this worker's are first .. first + size - 1. */
static void slice(uint64_t n, uint32_t workers, uint32_t rank, uint64_t *first,
                  uint64_t *size)
{
    uint64_t each = n / workers, more = n % workers;

    *first = rank * each + smaller(rank, more);
    *size = each + (rank < more);
}

static ps_status random_slice(uint64_t n, uint64_t first, uint64_t size, uint64_t seed,
                              uint32_t *out)
{
    uint32_t *all = malloc((n ? n : 1) * sizeof(*all));

    if (!all)
        return ps_fail(PS_ERR_NO_MEMORY, "partition: no memory for %" PRIu64 " samples",
                       n);
    ps_random_permutation(seed, DISJOINT_STREAM, n, all);
    memcpy(out, all + first, size * sizeof(*out));
    free(all);
    return PS_OK;
}

ps_status ps_partition_samples(ps_partition scheme, uint64_t n, uint32_t workers,
                               uint32_t rank, uint64_t seed, uint32_t *out,
                               uint64_t *n_out)
{
    uint64_t first, size;

    if (rank >= workers)
        return ps_fail(PS_ERR_BAD_ARG,
                       "partition: rank %u of %u workers, expected a rank below the "
                       "workers",
                       rank, workers);
    if (n > UINT32_MAX)
        return ps_fail(PS_ERR_BAD_ARG,
                       "partition: %" PRIu64 " samples, expected %u or fewer", n,
                       UINT32_MAX);
    slice(n, workers, rank, &first, &size);
    switch (scheme) {
    case PS_PARTITION_NONE: break;
    case PS_PARTITION_DISJOINT_CONTIGUOUS:
        *n_out = size;
        for (uint64_t i = 0; out && i < size; i++)
            out[i] = (uint32_t)(first + i);
        return PS_OK;
    case PS_PARTITION_DISJOINT_ROUND_ROBIN:
        *n_out = size;
        for (uint64_t i = 0; out && i < size; i++)
            out[i] = (uint32_t)(i * workers + rank);
        return PS_OK;
    case PS_PARTITION_DISJOINT_RANDOM:
        *n_out = size;
        return out ? random_slice(n, first, size, seed, out) : PS_OK;
    case PS_PARTITION_OVERLAP_RESHUFFLE:
        *n_out = n;
        if (out)
            ps_random_permutation(ps_random_u64(seed, OVERLAP_STREAM, rank),
                                  OVERLAP_STREAM, n, out);
        return PS_OK;
    }
    return ps_fail(PS_ERR_BAD_ARG, "partition: scheme %d, expected one with parts",
                   (int)scheme);
}
