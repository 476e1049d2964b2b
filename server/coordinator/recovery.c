/*
 * recovery.c - a job goes back to a snapshot.
 *
 *     a shard is lost -> gather: are as many shards there as the job had?
 *                     -> ask: which snapshots can each of them read?  (sets.c chooses)
 *                     -> load: JOB, MATRIX_ADD of all matrices, LOAD
 *                     -> MEMBERS, and whoever has asked meanwhile is answered
 *
 * All shards of the job begin a new life, those that were never away too.  A snapshot
 * that turns out to be damaged is followed by the next older one, in yet another life;
 * where there is none, the job begins anew, which leads to the same model as its first
 * beginning did.  If another shard is lost on the way, all of it begins again.
 *
 * The job's queue rests meanwhile: what waits in it is composed anew afterwards, for
 * the shards that there are then.
 */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After so many recovery_wait without what it needs a job fails. */
#define PATIENCE 10u

/* Bits.  A coordinator that was started again does not know of lives that the one
 * before it could not save any more, and counts on from beyond them. */
#define LIVES_OF_A_START 20

static void free_steps(struct coord_recovery *recovery)
{
    while (recovery->steps) {
        struct coord_operation *step = recovery->steps;

        recovery->steps = step->next;
        coord_operation_free(&step);
    }
}

void coord_recovery_cancel(struct coord_job *job)
{
    if (!job->recovery)
        return;
    free_steps(job->recovery);
    coord_offers_forget(job->recovery);
    free(job->recovery);
    job->recovery = NULL;
}

/* What the queue has sent was for shards of a life that is over. */
static void park_queue(struct coord_job *job)
{
    for (struct coord_operation *o = job->operations; o; o = o->next) {
        if (o->kind == PS_MSG_MATRIX_ADD && (o->started || o->status))
            coord_matrix_park(job, o);
        coord_operation_park(o);
    }
}

static void new_life(struct psd_coordinator *c, struct coord_job *job)
{
    uint64_t least = c->starts << LIVES_OF_A_START;

    job->life = job->life + 1 > least ? job->life + 1 : least;
    job->epoch = coord_secret(c);
}

void coord_recovery_begin(struct psd_coordinator *c, struct coord_job *job,
                          const char *why)
{
    struct coord_recovery *recovery = job->recovery;

    if (!recovery) {
        recovery = calloc(1, sizeof(*recovery));
        if (!recovery) {
            coord_job_end(c, job, COORD_FAILED, PS_ERR_NO_MEMORY, why);
            return;
        }
        park_queue(job);
        coord_checkpoint_end(c, job, PS_ERR_ROLLBACK, why);
        recovery->since_ns = c->now_ns;
        recovery->wanted = job->n_shards;
        job->recovery = recovery;
        job->state = COORD_RECOVERING;
    }
    free_steps(recovery);
    recovery->stage = COORD_GATHERING;
    recovery->asked_arrivals = 0;
    recovery->asked_late = false;
    new_life(c, job);
    coord_members_went_back(c, job, UINT64_MAX, UINT64_MAX);
    ps_log(PS_LOG_WARN, "job %s: goes back to a snapshot: %s", job->spec.name, why);
    coord_members_notice(c, job, PS_ERR_ROLLBACK, why);
}

/* ---- asking ---------------------------------------------------------------------- */

static uint32_t n_up(const struct psd_coordinator *c)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->n_shards; i++)
        n += !c->shards[i].lost;
    return n;
}

static bool is_late(const struct psd_coordinator *c, const struct coord_recovery *r)
{
    return c->now_ns - r->since_ns >= c->options.recovery_wait_ns;
}

/* Could the shards say something that they have not said yet? */
static bool may_ask(const struct psd_coordinator *c, const struct coord_recovery *r)
{
    uint32_t up = n_up(c);

    if (up == 0)
        return false;
    if (is_late(c, r))
        return !r->asked_late || r->asked_arrivals != c->arrivals;
    return up >= r->wanted && r->asked_arrivals != c->arrivals;
}

static bool add_step(struct coord_job *job, uint32_t kind, struct coord_operation **out)
{
    struct coord_operation **last = &job->recovery->steps;

    if (coord_operation_new(out, kind))
        return false;
    while (*last)
        last = &(*last)->next;
    *last = *out;
    return true;
}

static ps_status compose_sets(struct psd_coordinator *c, const struct coord_job *job,
                              struct coord_operation *step)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct ps_header h = {
            .job = job->number,
            .server_epoch = job->epoch,
            .name = job->spec.name,
            .run = job->run,
        };
        ps_status st;

        if (c->shards[i].lost)
            continue;
        st = coord_operation_call(c, step, i, &h);
        if (st)
            return st;
    }
    return PS_OK;
}

static bool fail(struct psd_coordinator *c, struct coord_job *job, ps_status status)
{
    coord_job_end(c, job, COORD_FAILED, status, ps_log_last_error());
    return true;
}

static bool ask(struct psd_coordinator *c, struct coord_job *job)
{
    struct coord_recovery  *r = job->recovery;
    struct coord_operation *step;
    ps_status               st;

    r->asked_arrivals = c->arrivals;
    r->asked_late = is_late(c, r);
    coord_offers_forget(r);
    if (!add_step(job, PS_MSG_SETS, &step))
        return fail(c, job, PS_ERR_NO_MEMORY);
    step->patience_ns = COORD_DISK_NS;
    st = compose_sets(c, job, step);
    if (st)
        return fail(c, job, st);
    r->stage = COORD_ASKING;
    coord_operation_send(c, step);
    return true;
}

/* ---- deciding -------------------------------------------------------------------- */

/* Has a psd that the job had not come again?  Its host is what a sentence names. */
static const struct coord_server *missing(const struct psd_coordinator *c,
                                          const struct coord_job       *job)
{
    for (uint32_t i = 0; i < job->n_shards; i++) {
        const struct coord_server *server =
            &c->servers[c->shards[job->shards[i]].server];

        if (c->shards[job->shards[i]].lost && !server->replaced)
            return server;
    }
    return NULL;
}

static bool acceptable(const struct psd_coordinator *c, const struct coord_job *job,
                       const struct coord_choice *choice)
{
    if (choice->n_shards >= job->recovery->wanted && coord_choice_is_best(job, choice))
        return true;
    if (!is_late(c, job->recovery))
        return false;
    /* To begin anew while snapshots lie on a machine that is away would be a waste. */
    return choice->n_parts > 0 || !job->has_set || !missing(c, job);
}

static ps_status lay_out(struct coord_job *job, const struct coord_choice *choice)
{
    bool same = choice->own && choice->n_shards == job->n_shards;

    memcpy(job->shards, choice->shards, sizeof(job->shards));
    job->n_shards = choice->n_shards;
    if (!same)
        job->map_epoch++;
    return same ? PS_OK : coord_matrices_place(job);
}

static bool is_chosen(const struct coord_job *job, uint32_t shard)
{
    for (uint32_t i = 0; i < job->n_shards; i++)
        if (job->shards[i] == shard)
            return true;
    return false;
}

/* Shards that have no part in the new life may hold an earlier one. */
static ps_status compose_leave(struct psd_coordinator *c, const struct coord_job *job,
                               struct coord_operation *step)
{
    ps_status st = PS_OK;

    for (uint32_t i = 0; i < c->n_shards && !st; i++) {
        struct ps_header h = {
            .job = job->number,
            .server_epoch = job->epoch,
            .after = job->life,
        };

        if (!c->shards[i].lost && !is_chosen(job, i))
            st = coord_operation_call(c, step, i, &h);
    }
    return st;
}

static bool add_steps(struct coord_job *job)
{
    struct coord_operation *step;

    if (!add_step(job, PS_MSG_JOB_END, &step) || !add_step(job, PS_MSG_JOB, &step))
        return false;
    for (uint32_t i = 0; i < job->n_matrices; i++) {
        if (!job->matrices[i]->ready)
            continue;
        if (!add_step(job, PS_MSG_MATRIX_ADD, &step))
            return false;
        step->matrix = job->matrices[i];
    }
    if (!add_step(job, PS_MSG_LOAD, &step))
        return false;
    step->patience_ns = COORD_DISK_NS;
    /* On another layout: so that no part of it is without a snapshot when the next
     * shard is lost. */
    if (job->recovery->choice.n_parts == 0 || job->recovery->choice.own)
        return true;
    if (!add_step(job, PS_MSG_SNAPSHOT, &step))
        return false;
    step->patience_ns = COORD_DISK_NS;
    return true;
}

static bool decide(struct psd_coordinator *c, struct coord_job *job)
{
    struct coord_recovery *r = job->recovery;
    ps_status              st;

    free_steps(r);
    r->stage = COORD_GATHERING;
    if (!coord_choose(c, job, &r->choice) || !acceptable(c, job, &r->choice))
        return false;
    st = lay_out(job, &r->choice);
    if (!st)
        st = coord_saved_begin(job);
    if (st)
        return fail(c, job, st);
    if (!add_steps(job))
        return fail(c, job, PS_ERR_NO_MEMORY);
    r->stage = COORD_LOADING;
    return true;
}

/* ---- loading --------------------------------------------------------------------- */

static ps_status compose_load(struct psd_coordinator *c, struct coord_job *job,
                              struct coord_operation *step)
{
    const struct coord_choice *choice = &job->recovery->choice;
    ps_status                  st = PS_OK;

    for (uint32_t i = 0; i < job->n_shards && !st; i++) {
        struct ps_header h = {
            .job = job->number,
            .server_epoch = job->epoch,
            .n_sets = choice->n_parts,
            .sets = choice->parts,
        };

        if (choice->own && choice->n_parts > 0) {
            h.n_sets = 1;
            h.sets = &choice->parts[i];
        }
        st = coord_operation_call(c, step, job->shards[i], &h);
    }
    return st;
}

static ps_status compose_step(struct psd_coordinator *c, struct coord_job *job,
                              struct coord_operation *step)
{
    struct ps_header h = { .clock = job->recovery->clock };

    switch (step->kind) {
    case PS_MSG_JOB_END: return compose_leave(c, job, step);
    case PS_MSG_LOAD: return compose_load(c, job, step);
    case PS_MSG_SNAPSHOT: return coord_job_call(c, job, step, &h);
    default: return coord_job_compose(c, job, step);
    }
}

/* False: the job has failed, and the step is gone. */
static bool start_step(struct psd_coordinator *c, struct coord_job *job,
                       struct coord_operation *step)
{
    ps_status st = compose_step(c, job, step);

    if (st) {
        fail(c, job, st);
        return false;
    }
    coord_operation_send(c, step);
    return true;
}

/* MEMBERS is the first thing that its shards hear of the new life. */
static bool put_members_first(struct coord_job *job)
{
    struct coord_operation **at = &job->operations, *members;

    while (*at && (*at)->kind != PS_MSG_MEMBERS)
        at = &(*at)->next;
    members = *at;
    if (members)
        *at = members->next;
    else if (coord_operation_new(&members, PS_MSG_MEMBERS))
        return false;
    members->next = job->operations;
    job->operations = members;
    return true;
}

static bool end(struct psd_coordinator *c, struct coord_job *job)
{
    uint64_t clock = job->recovery->clock, epochs = job->recovery->epochs;
    bool     anew = job->recovery->choice.n_parts == 0;

    coord_recovery_cancel(job);
    if (!put_members_first(job))
        return fail(c, job, PS_ERR_NO_MEMORY);
    coord_members_went_back(c, job, clock, epochs);
    job->idle_ns = c->now_ns;
    ps_log(PS_LOG_WARN, "job %s: %s clock %ju on %u shard%s", job->spec.name,
           anew ? "no snapshot can be read, begins anew at" : "goes on from",
           (uintmax_t)clock, job->n_shards, job->n_shards == 1 ? "" : "s");
    return true;
}

/* A set that cannot be read, whatever the disk calls it. */
static bool is_unreadable(ps_status status)
{
    return status == PS_ERR_DATA || status == PS_ERR_SYSTEM || status == PS_ERR_UNKNOWN;
}

static bool conclude(struct psd_coordinator *c, struct coord_job *job,
                     struct coord_operation *step)
{
    struct coord_recovery *r = job->recovery;

    if (step->kind == PS_MSG_LOAD && is_unreadable(step->status) &&
        r->choice.n_parts > 0) {
        coord_choice_failed(job, step);
        coord_recovery_begin(c, job, step->why);
        return true;
    }
    if (step->status && step->kind != PS_MSG_SNAPSHOT) {
        coord_job_end(c, job, COORD_FAILED, step->status, step->why);
        return true;
    }
    if (step->kind == PS_MSG_LOAD) {
        r->clock = step->clock_low;
        r->epochs = step->epochs_low;
    }
    return r->steps ? true : end(c, job);
}

static bool load(struct psd_coordinator *c, struct coord_job *job)
{
    struct coord_operation *step = job->recovery->steps;
    bool                    moved;

    if (!step->started && !start_step(c, job, step))
        return true;
    if (step->n_owed > 0)
        return false;
    job->recovery->steps = step->next;
    moved = conclude(c, job, step);
    coord_operation_free(&step);
    return moved;
}

/* A psd has come while the others were asked: what it can read counts, too. */
static bool ask_again(struct coord_recovery *r)
{
    free_steps(r);
    r->stage = COORD_GATHERING;
    return true;
}

/* ---- driving --------------------------------------------------------------------- */

bool coord_recovery_step(struct psd_coordinator *c, struct coord_job *job)
{
    struct coord_recovery *r = job->recovery;

    switch (r->stage) {
    case COORD_GATHERING: return may_ask(c, r) && ask(c, job);
    case COORD_ASKING:
        if (r->asked_arrivals != c->arrivals)
            return ask_again(r);
        return r->steps->n_owed == 0 && decide(c, job);
    case COORD_LOADING: return load(c, job);
    }
    return false;
}

void coord_recovery_tick(struct psd_coordinator *c, struct coord_job *job)
{
    struct coord_recovery     *r = job->recovery;
    const struct coord_server *server = missing(c, job);
    char                       why[PS_TEXT_BYTES];

    if (r->stage != COORD_GATHERING ||
        c->now_ns - r->since_ns < PATIENCE * c->options.recovery_wait_ns)
        return;
    if (server)
        snprintf(why, sizeof(why),
                 "job %s: the psd on %s (pid %ju) has not come again for %ju s, and "
                 "without it no snapshot can be read",
                 job->spec.name, server->host, (uintmax_t)server->pid,
                 (uintmax_t)((c->now_ns - r->since_ns) / COORD_SECOND_NS));
    else
        snprintf(why, sizeof(why),
                 "job %s: %u shards are there that can read snapshots, it had %u",
                 job->spec.name, n_up(c), r->wanted);
    coord_job_end(c, job, COORD_FAILED, PS_ERR_UNAVAILABLE, why);
}

void coord_recovery_shard_lost(struct psd_coordinator *c, struct coord_job *job,
                               uint32_t shard, const char *why)
{
    struct coord_recovery *r = job->recovery;

    if (r->stage == COORD_LOADING && is_chosen(job, shard))
        coord_recovery_begin(c, job, why);
    else if (r->steps)
        coord_operation_excuse(r->steps, shard);
}
