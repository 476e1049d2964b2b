/* course.c - see course.h. */
#include "worker/course.h"

#include <math.h>

ps_status psw_course_check(const struct psw_course *c)
{
    if (c->growth != 0 && !(c->growth >= 1 && isfinite(c->growth)))
        return ps_fail(
            PS_ERR_BAD_ARG,
            "training: the batch grows by the factor %g, expected 1 or more, "
            "or 0 for none",
            c->growth);
    if (c->growth > 1 && c->growth_max && c->growth_max < c->batch)
        return ps_fail(
            PS_ERR_BAD_ARG,
            "training: batches of %u are to grow up to %u, expected at least "
            "as many",
            c->batch, c->growth_max);
    return PS_OK;
}

uint32_t psw_course_batch(const struct psw_course *c, uint64_t epoch)
{
    uint32_t max = c->growth_max ? c->growth_max : PSW_BATCH_MAX;
    uint64_t steps = epoch / (c->growth_every ? c->growth_every : 1);
    double   grown;

    if (!(c->growth > 1))
        return c->batch;
    grown = floor(c->batch * pow(c->growth, (double)steps));
    return grown < max ? (uint32_t)grown : max;
}

uint64_t psw_course_iterations(const struct psw_course *c, uint64_t epoch)
{
    return ps_data_iterations(c->data, c->workers, psw_course_batch(c, epoch));
}

static uint64_t windows(uint64_t iterations, uint64_t npush)
{
    return iterations / npush + (iterations % npush != 0);
}

uint64_t psw_course_clocks(const struct psw_course *c, uint64_t epoch)
{
    return windows(psw_course_iterations(c, epoch), c->npush);
}

static void enter(const struct psw_course *c, struct psw_spot *s)
{
    s->batch = psw_course_batch(c, s->epoch);
    s->iterations = psw_course_iterations(c, s->epoch);
}

static void next_epoch(const struct psw_course *c, struct psw_spot *s)
{
    s->clocks_before += windows(s->iterations, c->npush);
    s->batches_before += s->iterations;
    s->samples_before += s->iterations * c->workers * s->batch;
    s->epoch++;
    enter(c, s);
}

void psw_course_seek(const struct psw_course *c, struct psw_spot *s, uint64_t clock)
{
    if (clock < s->clocks_before)
        *s = (struct psw_spot){ 0 };
    enter(c, s);
    while (s->iterations > 0 &&
           clock - s->clocks_before >= windows(s->iterations, c->npush))
        next_epoch(c, s);
    s->clock = clock;
    s->iteration = (clock - s->clocks_before) * c->npush;
}

bool psw_course_ends_epoch(const struct psw_spot *s)
{
    return s->iteration + 1 == s->iterations;
}

bool psw_course_pushes(const struct psw_course *c, const struct psw_spot *s)
{
    return (s->iteration + 1) % c->npush == 0 || psw_course_ends_epoch(s);
}

bool psw_course_pulls(const struct psw_course *c, const struct psw_spot *s)
{
    return (s->iteration + 1) % c->nfetch == 0 || psw_course_ends_epoch(s);
}

ps_status psw_course_take(const struct psw_course *c, const struct psw_spot *s,
                          ps_data *data, uint64_t seed, uint32_t rank, ps_batch *out)
{
    ps_status st = ps_data_epoch_batch(data, seed, rank, c->workers, s->batch, s->epoch,
                                       s->iteration, out);

    if (st)
        return st;
    out->clock = s->batches_before + s->iteration;
    out->position =
        s->samples_before + (s->iteration * c->workers + rank) * (uint64_t)s->batch;
    return PS_OK;
}
