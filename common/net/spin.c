/* spin.c - see spin.h. */
#include "common/net/spin.h"

bool ps_spin_begin(struct ps_spin *s, uint64_t now_ns)
{
    s->begun_ns = s->looked_ns = now_ns;
    return s->most_ns > 0 && ps_rest_is_over(&s->rest, now_ns);
}

bool ps_spin_goes_on(struct ps_spin *s, uint64_t now_ns)
{
    const uint64_t away_ns = now_ns - s->looked_ns;

    s->looked_ns = now_ns;
    if (away_ns > PS_SPIN_AWAY_NS) {
        ps_rest_take(&s->rest, now_ns);
        return false;
    }
    if (now_ns - s->begun_ns < s->most_ns)
        return true;
    ps_rest_was_good(&s->rest, now_ns); /* nobody was in its way */
    return false;
}
