/*
 * config.h - files that people write, turned into structs that programs obey.
 *
 * YAML through libcyaml schemas.  Before the schema sees a file it is parsed once by
 * libyaml, to bound it (1 MiB), to refuse aliases and repeated keys, to apply the
 * `--set` overrides, and to know the line of every key, so that each complaint reads
 *
 *     conf/psd.yaml:7: shards: 257 is out of range, expected 0 to 256
 *     conf/psd.yaml:9: listn: unknown key, expected one of listen, shards, ...
 *     --set job.strategy=bps: bps is unknown, expected one of bsp, asp
 *
 * Text that is empty counts as left out.  An experiment that says nothing at all is
 * refused; a psd.yaml that says nothing is all defaults.
 *
 * Every failure is PS_ERR_CONFIG with one such sentence (PS_ERR_SYSTEM when the file
 * cannot be read).
 *
 * Thread: any; nothing here keeps state.
 */
#ifndef PS_CONFIG_CONFIG_H
#define PS_CONFIG_CONFIG_H

#include "common/base/spec.h"

#include <stdio.h>

/* psd.yaml(5). */
struct ps_daemon_config {
    char *listen;       /* endpoint of the coordinator [tcp://127.0.0.1:5570] */
    char *coordinator;  /* endpoint of another psd's coordinator; NULL: this one is */
    char *shard_listen; /* endpoint that shards bind, port 0 [host of listen]; several
                         * shards add -shardN to an ipc path [path of listen] */
    uint32_t
        shards; /* 0 .. 256, of one that joins 1 .. 256 [one per core, or of `cpus`] */
    char    *token; /* "" = none */
    bool     insecure_plaintext;
    uint32_t log_level;      /* syslog's number [6]; error, warning, info, debug */
    double   worker_silence; /* seconds, 1 .. 3600 [15] */
    double   shard_timeout;  /* seconds, 1 .. 3600 [10] */
    uint32_t max_jobs;       /* 1 .. 4096 [64] */
    uint32_t keep_finished;  /* 0 .. 4096 [16] */
    char    *state;          /* folder of snapshots; NULL: none are made */
    uint32_t keep_snapshots; /* of each shard's part of a run, 2 .. 1024 [2] */
    char    *restore_from;  /* state folder of a psd that is gone, only read; or NULL */
    double   recovery_wait; /* seconds, 0 .. 86400 [30] */
    bool     shared_memory; /* with workers of the same host and user [true] */
    char    *cpus;          /* ps_cpus: shard i runs on the i-th, and so on round;
                             * NULL: anywhere */
    char    *io_cpus;       /* ps_cpus: of the network's threads; NULL: anywhere */
    uint32_t io_threads;    /* of the network, 1 .. 64 [1] */
    uint32_t spin_us;       /* shards look before they sleep, 0 .. 1000 [0] */
};

/* `file` NULL: the defaults.  `sets` are "a.b=c" overrides, later ones win. */
ps_status ps_daemon_config_load(struct ps_daemon_config **out, const char *file,
                                const char *const *sets, size_t n_sets) PS_CHECKED;
ps_status ps_daemon_config_print(const struct ps_daemon_config *c, FILE *to) PS_CHECKED;
void      ps_daemon_config_free(struct ps_daemon_config **c);

/* One `key: value` of the free-form `model:` mapping; lists are joined by commas. */
struct ps_setting {
    char *key;
    char *value;
};

/* Who is meant by a fault. */
enum ps_fault_victim { PS_VICTIM_NONE, PS_VICTIM_PSD, PS_VICTIM_WORKER };

/* One entry of `faults:`, what is done to a process of the run on purpose.  Either
 * `kill` or `stop` says to whom, the other is PS_VICTIM_NONE. */
struct ps_fault {
    uint32_t kill, stop;
    uint32_t process;       /* of psd, below server_processes [0] */
    uint32_t rank;          /* of a worker, below workers [0] */
    uint64_t at_clock;      /* of the job, from 1 */
    bool     restart;       /* kill: it is started again [true] */
    double   restart_after; /* seconds, 0 .. 86400 [0] */
    double   duration;      /* stop: seconds until it goes on, `for` */
};

/* An experiment file, psexp(1).  `job.name` is `name`, `job.seed` is `seed`,
 * `job.workers` is workers.count. */
struct ps_experiment {
    char    *name; /* [the file's name without .yaml] */
    char    *description;
    uint64_t seed;

    uint32_t server_processes; /* psd processes, 1 .. 64 [1] */
    uint32_t server_shards;    /* of all processes together, 1 .. 256 [2] */
    double   worker_silence;   /* seconds until a worker is lost, 1 .. 3600 [15] */
    double   shard_timeout;    /* seconds for a shard's answer, 1 .. 3600 [10] */

    uint32_t workers; /* 1 .. 4096 [1] */
    char    *command; /* the worker program and its arguments */
    double   timeout; /* seconds that a worker's call may wait [30] */

    /* Stragglers on purpose: how many times as long gradients take, 1 .. 1000 [1]. */
    uint32_t slow_rank; /* below workers [0] */
    double   slow_factor;
    double   hiccup_rate; /* share of all workers' iterations, 0 .. 1 [0] */
    double   hiccup_factor;
    double   pace; /* seconds that a batch takes at least, 0 .. 60 [0] */

    struct ps_job_spec job; /* strategy, aggregate, on_loss, nonfinite, optimiser */

    uint32_t epochs, batch; /* [1], [64] per worker */
    uint32_t growth_every;  /* the batch grows after so many epochs each [1] */
    double   growth_factor; /* 1 .. 1000 [1] */
    uint32_t growth_max;    /* samples [1048576] */
    uint32_t base_batch; /* samples that optimiser.lr is meant for; 0: as it is [0] */
    uint64_t limit;      /* samples of the training set; 0 = all */
    bool     prefetch, layerwise; /* [true], [false] */
    double test_every; /* seconds between the tests of an observer; 0: the workers test
                        * after each epoch */
    uint64_t test_limit;    /* samples of the test set; 0 = all */
    double   stop_accuracy; /* end the run when a test reaches it, 0 .. 1; 0: do not */

    size_t           n_faults;
    struct ps_fault *faults;

    char    *data_format; /* idx, libsvm, csv or text [idx] */
    char    *train_features, *train_labels, *test_features, *test_labels;
    uint32_t partition;    /* ps_partition [none] */
    int32_t  label_column; /* of CSV files; negative: from the right [-1] */
    bool     header;       /* of CSV files: the first line holds names */

    size_t             n_model; /* `model:`, handed to the worker as --key value */
    struct ps_setting *model;
};

/* `sets` are "a.b=c" overrides, later ones win. */
ps_status ps_experiment_load(struct ps_experiment **out, const char *file,
                             const char *const *sets, size_t n_sets) PS_CHECKED;

/* The same from text; `name` stands for the file in complaints. */
ps_status ps_experiment_parse(struct ps_experiment **out, const char *name,
                              const char *text, size_t bytes) PS_CHECKED;

/* Everything resolved, as YAML that loads to the same struct. */
ps_status ps_experiment_print(const struct ps_experiment *e, FILE *to) PS_CHECKED;
void      ps_experiment_free(struct ps_experiment **e);

/*
 * The job's learning rate with so many workers.  Where base_batch is given it is
 * optimiser.lr scaled linearly, times samples / base_batch, to the samples that one
 * step averages: the batches of all workers of an iteration where the servers step
 * along their mean (under backup without the spares'), or where a scale makes about one
 * step of W pushes (workers, staleness, versions); one worker's batch where each push
 * is a step of its own, or they are summed.  Windows of several batches play no part: a
 * push is the sum of their gradients, and so as many times as long already.
 *
 * Source: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
 * arXiv:1706.02677, section 2.1.
 */
double ps_experiment_lr(const struct ps_experiment *e, uint32_t workers);

/* All defaults, as if from an empty file. */
ps_status ps_experiment_default(struct ps_experiment **out) PS_CHECKED;

#endif
