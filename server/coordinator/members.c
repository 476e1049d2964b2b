/* members.c - the workers and observers of a job: staying, going, and who is told. */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHO_BYTES 32u

struct ps_member coord_member_view(const struct coord_job    *job,
                                   const struct coord_member *m, bool for_shards)
{
    struct ps_member view = {
        .rank = m->rank,
        .incarnation = m->incarnation,
        .state = m->state,
        .session = for_shards ? m->session : 0,
        .clock = for_shards ? m->start : 0,
        .epochs = for_shards ? m->epochs : 0,
    };

    /* With on_loss: wait the others go on waiting for it, and it may come back. */
    if (for_shards && m->state == PS_MEMBER_LOST && !coord_job_over(job) &&
        job->spec.on_loss == PS_LOSS_WAIT)
        view.state = PS_MEMBER_ACTIVE;
    return view;
}

static struct coord_member *find_session(struct coord_job *job, uint32_t rank,
                                         uint64_t session)
{
    if (session == 0)
        return NULL;
    if (rank < job->spec.workers)
        return job->members[rank].session == session ? &job->members[rank] : NULL;
    for (uint32_t i = 0; i < job->n_observers; i++)
        if (job->observers[i].session == session)
            return &job->observers[i];
    return NULL;
}

/* ---- what the shards are told ------------------------------------------------ */

bool coord_members_untold(const struct coord_job *job)
{
    for (uint32_t r = 0; r < job->spec.workers; r++)
        if (job->members[r].untold)
            return true;
    for (uint32_t i = 0; i < job->n_observers; i++)
        if (job->observers[i].untold)
            return true;
    return false;
}

/* All workers where they fit a message; of a larger job, those that have changed.  The
 * observers are those that are there. */
ps_status coord_members_compose(struct psd_coordinator *c, struct coord_job *job,
                                struct coord_operation *operation)
{
    struct ps_member list[COORD_MEMBERS_PIECE + COORD_OBSERVERS_MAX];
    bool             whole = job->spec.workers <= COORD_MEMBERS_PIECE;
    struct ps_header h = {
        .membership_epoch = ++job->membership_epoch,
        .members = list,
    };
    uint32_t  n_workers;
    ps_status st;

    for (uint32_t r = 0; r < job->spec.workers && h.n_members < COORD_MEMBERS_PIECE;
         r++) {
        if (!whole && !job->members[r].untold)
            continue;
        list[h.n_members++] = coord_member_view(job, &job->members[r], true);
    }
    n_workers = h.n_members;
    for (uint32_t i = 0; i < job->n_observers; i++)
        if (job->observers[i].state == PS_MEMBER_ACTIVE)
            list[h.n_members++] = coord_member_view(job, &job->observers[i], true);
    st = coord_job_call(c, job, operation, &h);
    if (st)
        return st;
    for (uint32_t i = 0; i < n_workers; i++)
        job->members[list[i].rank].untold = false;
    for (uint32_t i = 0; i < job->n_observers; i++)
        job->observers[i].untold = false;
    return PS_OK;
}

static void forget_observers(struct coord_job *job)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < job->n_observers; i++)
        if (job->observers[i].state == PS_MEMBER_ACTIVE || job->observers[i].untold)
            job->observers[kept++] = job->observers[i];
    job->n_observers = kept;
}

static void welcome(struct psd_coordinator *c, const struct coord_job *job,
                    const struct coord_member *m, const struct coord_asker *asker)
{
    const char      *endpoints[PS_SHARDS_MAX];
    struct ps_header h = {
        .kind = PS_MSG_WELCOME,
        .job = job->number,
        .session = m->session,
        .rank = m->rank,
        .incarnation = m->incarnation,
        .server_epoch = job->epoch,
        .membership_epoch = job->membership_epoch,
        .map_epoch = job->map_epoch,
        .n_shards = job->n_shards,
        .job_spec = &job->spec,
        .clock = m->start,
        .version = job->life,
        .n_endpoints = job->n_shards,
        .endpoints = endpoints,
    };

    for (uint32_t i = 0; i < job->n_shards; i++)
        endpoints[i] = c->shards[job->shards[i]].endpoint;
    coord_answer(c, asker, &h, NULL, 0);
}

static void answer(struct psd_coordinator *c, const struct coord_job *job,
                   const struct coord_member *m, const struct coord_asker *asker)
{
    if (asker->kind == PS_MSG_BYE)
        coord_answer_ok(c, asker);
    else if (m && m->state == PS_MEMBER_ACTIVE)
        welcome(c, job, m, asker);
    else
        coord_answer_error(c, asker, PS_ERR_RANK,
                           "the worker was lost before it was welcome");
}

/* Answers when the shards know the member's state. */
ps_status coord_answer_when_told(struct psd_coordinator *c, struct coord_job *job,
                                 const struct coord_member *m,
                                 const struct coord_asker  *asker)
{
    struct coord_operation *operation = job->operations;
    ps_status               st = PS_OK;

    if (m && m->untold) {
        operation = coord_job_queued(job, PS_MSG_MEMBERS);
        if (!operation)
            st = coord_job_queue(job, PS_MSG_MEMBERS, &operation);
    } else if (operation &&
               !(operation->started && operation->kind == PS_MSG_MEMBERS)) {
        operation = NULL;
    }
    if (st)
        return st;
    if (operation)
        return coord_operation_ask(operation, asker);
    answer(c, job, m, asker);
    return PS_OK;
}

/*
 * Every shard waits for the newcomers now, so its clock does not pass theirs any more.
 * They begin at the clock of the furthest shard, and after the epoch that has ended on
 * any.  Where the shards differ, the others are told to expect nothing of them before
 * that.
 */
static void settle_start(struct coord_job *job, const struct coord_operation *operation)
{
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        struct coord_member *m = &job->members[r];

        if (!m->begins || m->untold)
            continue;
        m->begins = false;
        if (m->state != PS_MEMBER_ACTIVE)
            continue;
        m->start = m->clock = operation->clock_high;
        m->epochs = operation->epochs_high;
        m->untold = operation->clock_low != operation->clock_high ||
                    operation->epochs_low != operation->epochs_high;
    }
}

/*
 * Has one come again of whom some shards have an iteration that is closed there, and
 * others nothing?  Under bsp with on_loss: wait the others would close it without its
 * gradient; where the job can go back, it does, and the model stays what it would be.
 */
static const struct coord_member *torn(const struct coord_job       *job,
                                       const struct coord_operation *operation)
{
    if (!ps_job_is_saved(&job->spec) || job->spec.strategy != PS_BSP ||
        job->spec.on_loss != PS_LOSS_WAIT || coord_job_over(job) || job->dropping ||
        operation->clock_low == operation->clock_high)
        return NULL;
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        const struct coord_member *m = &job->members[r];

        if (m->begins && !m->untold && m->state == PS_MEMBER_ACTIVE &&
            m->incarnation > 1)
            return m;
    }
    return NULL;
}

static void mend(struct psd_coordinator *c, struct coord_job *job,
                 const struct coord_operation *operation)
{
    const struct coord_member *m = torn(job, operation);
    char                       why[PS_TEXT_BYTES];

    if (!m)
        return;
    snprintf(why, sizeof(why),
             "worker %u of job %s was lost in the middle of iteration %ju and has come "
             "again",
             m->rank, job->spec.name, (uintmax_t)operation->clock_high);
    coord_recovery_begin(c, job, why);
}

void coord_members_told(struct psd_coordinator *c, struct coord_job *job,
                        const struct coord_operation *operation)
{
    mend(c, job, operation);
    settle_start(job, operation);
    for (uint32_t i = 0; i < operation->n_askers; i++) {
        const struct coord_asker  *asker = &operation->askers[i];
        const struct coord_member *m = find_session(job, asker->rank, asker->session);
        ps_status                  st;

        if (!m || !m->untold) {
            answer(c, job, m, asker);
            continue;
        }
        st = coord_answer_when_told(c, job, m, asker); /* it has changed again */
        if (st)
            coord_answer_error(c, asker, st, ps_log_last_error());
    }
    forget_observers(job);
    job->changed = true;
}

static void notice(struct psd_coordinator *c, const struct coord_job *job,
                   const struct coord_member *m, ps_status status, const char *why)
{
    struct ps_header h = {
        .kind = PS_MSG_NOTICE,
        .status = status,
        .server_epoch = job->epoch,
        .version = job->life,
        .text = why,
    };

    if (m->state == PS_MEMBER_ACTIVE && m->route.bytes > 0)
        coord_send(c, &m->route, &h);
}

void coord_members_notice(struct psd_coordinator *c, const struct coord_job *job,
                          ps_status status, const char *why)
{
    for (uint32_t r = 0; r < job->spec.workers; r++)
        notice(c, job, &job->members[r], status, why);
    for (uint32_t i = 0; i < job->n_observers; i++)
        notice(c, job, &job->observers[i], status, why);
}

/* One that was never welcome learns where it begins as others do. */
static void went_back(struct psd_coordinator *c, struct coord_member *m, uint64_t clock,
                      uint64_t epochs)
{
    m->heard_ns = c->now_ns; /* its silence counts from now on */
    m->untold = true;
    if (m->clock > clock)
        m->clock = clock;
    if (m->start > clock)
        m->start = clock;
    if (m->epochs > epochs)
        m->epochs = epochs;
}

void coord_members_went_back(struct psd_coordinator *c, struct coord_job *job,
                             uint64_t clock, uint64_t epochs)
{
    for (uint32_t r = 0; r < job->spec.workers; r++)
        went_back(c, &job->members[r], clock, epochs);
    for (uint32_t i = 0; i < job->n_observers; i++)
        went_back(c, &job->observers[i], clock, epochs);
    job->changed = true;
}

/* ---- staying ----------------------------------------------------------------- */

static void heard(struct psd_coordinator *c, struct coord_job *job,
                  struct coord_member *m, const struct coord_request *r)
{
    m->heard_ns = c->now_ns;
    m->route = r->asker.route;
    /* One that has not heard of a rollback is not where it thinks. */
    if (m->rank != COORD_OBSERVER_RANK && r->h->server_epoch == job->epoch &&
        r->h->clock > m->clock)
        m->clock = r->h->clock;
    if (r->h->traffic)
        m->traffic = *r->h->traffic;
    if (m->state == PS_MEMBER_LOST && m->silent && !coord_job_over(job)) {
        m->state = PS_MEMBER_ACTIVE;
        m->silent = false;
        job->changed = true;
        ps_log(PS_LOG_INFO, "worker %u of job %s: is back", m->rank, job->spec.name);
    }
}

/* As sentences call it. */
static const char *name_of(uint32_t rank, char text[WHO_BYTES])
{
    if (rank == COORD_OBSERVER_RANK)
        return "an observer";
    snprintf(text, WHO_BYTES, "worker %u", rank);
    return text;
}

ps_status coord_member_find(struct psd_coordinator *c, const struct coord_request *r,
                            struct coord_job **job, struct coord_member **member)
{
    const struct ps_header *h = r->h;
    char                    text[WHO_BYTES];

    *job = coord_job_at(c, h->job);
    if (!*job)
        return ps_fail(PS_ERR_UNKNOWN, "job %u: not known here", h->job);
    *member = find_session(*job, h->rank, h->session);
    if (!*member) {
        c->denied++;
        return ps_fail(PS_ERR_DENIED, "job %s: wrong session for %s", (*job)->spec.name,
                       name_of(h->rank, text));
    }
    heard(c, *job, *member, r);
    return PS_OK;
}

ps_status coord_member_check(const struct coord_job *job, const struct coord_member *m)
{
    char text[WHO_BYTES];

    if (job->status)
        return ps_fail(job->status, "%s", job->why);
    if (m->state == PS_MEMBER_ACTIVE)
        return PS_OK;
    return ps_fail(PS_ERR_RANK, "%s of job %s %s", name_of(m->rank, text),
                   job->spec.name,
                   m->state == PS_MEMBER_LEFT ? "has left the job"
                                              : "was silent for too long and counts "
                                                "as lost");
}

ps_status coord_beat(struct psd_coordinator *c, const struct coord_request *r)
{
    struct ps_header     ok = { .kind = PS_MSG_OK };
    struct coord_job    *job;
    struct coord_member *m;
    ps_status            st;

    if (r->h->job == 0)
        return coord_server_beat(c, r);
    st = coord_member_find(c, r, &job, &m);
    /* A beat that crossed the goodbye is nothing to complain about. */
    if (!st && m->state != PS_MEMBER_LEFT)
        st = coord_member_check(job, m);
    if (st)
        return st;
    ok.job = job->number;
    ok.server_epoch = job->epoch; /* by which it learns of a rollback */
    coord_answer(c, &r->asker, &ok, NULL, 0);
    return PS_OK;
}

/* ---- going ------------------------------------------------------------------- */

void coord_member_lose(struct psd_coordinator *c, struct coord_job *job,
                       struct coord_member *m, const char *fact)
{
    char why[PS_TEXT_BYTES];

    snprintf(why, sizeof(why), "worker %u of job %s on %s (pid %ju) %.600s", m->rank,
             job->spec.name, m->host, (uintmax_t)m->pid, fact);
    ps_log(PS_LOG_WARN, "%s", why);
    m->state = PS_MEMBER_LOST;
    job->changed = true;
    if (job->spec.on_loss == PS_LOSS_ABORT && !coord_job_over(job))
        coord_job_end(c, job, COORD_ABORTED, PS_ERR_ABORTED, why);
    else if (job->spec.on_loss != PS_LOSS_WAIT)
        m->untold = true;
}

static void leave(struct psd_coordinator *c, struct coord_job *job,
                  struct coord_member *m, const char *reason)
{
    char fact[PS_TEXT_BYTES];

    if (m->state != PS_MEMBER_ACTIVE)
        return; /* it has said so before, or nobody waits for it any more */
    if (reason[0] != '\0' && m->rank != COORD_OBSERVER_RANK) {
        snprintf(fact, sizeof(fact), "left: %.500s", reason);
        coord_member_lose(c, job, m, fact);
        return;
    }
    m->state = PS_MEMBER_LEFT;
    m->untold = true;
    job->changed = true;
    if (m->rank != COORD_OBSERVER_RANK)
        ps_log(PS_LOG_INFO, "worker %u of job %s: left at clock %ju", m->rank,
               job->spec.name, (uintmax_t)m->clock);
}

void coord_member_go(struct psd_coordinator *c, struct coord_job *job,
                     const struct coord_asker *asker)
{
    struct coord_member *m = find_session(job, asker->rank, asker->session);
    ps_status            st;

    if (m)
        leave(c, job, m, "");
    st = coord_answer_when_told(c, job, m, asker);
    if (st)
        coord_answer_error(c, asker, st, ps_log_last_error());
}

/* Is there something of it that a snapshot should have before it goes? */
static bool is_through(const struct coord_job *job, const struct coord_member *m,
                       const char *reason)
{
    return reason[0] == '\0' && m->state == PS_MEMBER_ACTIVE &&
           m->rank != COORD_OBSERVER_RANK && ps_job_is_saved(&job->spec) &&
           job->created && !job->recovery && !coord_job_over(job);
}

ps_status coord_bye(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_asker   asker = r->asker;
    struct coord_job    *job = coord_job_at(c, r->h->job);
    struct coord_member *m;
    ps_status            st;

    /* An observer that has gone, or a job that has, is what the goodbye wants. */
    if (!job || (r->h->rank == COORD_OBSERVER_RANK &&
                 !find_session(job, r->h->rank, r->h->session))) {
        coord_answer_ok(c, &asker);
        return PS_OK;
    }
    st = coord_member_find(c, r, &job, &m);
    if (st)
        return st;
    /* It does not know yet that iterations of it are gone. */
    if (r->h->text[0] == '\0' && r->h->server_epoch != job->epoch &&
        m->rank != COORD_OBSERVER_RANK && m->state == PS_MEMBER_ACTIVE &&
        !coord_job_over(job))
        return ps_fail(PS_ERR_ROLLBACK,
                       "job %s: it went back to an earlier clock, so worker %u is not "
                       "through",
                       job->spec.name, m->rank);
    asker.rank = m->rank;
    asker.session = m->session;
    if (is_through(job, m, r->h->text))
        return coord_checkpoint_farewell(c, job, &asker, r->h->clock);
    leave(c, job, m, r->h->text);
    return coord_answer_when_told(c, job, m, &asker);
}

static void tick_member(struct psd_coordinator *c, struct coord_job *job,
                        struct coord_member *m)
{
    uint64_t silence_ns = c->options.worker_silence_ns;
    char     fact[64];

    if (m->state != PS_MEMBER_ACTIVE || c->now_ns - m->heard_ns < silence_ns)
        return;
    if (m->rank == COORD_OBSERVER_RANK) {
        m->state = PS_MEMBER_LOST;
        m->untold = job->changed = true;
        return;
    }
    snprintf(fact, sizeof(fact), "was silent for %g s",
             (double)silence_ns / (double)COORD_SECOND_NS);
    m->silent = job->spec.on_loss == PS_LOSS_WAIT;
    coord_member_lose(c, job, m, fact);
}

void coord_members_tick(struct psd_coordinator *c, struct coord_job *job)
{
    for (uint32_t r = 0; r < job->spec.workers; r++)
        tick_member(c, job, &job->members[r]);
    for (uint32_t i = 0; i < job->n_observers; i++)
        tick_member(c, job, &job->observers[i]);
}
