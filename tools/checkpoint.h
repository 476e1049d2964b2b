/*
 * checkpoint.h - psctl checkpoint: the snapshots in the state folders of psd processes,
 * which may be running, gone, or on another machine.
 *
 * All but `create` read folders and ask nobody.
 *
 * Thread: one.
 */
#ifndef TOOLS_CHECKPOINT_H
#define TOOLS_CHECKPOINT_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define CHECKPOINT_STATES_MAX 64u

struct checkpoint_options {
    const char *coordinator, *token; /* create */
    int         timeout_ms;
    bool        json;
    uint32_t    n_states; /* folders; none: /var/lib/psd */
    const char *states[CHECKPOINT_STATES_MAX];
    bool        has_set, has_run; /* export; else the newest */
    uint64_t    set, run;
    const char *format; /* NULL until given: safetensors */
    const char *output; /* file, or folder for npy */
};

/* `words` are what stands behind "checkpoint" on the command line; prints what was
 * asked for.  PS_ERR_BAD_ARG: they are wrong. */
ps_status checkpoint_run(const char *const *words, uint32_t n,
                         const struct checkpoint_options *o) PS_CHECKED;

#endif
