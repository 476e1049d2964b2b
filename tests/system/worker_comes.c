/*
 * worker_comes.c - workers that come, go and come again, against a psd that comes.sh
 * has started.
 *
 *     worker_comes life STRATEGY     counts iterations; says "done T" of each that the
 *                                    server has acknowledged
 *     worker_comes course STRATEGY   the same with ps_train, twice
 *     worker_comes epochs STRATEGY   three epochs, as many batches as its rank says
 *     worker_comes train STRATEGY    the same with ps_train and a data set of its own
 *     worker_comes layers STRATEGY   the same, layer by layer
 *     worker_comes read STRATEGY     prints what the workers of the job have counted
 *
 * Who trains says "at C" when it has joined at clock C.  VICTIM stops within its sixth
 * iteration, or the first after that if it is late (backup), and waits to be killed.
 * Whoever finds the path BACK set goes beyond
 * iteration LAST - 1 only when that file is there.
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS 3u
#define LAST 40u
#define EPOCHS 3u

static ps_worker *worker;
static ps_matrix *tally;
static ps_model  *model;
static float      counted[WORKERS], own[WORKERS];
static int        none_is_late; /* no push is dropped */

static void claim(int fact, const char *what)
{
    if (fact)
        return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void join(const char *strategy, int observer)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_matrix_options adding = PS_MATRIX_OPTIONS;
    ps_settings      *settings;
    char              text[128];

    snprintf(text, sizeof(text), "workers: {count: 3}\njob: {strategy: %s, slack: 2}\n",
             strategy);
    must(ps_settings_parse(&settings, text));
    opt.settings = settings;
    opt.workers = WORKERS;
    opt.observer = observer;
    must(ps_worker_open(&worker, &opt));
    ps_settings_free(&settings);
    none_is_late = strcmp(strategy, "backup") != 0;
    adding.dtype = PS_F32;
    adding.optimiser = PS_ADD;
    must(ps_dense(worker, "tally", 1, WORKERS, &adding, &tally));
    if (!observer)
        own[ps_rank(worker)] = 1;
}

/* Within an iteration. */
static void linger(void)
{
    if (ps_clock(worker) == LAST - 1 && getenv("BACK"))
        wait_for_file(getenv("BACK"), "nobody came back");
    nap_ms(5);
    if (!getenv("VICTIM") || ps_clock(worker) < 5)
        return;
    puts("half");
    for (;;)
        pause();
}

static void count_one(void)
{
    must(ps_push(tally, own));
    linger();
    must(ps_finish(worker));
    printf("done %" PRIu64 "\n", ps_clock(worker));
    must(ps_pull(tally, counted));
}

static int life(void)
{
    must(ps_pull(tally, counted));
    while (ps_clock(worker) < LAST)
        count_one();
    return 0;
}

/* Worker 0 has none, and so on. */
static uint64_t batches(void)
{
    return 4 * ps_rank(worker);
}

static void check_epoch(uint64_t epoch, int exact)
{
    for (uint32_t r = 0; none_is_late && r < WORKERS; r++) {
        float least = (float)(epoch + 1) * 4 * (float)r;

        claim(exact ? counted[r] == least : counted[r] >= least,
              "a batch of the epoch is missing at its end");
    }
}

static int epochs(const char *strategy)
{
    int exact = strcmp(strategy, "bsp") == 0;

    for (uint64_t e = 0; e < EPOCHS; e++) {
        for (uint64_t i = 0; i < batches(); i++)
            count_one();
        must(ps_epoch_end(worker));
        must(ps_pull(tally, counted));
        check_epoch(e, exact);
        printf("epoch %" PRIu64 " at %" PRIu64 "\n", e, ps_clock(worker));
        if (exact) /* or the next epoch would begin while others look */
            must(ps_epoch_end(worker));
    }
    return 0;
}

static int gradient(void *ctx, const ps_step *step, double *loss)
{
    const ps_train_options *o = ctx;

    (void)step;
    *loss = 1;
    if (!o->own_data)
        linger();
    if (o->layerwise)
        must(ps_model_wait(model, 0));
    return 0;
}

static int end_of_epoch(void *ctx, ps_worker *w, uint64_t epoch, double loss)
{
    const ps_train_options *o = ctx;

    (void)loss;
    if (o->own_data)
        check_epoch(epoch, 0);
    printf("epoch %" PRIu64 " at %" PRIu64 "\n", epoch, ps_clock(w));
    return 0;
}

static ps_data *samples(uint64_t n)
{
    char     path[64];
    FILE    *f;
    ps_data *data;

    snprintf(path, sizeof(path), "samples-%d.csv", (int)getpid());
    f = fopen(path, "w");
    claim(f != NULL, "no file");
    for (uint64_t i = 0; i < n; i++)
        fprintf(f, "%" PRIu64 ",1\n", i);
    fclose(f);
    must(ps_data_open_csv(&data, path, -1, 0, 0));
    unlink(path);
    return data;
}

static void train(ps_data *data, ps_train_options *o, unsigned times)
{
    o->epoch = end_of_epoch;
    o->ctx = o;
    must(ps_model_new(&model, worker));
    must(ps_model_add(model, tally, counted, own));
    while (times-- > 0)
        must(ps_train(worker, model, data, gradient, o));
    ps_data_close(&data);
}

static int course(void)
{
    ps_train_options o = PS_TRAIN_OPTIONS;

    o.epochs = 2;
    o.batch = 1;
    train(samples(WORKERS * LAST / 4), &o, 2);
    printf("ended at %" PRIu64 "\n", ps_clock(worker));
    return 0;
}

static int train_own(int layerwise)
{
    ps_train_options o = PS_TRAIN_OPTIONS;

    o.epochs = EPOCHS;
    o.batch = 2;
    o.own_data = 1;
    o.layerwise = layerwise;
    train(samples(2 * batches() + 1), &o, 1); /* and one that fills no batch */
    return 0;
}

static int read_counts(void)
{
    must(ps_pull(tally, counted));
    printf("%.0f %.0f %.0f\n", (double)counted[0], (double)counted[1],
           (double)counted[2]);
    return 0;
}

int main(int argc, char **argv)
{
    int code = 64;

    if (argc != 3)
        return 64;
    setvbuf(stdout, NULL, _IOLBF, 0);
    join(argv[2], strcmp(argv[1], "read") == 0);
    if (strcmp(argv[1], "read") != 0)
        printf("at %" PRIu64 "\n", ps_clock(worker));
    if (strcmp(argv[1], "life") == 0)
        code = life();
    else if (strcmp(argv[1], "course") == 0)
        code = course();
    else if (strcmp(argv[1], "epochs") == 0)
        code = epochs(argv[2]);
    else if (strcmp(argv[1], "train") == 0)
        code = train_own(0);
    else if (strcmp(argv[1], "layers") == 0)
        code = train_own(1);
    else if (strcmp(argv[1], "read") == 0)
        code = read_counts();
    must(ps_worker_close(&worker));
    return code;
}
