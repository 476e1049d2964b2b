/*
 * slabs.h - blocks of one size, the pages of a matrix's rows, side by side in huge
 * pages.
 *
 * They are cut out of slabs as large as a huge page.  A block that is dropped, by
 * whoever held it and on whatever thread, is handed out again; the slabs go when all
 * have let go of all of them.
 *
 * Thread: the shard that owns the store; blocks are dropped on any.
 */
#ifndef PSD_STORE_SLABS_H
#define PSD_STORE_SLABS_H

#include "common/base/buf.h"

#define PSD_SLAB_BLOCK_BYTES ((size_t)64 << 10)

struct psd_slabs;

/* Several fit a slab: block_bytes is at most PSD_SLAB_BLOCK_BYTES. */
ps_status psd_slabs_new(struct psd_slabs **out, size_t block_bytes) PS_CHECKED;

/* Blocks that others hold stay.  NULL is fine; *slabs becomes NULL. */
void psd_slabs_free(struct psd_slabs **slabs);

/* A block with block_bytes in use, which are not initialised. */
ps_status psd_slabs_take(struct psd_slabs *slabs, struct ps_buf **out) PS_CHECKED;

/* Memory of all slabs, whether somebody holds blocks of them or not. */
size_t psd_slabs_bytes(const struct psd_slabs *slabs);

#endif
