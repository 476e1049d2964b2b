/*
 * kind.h - what each kind of message is called and must hold.
 */
#ifndef PS_WIRE_KIND_H
#define PS_WIRE_KIND_H

#include "common/wire/wire.h"

/* What a kind cannot do without. */
enum ps_need {
    PS_NEED_STATUS = 1,     /* below 0 */
    PS_NEED_NAME = 2,       /* a job's */
    PS_NEED_JOB_SPEC = 4,   /* present */
    PS_NEED_MATRIX = 8,     /* exactly one */
    PS_NEED_SLOTS = 16,     /* at least one run */
    PS_NEED_ENDPOINTS = 32, /* at least one */
    PS_NEED_SEQ = 64,       /* from 1 */
};

struct ps_kind_rule {
    const char *name;
    uint32_t    flags; /* those that may be set */
    uint32_t    needs;
};

/* NULL: no such kind. */
const struct ps_kind_rule *ps_kind_rule(uint32_t kind);

#endif
