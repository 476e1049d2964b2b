/*
 * yield.h - a program that has waited for its values, and will compute now, lets others
 * have the core first.
 *
 * A psd on the same host has one answer after the other to send.  The first wakes a
 * worker, whose threads take the core that psd was on in the midst of them, and keep it
 * while the worker computes; until it waits again, nobody else gets his answer, and
 * under bulk synchronous training nobody can go on.  One sched_yield() when the values
 * are there lets psd send the rest, which takes microseconds.
 *
 * Where something computes on the same core that is not of the same work, to yield is
 * to give it a turn of milliseconds each time.  So the time that it took is looked at:
 * who was away for long rests from yielding, twice as long each time.
 *
 * Pure: the time is told.
 *
 * Thread: the one that waits.
 */
#ifndef PSW_YIELD_H
#define PSW_YIELD_H

#include "common/base/rest.h"

/* Longer than messages take, and the small gradients of another worker; less than the
 * tick until which a program that computes on keeps the core (4 ms at 250 Hz). */
#define PSW_YIELD_AWAY_NS UINT64_C(2500000)

/* Zeroed: it yields. */
struct psw_yield {
    struct ps_rest rest;
};

bool psw_yield_may(const struct psw_yield *y, uint64_t now_ns);

/* It did, and was away from then until now. */
void psw_yield_took(struct psw_yield *y, uint64_t then_ns, uint64_t now_ns);

#endif
