/*
 * spec.h - what a job and a matrix are: the plain facts that configuration files
 * say, messages carry and the server obeys.
 *
 * A spec is complete in itself (no pointers), so it is copied by assignment.
 */
#ifndef PS_BASE_SPEC_H
#define PS_BASE_SPEC_H

#include "common/base/limits.h"
#include "common/base/status.h"

#include <stdbool.h>

enum ps_strategy {
    PS_BSP = 1,    /* bulk synchronous */
    PS_ASP = 2,    /* asynchronous */
    PS_SSP = 3,    /* stale synchronous: nobody is more than `slack` ahead */
    PS_BACKUP = 4, /* bulk synchronous without the last `spares` of each iteration */
};

/* What an update is multiplied by where pushes are applied one by one (asp, ssp). */
enum ps_scale {
    PS_SCALE_NONE = 1,
    PS_SCALE_WORKERS = 2,   /* 1 / active workers */
    PS_SCALE_STALENESS = 3, /* 1 / (updates since the pusher's pull + 1) */
    PS_SCALE_VERSIONS = 4,  /* the updates of one version share one unit of weight */
    PS_SCALE_DELAY = 5,     /* g + lambda g^2 (w - w_pull) in place of g */
};

/* What a worker does with its own gradients between two pulls. */
enum ps_local {
    PS_LOCAL_NONE = 1, /* nothing */
    PS_LOCAL_SGD = 2,  /* a plain step with the job's learning rate */
    PS_LOCAL_SAME = 3, /* a step of the job's optimiser, whose state is the worker's */
};

/* What a window of iterations pushes. */
enum ps_average {
    PS_AVERAGE_GRADIENT = 1, /* the sum of its gradients */
    PS_AVERAGE_MODEL = 2,    /* how far its local steps have led */
};

#define PS_WINDOW_MAX 1000000u /* of nfetch and npush */

#define PS_SLACK_MAX 1000000u

enum ps_aggregate {
    PS_MEAN = 1, /* weighted by samples */
    PS_SUM = 2,
};

/* What happens to the others when a worker is lost. */
enum ps_on_loss {
    PS_LOSS_SHRINK = 1, /* they go on without it */
    PS_LOSS_WAIT = 2,   /* they wait for it until their deadline */
    PS_LOSS_ABORT = 3,  /* the job ends */
};

enum ps_nonfinite {
    PS_NONFINITE_REFUSE = 1, /* the push fails, nothing changes */
    PS_NONFINITE_SKIP = 2,   /* acknowledged, counted, contributes nothing */
};

/* When a push is acknowledged. */
enum ps_ack {
    PS_ACK_APPLIED = 1, /* in memory: a crash may take back what no snapshot holds */
    PS_ACK_DURABLE = 2, /* on disk, in a snapshot */
};

#define PS_SNAPSHOT_MS_MAX 86400000u

enum ps_schedule {
    PS_LR_CONSTANT = 1,
    PS_LR_STEP = 2,        /* lr * factor ^ floor(t / every) */
    PS_LR_EXPONENTIAL = 3, /* lr * factor ^ (t / every) */
    PS_LR_COSINE = 4,      /* from lr to floor * lr over `every`, then stays */
    PS_LR_WARMUP = 5,      /* constant after the warm-up */
};

/* Learning rate as a function of the clock t (0 for the first iteration). */
struct ps_schedule_spec {
    uint32_t kind;   /* enum ps_schedule */
    double   factor; /* in (0, 1] */
    double   floor;  /* in [0, 1] */
    uint64_t every;  /* in units, >= 1 */
    uint64_t warmup; /* in units: lr * (t + 1) / warmup before; 0 = none */
    bool     epochs; /* the unit is an epoch (clocks_per_epoch), else a clock */
};

struct ps_optimiser_spec {
    uint32_t kind; /* enum ps_optimiser, never PS_OPTIMISER_JOB */
    double   lr;   /* > 0 */
    double   momentum;
    double   beta1, beta2;
    double   rho; /* rmsprop: decay of the mean square */
    double   epsilon;
    double   weight_decay;
    double   ftrl_beta, ftrl_l1, ftrl_l2;

    struct ps_schedule_spec schedule;
};

struct ps_job_spec {
    char     name[PS_NAME_BYTES];
    uint32_t workers;          /* ranks 0 .. workers-1 */
    uint32_t strategy;         /* enum ps_strategy */
    uint32_t spares;           /* backup: workers that an iteration does not wait for */
    uint64_t slack;            /* ssp: iterations, up to PS_SLACK_MAX */
    uint32_t scale;            /* asp, ssp: enum ps_scale */
    double   lambda;           /* of PS_SCALE_DELAY, >= 0 */
    uint64_t nfetch, npush;    /* batches from pull to pull, from push to push */
    uint32_t local;            /* enum ps_local */
    uint32_t average;          /* enum ps_average */
    uint32_t aggregate;        /* enum ps_aggregate */
    uint32_t on_loss;          /* enum ps_on_loss */
    uint32_t nonfinite;        /* enum ps_nonfinite */
    uint64_t seed;             /* of initialisers, sample order, random streams */
    uint64_t clocks_per_epoch; /* 0: unknown, schedules in epochs are refused */
    uint32_t ack;              /* enum ps_ack */

    /* A snapshot after so many clocks (bsp, backup) or updates of a shard (asp, ssp),
     * 0: none for that reason; asp, ssp: and after so many milliseconds, 0: the same.
     */
    uint64_t snapshot_every;
    uint32_t snapshot_ms;

    /* bsp, backup: iterations that a crash may take back, at least snapshot_every; 0:
     * as many as are closed while disks are writing. */
    uint64_t max_rollback;

    struct ps_optimiser_spec optimiser;
};

struct ps_matrix_spec {
    char     name[PS_NAME_BYTES];
    uint32_t number; /* within the job, given by the coordinator */
    uint32_t dtype;  /* ps_dtype */
    bool     sparse; /* rows by u64 key, created at first touch; `rows` is 0 */
    uint64_t rows, cols;
    uint32_t init; /* ps_init */
    double   init_a, init_b;
    uint32_t optimiser;    /* ps_optimiser; PS_OPTIMISER_JOB: the job's */
    double   weight_decay; /* NAN: the job's */
    uint64_t max_rows;     /* sparse: of all shards together; 0: any */
    uint32_t evict;        /* ps_evict: what happens when they are there */
};

/*
 * Part `index` of a snapshot of a job that had n_shards shards.  Under bsp and backup
 * `set` is the clock, the same in all parts of a snapshot; under asp and ssp, where
 * each shard saves for itself, it counts the snapshots of that shard.  `life` is the
 * job's when it was saved (JOB): after a rollback the same set may be saved again, of
 * other members, and parts of different lives do not make a snapshot.
 */
struct ps_part {
    uint32_t index, n_shards;
    uint64_t set, life;
};

/* bsp, mean, shrink, refuse, sgd with lr 0.01, one worker, 1 spare, slack 3, no scale,
 * lambda 0.04, windows of 1 batch, local sgd, gradients, applied, no snapshots; the
 * name is empty. */
struct ps_job_spec ps_job_spec_default(void);

/*
 * lr 0.01 (0.001 for rmsprop, adam and adamw), momentum 0.9, beta1 0.9, beta2 0.999,
 * rho 0.9, epsilon 1e-8 (1e-10 for adagrad), no weight decay (0.01 for adamw),
 * ftrl_beta 1, no l1 or l2; a constant rate.
 */
struct ps_optimiser_spec ps_optimiser_spec_default(uint32_t kind);

/*
 * Is this a name for a job or a matrix?  1 to PS_NAME_BYTES - 1 printable ASCII
 * characters, no blank and no '/', not starting with '.' or '-': it can be a file's
 * name, a part of a URL and a word of a command.  `what` starts the sentence ("job",
 * "matrix").  A metric's name may hold blanks and slashes ("train/loss") and start
 * with anything.  PS_ERR_BAD_ARG.
 */
ps_status ps_name_check(const char *what, const char *name) PS_CHECKED;
ps_status ps_metric_name_check(const char *name) PS_CHECKED;

/*
 * Is every field in its range?  The sentence names the field and what was
 * expected.  PS_ERR_CONFIG, PS_ERR_BAD_ARG for a matrix.
 */
ps_status ps_job_spec_check(const struct ps_job_spec *spec) PS_CHECKED;
ps_status ps_matrix_spec_check(const struct ps_matrix_spec *spec) PS_CHECKED;

/*
 * PS_OK when both say the same; else PS_ERR_MISMATCH and a sentence that names
 * the first field that differs and both values ("job lenet: optimiser.lr is 0.1
 * here and 0.01 in the job").  A dtype, rows or cols that differs is PS_ERR_SHAPE.
 * The number of a matrix does not count.
 */
ps_status ps_job_spec_same(const struct ps_job_spec *mine,
                           const struct ps_job_spec *jobs) PS_CHECKED;
ps_status ps_matrix_spec_same(const struct ps_matrix_spec *mine,
                              const struct ps_matrix_spec *jobs) PS_CHECKED;

/* The words of configuration files and reports; NULL when there is none. */
const char *ps_optimiser_name(uint32_t kind);
const char *ps_strategy_name(uint32_t kind);
const char *ps_dtype_name(uint32_t dtype);

/* Does the job save itself, so that it survives the end of a psd? */
static inline bool ps_job_is_saved(const struct ps_job_spec *job)
{
    return job->snapshot_every > 0 || job->snapshot_ms > 0 ||
           job->ack == PS_ACK_DURABLE;
}

/* Bytes of one element; 0 for an unknown type. */
size_t ps_dtype_bytes(uint32_t dtype);

#define PS_ELEMENTS_MAX (UINT64_C(1) << 40) /* of a dense matrix, of a sparse row */

/* Elements of a dense matrix. */
static inline uint64_t ps_matrix_elements(const struct ps_matrix_spec *m)
{
    return m->rows * m->cols;
}

#endif
