/*
 * keymap.h - something of a fixed size for each of some keys.
 *
 * Open addressing with linear probing leads from a key to its place; the places lie one
 * behind the other in the order in which they were added.
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_SHARD_KEYMAP_H
#define PSD_SHARD_KEYMAP_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero but for `bytes`: no keys. */
struct psd_keymap {
    size_t    bytes; /* of a place; a multiple of 8, or 0 */
    size_t    n, room;
    uint64_t *keys;    /* [n] */
    uint8_t  *places;  /* [n][bytes] */
    size_t    n_table; /* a power of two, above 2 * room */
    uint32_t *table;   /* index into keys + 1; 0: free */
};

void psd_keymap_free(struct psd_keymap *m);

/* Room for the next `more` calls of psd_keymap_add. */
ps_status psd_keymap_reserve(struct psd_keymap *m, size_t more) PS_CHECKED;

bool psd_keymap_has(const struct psd_keymap *m, uint64_t key);

/* Valid until the next reserve or keep; NULL when there is none. */
void *psd_keymap_find(const struct psd_keymap *m, uint64_t key);

/* The same, for a key that is not there: a place of zeros. */
void *psd_keymap_add(struct psd_keymap *m, uint64_t key);

/* Removes the keys for whose place `keep` says no. */
void psd_keymap_keep(struct psd_keymap *m, bool (*keep)(void *place, const void *ctx),
                     const void        *ctx);

#endif
