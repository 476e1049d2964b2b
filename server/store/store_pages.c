/*
 * store_pages.c - where the rows of a page are, and pages that captures hold.
 *
 * A matrix of a few pages has each where the system puts it; of one that would fill a
 * huge page and more, they are cut out of such (slabs.h).
 *
 * A page that was captured is marked; the first write to it afterwards copies it, if
 * the capture is still there.  While no page is marked, a write costs one look.
 */
#include "server/store/store_rows.h"

#include <stdlib.h>
#include <string.h>

static ps_status new_block(struct psd_rows *r, struct ps_buf **out, bool *alone)
{
    const size_t bytes = r->row_bytes << r->page_shift;
    ps_status    st = PS_OK;

    *alone = bytes > PSD_SLAB_BLOCK_BYTES || r->n_pages * bytes < PSD_HUGE_BYTES;
    if (*alone) {
        st = ps_buf_new(out, bytes);
        if (!st)
            (*out)->len = bytes;
        return st;
    }
    if (!r->slabs)
        st = psd_slabs_new(&r->slabs, bytes);
    return st ? st : psd_slabs_take(r->slabs, out);
}

ps_status psd_rows_renew(struct psd_rows *r, struct psd_page *page)
{
    struct ps_buf *block;
    bool           alone;
    ps_status      st = new_block(r, &block, &alone);

    if (st)
        return st;
    ps_buf_drop(&page->block);
    r->n_alone += alone;
    r->n_alone -= page->alone;
    page->block = block;
    page->rows = block->data;
    page->alone = alone;
    return PS_OK;
}

/* Places of the page that were ever used; behind them is nothing to be copied. */
static size_t used_rows(const struct psd_rows *r, size_t page)
{
    size_t most = (size_t)1 << r->page_shift, first = page << r->page_shift;

    return first >= r->n_places         ? 0
           : r->n_places - first < most ? r->n_places - first
                                        : most;
}

ps_status psd_rows_own(struct psd_rows *r, uint32_t place)
{
    struct psd_page *page = &r->pages[place >> r->page_shift];
    struct ps_buf   *was;
    ps_status        st;

    if (!page->held)
        return PS_OK;
    if (!ps_buf_sole(page->block)) {
        was = ps_buf_share(page->block);
        st = psd_rows_renew(r, page);
        if (!st)
            memcpy(page->rows, was->data,
                   used_rows(r, place >> r->page_shift) * r->row_bytes);
        ps_buf_drop(&was);
        if (st)
            return st;
    }
    page->held = false;
    r->n_held--;
    return PS_OK;
}

ps_status psd_rows_write(struct psd_rows *r, const uint32_t *places, uint64_t n)
{
    ps_status st = PS_OK;

    for (uint64_t i = 0; !st && r->n_held > 0 && i < n; i++)
        st = psd_rows_own(r, places[i]);
    return st;
}

static struct psd_captured_rows *captured_new(const struct psd_rows *r)
{
    struct psd_captured_rows *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->page_shift = r->page_shift;
    c->row_bytes = r->row_bytes;
    c->keys = malloc((r->table.n + 1) * sizeof(*c->keys));
    c->places = malloc((r->table.n + 1) * sizeof(*c->places));
    c->pages = calloc(r->n_pages + 1, sizeof(struct ps_buf *));
    if (r->spec->evict != PS_EVICT_NONE)
        c->marks = malloc((r->table.n + 1) * sizeof(*c->marks));
    if (c->keys && c->places && c->pages &&
        (c->marks || r->spec->evict == PS_EVICT_NONE))
        return c;
    free(c->keys);
    free(c->places);
    free(c->pages);
    free(c->marks);
    free(c);
    return NULL;
}

static void hold_pages(struct psd_rows *r, struct psd_captured_rows *c)
{
    for (size_t i = 0; i < r->n_pages; i++) {
        c->pages[i] = ps_buf_share(r->pages[i].block);
        r->n_held += !r->pages[i].held;
        r->pages[i].held = true;
    }
    c->n_pages = (uint32_t)r->n_pages;
}

ps_status psd_rows_capture(struct psd_rows *r, struct psd_captured_rows **out)
{
    struct psd_captured_rows *c = captured_new(r);
    uint64_t                  next;

    if (!c)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory to capture %ju rows",
                       r->spec->name, (uintmax_t)r->table.n);
    if (r->table.n > 0)
        c->n = psd_rows_list(r, 0, r->table.n, c->keys, c->places, &next);
    for (uint64_t i = 0; c->marks && i < c->n; i++) {
        const struct psd_row_mark *mark = psd_rows_mark(r, c->places[i]);

        c->marks[i] = (struct psd_mark){ .uses = mark->uses, .last = mark->stamp };
    }
    hold_pages(r, c);
    *out = c;
    return PS_OK;
}
