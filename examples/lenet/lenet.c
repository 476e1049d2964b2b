/*
 * lenet.c - a worker that trains LeNet through psd.
 *
 * The whole of its dealings with servers is in this file: open the worker, bind the
 * net's tensors to matrices, hand the gradient function to ps_train, report.
 */
#include "task.h"
#include "tester.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct training {
    struct lenet_task *task;
    ps_worker         *worker;
    ps_model          *model;
    ps_status          reported; /* how the reports of the last epoch went */
    double             began;    /* this epoch, with its first gradient; 0: not yet */
    double             computed; /* seconds of it in the net */
    double             squared;  /* the sum of the squares of each batch's */
    uint64_t           batches;
    ps_status          moved;     /* how the layers of this batch did */
    char               why[1024]; /* it was not well */
};

/* Errors are said once, by main. */
static void on_line(void *ctx, int level, const char *line)
{
    (void)ctx;
    if (level > 3)
        fprintf(stderr, "lenet: %s\n", line);
}

static ps_status open_worker(struct training *t)
{
    const ps_train_settings *train = &t->task->train;
    ps_worker_options        o = PS_WORKER_OPTIONS;
    ps_status                st;

    o.settings = t->task->settings;
    o.workers = t->task->workers;
    o.clocks_per_epoch = ps_train_clocks(train, t->task->training, t->task->workers);
    st = ps_worker_open(&t->worker, &o);
    if (!st)
        t->task->seed = ps_seed(t->worker);
    return st;
}

static int gradient(void *ctx, const ps_step *step, double *loss)
{
    struct training *t = ctx;
    double           began = lenet_seconds(), before = t->computed;

    if (t->began == 0)
        t->began = began;
    t->computed -= began; /* stops while layers move */
    t->moved = PS_OK;     /* after a rollback the batch comes again */
    *loss = lenet_task_gradient(t->task, step->batch);
    t->computed += lenet_seconds();
    t->squared += (t->computed - before) * (t->computed - before);
    t->batches++;
    return t->moved != PS_OK;
}

/* The net goes on to the end of its pass: the first failure is kept until then. */
static void layer_moved(struct training *t, ps_status st)
{
    t->moved = st;
    if (st)
        snprintf(t->why, sizeof(t->why), "%s", ps_why());
}

static void before_layer(void *ctx, uint32_t layer)
{
    struct training *t = ctx;

    t->computed += lenet_seconds();
    if (!t->moved)
        layer_moved(t, ps_model_wait(t->model, layer));
    t->computed -= lenet_seconds();
}

static void after_layer(void *ctx, uint32_t layer)
{
    struct training *t = ctx;

    t->computed += lenet_seconds();
    if (!t->moved)
        layer_moved(t, ps_model_ready(t->model, layer));
    t->computed -= lenet_seconds();
}

/* Standard deviation of the time that a batch took the net, as a share of the mean. */
static double compute_spread(const struct training *t)
{
    double mean = t->computed / (double)t->batches;
    double variance = t->squared / (double)t->batches - mean * mean;

    return variance > 0 ? sqrt(variance) / mean : 0;
}

/* What both epoch functions report: the loss, the share of the epoch's time in which
 * the net did not compute, because the library moved its values or waited, and how
 * evenly it computed. */
static ps_status report_epoch(struct training *t, double mean_loss)
{
    double    took = lenet_seconds() - t->began;
    ps_status st = ps_report(t->worker, "epoch_loss", mean_loss);

    if (!st && t->began > 0)
        st = ps_report(t->worker, "exchange_share", 1 - t->computed / took);
    if (!st && t->began > 0)
        st = ps_report(t->worker, "compute_spread", compute_spread(t));
    t->began = 0;
    t->computed = t->squared = 0;
    t->batches = 0;
    return st;
}

/* Every worker looks at its share of the test images. */
static int after_epoch(void *ctx, ps_worker *worker, uint64_t epoch, double mean_loss)
{
    struct training *t = ctx;
    uint64_t         n = ps_data_n(t->task->test);
    uint64_t         first = n * ps_rank(worker) / ps_workers(worker);
    uint64_t         last = n * (ps_rank(worker) + 1) / ps_workers(worker);
    uint64_t         correct;

    t->reported = report_epoch(t, mean_loss);
    correct = lenet_task_correct(t->task, first, last);
    printf("epoch %llu: loss %.4f, %llu of %llu test images right\n",
           (unsigned long long)epoch + 1, mean_loss, (unsigned long long)correct,
           (unsigned long long)(last - first));
    fflush(stdout);
    if (!t->reported)
        t->reported = ps_report(worker, "test_correct", (double)correct);
    if (!t->reported)
        t->reported = ps_report(worker, "test_total", (double)(last - first));
    return t->reported != PS_OK;
}

/* Somebody else tests. */
static int say_epoch(void *ctx, ps_worker *worker, uint64_t epoch, double mean_loss)
{
    struct training *t = ctx;

    (void)worker;
    printf("epoch %llu: loss %.4f\n", (unsigned long long)epoch + 1, mean_loss);
    fflush(stdout);
    t->reported = report_epoch(t, mean_loss);
    return t->reported != PS_OK;
}

/* What a job that goes back in the last moment has lost is trained again. */
static ps_status train_and_leave(struct training *t, ps_train_options *o)
{
    ps_status st;

    do {
        st = ps_train(t->worker, t->model, t->task->training, gradient, o);
        if (!st)
            st = t->reported;
        if (!st)
            st = ps_worker_close(&t->worker);
        o->epochs = 0;
    } while (st == PS_ERR_ROLLBACK);
    return st;
}

static ps_status train(struct training *t)
{
    ps_train_options o = PS_TRAIN_OPTIONS;
    ps_status        st = open_worker(t);

    o.epochs = t->task->train.epochs;
    o.batch = t->task->train.batch;
    o.prefetch = t->task->train.prefetch;
    o.growth = t->task->train.growth;
    o.growth_every = t->task->train.growth_every;
    o.growth_max = t->task->train.growth_max;
    o.layerwise = t->task->train.layerwise;
    o.epoch = t->task->train.test_every > 0 ? say_epoch : after_epoch;
    o.ctx = t;
    if (!st)
        st = lenet_task_bind(t->task, t->worker, &t->model);
    if (!st && o.layerwise)
        lenet_watch(t->task->net,
                    &(struct lenet_watcher){ before_layer, after_layer, t });
    if (!st)
        st = train_and_leave(t, &o);
    return t->moved ? t->moved : st;
}

static int is_observer(void)
{
    const char *said = getenv("PSW_OBSERVER");

    return said && strcmp(said, "1") == 0;
}

static int run_worker(struct lenet_task *task)
{
    struct training t = { .task = task };
    ps_status       st = train(&t);

    if (!st)
        return 0;
    if (!t.moved)
        snprintf(t.why, sizeof(t.why), "%s", ps_why());
    fprintf(stderr, "lenet: %s\n", t.why);
    ps_worker_abandon(&t.worker, t.why);
    return ps_status_exit_code(st);
}

int main(int argc, char **argv)
{
    struct lenet_options o;
    struct lenet_task    task;
    int                  code;

    if (lenet_options_read(&o, argc, argv))
        return EX_USAGE;
    if (o.help) {
        lenet_options_help();
        return 0;
    }
    ps_listen(on_line, NULL, 6);
    openblas_set_num_threads(
        1); /* a worker is a process; more threads than cores fight */
    if (is_observer())
        lenet_tester_listen();
    code = lenet_task_open(&task, &o);
    if (!code)
        code = o.serial        ? lenet_serial(&task)
               : is_observer() ? lenet_tester(&task)
                               : run_worker(&task);
    lenet_task_close(&task);
    return code;
}
