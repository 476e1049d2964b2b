/* job.c - see job.h. */
#include "server/shard/job.h"

#include "common/base/plant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MISSING_NAMED 8u /* missing workers that a sentence names */

ps_status psd_job_new(struct psd_job **out, const struct ps_header *h,
                      struct psd_scratch *scratch)
{
    struct psd_job *job = calloc(1, sizeof(*job));
    ps_status       st;

    if (!job || !(job->seats = calloc(h->job_spec->workers, sizeof(*job->seats)))) {
        free(job);
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for %u workers",
                       h->job_spec->name, h->job_spec->workers);
    }
    job->number = h->job;
    job->scratch = scratch;
    job->shard = h->index;
    job->n_shards = h->n_shards;
    job->server_epoch = h->server_epoch;
    job->run = h->run;
    job->life = h->after;
    job->spec = *h->job_spec;
    for (uint32_t r = 0; r < job->spec.workers; r++)
        job->seats[r].state = PS_MEMBER_EXPECTED;
    st = psd_gate_new(&job->gate, &job->spec);
    if (!st)
        st = psd_store_new(&job->store, job->shard, job->spec.seed);
    if (!st)
        st = psd_scale_new(&job->scale, &job->spec);
    if (st) {
        psd_job_free(&job);
        return st;
    }
    *out = job;
    return PS_OK;
}

bool psd_job_holds(const struct psd_job *job)
{
    return job->spec.strategy == PS_BSP || job->spec.strategy == PS_BACKUP;
}

void psd_seat_mark(struct psd_seat *seat, uint64_t seq, uint64_t version)
{
    psd_window_mark(&seat->window, seq, version);
    if (seat->n_parts == 0 && !seat->finished_open)
        seat->first_seq = seat->window.low; /* nothing of its iteration is here */
}

/* Lets go of the rows of the first n ranges. */
static void release_rows(struct psd_job *job, struct psd_held *held, uint32_t n)
{
    uint32_t *places = held->places;

    for (uint32_t i = 0; places && i < n; i++) {
        psd_store_release(psd_store_find(job->store, held->ranges[i].matrix), places,
                          held->ranges[i].count);
        places += held->ranges[i].count;
    }
}

static void free_lists(struct psd_held *held)
{
    if (held->lent)
        return;
    free(held->ranges);
    free(held->places);
}

static void *get_list(struct psd_job *job, const struct psd_held *held, size_t bytes)
{
    return held->lent ? psd_scratch_get(job->scratch, bytes) : malloc(bytes);
}

void psd_held_free(struct psd_job *job, struct psd_held *held)
{
    release_rows(job, held, held->n_ranges);
    free_lists(held);
    ps_buf_drop(&held->values);
    *held = (struct psd_held){ 0 };
}

/* Holds the rows of all ranges, or none. */
static ps_status hold_rows(struct psd_job *job, struct psd_held *held,
                           const uint64_t *keys)
{
    uint32_t *places = held->places;

    held->distinct = true;
    for (uint32_t i = 0; i < held->n_ranges; i++) {
        struct psd_matrix *m = psd_store_find(job->store, held->ranges[i].matrix);
        bool               distinct;
        ps_status          st =
            psd_store_hold_distinct(m, keys, held->ranges[i].count, places, &distinct);

        if (st) {
            release_rows(job, held, i);
            return st;
        }
        held->distinct = held->distinct && distinct;
        keys += held->ranges[i].count;
        places += held->ranges[i].count;
    }
    return PS_OK;
}

ps_status psd_held_new(struct psd_held *out, struct psd_job *job,
                       const struct ps_header *h, const uint64_t *keys,
                       struct ps_buf *values, bool lent)
{
    size_t    bytes = h->n_ranges * sizeof(*out->ranges), n_rows = 0;
    ps_status st = PS_OK;

    for (uint32_t i = 0; keys && i < h->n_ranges; i++)
        n_rows += h->ranges[i].count;
    *out = (struct psd_held){ .seq = h->seq, .n_ranges = h->n_ranges, .lent = lent };
    out->ranges = get_list(job, out, bytes);
    if (keys)
        out->places = get_list(job, out, n_rows * sizeof(*out->places));
    if (!out->ranges || (keys && !out->places)) {
        st = ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory to hold a push",
                     job->spec.name);
    } else {
        memcpy(out->ranges, h->ranges, bytes);
        if (keys)
            st = hold_rows(job, out, keys);
    }
    if (st) {
        free_lists(out);
        return st;
    }
    out->values = ps_buf_share(values);
    return PS_OK;
}

static void drop_held(struct psd_job *job, struct psd_seat *seat)
{
    for (uint32_t i = 0; i < seat->n_held; i++)
        psd_held_free(job, &seat->held[i]);
    seat->n_held = 0;
}

void psd_job_drop_held(struct psd_job *job)
{
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        struct psd_seat *seat = &job->seats[r];

        drop_held(job, seat);
        seat->n_parts = seat->parts = 0;
        seat->finished_open = false;
    }
}

void psd_job_free(struct psd_job **job)
{
    struct psd_job *gone = *job;

    *job = NULL;
    if (!gone)
        return;
    for (uint32_t r = 0; r < gone->spec.workers; r++) {
        drop_held(gone, &gone->seats[r]);
        free(gone->seats[r].held);
    }
    psd_waiting_free(&gone->waiting);
    free(gone->observers);
    free(gone->seats);
    free(gone->loading.parts);
    psd_saver_free(&gone->saver);
    psd_scale_free(&gone->scale);
    psd_store_free(&gone->store);
    psd_gate_free(&gone->gate);
    free(gone);
}

/* What a worker that is gone pushed into an iteration that it did not finish is
 * dropped; what it finished stays and counts. */
static void drop_unfinished(struct psd_job *job, struct psd_seat *seat)
{
    if (!seat->finished_open && !PSD_PLANTED(PLANT_KEPT_GRADIENT))
        drop_held(job, seat);
    seat->n_parts = seat->parts = 0;
    seat->rest_seq = 0;
}

static bool is_out(uint32_t state)
{
    return state == PS_MEMBER_LEFT || state == PS_MEMBER_LOST;
}

static void take_member(struct psd_job *job, const struct ps_member *m)
{
    struct psd_seat *seat = &job->seats[m->rank];
    bool             fresh = m->incarnation != seat->incarnation;
    bool             comes = m->state == PS_MEMBER_ACTIVE;

    if (fresh) {
        memset(&seat->window, 0, sizeof(seat->window));
        seat->first_seq = seat->again_clock = 0;
        seat->rested = false;
        seat->incarnation = m->incarnation;
        seat->heard = false;
        drop_unfinished(job, seat);
        psd_scale_leave(job->scale, m->rank);
    }
    seat->session = m->session;
    if (comes && (fresh || is_out(seat->state))) {
        psd_gate_join(job->gate, m->rank, m->clock);
    } else if (comes) {
        psd_gate_raise(job->gate, m->rank, m->clock);
        psd_gate_defer(job->gate, m->rank, m->epochs);
    } else if (is_out(m->state) && !is_out(seat->state)) {
        drop_unfinished(job, seat);
        psd_gate_leave(job->gate, m->rank);
        psd_scale_leave(job->scale, m->rank);
    }
    seat->state = m->state;
}

ps_status psd_job_members(struct psd_job *job, const struct ps_header *h)
{
    struct psd_observer *observers;
    size_t               n_observers = 0;

    if (h->membership_epoch <= job->membership_epoch)
        return PS_OK;
    for (uint32_t i = 0; i < h->n_members; i++) {
        if (h->members[i].rank == PSD_OBSERVER_RANK)
            n_observers++;
        else if (h->members[i].rank >= job->spec.workers)
            return ps_fail(PS_ERR_BAD_MESSAGE, "job %s: member of rank %u of %u",
                           job->spec.name, h->members[i].rank, job->spec.workers);
    }
    observers = calloc(n_observers + 1, sizeof(*observers));
    if (!observers)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for %zu observers",
                       job->spec.name, n_observers);

    free(job->observers);
    job->observers = observers;
    job->n_observers = 0;
    for (uint32_t i = 0; i < h->n_members; i++)
        if (h->members[i].rank != PSD_OBSERVER_RANK)
            take_member(job, &h->members[i]);
        else if (h->members[i].state == PS_MEMBER_ACTIVE)
            observers[job->n_observers++].session = h->members[i].session;
    job->membership_epoch = h->membership_epoch;
    return PS_OK;
}

static bool is_observer(const struct psd_job *job, uint64_t session)
{
    for (size_t i = 0; i < job->n_observers; i++)
        if (job->observers[i].session == session)
            return true;
    return false;
}

ps_status psd_job_seat(struct psd_job *job, const struct ps_header *h,
                       struct psd_seat **out)
{
    struct psd_seat *seat;

    *out = NULL;
    if (h->server_epoch != job->server_epoch)
        return ps_fail(PS_ERR_ROLLBACK, "job %s: it went back to an earlier clock",
                       job->spec.name);
    if (h->session != 0 && h->rank == PSD_OBSERVER_RANK && is_observer(job, h->session))
        return PS_OK;
    if (h->rank >= job->spec.workers)
        return ps_fail(PS_ERR_DENIED, "job %s: no worker %u", job->spec.name, h->rank);
    seat = &job->seats[h->rank];
    if (h->incarnation < seat->incarnation)
        return ps_fail(PS_ERR_STALE, "job %s: worker %u has been started again since",
                       job->spec.name, h->rank);
    if (seat->session == 0 || h->session != seat->session)
        return ps_fail(PS_ERR_DENIED, "job %s: wrong session for worker %u",
                       job->spec.name, h->rank);
    if (seat->state != PS_MEMBER_ACTIVE)
        return ps_fail(PS_ERR_RANK, "job %s: worker %u is no longer in the job",
                       job->spec.name, h->rank);
    *out = seat;
    return PS_OK;
}

/* "... waits for worker 1, worker 2 (not joined yet) and worker 4". */
static void say_waits(const struct psd_job *job, const char *what,
                      const uint32_t *ranks, uint32_t n, char *text, size_t bytes)
{
    size_t at = (size_t)snprintf(text, bytes, "job %s: %s waits for%s", job->spec.name,
                                 what, n ? "" : " what is under way");

    for (uint32_t i = 0; i < n && i < MISSING_NAMED && at < bytes; i++)
        at += (size_t)snprintf(text + at, bytes - at, "%s worker %u%s",
                               i == 0       ? ""
                               : i + 1 == n ? " and"
                                            : ",",
                               ranks[i],
                               job->seats[ranks[i]].state == PS_MEMBER_EXPECTED
                                   ? " (not joined yet)"
                                   : "");
    if (n > MISSING_NAMED && at < bytes)
        snprintf(text + at, bytes - at, " and %u more", n - MISSING_NAMED);
}

void psd_job_say_missing(const struct psd_job *job, char *text, size_t bytes)
{
    uint32_t ranks[MISSING_NAMED];
    uint32_t n = psd_gate_missing(job->gate, ranks, MISSING_NAMED);
    char     what[64];

    snprintf(what, sizeof(what), "iteration %ju",
             (uintmax_t)psd_gate_clock(job->gate) + 1);
    say_waits(job, what, ranks, n, text, bytes);
}

void psd_job_say_restless(const struct psd_job *job, char *text, size_t bytes)
{
    uint32_t ranks[MISSING_NAMED];
    uint32_t n = psd_gate_restless(job->gate, ranks, MISSING_NAMED);

    say_waits(job, "the end of the epoch", ranks, n, text, bytes);
}

void psd_job_rouse(struct psd_job *job, uint32_t rank, uint64_t seq)
{
    struct psd_seat *seat = &job->seats[rank];

    if (seat->rest_seq == seq) {
        psd_gate_rouse(job->gate, rank);
        seat->rest_seq = 0;
    }
    psd_seat_mark(seat, seq, PSD_WINDOW_ROUSED);
    job->stirs++;
}

void psd_job_wake(struct psd_job *job)
{
    uint64_t clock = psd_gate_wake(job->gate);

    for (uint32_t r = 0; r < job->spec.workers; r++) {
        struct psd_seat *seat = &job->seats[r];

        if (seat->rest_seq != 0)
            psd_seat_mark(seat, seat->rest_seq, clock);
        seat->rest_seq = 0;
    }
    job->stirs++;
}

struct ps_job_stats psd_job_account(const struct psd_job *job)
{
    struct psd_account  account = psd_store_account(job->store);
    struct ps_job_stats s = job->stats;
    uint64_t            scale = psd_scale_bytes(job->scale);

    s.job = job->number;
    s.clock = psd_gate_clock(job->gate);
    s.version = job->version;
    s.waiting = job->waiting.n;
    s.bytes = account.bytes;
    s.state_bytes = account.state_bytes + scale;
    s.allocated_bytes = account.allocated_bytes + scale;
    s.rows = account.rows;
    s.evicted = account.evicted;
    return s;
}
