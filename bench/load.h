/*
 * load.h - workers that push and pull rows, and the proof that every row counted once.
 *
 * Each worker goes through the rows in batches, again and again, in one of two orders:
 * one behind the other, or a permutation of its own.  So a request names no row twice,
 * and how often a row was pushed follows from the number of requests.  All gradients of
 * a matrix are the same number: what a row holds at the end is a function of how often
 * it was pushed, and every other count is seen.
 *
 * It uses the worker library as any program does.
 *
 * Thread: one; of bench_load_work each worker's own.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_COLS 16u /* f32 each */
#define BENCH_IN_FLIGHT_MAX 16u

enum bench_matrix {
    BENCH_ADD,
    BENCH_SGD,
    BENCH_ADAGRAD,
    BENCH_MATRICES,
};

enum bench_order {
    BENCH_RANDOM,
    BENCH_SEQUENTIAL,
    BENCH_ORDERS,
};

struct bench_load;

/* Opens `workers` workers of one asp job and makes all rows exist.  `rows` is a
 * multiple of `batch`, the rows of a request. */
ps_status bench_load_open(struct bench_load **out, const char *coordinator,
                          uint32_t workers, uint64_t rows, uint32_t batch) PS_CHECKED;
/* After a failure without waiting for anything. */
ps_status bench_load_close(struct bench_load **load, ps_status so_far) PS_CHECKED;

/* The keys of a worker's requests, one behind the other: [rows]. */
const uint64_t *bench_load_keys(const struct bench_load *load, uint32_t worker,
                                enum bench_order order);

/* A bench_work_fn that counts rows. */
struct bench_load_work {
    struct bench_load *load;
    uint32_t           worker;
    enum bench_matrix  matrix;
    enum bench_order   order;
    bool               pulls;
    uint32_t           in_flight;
};
ps_status bench_load_work(void *work, uint64_t until_ns, uint64_t *done) PS_CHECKED;

/* Was every row applied as often as it was pushed?  PS_ERR_DATA names the first that
 * was not.  *pushed: rows that were, of all matrices. */
ps_status bench_load_check(struct bench_load *load, uint64_t *pushed) PS_CHECKED;

#endif
