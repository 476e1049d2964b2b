/*
 * progress.h - how far a job has come on a shard, as bytes.
 *
 * What a snapshot needs beside the matrices: where the gate stands, which workers there
 * are, what each has finished and pushed, and the counters.  What is under way is left
 * out, because whoever had sent it will send it again: held pushes, rests, waiting
 * requests, and what the job's scale remembers (it begins anew).  Where pushes are
 * applied at once, part of an iteration may be in the model already; the progress says
 * which of its pushes, so that they are not applied again.
 *
 * Layout, little-endian, 8 bytes each: a magic number with the version, workers,
 * closed, epochs, the counters, then the seats; no other length is accepted.
 *
 * Thread: any.
 */
#ifndef PSD_SHARD_PROGRESS_H
#define PSD_SHARD_PROGRESS_H

#include "server/shard/job.h"

#define PSD_PROGRESS_COUNTERS 9u

struct psd_progress_seat {
    struct psd_gate_seat gate;
    uint32_t             incarnation, state;
    uint64_t             session;
    uint64_t             first_seq; /* the last push before the iteration it is in */

    /* Of the pushes of that iteration, counted from 0, which are in the model. */
    bool     partial; /* any */
    uint64_t parts[PSD_WINDOW / 64];
};

struct psd_progress {
    uint64_t                  closed, epochs;
    uint64_t                  counters[PSD_PROGRESS_COUNTERS];
    uint32_t                  n_seats;
    struct psd_progress_seat *seats; /* [n_seats] by rank */
};

/* Of the job as it is now. */
ps_status psd_progress_encode(const struct psd_job *job,
                              struct ps_buf       **out) PS_CHECKED;

/* PS_ERR_DATA when the bytes are not the progress of a job of so many workers. */
ps_status psd_progress_decode(struct psd_progress **out, const struct ps_buf *bytes,
                              uint32_t workers) PS_CHECKED;
void      psd_progress_free(struct psd_progress **progress);

/*
 * Makes the job what parts[n] say.  `own`: the one part is of this shard, as it is now.
 * Else they are the shards that there were: what a worker finished on any of them it
 * has finished, the numbers of its pushes begin anew, and the counters are the sum of
 * all on shard 0.  None: the job begins anew.  seats[workers] is room for the gate's.
 */
void psd_progress_apply(struct psd_job *job, struct psd_progress *const *parts,
                        uint32_t n, bool own, struct psd_gate_seat *seats);

#endif
