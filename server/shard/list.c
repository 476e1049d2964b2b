/*
 * list.c - which rows of a sparse matrix there are.
 *
 *     who -> range -> gate -> collect -> answer
 *
 * An answer holds the next rows behind the asker's cursor.  The shard keeps nothing of
 * an asker between two requests, so one that goes away leaves nothing behind.
 */
#include "server/shard/request.h"

#include <stdlib.h>
#include <string.h>

static ps_status find_matrix(const struct psd_request *r, struct psd_matrix **out)
{
    const struct ps_range *range = r->h.ranges;

    if (r->h.n_ranges != 1 || r->in->n_frames != 0)
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "job %s: a request for rows with %u ranges and %u frames, "
                       "expected one range that names the matrix",
                       r->job->spec.name, r->h.n_ranges, r->in->n_frames);
    *out = psd_store_find(r->job->store, range->matrix);
    if (!*out)
        return ps_fail(PS_ERR_UNKNOWN, "job %s: no matrix number %u", r->job->spec.name,
                       range->matrix);
    if (!(*out)->spec.sparse)
        return ps_fail(PS_ERR_SHAPE,
                       "matrix %s: it is dense, rows are listed of sparse "
                       "ones",
                       (*out)->spec.name);
    return PS_OK;
}

/* Keys and values take at most a chunk each, and at least one row goes. */
static size_t most_rows(const struct psd_matrix *m, uint64_t wanted)
{
    size_t row_bytes = m->spec.cols * m->element_bytes;
    size_t most =
        PS_CHUNK_BYTES / (row_bytes > sizeof(uint64_t) ? row_bytes : sizeof(uint64_t));

    return wanted < most ? wanted : most;
}

static void collect(const struct psd_matrix *m, uint64_t from, size_t room,
                    uint32_t *places, struct ps_buf *frames[2], uint64_t *next)
{
    size_t   row_bytes = m->spec.cols * m->element_bytes;
    void    *state[PSD_STORE_STATE_MAX];
    uint8_t *values = frames[1]->data;
    size_t   n = psd_store_list(m, from, room, (void *)frames[0]->data, places, next);

    for (size_t i = 0; i < n; i++)
        memcpy(values + i * row_bytes, psd_store_row(m, places[i], state), row_bytes);
    frames[0]->len = n * sizeof(uint64_t);
    frames[1]->len = n * row_bytes;
}

static ps_status answer(struct psd_request *r, const struct psd_matrix *m)
{
    size_t           room = most_rows(m, r->h.ranges->count);
    uint32_t        *places = malloc(room * sizeof(*places));
    struct ps_heap  *heap = psd_store_heap(r->job->store);
    struct ps_buf   *frames[2] = { NULL, NULL };
    struct ps_header h = { .kind = PS_MSG_ROWS_OK,
                           .request = r->h.request,
                           .job = r->job->number,
                           .clock = psd_gate_clock(r->job->gate),
                           .version = r->job->version };
    ps_status        st = PS_OK;

    if (!places)
        st = ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory to list %zu rows",
                     m->spec.name, room);
    if (!st)
        st = ps_heap_buf(heap, &frames[0], room * sizeof(uint64_t));
    if (!st)
        st = ps_heap_buf(heap, &frames[1], room * m->spec.cols * m->element_bytes);
    if (!st) {
        collect(m, r->h.after, room, places, frames, &h.after);
        st = ps_wire_send(r->out, &r->in->route, &h, frames, frames[0]->len ? 2 : 0);
    }
    ps_buf_drop(&frames[0]);
    ps_buf_drop(&frames[1]);
    free(places);
    return st;
}

ps_status psd_list_run(struct psd_request *r)
{
    struct psd_matrix *m;
    ps_status          st = psd_request_who(r);

    if (!st)
        st = find_matrix(r, &m);
    if (st)
        return st;
    if (psd_gate_pull(r->job->gate, r->h.rank, r->h.clock) == PSD_LATER)
        return psd_request_park(r, PSD_FOR_GATE);
    return answer(r, m);
}
