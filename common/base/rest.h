/*
 * rest.h - something that did harm is left for a while, each time it happens again for
 * twice as long.  Pure: the time is told.
 *
 * Thread: one at a time.
 */
#ifndef PS_BASE_REST_H
#define PS_BASE_REST_H

#include <stdbool.h>
#include <stdint.h>

#define PS_REST_NS UINT64_C(10000000) /* the first */
#define PS_REST_MAX_NS UINT64_C(1280000000)

/* Zeroed: it does not rest. */
struct ps_rest {
    uint64_t for_ns, until_ns;
};

bool ps_rest_is_over(const struct ps_rest *r, uint64_t now_ns);

/* It did harm. */
void ps_rest_take(struct ps_rest *r, uint64_t now_ns);

/* It did none: when that has gone on for as long as it rested, the next rest is short
 * again. */
void ps_rest_was_good(struct ps_rest *r, uint64_t now_ns);

#endif
