/*
 * training.h - where a training begins, ends, and goes on after a rollback.
 *
 * The job's clock says where a worker is, and course.h which batch that is.  Data of
 * one's own have epochs that end together, after which the clock goes to that of the
 * furthest worker: then the worker remembers at which clock each of its epochs began.
 *
 * Thread: the worker's.
 */
#ifndef PSW_TRAINING_H
#define PSW_TRAINING_H

#include "worker/course.h"
#include "worker/delay.h"
#include "worker/local.h"
#include "worker/worker_private.h"

struct psw_training {
    ps_worker        *worker;
    ps_model         *model;
    ps_data          *data;
    ps_gradient_fn   *gradient;
    ps_train_options  options;
    struct psw_course course;
    struct psw_spot   spot; /* the next batch */
    struct psw_delay  delay;
    struct psw_local *local;
    uint64_t          base;                     /* clock at which this training began */
    uint64_t          end_epoch, end_iteration; /* where it is to end */
    uint64_t          skew;      /* own data: the job's clock less the course's */
    uint64_t          epoch;     /* that is not over: its function was not called */
    uint64_t          ended;     /* the functions of those before it have returned */
    uint64_t          rollbacks; /* that it has followed */

    uint64_t window_samples; /* since the last push */
    uint32_t window_batches;

    double   loss; /* sum since the last report */
    uint32_t n_loss;
    uint64_t loss_epoch; /* of the last batch */
    double   epoch_loss; /* sums of the epoch in progress */
    uint64_t n_epoch_loss;
    uint64_t epoch_ns; /* when it began */

    /* asp with prefetch: the model's matrices, and where their next values arrive */
    bool             ahead;
    uint32_t         n_spans;
    struct psw_span *spans; /* `value` points into `next` */
    uint8_t         *next;
};

/* From the options to the first batch; PS_ERR_BAD_ARG for what cannot be trained. */
ps_status psw_training_begin(struct psw_training *t) PS_CHECKED;
void      psw_training_free(struct psw_training *t);

/* Is there nothing left to do? */
bool psw_training_is_over(const struct psw_training *t);

/* It is over, or the epoch function `stopped` it. */
void psw_training_end(struct psw_training *t, bool stopped);

/* Own data: to the first batch of an epoch, wherever the job's clock is. */
ps_status psw_training_begin_epoch(struct psw_training *t, uint64_t epoch) PS_CHECKED;

/* Did the job go back, and the training has not followed yet? */
bool psw_training_went_back(const struct psw_training *t);

/* To the batch that the job's clock says; local state begins anew. */
ps_status psw_training_return(struct psw_training *t) PS_CHECKED;

/* Bytes of the values of a whole matrix. */
size_t psw_training_bytes(const struct psw_span *s);

#endif
