/*
 * store_private.h - what the files of the store share.
 *
 *     store.c          matrices by number, chunks of dense matrices
 *     store_sparse.c   rows by key
 *     store_fill.c     what an element is before the first step
 *
 * Thread: the shard that owns the store.
 */
#ifndef PSD_STORE_STORE_PRIVATE_H
#define PSD_STORE_STORE_PRIVATE_H

#include "server/store/store.h"

/*
 * Initial values of elements first .. first+n-1: a function of the seed, the matrix's
 * name and the element's index (of a sparse row: key * cols + column, modulo 2^64).
 */
void psd_store_fill(const struct ps_matrix_spec *spec, uint64_t seed, uint64_t first,
                    uint64_t n, void *out);

/* No rows yet; each will hold `cols` values and n_state as many of state. */
ps_status psd_rows_new(struct psd_rows **out, const struct ps_matrix_spec *spec,
                       uint32_t n_state) PS_CHECKED;
void      psd_rows_free(struct psd_rows **rows);

/*
 * The memory of the row of `key`.  *fresh: it was not there, and is zeroed; the
 * caller fills in its values.
 */
ps_status psd_rows_get(struct psd_rows *rows, uint64_t key, uint8_t **row,
                       bool *fresh) PS_CHECKED;

uint64_t psd_rows_count(const struct psd_rows *rows);

#endif
