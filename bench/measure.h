/*
 * measure.h - how often something happens in a second, and what comes of measuring it
 * again and again.
 *
 * What counts is the median; lowest and highest say how far to trust it.  It does not
 * know what is counted.
 *
 * Thread: one, which starts the threads of a measurement and waits for them.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The same thing, measured once a round. */
struct bench_series {
    size_t  n, room;
    double *at; /* in any order */
    bool    is_sorted;
};

ps_status bench_series_add(struct bench_series *s, double value) PS_CHECKED;
void      bench_series_free(struct bench_series *s);

/* Of at least one value.  The median of an even number lies between the middle two. */
double bench_median(struct bench_series *s);
double bench_lowest(struct bench_series *s);
double bench_highest(struct bench_series *s);

/* The smallest value that so much of the series (0 to 1) is not above. */
double bench_quantile(struct bench_series *s, double share);

/*
 * Does the same until the time is over, then finishes what it has begun.  *done: how
 * many were finished.  On a thread of its own.
 */
typedef ps_status bench_work_fn(void *ctx, uint64_t until_ns, uint64_t *done);

/*
 * Lets `n` threads work side by side, each with its own ctx; they begin together.
 * *per_second: what all have done, over the time until the last has finished.
 */
ps_status bench_rate(bench_work_fn *work, void *const *ctx, size_t n, double seconds,
                     double *per_second) PS_CHECKED;

#endif
