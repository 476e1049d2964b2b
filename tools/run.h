/*
 * run.h - one experiment, from starting its programs to its summary.
 *
 * Thread: one.
 */
#ifndef TOOLS_RUN_H
#define TOOLS_RUN_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stddef.h>

struct run_options {
    const char        *experiment; /* path or name */
    const char *const *sets;
    size_t             n_sets;
    const char        *out; /* NULL: results/NAME-DATE-TIME */
    bool               quiet;
    bool               json; /* the summary on stdout instead of a few lines */
};

/* The process's exit code; everything that was started has ended. */
int run_experiment(const struct run_options *options);

#endif
