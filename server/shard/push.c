/*
 * push.c - one gradient, from the socket to the parameters.
 *
 *     who -> seen before? -> base -> ranges -> keys -> values -> gate -> take -> answer
 *
 * Steps run in order and stop at the first failure.  Everything that can fail comes
 * before the first change, so a refused push leaves the job as it was.
 */
#include "server/shard/request.h"

#include "common/base/plant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ps_status look_in_window(struct psd_request *r)
{
    if (!r->seat)
        return ps_fail(PS_ERR_DENIED, "job %s: an observer may not push",
                       r->job->spec.name);
    switch (psd_window_look(&r->seat->window, r->h.seq)) {
    case PSD_SEEN: r->seen = true; return PS_OK;
    case PSD_FRESH: return PS_OK;
    case PSD_TOO_FAR: break;
    }
    return ps_fail(PS_ERR_BAD_ARG,
                   "job %s: push %ju of worker %u is more than %u ahead",
                   r->job->spec.name, (uintmax_t)r->h.seq, r->h.rank, PSD_WINDOW);
}

static const struct ps_buf *value_frame(const struct psd_request *r)
{
    uint32_t i = r->sparse ? 1 : 0;

    return i < r->in->n_frames ? r->in->frames[i] : NULL;
}

static ps_status check_values(struct psd_request *r)
{
    const struct ps_buf *frame = value_frame(r);
    uint32_t             n = r->h.n_ranges == 0 ? 0 : r->sparse ? 2 : 1;
    size_t               bytes = frame ? frame->len : 0;

    if (r->in->n_frames != n ||
        (bytes != r->value_bytes && bytes != r->value_bytes - r->padding))
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "job %s: a push of %zu bytes in %u frames, expected %zu in %u",
                       r->job->spec.name, bytes, r->in->n_frames, r->value_bytes, n);
    return PS_OK;
}

static ps_status check_finite(struct psd_request *r)
{
    const struct psd_backend *backend = r->shard->options.backend;
    const uint8_t            *values = r->h.n_ranges ? value_frame(r)->data : NULL;

    for (uint32_t i = 0; i < r->h.n_ranges; i++) {
        const struct ps_range *range = &r->h.ranges[i];
        struct psd_matrix     *m = psd_store_find(r->job->store, range->matrix);
        uint64_t               n = psd_request_elements(m, range);

        if (!backend->finite(m->spec.dtype, n, values)) {
            if (r->job->spec.nonfinite == PS_NONFINITE_REFUSE)
                return ps_fail(PS_ERR_NONFINITE,
                               "matrix %s: the push of worker %u for iteration %ju "
                               "holds a NaN or an infinity",
                               m->spec.name, r->h.rank, (uintmax_t)r->h.clock);
            r->skip = true;
        }
        values += (n * m->element_bytes + 7) / 8 * 8;
    }
    return PS_OK;
}

/* Whoever says that he has looked is believed: what he can spoil is his own job, which
 * gradients that are merely too large would do as well. */
static ps_status look_at_values(struct psd_request *r)
{
    return r->h.flags & PS_FLAG_FINITE ? PS_OK : check_finite(r);
}

/* Nobody can have pulled what is not there yet. */
static ps_status check_base(struct psd_request *r)
{
    if (r->h.version > r->job->version)
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "job %s: a push of worker %u says version %ju, expected at most "
                       "%ju",
                       r->job->spec.name, r->h.rank, (uintmax_t)r->h.version,
                       (uintmax_t)r->job->version);
    return PS_OK;
}

static ps_status check_parts(struct psd_request *r)
{
    const struct psd_seat *seat = r->seat;
    uint32_t parts = r->h.flags & PS_FLAG_FINISH ? r->h.parts : seat->parts;

    if (r->h.flags & PS_FLAG_FINISH && seat->parts != 0)
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "job %s: worker %u finished iteration %ju twice",
                       r->job->spec.name, r->h.rank, (uintmax_t)r->h.clock);
    if (parts != 0 && seat->n_parts + 1 > parts)
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "job %s: worker %u sent more than the %u parts of iteration %ju",
                       r->job->spec.name, r->h.rank, parts, (uintmax_t)r->h.clock);
    return PS_OK;
}

static ps_status make_held(const struct psd_request *r, struct psd_held *out, bool lent)
{
    return psd_held_new(out, r->job, &r->h, r->keys, r->in->frames[r->sparse ? 1 : 0],
                        lent);
}

static ps_status hold(struct psd_request *r)
{
    struct psd_seat *seat = r->seat;

    if (r->skip || r->h.n_ranges == 0)
        return PS_OK;
    if (seat->n_held == seat->held_room) {
        uint32_t         room = seat->held_room ? 2 * seat->held_room : 4;
        struct psd_held *grown = realloc(seat->held, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory to hold a push",
                           r->job->spec.name);
        seat->held = grown;
        seat->held_room = room;
    }
    ps_status st = make_held(r, &seat->held[seat->n_held], false);

    if (!st)
        seat->n_held++;
    return st;
}

/* The version of the oldest values behind the iteration that this push is part of. */
static uint64_t base_of(const struct psd_request *r)
{
    const struct psd_seat *seat = r->seat;

    return seat->n_parts > 0 && seat->base < r->h.version ? seat->base : r->h.version;
}

static struct psd_update update_of(const struct psd_request *r)
{
    struct psd_update u = {
        .backend = r->shard->options.backend,
        .rank = r->h.rank,
        .workers = psd_gate_n_active(r->job->gate),
        .base = base_of(r),
        .staleness = r->job->version - base_of(r),
        .whole = r->h.flags & PS_FLAG_FINISH && r->h.parts == 1,
    };

    psd_scale_begin(r->job->scale, &u);
    return u;
}

static ps_status apply_now(struct psd_request *r)
{
    struct psd_update       u = update_of(r);
    struct psd_held         held;
    struct psd_contribution only = { .held = &held,
                                     .keys = r->sparse ? r->keys : NULL,
                                     .coefficient =
                                         psd_scale_factor(r->job->scale, &u) };
    ps_status               st;

    if (r->skip || r->h.n_ranges == 0)
        return PS_OK;
    st = make_held(r, &held, true);
    if (st)
        return st;
    st = psd_apply(r->job, u.backend, &only, 1, r->h.clock, &u);
    psd_held_free(r->job, &held);
    return st;
}

/* The push that ends an iteration, or the part that was missing, has come. */
static void finish(struct psd_request *r, enum psd_verdict verdict)
{
    struct psd_seat *seat = r->seat;
    uint64_t         staleness = r->job->version - seat->base;

    if (seat->parts == 0 || (seat->n_parts < seat->parts && !PSD_PLANTED(PLANT_PARTS)))
        return;
    seat->n_parts = seat->parts = 0;
    r->job->stats.batches += seat->batches;
    psd_gate_finish(r->job->gate, r->h.rank, r->h.clock);
    if (verdict == PSD_HOLD) {
        seat->weight_closing = seat->weight;
        seat->finished_open = true;
        return;
    }
    r->job->stats.staleness_sum += staleness;
    if (staleness > r->job->stats.staleness_max)
        r->job->stats.staleness_max = staleness;
    psd_scale_end(r->job->scale, r->h.rank, seat->base);
    r->job->version++;
}

/*
 * The job went back to where part of this iteration was in the model, and the worker
 * sends all of it again.  Its numbers may be others now, but as long as it pushes in
 * their order the first one of the iteration is known, and so which one this is.
 */
static bool is_in_model(const struct psd_request *r)
{
    const struct psd_seat *seat = r->seat;
    uint64_t               part = r->h.seq - seat->first_seq - 1;

    return seat->again_clock == r->h.clock && part < PSD_WINDOW &&
           seat->again[part / 64] >> part % 64 & 1;
}

/*
 * A push of n batches holds the sum of their gradients, and its weight the samples of
 * all of them.  What it weighs in the mean is weight / n, the samples behind one
 * gradient: of a worker whose window was shorter fewer gradients are in the sum
 * already, and to weigh it by all its samples would discount it for that a second time.
 * So a window of n batches is, for the same parameters, the sum of n iterations of one.
 */
static ps_status take(struct psd_request *r, enum psd_verdict verdict)
{
    struct psd_seat *seat = r->seat;
    bool             again = is_in_model(r);
    ps_status        st = check_parts(r);

    if (!st && !again)
        st = verdict == PSD_HOLD ? hold(r) : apply_now(r);
    if (st)
        return st;
    seat->base = base_of(r);
    seat->n_parts++;
    if (r->h.flags & PS_FLAG_FINISH) {
        seat->parts = r->h.parts;
        seat->batches = r->h.batches ? r->h.batches : 1;
        seat->weight = r->h.weight / seat->batches;
    }
    finish(r, verdict);
    psd_seat_mark(seat, r->h.seq, r->job->version);
    r->job->stats.pushes++;
    r->job->stats.skipped += r->skip && !again;
    r->job->stirs += seat->again_clock != 0; /* the next number may be waiting */
    if (seat->n_parts == 0)
        seat->again_clock = 0;
    return PS_OK;
}

/* Ordinary under backup, so no line: the answer tells from which clock to go on. */
static ps_status say_stale(struct psd_request *r)
{
    char             why[PS_TEXT_BYTES];
    struct ps_header h = { .kind = PS_MSG_ERROR,
                           .request = r->h.request,
                           .status = PS_ERR_STALE,
                           .job = r->job->number,
                           .seq = r->h.seq,
                           .clock = psd_gate_resume(r->job->gate, r->h.rank),
                           .text = why };

    snprintf(why, sizeof(why),
             "job %s: the push of worker %u for iteration %ju came too late, the clock "
             "is %ju",
             r->job->spec.name, r->h.rank, (uintmax_t)r->h.clock, (uintmax_t)h.clock);
    if (PSD_PLANTED(PLANT_LATE_IS_OK)) {
        h.kind = PS_MSG_PUSH_OK;
        h.status = 0;
        h.clock = r->h.clock;
    }
    return ps_wire_send(r->out, &r->in->route, &h, NULL, 0);
}

/* The pushes of an iteration that is in part in the model are taken in order. */
static bool is_to_wait_its_turn(const struct psd_request *r)
{
    return r->seat->again_clock != 0 && r->seat->window.low + 1 != r->h.seq;
}

static ps_status pass_gate(struct psd_request *r)
{
    enum psd_verdict verdict;

    r->seat->rested = false;
    if (is_to_wait_its_turn(r))
        return psd_waiting_park(r->job, &r->h, r->in, PSD_FOR_TURN, UINT64_MAX);

    if (r->seat->rest_seq != 0) /* it has thought better of it */
        psd_job_rouse(r->job, r->h.rank, r->seat->rest_seq);
    if (r->h.clock > 0)
        psd_request_believe(r, r->h.seq - 1, r->h.clock - 1);
    if (r->h.clock > r->seat->again_clock)
        r->seat->again_clock = 0; /* it skips the iteration */
    verdict = psd_gate_push(r->job->gate, r->h.rank, r->h.clock);
    switch (verdict) {
    case PSD_NOW:
    case PSD_HOLD: return take(r, verdict);
    case PSD_LATER:
        if (PSD_PLANTED(PLANT_ACK_EARLY)) {
            psd_window_mark(&r->seat->window, r->h.seq, r->job->version);
            return PS_OK;
        }
        return psd_waiting_park(r->job, &r->h, r->in, PSD_FOR_TURN, UINT64_MAX);
    case PSD_STALE:
        r->job->stats.late++;
        r->job->stirs += r->seat->again_clock != 0;
        psd_seat_mark(r->seat, r->h.seq, PSD_WINDOW_STALE);
        return PS_OK;
    case PSD_NEVER: break;
    }
    return ps_fail(PS_ERR_RANK, "job %s: worker %u is not in the job",
                   r->job->spec.name, r->h.rank);
}

/* Acknowledged in the words of the first time.  With PULL the answer is the values. */
static ps_status answer(struct psd_request *r)
{
    uint64_t version = psd_window_version(&r->seat->window, r->h.seq);

    if (version == PSD_WINDOW_STALE)
        return say_stale(r);
    if (!psd_request_is_durable(r))
        return psd_request_wait_for_disk(r);
    if (r->h.flags & PS_FLAG_PULL)
        return psd_pull_run(r);
    return psd_answer(r, PS_MSG_PUSH_OK, version ? version : r->job->version, NULL, 0);
}

/*
 * The push is taken.  Without memory for the answer there is none: who asks again gets
 * it, whereas a refusal would let the worker believe that its gradient did not count.
 */
static ps_status acknowledge(struct psd_request *r)
{
    ps_status st = answer(r);

    return st == PS_ERR_NO_MEMORY ? PS_OK : st;
}

ps_status psd_push_run(struct psd_request *r)
{
    static ps_status (*const checks[])(struct psd_request *) = {
        check_base,   psd_request_ranges, psd_request_keys,
        check_values, look_at_values,     pass_gate,
    };
    ps_status st = psd_request_who(r);

    if (!st)
        st = look_in_window(r);
    if (st)
        return st;
    if (r->h.flags & PS_FLAG_REST)
        return psd_rest_run(r);
    if (r->seen) {
        r->job->stats.repeated += !r->again;
        return acknowledge(r);
    }
    for (size_t i = 0; !st && i < sizeof(checks) / sizeof(checks[0]); i++)
        st = checks[i](r);
    if (st || !r->in->head) /* parked */
        return st;
    return acknowledge(r);
}
