/*
 * train_api.c - ps_train as a program sees it: <ps/worker.h> and nothing else, against
 * a psd that train.sh has started.
 *
 *     train_api CASE SETTINGS [JOB]
 *
 * SETTINGS is the text of an experiment, JOB the job's name.  The data set is data.csv
 * in the folder, one number and a label a line.  Ends with 0 when everything was as
 * expected, with 1 and a line that says what was not, or with the exit code of the
 * status that ended it, and its sentence.
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define D 5u

/* What a run is made of.  `w` is trained, the others count what was pushed: under add
 * exactly, and under assign the number of the batch that was the last. */
struct run {
    ps_settings      *settings;
    ps_train_settings train;
    uint64_t          npush;
    ps_worker        *worker;
    ps_model         *model;
    ps_data          *data;
    ps_train_options  options;

    float   w[D], gw[D];
    int64_t tally[3], gt[3];
    double  last[1], gl[1];

    uint64_t iterations; /* of an epoch, while batches do not grow */
    uint64_t batches;    /* this worker's */
    ps_batch before;     /* the last one */

    float  serial[D], velocity[D]; /* what one process alone comes to */
    double lr, momentum, decay;
    void (*look)(struct run *r, const ps_batch *batch); /* before each gradient */
};

static void open_worker(struct run *r, const char *text, const char *job)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    uint32_t          rank, workers;

    must(ps_settings_parse(&r->settings, text));
    must(ps_launched(r->settings, &rank, &workers));
    ps_settings_train(r->settings, &r->train);
    must(ps_data_open_csv(&r->data, "data.csv", -1, 0, r->train.limit));
    o.clocks_per_epoch = ps_train_clocks(&r->train, r->data, workers);
    o.job = job;
    o.settings = r->settings;
    must(ps_worker_open(&r->worker, &o));
    r->options = (ps_train_options)PS_TRAIN_OPTIONS;
    r->options.epochs = r->train.epochs;
    r->options.batch = r->train.batch;
    r->options.prefetch = r->train.prefetch;
    r->options.growth = r->train.growth;
    r->options.growth_every = r->train.growth_every;
    r->options.growth_max = r->train.growth_max;
    r->options.ctx = r;
    r->npush = r->train.npush;
    r->iterations = ps_data_iterations(r->data, ps_workers(r->worker), r->train.batch);
}

static void add_matrix(struct run *r, const char *name, uint64_t n, ps_dtype dtype,
                       ps_optimiser optimiser, void *value, const void *grad)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_matrix        *m;

    o.dtype = dtype;
    o.optimiser = optimiser;
    must(ps_dense(r->worker, name, 1, n, &o, &m));
    must(ps_model_add(r->model, m, value, grad));
}

/* Each matrix is a layer, where layers matter. */
static void begin(struct run *r, const char *text, const char *job)
{
    open_worker(r, text, job);
    must(ps_model_new(&r->model, r->worker));
    add_matrix(r, "w", D, PS_F32, PS_OPTIMISER_JOB, r->w, r->gw);
    must(ps_model_layer(r->model));
    add_matrix(r, "tally", 3, PS_I64, PS_ADD, r->tally, r->gt);
    must(ps_model_layer(r->model));
    add_matrix(r, "last", 1, PS_F64, PS_ASSIGN, r->last, r->gl);
}

static void end(struct run *r)
{
    must(ps_worker_close(&r->worker));
    ps_data_close(&r->data);
    ps_settings_free(&r->settings);
}

/* Does not depend on the values: whole numbers, so that sums of them are exact. */
static float pull_of(const struct run *r, const ps_batch *b, uint32_t k)
{
    float sum = 0;

    for (uint32_t i = 0; i < b->n; i++)
        sum += (float)((int)ps_data_dense(r->data, b->sample[i])[0] % 7 - 3);
    return sum + (float)k;
}

/* Batches follow one another, but for jumps to the first one of a window. */
static void expect_order(struct run *r, const ps_batch *b)
{
    bool follows = r->batches == 0 || b->clock == r->before.clock + 1;

    check(follows || (b->clock > r->before.clock && b->iteration % r->npush == 0));
    check(b->epoch >= r->before.epoch);
    r->before = *b;
    r->batches++;
}

static int gradient(void *ctx, const ps_step *step, double *loss)
{
    struct run     *r = ctx;
    const ps_batch *b = step->batch;

    expect_order(r, b);
    for (uint32_t k = 0; k < D; k++)
        r->gw[k] = pull_of(r, b, k);
    r->gt[0] = 1;
    r->gt[1] = b->n;
    r->gt[2] = INT64_C(1) << 40;
    r->gl[0] = (double)b->clock;
    if (r->look)
        r->look(r, b);
    *loss = 1;
    return 0;
}

/* ---- one worker, and one process alone ------------------------------------------- */

/* w -= lr (g + wd w), rounded after each operation as the servers do. */
static void step_alone(struct run *r)
{
    for (uint32_t k = 0; k < D; k++) {
        volatile float decayed = (float)r->decay * r->serial[k];
        volatile float g = r->gw[k] + decayed;
        volatile float step = (float)r->lr * g;
        volatile float kept = (float)r->momentum * r->velocity[k];

        r->velocity[k] = kept - step;
        r->serial[k] += r->velocity[k];
    }
}

/* Every batch sees what it would see without servers. */
static void look_at_path(struct run *r, const ps_batch *b)
{
    (void)b;
    check(memcmp(r->w, r->serial, sizeof(r->w)) == 0);
    for (uint32_t k = 0; k < D; k++) /* and answers to it */
        r->gw[k] += r->decay > 0 ? 0.3f * r->w[k] : 0;
    step_alone(r);
}

static int end_of_path(void *ctx, ps_worker *w, uint64_t epoch, double loss)
{
    struct run *r = ctx;

    (void)loss;
    check(memcmp(r->w, r->serial, sizeof(r->w)) == 0);
    check(r->tally[0] == (int64_t)((epoch + 1) * r->iterations));
    check(r->last[0] == (double)((epoch + 1) * r->iterations - 1));
    check(ps_clock(w) == (epoch + 1) * ps_train_clocks(&r->train, r->data, 1));
    return 0;
}

static void run_path(const char *text, const char *job)
{
    struct run            r = { .look = look_at_path };
    ps_optimiser_settings o;

    begin(&r, text, job);
    ps_settings_optimiser(r.settings, &o);
    r.lr = o.lr;
    r.decay = o.weight_decay;
    r.momentum = o.optimiser == PS_MOMENTUM ? o.momentum : 0;
    r.options.epoch = end_of_path;
    must(ps_train(r.worker, r.model, r.data, gradient, &r.options));
    check(r.batches == r.iterations * r.train.epochs);
    check(memcmp(r.w, r.serial, sizeof(r.w)) == 0);
    end(&r);
}

/* Without local steps the values stand still until the next pull. */
static void look_at_stairs(struct run *r, const ps_batch *b)
{
    static float stair[D];

    if (b->iteration % r->npush == 0)
        memcpy(stair, r->serial, sizeof(stair));
    check(memcmp(r->w, stair, sizeof(stair)) == 0);
    step_alone(r);
}

static void run_stairs(const char *text, const char *job)
{
    struct run            r = { .look = look_at_stairs };
    ps_optimiser_settings o;

    begin(&r, text, job);
    ps_settings_optimiser(r.settings, &o);
    r.lr = o.lr;
    r.options.epoch = end_of_path;
    must(ps_train(r.worker, r.model, r.data, gradient, &r.options));
    end(&r);
}

/* ---- several workers ------------------------------------------------------------- */

/* Of so many workers: everybody's batches are in the values, or one's own at least. */
static int expect_tally(void *ctx, ps_worker *w, uint64_t epoch, double loss)
{
    struct run *r = ctx;
    int64_t     own = (int64_t)((epoch + 1) * r->iterations);
    int64_t     most = (int64_t)(r->train.epochs * r->iterations * ps_workers(w));

    (void)loss;
    check(r->tally[0] >= own && r->tally[0] <= most);
    check(r->tally[1] == r->tally[0] * r->train.batch);
    check(r->tally[2] == r->tally[0] << 40);
    return 0;
}

static int expect_all(void *ctx, ps_worker *w, uint64_t epoch, double loss)
{
    struct run *r = ctx;

    check(r->tally[0] == (int64_t)((epoch + 1) * r->iterations * ps_workers(w)));
    return expect_tally(ctx, w, epoch, loss);
}

static void run_tally(const char *text, const char *job)
{
    struct run r = { 0 };

    begin(&r, text, job);
    r.options.epoch = strstr(text, "bsp") ? expect_all : expect_tally;
    must(ps_train(r.worker, r.model, r.data, gradient, &r.options));
    check(r.batches == r.iterations * r.train.epochs);
    check(ps_clock(r.worker) ==
          r.train.epochs * ps_train_clocks(&r.train, r.data, ps_workers(r.worker)));
    end(&r);
}

/* The highest rank takes its time: under backup it comes too late. */
static void look_slowly(struct run *r, const ps_batch *b)
{
    struct timespec pause = { .tv_nsec = 10000000 };

    (void)b;
    if (ps_rank(r->worker) + 1 == ps_workers(r->worker))
        nanosleep(&pause, NULL);
}

static void run_late(const char *text, const char *job)
{
    struct run r = { .look = look_slowly };

    begin(&r, text, job);
    must(ps_train(r.worker, r.model, r.data, gradient, &r.options));
    end(&r);
}

/* Layer by layer the values come while the batch is under way, and with them the news
 * of what came too late: the batch is that of its iteration all the same. */
static void look_slowly_at_layers(struct run *r, const ps_batch *b)
{
    look_slowly(r, b);
    for (uint32_t layer = 0; layer < 3; layer++)
        must(ps_model_wait(r->model, layer));
    check(ps_clock(r->worker) == b->clock);
}

static void run_late_layers(const char *text, const char *job)
{
    struct run r = { .look = look_slowly_at_layers };

    begin(&r, text, job);
    r.options.layerwise = 1;
    must(ps_train(r.worker, r.model, r.data, gradient, &r.options));
    end(&r);
}

/* A gradient function that leaves layers as they are. */
static void look_at_two_layers(struct run *r, const ps_batch *b)
{
    (void)b;
    must(ps_model_wait(r->model, 0));
    must(ps_model_wait(r->model, 2));
}

static void hand_over_one_layer(struct run *r, const ps_batch *b)
{
    look_at_two_layers(r, b);
    must(ps_model_wait(r->model, 1));
    must(ps_model_ready(r->model, 1));
}

static void run_unfinished(const char *text, const char *job)
{
    struct run r = { .look = look_at_two_layers };

    begin(&r, text, job);
    r.options.layerwise = 1;
    refused(ps_train(r.worker, r.model, r.data, gradient, &r.options), PS_ERR_BAD_ARG,
            "the gradient function did not wait for layer 1 of 3");
    check(r.batches == 1 && ps_clock(r.worker) == 0);
    r.look = hand_over_one_layer;
    r.batches = 0;
    r.options.epoch = expect_all;
    must(ps_train(r.worker, r.model, r.data, gradient, &r.options));
    check(r.batches == r.iterations * r.train.epochs);
    end(&r);
}

/* Says what was counted in the end. */
static void run_total(const char *text, const char *job)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_matrix_options mo = PS_MATRIX_OPTIONS;
    ps_worker        *w;
    ps_matrix        *m;
    int64_t           tally[3];

    (void)text;
    o.job = job;
    o.observer = 1;
    must(ps_worker_open(&w, &o));
    mo.dtype = PS_I64;
    mo.optimiser = PS_ADD;
    must(ps_dense(w, "tally", 1, 3, &mo, &m));
    must(ps_pull_any(m, tally));
    check(tally[2] == tally[0] << 40);
    printf("%" PRId64 "\n", tally[0]);
    must(ps_worker_close(&w));
}

/* ---- batches that grow ----------------------------------------------------------- */

/* Of 67 samples, batches of 4, 6 and 9 for two epochs each; see train.sh. */
static void look_at_growth(struct run *r, const ps_batch *b)
{
    static const uint32_t expected[] = { 4, 4, 6, 6, 9, 9 };
    static uint32_t       seen[67];

    (void)r;
    check(b->n == expected[b->epoch]);
    check(b->n == ps_train_batch(&r->train, b->epoch));
    check(b->iteration < 67 / b->n);
    for (uint32_t i = 0; i < b->n; i++) {
        check(seen[b->sample[i]] <= b->epoch);
        seen[b->sample[i]] = (uint32_t)b->epoch + 1;
    }
}

static void run_growth(const char *text, const char *job)
{
    struct run r = { .look = look_at_growth };

    begin(&r, text, job);
    check(ps_train_clocks(&r.train, r.data, 1) == 0);
    must(ps_train(r.worker, r.model, r.data, gradient, &r.options));
    check(r.batches == 2 * (67 / 4 + 67 / 6 + 67 / 9));
    check(r.tally[0] == (int64_t)r.batches);
    check(ps_clock(r.worker) == 2 * (6 + 4 + 3)); /* windows of three */
    end(&r);
}

static void run_refused(const char *text, const char *job)
{
    struct run       r = { 0 };
    ps_train_options o;

    begin(&r, text, job);
    o = r.options;
    o.growth = 0.5;
    refused(ps_train(r.worker, r.model, r.data, gradient, &o), PS_ERR_BAD_ARG,
            "grows by the factor 0.5");
    o = r.options;
    o.growth = 2;
    refused(ps_train(r.worker, r.model, r.data, gradient, &o), PS_ERR_BAD_ARG,
            "learning rate counts epochs");
    o = r.options;
    o.batch = 68;
    refused(ps_train(r.worker, r.model, r.data, gradient, &o), PS_ERR_BAD_ARG,
            "67 samples are too few for 1 workers with batches of 68");
    check(ps_clock(r.worker) == 0);
    must(ps_train(r.worker, r.model, r.data, gradient, &r.options));
    end(&r);
}

static void run_outgrown(const char *text, const char *job)
{
    struct run r = { 0 };

    begin(&r, text, job);
    refused(ps_train(r.worker, r.model, r.data, gradient, &r.options), PS_ERR_BAD_ARG,
            "67 samples are too few for 1 workers with batches of 128");
    check(r.batches == 0); /* and not only in the epoch where it happens */
    end(&r);
}

static const struct {
    const char *name;
    void (*run)(const char *text, const char *job);
} cases[] = {
    { "path", run_path },
    { "stairs", run_stairs },
    { "tally", run_tally },
    { "late", run_late },
    { "total", run_total },
    { "growth", run_growth },
    { "refused", run_refused },
    { "outgrown", run_outgrown },
    { "late-layers", run_late_layers },
    { "unfinished", run_unfinished },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 3 && i < COUNT(cases); i++)
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run(argv[2], argv[3]);
            return 0;
        }
    fprintf(stderr, "train_api: no such case\n");
    return 64;
}
