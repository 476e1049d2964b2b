/*
 * suite.h - cases that are measured together, and the order in which that happens.
 *
 *     for each suite, each of its settings:
 *         choose    the cases that are wanted
 *         open      start processes, open workers
 *         round     measure each case once, right behind its limits; again and again
 *         prove     is what was pushed there, all of it, once?
 *         close     end everything
 *
 * A setting is what shares processes, such as a transport.  A case and its limits are
 * measured in the same round, so that both see the same machine; and a run whose work
 * was not done has no results.
 *
 * Thread: the program's first.
 */
#ifndef BENCH_SUITE_H
#define BENCH_SUITE_H

#include "bench/report.h"

#include <ps/worker.h>
#include <stdio.h>

#define BENCH_ONLY 16u /* patterns */
#define BENCH_IDLE_MAX 4000u
#define BENCH_CASES 64u /* of one setting, at most */

struct bench_options {
    uint32_t    rounds;
    double      seconds;          /* of each measurement, about */
    uint32_t    rows, batch;      /* sparse: of a matrix, of a request */
    uint32_t    model_mib;        /* bsp, memory: of the model */
    uint32_t    elements;         /* kernel: of each array in memory */
    uint32_t    idle;             /* connections: workers that do nothing */
    uint32_t    spin_us;          /* of psd and workers; 0: they sleep at once */
    const char *only[BENCH_ONLY]; /* patterns of the cases' names; none: all */
    size_t      n_only;
    bool        alone; /* without limits, for a profiler */
    bool        list;  /* nothing but the names */
    bool        json;
    bool        progress; /* on standard error */
    FILE       *notes;    /* where everything goes that is not a result */
};

/* Takes --only, --list, --rounds, --seconds, --alone or --json: o, l, r, s, a, j.  -1:
 * go on; else the exit code, as of any other letter. */
int bench_take_option(struct bench_options *o, int letter, const char *argument);

/* The program and those that are set, to `notes`. */
void bench_print_options(const char *program, const struct bench_options *o);

/* One setting while it is measured. */
struct bench_run {
    const struct bench_options *options;
    uint32_t                    round;
    size_t                      n_cases;
    struct bench_case           cases[BENCH_CASES];
};

struct bench_suite {
    const char *name; /* the first part of its cases' names */
    size_t      n_settings;
    size_t      self_bytes; /* of what it keeps, zeroed before `choose` */

    void (*choose)(void *self, struct bench_run *run, size_t setting);
    /* Only with cases; `close` comes after all of them, and is told how they went. */
    ps_status (*open)(void *self, struct bench_run *run);
    ps_status (*round)(void *self, struct bench_run *run);
    ps_status (*prove)(void *self, struct bench_run *run);
    ps_status (*close)(void *self, ps_status so_far);
};

extern const struct bench_suite bench_dense, bench_views, bench_small, bench_sparse,
    bench_bsp, bench_kernels, bench_footprint, bench_connections;

/* What psd is reached by; a suite has a setting for each.  With the last, shm, workers
 * and psd lend each other memory instead of sending what is large; with the others they
 * do not. */
#define BENCH_TRANSPORTS 3u
#define BENCH_SOCKETS 2u /* without the last */
extern const char *const bench_transports[BENCH_TRANSPORTS];

/* ---- for suites ----------------------------------------------------------------- */

/* Adds a case; NULL when it is not wanted. */
struct bench_case *bench_add(struct bench_run *run, const char *unit, const char *fmt,
                             ...) __attribute__((format(printf, 3, 4)));

/* A limit of the case, unless limits are not wanted; `shared` NULL: its own series.
 * What is measured for it goes into the series that is returned. */
struct bench_series *bench_limit(const struct bench_run *run, struct bench_case *c,
                                 const char *name, struct bench_series *shared);

/* Says what is measured next.  PS_ERR_ABORTED when the user wants no more. */
ps_status bench_next(const struct bench_run *run, const char *what) PS_CHECKED;

/* bench_rate for the options' seconds, into the series. */
ps_status bench_measure(const struct bench_run *run, const char *what,
                        bench_work_fn *work, void *const *ctx, size_t n,
                        struct bench_series *series) PS_CHECKED;

/* Joins an asp job as its one worker. */
ps_status bench_join(ps_worker **out, const char *coordinator,
                     const char *job) PS_CHECKED;

/* Leaves the job; after a failure without waiting for anything.  NULL is fine. */
ps_status bench_leave(ps_worker **worker, ps_status so_far) PS_CHECKED;

/* A gradient whose sums are exact: element i is 1 or 2, at random, so that values in a
 * wrong place are seen. */
float bench_gradient_at(uint64_t i);

/* Is there so much memory to be had?  PS_ERR_NO_MEMORY says for what there is not. */
ps_status bench_expect_memory(const char *what, uint64_t bytes) PS_CHECKED;

/* ---- for the program ------------------------------------------------------------ */

/* *n_cases: how many were wanted. */
ps_status bench_run_suite(const struct bench_suite   *suite,
                          const struct bench_options *options,
                          size_t                     *n_cases) PS_CHECKED;

#endif
