/*
 * runs.h - a number for each element of a span, where neighbours mostly have the same.
 *
 * Kept as runs: each says from where on its number holds, up to the next one.  Before
 * the first, and without any, the number is 0.
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_SHARD_RUNS_H
#define PSD_SHARD_RUNS_H

#include "common/base/status.h"

#include <stdint.h>

struct psd_run {
    uint64_t from, number;
};

/* All zero: no runs. */
struct psd_runs {
    uint32_t        n, room;
    struct psd_run *runs; /* sorted; neighbours differ */
};

void psd_runs_free(struct psd_runs *r);

/* Room for the next `sets` calls of psd_runs_set. */
ps_status psd_runs_reserve(struct psd_runs *r, uint64_t sets) PS_CHECKED;

/* The number of element `at`; *end comes down to where another one begins. */
uint64_t psd_runs_at(const struct psd_runs *r, uint64_t at, uint64_t *end);

/* The elements [from, to), at least one, get this number. */
void psd_runs_set(struct psd_runs *r, uint64_t from, uint64_t to, uint64_t number);

#endif
