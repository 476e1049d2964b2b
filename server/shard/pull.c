/*
 * pull.c - from the parameters to the socket.
 *
 *     who -> ranges -> keys -> gate -> collect -> answer
 *
 * Large ranges leave as a view of the chunk version that is there, without a copy;
 * small ones are collected into one frame.
 *
 * Who asks for a view (PS_FLAG_VIEW) names all elements of a matrix that the shard has
 * in a row, and gets a sheet of their chunks (common/base/sheet.h).
 */
#include "server/shard/request.h"

#include <string.h>

#define VIEW_BYTES (64u << 10)  /* from here on a view is cheaper than a copy */
#define OPEN_BYTES (256u << 10) /* most that a frame of small ranges is made for */

/* The frames of an answer while it is put together. */
struct answer {
    uint32_t       n;
    struct ps_buf *frames[PS_FRAMES_MAX];
    struct ps_buf *open; /* == frames[n - 1] while small ranges go into it */
    size_t         left; /* bytes that are still to be added, each range padded */

    struct ps_heap *heap; /* where frames are made; NULL: anywhere */
    struct ps_tray *tray; /* small ones */
};

static void drop_answer(struct answer *a)
{
    for (uint32_t i = 0; i < a->n; i++)
        ps_buf_drop(&a->frames[i]);
}

static ps_status add_frame(struct answer *a, struct ps_buf **frame)
{
    if (a->n == PS_FRAMES_MAX) {
        ps_buf_drop(frame);
        return ps_fail(PS_ERR_LIMIT, "pull: an answer of more than %u frames",
                       PS_FRAMES_MAX);
    }
    a->frames[a->n++] = *frame;
    *frame = NULL;
    a->open = NULL;
    return PS_OK;
}

static ps_status add_view(struct answer *a, struct ps_buf *chunk, size_t offset,
                          size_t bytes)
{
    struct ps_buf *view;
    ps_status      st = PS_OK;

    a->left -= bytes;
    if (offset == 0 && bytes == chunk->len)
        view = ps_buf_share(chunk);
    else
        st = ps_buf_view(&view, chunk, offset, bytes);
    return st ? st : add_frame(a, &view);
}

/* A frame for a range of so many bytes, and for those behind it. */
static size_t frame_bytes(const struct answer *a, size_t padded)
{
    size_t bytes = a->left < OPEN_BYTES ? a->left : OPEN_BYTES;

    return padded > bytes ? padded : bytes;
}

/* `bytes` of room in the open frame, padded to the next multiple of 8. */
static ps_status room_for(struct answer *a, size_t bytes, uint8_t **out)
{
    size_t padded = (bytes + 7) / 8 * 8;

    if (!a->open || a->open->room - a->open->len < padded) {
        struct ps_buf *fresh;
        ps_status st = ps_tray_buf(a->tray, a->heap, &fresh, frame_bytes(a, padded));

        if (!st) {
            struct ps_buf *keep = fresh;

            st = add_frame(a, &fresh);
            a->open = st ? NULL : keep;
        }
        if (st)
            return st;
    }
    *out = a->open->data + a->open->len;
    memset(*out + bytes, 0, padded - bytes);
    a->open->len += padded;
    a->left -= padded;
    return PS_OK;
}

static ps_status collect_dense(struct answer *a, struct psd_matrix *m,
                               const struct ps_range *range)
{
    struct psd_chunk *c = psd_store_chunk(m, range->first);
    size_t            offset = (range->first - c->first) * m->element_bytes;
    size_t            bytes = range->count * m->element_bytes;
    uint8_t          *room;
    ps_status         st;

    /* A view cannot be padded, and leaves two frames for the ranges behind it. */
    if (bytes >= VIEW_BYTES && bytes % 8 == 0 && a->n + 2 < PS_FRAMES_MAX)
        return add_view(a, c->value, offset, bytes);
    st = room_for(a, bytes, &room);
    if (!st)
        memcpy(room, c->value->data + offset, bytes);
    return st;
}

static ps_status no_memory(const struct psd_request *r, uint64_t n)
{
    return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for a pull of %ju rows",
                   r->job->spec.name, (uintmax_t)n);
}

/* Copies the rows, held at places[n], one behind the other. */
static ps_status copy_rows(const struct psd_request *r, const struct psd_matrix *m,
                           const uint32_t *places, uint64_t n, uint8_t *out)
{
    void **rows = psd_scratch_get(r->job->scratch, n * sizeof(*rows));

    if (!rows)
        return no_memory(r, n);
    psd_store_rows(m, places, n, rows);
    r->shard->options.backend->gather(n, m->spec.cols * m->element_bytes, out,
                                      (const void *const *)rows);
    return PS_OK;
}

static ps_status collect_rows(const struct psd_request *r, struct answer *a,
                              struct psd_matrix *m, const struct ps_range *range,
                              const uint64_t *keys, const void **rows)
{
    uint32_t *places = psd_scratch_get(r->job->scratch, range->count * sizeof(*places));
    uint8_t  *room;
    ps_status st;

    if (!places)
        return no_memory(r, range->count);
    st = room_for(a, range->count * m->spec.cols * m->element_bytes, &room);
    if (!st)
        st = psd_store_hold(m, keys, range->count, places);
    if (!st) {
        st = copy_rows(r, m, places, range->count, room);
        *rows = room;
        psd_store_release(m, places, range->count);
    }
    return st;
}

/* ---- a view ---------------------------------------------------------------------- */

static ps_status check_view(const struct psd_request *r)
{
    const struct ps_range *range = r->h.ranges;
    struct psd_matrix     *m;
    size_t                 n;

    if (r->h.n_ranges != 1)
        return ps_fail(PS_ERR_BAD_MESSAGE, "pull: a view of %u ranges, expected one",
                       r->h.n_ranges);
    m = psd_store_find(r->job->store, range->matrix);
    if (!m)
        return ps_fail(PS_ERR_UNKNOWN, "job %s: no matrix number %u", r->job->spec.name,
                       range->matrix);
    if (m->spec.sparse)
        return ps_fail(PS_ERR_SHAPE, "matrix %s: a view of a sparse matrix",
                       m->spec.name);
    if (!psd_store_run(m, range->first, range->count, &n))
        return ps_fail(
            PS_ERR_BAD_ARG,
            "matrix %s: elements %ju to %ju are not whole chunks of shard %u",
            m->spec.name, (uintmax_t)range->first,
            (uintmax_t)(range->first + range->count), r->job->shard);
    return PS_OK;
}

static ps_status collect_sheet(struct psd_request *r, struct answer *a)
{
    const struct ps_range  *range = r->h.ranges;
    struct psd_matrix      *m = psd_store_find(r->job->store, range->matrix);
    size_t                  n;
    const struct psd_chunk *c = psd_store_run(m, range->first, range->count, &n);
    struct ps_buf          *sheet;
    ps_status               st = psd_store_sheet(m, c, n, &sheet);

    if (!st)
        st = add_frame(a, &sheet);
    for (size_t i = 0; !st && r->seat && i < n; i++)
        st = psd_scale_gave(
            r->job->scale,
            &(struct psd_given){ .rank = r->h.rank,
                                 .version = r->job->version,
                                 .range = &(struct ps_range){ .matrix = range->matrix,
                                                              .first = c[i].first,
                                                              .count = c[i].n } },
            m);
    return st;
}

/* ---- all ranges ------------------------------------------------------------------ */

static ps_status collect(struct psd_request *r, struct answer *a)
{
    struct psd_given given = { .rank = r->h.rank,
                               .version = r->job->version,
                               .keys = r->keys };
    ps_status        st = PS_OK;

    for (uint32_t i = 0; !st && i < r->h.n_ranges; i++) {
        struct psd_matrix *m = psd_store_find(r->job->store, r->h.ranges[i].matrix);

        given.range = &r->h.ranges[i];
        if (m->spec.sparse)
            st = collect_rows(r, a, m, given.range, given.keys, &given.rows);
        else
            st = collect_dense(a, m, given.range);
        if (!st && r->seat)
            st = psd_scale_gave(r->job->scale, &given, m);
        if (m->spec.sparse)
            given.keys += given.range->count;
    }
    return st;
}

ps_status psd_pull_run(struct psd_request *r)
{
    const bool    views = r->h.flags & PS_FLAG_VIEW;
    struct answer a = { 0 };
    ps_status     st = psd_request_who(r);

    r->value_bytes = 0; /* a push with PULL counted them once */
    if (!st)
        st = views ? check_view(r) : psd_request_ranges(r);
    if (!st && !views)
        st = psd_request_keys(r);
    if (st)
        return st;
    if (r->seat && r->h.seq != 0 && r->h.clock != PSD_GATE_NEWEST)
        psd_request_believe(r, r->h.seq, r->h.clock);
    if (psd_gate_pull(r->job->gate, r->h.rank, r->h.clock) == PSD_LATER)
        return psd_request_park(r, PSD_FOR_GATE);
    a.heap = psd_store_heap(r->job->store);
    a.tray = &r->out->tray;
    a.left = r->value_bytes;
    st = views ? collect_sheet(r, &a) : collect(r, &a);
    if (st) {
        drop_answer(&a);
        return st;
    }
    r->job->stats.pulls++;
    return psd_answer(r, PS_MSG_PULL_OK, r->job->version, a.frames, a.n);
}
