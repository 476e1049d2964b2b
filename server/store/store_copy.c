/*
 * store_copy.c - rows that are read and not held.
 *
 * Who holds rows goes over the keys, then over the places, then over the rows.  Who
 * only wants the values of rows that are there can do with one pass, in which each key
 * is at several stages, one behind the other:
 *
 *     its home in the table is asked for
 *     the line behind the home is asked for, if the hash cannot stand at home
 *     it is looked up, and its row asked for
 *     the row is copied
 *
 * So lines of the table and rows are under way together, and the work for the others is
 * done while they come.
 */
#include "server/store/store_rows.h"

#include "common/base/clones.h"
#include "common/base/copy.h"

/* How many keys later each stage is. */
#define NEXT_LINE 48u
#define LOOK 72u
#define COPY 96u
#define RING 128u /* keys that are under way, at most; a power of two */

#define LEAST 256u /* keys; of fewer, what is under way at the ends would cost more */

struct copying {
    const struct psd_rows *rows;
    const uint64_t        *keys;
    uint64_t               n;
    size_t                 bytes; /* of a row's values */
    uint8_t               *out;
    uint64_t               hash[RING];
    const uint8_t         *row[RING];
};

/* Each stage is told of all numbers, of those before the first key as very large ones.
 */
PS_INLINE void expect_home(struct copying *c, uint64_t i)
{
    if (i >= c->n)
        return;
    c->hash[i % RING] = psd_table_hash(c->keys[i]);
    psd_table_expect(&c->rows->table, c->hash[i % RING]);
}

PS_INLINE void expect_next_line(struct copying *c, uint64_t i)
{
    if (i < c->n)
        psd_table_expect_on(&c->rows->table, c->hash[i % RING]);
}

/* False: it is not there. */
PS_INLINE bool look(struct copying *c, uint64_t i)
{
    const uint8_t *row;
    uint32_t       place;

    if (i >= c->n)
        return true;
    place = psd_table_find(&c->rows->table, c->hash[i % RING]);
    if (place == PSD_NOWHERE)
        return false;
    row = psd_rows_row(c->rows, place);
    ps_expect_row(row, c->bytes);
    c->row[i % RING] = row;
    return true;
}

PS_INLINE void copy(struct copying *c, uint64_t i)
{
    if (i < c->n)
        ps_copy_row(c->out + i * c->bytes, c->row[i % RING], c->bytes);
}

/* The keys before the first one that has no row. */
PS_CLONES static uint64_t copy_all(struct copying *c)
{
    for (uint64_t i = 0; i < c->n + COPY; i++) {
        expect_home(c, i);
        expect_next_line(c, i - NEXT_LINE);
        if (!look(c, i - LOOK))
            return i - LOOK;
        copy(c, i - COPY);
    }
    return c->n;
}

bool psd_rows_copy(const struct psd_rows *r, const uint64_t *keys, uint64_t n,
                   void *out)
{
    struct copying c = { .rows = r,
                         .keys = keys,
                         .n = n,
                         .bytes = r->spec->cols * ps_dtype_bytes(r->spec->dtype),
                         .out = out };

    return n >= LEAST && r->spec->evict == PS_EVICT_NONE && copy_all(&c) == n;
}
