/* yield.c - see yield.h. */
#include "worker/yield.h"

bool psw_yield_may(const struct psw_yield *y, uint64_t now_ns)
{
    return ps_rest_is_over(&y->rest, now_ns);
}

void psw_yield_took(struct psw_yield *y, uint64_t then_ns, uint64_t now_ns)
{
    if (now_ns - then_ns > PSW_YIELD_AWAY_NS)
        ps_rest_take(&y->rest, now_ns);
    else
        ps_rest_was_good(&y->rest, now_ns);
}
