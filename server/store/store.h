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
 * Sparse rows live in pages of flat memory, counted blocks like chunks (capture.h holds
 * them), found by an open-addressing table; a row
 * is created at first touch by the initialiser, a function of (seed, name, key,
 * column).  A matrix may have a row limit: then a row too many is refused, or the one
 * goes that was used longest ago or least often, and starts anew when it comes back.
 * A shard's part of the limit is its part of the slots, rounded up.
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_STORE_STORE_H
#define PSD_STORE_STORE_H

#include "common/base/sheet.h"
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

    struct ps_heap   *heap;     /* the store's */
    size_t            n_chunks; /* dense: sorted by `first` */
    struct psd_chunk *chunks;
    struct ps_buf    *sheet; /* of all chunks as they are; NULL: nobody has asked yet */
    struct psd_rows  *rows;  /* sparse */
};

struct psd_store;

ps_status psd_store_new(struct psd_store **out, uint32_t shard,
                        uint64_t seed) PS_CHECKED;
void      psd_store_free(struct psd_store **store);

/* From now on parameters of dense matrices lie in a heap, where other processes can be
 * shown them. */
ps_status psd_store_share(struct psd_store *store) PS_CHECKED;

/* NULL: it does not share. */
struct ps_heap *psd_store_heap(const struct psd_store *store);

/*
 * Creates this shard's part of the matrix, initialised; `spec->number` is its name
 * here.  PS_ERR_REPEATED when the number exists.  The owner decides n_state.
 */
ps_status psd_store_add(struct psd_store *store, const struct ps_matrix_spec *spec,
                        const struct ps_place *place, uint32_t n_state) PS_CHECKED;

/* NULL when there is none. */
struct psd_matrix *psd_store_find(struct psd_store *store, uint32_t number);

/* The one with the lowest number above `number`; NULL: there is none. */
const struct psd_matrix *psd_store_next(const struct psd_store *store, uint32_t number);

/* The chunk that holds element `first`, or NULL: not here. */
struct psd_chunk *psd_store_chunk(struct psd_matrix *m, uint64_t first);

/* The chunks that hold elements first .. first+n-1 and no others, *n_chunks of them;
 * NULL: there are none. */
struct psd_chunk *psd_store_run(struct psd_matrix *m, uint64_t first, uint64_t n,
                                size_t *n_chunks);

/*
 * A frame that is a sheet of the values of these n chunks, which are as psd_store_run
 * gives them.  While somebody holds it they stay as they are, as with their blocks.  Of
 * all the matrix has here one is made for each version of it.
 */
ps_status psd_store_sheet(struct psd_matrix *m, const struct psd_chunk *chunks,
                          size_t n, struct ps_buf **out) PS_CHECKED;

/*
 * Makes value and state of the chunk writable in place: sole owner afterwards, the
 * old bytes kept.  On failure nothing changed.
 */
ps_status psd_store_write(struct psd_matrix *m, struct psd_chunk *c) PS_CHECKED;

/*
 * Finds the sparse rows of keys[n], in any order, repeats allowed; those that are not
 * there are created.  places[n] gets where they lie, which stays so while they exist,
 * and they exist until each place has been released as often as it was held.  Every
 * key counts as a use of its row.
 *
 * PS_ERR_LIMIT      there would be more rows than the matrix may have, even if all went
 *                   that nobody holds: nothing has changed
 * PS_ERR_NO_MEMORY  nothing has changed but that some rows may have been created or,
 *                   at the limit, have gone
 */
ps_status psd_store_hold(struct psd_matrix *m, const uint64_t *keys, uint64_t n,
                         uint32_t *places) PS_CHECKED;
void      psd_store_release(struct psd_matrix *m, const uint32_t *places, uint64_t n);

/* The same, and *distinct says whether no key came twice (of keys that did not it may
 * say false, once in 2^32 calls). */
ps_status psd_store_hold_distinct(struct psd_matrix *m, const uint64_t *keys,
                                  uint64_t n, uint32_t *places,
                                  bool *distinct) PS_CHECKED;

/* The row at `place`: [cols] values, which are returned, then n_state x [cols] of
 * state.  To be written only after psd_store_write_rows. */
void *psd_store_row(const struct psd_matrix *m, uint32_t place,
                    void *state[PSD_STORE_STATE_MAX]);

/* The rows at places[n], whose state lies behind their values. */
void psd_store_rows(const struct psd_matrix *m, const uint32_t *places, uint64_t n,
                    void **rows);

/*
 * Makes the rows at these places writable: nobody else holds their pages afterwards.
 * PS_ERR_NO_MEMORY: the rows are as they were.
 */
ps_status psd_store_write_rows(struct psd_matrix *m, const uint32_t *places,
                               uint64_t n) PS_CHECKED;

/* A number beside each row for whoever walks over rows that it holds: 0 before, to be
 * left as 0. */
uint32_t *psd_store_tag(const struct psd_matrix *m, uint32_t place);

/*
 * The rows that exist, in an order that nothing changes: up to `room` of them from
 * cursor `from` on (0: from the first one), which is no use of them.  *next is the
 * cursor behind them, 0 at the end.  Returns how many; fewer than `room` only at the
 * end.  A row that exists from the first call to the last is listed once, any other
 * once at most.
 */
size_t psd_store_list(const struct psd_matrix *m, uint64_t from, size_t room,
                      uint64_t *keys, uint32_t *places, uint64_t *next);

struct psd_account {
    uint64_t bytes, state_bytes; /* of parameters and of optimiser state */
    uint64_t allocated_bytes;    /* with pages not full yet, tables and marks */
    uint64_t rows, evicted;      /* of sparse matrices */
};

struct psd_account psd_store_account(const struct psd_store *store);
struct psd_account psd_store_matrix_account(const struct psd_matrix *m);

#endif
