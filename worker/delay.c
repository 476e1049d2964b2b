/* delay.c - see delay.h. */
#include "worker/delay.h"

#include "common/base/random.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define FACTOR_MAX 1000.0
#define PACE_MAX 60.0 /* seconds */

static bool number(const char **text, double least, double most, double *out)
{
    char  *end;
    double n = strtod(*text, &end);

    /* strtod would also take blanks, signs, names and hexadecimal */
    if (**text < '0' || **text > '9' || (*text)[1] == 'x' || (*text)[1] == 'X')
        return false;
    *text = end;
    *out = n;
    return n >= least && n <= most;
}

static ps_status read_pace(struct psw_delay *d)
{
    const char *said = getenv("PSW_PACE");
    const char *text = said;

    if (!said || !*said || (number(&text, 0, PACE_MAX, &d->pace) && !*text))
        return PS_OK;
    return ps_fail(PS_ERR_CONFIG, "PSW_PACE: \"%.100s\", expected 0 to %g seconds",
                   said, PACE_MAX);
}

static ps_status read_slow(struct psw_delay *d)
{
    const char *said = getenv("PSW_SLOW");
    const char *text = said;

    if (!said || !*said || (number(&text, 1, FACTOR_MAX, &d->slow) && !*text))
        return PS_OK;
    return ps_fail(PS_ERR_CONFIG,
                   "PSW_SLOW: \"%.100s\", expected a factor from 1 to %g", said,
                   FACTOR_MAX);
}

static ps_status read_hiccups(struct psw_delay *d)
{
    const char *said = getenv("PSW_HICCUPS");
    const char *text = said;

    if (!said || !*said ||
        (number(&text, 0, 1, &d->rate) && *text++ == ':' &&
         number(&text, 1, FACTOR_MAX, &d->hiccup) && !*text))
        return PS_OK;
    return ps_fail(PS_ERR_CONFIG,
                   "PSW_HICCUPS: \"%.100s\", expected RATE:FACTOR, 0 to 1 and 1 to %g",
                   said, FACTOR_MAX);
}

ps_status psw_delay_read(struct psw_delay *out)
{
    struct psw_delay d = { .slow = 1, .hiccup = 1 };
    ps_status        st = read_pace(&d);

    if (!st)
        st = read_slow(&d);
    if (!st)
        st = read_hiccups(&d);
    if (!st)
        *out = d;
    return st;
}

double psw_delay_factor(const struct psw_delay *d, uint64_t seed, uint32_t rank,
                        uint64_t clock)
{
    uint64_t stream = ps_random_stream("hiccups") + rank;

    return ps_random_uniform(seed, stream, clock) < d->rate ? d->slow * d->hiccup
                                                            : d->slow;
}

void psw_delay_wait(const struct psw_delay *d, double factor, uint64_t took_ns)
{
    double          took = (double)took_ns, least = d->pace * 1e9;
    double          ns = factor * (took > least ? took : least) - took;
    struct timespec left = { .tv_sec = (time_t)(ns / 1e9) };

    if (ns < 1)
        return;
    left.tv_nsec = (long)(ns - (double)left.tv_sec * 1e9);
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ; /* a signal of the host's */
}
