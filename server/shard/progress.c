/* progress.c - see progress.h. */
#include "server/shard/progress.h"

#include "common/base/plant.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC UINT64_C(0x0001737365726770) /* "pgress", version 1 */

#define HEAD_WORDS (4u + PSD_PROGRESS_COUNTERS)
#define SEAT_WORDS (5u + PSD_WINDOW / 64)

enum { ACTIVE = 1, EARLY = 2, RESTED = 4, PARTIAL = 8, FLAGS = 15 };

/* Where each counter of the account stands. */
static const size_t counters[PSD_PROGRESS_COUNTERS] = {
    offsetof(struct ps_job_stats, pushes),
    offsetof(struct ps_job_stats, pulls),
    offsetof(struct ps_job_stats, repeated),
    offsetof(struct ps_job_stats, refused),
    offsetof(struct ps_job_stats, skipped),
    offsetof(struct ps_job_stats, late),
    offsetof(struct ps_job_stats, batches),
    offsetof(struct ps_job_stats, staleness_sum),
    offsetof(struct ps_job_stats, staleness_max), /* the last: a maximum, no sum */
};

static uint64_t *counter(struct ps_job_stats *stats, uint32_t i)
{
    return (uint64_t *)(void *)((char *)stats + counters[i]);
}

static uint64_t counter_of(const struct ps_job_stats *stats, uint32_t i)
{
    return *(const uint64_t *)(const void *)((const char *)stats + counters[i]);
}

static void put(struct ps_buf *b, uint64_t word)
{
    memcpy(b->data + b->len, &word, sizeof(word));
    b->len += sizeof(word);
}

static uint64_t take(const uint8_t **at)
{
    uint64_t word;

    memcpy(&word, *at, sizeof(word));
    *at += sizeof(word);
    return word;
}

/* ---- to bytes ------------------------------------------------------------------ */

static bool is_in_model(const struct psd_seat *seat, uint64_t seq)
{
    return psd_window_look(&seat->window, seq) == PSD_SEEN;
}

/* Held pushes are in no model. */
static bool has_part(const struct psd_job *job, const struct psd_seat *seat)
{
    return seat->n_parts > 0 && !psd_job_holds(job);
}

static void put_seat(struct ps_buf *b, const struct psd_job *job, uint32_t rank)
{
    const struct psd_seat *seat = &job->seats[rank];
    struct psd_gate_seat   gate = psd_gate_look(job->gate, rank);
    bool                   partial = has_part(job, seat) || seat->again_clock != 0;

    put(b, (gate.active ? ACTIVE : 0) | (gate.early ? EARLY : 0) |
               (gate.rested || seat->rested ? RESTED : 0) | (partial ? PARTIAL : 0) |
               (uint64_t)seat->state << 8);
    put(b, seat->incarnation);
    put(b, seat->session);
    put(b, gate.finished);
    put(b, seat->first_seq);
    for (uint64_t word = 0; word < PSD_WINDOW / 64; word++) {
        uint64_t bits = seat->again_clock ? seat->again[word] : 0;

        for (uint64_t i = 0; partial && i < 64; i++)
            if (has_part(job, seat) && !PSD_PLANTED(PLANT_PARTS_AGAIN) &&
                is_in_model(seat, seat->first_seq + 1 + 64 * word + i))
                bits |= UINT64_C(1) << i;
        put(b, bits);
    }
}

ps_status psd_progress_encode(const struct psd_job *job, struct ps_buf **out)
{
    struct ps_buf *b;
    ps_status      st =
        ps_buf_new(&b, 8 * (HEAD_WORDS + (size_t)SEAT_WORDS * job->spec.workers));

    if (st)
        return st;
    put(b, MAGIC);
    put(b, job->spec.workers);
    put(b, psd_gate_clock(job->gate));
    put(b, psd_gate_epochs(job->gate));
    for (uint32_t i = 0; i < PSD_PROGRESS_COUNTERS; i++)
        put(b, counter_of(&job->stats, i));
    for (uint32_t r = 0; r < job->spec.workers; r++)
        put_seat(b, job, r);
    *out = b;
    return PS_OK;
}

/* ---- from bytes ---------------------------------------------------------------- */

void psd_progress_free(struct psd_progress **progress)
{
    struct psd_progress *gone = *progress;

    *progress = NULL;
    if (!gone)
        return;
    free(gone->seats);
    free(gone);
}

static bool take_seat(const uint8_t **at, struct psd_progress_seat *seat)
{
    uint64_t flags = take(at), incarnation = take(at);

    seat->state = (uint32_t)(flags >> 8);
    seat->gate.active = flags & ACTIVE;
    seat->gate.early = flags & EARLY;
    seat->gate.rested = flags & RESTED;
    seat->partial = flags & PARTIAL;
    seat->incarnation = (uint32_t)incarnation;
    seat->session = take(at);
    seat->gate.finished = take(at);
    seat->first_seq = take(at);
    for (uint32_t i = 0; i < PSD_WINDOW / 64; i++)
        seat->parts[i] = take(at);
    return (flags & 0xff) <= FLAGS && flags >> 8 >= PS_MEMBER_EXPECTED &&
           flags >> 8 <= PS_MEMBER_LOST && incarnation <= UINT32_MAX;
}

static ps_status damaged(const struct ps_buf *bytes)
{
    return ps_fail(PS_ERR_DATA, "snapshot: %zu bytes that are no shard's progress",
                   bytes ? bytes->len : 0);
}

ps_status psd_progress_decode(struct psd_progress **out, const struct ps_buf *bytes,
                              uint32_t workers)
{
    struct psd_progress *p;
    const uint8_t       *at;
    bool                 good = true;

    if (!bytes || bytes->len != 8 * (HEAD_WORDS + (size_t)SEAT_WORDS * workers))
        return damaged(bytes);
    at = bytes->data;
    if (take(&at) != MAGIC || take(&at) != workers)
        return damaged(bytes);
    p = calloc(1, sizeof(*p));
    if (!p || !(p->seats = calloc(workers, sizeof(*p->seats)))) {
        free(p);
        return ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory for %u workers", workers);
    }
    p->n_seats = workers;
    p->closed = take(&at);
    p->epochs = take(&at);
    for (uint32_t i = 0; i < PSD_PROGRESS_COUNTERS; i++)
        p->counters[i] = take(&at);
    for (uint32_t r = 0; good && r < workers; r++)
        good = take_seat(&at, &p->seats[r]);
    if (!good) {
        psd_progress_free(&p);
        return damaged(bytes);
    }
    *out = p;
    return PS_OK;
}

/* ---- to the job ---------------------------------------------------------------- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void clear_seat(struct psd_seat *seat)
{
    memset(&seat->window, 0, sizeof(seat->window));
    seat->incarnation = 0;
    seat->state = PS_MEMBER_EXPECTED;
    seat->session = seat->first_seq = seat->durable = seat->again_clock = 0;
    seat->heard = seat->rested = false;
}

static void apply_seat(struct psd_seat *seat, const struct psd_progress_seat *p)
{
    seat->incarnation = p->incarnation;
    seat->state = p->state;
    seat->session = p->session;
    seat->rested = p->gate.rested;
    seat->first_seq = p->first_seq;
    seat->window.low = p->first_seq;
    seat->again_clock = p->partial ? p->gate.finished + 1 : 0;
    memcpy(seat->again, p->parts, sizeof(seat->again));
}

/* What a worker is on one shard of several.  An iteration that is in part in one of the
 * models counts as finished: its rest is lost, but none of it is applied twice. */
static void merge_seat(struct psd_seat *seat, struct psd_gate_seat *gate,
                       const struct psd_progress_seat *p)
{
    if (p->incarnation > seat->incarnation || seat->incarnation == 0) {
        seat->incarnation = p->incarnation;
        seat->state = p->state;
        seat->session = p->session;
        gate->active = p->gate.active;
        gate->early = p->gate.early;
    }
    seat->rested = seat->rested || p->gate.rested;
    gate->finished = larger(gate->finished, p->gate.finished + p->partial);
}

static void merge_counters(struct ps_job_stats *stats, const struct psd_progress *p)
{
    for (uint32_t i = 0; i < PSD_PROGRESS_COUNTERS; i++) {
        uint64_t *mine = counter(stats, i);

        *mine = i + 1 < PSD_PROGRESS_COUNTERS ? *mine + p->counters[i]
                                              : larger(*mine, p->counters[i]);
    }
}

static void apply_counters(struct psd_job *job, struct psd_progress *const *parts,
                           uint32_t n, bool own)
{
    for (uint32_t i = 0; i < PSD_PROGRESS_COUNTERS; i++)
        *counter(&job->stats, i) = 0;
    for (uint32_t i = 0; i < n && (own || job->shard == 0); i++)
        merge_counters(&job->stats, parts[i]);
}

void psd_progress_apply(struct psd_job *job, struct psd_progress *const *parts,
                        uint32_t n, bool own, struct psd_gate_seat *seats)
{
    uint64_t closed = 0, epochs = 0;

    apply_counters(job, parts, n, own);
    for (uint32_t i = 0; i < n; i++) {
        closed = larger(closed, parts[i]->closed);
        epochs = larger(epochs, parts[i]->epochs);
    }
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        struct psd_seat *seat = &job->seats[r];

        clear_seat(seat);
        seats[r] = (struct psd_gate_seat){ .active = n == 0 };
        for (uint32_t i = 0; i < n; i++)
            merge_seat(seat, &seats[r], &parts[i]->seats[r]);
        if (own) {
            apply_seat(seat, &parts[0]->seats[r]);
            seats[r] = parts[0]->seats[r].gate;
        }
        /* Whose iteration closed without it has nothing more to come of it. */
        seat->durable = psd_job_holds(job) ? closed : seats[r].finished;
    }
    psd_gate_restore(job->gate, closed, epochs, seats);
}
