/*
 * idle.h - workers in a process of their own that do nothing: what memory do they take,
 * and what do they cost those that they are connected to?
 *
 * psbench starts itself in this role.  The process says so when all is done, and sleeps
 * until it is ended.
 */
#ifndef BENCH_IDLE_H
#define BENCH_IDLE_H

#include "tools/process.h"

#include <stdint.h>

struct bench_idle {
    const char *folder;   /* for its files */
    const char *endpoint; /* of a coordinator, or of a raw server */
    const char *job;      /* NULL: raw clients */
    uint32_t    workers;
    const char *optimiser; /* of a model that is pushed and pulled once; NULL: none */
    uint32_t    model_mib;
};

/* Returns when it sleeps.  *bytes: what it holds in memory now, and *before: what it
 * held when it began.  bench_idle_stop ends it, also after a failure. */
ps_status bench_idle_start(struct process *p, const struct bench_idle *idle,
                           double *before, double *bytes) PS_CHECKED;
void      bench_idle_stop(struct process *p);

/* The process itself; what stands behind the role.  Returns an exit code. */
int bench_idle_run(int argc, char **argv);

#endif
