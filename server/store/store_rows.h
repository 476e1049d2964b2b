/*
 * store_rows.h - the rows of one sparse matrix on one shard.
 *
 *     store_sparse.c  rows in pages, created and given away
 *     store_table.c   from a key to a row's place
 *     store_evict.c   which row goes when there are as many as there may be
 *     store_pages.c   pages that captures hold
 *
 * Thread: the shard that owns the store.
 */
#ifndef PSD_STORE_STORE_ROWS_H
#define PSD_STORE_STORE_ROWS_H

#include "server/store/huge.h"
#include "server/store/slabs.h"
#include "server/store/store_private.h"
#include "server/store/store_table.h"

/* What is kept of a row that may have to go. */
struct psd_row_mark {
    uint64_t hash;
    uint64_t uses;  /* frequency: how often; lru: 0, so that only `stamp` counts */
    uint64_t stamp; /* of the last use; they count up */
    uint32_t at;    /* in the heap; of a free place: the next free one */
    uint32_t holds; /* above 0 it is not in the heap */
};

struct psd_page {
    struct ps_buf       *block; /* of the rows */
    uint8_t             *rows;  /* == block->data */
    bool                 held;  /* a capture may hold the block */
    bool                 alone; /* the block is in no slab */
    struct psd_row_mark *marks; /* NULL when no row ever goes */
};

struct psd_rows {
    const struct ps_matrix_spec *spec;
    uint32_t                     shard;
    uint64_t                     seed;
    size_t                       row_bytes;  /* values and state */
    unsigned                     page_shift; /* a page has 1 << page_shift rows */

    size_t            n_pages, pages_room;
    struct psd_page  *pages;
    size_t            n_held;   /* pages with `held` */
    size_t            n_alone;  /* pages with `alone` */
    struct psd_slabs *slabs;    /* NULL: not many pages yet */
    uint32_t          n_places; /* ever used */
    uint32_t          free;     /* the first free one; PSD_NOWHERE: none */
    uint32_t         *tags;     /* [places of all pages]; see psd_store_tag */
    struct psd_table  table;

    /* Rows that nobody holds, the one that goes next on top; room for all rows. */
    uint64_t  limit; /* UINT64_MAX: none */
    uint64_t  stamp, evicted;
    uint32_t *heap, n_heap;
    size_t    heap_room;
};

static inline struct psd_row_mark *psd_rows_mark(const struct psd_rows *r,
                                                 uint32_t               place)
{
    uint32_t             in_page = place & (((uint32_t)1 << r->page_shift) - 1);
    struct psd_row_mark *marks = r->pages[place >> r->page_shift].marks;

    return marks ? &marks[in_page] : NULL; /* it does not evict */
}

/* store_pages.c */

/* Gives the page a block of its own; what was in the one before is gone, if nobody else
 * holds it. */
ps_status psd_rows_renew(struct psd_rows *rows, struct psd_page *page) PS_CHECKED;

/* Nobody else holds the page of this place afterwards. */
ps_status psd_rows_own(struct psd_rows *rows, uint32_t place) PS_CHECKED;

/* store_evict.c */

/* Room in the heap for `n` rows; false: no memory. */
bool psd_evict_reserve(struct psd_rows *rows, size_t n);

/* The row was used just now. */
void psd_evict_use(struct psd_rows *rows, uint32_t place);

/* While it is held it does not go. */
void psd_evict_hold(struct psd_rows *rows, uint32_t place);
void psd_evict_release(struct psd_rows *rows, uint32_t place);

/* Takes out the row that goes next; there is one that nobody holds. */
uint32_t psd_evict_next(struct psd_rows *rows);

#endif
