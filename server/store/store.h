/*
 * store.h - where a parameter lives.
 *
 * Parameters are versions, not variables: the chunk of a dense matrix is an immutable
 * counted block once somebody else holds it.  An update asks for a writable chunk and
 * gets the block itself when nobody else holds it, a copy beside it otherwise.
 *
 * A store holds the matrices of one job on one shard.  It knows neither workers nor
 * optimisers; it keeps `n_state` arrays beside each value because it is told to.
 *
 * Sparse rows live in pages of flat memory, found by an open-addressing table; a row
 * is created at first touch by the initialiser, a function of (seed, name, key,
 * column).
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_STORE_STORE_H
#define PSD_STORE_STORE_H

#include "common/base/buf.h"
#include "common/place/place.h"

#define PSD_STORE_STATE_MAX 2u

/* Elements first .. first+n-1 of a dense matrix: one block, at most PS_CHUNK_BYTES. */
struct psd_chunk {
    uint64_t       first, n;
    struct ps_buf *value;                      /* may be shared with readers */
    struct ps_buf *state[PSD_STORE_STATE_MAX]; /* NULL beyond n_state */
};

struct psd_rows; /* sparse rows; see store_sparse.c */

struct psd_matrix {
    struct ps_matrix_spec spec;
    struct ps_place       place;
    uint32_t              n_state;
    size_t                element_bytes;
    uint64_t              steps; /* updates applied here; for bias correction */

    size_t            n_chunks; /* dense: sorted by `first` */
    struct psd_chunk *chunks;
    struct psd_rows  *rows; /* sparse */
};

struct psd_store;

ps_status psd_store_new(struct psd_store **out, uint32_t shard,
                        uint64_t seed) PS_CHECKED;
void      psd_store_free(struct psd_store **store);

/*
 * Creates this shard's part of the matrix, initialised; `spec->number` is its name
 * here.  PS_ERR_REPEATED when the number exists.  The owner decides n_state.
 */
ps_status psd_store_add(struct psd_store *store, const struct ps_matrix_spec *spec,
                        const struct ps_place *place, uint32_t n_state) PS_CHECKED;

/* NULL when there is none. */
struct psd_matrix *psd_store_find(struct psd_store *store, uint32_t number);

/* The chunk that holds element `first`, or NULL: not here. */
struct psd_chunk *psd_store_chunk(struct psd_matrix *m, uint64_t first);

/*
 * Makes value and state of the chunk writable in place: sole owner afterwards, the
 * old bytes kept.  On failure nothing changed.
 */
ps_status psd_store_write(struct psd_matrix *m, struct psd_chunk *c) PS_CHECKED;

/*
 * The sparse row of `key`, created if need be: [cols] values, then n_state x [cols]
 * of state.  Valid until the next row is created.
 */
ps_status psd_store_row(struct psd_store *store, struct psd_matrix *m, uint64_t key,
                        void **value, void *state[PSD_STORE_STATE_MAX]) PS_CHECKED;

/* Bytes of parameters and of state, and rows of sparse matrices. */
void psd_store_account(const struct psd_store *store, uint64_t *bytes,
                       uint64_t *state_bytes, uint64_t *rows);

#endif
