/*
 * local.h - what a worker makes of its gradients between a pull and a push.
 *
 * With windows of several batches the gradients are summed until they are pushed, and
 * meanwhile each of them may become a step of the worker's own copy of the model: none,
 * a plain one with the job's learning rate (sgd), or one of the job's optimiser with
 * state that stays here (same).  The rules are the servers' own, server/optim: what a
 * step is has one answer.  Counters are stepped exactly, whichever it is: of a matrix
 * under add the gradient is added, under assign it replaces the value.
 *
 * Under `average: model` what is pushed is how far the steps have led: the sum of
 * (value - pulled value) over all pulls since the last push.  Counters are pushed as
 * ever.
 *
 * A gradient that is not finite makes no step, so that no state is spoiled, but it is
 * in what is pushed: it is the job's affair whether that is refused or skipped.
 *
 * Thread: the worker's.
 */
#ifndef PSW_LOCAL_H
#define PSW_LOCAL_H

#include "worker/client.h"

struct psw_local;

/*
 * For the matrices of a model with their buffers, which it keeps using.
 *
 * PS_ERR_BAD_ARG   a matrix has no gradients, or local is same under ftrl: what that
 *                  makes of a value depends on its state alone, which is the servers'
 */
ps_status psw_local_new(struct psw_local **out, const struct ps_job_spec *job,
                        const struct psw_span *spans, uint32_t n_spans) PS_CHECKED;
void      psw_local_free(struct psw_local **local);

/* The same matrices, with what is to be pushed for a gradient. */
const struct psw_span *psw_local_spans(const struct psw_local *local);

/* The gradients of a batch of iteration `clock` (from 1) are there. */
void psw_local_take(struct psw_local *local, uint64_t clock);

/* Before a push, and before pulled values replace the local ones: what is pushed is
 * made complete. */
void psw_local_settle(struct psw_local *local);

/* After it: `pushed`, then what is to be pushed begins anew. */
void psw_local_go_on(struct psw_local *local, bool pushed);

#endif
