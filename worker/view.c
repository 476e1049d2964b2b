/* view.c - see view.h. */
#include "worker/view.h"

#include <stdlib.h>
#include <unistd.h>

struct ps_view {
    pid_t           holder;
    size_t          n, room;
    ps_span        *spans;
    size_t          n_held, held_room;
    struct ps_buf **held;
};

ps_status psw_view_new(ps_view **out, pid_t holder)
{
    ps_view *v = calloc(1, sizeof(*v));

    if (!v)
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory for a view");
    v->holder = holder;
    *out = v;
    return PS_OK;
}

void ps_view_release(ps_view **view)
{
    ps_view *v = view ? *view : NULL;

    if (!v)
        return;
    *view = NULL;
    if (v->holder != getpid())
        return; /* the parent's: it gives back what is borrowed */
    for (size_t i = 0; i < v->n_held; i++)
        ps_buf_drop(&v->held[i]);
    free(v->held);
    free(v->spans);
    free(v);
}

const ps_span *ps_view_spans(const ps_view *v, size_t *n)
{
    *n = v->n;
    return v->spans;
}

/* ---- making one ----------------------------------------------------------------- */

/* Room for `more` behind the first n, of `size` bytes each. */
static ps_status make_room(void **list, size_t n, size_t *room, size_t more,
                           size_t size)
{
    void *grown;

    if (n + more <= *room)
        return PS_OK;
    *room = n + more > 2 * n ? n + more : 2 * n;
    grown = reallocarray(*list, *room, size);
    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory for a view");
    *list = grown;
    return PS_OK;
}

static ps_status keep(ps_view *v, struct ps_buf *b)
{
    void     *held = v->held;
    ps_status st = make_room(&held, v->n_held, &v->held_room, 1, sizeof(*v->held));

    v->held = held;
    if (!st)
        v->held[v->n_held++] = ps_buf_share(b);
    return st;
}

/* Spans of these pieces; room is there.  How many elements, or 0: they are cut badly.
 */
static uint64_t add_pieces(ps_view *v, uint64_t first, size_t element_bytes,
                           const struct ps_sheet_piece *pieces, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        if (pieces[i].bytes % element_bytes != 0)
            return 0;
        v->spans[v->n++] = (ps_span){ .first = first + sum,
                                      .count = pieces[i].bytes / element_bytes,
                                      .data = pieces[i].data };
        sum += pieces[i].bytes / element_bytes;
    }
    return sum;
}

/* The last frame may be padded to a multiple of 8. */
static void cut_padding(struct ps_sheet_piece *last, struct ps_buf *const *frames,
                        uint32_t n, size_t bytes)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += frames[i]->len;
    if (sum > bytes && sum - bytes < 8 && sum - bytes < last->bytes)
        last->bytes -= sum - bytes;
}

ps_status psw_view_add(ps_view *v, uint64_t first, uint64_t count, size_t element_bytes,
                       struct ps_buf *const *frames, uint32_t n_frames)
{
    struct ps_sheet_piece        plain[PS_FRAMES_MAX];
    const struct ps_sheet       *sheet = n_frames == 1 ? frames[0]->sheet : NULL;
    const struct ps_sheet_piece *pieces = sheet ? sheet->pieces : plain;
    const size_t                 n = sheet ? sheet->n : n_frames, n_before = v->n;
    void                        *spans = v->spans;
    ps_status st = make_room(&spans, v->n, &v->room, n, sizeof(*v->spans));

    v->spans = spans;
    for (uint32_t i = 0; !sheet && i < n_frames; i++)
        plain[i] = (struct ps_sheet_piece){ frames[i]->data, frames[i]->len };
    if (!sheet && n > 0)
        cut_padding(&plain[n - 1], frames, n_frames, count * element_bytes);
    if (!st && add_pieces(v, first, element_bytes, pieces, n) != count) {
        v->n = n_before;
        st = PS_ERR_BAD_MESSAGE;
    }
    for (uint32_t i = 0; !st && i < n_frames; i++)
        st = keep(v, frames[i]);
    return st;
}

static int by_first(const void *one, const void *other)
{
    const ps_span *a = one, *b = other;

    return a->first < b->first ? -1 : a->first > b->first;
}

static bool is_in_order(const ps_view *v)
{
    for (size_t i = 1; i < v->n; i++)
        if (v->spans[i].first < v->spans[i - 1].first)
            return false;
    return true;
}

void psw_view_end(ps_view *v)
{
    if (!is_in_order(v))
        qsort(v->spans, v->n, sizeof(*v->spans), by_first);
}
