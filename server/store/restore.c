/*
 * restore.c - see capture.h.
 *
 * Everything new is made beside what is there; when nothing can fail any more, the two
 * change places.
 */
#include "server/store/capture.h"
#include "server/store/store_private.h"

#include <stdlib.h>
#include <string.h>

/* Where a matrix comes from, and what it will be. */
struct fresh {
    const struct psd_store            *store;
    struct psd_matrix                 *matrix;
    uint32_t                           n_parts;
    bool                               whole; /* every part has it */
    const struct psd_captured_matrix **parts; /* [n_parts]; NULL: it does not have it */
    struct psd_chunk                  *chunks;
    struct psd_rows                   *rows;
    uint64_t                           steps;
};

/* ---- what was captured --------------------------------------------------------- */

static ps_status check_same(const struct psd_matrix          *m,
                            const struct psd_captured_matrix *c)
{
    const struct ps_matrix_spec *a = &m->spec, *b = &c->spec;

    if (a->dtype == b->dtype && a->sparse == b->sparse && a->rows == b->rows &&
        a->cols == b->cols && m->n_state == c->n_state)
        return PS_OK;
    return ps_fail(
        PS_ERR_DATA,
        "matrix %s: the snapshot has %s%s %ju by %ju with %u arrays of state, "
        "the job %s%s %ju by %ju with %u",
        a->name, b->sparse ? "sparse " : "", ps_dtype_name(b->dtype),
        (uintmax_t)b->rows, (uintmax_t)b->cols, c->n_state, a->sparse ? "sparse " : "",
        ps_dtype_name(a->dtype), (uintmax_t)a->rows, (uintmax_t)a->cols, m->n_state);
}

static bool holds_bytes(const struct ps_buf *b, size_t bytes)
{
    return b && b->len == bytes;
}

static ps_status check_chunks(const struct psd_matrix          *m,
                              const struct psd_captured_matrix *captured)
{
    uint64_t n_elements = ps_matrix_elements(&m->spec), at = 0;

    for (size_t i = 0; i < captured->n_chunks; i++) {
        const struct psd_chunk *c = &captured->chunks[i];
        bool                    fits = c->first >= at && c->first <= n_elements &&
                    c->n <= n_elements - c->first &&
                    holds_bytes(c->value, c->n * m->element_bytes);

        for (uint32_t k = 0; fits && k < m->n_state; k++)
            fits = holds_bytes(c->state[k], c->n * m->element_bytes);
        if (!fits)
            return ps_fail(PS_ERR_DATA,
                           "matrix %s: piece %zu of the snapshot does not fit",
                           m->spec.name, i);
        at = c->first + c->n;
    }
    return PS_OK;
}

static const uint8_t *captured_row(const struct psd_captured_rows *r, uint64_t i)
{
    uint32_t in_page = r->places[i] & (((uint32_t)1 << r->page_shift) - 1);
    uint32_t page = r->places[i] >> r->page_shift;

    if (page >= r->n_pages ||
        (in_page + UINT64_C(1)) * r->row_bytes > r->pages[page]->len)
        return NULL;
    return r->pages[page]->data + in_page * r->row_bytes;
}

static ps_status check_rows(const struct psd_matrix          *m,
                            const struct psd_captured_matrix *captured)
{
    const struct psd_captured_rows *r = captured->rows;
    size_t bytes = m->spec.cols * m->element_bytes * (1 + m->n_state);

    if (!r || r->row_bytes != bytes || r->page_shift > 31)
        return ps_fail(PS_ERR_DATA, "matrix %s: the snapshot's rows have another size",
                       m->spec.name);
    for (uint64_t i = 0; i < r->n; i++)
        if (!captured_row(r, i))
            return ps_fail(PS_ERR_DATA,
                           "matrix %s: row %ju of the snapshot is not in it",
                           m->spec.name, (uintmax_t)r->keys[i]);
    return PS_OK;
}

static const struct psd_captured_matrix *find_captured(const struct psd_capture *part,
                                                       const char               *name)
{
    for (uint32_t i = 0; i < part->n_matrices; i++)
        if (!strcmp(part->matrices[i].spec.name, name))
            return &part->matrices[i];
    return NULL;
}

static ps_status find_parts(struct fresh *f, const struct psd_capture *const *parts)
{
    ps_status st = PS_OK;

    f->parts = calloc(f->n_parts + 1, sizeof(*f->parts));
    if (!f->parts)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory to restore it",
                       f->matrix->spec.name);
    f->whole = f->n_parts > 0;
    for (uint32_t i = 0; !st && i < f->n_parts; i++) {
        const struct psd_captured_matrix *c =
            find_captured(parts[i], f->matrix->spec.name);

        f->parts[i] = c;
        f->whole = f->whole && c;
        if (!c)
            continue;
        if (c->steps > f->steps)
            f->steps = c->steps;
        st = check_same(f->matrix, c);
        if (!st)
            st = c->spec.sparse ? check_rows(f->matrix, c) : check_chunks(f->matrix, c);
    }
    return st;
}

/* ---- dense --------------------------------------------------------------------- */

/* The captured chunk that holds element `at`; else NULL, and *next comes down to where
 * the next one begins. */
static const struct psd_chunk *chunk_at(const struct psd_captured_matrix *c,
                                        uint64_t at, uint64_t *next)
{
    size_t low = 0, high = c->n_chunks;

    while (low < high) { /* how many begin at `at` or before */
        size_t middle = low + (high - low) / 2;

        if (c->chunks[middle].first <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && at - c->chunks[low - 1].first < c->chunks[low - 1].n)
        return &c->chunks[low - 1];
    if (low < c->n_chunks && c->chunks[low].first < *next)
        *next = c->chunks[low].first;
    return NULL;
}

static const struct psd_chunk *find_chunk(const struct fresh *f, uint64_t at,
                                          uint64_t *next)
{
    const struct psd_chunk *found = NULL;

    for (uint32_t i = 0; !found && i < f->n_parts; i++)
        if (f->parts[i])
            found = chunk_at(f->parts[i], at, next);
    return found;
}

/* Elements [from, to) of `c`, which all lie in `source`; NULL: as they begin. */
static void fill_piece(const struct fresh *f, struct psd_chunk *c, uint64_t from,
                       uint64_t to, const struct psd_chunk *source)
{
    const size_t   bytes = f->matrix->element_bytes;
    const uint64_t offset = (from - c->first) * bytes, n_bytes = (to - from) * bytes;
    const uint64_t there = source ? (from - source->first) * bytes : 0;

    if (source)
        memcpy(c->value->data + offset, source->value->data + there, n_bytes);
    else
        psd_store_fill(&f->matrix->spec, f->store->seed, from, to - from,
                       c->value->data + offset);
    for (uint32_t i = 0; i < f->matrix->n_state; i++)
        if (source)
            memcpy(c->state[i]->data + offset, source->state[i]->data + there, n_bytes);
        else
            memset(c->state[i]->data + offset, 0, n_bytes);
}

static ps_status chunk_room(const struct psd_matrix *m, struct psd_chunk *c)
{
    size_t    bytes = c->n * m->element_bytes;
    ps_status st = psd_chunk_value(m, &c->value, bytes);

    for (uint32_t i = 0; !st && i < m->n_state; i++) {
        st = ps_buf_new(&c->state[i], bytes);
        if (!st)
            c->state[i]->len = bytes;
    }
    if (!st)
        c->value->len = bytes;
    return st;
}

static ps_status make_chunk(const struct fresh *f, struct psd_chunk *c)
{
    uint64_t                at = c->first, end = c->first + c->n, next = end;
    const struct psd_chunk *source = find_chunk(f, at, &next);
    ps_status               st;

    if (source && source->first == c->first && source->n == c->n && !f->matrix->heap) {
        psd_chunk_share(c, source);
        return PS_OK;
    }
    st = chunk_room(f->matrix, c);
    while (!st && at < end) {
        next = end;
        source = find_chunk(f, at, &next);
        if (!source && f->whole)
            return ps_fail(PS_ERR_DATA,
                           "matrix %s: element %ju is in no part of the "
                           "snapshot",
                           f->matrix->spec.name, (uintmax_t)at);
        if (source && source->first + source->n < end)
            next = source->first + source->n;
        fill_piece(f, c, at, next, source);
        at = next;
    }
    return st;
}

static ps_status make_chunks(struct fresh *f)
{
    const struct psd_matrix *m = f->matrix;
    ps_status                st = PS_OK;

    f->chunks = calloc(m->n_chunks + 1, sizeof(*f->chunks));
    if (!f->chunks)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory to restore it",
                       m->spec.name);
    for (size_t i = 0; !st && i < m->n_chunks; i++) {
        f->chunks[i].first = m->chunks[i].first;
        f->chunks[i].n = m->chunks[i].n;
        st = make_chunk(f, &f->chunks[i]);
    }
    return st;
}

/* ---- sparse -------------------------------------------------------------------- */

static ps_status put_rows(const struct fresh *f, const struct psd_captured_rows *r)
{
    ps_status st = PS_OK;

    for (uint64_t i = 0; !st && i < r->n; i++)
        if (ps_place_key_shard(&f->matrix->place, r->keys[i]) == f->store->shard)
            st = psd_rows_insert(f->rows, r->keys[i], captured_row(r, i),
                                 r->marks ? &r->marks[i] : NULL);
    return st;
}

static ps_status make_rows(struct fresh *f)
{
    struct psd_matrix *m = f->matrix;
    ps_status          st = psd_rows_new(&f->rows, &m->spec, &m->place, f->store->shard,
                                         f->store->seed, m->n_state);

    for (uint32_t i = 0; !st && i < f->n_parts; i++)
        if (f->parts[i])
            st = put_rows(f, f->parts[i]->rows);
    if (!st)
        psd_rows_limit(f->rows);
    return st;
}

/* ---- all together -------------------------------------------------------------- */

static void swap_matrix(struct fresh *f)
{
    struct psd_chunk *chunks = f->matrix->chunks;
    struct psd_rows  *rows = f->matrix->rows;

    f->matrix->steps = f->steps;
    if (f->matrix->spec.sparse) {
        f->matrix->rows = f->rows;
        f->rows = rows;
    } else {
        ps_buf_drop(&f->matrix->sheet);
        f->matrix->chunks = f->chunks;
        f->chunks = chunks;
    }
}

static void free_fresh(struct fresh *f)
{
    for (size_t i = 0; f->chunks && i < f->matrix->n_chunks; i++)
        psd_chunk_drop(&f->chunks[i]);
    free(f->chunks);
    psd_rows_free(&f->rows);
    free(f->parts);
}

ps_status psd_store_restore(struct psd_store *s, const struct psd_capture *const *parts,
                            uint32_t n_parts)
{
    struct fresh *list = calloc(s->n_matrices + 1, sizeof(*list));
    ps_status     st = PS_OK;

    if (!list)
        return ps_fail(PS_ERR_NO_MEMORY, "store: no memory to restore %zu matrices",
                       s->n_matrices);
    for (size_t i = 0; !st && i < s->n_matrices; i++) {
        list[i] =
            (struct fresh){ .store = s, .matrix = s->matrices[i], .n_parts = n_parts };
        st = find_parts(&list[i], parts);
        if (!st)
            st = list[i].matrix->spec.sparse ? make_rows(&list[i])
                                             : make_chunks(&list[i]);
    }
    for (size_t i = 0; i < s->n_matrices; i++) {
        if (!list[i].matrix)
            break;
        if (!st)
            swap_matrix(&list[i]);
        free_fresh(&list[i]);
    }
    free(list);
    return st;
}
