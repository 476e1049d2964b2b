/*
 * store_evict.c - which row goes when there are as many as there may be.
 *
 * Rows that nobody holds stand in a binary heap by (uses, stamp), so every use costs
 * O(log n) at most; and since rows in use sink to the bottom, mostly far less.
 */
#include "server/store/store_rows.h"

#include <assert.h>
#include <stdlib.h>

static bool goes_before(const struct psd_rows *r, uint32_t a, uint32_t b)
{
    const struct psd_row_mark *x = psd_rows_mark(r, a), *y = psd_rows_mark(r, b);

    return x->uses != y->uses ? x->uses < y->uses : x->stamp < y->stamp;
}

static void put(struct psd_rows *r, uint32_t at, uint32_t place)
{
    r->heap[at] = place;
    psd_rows_mark(r, place)->at = at;
}

/* `place` belongs at `at` or above. */
static void rise(struct psd_rows *r, uint32_t at, uint32_t place)
{
    while (at > 0 && goes_before(r, place, r->heap[(at - 1) / 2])) {
        put(r, at, r->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(r, at, place);
}

/* `place` belongs at `at` or below. */
static void sink(struct psd_rows *r, uint32_t at, uint32_t place)
{
    for (uint32_t child; (child = 2 * at + 1) < r->n_heap; at = child) {
        if (child + 1 < r->n_heap && goes_before(r, r->heap[child + 1], r->heap[child]))
            child++;
        if (!goes_before(r, r->heap[child], place))
            break;
        put(r, at, r->heap[child]);
    }
    put(r, at, place);
}

static void take_out(struct psd_rows *r, uint32_t at)
{
    uint32_t last = r->heap[--r->n_heap];

    if (at == r->n_heap)
        return;
    if (at > 0 && goes_before(r, last, r->heap[(at - 1) / 2]))
        rise(r, at, last);
    else
        sink(r, at, last);
}

bool psd_evict_reserve(struct psd_rows *r, size_t n)
{
    size_t    room = r->heap_room ? r->heap_room : 64;
    uint32_t *grown;

    while (room < n)
        room *= 2;
    if (room == r->heap_room)
        return true;
    grown = realloc(r->heap, room * sizeof(*grown));
    if (!grown)
        return false;
    r->heap = grown;
    r->heap_room = room;
    return true;
}

void psd_evict_use(struct psd_rows *r, uint32_t place)
{
    struct psd_row_mark *mark = psd_rows_mark(r, place);

    assert(mark->holds > 0); /* its place in the heap would be wrong */
    mark->stamp = ++r->stamp;
    mark->uses += r->spec->evict == PS_EVICT_FREQUENCY;
}

void psd_evict_hold(struct psd_rows *r, uint32_t place)
{
    struct psd_row_mark *mark = psd_rows_mark(r, place);

    if (mark->holds++ == 0)
        take_out(r, mark->at);
}

void psd_evict_release(struct psd_rows *r, uint32_t place)
{
    struct psd_row_mark *mark = psd_rows_mark(r, place);

    if (--mark->holds == 0)
        rise(r, r->n_heap++, place);
}

uint32_t psd_evict_next(struct psd_rows *r)
{
    uint32_t place = r->heap[0];

    take_out(r, 0);
    return place;
}
