/*
 * failing.h - memory that runs out when a test wants it to.
 *
 * The program's malloc and its kin are these, also for the libraries that it uses;
 * under a sanitizer, which has its own, only calls of the project's code are seen.
 *
 * Thread: each has its own count.
 */
#ifndef TESTS_UNIT_FAILING_H
#define TESTS_UNIT_FAILING_H

#include "common/base/status.h"

#include <stdbool.h>

/* From now on the nth allocation fails, and only that; 0: none does. */
void failing_at(long nth);

/* None fails any more.  Did one? */
bool failing_stop(void);

/* Between the two calls nothing counts and nothing fails: the test's own memory. */
void failing_pause(void);
void failing_resume(void);

/* Allocations of this thread so far, paused or not. */
long failing_allocations(void);

/* Blocks that are held; always 0 under a sanitizer, which finds leaks itself. */
long failing_held(void);

/*
 * Runs it with the first allocation failing, then the second, until it comes through
 * without one.  Each time it passes, some are not needed, or says PS_ERR_NO_MEMORY, and
 * holds nothing afterwards.
 */
void failing_everywhere(ps_status (*operation)(void));

#endif
