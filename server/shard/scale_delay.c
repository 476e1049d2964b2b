/*
 * scale_delay.c - delay compensation: g + lambda g^2 (w - w').
 *
 * g was computed at w', the values that the worker was given, and meets w, those of
 * now; lambda g^2 stands for the change of the gradient between the two (Zheng et al.,
 * ICML 2017, equation 10).
 *
 * What a worker was given is remembered: of dense matrices the block that was lent to
 * the answer, which an update leaves as it is, and which of its elements; of sparse
 * ones a copy of the row.  A push names the version of its values; what was given in
 * one answer or another since then is the oldest that is not older than that.  What is
 * older is forgotten when the push's iteration has ended, and of what was given more
 * than PULLS_KEPT times since, only the oldest and the last.  Elements that the worker
 * was never given are left as they are.
 */
#include "server/shard/keymap.h"
#include "server/shard/runs.h"
#include "server/shard/scale_private.h"

#include <stdlib.h>
#include <string.h>

/* One behind the last push, which may be used again; one behind the next; and one
 * asked for ahead. */
#define PULLS_KEPT 3u

/* A chunk as it was given last at this version. */
struct given_chunk {
    uint64_t        version;
    struct ps_buf  *block;
    struct psd_runs given; /* 1: this element was asked for */
};

struct chunk_past {
    uint32_t           n;
    struct given_chunk list[PULLS_KEPT]; /* oldest first */
};

/* In a keymap's place, with PULLS_KEPT rows behind it. */
struct row_past {
    uint64_t n;
    uint64_t versions[PULLS_KEPT]; /* oldest first, as the rows */
    uint8_t  rows[];
};

struct matrix_past {
    struct psd_matrix *matrix; /* its address does not change */
    struct chunk_past *chunks;
    struct psd_keymap  rows;
};

struct seat {
    uint32_t            n;
    struct matrix_past *list;
};

struct psd_delay {
    uint32_t    n_seats;
    struct seat seats[];
};

static void free_given(struct given_chunk *g)
{
    ps_buf_drop(&g->block);
    psd_runs_free(&g->given);
}

static void free_seat(struct seat *seat)
{
    for (uint32_t i = 0; i < seat->n; i++) {
        struct matrix_past *past = &seat->list[i];

        for (size_t c = 0; past->chunks && c < past->matrix->n_chunks; c++)
            for (uint32_t k = 0; k < past->chunks[c].n; k++)
                free_given(&past->chunks[c].list[k]);
        free(past->chunks);
        psd_keymap_free(&past->rows);
    }
    free(seat->list);
    *seat = (struct seat){ 0 };
}

static struct matrix_past *find_past(const struct seat       *seat,
                                     const struct psd_matrix *m)
{
    for (uint32_t i = 0; i < seat->n; i++)
        if (seat->list[i].matrix == m)
            return &seat->list[i];
    return NULL;
}

static ps_status no_memory(const struct psd_matrix *m)
{
    return ps_fail(PS_ERR_NO_MEMORY,
                   "matrix %s: no memory to remember what a worker was given",
                   m->spec.name);
}

static ps_status need_past(struct seat *seat, struct psd_matrix *m,
                           struct matrix_past **out)
{
    size_t              row_bytes = (m->spec.cols * m->element_bytes + 7) / 8 * 8;
    struct matrix_past *grown;

    if ((*out = find_past(seat, m)))
        return PS_OK;
    grown = realloc(seat->list, (seat->n + 1) * sizeof(*grown));
    if (!grown)
        return no_memory(m);
    seat->list = grown;
    *out = &grown[seat->n];
    **out = (struct matrix_past){
        .matrix = m, .rows.bytes = sizeof(struct row_past) + PULLS_KEPT * row_bytes
    };
    if (!m->spec.sparse &&
        !((*out)->chunks = calloc(m->n_chunks + 1, sizeof(struct chunk_past))))
        return no_memory(m);
    seat->n++;
    return PS_OK;
}

/* ---- what a worker is given ------------------------------------------------------ */

static struct given_chunk *add_given(struct chunk_past *past, uint64_t version,
                                     struct ps_buf *block)
{
    if (past->n == PULLS_KEPT) {
        free_given(&past->list[1]);
        past->n--;
        memmove(&past->list[1], &past->list[2], (past->n - 1) * sizeof(past->list[0]));
    }
    past->list[past->n] =
        (struct given_chunk){ .version = version, .block = ps_buf_share(block) };
    return &past->list[past->n++];
}

static ps_status gave_chunk(struct matrix_past *past, const struct psd_given *given)
{
    struct psd_matrix      *m = past->matrix;
    const struct psd_chunk *chunk = psd_store_chunk(m, given->range->first);
    struct chunk_past      *c = &past->chunks[chunk - m->chunks];
    struct given_chunk     *g = c->n > 0 ? &c->list[c->n - 1] : NULL;
    uint64_t                from = given->range->first - chunk->first;
    ps_status               st;

    if (!g || g->block != chunk->value)
        g = add_given(c, given->version, chunk->value);
    g->version = given->version;
    st = psd_runs_reserve(&g->given, 1);
    if (!st)
        psd_runs_set(&g->given, from, from + given->range->count, 1);
    return st;
}

static void gave_row(struct row_past *past, uint64_t version, const void *row,
                     size_t bytes)
{
    size_t stride = (bytes + 7) / 8 * 8;

    if (past->n > 0 && memcmp(past->rows + (past->n - 1) * stride, row, bytes) == 0) {
        past->versions[past->n - 1] = version;
        return;
    }
    if (past->n == PULLS_KEPT) {
        past->n--;
        memmove(&past->versions[1], &past->versions[2],
                (past->n - 1) * sizeof(past->versions[0]));
        memmove(past->rows + stride, past->rows + 2 * stride, (past->n - 1) * stride);
    }
    past->versions[past->n] = version;
    memcpy(past->rows + past->n++ * stride, row, bytes);
}

static ps_status gave_rows(struct matrix_past *past, const struct psd_given *given)
{
    size_t    bytes = past->matrix->spec.cols * past->matrix->element_bytes;
    ps_status st = psd_keymap_reserve(&past->rows, given->range->count);

    for (uint64_t i = 0; !st && i < given->range->count; i++) {
        struct row_past *row = psd_keymap_find(&past->rows, given->keys[i]);

        if (!row)
            row = psd_keymap_add(&past->rows, given->keys[i]);
        gave_row(row, given->version, (const uint8_t *)given->rows + i * bytes, bytes);
    }
    return st;
}

static ps_status gave(struct psd_scale *s, const struct psd_given *given,
                      struct psd_matrix *m)
{
    struct matrix_past *past;
    ps_status           st = need_past(&s->delay->seats[given->rank], m, &past);

    if (st)
        return st;
    return m->spec.sparse ? gave_rows(past, given) : gave_chunk(past, given);
}

/* ---- updates -------------------------------------------------------------------- */

/* The block that the worker used at element `at`, or NULL; *end comes down to where
 * that changes. */
static const struct ps_buf *used_at(const struct chunk_past *past, uint64_t base,
                                    uint64_t at, uint64_t *end)
{
    for (uint32_t i = 0; i < past->n; i++)
        if (past->list[i].version >= base && psd_runs_at(&past->list[i].given, at, end))
            return past->list[i].block;
    return NULL;
}

static void compensate_chunk(struct psd_scale *s, const struct psd_update *u,
                             const struct psd_matrix *m, const struct psd_chunk *chunk,
                             uint64_t from, uint64_t to, void *gradient)
{
    const struct matrix_past *past = find_past(&s->delay->seats[u->rank], m);
    const size_t              bytes = m->element_bytes;

    for (uint64_t at = from, end; past && at < to; at = end) {
        const struct ps_buf *was;

        end = to;
        was = used_at(&past->chunks[chunk - m->chunks], u->base, at, &end);
        if (was)
            u->backend->compensate(m->spec.dtype, end - at, s->job->lambda,
                                   (uint8_t *)gradient + (at - from) * bytes,
                                   chunk->value->data + at * bytes,
                                   was->data + at * bytes);
    }
}

static void compensate_row(struct psd_scale *s, const struct psd_update *u,
                           const struct psd_matrix *m, uint64_t key, const void *value,
                           void *gradient)
{
    const struct matrix_past *past = find_past(&s->delay->seats[u->rank], m);
    const struct row_past    *row = past ? psd_keymap_find(&past->rows, key) : NULL;
    size_t                    stride = (m->spec.cols * m->element_bytes + 7) / 8 * 8;
    uint64_t                  i = 0;

    while (row && i < row->n && row->versions[i] < u->base)
        i++;
    if (row && i < row->n)
        u->backend->compensate(m->spec.dtype, m->spec.cols, s->job->lambda, gradient,
                               value, row->rows + i * stride);
}

/* ---- forgetting -------------------------------------------------------------------
 */

static void forget_chunks(struct chunk_past *past, uint64_t base)
{
    uint32_t old = 0;

    while (old < past->n && past->list[old].version < base)
        free_given(&past->list[old++]);
    past->n -= old;
    memmove(&past->list[0], &past->list[old], past->n * sizeof(past->list[0]));
}

/* What a keymap is asked to keep. */
struct since {
    uint64_t base;
    size_t   stride; /* of the rows */
};

static bool forget_rows(void *place, const void *ctx)
{
    const struct since *since = ctx;
    struct row_past    *past = place;
    uint64_t            old = 0;

    while (old < past->n && past->versions[old] < since->base)
        old++;
    past->n -= old;
    memmove(&past->versions[0], &past->versions[old],
            past->n * sizeof(past->versions[0]));
    memmove(past->rows, past->rows + old * since->stride, past->n * since->stride);
    return past->n > 0;
}

static void end(struct psd_scale *s, uint32_t rank, uint64_t base)
{
    struct seat *seat = &s->delay->seats[rank];

    for (uint32_t i = 0; i < seat->n; i++) {
        const struct psd_matrix *m = seat->list[i].matrix;
        struct since since = { base, (m->spec.cols * m->element_bytes + 7) / 8 * 8 };

        for (size_t c = 0; seat->list[i].chunks && c < m->n_chunks; c++)
            forget_chunks(&seat->list[i].chunks[c], base);
        psd_keymap_keep(&seat->list[i].rows, forget_rows, &since);
    }
}

static void leave(struct psd_scale *s, uint32_t rank)
{
    free_seat(&s->delay->seats[rank]);
}

/* ---- life ------------------------------------------------------------------------ */

static ps_status make(struct psd_scale *s)
{
    s->delay = calloc(1, sizeof(*s->delay) + s->job->workers * sizeof(struct seat));
    if (!s->delay)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory to remember pulls",
                       s->job->name);
    s->delay->n_seats = s->job->workers;
    return PS_OK;
}

static void drop(struct psd_scale *s)
{
    for (uint32_t r = 0; r < s->delay->n_seats; r++)
        free_seat(&s->delay->seats[r]);
    free(s->delay);
}

/* Of a block that several workers hold each counts its part; that of the store is no
 * memory beside the parameters. */
static double bytes_of(const struct given_chunk *g, const struct psd_chunk *chunk)
{
    if (g->block == chunk->value)
        return 0;
    return (double)g->block->len / atomic_load(&g->block->owners);
}

static uint64_t bytes(const struct psd_scale *s)
{
    double sum = 0;

    for (uint32_t r = 0; r < s->delay->n_seats; r++)
        for (uint32_t i = 0; i < s->delay->seats[r].n; i++) {
            const struct matrix_past *past = &s->delay->seats[r].list[i];

            sum += (double)(past->rows.n * past->rows.bytes);
            for (size_t c = 0; past->chunks && c < past->matrix->n_chunks; c++)
                for (uint32_t k = 0; k < past->chunks[c].n; k++)
                    sum += bytes_of(&past->chunks[c].list[k], &past->matrix->chunks[c]);
        }
    return (uint64_t)(sum + 0.5);
}

const struct psd_scale_kind psd_scale_delay = {
    .make = make,
    .drop = drop,
    .gave = gave,
    .chunk = compensate_chunk,
    .row = compensate_row,
    .end = end,
    .leave = leave,
    .bytes = bytes,
};
