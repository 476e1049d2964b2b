/*
 * scale.h - what is an update multiplied by?
 *
 * Where pushes are applied one by one (asp, ssp), a gradient comes of values that may
 * be old by now.  The job's `scale` says what is made of it before the optimiser sees
 * it:
 *
 *     none                 g
 *     workers              g / active workers
 *     staleness            g / (updates since the values behind it + 1)
 *     versions             the updates of one version share one unit of weight
 *     delay-compensated    g + lambda g^2 (w - w')
 *
 * Each is a row of functions (scale.c); those that remember something do it here, per
 * worker: scale_versions.c, scale_delay.c.  Matrices whose optimiser is exact (add,
 * assign) are left alone by all of them.
 *
 * It knows ranks, versions and matrices, neither members nor messages nor gates.
 *
 * Source: Jiang et al., "Heterogeneity-aware Distributed Parameter Servers", SIGMOD
 * 2017 (workers: ConSGD, versions: DynSGD); Zhang et al., "Staleness-aware Async-SGD
 * for Distributed Deep Learning", IJCAI 2016 (staleness); Zheng et al., "Asynchronous
 * Stochastic Gradient Descent with Delay Compensation", ICML 2017.
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_SHARD_SCALE_H
#define PSD_SHARD_SCALE_H

#include "common/wire/wire.h"
#include "server/compute/backend.h"
#include "server/store/store.h"

struct psd_scale;

/* A push on its way into the parameters. */
struct psd_update {
    const struct psd_backend *backend;
    uint32_t                  rank;
    uint32_t                  workers;   /* active */
    uint64_t                  base;      /* version of the values behind it */
    uint64_t                  staleness; /* updates since */
    bool                      whole;     /* it is all of its iteration */
    uint64_t                  number;    /* the scale's own: see scale_versions.c */
};

/* Values on their way to a worker. */
struct psd_given {
    uint32_t               rank;
    uint64_t               version; /* of the job, that they include */
    const struct ps_range *range;
    const uint64_t        *keys; /* sparse: of the range's rows, */
    const void            *rows; /* and their values */
};

/* `job` is lent until psd_scale_free. */
ps_status psd_scale_new(struct psd_scale        **out,
                        const struct ps_job_spec *job) PS_CHECKED;
void      psd_scale_free(struct psd_scale **scale);

/* Remembers what a worker is given.  If the answer does not leave after all, nothing is
 * lost. */
ps_status psd_scale_gave(struct psd_scale *scale, const struct psd_given *given,
                         struct psd_matrix *m) PS_CHECKED;

/* Completes `update`, whose push will be applied or fail; changes nothing yet. */
void psd_scale_begin(const struct psd_scale *scale, struct psd_update *update);

/* What the update's gradients are multiplied by when they are summed. */
double psd_scale_factor(const struct psd_scale *scale, const struct psd_update *update);

/* All that can fail of what follows, for `n` spans of the chunk; NULL: for `n` rows. */
ps_status psd_scale_room(struct psd_scale *scale, const struct psd_update *update,
                         const struct psd_matrix *m, const struct psd_chunk *chunk,
                         uint64_t n) PS_CHECKED;

/* Does psd_scale_chunk make other gradients of this matrix's? */
bool psd_scale_changes(const struct psd_scale *scale, const struct psd_matrix *m);

/* Makes of the gradient of the chunk's elements [from, to) what the optimiser gets. */
void psd_scale_chunk(struct psd_scale *scale, const struct psd_update *update,
                     const struct psd_matrix *m, const struct psd_chunk *chunk,
                     uint64_t from, uint64_t to, void *gradient);

/* Would psd_scale_row make another gradient of any row of the matrix? */
bool psd_scale_changes_rows(const struct psd_scale *scale, const struct psd_matrix *m);

/* The same of the gradient of a row that has these values now: returns it, or `scaled`,
 * into which it has written another.  The two may be the same memory. */
const void *psd_scale_row(struct psd_scale *scale, const struct psd_update *update,
                          const struct psd_matrix *m, uint64_t key, const void *value,
                          const void *gradient, void *scaled);

/* An iteration of `rank` has ended, the oldest of whose values were of version `base`.
 */
void psd_scale_end(struct psd_scale *scale, uint32_t rank, uint64_t base);

/* `rank` has left, or is another process now. */
void psd_scale_leave(struct psd_scale *scale, uint32_t rank);

/* Memory that it takes beside the parameters. */
uint64_t psd_scale_bytes(const struct psd_scale *scale);

#endif
