/* sheet.c - see sheet.h. */
#include "common/base/sheet.h"

#include <stdlib.h>

static void free_sheet(void *owner)
{
    struct ps_sheet *s = owner;

    if (s->release)
        s->release(s->owner);
    for (size_t i = 0; i < s->n_blocks; i++)
        ps_buf_drop(&s->blocks[i]);
    ps_buf_drop(&s->list);
    free(s->blocks);
    free(s->segments);
    free(s->pieces);
    free(s);
}

static ps_status no_memory(size_t n)
{
    return ps_fail(PS_ERR_NO_MEMORY, "sheet: no memory for %zu pieces", n);
}

/* A frame of the sheet, which is taken, also on failure. */
static ps_status frame_of(struct ps_buf **out, struct ps_sheet *s)
{
    ps_status st = ps_buf_adopt(out, s, 0, free_sheet, s);

    if (st)
        free_sheet(s);
    else
        (*out)->sheet = s;
    return st;
}

/* ---- of blocks ------------------------------------------------------------------ */

static void gather(struct ps_sheet *s)
{
    for (size_t i = 0; i < s->n_blocks; i++) {
        const struct ps_buf   *b = s->blocks[i];
        struct ps_sheet_piece *last = s->n ? &s->pieces[s->n - 1] : NULL;

        s->bytes += b->len;
        if (last && last->data + last->bytes == b->data && b->segment &&
            b->segment == s->blocks[i - 1]->segment)
            last->bytes += b->len;
        else
            s->pieces[s->n++] = (struct ps_sheet_piece){ b->data, b->len };
    }
}

static bool lies_in(const struct ps_segment *g, const struct ps_sheet_piece *piece)
{
    return piece->data >= g->base && piece->data < g->base + g->bytes;
}

/* False: some block lies in none. */
static bool find_segments(struct ps_sheet *s)
{
    for (size_t i = 0; i < s->n_blocks; i++) {
        struct ps_segment *g = s->blocks[i]->segment;
        size_t             at = s->n_segments;

        if (!g)
            return false;
        while (at > 0 && s->segments[at - 1] != g)
            at--;
        if (at == 0)
            s->segments[s->n_segments++] = g;
    }
    return true;
}

static void write_list(const struct ps_sheet *s)
{
    struct ps_sheet_place   *place = (void *)s->list->data;
    const struct ps_segment *g = NULL;

    for (size_t i = 0; i < s->n; i++) {
        for (size_t k = 0; !g || !lies_in(g, &s->pieces[i]); k++)
            g = s->segments[k];
        place[i] =
            (struct ps_sheet_place){ g->number, (uint64_t)(s->pieces[i].data - g->base),
                                     s->pieces[i].bytes };
    }
    s->list->len = s->n * sizeof(*place);
}

/* Whoever cannot be lent a sheet is sent what it names. */
static ps_status make_list(struct ps_sheet *s, struct ps_heap *heap)
{
    size_t    bytes = s->n * sizeof(struct ps_sheet_place);
    ps_status st;

    if (!heap || bytes > PS_HEAP_MOST_BYTES || !find_segments(s))
        return PS_OK;
    st = ps_heap_buf(heap, &s->list,
                     bytes < PS_HEAP_LEAST_BYTES ? PS_HEAP_LEAST_BYTES : bytes);
    if (!st && s->list->segment)
        write_list(s);
    else
        ps_buf_drop(&s->list);
    return st;
}

ps_status ps_sheet_new(struct ps_buf **out, uint64_t of, struct ps_heap *heap,
                       struct ps_buf *const *blocks, size_t n)
{
    struct ps_sheet *s = calloc(1, sizeof(*s));
    ps_status        st;

    if (!s)
        return no_memory(n);
    s->of = of;
    s->blocks = calloc(n + 1, sizeof(struct ps_buf *));
    s->segments = calloc(n + 1, sizeof(struct ps_segment *));
    s->pieces = calloc(n + 1, sizeof(*s->pieces));
    if (!s->blocks || !s->segments || !s->pieces) {
        free_sheet(s);
        return no_memory(n);
    }
    while (s->n_blocks < n) {
        s->blocks[s->n_blocks] = ps_buf_share(blocks[s->n_blocks]);
        s->n_blocks++;
    }
    gather(s);
    st = make_list(s, heap);
    if (st) {
        free_sheet(s);
        return st;
    }
    return frame_of(out, s);
}

/* ---- of foreign memory ---------------------------------------------------------- */

ps_status ps_sheet_adopt(struct ps_buf **out, struct ps_sheet_piece *pieces, size_t n,
                         void (*release)(void *owner), void *owner)
{
    struct ps_sheet *s = calloc(1, sizeof(*s));
    ps_status        st;

    if (!s)
        return no_memory(n);
    for (size_t i = 0; i < n; i++)
        s->bytes += pieces[i].bytes;
    s->n = n;
    st = frame_of(out, s);
    if (!st) {
        s->pieces = pieces;
        s->release = release;
        s->owner = owner;
    }
    return st;
}
