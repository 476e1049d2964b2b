/* store_table.c - see store_table.h. */
#include "server/store/store_table.h"

#include "server/store/huge.h"

#include <stdlib.h>

#define FIRST_BITS 4u /* of the number of lines */

static const struct psd_cell empty = { .hash = UINT64_MAX, .place = PSD_NOWHERE };

static struct psd_cell *cells_new(size_t n)
{
    struct psd_cell *cells = psd_huge_alloc(n * sizeof(*cells));

    for (size_t i = 0; cells && i < n; i++)
        cells[i] = empty;
    return cells;
}

bool psd_table_init(struct psd_table *t)
{
    t->n = 0;
    t->round = 0;
    t->n_cells = (size_t)PSD_LINE << FIRST_BITS;
    t->shift = 64 - FIRST_BITS;
    t->cells = cells_new(t->n_cells);
    return t->cells != NULL;
}

void psd_table_free(struct psd_table *t)
{
    free(t->cells);
    t->cells = NULL;
}

static size_t next_cell(const struct psd_table *t, size_t at)
{
    return (at + 1) & (t->n_cells - 1);
}

/* How far from its home a hash stands at `at`; the table is a ring. */
static size_t distance(const struct psd_table *t, size_t at, uint64_t hash)
{
    return (at - (hash >> t->shift) * PSD_LINE) & (t->n_cells - 1);
}

/* The cell of `hash`, or the one before which it would stand. */
static size_t find_cell(const struct psd_table *t, uint64_t hash)
{
    size_t at = (hash >> t->shift) * PSD_LINE;

    for (size_t mine = 0;; mine++, at = next_cell(t, at)) {
        const struct psd_cell *cell = &t->cells[at];
        size_t                 theirs;

        if (cell->place == PSD_NOWHERE || cell->hash == hash)
            return at;
        theirs = distance(t, at, cell->hash);
        if (theirs < mine || (theirs == mine && cell->hash > hash))
            return at;
    }
}

/* What stands behind moves on by one, up to the next empty cell. */
static void put_cell(struct psd_table *t, struct psd_cell moving)
{
    for (size_t at = find_cell(t, moving.hash); moving.place != PSD_NOWHERE;
         at = next_cell(t, at)) {
        struct psd_cell was = t->cells[at];

        t->cells[at] = moving;
        moving = was;
    }
    t->n++;
}

bool psd_table_reserve(struct psd_table *t, uint64_t more)
{
    struct psd_table grown = *t;

    grown.n = 0;
    while (10 * (t->n + more) > 7 * (uint64_t)grown.n_cells) {
        grown.n_cells *= 2;
        grown.shift--;
    }
    if (grown.n_cells == t->n_cells)
        return true;
    grown.cells = cells_new(grown.n_cells);
    if (!grown.cells)
        return false;
    for (size_t i = 0; i < t->n_cells; i++)
        if (t->cells[i].place != PSD_NOWHERE)
            put_cell(&grown, t->cells[i]);
    free(t->cells);
    *t = grown;
    return true;
}

struct psd_cell *psd_table_search(const struct psd_table *t, uint64_t hash)
{
    struct psd_cell *cell = &t->cells[find_cell(t, hash)];

    return cell->hash == hash && cell->place != PSD_NOWHERE ? cell : NULL;
}

void psd_table_put(struct psd_table *t, uint64_t hash, uint32_t place)
{
    put_cell(t, (struct psd_cell){ hash, place, t->round });
}

/* What stands behind and is not at home moves back by one. */
void psd_table_remove(struct psd_table *t, uint64_t hash)
{
    size_t at = find_cell(t, hash);

    for (size_t next = next_cell(t, at); t->cells[next].place != PSD_NOWHERE &&
                                         distance(t, next, t->cells[next].hash) > 0;
         next = next_cell(t, next)) {
        t->cells[at] = t->cells[next];
        at = next;
    }
    t->cells[at] = empty;
    t->n--;
}

/* Once round the ring, or until the hashes begin anew. */
size_t psd_table_list(const struct psd_table *t, uint64_t from, size_t room,
                      struct psd_cell *out)
{
    size_t at = find_cell(t, from), n = 0;

    for (size_t seen = 0; seen < t->n_cells && n < room; seen++) {
        const struct psd_cell *cell = &t->cells[at];

        at = next_cell(t, at);
        if (cell->place == PSD_NOWHERE)
            continue;
        if (cell->hash < from)
            break;
        from = cell->hash;
        out[n++] = *cell;
    }
    return n;
}
