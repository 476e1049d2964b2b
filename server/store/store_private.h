/*
 * store_private.h - what the files of the store share.
 *
 *     store.c          matrices by number, chunks of dense matrices
 *     store_sparse.c   rows by key (see store_rows.h)
 *     store_fill.c     what an element is before the first step
 *     capture.c        everything as it is now, held
 *     restore.c        everything as it was captured
 *
 * Thread: the shard that owns the store.
 */
#ifndef PSD_STORE_STORE_PRIVATE_H
#define PSD_STORE_STORE_PRIVATE_H

#include "server/store/capture.h"
#include "server/store/store.h"

struct psd_store {
    uint32_t            shard;
    uint64_t            seed;
    struct ps_heap     *heap; /* NULL: parameters lie in ordinary memory */
    size_t              n_matrices;
    struct psd_matrix **matrices; /* sorted by number; the structs never move */
};

/* A block for the values of a chunk.  However short, it lies in the heap where the
 * matrix is worth lending: a sheet is lent whole or not at all. */
ps_status psd_chunk_value(const struct psd_matrix *m, struct ps_buf **out,
                          size_t bytes) PS_CHECKED;

/* Another holder of the same blocks, and one less. */
void psd_chunk_share(struct psd_chunk *out, const struct psd_chunk *chunk);
void psd_chunk_drop(struct psd_chunk *chunk);

/*
 * Initial values of elements first .. first+n-1: a function of the seed, the matrix's
 * name and the element's index (of a sparse row: key * cols + column, modulo 2^64).
 */
void psd_store_fill(const struct ps_matrix_spec *spec, uint64_t seed, uint64_t first,
                    uint64_t n, void *out);

/* No rows yet; each will hold `cols` values and n_state as many of state.  `spec` is
 * lent for as long as there are rows. */
ps_status psd_rows_new(struct psd_rows **out, const struct ps_matrix_spec *spec,
                       const struct ps_place *place, uint32_t shard, uint64_t seed,
                       uint32_t n_state) PS_CHECKED;
void      psd_rows_free(struct psd_rows **rows);

/* These do what psd_store_hold and the others say. */
ps_status psd_rows_hold(struct psd_rows *rows, const uint64_t *keys, uint64_t n,
                        uint32_t *places, bool *distinct) PS_CHECKED;
void      psd_rows_release(struct psd_rows *rows, const uint32_t *places, uint64_t n);
void     *psd_rows_at(const struct psd_rows *rows, uint32_t place);
void psd_rows_all_at(const struct psd_rows *rows, const uint32_t *places, uint64_t n,
                     void **out);
uint32_t *psd_rows_tag(const struct psd_rows *rows, uint32_t place);
size_t    psd_rows_list(const struct psd_rows *rows, uint64_t from, size_t room,
                        uint64_t *keys, uint32_t *places, uint64_t *next);

ps_status psd_rows_write(struct psd_rows *rows, const uint32_t *places,
                         uint64_t n) PS_CHECKED;
ps_status psd_rows_capture(struct psd_rows           *rows,
                           struct psd_captured_rows **out) PS_CHECKED;

/* A row that nobody holds, of these bytes; mark NULL: it was never used.  It may be one
 * more than the limit.  PS_ERR_DATA: it is there already. */
ps_status psd_rows_insert(struct psd_rows *rows, uint64_t key, const void *bytes,
                          const struct psd_mark *mark) PS_CHECKED;

/* Where rows go, those that are too many go. */
void psd_rows_limit(struct psd_rows *rows);

/* Adds what they take. */
void psd_rows_account(const struct psd_rows *rows, struct psd_account *account);

#endif
