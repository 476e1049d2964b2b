/*
 * report.h - what a case came to, beside its limits: a table to read, or JSON.
 *
 * Values are kept in plain units (bytes, seconds, things per second); the table shows
 * them with the prefix that suits: "2.31 GB/s", "85.1 us".
 *
 * Thread: one.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/measure.h"

/* What a case could reach at best. */
struct bench_limit {
    const char          *name;
    struct bench_series *series;
};

#define BENCH_LIMITS 3u

struct bench_case {
    char                name[96]; /* "dense/tcp/push/1MiB" */
    const char         *unit;     /* "B/s", "s", "rows/s" */
    struct bench_series series;
    size_t              n_limits;
    struct bench_limit  limits[BENCH_LIMITS];
    struct bench_series own[BENCH_LIMITS]; /* of limits that no other case shares */
};

/* One line a case. */
void bench_print_table(struct bench_case *cases, size_t n);

/* One object a line, for every case and every limit of it. */
void bench_print_json(struct bench_case *cases, size_t n);

#endif
