/*
 * shard.h - one shard without sockets, and a worker's messages for it.
 *
 * The state machine alone: a message is made, handed to it, and its answer looked at,
 * all by the caller.  What it costs to bring the message is not in it.
 *
 * Each shard has a job and a matrix of its own.  Gradients are ones.
 *
 * Thread: one at a time; several shards do not know each other.
 */
#ifndef BENCH_SHARD_H
#define BENCH_SHARD_H

#include "common/base/spec.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_SHARD_COLS 16u /* of a row, f32 each */

struct bench_shard_options {
    uint32_t strategy, workers; /* bsp: all push, then the iteration closes */
    uint32_t optimiser;
    uint64_t elements; /* f32 of a dense matrix, a multiple of a chunk's; 0: rows */
    uint32_t rows;     /* of a sparse matrix, a multiple of `batch`; all exist */
    uint32_t batch;    /* rows of a request, in random order */
    bool     pulls;    /* else it pushes */
};

struct bench_shard;

ps_status bench_shard_open(struct bench_shard              **out,
                           const struct bench_shard_options *options) PS_CHECKED;
void      bench_shard_close(struct bench_shard **shard); /* NULL is fine */

/* One request more, a chunk of a dense matrix or a batch of rows, and its answer. */
ps_status bench_shard_ask(struct bench_shard *shard) PS_CHECKED;

/* What a request moves: bytes of a dense matrix, or rows. */
uint64_t bench_shard_moves(const struct bench_shard *shard);

/* Pulls everything: is every element what those are that were pushed as often, and with
 * `add` the number of pushes?  PS_ERR_DATA says which is not. */
ps_status bench_shard_check(struct bench_shard *shard) PS_CHECKED;

#endif
