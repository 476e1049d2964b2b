/* cpus.c - see cpus.h. */
#include "common/base/cpus.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(PS_CPUS_MAX <= CPU_SETSIZE, "every number has its place in a cpu_set_t");

bool ps_cpus_has(const struct ps_cpus *cpus, uint16_t cpu)
{
    for (uint32_t i = 0; i < cpus->n; i++)
        if (cpus->cpu[i] == cpu)
            return true;
    return false;
}

/* Digits only; strtol would take a sign and spaces as well. */
static bool take_number(const char **text, unsigned *out)
{
    size_t digits = strspn(*text, "0123456789");

    if (digits == 0 || digits > 4)
        return false;
    *out = (unsigned)strtoul(*text, NULL, 10);
    *text += digits;
    return *out < PS_CPUS_MAX;
}

static bool add_range(struct ps_cpus *cpus, unsigned first, unsigned last)
{
    if (last < first)
        return false;
    for (unsigned cpu = first; cpu <= last; cpu++) {
        if (ps_cpus_has(cpus, (uint16_t)cpu))
            return false;
        cpus->cpu[cpus->n++] = (uint16_t)cpu;
    }
    return true;
}

bool ps_cpus_parse(struct ps_cpus *out, const char *text)
{
    out->n = 0;
    for (;; text++) {
        unsigned first, last;

        if (!take_number(&text, &first))
            return false;
        last = first;
        if (*text == '-') {
            text++;
            if (!take_number(&text, &last))
                return false;
        }
        if (!add_range(out, first, last))
            return false;
        if (*text != ',')
            return *text == '\0';
    }
}

void ps_cpus_text(const struct ps_cpus *cpus, char out[PS_CPUS_TEXT_BYTES])
{
    size_t at = 0;

    out[0] = '\0';
    for (uint32_t i = 0, next; i < cpus->n && at < PS_CPUS_TEXT_BYTES; i = next) {
        for (next = i + 1; next < cpus->n; next++)
            if (cpus->cpu[next] != cpus->cpu[next - 1] + 1)
                break;
        at += (size_t)snprintf(out + at, PS_CPUS_TEXT_BYTES - at, "%s%u",
                               i > 0 ? "," : "", cpus->cpu[i]);
        if (next > i + 1 && at < PS_CPUS_TEXT_BYTES)
            at += (size_t)snprintf(out + at, PS_CPUS_TEXT_BYTES - at, "-%u",
                                   cpus->cpu[next - 1]);
    }
}

void ps_cpus_allowed(struct ps_cpus *out)
{
    cpu_set_t set;
    bool      told = sched_getaffinity(0, sizeof(set), &set) == 0;

    out->n = 0;
    for (uint16_t cpu = 0; cpu < PS_CPUS_MAX; cpu++)
        if (!told || CPU_ISSET(cpu, &set))
            out->cpu[out->n++] = cpu;
}
