/*
 * options.h - what a worker is to be, after the caller's options, the environment, the
 * settings and the defaults have had their say, in this order.
 *
 * Thread: any that may call getenv.
 */
#ifndef PSW_OPTIONS_H
#define PSW_OPTIONS_H

#include <ps/worker.h>

#include "common/base/spec.h"

struct psw_options {
    char               coordinator[PS_ENDPOINT_BYTES];
    const char        *coordinator_from; /* the variable; NULL: another source */
    bool               job_from_environment;
    char               token[PS_TEXT_BYTES];
    struct ps_job_spec job; /* with name, workers and clocks_per_epoch */
    uint32_t           rank;
    uint32_t           timeout_ms;
    uint32_t           spin_us;
    bool               observer;
};

/* PS_ERR_BAD_ARG for what the caller gave, PS_ERR_CONFIG for what a variable says. */
ps_status psw_options_resolve(const ps_worker_options *given,
                              struct psw_options      *out) PS_CHECKED;

/*
 * Copies a public struct that begins with its size into one that has its defaults:
 * what an older caller does not know keeps them, what a newer one knows is left out.
 * PS_ERR_BAD_ARG when the size was never set.
 */
ps_status psw_options_take(void *to, size_t bytes, const void *from,
                           const char *what) PS_CHECKED;

#endif
