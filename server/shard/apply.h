/*
 * apply.h - from gradients to a new version of the parameters.
 *
 * Takes contributions in the order in which they are to be summed, each with its
 * coefficient, and makes one optimiser step of every element that at least one of
 * them touches.  Which elements are touched and in which order they are summed does
 * not depend on how the matrix is cut, so the result is the same bit for bit for any
 * number of shards.
 *
 * Everything that can fail (memory) is done before the first parameter changes.
 *
 * Thread: the shard that owns the job.
 */
#ifndef PSD_SHARD_APPLY_H
#define PSD_SHARD_APPLY_H

#include "server/compute/backend.h"
#include "server/shard/job.h"

struct psd_contribution {
    const struct psd_held *held;
    const uint64_t        *keys; /* sparse, of an update: of the rows, else NULL */
    double coefficient; /* of matrices that take means; exact ones are summed */
};

/*
 * Steps all touched matrices of `job` for iteration `clock` (from 1).  `update`: it is
 * one push, which the job's scale looks at; NULL: an iteration is closed.  On failure
 * nothing has changed.
 */
ps_status psd_apply(struct psd_job *job, const struct psd_backend *backend,
                    const struct psd_contribution *contributions, size_t n,
                    uint64_t clock, const struct psd_update *update) PS_CHECKED;

/*
 * Applies the iteration that the gate is ready to close, in rank order, and tells the
 * gate.  On failure the iteration is still open.
 */
ps_status psd_apply_close(struct psd_job           *job,
                          const struct psd_backend *backend) PS_CHECKED;

#endif
