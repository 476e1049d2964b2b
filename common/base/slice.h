/*
 * slice.h - how soon a thread gets a core that another one computes on.
 *
 * A thread that wakes up waits until the one that runs has had its slice, milliseconds
 * by default.  Linux (6.12 and later) lets go before it for a thread whose own slice is
 * shorter, without any privilege: who moves messages, and is done in microseconds, asks
 * for a short one, so that programs which compute on the same cores do not hold it up.
 * Neither does it get more time by that.  Elsewhere nothing changes.
 *
 * Threads that a thread starts have the slice that it has then.
 *
 * Thread: each speaks for itself.
 */
#ifndef PS_BASE_SLICE_H
#define PS_BASE_SLICE_H

#include <stdint.h>

#define PS_SLICE_SHORT_NS UINT64_C(100000) /* the shortest that Linux knows */

/* Sets the slice of this thread; 0: the system's.  Gives the one that it had.  Only of
 * a thread that is scheduled as most are: one of real time, say, stays as it is. */
uint64_t ps_slice_set(uint64_t slice_ns);

#endif
