/* experiment.c - an experiment file, psexp(1), as struct ps_experiment; see config.h.
 */
#include "common/config/experiment_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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
         .worker_silence = 15,
         .shard_timeout = 10,
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

/* A layer leaves with each batch and comes back before the next. */
static ps_status check_layerwise(const struct ps_experiment *e,
                                 const struct ps_node *tree, const char *file)
{
    char where[PS_WHERE_BYTES];

    if (!e->layerwise ||
        (e->job.nfetch == 1 && e->job.npush == 1 && e->job.average != PS_AVERAGE_MODEL))
        return PS_OK;
    ps_tree_where(tree, "train.layerwise", file, where);
    return ps_fail(PS_ERR_CONFIG,
                   "%s: true with job.nfetch %" PRIu64 ", job.npush %" PRIu64
                   " and job.average %s, expected 1, 1 and gradient",
                   where, e->job.nfetch, e->job.npush,
                   e->job.average == PS_AVERAGE_MODEL ? "model" : "gradient");
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

/* ---- life ----------------------------------------------------------------------- */

static ps_status finish(struct ps_experiment *e, const struct ps_node *tree,
                        const char *file)
{
    struct ps_experiment unsaid = defaults(e, tree);
    ps_status            st = ps_schema_fill(&ps_experiment_schema, tree, e, &unsaid);

    if (!st && !e->name)
        st = name_of_file(file, &e->name);
    if (st || (st = check_name(e, tree, file)) || (st = check_servers(e, tree, file)) ||
        (st = check_slow(e, tree, file)) || (st = check_growth(e, tree, file)) ||
        (st = check_layerwise(e, tree, file)) || (st = check_data(e, tree, file)) ||
        (st = ps_experiment_load_faults(e, ps_node_find(tree, "faults"), file)) ||
        (st = ps_experiment_load_model(e, ps_node_find(tree, "model"), file)))
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
    ps_status             st = ps_schema_load(&data, &ps_experiment_schema, tree, file);

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
    ps_status       st = ps_schema_tree(&tree, &ps_experiment_schema, e);

    if (!st && e->n_model > 0)
        st = ps_experiment_print_model(e, tree);
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
    ps_schema_free(&ps_experiment_schema, &data);
    *e = NULL;
}
