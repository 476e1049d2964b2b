/* spin.c - see spin.h. */
#include "common/net/spin.h"

bool ps_spin_begin(struct ps_spin *s, uint64_t now_ns)
{
    s->begun_ns = s->looked_ns = now_ns;
    return s->most_ns > 0 && now_ns >= s->rests_until_ns;
}

static void rest(struct ps_spin *s, uint64_t now_ns)
{
    s->rest_ns = s->rest_ns ? 2 * s->rest_ns : PS_SPIN_REST_NS;
    if (s->rest_ns > PS_SPIN_REST_MAX_NS)
        s->rest_ns = PS_SPIN_REST_MAX_NS;
    s->rests_until_ns = now_ns + s->rest_ns;
}

bool ps_spin_goes_on(struct ps_spin *s, uint64_t now_ns)
{
    const uint64_t away_ns = now_ns - s->looked_ns;

    s->looked_ns = now_ns;
    if (away_ns > PS_SPIN_AWAY_NS) {
        rest(s, now_ns);
        return false;
    }
    if (now_ns - s->begun_ns < s->most_ns)
        return true;
    s->rest_ns = 0; /* nobody was in its way */
    return false;
}
