/*
 * ledger.h - what must have become of each iteration of each worker: how often it may
 * count, what a rollback may take back, what a worker must see.
 *
 * It is told what workers begin, have answered and go back to, and says what is wrong.
 */
#ifndef TESTS_SIM_LEDGER_H
#define TESTS_SIM_LEDGER_H

#include "tests/sim/programme.h"

/* The student is welcome. */
void ledger_meet(struct programme *p, uint32_t i);

/* The iteration of the student begins, or was answered. */
void ledger_begin(struct programme *p, uint32_t i);
void ledger_end(struct programme *p, uint32_t i);

/* The student has been told that the job went back to its clock. */
void ledger_go_back(struct programme *p, uint32_t i);

/* It comes to a job that may have gone back while nobody was there to be told. */
void ledger_meet_life(struct programme *p, uint32_t i, uint64_t life);

/* What ssp promises of what the student has pulled. */
void ledger_check_slack(struct programme *p, uint32_t i);

/* So often iteration t of worker r counts; `where` is for the sentence. */
void ledger_check(struct programme *p, const char *where, uint32_t r, uint64_t t,
                  int64_t value);

#endif
