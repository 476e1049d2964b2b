/*
 * waiting.h - requests of a job that wait, and what they wait for.
 *
 * A request that may not go on yet is parked with its parcel and looked at again when
 * the job has moved.  A new version alone lets few of them go on, and under ssp and asp
 * there is one with every push: so a pull is asked about at the gate first, without its
 * message being read again.
 *
 * Thread: the shard that owns the job.
 */
#ifndef PSD_SHARD_WAITING_H
#define PSD_SHARD_WAITING_H

#include "common/wire/wire.h"

#include <stdbool.h>

/* Most requests of one worker that may wait; its library keeps far fewer under way. */
#define PSD_WAITING_PER_WORKER 64u

struct psd_job;

enum psd_reason {
    PSD_FOR_GATE = 1, /* reads, at the clock of its header */
    PSD_FOR_TURN = 2, /* pushes or rests: others have to come first */
    PSD_FOR_DISK = 3, /* the gate is through with it; a snapshot is to be on disk */
};

struct psd_waiting {
    struct ps_parcel parcel;
    enum psd_reason  reason;
    uint64_t         session;
    uint64_t         request;
    uint32_t         rank;
    uint64_t         seq, clock;  /* of its header */
    uint64_t         rest_seq;    /* of a rest; else 0 */
    uint64_t         deadline_ns; /* UINT64_MAX: it waits for ever */
};

/* Zeroed memory is an empty one. */
struct psd_waiting_list {
    size_t              n, room;
    uint64_t            deadline_ns; /* the earliest, when there are any */
    uint32_t            n_observers; /* of observers; seats count those of workers */
    struct psd_waiting *items;       /* in order of arrival */
};

/*
 * Parks a request until the job has moved or `deadline_ns` has come; takes the parcel's
 * buffers.  One that waits already under the same session and request is replaced, so
 * that a request sent twice waits once, and no longer than the first time.
 * PS_ERR_LIMIT, PS_ERR_NO_MEMORY.
 */
ps_status psd_waiting_park(struct psd_job *job, const struct ps_header *h,
                           struct ps_parcel *parcel, enum psd_reason reason,
                           uint64_t deadline_ns) PS_CHECKED;

/* May a new version have let one of them go on?  (Other members, or what else stirs
 * the job, may have let any of them.) */
bool psd_waiting_may_go(const struct psd_job *job);

/* Takes them all out of the job; the caller's.  Who still has to wait parks again. */
struct psd_waiting_list psd_waiting_take(struct psd_job *job);

/* Item `i` of the job's list has been answered: drops its parcel, and leaves the hole
 * to the caller. */
void psd_waiting_forget(struct psd_job *job, size_t i);

/* The job's list has `n` items left, in the first places. */
void psd_waiting_keep(struct psd_job *job, size_t n);

/* The earliest deadline; UINT64_MAX: none has one. */
uint64_t psd_waiting_deadline(const struct psd_job *job);

/* Drops the parcels. */
void psd_waiting_free(struct psd_waiting_list *list);

#endif
