/*
 * delay.h - a worker that is slower than it need be, on purpose.
 *
 * To see what a strategy makes of stragglers, the training loop lengthens the time of
 * its gradients as two variables say (psexp sets them):
 *
 *     PSW_PACE=0.02        a gradient takes 0.02 s at least
 *     PSW_SLOW=4           every gradient takes four times as long
 *     PSW_HICCUPS=0.02:3   two in a hundred take three times as long
 *
 * Which ones is a function of (seed, rank, clock): it is the same in every run and
 * under every strategy.
 *
 * Thread: any that may call getenv.
 */
#ifndef PSW_DELAY_H
#define PSW_DELAY_H

#include "common/base/status.h"

struct psw_delay {
    double pace;         /* seconds, 0 .. 60: the least time of a gradient */
    double slow;         /* 1 .. 1000; 1: as fast as it can */
    double rate, hiccup; /* share of the iterations, 0 .. 1, and their factor */
};

/* PS_ERR_CONFIG names the variable that is wrong. */
ps_status psw_delay_read(struct psw_delay *out) PS_CHECKED;

/* How many times as long iteration `clock` (counting from 0) of this worker takes. */
double psw_delay_factor(const struct psw_delay *d, uint64_t seed, uint32_t rank,
                        uint64_t clock);

/* Sleeps for what is missing after work that took so long: factor times that, or times
 * the pace if it is longer. */
void psw_delay_wait(const struct psw_delay *d, double factor, uint64_t took_ns);

#endif
