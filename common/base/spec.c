/*
 * spec.c - names, and what a job may say; see spec.h.
 *
 * The numeric fields of a job stand in one table, so that their names, their bounds
 * and the order in which they are compared are said once.
 */
#include "common/base/spec.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const strategies[] = {
    [PS_BSP] = "bsp", [PS_ASP] = "asp", [PS_SSP] = "ssp", [PS_BACKUP] = "backup"
};
static const char *const scales[] = { [PS_SCALE_NONE] = "none",
                                      [PS_SCALE_WORKERS] = "workers",
                                      [PS_SCALE_STALENESS] = "staleness",
                                      [PS_SCALE_VERSIONS] = "versions",
                                      [PS_SCALE_DELAY] = "delay-compensated" };
static const char *const locals[] = {
    [PS_LOCAL_NONE] = "none", [PS_LOCAL_SGD] = "sgd", [PS_LOCAL_SAME] = "same"
};
static const char *const averages[] = {
    [PS_AVERAGE_GRADIENT] = "gradient", [PS_AVERAGE_MODEL] = "model"
};
static const char *const aggregates[] = { [PS_MEAN] = "mean", [PS_SUM] = "sum" };
static const char *const losses[] = {
    [PS_LOSS_SHRINK] = "shrink", [PS_LOSS_WAIT] = "wait", [PS_LOSS_ABORT] = "abort"
};
static const char *const nonfinites[] = {
    [PS_NONFINITE_REFUSE] = "refuse", [PS_NONFINITE_SKIP] = "skip"
};
static const char *const acks[] = {
    [PS_ACK_APPLIED] = "applied", [PS_ACK_DURABLE] = "durable"
};
static const char *const schedules[] = { [PS_LR_CONSTANT] = "constant",
                                         [PS_LR_STEP] = "step",
                                         [PS_LR_EXPONENTIAL] = "exponential",
                                         [PS_LR_COSINE] = "cosine",
                                         [PS_LR_WARMUP] = "warmup" };
static const char *const optimisers[] = {
    [PS_SGD] = "sgd",         [PS_MOMENTUM] = "momentum", [PS_NESTEROV] = "nesterov",
    [PS_ADAGRAD] = "adagrad", [PS_RMSPROP] = "rmsprop",   [PS_ADAM] = "adam",
    [PS_ADAMW] = "adamw",     [PS_FTRL] = "ftrl",         [PS_ASSIGN] = "assign",
    [PS_ADD] = "add"
};
/* A field that holds one of a list of words. */
struct choice {
    const char        *field;
    size_t             at; /* of the uint32_t in struct ps_job_spec */
    const char *const *words;
    size_t             n_words;
};

#define CHOICE(name, field, words)                                                     \
    {                                                                                  \
        name, offsetof(struct ps_job_spec, field), words, COUNT(words)                 \
    }

static const struct choice choices[] = {
    CHOICE("strategy", strategy, strategies),
    CHOICE("scale", scale, scales),
    CHOICE("local", local, locals),
    CHOICE("average", average, averages),
    CHOICE("aggregate", aggregate, aggregates),
    CHOICE("on_loss", on_loss, losses),
    CHOICE("nonfinite", nonfinite, nonfinites),
    CHOICE("ack", ack, acks),
    CHOICE("optimiser.name", optimiser.kind, optimisers),
    CHOICE("optimiser.schedule.type", optimiser.schedule.kind, schedules),
};

/* What a real number may be. */
enum bound {
    ABOVE_ZERO,
    NOT_NEGATIVE,
    BELOW_ONE,    /* in [0, 1) */
    SHARE,        /* in [0, 1] */
    USEFUL_SHARE, /* in (0, 1] */
};

static const char *const bound_texts[] = {
    [ABOVE_ZERO] = "a number above 0",        [NOT_NEGATIVE] = "0 or a number above it",
    [BELOW_ONE] = "0 or more and below 1",    [SHARE] = "0 to 1",
    [USEFUL_SHARE] = "above 0 and at most 1",
};

struct real {
    const char *field;
    size_t      at; /* of the double in struct ps_job_spec */
    enum bound  bound;
};

#define REAL(name, field, bound)                                                       \
    {                                                                                  \
        name, offsetof(struct ps_job_spec, field), bound                               \
    }

static const struct real reals[] = {
    REAL("lambda", lambda, NOT_NEGATIVE),
    REAL("optimiser.lr", optimiser.lr, ABOVE_ZERO),
    REAL("optimiser.momentum", optimiser.momentum, BELOW_ONE),
    REAL("optimiser.beta1", optimiser.beta1, BELOW_ONE),
    REAL("optimiser.beta2", optimiser.beta2, BELOW_ONE),
    REAL("optimiser.rho", optimiser.rho, BELOW_ONE),
    REAL("optimiser.epsilon", optimiser.epsilon, ABOVE_ZERO),
    REAL("optimiser.weight_decay", optimiser.weight_decay, NOT_NEGATIVE),
    REAL("optimiser.ftrl_beta", optimiser.ftrl_beta, NOT_NEGATIVE),
    REAL("optimiser.ftrl_l1", optimiser.ftrl_l1, NOT_NEGATIVE),
    REAL("optimiser.ftrl_l2", optimiser.ftrl_l2, NOT_NEGATIVE),
    REAL("optimiser.schedule.factor", optimiser.schedule.factor, USEFUL_SHARE),
    REAL("optimiser.schedule.floor", optimiser.schedule.floor, SHARE),
};

static const char *word_of(const char *const *words, size_t n_words, uint32_t kind)
{
    return kind < n_words ? words[kind] : NULL;
}

const char *ps_optimiser_name(uint32_t kind)
{
    return word_of(optimisers, COUNT(optimisers), kind);
}

const char *ps_strategy_name(uint32_t kind)
{
    return word_of(strategies, COUNT(strategies), kind);
}

struct ps_optimiser_spec ps_optimiser_spec_default(uint32_t kind)
{
    bool adaptive = kind == PS_RMSPROP || kind == PS_ADAM || kind == PS_ADAMW;

    return (struct ps_optimiser_spec){
        .kind = kind,
        .lr = adaptive ? 0.001 : 0.01,
        .momentum = 0.9,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .rho = 0.9,
        .epsilon = kind == PS_ADAGRAD ? 1e-10 : 1e-8,
        .weight_decay = kind == PS_ADAMW ? 0.01 : 0.0,
        .ftrl_beta = 1.0,
        .schedule = { .kind = PS_LR_CONSTANT, .factor = 1.0, .every = 1 },
    };
}

struct ps_job_spec ps_job_spec_default(void)
{
    return (struct ps_job_spec){
        .workers = 1,
        .strategy = PS_BSP,
        .spares = 1,
        .slack = 3,
        .scale = PS_SCALE_NONE,
        .lambda = 0.04,
        .nfetch = 1,
        .npush = 1,
        .local = PS_LOCAL_SGD,
        .average = PS_AVERAGE_GRADIENT,
        .aggregate = PS_MEAN,
        .on_loss = PS_LOSS_SHRINK,
        .nonfinite = PS_NONFINITE_REFUSE,
        .ack = PS_ACK_APPLIED,
        .optimiser = ps_optimiser_spec_default(PS_SGD),
    };
}

/* ---- names --------------------------------------------------------------------- */

#define NAME_RULE                                                                      \
    "expected 1 to 127 printable ASCII characters without blank or '/', not starting " \
    "with '.' or '-'"
#define METRIC_RULE "expected 1 to 127 printable ASCII characters"

/* A name is only repeated in a sentence once it is known to be harmless there. */
static ps_status name_check(const char *what, const char *name, char lowest,
                            const char *forbidden, const char *rule)
{
    size_t bytes = strnlen(name, PS_NAME_BYTES);

    if (bytes == 0)
        return ps_fail(PS_ERR_BAD_ARG, "%s: the name is empty, %s", what, rule);
    if (bytes == PS_NAME_BYTES)
        return ps_fail(PS_ERR_BAD_ARG, "%s: the name has more than 127 bytes, %s", what,
                       rule);
    for (size_t i = 0; i < bytes; i++)
        if (name[i] < lowest || name[i] > '~' || strchr(forbidden, name[i]))
            return ps_fail(PS_ERR_BAD_ARG, "%s: byte %zu of the name is 0x%02x, %s",
                           what, i + 1, (unsigned)(unsigned char)name[i], rule);
    return PS_OK;
}

ps_status ps_name_check(const char *what, const char *name)
{
    ps_status st = name_check(what, name, '!', "/", NAME_RULE);

    if (st)
        return st;
    if (name[0] == '.' || name[0] == '-')
        return ps_fail(PS_ERR_BAD_ARG, "%s: the name %s starts with '%c', %s", what,
                       name, name[0], NAME_RULE);
    return PS_OK;
}

ps_status ps_metric_name_check(const char *name)
{
    return name_check("metric", name, ' ', "", METRIC_RULE);
}

/* ---- is it in range? ----------------------------------------------------------- */

/* "bsp, asp" */
static void list_words(const char *const *words, size_t n_words, char *out, size_t room)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < n_words && at < room; i++)
        if (words[i])
            at +=
                (size_t)snprintf(out + at, room - at, "%s%s", at ? ", " : "", words[i]);
}

static uint32_t choice_of(const struct ps_job_spec *spec, const struct choice *c)
{
    uint32_t kind;

    memcpy(&kind, (const char *)spec + c->at, sizeof(kind));
    return kind;
}

static double real_of(const struct ps_job_spec *spec, const struct real *r)
{
    double value;

    memcpy(&value, (const char *)spec + r->at, sizeof(value));
    return value;
}

static bool within(double x, enum bound bound)
{
    if (!isfinite(x))
        return false;
    switch (bound) {
    case ABOVE_ZERO: return x > 0;
    case NOT_NEGATIVE: return x >= 0;
    case BELOW_ONE: return x >= 0 && x < 1;
    case SHARE: return x >= 0 && x <= 1;
    case USEFUL_SHARE: return x > 0 && x <= 1;
    }
    return false;
}

static ps_status choices_check(const struct ps_job_spec *spec)
{
    char words[128];

    for (size_t i = 0; i < COUNT(choices); i++) {
        const struct choice *c = &choices[i];
        uint32_t             kind = choice_of(spec, c);

        if (word_of(c->words, c->n_words, kind))
            continue;
        list_words(c->words, c->n_words, words, sizeof(words));
        return ps_fail(PS_ERR_CONFIG, "job %s: %s is number %u, expected one of %s",
                       spec->name, c->field, kind, words);
    }
    return PS_OK;
}

static ps_status reals_check(const struct ps_job_spec *spec)
{
    for (size_t i = 0; i < COUNT(reals); i++) {
        double x = real_of(spec, &reals[i]);

        if (!within(x, reals[i].bound))
            return ps_fail(PS_ERR_CONFIG, "job %s: %s is %.17g, expected %s",
                           spec->name, reals[i].field, x, bound_texts[reals[i].bound]);
    }
    return PS_OK;
}

static ps_status window_check(const char *job, const char *field, uint64_t batches)
{
    if (batches >= 1 && batches <= PS_WINDOW_MAX)
        return PS_OK;
    return ps_fail(PS_ERR_CONFIG, "job %s: %s is %" PRIu64 ", expected 1 to %u", job,
                   field, batches, PS_WINDOW_MAX);
}

static ps_status windows_check(const struct ps_job_spec *spec)
{
    ps_status st = window_check(spec->name, "nfetch", spec->nfetch);

    if (!st)
        st = window_check(spec->name, "npush", spec->npush);
    if (st)
        return st;
    if (spec->average == PS_AVERAGE_MODEL && spec->local == PS_LOCAL_NONE)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: average is model and local none, expected local sgd or "
                       "same: without local steps there is nothing to average",
                       spec->name);
    return PS_OK;
}

static ps_status strategy_check(const struct ps_job_spec *spec)
{
    bool one_by_one = spec->strategy == PS_ASP || spec->strategy == PS_SSP;

    if (spec->strategy == PS_BACKUP && spec->spares >= spec->workers)
        return ps_fail(
            PS_ERR_CONFIG,
            "job %s: spares is %u of %u workers, expected fewer than workers",
            spec->name, spec->spares, spec->workers);
    if (spec->slack > PS_SLACK_MAX)
        return ps_fail(PS_ERR_CONFIG, "job %s: slack is %" PRIu64 ", expected 0 to %u",
                       spec->name, spec->slack, PS_SLACK_MAX);
    if (spec->scale != PS_SCALE_NONE && !one_by_one)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: scale is %s and the strategy %s, expected none: only "
                       "asp and ssp apply pushes one by one",
                       spec->name, scales[spec->scale], strategies[spec->strategy]);
    if (spec->scale == PS_SCALE_DELAY && spec->average == PS_AVERAGE_MODEL)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: scale is delay-compensated and average model, expected "
                       "average gradient: only gradients can be compensated",
                       spec->name);
    return PS_OK;
}

static ps_status rollback_check(const struct ps_job_spec *spec, bool one_by_one)
{
    if (one_by_one)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: max_rollback is %" PRIu64 " and the strategy %s, "
                       "expected 0: its shards save themselves one by one",
                       spec->name, spec->max_rollback, strategies[spec->strategy]);
    if (spec->ack == PS_ACK_DURABLE)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: max_rollback is %" PRIu64 " and ack durable, expected "
                       "0: nothing that is acknowledged is taken back",
                       spec->name, spec->max_rollback);
    if (spec->snapshot_every == 0 || spec->max_rollback < spec->snapshot_every)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: max_rollback is %" PRIu64 " and snapshot_every %" PRIu64
                       ", expected a snapshot at least as often",
                       spec->name, spec->max_rollback, spec->snapshot_every);
    return PS_OK;
}

static ps_status snapshots_check(const struct ps_job_spec *spec)
{
    bool one_by_one = spec->strategy == PS_ASP || spec->strategy == PS_SSP;

    if (spec->snapshot_ms > PS_SNAPSHOT_MS_MAX)
        return ps_fail(PS_ERR_CONFIG, "job %s: snapshot_ms is %u, expected 0 to %u",
                       spec->name, spec->snapshot_ms, PS_SNAPSHOT_MS_MAX);
    if (spec->snapshot_ms > 0 && !one_by_one)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: snapshot_ms is %u and the strategy %s, expected 0: all "
                       "shards of it save the same clocks, see snapshot_every",
                       spec->name, spec->snapshot_ms, strategies[spec->strategy]);
    return spec->max_rollback > 0 ? rollback_check(spec, one_by_one) : PS_OK;
}

ps_status ps_job_spec_check(const struct ps_job_spec *spec)
{
    const struct ps_schedule_spec *schedule = &spec->optimiser.schedule;
    ps_status                      st;

    if (ps_name_check("job", spec->name))
        return PS_ERR_CONFIG;
    if (spec->workers < 1 || spec->workers > PS_WORKERS_MAX)
        return ps_fail(PS_ERR_CONFIG, "job %s: workers is %u, expected 1 to %u",
                       spec->name, spec->workers, PS_WORKERS_MAX);
    if ((st = choices_check(spec)) || (st = reals_check(spec)))
        return st;
    if ((st = strategy_check(spec)) || (st = windows_check(spec)) ||
        (st = snapshots_check(spec)))
        return st;
    if (schedule->every < 1)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: optimiser.schedule.every is 0, expected 1 or more",
                       spec->name);
    if (schedule->epochs && spec->clocks_per_epoch == 0)
        return ps_fail(PS_ERR_CONFIG,
                       "job %s: optimiser.schedule counts epochs and clocks_per_epoch "
                       "is unknown, expected 1 or more",
                       spec->name);
    return PS_OK;
}

/* ---- do both say the same? ----------------------------------------------------- */

static ps_status count_same(const char *job, const char *field, uint64_t mine,
                            uint64_t jobs)
{
    if (mine == jobs)
        return PS_OK;
    return ps_fail(PS_ERR_MISMATCH,
                   "job %s: %s is %" PRIu64 " here and %" PRIu64 " in the job", job,
                   field, mine, jobs);
}

static const char *word_or_unknown(const struct choice *c, uint32_t kind)
{
    const char *word = word_of(c->words, c->n_words, kind);

    return word ? word : "unknown";
}

static ps_status words_same(const struct ps_job_spec *mine,
                            const struct ps_job_spec *jobs)
{
    for (size_t i = 0; i < COUNT(choices); i++) {
        uint32_t a = choice_of(mine, &choices[i]), b = choice_of(jobs, &choices[i]);

        if (a != b)
            return ps_fail(PS_ERR_MISMATCH, "job %s: %s is %s here and %s in the job",
                           jobs->name, choices[i].field,
                           word_or_unknown(&choices[i], a),
                           word_or_unknown(&choices[i], b));
    }
    return PS_OK;
}

/* The shortest digits that tell both apart: 0.1 and 0.01, not 0.10000000000000001. */
static void print_apart(double a, double b, char *a_text, char *b_text, size_t room)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(a_text, room, "%.*g", digits, a);
        snprintf(b_text, room, "%.*g", digits, b);
        if (strcmp(a_text, b_text) != 0)
            return;
    }
}

static ps_status reals_same(const struct ps_job_spec *mine,
                            const struct ps_job_spec *jobs)
{
    char here[40], there[40];

    for (size_t i = 0; i < COUNT(reals); i++) {
        double a = real_of(mine, &reals[i]), b = real_of(jobs, &reals[i]);

        if (a == b)
            continue;
        print_apart(a, b, here, there, sizeof(here));
        return ps_fail(PS_ERR_MISMATCH, "job %s: %s is %s here and %s in the job",
                       jobs->name, reals[i].field, here, there);
    }
    return PS_OK;
}

ps_status ps_job_spec_same(const struct ps_job_spec *mine,
                           const struct ps_job_spec *jobs)
{
    const struct ps_schedule_spec *a = &mine->optimiser.schedule;
    const struct ps_schedule_spec *b = &jobs->optimiser.schedule;
    const char                    *job = jobs->name;
    ps_status                      st;

    if (strcmp(mine->name, jobs->name) != 0)
        return ps_fail(PS_ERR_MISMATCH, "job %s: name is %s here and %s in the job",
                       job, mine->name, jobs->name);
    if ((st = count_same(job, "workers", mine->workers, jobs->workers)) ||
        (st = words_same(mine, jobs)) ||
        (st = count_same(job, "spares", mine->spares, jobs->spares)) ||
        (st = count_same(job, "slack", mine->slack, jobs->slack)) ||
        (st = count_same(job, "snapshot_every", mine->snapshot_every,
                         jobs->snapshot_every)) ||
        (st = count_same(job, "snapshot_ms", mine->snapshot_ms, jobs->snapshot_ms)) ||
        (st =
             count_same(job, "max_rollback", mine->max_rollback, jobs->max_rollback)) ||
        (st = count_same(job, "nfetch", mine->nfetch, jobs->nfetch)) ||
        (st = count_same(job, "npush", mine->npush, jobs->npush)) ||
        (st = count_same(job, "seed", mine->seed, jobs->seed)) ||
        (st = count_same(job, "clocks_per_epoch", mine->clocks_per_epoch,
                         jobs->clocks_per_epoch)) ||
        (st = reals_same(mine, jobs)) ||
        (st = count_same(job, "optimiser.schedule.every", a->every, b->every)) ||
        (st = count_same(job, "optimiser.schedule.warmup", a->warmup, b->warmup)))
        return st;
    if (a->epochs != b->epochs)
        return ps_fail(PS_ERR_MISMATCH,
                       "job %s: optimiser.schedule counts %s here and %s in the job",
                       job, a->epochs ? "epochs" : "clocks",
                       b->epochs ? "epochs" : "clocks");
    return PS_OK;
}
