/*
 * memory.h - the limit that memory sets: rows fetched from and added to a table that
 * one thread has for itself, found by their number, without a hash, a message or a
 * copy.
 *
 * Thread: one.
 */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct bench_memory;

/* Rows 0 .. rows-1 of `cols` f32, all written once. */
ps_status bench_memory_new(struct bench_memory **out, uint64_t rows, uint32_t cols,
                           uint32_t batch) PS_CHECKED;
void      bench_memory_free(struct bench_memory **memory);

/*
 * What one thread does: batches of keys [n_keys] in turn, from the first on; adds to
 * their rows, or copies them out.  A bench_work_fn that counts rows.
 */
struct bench_memory_work {
    struct bench_memory *memory;
    const uint64_t      *keys;
    uint64_t             n_keys; /* a multiple of the batch */
    bool                 adds;
};
ps_status bench_memory_work(void *work, uint64_t until_ns, uint64_t *done) PS_CHECKED;

#endif
