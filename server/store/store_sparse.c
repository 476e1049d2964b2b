/*
 * store_sparse.c - rows by key.
 *
 * Rows lie in pages of at most 1 MiB (one row, if a row is larger), one behind the
 * other in the order of their creation, and never move.  An open-addressing table with
 * linear probing leads from a key to its row.
 */
#include "server/store/store_private.h"

#include <stdlib.h>

#define PAGE_BYTES ((size_t)1 << 20)
#define FIRST_CELLS 64u /* a power of two, as every size of the table */

struct cell {
    uint64_t key;
    uint8_t *row; /* NULL: the cell is empty */
};

struct psd_rows {
    size_t   row_bytes; /* values and state */
    size_t   rows_per_page;
    uint64_t n_rows;

    size_t    n_pages;
    size_t    page_room; /* of `pages` */
    uint8_t **pages;

    size_t       n_cells; /* a power of two; at most 7 of 10 are in use */
    struct cell *cells;
};

/*
 * The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).  The constant makes it
 * another function than the one that gives keys to shards: a shard's keys share bits of
 * that one, and would crowd here.
 */
static uint64_t mix(uint64_t x)
{
    x ^= 0x5a6f7c3e91d24b87u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The cell of `key`, or the empty one where it belongs. */
static struct cell *find_cell(struct cell *cells, size_t n_cells, uint64_t key)
{
    size_t at = mix(key) & (n_cells - 1);

    while (cells[at].row && cells[at].key != key)
        at = (at + 1) & (n_cells - 1);
    return &cells[at];
}

ps_status psd_rows_new(struct psd_rows **out, const struct ps_matrix_spec *spec,
                       uint32_t n_state)
{
    struct psd_rows *r = calloc(1, sizeof(*r));
    size_t           bytes;

    if (!r || !(r->cells = calloc(FIRST_CELLS, sizeof(*r->cells)))) {
        psd_rows_free(&r);
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for its rows",
                       spec->name);
    }
    if (__builtin_mul_overflow(spec->cols, ps_dtype_bytes(spec->dtype), &bytes) ||
        __builtin_mul_overflow(bytes, 1 + n_state, &bytes)) {
        psd_rows_free(&r);
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for rows of %ju columns",
                       spec->name, (uintmax_t)spec->cols);
    }
    r->row_bytes = bytes;
    r->rows_per_page = bytes < PAGE_BYTES ? PAGE_BYTES / bytes : 1;
    r->n_cells = FIRST_CELLS;
    *out = r;
    return PS_OK;
}

void psd_rows_free(struct psd_rows **rows)
{
    struct psd_rows *r = *rows;

    *rows = NULL;
    if (!r)
        return;
    for (size_t i = 0; i < r->n_pages; i++)
        free(r->pages[i]);
    free(r->pages);
    free(r->cells);
    free(r);
}

static ps_status no_memory(const struct psd_rows *r)
{
    return ps_fail(PS_ERR_NO_MEMORY, "sparse rows: no memory for row %ju of %zu bytes",
                   (uintmax_t)r->n_rows, r->row_bytes);
}

/* Room for one more key. */
static ps_status grow_table(struct psd_rows *r)
{
    size_t       n_cells = 2 * r->n_cells;
    struct cell *cells;

    if (10 * (r->n_rows + 1) <= 7 * (uint64_t)r->n_cells)
        return PS_OK;
    cells = calloc(n_cells, sizeof(*cells));
    if (!cells)
        return no_memory(r);
    for (size_t i = 0; i < r->n_cells; i++)
        if (r->cells[i].row)
            *find_cell(cells, n_cells, r->cells[i].key) = r->cells[i];
    free(r->cells);
    r->cells = cells;
    r->n_cells = n_cells;
    return PS_OK;
}

/* Room for one more row. */
static ps_status grow_pages(struct psd_rows *r)
{
    if (r->n_rows < r->n_pages * r->rows_per_page)
        return PS_OK;
    if (r->n_pages == r->page_room) {
        size_t    room = r->page_room ? 2 * r->page_room : 8;
        uint8_t **pages = realloc(r->pages, room * sizeof(*pages));

        if (!pages)
            return no_memory(r);
        r->pages = pages;
        r->page_room = room;
    }
    /* calloc: the system hands out a page of this size zeroed, and only when touched */
    r->pages[r->n_pages] = calloc(r->rows_per_page, r->row_bytes);
    if (!r->pages[r->n_pages])
        return no_memory(r);
    r->n_pages++;
    return PS_OK;
}

ps_status psd_rows_get(struct psd_rows *r, uint64_t key, uint8_t **row, bool *fresh)
{
    struct cell *cell = find_cell(r->cells, r->n_cells, key);
    ps_status    st;

    *fresh = !cell->row;
    if (*fresh) {
        if ((st = grow_pages(r)) || (st = grow_table(r)))
            return st;
        cell = find_cell(r->cells, r->n_cells, key);
        cell->key = key;
        cell->row = r->pages[r->n_rows / r->rows_per_page] +
                    r->n_rows % r->rows_per_page * r->row_bytes;
        r->n_rows++;
    }
    *row = cell->row;
    return PS_OK;
}

uint64_t psd_rows_count(const struct psd_rows *r)
{
    return r->n_rows;
}
