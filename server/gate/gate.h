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

uint32_t psd_gate_n_active(const struct psd_gate *gate);

/* Can the iteration after `closed` be closed?  Then the owner applies what is held and
 * calls psd_gate_close. */
bool psd_gate_may_close(const struct psd_gate *gate);
void psd_gate_close(struct psd_gate *gate);

/* The last closed iteration; where pushes are applied at once, the slowest active
 * worker's clock. */
uint64_t psd_gate_clock(const struct psd_gate *gate);

/* Active workers that have not finished the open iteration (ssp: the slowest), for the
 * sentence that names who is missing; returns how many, writes at most `room` ranks. */
uint32_t psd_gate_missing(const struct psd_gate *gate, uint32_t *ranks, uint32_t room);

#endif
