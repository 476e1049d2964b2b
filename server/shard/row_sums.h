/*
 * row_sums.h - the gradients of the touched rows of one sparse matrix, and their step.
 *
 *     expect, for every contribution -> room -> add, in order -> step
 *
 * What was pushed for a row stays where it came in until a second gradient of the row,
 * or a coefficient, makes a sum of it.  Meanwhile the tag of each touched row is its
 * number among them; where no row comes twice that is not needed.
 *
 * All that can fail is in `room`.
 *
 * Thread: the shard that owns the job.
 */
#ifndef PSD_SHARD_ROW_SUMS_H
#define PSD_SHARD_ROW_SUMS_H

#include "server/compute/backend.h"
#include "server/shard/scale.h"
#include "server/shard/scratch.h"

struct psd_row_sums {
    struct psd_matrix        *matrix;
    const struct psd_backend *backend;
    bool                      last;     /* the last gradient replaces the others */
    bool                      distinct; /* one contribution, and no row twice */

    uint64_t room; /* rows of all contributions */
    uint64_t n;    /* touched so far, in order of first touch */

    uint64_t    *keys; /* [n] of an update, for its scale */
    uint32_t    *places;
    const void **gradients; /* each as it was pushed, or in `sums` */
    uint8_t     *sums;      /* [room][cols] */
    void       **rows;      /* where they are, in the step */
};

/* Rows as they come, held in the store. */
struct psd_row_batch {
    uint64_t        n;
    const uint64_t *keys;        /* [n] of an update; else NULL */
    const uint32_t *places;      /* [n] */
    const uint8_t  *gradients;   /* [n][cols], there until the step */
    double          coefficient; /* of these gradients in the sums */
};

/* `n` rows more will come; distinct: none of them twice. */
void psd_row_sums_expect(struct psd_row_sums *s, uint64_t n, bool distinct);

/* Lists and sums lie in the scratch, which is the caller's to reset. */
ps_status psd_row_sums_room(struct psd_row_sums *s,
                            struct psd_scratch  *scratch) PS_CHECKED;

void psd_row_sums_add(struct psd_row_sums *s, const struct psd_row_batch *batch);

/* One step of every row that was touched.  `update`: what the scale looks at; NULL:
 * there is nothing to scale. */
void psd_row_sums_step(struct psd_row_sums *s, uint32_t kind,
                       const struct psd_hyper *hyper, struct psd_scale *scale,
                       const struct psd_update *update);

#endif
