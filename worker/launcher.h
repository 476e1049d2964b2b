/*
 * launcher.h - what the environment says about this process: our own variables, and
 * where there are none, those of the launcher that started it.
 *
 * A launcher is whatever starts one process per worker and numbers them: ps-lite's
 * tracker, torchrun, Slurm, an MPI, Kubernetes.  Each names the numbers differently,
 * and they nest: torchrun under Slurm leaves both sets behind.  Two that agree are as
 * good as one; two that do not are an error with both names and values, because a guess
 * trains the wrong model without a word.
 *
 * The launchers' variables are read when no PSW_* is set, or PSW_ENV_COMPAT is 1.
 *
 * It does not know what the numbers are for, nor what the caller's options say.
 *
 * Thread: any that may call getenv.
 */
#ifndef PSW_LAUNCHER_H
#define PSW_LAUNCHER_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the coordinator is when only a host is known. */
#define PSW_DEFAULT_PORT "5570"

enum psw_number {
    PSW_NUMBER_RANK,       /* PSW_RANK */
    PSW_NUMBER_WORLD_SIZE, /* PSW_WORLD_SIZE */
};

/* NULL when it is not set, or set to nothing. */
const char *psw_variable(const char *name);

/* A whole number; *out is untouched when the variable is not set.  PS_ERR_CONFIG. */
ps_status psw_variable_number(const char *name, uint64_t least, uint64_t most,
                              uint32_t *out) PS_CHECKED;

/* Are the launchers' variables to be read?  PS_ERR_CONFIG for a bad PSW_ENV_COMPAT. */
ps_status psw_launcher_counts(bool *counts) PS_CHECKED;

/*
 * Our variable for `which`, else, if `aliases`, the launchers'; *out is untouched when
 * nobody says it.  A rank of the launchers is taken only where DMLC_ROLE, if it is set,
 * is worker.
 */
ps_status psw_launcher_number(enum psw_number which, bool aliases, uint64_t least,
                              uint64_t most, uint32_t *out) PS_CHECKED;

/*
 * The launchers' endpoint of the coordinator, tcp://host:port; *from is the name of the
 * variable that said so, NULL when none did, and then `out` is untouched.
 */
ps_status psw_launcher_coordinator(char *out, size_t bytes,
                                   const char **from) PS_CHECKED;

#endif
