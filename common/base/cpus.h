/*
 * cpus.h - which processors, as people write it: "0-3,8".
 *
 * The order is kept: it says who runs where.
 *
 * Thread: any; nothing here keeps state.
 */
#ifndef PS_BASE_CPUS_H
#define PS_BASE_CPUS_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define PS_CPUS_MAX 1024u
#define PS_CPUS_TEXT_BYTES 256u

struct ps_cpus {
    uint32_t n;
    uint16_t cpu[PS_CPUS_MAX]; /* numbers below PS_CPUS_MAX, each once */
};

/* Of one list.  false: it is none, or names a CPU twice; *out is undefined then. */
bool ps_cpus_parse(struct ps_cpus *out, const char *text);

/* The shortest list of the same, as far as there is room. */
void ps_cpus_text(const struct ps_cpus *cpus, char out[PS_CPUS_TEXT_BYTES]);

bool ps_cpus_has(const struct ps_cpus *cpus, uint16_t cpu);

/* On which this process may run, ascending.  Where the system does not tell: on all. */
void ps_cpus_allowed(struct ps_cpus *out);

#endif
