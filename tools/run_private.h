/*
 * run_private.h - what the files of a run share.
 *
 * run_start.c finds the programs, makes the folder and starts processes, at the
 * beginning and again after a fault; run.c watches them, and knows what comes of it.
 *
 * Thread: one.
 */
#ifndef TOOLS_RUN_PRIVATE_H
#define TOOLS_RUN_PRIVATE_H

#include "common/config/config.h"
#include "common/net/net.h"
#include "tools/ask.h"
#include "tools/faults.h"
#include "tools/process.h"
#include "tools/progress.h"
#include "tools/record.h"
#include "tools/run.h"

struct run {
    const struct run_options *options;
    struct ps_experiment     *experiment;
    char                     *folder;
    char                      token[33];
    char                      coordinator[PS_ENDPOINT_BYTES];

    char  *psd;   /* the daemon's path */
    char **words; /* the worker's path and arguments */
    size_t n_words;

    size_t          n_servers, n_workers, n_testers; /* 0 or 1 */
    struct process *processes;                       /* in this order */
    bool            testing;                         /* the tester was started */

    struct asker   *asker;
    struct record   record;
    struct progress progress;
    struct faults   faults;
    unsigned        port; /* of the first psd; 0: any */
    uint64_t        workers_ns, end_ns;
    uint64_t        total_clocks;
    uint64_t        answered_ns;         /* when the coordinator last answered */
    bool            finished;            /* the job, as the coordinator last said */
    bool            stopped;             /* before the workers' end: accurate enough */
    double          seconds_to_accuracy; /* NAN: not reached */
    json_t         *job;                 /* its part of the last status */
    json_t         *results;             /* what worker 0 said; NULL before its end */
    char            model_hash[65];
    char            failure[1024];
};

static inline struct process *run_servers(struct run *r)
{
    return r->processes;
}

static inline struct process *run_workers(struct run *r)
{
    return r->processes + r->n_servers;
}

static inline struct process *run_tester(struct run *r)
{
    return r->processes + r->n_servers + r->n_workers;
}

static inline double run_seconds_since(uint64_t then_ns)
{
    return (double)(ps_now_ns() - then_ns) / 1e9;
}

/* Sleeps; PS_ERR_ABORTED once a signal has told psexp to end. */
ps_status run_sleep_ms(unsigned ms) PS_CHECKED;

/* A psd or worker that ended when it should not have: a sentence. */
ps_status run_ended_early(const struct process *p) PS_CHECKED;

/* ---- run_start.c ---------------------------------------------------------------- */

/* What can be wrong with an experiment before anything is made or started. */
ps_status run_find_programs(struct run *r) PS_CHECKED;
ps_status run_prepare_folder(struct run *r) PS_CHECKED;
ps_status run_prepare_processes(struct run *r) PS_CHECKED;

/* All psd processes, one after the other, until they are ready. */
ps_status run_start_servers(struct run *r) PS_CHECKED;
ps_status run_start_workers(struct run *r) PS_CHECKED;

/* One, also again; of a psd this does not wait until it is ready.  Rank n_workers is
 * the tester. */
ps_status run_start_server(struct run *r, unsigned number) PS_CHECKED;
ps_status run_start_worker(struct run *r, unsigned rank) PS_CHECKED;

#endif
