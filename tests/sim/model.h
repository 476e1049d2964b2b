/*
 * model.h - what would a cluster of that size do?  One case of a simulation file: so
 * many workers, so many shards, one strategy.
 *
 * Coordinator, shards and clients are the real ones, and say themselves whom they send
 * what and who waits for whom; what a message, a byte and a step cost comes from the
 * file.  Numbers are not computed: the shards' kernels only count what they would do.
 *
 *     threads of a host  share its cores               model_cores.c
 *     its link           sends and receives            model_links.c
 *     shards, workers    one thread each, and one for  model_actors.c
 *                        the sockets of each process
 *     what they do       hello, matrices, then         model_workers.c
 *                        compute, push, pull
 *     what came of it                                  model_counts.c
 *
 * A thread handles one message after the other: it is busy for as long as what was done
 * costs, and then sends its answers, one after the other.  The threads that run take
 * turns on the cores.  A link carries messages of at most 1 MiB, of the connections
 * that have something to send each in turn; the receiving end begins a latency later.
 *
 * The same case and seed give the same result, bit for bit.
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include "common/config/simulation.h"

struct model_case {
    const struct ps_simulation         *simulation;
    const struct ps_simulated_strategy *strategy;
    uint32_t                            workers, shards;

    /* While it runs, of so many iterations so many are done; NULL: nobody wants to
     * know. */
    void (*progress)(void *ctx, uint64_t done, uint64_t all);
    void *ctx;
};

struct model_spread {
    double mean, p50, p99, max;
};

/* Of the iterations that are measured. */
struct model_result {
    uint32_t spares;          /* backup: of this case */
    double   seconds;         /* virtual */
    double   iterations_rate; /* of a worker, per second, on average */
    double   gradients_rate;  /* that came into the model, of all workers, per second */
    double   samples_rate;    /* 0: the batch is not said */
    struct model_spread iteration; /* seconds from one to the next, of a worker */
    double              waiting;   /* share of it in which it does not compute */
    struct model_spread staleness; /* updates between a pull and the push; asp, ssp */
    uint64_t            ahead; /* most iterations that one was ahead of the slowest */
    double              late;  /* share of the pushes that came too late; backup */
    double   link_bytes, link_busy;  /* of the busiest: bytes/s, share of the time */
    double   shard_busy, shard_most; /* share of the time: mean, the busiest */
    double   cores_busy;             /* of the busiest host */
    double   sockets_most;           /* the busiest I/O thread of servers */
    uint64_t messages, resends;
};

ps_status model_run(const struct model_case *c, struct model_result *out) PS_CHECKED;

#endif
