/* jobs.c - the life of a job, and the queue of what its shards have to know. */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A job that waits for workers while nobody is active ends after so many silences. */
#define IDLE_SILENCES 10u

struct coord_job *coord_job_find(struct psd_coordinator *c, const char *name)
{
    for (size_t i = 0; i < c->n_jobs; i++)
        if (!c->jobs[i]->dropping && !strcmp(c->jobs[i]->spec.name, name))
            return c->jobs[i];
    return NULL;
}

struct coord_job *coord_job_at(struct psd_coordinator *c, uint32_t number)
{
    for (size_t i = 0; i < c->n_jobs; i++)
        if (!c->jobs[i]->dropping && c->jobs[i]->number == number)
            return c->jobs[i];
    return NULL;
}

const char *coord_job_word(const struct coord_job *job)
{
    switch (job->state) {
    case COORD_WAITING: return "waiting";
    case COORD_RUNNING: return "running";
    case COORD_RECOVERING: return "recovering";
    case COORD_FINISHED: return "finished";
    case COORD_ABORTED: return "aborted";
    case COORD_FAILED: return "failed";
    }
    return "unknown";
}

uint64_t coord_job_clock(const struct coord_job *job)
{
    uint64_t slowest = UINT64_MAX, fastest = 0;

    for (uint32_t r = 0; r < job->spec.workers; r++) {
        const struct coord_member *m = &job->members[r];

        if (m->state == PS_MEMBER_ACTIVE && !m->begins && m->clock < slowest)
            slowest = m->clock;
        if (m->clock > fastest)
            fastest = m->clock;
    }
    return slowest != UINT64_MAX ? slowest : fastest;
}

/* ---- the queue --------------------------------------------------------------- */

ps_status coord_job_queue(struct coord_job *job, uint32_t kind,
                          struct coord_operation **out)
{
    struct coord_operation **last = &job->operations;
    ps_status                st = coord_operation_new(out, kind);

    if (st)
        return st;
    while (*last)
        last = &(*last)->next;
    *last = *out;
    return PS_OK;
}

struct coord_operation *coord_job_queued(const struct coord_job *job, uint32_t kind)
{
    struct coord_operation *operation = job->operations;

    while (operation && (operation->started || operation->kind != kind))
        operation = operation->next;
    return operation;
}

struct coord_operation *coord_job_under_way(const struct coord_job *job)
{
    return job->recovery ? job->recovery->steps : job->operations;
}

/* What is under way may be forgotten: a shard gets its messages in order, and what is
 * forgotten is not sent again. */
static void refuse_queue(struct psd_coordinator *c, struct coord_job *job,
                         ps_status status, const char *why)
{
    while (job->operations) {
        struct coord_operation *operation = job->operations;

        job->operations = operation->next;
        if (operation->kind == PS_MSG_MATRIX_ADD)
            coord_matrix_undo(job, operation);
        coord_operation_refuse(c, operation, status, why);
        coord_operation_free(&operation);
    }
}

ps_status coord_job_call(struct psd_coordinator *c, const struct coord_job *job,
                         struct coord_operation *operation, struct ps_header *h)
{
    h->job = job->number;
    h->server_epoch = job->epoch;
    for (uint32_t i = 0; i < job->n_shards; i++) {
        ps_status st;

        if (c->shards[job->shards[i]].lost)
            continue;
        h->index = operation->kind == PS_MSG_JOB ? i : 0;
        st = coord_operation_call(c, operation, job->shards[i], h);
        if (st)
            return st;
    }
    return PS_OK;
}

static ps_status compose_job(struct psd_coordinator *c, struct coord_job *job,
                             struct coord_operation *operation)
{
    struct ps_member expected[COORD_MEMBERS_PIECE];
    struct ps_header h = {
        .run = job->run,
        .after = job->life,
        .n_shards = job->n_shards,
        .job_spec = &job->spec,
        .members = expected,
    };

    for (uint32_t r = 0; r < job->spec.workers && r < COORD_MEMBERS_PIECE; r++)
        expected[h.n_members++] =
            (struct ps_member){ .rank = r, .state = PS_MEMBER_EXPECTED };
    return coord_job_call(c, job, operation, &h);
}

/* One that went back may have left an earlier life of it on any shard. */
static ps_status compose_end(struct psd_coordinator *c, const struct coord_job *job,
                             struct coord_operation *operation)
{
    struct ps_header h = {
        .job = job->number,
        .server_epoch = job->epoch,
        .after = job->life,
    };
    ps_status st = PS_OK;

    if (job->life == 1)
        return coord_job_call(c, job, operation, &h);
    for (uint32_t i = 0; i < c->n_shards && !st; i++)
        if (!c->shards[i].lost)
            st = coord_operation_call(c, operation, i, &h);
    return st;
}

ps_status coord_job_compose(struct psd_coordinator *c, struct coord_job *job,
                            struct coord_operation *operation)
{
    switch (operation->kind) {
    case PS_MSG_JOB: return compose_job(c, job, operation);
    case PS_MSG_MEMBERS: return coord_members_compose(c, job, operation);
    case PS_MSG_MATRIX_ADD: return coord_matrix_compose(c, job, operation);
    default: return compose_end(c, job, operation);
    }
}

static void start(struct psd_coordinator *c, struct coord_job *job,
                  struct coord_operation *operation)
{
    ps_status st = coord_job_compose(c, job, operation);

    if (!st) {
        coord_operation_send(c, operation);
        return;
    }
    coord_operation_forget(operation); /* nothing was sent */
    /* Who asked for a matrix may ask again; all else the job depends on, so it waits
     * for memory. */
    if (st != PS_ERR_NO_MEMORY || operation->kind == PS_MSG_MATRIX_ADD)
        coord_operation_spoil(operation, st, ps_log_last_error());
}

static void conclude(struct psd_coordinator *c, struct coord_job *job,
                     struct coord_operation *operation)
{
    if (operation->kind == PS_MSG_JOB_END) {
        job->gone = true;
    } else if (!operation->status) {
        if (operation->kind == PS_MSG_JOB)
            job->created = true;
        else if (operation->kind == PS_MSG_MEMBERS)
            coord_members_told(c, job, operation);
        else
            coord_matrix_added(c, job, operation);
    } else {
        coord_operation_refuse(c, operation, operation->status, operation->why);
        if (operation->kind == PS_MSG_MATRIX_ADD)
            coord_matrix_undo(job, operation);
        else if (!coord_job_over(job))
            coord_job_end(c, job, COORD_FAILED, operation->status, operation->why);
    }
}

/* True if something has moved. */
static bool step(struct psd_coordinator *c, struct coord_job *job)
{
    struct coord_operation *operation;

    if (job->recovery || job->changed || job->operations)
        c->touched = true;
    if (job->recovery)
        return coord_recovery_step(c, job);
    if (job->changed)
        coord_job_look(c, job);
    operation = job->operations;
    if (!operation)
        return false;
    if (!operation->started && !operation->status)
        start(c, job, operation);
    if (operation->n_owed > 0)
        return false;
    if (!operation->started && !operation->status)
        return false; /* no memory: it is tried again at the next message or tick */
    job->operations = operation->next;
    conclude(c, job, operation);
    coord_operation_free(&operation);
    return true;
}

/* ---- life -------------------------------------------------------------------- */

static struct coord_job *oldest_over(struct psd_coordinator *c, size_t *n_over,
                                     size_t *n_kept)
{
    struct coord_job *oldest = NULL;

    *n_over = *n_kept = 0;
    for (size_t i = 0; i < c->n_jobs; i++) {
        struct coord_job *job = c->jobs[i];

        if (job->dropping)
            continue;
        ++*n_kept;
        if (!coord_job_over(job))
            continue;
        ++*n_over;
        if (!oldest || job->over_order < oldest->over_order)
            oldest = job;
    }
    return oldest;
}

static void drop_oldest(struct psd_coordinator *c, struct coord_job *job)
{
    char why[PS_TEXT_BYTES];

    snprintf(why, sizeof(why), "job %s: over, and no longer kept", job->spec.name);
    coord_job_drop(c, job, PS_ERR_UNKNOWN, why);
}

static ps_status grow_table(struct psd_coordinator *c, const char *name)
{
    size_t             room = c->jobs_room ? 2 * c->jobs_room : 8;
    struct coord_job **grown;

    if (c->n_jobs < c->jobs_room)
        return PS_OK;
    grown = realloc(c->jobs, room * sizeof(struct coord_job *));
    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for %zu jobs", name, room);
    c->jobs = grown;
    c->jobs_room = room;
    return PS_OK;
}

static ps_status make_room(struct psd_coordinator *c, const char *name)
{
    size_t            n_over, n_kept;
    struct coord_job *oldest = oldest_over(c, &n_over, &n_kept);

    if (n_kept >= c->options.max_jobs) {
        if (!oldest)
            return ps_fail(PS_ERR_LIMIT,
                           "job %s: %zu jobs are running already, at most %u may", name,
                           n_kept, c->options.max_jobs);
        drop_oldest(c, oldest);
    }
    return grow_table(c, name);
}

ps_status coord_job_restored(struct psd_coordinator *c)
{
    struct coord_job *job = calloc(1, sizeof(*job));

    if (!job || grow_table(c, "restored")) {
        free(job);
        return PS_ERR_NO_MEMORY;
    }
    c->jobs[c->n_jobs++] = job;
    return PS_OK;
}

static ps_status take_shards(struct psd_coordinator *c, struct coord_job *job)
{
    for (uint32_t i = 0; i < c->n_shards; i++)
        if (!c->shards[i].lost)
            job->shards[job->n_shards++] = i;
    if (c->n_shards == 0)
        return ps_fail(PS_ERR_UNAVAILABLE,
                       "job %s: no psd with shards has joined the coordinator yet",
                       job->spec.name);
    if (job->n_shards == 0)
        return ps_fail(PS_ERR_UNAVAILABLE, "job %s: none of the %u shards is up",
                       job->spec.name, c->n_shards);
    return PS_OK;
}

static ps_status job_fill(struct psd_coordinator *c, struct coord_job *job)
{
    struct coord_operation *operation;

    job->members = calloc(job->spec.workers, sizeof(*job->members));
    job->observers = calloc(COORD_OBSERVERS_MAX, sizeof(*job->observers));
    if (!job->members || !job->observers)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for %u workers",
                       job->spec.name, job->spec.workers);
    for (uint32_t r = 0; r < job->spec.workers; r++)
        job->members[r] = (struct coord_member){
            .rank = r,
            .state = PS_MEMBER_EXPECTED,
        };
    if (take_shards(c, job))
        return PS_ERR_UNAVAILABLE;
    if (coord_saved_begin(job))
        return PS_ERR_NO_MEMORY;
    return coord_job_queue(job, PS_MSG_JOB, &operation);
}

ps_status coord_job_new(struct psd_coordinator *c, const struct ps_job_spec *spec,
                        struct coord_job **out)
{
    ps_status         st = make_room(c, spec->name);
    struct coord_job *job;

    if (st)
        return st;
    job = calloc(1, sizeof(*job));
    if (!job)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory", spec->name);
    job->spec = *spec;
    job->state = COORD_WAITING;
    job->map_epoch = 1;
    job->created_ns = c->real_ns;
    job->idle_ns = c->now_ns;
    st = job_fill(c, job);
    if (st) {
        coord_job_free(&job);
        return st;
    }
    job->number = ++c->last_job;
    job->run = coord_secret(c);
    job->life = 1;
    job->epoch = coord_secret(c);
    c->jobs[c->n_jobs++] = job;
    ps_log(PS_LOG_INFO, "job %s: created for %u workers, %s, on %u shards", spec->name,
           spec->workers, ps_strategy_name(spec->strategy), job->n_shards);
    *out = job;
    return PS_OK;
}

void coord_job_free(struct coord_job **job)
{
    struct coord_job *gone = *job;

    *job = NULL;
    coord_recovery_cancel(gone);
    coord_operation_free(&gone->checkpoint);
    while (gone->operations) {
        struct coord_operation *operation = gone->operations;

        gone->operations = operation->next;
        coord_operation_free(&operation);
    }
    for (uint32_t i = 0; i < gone->n_matrices; i++)
        coord_matrix_free(&gone->matrices[i]);
    free(gone->matrices);
    free(gone->saved);
    coord_reports_free(&gone->reports);
    free(gone->observers);
    free(gone->members);
    free(gone);
}

static void over(struct psd_coordinator *c, struct coord_job *job,
                 enum coord_state state)
{
    job->state = state;
    job->over_order = ++c->last_over;
    job->n_active = 0;
    ps_log(PS_LOG_INFO, "job %s: %s at clock %ju%s%s", job->spec.name,
           coord_job_word(job), (uintmax_t)coord_job_clock(job),
           job->status ? ": " : "", job->why);
}

void coord_job_end(struct psd_coordinator *c, struct coord_job *job,
                   enum coord_state state, ps_status status, const char *why)
{
    job->status = status;
    snprintf(job->why, sizeof(job->why), "%s", why);
    coord_recovery_cancel(job);
    coord_checkpoint_end(c, job, status, job->why);
    refuse_queue(c, job, status, job->why);
    coord_members_notice(c, job, status, job->why);
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        struct coord_member *m = &job->members[r];

        if (m->state != PS_MEMBER_LEFT)
            m->state = PS_MEMBER_LOST;
        m->untold = true;
    }
    job->changed = true;
    over(c, job, state);
    if (!job->created) /* nobody has been told that it exists */
        coord_job_drop(c, job, status, job->why);
}

void coord_job_drop(struct psd_coordinator *c, struct coord_job *job, ps_status status,
                    const char *why)
{
    struct coord_operation *operation;

    job->dropping = true;
    coord_recovery_cancel(job);
    coord_checkpoint_end(c, job, status, why);
    refuse_queue(c, job, status, why);
    coord_members_notice(c, job, status, why);
    ps_log(PS_LOG_INFO, "job %s: dropped", job->spec.name);
    if (coord_job_queue(job, PS_MSG_JOB_END, &operation))
        job->gone = true; /* its shards keep what they have until they end */
}

void coord_job_look(struct psd_coordinator *c, struct coord_job *job)
{
    uint32_t                in[PS_MEMBER_LOST + 1] = { 0 };
    struct coord_operation *operation;

    job->changed = false;
    for (uint32_t r = 0; r < job->spec.workers; r++)
        in[job->members[r].state]++;
    if (!coord_job_over(job)) {
        uint32_t gone = in[PS_MEMBER_LEFT] + in[PS_MEMBER_LOST];
        bool     waits = job->spec.on_loss == PS_LOSS_WAIT && in[PS_MEMBER_LOST] > 0;

        if (job->n_active > 0 && in[PS_MEMBER_ACTIVE] == 0)
            job->idle_ns = c->now_ns;
        job->n_active = in[PS_MEMBER_ACTIVE];
        job->state = in[PS_MEMBER_EXPECTED] ? COORD_WAITING : COORD_RUNNING;
        /* One that left normally may have been quick: who is expected may yet come; and
         * so may one that is waited for. */
        if (job->n_active == 0 && gone > 0 && !waits &&
            (in[PS_MEMBER_EXPECTED] == 0 || in[PS_MEMBER_LOST] > 0))
            over(c, job, COORD_FINISHED);
    }
    if (!job->dropping && coord_members_untold(job) &&
        !coord_job_queued(job, PS_MSG_MEMBERS) &&
        coord_job_queue(job, PS_MSG_MEMBERS, &operation))
        return; /* the next change of members tries again */
}

void coord_job_shard_lost(struct psd_coordinator *c, struct coord_job *job,
                          uint32_t shard, const char *why)
{
    coord_checkpoint_shard_lost(job, shard, why);
    if (job->recovery) {
        coord_recovery_shard_lost(c, job, shard, why);
        return;
    }
    for (uint32_t i = 0; i < job->n_shards; i++) {
        if (job->shards[i] != shard)
            continue;
        if (!job->dropping && !coord_job_over(job) && job->created &&
            ps_job_is_saved(&job->spec))
            coord_recovery_begin(c, job, why);
        else if (!job->dropping && !coord_job_over(job))
            coord_job_end(c, job, COORD_FAILED, PS_ERR_UNAVAILABLE, why);
        else if (!job->dropping && !job->created)
            coord_job_drop(c, job, PS_ERR_UNAVAILABLE, why); /* it never was whole */
        else if (job->operations)
            coord_operation_excuse(job->operations, shard);
    }
}

void coord_job_shard_back(struct coord_job *job, uint32_t shard)
{
    for (uint32_t i = 0; i < job->n_shards; i++) {
        if (job->shards[i] != shard || job->dropping || job->status)
            continue;
        for (uint32_t r = 0; r < job->spec.workers; r++)
            job->members[r].untold = true;
        job->changed = true;
    }
}

void coord_job_tick(struct psd_coordinator *c, struct coord_job *job)
{
    uint64_t idle_ns = IDLE_SILENCES * c->options.worker_silence_ns;

    if (job->dropping)
        return;
    if (job->recovery) {
        coord_recovery_tick(c, job);
        return;
    }
    coord_checkpoint_tick(c, job);
    coord_members_tick(c, job);
    if (!coord_job_over(job) && !job->changed && job->n_active == 0 &&
        c->now_ns - job->idle_ns >= idle_ns)
        over(c, job, COORD_FINISHED);
}

/* ---- settling ---------------------------------------------------------------- */

static bool trim(struct psd_coordinator *c)
{
    size_t            n_over, n_kept;
    struct coord_job *oldest = oldest_over(c, &n_over, &n_kept);

    if (n_over <= c->options.keep_finished)
        return false;
    /* Those who took part are still to be told that it is over. */
    if (oldest->operations && oldest->operations->kind == PS_MSG_MEMBERS)
        return false;
    drop_oldest(c, oldest);
    return true;
}

static void sweep(struct psd_coordinator *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->n_jobs; i++)
        if (c->jobs[i]->gone)
            coord_job_free(&c->jobs[i]);
        else
            c->jobs[kept++] = c->jobs[i];
    c->n_jobs = kept;
}

void coord_settle(struct psd_coordinator *c)
{
    do
        for (size_t i = 0; i < c->n_jobs; i++) {
            while (!c->jobs[i]->gone && step(c, c->jobs[i]))
                ;
            coord_checkpoint_step(c, c->jobs[i]);
        }
    while (trim(c));
    sweep(c);
    if (c->stats && c->stats->n_owed == 0) {
        struct coord_operation *done = c->stats;

        c->stats = NULL;
        coord_stats_done(c, done);
        coord_operation_free(&done);
    }
}
