/* simulation.c - a cluster on paper, psim(1), as struct ps_simulation; see
 * simulation.h.
 */
#include "common/config/simulation.h"
#include "common/config/schema.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LONG_TEXT_BYTES 4095u
#define LIST_MAX 256u
#define MODEL_BYTES_MAX (1e12)

/* ---- the keys ------------------------------------------------------------------- */

static const cyaml_strval_t strategies[] = {
    { "bsp", PS_BSP }, { "asp", PS_ASP }, { "ssp", PS_SSP }, { "backup", PS_BACKUP }
};
static const cyaml_strval_t scales[] = { { "none", PS_SCALE_NONE },
                                         { "workers", PS_SCALE_WORKERS },
                                         { "staleness", PS_SCALE_STALENESS },
                                         { "versions", PS_SCALE_VERSIONS },
                                         { "delay-compensated", PS_SCALE_DELAY } };
static const cyaml_strval_t optimisers[] = {
    { "sgd", PS_SGD },         { "momentum", PS_MOMENTUM }, { "nesterov", PS_NESTEROV },
    { "adagrad", PS_ADAGRAD }, { "rmsprop", PS_RMSPROP },   { "adam", PS_ADAM },
    { "adamw", PS_ADAMW },     { "ftrl", PS_FTRL },
};

#define TEXT(key, member, bytes)                                                       \
    CYAML_FIELD_STRING_PTR(key, OPTIONAL, struct ps_simulation, member, 0, bytes)
#define WHOLE(key, member) CYAML_FIELD_UINT(key, OPTIONAL, struct ps_simulation, member)
#define REAL(key, member) CYAML_FIELD_FLOAT(key, OPTIONAL, struct ps_simulation, member)
#define YES(key, member) CYAML_FIELD_BOOL(key, OPTIONAL, struct ps_simulation, member)
#define WORD(key, member, words)                                                       \
    CYAML_FIELD_ENUM(key, OPTIONAL, struct ps_simulation, member, words, COUNT(words))
#define LIST(key, member, count, entry)                                                \
    CYAML_FIELD_SEQUENCE_COUNT(key, OPTIONAL | CYAML_FLAG_POINTER,                     \
                               struct ps_simulation, member, count, entry, 0,          \
                               LIST_MAX)

/* A mapping of the file; its values lie in the one struct. */
#define MAPPING(name, fields)                                                          \
    {                                                                                  \
        .key = name,                                                                   \
        .value = { CYAML_VALUE_MAPPING(OPTIONAL, struct ps_simulation, fields) },      \
    }

static const cyaml_schema_field_t matrix_fields[] = {
    CYAML_FIELD_UINT("rows", OPTIONAL, struct ps_simulated_matrix, rows),
    CYAML_FIELD_UINT("cols", OPTIONAL, struct ps_simulated_matrix, cols),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t one_matrix = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct ps_simulated_matrix, matrix_fields),
};

static const cyaml_schema_field_t model_fields[] = {
    WHOLE("bytes", model_bytes),
    LIST("matrices", matrices, n_matrices, &one_matrix),
    WORD("optimiser", optimiser, optimisers),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t strategy_fields[] = {
    CYAML_FIELD_ENUM("strategy", OPTIONAL, struct ps_simulated_strategy, strategy,
                     strategies, COUNT(strategies)),
    CYAML_FIELD_UINT("slack", OPTIONAL, struct ps_simulated_strategy, slack),
    CYAML_FIELD_UINT("spares", OPTIONAL, struct ps_simulated_strategy, spares),
    CYAML_FIELD_FLOAT("spare_share", OPTIONAL, struct ps_simulated_strategy,
                      spare_share),
    CYAML_FIELD_ENUM("scale", OPTIONAL, struct ps_simulated_strategy, scale, scales,
                     COUNT(scales)),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t one_strategy = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct ps_simulated_strategy,
                        strategy_fields),
};

static const cyaml_schema_field_t host_fields[] = {
    WHOLE("workers", workers_per_host),
    WHOLE("shards", shards_per_host),
    WHOLE("cores", cores),
    YES("together", together),
    REAL("wake_us", wake_us),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t network_fields[] = {
    REAL("bandwidth", bandwidth), /* bytes/s */
    REAL("latency_us", latency_us),
    REAL("send_us", send_us),
    REAL("receive_us", receive_us),
    REAL("send_byte_ns", send_byte_ns),
    REAL("receive_byte_ns", receive_byte_ns),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t shard_fields[] = {
    REAL("message_us", shard_message_us),
    REAL("answer_us", shard_answer_us),
    REAL("check_byte_ns", shard_check_byte_ns),
    REAL("sum_byte_ns", shard_sum_byte_ns),
    REAL("step_byte_ns", shard_step_byte_ns),
    REAL("send_byte_ns", shard_send_byte_ns),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t worker_fields[] = {
    REAL("call_us", worker_call_us),
    REAL("message_us", worker_message_us),
    REAL("push_byte_ns", worker_push_byte_ns),
    REAL("pull_byte_ns", worker_pull_byte_ns),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t slow_fields[] = {
    REAL("share", slow_share),
    REAL("factor", slow_factor),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t hiccup_fields[] = {
    REAL("rate", hiccup_rate),
    REAL("factor", hiccup_factor),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t compute_fields[] = {
    REAL("ms", compute_ms),
    REAL("spread", compute_spread),
    YES("sleeps", compute_sleeps),
    MAPPING("slow", slow_fields),
    MAPPING("hiccups", hiccup_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t fields[] = {
    TEXT("name", name, PS_NAME_BYTES - 1),
    TEXT("description", description, LONG_TEXT_BYTES),
    WHOLE("seed", seed),
    WHOLE("iterations", iterations),
    WHOLE("warmup", warmup),
    WHOLE("batch", batch),
    MAPPING("model", model_fields),
    LIST("strategies", strategies, n_strategies, &one_strategy),
    CYAML_FIELD_IGNORE("workers", OPTIONAL), /* a number or a list of numbers */
    CYAML_FIELD_IGNORE("shards", OPTIONAL),
    MAPPING("hosts", host_fields),
    MAPPING("network", network_fields),
    MAPPING("shard", shard_fields),
    MAPPING("worker", worker_fields),
    MAPPING("compute", compute_fields),
    CYAML_FIELD_END,
};

#define MICROSECONDS 1e6 /* no message takes longer than a second */
#define NANOSECONDS 1e6

static const struct ps_range ranges[] = {
    { .path = "seed", .max = INFINITY },
    { .path = "iterations", .min = 1, .max = 100000 },
    { .path = "warmup", .max = 100000 },
    { .path = "batch", .max = 1e9 },
    { .path = "model.bytes", .min = 4, .max = MODEL_BYTES_MAX },
    { .path = "model.matrices.rows", .min = 1, .max = 1e9 },
    { .path = "model.matrices.cols", .min = 1, .max = 1e9 },
    { .path = "strategies.slack", .max = PS_SLACK_MAX },
    { .path = "strategies.spares", .max = PS_WORKERS_MAX - 1 },
    { .path = "strategies.spare_share", .max = 1, .below = true },
    { .path = "hosts.workers", .min = 1, .max = PS_WORKERS_MAX },
    { .path = "hosts.shards", .min = 1, .max = PS_SHARDS_MAX },
    { .path = "hosts.cores", .min = 1, .max = 1024 },
    { .path = "hosts.wake_us", .max = MICROSECONDS },
    { .path = "network.bandwidth", .max = INFINITY, .above = true },
    { .path = "network.latency_us", .max = MICROSECONDS },
    { .path = "network.send_us", .max = MICROSECONDS },
    { .path = "network.receive_us", .max = MICROSECONDS },
    { .path = "network.send_byte_ns", .max = NANOSECONDS },
    { .path = "network.receive_byte_ns", .max = NANOSECONDS },
    { .path = "shard.message_us", .max = MICROSECONDS },
    { .path = "shard.answer_us", .max = MICROSECONDS },
    { .path = "shard.check_byte_ns", .max = NANOSECONDS },
    { .path = "shard.sum_byte_ns", .max = NANOSECONDS },
    { .path = "shard.step_byte_ns", .max = NANOSECONDS },
    { .path = "shard.send_byte_ns", .max = NANOSECONDS },
    { .path = "worker.call_us", .max = MICROSECONDS },
    { .path = "worker.message_us", .max = MICROSECONDS },
    { .path = "worker.push_byte_ns", .max = NANOSECONDS },
    { .path = "worker.pull_byte_ns", .max = NANOSECONDS },
    { .path = "compute.ms", .max = 3.6e6 },
    { .path = "compute.spread", .max = 10 },
    { .path = "compute.slow.share", .max = 1 },
    { .path = "compute.slow.factor", .min = 1, .max = 1000 },
    { .path = "compute.hiccups.rate", .max = 1 },
    { .path = "compute.hiccups.factor", .min = 1, .max = 1000 },
};

static const struct ps_schema schema = {
    .root = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct ps_simulation, fields) },
    .ranges = ranges,
    .n_ranges = COUNT(ranges),
};

/* What a core of doc/scale.md needs. */
static const struct ps_simulation defaults = {
    .iterations = 20,
    .warmup = 3,
    .model_bytes = 6650000,
    .optimiser = PS_SGD,
    .workers_per_host = 1,
    .shards_per_host = 1,
    .cores = 4,
    .wake_us = 10,
    .bandwidth = 1.25e9,
    .latency_us = 20,
    .send_us = 5,
    .receive_us = 5,
    .send_byte_ns = 0.2,
    .receive_byte_ns = 0.2,
    .shard_message_us = 3,
    .shard_answer_us = 2,
    .shard_check_byte_ns = 0.05,
    .shard_sum_byte_ns = 0.1,
    .shard_step_byte_ns = 0.15,
    .shard_send_byte_ns = 0,
    .worker_call_us = 2,
    .worker_message_us = 3,
    .worker_push_byte_ns = 0.15,
    .worker_pull_byte_ns = 0.15,
    .compute_ms = 40,
    .compute_spread = 0.1,
    .slow_factor = 4,
    .hiccup_factor = 10,
};

/* ---- lists of numbers ----------------------------------------------------------- */

static ps_status bad_count(const struct ps_node *node, const char *file, uint32_t max)
{
    char where[PS_WHERE_BYTES], shown[PS_SHOWN_BYTES] = "no value";

    ps_node_where(node, file, where);
    if (node->kind != PS_NODE_TEXT)
        snprintf(shown, sizeof(shown),
                 node->kind == PS_NODE_MAP ? "a mapping" : "a list");
    else if (*node->text)
        ps_shown(node->text, shown);
    return ps_fail(PS_ERR_CONFIG, "%s: found %s, expected whole numbers, 1 to %u",
                   where, shown, max);
}

static ps_status take_count(const struct ps_node *node, const char *file, uint32_t max,
                            uint32_t *out)
{
    char         *end;
    unsigned long value;

    if (node->kind != PS_NODE_TEXT || node->text[0] < '1' || node->text[0] > '9')
        return bad_count(node, file, max);
    errno = 0;
    value = strtoul(node->text, &end, 10);
    if (*end || errno || value > max)
        return bad_count(node, file, max);
    *out = (uint32_t)value;
    return PS_OK;
}

/* A number, or a list of them; nothing said: `unsaid`. */
static ps_status take_counts(const struct ps_node *node, const char *file, uint32_t max,
                             uint32_t unsaid, uint32_t *out, size_t *n)
{
    ps_status st = PS_OK;

    out[0] = unsaid;
    *n = 1;
    if (!node)
        return PS_OK;
    if (node->kind != PS_NODE_LIST)
        return take_count(node, file, max, &out[0]);
    if (node->n == 0 || node->n > PS_SIMULATED_COUNTS) {
        char where[PS_WHERE_BYTES];

        ps_node_where(node, file, where);
        return ps_fail(PS_ERR_CONFIG, "%s: %zu entries, expected 1 to %u", where,
                       node->n, PS_SIMULATED_COUNTS);
    }
    *n = node->n;
    for (size_t i = 0; !st && i < node->n; i++)
        st = take_count(node->children[i], file, max, &out[i]);
    return st;
}

/* ---- what the schema leaves open ------------------------------------------------ */

static ps_status bad_entry(const struct ps_node *tree, const char *path,
                           const char *file, const char *fact)
{
    char where[PS_WHERE_BYTES];

    ps_tree_where(tree, path, file, where);
    return ps_fail(PS_ERR_CONFIG, "%s: %s", where, fact);
}

static const struct ps_node *entry(const struct ps_node *list, size_t i)
{
    return list && list->kind == PS_NODE_LIST ? list->children[i] : NULL;
}

static ps_status take_strategies(struct ps_simulation *s, const struct ps_node *tree,
                                 const char *file)
{
    const struct ps_node *list = ps_node_find(tree, "strategies");

    if (s->n_strategies == 0) {
        free(s->strategies);
        if (!(s->strategies = calloc(1, sizeof(*s->strategies))))
            return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for a strategy", file);
        s->n_strategies = 1;
        s->strategies[0].strategy = PS_BSP;
    }
    for (size_t i = 0; i < s->n_strategies; i++) {
        struct ps_simulated_strategy *one = &s->strategies[i];
        const struct ps_node         *node = entry(list, i);

        if (one->strategy == 0)
            return bad_entry(tree, "strategies", file,
                             "an entry without strategy, expected one of bsp, asp, "
                             "ssp, backup");
        if (!ps_node_find(node, "slack"))
            one->slack = 3;
        if (!ps_node_find(node, "spares"))
            one->spares = 1;
        if (one->scale == 0)
            one->scale = PS_SCALE_NONE;
        if (one->scale != PS_SCALE_NONE && one->strategy != PS_ASP &&
            one->strategy != PS_SSP)
            return bad_entry(tree, "strategies.scale", file,
                             "it is for asp and ssp alone");
    }
    return PS_OK;
}

static ps_status check_model(const struct ps_simulation *s, const struct ps_node *tree,
                             const char *file)
{
    double elements = 0;

    if (s->n_matrices > 0 && ps_node_find(ps_node_find(tree, "model"), "bytes"))
        return bad_entry(tree, "model.bytes", file,
                         "beside model.matrices, expected one of them");
    for (size_t i = 0; i < s->n_matrices; i++) {
        if (s->matrices[i].rows == 0 || s->matrices[i].cols == 0)
            return bad_entry(tree, "model.matrices", file,
                             "an entry without rows or cols, expected both");
        elements += (double)s->matrices[i].rows * (double)s->matrices[i].cols;
    }
    if (elements * sizeof(float) > MODEL_BYTES_MAX)
        return bad_entry(tree, "model.matrices", file,
                         "more than 1e12 bytes, expected fewer");
    return PS_OK;
}

/* Is there somebody left to wait for? */
static ps_status check_spares(const struct ps_simulation *s, const struct ps_node *tree,
                              const char *file)
{
    for (size_t i = 0; i < s->n_strategies; i++)
        for (size_t w = 0; w < s->n_workers; w++)
            if (s->strategies[i].strategy == PS_BACKUP &&
                s->strategies[i].spare_share == 0 &&
                s->strategies[i].spares >= s->workers[w]) {
                char where[PS_WHERE_BYTES];

                ps_tree_where(tree, "strategies.spares", file, where);
                return ps_fail(PS_ERR_CONFIG,
                               "%s: %u of %u workers, expected fewer, or spare_share",
                               where, s->strategies[i].spares, s->workers[w]);
            }
    return PS_OK;
}

static ps_status name_of_file(const char *file, char **out)
{
    const char *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;
    const char *dot = strrchr(base, '.');
    bool        yaml = dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));

    *out = strndup(base, yaml ? (size_t)(dot - base) : strlen(base));
    return *out ? PS_OK : ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for its name", file);
}

/* ---- life ----------------------------------------------------------------------- */

static ps_status finish(struct ps_simulation *s, const struct ps_node *tree,
                        const char *file)
{
    ps_status st = ps_schema_fill(&schema, tree, s, &defaults);

    if (!st && !s->name)
        st = name_of_file(file, &s->name);
    if (!st)
        st = take_counts(ps_node_find(tree, "workers"), file, PS_WORKERS_MAX, 8,
                         s->workers, &s->n_workers);
    if (!st)
        st = take_counts(ps_node_find(tree, "shards"), file, PS_SHARDS_MAX, 1,
                         s->shards, &s->n_shards);
    if (!st)
        st = take_strategies(s, tree, file);
    if (!st)
        st = check_model(s, tree, file);
    return st ? st : check_spares(s, tree, file);
}

static ps_status load(struct ps_simulation **out, const struct ps_node *tree,
                      const char *file)
{
    struct ps_simulation *s;
    void                 *data;
    ps_status             st = ps_schema_load(&data, &schema, tree, file);

    if (st)
        return st;
    s = data;
    st = finish(s, tree, file);
    if (st)
        ps_simulation_free(&s);
    else
        *out = s;
    return st;
}

ps_status ps_simulation_load(struct ps_simulation **out, const char *file,
                             const char *const *sets, size_t n_sets)
{
    struct ps_node *tree;
    ps_status       st = ps_tree_read(&tree, file);

    for (size_t i = 0; !st && i < n_sets; i++)
        st = ps_tree_set(tree, sets[i]);
    if (!st)
        st = load(out, tree, file);
    ps_tree_free(&tree);
    return st;
}

ps_status ps_simulation_parse(struct ps_simulation **out, const char *name,
                              const char *text, size_t bytes)
{
    struct ps_node *tree;
    ps_status       st = ps_tree_parse(&tree, name, text, bytes);

    if (!st)
        st = load(out, tree, name);
    ps_tree_free(&tree);
    return st;
}

void ps_simulation_free(struct ps_simulation **s)
{
    void *data = *s;

    if (*s)
        ps_schema_free(&schema, &data);
    *s = NULL;
}

uint64_t ps_simulation_elements(const struct ps_simulation *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < s->n_matrices; i++)
        sum += s->matrices[i].rows * s->matrices[i].cols;
    return sum ? sum : (s->model_bytes + sizeof(float) - 1) / sizeof(float);
}
