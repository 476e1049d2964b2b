/* record.c - see record.h. */
#include "tools/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 15 digits: all that a double surely has, and 0.8753 stays 0.8753. */
#define ROUND JSON_REAL_PRECISION(15)

static char *path_in(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

ps_status record_open(struct record *r, const char *folder, uint32_t n_ranks)
{
    char     *path = path_in(folder, "metrics.jsonl");
    ps_status st = PS_OK;

    *r = (struct record){ .loss = NAN, .n_ranks = n_ranks };
    r->train_seconds = calloc(n_ranks, sizeof(*r->train_seconds));
    r->shares = calloc(n_ranks, sizeof(*r->shares));
    for (uint32_t i = 0; r->shares && i < n_ranks; i++)
        r->shares[i] = (struct record_share){ NAN, NAN };
    if (!path || !r->train_seconds || !r->shares)
        st = ps_fail(PS_ERR_NO_MEMORY, "no memory");
    else if (!(r->metrics = fopen(path, "we")))
        st = ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", path);
    free(path);
    return st;
}

static uint64_t epoch_of(const struct record *r, uint64_t clock)
{
    return r->clocks_per_epoch ? clock / r->clocks_per_epoch : clock;
}

static struct record_test *test_at(struct record *r, uint64_t epoch)
{
    struct record_test *grown;

    for (size_t i = 0; i < r->n_tests; i++)
        if (r->tests[i].epoch == epoch)
            return &r->tests[i];
    grown = realloc(r->tests, (r->n_tests + 1) * sizeof(*grown));
    if (!grown)
        return NULL;
    r->tests = grown;
    r->tests[r->n_tests] = (struct record_test){ .epoch = epoch };
    return &r->tests[r->n_tests++];
}

/* Of the newest epoch: one worker's reports may all come before another's. */
static void take_epoch_loss(struct record *r, uint64_t epoch, double value)
{
    if (epoch < r->epoch_loss_epoch)
        return;
    if (epoch > r->epoch_loss_epoch) {
        r->epoch_loss_epoch = epoch;
        r->epoch_loss_sum = 0;
        r->n_epoch_losses = 0;
    }
    r->epoch_loss_sum += value;
    r->n_epoch_losses++;
}

/* Correct answers without their total would make an accuracy above 1. */
static ps_status take_share(struct record *r, const struct ps_report_record *m)
{
    struct record_share *share = &r->shares[m->rank];
    struct record_test  *test;

    if (strcmp(m->name, "test_correct") == 0)
        share->correct = m->value;
    else
        share->total = m->value;
    if (isnan(share->correct) || isnan(share->total))
        return PS_OK;
    test = test_at(r, epoch_of(r, m->clock));
    if (!test)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a test result");
    test->n_shares++;
    test->seconds = (double)m->time_us / 1e6;
    test->clock = m->clock;
    test->correct += share->correct;
    test->total += share->total;
    *share = (struct record_share){ NAN, NAN };
    return PS_OK;
}

static struct record_metric *other_named(struct record *r, const char *name)
{
    struct record_metric *grown, *new;

    for (size_t i = 0; i < r->n_others; i++)
        if (strcmp(r->others[i].name, name) == 0)
            return &r->others[i];
    grown = realloc(r->others, (r->n_others + 1) * sizeof(*grown));
    if (!grown)
        return NULL;
    r->others = grown;
    new = &grown[r->n_others];
    new->name = strdup(name);
    new->last = calloc(r->n_ranks, sizeof(*new->last));
    if (!new->name || !new->last) {
        free(new->name);
        free(new->last);
        return NULL;
    }
    for (uint32_t i = 0; i < r->n_ranks; i++)
        new->last[i] = NAN;
    r->n_others++;
    return new;
}

static ps_status take_other(struct record *r, const struct ps_report_record *m)
{
    struct record_metric *other = other_named(r, m->name);

    if (!other)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a metric");
    other->last[m->rank] = m->value;
    return PS_OK;
}

/* Of an observer, which tests all samples whenever it likes. */
static ps_status take_test(struct record *r, const struct ps_report_record *m)
{
    struct record_test *grown = realloc(r->tests, (r->n_tests + 1) * sizeof(*grown));

    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a test result");
    r->observed = true;
    r->tests = grown;
    r->tests[r->n_tests++] = (struct record_test){ .n_shares = r->n_ranks,
                                                   .seconds = (double)m->time_us / 1e6,
                                                   .clock = r->clock,
                                                   .correct = m->value,
                                                   .total = 1 };
    return PS_OK;
}

static ps_status take_one(struct record *r, const struct ps_report_record *m)
{
    if (m->rank == UINT32_MAX && strcmp(m->name, "test_accuracy") == 0)
        return take_test(r, m);
    if (m->rank >= r->n_ranks)
        return PS_OK;
    if (strcmp(m->name, "test_correct") == 0 || strcmp(m->name, "test_total") == 0)
        return take_share(r, m);
    if (strcmp(m->name, "loss") == 0)
        r->loss = m->value;
    else if (strcmp(m->name, "epoch_loss") == 0)
        take_epoch_loss(r, epoch_of(r, m->clock), m->value);
    else if (strcmp(m->name, "epoch_seconds") == 0)
        r->train_seconds[m->rank] += m->value;
    else
        return take_other(r, m);
    return PS_OK;
}

static ps_status write_one(struct record *r, const struct ps_report_record *m)
{
    json_t *line = json_pack("{s:f, s:I, s:I, s:s}", "time", (double)m->time_us / 1e6,
                             "rank", m->rank == UINT32_MAX ? -1 : (json_int_t)m->rank,
                             "clock", (json_int_t)m->clock, "metric", m->name);
    int     failed;

    if (!line)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a metric");
    /* JSON has no word for NaN and infinity. */
    json_object_set_new(line, "value",
                        isfinite(m->value) ? json_real(m->value) : json_null());
    failed = json_dumpf(line, r->metrics, JSON_COMPACT | ROUND) < 0 ||
             putc('\n', r->metrics) == EOF;
    json_decref(line);
    return failed ? ps_fail(PS_ERR_SYSTEM, "cannot write metrics.jsonl: %m") : PS_OK;
}

ps_status record_take(struct record *r, const struct ps_header *h)
{
    ps_status st = PS_OK;

    if (h->job_spec)
        r->clocks_per_epoch = h->job_spec->clocks_per_epoch;
    r->clock = h->clock;
    for (uint32_t i = 0; !st && i < h->n_reports; i++) {
        if (h->reports[i].number <= r->last_report)
            continue;
        r->last_report = h->reports[i].number;
        st = write_one(r, &h->reports[i]);
        if (!st)
            st = take_one(r, &h->reports[i]);
    }
    if (h->traffic)
        r->traffic = *h->traffic;
    if (!st && fflush(r->metrics) != 0)
        st = ps_fail(PS_ERR_SYSTEM, "cannot write metrics.jsonl: %m");
    return st;
}

double record_accuracy(const struct record *r)
{
    const struct record_test *last = r->n_tests ? &r->tests[r->n_tests - 1] : NULL;

    return last && last->total > 0 ? last->correct / last->total : NAN;
}

double record_reached(const struct record *r, double accuracy)
{
    for (size_t i = 0; i < r->n_tests; i++) {
        const struct record_test *t = &r->tests[i];

        if (2 * t->n_shares > r->n_ranks && t->total > 0 &&
            t->correct / t->total >= accuracy)
            return t->seconds;
    }
    return NAN;
}

double record_final_loss(const struct record *r)
{
    return r->n_epoch_losses ? r->epoch_loss_sum / r->n_epoch_losses : r->loss;
}

double record_mean(const struct record *r, size_t metric)
{
    double   sum = 0;
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->n_ranks; i++)
        if (isfinite(r->others[metric].last[i])) {
            sum += r->others[metric].last[i];
            n++;
        }
    return n ? sum / n : NAN;
}

double record_samples_per_second(const struct record *r, double otherwise)
{
    double slowest = 0;

    for (uint32_t i = 0; i < r->n_ranks; i++)
        if (r->train_seconds[i] > slowest)
            slowest = r->train_seconds[i];
    if (slowest == 0)
        slowest = otherwise;
    return slowest > 0 ? (double)r->traffic.samples / slowest : 0;
}

ps_status record_close(struct record *r)
{
    bool failed = r->metrics && fclose(r->metrics) != 0;

    r->metrics = NULL;
    free(r->tests);
    free(r->train_seconds);
    free(r->shares);
    for (size_t i = 0; i < r->n_others; i++) {
        free(r->others[i].name);
        free(r->others[i].last);
    }
    free(r->others);
    r->n_others = 0;
    r->others = NULL;
    r->tests = NULL;
    r->train_seconds = NULL;
    r->shares = NULL;
    return failed ? ps_fail(PS_ERR_SYSTEM, "cannot write metrics.jsonl: %m") : PS_OK;
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *accuracies(const struct record *r)
{
    json_t *list = json_array();

    for (size_t i = 0; !r->observed && i < r->n_tests; i++)
        json_array_append_new(
            list, number_or_null(r->tests[i].total > 0
                                     ? r->tests[i].correct / r->tests[i].total
                                     : NAN));
    return list;
}

static json_t *other_metrics(const struct record *r)
{
    json_t *o = json_object();

    for (size_t i = 0; i < r->n_others; i++)
        json_object_set_new(o, r->others[i].name, number_or_null(record_mean(r, i)));
    return o;
}

static json_t *tests(const struct record *r)
{
    json_t *list = json_array();

    for (size_t i = 0; i < r->n_tests; i++) {
        const struct record_test *t = &r->tests[i];
        double                    accuracy = t->total > 0 ? t->correct / t->total : NAN;

        json_array_append_new(list, json_pack("{s:f, s:I, s:o}", "seconds", t->seconds,
                                              "clock", (json_int_t)t->clock, "accuracy",
                                              number_or_null(accuracy)));
    }
    return list;
}

/* A counter of the job's status. */
static json_int_t counter(const json_t *job, const char *key)
{
    return json_integer_value(json_object_get(job, key));
}

/* Every start of a rank has a number, from 1; but one that ended before it could join
 * has left none.  psds are started again by psexp alone. */
static json_int_t restarts(const struct summary *s)
{
    const json_t *members = json_object_get(s->job, "members");
    json_int_t    n = 0;

    for (size_t i = 0; i < json_array_size(members); i++) {
        json_int_t starts = counter(json_array_get(members, i), "incarnation");

        n += starts > 1 ? starts - 1 : 0;
    }
    return s->server_starts + (n > s->worker_starts ? n : s->worker_starts);
}

static json_t *summary_of(const struct summary *s)
{
    const struct ps_experiment *e = s->experiment;
    const struct record        *r = s->record;
    const struct ps_traffic    *t = &r->traffic;
    json_t                     *o = json_pack(
                            "{s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "schema_version", 1,
                            "name", e->name, "strategy", ps_strategy_name(e->job.strategy), "workers",
                            (json_int_t)e->workers, "servers", (json_int_t)e->server_processes, "shards",
                            (json_int_t)e->server_shards, "epochs", (json_int_t)e->epochs, "samples",
                            (json_int_t)t->samples, "wall_seconds", s->wall_seconds, "samples_per_second",
                            record_samples_per_second(r, s->wall_seconds));

    if (!o)
        return NULL;
    json_object_set_new(o, "final_loss", number_or_null(record_final_loss(r)));
    json_object_set_new(o, "test_accuracy", number_or_null(record_accuracy(r)));
    json_object_set_new(o, "test_accuracy_by_epoch", accuracies(r));
    json_object_set_new(o, "metrics", other_metrics(r));
    json_object_set_new(o, "results",
                        s->results ? json_deep_copy(s->results) : json_array());
    json_object_set_new(o, "tests", tests(r));
    json_object_set_new(o, "stopped_by", text_or_null(s->stopped ? "accuracy" : ""));
    json_object_set_new(o, "seconds_to_accuracy",
                        number_or_null(s->seconds_to_accuracy));
    json_object_set_new(o, "bytes_pushed", json_integer((json_int_t)t->bytes_pushed));
    json_object_set_new(o, "bytes_pulled", json_integer((json_int_t)t->bytes_pulled));
    json_object_set_new(o, "bytes_pushed_raw",
                        json_integer((json_int_t)t->bytes_pushed_raw));
    json_object_set_new(o, "bytes_pulled_raw",
                        json_integer((json_int_t)t->bytes_pulled_raw));
    json_object_set_new(o, "pushes", json_integer((json_int_t)t->pushes));
    json_object_set_new(o, "batches", json_integer(counter(s->job, "batches")));
    json_object_set_new(o, "late_dropped", json_integer(counter(s->job, "late")));
    json_object_set_new(
        o, "staleness",
        json_pack("{s:f, s:I}", "mean",
                  json_number_value(json_object_get(s->job, "staleness_mean")), "max",
                  counter(s->job, "staleness_max")));
    json_object_set_new(o, "restarts", json_integer(restarts(s)));
    json_object_set_new(o, "faults",
                        s->faults ? json_deep_copy(s->faults) : json_array());
    json_object_set_new(o, "model_hash", text_or_null(s->model_hash));
    json_object_set_new(o, "failure", text_or_null(s->failure));
    return o;
}

static ps_status write_json(const json_t *o, const char *path)
{
    FILE *f = fopen(path, "we");
    bool  failed;

    if (!f)
        return ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", path);
    failed = json_dumpf(o, f, JSON_INDENT(2) | ROUND) < 0 || putc('\n', f) == EOF;
    failed |= fclose(f) != 0;
    return failed ? ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", path) : PS_OK;
}

ps_status record_summary(const struct summary *s, const char *folder, json_t **out)
{
    char     *path = path_in(folder, "summary.json");
    json_t   *o = summary_of(s);
    ps_status st = PS_OK;

    if (!path || !o)
        st = ps_fail(PS_ERR_NO_MEMORY, "no memory for a summary");
    else
        st = write_json(o, path);
    free(path);
    if (!st && out)
        *out = o;
    else
        json_decref(o);
    return st;
}
