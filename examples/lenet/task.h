/*
 * task.h - the images, the net, and what one batch is: the part that training with and
 * without servers share.
 *
 * Which units dropout keeps is a function of (seed, position of the sample in the run,
 * unit) alone, so two workers with batches of 32 drop what one with 64 drops.
 */
#ifndef LENET_TASK_H
#define LENET_TASK_H

#include "options.h"

#include <ps/worker.h>

struct lenet_task {
    ps_settings          *settings;
    ps_train_settings     train; /* its batch is --batch where that was given */
    ps_optimiser_settings optimiser;
    uint32_t              largest; /* batch: that of the last epoch */
    uint32_t              workers;
    uint64_t              seed;
    double                dropout;
    ps_data              *training, *test;
    double                mean, deviation; /* of the training images */
    struct lenet         *net;
    real                 *keep; /* [largest][last hidden] */
};

/* 0, or an exit code after it said on stderr what is wrong; close in either case. */
int  lenet_task_open(struct lenet_task *t, const struct lenet_options *o);
void lenet_task_close(struct lenet_task *t);

/* Makes a model of the job's matrices, one for each tensor of the net. */
ps_status lenet_task_bind(const struct lenet_task *t, ps_worker *worker,
                          ps_model **model);

/* The gradient of the mean loss over the batch, into the net's tensors. */
double lenet_task_gradient(struct lenet_task *t, const ps_batch *batch);

/* How many of test images first .. last - 1 are classified as they should. */
uint64_t lenet_task_correct(struct lenet_task *t, uint64_t first, uint64_t last);

/* Of a clock that only goes forward. */
double lenet_seconds(void);

/* Says on stderr why the last call of the library failed; an exit code. */
int lenet_failed(ps_status status);

/*
 *   keep  [n][units]  0 for a share `dropout` of the units, else 1 / (1 - dropout)
 */
void lenet_dropout(uint64_t seed, uint64_t position, uint32_t n, uint32_t units,
                   double dropout, real *keep);

/* Training without servers, for comparison: the same start values, order of samples,
 * dropout and formulas.  An exit code. */
int lenet_serial(struct lenet_task *t);

#endif
