/*
 * checkpoint.c - a snapshot of a job, because somebody asks for one.
 *
 * Under bsp and backup all shards have to save the same clock, which none of them has
 * passed yet.  They are asked how far they are, and told to save the highest of these
 * clocks; where one has gone on meanwhile, all of it again with a margin that grows.
 * Under asp and ssp each saves what it has.
 *
 * A worker that is through asks for one, too: until its last iterations are on disk a
 * psd that is killed would take them back, with nobody there to do them again.  It may
 * go when they are, when they cannot be, or after FAREWELL_NS.
 *
 * This is no part of the job's queue: the clock to be saved may need a worker that is
 * yet to be made known.
 */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECKPOINT_NS (30 * COORD_SECOND_NS)
#define FAREWELL_NS (10 * COORD_SECOND_NS)
#define MARGIN 8u

void coord_checkpoint_end(struct psd_coordinator *c, struct coord_job *job,
                          ps_status status, const char *why)
{
    struct coord_operation *operation = job->checkpoint;

    if (!operation)
        return;
    job->checkpoint = NULL;
    for (uint32_t i = 0; i < operation->n_askers; i++) {
        const struct coord_asker *asker = &operation->askers[i];

        if (asker->kind == PS_MSG_BYE && status != PS_ERR_ROLLBACK)
            coord_member_go(c, job, asker);
        else
            coord_answer_error(c, asker, status, why);
    }
    coord_operation_free(&operation);
}

static void send_round(struct psd_coordinator *c, struct coord_job *job, uint32_t kind,
                       uint64_t clock)
{
    struct coord_operation *operation = job->checkpoint;
    struct ps_header        h = { .clock = clock };
    ps_status               st;

    coord_operation_park(operation);
    operation->kind = kind;
    operation->patience_ns = kind == PS_MSG_SNAPSHOT ? COORD_DISK_NS : 0;
    st = coord_job_call(c, job, operation, &h);
    if (st)
        coord_checkpoint_end(c, job, st, ps_log_last_error());
    else
        coord_operation_send(c, operation);
}

static ps_status begin(struct psd_coordinator *c, struct coord_job *job,
                       const struct coord_asker *asker)
{
    ps_status st = coord_operation_new(&job->checkpoint, PS_MSG_STATS);

    if (!st)
        st = coord_operation_ask(job->checkpoint, asker);
    if (st) {
        coord_operation_free(&job->checkpoint);
        return st;
    }
    job->checkpoint_ns = c->now_ns;
    job->checkpoint_margin = job->checkpoint_least = 0;
    send_round(c, job, PS_MSG_STATS, 0);
    return PS_OK;
}

ps_status coord_checkpoint(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_job *job;
    ps_status         st = coord_check_token(c, r->h->token);

    if (st)
        return st;
    job = coord_job_find(c, r->h->name);
    if (!job || !job->created)
        return ps_fail(PS_ERR_UNKNOWN, "job %s: not known here", r->h->name);
    if (job->status)
        return ps_fail(job->status, "%s", job->why);
    if (job->recovery)
        return ps_fail(PS_ERR_ROLLBACK, "job %s: it is going back to a snapshot",
                       r->h->name);
    if (job->checkpoint)
        return coord_operation_ask(job->checkpoint, &r->asker);
    return begin(c, job, &r->asker);
}

ps_status coord_checkpoint_farewell(struct psd_coordinator *c, struct coord_job *job,
                                    const struct coord_asker *asker, uint64_t clock)
{
    ps_status st = job->checkpoint ? coord_operation_ask(job->checkpoint, asker)
                                   : begin(c, job, asker);

    if (!st && job->checkpoint && clock > job->checkpoint_least)
        job->checkpoint_least = clock;
    return st;
}

bool coord_checkpoint_answered(struct coord_job *job, uint32_t shard,
                               const struct ps_header *h)
{
    struct coord_operation *operation = job->checkpoint;

    if (!operation || !coord_operation_answered(operation, shard, h))
        return false;
    for (uint32_t i = 0; i < h->n_job_stats; i++)
        if (h->job_stats[i].job == job->number &&
            h->job_stats[i].clock > operation->clock_high)
            operation->clock_high = h->job_stats[i].clock;
    return true;
}

static void answer_all(struct psd_coordinator *c, struct coord_job *job)
{
    struct coord_operation *operation = job->checkpoint;

    job->checkpoint = NULL;
    for (uint32_t i = 0; i < operation->n_askers; i++) {
        struct ps_header h = { .kind = PS_MSG_OK,
                               .job = job->number,
                               .clock = operation->clock_low };

        if (operation->askers[i].kind == PS_MSG_BYE)
            coord_member_go(c, job, &operation->askers[i]);
        else
            coord_answer(c, &operation->askers[i], &h, NULL, 0);
    }
    coord_operation_free(&operation);
}

/* Does nobody but workers that want to go wait for it? */
static bool is_farewell(const struct coord_operation *operation)
{
    for (uint32_t i = 0; i < operation->n_askers; i++)
        if (operation->askers[i].kind != PS_MSG_BYE)
            return false;
    return true;
}

void coord_checkpoint_step(struct psd_coordinator *c, struct coord_job *job)
{
    uint64_t                clock;
    struct coord_operation *operation = job->checkpoint;

    if (!operation || operation->n_owed > 0)
        return;
    if (operation->kind == PS_MSG_STATS && !operation->status) {
        clock = operation->clock_high + job->checkpoint_margin;
        send_round(c, job, PS_MSG_SNAPSHOT,
                   clock > job->checkpoint_least ? clock : job->checkpoint_least);
    } else if (!operation->status) {
        answer_all(c, job);
    } else if (operation->kind == PS_MSG_SNAPSHOT &&
               operation->status == PS_ERR_BAD_ARG && !is_farewell(operation)) {
        job->checkpoint_margin =
            job->checkpoint_margin ? MARGIN * job->checkpoint_margin : MARGIN;
        send_round(c, job, PS_MSG_STATS, 0); /* one of them was past that clock */
    } else {
        coord_checkpoint_end(c, job, operation->status, operation->why);
    }
}

void coord_checkpoint_tick(struct psd_coordinator *c, struct coord_job *job)
{
    uint64_t limit_ns =
        job->checkpoint && is_farewell(job->checkpoint) ? FAREWELL_NS : CHECKPOINT_NS;
    char why[PS_TEXT_BYTES];

    if (!job->checkpoint || c->now_ns - job->checkpoint_ns < limit_ns)
        return;
    snprintf(why, sizeof(why), "job %s: no snapshot within %ju s; its clock was %ju",
             job->spec.name, (uintmax_t)(limit_ns / COORD_SECOND_NS),
             (uintmax_t)coord_job_clock(job));
    coord_checkpoint_end(c, job, PS_ERR_TIMEOUT, why);
}

void coord_checkpoint_shard_lost(struct coord_job *job, uint32_t shard, const char *why)
{
    if (job->checkpoint && coord_operation_excuse(job->checkpoint, shard))
        coord_operation_spoil(job->checkpoint, PS_ERR_UNAVAILABLE, why);
}
