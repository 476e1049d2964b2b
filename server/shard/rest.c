/*
 * rest.c - a worker has no more batches in this epoch.
 *
 *     who -> seen before? -> is everything before it here? -> rest -> wait -> answer
 *
 * A rest is a push without values.  It is taken when all pushes before it were, and
 * answered when every active worker rests, with the clock at which they all go on; its
 * number is marked as seen only then, or when its time has passed: then the worker does
 * not rest any more and may say so again under another number.
 */
#include "server/shard/request.h"

static ps_status answer_rest(struct psd_request *r)
{
    uint64_t         clock = psd_window_version(&r->seat->window, r->h.seq);
    char             why[PS_TEXT_BYTES];
    struct ps_header h = { .kind = PS_MSG_PUSH_OK,
                           .request = r->h.request,
                           .job = r->job->number,
                           .seq = r->h.seq,
                           .clock = clock,
                           .after = psd_gate_epochs(r->job->gate),
                           .version = r->job->version };

    if (clock == PSD_WINDOW_ROUSED) {
        psd_job_say_restless(r->job, why, sizeof(why));
        return ps_fail(PS_ERR_TIMEOUT, "%s", why);
    }
    if (!psd_request_is_durable(r))
        return psd_request_wait_for_disk(r);
    if (clock == 0) /* that is long ago, or nobody had finished anything */
        h.clock = psd_gate_resume(r->job->gate, r->h.rank);
    return ps_wire_send(r->out, &r->in->route, &h, NULL, 0);
}

ps_status psd_rest_run(struct psd_request *r)
{
    struct psd_seat *seat = r->seat;

    if (r->h.n_ranges > 0 || r->in->n_frames > 0 || r->h.flags != PS_FLAG_REST)
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "job %s: the end of an epoch with values of worker %u",
                       r->job->spec.name, r->h.rank);
    if (!r->seen && seat->window.low + 1 == r->h.seq &&
        !psd_window_is_next(&seat->window, r->h.seq)) {
        psd_job_rouse(r->job, r->h.rank, r->h.seq); /* it pushes already: too late */
        r->seen = true;
    }
    if (r->seen)
        return answer_rest(r);
    seat->rested = false;
    if (seat->rest_seq == 0 && psd_window_is_next(&seat->window, r->h.seq) &&
        !psd_gate_is_early(r->job->gate, r->h.rank)) {
        seat->rest_seq = r->h.seq;
        psd_gate_rest(r->job->gate, r->h.rank, r->h.clock);
        r->job->stirs++;
    }
    return psd_request_park(r, PSD_FOR_TURN);
}
