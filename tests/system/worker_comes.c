/*
 * worker_comes.c - workers that come, go and come again, against a psd that comes.sh
 * has started.
 *
 *     worker_comes life STRATEGY     counts iterations; says "done T" of each that the
 *                                    server has acknowledged, "at C" when it has joined
 *     worker_comes epochs STRATEGY   three epochs, as many batches as its rank says
 *     worker_comes train STRATEGY    the same with ps_train and a data set of its own
 *     worker_comes read STRATEGY     prints what the workers of the job have counted
 *
 * VICTIM stops within its sixth iteration and waits to be killed.  Whoever finds the
 * path BACK set goes beyond iteration LAST - 1 only when that file is there.
 */
#include <ps/worker.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 3u
#define LAST 40u
#define EPOCHS 3u
#define PATIENCE_S 60

static ps_worker *worker;
static ps_matrix *tally;
static float      counted[WORKERS], own[WORKERS];

static void must(ps_status st)
{
    if (st == PS_OK)
        return;
    fprintf(stderr, "%s: %s\n", ps_status_text(st), ps_why());
    exit(ps_status_exit_code(st));
}

static void check(int fact, const char *what)
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
    adding.dtype = PS_F32;
    adding.optimiser = PS_ADD;
    must(ps_dense(worker, "tally", 1, WORKERS, &adding, &tally));
    if (!observer)
        own[ps_rank(worker)] = 1;
}

static void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static void wait_for_file(const char *path)
{
    time_t until = time(NULL) + PATIENCE_S;

    while (path && access(path, F_OK)) {
        check(time(NULL) < until, "nobody came back");
        nap();
    }
}

static void count_one(void)
{
    must(ps_push(tally, own));
    if (getenv("VICTIM") && ps_clock(worker) == 5) {
        puts("half");
        for (;;)
            pause();
    }
    must(ps_finish(worker));
    printf("done %" PRIu64 "\n", ps_clock(worker));
    must(ps_pull(tally, counted));
}

static int life(void)
{
    printf("at %" PRIu64 "\n", ps_clock(worker));
    must(ps_pull(tally, counted));
    while (ps_clock(worker) < LAST) {
        if (ps_clock(worker) == LAST - 1)
            wait_for_file(getenv("BACK"));
        count_one();
        nap();
    }
    return 0;
}

/* Worker 0 has none, and so on. */
static uint64_t batches(void)
{
    return 4 * ps_rank(worker);
}

static void check_epoch(uint64_t epoch, int exact)
{
    for (uint32_t r = 0; r < WORKERS; r++) {
        float least = (float)(epoch + 1) * 4 * (float)r;

        check(exact ? counted[r] == least : counted[r] >= least,
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
        /* nobody is further than the one with the most */
        check(ps_clock(worker) == (e + 1) * 4 * (WORKERS - 1), "another clock");
        must(ps_pull(tally, counted));
        if (strcmp(strategy, "backup") != 0)
            check_epoch(e, exact);
        if (exact) /* or the next epoch would begin while others look */
            must(ps_epoch_end(worker));
    }
    return 0;
}

static int gradient(void *ctx, const ps_step *step, double *loss)
{
    (void)ctx;
    (void)step;
    *loss = 1;
    return 0;
}

static int end_of_epoch(void *ctx, ps_worker *w, uint64_t epoch, double loss)
{
    (void)ctx;
    (void)w;
    (void)loss;
    check_epoch(epoch, 0);
    printf("epoch %" PRIu64 " at %" PRIu64 "\n", epoch, ps_clock(worker));
    return 0;
}

/* One sample a batch. */
static ps_data *own_samples(void)
{
    char     path[64];
    FILE    *f;
    ps_data *data;

    snprintf(path, sizeof(path), "own-%d.csv", (int)getpid());
    f = fopen(path, "w");
    check(f != NULL, "no file");
    for (uint64_t i = 0; i < 2 * batches() + 1; i++) /* and one that fills no batch */
        fprintf(f, "%" PRIu64 ",1\n", i);
    fclose(f);
    must(ps_data_open_csv(&data, path, -1, 0, 0));
    unlink(path);
    return data;
}

static int train(void)
{
    ps_train_options o = PS_TRAIN_OPTIONS;
    ps_model        *model;
    ps_data         *data = own_samples();

    o.epochs = EPOCHS;
    o.batch = 2;
    o.own_data = 1;
    o.epoch = end_of_epoch;
    must(ps_model_new(&model, worker));
    must(ps_model_add(model, tally, counted, own));
    must(ps_train(worker, model, data, gradient, &o));
    check(ps_clock(worker) == EPOCHS * 4 * (WORKERS - 1), "another clock");
    ps_data_close(&data);
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
    if (strcmp(argv[1], "life") == 0)
        code = life();
    else if (strcmp(argv[1], "epochs") == 0)
        code = epochs(argv[2]);
    else if (strcmp(argv[1], "train") == 0)
        code = train();
    else if (strcmp(argv[1], "read") == 0)
        code = read_counts();
    must(ps_worker_close(&worker));
    return code;
}
