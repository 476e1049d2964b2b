/*
 * optim.h - how a gradient becomes a step.
 *
 * With g the averaged gradient, w the parameter, lr the learning rate after the
 * schedule, wd the weight decay (L2: g is g + wd * w first, except adamw) and t the
 * step number, per element:
 *
 *   sgd       w -= lr g
 *   momentum  v = mu v - lr g;             w += v
 *   nesterov  v' = mu v - lr g;            w += -mu v + (1 + mu) v'
 *   adagrad   a += g^2;                    w -= lr g / (sqrt(a) + eps)
 *   rmsprop   a = rho a + (1 - rho) g^2;   w -= lr g / (sqrt(a) + eps)
 *   adam      m, v with bias correction;   w -= lr m^ / (sqrt(v^) + eps)
 *   adamw     as adam without L2, then     w -= lr wd w   (of the old w)
 *   ftrl      per-coordinate FTRL-Proximal with z, n
 *   assign    w = g
 *   add       w += g
 *
 * Sources: Polyak 1964 (momentum); Sutskever et al., ICML 2013 (nesterov, in the form
 * that keeps w at the look-ahead point); Duchi, Hazan, Singer, JMLR 12, 2011
 * (adagrad); Tieleman and Hinton, Coursera lecture 6.5, 2012 (rmsprop); Kingma and Ba,
 * ICLR 2015, algorithm 1 (adam); Loshchilov and Hutter, ICLR 2019, algorithm 2
 * (adamw); McMahan et al., KDD 2013, algorithm 1 (ftrl).
 *
 * Thread: any; nothing here keeps state.
 */
#ifndef PSD_OPTIM_OPTIM_H
#define PSD_OPTIM_OPTIM_H

#include "server/compute/backend.h"

#define PSD_STATE_MAX 2u /* most state arrays that an optimiser keeps */

/* State arrays per parameter of optimiser `kind`; of a shard's matrices,
 * psd_optim_applied. */
uint32_t psd_optim_n_state(uint32_t kind);

/*
 * What a matrix's gradients are divided by: true when they are summed whatever the
 * job's `aggregate` says (add), or replaced (assign).
 */
bool psd_optim_is_exact(uint32_t kind);

/*
 * May this matrix live in this job?  i64 asks for add or assign; PS_ERR_BAD_ARG and a
 * sentence otherwise.
 */
ps_status psd_optim_check(const struct ps_job_spec    *job,
                          const struct ps_matrix_spec *matrix) PS_CHECKED;

/* The optimiser of a matrix: its own or the job's. */
uint32_t psd_optim_kind(const struct ps_job_spec    *job,
                        const struct ps_matrix_spec *matrix);

/*
 * What a shard does with what is pushed into the matrix: its optimiser's step; under
 * `average: model` what is pushed is a step already, and is added.
 */
uint32_t psd_optim_applied(const struct ps_job_spec    *job,
                           const struct ps_matrix_spec *matrix);

/* Learning rate of iteration t (0 for the first). */
double psd_optim_lr(const struct ps_job_spec *job, uint64_t t);

/* The numbers of a step of `matrix` in the iteration that is clock `clock` (from 1);
 * `step` (from 1) counts for bias correction. */
struct psd_hyper psd_optim_hyper(const struct ps_job_spec    *job,
                                 const struct ps_matrix_spec *matrix, uint64_t clock,
                                 uint64_t step);

#endif
