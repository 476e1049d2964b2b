/*
 * plan.h - what happens in one run of the simulator: who takes part, under which
 * strategy, how the network behaves, and which faults come when.
 *
 * Everything is drawn from the seed.  Each seed mixes its own few kinds of fault, so
 * that a rare pair meets often in some seeds (swarm testing), and all of them end at
 * `heal_ns`, after which the run must come to its end.
 *
 * Source of swarm testing: Groce et al., ISSTA 2012.
 */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include "common/base/spec.h"

#include <stdio.h>

#define PLAN_SECOND UINT64_C(1000000000)
#define PLAN_WORKERS 6u
#define PLAN_HOSTS 3u
#define PLAN_SHARDS 4u /* of a host */
#define PLAN_FAULTS 12u

enum fault_kind {
    FAULT_WORKER_KILL = 1, /* `who` is gone, another process comes after for_ns */
    FAULT_WORKER_SLOW,     /* computes 20 times as long */
    FAULT_WORKER_CUT,      /* its messages are lost, both ways */
    FAULT_HOST_CUT,        /* the same of a psd */
    FAULT_WORKER_STOP,     /* neither sends nor receives, as after SIGSTOP */
    FAULT_HOST_KILL,       /* a psd is gone, with all that is not on its disk */
    FAULT_DISK_FULL,
    FAULT_DISK_SLOW,   /* 50 times as long */
    FAULT_DISK_FAILS,  /* the next write fails, and with it the psd */
    FAULT_WORKER_GONE, /* as killed, and nobody comes after it */
    FAULT_KINDS,
};

struct fault {
    enum fault_kind kind;
    uint32_t        who;
    uint64_t        at_ns, for_ns;
};

struct plan {
    uint64_t           seed;
    struct ps_job_spec job;
    uint32_t           hosts;
    uint32_t           shards[PLAN_HOSTS];
    uint64_t           iterations; /* clocks that a worker goes through */
    uint32_t           groups; /* matrices of each kind, so that no shard is empty */
    uint64_t           nfetch; /* pulls at every so many-th clock */
    bool               sparse; /* with a sparse matrix of f32 */
    bool               rides;  /* push, finish and pull are one request */
    bool               rests;  /* the workers end their epoch together */
    bool               lends;  /* gradients are lent until their push has ended */
    uint32_t           window; /* requests under way to a shard; 0: as many as ever */
    bool               saved;  /* the job saves itself */
    bool               shared; /* each psd can read what the others have saved */
    bool               views;  /* workers look at a matrix where it is, too */

    uint64_t latency_ns, jitter_ns; /* of a message: from latency, up to jitter more */
    bool     fixed_ports;           /* a psd listens where the one before it did */
    bool     in_order;              /* of two nodes */
    unsigned lose_percent, repeat_percent, stray_percent; /* stray: late by seconds */
    uint64_t compute_ns; /* of a gradient, up to twice that */
    uint64_t disk_ns;    /* of a part of a snapshot, up to twice that */
    uint64_t heal_ns;
    uint32_t n_faults;
    struct fault faults[PLAN_FAULTS];
};

struct plan plan_of(uint64_t seed);

/* The same training without anything that could go wrong, on one shard. */
struct plan plan_calm(const struct plan *plan);

uint32_t plan_n_shards(const struct plan *plan);

/* One line per fact. */
void plan_print(const struct plan *plan, FILE *to);

#endif
