/* verdict.c - see verdict.h. */
#include "tests/sim/verdict.h"

#include "tests/sim/calls.h"
#include "tests/sim/ledger.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

/* Under backup an iteration that is closed holds all workers but the spares. */
static void check_backup(struct programme *p, uint32_t g, uint64_t t)
{
    const struct ps_job_spec *job = &plan_in(p)->job;
    int64_t                   n = 0;

    if (job->strategy != PS_BACKUP || p->world.loses ||
        p->world.lives > plan_in(p)->hosts + job->workers + 1)
        return;
    for (uint32_t r = 0; r < job->workers; r++)
        n += p->students[OBSERVER].tally[g][(t - 1) * PLAN_WORKERS + r];
    if (n < (int64_t)(job->workers - job->spares))
        world_wrong(&p->world,
                    "tally-%u: iteration %" PRIu64 " holds %" PRId64
                    " of %u workers, expected all but %u",
                    g, t, n, job->workers, job->spares);
}

void verdict_tallies(struct programme *p)
{
    const struct plan *plan = plan_in(p);

    for (uint32_t g = 0; g < plan->groups; g++)
        for (uint64_t t = 1; t <= plan->iterations; t++) {
            char where[32];

            snprintf(where, sizeof(where), "tally-%u", g);
            for (uint32_t r = 0; r < plan->job.workers; r++)
                ledger_check(
                    p, where, r, t,
                    p->students[OBSERVER].tally[g][(t - 1) * PLAN_WORKERS + r]);
            check_backup(p, g, t);
        }
}

/* Runs until the observer's ticket is done; the move was started by the caller. */
static bool await(struct programme *p, ps_status st)
{
    struct student *s = &p->students[OBSERVER];

    world_post_client(&p->world, OBSERVER);
    s->stage = STAGE_DONE;
    if (st)
        world_wrong(&p->world, "observer: %s", ps_log_last_error());
    while (!p->world.wrong[0] && !psw_ticket_done(s->ticket))
        programme_step(p);
    if (!p->world.wrong[0] && psw_ticket_result(s->ticket))
        world_wrong(&p->world, "observer: %s", ps_log_last_error());
    psw_ticket_drop(&s->ticket);
    return !p->world.wrong[0];
}

void verdict_rows(struct programme *p)
{
    struct student *s = &p->students[OBSERVER];
    uint64_t        keys[PLAN_WORKERS * PROGRAMME_ITERATIONS];
    int64_t         values[PLAN_WORKERS * PROGRAMME_ITERATIONS];
    uint64_t        n = 0, k = 0;
    struct psw_span span = { .matrix = s->matrices[2 * plan_in(p)->groups],
                             .keys = keys,
                             .value = values };

    for (uint64_t t = 1; t <= plan_in(p)->iterations; t++)
        for (uint32_t r = 0; r < plan_in(p)->job.workers; r++)
            keys[n++] = calls_row_key(r, t);
    span.count = n;
    if (!await(p, calls_move(p, OBSERVER, PSW_PULL, &span, 1, &s->ticket)))
        return;
    for (uint64_t t = 1; t <= plan_in(p)->iterations; t++)
        for (uint32_t r = 0; r < plan_in(p)->job.workers; r++)
            ledger_check(p, "rows", r, t, values[k++]);
}

void verdict_hash(struct programme *p, char hash[65])
{
    struct student          *s = &p->students[OBSERVER];
    unsigned char            digest[32];
    crypto_generichash_state state;
    uint64_t                 keys[EMBED_ROWS];
    float                    rows[EMBED_ROWS][EMBED_COLS] = { { 0 } };
    struct psw_span          span = { .matrix = s->matrices[2 * plan_in(p)->groups + 1],
                                      .count = EMBED_ROWS,
                                      .keys = keys,
                                      .value = rows };

    for (unsigned k = 0; k < EMBED_ROWS; k++)
        keys[k] = k;
    if (plan_in(p)->sparse)
        await(p, calls_move(p, OBSERVER, PSW_PULL, &span, 1, &s->ticket));
    crypto_generichash_init(&state, NULL, 0, sizeof(digest));
    crypto_generichash_update(&state, (const void *)s->model,
                              plan_in(p)->groups * sizeof(s->model[0]));
    crypto_generichash_update(&state, (const void *)rows, sizeof(rows));
    crypto_generichash_final(&state, digest, sizeof(digest));
    sodium_bin2hex(hash, 65, digest, sizeof(digest));
}
