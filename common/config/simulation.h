/*
 * simulation.h - a cluster on paper: the file of `psim --model`, psim(1).
 *
 * What is trained, by how many workers on how many shards, under which strategies; the
 * hosts and their network; and what each step costs the real programs.  As with the
 * other files of this room every key has a default, and what is wrong is one sentence
 * with file and line (PS_ERR_CONFIG).
 *
 * Thread: any; nothing here keeps state.
 */
#ifndef PS_CONFIG_SIMULATION_H
#define PS_CONFIG_SIMULATION_H

#include "common/base/spec.h"

#define PS_SIMULATED_COUNTS 32u /* of workers, of shards: most values in a list */

struct ps_simulated_matrix {
    uint64_t rows, cols; /* of f32 */
};

struct ps_simulated_strategy {
    uint32_t strategy;    /* enum ps_strategy */
    uint64_t slack;       /* ssp [3] */
    uint32_t spares;      /* backup [1] */
    double   spare_share; /* backup: of the workers, rounded up; 0: as `spares` says */
    uint32_t scale;       /* enum ps_scale [none] */
};

/* Times are what one core needs, in the unit of the name. */
struct ps_simulation {
    char    *name; /* [the file's name without .yaml] */
    char    *description;
    uint64_t seed;
    uint32_t iterations; /* of a worker, on average, that are measured [20] */
    uint32_t warmup;     /* that come before, and are not [3] */
    uint32_t batch;      /* samples of an iteration of a worker; 0: not said */

    uint64_t
        model_bytes; /* of one matrix of f32, where no matrices are listed [6.65e6] */
    struct ps_simulated_matrix *matrices;
    size_t                      n_matrices;
    uint32_t                    optimiser; /* enum ps_optimiser [sgd] */

    struct ps_simulated_strategy *strategies; /* [bsp] */
    size_t                        n_strategies;
    uint32_t                      workers[PS_SIMULATED_COUNTS]; /* [8] */
    size_t                        n_workers;
    uint32_t                      shards[PS_SIMULATED_COUNTS]; /* [1] */
    size_t                        n_shards;

    uint32_t workers_per_host, shards_per_host; /* 1 .. 4096 [1] */
    uint32_t cores;                             /* of a host, 1 .. 1024 [4] */
    bool     together; /* the hosts of the workers are those of the shards [false] */
    double   wake_us;  /* until a thread that had nothing to do goes on [10] */

    double bandwidth;  /* of a host's link, bytes/s, each way [1.25e9] */
    double latency_us; /* from host to host [20] */

    /* The threads that send and receive, one of each process. */
    double send_us, receive_us;           /* a message */
    double send_byte_ns, receive_byte_ns; /* a byte of it */

    double shard_message_us;    /* a request, beside the bytes of it */
    double shard_answer_us;     /* an answer */
    double shard_check_byte_ns; /* a byte of a gradient: is it finite? */
    double shard_sum_byte_ns;   /* a byte put or added into a sum */
    double shard_step_byte_ns;  /* a byte of parameters stepped by the optimiser */
    double shard_send_byte_ns;  /* a byte of values answered */

    double worker_call_us;      /* a call, beside its messages */
    double worker_message_us;   /* a message, sent or received */
    double worker_push_byte_ns; /* a byte of a gradient put into a request */
    double worker_pull_byte_ns; /* a byte of values taken out of an answer */

    double compute_ms;     /* of an iteration, on average [40] */
    double compute_spread; /* its standard deviation, as a share of it [0.1] */
    bool   compute_sleeps; /* it takes time, but no core [false] */
    double slow_share;     /* of the workers, that always compute slower [0] */
    double slow_factor;    /* so many times as long [4] */
    double hiccup_rate;    /* of the iterations, that take longer [0] */
    double hiccup_factor;  /* so many times as long [10] */
};

/* `sets` are "a.b=c" overrides, later ones win. */
ps_status ps_simulation_load(struct ps_simulation **out, const char *file,
                             const char *const *sets, size_t n_sets) PS_CHECKED;
ps_status ps_simulation_parse(struct ps_simulation **out, const char *name,
                              const char *text, size_t bytes) PS_CHECKED;
void      ps_simulation_free(struct ps_simulation **s);

/* f32 elements of the model. */
uint64_t ps_simulation_elements(const struct ps_simulation *s);

#endif
