/* task.c - see task.h. */
#include "task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

double lenet_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int lenet_failed(ps_status status)
{
    fprintf(stderr, "lenet: %s\n", ps_why());
    return ps_status_exit_code(status);
}

static int load_settings(struct lenet_task *t, const struct lenet_options *o)
{
    ps_status st = ps_settings_load(&t->settings, o->config);
    uint32_t  rank;

    t->workers = 1;
    if (!st && !o->serial)
        st = ps_launched(t->settings, &rank, &t->workers);
    if (st)
        return lenet_failed(st);
    ps_settings_train(t->settings, &t->train);
    ps_settings_optimiser(t->settings, &t->optimiser);
    if (o->batch)
        t->train.batch = o->batch;
    t->largest = ps_train_batch(&t->train, t->train.epochs - 1);
    t->seed = t->train.seed;
    t->dropout = o->shape.dropout;
    return 0;
}

static int load_images(struct lenet_task *t)
{
    ps_status st;

    if (strcmp(t->train.data_format, "idx") != 0) {
        fprintf(stderr, "lenet: data.format: %s, expected idx\n", t->train.data_format);
        return EX_CONFIG;
    }
    st = ps_data_open(&t->training, t->settings, 0);
    if (!st)
        st = ps_data_open(&t->test, t->settings, 1);
    return st ? lenet_failed(st) : 0;
}

/* The side of a square image, 0 when it is none. */
static uint32_t side_of(uint64_t pixels)
{
    uint32_t side = 1;

    while ((uint64_t)side * side < pixels)
        side++;
    return (uint64_t)side * side == pixels ? side : 0;
}

static int check_images(const struct lenet_task *t, uint32_t classes)
{
    uint64_t pixels = ps_data_features(t->training);

    if (side_of(pixels) == 0)
        fprintf(stderr, "lenet: %s: images of %llu pixels, expected square ones\n",
                t->train.train_features, (unsigned long long)pixels);
    else if (ps_data_features(t->test) != pixels)
        fprintf(stderr, "lenet: %s: images of %llu pixels, expected %llu as in %s\n",
                t->train.test_features, (unsigned long long)ps_data_features(t->test),
                (unsigned long long)pixels, t->train.train_features);
    else if (ps_data_classes(t->training) > classes)
        fprintf(stderr, "lenet: %s: label %u, expected 0 to %u\n",
                t->train.train_labels, ps_data_classes(t->training) - 1, classes - 1);
    else if (ps_data_classes(t->test) > classes)
        fprintf(stderr, "lenet: %s: label %u, expected 0 to %u\n", t->train.test_labels,
                ps_data_classes(t->test) - 1, classes - 1);
    else if (ps_data_iterations(t->training, t->workers, t->largest) == 0)
        fprintf(stderr, "lenet: %s: %llu samples, a step takes %u workers x batch %u\n",
                t->train.train_features, (unsigned long long)ps_data_n(t->training),
                t->workers, t->largest);
    else
        return 0;
    return EX_DATAERR;
}

static int make_net(struct lenet_task *t, struct lenet_shape shape)
{
    char why[256];

    shape.side = side_of(ps_data_features(t->training));
    t->net = lenet_new(&shape, t->largest, NULL, why, sizeof(why));
    if (!t->net) {
        fprintf(stderr, "lenet: %s\n", why);
        return EX_USAGE;
    }
    t->keep = calloc((size_t)t->largest * lenet_last_hidden(t->net), sizeof(real));
    if (!t->keep) {
        fprintf(stderr, "lenet: no memory for dropout\n");
        return EX_OSERR;
    }
    ps_data_moments(t->training, &t->mean, &t->deviation);
    if (t->deviation == 0) /* every pixel the same: nothing to scale */
        t->deviation = 1;
    return 0;
}

int lenet_task_open(struct lenet_task *t, const struct lenet_options *o)
{
    int code;

    *t = (struct lenet_task){ 0 };
    code = load_settings(t, o);
    if (!code)
        code = load_images(t);
    if (!code)
        code = check_images(t, o->shape.classes);
    if (!code)
        code = make_net(t, o->shape);
    return code;
}

void lenet_task_close(struct lenet_task *t)
{
    free(t->keep);
    lenet_free(&t->net);
    ps_data_close(&t->test);
    ps_data_close(&t->training);
    ps_settings_free(&t->settings);
}

/* Each tensor is a matrix; the servers draw the start values. */
static ps_status bind_tensor(ps_worker *worker, ps_model *model,
                             const struct lenet_tensor *tensor)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_matrix        *m;
    ps_status         st;

    if (tensor->deviation > 0) {
        o.init = PS_INIT_NORMAL;
        o.init_b = tensor->deviation;
    } else {
        o.weight_decay = 0; /* biases are not pulled towards zero */
    }
    st = ps_dense(worker, tensor->name, tensor->rows, tensor->cols, &o, &m);
    return st ? st : ps_model_add(model, m, tensor->value, tensor->grad);
}

ps_status lenet_task_bind(const struct lenet_task *t, ps_worker *worker,
                          ps_model **model)
{
    ps_status st = ps_model_new(model, worker);

    for (uint32_t i = 0; !st && i < lenet_n_tensors(t->net); i++) {
        if (i % 2 == 0) /* weight and bias are a layer */
            st = ps_model_layer(*model);
        if (!st)
            st = bind_tensor(worker, *model, lenet_tensor(t->net, i));
    }
    return st;
}

static void show(struct lenet_task *t, const ps_data *data, uint32_t i, uint64_t sample)
{
    lenet_set_image(t->net, i, ps_data_sample(data, sample), t->mean, t->deviation);
    lenet_set_label(t->net, i, ps_data_label(data, sample));
}

double lenet_task_gradient(struct lenet_task *t, const ps_batch *batch)
{
    const real *keep = t->dropout > 0 ? t->keep : NULL;

    for (uint32_t i = 0; i < batch->n; i++)
        show(t, t->training, i, batch->sample[i]);
    if (keep)
        lenet_dropout(t->seed, batch->position, batch->n, lenet_last_hidden(t->net),
                      t->dropout, t->keep);
    return lenet_gradient(t->net, batch->n, keep);
}

uint64_t lenet_task_correct(struct lenet_task *t, uint64_t first, uint64_t last)
{
    uint64_t correct = 0;

    while (first < last) {
        uint32_t n =
            last - first < t->train.batch ? (uint32_t)(last - first) : t->train.batch;

        for (uint32_t i = 0; i < n; i++)
            show(t, t->test, i, first + i);
        correct += lenet_correct(t->net, n);
        first += n;
    }
    return correct;
}
