/* serial.c - training without servers; see task.h. */
#include "task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* FNV-1a of its name is the stream of a matrix's start values. */
static uint64_t stream_of(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h;
}

static void start_values(const struct lenet_tensor *w, uint64_t seed)
{
    uint64_t stream = stream_of(w->name);

    for (uint64_t i = 0; i < w->rows * w->cols; i++)
        w->value[i] = (real)(w->deviation * ps_random_normal_at(seed, stream, i));
}

/*
 * One step of gradient descent with Nesterov's momentum, in the form that keeps w at
 * the look-ahead point (Sutskever et al., ICML 2013, equations 3 and 4).
 */
static void step(const struct lenet_tensor *t, const ps_optimiser_settings *o,
                 double rate, real *v)
{
    const real lr = (real)rate, mu = (real)o->momentum, ahead = (real)(1 + o->momentum);
    const real decay = (real)(t->deviation > 0 ? o->weight_decay : 0);

    for (uint64_t i = 0; i < t->rows * t->cols; i++) {
        const real was = v[i];

        v[i] = mu * was - lr * (t->grad[i] + decay * t->value[i]);
        t->value[i] += ahead * v[i] - mu * was;
    }
}

/* Mean loss of the epoch, in *loss. */
static ps_status train_epoch(struct lenet_task *t, uint64_t epoch,
                             real *const *velocity, double *loss)
{
    uint64_t n = ps_data_iterations(t->training, 1, t->train.batch);
    double   rate = t->optimiser.lr * pow(t->optimiser.epoch_factor, (double)epoch);
    ps_batch batch;

    *loss = 0;
    for (uint64_t i = 0; i < n; i++) {
        ps_status st = ps_data_batch(t->training, t->seed, 0, 1, t->train.batch,
                                     epoch * n + i, &batch);

        if (st)
            return st;
        *loss += lenet_task_gradient(t, &batch) / (double)n;
        for (uint32_t k = 0; k < lenet_n_tensors(t->net); k++)
            step(lenet_tensor(t->net, k), &t->optimiser, rate, velocity[k]);
    }
    return PS_OK;
}

static int train(struct lenet_task *t, real *const *velocity)
{
    uint64_t tests = ps_data_n(t->test);
    uint64_t n = ps_data_iterations(t->training, 1, t->train.batch) * t->train.batch;
    double   loss;

    for (uint64_t epoch = 0; epoch < t->train.epochs; epoch++) {
        double    began = lenet_seconds(), took;
        ps_status st = train_epoch(t, epoch, velocity, &loss);

        if (st)
            return lenet_failed(st);
        took = lenet_seconds() - began;
        printf("epoch %llu: loss %.4f, test accuracy %.4f, %.0f samples/s\n",
               (unsigned long long)epoch + 1, loss,
               (double)lenet_task_correct(t, 0, tests) / (double)tests,
               (double)n / took);
        fflush(stdout);
    }
    return 0;
}

int lenet_serial(struct lenet_task *t)
{
    real *velocity[LENET_TENSORS_MAX] = { NULL };
    int   code = 0;

    if (t->optimiser.optimiser != PS_NESTEROV || isnan(t->optimiser.epoch_factor)) {
        fprintf(stderr, "lenet: --serial knows the optimiser nesterov with a constant "
                        "rate or a step after every epoch\n");
        return EX_CONFIG;
    }
    if (t->largest != t->train.batch) {
        fprintf(stderr, "lenet: --serial knows batches of one size only\n");
        return EX_CONFIG;
    }
    for (uint32_t k = 0; k < lenet_n_tensors(t->net) && !code; k++) {
        const struct lenet_tensor *w = lenet_tensor(t->net, k);

        start_values(w, t->seed);
        velocity[k] = calloc(w->rows * w->cols, sizeof(real));
        if (!velocity[k]) {
            fprintf(stderr, "lenet: no memory for the momentum of %s\n", w->name);
            code = EX_OSERR;
        }
    }
    if (!code)
        code = train(t, velocity);
    for (uint32_t k = 0; k < LENET_TENSORS_MAX; k++)
        free(velocity[k]);
    return code;
}
