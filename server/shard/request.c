/* request.c - the steps that pushes and pulls share; see request.h. */
#include "server/shard/request.h"

#include "common/base/plant.h"

ps_status psd_request_who(struct psd_request *r)
{
    ps_status st = psd_job_seat(r->job, &r->h, &r->seat);

    if (!st && r->seat) {
        r->seat->route = r->in->route;
        r->seat->heard = true;
    }
    return st;
}

static ps_status check_dense(const struct psd_request *r, struct psd_matrix *m,
                             const struct ps_range *range)
{
    const struct psd_chunk *c = psd_store_chunk(m, range->first);

    if (range->first >= ps_matrix_elements(&m->spec) ||
        range->count > ps_matrix_elements(&m->spec) - range->first)
        return ps_fail(PS_ERR_SHAPE, "matrix %s: elements %ju to %ju of %ju",
                       m->spec.name, (uintmax_t)range->first,
                       (uintmax_t)(range->first + range->count),
                       (uintmax_t)ps_matrix_elements(&m->spec));
    if (!c || range->first + range->count > c->first + c->n)
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: elements %ju to %ju do not lie in one chunk of "
                       "shard %u",
                       m->spec.name, (uintmax_t)range->first,
                       (uintmax_t)(range->first + range->count), r->job->shard);
    return PS_OK;
}

uint64_t psd_request_elements(const struct psd_matrix *m, const struct ps_range *range)
{
    return m->spec.sparse ? range->count * m->spec.cols : range->count;
}

static ps_status check_range(struct psd_request *r, const struct ps_range *range)
{
    struct psd_matrix *m = psd_store_find(r->job->store, range->matrix);
    size_t             bytes;

    if (!m)
        return ps_fail(PS_ERR_UNKNOWN, "job %s: no matrix number %u", r->job->spec.name,
                       range->matrix);
    if (range != r->h.ranges && m->spec.sparse != r->sparse)
        return ps_fail(PS_ERR_BAD_MESSAGE, "matrix %s: sparse and dense in one request",
                       m->spec.name);
    r->sparse = m->spec.sparse;
    if (!m->spec.sparse) {
        ps_status st = check_dense(r, m, range);

        if (st)
            return st;
    } else if (range->count > PS_FRAME_BYTES / sizeof(uint64_t)) {
        return ps_fail(PS_ERR_LIMIT, "matrix %s: %ju rows in one request", m->spec.name,
                       (uintmax_t)range->count);
    }
    bytes = psd_request_elements(m, range) * m->element_bytes;
    r->padding = (bytes + 7) / 8 * 8 - bytes;
    r->value_bytes += bytes + r->padding;
    if (r->value_bytes > PS_FRAMES_MAX * (size_t)PS_CHUNK_BYTES ||
        (r->sparse && r->value_bytes > PS_FRAME_BYTES))
        return ps_fail(PS_ERR_LIMIT, "matrix %s: a request of more than %zu bytes",
                       m->spec.name, r->value_bytes);
    return PS_OK;
}

ps_status psd_request_ranges(struct psd_request *r)
{
    ps_status st = PS_OK;

    for (uint32_t i = 0; !st && i < r->h.n_ranges; i++)
        st = check_range(r, &r->h.ranges[i]);
    return st;
}

static ps_status check_keys(const struct psd_request *r, uint32_t matrix,
                            const uint64_t *keys, uint64_t n)
{
    const struct psd_matrix *m = psd_store_find(r->job->store, matrix);
    uint64_t                 ours = ps_place_keys_on(&m->place, r->job->shard, keys, n);

    if (ours == n)
        return PS_OK;
    return ps_fail(PS_ERR_BAD_ARG, "matrix %s: row %ju is not on shard %u",
                   m->spec.name, (uintmax_t)keys[ours], r->job->shard);
}

/* Keys come first, in a frame of their own, and belong to this shard. */
ps_status psd_request_keys(struct psd_request *r)
{
    const struct ps_buf *frame = r->in->n_frames ? r->in->frames[0] : NULL;
    const uint64_t      *keys;
    size_t               n = 0;
    ps_status            st = PS_OK;

    if (!r->sparse)
        return PS_OK;
    for (uint32_t i = 0; i < r->h.n_ranges; i++)
        n += r->h.ranges[i].count;
    if (!frame || frame->len != n * sizeof(uint64_t))
        return ps_fail(PS_ERR_BAD_MESSAGE, "job %s: %zu bytes of keys for %zu rows",
                       r->job->spec.name, frame ? frame->len : 0, n);
    r->keys = keys = (const void *)frame->data;
    for (uint32_t i = 0; !st && i < r->h.n_ranges; i++) {
        st = check_keys(r, r->h.ranges[i].matrix, keys, r->h.ranges[i].count);
        keys += r->h.ranges[i].count;
    }
    return st;
}

void psd_request_believe(struct psd_request *r, uint64_t seq, uint64_t clock)
{
    if (r->seat->window.low >= seq && psd_gate_raise(r->job->gate, r->h.rank, clock))
        r->job->stirs++;
}

static uint64_t deadline_of(const struct psd_request *r)
{
    if (r->again)
        return r->deadline_ns;
    return r->h.wait_ms ? r->now_ns + r->h.wait_ms * UINT64_C(1000000) : UINT64_MAX;
}

/* A request that waits keeps its keys; values of a push have been taken already. */
static void drop_values(struct psd_request *r)
{
    uint32_t keep = r->sparse ? 1 : 0;

    while (r->in->n_frames > keep)
        ps_buf_drop(&r->in->frames[--r->in->n_frames]);
}

ps_status psd_request_park(struct psd_request *r, enum psd_reason reason)
{
    drop_values(r);
    return psd_waiting_park(r->job, &r->h, r->in, reason, deadline_of(r));
}

/* What ends an iteration, and a rest, may have to wait for the disk. */
bool psd_request_is_durable(const struct psd_request *r)
{
    return PSD_PLANTED(PLANT_DURABLE) ||
           !(r->h.flags & (PS_FLAG_FINISH | PS_FLAG_REST)) ||
           psd_saver_covers(r->job, r->h.clock, r->seat->durable);
}

ps_status psd_request_wait_for_disk(struct psd_request *r)
{
    ps_status st;

    r->value_bytes = 0;
    st = psd_request_ranges(r); /* one that comes again has not been looked at */
    if (st)
        return st;
    drop_values(r);
    return psd_waiting_park(r->job, &r->h, r->in, PSD_FOR_DISK, deadline_of(r));
}

ps_status psd_answer(struct psd_request *r, uint32_t kind, uint64_t version,
                     struct ps_buf **frames, uint32_t n_frames)
{
    struct ps_header h = {
        .kind = kind,
        .request = r->h.request,
        .job = r->job->number,
        .seq = r->h.seq,
        .clock = psd_gate_clock(r->job->gate),
        .version = version,
        .text = "",
        .name = "",
        .token = "",
    };

    return ps_wire_send(r->out, &r->in->route, &h, frames, n_frames);
}
