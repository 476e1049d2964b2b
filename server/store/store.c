/* store.c - see store.h. */
#include "server/store/store_private.h"

#include "common/base/plant.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ps_status psd_store_new(struct psd_store **out, uint32_t shard, uint64_t seed)
{
    struct psd_store *s = calloc(1, sizeof(*s));

    if (!s)
        return ps_fail(PS_ERR_NO_MEMORY, "store: no memory for a job on shard %u",
                       shard);
    s->shard = shard;
    s->seed = seed;
    *out = s;
    return PS_OK;
}

ps_status psd_store_share(struct psd_store *s)
{
    return ps_heap_new(&s->heap);
}

struct ps_heap *psd_store_heap(const struct psd_store *s)
{
    return s->heap;
}

void psd_chunk_drop(struct psd_chunk *c)
{
    ps_buf_drop(&c->value);
    for (uint32_t i = 0; i < PSD_STORE_STATE_MAX; i++)
        ps_buf_drop(&c->state[i]);
}

void psd_chunk_share(struct psd_chunk *out, const struct psd_chunk *c)
{
    *out = *c;
    ps_buf_share(c->value);
    for (uint32_t i = 0; i < PSD_STORE_STATE_MAX; i++)
        if (c->state[i])
            ps_buf_share(c->state[i]);
}

static void matrix_free(struct psd_matrix *m)
{
    if (!m)
        return;
    ps_buf_drop(&m->sheet);
    for (size_t i = 0; i < m->n_chunks; i++)
        psd_chunk_drop(&m->chunks[i]);
    free(m->chunks);
    psd_rows_free(&m->rows);
    free(m);
}

void psd_store_free(struct psd_store **store)
{
    struct psd_store *s = *store;

    *store = NULL;
    if (!s)
        return;
    for (size_t i = 0; i < s->n_matrices; i++)
        matrix_free(s->matrices[i]);
    free(s->matrices);
    ps_heap_free(&s->heap);
    free(s);
}

/* Where the matrix stands in the list, or would stand. */
static size_t place_of(const struct psd_store *s, uint32_t number)
{
    size_t low = 0, high = s->n_matrices;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->matrices[middle]->spec.number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct psd_matrix *psd_store_find(struct psd_store *s, uint32_t number)
{
    size_t at = place_of(s, number);

    if (at < s->n_matrices && s->matrices[at]->spec.number == number)
        return s->matrices[at];
    return NULL;
}

const struct psd_matrix *psd_store_next(const struct psd_store *s, uint32_t number)
{
    size_t at = number < UINT32_MAX ? place_of(s, number + 1) : s->n_matrices;

    return at < s->n_matrices ? s->matrices[at] : NULL;
}

/*
 * Could this host hold the shard's part at all?  Asked before anything is made: memory
 * that the system promises and does not have costs the process its life later.
 */
static ps_status check_bytes(const struct psd_store *s, const struct psd_matrix *m)
{
    uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t elements = 0, count;
    double   bytes;

    for (uint32_t slot = 0; slot < m->place.n_slots; slot++) {
        if (m->place.shard_of[slot] != s->shard)
            continue;
        ps_place_slot(&m->place, slot, &count);
        elements += count;
    }
    bytes = (double)elements * (double)m->element_bytes * (1.0 + m->n_state);
    if (bytes > (double)host)
        return ps_fail(PS_ERR_NO_MEMORY,
                       "matrix %s: %.3g bytes on shard %u, this host has %.3g",
                       m->spec.name, bytes, s->shard, (double)host);
    return PS_OK;
}

static size_t count_chunks(const struct ps_place *place, uint32_t shard)
{
    struct ps_piece piece;
    uint64_t        at = 0;
    size_t          n = 0;

    while (ps_place_next(place, &at, place->n_elements, &piece))
        n += piece.shard == shard;
    return n;
}

ps_status psd_chunk_value(const struct psd_matrix *m, struct ps_buf **out, size_t bytes)
{
    const double whole = (double)m->place.n_elements * (double)m->element_bytes;
    const bool   is_short = bytes < PS_HEAP_LEAST_BYTES && whole >= PS_HEAP_LEAST_BYTES;

    return ps_heap_buf(m->heap, out, m->heap && is_short ? PS_HEAP_LEAST_BYTES : bytes);
}

static ps_status chunk_new(struct psd_chunk *c, const struct psd_matrix *m,
                           uint64_t seed, const struct ps_piece *piece)
{
    size_t    bytes = piece->count * m->element_bytes;
    ps_status st = psd_chunk_value(m, &c->value, bytes);

    if (st)
        return st;
    c->value->len = bytes;
    c->first = piece->first;
    c->n = piece->count;
    psd_store_fill(&m->spec, seed, c->first, c->n, c->value->data);
    for (uint32_t i = 0; i < m->n_state; i++) {
        if ((st = ps_buf_new(&c->state[i], bytes)))
            return st;
        c->state[i]->len = bytes;
        memset(c->state[i]->data, 0, bytes);
    }
    return PS_OK;
}

/* The chunks of a dense matrix that this shard owns. */
static ps_status add_chunks(const struct psd_store *s, struct psd_matrix *m)
{
    struct ps_piece piece;
    uint64_t        at = 0;
    size_t          n;
    ps_status       st = check_bytes(s, m);

    if (st)
        return st;
    n = count_chunks(&m->place, s->shard);
    if (n == 0)
        return PS_OK;
    m->chunks = calloc(n, sizeof(*m->chunks));
    if (!m->chunks)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for %zu chunks",
                       m->spec.name, n);
    while (ps_place_next(&m->place, &at, m->place.n_elements, &piece)) {
        if (piece.shard != s->shard)
            continue;
        /* Counted first: a half-made chunk is dropped with the others. */
        if ((st = chunk_new(&m->chunks[m->n_chunks++], m, s->seed, &piece)))
            return st;
    }
    return PS_OK;
}

static ps_status matrix_new(struct psd_matrix **out, const struct psd_store *s,
                            const struct ps_matrix_spec *spec,
                            const struct ps_place *place, uint32_t n_state)
{
    struct psd_matrix *m = calloc(1, sizeof(*m));
    ps_status          st;

    if (!m)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory", spec->name);
    m->spec = *spec;
    m->place = *place;
    m->heap = s->heap;
    m->n_state = n_state;
    m->element_bytes = ps_dtype_bytes(spec->dtype);
    st = spec->sparse
             ? psd_rows_new(&m->rows, &m->spec, place, s->shard, s->seed, n_state)
             : add_chunks(s, m);
    if (st) {
        matrix_free(m);
        return st;
    }
    *out = m;
    return PS_OK;
}

ps_status psd_store_add(struct psd_store *s, const struct ps_matrix_spec *spec,
                        const struct ps_place *place, uint32_t n_state)
{
    size_t              at = place_of(s, spec->number);
    struct psd_matrix **grown;
    struct psd_matrix  *m;
    ps_status           st;

    assert(n_state <= PSD_STORE_STATE_MAX);
    if (psd_store_find(s, spec->number))
        return ps_fail(PS_ERR_REPEATED, "matrix %s: its number %u is taken", spec->name,
                       spec->number);
    grown = realloc(s->matrices, (s->n_matrices + 1) * sizeof(*grown));
    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory", spec->name);
    s->matrices = grown;
    if ((st = matrix_new(&m, s, spec, place, n_state)))
        return st;
    memmove(grown + at + 1, grown + at, (s->n_matrices - at) * sizeof(*grown));
    grown[at] = m;
    s->n_matrices++;
    return PS_OK;
}

struct psd_chunk *psd_store_chunk(struct psd_matrix *m, uint64_t first)
{
    size_t low = 0, high = m->n_chunks;

    while (low < high) {
        size_t            middle = low + (high - low) / 2;
        struct psd_chunk *c = &m->chunks[middle];

        if (first < c->first)
            high = middle;
        else if (first - c->first >= c->n)
            low = middle + 1;
        else
            return c;
    }
    return NULL;
}

struct psd_chunk *psd_store_run(struct psd_matrix *m, uint64_t first, uint64_t n,
                                size_t *n_chunks)
{
    struct psd_chunk *c = psd_store_chunk(m, first);
    uint64_t          end = first;
    size_t            i = 0;

    if (!c || c->first != first || n > UINT64_MAX - first)
        return NULL;
    for (; c + i < m->chunks + m->n_chunks && end < first + n && c[i].first == end; i++)
        end += c[i].n;
    *n_chunks = i;
    return end == first + n ? c : NULL;
}

static ps_status make_sheet(const struct psd_matrix *m, const struct psd_chunk *chunks,
                            size_t n, struct ps_buf **out)
{
    struct ps_buf **blocks = calloc(n, sizeof(*blocks));
    ps_status       st;

    if (!blocks)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for a view",
                       m->spec.name);
    for (size_t i = 0; i < n; i++)
        blocks[i] = chunks[i].value;
    st = ps_sheet_new(out, (uintptr_t)m, m->heap, blocks, n);
    free(blocks);
    return st;
}

ps_status psd_store_sheet(struct psd_matrix *m, const struct psd_chunk *chunks,
                          size_t n, struct ps_buf **out)
{
    const bool all = n == m->n_chunks;
    ps_status  st = PS_OK;

    if (!all)
        return make_sheet(m, chunks, n, out);
    if (!m->sheet)
        st = make_sheet(m, chunks, n, &m->sheet);
    if (!st)
        *out = ps_buf_share(m->sheet);
    return st;
}

/* Is a copy needed, because somebody else holds it too? */
static bool is_shared(const struct ps_buf *held)
{
    return held && !ps_buf_sole(held) && !PSD_PLANTED(PLANT_TORN);
}

static void copy(struct ps_buf *to, const struct ps_buf *from)
{
    memcpy(to->data, from->data, from->len);
    to->len = from->len;
}

static void put(struct ps_buf **held, struct ps_buf **own)
{
    if (!*own)
        return;
    ps_buf_drop(held);
    *held = *own;
    *own = NULL;
}

ps_status psd_store_write(struct psd_matrix *m, struct psd_chunk *c)
{
    struct psd_chunk own = { .n = 0 };
    ps_status        st = PS_OK;

    ps_buf_drop(&m->sheet);
    if (is_shared(c->value))
        st = psd_chunk_value(m, &own.value, c->value->len);
    if (own.value)
        copy(own.value, c->value);
    for (uint32_t i = 0; st == PS_OK && i < m->n_state; i++) {
        if (is_shared(c->state[i]))
            st = ps_buf_new(&own.state[i], c->state[i]->len);
        if (own.state[i])
            copy(own.state[i], c->state[i]);
    }
    if (st) {
        psd_chunk_drop(&own);
        return st;
    }
    put(&c->value, &own.value);
    for (uint32_t i = 0; i < m->n_state; i++)
        put(&c->state[i], &own.state[i]);
    return PS_OK;
}

ps_status psd_store_hold(struct psd_matrix *m, const uint64_t *keys, uint64_t n,
                         uint32_t *places)
{
    bool distinct;

    return psd_rows_hold(m->rows, keys, n, places, &distinct);
}

ps_status psd_store_hold_distinct(struct psd_matrix *m, const uint64_t *keys,
                                  uint64_t n, uint32_t *places, bool *distinct)
{
    return psd_rows_hold(m->rows, keys, n, places, distinct);
}

void psd_store_release(struct psd_matrix *m, const uint32_t *places, uint64_t n)
{
    psd_rows_release(m->rows, places, n);
}

ps_status psd_store_write_rows(struct psd_matrix *m, const uint32_t *places, uint64_t n)
{
    return psd_rows_write(m->rows, places, n);
}

void *psd_store_row(const struct psd_matrix *m, uint32_t place,
                    void *state[PSD_STORE_STATE_MAX])
{
    uint8_t *row = psd_rows_at(m->rows, place);
    size_t   bytes = m->spec.cols * m->element_bytes;

    for (uint32_t i = 0; i < PSD_STORE_STATE_MAX; i++)
        state[i] = i < m->n_state ? row + (i + 1) * bytes : NULL;
    return row;
}

void psd_store_rows(const struct psd_matrix *m, const uint32_t *places, uint64_t n,
                    void **rows)
{
    psd_rows_all_at(m->rows, places, n, rows);
}

uint32_t *psd_store_tag(const struct psd_matrix *m, uint32_t place)
{
    return psd_rows_tag(m->rows, place);
}

size_t psd_store_list(const struct psd_matrix *m, uint64_t from, size_t room,
                      uint64_t *keys, uint32_t *places, uint64_t *next)
{
    return psd_rows_list(m->rows, from, room, keys, places, next);
}

static void account_dense(const struct psd_matrix *m, struct psd_account *a)
{
    uint64_t bytes = 0;

    for (size_t c = 0; c < m->n_chunks; c++)
        bytes += m->chunks[c].n * m->element_bytes;
    a->bytes += bytes;
    a->state_bytes += bytes * m->n_state;
    a->allocated_bytes += bytes * (1 + m->n_state);
}

static void account(const struct psd_matrix *m, struct psd_account *a)
{
    if (m->rows)
        psd_rows_account(m->rows, a);
    else
        account_dense(m, a);
}

struct psd_account psd_store_account(const struct psd_store *s)
{
    struct psd_account a = { 0 };

    for (size_t i = 0; i < s->n_matrices; i++)
        account(s->matrices[i], &a);
    return a;
}

struct psd_account psd_store_matrix_account(const struct psd_matrix *m)
{
    struct psd_account a = { 0 };

    account(m, &a);
    return a;
}
