/*
 * job.h - what a shard keeps of one job: its gate, its slice of the model, its
 * workers, the pushes held for the open iteration, and the requests that wait.
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_SHARD_JOB_H
#define PSD_SHARD_JOB_H

#include "common/wire/wire.h"
#include "server/gate/gate.h"
#include "server/shard/saver.h"
#include "server/shard/scale.h"
#include "server/shard/scratch.h"
#include "server/shard/waiting.h"
#include "server/shard/window.h"
#include "server/store/store.h"

/* The rank in which observers are announced. */
#define PSD_OBSERVER_RANK UINT32_MAX

/* Most requests of one worker that may wait; its library keeps far fewer under way. */

/* A push taken into the open iteration, until it closes. */
struct psd_held {
    uint64_t         seq;
    uint32_t         n_ranges;
    struct ps_range *ranges;   /* [n_ranges] */
    uint32_t        *places;   /* sparse: of each row, held in the store; else NULL */
    bool             lent;     /* both are of the job's scratch */
    bool             distinct; /* of each range: no row comes twice */
    struct ps_buf   *values;
};

/* A worker as this shard sees it. */
struct psd_seat {
    uint64_t session; /* 0: has not joined */
    uint32_t incarnation;
    uint32_t state; /* enum ps_member_state */

    bool            heard; /* `route` is set */
    struct ps_route route;

    struct psd_window window;
    uint32_t          n_waiting; /* of its rank, requests that wait */
    uint64_t          rest_seq;  /* the push with which it rests; 0: it does not */
    uint64_t first_seq; /* of its pushes, the last before the iteration it is in */
    uint64_t durable;   /* iterations of it that are on disk; where that counts */

    /* Since the job went back: it had rested, and it has not said anything yet. */
    bool rested;
    /* And of this iteration (0: none) these pushes, from 0, are in the model. */
    uint64_t again_clock;
    uint64_t again[PSD_WINDOW / 64];

    /* the iteration it is in */
    uint64_t         base;           /* oldest version behind the pushes of it */
    uint32_t         n_parts;        /* pushes of it that are here */
    uint32_t         parts;          /* pushes of it in all; 0: not known yet */
    uint32_t         batches;        /* of the finishing push, at least 1 */
    double           weight;         /* of the finishing push, per batch: see push.c */
    double           weight_closing; /* of the finished iteration that is held */
    bool             finished_open;  /* weight_closing counts at the next close */
    uint32_t         n_held, held_room;
    struct psd_held *held; /* by seq at the close */
};

enum psd_load_state { PSD_LOAD_NONE = 0, PSD_LOAD_ASKED, PSD_LOAD_DONE };

/* What the job goes back to: see load.c. */
struct psd_loading {
    enum psd_load_state state;
    uint64_t            errand; /* 0: not handed out yet */
    uint32_t            n_parts;
    struct ps_part     *parts; /* [n_parts] */
    struct ps_route     route; /* who is to be told */
    uint64_t            request;
};

struct psd_observer {
    uint64_t session;
};

struct psd_job {
    uint32_t number;
    uint32_t shard, n_shards; /* number of this shard in the job, of how many */
    uint64_t run, life;
    uint64_t server_epoch, membership_epoch;
    struct ps_job_spec  spec;
    struct psd_gate    *gate;
    struct psd_store   *store;
    struct psd_scratch *scratch; /* the shard's: of a request, or of a close */
    struct psd_scale   *scale;
    uint64_t            version; /* updates applied */

    /* what else lets waiting requests go on than a new version or other members */
    uint64_t stirs;

    /* the three when the waiting requests were last looked at */
    uint64_t looked_version, looked_epoch, looked_stirs;

    struct psd_seat *seats; /* [spec.workers] by rank */

    size_t               n_observers;
    struct psd_observer *observers;

    struct psd_waiting_list waiting;

    struct psd_saver   saver;
    struct psd_loading loading;
    struct ps_part     keep;    /* what is older than this part may be forgotten, */
    bool               forgets; /* which the driver does not know yet */

    struct ps_job_stats stats; /* counters; the rest is filled when asked */
};

ps_status psd_job_new(struct psd_job **out, const struct ps_header *h,
                      struct psd_scratch *scratch) PS_CHECKED;
void      psd_job_free(struct psd_job **job);

/* Are pushes held until their iteration closes? */
bool psd_job_holds(const struct psd_job *job);

/* Push `seq` was seen, and answered with `version`. */
void psd_seat_mark(struct psd_seat *seat, uint64_t seq, uint64_t version);

/* Forgets what is held for the open iteration: the rows that it holds are about to go.
 */
void psd_job_drop_held(struct psd_job *job);

/* Takes a member list; an older one than the last changes nothing. */
ps_status psd_job_members(struct psd_job *job, const struct ps_header *h) PS_CHECKED;

/*
 * Whose request is this?  Gives the seat, or NULL for an observer.
 * PS_ERR_DENIED, PS_ERR_STALE (older incarnation or epoch), PS_ERR_RANK (no longer in
 * the job).
 */
ps_status psd_job_seat(struct psd_job *job, const struct ps_header *h,
                       struct psd_seat **out) PS_CHECKED;

/* Whom the open iteration waits for, as a sentence: "iteration 5 waits for worker 1 and
 * worker 3, which has not joined". */
void psd_job_say_missing(const struct psd_job *job, char *text, size_t bytes);

/*
 * Keeps what is needed of a push until it is applied: the values and the places of its
 * rows, which are created now.  `keys` NULL: dense.  `lent`: it will be freed before
 * the request is over.  PS_ERR_NO_MEMORY, PS_ERR_LIMIT.
 */
ps_status psd_held_new(struct psd_held *out, struct psd_job *job,
                       const struct ps_header *h, const uint64_t *keys,
                       struct ps_buf *values, bool lent) PS_CHECKED;
void      psd_held_free(struct psd_job *job, struct psd_held *held);

/* The same of the end of the epoch. */
void psd_job_say_restless(const struct psd_job *job, char *text, size_t bytes);

/* The worker that rests with push `seq`, or was about to, goes on without the others.
 */
void psd_job_rouse(struct psd_job *job, uint32_t rank, uint64_t seq);

/* All rest: they go on together, each told the same clock. */
void psd_job_wake(struct psd_job *job);

/* Everything that shards are asked about this job. */
struct ps_job_stats psd_job_account(const struct psd_job *job);

#endif
