/*
 * gate.h - may this worker go ahead?
 *
 * The gate knows how many iterations each worker of a job has finished, as one shard
 * sees it, and how far apart workers may drift.  It holds no tensors, no bytes and no
 * addresses, so a strategy is a row of numbers here:
 *
 *              pushes are   a pull at clock c waits until
 *     bsp      held         iteration c is closed
 *     backup   held         iteration c is closed
 *     ssp      applied      the slowest active worker has finished c - slack
 *     asp      applied      -
 *
 * An iteration t is *closed* when every active worker has finished it, or all but
 * `spares` under backup; whoever pushes for it later is told that it is stale and goes
 * on from the clock it is told.  Where pushes are applied at once, a worker's own must
 * have come before its pull is answered, so that it always sees them.
 *
 * Workers come and go.  One that joins starts at the gate's clock, or at a later one if
 * another shard is further: until the gate is there it is not waited for.  An iteration
 * that no active worker will push for any more is closed without a gradient.  A worker
 * that has no more batches in this epoch *rests*: nobody waits for it, and when all
 * active workers rest they wake together, at the clock of the furthest.
 *
 * Source: Valiant, "A bridging model for parallel computation", CACM 33(8), 1990
 * (bsp); Ho et al., NIPS 2013, section 3 (clocks and slack); Chen et al., "Revisiting
 * Distributed Synchronous SGD", arXiv:1604.00981, section 3 (backup workers).
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_GATE_GATE_H
#define PSD_GATE_GATE_H

#include "common/base/spec.h"

#include <stdbool.h>

/* The clock of a pull that waits for nothing: whatever is newest (observers). */
#define PSD_GATE_NEWEST UINT64_MAX

enum psd_verdict {
    PSD_NOW = 1,   /* apply it, answer it */
    PSD_HOLD = 2,  /* take it into the open iteration; it is applied at the close */
    PSD_LATER = 3, /* ask again when the gate has moved */
    PSD_STALE = 4, /* of an iteration that is closed; refuse */
    PSD_NEVER = 5, /* the worker is not in the job */
};

struct psd_gate;

/* Ranks 0 .. workers-1 are active from the start, so that the first iteration waits for
 * all of them.  Strategy, slack and spares are the job's. */
ps_status psd_gate_new(struct psd_gate **out, const struct ps_job_spec *job) PS_CHECKED;
void      psd_gate_free(struct psd_gate **gate);

/* May `rank`, having finished `clock` iterations, read parameters now?  An observer has
 * a rank beyond all workers'. */
enum psd_verdict psd_gate_pull(const struct psd_gate *gate, uint32_t rank,
                               uint64_t clock);

/* What becomes of a push by `rank` for iteration `clock` (from 1)? */
enum psd_verdict psd_gate_push(const struct psd_gate *gate, uint32_t rank,
                               uint64_t clock);

/* `rank` has finished iteration `clock`, for which a push was not refused. */
void psd_gate_finish(struct psd_gate *gate, uint32_t rank, uint64_t clock);

/* Takes `rank` out of the active workers; it may be out already. */
void psd_gate_leave(struct psd_gate *gate, uint32_t rank);

/*
 * `rank` is active from now on and starts, as if it had never been here, at the gate's
 * clock or at `clock`, whichever is later.  A gradient of it that is in the open
 * iteration stays there, and it is not asked for another.
 */
void psd_gate_join(struct psd_gate *gate, uint32_t rank, uint64_t clock);

/*
 * `rank`, an active worker, has joined after the end of so many epochs.  Where the last
 * of these has not ended yet it is early: as if it rested, but what it sends for the
 * next epoch is to wait until this one has ended.
 */
void psd_gate_defer(struct psd_gate *gate, uint32_t rank, uint64_t epochs);
bool psd_gate_is_early(const struct psd_gate *gate, uint32_t rank);

/* `rank` will push nothing up to iteration `clock` that is not here yet.  True: it was
 * thought to be at an earlier one. */
bool psd_gate_raise(struct psd_gate *gate, uint32_t rank, uint64_t clock);

/* The clock from which a worker goes on that pushed for a finished iteration. */
uint64_t psd_gate_resume(const struct psd_gate *gate, uint32_t rank);

/* ---- the end of an epoch ------------------------------------------------------- */

/* `rank`, an active worker, has finished `clock` iterations and rests. */
void psd_gate_rest(struct psd_gate *gate, uint32_t rank, uint64_t clock);

/* It does not rest any more, before the others have come to it. */
void psd_gate_rouse(struct psd_gate *gate, uint32_t rank);

/* Does every active worker rest, and is no iteration left to be closed?  Then
 * psd_gate_wake makes them all go on from the clock that it gives. */
bool     psd_gate_may_wake(const struct psd_gate *gate);
uint64_t psd_gate_wake(struct psd_gate *gate);

/* Active workers that do not rest, as psd_gate_missing gives them. */
uint32_t psd_gate_restless(const struct psd_gate *gate, uint32_t *ranks, uint32_t room);

uint32_t psd_gate_n_active(const struct psd_gate *gate);

/* Can the iteration after `closed` be closed?  Then the owner applies what is held and
 * calls psd_gate_close. */
bool psd_gate_may_close(const struct psd_gate *gate);
void psd_gate_close(struct psd_gate *gate);

/* The last closed iteration; where pushes are applied at once, the slowest active
 * worker's clock. */
uint64_t psd_gate_clock(const struct psd_gate *gate);

/* Epochs that have ended: how often all have woken. */
uint64_t psd_gate_epochs(const struct psd_gate *gate);

/* ---- what is kept of it ------------------------------------------------------- */

/* What survives a rollback of a worker: not what is under way, and no rest, which the
 * worker will say again. */
struct psd_gate_seat {
    uint64_t finished; /* held: of closed iterations */
    bool     active;
    bool     early;
    bool     rested; /* it does; `finished` is where its epoch ended */
};

/* Iterations that `rank` has finished, or will not push. */
uint64_t psd_gate_finished(const struct psd_gate *gate, uint32_t rank);

struct psd_gate_seat psd_gate_look(const struct psd_gate *gate, uint32_t rank);

/* Makes it what it was; seats[] by rank.  No gradient is in the open iteration. */
void psd_gate_restore(struct psd_gate *gate, uint64_t closed, uint64_t epochs,
                      const struct psd_gate_seat *seats);

/* Workers that are waited for: active, not resting, and not through with the open
 * iteration (ssp: the slowest), for the sentence that names who is missing; returns how
 * many, writes at most `room` ranks. */
uint32_t psd_gate_missing(const struct psd_gate *gate, uint32_t *ranks, uint32_t room);

#endif
