/*
 * place.h - which shard has this element or row?  The same answer on both sides.
 *
 * A matrix is cut into a fixed number of slots.  Dense: up to 256 contiguous ranges
 * of `slot_elements`, a multiple of 16; a matrix under 64 KiB is one slot.  Sparse:
 * 4096 slots, by hash of the key.  A map gives each slot to a shard; the coordinator
 * makes it, everyone else is told.
 *
 * Pure functions and plain structs; no thread rules.
 */
#ifndef PS_PLACE_PLACE_H
#define PS_PLACE_PLACE_H

#include "common/base/spec.h"

#define PS_DENSE_SLOTS 256u
#define PS_SPARSE_SLOTS 4096u
#ifndef PS_SLOT_ALIGN                 /* on paper they are others */
#define PS_SLOT_ALIGN 16u             /* elements */
#define PS_ONE_SLOT_BYTES (64u << 10) /* a smaller dense matrix is not cut */
#endif

struct ps_place {
    bool     sparse;
    uint32_t n_slots;
    uint64_t slot_elements; /* dense: of every slot but the last */
    uint64_t n_elements;    /* dense: of the matrix */
    uint32_t element_bytes;
    bool     is_whole;                  /* one shard has all slots */
    uint16_t shard_of[PS_SPARSE_SLOTS]; /* by slot */
};

/* The slots of a matrix, all given to shard 0. */
void ps_place_cut(struct ps_place *place, const struct ps_matrix_spec *spec);

/*
 * Gives the slots to shards so that `load` (bytes per shard so far, [n_shards])
 * becomes as even as whole slots allow, each shard getting one contiguous run of a
 * dense matrix; equal loads go to the lower number.  `load` is updated; a sparse
 * matrix is spread evenly and adds nothing.
 */
void ps_place_assign(struct ps_place *place, uint64_t *load, uint32_t n_shards);

/* How a map travels: `n_slots` consecutive slots that belong to `shard`. */
struct ps_slot_run {
    uint32_t shard;
    uint32_t n_slots;
};

/* Runs of the map as it is; writes at most `room` of them, returns how many there are.
 */
uint32_t ps_place_runs(const struct ps_place *place, struct ps_slot_run *runs,
                       uint32_t room);

/* Gives the slots to the shards that the runs name.  False, and the map is undefined,
 * when the runs do not cover the slots exactly or name a shard beyond `n_shards`. */
bool ps_place_take_runs(struct ps_place *place, const struct ps_slot_run *runs,
                        uint32_t n_runs, uint32_t n_shards);

/* Elements of slot `slot` of a dense matrix: first, and how many. */
uint64_t ps_place_slot(const struct ps_place *place, uint32_t slot, uint64_t *count);

uint32_t ps_place_key_slot(uint64_t key); /* of a sparse row */
uint32_t ps_place_key_shard(const struct ps_place *place, uint64_t key);

/* The shard of each of keys[n]. */
void ps_place_key_shards(const struct ps_place *place, const uint64_t *keys, uint64_t n,
                         uint16_t *shards);

/* How many of keys[n] there are before one that `shard` does not have. */
uint64_t ps_place_keys_on(const struct ps_place *place, uint32_t shard,
                          const uint64_t *keys, uint64_t n);

/* Elements of a full chunk of this matrix. */
uint64_t ps_place_chunk_elements(const struct ps_place *place);

/*
 * The next piece of elements [*at, end) of a dense matrix: it lies on one shard and in
 * one chunk.  Chunks are cut on a grid of ps_place_chunk_elements over the whole
 * matrix and where the owner changes, so both sides know their edges.  *at moves
 * behind the piece.  False at the end.
 */
struct ps_piece {
    uint32_t shard;
    uint64_t first, count;
};
bool ps_place_next(const struct ps_place *place, uint64_t *at, uint64_t end,
                   struct ps_piece *piece);

#endif
