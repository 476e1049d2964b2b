/* experiment.c - an experiment file, psexp(1), as struct ps_experiment; see config.h.
 */
#include "common/config/config.h"
#include "common/config/schema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define LONG_TEXT_BYTES 4095u
#define BATCH_MAX 1048576

/* ---- the keys ------------------------------------------------------------------- */

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
    MAPPING("data", data_fields),
    CYAML_FIELD_IGNORE("model", OPTIONAL),
    CYAML_FIELD_END,
};

static const struct ps_range ranges[] = {
    { .path = "seed", .max = INFINITY },
    { .path = "servers.processes", .min = 1, .max = 64 },
    { .path = "servers.shards", .min = 1, .max = PS_SHARDS_MAX },
    { .path = "workers.count", .min = 1, .max = PS_WORKERS_MAX },
    { .path = "workers.timeout", .min = 0.1, .max = 86400 },
    { .path = "job.slack", .max = PS_SLACK_MAX },
    { .path = "job.lambda", .max = INFINITY },
    { .path = "job.nfetch", .min = 1, .max = PS_WINDOW_MAX },
    { .path = "job.npush", .min = 1, .max = PS_WINDOW_MAX },
    { .path = "job.spares", .max = PS_WORKERS_MAX - 1 },
    { .path = "job.snapshot_every", .max = INFINITY },
    { .path = "job.snapshot_ms", .max = PS_SNAPSHOT_MS_MAX },
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
    { .path = "data.label_column", .min = -1048576, .max = 1048575 },
};

static const struct ps_schema schema = {
    .root = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct ps_experiment, fields) },
    .ranges = ranges,
    .n_ranges = COUNT(ranges),
};

/* ---- what the schema leaves open ------------------------------------------------ */

/* "conf/experiments/lenet.yaml" gives "lenet". */
static ps_status name_of_file(const char *file, char **out)
{
    const char *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;
    const char *dot = strrchr(base, '.');
    bool        yaml = dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));

    *out = strndup(base, yaml ? (size_t)(dot - base) : strlen(base));
    return *out ? PS_OK : ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for its name", file);
}

/* Its texts are not to be freed: ps_schema_fill copies them. */
static struct ps_experiment defaults(const struct ps_experiment *said,
                                     const struct ps_node       *tree)
{
    const struct ps_node *optimiser = ps_node_find(tree, "optimiser");
    struct ps_experiment  e = {
         .server_processes = 1,
         .server_shards = 2,
         .workers = 1,
         .timeout = 30,
         .slow_factor = 1,
         .hiccup_factor = 1,
         .job = ps_job_spec_default(),
         .epochs = 1,
         .batch = 64,
         .growth_every = 1,
         .growth_factor = 1,
         .growth_max = BATCH_MAX,
         .prefetch = true,
         .data_format = (char *)"idx",
         .label_column = -1,
    };

    if (said->server_processes > e.server_shards)
        e.server_shards = said->server_processes; /* one each */
    if (ps_node_find(optimiser, "name"))
        e.job.optimiser = ps_optimiser_spec_default(said->job.optimiser.kind);
    return e;
}

static ps_status check_name(const struct ps_experiment *e, const struct ps_node *tree,
                            const char *file)
{
    char      where[PS_WHERE_BYTES];
    ps_status st;

    ps_tree_where(tree, "name", file, where);
    st = ps_name_check(where, e->name);
    return st == PS_ERR_BAD_ARG ? PS_ERR_CONFIG : st;
}

static ps_status check_servers(const struct ps_experiment *e,
                               const struct ps_node *tree, const char *file)
{
    char where[PS_WHERE_BYTES];

    if (e->server_shards >= e->server_processes)
        return PS_OK;
    ps_tree_where(tree, "servers.shards", file, where);
    return ps_fail(PS_ERR_CONFIG, "%s: %u for %u processes, expected at least one each",
                   where, e->server_shards, e->server_processes);
}

static ps_status check_slow(const struct ps_experiment *e, const struct ps_node *tree,
                            const char *file)
{
    char where[PS_WHERE_BYTES];

    if (e->slow_rank < e->workers)
        return PS_OK;
    ps_tree_where(tree, "workers.slow.rank", file, where);
    return ps_fail(PS_ERR_CONFIG, "%s: %u of %u workers, expected 0 to %u", where,
                   e->slow_rank, e->workers, e->workers - 1);
}

/* Epochs of growing batches have fewer and fewer iterations. */
static ps_status check_growth(const struct ps_experiment *e, const struct ps_node *tree,
                              const char *file)
{
    char where[PS_WHERE_BYTES];

    if (e->growth_factor == 1)
        return PS_OK;
    if (e->growth_max < e->batch) {
        ps_tree_where(tree, "train.batch_growth.max", file, where);
        return ps_fail(PS_ERR_CONFIG, "%s: %u is below train.batch, %u", where,
                       e->growth_max, e->batch);
    }
    if (!e->job.optimiser.schedule.epochs)
        return PS_OK;
    ps_tree_where(tree, "optimiser.schedule.unit", file, where);
    return ps_fail(PS_ERR_CONFIG,
                   "%s: epoch, but under train.batch_growth epochs are not equally "
                   "long, expected clock",
                   where);
}

static ps_status check_data(const struct ps_experiment *e, const struct ps_node *tree,
                            const char *file)
{
    static const char *const formats[] = { "idx", "libsvm", "csv", "text" };
    char                     where[PS_WHERE_BYTES], shown[PS_SHOWN_BYTES];

    for (size_t i = 0; i < COUNT(formats); i++)
        if (!strcmp(e->data_format, formats[i]))
            return PS_OK;
    ps_tree_where(tree, "data.format", file, where);
    ps_shown(e->data_format, shown);
    return ps_fail(PS_ERR_CONFIG,
                   "%s: %s is unknown, expected one of idx, libsvm, csv, text", where,
                   shown);
}

/* The ranges say the same with file and line; this is the word of those who obey. */
static ps_status check_job(const struct ps_experiment *e)
{
    struct ps_job_spec job = e->job;

    if (job.optimiser.schedule.epochs)
        job.clocks_per_epoch = 1; /* known when the data set is */
    return ps_job_spec_check(&job);
}

/* ---- model: -----------------------------------------------------------------------
 */

static ps_status bad_setting(const struct ps_node *node, const char *file,
                             const char *fact)
{
    char where[PS_WHERE_BYTES];

    ps_node_where(node, file, where);
    return ps_fail(PS_ERR_CONFIG, "%s: %s", where, fact);
}

static ps_status check_item(const struct ps_node *item, const char *file)
{
    if (item->kind != PS_NODE_TEXT)
        return bad_setting(item, file,
                           "a list or mapping within, expected words or numbers");
    if (!*item->text && !item->quoted)
        return bad_setting(item, file, "found no value, expected a word or number");
    return PS_OK;
}

static ps_status check_setting(const struct ps_node *node, const char *file)
{
    size_t    bytes = strlen(node->key);
    ps_status st = PS_OK;

    if (node->key[0] < 'a' || node->key[0] > 'z' || bytes >= PS_NAME_BYTES ||
        node->key[strspn(node->key, "abcdefghijklmnopqrstuvwxyz0123456789_-")])
        return bad_setting(node, file,
                           "not an option's name, expected up to 127 of a-z, 0-9, _ "
                           "and -, the first of a-z");
    if (node->kind == PS_NODE_MAP)
        return bad_setting(node, file,
                           "found a mapping, expected a word, a number or a list");
    if (node->kind == PS_NODE_TEXT)
        return check_item(node, file);
    if (node->n == 0)
        return bad_setting(node, file, "found an empty list, expected values in it");
    for (size_t i = 0; !st && i < node->n; i++)
        st = check_item(node->children[i], file);
    return st;
}

/* A list becomes "a,b"; NULL without memory. */
static char *value_of(const struct ps_node *node)
{
    size_t bytes = 1;
    char  *value, *end;

    if (node->kind == PS_NODE_TEXT)
        return strdup(node->text);
    for (size_t i = 0; i < node->n; i++)
        bytes += strlen(node->children[i]->text) + 1;
    if (!(value = end = malloc(bytes)))
        return NULL;
    for (size_t i = 0; i < node->n; i++) {
        if (i > 0)
            *end++ = ',';
        end = stpcpy(end, node->children[i]->text);
    }
    return value;
}

static ps_status load_model(struct ps_experiment *e, const struct ps_node *model,
                            const char *file)
{
    ps_status st;

    if (!model || (model->kind == PS_NODE_MAP && model->n == 0))
        return PS_OK;
    if (model->kind != PS_NODE_MAP)
        return bad_setting(model, file,
                           "not a mapping, expected options of the worker");
    if (!(e->model = calloc(model->n, sizeof(*e->model))))
        goto no_memory;
    for (size_t i = 0; i < model->n; i++) {
        const struct ps_node *node = model->children[i];

        if ((st = check_setting(node, file)))
            return st;
        e->n_model = i + 1;
        e->model[i].key = strdup(node->key);
        e->model[i].value = value_of(node);
        if (!e->model[i].key || !e->model[i].value)
            goto no_memory;
    }
    return PS_OK;

no_memory:
    return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for its model", file);
}

static ps_status print_model(const struct ps_experiment *e, struct ps_node *tree)
{
    struct ps_node *model, *node;
    ps_status       st = ps_node_add(tree, PS_NODE_MAP, "model", NULL, &model);

    for (size_t i = 0; !st && i < e->n_model; i++) {
        st =
            ps_node_add(model, PS_NODE_TEXT, e->model[i].key, e->model[i].value, &node);
        if (!st)
            node->quoted = true;
    }
    return st;
}

/* ---- life ----------------------------------------------------------------------- */

static ps_status finish(struct ps_experiment *e, const struct ps_node *tree,
                        const char *file)
{
    struct ps_experiment unsaid = defaults(e, tree);
    ps_status            st = ps_schema_fill(&schema, tree, e, &unsaid);

    if (!st && !e->name)
        st = name_of_file(file, &e->name);
    if (st || (st = check_name(e, tree, file)) || (st = check_servers(e, tree, file)) ||
        (st = check_slow(e, tree, file)) || (st = check_growth(e, tree, file)) ||
        (st = check_data(e, tree, file)) ||
        (st = load_model(e, ps_node_find(tree, "model"), file)))
        return st;
    snprintf(e->job.name, sizeof(e->job.name), "%s", e->name);
    e->job.seed = e->seed;
    e->job.workers = e->workers;
    return check_job(e);
}

static ps_status load(struct ps_experiment **out, const struct ps_node *tree,
                      const char *file)
{
    struct ps_experiment *e;
    void                 *data;
    ps_status             st = ps_schema_load(&data, &schema, tree, file);

    if (st)
        return st;
    e = data;
    if ((st = finish(e, tree, file))) {
        ps_experiment_free(&e);
        return st;
    }
    *out = e;
    return PS_OK;
}

static ps_status says_something(const struct ps_node *tree, const char *file)
{
    if (tree->kind != PS_NODE_MAP || tree->n > 0)
        return PS_OK;
    return ps_fail(PS_ERR_CONFIG, "%s: empty, expected the keys of an experiment",
                   file);
}

static double samples_of_a_step(const struct ps_experiment *e, uint32_t workers)
{
    const struct ps_job_spec *job = &e->job;
    uint32_t                  averaged = 1;

    if (job->strategy == PS_BSP || job->strategy == PS_BACKUP) {
        uint32_t spares = job->strategy == PS_BACKUP ? job->spares : 0;

        if (job->aggregate == PS_MEAN && workers > spares)
            averaged = workers - spares;
    } else if (job->scale != PS_SCALE_NONE && job->scale != PS_SCALE_DELAY) {
        averaged = workers;
    }
    return (double)averaged * e->batch;
}

double ps_experiment_lr(const struct ps_experiment *e, uint32_t workers)
{
    double lr = e->job.optimiser.lr;

    return e->base_batch ? lr * samples_of_a_step(e, workers) / e->base_batch : lr;
}

ps_status ps_experiment_load(struct ps_experiment **out, const char *file,
                             const char *const *sets, size_t n_sets)
{
    struct ps_node *tree;
    ps_status       st = ps_tree_read(&tree, file);

    if (!st)
        st = says_something(tree, file);
    for (size_t i = 0; !st && i < n_sets; i++)
        st = ps_tree_set(tree, sets[i]);
    if (!st)
        st = load(out, tree, file);
    ps_tree_free(&tree);
    return st;
}

ps_status ps_experiment_parse(struct ps_experiment **out, const char *name,
                              const char *text, size_t bytes)
{
    struct ps_node *tree;
    ps_status       st = ps_tree_parse(&tree, name, text, bytes);

    if (!st)
        st = says_something(tree, name);
    if (!st)
        st = load(out, tree, name);
    ps_tree_free(&tree);
    return st;
}

ps_status ps_experiment_default(struct ps_experiment **out)
{
    struct ps_node *tree;
    ps_status       st = ps_tree_parse(&tree, "default", "", 0);

    if (st)
        return st;
    st = load(out, tree, "default");
    ps_tree_free(&tree);
    return st;
}

ps_status ps_experiment_print(const struct ps_experiment *e, FILE *to)
{
    struct ps_node *tree;
    ps_status       st = ps_schema_tree(&tree, &schema, e);

    if (!st && e->n_model > 0)
        st = print_model(e, tree);
    if (!st)
        st = ps_tree_print(tree, to);
    ps_tree_free(&tree);
    return st;
}

void ps_experiment_free(struct ps_experiment **e)
{
    void *data = *e;

    if (!*e)
        return;
    for (size_t i = 0; i < (*e)->n_model; i++) {
        free((*e)->model[i].key);
        free((*e)->model[i].value);
    }
    free((*e)->model);
    ps_schema_free(&schema, &data);
    *e = NULL;
}
