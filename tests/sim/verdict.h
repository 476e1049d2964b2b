/*
 * verdict.h - what has come of a run, by what the observer reads at its end.
 */
#ifndef TESTS_SIM_VERDICT_H
#define TESTS_SIM_VERDICT_H

#include "tests/sim/programme.h"

/* The tallies that it has pulled, and the rows, which are pulled here. */
void verdict_tallies(struct programme *p);
void verdict_rows(struct programme *p);

/* Of all parameters; 64 digits. */
void verdict_hash(struct programme *p, char hash[65]);

#endif
