/* pace.c - the delays of delay.h for programs that have a loop of their own. */
#include "worker/worker_private.h"

#include "worker/delay.h"

#include <math.h>

ps_status ps_pace(ps_worker *w, double seconds)
{
    struct psw_delay delay;
    ps_status        st = psw_begin(w);

    if (!st)
        st = psw_delay_read(&delay);
    if (st)
        return st;
    if (!isfinite(seconds) || seconds < 0)
        return ps_fail(PS_ERR_BAD_ARG, "pace: work of %g seconds, expected 0 or more",
                       seconds);
    psw_delay_wait(&delay,
                   psw_delay_factor(&delay, ps_seed(w), ps_rank(w), ps_clock(w)),
                   (uint64_t)(seconds * 1e9));
    return PS_OK;
}
