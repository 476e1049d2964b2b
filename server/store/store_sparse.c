/*
 * store_sparse.c - rows by key.
 *
 * Rows lie in pages of at most 16 KiB (one row, if a row is larger) and never move; a
 * row's place is its number among all places ever used.  Places of rows that went are
 * used again first.  Pages are small because while a capture is written, an update
 * copies those of its rows, which lie anywhere.
 */
#include "server/store/store_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES ((size_t)16 << 10)
#define AHEAD 64u /* keys between asking for a cell and looking at it */

/* Its part of the limit: as large as its part of the slots, rounded up. */
static uint64_t limit_of(const struct ps_matrix_spec *spec,
                         const struct ps_place *place, uint32_t shard)
{
    uint64_t slots = 0, whole, rest;

    if (spec->max_rows == 0)
        return UINT64_MAX;
    for (uint32_t i = 0; i < place->n_slots; i++)
        slots += place->shard_of[i] == shard;
    whole = spec->max_rows / place->n_slots;
    rest = spec->max_rows % place->n_slots;
    return whole * slots + (rest * slots + place->n_slots - 1) / place->n_slots;
}

static unsigned page_shift(size_t row_bytes)
{
    unsigned shift = 0;

    while (row_bytes << (shift + 1) <= PAGE_BYTES)
        shift++;
    return shift;
}

ps_status psd_rows_new(struct psd_rows **out, const struct ps_matrix_spec *spec,
                       const struct ps_place *place, uint32_t shard, uint64_t seed,
                       uint32_t n_state)
{
    struct psd_rows *r = calloc(1, sizeof(*r));
    size_t           bytes;

    if (!r || !psd_table_init(&r->table)) {
        psd_rows_free(&r);
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for its rows",
                       spec->name);
    }
    if (__builtin_mul_overflow(spec->cols, ps_dtype_bytes(spec->dtype), &bytes) ||
        __builtin_mul_overflow(bytes, 1 + n_state, &bytes)) {
        psd_rows_free(&r);
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for rows of %ju columns",
                       spec->name, (uintmax_t)spec->cols);
    }
    r->spec = spec;
    r->shard = shard;
    r->seed = seed;
    r->row_bytes = bytes;
    r->page_shift = page_shift(bytes);
    r->free = PSD_NOWHERE;
    r->limit = limit_of(spec, place, shard);
    *out = r;
    return PS_OK;
}

void psd_rows_free(struct psd_rows **rows)
{
    struct psd_rows *r = *rows;

    *rows = NULL;
    if (!r)
        return;
    for (size_t i = 0; i < r->n_pages; i++) {
        ps_buf_drop(&r->pages[i].block);
        free(r->pages[i].marks);
    }
    psd_slabs_free(&r->slabs);
    free(r->pages);
    free(r->tags);
    free(r->heap);
    psd_table_free(&r->table);
    free(r);
}

static bool evicts(const struct psd_rows *r)
{
    return r->spec->evict != PS_EVICT_NONE;
}

void *psd_rows_at(const struct psd_rows *r, uint32_t place)
{
    size_t in_page = place & (((uint32_t)1 << r->page_shift) - 1);

    return r->pages[place >> r->page_shift].rows + in_page * r->row_bytes;
}

void psd_rows_all_at(const struct psd_rows *r, const uint32_t *places, uint64_t n,
                     void **out)
{
    for (uint64_t i = 0; i < n; i++)
        out[i] = psd_rows_at(r, places[i]);
}

uint32_t *psd_rows_tag(const struct psd_rows *r, uint32_t place)
{
    return &r->tags[place];
}

/* ---- room ---------------------------------------------------------------------- */

static ps_status no_memory(const struct psd_rows *r)
{
    return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for row %ju of %zu bytes",
                   r->spec->name, (uintmax_t)r->table.n + 1, r->row_bytes);
}

static ps_status page_new(struct psd_page *page, struct psd_rows *r)
{
    size_t    n = (size_t)1 << r->page_shift;
    ps_status st;

    *page = (struct psd_page){ 0 };
    if (evicts(r) && !(page->marks = malloc(n * sizeof(*page->marks))))
        return no_memory(r);
    st = psd_rows_renew(r, page);
    if (st)
        free(page->marks);
    return st;
}

/* Room to know of one page more, and of what is beside its rows. */
static ps_status grow_pages(struct psd_rows *r)
{
    size_t           room = r->pages_room ? 2 * r->pages_room : 1;
    struct psd_page *pages = realloc(r->pages, room * sizeof(*pages));
    uint32_t        *tags;

    if (!pages)
        return no_memory(r);
    r->pages = pages;
    tags = realloc(r->tags, (room << r->page_shift) * sizeof(*tags));
    if (!tags)
        return no_memory(r);
    memset(tags + (r->pages_room << r->page_shift), 0,
           ((room - r->pages_room) << r->page_shift) * sizeof(*tags));
    r->tags = tags;
    r->pages_room = room;
    return PS_OK;
}

static ps_status add_page(struct psd_rows *r)
{
    ps_status st = r->n_pages == r->pages_room ? grow_pages(r) : PS_OK;

    if (!st)
        st = page_new(&r->pages[r->n_pages], r);
    r->n_pages += !st;
    return st;
}

/* Room for places up to `n_places`, and for so many rows. */
static ps_status reserve(struct psd_rows *r, uint64_t n_places)
{
    if (n_places >= PSD_NOWHERE)
        return ps_fail(PS_ERR_LIMIT, "matrix %s: %ju rows on shard %u, at most %u",
                       r->spec->name, (uintmax_t)n_places, r->shard, PSD_NOWHERE - 1);
    while (n_places > (uint64_t)r->n_pages << r->page_shift) {
        ps_status st = add_page(r);

        if (st)
            return st;
    }
    if (!psd_table_reserve(&r->table, n_places - r->table.n) ||
        (evicts(r) && !psd_evict_reserve(r, n_places)))
        return no_memory(r);
    return PS_OK;
}

/* ---- rows that come ------------------------------------------------------------ */

/* Room for one more row, in a page that nobody else holds. */
static ps_status reserve_one(struct psd_rows *r)
{
    ps_status st = PS_OK;

    if (r->free == PSD_NOWHERE)
        st = reserve(r, (uint64_t)r->n_places + 1);
    return st ? st : psd_rows_own(r, r->free == PSD_NOWHERE ? r->n_places : r->free);
}

/* There is room for it.  Gives where it is to be written. */
static uint8_t *take_place(struct psd_rows *r, struct psd_row_mark mark, uint32_t *out)
{
    uint32_t place = r->free;

    if (place == PSD_NOWHERE)
        place = r->n_places++;
    else
        r->free = psd_rows_mark(r, place)->at;
    if (evicts(r))
        *psd_rows_mark(r, place) = mark;
    psd_table_put(&r->table, mark.hash, place);
    *out = place;
    return psd_rows_at(r, place);
}

/* There is room for it.  Nobody holds it yet. */
static uint32_t create(struct psd_rows *r, uint64_t hash)
{
    const uint64_t cols = r->spec->cols;
    const size_t   bytes = cols * ps_dtype_bytes(r->spec->dtype);
    uint32_t       place;
    uint8_t       *row =
        take_place(r, (struct psd_row_mark){ .hash = hash, .holds = 1 }, &place);

    psd_store_fill(r->spec, r->seed, psd_table_key(hash) * cols, cols, row);
    memset(row + bytes, 0, r->row_bytes - bytes);
    return place;
}

static ps_status find_or_create(struct psd_rows *r, uint64_t hash, uint32_t *place,
                                bool *again)
{
    ps_status st = PS_OK;

    *place = psd_table_meet(&r->table, hash, again);
    if (*place != PSD_NOWHERE) {
        if (evicts(r))
            psd_evict_hold(r, *place);
    } else {
        st = reserve_one(r);
        if (!st)
            *place = create(r, hash);
    }
    if (!st && evicts(r))
        psd_evict_use(r, *place);
    return st;
}

/* The hash of a key that will be looked for soon. */
static uint64_t expect(const struct psd_rows *r, uint64_t key)
{
    uint64_t hash = psd_table_hash(key);

    psd_table_expect(&r->table, hash);
    return hash;
}

/* Where no limit can be met. */
static ps_status hold_all(struct psd_rows *r, const uint64_t *keys, uint64_t n,
                          uint32_t *places, bool *distinct)
{
    uint64_t next[AHEAD]; /* hashes, a ring */

    psd_table_begin(&r->table);
    *distinct = true;
    for (uint64_t i = 0; i < n && i < AHEAD; i++)
        next[i] = expect(r, keys[i]);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t  hash = next[i % AHEAD];
        bool      again;
        ps_status st;

        if (i + AHEAD < n)
            next[i % AHEAD] = expect(r, keys[i + AHEAD]);
        if (i + AHEAD / 2 < n)
            psd_table_expect_on(&r->table, next[(i + AHEAD / 2) % AHEAD]);
        st = find_or_create(r, hash, &places[i], &again);
        if (st) {
            psd_rows_release(r, places, i);
            return st;
        }
        *distinct = *distinct && !again;
    }
    return PS_OK;
}

/* ---- at the limit -------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t count_distinct(uint64_t *values, uint64_t n)
{
    uint64_t distinct = 0;

    qsort(values, n, sizeof(*values), by_value);
    for (uint64_t i = 0; i < n; i++)
        distinct += i == 0 || values[i] != values[i - 1];
    return distinct;
}

static ps_status refuse(const struct psd_rows *r, uint64_t fresh)
{
    char most[96];

    snprintf(most, sizeof(most), "%ju of the matrix's max_rows %ju on shard %u",
             (uintmax_t)r->limit, (uintmax_t)r->spec->max_rows, r->shard);
    if (evicts(r))
        return ps_fail(PS_ERR_LIMIT,
                       "matrix %s: %ju new rows, but %ju of %s are part of the same "
                       "request or of held pushes; ask for fewer rows at a time or "
                       "raise max_rows",
                       r->spec->name, (uintmax_t)fresh,
                       (uintmax_t)(r->table.n - r->n_heap), most);
    return ps_fail(PS_ERR_LIMIT,
                   "matrix %s: %ju new rows beside %ju would be more than %s; raise it "
                   "or choose evict lru or frequency",
                   r->spec->name, (uintmax_t)fresh, (uintmax_t)r->table.n, most);
}

static void evict(struct psd_rows *r)
{
    uint32_t             place = psd_evict_next(r);
    struct psd_row_mark *mark = psd_rows_mark(r, place);

    psd_table_remove(&r->table, mark->hash);
    mark->at = r->free;
    r->free = place;
    r->evicted++;
}

/* Rows that may still come.  There may be too many: of another layout, put back. */
static uint64_t room_of(const struct psd_rows *r)
{
    return r->table.n < r->limit ? r->limit - r->table.n : 0;
}

/* Room for `fresh` more rows, at the cost of others that nobody holds. */
static ps_status make_room(struct psd_rows *r, uint64_t fresh)
{
    uint64_t  excess = fresh > room_of(r) ? fresh - room_of(r) : 0;
    ps_status st;

    if (excess > r->n_heap)
        return refuse(r, fresh);
    st = reserve(r, r->table.n + fresh - excess);
    if (st)
        return st;
    while (excess-- > 0)
        evict(r);
    return PS_OK;
}

/*
 * Counts the new rows first.  The known ones are held meanwhile, so that none of them
 * goes for the others.
 */
static ps_status hold_within_limit(struct psd_rows *r, const uint64_t *keys, uint64_t n,
                                   uint32_t *places, bool *distinct)
{
    uint64_t *missing = malloc(n * (sizeof(*missing) + sizeof(uint32_t)));
    uint32_t *known = (uint32_t *)(missing + n);
    uint64_t  n_missing = 0, n_known = 0;
    ps_status st;

    if (!missing)
        return no_memory(r);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t hash = psd_table_hash(keys[i]);
        uint32_t place = psd_table_find(&r->table, hash);

        if (place == PSD_NOWHERE) {
            missing[n_missing++] = hash;
        } else {
            known[n_known++] = place;
            if (evicts(r))
                psd_evict_hold(r, place);
        }
    }
    st = make_room(r, count_distinct(missing, n_missing));
    if (!st)
        st = hold_all(r, keys, n, places, distinct);
    psd_rows_release(r, known, n_known);
    free(missing);
    return st;
}

ps_status psd_rows_hold(struct psd_rows *r, const uint64_t *keys, uint64_t n,
                        uint32_t *places, bool *distinct)
{
    if (n <= room_of(r))
        return hold_all(r, keys, n, places, distinct);
    return hold_within_limit(r, keys, n, places, distinct);
}

void psd_rows_release(struct psd_rows *r, const uint32_t *places, uint64_t n)
{
    if (evicts(r))
        for (uint64_t i = 0; i < n; i++)
            psd_evict_release(r, places[i]);
}

/* ---- rows that are put back ---------------------------------------------------- */

ps_status psd_rows_insert(struct psd_rows *r, uint64_t key, const void *bytes,
                          const struct psd_mark *mark)
{
    uint64_t            hash = psd_table_hash(key);
    struct psd_row_mark kept = { .hash = hash, .holds = 1 };
    uint32_t            place;
    ps_status           st;

    if (psd_table_find(&r->table, hash) != PSD_NOWHERE)
        return ps_fail(PS_ERR_DATA,
                       "matrix %s: row %ju is in two parts of the snapshot",
                       r->spec->name, (uintmax_t)key);
    st = reserve_one(r);
    if (st)
        return st;
    if (mark) {
        kept.uses = mark->uses;
        kept.stamp = mark->last;
        if (mark->last > r->stamp)
            r->stamp = mark->last;
    }
    memcpy(take_place(r, kept, &place), bytes, r->row_bytes);
    if (evicts(r))
        psd_evict_release(r, place);
    return PS_OK;
}

void psd_rows_limit(struct psd_rows *r)
{
    while (r->table.n > r->limit && r->n_heap > 0)
        evict(r);
}

/* ---- what there is ------------------------------------------------------------- */

void psd_rows_account(const struct psd_rows *r, struct psd_account *a)
{
    const size_t   value_bytes = r->spec->cols * ps_dtype_bytes(r->spec->dtype);
    const uint64_t places = (uint64_t)r->n_pages << r->page_shift;
    const size_t   beside = evicts(r) ? sizeof(struct psd_row_mark) : 0;
    const size_t   slabs = r->slabs ? psd_slabs_bytes(r->slabs) : 0;

    a->rows += r->table.n;
    a->evicted += r->evicted;
    a->bytes += r->table.n * value_bytes;
    a->state_bytes += r->table.n * (r->row_bytes - value_bytes);
    a->allocated_bytes +=
        (r->n_alone << r->page_shift) * r->row_bytes + slabs + places * beside +
        (r->pages_room << r->page_shift) * sizeof(*r->tags) +
        r->table.n_cells * sizeof(*r->table.cells) + r->heap_room * sizeof(*r->heap);
}

size_t psd_rows_list(const struct psd_rows *r, uint64_t from, size_t room,
                     uint64_t *keys, uint32_t *places, uint64_t *next)
{
    struct psd_cell cells[64];
    size_t          n = 0, got;

    do {
        size_t most = sizeof(cells) / sizeof(cells[0]);

        got = psd_table_list(&r->table, from, most < room - n ? most : room - n, cells);
        for (size_t i = 0; i < got; i++, n++) {
            keys[n] = psd_table_key(cells[i].hash);
            places[n] = cells[i].place;
        }
        from = got ? cells[got - 1].hash + 1 : 0; /* 0 behind the last of all */
    } while (from != 0 && n < room);
    *next = from;
    return n;
}
