/* rest.c - see rest.h. */
#include "common/base/rest.h"

bool ps_rest_is_over(const struct ps_rest *r, uint64_t now_ns)
{
    return now_ns >= r->until_ns;
}

void ps_rest_take(struct ps_rest *r, uint64_t now_ns)
{
    r->for_ns = r->for_ns ? 2 * r->for_ns : PS_REST_NS;
    if (r->for_ns > PS_REST_MAX_NS)
        r->for_ns = PS_REST_MAX_NS;
    r->until_ns = now_ns + r->for_ns;
}

void ps_rest_was_good(struct ps_rest *r, uint64_t now_ns)
{
    if (now_ns - r->until_ns >= r->for_ns)
        r->for_ns = 0;
}
