/*
 * store_table.h - from the key of a row to its place.
 *
 * Open addressing in order: cells stand by the hash of their keys, as far as they can,
 * so that a key that is not there is known to be missing as soon as a larger hash
 * comes, a cell that goes is closed up without a trace, and the rows can be listed by
 * ascending hash however the table grows and whoever comes and goes meanwhile.  Keys
 * and hashes belong to each other one to one, so a cell keeps the hash alone.
 *
 * Memory comes in lines of four cells, so a hash has a line for its home: nearly all
 * are found in it, at the price of one look at memory, and because they stand in order
 * the number of smaller ones tells where, without a branch to be guessed wrong.
 *
 * Source: Amble and Knuth, "Ordered hash tables", The Computer Journal 17(2), 1974.
 *
 * Thread: the shard that owns the store.
 */
#ifndef PSD_STORE_STORE_TABLE_H
#define PSD_STORE_STORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PSD_NOWHERE UINT32_MAX /* the place of a row that does not exist */

#define PSD_LINE 4u /* cells; 64 bytes */

struct psd_cell {
    uint64_t hash;  /* of an empty one the largest there is */
    uint32_t place; /* PSD_NOWHERE: the cell is empty */
    uint32_t round; /* in which it was met last */
};

struct psd_table {
    uint64_t         n;       /* cells in use, at most 7 of 10 */
    size_t           n_cells; /* a power of two */
    unsigned         shift;   /* a hash >> shift is its home among the lines */
    uint32_t         round;
    struct psd_cell *cells; /* aligned to lines */
};

/*
 * The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).  The constant makes it
 * another function than the one that gives keys to shards: a shard's keys share bits of
 * that one, and would crowd here.
 */
static inline uint64_t psd_table_hash(uint64_t key)
{
    uint64_t x = key ^ 0x5a6f7c3e91d24b87u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The key whose hash this is: the same steps backwards, with the inverse factors. */
static inline uint64_t psd_table_key(uint64_t hash)
{
    uint64_t x = (hash ^ (hash >> 31) ^ (hash >> 62)) * 0x319642b2d24d8ec3u;

    x = (x ^ (x >> 27) ^ (x >> 54)) * 0x96de1b173f119089u;
    return x ^ (x >> 30) ^ (x >> 60) ^ 0x5a6f7c3e91d24b87u;
}

/* False: no memory. */
bool psd_table_init(struct psd_table *table);
void psd_table_free(struct psd_table *table);

/* Room for `more` keys; false: no memory, and it is as it was. */
bool psd_table_reserve(struct psd_table *table, uint64_t more);

static inline struct psd_cell *psd_table_home(const struct psd_table *table,
                                              uint64_t                hash)
{
    return &table->cells[(hash >> table->shift) * PSD_LINE];
}

/* Its cell will be looked at soon, though not so soon that it has to be in the cache of
 * the first level, of which few lines can be under way. */
static inline void psd_table_expect(const struct psd_table *table, uint64_t hash)
{
    __builtin_prefetch(psd_table_home(table, hash), 0, 2);
}

/* Its home is there by now: if there was no room in it, the next line will be looked
 * at. */
static inline void psd_table_expect_on(const struct psd_table *table, uint64_t hash)
{
    const struct psd_cell *home = psd_table_home(table, hash);

    if (home[PSD_LINE - 1].hash < hash)
        __builtin_prefetch(home + PSD_LINE, 0, 2);
}

/* Its cell wherever it is, or NULL when it is not there. */
struct psd_cell *psd_table_search(const struct psd_table *table, uint64_t hash);

/* The same, when it is most likely at home. */
static inline struct psd_cell *psd_table_cell(const struct psd_table *table,
                                              uint64_t                hash)
{
    struct psd_cell *home = psd_table_home(table, hash);
    struct psd_cell *cell =
        home + (home[0].hash < hash) + (home[1].hash < hash) + (home[2].hash < hash);

    if (cell->hash == hash && cell->place != PSD_NOWHERE)
        return cell;
    return psd_table_search(table, hash);
}

/* PSD_NOWHERE when it is not there. */
static inline uint32_t psd_table_find(const struct psd_table *table, uint64_t hash)
{
    const struct psd_cell *cell = psd_table_cell(table, hash);

    return cell ? cell->place : PSD_NOWHERE;
}

/* A new round, in which nothing was met yet. */
static inline void psd_table_begin(struct psd_table *table)
{
    table->round++;
}

/* As psd_table_find; *again: it was put or met in this round before (or 2^32 rounds
 * ago). */
static inline uint32_t psd_table_meet(struct psd_table *table, uint64_t hash,
                                      bool *again)
{
    struct psd_cell *cell = psd_table_cell(table, hash);

    *again = cell && cell->round == table->round;
    if (!cell)
        return PSD_NOWHERE;
    cell->round = table->round;
    return cell->place;
}

/* `hash` is not there, and there is room. */
void psd_table_put(struct psd_table *table, uint64_t hash, uint32_t place);

/* `hash` is there. */
void psd_table_remove(struct psd_table *table, uint64_t hash);

/* The next cells by hash, from `from` on; how many were written to out[room]. */
size_t psd_table_list(const struct psd_table *table, uint64_t from, size_t room,
                      struct psd_cell *out);

#endif
