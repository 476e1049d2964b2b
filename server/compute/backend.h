/*
 * backend.h - where numbers live and what is done to them.
 *
 * A backend is a table of kernels over contiguous spans.  The CPU backend is the
 * reference: tests hold every other backend to its answers.  Chosen once, when the
 * shard starts; nothing on the data path asks which.
 *
 * Every kernel: spans do not overlap unless they are the same, n == 0 does nothing,
 * nothing fails, and the answer for an element depends on that element alone, so a
 * matrix may be cut anywhere without changing a bit.  To keep that promise on every
 * CPU the kernels are compiled without contraction to fused multiply-add.
 *
 * Thread: any; kernels keep no state.
 */
#ifndef PSD_COMPUTE_BACKEND_H
#define PSD_COMPUTE_BACKEND_H

#include "common/base/spec.h"

#include <stdbool.h>

/* The numbers of one step: the optimiser's, with lr after the schedule. */
struct psd_hyper {
    double   lr, momentum, beta1, beta2, rho, epsilon, weight_decay;
    double   ftrl_beta, ftrl_l1, ftrl_l2;
    uint64_t step; /* >= 1, for bias correction */
};

struct psd_backend {
    const char *name;

    /* Sums, for dtype PS_F32, PS_F64 or PS_I64 (there c is 1):
     *   set  dst[n] = c * src[n]
     *   add  dst[n] += c * src[n]      */
    void (*set)(uint32_t dtype, size_t n, void *dst, double c, const void *src);
    void (*add)(uint32_t dtype, size_t n, void *dst, double c, const void *src);

    /* No NaN and no infinity among them (always true for PS_I64)? */
    bool (*finite)(uint32_t dtype, size_t n, const void *src);

    /* dst[n] = src[n], and the same question in one pass. */
    bool (*copy)(uint32_t dtype, size_t n, void *dst, const void *src);

    /*
     * What becomes of a gradient before its step, for PS_F32 and PS_F64 (the scales of
     * server/shard/scale.h):
     *   share       g = (g - mean) / count;  mean += g      the new g
     *   compensate  g += lambda g^2 (w - was)               g as it was
     */
    void (*share)(uint32_t dtype, size_t n, double count, void *mean, void *g);
    void (*compensate)(uint32_t dtype, size_t n, double lambda, void *g, const void *w,
                       const void *was);

    /*
     * One step of optimiser `kind` over a span, in place.
     *
     *   w      [n]   parameters                updated
     *   s      [n_state][n]  optimiser state   updated; zero before the first step
     *   g      [n]   gradient, already averaged
     *
     * The formulas stand in server/optim/optim.h.
     */
    void (*step)(uint32_t kind, uint32_t dtype, const struct psd_hyper *h, size_t n,
                 void *w, void *const *s, const void *g);

    /*
     * The same step of rows that lie anywhere, none of them twice:
     *
     *   rows   [n]  of each [cols] parameters, and behind them [n_state][cols] of state
     *   g      [n]  of each [cols] gradients
     */
    void (*step_rows)(uint32_t kind, uint32_t dtype, const struct psd_hyper *h,
                      size_t n, size_t cols, void *const *rows, const void *const *g);

    /* Copies rows[n] of `bytes` each into `out`, one behind the other. */
    void (*gather)(size_t n, size_t bytes, void *out, const void *const *rows);
};

extern const struct psd_backend psd_backend_cpu;

#endif
