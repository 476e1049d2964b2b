/*
 * logreg.c - a worker that fits a logistic regression through psd.
 *
 * One sparse matrix of one column holds the weights, by feature, and the servers' FTRL
 * keeps most of them at zero.  A batch pulls the weights of its features, and pushes
 * their gradients.
 */
#include "rows.h"
#include "samples.h"
#include "serial.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define REPORT_EVERY 20u       /* iterations */
#define ROWS_AT_ONCE 65536u    /* of the final look at all weights */
#define SAMPLES_AT_ONCE 1024u  /* of a test */
#define MADE_UP_MAX 100000000u /* samples */

struct options {
    const char *config;
    uint32_t    made_up;  /* samples, where no file is named */
    uint32_t    generate; /* samples to print; 0: train */
    bool        serial, help;
};

struct training {
    struct task    task;
    struct samples samples;
    ps_matrix     *weights;
    struct rows    rows; /* of the batch in hand */

    double   loss; /* sum since the last report */
    uint32_t n_loss;
    double   epoch_loss;
    uint64_t n_epoch_loss;
    double   epoch_began;
    uint64_t n_ended; /* epochs */
};

/* ---- a few samples and their weights ------------------------------------------- */

static int no_memory(const struct training *t)
{
    fprintf(stderr, "%s: no memory for the weights of a batch\n", t->task.program);
    return EX_OSERR;
}

/* Pulls the weights that `n` samples need; sample NULL: first, first + 1 and so on. */
static int pull_for(struct training *t, const ps_data *data, const uint32_t *sample,
                    uint64_t first, uint32_t n)
{
    const uint64_t *index;
    const float    *value;
    uint64_t        n_row;
    uint32_t        unused;

    rows_clear(&t->rows);
    if (!rows_place(&t->rows, SAMPLES_BIAS, &unused))
        return no_memory(t);
    for (uint32_t i = 0; i < n; i++) {
        ps_status st =
            ps_data_row(data, sample ? sample[i] : first + i, &index, &value, &n_row);

        if (st)
            return task_failed(&t->task, st);
        for (uint64_t k = 0; k < n_row; k++)
            if (!rows_place(&t->rows, index[k], &unused))
                return no_memory(t);
    }
    return task_failed(&t->task, rows_pull(&t->rows, t->weights));
}

/*
 * The loss of a sample whose weights are there; *right says whether it is classified as
 * it should.  Adds `share` of its gradient.
 */
static double look(struct training *t, const ps_data *data, uint64_t i, double share,
                   bool *right)
{
    struct rows    *r = &t->rows;
    const uint64_t *index;
    const float    *value;
    uint64_t        n;
    double          margin = r->value[0], p, loss; /* the bias came first */
    int             y = samples_is_positive(&t->samples, data, i);
    uint32_t        at = 0;

    if (ps_data_row(data, i, &index, &value, &n))
        n = 0;
    for (uint64_t k = 0; k < n && rows_place(r, index[k], &at); k++)
        margin += (double)r->value[at] * (double)value[k];
    loss = samples_loss(margin, y, &p);
    *right = (p > 0.5) == y;
    r->grad[0] += (float)(share * (p - y));
    for (uint64_t k = 0; k < n && rows_place(r, index[k], &at); k++)
        r->grad[at] += (float)(share * (p - y) * (double)value[k]);
    return loss;
}

/* ---- an iteration -------------------------------------------------------------- */

static int report(const struct training *t, const char *metric, double value)
{
    return task_failed(&t->task, ps_report(t->task.worker, metric, value));
}

static int report_loss(struct training *t)
{
    int code = t->n_loss ? report(t, "loss", t->loss / t->n_loss) : 0;

    t->loss = 0;
    t->n_loss = 0;
    return code;
}

static int iterate(struct training *t, const ps_batch *batch)
{
    double    loss = 0;
    bool      right;
    int       code = pull_for(t, t->samples.training, batch->sample, 0, batch->n);
    double    began = task_seconds();
    ps_status st;

    if (code)
        return code;
    for (uint32_t i = 0; i < batch->n; i++)
        loss += look(t, t->samples.training, batch->sample[i], 1.0 / batch->n, &right);
    t->loss += loss / batch->n;
    t->n_loss++;
    t->epoch_loss += loss / batch->n;
    t->n_epoch_loss++;
    ps_count_samples(t->task.worker, batch->n);
    st = ps_pace(t->task.worker, task_seconds() - began);
    if (!st)
        st = ps_weight(t->task.worker, batch->n);
    if (!st)
        st = ps_push_rows(t->weights, t->rows.keys, t->rows.n, t->rows.grad);
    if (!st)
        st = ps_finish(t->task.worker);
    return task_failed(&t->task, st);
}

/* ---- the end of an epoch ------------------------------------------------------- */

/* Every worker looks at its share of the test samples. */
static int test(struct training *t)
{
    const ps_data *data = t->samples.test;
    uint64_t       n = ps_data_n(data), rank = ps_rank(t->task.worker);
    uint64_t       first = n * rank / t->task.workers;
    uint64_t       last = n * (rank + 1) / t->task.workers, correct = 0;
    double         loss = 0;
    int            code = 0;

    for (uint64_t i = first; !code && i < last; i += SAMPLES_AT_ONCE) {
        uint64_t n_part = last - i < SAMPLES_AT_ONCE ? last - i : SAMPLES_AT_ONCE;
        bool     right;

        code = pull_for(t, data, NULL, i, (uint32_t)n_part);
        for (uint64_t k = 0; !code && k < n_part; k++) {
            loss += look(t, data, i + k, 0, &right);
            correct += right;
        }
    }
    if (code || first == last)
        return code;
    printf(", %" PRIu64 " of %" PRIu64 " test samples right, their log-loss %.6f",
           correct, last - first, loss / (double)(last - first));
    code = report(t, "test_log_loss", loss / (double)(last - first));
    if (!code)
        code = report(t, "test_correct", (double)correct);
    return code ? code : report(t, "test_total", (double)(last - first));
}

static int end_epoch(struct training *t, uint64_t epoch)
{
    double mean = t->epoch_loss / (double)t->n_epoch_loss;
    int    code = report_loss(t);

    if (!code)
        code = report(t, "epoch_seconds", task_seconds() - t->epoch_began);
    if (!code)
        code = report(t, "epoch_loss", mean);
    printf("epoch %" PRIu64 ": log-loss %.6f", epoch + 1, mean);
    if (!code && t->samples.test)
        code = test(t);
    putchar('\n');
    fflush(stdout);
    if (code)
        return code;
    t->epoch_loss = 0;
    t->n_epoch_loss = 0;
    t->epoch_began = task_seconds();
    t->n_ended = epoch + 1;
    return 0;
}

/* ---- how many weights there are ------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* All features of the training set, each once; NULL without memory. */
static uint64_t *all_features(const ps_data *data, uint64_t *n)
{
    const uint64_t *index;
    const float    *value;
    uint64_t        n_row, n_all = 1;
    uint64_t       *all;

    for (uint64_t i = 0; i < ps_data_n(data); i++)
        if (!ps_data_row(data, i, &index, &value, &n_row))
            n_all += n_row;
    all = calloc(n_all, sizeof(*all));
    if (!all)
        return NULL;
    n_all = 0;
    all[n_all++] = SAMPLES_BIAS;
    for (uint64_t i = 0; i < ps_data_n(data); i++)
        if (!ps_data_row(data, i, &index, &value, &n_row))
            for (uint64_t k = 0; k < n_row; k++)
                all[n_all++] = index[k];
    qsort(all, n_all, sizeof(*all), ascending);
    *n = 0;
    for (uint64_t i = 0; i < n_all; i++)
        if (*n == 0 || all[*n - 1] != all[i])
            all[(*n)++] = all[i];
    return all;
}

static int count_weights(struct training *t)
{
    uint64_t  n = 0, in_use = 0;
    uint64_t *features = all_features(t->samples.training, &n);
    float    *weight = calloc(ROWS_AT_ONCE, sizeof(*weight));
    ps_status st = PS_OK;
    int       code;

    for (uint64_t i = 0; features && weight && !st && i < n; i += ROWS_AT_ONCE) {
        uint64_t part = n - i < ROWS_AT_ONCE ? n - i : ROWS_AT_ONCE;

        st = ps_pull_rows(t->weights, features + i, part, weight);
        for (uint64_t k = 0; !st && k < part; k++)
            in_use += weight[k] != 0;
    }
    code = features && weight ? task_failed(&t->task, st) : no_memory(t);
    free(features);
    free(weight);
    if (code)
        return code;
    printf("result: %" PRIu64 " of %" PRIu64 " weights are not zero\n", in_use, n);
    return report(t, "nonzero_weights", (double)in_use);
}

/* ---- the run ------------------------------------------------------------------- */

/* The iterations that are left, from wherever the job is. */
static int train(struct training *t)
{
    const ps_train_settings *s = &t->task.train;
    ps_worker               *w = t->task.worker;
    uint64_t n = ps_data_iterations(t->samples.training, t->task.workers, s->batch);
    uint64_t clock;
    int      code = 0;

    /* A backup worker that came too late goes on from a later clock than the next. */
    while (!code && (clock = ps_clock(w)) < n * s->epochs) {
        ps_batch batch;

        if (clock / n > t->n_ended) {
            code = end_epoch(t, clock / n - 1);
            continue;
        }
        code = task_failed(&t->task,
                           ps_data_batch(t->samples.training, t->task.seed, ps_rank(w),
                                         t->task.workers, s->batch, clock, &batch));
        if (!code)
            code = iterate(t, &batch);
        if (!code && t->n_loss == REPORT_EVERY)
            code = report_loss(t);
    }
    if (!code && s->epochs > t->n_ended)
        code = end_epoch(t, s->epochs - 1);
    return code;
}

/* The job went back: epochs end again, and sums are of what comes from here. */
static void go_back(struct training *t)
{
    const ps_train_settings *s = &t->task.train;
    uint64_t n = ps_data_iterations(t->samples.training, t->task.workers, s->batch);
    uint64_t epoch = ps_clock(t->task.worker) / n;

    t->loss = 0;
    t->n_loss = 0;
    if (epoch > t->n_ended)
        return; /* its end was interrupted, and comes next */
    t->n_ended = epoch;
    t->epoch_loss = 0;
    t->n_epoch_loss = 0;
    t->epoch_began = task_seconds();
}

/* To the end, and once more what is lost when the job goes back. */
static int run(struct training *t)
{
    const ps_train_settings *s = &t->task.train;
    uint64_t n = ps_data_iterations(t->samples.training, t->task.workers, s->batch);
    int      code;

    t->epoch_began = task_seconds();
    t->n_ended = ps_clock(t->task.worker) / n;
    for (;;) {
        code = train(t);
        if (!code && ps_rank(t->task.worker) == 0)
            code = count_weights(t);
        if (!code)
            code = task_leave(&t->task);
        if (code != TASK_AGAIN)
            return code;
        go_back(t);
    }
}

static int check(const struct training *t)
{
    const ps_data *data = t->samples.training;

    if (ps_data_iterations(data, t->task.workers, t->task.train.batch) > 0)
        return 0;
    fprintf(stderr, "%s: %" PRIu64 " samples, a step takes %u workers x batch %u\n",
            t->task.program, ps_data_n(data), t->task.workers, t->task.train.batch);
    return EX_DATAERR;
}

static int run_worker(struct training *t)
{
    const ps_data *data = t->samples.training;
    int            code = task_join(
                   &t->task, ps_data_iterations(data, t->task.workers, t->task.train.batch));

    if (!code)
        code = task_failed(&t->task,
                           ps_sparse(t->task.worker, "weights", 1, NULL, &t->weights));
    return code ? code : run(t);
}

/* ---- the command line ---------------------------------------------------------- */

static void help(void)
{
    puts(
        "usage: logreg [OPTION]...\n"
        "Fits a logistic regression to a LIBSVM file as a worker of a psd job; "
        "psexp(1)\n"
        "starts it.\n"
        "\n"
        "  --made-up N    samples to make up where the experiment names no file\n"
        "                 (data.train_features) [40000]\n"
        "  --config FILE  the experiment [what PSW_CONFIG names]\n"
        "  --serial       train in this process alone, without servers, and print\n"
        "                 log-loss and accuracy of every epoch\n"
        "  --generate N   print N such samples as a LIBSVM file, and end\n"
        "\n"
        "The job is found as libpsworker(3) says: PSW_COORDINATOR, PSW_JOB, PSW_RANK,\n"
        "PSW_WORLD_SIZE, PSW_TOKEN.");
}

static int read_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        { "made-up", required_argument, NULL, 'm' },
        { "config", required_argument, NULL, 'c' },
        { "serial", no_argument, NULL, 's' },
        { "generate", required_argument, NULL, 'g' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    static char self[] = "logreg"; /* in getopt's complaints too, wherever it lies */
    int         which, code = 0;

    *o = (struct options){ .made_up = 40000 };
    argv[0] = self;
    while (!code && (which = getopt_long(argc, argv, "h", known, NULL)) != -1)
        switch (which) {
        case 'm':
            code = task_read_whole(self, "made-up", optarg, MADE_UP_MAX, &o->made_up);
            break;
        case 'g':
            code = task_read_whole(self, "generate", optarg, MADE_UP_MAX, &o->generate);
            break;
        case 'c': o->config = optarg; break;
        case 's': o->serial = true; break;
        case 'h': o->help = true; break;
        default: code = EX_USAGE; /* getopt_long has said why */
        }
    if (!code && optind < argc) {
        fprintf(stderr, "logreg: %s: expected options only, see --help\n",
                argv[optind]);
        code = EX_USAGE;
    }
    return code;
}

int main(int argc, char **argv)
{
    struct training t = { .weights = NULL };
    struct options  o;
    int             code = read_options(&o, argc, argv);

    if (code || o.help) {
        if (!code)
            help();
        return code;
    }
    rows_init(&t.rows, 1);
    code = task_open(&t.task, "logreg", o.config, o.serial);
    if (!code && o.generate) {
        code = samples_write_made_up(&t.task, stdout, o.generate, 0);
        return task_close(&t.task, code);
    }
    if (!code)
        code = samples_open(&t.samples, &t.task, o.made_up);
    if (!code)
        code = check(&t);
    if (!code)
        code = o.serial ? serial_train(&t.task, &t.samples) : run_worker(&t);
    code = task_close(&t.task, code);
    samples_close(&t.samples);
    rows_free(&t.rows);
    return code;
}
