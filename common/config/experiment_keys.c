/* experiment_keys.c - the keys of an experiment file, and what their values may be; see
 * experiment_private.h. */
#include "common/config/experiment_private.h"

#include <math.h>

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define LONG_TEXT_BYTES 4095u
#define FAULTS_MAX 256u

static const cyaml_strval_t strategies[] = {
    { "bsp", PS_BSP }, { "asp", PS_ASP }, { "ssp", PS_SSP }, { "backup", PS_BACKUP }
};
static const cyaml_strval_t scales[] = { { "none", PS_SCALE_NONE },
                                         { "workers", PS_SCALE_WORKERS },
                                         { "staleness", PS_SCALE_STALENESS },
                                         { "versions", PS_SCALE_VERSIONS },
                                         { "delay-compensated", PS_SCALE_DELAY } };
static const cyaml_strval_t locals[] = { { "none", PS_LOCAL_NONE },
                                         { "sgd", PS_LOCAL_SGD },
                                         { "same", PS_LOCAL_SAME } };
static const cyaml_strval_t averages[] = { { "gradient", PS_AVERAGE_GRADIENT },
                                           { "model", PS_AVERAGE_MODEL } };
static const cyaml_strval_t aggregates[] = { { "mean", PS_MEAN }, { "sum", PS_SUM } };
static const cyaml_strval_t losses[] = {
    { "shrink", PS_LOSS_SHRINK },
    { "wait", PS_LOSS_WAIT },
    { "abort", PS_LOSS_ABORT },
};
static const cyaml_strval_t nonfinites[] = {
    { "refuse", PS_NONFINITE_REFUSE },
    { "skip", PS_NONFINITE_SKIP },
};
static const cyaml_strval_t acks[] = {
    { "applied", PS_ACK_APPLIED },
    { "durable", PS_ACK_DURABLE },
};
static const cyaml_strval_t optimisers[] = {
    { "sgd", PS_SGD },         { "momentum", PS_MOMENTUM }, { "nesterov", PS_NESTEROV },
    { "adagrad", PS_ADAGRAD }, { "rmsprop", PS_RMSPROP },   { "adam", PS_ADAM },
    { "adamw", PS_ADAMW },     { "ftrl", PS_FTRL },         { "assign", PS_ASSIGN },
    { "add", PS_ADD },
};
static const cyaml_strval_t schedules[] = {
    { "constant", PS_LR_CONSTANT },       { "step", PS_LR_STEP },
    { "exponential", PS_LR_EXPONENTIAL }, { "cosine", PS_LR_COSINE },
    { "warmup", PS_LR_WARMUP },
};
static const cyaml_strval_t partitions[] = {
    { "none", PS_PARTITION_NONE },
    { "disjoint_contiguous", PS_PARTITION_DISJOINT_CONTIGUOUS },
    { "disjoint_round_robin", PS_PARTITION_DISJOINT_ROUND_ROBIN },
    { "disjoint_random", PS_PARTITION_DISJOINT_RANDOM },
    { "overlap_reshuffle", PS_PARTITION_OVERLAP_RESHUFFLE },
};
static const cyaml_strval_t victims[] = {
    { "psd", PS_VICTIM_PSD },
    { "worker", PS_VICTIM_WORKER },
};
static const cyaml_strval_t units[] = { { "clock", false }, { "epoch", true } };

#define TEXT(key, member, bytes)                                                       \
    CYAML_FIELD_STRING_PTR(key, OPTIONAL, struct ps_experiment, member, 0, bytes)
#define WHOLE(key, member) CYAML_FIELD_UINT(key, OPTIONAL, struct ps_experiment, member)
#define REAL(key, member) CYAML_FIELD_FLOAT(key, OPTIONAL, struct ps_experiment, member)
#define WORD(key, member, words)                                                       \
    CYAML_FIELD_ENUM(key, OPTIONAL, struct ps_experiment, member, words, COUNT(words))

/* A mapping of the file; its values lie in the one struct. */
#define MAPPING(name, fields)                                                          \
    {                                                                                  \
        .key = name,                                                                   \
        .value = { CYAML_VALUE_MAPPING(OPTIONAL, struct ps_experiment, fields) },      \
    }

static const cyaml_schema_field_t server_fields[] = {
    WHOLE("processes", server_processes),
    WHOLE("shards", server_shards),
    REAL("worker_silence", worker_silence), /* seconds */
    REAL("shard_timeout", shard_timeout),   /* seconds */
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t slow_fields[] = {
    WHOLE("rank", slow_rank),
    REAL("factor", slow_factor),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t hiccup_fields[] = {
    REAL("rate", hiccup_rate),
    REAL("factor", hiccup_factor),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t worker_fields[] = {
    WHOLE("count", workers),
    TEXT("command", command, LONG_TEXT_BYTES),
    REAL("timeout", timeout), /* seconds */
    REAL("pace", pace),       /* seconds */
    MAPPING("slow", slow_fields),
    MAPPING("hiccups", hiccup_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t job_fields[] = {
    WORD("strategy", job.strategy, strategies),
    WHOLE("slack", job.slack),
    WHOLE("spares", job.spares),
    WORD("scale", job.scale, scales),
    REAL("lambda", job.lambda),
    WHOLE("nfetch", job.nfetch),
    WHOLE("npush", job.npush),
    WORD("local", job.local, locals),
    WORD("average", job.average, averages),
    WORD("aggregate", job.aggregate, aggregates),
    WORD("on_loss", job.on_loss, losses),
    WORD("nonfinite", job.nonfinite, nonfinites),
    WORD("ack", job.ack, acks),
    WHOLE("snapshot_every", job.snapshot_every),
    WHOLE("snapshot_ms", job.snapshot_ms),
    WHOLE("max_rollback", job.max_rollback),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t schedule_fields[] = {
    WORD("type", job.optimiser.schedule.kind, schedules),
    REAL("factor", job.optimiser.schedule.factor),
    REAL("floor", job.optimiser.schedule.floor),
    WHOLE("every", job.optimiser.schedule.every),
    WHOLE("warmup", job.optimiser.schedule.warmup),
    WORD("unit", job.optimiser.schedule.epochs, units),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t optimiser_fields[] = {
    WORD("name", job.optimiser.kind, optimisers),
    REAL("lr", job.optimiser.lr),
    WHOLE("base_batch", base_batch),
    REAL("momentum", job.optimiser.momentum),
    REAL("beta1", job.optimiser.beta1),
    REAL("beta2", job.optimiser.beta2),
    REAL("rho", job.optimiser.rho),
    REAL("epsilon", job.optimiser.epsilon),
    REAL("weight_decay", job.optimiser.weight_decay),
    REAL("ftrl_beta", job.optimiser.ftrl_beta),
    REAL("ftrl_l1", job.optimiser.ftrl_l1),
    REAL("ftrl_l2", job.optimiser.ftrl_l2),
    MAPPING("schedule", schedule_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t growth_fields[] = {
    WHOLE("every", growth_every), /* epochs */
    REAL("factor", growth_factor),
    WHOLE("max", growth_max),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t train_fields[] = {
    WHOLE("epochs", epochs),
    WHOLE("batch", batch),
    MAPPING("batch_growth", growth_fields),
    WHOLE("limit", limit),
    CYAML_FIELD_BOOL("prefetch", OPTIONAL, struct ps_experiment, prefetch),
    CYAML_FIELD_BOOL("layerwise", OPTIONAL, struct ps_experiment, layerwise),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t test_fields[] = {
    REAL("every", test_every), /* seconds */
    WHOLE("limit", test_limit),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t stop_fields[] = {
    REAL("accuracy", stop_accuracy),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t fault_fields[] = {
    CYAML_FIELD_ENUM("kill", OPTIONAL, struct ps_fault, kill, victims, COUNT(victims)),
    CYAML_FIELD_ENUM("stop", OPTIONAL, struct ps_fault, stop, victims, COUNT(victims)),
    CYAML_FIELD_UINT("process", OPTIONAL, struct ps_fault, process),
    CYAML_FIELD_UINT("rank", OPTIONAL, struct ps_fault, rank),
    CYAML_FIELD_UINT("at_clock", OPTIONAL, struct ps_fault, at_clock),
    CYAML_FIELD_BOOL("restart", OPTIONAL, struct ps_fault, restart),
    CYAML_FIELD_FLOAT("restart_after", OPTIONAL, struct ps_fault, restart_after),
    CYAML_FIELD_FLOAT("for", OPTIONAL, struct ps_fault, duration),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t one_fault = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct ps_fault, fault_fields),
};

static const cyaml_schema_field_t data_fields[] = {
    TEXT("format", data_format, LONG_TEXT_BYTES),
    TEXT("train_features", train_features, LONG_TEXT_BYTES),
    TEXT("train_labels", train_labels, LONG_TEXT_BYTES),
    TEXT("test_features", test_features, LONG_TEXT_BYTES),
    TEXT("test_labels", test_labels, LONG_TEXT_BYTES),
    WORD("partition", partition, partitions),
    CYAML_FIELD_INT("label_column", OPTIONAL, struct ps_experiment, label_column),
    CYAML_FIELD_BOOL("header", OPTIONAL, struct ps_experiment, header),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t fields[] = {
    TEXT("name", name, PS_NAME_BYTES - 1),
    TEXT("description", description, LONG_TEXT_BYTES),
    WHOLE("seed", seed),
    MAPPING("servers", server_fields),
    MAPPING("workers", worker_fields),
    MAPPING("job", job_fields),
    MAPPING("optimiser", optimiser_fields),
    MAPPING("train", train_fields),
    MAPPING("test", test_fields),
    MAPPING("stop", stop_fields),
    CYAML_FIELD_SEQUENCE_COUNT("faults", OPTIONAL | CYAML_FLAG_POINTER,
                               struct ps_experiment, faults, n_faults, &one_fault, 0,
                               FAULTS_MAX),
    MAPPING("data", data_fields),
    CYAML_FIELD_IGNORE("model", OPTIONAL),
    CYAML_FIELD_END,
};

static const struct ps_range ranges[] = {
    { .path = "seed", .max = INFINITY },
    { .path = "servers.processes", .min = 1, .max = 64 },
    { .path = "servers.shards", .min = 1, .max = PS_SHARDS_MAX },
    { .path = "servers.worker_silence", .min = 1, .max = 3600 },
    { .path = "servers.shard_timeout", .min = 1, .max = 3600 },
    { .path = "workers.count", .min = 1, .max = PS_WORKERS_MAX },
    { .path = "workers.timeout", .min = 0.1, .max = 86400 },
    { .path = "job.slack", .max = PS_SLACK_MAX },
    { .path = "job.lambda", .max = INFINITY },
    { .path = "job.nfetch", .min = 1, .max = PS_WINDOW_MAX },
    { .path = "job.npush", .min = 1, .max = PS_WINDOW_MAX },
    { .path = "job.spares", .max = PS_WORKERS_MAX - 1 },
    { .path = "job.snapshot_every", .max = INFINITY },
    { .path = "job.snapshot_ms", .max = PS_SNAPSHOT_MS_MAX },
    { .path = "job.max_rollback", .max = INFINITY },
    { .path = "workers.pace", .max = 60 },
    { .path = "workers.slow.rank", .max = PS_WORKERS_MAX - 1 },
    { .path = "workers.slow.factor", .min = 1, .max = 1000 },
    { .path = "workers.hiccups.rate", .max = 1 },
    { .path = "workers.hiccups.factor", .min = 1, .max = 1000 },
    { .path = "optimiser.lr", .max = INFINITY, .above = true },
    { .path = "optimiser.base_batch", .max = UINT32_MAX },
    { .path = "optimiser.momentum", .max = 1, .below = true },
    { .path = "optimiser.beta1", .max = 1, .below = true },
    { .path = "optimiser.beta2", .max = 1, .below = true },
    { .path = "optimiser.rho", .max = 1, .below = true },
    { .path = "optimiser.epsilon", .max = INFINITY, .above = true },
    { .path = "optimiser.weight_decay", .max = INFINITY },
    { .path = "optimiser.ftrl_beta", .max = INFINITY },
    { .path = "optimiser.ftrl_l1", .max = INFINITY },
    { .path = "optimiser.ftrl_l2", .max = INFINITY },
    { .path = "optimiser.schedule.factor", .max = 1, .above = true },
    { .path = "optimiser.schedule.floor", .max = 1 },
    { .path = "optimiser.schedule.every", .min = 1, .max = INFINITY },
    { .path = "optimiser.schedule.warmup", .max = INFINITY },
    { .path = "train.epochs", .min = 1, .max = 1000000 },
    { .path = "train.batch", .min = 1, .max = BATCH_MAX },
    { .path = "train.batch_growth.every", .min = 1, .max = 1000000 },
    { .path = "train.batch_growth.factor", .min = 1, .max = 1000 },
    { .path = "train.batch_growth.max", .min = 1, .max = BATCH_MAX },
    { .path = "train.limit", .max = INFINITY },
    { .path = "test.every", .max = 86400 },
    { .path = "test.limit", .max = INFINITY },
    { .path = "stop.accuracy", .max = 1 },
    { .path = "faults.process", .max = 63 },
    { .path = "faults.rank", .max = PS_WORKERS_MAX - 1 },
    { .path = "faults.at_clock", .min = 1, .max = INFINITY },
    { .path = "faults.restart_after", .max = 86400 },
    { .path = "faults.for", .max = 86400 },
    { .path = "data.label_column", .min = -1048576, .max = 1048575 },
};

const struct ps_schema ps_experiment_schema = {
    .root = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct ps_experiment, fields) },
    .ranges = ranges,
    .n_ranges = COUNT(ranges),
};
