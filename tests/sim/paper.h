/*
 * paper.h - every case of a simulation file, one after the other: a table, or one JSON
 * object a line.  psim(1), --model.
 */
#ifndef TESTS_SIM_PAPER_H
#define TESTS_SIM_PAPER_H

#include <stdbool.h>
#include <stddef.h>

#define PAPER_SETS 64u

struct paper_options {
    const char *file;
    const char *sets[PAPER_SETS]; /* "a.b=c" */
    size_t      n_sets;
    bool        json;
    bool        quiet; /* no progress */
};

/* The exit code; what is wrong is said on standard error. */
int paper_run(const struct paper_options *o);

#endif
