/*
 * scratch.h - memory for as long as one request, or the close of one iteration, takes.
 *
 * Pieces are cut off a block one behind the other and given back all at once, so a
 * shard that is warm asks nobody for memory to work with.  What finds no room in the
 * block has one of its own, and the block is larger the next time; but at most
 * PSD_SCRATCH_KEPT are kept.
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_SHARD_SCRATCH_H
#define PSD_SHARD_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#define PSD_SCRATCH_KEPT ((size_t)16 << 20)

struct psd_scratch_extra;

/* Zeroed memory is an empty one. */
struct psd_scratch {
    uint8_t                  *bytes;
    size_t                    used, room, wanted; /* since the last reset */
    struct psd_scratch_extra *extra;
};

/* Aligned to 64 bytes, not initialised; NULL: no memory. */
void *psd_scratch_get(struct psd_scratch *s, size_t bytes);

/* All that was got is given back. */
void psd_scratch_reset(struct psd_scratch *s);

void psd_scratch_free(struct psd_scratch *s);

#endif
