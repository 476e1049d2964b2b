/*
 * spin.h - may a thread that has nothing to do look for messages a while longer before
 * it sleeps?
 *
 * To wake a core that sleeps takes 20 to 35 us, often more than the message needed for
 * all of its way.  Who spins looks again and again instead, for as long as was allowed,
 * and gives its core away between two looks.  Where somebody else wants the core it
 * only keeps him from it; the time between two looks tells: a thread that was away for
 * long while it gave way shares its core with others, and rests from spinning, each
 * time it happens for twice as long.
 *
 * Pure: the time is told.
 *
 * Thread: the one that waits.
 */
#ifndef PS_NET_SPIN_H
#define PS_NET_SPIN_H

#include "common/base/rest.h"

#define PS_SPIN_AWAY_NS UINT64_C(50000) /* between two looks: others want the core */

/* Zeroed: never spins. */
struct ps_spin {
    uint64_t most_ns; /* of one wait; 0: sleeps at once */

    uint64_t       begun_ns, looked_ns;
    struct ps_rest rest;
};

/* A thread is about to wait.  May it spin? */
bool ps_spin_begin(struct ps_spin *s, uint64_t now_ns);

/* It has looked, and there was nothing.  May it look again, or is it to sleep? */
bool ps_spin_goes_on(struct ps_spin *s, uint64_t now_ns);

#endif
