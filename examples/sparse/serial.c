/* serial.c - see serial.h. */
#include "serial.h"

#include "rows.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sysexits.h>

/* Samples whose features have places instead of keys. */
struct placed {
    const ps_data *data;
    uint64_t      *first; /* [n + 1]: where each sample begins in `place` */
    uint32_t      *place;
};

struct ftrl {
    const struct task    *task;
    const struct samples *samples;
    struct placed         training, test;
    uint32_t              n_weights;

    /* By place; that of the bias is 0. */
    double   *z, *n, *weight, *gradient;
    bool     *is_touched;
    uint32_t *touched; /* [n_touched] places with a gradient */
    uint32_t  n_touched;
};

/* ---- the algorithm ------------------------------------------------------------- */

static double weight_of(const ps_optimiser_settings *o, double z, double n)
{
    if (fabs(z) <= o->ftrl_l1)
        return 0;
    return -(z - copysign(o->ftrl_l1, z)) /
           ((o->ftrl_beta + sqrt(n)) / o->lr + o->ftrl_l2);
}

static void step(struct ftrl *f, uint32_t i)
{
    const double g = f->gradient[i];
    const double sigma =
        (sqrt(f->n[i] + g * g) - sqrt(f->n[i])) / f->task->optimiser.lr;

    f->z[i] += g - sigma * f->weight[i];
    f->n[i] += g * g;
    f->weight[i] = weight_of(&f->task->optimiser, f->z[i], f->n[i]);
}

/* ---- samples ------------------------------------------------------------------- */

/* The features of a sample; how many there are. */
static uint64_t sample_at(const struct placed *p, uint64_t i, const uint32_t **place,
                          const float **value)
{
    const uint64_t *unused;
    uint64_t        n;

    *place = p->place + p->first[i];
    return ps_data_row(p->data, i, &unused, value, &n) ? 0 : n;
}

static double margin_of(const struct ftrl *f, const struct placed *p, uint64_t i)
{
    const uint32_t *place;
    const float    *value;
    uint64_t        n = sample_at(p, i, &place, &value);
    double          margin = f->weight[0];

    for (uint64_t k = 0; k < n; k++)
        margin += f->weight[place[k]] * (double)value[k];
    return margin;
}

static void add(struct ftrl *f, uint32_t i, double g)
{
    if (!f->is_touched[i])
        f->touched[f->n_touched++] = i;
    f->is_touched[i] = true;
    f->gradient[i] += g;
}

/* Adds a sample's share of the batch's mean gradient; its loss. */
static double learn(struct ftrl *f, uint64_t i, double share)
{
    const uint32_t *place;
    const float    *value;
    uint64_t        n = sample_at(&f->training, i, &place, &value);
    int             y = samples_is_positive(f->samples, f->training.data, i);
    double          p, loss = samples_loss(margin_of(f, &f->training, i), y, &p);

    add(f, 0, share * (p - y));
    for (uint64_t k = 0; k < n; k++)
        add(f, place[k], share * (p - y) * (double)value[k]);
    return loss;
}

static double learn_batch(struct ftrl *f, const ps_batch *batch)
{
    double loss = 0;

    f->n_touched = 0;
    for (uint32_t i = 0; i < batch->n; i++)
        loss += learn(f, batch->sample[i], 1.0 / batch->n);
    for (uint32_t i = 0; i < f->n_touched; i++) {
        step(f, f->touched[i]);
        f->gradient[f->touched[i]] = 0;
        f->is_touched[f->touched[i]] = false;
    }
    return loss / batch->n;
}

/* ---- the run ------------------------------------------------------------------- */

static void tell_test(const struct ftrl *f)
{
    uint64_t n = ps_data_n(f->test.data), correct = 0;
    double   loss = 0, p;

    for (uint64_t i = 0; i < n; i++) {
        int y = samples_is_positive(f->samples, f->test.data, i);

        loss += samples_loss(margin_of(f, &f->test, i), y, &p);
        correct += (p > 0.5) == y;
    }
    printf(", test log-loss %.6f, test accuracy %.4f", loss / (double)n,
           (double)correct / (double)n);
}

static int train(struct ftrl *f)
{
    const struct task *t = f->task;
    ps_data           *training = f->samples->training;
    uint64_t           n = ps_data_iterations(training, 1, t->train.batch);
    uint32_t           in_use = 0;

    for (uint64_t epoch = 0; epoch < t->train.epochs; epoch++) {
        double   loss = 0;
        ps_batch batch;

        for (uint64_t i = 0; i < n; i++) {
            ps_status st = ps_data_batch(training, t->seed, 0, 1, t->train.batch,
                                         epoch * n + i, &batch);

            if (st)
                return task_failed(t, st);
            loss += learn_batch(f, &batch) / (double)n;
        }
        printf("epoch %llu: log-loss %.6f", (unsigned long long)epoch + 1, loss);
        if (f->test.data)
            tell_test(f);
        putchar('\n');
    }
    for (uint32_t i = 0; i < f->n_weights; i++)
        in_use += f->weight[i] != 0;
    printf("%u of %u weights are not zero\n", in_use, f->n_weights);
    return 0;
}

/* ---- life ---------------------------------------------------------------------- */

static bool place_samples(struct placed *p, const ps_data *data, struct rows *features)
{
    uint64_t        n = ps_data_n(data), n_row, used = 0;
    const uint64_t *index;
    const float    *value;

    p->data = data;
    p->first = calloc(n + 1, sizeof(*p->first));
    for (uint64_t i = 0; p->first && i < n; i++) {
        p->first[i + 1] = p->first[i];
        if (!ps_data_row(data, i, &index, &value, &n_row))
            p->first[i + 1] += n_row;
    }
    p->place = p->first ? calloc(p->first[n] + 1, sizeof(*p->place)) : NULL;
    for (uint64_t i = 0; p->place && i < n; i++)
        if (!ps_data_row(data, i, &index, &value, &n_row))
            for (uint64_t k = 0; k < n_row; k++)
                if (!rows_place(features, index[k], &p->place[used++]))
                    return false;
    return p->place != NULL;
}

static bool prepare(struct ftrl *f)
{
    struct rows features;
    uint32_t    bias;
    bool        ok;

    rows_init(&features, 1);
    ok = rows_place(&features, SAMPLES_BIAS, &bias) &&
         place_samples(&f->training, f->samples->training, &features) &&
         (!f->samples->test || place_samples(&f->test, f->samples->test, &features));
    f->n_weights = features.n;
    rows_free(&features);
    f->z = calloc(f->n_weights, sizeof(*f->z));
    f->n = calloc(f->n_weights, sizeof(*f->n));
    f->weight = calloc(f->n_weights, sizeof(*f->weight));
    f->gradient = calloc(f->n_weights, sizeof(*f->gradient));
    f->is_touched = calloc(f->n_weights, sizeof(*f->is_touched));
    f->touched = calloc(f->n_weights, sizeof(*f->touched));
    return ok && f->z && f->n && f->weight && f->gradient && f->is_touched &&
           f->touched;
}

int serial_train(const struct task *t, const struct samples *s)
{
    struct ftrl f = { .task = t, .samples = s };
    int         code = EX_OSERR;

    if (t->optimiser.optimiser != PS_FTRL || t->optimiser.epoch_factor != 1) {
        fprintf(stderr, "%s: --serial knows the optimiser ftrl with a constant rate\n",
                t->program);
        return EX_CONFIG;
    }
    if (prepare(&f))
        code = train(&f);
    else
        fprintf(stderr, "%s: no memory for the weights\n", t->program);
    free(f.training.first);
    free(f.training.place);
    free(f.test.first);
    free(f.test.place);
    free(f.z);
    free(f.n);
    free(f.weight);
    free(f.gradient);
    free(f.is_touched);
    free(f.touched);
    return code;
}
