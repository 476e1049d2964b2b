/*
 * capture.h - the matrices of a store as they are at one moment, which later updates
 * leave alone.
 *
 * To capture copies no parameter: chunks and pages are counted blocks, the capture
 * holds them too, and the store copies a block before it writes to one that somebody
 * else holds.  So a capture costs time by rows and chunks, and memory by what changes
 * while it lives.
 *
 * The blocks of a capture that was read from a file are ordinary memory, which whoever
 * holds them alone may write: psd_store_restore takes those that fit as they are.
 *
 * Thread: taken by the store's; then anybody's, one at a time.
 */
#ifndef PSD_STORE_CAPTURE_H
#define PSD_STORE_CAPTURE_H

#include "server/store/store.h"

/* What eviction knows of a row: how often it was used (only by frequency; else 0), and
 * the number of its last use. */
struct psd_mark {
    uint64_t uses, last;
};

struct psd_captured_rows {
    uint64_t         n;
    uint64_t        *keys;   /* [n], each once */
    uint32_t        *places; /* [n] page place >> page_shift, and its row below that */
    struct psd_mark *marks;  /* [n]; NULL: the matrix does not evict */
    uint32_t         page_shift; /* at most 31 */
    size_t           row_bytes;  /* values, and n_state as many of state */
    uint32_t         n_pages;
    struct ps_buf  **pages; /* [n_pages] counted */
};

struct psd_captured_matrix {
    struct ps_matrix_spec     spec;
    uint32_t                  n_state;
    uint64_t                  steps;
    size_t                    n_chunks; /* dense: by `first`, without overlap */
    struct psd_chunk         *chunks;
    struct psd_captured_rows *rows; /* sparse, else NULL */
};

struct psd_capture {
    uint32_t                    n_matrices;
    struct psd_captured_matrix *matrices;
};

ps_status psd_store_capture(const struct psd_store *store,
                            struct psd_capture    **out) PS_CHECKED;

/* NULL is fine; *capture becomes NULL. */
void psd_capture_free(struct psd_capture **capture);

/*
 * Makes every element and row of `store` what it is in `parts`, which together hold
 * what the store owns, cut in whatever way.  A matrix that a part does not have had not
 * been created when that part was captured: what no part holds of it begins anew.  Rows
 * that nobody holds now are gone.  Of `steps` the largest counts.  A store that evicts
 * and gets more rows than it may have lets go of some; one that does not keeps them.
 *
 * PS_ERR_DATA       a matrix has another type or shape in a part, a row is in two
 *                   parts, or all have the matrix and an element is in none; nothing
 *                   has changed
 * PS_ERR_NO_MEMORY  nothing has changed
 */
ps_status psd_store_restore(struct psd_store                *store,
                            const struct psd_capture *const *parts,
                            uint32_t                         n_parts) PS_CHECKED;

#endif
