/*
 * course.h - the way through a run: which batch comes next, and what lies between two.
 *
 * The batches of an epoch are parted twice, from the epoch's first batch on: into push
 * windows of npush and into fetch windows of nfetch.  The values are pulled before the
 * first batch of a fetch window, and the sum of the gradients is pushed after the last
 * one of a push window.  The last windows of an epoch are as long as the epoch has
 * batches left, so nothing is carried into the next one and nothing is left over at the
 * end.  A clock of the job is a push window.  Whoever is sent to a clock, being late or
 * new, goes to the first batch of that window.
 *
 *     npush 3, nfetch 2, epochs of 7 batches; v pull, ^ push
 *
 *     v 0   1 v 2^  3 v 4   5^v 6^v  0   1 v 2^  ...
 *     clock 0      |1          |2   |3         |4
 *
 * The batch grows from epoch to epoch where it is told to: it is multiplied with
 * `factor` after each `every` epochs, up to `max`.  An epoch then has fewer batches.
 *
 * Sources: Dean et al., "Large Scale Distributed Deep Networks", NIPS 2012, section 4.1
 * (nfetch, npush); Smith et al., "Don't Decay the Learning Rate, Increase the Batch
 * Size", ICLR 2018 (growth).
 *
 * Thread: any; nothing here keeps state.
 */
#ifndef PSW_COURSE_H
#define PSW_COURSE_H

#include <ps/worker.h>

#include "common/base/status.h"

#include <stdbool.h>

struct psw_course {
    const ps_data *data;
    uint32_t       workers;
    uint32_t       batch;        /* of the first epoch */
    double         growth;       /* factor, 0 or 1: none */
    uint32_t       growth_every; /* epochs; 0 counts as 1 */
    uint32_t       growth_max;   /* 0: PSW_BATCH_MAX */
    uint64_t       nfetch, npush;
};

#define PSW_BATCH_MAX 1048576u

/* A batch of the run.  Begin with a zeroed one and psw_course_seek. */
struct psw_spot {
    uint64_t clock; /* push windows before its own */
    uint64_t epoch, iteration;

    uint32_t batch;      /* of its epoch */
    uint64_t iterations; /* of its epoch; 0: the data do not make one batch */

    /* in all earlier epochs */
    uint64_t clocks_before, batches_before, samples_before;
};

/* Are the numbers of the growth what they may be?  PS_ERR_BAD_ARG. */
ps_status psw_course_check(const struct psw_course *course) PS_CHECKED;

/* Samples per worker and iteration of an epoch. */
uint32_t psw_course_batch(const struct psw_course *course, uint64_t epoch);

/* Batches and push windows of an epoch. */
uint64_t psw_course_iterations(const struct psw_course *course, uint64_t epoch);
uint64_t psw_course_clocks(const struct psw_course *course, uint64_t epoch);

/*
 * To the first batch of the window after `clock` of them; ends at the first epoch
 * without batches.
 */
void psw_course_seek(const struct psw_course *course, struct psw_spot *spot,
                     uint64_t clock);

/* Is a push to follow this batch, and are values to be pulled before the next? */
bool psw_course_pushes(const struct psw_course *course, const struct psw_spot *spot);
bool psw_course_pulls(const struct psw_course *course, const struct psw_spot *spot);
bool psw_course_ends_epoch(const struct psw_spot *spot);

/* The samples of the batch, numbered through the run. */
ps_status psw_course_take(const struct psw_course *course, const struct psw_spot *spot,
                          ps_data *data, uint64_t seed, uint32_t rank,
                          ps_batch *out) PS_CHECKED;

#endif
