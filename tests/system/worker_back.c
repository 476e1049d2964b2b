/*
 * worker_back.c - workers of a job that goes back, against the psds that recovery.sh
 * has started.
 *
 *     worker_back CASE STRATEGY ON_LOSS   says "done T" of each iteration that the
 *                                         servers have acknowledged, "back to T" of a
 *                                         rollback
 *     worker_back read STRATEGY           prints the hash of the model, and what the
 *                                         workers have counted
 *
 * The cases are
 *
 *     loop     a loop of its own, with several pushes in an iteration
 *     train    ps_train
 *     layers   ps_train, layer by layer
 *     own      ps_train, epochs of different lengths
 *
 * With IDLE set they come to the end, say "idle", and leave only after a rollback.
 * With GATE set they wait at clocks 30 and 50 for the files GATE-30 and GATE-50, so
 * that they are not through before the play has killed what it wants to kill.
 *
 * Each matrix has parts on all shards.  A gradient is a function of the values pulled,
 * the rank and the iteration, so the model tells whether an iteration was lost, came
 * twice, or saw other values; the tallies tell it under asp too.
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 2u
#define EPOCHS 3u
#define BATCHES 20u /* of an epoch */
#define LAST (EPOCHS * BATCHES)
#define N 40000u /* elements: of f32, a matrix with many slots */

static ps_worker *worker;
static ps_matrix *weights, *tally[WORKERS];
static ps_model  *model;
static float      value[N], grad[N], counted[N], one[N];

static void join(const char *strategy, const char *on_loss)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_settings      *settings;
    char              text[256];

    snprintf(text, sizeof(text),
             "workers: {count: 2}\n"
             "job: {strategy: %s, slack: 2, on_loss: %s, snapshot_every: 7}\n"
             "optimiser: {name: momentum, lr: 0.1}\n",
             strategy, on_loss);
    must(ps_settings_parse(&settings, text));
    opt.settings = settings;
    opt.workers = WORKERS;
    must(ps_worker_open(&worker, &opt));
    ps_settings_free(&settings);
}

static void open_matrices(void)
{
    ps_matrix_options adding = PS_MATRIX_OPTIONS, spread = PS_MATRIX_OPTIONS;
    char              name[32];

    spread.init = PS_INIT_NORMAL;
    spread.init_b = 1;
    must(ps_dense(worker, "weights", 1, N, &spread, &weights));
    adding.optimiser = PS_ADD;
    for (uint32_t r = 0; r < WORKERS; r++) {
        snprintf(name, sizeof(name), "tally-%u", r);
        must(ps_dense(worker, name, 1, N, &adding, &tally[r]));
    }
    for (uint32_t i = 0; i < N; i++)
        one[i] = 1;
}

static void wait_at_gate(uint64_t clock)
{
    const char *gate = getenv("GATE");
    char        file[4096];

    if (!gate || (clock != 30 && clock != 50))
        return;
    snprintf(file, sizeof(file), "%s-%d", gate, (int)clock);
    wait_for_file(file, "the gate did not open");
}

static void compute(uint64_t clock)
{
    float shift = (float)((clock * 31 + ps_rank(worker) * 17) % 11);

    for (uint32_t i = 0; i < N; i++)
        grad[i] = 0.01f * value[i] + 0.001f * (shift - (float)(i % 7));
    nap_ms(10);
    wait_at_gate(clock);
}

/* IDLE: all iterations are done, and their snapshot is older. */
static void wait_until_it_goes_back(void)
{
    static int waited;
    time_t     until = time(NULL) + 60;

    if (!getenv("IDLE") || waited++)
        return;
    puts("idle");
    while (ps_clock(worker) == LAST && time(NULL) < until) {
        nap_ms(10);
        must(ps_progress(worker, 0));
    }
}

/* ---- a loop of its own ---------------------------------------------------------- */

static ps_status iterate(uint64_t clock)
{
    ps_ticket *first = NULL, *second = NULL;
    ps_status  st = ps_pull(weights, value);

    if (st)
        return st;
    compute(clock);
    st = ps_push_async(weights, grad, &first);
    if (!st)
        st = ps_push_async(tally[ps_rank(worker)], one, &second);
    if (!st)
        st = ps_finish(worker);
    for (ps_ticket **t = &first; t; t = t == &first ? &second : NULL)
        if (*t) {
            ps_status waited = ps_wait(t);

            st = st ? st : waited;
        }
    return st;
}

static void loop(void)
{
    ps_status st;

    do {
        uint64_t clock;

        if (ps_clock(worker) == LAST)
            wait_until_it_goes_back();
        clock = ps_clock(worker);
        st = clock < LAST ? iterate(clock) : ps_worker_close(&worker);
        if (st == PS_ERR_ROLLBACK)
            printf("back to %" PRIu64 "\n", ps_clock(worker));
        else
            must(st);
        if (!st && worker)
            printf("done %" PRIu64 "\n", ps_clock(worker));
    } while (worker);
}

/* ---- ps_train ------------------------------------------------------------------- */

static int gradient(void *ctx, const ps_step *step, double *loss)
{
    const ps_train_options *o = ctx;

    for (uint32_t l = 0; o->layerwise && l < 2; l++)
        if (ps_model_wait(model, l))
            return 1;
    compute(step->batch->clock);
    *loss = 1;
    printf("done %" PRIu64 "\n", step->batch->clock);
    if (o->layerwise && ps_model_ready(model, 1))
        return 1;
    return 0;
}

static int end_of_epoch(void *ctx, ps_worker *w, uint64_t epoch, double loss)
{
    (void)ctx;
    printf("epoch %" PRIu64 " at %" PRIu64 ", loss %g\n", epoch, ps_clock(w), loss);
    return 0;
}

static ps_data *samples(uint64_t n)
{
    char     path[64];
    FILE    *f;
    ps_data *data;

    snprintf(path, sizeof(path), "samples-%d.csv", (int)getpid());
    f = fopen(path, "w");
    for (uint64_t i = 0; f && i < n; i++)
        fprintf(f, "%" PRIu64 ",1\n", i);
    if (f)
        fclose(f);
    must(ps_data_open_csv(&data, path, -1, 0, 0));
    unlink(path);
    return data;
}

static void train(int layerwise, int own)
{
    ps_train_options o = PS_TRAIN_OPTIONS;
    uint32_t         rank = ps_rank(worker);
    ps_data         *data = samples(own ? BATCHES - 10 * rank : WORKERS * BATCHES);
    ps_status        st;

    o.epochs = EPOCHS;
    o.batch = 1;
    o.layerwise = layerwise;
    o.own_data = own;
    o.epoch = end_of_epoch;
    o.ctx = &o;
    must(ps_model_new(&model, worker));
    must(ps_model_add(model, weights, value, grad));
    must(ps_model_layer(model));
    must(ps_model_add(model, tally[rank], counted, one));
    do {
        must(ps_train(worker, model, data, gradient, &o));
        wait_until_it_goes_back();
        st = ps_worker_close(&worker);
        o.epochs = 0;
    } while (st == PS_ERR_ROLLBACK);
    must(st);
    ps_data_close(&data);
}

/* ---- the end -------------------------------------------------------------------- */

/* Of each tally its least and most. */
static void read_all(void)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    char              hex[65];

    opt.observer = 1;
    must(ps_worker_open(&worker, &opt));
    open_matrices();
    must(ps_model_hash(worker, hex));
    printf("%.16s", hex);
    for (uint32_t r = 0; r < WORKERS; r++) {
        float least, most;

        must(ps_pull(tally[r], counted));
        least = most = counted[0];
        for (uint32_t i = 0; i < N; i++) {
            least = counted[i] < least ? counted[i] : least;
            most = counted[i] > most ? counted[i] : most;
        }
        printf(" %.0f-%.0f", (double)least, (double)most);
    }
    puts("");
    must(ps_worker_close(&worker));
}

int main(int argc, char **argv)
{
    const char *which = argc > 1 ? argv[1] : "";

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(which, "read") == 0) {
        read_all();
        return 0;
    }
    if (argc < 4)
        return 64;
    join(argv[2], argv[3]);
    open_matrices();
    if (strcmp(which, "loop") == 0)
        loop();
    else
        train(strcmp(which, "layers") == 0, strcmp(which, "own") == 0);
    puts("ended");
    return 0;
}
